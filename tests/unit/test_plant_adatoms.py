"""Adatoms: where they sit, what the tip sees of them, when they hop and where to; images leave them alone, a close tip carries them along."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plant_stm import FLAT, PERIOD_S, close, flat

from reflexarc_sim.plants.adatoms import MOST, nearest_site, place_of
from reflexarc_sim.plants.stm import Parameter, State, StmParameters, StmPlant, TipShape, load_parameters
from reflexarc_sim.plants.stm_layout import MANIPULATION_AT
from reflexarc_sim.specimens import load

SEED = 12
LATTICE_M = 0.288e-9
HEIGHT_M, RADIUS_M, CAPTURE_M, CURRENT_A, GAP_M = 0.1e-9, 0.4e-9, 0.25e-9, 2e-9, 0.45e-9
ALWAYS = {"adatom_move_current_A": 1e-12, "adatom_move_gap_m": 2e-9}  # thresholds that a tip at 0.3 nm and 0.1 V is well beyond
ISLAND = tuple((LATTICE_M * (u + v / 2), LATTICE_M * math.sqrt(3) / 2 * v) for u in range(-2, 2) for v in range(-2, 2))  # 16 neighbours


def rest_over(plant: StmPlant, x_m: float, y_m: float, gap_m: float, bias_V: float, samples: int = 2) -> None:
    """Put the tip to rest at a place of a specimen that does not drift, `gap_m` above what is there now."""
    z_m = float(plant.surface_at(x_m, y_m, 0.0)) + gap_m
    at = [State.TIP_X, State.TIP_Y, State.TIP_Z, State.TIP_Z_VELOCITY]
    plant.state[at] = x_m, y_m, z_m, 0.0
    volts = [x_m / plant.parameters.x_m_per_V, y_m / plant.parameters.y_m_per_V, z_m / plant.parameters.z_m_per_V, bias_V]
    plant.state[[State.HELD_X_V, State.HELD_Y_V, State.HELD_Z_V]] = volts[:3]
    plant.run(np.tile(volts, (samples, 1)))


def follow_current(plant: StmPlant, path_m: np.ndarray, setpoint_A: float, bias_V: float) -> np.ndarray:
    """Lead the tip along `path_m` (n, 2), a place a sample, under an integrating feedback on the logarithm; z there, shape (n,)."""
    p = plant.parameters
    x_m, y_m = path_m[0]
    rest_over(plant, x_m, y_m, p.gap_m(bias_V, setpoint_A), bias_V, 1)
    z_m, heights_m = plant.tip_z_m, []
    plant.adc_V[0] = plant.state[State.PREAMP] = setpoint_A * p.preamp_gain_V_per_A
    share = -math.expm1(-2 * math.pi * 4e3 * PERIOD_S)  # of the error in a sample: a bandwidth of 4 kHz
    for x_m, y_m in path_m:
        current_A = max(float(plant.adc_V[0]) / p.preamp_gain_V_per_A, 1e-12)
        z_m += share * math.log(current_A / setpoint_A) / (2 * p.decay_per_m)
        plant.step([x_m / p.x_m_per_V, y_m / p.y_m_per_V, z_m / p.z_m_per_V, bias_V])
        heights_m.append(plant.tip_z_m)
    return np.array(heights_m)


# Sites


@settings(deadline=None)  # the first call compiles
@given(st.floats(-50e-9, 50e-9), st.floats(-50e-9, 50e-9), st.floats(0.1e-9, 2e-9))
def test_adatoms_go_to_the_nearest_site(x_m, y_m, lattice_m):
    u, v = nearest_site(x_m, y_m, lattice_m)
    found = math.dist(place_of(u, v, lattice_m), (x_m, y_m))
    others = [math.dist(place_of(u + du, v + dv, lattice_m), (x_m, y_m)) for du in range(-3, 4) for dv in range(-3, 4)]
    assert (u, v) == (round(u), round(v)) and found <= min(others) * (1 + 1e-9) + 1e-20
    assert found <= lattice_m / math.sqrt(3) * (1 + 1e-9)


def test_sites_are_a_hexagonal_lattice_through_the_centre():
    plant = flat(adatoms_m=((0.02e-9, -0.03e-9), (0.3e-9, 0.02e-9), (0.14e-9, 0.25e-9), (-10e-9, 5e-9)))
    places = plant.adatoms_m
    assert places.shape == (4, 2)
    assert places[:3] == pytest.approx(LATTICE_M * np.array([[0, 0], [1, 0], [0.5, math.sqrt(3) / 2]]), abs=1e-20)
    assert math.dist(places[3], (-10e-9, 5e-9)) <= LATTICE_M / math.sqrt(3)
    assert plant.adatom_hops == 0
    assert flat().adatoms_m.shape == (0, 2) and flat().adatom_hops == 0


# What the tip sees


def test_an_adatom_is_a_gaussian():
    plant = flat(adatoms_m=((0.0, 0.0),))
    radii_m = np.array([0.0, RADIUS_M, 2 * RADIUS_M, 5e-9])
    for angle in (0.0, 1.0, 4.0):
        heights = plant.surface_at(radii_m * math.cos(angle), radii_m * math.sin(angle), 0.0)
        assert heights == pytest.approx(HEIGHT_M * np.array([1.0, 0.5, 1 / 16, 0.0]), abs=1e-20)
    rest_over(plant, 0.0, 0.0, 0.6e-9, 0.1)
    assert plant.surface_m == close(HEIGHT_M) and plant.tip_z_m == close(0.7e-9)


def test_heights_of_neighbours_do_not_add_up():
    one, island = flat(adatoms_m=((0.0, 0.0),)), flat(adatoms_m=ISLAND)
    x, y = np.meshgrid(np.linspace(-1e-9, 1e-9, 101), np.linspace(-1e-9, 1e-9, 101))
    shapes = [one.surface_at(x - u, y - v, 0.0) for u, v in island.adatoms_m]
    assert island.surface_at(x, y, 0.0) == pytest.approx(np.max(shapes, axis=0), abs=1e-21)


def test_adatoms_are_part_of_the_true_surface():
    """To the bit, as without them: the step and the surface are one definition. Drift and coarse motor carry them with the specimen."""
    specimen = load("au111", seed=SEED)
    drifts = {"drift_x_m_per_s": 0.3e-9, "drift_y_m_per_s": -0.2e-9, "first_drift_x_m_per_s": 2e-9, "drift_time_constant_s": 7.0}
    rng = np.random.default_rng(SEED)
    adatoms = tuple(map(tuple, rng.uniform(-20e-9, 20e-9, (MOST, 2))))
    plant = StmPlant(specimen, StmParameters(noise=False, mean_height_m=-30e-9, adatoms_m=adatoms, **drifts), SEED)
    bare = StmPlant(specimen, StmParameters(noise=False, mean_height_m=-30e-9, **drifts), SEED)
    for each in (plant, bare):
        each.run(np.tile([0.0, 0.0, 10.0, 0.0, 3.0], (10, 1)))
    raised = []
    for target in rng.permutation(np.vstack([plant.adatoms_m] * 3)):
        plant.state[State.SAMPLES] = float(rng.integers(0, round(30.0 / PERIOD_S)))
        aim = target + plant.drift_m(plant.time_s)[:2] + plant.coarse_m[:2] + rng.uniform(-0.3e-9, 0.3e-9, 2)
        plant.run(np.tile([*(aim / 50e-9), 10.0, 0.0], (300, 1)))
        where = plant.tip_x_m, plant.tip_y_m, plant.time_s
        assert plant.surface_m == float(plant.surface_at(*where))
        raised.append(plant.surface_m - float(bare.surface_at(*where)))
    assert 0.4 * HEIGHT_M < min(raised) and max(raised) <= HEIGHT_M * (1 + 1e-6)
    assert plant.surface_at(np.zeros((2, 1)), np.zeros(3), 0.0).shape == (2, 3)


def test_without_adatoms_nothing_is_different():
    """Places where adatoms would be, and an adatom that is far away, change no bit of what the tip sees."""
    volts = np.column_stack([np.linspace(-0.2, 0.2, 2000), np.linspace(0.1, -0.1, 2000), np.full(2000, 0.05), np.full(2000, 0.1)])
    options = {"adatom_height_m": 1e-9, "adatom_move_current_A": 1e-12, "adatom_move_gap_m": 2e-9}
    far = {"adatoms_m": ((400e-9, 400e-9),), **options}
    outs = [StmPlant(FLAT, StmParameters(**each), SEED).run(volts) for each in ({}, options, far)]
    assert np.array_equal(outs[0], outs[1]) and np.array_equal(outs[0], outs[2])


# Thresholds


def hops_at(x_m: float, gap_m: float, bias_V: float, samples: int = 20, **parameters) -> int:
    """How often the one adatom hops with the tip at rest beside it."""
    plant = flat(adatoms_m=((0.0, 0.0),), **parameters)
    rest_over(plant, x_m, 0.0, gap_m, bias_V, samples)
    assert plant.adatoms_m[0] == pytest.approx([LATTICE_M * plant.adatom_hops, 0.0], abs=1e-20)
    return plant.adatom_hops


@pytest.mark.parametrize("sign", [1, -1])
def test_least_current(sign):
    """At one gap, the bias decides on the current."""
    gap_m = 0.4e-9
    bias_V = CURRENT_A / StmParameters().current_A(1.0, gap_m)
    assert hops_at(0.2e-9, gap_m, sign * bias_V * 0.999) == 0
    assert hops_at(0.2e-9, gap_m, sign * bias_V * 1.001) == 1


def test_greatest_gap():
    """However large the current is; and in contact, too."""
    assert hops_at(0.2e-9, GAP_M + 0.1e-12, 10.0) == 0
    assert hops_at(0.2e-9, GAP_M - 0.1e-12, 10.0) == 1
    assert hops_at(0.2e-9, -0.05e-9, 0.1) == 1


def test_greatest_lateral_distance():
    assert hops_at(CAPTURE_M + 0.1e-12, 0.3e-9, 0.1) == 0
    assert hops_at(CAPTURE_M - 0.1e-12, 0.3e-9, 0.1) == 1
    assert hops_at(LATTICE_M / 2 - 0.1e-12, 0.3e-9, 0.1) == 0  # its own site is the nearer one
    assert hops_at(LATTICE_M / 2 + 0.1e-12, 0.3e-9, 0.1) == 1


def test_it_is_the_next_sample_that_sees_the_move():
    plant = flat(adatoms_m=((0.0, 0.0),))
    rest_over(plant, 0.2e-9, 0.0, 0.3e-9, 0.1, 1)
    before_m = plant.surface_m
    assert plant.adatom_hops == 0
    plant.step(plant.dac_V)
    assert plant.adatom_hops == 1 and plant.surface_m > before_m
    assert plant.surface_m == float(plant.surface_at(plant.tip_x_m, plant.tip_y_m, plant.time_s))


def test_the_first_apex_moves_adatoms():
    """A second one that is nearer, being above another adatom, does not bring the first one near enough."""
    plant = flat(adatoms_m=((0.0, 0.0), (5e-9, 0.0)), adatom_height_m=0.3e-9)
    flank_m = float(plant.surface_at(0.2e-9, 0.0, 0.0))
    plant.change_tip(TipShape(second_apex=(float(plant.adatoms_m[1, 0]) - 0.2e-9, 0.0, 0.0)))
    rest_over(plant, 0.2e-9, 0.0, GAP_M + 0.02e-9, 5.0, 20)
    assert plant.gap_m == close(GAP_M + 0.02e-9 - (0.3e-9 - flank_m)) and plant.gap_m < GAP_M
    assert plant.current_A > CURRENT_A and plant.adatom_hops == 0
    rest_over(plant, 0.2e-9, 0.0, GAP_M - 0.02e-9, 5.0, 20)
    assert plant.adatom_hops == 1


# Hops


class NaiveAdatoms:
    """The rule as it is told: which adatom is nearest, which of its six neighbouring sites is, and is that one free."""

    def __init__(self, places_m: np.ndarray) -> None:
        self.places_m = [complex(x, y) for x, y in places_m]

    def follow(self, tip_m: complex, capture_m: float) -> None:
        number = min(range(len(self.places_m)), key=lambda k: abs(self.places_m[k] - tip_m))
        here = self.places_m[number]
        if abs(here - tip_m) > capture_m:
            return
        turns = [complex(math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)) for k in range(6)]
        there = min((here + LATTICE_M * turn for turn in turns), key=lambda site: abs(site - tip_m))
        free = all(abs(there - other) > LATTICE_M / 2 for other in self.places_m)
        if free and abs(there - tip_m) < abs(here - tip_m):
            self.places_m[number] = there


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.2e-9, 0.25e-9, 0.6e-9]))
def test_hops_equal_the_naive_model(seed, capture_m):
    """Adatoms that stand close, a tip that jumps about among them."""
    random = np.random.default_rng(seed)
    plant = flat(adatoms_m=ISLAND, adatom_capture_m=capture_m, **ALWAYS)
    naive = NaiveAdatoms(plant.adatoms_m)
    rest_over(plant, 0.0, 0.0, 0.3e-9, 0.1)
    assert plant.adatom_hops == 0  # there is one under the tip already
    for place in random.uniform(-1.2e-9, 1.2e-9, (150, 2)):
        rest_over(plant, *place, 0.3e-9, 0.1, 3)
        for _ in range(3):
            naive.follow(complex(*place), capture_m)
        assert plant.adatoms_m == pytest.approx(np.array([[p.real, p.imag] for p in naive.places_m]), abs=1e-15)
    assert plant.adatom_hops > 0


def test_no_two_on_one_site():
    print(f"seed {SEED}")
    random = np.random.default_rng(SEED)
    plant = flat(adatoms_m=ISLAND, adatom_capture_m=1e-9, **ALWAYS)
    for _ in range(2000):
        rest_over(plant, *random.uniform(-1.5e-9, 1.5e-9, 2), 0.3e-9, 0.1)
        assert len({nearest_site(x, y, LATTICE_M) for x, y in plant.adatoms_m}) == MOST
    assert plant.adatom_hops > 500


def test_an_adatom_stops_beside_another():
    """The tip pushes none onto its neighbour: as it comes near the other one, it takes that along instead."""
    plant = flat(adatoms_m=((0.0, 0.0), (5 * LATTICE_M, 0.0)))
    for x_m in np.arange(0.0, 8 * LATTICE_M, 0.02e-9):
        rest_over(plant, x_m, 0.0, 0.3e-9, 0.1)
    assert plant.adatoms_m == pytest.approx(LATTICE_M * np.array([[4.0, 0.0], [8.0, 0.0]]), abs=1e-18)
    assert plant.adatom_hops == 7


def test_one_hop_a_sample():
    plant = flat(adatoms_m=((0.0, 0.0),), adatom_capture_m=5e-9, **ALWAYS)
    rest_over(plant, 10 * LATTICE_M, 0.0, 0.3e-9, 0.1, 1)
    hops = [(plant.step(plant.dac_V), plant.adatom_hops)[1] for _ in range(15)]
    assert hops == [*range(1, 11), *[10] * 5]
    assert plant.adatoms_m[0] == pytest.approx([10 * LATTICE_M, 0.0], abs=1e-18)


# Imaging and dragging


def test_an_image_leaves_all_in_place():
    """100 pA at 0.5 V, with noise and under feedback: line by line over three adatoms, with more samples than a pixel of the twin has."""
    plant = StmPlant(FLAT, StmParameters(adatoms_m=((-0.7e-9, 0.0), (0.5e-9, 0.6e-9), (0.6e-9, -0.5e-9))), SEED, PERIOD_S)
    before = plant.adatoms_m
    line = np.concatenate([np.linspace(-1.5e-9, 1.5e-9, 3000), np.linspace(1.5e-9, -1.5e-9, 3000)])  # 1.8 um/s
    path = np.concatenate([np.column_stack([line, np.full(line.size, y_m)]) for y_m in np.linspace(-1.2e-9, 1.2e-9, 13)])
    image_m = follow_current(plant, path, 100e-12, 0.5)
    assert np.ptp(image_m) == pytest.approx(HEIGHT_M, abs=0.03e-9)
    assert np.array_equal(plant.adatoms_m, before) and plant.adatom_hops == 0


@pytest.mark.parametrize("bias_V", [0.5, -0.5, 2.0])
def test_not_even_a_feedback_that_sleeps_moves_one(bias_V):
    """An adatom is lower than the gap of 100 pA is longer than that of a move: passing it at the bare surface's height is no move."""
    plant = flat(adatoms_m=((0.0, 0.0),))
    z_V = plant.parameters.gap_m(bias_V, math.copysign(100e-12, bias_V)) / 10e-9
    x_V = np.linspace(-1e-9, 1e-9, 5000) / 50e-9
    rest_over(plant, -1e-9, 0.0, z_V * 10e-9, bias_V)
    plant.run(np.column_stack([x_V, np.zeros(5000), np.full(5000, z_V), np.full(5000, bias_V)]))
    assert plant.adatom_hops == 0


def dragged(seed: int, setpoint_A: float) -> tuple[StmPlant, np.ndarray]:
    """An adatom after a straight line of 5 nm at 1 um/s from above it, in a direction that the seed chooses; and the line's end."""
    random = np.random.default_rng(seed)
    angle = random.uniform(0.0, 2 * math.pi)
    plant = StmPlant(FLAT, StmParameters(adatoms_m=(tuple(random.uniform(-5e-9, 5e-9, 2)),)), seed, PERIOD_S)
    begin = plant.adatoms_m[0]
    end = begin + 5e-9 * np.array([math.cos(angle), math.sin(angle)])
    samples = round(5e-9 / 1e-6 / PERIOD_S)
    path = begin + np.linspace(0.0, 1.0, samples)[:, None] * (end - begin)
    follow_current(plant, np.concatenate([path, np.tile(end, (200, 1))]), setpoint_A, 0.1)
    return plant, end


@pytest.mark.parametrize("seed", range(10))
def test_a_close_tip_carries_an_adatom_along(seed):
    plant, end = dragged(seed, 3e-9)
    assert math.dist(plant.adatoms_m[0], end) < LATTICE_M
    assert plant.adatom_hops >= math.floor((5e-9 - LATTICE_M) / LATTICE_M)
    assert plant.contacts == 0
    there = plant.adatoms_m
    for x_V, y_V in (plant.dac_V[:2].copy(), (0.0, 0.0)):  # withdrawn, then away
        plant.run(np.tile([x_V, y_V, 10.0, 0.1], (1000, 1)))
    assert np.array_equal(plant.adatoms_m, there)


def test_a_tip_farther_off_leaves_it_behind():
    plant, end = dragged(0, 100e-12)
    assert plant.adatom_hops == 0 and math.dist(plant.adatoms_m[0], end) == close(5e-9)


def test_the_same_seed_gives_the_same_bits():
    runs = [dragged(3, 3e-9)[0] for _ in range(2)]
    assert runs[0].state.tobytes() == runs[1].state.tobytes()


# What is refused


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"adatoms_m": tuple((k * 1e-9, 0.0) for k in range(17))}, r"up to 16 pairs \[x, y\], each number -0.0001 to 0.0001 m"),
        ({"adatoms_m": ((0.0, math.nan),)}, r"adatoms_m = \(\(0.0, nan\),\) is not possible; accepted: up to 16 pairs"),
        ({"adatoms_m": ((math.inf, 0.0),)}, "up to 16 pairs"),
        ({"adatoms_m": ((0.0, 0.0, 0.0),)}, "up to 16 pairs"),
        ({"adatoms_m": (0.0, 1e-9)}, "up to 16 pairs"),
        ({"adatoms_m": ((0.0, True),)}, "up to 16 pairs"),
        ({"adatoms_m": 1e-9}, "up to 16 pairs"),
        ({"adatoms_m": ((3e-9, 0.0), (0.0, 0.0), (0.1e-9, 0.0))}, "adatoms 2 and 3 of 3 on one site; accepted: each on a site of its own"),
        ({"adatoms_m": ((0.0, 0.0), (0.3e-9, 0.0)), "adatom_lattice_m": 1e-9}, "adatoms 1 and 2 of 2 on one site.* 1e-09 m from the next"),
        ({"adatom_height_m": -0.1e-9}, "adatom_height_m = -1e-10 is not possible; accepted: 1e-12 to 1e-09 m"),
        ({"adatom_radius_m": 0.0}, "adatom_radius_m"),
        ({"adatom_lattice_m": math.nan}, "adatom_lattice_m"),
        ({"adatom_capture_m": -1e-9}, "adatom_capture_m"),
        ({"adatom_move_current_A": 0.0}, "adatom_move_current_A"),
        ({"adatom_move_gap_m": math.inf}, "adatom_move_gap_m"),
    ],
)
def test_parameters_refused(options, match):
    with pytest.raises(ValueError, match=match) as caught:
        StmParameters(**options)
    assert "\n" not in str(caught.value)


def test_an_adatom_beside_the_specimen_is_refused():
    specimen = load("au111")
    for place in ((26e-9, 0.0), (0.0, -26e-9)):
        with pytest.raises(ValueError, match="adatoms_m has .*, which is beside au111; accepted: within .* m in x and .* m in y") as caught:
            StmPlant(specimen, StmParameters(adatoms_m=(place,)))
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="accepted: within the z range"):
        StmPlant(FLAT, StmParameters(mean_height_m=99.5e-9, adatoms_m=((0.0, 0.0),), adatom_height_m=1e-9))


def test_adatoms_from_a_file(tmp_path):
    path = tmp_path / "lab.toml"
    path.write_text("adatoms_m = [\n  [0, 0],\n  [2e-9, -1e-9],\n]\nadatom_height_m = 0.15e-9\n")
    found = load_parameters(path)
    assert found == StmParameters(adatoms_m=((0.0, 0.0), (2e-9, -1e-9)), adatom_height_m=0.15e-9)
    assert StmPlant(FLAT, found).parameters_array[MANIPULATION_AT] == 2.0 and len(Parameter) < MANIPULATION_AT
    path.write_text("z_quality = 8.0\nadatoms_m = [[0, 0], [1e-11, 0]]\nadatom_height_m = -1e-10\n")
    with pytest.raises(ValueError) as caught:
        load_parameters(path)
    first, second = str(caught.value).split("\n")
    assert first.startswith(f"{path}:2: adatoms_m puts adatoms 1 and 2 of 2 on one site; accepted: ")
    assert second.startswith(f"{path}:3: adatom_height_m = -1e-10 is not possible; accepted: ")
