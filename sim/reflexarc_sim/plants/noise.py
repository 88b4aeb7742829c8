"""Random numbers as a pure function of a key and a number, in most uses a sample's.

A generator with hidden state (numba's belongs to a thread) would make a run depend on who else draws numbers, and on which thread. Here
sample n of a seed has one value for ever. The numbers are those of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014), whose state after n steps is `key + n * GAMMA`; the two halves of each go through the Box-Muller transform
(Annals of Mathematical Statistics 29, 610 (1958)).
"""

from __future__ import annotations

import math

import numpy as np

from .compiled import shared

GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_STREAM = np.uint64(0xD1342543DE82EF95)  # odd, so that each stream gets a number of its own
_S11, _S27, _S30, _S31, _S32 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_UNIT = 2.0**-32


@shared()
def mix64(value: np.uint64) -> np.uint64:
    """The output function of SplitMix64, a bijection of 64-bit numbers."""
    value = (value ^ (value >> _S30)) * _MIX_1
    value = (value ^ (value >> _S27)) * _MIX_2
    return value ^ (value >> _S31)


@shared()
def stream_key(key: np.uint64, stream: np.uint64) -> np.uint64:
    """A key of its own for each purpose (`stream` from 1 on)."""
    return mix64(key ^ (stream * _STREAM))


@shared()
def standard_normal(key: np.uint64, number: np.uint64) -> float:
    """Mean 0, variance 1, never beyond 6.7; independent for each `number`."""
    bits = mix64(key + number * GAMMA)
    radius_uniform = (np.float64(bits >> _S32) + 1.0) * _UNIT  # in (0, 1]: its logarithm exists
    angle_uniform = np.float64(bits & _LOW) * _UNIT
    return math.sqrt(-2.0 * math.log(radius_uniform)) * math.cos(2.0 * math.pi * angle_uniform)


@shared()
def uniform(key: np.uint64, number: np.uint64) -> float:
    """Evenly spread over [0, 1), in steps of 2^-53; independent for each `number`."""
    return np.float64(mix64(key + number * GAMMA) >> _S11) * 2.0**-53
