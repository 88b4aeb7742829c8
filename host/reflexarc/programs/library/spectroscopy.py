"""I(V) and I(z) spectroscopy with the feedback held, at one point or over a grid."""

from __future__ import annotations

from reflexarc.programs.build import Program, Term, bias, current, steps, x, y, z
from reflexarc.programs.tree import ProgramTree


def _sweep_bias(p: Program, from_V: float, to_V: float, points: int, settle_s: float, mean_of: int) -> None:
    """Emits "iv": bias and current. The bias ends where it began."""
    before = p.let(bias)
    with p.feedback_held():
        with p.repeat(points) as n:
            p.set(bias, _ladder(from_V, to_V, points, n, bias))
            p.wait(settle_s)
            p.emit("iv", bias, p.sample(current, mean_of=mean_of))
        p.set(bias, before)
        p.wait(settle_s)


def _ladder(start: float, end: float, points: int, n: Term, kind: Term) -> Term:
    """From ``start`` to ``end`` in ``points`` points."""
    return start + steps((end - start) / max(points - 1, 1), n, kind)


def current_voltage(from_V: float, to_V: float, points: int, *, settle_s: float = 20e-6, mean_of: int = 16) -> ProgramTree:
    """I(V) where the tip is. Emits "iv" with bias (V) and current (A) for each point."""
    with Program("I(V)") as p:
        _sweep_bias(p, from_V, to_V, points, settle_s, mean_of)
    return p.tree


def current_distance(way_m: float, points: int, *, speed_m_per_s: float = 1e-6, settle_s: float = 20e-6, mean_of: int = 16) -> ProgramTree:
    """I(z) where the tip is, away from the surface for a positive ``way_m``. Emits "iz" with z (m) and current (A) for each point."""
    with Program("I(z)") as p, p.feedback_held():
        with p.repeat(points) as n:
            p.height(_ladder(0.0, way_m, points, n, z), speed_m_per_s=speed_m_per_s)
            p.wait(settle_s)
            p.emit("iz", z, p.sample(current, mean_of=mean_of))
        p.height(0.0, speed_m_per_s=speed_m_per_s)
    return p.tree


def spectroscopy_grid(
    center_m: tuple[float, float],
    size_m: float,
    columns: int,
    rows: int,
    from_V: float,
    to_V: float,
    points: int,
    *,
    speed_m_per_s: float = 1e-6,
    settle_s: float = 20e-6,
    mean_of: int = 16,
    rest_s: float = 200e-6,
) -> ProgramTree:
    """I(V) at each point of a square grid, row by row, with nothing of the host between them.

    Emits "point" with x, y and z (m) before the "iv" of each. ``rest_s`` is the feedback's time at a point before it is held.
    """
    left, bottom = center_m[0] - size_m / 2, center_m[1] - size_m / 2
    with Program("spectroscopy grid") as p:
        with p.repeat(rows) as row:
            with p.repeat(columns) as column:
                to_x, to_y = _ladder(left, left + size_m, columns, column, x), _ladder(bottom, bottom + size_m, rows, row, y)
                p.move_to(to_x, to_y, speed_m_per_s=speed_m_per_s)
                p.wait(rest_s)
                p.emit("point", x, y, z)
                _sweep_bias(p, from_V, to_V, points, settle_s, mean_of)
        p.back()
    return p.tree
