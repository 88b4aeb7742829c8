"""Approach: extend z under feedback until the setpoint's current is met."""

from __future__ import annotations

import statistics

from reflexarc.contract.blocks.feedback import FeedbackMode
from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput
from reflexarc.experiments.settings import ScanSettings

LOOK_S = 2e-3  # between two looks at the current while z extends
MET = 0.7  # of the setpoint,
MET_LOOKS = 5  # so often in a row
NOISE_LOOKS, NOISE_LOOK_S = 32, 50e-6  # at the current, before z extends
ABOVE_NOISE = 5.0  # standard deviations that a setpoint has at least: five looks at noise alone do not all pass 0.7 of it


class Looks:
    """Looks at the current and z while z extends; what the last one saw."""

    def __init__(self, board: AsyncController, setpoint_A: float) -> None:
        self._board, self._setpoint_A = board, setpoint_A
        self._met = 0
        self.current_A = self.z_m = float("nan")

    async def met(self) -> bool:
        """Look again after a while: is the surface met? BoardTripped if the interlock trips."""
        await self._board.sleep(LOOK_S)
        await self._board.check_live()
        self.current_A, self.z_m = await self._board.registers.read("capture.sample", "feedback.output")
        self._met = self._met + 1 if abs(self.current_A) > MET * self._setpoint_A else 0
        return self._met >= MET_LOOKS


async def extend(board: AsyncController, settings: ScanSettings) -> Looks:
    """Bias on, and z on its way under feedback at the approach's speed. BadInput where noise would be taken for the setpoint."""
    await board.set_bias(settings.bias_V)
    if (await board.registers.read_raw("feedback.mode"))[0] != FeedbackMode.ON:
        await _check_noise(board, settings.setpoint_A)
    await board.set_feedback(setpoint_A=settings.setpoint_A, bandwidth_Hz=settings.bandwidth_Hz, slew_m_per_s=settings.approach_m_per_s)
    await board.feedback_on()
    return Looks(board, settings.setpoint_A)


async def _check_noise(board: AsyncController, setpoint_A: float) -> None:
    seen = []
    for _ in range(NOISE_LOOKS):
        await board.sleep(NOISE_LOOK_S)
        seen += await board.registers.read("capture.sample")
    noise_A = statistics.stdev(seen)
    if setpoint_A < ABOVE_NOISE * noise_A:
        raise BadInput(
            f"setpoint {setpoint_A:.3g} A can't be told from the noise of the current, {noise_A:.3g} A rms; "
            f"accepted: from {ABOVE_NOISE * noise_A:.2g} A"
        )


async def follow(board: AsyncController, settings: ScanSettings) -> None:
    """z as fast as for the scan, once the surface is met."""
    await board.set_feedback(setpoint_A=settings.setpoint_A, bandwidth_Hz=settings.bandwidth_Hz, slew_m_per_s=settings.slew_m_per_s)


async def approach(board: AsyncController, settings: ScanSettings) -> None:
    """Extend z under feedback until the setpoint is met.

    BadInput if the range ends first or the setpoint is no more than noise, BoardTripped if the interlock trips.
    """
    looks = await extend(board, settings)
    longest_s = 2 * board.calibration.z_range_m / settings.approach_m_per_s * 1.2
    for _ in range(int(longest_s / LOOK_S) + 1):
        if await looks.met():
            break
    else:
        await board.feedback_hold()
        raise BadInput("no current within the range of z: the surface is out of reach; step closer with the coarse motor")
    await follow(board, settings)
    await board.sleep(20e-3)
