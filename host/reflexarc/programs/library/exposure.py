"""Points exposed to the beam for a counted time each."""

from __future__ import annotations

from collections.abc import Sequence

from reflexarc.errors import BadInput
from reflexarc.programs.build import Program
from reflexarc.programs.tree import ProgramTree

POINTS_MAX = 40  # of a program: 12 rows each


def expose_points(
    points_m: Sequence[tuple[float, float]], for_s: float | Sequence[float], *, speed_m_per_s: float = 1e-3, settle_s: float = 10e-6
) -> ProgramTree:
    """The beam to each point, blanked on the way; there it is open for ``for_s``, one time for all or one for each, to the cycle.

    BadInput for more than ``POINTS_MAX`` points: load the next program while this one runs.
    """
    times = [float(for_s)] * len(points_m) if isinstance(for_s, int | float) else [float(one) for one in for_s]
    if len(times) != len(points_m):
        raise BadInput(f"{len(times)} times for {len(points_m)} points; accepted: one time, or one for each point")
    if not 0 < len(points_m) <= POINTS_MAX:
        raise BadInput(f"{len(points_m)} points; accepted: 1 to {POINTS_MAX} in a program")
    with Program("expose points") as p:
        for (to_x, to_y), seconds in zip(points_m, times, strict=True):
            p.move_to(to_x, to_y, speed_m_per_s=speed_m_per_s)
            p.wait(settle_s)
            p.expose(seconds)
        p.back()
    return p.tree
