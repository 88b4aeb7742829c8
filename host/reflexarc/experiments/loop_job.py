"""Measure the loop, tune it if asked, and draw it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from reflexarc.control import Gains, margins
from reflexarc.control.theory import stm_response
from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput
from reflexarc.experiments.approach import approach
from reflexarc.experiments.settings import ScanSettings
from reflexarc.experiments.tune import measure_response, tune_feedback
from reflexarc.report.bode import draw_bode
from reflexarc.safety.commissioning import CommissioningRecord
from reflexarc.safety.limits import Limits

AMPLITUDE_MAX_M = 50e-12  # a current that goes up and down by a factor of 3


def check_amplitude(amplitude_m: float) -> None:
    """BadInput for what the excitation can't be."""
    if not 0 < amplitude_m <= AMPLITUDE_MAX_M:
        raise BadInput(f"amplitude {amplitude_m:g} m is not possible; accepted: above 0, up to {AMPLITUDE_MAX_M:g} m")


async def loop_job(
    board: AsyncController,
    settings: ScanSettings,
    limits: Limits,
    record: CommissioningRecord | None,
    amplitude_m: float,
    folder: Path,
    change: bool,
) -> dict[str, Any]:
    """Approach, measure (and with ``change`` tune), withdraw; what was found, for report and JSON."""
    check_amplitude(amplitude_m)
    settings.check(board.calibration)
    await board.set_limits(limits)
    await board.arm(record)
    try:
        await approach(board, settings)
        if change:
            response, found = await tune_feedback(board, amplitude_m)
            gains, reached = found.gains, found.margins
        else:
            response = await measure_response(board, amplitude_m)
            kp, ki = await board.registers.read("feedback.kp", "feedback.ki")
            gains = Gains(kp, ki)
            reached = margins(response, gains)
        theory = None
        if board.transport.welcome.get("platform") == "twin":
            theory = stm_response(
                response.frequency_Hz, sample_period_s=board.calibration.sample_period_s, **(await board.truth())["response"]
            )
    finally:
        await board.disarm()
    np.savetxt(
        folder / "response.csv",
        np.column_stack([response.frequency_Hz, response.gain_per_m.real, response.gain_per_m.imag, response.deviation]),
        delimiter=",", header="frequency_Hz,real_per_m,imaginary_per_m,standard_error_per_m", comments="",
    )  # fmt: skip
    title = "Feedback, tuned" if change else "Response of the current to z"
    draw_bode(folder / "bode.png", response, title, gains=gains, margins=reached, theory=theory)
    report: dict[str, Any] = {
        "kp_m": float(gains.kp_m),
        "ki_m": float(gains.ki_m),
        "bandwidth_Hz": reached.bandwidth_Hz,
        "gain_margin_dB": reached.gain_dB,
        "phase_margin_deg": reached.phase_deg,
        "peak": reached.peak,
        "frequencies": len(response.frequency_Hz),
    }
    if theory is not None:
        ratio = response.gain_per_m / theory
        weight = 1 / (response.deviation / np.abs(response.gain_per_m)) ** 2
        report["theory_dB_rms"] = float(np.sqrt(((20 * np.log10(np.abs(ratio))) ** 2 * weight).sum() / weight.sum()))
        report["theory_deg_rms"] = float(np.sqrt((np.degrees(np.angle(ratio)) ** 2 * weight).sum() / weight.sum()))
    return report
