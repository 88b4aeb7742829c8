"""One sample of the STM plant, compiled: what the board process calls in its loop. The formulas and their sources: docs/guide/plant.md."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numpy.typing import NDArray

from ..specimens.interpolate import bilinear
from . import adatoms
from . import stm_layout as at
from .adatoms import Adatoms, Manipulation
from .compiled import inner, shared
from .flicker import Source
from .flicker import advance as advance_flicker
from .motion import Coarse, coarse_step, drift_along
from .noise import standard_normal, stream_key, uniform
from .scanner import PLAYS, RELAXATIONS, creep, hysteresis
from .stm_layout import AXES, COARSE_AT, DAC_ENTRIES, MOTOR, ODDS_AT, PARAMETER_SIZE, RING_AT, STATE_SIZE, TIP_AT, Parameter, State
from .tip import NUMBERS, Odds, Tip, change_at_random

Array = NDArray[np.float64]
Step = Callable[[int, int, int, int, int], None]

# Streams of random numbers; the key's own belong to the white noise of the current.
FLICKER_STREAM, TIP_STREAM, MOTOR_STREAM, CALL_STREAM = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
BY_RATE, BY_CONTACT, BY_CALL = 0, 1, 2  # in the order of `tip.CAUSES`


@shared()
def noise_key(state: Array) -> np.uint64:
    """The key that the seed has become."""
    return (np.uint64(state[State.NOISE_KEY_HIGH]) << np.uint64(32)) | np.uint64(state[State.NOISE_KEY_LOW])


@shared()
def drive_piezos(state: Array, par: Array) -> None:
    """From what the DACs held to `PIEZO_*_V`: hysteresis, then creep."""
    for axis in range(AXES):
        volts = state[State.HELD_X_V + axis]
        if par[Parameter.HYSTERETIC] != 0.0:
            weights_at = at.PLAY_WEIGHTS_AT + (1 + PLAYS) * axis
            volts = hysteresis(volts, state, at.PLAYS_AT + PLAYS * axis, par, at.THRESHOLDS_AT, weights_at)
        if par[Parameter.CREEPING] != 0.0:
            weights_at = at.CREEP_WEIGHTS_AT + 2 * axis
            volts = creep(volts, state, at.RELAXATIONS_AT + RELAXATIONS * axis, par, at.SHARES_AT, weights_at)
        state[State.PIEZO_X_V + axis] = volts


@inner()
def _scan(state: Array, par: Array) -> None:
    """The scanner: exact for inputs that stay constant over the sample (zero-order hold)."""
    drive_piezos(state, par)
    state[State.TIP_X] += par[Parameter.XY_SHARE] * (par[Parameter.X_M_PER_V] * state[State.PIEZO_X_V] - state[State.TIP_X])
    state[State.TIP_Y] += par[Parameter.XY_SHARE] * (par[Parameter.Y_M_PER_V] * state[State.PIEZO_Y_V] - state[State.TIP_Y])
    target = par[Parameter.Z_M_PER_V] * state[State.PIEZO_Z_V]
    away = state[State.TIP_Z] - target
    velocity = state[State.TIP_Z_VELOCITY]
    state[State.TIP_Z] = target + par[Parameter.Z_FROM_Z] * away + par[Parameter.Z_FROM_VELOCITY] * velocity
    state[State.TIP_Z_VELOCITY] = par[Parameter.VELOCITY_FROM_Z] * away + par[Parameter.VELOCITY_FROM_VELOCITY] * velocity


@inner()
def _change_tip(state: Array, par: Array) -> None:
    """Let chance decide whether the tip changes with this sample: because a contact began with the last one, or by the rate."""
    key = stream_key(noise_key(state), TIP_STREAM)
    number = np.uint64(state[State.SAMPLES]) * np.uint64(NUMBERS)
    cause = -1
    if uniform(key, number) < par[ODDS_AT + Odds.PER_SAMPLE]:
        cause = BY_RATE
    if state[State.TOUCHED] != 0.0 and uniform(key, number + np.uint64(NUMBERS - 1)) < par[ODDS_AT + Odds.ON_CONTACT]:
        cause = BY_CONTACT
    if cause >= 0:
        change_at_random(state, TIP_AT, RING_AT, par, ODDS_AT, key, number, state[State.SAMPLES], cause)


@inner()
def _approach(state: Array, par: Array, heights: Array, time_s: float) -> float:
    """Surface and gap: specimen, adatoms, drift, coarse motor, a provoked rise on its way to its limit, the tip's shape, 1/f noise of the
    height. Adatoms move first, by the last sample's gap and current.

    The gap of the first apex goes into the state. Returns that of the second, infinite without one.
    """
    step = par[Parameter.RISE_SPEED] * par[Parameter.SAMPLE_PERIOD]
    state[State.RISE] += min(max(par[Parameter.RISE_LIMIT] - state[State.RISE], -step), step)
    settling = par[Parameter.DRIFT_TIME]
    x = state[State.TIP_X] - drift_along(time_s, par[Parameter.DRIFT_X], par[Parameter.FIRST_DRIFT_X], settling)
    y = state[State.TIP_Y] - drift_along(time_s, par[Parameter.DRIFT_Y], par[Parameter.FIRST_DRIFT_Y], settling)
    x = x - state[COARSE_AT + Coarse.X] + state[TIP_AT + Tip.X]
    y = y - state[COARSE_AT + Coarse.Y] + state[TIP_AT + Tip.Y]
    risen = par[Parameter.MEAN_HEIGHT] + drift_along(time_s, par[Parameter.DRIFT_Z], par[Parameter.FIRST_DRIFT_Z], settling)
    risen = risen + state[State.RISE] - state[COARSE_AT + Coarse.GAP]
    height = bilinear(heights, x, y, par[Parameter.SIZE_X], par[Parameter.SIZE_Y])
    if par[at.MANIPULATION_AT + Manipulation.COUNT] != 0.0:
        adatoms.follow(state, at.ADATOMS_AT, par, at.MANIPULATION_AT, x, y, state[State.CURRENT])
        height += adatoms.height_over(state, at.ADATOMS_AT, par, at.MANIPULATION_AT, x, y)
    surface = height + risen
    apex = state[State.TIP_Z] - state[TIP_AT + Tip.LONGER] + state[at.FLICKER_AT + Source.HEIGHT]
    gap = apex - surface
    second = math.inf
    if state[TIP_AT + Tip.SECOND] != 0.0:
        x, y = x + state[TIP_AT + Tip.SECOND_X], y + state[TIP_AT + Tip.SECOND_Y]
        under = bilinear(heights, x, y, par[Parameter.SIZE_X], par[Parameter.SIZE_Y])
        if par[at.MANIPULATION_AT + Manipulation.COUNT] != 0.0:
            under += adatoms.height_over(state, at.ADATOMS_AT, par, at.MANIPULATION_AT, x, y)
        second = apex + state[TIP_AT + Tip.SECOND_SHORTER] - (under + risen)
    state[State.SURFACE] = surface
    state[State.GAP] = gap
    state[at.ADATOMS_AT + Adatoms.GAP] = gap
    return second


@inner()
def _watch_contact(state: Array, par: Array, gap: float) -> None:
    """A contact counts once until the tip has left the surface by the release distance."""
    state[State.TOUCHED] = 0.0
    if gap <= 0.0:
        if state[State.IN_CONTACT] == 0.0:
            state[State.IN_CONTACT] = 1.0
            state[State.TOUCHED] = 1.0
            state[State.CONTACTS] += 1.0
        state[State.CONTACT_DEPTH] = max(state[State.CONTACT_DEPTH], -gap)
    elif gap > par[Parameter.CONTACT_RELEASE]:
        state[State.IN_CONTACT] = 0.0


@inner()
def _amplify(state: Array, par: Array, current: float) -> float:
    if par[Parameter.LOGARITHMIC] != 0.0:
        decades = math.log1p(abs(current) / par[Parameter.LOG_REFERENCE_A]) / math.log(10.0)
        ideal = math.copysign(par[Parameter.LOG_V_PER_DECADE] * decades, current)
    else:
        ideal = par[Parameter.GAIN_V_PER_A] * current
    # The rails hold the amplifier itself: it leaves them as soon as the input allows, not after working off a virtual kilovolt.
    output = state[State.PREAMP] + par[Parameter.PREAMP_SHARE] * (ideal - state[State.PREAMP])
    output = min(max(output, -par[Parameter.RAIL_V]), par[Parameter.RAIL_V])
    state[State.PREAMP] = output
    return float(output)


@inner()
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

    _scan(state, par)
    if abs(dac_V[MOTOR] - state[COARSE_AT + Coarse.COUNT]) >= 1.0:
        key = stream_key(noise_key(state), MOTOR_STREAM)
        coarse_step(state, COARSE_AT, par, at.COARSE_MOTOR_AT, dac_V[MOTOR], key)
    if par[ODDS_AT + Odds.PER_SAMPLE] > 0.0 or state[State.TOUCHED] != 0.0:
        _change_tip(state, par)
    if par[Parameter.FLICKERING] != 0.0:
        key = stream_key(noise_key(state), FLICKER_STREAM)
        advance_flicker(state, at.FLICKER_AT, par, at.FLICKER_COEFFICIENTS_AT, key, int(samples))

    second_gap = _approach(state, par, heights, time_s)
    gap = state[State.GAP]
    two_kappa = par[Parameter.TWO_KAPPA] * state[TIP_AT + Tip.KAPPA_FACTOR]
    conductance = par[Parameter.CONTACT_CONDUCTANCE] * math.exp(-two_kappa * max(gap, 0.0))
    if second_gap < math.inf:
        conductance += par[Parameter.CONTACT_CONDUCTANCE] * math.exp(-two_kappa * max(second_gap, 0.0))
        gap = min(gap, second_gap)
        state[State.GAP] = gap
    _watch_contact(state, par, gap)

    current = conductance * dac_V[3]
    state[State.CURRENT] = current
    variance = par[Parameter.SHOT_VARIANCE_PER_A] * abs(current) + par[Parameter.JOHNSON_VARIANCE]
    if par[Parameter.FLICKERING] != 0.0:
        current += current * state[at.FLICKER_AT + Source.JUNCTION] + state[at.FLICKER_AT + Source.PREAMP]
    if variance > 0.0:
        # Shot and Johnson noise are independent and Gaussian, so their sum is one Gaussian with the sum of their variances.
        current += math.sqrt(variance) * standard_normal(noise_key(state), np.uint64(samples))
    adc_V[0] = _amplify(state, par, current)

    state[State.HELD_X_V] = dac_V[0]
    state[State.HELD_Y_V] = dac_V[1]
    state[State.HELD_Z_V] = dac_V[2]


@functools.cache
def compiled_step() -> int:
    """Address of `void step(double *state, const double *parameters, const double *heights_m, const double *dac_V, double *adc_V)`.

    Compiled once a process, which takes some seconds. The arrays: those of `stm_layout`, the specimen's heights row by row (their shape is
    among the parameters), the volts of the DACs x, y, z and bias and the coarse motor's count of steps, and the one output of the
    preamplifier. All must outlive the calls.
    """
    pointer = types.CPointer(types.float64)  # type: ignore[no-untyped-call]

    @numba.cfunc(types.void(pointer, pointer, pointer, pointer, pointer), error_model="numpy")
    def step(state: Any, par: Any, heights: Any, dac_V: Any, adc_V: Any) -> None:
        par_ = carray(par, (PARAMETER_SIZE,))
        shape = (int(par_[Parameter.ROWS]), int(par_[Parameter.COLUMNS]))
        _advance(carray(state, (STATE_SIZE,)), par_, carray(heights, shape), carray(dac_V, (DAC_ENTRIES,)), carray(adc_V, (1,)))

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
    """`loop(state, parameters, heights, dac_V, adc_V)`: calls the compiled step for each row of `dac_V` (n, 5) into `adc_V` (n,)."""
    step = callable_step()

    @numba.njit
    def loop(state: Any, par: Any, heights: Any, dac_V: Any, adc_V: Any) -> None:
        for k in range(adc_V.size):
            step(state.ctypes, par.ctypes, heights.ctypes, dac_V[k].ctypes, adc_V[k:].ctypes)

    return loop  # type: ignore[no-any-return]
