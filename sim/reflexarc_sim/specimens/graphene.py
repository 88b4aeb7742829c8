"""Graphene, generated: one layer as a scanning tunnelling microscope sees it at low bias, with ripples, vacancies and adatoms.

Sources: lattice constant a = 0.246 nm: Castro Neto, Guinea, Peres, Novoselov and Geim, Rev. Mod. Phys. 81, 109 (2009). A defect scatters
electrons between the two valleys, which shows as a (sqrt 3 x sqrt 3)R30 pattern that fades around it: Mizes and Foster, Science 244, 559
(1989); Rutter, Crain, Guisinger, Li, First and Stroscio, Science 317, 219 (2007); around single vacancies of graphite: Ugeda, Brihuega,
Guinea and Gomez-Rodriguez, Phys. Rev. Lett. 104, 096804 (2010); over 3 to 4 nm: Kondo, Honma, Oh, Machida and Nakamura, Phys. Rev. B 82,
153414 (2010). Metal adatoms prefer the middle of a ring: Chan, Neaton and Cohen, Phys.
Rev. B 77, 235430 (2008); there they scatter little between the valleys, so no pattern is drawn around them. The outlines are smooth
functions of about the right size, not a calculation of electron density.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .specimen import Feature, Specimen, SpecimenError

LATTICE_M = 0.246e-9
CORRUGATION_M = 20e-12  # from the middle of a ring up to an atom
RIPPLES = 6  # waves
RIPPLE_M = 25e-12  # rms of all of them together
SHORTEST_RIPPLE_M, LONGEST_RIPPLE_M = 5e-9, 12e-9
PATTERN_M = 25e-12  # of the interference at a vacancy, from its mean to its maxima
PATTERN_DECAY_M = 1.2e-9
HOLE_M = 60e-12  # where the atom is missing
HOLE_SIGMA_M = 0.09e-9
ADATOM_M = 0.15e-9
ADATOM_WIDTH_M = (0.4e-9, 0.55e-9)  # at half height
DENSITY_PER_M2 = 0.01e18  # of vacancies, and of adatoms; a little more or less by chance
FEWEST = 2  # of either, on the smallest specimen
FRAME_MARGIN_M = 1.5e-9  # defects keep this from the frame
SPACING_M = 2.2e-9  # and this from each other
PIXEL_M = 0.04e-9
SMALLEST_M, LARGEST_M = 10e-9, 100e-9
DEFAULT_SIZE_M = 20e-9

Array = NDArray[np.float64]


def generate(size_x_m: float = DEFAULT_SIZE_M, size_y_m: float = DEFAULT_SIZE_M, seed: int = 0) -> Specimen:
    """The same size and seed give the same surface. Raises `SpecimenError` for a size outside 10 to 100 nm.

    `features`: each "vacancy" on the place of its missing atom, each "adatom" in the middle of its ring.
    """
    for axis, size in (("x", size_x_m), ("y", size_y_m)):
        if not SMALLEST_M <= size <= LARGEST_M:
            raise SpecimenError(
                f"graphene: a size of {size * 1e9:.6g} nm in {axis} is not possible; accepted: {SMALLEST_M * 1e9:g} to {LARGEST_M * 1e9:g} nm"
            )
    random = np.random.default_rng(seed)
    x = _pixel_centres(size_x_m)[None, :]
    y = _pixel_centres(size_y_m)[:, None]
    lattice = _Lattice(random)

    # The sum of three waves is 3 in the middle of each ring and -1.5 at each atom.
    heights = np.zeros((y.size, x.size))
    for wave_x, wave_y in lattice.reciprocal:
        heights -= np.cos(wave_x * (x - lattice.x_m) + wave_y * (y - lattice.y_m))
    heights *= CORRUGATION_M / 4.5
    heights += _ripples(x, y, random)

    features = _place_defects(size_x_m, size_y_m, lattice, random)
    for feature in features:
        draw = _draw_vacancy if feature.kind == "vacancy" else _draw_adatom
        draw(heights, x, y, feature, lattice, random)
    levelled = np.ascontiguousarray(heights - np.median(heights))
    return Specimen(levelled, size_x_m, size_y_m, "graphene", features, f"generated, seed {seed}")


class _Lattice:
    """Turned and shifted by chance. `reciprocal`: the three shortest wave vectors of the lattice, in rad/m; `pattern`: those of the
    (sqrt 3 x sqrt 3)R30 pattern, shorter by sqrt 3 and turned by 30 degrees."""

    def __init__(self, random: np.random.Generator) -> None:
        self.angle = random.uniform(0, math.pi / 3)
        self.x_m, self.y_m = (float(place) for place in random.uniform(-LATTICE_M, LATTICE_M, 2))  # the middle of one ring
        length = 4 * math.pi / (math.sqrt(3) * LATTICE_M)
        self.reciprocal = self._waves(length, self.angle + math.pi / 6)
        self.pattern = self._waves(length / math.sqrt(3), self.angle)

    @staticmethod
    def _waves(length: float, angle: float) -> list[tuple[float, float]]:
        return [(length * math.cos(angle + n * math.pi / 3), length * math.sin(angle + n * math.pi / 3)) for n in (0, 2, 4)]

    def nearest_ring(self, x_m: float, y_m: float) -> tuple[float, float]:
        """The middle of the ring that a point lies in, or next to; near enough to choose a place by."""
        # In the basis of two lattice vectors at 0 and 60 degrees to the lattice.
        x_m, y_m = x_m - self.x_m, y_m - self.y_m
        along = (x_m * math.cos(self.angle) + y_m * math.sin(self.angle)) / LATTICE_M
        across = (y_m * math.cos(self.angle) - x_m * math.sin(self.angle)) / LATTICE_M
        second = round(across / (math.sqrt(3) / 2))
        first = round(along - second / 2)
        return self._place(first + second / 2, second * math.sqrt(3) / 2)

    def nearest_atom(self, x_m: float, y_m: float, sublattice: int) -> tuple[float, float]:
        """An atom of the ring of `nearest_ring`: atoms lie a / sqrt 3 from the middle, at 30 and 90 degrees to the lattice."""
        ring_x, ring_y = self.nearest_ring(x_m, y_m)
        angle = self.angle + math.pi / 6 + sublattice * math.pi / 3
        return ring_x + LATTICE_M / math.sqrt(3) * math.cos(angle), ring_y + LATTICE_M / math.sqrt(3) * math.sin(angle)

    def _place(self, along: float, across: float) -> tuple[float, float]:
        x, y = along * LATTICE_M, across * LATTICE_M
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.x_m + x * cos - y * sin, self.y_m + x * sin + y * cos


def _pixel_centres(size_m: float) -> Array:
    points = max(512, math.ceil(size_m / PIXEL_M))
    return np.asarray((np.arange(points) + 0.5) * (size_m / points) - size_m / 2, dtype=np.float64)


def _ripples(x: Array, y: Array, random: np.random.Generator) -> Array:
    heights = np.zeros((y.size, x.size))
    for _ in range(RIPPLES):
        length = 2 * math.pi / random.uniform(SHORTEST_RIPPLE_M, LONGEST_RIPPLE_M)
        angle, phase = random.uniform(0, math.pi), random.uniform(0, 2 * math.pi)
        heights += np.cos(length * (math.cos(angle) * x + math.sin(angle) * y) + phase)
    return RIPPLE_M * math.sqrt(2 / RIPPLES) * heights


def _window(x: Array, y: Array, feature: Feature, reach_m: float) -> tuple[slice, slice]:
    """The pixels within `reach_m` of a feature; further out it is not worth the time."""
    rows = np.searchsorted(y[:, 0], (feature.y_m - reach_m, feature.y_m + reach_m))
    columns = np.searchsorted(x[0], (feature.x_m - reach_m, feature.x_m + reach_m))
    return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))


def _draw_vacancy(heights: Array, x: Array, y: Array, feature: Feature, lattice: _Lattice, random: np.random.Generator) -> None:
    rows, columns = _window(x, y, feature, 8 * PATTERN_DECAY_M)
    dx, dy = x[:, columns] - feature.x_m, y[rows] - feature.y_m
    squared = dx**2 + dy**2
    waves = sum(np.cos(wave_x * dx + wave_y * dy) for wave_x, wave_y in lattice.pattern)
    heights[rows, columns] += PATTERN_M * random.uniform(0.9, 1.1) / 3 * waves * np.exp(-np.sqrt(squared) / PATTERN_DECAY_M)
    # The pattern is at its height where the atom is missing.
    heights[rows, columns] -= (PATTERN_M + HOLE_M) * np.exp(-squared / (2 * HOLE_SIGMA_M**2))


def _draw_adatom(heights: Array, x: Array, y: Array, feature: Feature, lattice: _Lattice, random: np.random.Generator) -> None:
    height = ADATOM_M * random.uniform(0.95, 1.05)
    sigma = random.uniform(*ADATOM_WIDTH_M) / (2 * math.sqrt(2 * math.log(2)))
    rows, columns = _window(x, y, feature, 8 * sigma)
    dx, dy = x[:, columns] - feature.x_m, y[rows] - feature.y_m
    heights[rows, columns] += height * np.exp(-(dx**2) / (2 * sigma**2)) * np.exp(-(dy**2) / (2 * sigma**2))


def _place_defects(size_x_m: float, size_y_m: float, lattice: _Lattice, random: np.random.Generator) -> tuple[Feature, ...]:
    """Vacancies and adatoms on sites of the lattice, clear of the frame and each other."""
    mean = size_x_m * size_y_m * DENSITY_PER_M2
    wanted = {kind: max(FEWEST, round(mean * random.uniform(0.8, 1.2))) for kind in ("vacancy", "adatom")}
    half_x, half_y = size_x_m / 2 - FRAME_MARGIN_M, size_y_m / 2 - FRAME_MARGIN_M
    places: list[Feature] = []
    for kind, number in wanted.items():
        found = 0
        # On the smallest specimen about one try in three succeeds; the bound only makes an endless loop impossible.
        for _ in range(100 * number):
            if found == number:
                break
            near = random.uniform(-half_x, half_x), random.uniform(-half_y, half_y)
            sublattice = int(random.integers(2))
            x, y = lattice.nearest_ring(*near) if kind == "adatom" else lattice.nearest_atom(*near, sublattice)
            if all(math.hypot(x - other.x_m, y - other.y_m) >= SPACING_M for other in places):
                places.append(Feature(x, y, kind))
                found += 1
    return tuple(places)
