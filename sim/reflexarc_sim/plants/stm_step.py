"""One sample of the STM plant, compiled: what the board process calls in its loop. The formulas and their sources: docs/guide/plant.md."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from enum import IntEnum, auto
from typing import Any

import numba
import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numpy.typing import NDArray

from ..specimens.interpolate import bilinear
from .noise import standard_normal

Array = NDArray[np.float64]
Step = Callable[[int, int, int, int, int], None]


class _Index(IntEnum):
    """Counts from 0: each member is a place in an array."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count


class State(_Index):
    """Places in the state array (SI units; lengths in metres)."""

    SAMPLES = auto()  # calls so far; a whole number, exact up to 2^53
    TIP_X = auto()
    TIP_Y = auto()
    TIP_Z = auto()
    TIP_Z_VELOCITY = auto()
    HELD_X_V = auto()  # what the DACs hold from this sample to the next
    HELD_Y_V = auto()
    HELD_Z_V = auto()
    RISE = auto()  # of the surface, provoked
    SURFACE = auto()  # height under the tip
    GAP = auto()
    CURRENT = auto()  # without noise, amperes
    PREAMP = auto()  # volts
    IN_CONTACT = auto()  # 0 or 1
    CONTACTS = auto()
    CONTACT_DEPTH = auto()  # the deepest so far
    NOISE_KEY_HIGH = auto()  # the 64-bit key in two halves, each exact in a double
    NOISE_KEY_LOW = auto()


class Parameter(_Index):
    """Places in the parameter array: `StmParameters`, worked out for one sample period. RISE_* may change while running."""

    SAMPLE_PERIOD = auto()
    X_M_PER_V = auto()
    Y_M_PER_V = auto()
    Z_M_PER_V = auto()
    XY_SHARE = auto()  # of the way to its target that the lateral piezo covers in one sample
    Z_FROM_Z = auto()  # the resonance's transition matrix over one sample
    Z_FROM_VELOCITY = auto()
    VELOCITY_FROM_Z = auto()
    VELOCITY_FROM_VELOCITY = auto()
    ROWS = auto()
    COLUMNS = auto()
    SIZE_X = auto()
    SIZE_Y = auto()
    MEAN_HEIGHT = auto()
    DRIFT_X = auto()
    DRIFT_Y = auto()
    DRIFT_Z = auto()
    TWO_KAPPA = auto()
    CONTACT_CONDUCTANCE = auto()
    CONTACT_RELEASE = auto()
    SHOT_VARIANCE_PER_A = auto()  # A^2 per A; 0 without noise
    JOHNSON_VARIANCE = auto()  # A^2; 0 without noise
    LOGARITHMIC = auto()  # 0 or 1
    GAIN_V_PER_A = auto()
    LOG_V_PER_DECADE = auto()
    LOG_REFERENCE_A = auto()
    PREAMP_SHARE = auto()
    RAIL_V = auto()
    RISE_SPEED = auto()
    RISE_LIMIT = auto()


@numba.njit(error_model="numpy")
def _advance(
    state: Array,
    par: Array,
    heights: Array,
    dac_V: Array,
    adc_V: Array,
) -> None:
    """From the last sample to this one, with what the DACs held meanwhile; then measure, then take over the new DAC volts."""
    state[State.SAMPLES] += 1.0
    samples = state[State.SAMPLES]
    time_s = samples * par[Parameter.SAMPLE_PERIOD]  # a product: a sum would gather rounding errors

    # Scanner: exact for inputs that stay constant over the sample (zero-order hold).
    state[State.TIP_X] += par[Parameter.XY_SHARE] * (par[Parameter.X_M_PER_V] * state[State.HELD_X_V] - state[State.TIP_X])
    state[State.TIP_Y] += par[Parameter.XY_SHARE] * (par[Parameter.Y_M_PER_V] * state[State.HELD_Y_V] - state[State.TIP_Y])
    target = par[Parameter.Z_M_PER_V] * state[State.HELD_Z_V]
    away = state[State.TIP_Z] - target
    velocity = state[State.TIP_Z_VELOCITY]
    state[State.TIP_Z] = target + par[Parameter.Z_FROM_Z] * away + par[Parameter.Z_FROM_VELOCITY] * velocity
    state[State.TIP_Z_VELOCITY] = par[Parameter.VELOCITY_FROM_Z] * away + par[Parameter.VELOCITY_FROM_VELOCITY] * velocity

    # Surface: the specimen, where drift has carried it, and a provoked rise on its way to its limit.
    step = par[Parameter.RISE_SPEED] * par[Parameter.SAMPLE_PERIOD]
    state[State.RISE] += min(max(par[Parameter.RISE_LIMIT] - state[State.RISE], -step), step)
    x = state[State.TIP_X] - par[Parameter.DRIFT_X] * time_s
    y = state[State.TIP_Y] - par[Parameter.DRIFT_Y] * time_s
    surface = bilinear(heights, x, y, par[Parameter.SIZE_X], par[Parameter.SIZE_Y])
    surface += par[Parameter.MEAN_HEIGHT] + par[Parameter.DRIFT_Z] * time_s + state[State.RISE]
    gap = state[State.TIP_Z] - surface
    state[State.SURFACE] = surface
    state[State.GAP] = gap

    # A contact counts once until the tip has left the surface by the release distance.
    if gap <= 0.0:
        if state[State.IN_CONTACT] == 0.0:
            state[State.IN_CONTACT] = 1.0
            state[State.CONTACTS] += 1.0
        state[State.CONTACT_DEPTH] = max(state[State.CONTACT_DEPTH], -gap)
    elif gap > par[Parameter.CONTACT_RELEASE]:
        state[State.IN_CONTACT] = 0.0

    conductance = par[Parameter.CONTACT_CONDUCTANCE] * math.exp(-par[Parameter.TWO_KAPPA] * max(gap, 0.0))
    current = conductance * dac_V[3]
    state[State.CURRENT] = current
    variance = par[Parameter.SHOT_VARIANCE_PER_A] * abs(current) + par[Parameter.JOHNSON_VARIANCE]
    if variance > 0.0:
        # Shot and Johnson noise are independent and Gaussian, so their sum is one Gaussian with the sum of their variances.
        key = (np.uint64(state[State.NOISE_KEY_HIGH]) << np.uint64(32)) | np.uint64(state[State.NOISE_KEY_LOW])
        current += math.sqrt(variance) * standard_normal(key, np.uint64(samples))

    if par[Parameter.LOGARITHMIC] != 0.0:
        decades = math.log1p(abs(current) / par[Parameter.LOG_REFERENCE_A]) / math.log(10.0)
        ideal = math.copysign(par[Parameter.LOG_V_PER_DECADE] * decades, current)
    else:
        ideal = par[Parameter.GAIN_V_PER_A] * current
    # The rails hold the amplifier itself: it leaves them as soon as the input allows, not after working off a virtual kilovolt.
    output = state[State.PREAMP] + par[Parameter.PREAMP_SHARE] * (ideal - state[State.PREAMP])
    output = min(max(output, -par[Parameter.RAIL_V]), par[Parameter.RAIL_V])
    state[State.PREAMP] = output
    adc_V[0] = output

    state[State.HELD_X_V] = dac_V[0]
    state[State.HELD_Y_V] = dac_V[1]
    state[State.HELD_Z_V] = dac_V[2]


@functools.cache
def compiled_step() -> int:
    """Address of `void step(double *state, const double *parameters, const double *heights_m, const double *dac_V, double *adc_V)`.

    Compiled once a process, which takes about a second. The arrays: `State`, `Parameter`, the specimen's heights row by row (their shape is
    among the parameters), the volts of the DACs x, y, z and bias, and the one output of the preamplifier. All must outlive the calls.
    """
    pointer = types.CPointer(types.float64)  # type: ignore[no-untyped-call]
    states, parameters = len(State), len(Parameter)

    @numba.cfunc(types.void(pointer, pointer, pointer, pointer, pointer), error_model="numpy")
    def step(state: Any, par: Any, heights: Any, dac_V: Any, adc_V: Any) -> None:
        par_ = carray(par, (parameters,))
        shape = (int(par_[Parameter.ROWS]), int(par_[Parameter.COLUMNS]))
        _advance(carray(state, (states,)), par_, carray(heights, shape), carray(dac_V, (4,)), carray(adc_V, (1,)))

    assert step.address is not None
    _keep_alive.append(step)
    return step.address


_keep_alive: list[Any] = []  # numba frees the code of a function that nobody holds


@functools.cache
def callable_step() -> Step:
    """The compiled function as Python can call it: with five addresses."""
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5)(compiled_step())


@functools.cache
def compiled_loop() -> Callable[[Array, Array, Array, Array, Array], None]:
    """`loop(state, parameters, heights, dac_V, adc_V)`: calls the compiled step for each row of `dac_V` (n, 4) into `adc_V` (n,)."""
    step = callable_step()

    @numba.njit
    def loop(state: Any, par: Any, heights: Any, dac_V: Any, adc_V: Any) -> None:
        for k in range(adc_V.size):
            step(state.ctypes, par.ctypes, heights.ctypes, dac_V[k].ctypes, adc_V[k:].ctypes)

    return loop  # type: ignore[no-any-return]
