"""Coarse approach: look with z, withdraw, step with the motor, and look again."""

from __future__ import annotations

from dataclasses import dataclass

from reflexarc.contract.blocks import feedback
from reflexarc.contract.blocks.feedback import FeedbackMode
from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput
from reflexarc.experiments.approach import LOOK_S, extend, follow
from reflexarc.experiments.settings import ScanSettings

REACHED = 0.98  # of z's way: there is no surface within it
STEPS_MAX = 1 << 15
STILL = 20  # looks without a way
HOLDS = 3  # one more than bring z from one end of its range to the other
WITHDRAWAL_LOOKS = 10


@dataclass(frozen=True)
class Approached:
    """How it went; ``z_m`` is where the surface was met."""

    looks: int
    steps: int
    z_m: float


async def coarse_approach(board: AsyncController, settings: ScanSettings, steps_a_look: int = 1, most_steps: int = 10000) -> Approached:
    """Until the setpoint's current is met: extend z under feedback, withdraw it to the rail, let the motor take ``steps_a_look`` steps.

    All steps together must be smaller than the range of z; the gateware takes them only while z stands at its withdrawn rail, and none once
    the interlock trips. Ends with the feedback on. BadInput if ``most_steps`` do not bring the surface, BoardTripped on a trip.
    """
    if not 1 <= steps_a_look <= STEPS_MAX or most_steps < 1:
        raise BadInput(f"{steps_a_look} steps a look, {most_steps} in all are not possible; accepted: 1 to {STEPS_MAX}, and 1 or more")
    steps = looks = 0
    while True:
        looks += 1
        z_m = await _look(board, settings)
        if z_m is not None:
            await follow(board, settings)
            return Approached(looks, steps, z_m)
        await withdraw(board, settings.slew_m_per_s)
        if steps >= most_steps:
            raise BadInput(f"no surface after {steps} steps of the coarse motor and {looks} looks; is the motor's direction right?")
        await step_towards(board, min(steps_a_look, most_steps - steps))
        steps += min(steps_a_look, most_steps - steps)


async def _look(board: AsyncController, settings: ScanSettings) -> float | None:
    """Extend z until the setpoint is met; where, or None at the end of its way. BadInput if it stands before: a step would be blind."""
    looks = await extend(board, settings)
    reach_m = board.calibration.z_range_m
    least_m = min(settings.approach_m_per_s * LOOK_S, reach_m / 1000) / 10
    (low_m,) = await board.registers.read("feedback.low")
    end_m = low_m + (1 - REACHED) * reach_m
    farthest_m = reach_m
    still = 0
    while still < STILL:
        if await looks.met():
            return looks.z_m
        if looks.z_m < end_m:
            return None
        still = 0 if looks.z_m < farthest_m - least_m else still + 1
        farthest_m = min(farthest_m, looks.z_m)
    seen = f"z stands at {looks.z_m * 1e9:.4g} nm with {looks.current_A * 1e12:.3g} pA"
    raise BadInput(f"{seen}, which is neither the setpoint nor the end of its way")


async def withdraw(board: AsyncController, speed_m_per_s: float) -> None:
    """z to its withdrawn rail while armed, at a speed, and wait. BoardTripped if the interlock trips.

    A displacement is half of z's range at most; the second one begins where the controller stands after a sample without gain.
    """
    period_s = board.calibration.sample_period_s
    (ki,) = await board.registers.read_raw("feedback.ki")
    for _ in range(HOLDS):
        await board.registers.write_raw({"feedback.mode": FeedbackMode.HOLD, "feedback.ki": ki})
        await board.registers.write({"feedback.hold_step": speed_m_per_s * period_s})
        await board.registers.write_raw({"feedback.hold_height": feedback.BLOCK["hold_height"].high})
        for _ in range(WITHDRAWAL_LOOKS):
            await board.sleep(1.1 * board.calibration.z_range_m / speed_m_per_s / WITHDRAWAL_LOOKS)
            await board.check_live()
            if (await board.registers.read_raw("gate.withdrawn"))[0]:
                return
        await board.registers.write_raw({"feedback.ki": 0, "feedback.mode": FeedbackMode.ON})
        await board.sleep(4 * period_s)
    await board.registers.write_raw({"feedback.mode": FeedbackMode.HOLD, "feedback.ki": ki})
    raise BadInput("z does not reach its withdrawn rail: feedback.high keeps it away")


async def step_towards(board: AsyncController, steps: int) -> None:
    """Steps of the coarse motor towards the specimen, z at its rail, and wait for their end. BoardTripped if the interlock trips."""
    await board.check_live()
    half_period, withdrawn = await board.registers.read_raw("gate.retreat_period", "gate.withdrawn")
    period_s = 2 * half_period * board.calibration.sample_period_s
    if withdrawn:
        await board.registers.write_raw({"gate.approach": steps})
        await board.sleep((steps + 1) * period_s)
        for _ in range(100):
            await board.check_live()
            left, withdrawn = await board.registers.read_raw("gate.approach_left", "gate.withdrawn")
            if left == 0:
                break
            await board.sleep(period_s)
        await board.sleep(period_s)
    if not withdrawn:
        raise BadInput("the coarse motor takes no steps while z is not at its withdrawn rail")
