"""How the specimen moves as a whole against the scanner: thermal drift, and the coarse motor's steps.

**Drift** is a constant velocity, and one that dies away from the start, as after a change of specimen or of temperature.

**The coarse motor** is an inertial (stick-slip) one: Pohl, Rev. Sci. Instrum. 58, 54 (1987); Hunstig, Actuators 6, 7 (2017). Its steps are
not all of one size, they are larger one way than the other (gravity, friction, the asymmetry of the slip), and its slider wanders sideways.
"""

from __future__ import annotations

import math
from enum import auto

import numpy as np
from numpy.typing import NDArray

from .compiled import inner, shared
from .noise import standard_normal
from .places import Places

Array = NDArray[np.float64]


class Coarse(Places):
    """Where the coarse motor holds the specimen: places in a block of the state."""

    COUNT = auto()  # net steps away from the specimen that have been made
    STEPS = auto()  # steps either way that have been made
    X = auto()  # metres
    Y = auto()
    GAP = auto()  # metres farther from the tip than within reach


class CoarseMotor(Places):
    """What the coarse motor is like: places in a block of the parameters."""

    AWAY = auto()  # mean size of a step, metres
    TOWARDS = auto()
    SCATTER = auto()  # standard deviation of a step's size, relative
    JITTER = auto()  # standard deviation of a step's move along x and along y, metres


@inner()
def coarse_step(state: Array, at: int, par: Array, par_at: int, count: float, key: np.uint64) -> None:
    """Make the next step towards `count` net steps: at most one a sample, which is far more than a motor can.

    `Coarse` is in `state` from `at` on, `CoarseMotor` in `par` from `par_at` on. A step's scatter depends on how many steps were made
    before, and on `key`; not on the time.
    """
    away = count > state[at + Coarse.COUNT]
    number = np.uint64(state[at + Coarse.STEPS]) * np.uint64(3)
    size = par[par_at + CoarseMotor.AWAY] if away else -par[par_at + CoarseMotor.TOWARDS]
    state[at + Coarse.GAP] += size * max(1.0 + par[par_at + CoarseMotor.SCATTER] * standard_normal(key, number), 0.0)
    state[at + Coarse.X] += par[par_at + CoarseMotor.JITTER] * standard_normal(key, number + np.uint64(1))
    state[at + Coarse.Y] += par[par_at + CoarseMotor.JITTER] * standard_normal(key, number + np.uint64(2))
    state[at + Coarse.COUNT] += 1.0 if away else -1.0
    state[at + Coarse.STEPS] += 1.0


@inner()
def drift_along(time_s: float, speed: float, first_speed: float, time_constant_s: float) -> float:
    """Metres that one axis has drifted since the start: at `speed` all along, and at `first_speed` exp(-t / `time_constant_s`) besides."""
    drift = speed * time_s
    if first_speed != 0.0:
        drift -= first_speed * time_constant_s * math.expm1(-time_s / time_constant_s)
    return drift


@shared()
def drift_many(time_s: Array, speeds: Array, first_speeds: Array, time_constant_s: float) -> Array:
    """`drift_along` for each time of a 1-D array and each axis: shape (times, axes)."""
    drifts = np.empty((time_s.size, speeds.size))
    for k in range(time_s.size):
        for axis in range(speeds.size):
            drifts[k, axis] = drift_along(time_s[k], speeds[axis], first_speeds[axis], time_constant_s)
    return drifts
