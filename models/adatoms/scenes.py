"""Surfaces to train and test on, and what is in the middle of each window.

The specimens are the project's, turned by any angle, with more on them: adatoms of other heights and widths (other tips), vacancies, islands
and large blobs. They are scanned with the twin's plant.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from models.common.scans import Plan, Scan, microscope, scan
from models.common.views import less_line_mean
from numpy.typing import NDArray

from reflexarc_sim.plants.stm import StmParameters
from reflexarc_sim.specimens import Specimen, au111, graphene

Array = NDArray[np.float64]
LABELS = ("clean", "adatom", "vacancy", "step")
CLEAN, ADATOM, VACANCY, STEP = range(4)
SIDE = 13  # of the window, in pixels
MIDDLE = SIDE // 2
UNIT_M = 100e-12  # of the model's input
CLIP = 5.0  # units that the eight bits of the input reach
FULL_WIDTH = 2 * math.sqrt(2 * math.log(2))  # at half height, in standard deviations of a Gaussian
RADIUS = 4  # pixels and lines around an event in which there is no second one
MARGIN = 2.0  # of an event, over the second greatest output
CENTER = (6, 5)  # record and row, back from the newest, where an adatom is: an event comes a line before it is in the middle
NEAR = 1.3  # pixels: a feature's centre is in the middle of the window
FAR = 2.1  # and it is not; between the two either answer will do
PITCHES_M = (0.1e-9, 0.45e-9)
STEP_M = 150e-12  # a difference of heights that is a step's


@dataclasses.dataclass(frozen=True)
class Scene:
    """A scanned frame with what is known of it. ``places[direction][kind]``: (n, 2), line and pixel where a feature appears, with fractions,
    counted in time; ``allowed`` [direction, line, pixel, class]: what may be said of a window in whose middle a pixel is."""

    scan: Scan
    image: NDArray[np.float32]  # [direction, line, pixel], as the view gives it, in units
    places: list[dict[int, Array]]
    allowed: NDArray[np.bool_]


def _bump(x: Array, y: Array, x_m: float, y_m: float, width_m: float) -> Array:
    sigma = width_m / FULL_WIDTH
    return np.asarray(np.exp(-((x - x_m) ** 2) / (2 * sigma**2)) * np.exp(-((y - y_m) ** 2) / (2 * sigma**2)))


def _turned(specimen: Specimen, size_m: float, angle: float) -> tuple[Array, Array, Array, list[tuple[float, float, int]]]:
    """A square piece of it about its centre, turned: x, y, heights, and the features in it (x, y, class)."""
    points = int(min(900, max(400, size_m / 0.04e-9)))
    along = (np.arange(points) + 0.5) * (size_m / points) - size_m / 2
    x, y = along[None, :], along[:, None]
    cos, sin = math.cos(angle), math.sin(angle)
    heights = specimen.height_at(x * cos - y * sin, x * sin + y * cos)
    kinds = {"adatom": ADATOM, "vacancy": VACANCY}
    features = [(f.x_m * cos + f.y_m * sin, f.y_m * cos - f.x_m * sin, kinds[f.kind]) for f in specimen.features]
    return x, y, heights, [f for f in features if max(abs(f[0]), abs(f[1])) < size_m / 2]


def plain(specimen: Specimen, plan: Plan, seed: int, parameters: StmParameters | None = None) -> Scene:
    """A specimen as it is, as the main job scans it."""
    kinds = {"adatom": ADATOM, "vacancy": VACANCY}
    features = [(f.x_m, f.y_m, kinds[f.kind]) for f in specimen.features]
    return _scene(specimen, specimen, features, plan, parameters or StmParameters(), seed)


def random_scene(seed: int) -> Scene:
    """The same seed gives the same scene."""
    return _scene(*random_surface(seed), seed=seed)


def random_surface(
    seed: int, pixels: int = 128, lines: int = 128
) -> tuple[Specimen, Specimen, list[tuple[float, float, int]], Plan, StmParameters]:
    """A surface, the same without what was put on it, its features, and how it is scanned."""
    random = np.random.default_rng([seed, 6])
    graphene_like = random.random() < 0.15
    pitch_m = random.uniform(0.06e-9, 0.14e-9) if graphene_like else math.exp(random.uniform(*np.log(PITCHES_M)))
    frame_m = pitch_m * max(pixels, lines)
    size_m = 1.08 * frame_m
    if graphene_like:
        source = graphene.generate(max(10e-9, 1.5 * size_m), max(10e-9, 1.5 * size_m), seed)
    else:
        side_m = max(30e-9, 1.45 * size_m)
        source = au111.generate(side_m, side_m, seed)
    shift = random.uniform(-0.5, 0.5, 2) * (source.size_x_m - 1.42 * size_m)
    source = _shifted(source, shift[0], shift[1])
    x, y, heights, features = _turned(source, size_m, random.choice([0.0, random.uniform(0, 2 * math.pi)]))
    if random.random() < 0.25 and not graphene_like:
        for _ in range(random.integers(1, 4)):
            _island(x, y, heights, pitch_m, random)
    base = heights.copy()
    if random.random() < 0.2:
        for _ in range(random.integers(1, 3)):
            place = random.uniform(-0.4, 0.4, 2) * frame_m
            width_m = random.uniform(6, 14) * pitch_m
            heights += random.uniform(350e-12, 800e-12) * _bump(x, y, place[0], place[1], width_m)
    wanted = int(random.integers(3, 12))
    spacing_m = max(6 * pitch_m, 1.2e-9)
    for _ in range(20 * wanted):
        if wanted == 0:
            break
        place = random.uniform(-0.47, 0.47, 2) * frame_m
        if any(math.hypot(place[0] - f[0], place[1] - f[1]) < spacing_m for f in features):
            continue
        if _rough(base, size_m, place, 1.0e-9):
            continue
        kind = int(random.choice([ADATOM, VACANCY]))
        low_m, high_m = max(1.9 * pitch_m, 0.4e-9 if graphene_like else 0.7e-9), min(12 * pitch_m, 1.5e-9)
        bump = _bump(x, y, place[0], place[1], random.uniform(low_m, max(low_m, high_m)))
        heights += (random.uniform(90e-12, 210e-12) if kind == ADATOM else -random.uniform(60e-12, 180e-12)) * bump
        features.append((place[0], place[1], kind))
        wanted -= 1
    surface = _specimen(heights, size_m, source.name)
    plan = Plan(
        pixels,
        lines,
        pitch_m,
        pixel_samples=int(math.exp(random.uniform(math.log(90), math.log(320)))),
        bandwidth_Hz=random.uniform(2.5e3, 6e3),
        setpoint_A=math.exp(random.uniform(*np.log([50e-12, 400e-12]))),
    )
    parameters = StmParameters(
        drift_x_m_per_s=random.uniform(-40e-12, 40e-12),
        drift_y_m_per_s=random.uniform(-40e-12, 40e-12),
        drift_z_m_per_s=random.uniform(-20e-12, 20e-12),
        z_flicker_m_per_sqrtHz=0.33e-12 * math.exp(random.uniform(-1, 2)),
        current_flicker_per_sqrtHz=1e-3 * math.exp(random.uniform(-1, 2)),
    )
    return surface, _specimen(base, size_m, source.name), features, plan, parameters


def _shifted(specimen: Specimen, x_m: float, y_m: float) -> Specimen:
    """Moved, so that another piece is in the middle; beyond its edges the height of the edge goes on, as always."""
    points = specimen.heights_m.shape[0]
    along = (np.arange(points) + 0.5) * (specimen.size_x_m / points) - specimen.size_x_m / 2
    heights = specimen.height_at(along[None, :] + x_m, along[:, None] + y_m)
    features = tuple(f._replace(x_m=f.x_m - x_m, y_m=f.y_m - y_m) for f in specimen.features)
    return dataclasses.replace(specimen, heights_m=np.ascontiguousarray(heights), features=features)


def _specimen(heights: Array, size_m: float, name: str) -> Specimen:
    return Specimen(np.ascontiguousarray(heights - np.median(heights)), size_m, size_m, name)


def _island(x: Array, y: Array, heights: Array, pitch_m: float, random: np.random.Generator) -> None:
    """A flat one, one step high or deep, a few pixels to many across."""
    place = random.uniform(-0.45, 0.45, 2) * (x.max() - x.min())
    radius_m = max(random.uniform(7, 25) * pitch_m, 1.5e-9)
    dx, dy = x - place[0], y - place[1]
    outline_m = radius_m * (1 + 0.15 * np.cos(3 * np.arctan2(dy, dx) + random.uniform(0, 6)))
    share = 0.5 * (1 - np.tanh((np.hypot(dx, dy) - outline_m) * (math.log(9) / 0.3e-9)))
    heights += random.choice([-1, 1]) * au111.STEP_M * share


def _rough(heights: Array, size_m: float, place: Array, reach_m: float) -> bool:
    """Whether a step is within reach."""
    points = len(heights)
    low = np.clip(((place - reach_m) / size_m + 0.5) * points, 0, points - 1).astype(int)
    high = np.clip(((place + reach_m) / size_m + 0.5) * points, 1, points).astype(int)
    return bool(np.ptp(heights[low[1] : high[1] + 1, low[0] : high[0] + 1]) > 110e-12)


def _steepest(base: Specimen, x: Array, y: Array, reach_m: float) -> Array:
    """Greatest difference of height across each place."""
    found = np.zeros(x.shape)
    for angle in np.arange(8) * math.pi / 8:
        dx, dy = reach_m * math.cos(angle), reach_m * math.sin(angle)
        found = np.maximum(found, np.abs(base.height_at(x + dx, y + dy) - base.height_at(x - dx, y - dy)))
    return found


def _scene(
    surface: Specimen, base: Specimen, features: list[tuple[float, float, int]], plan: Plan, parameters: StmParameters, seed: int
) -> Scene:
    """``base``: the surface without what was put on it beside the steps, islands and adatoms of the specimen itself."""
    plant = microscope(surface, parameters, seed)
    result = scan(plant, plan)
    places: list[dict[int, Array]] = []
    allowed = np.zeros((2, plan.lines, plan.pixels, len(LABELS)), bool)
    drift = plant.drift_m(result.sample * plant.sample_period_s)
    line, pixel = np.mgrid[: plan.lines, : plan.pixels].astype(float)
    for direction in range(2):
        x, y = result.place_m(direction, line, pixel - plan.lag_pixels)
        x, y = x - drift[direction, :, :1], y - drift[direction, :, 1:2]
        near, far = _steepest(base, x, y, 1.5 * plan.pitch_m) > STEP_M, _steepest(base, x, y, 3.5 * plan.pitch_m) > STEP_M
        allowed[direction, ..., CLEAN] = ~near
        # A ridge, steep on both of its sides, is neither: nothing may be said of it, and it trains nothing.
        allowed[direction, ..., STEP] = far
        here: dict[int, list[tuple[float, float]]] = {ADATOM: [], VACANCY: []}
        for x_m, y_m, kind in features:
            # Where drift has taken it by the time of its line.
            at, _ = result.pixel_at(direction, x_m, y_m)
            moved = drift[direction, int(np.clip(round(float(at)), 0, plan.lines - 1))]
            at, column = result.pixel_at(direction, x_m + moved[0], y_m + moved[1])
            column = column + plan.lag_pixels
            if not (0 <= at <= plan.lines - 1 and 0 <= column <= plan.pixels - 1):
                continue
            here[kind].append((float(at), float(column)))
            distance = np.hypot(line - at, pixel - column)
            # The flanks of the specimen's own adatoms are steep as well, and others stand near steps: there nobody can tell for certain.
            allowed[direction, distance * plan.pitch_m < 3.2e-9, CLEAN] = True
        for kind, found in here.items():
            for at, column in found:
                distance = np.hypot(line - at, pixel - column)
                allowed[direction, distance < NEAR] = np.arange(len(LABELS)) == kind
                allowed[direction, (distance >= NEAR) & (distance < FAR), kind] = True
        places.append({kind: np.array(found).reshape(-1, 2) for kind, found in here.items()})
    image = np.clip(less_line_mean(result.z_m) / UNIT_M, -CLIP, CLIP)
    return Scene(result, image.astype(np.float32), places, allowed)
