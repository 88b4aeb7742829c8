"""Lateral manipulation of an adatom: the tip goes near enough to take it along.

D. M. Eigler and E. K. Schweizer, Nature 344, 524 (1990); modes as in L. Bartels, G. Meyer and K.-H. Rieder, Phys. Rev. Lett. 79, 697 (1997).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from reflexarc.programs.build import Program, bias, steps, x, y
from reflexarc.programs.tree import ProgramTree

Point = tuple[float, float]


@contextmanager
def _near(p: Program, bias_V: float, setpoint_A: float, imaging: tuple[float, float], rest_s: float) -> Iterator[None]:
    """Close to the adatom and back to the imaging's bias and setpoint: less bias, then more current; away the other way round."""
    imaging_V, imaging_A = imaging
    p.set(bias, bias_V)
    p.wait(rest_s)
    p.set("setpoint", setpoint_A)
    p.wait(rest_s)
    yield
    p.set("setpoint", imaging_A)
    p.wait(rest_s)
    p.set(bias, imaging_V)
    p.wait(rest_s)


def slide_adatom(
    start_m: Point,
    target_m: Point,
    *,
    bias_V: float = 0.1,
    setpoint_A: float = 3e-9,
    imaging: tuple[float, float] = (0.5, 100e-12),
    speed_m_per_s: float = 20e-9,
    travel_m_per_s: float = 1e-6,
    rest_s: float = 2e-3,
) -> ProgramTree:
    """An adatom from ``start_m`` to ``target_m`` at constant current. ``imaging``: bias and setpoint before and after."""
    with Program("slide an adatom") as p:
        p.move_to(*start_m, speed_m_per_s=travel_m_per_s)
        p.wait(rest_s)
        with _near(p, bias_V, setpoint_A, imaging, rest_s):
            p.move_to(*target_m, speed_m_per_s=speed_m_per_s)
        p.back()
    return p.tree


def pull_adatom(
    start_m: Point,
    target_m: Point,
    *,
    hop_m: float = 0.1e-9,
    bias_V: float = 0.1,
    setpoint_A: float = 2.8e-9,
    imaging: tuple[float, float] = (0.5, 100e-12),
    speed_m_per_s: float = 20e-9,
    travel_m_per_s: float = 1e-6,
    rest_s: float = 2e-3,
) -> ProgramTree:
    """As `slide_adatom`, at constant height: the feedback is held on the way, and finds its distance anew after each ``hop_m`` at most."""
    hops = math.ceil(math.dist(start_m, target_m) / hop_m)
    to_x, to_y = ((target_m[axis] - start_m[axis]) / hops for axis in (0, 1))
    with Program("pull an adatom") as p:
        p.move_to(*start_m, speed_m_per_s=travel_m_per_s)
        p.wait(rest_s)
        with _near(p, bias_V, setpoint_A, imaging, rest_s):
            with p.repeat(hops) as hop:
                with p.feedback_held():
                    p.move_to(start_m[0] + to_x + steps(to_x, hop, x), start_m[1] + to_y + steps(to_y, hop, y), speed_m_per_s=speed_m_per_s)
                p.wait(rest_s)
        p.back()
    return p.tree
