"""Measure what the feedback controls, and choose gains for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reflexarc.control import Gains, Response, Tuning, response_of, tune
from reflexarc.control.response import joined
from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput
from reflexarc.experiments.record import record_samples

AMPLITUDE_M = 10e-12  # of the square wave: the current goes up and down by a quarter, far from any limit
# Of the square waves; their odd harmonics cover all that counts. A faster one would shake a resonance of z by more than its amplitude.
PERIODS_HZ = (200.0, 1e3, 4e3)
TIME_S = 0.12  # for each of them
GENTLE_HZ = 300.0  # bandwidth while nothing is known yet


async def measure_response(
    board: AsyncController, amplitude_m: float = AMPLITUDE_M, frequencies_Hz: Sequence[float] = PERIODS_HZ, time_s: float = TIME_S
) -> Response:
    """Response of the error to z with the feedback as it is set, tip at the surface. z moves by ``amplitude_m`` to both sides meanwhile.

    BoardTripped if the interlock trips; BadInput where the response can't be told from noise.
    """
    period_s = board.calibration.sample_period_s
    await board.registers.write({"feedback.excitation": amplitude_m})
    parts = []
    try:
        for frequency in frequencies_Hz:
            # Odd: a DAC frame has two samples, so the two edges of the wave find both its places, and their mean is measured.
            half = max(2, round(0.5 / frequency / period_s)) | 1
            count = max(4, round(time_s / (2 * half * period_s)))
            await board.registers.write_raw({"feedback.excitation_samples": half})
            await board.sleep(4 * half * period_s)
            z_m, codes = await record_samples(board, 2 * half * count)
            magnitude = np.maximum(np.where(codes >= 0, codes, -1 - codes), 1)
            whole = 2 * half * count
            parts.append(response_of(z_m[:whole], np.log2(magnitude[:whole]), half, period_s))
    finally:
        await board.registers.write_raw({"feedback.excitation_samples": 0})
    try:
        return joined(parts)
    except ValueError as error:
        raise BadInput(str(error)) from None


async def tune_feedback(board: AsyncController, amplitude_m: float = AMPLITUDE_M) -> tuple[Response, Tuning]:
    """Measure under gentle feedback, set the gains that were found, and return both. BadInput where none suits."""
    response = await measure_response(board, amplitude_m)
    try:
        found = tune(response)
    except ValueError as error:
        raise BadInput(str(error)) from None
    await set_gains(board, found.gains)
    return response, found


async def set_gains(board: AsyncController, gains: Gains) -> None:
    await board.registers.write({"feedback.kp": gains.kp_m, "feedback.ki": gains.ki_m})


def gains_for(bandwidth_Hz: float, log2_per_m: float, sample_period_s: float) -> Gains:
    """Of an integral controller whose loop gain is 1 at ``bandwidth_Hz`` for a plant that answers at once."""
    return Gains(0.0, 2 * math.pi * bandwidth_Hz * sample_period_s / log2_per_m)
