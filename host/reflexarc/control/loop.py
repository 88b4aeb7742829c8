"""The controller's own response, the loop, and how far it is from ringing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reflexarc.control.response import Response

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Gains:
    """Of the PI controller: metres of z per unit of error; ``ki_m`` per sample."""

    kp_m: float
    ki_m: float


@dataclass(frozen=True)
class Margins:
    """``gain_dB`` may the loop gain rise, ``phase_deg`` fall, before it rings; ``peak`` is the greatest magnification of a disturbance, |1 / (1
    + L)|; the loop's gain is 1 at ``bandwidth_Hz``."""

    gain_dB: float
    phase_deg: float
    peak: float
    bandwidth_Hz: float

    @property
    def stable(self) -> bool:
        return self.gain_dB > 0 and self.phase_deg > 0


def controller_response(gains: Gains, frequency_Hz: Array, sample_period_s: float) -> Complex:
    """z per error of the gateware's controller: z[k + 1] = integral[k] + ki e[k] + kp e[k], integral[k + 1] = integral[k] + ki e[k]."""
    delay = np.exp(-2j * math.pi * frequency_Hz * sample_period_s)
    return np.asarray(delay * (gains.kp_m + gains.ki_m / (1 - delay)), np.complex128)


def loop_gain(response: Response, gains: Gains, frequency_Hz: Array) -> Complex:
    """L: a rise of z lowers the error, hence the sign."""
    return -response.at(frequency_Hz) * controller_response(gains, frequency_Hz, response.sample_period_s)


def margins(response: Response, gains: Gains) -> Margins:
    """From the measured response, up to its last frequency."""
    frequency = np.geomspace(response.frequency_Hz[0], response.frequency_Hz[-1], 4000)
    loop = loop_gain(response, gains, frequency)
    magnitude = np.abs(loop)
    # The integrator's 90 degrees are where the phase starts.
    phase = np.unwrap(np.angle(loop))
    phase -= 2 * math.pi * round((phase[0] + math.pi / 2) / (2 * math.pi))
    peak = float(np.max(1 / np.abs(1 + loop)))
    crossings = np.flatnonzero((magnitude[:-1] >= 1) & (magnitude[1:] < 1))
    if magnitude[0] < 1:  # below the first frequency: the integrator alone
        bandwidth, phase_margin = float(frequency[0] * magnitude[0]), 90.0
    elif len(crossings):
        bandwidth = float(frequency[crossings[0]])
        phase_margin = float(min(180 + math.degrees(phase[index]) for index in crossings))
    else:
        bandwidth, phase_margin = float(frequency[-1]), -180.0
    turns = np.flatnonzero((phase[:-1] > -math.pi) & (phase[1:] <= -math.pi))
    worst = max((float(magnitude[index]) for index in turns), default=float(magnitude[-1]))
    return Margins(-20 * math.log10(worst), phase_margin, peak, bandwidth)
