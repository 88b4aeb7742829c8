"""Hysteresis and creep of the scanner against closed formulas and naive models."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plant_stm import FLAT, QUIET, close, flat, hold

from reflexarc_sim.plants.scanner import creep_weights, play_thresholds, play_weights
from reflexarc_sim.plants.stm import State, StmParameters, StmPlant

HALF_V = 10.0


def piezo(plant: StmPlant, volts: np.ndarray, axis: int = 0) -> np.ndarray:
    """What the piezo makes of a sequence of DAC volts, in volts, at once for each."""
    rows = np.tile([0.0, 0.0, 10.0, 0.0], (volts.size, 1))
    rows[:, axis] = volts
    out = []
    for row in rows:
        plant.step(row)  # held from here on,
        plant.step(row)  # so seen here
        out.append(plant.state[State.PIEZO_X_V + axis])
    return np.array(out)


def sweep(amplitude_V: float, steps: int = 200) -> np.ndarray:
    """Up from 0, then one whole loop from + to - to + `amplitude_V`."""
    up = np.linspace(-amplitude_V, amplitude_V, steps + 1)
    return np.concatenate([np.linspace(0, amplitude_V, steps // 2 + 1), up[::-1], up])


def loop_of(plant: StmPlant, amplitude_V: float, steps: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, output on the way down, output on the way up (both in the order of a rising input)."""
    out = piezo(plant, sweep(amplitude_V, steps))[steps // 2 + 1 :]
    return np.linspace(-amplitude_V, amplitude_V, steps + 1), out[: steps + 1][::-1], out[steps + 1 :]


# Hysteresis


@pytest.mark.parametrize("width", [0.02, 0.15, 0.25])
def test_full_loop_has_its_width_and_its_ends(width):
    volts, down, up = loop_of(flat(x_hysteresis=width), HALF_V)
    assert (down[-1], up[-1], down[0], up[0]) == close((HALF_V, HALF_V, -HALF_V, -HALF_V))
    middle = volts.size // 2
    assert (down - up)[middle] == close(width * 2 * HALF_V)
    assert (down - up >= -1e-12).all()
    # PI operators are odd: the loop is the same turned by half a turn.
    assert down == pytest.approx(-up[::-1], abs=1e-12)


def test_loop_area_is_that_of_the_plays():
    """A play of threshold r and weight w encloses 4 w r (A - r) in a loop of amplitude A."""
    width, amplitude_V = 0.15, 7.0
    volts, down, up = loop_of(flat(x_hysteresis=width), amplitude_V, 2800)
    thresholds, weights = play_thresholds(HALF_V), play_weights(width)[1:]
    expected = (4 * weights * thresholds * np.maximum(amplitude_V - thresholds, 0)).sum()
    assert np.trapezoid(down - up, volts) == close(expected, rel=1e-3)


def test_small_strokes_follow_rayleigh():
    """A loop's relative width and its gain go linearly with the stroke: width h A/U, gain 1 - 2 h + 2 h A/U."""
    width = 0.2
    gains = []
    for octave in range(5):
        amplitude_V = HALF_V / 2**octave
        volts, down, up = loop_of(flat(x_hysteresis=width), amplitude_V)
        stroke_V = down[-1] - down[0]
        relative = (down - up)[volts.size // 2] / (2 * amplitude_V)
        assert relative == close(width / 2**octave, rel=0.02)
        gains.append(stroke_V / (2 * amplitude_V))
    assert gains == pytest.approx([1 - 2 * width * (1 - 2.0**-octave) for octave in range(5)], abs=0.01)


def test_a_greater_extremum_wipes_out_what_was_before():
    rng = np.random.default_rng(5)
    plants = [flat(x_hysteresis=0.1) for _ in range(2)]
    histories = [rng.uniform(-6, 6, 40), rng.uniform(-3, 3, 17)]
    after = np.concatenate([[8.0, -8.0], rng.uniform(-7, 7, 30)])
    outs = [piezo(plant, np.concatenate([history, after])) for plant, history in zip(plants, histories, strict=True)]
    assert np.array_equal(outs[0][-30:], outs[1][-30:])
    assert outs[0][39] != outs[1][16]


def test_a_minor_loop_closes():
    out = piezo(flat(x_hysteresis=0.1), np.array([8.0, -2.0, 5.0, -2.0, 5.0, -2.0]))
    assert out[1] == close(out[3]) == close(out[5]) and out[2] == close(out[4])


class NaivePlay:
    """A slack link of half width r, by its definition: the follower is pushed where it would be left behind."""

    def __init__(self, threshold: float) -> None:
        self.threshold, self.place = threshold, 0.0

    def move(self, value: float) -> float:
        if value - self.place > self.threshold:
            self.place = value - self.threshold
        elif self.place - value > self.threshold:
            self.place = value + self.threshold
        return self.place


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(0.001, 0.25), st.integers(0, 1))
def test_hysteresis_equals_the_naive_one(volts, width, axis):
    plays, weights = [NaivePlay(threshold) for threshold in play_thresholds(HALF_V)], play_weights(width)
    expected = [weights[0] * value + sum(w * play.move(value) for w, play in zip(weights[1:], plays, strict=True)) for value in volts]
    plant = flat(**{("x_hysteresis", "y_hysteresis")[axis]: width})
    assert piezo(plant, np.array(volts), axis) == pytest.approx(expected, abs=1e-12)


# Creep

SLOW = {"z_resonance_Hz": 30e3, "preamp_bandwidth_Hz": 20e3, "preamp_gains_V_per_A": (), "preamp_bandwidths_Hz": ()}
SLOW_PERIOD_S = 8e-6


@pytest.mark.parametrize(("axis", "scale_m_per_V"), [("x", 50e-9), ("y", 50e-9), ("z", 10e-9)])
def test_creep_per_decade(axis, scale_m_per_V):
    per_decade = 0.015
    plant = StmPlant(FLAT, StmParameters(**QUIET, **SLOW, **{f"{axis}_creep_per_decade": per_decade}), 0, SLOW_PERIOD_S)
    place = {"x": State.TIP_X, "y": State.TIP_Y, "z": State.TIP_Z}[axis]
    rest = {"x": 0.0, "y": 0.0, "z": 10.0}
    rows = {**rest, axis: rest[axis] - 4.0}
    begin_m = plant.state[place]
    times_s = np.array([0.01, 0.1, 1.0, 10.0])
    moved = []
    for samples in np.diff(np.round(times_s / SLOW_PERIOD_S), prepend=0.0):
        hold(plant, int(samples), rows["x"], rows["y"], rows["z"])
        moved.append((plant.state[place] - begin_m) / (-4.0 * scale_m_per_V))
    print(f"{axis}: share of a step after {times_s} s: {np.round(moved, 5)}")
    assert np.diff(moved) == pytest.approx([per_decade] * 3, rel=0.01)
    assert moved[1] == close(1.0, rel=1e-4)  # the step without creep, 0.1 s after it
    # Naive: the sum of the relaxations' step responses.
    instant, share = creep_weights(per_decade)
    taus = 1e-3 * 10.0 ** np.arange(8)
    naive = [instant + share * sum(1 - math.exp(-t / tau) for tau in taus) for t in times_s]
    assert moved == pytest.approx(naive, rel=2e-5)  # a sample more or less at 10 ms


def test_creep_remembers():
    """Back at its old volts, the piezo comes back slowly, by as much as it crept: superposition, for creep is linear."""
    plant = StmPlant(FLAT, StmParameters(**QUIET, **SLOW, x_creep_per_decade=0.02), 0, SLOW_PERIOD_S)
    hold(plant, round(1.0 / SLOW_PERIOD_S), x_V=5.0, z_V=10.0)
    hold(plant, round(0.1 / SLOW_PERIOD_S), x_V=0.0, z_V=10.0)
    # 1.1 s after the first step, 0.1 s after the second.
    assert plant.tip_x_m / 250e-9 == pytest.approx(0.02 * math.log10(1.1 / 0.1), rel=0.01)


def test_begins_at_rest_with_both():
    """z has stood at +10 V for ever: the loop's end, and crept to the full."""
    plant = flat(z_hysteresis=0.2, z_creep_per_decade=0.02)
    begin_m = plant.tip_z_m
    assert begin_m == close(100e-9 * sum(creep_weights(0.02) * [1, 8]), rel=1e-9)
    hold(plant, 5000, z_V=10.0)
    assert plant.tip_z_m == close(begin_m, rel=1e-9) and plant.tip_x_m == 0.0


def test_without_either_the_piezo_is_linear():
    plant = flat()
    assert np.array_equal(piezo(plant, np.array([1.0, -3.0, 7.5])), [1.0, -3.0, 7.5])
