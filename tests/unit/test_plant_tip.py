"""Changes of the tip: by call, by rate, by contact; what they do to the current; the record of them."""

import math

import numpy as np
import pytest
from test_plant_stm import FLAT, PERIOD_S, QUIET, close, flat, hold, rest_at

from reflexarc_sim.plants.stm import State, StmParameters, StmPlant, TipShape
from reflexarc_sim.plants.tip import EVENTS
from reflexarc_sim.specimens import Specimen

SEED = 21
GAP_M = 0.6e-9
RAMP = Specimen(np.add.outer(np.linspace(0, 2e-9, 33), np.linspace(-3e-9, 3e-9, 33)), 66e-9, 66e-9, "ramp")


def kappa(work_function_eV: float) -> float:
    """sqrt(2 m phi) / hbar, from CODATA."""
    return math.sqrt(2 * 9.1093837015e-31 * work_function_eV * 1.602176634e-19) / 1.054571817e-34


def current_of(plant: StmPlant) -> float:
    rest_at(plant, GAP_M, 0.1)
    return plant.current_A


# Shapes


@pytest.mark.parametrize("longer_m", [80e-12, -80e-12])
def test_a_longer_apex_is_closer(longer_m):
    plant = flat()
    before = current_of(plant)
    assert plant.change_tip(TipShape(longer_m)) == TipShape(longer_m, work_function_eV=4.5)
    assert current_of(plant) / before == close(math.exp(2 * kappa(4.5) * longer_m), rel=1e-6)
    assert plant.gap_m == pytest.approx(GAP_M - longer_m, abs=1e-15)
    assert plant.tip_z_m == pytest.approx(GAP_M, abs=1e-15)  # the scanner's place is what it was


def test_work_function_changes_the_decay():
    plant = flat()
    before = current_of(plant)
    plant.change_tip(TipShape(work_function_eV=5.2))
    assert current_of(plant) / before == close(math.exp(-2 * GAP_M * (kappa(5.2) - kappa(4.5))), rel=1e-6)
    plant.change_tip(TipShape(longer_m=0.1e-9))  # says nothing of the work function
    assert plant.tip_shape.work_function_eV == 5.2


def test_two_apices_add_their_currents():
    plant = flat()
    single = current_of(plant)
    plant.change_tip(TipShape(second_apex=(1e-9, -2e-9, 50e-12)))
    assert current_of(plant) / single == close(1 + math.exp(-2 * kappa(4.5) * 50e-12), rel=1e-6)
    assert plant.gap_m == pytest.approx(GAP_M, abs=1e-15)
    plant.change_tip(TipShape())
    assert current_of(plant) == close(single)


def test_apices_are_beside_the_tip():
    """On a slope each apex sees its own height, and the nearer one counts for gap and contact."""
    plant = StmPlant(RAMP, StmParameters(**QUIET))
    here = float(RAMP.height_at(0.0, 0.0))
    plant.change_tip(TipShape(x_m=4e-9, y_m=-6e-9, second_apex=(5e-9, 3e-9, 20e-12)))
    hold(plant, 10, z_V=10.0)
    first, second = float(RAMP.height_at(4e-9, -6e-9)), float(RAMP.height_at(9e-9, -3e-9))
    assert plant.surface_m == pytest.approx(first, abs=1e-16) and second > first + 20e-12
    assert plant.gap_m == pytest.approx(100e-9 - second + 20e-12, abs=1e-15)
    assert float(plant.surface_at(0.0, 0.0, plant.time_s)) == here  # the true surface knows nothing of the tip
    z_m = (first + second - 20e-12) / 2  # between the two
    plant.state[[State.TIP_Z, State.TIP_Z_VELOCITY, State.HELD_Z_V]] = z_m, 0.0, z_m / 10e-9
    hold(plant, 3, z_V=z_m / 10e-9, bias_V=0.1)
    assert plant.contacts == 1 and plant.contact_depth_m == pytest.approx((second - 20e-12 - first) / 2, rel=1e-3)


# At random


def changed(seed: int, rate: float = 200.0, seconds: float = 0.05, **parameters) -> StmPlant:
    plant = flat(seed, tip_changes_per_s=rate, **parameters)
    hold(plant, round(seconds / PERIOD_S), z_V=10.0)
    return plant


def test_a_rate_gives_a_poisson_process():
    print(f"seed {SEED}")
    counts = np.array([changed(SEED + k).tip_change_count for k in range(40)])
    assert counts.mean() == pytest.approx(10.0, abs=4 * math.sqrt(10 / 40))
    assert counts.var(ddof=1) == pytest.approx(10.0, rel=0.9)  # that of a Poisson distribution is its mean


def test_changes_repeat_with_the_seed_and_whatever_else_happens():
    one, same, other = changed(SEED), changed(SEED, x_hysteresis=0.1, noise=True), changed(SEED + 1)
    assert one.tip_changes == same.tip_changes != other.tip_changes
    assert one.tip_change_count > 0
    pieces = flat(SEED, tip_changes_per_s=200.0)
    for _ in range(round(0.05 / PERIOD_S) // 50):
        hold(pieces, 50, z_V=9.0)
    assert pieces.tip_changes == one.tip_changes[: pieces.tip_change_count]


def test_random_changes_stay_within_bounds():
    plant = changed(SEED, rate=4000.0, seconds=0.01, double_tip_probability=0.5)
    shapes = [TipShape(), *(change.shape for change in plant.tip_changes)]
    assert 25 < len(shapes) == plant.tip_change_count + 1
    assert plant.tip_shape == shapes[-1]
    for before, after in zip(shapes, shapes[1:], strict=False):
        assert abs(after.longer_m - before.longer_m) <= 100e-12
        assert max(abs(after.x_m - before.x_m), abs(after.y_m - before.y_m)) <= 500e-12
        assert 4.0 <= after.work_function_eV <= 5.0
        if after.second_apex is not None:
            x, y, shorter = after.second_apex
            assert 1e-9 <= math.hypot(x, y) <= 2e-9 and 0 <= shorter <= 100e-12
    doubles = sum(shape.second_apex is not None for shape in shapes)
    assert 0.25 < doubles / len(shapes) < 0.75
    assert len({round(shape.longer_m, 15) for shape in shapes}) == len(shapes)


def test_work_function_stays_that_of_a_metal():
    for nominal_eV, bound_eV in ((0.1, 3.5), (10.0, 5.5)):
        plant = changed(SEED, work_function_eV=nominal_eV)
        assert {change.shape.work_function_eV for change in plant.tip_changes} == {bound_eV}


def test_the_record_tells_when_and_what():
    plant = flat()
    hold(plant, 100, z_V=10.0)
    shapes = [plant.change_tip(seed) for seed in (1, 2, 1)]
    assert shapes[0] != shapes[1]
    assert shapes[2].work_function_eV == shapes[0].work_function_eV and shapes[2].longer_m != shapes[0].longer_m  # lengths go on
    assert [change.shape for change in plant.tip_changes] == shapes
    assert {(change.sample, change.cause) for change in plant.tip_changes} == {(101, "call")}
    for seed in range(EVENTS):
        plant.change_tip(seed)
    assert plant.tip_change_count == EVENTS + 3 and len(plant.tip_changes) == EVENTS
    assert plant.tip_changes[-1].shape == plant.tip_shape


def test_the_current_changes_with_the_sample_on_record():
    plant = flat(SEED, tip_changes_per_s=1000.0)
    rest_at(plant, GAP_M, 0.1)
    begin = int(plant.state[State.SAMPLES])
    count = plant.tip_change_count
    currents = [(plant.step([0.0, 0.0, GAP_M / 10e-9, 0.1]), plant.current_A)[1] for _ in range(6000)]
    jumps = np.flatnonzero(np.diff(currents) != 0.0) + begin + 2
    recorded = [change.sample for change in plant.tip_changes[count:] if change.sample > begin + 1]
    assert len(recorded) > 1 and list(jumps) == recorded
    assert {change.cause for change in plant.tip_changes} == {"rate"}


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_contact_may_change_the_tip(probability):
    print(f"seed {SEED}")
    plant = flat(SEED, tip_change_on_contact=probability, tip_change_height_m=0.0)
    samples = []
    for _ in range(100):
        rest_at(plant, 1e-9, 0.0)
        plant.state[[State.TIP_Z, State.HELD_Z_V]] = -0.1e-9, -0.01
        before = plant.tip_change_count
        hold(plant, 1, z_V=-0.01)
        assert plant.tip_change_count == before  # it is the next sample that sees the new tip
        hold(plant, 5, z_V=-0.01)
        if plant.tip_change_count > before:
            samples.append(plant.tip_changes[-1].sample == int(plant.state[State.SAMPLES]) - 4)
            assert plant.tip_changes[-1].cause == "contact"
    assert plant.contacts == 100 and all(samples)
    assert len(samples) == pytest.approx(100 * probability, abs=20 * (0 < probability < 1))


def test_without_a_rate_nothing_changes():
    plant = flat()
    hold(plant, 1000, z_V=-1.0)
    assert plant.contacts > 0 and plant.tip_changes == () and plant.tip_change_count == 0
    assert plant.tip_shape == TipShape(work_function_eV=4.5)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (TipShape(longer_m=1e-6), "accepted: lengths within"),
        (TipShape(x_m=math.nan), "accepted: lengths within"),
        (TipShape(second_apex=(0.0, 1e-9)), "three of a second apex"),
        (TipShape(second_apex=(0.0, 1e-9, -1e-12)), "stands back by 0 or more"),
        (TipShape(work_function_eV=6.0), "accepted: 3.5 to 5.5 eV"),
        (-1, "a TipShape, or a seed"),
        (True, "a TipShape, or a seed"),
        ("double", "a TipShape, or a seed"),
    ],
)
def test_impossible_tip(change, match):
    plant = StmPlant(FLAT)
    with pytest.raises(ValueError, match=match) as caught:
        plant.change_tip(change)
    assert "\n" not in str(caught.value) and plant.tip_change_count == 0
