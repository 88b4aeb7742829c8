"""Au(111), generated: herringbone reconstruction, two monatomic steps, adatoms.

Sources: lattice constant of gold a = 0.4078 nm (CRC Handbook of Chemistry and Physics); the (22 x sqrt 3) reconstruction, its pairs of
lines, its corrugation of about 20 pm and the zigzag of domains turned by 120 degrees: Barth, Brune, Ertl and Behm, Phys. Rev. B 42, 9307
(1990). The outlines of lines, steps and adatoms are smooth functions of about the right size, not a calculation of electron density.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .specimen import Feature, Specimen, SpecimenError

LATTICE_M = 0.4078e-9
STEP_M = LATTICE_M / math.sqrt(3)  # distance of (111) planes: 235.4 pm
NEIGHBOUR_M = LATTICE_M / math.sqrt(2)  # distance of nearest atoms: 288.4 pm
PERIOD_M = 22 * NEIGHBOUR_M  # of the reconstruction, across the lines: 6.34 nm
CORRUGATION_M = 20e-12
LINE_SIGMA_M = 0.45e-9  # half width of one soliton line
HCP_FRACTION = 0.4  # of the period lies between the two lines of a pair; fcc, the wider region, has the rest
ZIGZAG_PERIOD_M = 25e-9
ZIGZAG_ANGLE = math.radians(30)  # either side of the mean direction: lines of neighbouring domains meet at 120 degrees
ELBOW_SHARPNESS = 0.98  # 1 is a corner; real elbows are rounded
EDGE_10_90_M = 0.3e-9  # of a step, 10 % to 90 % of its height
STEP_PLACES = (-0.22, 0.12)  # fractions of the width; heights rise with x
ADATOM_M = 0.15e-9
FRAME_MARGIN_M = 2.5e-9  # adatoms keep this from the frame,
EDGE_MARGIN_M = 2.0e-9  # this from a step,
SPACING_M = 3.0e-9  # and this from each other
TOP_ADATOMS = 5  # at least so many on the topmost terrace, where a threshold on the height finds them
PIXEL_M = 0.05e-9
SMALLEST_M, LARGEST_M = 30e-9, 200e-9
DEFAULT_SIZE_M = 50e-9

Array = NDArray[np.float64]


class _Edge:
    """One step: it runs along y, a little tilted and wavy."""

    def __init__(self, x_m: float, length_m: float, random: np.random.Generator) -> None:
        self.x_m = x_m
        self.tilt = random.uniform(-0.04, 0.04)
        self.waves = [(random.uniform(0.1e-9, 0.3e-9), 2 * math.pi * n / length_m, random.uniform(0, 2 * math.pi)) for n in (1, 2, 3)]

    def distance(self, x: Array, y: Array) -> Array:
        """Signed distance in metres along x, positive on the upper terrace; the edge is nearly parallel to y, so this is near enough."""
        place = self.x_m + self.tilt * y
        for amplitude, wave_number, phase in self.waves:
            place = place + amplitude * np.sin(wave_number * y + phase)
        return x - place


def generate(size_x_m: float = DEFAULT_SIZE_M, size_y_m: float = DEFAULT_SIZE_M, seed: int = 0) -> Specimen:
    """The same size and seed give the same surface. Raises `SpecimenError` for a size outside 30 to 200 nm."""
    for axis, size in (("x", size_x_m), ("y", size_y_m)):
        if not SMALLEST_M <= size <= LARGEST_M:
            raise SpecimenError(
                f"au111: a size of {size * 1e9:.6g} nm in {axis} is not possible; accepted: {SMALLEST_M * 1e9:g} to {LARGEST_M * 1e9:g} nm"
            )
    random = np.random.default_rng(seed)
    x = _pixel_centres(size_x_m)[None, :]
    y = _pixel_centres(size_y_m)[:, None]
    edges = [_Edge(place * size_x_m, size_y_m, random) for place in STEP_PLACES]
    direction = math.radians(random.uniform(10, 35))

    # Each terrace has its own herringbone; across an edge one hands over to the next.
    heights = _herringbone(x, y, direction, random)
    for level, edge in enumerate(edges, start=1):
        upper = level * STEP_M + _herringbone(x, y, direction, random)
        # tanh((d / w) ln 9) goes from 10 % to 90 % within w.
        share = 0.5 * (1 + np.tanh(edge.distance(x, y) * (math.log(9) / EDGE_10_90_M)))
        heights = (1 - share) * heights + share * upper

    adatoms = _place_adatoms(size_x_m, size_y_m, edges, random)
    for adatom in adatoms:
        height = ADATOM_M * random.uniform(0.95, 1.05)
        sigma = random.uniform(0.9e-9, 1.2e-9) / (2 * math.sqrt(2 * math.log(2)))
        # A Gaussian is a product of one function of x and one of y.
        heights += height * np.exp(-((x - adatom.x_m) ** 2) / (2 * sigma**2)) * np.exp(-((y - adatom.y_m) ** 2) / (2 * sigma**2))
    levelled = np.ascontiguousarray(heights - np.median(heights))
    return Specimen(levelled, size_x_m, size_y_m, "au111", adatoms, f"generated, seed {seed}")


def _pixel_centres(size_m: float) -> Array:
    points = max(512, math.ceil(size_m / PIXEL_M))
    return np.asarray((np.arange(points) + 0.5) * (size_m / points) - size_m / 2, dtype=np.float64)


def _herringbone(x: Array, y: Array, direction: float, random: np.random.Generator) -> Array:
    """Heights of the pairs of lines, between 0 and `CORRUGATION_M`; where the pattern begins is random."""
    begin_across, begin_along = random.uniform(0, PERIOD_M), random.uniform(0, ZIGZAG_PERIOD_M)
    along = -math.sin(direction) * x + math.cos(direction) * y + begin_along
    across = math.cos(direction) * x + math.sin(direction) * y + begin_across
    # A triangle wave with rounded corners, of the slope that turns the lines by the zigzag angle.
    turn = 2 * math.pi / ZIGZAG_PERIOD_M
    zigzag = math.tan(ZIGZAG_ANGLE) / turn * np.arcsin(ELBOW_SHARPNESS * np.sin(turn * along))
    # Perpendicular to the turned lines, the distance is shorter than across the mean direction.
    periods = (across - zigzag) * math.cos(ZIGZAG_ANGLE) / PERIOD_M
    heights = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for line in (-HCP_FRACTION / 2, HCP_FRACTION / 2):
        distance = (periods - line - np.round(periods - line)) * PERIOD_M
        heights += np.exp(-(distance**2) / (2 * LINE_SIGMA_M**2))
    return CORRUGATION_M * np.asarray(heights)


def _place_adatoms(size_x_m: float, size_y_m: float, edges: list[_Edge], random: np.random.Generator) -> tuple[Feature, ...]:
    """10 to 14 places, clear of the frame, the steps and each other; the first `TOP_ADATOMS` of them on the topmost terrace."""
    wanted = int(random.integers(10, 15))
    half_x, half_y = size_x_m / 2 - FRAME_MARGIN_M, size_y_m / 2 - FRAME_MARGIN_M
    places: list[Feature] = []
    # On the smallest specimen about one try in five succeeds; the bound only makes an endless loop impossible.
    for _ in range(10_000):
        if len(places) == wanted:
            break
        x, y = random.uniform(-half_x, half_x), random.uniform(-half_y, half_y)
        distances = [float(edge.distance(np.asarray(x), np.asarray(y))) for edge in edges]
        if len(places) < TOP_ADATOMS and min(distances) < 0:
            continue
        if min(abs(distance) for distance in distances) < EDGE_MARGIN_M:
            continue
        if any(math.hypot(x - other.x_m, y - other.y_m) < SPACING_M for other in places):
            continue
        places.append(Feature(x, y, "adatom"))
    return tuple(places)
