"""Frequency response of what the feedback controls, from a square wave on z and the error that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Response:
    """Error (log2 of the current) per metre of z at ``frequency_Hz``, complex, rising frequencies; ``deviation`` is its standard error,
    estimated from one period of the wave to the next."""

    frequency_Hz: Array
    gain_per_m: Complex
    deviation: Array
    sample_period_s: float

    def __post_init__(self) -> None:
        if not (len(self.frequency_Hz) == len(self.gain_per_m) == len(self.deviation)) or np.any(np.diff(self.frequency_Hz) <= 0):
            raise ValueError("a response has as many gains as frequencies, which rise")

    def at(self, frequency_Hz: Array) -> Complex:
        """Interpolated in log-frequency: logarithm of the magnitude and unwrapped phase. Ends continue."""
        where = np.log(frequency_Hz)
        known = np.log(self.frequency_Hz)
        magnitude = np.interp(where, known, np.log(np.abs(self.gain_per_m)))
        phase = np.interp(where, known, np.unwrap(np.angle(self.gain_per_m)))
        return np.asarray(np.exp(magnitude + 1j * phase), np.complex128)


def response_of(z_m: Array, error: Array, half_period: int, sample_period_s: float) -> Response:
    """Ratio of error to z at the odd harmonics of a square wave with ``half_period`` samples each half.

    ``z_m`` and ``error`` are records of whole periods, equally long. z holds all that moves the tip, the feedback's own answer too, so the
    ratio is that of the plant whether or not the loop is closed: noise of the sensor that the loop feeds back is not in step with the wave
    and averages out. ValueError for records that are too short.
    """
    period = 2 * half_period
    count = len(z_m) // period
    if len(z_m) != len(error) or count < 2:
        raise ValueError(f"records of {len(z_m)} and {len(error)} samples; two periods of {period} or more are needed, of both")
    moves = np.fft.rfft(np.reshape(z_m[: count * period], (count, period)), axis=1)
    answers = np.fft.rfft(np.reshape(error[: count * period], (count, period)), axis=1)
    harmonics = np.arange(1, half_period, 2)
    mean_move, mean_answer = moves.mean(0)[harmonics], answers.mean(0)[harmonics]
    gain = mean_answer / mean_move
    # What is left of each period beside the mean response is noise.
    left = answers[:, harmonics] - gain * moves[:, harmonics]
    deviation = np.sqrt((np.abs(left) ** 2).sum(0) / max(count - 1, 1) / count) / np.abs(mean_move)
    return Response(harmonics / (period * sample_period_s), gain, deviation, sample_period_s)


def joined(parts: Sequence[Response], worst: float = 0.3) -> Response:
    """One response of several, the surest value where two are close; values with a standard error above ``worst`` of theirs are left out."""
    frequency = np.concatenate([part.frequency_Hz for part in parts])
    gain = np.concatenate([part.gain_per_m for part in parts])
    deviation = np.concatenate([part.deviation for part in parts])
    sure = deviation < worst * np.abs(gain)
    frequency, gain, deviation = frequency[sure], gain[sure], deviation[sure]
    if len(frequency) < 8:
        raise ValueError(f"only {len(frequency)} frequencies can be told from noise; excite more, or longer")
    # Values closer than a fortieth of a decade are one point, weighted by their sureness.
    bins = np.floor(np.log10(frequency) * 40)
    rows = []
    for bin_ in np.unique(bins):
        here = bins == bin_
        weight = 1 / np.maximum(deviation[here], 1e-12 * np.abs(gain[here])) ** 2
        total = weight.sum()
        rows.append((np.exp((np.log(frequency[here]) * weight).sum() / total), (gain[here] * weight).sum() / total, total**-0.5))
    columns = list(zip(*rows, strict=True))
    return Response(np.array(columns[0]), np.array(columns[1]), np.array(columns[2]), parts[0].sample_period_s)
