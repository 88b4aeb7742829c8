"""1/f noise as a sum of first-order processes whose corner frequencies lie a factor of 8 apart.

A stationary first-order process (Ornstein-Uhlenbeck) of variance v and corner f_k has the one-sided density (2 v / pi) f_k / (f_k^2 + f^2).
Processes of one variance, their corners spaced evenly on a logarithmic axis by a factor r, add up to v / (f ln r): 1/f (McWhorter 1957; van
der Ziel, Physica 16, 359 (1950)). With r = 8 the sum's ripple is +-2 sech(pi^2 / ln r) = 3.5 %, 0.15 dB.

Corners from 0.02 Hz to 42 kHz keep the sum within 0.3 dB of 1/f from 0.1 Hz to 10 kHz. A corner's process advances every 2^k samples, by
its exact discretisation (Gillespie, Phys. Rev. E 54, 2084 (1996)), and holds in between. That costs next to nothing in the spectrum: well
above its corner a sampled process falls as 1/sin^2(pi f T), and the hold's sinc^2 makes that 1/f^2 again. Only at multiples of the rates of
advance (10 to 20 times the corners) are there narrow dips, of 0.6 dB at most.
"""

from __future__ import annotations

import math
from enum import auto

import numpy as np
from numpy.typing import NDArray

from .compiled import inner, shared
from .noise import standard_normal
from .places import Places

CORNERS = 8
SPACING = 8.0
LOWEST_CORNER_HZ = 0.02
_LARGEST_STEP = 0.6  # of a process between two advances, in its time constants

Array = NDArray[np.float64]


class Source(Places):
    """What has 1/f noise of its own."""

    JUNCTION = auto()  # of the current, relative to it
    PREAMP = auto()  # amperes, at the preamplifier's input
    HEIGHT = auto()  # metres, of the tip above the surface


SOURCES = len(Source)
STATES = SOURCES * (1 + CORNERS)  # the sums, then the processes source by source, each of variance 1
COEFFICIENTS = SOURCES + 3 * CORNERS  # scales; then decays, kicks and strides, fastest corner first
_NUMBERS = np.uint64(32)  # random numbers set aside for one sample, at least SOURCES * CORNERS


def corners_Hz() -> Array:
    """Corner frequencies, shape (CORNERS,), the highest first."""
    return LOWEST_CORNER_HZ * SPACING ** np.arange(CORNERS - 1, -1, -1, dtype=np.float64)


def coefficients(amplitudes: tuple[float, float, float], sample_period_s: float) -> Array:
    """What `advance` needs, shape (COEFFICIENTS,), for amplitude densities at 1 Hz (one for each `Source`, in its unit per sqrt(Hz)).

    The density is then (amplitude)^2 / f, so the variance between f1 and f2 is (amplitude)^2 ln(f2 / f1). An amplitude of 0 switches its
    source off.
    """
    rates = 2 * math.pi * corners_Hz() * sample_period_s  # of decay, per sample
    strides = 2.0 ** np.maximum(np.floor(np.log2(_LARGEST_STEP / rates)), 0)
    scales = np.array(amplitudes) * math.sqrt(math.log(SPACING))
    return np.concatenate([scales, np.exp(-rates * strides), np.sqrt(-np.expm1(-2 * rates * strides)), strides])


@inner()
def _gather(state: Array, at: int, par: Array, par_at: int) -> None:
    for source in range(SOURCES):
        total = 0.0
        for corner in range(CORNERS):
            total += state[at + SOURCES + CORNERS * source + corner]
        state[at + source] = par[par_at + source] * total


@shared()
def begin(state: Array, at: int, par: Array, par_at: int, key: np.uint64) -> None:
    """Draw the `STATES` places of `state` from `at` on from their stationary distribution: as if the noise had always been running."""
    for source in range(SOURCES):
        for corner in range(CORNERS):
            place = CORNERS * source + corner
            state[at + SOURCES + place] = standard_normal(key, np.uint64(place)) if par[par_at + source] != 0.0 else 0.0
    _gather(state, at, par, par_at)


@inner()
def advance(state: Array, at: int, par: Array, par_at: int, key: np.uint64, sample: int) -> None:
    """From sample `sample` - 1 to `sample` (from 1 on). The noise of each `Source` is then in the places of `state` from `at` on.

    `par` has the `coefficients` from `par_at` on.
    """
    decays, kicks, strides = par_at + SOURCES, par_at + SOURCES + CORNERS, par_at + SOURCES + 2 * CORNERS
    if sample & (int(par[strides]) - 1):
        return  # not even the fastest is due
    for corner in range(CORNERS):
        # Strides are powers of two that do not fall, so if this one is not due, no slower one is.
        if sample & (int(par[strides + corner]) - 1):
            break
        for source in range(SOURCES):
            if par[par_at + source] != 0.0:
                place = CORNERS * source + corner
                draw = standard_normal(key, np.uint64(sample) * _NUMBERS + np.uint64(place))
                state[at + SOURCES + place] = par[decays + corner] * state[at + SOURCES + place] + par[kicks + corner] * draw
    _gather(state, at, par, par_at)
