"""The generated Au(111) surface, and what holds for every specimen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_sim.specimens import Specimen, SpecimenError, load
from reflexarc_sim.specimens.specimen import level_heights, subtract_plane


def close(value, rel=1e-9):
    """Relative only: by itself `pytest.approx` also accepts all within 1e-12, which is a lot for metres and amperes."""
    return pytest.approx(value, rel=rel, abs=0.0)


@pytest.fixture(scope="module")
def au111() -> Specimen:
    return load("au111")


def test_form(au111):
    assert au111.size_x_m == au111.size_y_m == 50e-9
    assert min(au111.heights_m.shape) >= 512
    assert au111.heights_m.dtype == np.float64 and au111.heights_m.flags.c_contiguous and not au111.heights_m.flags.writeable
    assert abs(np.median(au111.heights_m)) < 1e-15


def test_seed_decides():
    first, again, other = load("au111", seed=3), load("au111", seed=3), load("au111", seed=4)
    assert first.heights_m.tobytes() == again.heights_m.tobytes() and first.features == again.features
    assert first.features != other.features


@pytest.mark.parametrize("seed", range(4))
def test_each_line_sees_three_terraces_a_step_apart(seed):
    specimen = load("au111", seed=seed)
    step = 0.4078e-9 / math.sqrt(3)
    x = np.linspace(-1, 1, 400)
    for y_m in np.linspace(-24e-9, 24e-9, 9):
        # medians in the middle of each terrace; reconstruction and adatoms move them by at most a line's height
        left, middle, right = (
            np.median(specimen.height_at(at + 4e-9 * x, y_m)) for at in (-18e-9, -2.5e-9, 16e-9)
        )  # fmt: skip
        assert middle - left == pytest.approx(step, abs=15e-12)
        assert right - middle == pytest.approx(step, abs=15e-12)


@pytest.mark.parametrize("seed", range(4))
def test_adatoms_are_where_the_features_say(seed):
    specimen = load("au111", seed=seed)
    assert 10 <= len(specimen.features) <= 14
    top = np.percentile(specimen.heights_m, 85)
    on_top = 0
    for feature in specimen.features:
        assert feature.kind == "adatom"
        assert max(abs(feature.x_m), abs(feature.y_m)) <= 22.5e-9
        ring = np.linspace(0, 2 * math.pi, 24)
        around = specimen.height_at(feature.x_m + 1.8e-9 * np.cos(ring), feature.y_m + 1.8e-9 * np.sin(ring))
        peak = float(specimen.height_at(feature.x_m, feature.y_m))
        assert 0.12e-9 < peak - np.median(around) < 0.18e-9
        half = specimen.height_at(feature.x_m + 0.6e-9 * np.cos(ring), feature.y_m + 0.6e-9 * np.sin(ring))
        assert half.max() < peak - 0.05e-9
        on_top += bool(np.median(around) > top - 30e-12)
    assert on_top >= 5


def test_herringbone_has_its_period_and_corrugation():
    specimen = load("au111", seed=1)
    # The left terrace without its adatoms: from the ground state up to the lines.
    left = specimen.heights_m[:, :200]
    corrugation = np.percentile(left, 95) - np.percentile(left, 2)
    assert 10e-12 < corrugation < 25e-12


def test_small_frame_still_places_its_adatoms():
    assert all(len(load("au111", size_m=30e-9, seed=seed).features) >= 10 for seed in range(5))


@pytest.mark.parametrize("size_m", [1e-9, 29e-9, 300e-9, -50e-9, math.nan, math.inf, (50e-9, 5e-9)])
def test_size_out_of_range(size_m):
    with pytest.raises(SpecimenError, match=r"au111: a size of .* nm in [xy] is not possible; accepted: 30 to 200 nm"):
        load("au111", size_m=size_m)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, None])
def test_seed_out_of_range(seed):
    with pytest.raises(SpecimenError, match="seed .* is not possible; accepted: a whole number"):
        load("au111", seed=seed)


def naive_height(specimen: Specimen, x_m: float, y_m: float) -> float:
    """Interpolate along x in two rows, then along y, each with clamped ends."""
    rows, columns = specimen.heights_m.shape
    x = ((np.arange(columns) + 0.5) / columns - 0.5) * specimen.size_x_m
    y = ((np.arange(rows) + 0.5) / rows - 0.5) * specimen.size_y_m
    return float(np.interp(y_m, y, [np.interp(x_m, x, row) for row in specimen.heights_m]))


small = Specimen(np.random.default_rng(5).normal(0, 1e-9, (9, 13)), 20e-9, 10e-9, "small")


@given(st.floats(-30e-9, 30e-9), st.floats(-30e-9, 30e-9))
def test_interpolation_equals_the_naive_one(x_m, y_m):
    assert float(small.height_at(x_m, y_m)) == pytest.approx(naive_height(small, x_m, y_m), abs=1e-18)


def test_height_at_broadcasts_and_survives_nan():
    assert small.height_at(0.0, 0.0).shape == ()
    assert small.height_at(np.zeros((3, 1)), np.zeros(4)).shape == (3, 4)
    assert np.isfinite(small.height_at(np.array([math.nan, math.inf, -math.inf]), 0.0)).all()
    assert float(small.height_at(-1.0, -1.0)) == small.heights_m[0, 0]
    assert float(small.height_at(1.0, 1.0)) == close(small.heights_m[-1, -1], rel=1e-12)


def test_levelling_keeps_a_tilt_that_fits():
    tilted = np.linspace(0, 50e-9, 16)[None, :] + np.zeros((16, 1)) + 300e-9
    levelled, note = level_heights("t", tilted)
    assert np.ptp(levelled) == close(50e-9) and "plane" not in note


def test_levelling_subtracts_a_tilt_that_does_not_fit():
    bumps = np.random.default_rng(0).normal(0, 1e-9, (16, 20))
    tilted = bumps + np.linspace(0, 400e-9, 20)[None, :] + np.linspace(0, -300e-9, 16)[:, None]
    levelled, note = level_heights("t", tilted)
    assert "plane subtracted" in note
    assert np.ptp(levelled - subtract_plane(bumps)) < 1e-18 * 100


def test_levelling_keeps_a_tilt_that_is_not_in_the_way():
    """Of a specimen too rough, or too wide, for a fine scanner."""
    tilted = np.linspace(0, 400e-9, 16)[None, :] + np.zeros((16, 1))
    tilted[5, 5] += 300e-9
    for span_m in (0.5e-6, 50e-6):
        levelled, note = level_heights("t", tilted, span_m=span_m)
        assert np.ptp(levelled - tilted) < 1e-18 and "plane" not in note
    tilted[5, 5] -= 299e-9
    assert "plane" in level_heights("t", tilted, span_m=0.5e-6)[1] and "plane" not in level_heights("t", tilted, span_m=50e-6)[1]


@pytest.mark.parametrize(
    ("heights", "match"),
    [
        (np.full((16, 16), 3e-9), "flat: 16 x 16 points, 0 pm from lowest to highest; at least 1 pm"),
        (np.zeros((16, 1)) + np.linspace(0, 1e-6, 16), "bare plane"),
        (np.where(np.arange(256).reshape(16, 16) == 100, 1e-5, 0.0), "reaches .* um .* accepted: 8 um"),
        (np.where(np.arange(256).reshape(16, 16) == 100, 1e300, 0.0), "metres are expected"),
    ],
)
def test_levelling_refuses(heights, match):
    with pytest.raises(SpecimenError, match=match):
        level_heights("t", heights)


def test_specimen_refuses_what_the_plant_could_not_read():
    with pytest.raises(SpecimenError, match="C-contiguous"):
        Specimen(np.asfortranarray(np.random.default_rng(0).normal(size=(9, 10))), 1e-8, 1e-8, "s")
    with pytest.raises(SpecimenError, match="NaN"):
        Specimen(np.full((9, 10), math.nan), 1e-8, 1e-8, "s")
    with pytest.raises(SpecimenError, match="scanner reaches"):
        Specimen(np.zeros((9, 10)), 201e-6, 1e-8, "s")
