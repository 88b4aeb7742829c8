"""Adatoms that the tip can carry along: single atoms on the sites of a hexagonal lattice, which is what lateral manipulation moves.

Eigler and Schweizer, Nature 344, 524 (1990), slid xenon over nickel; metal atoms follow the tip by hops from one site to the next
("pulling", and "sliding" where the hops can't be told apart: Bartels, Meyer and Rieder, Phys. Rev. Lett. 79, 697 (1997); Meyer, Bartels and
Rieder, Jpn. J. Appl. Phys. 37, 7143 (1998)). Here the nearest adatom hops towards the tip as soon as a neighbouring site is nearer to it, if
the tip is close enough, laterally and in height, and the current large enough. There is no force, no temperature and no chance in it.
Without a barrier to get over, pulling and sliding are the same.

The lattice is fixed to the specimen: one site in its centre, a close-packed row along x. Places are in the frame of the specimen, in metres.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from enum import auto

import numpy as np
from numpy.typing import NDArray

from .compiled import inner, shared
from .places import Places

MOST = 16
ROW_SPACING = math.sqrt(3) / 2  # of the close-packed rows, in lattice constants

Array = NDArray[np.float64]


class Adatoms(Places):
    """The first places in a block of the state; a row of `Site` for each adatom follows."""

    HOPS = auto()  # of all of them, so far
    GAP = auto()  # under the first apex at the last sample, metres


class Site(Places):
    """Where one adatom is."""

    U = auto()  # whole lattice constants along the close-packed row
    V = auto()  # and at 60 degrees to it
    X = auto()  # metres, from U and V
    Y = auto()


ROWS_AT, ROW = len(Adatoms), len(Site)
STATES = ROWS_AT + MOST * ROW


class Manipulation(Places):
    """How many adatoms there are, what they look like and when they hop: places in a block of the parameters."""

    COUNT = auto()
    HEIGHT = auto()  # metres above the surface
    SHARPNESS = auto()  # height falls by exp(-SHARPNESS r^2) at the distance r; 1/m^2
    LATTICE = auto()  # distance of neighbouring sites, metres
    CAPTURE = auto()  # greatest lateral distance of the tip for a hop, metres
    CURRENT = auto()  # least for a hop, amperes
    GAP = auto()  # greatest for a hop, metres


def nearest_site(x_m: float, y_m: float, lattice_m: float) -> tuple[float, float]:
    """The whole numbers (u, v) of the site that is nearest to a place."""
    rows = math.floor(y_m / (ROW_SPACING * lattice_m))
    found = []
    for v in (rows, rows + 1):  # no place is farther than 0.58 lattice constants from its site, and rows are 0.87 apart
        u = math.floor(x_m / lattice_m - 0.5 * v)
        found += [(float(u), float(v)), (float(u + 1), float(v))]
    return min(found, key=lambda site: math.dist(place_of(site[0], site[1], lattice_m), (x_m, y_m)))


def on_one_site(places_m: Sequence[Sequence[float]], lattice_m: float) -> tuple[int, int] | None:
    """The first two of the places, counted from 0, that have the same nearest site; None if there are none."""
    sites = [nearest_site(x, y, lattice_m) for x, y in places_m]
    return next(((a, b) for a, b in itertools.combinations(range(len(sites)), 2) if sites[a] == sites[b]), None)


@shared()
def place_of(u: float, v: float, lattice_m: float) -> tuple[float, float]:
    """Where the site (u, v) is, in metres."""
    return lattice_m * (u + 0.5 * v), ROW_SPACING * lattice_m * v


def begin(state: Array, at: int, places_m: Sequence[Sequence[float]], lattice_m: float) -> None:
    """Put an adatom on the site nearest to each of `places_m` (n, 2), the tip being far away; the block is in `state` from `at` on."""
    state[at + Adatoms.GAP] = math.inf
    for number, (x, y) in enumerate(places_m):
        row = at + ROWS_AT + ROW * number
        u, v = nearest_site(x, y, lattice_m)
        state[[row + Site.U, row + Site.V]] = u, v
        state[[row + Site.X, row + Site.Y]] = place_of(u, v, lattice_m)


def places(state: Array, at: int, count: int) -> Array:
    """Where the adatoms are, shape (count, 2)."""
    rows = state[at + ROWS_AT :][: ROW * count].reshape(count, ROW)
    return np.array(rows[:, [Site.X, Site.Y]])


@inner()
def _nearest(state: Array, at: int, count: int, x: float, y: float) -> tuple[int, float]:
    """Which adatom is nearest to a place (where its row begins), and the square of its distance; the first of several."""
    nearest, least = 0, math.inf
    for number in range(count):
        row = at + ROWS_AT + ROW * number
        square = (state[row + Site.X] - x) ** 2 + (state[row + Site.Y] - y) ** 2
        if square < least:
            nearest, least = row, square
    return nearest, least


@shared()
def height_over(state: Array, at: int, par: Array, par_at: int, x: float, y: float) -> float:
    """By how much adatoms raise the surface at a place, in metres: a Gaussian each, and the highest where several overlap.

    Their heights do not add up, for an island of neighbours is one layer high, as a single atom is. All are of one height and width, so the
    highest is the nearest. There must be one at least.
    """
    _, square = _nearest(state, at, int(par[par_at + Manipulation.COUNT]), x, y)
    return float(par[par_at + Manipulation.HEIGHT] * math.exp(-par[par_at + Manipulation.SHARPNESS] * square))


@shared()
def heights_over(state: Array, at: int, par: Array, par_at: int, x: Array, y: Array) -> Array:
    """`height_over` at each pair of the 1-D arrays `x` and `y`."""
    heights = np.empty(x.size)
    for k in range(x.size):
        heights[k] = height_over(state, at, par, par_at, x[k], y[k])
    return heights


@inner()
def follow(state: Array, at: int, par: Array, par_at: int, x: float, y: float, current: float) -> None:
    """Let the adatom nearest to the tip, which is at (x, y), hop towards it, if gap and current of the last sample allow: one hop at most.

    It hops to the neighbouring site that is nearest to the tip, if that is nearer than its own. Such a site is free: an adatom there would
    have been the nearest.
    """
    # Written as "not", so that a NaN moves nothing.
    if not (state[at + Adatoms.GAP] <= par[par_at + Manipulation.GAP] and abs(current) >= par[par_at + Manipulation.CURRENT]):
        return
    row, least = _nearest(state, at, int(par[par_at + Manipulation.COUNT]), x, y)
    if not least <= par[par_at + Manipulation.CAPTURE] ** 2:
        return
    u, v = state[row + Site.U], state[row + Site.V]
    hops = False
    for du in (-1.0, 0.0, 1.0):
        for dv in (-1.0, 0.0, 1.0):
            if du != dv:  # the six neighbours; (1, 1) and (-1, -1) are farther away
                there_x, there_y = place_of(u + du, v + dv, par[par_at + Manipulation.LATTICE])
                square = (there_x - x) ** 2 + (there_y - y) ** 2
                if square < least:
                    least = square
                    hops = True
                    state[row + Site.U], state[row + Site.V] = u + du, v + dv
                    state[row + Site.X], state[row + Site.Y] = there_x, there_y
    if hops:
        state[at + Adatoms.HOPS] += 1.0
