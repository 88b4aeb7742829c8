"""The tip: where its apex is, whether it has a second one, its work function, and how it changes.

A change moves the apex (longer or shorter, and sideways), draws a new work function and may leave a second apex beside the first, through
which current flows too: both add up. That is what one sees of a tip change in an image: a jump in height, a shift of what comes after, each
feature twice, another decay with the gap (C. J. Chen, *Introduction to Scanning Tunneling Microscopy*).

Changes come from a rate (decided anew for each sample), from contact (with a probability), or by call. The last `EVENTS` are on record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import auto

import numpy as np
from numpy.typing import NDArray

from .compiled import shared
from .noise import uniform
from .places import Places

LOWEST_WORK_FUNCTION_EV, HIGHEST_WORK_FUNCTION_EV = 3.5, 5.5  # what a change may lead to: metals, clean or not
LONGEST_M = 100e-9  # for a shape by call
EVENTS = 64
CAUSES = ("rate", "contact", "call")
NUMBERS = 16  # random numbers set aside for one decision and its change

Array = NDArray[np.float64]


class Tip(Places):
    """Places in a block of the state. At the start all are 0 but the work function and its factor."""

    LONGER = auto()  # metres that the apex reaches farther down than at the start
    X = auto()  # metres beside where it was at the start
    Y = auto()
    WORK_FUNCTION = auto()  # electron volts
    SECOND = auto()  # 0 or 1: whether there is a second apex
    SECOND_X = auto()  # metres from the first apex
    SECOND_Y = auto()
    SECOND_SHORTER = auto()  # metres that it stands back behind the first
    KAPPA_FACTOR = auto()  # of kappa, against the work function of the start
    CHANGES = auto()


SHAPE = int(Tip.SECOND_SHORTER) + 1  # how many places describe the shape
ROW = 2 + SHAPE  # an event: sample, cause, shape


class Odds(Places):
    """What changes are like: places in a block of the parameters."""

    PER_SAMPLE = auto()  # probability of a change
    ON_CONTACT = auto()  # probability
    HEIGHT = auto()  # greatest change, metres
    LATERAL = auto()  # greatest change along x and along y, metres
    DOUBLE = auto()  # probability of a second apex
    DISTANCE = auto()  # greatest of the second apex from the first, metres
    WORK_FUNCTION = auto()  # that of the start, electron volts
    WORK_FUNCTION_CHANGE = auto()  # greatest distance from it, electron volts


@dataclass(frozen=True)
class TipShape:
    """A tip. Lengths in metres, against the tip of the start: `longer_m` > 0 is closer to the specimen.

    `second_apex`: (x, y, how much it stands back), all from the first apex, or None. `work_function_eV`: of the junction; None leaves it as
    it is.
    """

    longer_m: float = 0.0
    x_m: float = 0.0
    y_m: float = 0.0
    work_function_eV: float | None = None
    second_apex: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class TipChange:
    """One change: `sample` is the first that the new tip took part in (samples count from 1), `cause` one of "rate", "contact", "call"."""

    sample: int
    cause: str
    shape: TipShape


def check(shape: TipShape) -> None:
    """`ValueError`, one line, for lengths beyond 100 nm, a second apex that stands out before the first, a work function out of bounds."""
    lengths = (shape.longer_m, shape.x_m, shape.y_m, *(shape.second_apex or ()))
    if len(lengths) not in (3, 6) or not all(abs(length) <= LONGEST_M for length in lengths):
        raise ValueError(f"{shape!r} is not possible; accepted: lengths within +-{LONGEST_M:g} m, three of a second apex")
    if shape.second_apex is not None and shape.second_apex[2] < 0.0:
        raise ValueError(f"second_apex = {shape.second_apex!r} is not possible; accepted: one that stands back by 0 or more")
    work_eV = shape.work_function_eV
    if work_eV is not None and not LOWEST_WORK_FUNCTION_EV <= work_eV <= HIGHEST_WORK_FUNCTION_EV:
        raise ValueError(
            f"work_function_eV = {work_eV!r} is not possible; accepted: {LOWEST_WORK_FUNCTION_EV} to {HIGHEST_WORK_FUNCTION_EV} eV"
        )


def shape_of(places: Array) -> TipShape:
    """The shape in the first `SHAPE` places."""
    longer, x, y, work, second, *apex = (float(value) for value in places[:SHAPE])
    return TipShape(longer, x, y, work, (apex[0], apex[1], apex[2]) if second else None)


def give_shape(state: Array, at: int, shape: TipShape) -> None:
    """Write `shape` into `Tip`, which is in `state` from `at` on; `record` must follow."""
    state[[at + Tip.LONGER, at + Tip.X, at + Tip.Y]] = shape.longer_m, shape.x_m, shape.y_m
    state[at + Tip.SECOND] = shape.second_apex is not None
    state[at + Tip.SECOND_X : at + Tip.SECOND_SHORTER + 1] = shape.second_apex or (0.0, 0.0, 0.0)
    if shape.work_function_eV is not None:
        state[at + Tip.WORK_FUNCTION] = shape.work_function_eV


def changes(count: int, ring: Array) -> tuple[TipChange, ...]:
    """Those on record, oldest first, of `count` that there have been; `ring` has `EVENTS` rows of `ROW`, one after the other."""
    rows = (ring[ROW * (number % EVENTS) :] for number in range(max(0, count - EVENTS), count))
    return tuple(TipChange(int(row[0]), CAUSES[int(row[1])], shape_of(row[2:])) for row in rows)


@shared()
def record(state: Array, at: int, ring_at: int, par: Array, par_at: int, sample: float, cause: int) -> None:
    """After the shape has changed: what follows from it, and an entry in the ring (`EVENTS` rows in `state` from `ring_at` on)."""
    # kappa goes with the square root of the work function.
    state[at + Tip.KAPPA_FACTOR] = math.sqrt(state[at + Tip.WORK_FUNCTION] / par[par_at + Odds.WORK_FUNCTION])
    row = ring_at + ROW * (int(state[at + Tip.CHANGES]) % EVENTS)
    state[row], state[row + 1] = sample, float(cause)
    for k in range(SHAPE):
        state[row + 2 + k] = state[at + k]
    state[at + Tip.CHANGES] += 1.0


@shared()
def change_at_random(
    state: Array, at: int, ring_at: int, par: Array, par_at: int, key: np.uint64, number: np.uint64, sample: float, cause: int
) -> None:
    """Draw a change with the random numbers from `number` + 1 to `number` + 8. Apex and length change from what they are.

    `Tip` is in `state` from `at` on, `Odds` in `par` from `par_at` on; `sample` and `cause` go on record.
    """
    one, two = np.uint64(1), np.uint64(2)
    number += one
    state[at + Tip.LONGER] += par[par_at + Odds.HEIGHT] * (2.0 * uniform(key, number) - 1.0)
    state[at + Tip.X] += par[par_at + Odds.LATERAL] * (2.0 * uniform(key, number + one) - 1.0)
    state[at + Tip.Y] += par[par_at + Odds.LATERAL] * (2.0 * uniform(key, number + two) - 1.0)
    number += np.uint64(3)
    spread = par[par_at + Odds.WORK_FUNCTION_CHANGE] * (2.0 * uniform(key, number) - 1.0)
    work_function = par[par_at + Odds.WORK_FUNCTION] + spread
    state[at + Tip.WORK_FUNCTION] = min(max(work_function, LOWEST_WORK_FUNCTION_EV), HIGHEST_WORK_FUNCTION_EV)
    double = 1.0 if uniform(key, number + one) < par[par_at + Odds.DOUBLE] else 0.0
    distance = double * par[par_at + Odds.DISTANCE] * (0.5 + 0.5 * uniform(key, number + two))
    number += np.uint64(3)
    angle = 2.0 * math.pi * uniform(key, number)
    state[at + Tip.SECOND] = double
    state[at + Tip.SECOND_X] = distance * math.cos(angle)
    state[at + Tip.SECOND_Y] = distance * math.sin(angle)
    state[at + Tip.SECOND_SHORTER] = double * par[par_at + Odds.HEIGHT] * uniform(key, number + one)
    record(state, at, ring_at, par, par_at, sample, cause)
