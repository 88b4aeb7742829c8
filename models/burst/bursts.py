"""Raw samples of the tunnelling current: 64 at a time, with what made them.

Each burst is drawn from the twin's plant with its feedback on and the tip in motion. Telegraph noise is an apex (or what sits under it) that
hops between two heights; contact is a surface that comes up, or an atom that bridges the gap, until the preamplifier is at its rail.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from models.common.scans import BIAS_V, microscope
from numpy.typing import NDArray

from reflexarc_sim.plants.stm import StmParameters, StmPlant
from reflexarc_sim.plants.stm_layout import TIP_AT, State
from reflexarc_sim.plants.stm_step import callable_step
from reflexarc_sim.plants.tip import Tip
from reflexarc_sim.specimens import au111, graphene

Array = NDArray[np.float64]
LABELS = ("normal", "telegraph", "contact")
NORMAL, TELEGRAPH, CONTACT = range(3)
SAMPLES = 64
BEFORE = 400  # samples in which loop and preamplifier settle
UNIT_A = 100e-12  # of the model's input
CLIP = 5.0  # units that the eight bits of the input reach
CONTACT_A = 1e-9  # a current that is a contact's, for at least CONTACT_SAMPLES
CONTACT_SAMPLES = 4
HIGH_A = 400e-12  # above it nobody can tell a contact from the foot of one
HOPS = 2  # a single change is a tip change or a slow telegraph: nobody can tell
WEAK = 0.06  # of the mean current: hopping that moves it by less (rms, behind the preamplifier) drowns in 1/f noise,
WEAK_A = 5e-12  # and this much in the white noise
MARGIN = 1.0  # of an event, over the second greatest output


@dataclass(frozen=True)
class Bursts:
    """``current_A`` (n, SAMPLES) as the converter has it; ``allowed`` (n, classes): what may be said; ``kind`` (n,): what was to be made."""

    current_A: Array
    allowed: NDArray[np.bool_]
    kind: NDArray[np.int64]


@functools.cache
def _compiled() -> Callable[..., None]:
    step = callable_step()
    longer, current, velocity, preamp = TIP_AT + int(Tip.LONGER), int(State.CURRENT), int(State.TIP_Z_VELOCITY), int(State.PREAMP)
    held, tip = int(State.HELD_X_V), int(State.TIP_X)  # y and z follow

    @numba.njit
    def run(state: Any, par: Any, heights: Any, dac_V: Any, adc_V: Any, place: Any, loop: Any, away: Any, read_V: Any, true_A: Any) -> None:
        """One burst at a place (x, y, z of the tip, metres; metres a volt of each). ``away``: metres that the apex is longer by, sample by
        sample, from ``len(away) - SAMPLES`` samples before the burst on."""
        for axis in range(3):
            dac_V[axis] = place[axis] / place[3 + axis]
            state[held + axis] = dac_V[axis]
            state[tip + axis] = place[axis]
        state[velocity] = 0.0
        along_V, gain_V, setpoint_V, gain_V_per_A = loop
        state[preamp] = setpoint_V
        start = away.size - read_V.size
        for k in range(away.size):
            state[longer] = away[k]
            dac_V[0] += along_V
            step(state.ctypes, par.ctypes, heights.ctypes, dac_V.ctypes, adc_V.ctypes)
            # The loop looks at the magnitude, and a logarithm has no zero.
            dac_V[2] += gain_V * math.log(max(adc_V[0] / setpoint_V, 1e-3))
            if k >= start:
                read_V[k - start] = adc_V[0] / gain_V_per_A
                true_A[k - start] = state[current]
        state[longer] = 0.0

    return run  # type: ignore[no-any-return]


def _telegraph(random: np.random.Generator, samples: int, two_kappa: float) -> tuple[Array, int]:
    """Two levels, a random time in each; and how many changes fall into the burst, away from its ends."""
    ratio = math.exp(random.uniform(math.log(1.15), math.log(3.5)))
    length_m = math.log(ratio) / two_kappa
    mean = random.uniform(4, 22, 2)  # samples in each level
    level, k, away, hops = 0, 0, np.zeros(samples), 0
    while k < samples:
        stay = max(2, round(random.exponential(mean[level])))
        away[k : k + stay] = length_m * level
        k, level = k + stay, 1 - level
        hops += samples - SAMPLES + 3 <= k < samples - 3
    return away - length_m * random.random(), hops


def _moved(away_m: Array, two_kappa: float, plant: StmPlant) -> float:
    """By how much hopping moves what the preamplifier makes of the current: rms over the burst, of its mean."""
    share = -math.expm1(-2 * math.pi * plant.parameters.preamp_bandwidth_Hz * plant.sample_period_s)
    seen, current = np.exp(two_kappa * away_m), 1.0
    for k, value in enumerate(seen):
        current += share * (value - current)
        seen[k] = current
    burst = seen[-SAMPLES:]
    return float(burst.std() / burst.mean())


def _contact(random: np.random.Generator, samples: int, gap_m: float, dt_s: float) -> Array:
    begin = samples - SAMPLES + random.integers(-SAMPLES // 2, SAMPLES - 8)
    after = np.maximum(np.arange(samples) - begin, 0)
    kind = random.integers(3)
    if kind == 0:  # the surface rises
        return np.minimum(after * dt_s * math.exp(random.uniform(math.log(5e-6), math.log(60e-6))), gap_m * random.uniform(0.7, 1.1))
    away = (after > 0) * gap_m * random.uniform(0.6, 1.1)
    if kind == 2:  # a bridge that breaks now and then
        broken = np.repeat(random.random(samples // 8 + 1) < 0.35, 8)[:samples]
        away = away * ~broken
    return np.asarray(away)


def draw(count: int, seed: int) -> Bursts:
    """The same count and seed give the same bursts. About a third is made of each kind; what came out decides what may be said."""
    random = np.random.default_rng([seed, 64])
    run = _compiled()
    current, allowed, kinds = np.zeros((count, SAMPLES)), np.zeros((count, len(LABELS)), bool), np.zeros(count, np.int64)
    plant: StmPlant | None = None
    for k in range(count):
        if plant is None or k % 2000 == 0:
            plant = _new_plant(random)
        parameters = plant.parameters
        two_kappa, dt_s = 2 * parameters.decay_per_m, plant.sample_period_s
        reach = 0.45 * min(plant.specimen.size_x_m, plant.specimen.size_y_m)
        setpoint_A = math.exp(random.uniform(math.log(30e-12), math.log(200e-12)))
        polarity = random.choice([-1.0, 1.0])
        x, y = random.uniform(-reach, reach, 2)
        gap_m = parameters.gap_m(BIAS_V, setpoint_A)
        z = float(plant.surface_at(x, y, plant.time_s)) + gap_m
        place = np.array([x, y, z, parameters.x_m_per_V, parameters.y_m_per_V, parameters.z_m_per_V])
        speed_m = random.uniform(-2.5e-6, 2.5e-6) * dt_s
        gain_V = 2 * math.pi * random.uniform(1e3, 6e3) * dt_s / (two_kappa * parameters.z_m_per_V)
        loop = np.array(
            [speed_m / parameters.x_m_per_V, gain_V, setpoint_A * parameters.preamp_gain_V_per_A, parameters.preamp_gain_V_per_A]
        )
        samples, hops = BEFORE + SAMPLES, 0
        kind = int(random.integers(len(LABELS)))
        away = np.zeros(samples)
        if kind == TELEGRAPH:
            away, hops = _telegraph(random, samples, two_kappa)
        elif kind == CONTACT:
            away = _contact(random, samples, gap_m, dt_s)
        elif random.random() < 0.1:  # a tip change
            away[samples - random.integers(1, SAMPLES) :] = random.uniform(-60e-12, 60e-12)
            hops = 1
        plant.dac_V[3] = BIAS_V
        true_A = np.zeros(SAMPLES)
        arrays = (plant.state, plant.parameters_array, plant.heights, plant.dac_V, plant.adc_V)
        run(*arrays, place, loop, away, current[k], true_A)
        high = int((np.abs(true_A) > CONTACT_A).sum())
        allowed[k, CONTACT] = high > 0 or true_A.max() > HIGH_A
        weak = kind == TELEGRAPH and _moved(away, two_kappa, plant) < max(WEAK, WEAK_A / setpoint_A)
        allowed[k, NORMAL] = high < CONTACT_SAMPLES and (hops < HOPS or weak)
        allowed[k, TELEGRAPH] = high < CONTACT_SAMPLES and kind == TELEGRAPH
        kinds[k] = kind
        current[k] *= polarity
    return Bursts(current, allowed, kinds)


def _new_plant(random: np.random.Generator) -> StmPlant:
    seed = int(random.integers(1 << 30))
    specimen = au111.generate(40e-9, 40e-9, seed) if random.random() < 0.7 else graphene.generate(seed=seed)
    parameters = StmParameters(
        work_function_eV=random.uniform(3.6, 5.2),
        z_flicker_m_per_sqrtHz=0.33e-12 * math.exp(random.uniform(-1, 1)),
        current_flicker_per_sqrtHz=1e-3 * math.exp(random.uniform(-1, 1)),
    )
    return microscope(specimen, parameters, seed)


def as_input(current_A: Array) -> NDArray[np.float32]:
    """[n, channel, row, record], in units."""
    return np.clip(current_A / UNIT_A, -CLIP, CLIP).astype(np.float32)[:, None, None, :]
