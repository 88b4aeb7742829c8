"""The generated graphene surface: its lattice, its defects, and the pattern around them."""

import math

import numpy as np
import pytest

from reflexarc_sim.specimens import Feature, Specimen, SpecimenError, load

LATTICE = 0.246e-9


@pytest.fixture(scope="module")
def graphene() -> Specimen:
    return load("graphene", seed=1)


def ring(specimen: Specimen, place: Feature, radius_m: float) -> np.ndarray:
    angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    return specimen.height_at(place.x_m + radius_m * np.cos(angles), place.y_m + radius_m * np.sin(angles))


def patch(specimen: Specimen, x_m: float, y_m: float, side_m: float = 3e-9) -> np.ndarray:
    """Heights on a square of 128 x 128 points around a place, without the ripples' slope, faded out towards the edges."""
    at = (np.arange(128) / 128 - 0.5) * side_m
    heights = specimen.height_at(x_m + at[None, :], y_m + at[:, None])
    basis = np.stack([np.ones(128**2), *(f.ravel() for f in np.meshgrid(at, at)), *(f.ravel() ** 2 for f in np.meshgrid(at, at))], axis=1)
    basis = basis / np.abs(basis).max(axis=0)
    smooth = basis @ np.linalg.lstsq(basis, heights.ravel(), rcond=None)[0]
    window = np.hanning(128)
    return (heights - smooth.reshape(128, 128)) * window[:, None] * window[None, :]


def strongest(heights: np.ndarray, wavelength_m: float, side_m: float = 3e-9) -> tuple[float, list[float]]:
    """The largest amplitude among waves of about this length, and the directions (rad, modulo 60 degrees) of its peaks."""
    points = 512
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(heights, (points, points))))
    frequency = np.fft.fftshift(np.fft.fftfreq(points, side_m / 128))
    x, y = np.meshgrid(frequency, frequency)
    inside = np.abs(np.hypot(x, y) * wavelength_m - 1) < 0.06
    peak = float(spectrum[inside].max())
    peaks = inside & (spectrum > 0.8 * peak)
    return peak, [float(angle) % (math.pi / 3) for angle in np.arctan2(y[peaks], x[peaks])]


def empty_place(specimen: Specimen) -> tuple[float, float]:
    """As far from all features as it gets."""
    places = [(x, y) for x in np.linspace(-7.5e-9, 7.5e-9, 31) for y in np.linspace(-7.5e-9, 7.5e-9, 31)]
    return max(places, key=lambda place: min(math.dist(place, feature[:2]) for feature in specimen.features))


def test_form(graphene):
    assert graphene.size_x_m == graphene.size_y_m == 20e-9
    assert min(graphene.heights_m.shape) / 20 >= 20  # pixels a nanometre: a ring is 0.246 nm from the next
    assert graphene.heights_m.dtype == np.float64 and graphene.heights_m.flags.c_contiguous and not graphene.heights_m.flags.writeable
    assert abs(np.median(graphene.heights_m)) < 1e-15
    assert graphene.name == "graphene" and "seed 1" in graphene.note


def test_seed_decides():
    first, again, other = load(" Graphene", seed=3), load("graphene", seed=3), load("graphene", seed=4)
    assert first.heights_m.tobytes() == again.heights_m.tobytes() and first.features == again.features
    assert first.features != other.features


@pytest.mark.parametrize("seed", range(4))
def test_lattice_and_its_corrugation(seed):
    """Six waves of length a sqrt(3) / 2; between a ring's middle and its atoms some 20 pm."""
    specimen = load("graphene", seed=seed)
    x_m, y_m = empty_place(specimen)
    heights = patch(specimen, x_m, y_m)
    lattice, _ = strongest(heights, LATTICE * math.sqrt(3) / 2)
    for wrong in (0.65, 0.78, 1.3, 1.5):
        assert strongest(heights, LATTICE * math.sqrt(3) / 2 * wrong)[0] < 0.3 * lattice
    middle = heights[54:74, 54:74]  # 0.47 nm wide: some rings, hardly faded
    assert 15e-12 < np.ptp(middle) < 25e-12


@pytest.mark.parametrize("seed", range(4))
def test_ripples_are_gentle(seed):
    specimen = load("graphene", seed=seed)
    smooth = np.median(specimen.heights_m[:510, :510].reshape(51, 10, 51, 10), axis=(1, 3))
    assert 8e-12 < smooth.std() < 40e-12


@pytest.mark.parametrize("seed", range(4))
def test_vacancies_are_holes_with_their_pattern(seed):
    """Around a vacancy, and only there, the three waves of length 3 a / 2, turned by 30 degrees from the lattice's, fading away."""
    specimen = load("graphene", seed=seed)
    vacancies = [feature for feature in specimen.features if feature.kind == "vacancy"]
    assert 3 <= len(vacancies) <= 5
    elsewhere, _ = strongest(patch(specimen, *empty_place(specimen)), 1.5 * LATTICE)
    for vacancy in vacancies:
        assert max(abs(vacancy.x_m), abs(vacancy.y_m)) < 8.8e-9
        assert float(specimen.height_at(vacancy.x_m, vacancy.y_m)) < ring(specimen, vacancy, 0.2e-9).min() - 20e-12
        if max(abs(vacancy.x_m), abs(vacancy.y_m)) > 8.4e-9:
            continue  # the patch would hang over the edge
        heights = patch(specimen, vacancy.x_m, vacancy.y_m)
        pattern, directions = strongest(heights, 1.5 * LATTICE)
        assert pattern > 3 * elsewhere
        _, of_lattice = strongest(heights, LATTICE * math.sqrt(3) / 2)
        between = (np.mean(np.exp(6j * np.array(directions))), np.mean(np.exp(6j * np.array(of_lattice))))
        assert math.cos(np.angle(between[0] / between[1])) < -0.8  # 30 degrees are half of 60


@pytest.mark.parametrize("seed", range(4))
def test_adatoms_are_where_the_features_say(seed):
    specimen = load("graphene", seed=seed)
    adatoms = [feature for feature in specimen.features if feature.kind == "adatom"]
    assert 3 <= len(adatoms) <= 5
    for adatom in adatoms:
        assert max(abs(adatom.x_m), abs(adatom.y_m)) < 8.8e-9
        peak = float(specimen.height_at(adatom.x_m, adatom.y_m))
        assert 0.1e-9 < peak - np.median(ring(specimen, adatom, 0.9e-9)) < 0.19e-9
        assert ring(specimen, adatom, 0.3e-9).max() < peak - 0.04e-9


@pytest.mark.parametrize("seed", range(4))
def test_defects_sit_on_sites_of_one_lattice(seed):
    """Two adatoms are a lattice vector apart, an adatom and a vacancy a vector from a ring's middle to an atom: a third of one."""
    specimen = load("graphene", seed=seed)
    adatoms = [np.array(f[:2]) for f in specimen.features if f.kind == "adatom"]
    vacancies = [np.array(f[:2]) for f in specimen.features if f.kind == "vacancy"]
    # The lattice's direction that fits best, and how well: phases of its waves at the places.
    angles = np.linspace(0, math.pi / 3, 6001)
    waves = 4 * math.pi / (math.sqrt(3) * LATTICE) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    fit = sum(np.cos(waves @ (a - adatoms[0])) for a in adatoms[1:]) / (len(adatoms) - 1)
    best = waves[int(np.argmax(fit))]
    assert fit.max() > 0.99
    for vacancy in vacancies:
        assert math.cos(best @ (vacancy - adatoms[0])) == pytest.approx(-0.5, abs=0.1)


def test_sizes():
    small = load("graphene", size_m=10e-9)
    assert sorted(feature.kind for feature in small.features) == ["adatom"] * 2 + ["vacancy"] * 2
    wide = load("graphene", size_m=(40e-9, 12e-9))
    assert (wide.size_x_m, wide.size_y_m) == (40e-9, 12e-9)
    assert all(abs(f.x_m) <= 18.8e-9 and abs(f.y_m) <= 4.8e-9 for f in wide.features)
    places = [np.array(f[:2]) for f in load("graphene", size_m=30e-9, seed=5).features]
    assert min(np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]) >= 2.2e-9


@pytest.mark.parametrize("size_m", [1e-9, 9e-9, 101e-9, -20e-9, math.nan, math.inf, (20e-9, 5e-9)])
def test_size_out_of_range(size_m):
    with pytest.raises(SpecimenError, match=r"graphene: a size of .* nm in [xy] is not possible; accepted: 10 to 100 nm"):
        load("graphene", size_m=size_m)
