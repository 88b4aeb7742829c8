"""Stay on a feature that drifts."""

from __future__ import annotations

from reflexarc.programs.build import Program, Term, x, y, z
from reflexarc.programs.tree import ProgramTree


def track_summit(
    start_m: tuple[float, float],
    *,
    turns: int,
    radius_m: float = 200e-12,
    step_m: float = 20e-12,
    range_m: float = 5e-9,
    speed_m_per_s: float = 1e-6,
    rest_s: float = 300e-6,
    mean_of: int = 256,
) -> ProgramTree:
    """Climb to the summit near ``start_m`` and stay on it: where the surface is higher on one side, the centre goes that way by ``step_m``.

    After D. W. Pohl and R. Möller, Rev. Sci. Instrum. 59, 840 (1988), with a step in place of their integrator: it can't run away. Emits
    "at" with the centre's x and y (m) after each turn; the slope over time is the drift. Stays within ``range_m`` of the start.
    """
    with Program("track a summit") as p:
        p.move_to(*start_m, speed_m_per_s=speed_m_per_s)
        centre = [p.let(x, "cx"), p.let(y, "cy")]
        with p.repeat(turns):
            for axis in (0, 1):
                _climb(p, centre, axis, start_m[axis], radius_m, step_m, range_m, speed_m_per_s, rest_s, mean_of)
            p.emit("at", *centre)
        p.back()
    return p.tree


def _climb(
    p: Program,
    centre: list[Term],
    axis: int,
    start: float,
    radius_m: float,
    step_m: float,
    range_m: float,
    speed_m_per_s: float,
    rest_s: float,
    mean_of: int,
) -> None:
    """Look on both sides of the centre along one axis, and step to the higher one."""
    heights = []
    for side in (radius_m, -radius_m):
        place = [where + side if index == axis else where for index, where in enumerate(centre)]
        p.move_to(place[0], place[1], speed_m_per_s=speed_m_per_s)
        p.wait(rest_s)
        heights.append(p.sample(z, mean_of=mean_of, name=f"{'right' if side > 0 else 'left'}_{'xy'[axis]}"))
    right, left = heights
    low, high = start - range_m, start + range_m
    with p.when(right > left):
        p.assign(centre[axis], (centre[axis] + step_m).clamped(low, high))
    with p.otherwise():
        p.assign(centre[axis], (centre[axis] - step_m).clamped(low, high))
