"""What a piezo does with its volts before its mechanics: hysteresis, then creep.

The order is that of Croft, Shed and Devasia, J. Dyn. Syst. Meas. Control 123, 35 (2001): a static hysteresis, then linear creep, then linear
dynamics (those are in the plant's step).

**Hysteresis** is a weighted sum of play operators (Prandtl-Ishlinskii; Kuhnen, Eur. J. Control 9, 407 (2003)). The density of thresholds is
even over the stroke: this is Rayleigh's law, which piezoceramics follow (Damjanovic and Demartin, J. Phys. D 29, 2057 (1996)). A loop is then
as wide, relative to its own stroke, as that stroke is relative to the full one, and the gain of a small stroke is 1 - 2 h of the full one's
if h is the width of the full loop. The thresholds themselves are spaced by sqrt(2), with weights to suit, so that small strokes have their
loops too; below the least threshold (1/256 of the half stroke) there is none.

**Creep** is logarithmic, L(t) = L(0.1 s) (1 + c log10(t / 0.1 s)) after a step (Jung and Gweon, Rev. Sci. Instrum. 71, 1896 (2000); makers of
piezos quote 1 to 2 % per decade, from 0.1 s), as a sum of relaxations with time constants a decade apart, 1 ms to 10^4 s: Croft's springs and
dampers in series. Over any whole decade from 1 ms to 1000 s the sum creeps by c, to within 1 % of c.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiled import inner

PLAYS = 16
RELAXATIONS = 8
FASTEST_RELAXATION_S = 1e-3
CREEP_REFERENCE_S = 0.1

Array = NDArray[np.float64]


def play_thresholds(half_stroke: float) -> Array:
    """Thresholds of the play operators, shape (PLAYS,), in the unit of `half_stroke`; the largest first."""
    return np.asarray(half_stroke * 2.0 ** (-0.5 * np.arange(1, PLAYS + 1)))


def play_weights(width: float) -> Array:
    """Weight of the input itself and then of each play operator, shape (1 + PLAYS,).

    `width` is that of the loop of the full stroke at its middle, as a fraction of the full stroke (both from - to + half stroke). The ends
    of that loop lie where they would without hysteresis.
    """
    relative = play_thresholds(1.0)
    even = relative / (relative * np.minimum(relative, 1 - relative)).sum()  # even density, and a width of 1
    weights = width * even
    return np.concatenate([[1.0 - (weights * (1 - relative)).sum()], weights])


def _time_constants_s() -> Array:
    return FASTEST_RELAXATION_S * 10.0 ** np.arange(RELAXATIONS, dtype=np.float64)


def relaxation_shares(sample_period_s: float) -> Array:
    """Share of the way to its target that each relaxation covers in a sample, shape (RELAXATIONS,), the fastest first."""
    return np.asarray(-np.expm1(-sample_period_s / _time_constants_s()))


def creep_weights(per_decade: float) -> Array:
    """Weight of the input itself, and of each relaxation, shape (2,): 0.1 s after a step the response is that without creep."""
    until_reference = -np.expm1(-CREEP_REFERENCE_S / _time_constants_s()).sum()
    return np.array([1.0 - per_decade * until_reference, per_decade])


@inner()
def hysteresis(value: float, state: Array, at: int, par: Array, thresholds_at: int, weights_at: int) -> float:
    """Sum of the play operators for the next input `value`; where they stand is in the `PLAYS` places of `state` from `at` on."""
    total = par[weights_at] * value
    for k in range(PLAYS):
        threshold = par[thresholds_at + k]
        play = min(max(state[at + k], value - threshold), value + threshold)
        state[at + k] = play
        total += par[weights_at + 1 + k] * play
    return float(total)


@inner()
def creep(value: float, state: Array, at: int, par: Array, shares_at: int, weights_at: int) -> float:
    """Response after one more sample with the input `value`; the relaxations are in the `RELAXATIONS` places of `state` from `at` on.

    Exact for an input that is constant over the sample.
    """
    total = 0.0
    for k in range(RELAXATIONS):
        relaxation = state[at + k] + par[shares_at + k] * (value - state[at + k])
        state[at + k] = relaxation
        total += relaxation
    return float(par[weights_at] * value + par[weights_at + 1] * total)
