"""Lines and their predecessors, scanned with a tip that changes now and then."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from models.adatoms.scenes import random_surface
from models.common.scans import Plan, Scan, microscope, scan
from models.common.views import less_line_mean
from numpy.typing import NDArray

from reflexarc_sim.plants.stm import StmParameters
from reflexarc_sim.specimens import Specimen

Array = NDArray[np.float64]
LABELS = ("same", "changed")
SAME, CHANGED = range(2)
PIXELS = 128
ROWS = 2
UNIT_M = 100e-12  # of the model's input
CLIP = 5.0  # units that the eight bits of the input reach
MEMBERS = 3
MARGIN = 0.0  # of an event, over the other output, in the member that is least sure
END_PIXELS = 4  # a change nearer to an end of the line is one between two lines, as far as anybody can tell
LEAST_HEIGHT_M = 10e-12  # a change by less, and with less of a shift, is not seen by anybody
LEAST_SHIFT_M = 150e-12
SHIFT_PIXELS = 1.5  # of a change between two lines: by so much, or with another second apex, it is one


@dataclass(frozen=True)
class Lines:
    """Of each line of a frame but the first, both ways: ``z_m`` (n, ROWS, PIXELS), the older line first; ``allowed`` (n, classes); ``within`` (n,):
    the tip changed while the line was scanned; ``between`` (n,): it changed between the two."""

    z_m: Array
    allowed: NDArray[np.bool_]
    within: NDArray[np.bool_]
    between: NDArray[np.bool_]

    @property
    def inputs(self) -> NDArray[np.float32]:
        """[n, channel, row, record], in units."""
        return np.clip(less_line_mean(self.z_m) / UNIT_M, -CLIP, CLIP).astype(np.float32)[:, None]


def joined(parts: list[Lines]) -> Lines:
    return Lines(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in dataclasses.fields(Lines)))


def random_lines(seed: int, lines: int = 96) -> Lines:
    """A frame of a random surface; the tip changes a few times. The same seed gives the same lines."""
    random = np.random.default_rng([seed, 2])
    surface, _, _, plan, parameters = random_surface(seed, PIXELS, lines)
    line_s = 2 * PIXELS * plan.pixel_samples * 560e-9
    parameters = dataclasses.replace(
        parameters,
        tip_changes_per_s=random.uniform(0.1, 0.4) / line_s,
        tip_change_height_m=math.exp(random.uniform(math.log(30e-12), math.log(200e-12))),
        tip_change_lateral_m=math.exp(random.uniform(math.log(100e-12), math.log(800e-12))),
    )
    return lines_of(surface, plan, parameters, seed)


def lines_of(surface: Specimen, plan: Plan, parameters: StmParameters, seed: int) -> Lines:
    plant = microscope(surface, parameters, seed)
    result = scan(plant, plan)
    changes = plant.tip_changes
    # What each change was, against the tip before it.
    shapes = [(0.0, 0.0, 0.0, None), *((c.shape.longer_m, c.shape.x_m, c.shape.y_m, c.shape.second_apex) for c in changes)]
    first = plant.tip_change_count - len(changes)  # those before are forgotten
    assert first == 0, "more changes than the plant remembers"
    big, shifted = [], []
    for before, after in zip(shapes, shapes[1:], strict=False):
        shift = math.hypot(after[1] - before[1], after[2] - before[2])
        shifted.append(shift >= SHIFT_PIXELS * plan.pitch_m or before[3] != after[3])
        big.append(abs(after[0] - before[0]) >= LEAST_HEIGHT_M or shift >= LEAST_SHIFT_M or before[3] != after[3])
    return joined([_labelled(result, direction, [c.sample for c in changes], big, shifted) for direction in range(2)])


def _labelled(result: Scan, direction: int, samples: list[int], big: list[bool], shifted: list[bool]) -> Lines:
    plan = result.plan
    begin = result.sample[direction] + 300  # the overscan's samples
    pixel_samples = plan.pixel_samples
    z, allowed, within, between = [], [], [], []
    for line in range(1, plan.lines):
        start, end = begin[line] + END_PIXELS * pixel_samples, begin[line] + (plan.pixels - END_PIXELS) * pixel_samples
        old_start, old_end = begin[line - 1], begin[line - 1] + (plan.pixels - END_PIXELS) * pixel_samples
        inside = [b for s, b in zip(samples, big, strict=True) if start <= s < end]
        since = [b for s, b in zip(samples, big, strict=True) if old_start <= s < begin[line] + plan.pixels * pixel_samples]
        middle = [b for s, b in zip(samples, big, strict=True) if old_end <= s < start]
        z.append(result.z_m[direction, line - 1 : line + 1])
        moved = [b for s, b in zip(samples, shifted, strict=True) if old_end <= s < start]
        # Of a change in the older line, of one between the two that only changes the length, and of one too small, either may be said.
        allowed.append([not any(inside) and not any(moved), bool(since)])
        within.append(any(inside))
        between.append(any(middle) and not inside and len(since) == len(middle))
    return Lines(np.array(z), np.array(allowed, bool), np.array(within, bool), np.array(between, bool))


def correlation(z_m: Array) -> Array:
    """Pearson's, of each line with the older one: what the plain correlator compares."""
    centred = z_m - z_m.mean(axis=-1, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=-1))
    return np.asarray((centred[:, 0] * centred[:, 1]).sum(axis=-1) / np.maximum(norms[:, 0] * norms[:, 1], 1e-30))
