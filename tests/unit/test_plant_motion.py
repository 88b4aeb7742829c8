"""How the specimen moves: drift against its formula, the true surface against the step's, the coarse motor's steps."""

import math

import numpy as np
import pytest
from test_plant_stm import FLAT, PERIOD_S, close, flat, hold, rest_at

from reflexarc_sim.plants.stm import State, StmParameters, StmPlant
from reflexarc_sim.plants.stm_layout import MOTOR
from reflexarc_sim.specimens import load

SEED = 4
DRIFTS = {
    "drift_x_m_per_s": 0.3e-9, "drift_y_m_per_s": -0.2e-9, "drift_z_m_per_s": 0.1e-9,
    "first_drift_x_m_per_s": 2e-9, "first_drift_y_m_per_s": -1e-9, "first_drift_z_m_per_s": 0.5e-9, "drift_time_constant_s": 7.0,
}  # fmt: skip
QUIET_ONLY = {"noise": False}


def with_motor(count: float, samples: int, z_V: float = 10.0) -> np.ndarray:
    return np.tile([0.0, 0.0, z_V, 0.0, count], (samples, 1))


# Drift


def test_drift_follows_its_formula():
    plant = StmPlant(FLAT, StmParameters(**DRIFTS))
    times_s = np.array([[0.0, 1.0, 7.0], [100.0, 1e4, 3.3]])
    velocity, first = np.array([0.3e-9, -0.2e-9, 0.1e-9]), np.array([2e-9, -1e-9, 0.5e-9])
    expected = velocity * times_s[..., None] + first * 7.0 * (1 - np.exp(-times_s[..., None] / 7.0))
    assert plant.drift_m(times_s).shape == (2, 3, 3)
    assert plant.drift_m(times_s) == pytest.approx(expected, rel=1e-12, abs=0.0)
    assert plant.drift_m(1.0).shape == (3,)


def test_drift_is_constant_velocity_by_default():
    plant = StmPlant(FLAT)
    assert np.array_equal(plant.drift_m(1234.5), np.array([20e-12, -10e-12, 5e-12]) * 1234.5)


def test_velocity_dies_away():
    plant = StmPlant(FLAT, StmParameters(**DRIFTS))
    speeds = [(plant.drift_m(t + 1e-3) - plant.drift_m(t))[0] / 1e-3 for t in (0.0, 7.0, 700.0)]
    assert speeds == close([2.3e-9, 0.3e-9 + 2e-9 / math.e, 0.3e-9], rel=2e-4)


@pytest.mark.parametrize("drifts", [{}, DRIFTS], ids=["constant", "dying"])
def test_true_surface_is_the_one_under_the_tip(drifts):
    """To the bit: the step, the drift and the surface are one definition."""
    plant = StmPlant(load("au111", seed=SEED), StmParameters(**QUIET_ONLY, mean_height_m=-30e-9, **drifts), SEED)
    plant.run(with_motor(3.0, 10))  # the coarse motor's place is in it
    rng = np.random.default_rng(SEED)
    seen, where = [], []
    for _ in range(40):
        plant.state[State.SAMPLES] = float(rng.integers(0, round(30.0 / PERIOD_S)))
        plant.run(np.tile([*rng.uniform(-0.5, 0.5, 2), 10.0, 0.0], (300, 1)))
        seen.append(plant.surface_m)
        where.append((plant.tip_x_m, plant.tip_y_m, plant.time_s))
    truth = plant.surface_at(*np.array(where).T)
    assert truth.shape == (40,) and np.array_equal(truth, seen)
    assert np.ptp(seen) > 0.1e-9


def test_true_surface_broadcasts_and_leaves_the_rise_out():
    plant = StmPlant(load("au111"), StmParameters(**QUIET_ONLY, **DRIFTS))
    x, y = np.linspace(-20e-9, 20e-9, 5), np.linspace(-10e-9, 10e-9, 3)[:, None]
    before = plant.surface_at(x, y, 2.0)
    assert before.shape == (3, 5) and plant.surface_at(0.0, 0.0, 0.0).shape == ()
    assert plant.surface_at(x, 0.0, np.ones((2, 1))).shape == (2, 5)
    plant.provoke_rise(1e-3, 5e-9)
    hold(plant, 20_000, z_V=10.0)
    assert np.array_equal(plant.surface_at(x, y, 2.0), before)
    assert plant.surface_m == pytest.approx(float(plant.surface_at(0.0, 0.0, plant.time_s)) + 5e-9, abs=1e-15)


# The coarse motor


def test_begins_within_reach_unless_told_otherwise():
    assert flat().gap_m == close(100e-9)
    far = flat(coarse_gap_m=2e-6)
    assert far.gap_m == close(2.1e-6) and far.coarse_m == pytest.approx([0.0, 0.0, 2e-6])
    hold(far, 10, z_V=-10.0)
    assert far.surface_m == close(-2e-6) and far.contacts == 0


def test_steps_are_larger_away_than_towards():
    plant = flat(coarse_scatter=0.0, coarse_jitter_m=0.0)
    plant.run(with_motor(5.0, 5))
    assert plant.coarse_m == pytest.approx([0.0, 0.0, 5 * 80e-9], abs=1e-18)
    plant.run(with_motor(-2.0, 7))
    assert plant.coarse_m == pytest.approx([0.0, 0.0, 5 * 80e-9 - 7 * 60e-9], abs=1e-18)
    assert plant.gap_m == pytest.approx(100e-9 - 20e-9, abs=1e-18)
    plant.run(with_motor(-2.0, 100))
    assert plant.gap_m == pytest.approx(80e-9, abs=1e-18)


def test_one_step_a_sample_at_most():
    plant = flat(coarse_scatter=0.0, coarse_jitter_m=0.0)
    gaps = [(plant.step(row), plant.gap_m)[1] for row in with_motor(3.0, 5)]
    assert gaps == pytest.approx([180e-9, 260e-9, 340e-9, 340e-9, 340e-9], abs=1e-15)


def test_scatter_has_its_size_and_repeats():
    def walk(seed: int, pause: int = 0) -> np.ndarray:
        plant = flat(seed)
        places = [plant.coarse_m]
        for count in range(1, 601):
            plant.step([0.0, 0.0, 10.0, 0.0, float(count)])
            hold(plant, pause, z_V=10.0)
            places.append(plant.coarse_m)
        return np.diff(places, axis=0)

    print(f"seed {SEED}")
    moves = walk(SEED)
    assert moves[:, 2].mean() == close(80e-9, rel=0.02) and moves[:, 2].std() == close(8e-9, rel=0.1)
    assert (moves[:, 2] > 0).all()
    assert moves[:, :2].std(axis=0) == close([3e-9, 3e-9], rel=0.1) and np.abs(moves[:, :2].mean(axis=0)).max() < 0.5e-9
    assert np.array_equal(walk(SEED, 2), moves)  # the time does not matter
    assert not np.array_equal(walk(SEED + 1), moves)


def test_four_entries_leave_the_motor_where_it_is():
    plant = flat()
    plant.run(with_motor(2.0, 5))
    place = plant.coarse_m
    hold(plant, 50, z_V=10.0)
    plant.step([0.0, 0.0, 10.0, 0.0])
    assert np.array_equal(plant.coarse_m, place) and plant.dac_V[MOTOR] == 2.0
    plant.run(with_motor(math.nan, 3))  # nothing that a board would write
    assert np.array_equal(plant.coarse_m, place)


def test_an_approach_from_two_micrometres():
    """Towards with the tip withdrawn, until the surface is within z's reach; then down with z, and it is where `surface_at` says."""
    plant = flat(SEED, coarse_gap_m=2e-6)
    steps = 0
    while plant.surface_m < -50e-9:
        steps += 1
        plant.run(with_motor(-steps, 3))
    assert plant.contacts == 0 and 28 <= steps <= 38  # 1.95 um by steps of 60 nm
    truth = float(plant.surface_at(plant.tip_x_m, plant.tip_y_m, plant.time_s))
    assert -50e-9 <= truth == plant.surface_m
    rest_at(plant, truth + 0.5e-9, 0.1)
    assert plant.gap_m == pytest.approx(0.5e-9, abs=1e-12) and plant.contacts == 0
    plant.run(with_motor(-steps - 10, 20, z_V=truth / 10e-9 + 0.05))  # steps too many drive the specimen into the tip
    assert plant.contacts == 1 and plant.contact_depth_m > 400e-9
