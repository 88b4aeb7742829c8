"""What the response of the twin's STM is by theory, from its plant's numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


def stm_response(
    frequency_Hz: Array, *, decay_per_m: float, z_resonance_Hz: float, z_quality: float, preamp_bandwidth_Hz: float, sample_period_s: float
) -> Complex:
    """log2 of the current per metre of z, as `response_of` counts both.

    The current falls as exp(-2 decay gap). A z that the controller made of sample k is recorded with sample k + 1. DAC frames take two
    samples: one that begins in that period stands at the second and third conversion after it, and the next z is left out. So a record is
    two or three samples old when it counts, on an average of both (1 + exp(-jwT)) / 2. The scanner is a resonance, the preamplifier a
    low-pass.
    """
    turn = 2j * math.pi * frequency_Hz
    sample = np.exp(-turn * sample_period_s)
    ratio = frequency_Hz / z_resonance_Hz
    scanner = 1 / (1 - ratio**2 + 1j * ratio / z_quality)
    preamp = 1 / (1 + 1j * frequency_Hz / preamp_bandwidth_Hz)
    slow = -2 * decay_per_m / math.log(2)
    return np.asarray(slow * sample**2 * (1 + sample) / 2 * scanner * preamp, np.complex128)
