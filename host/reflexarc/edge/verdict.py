"""What outputs mean, and which events are left out: as the gateware's head and neighbours do it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.network import Head


class Verdict(NamedTuple):
    """``class_id``: the number of the first member's greatest output; ``margin``: the least of all members."""

    class_id: int
    margin: float
    disagree: bool


def judge(outputs: NDArray[Any], head: Head, floor: float | None = None) -> Verdict:
    """Of one evaluation; outputs as they are stored, or floats. ``floor`` in place of the head's."""
    found: list[tuple[int, float]] = []
    for member in outputs.reshape(head.members, head.classes).tolist():
        best = int(np.argmax(member))  # the first of equals
        others = [*(value for number, value in enumerate(member) if number != best), head.floor if floor is None else floor]
        found.append((best, member[best] - max(others)))
    classes = {best for best, _ in found}
    return Verdict(found[0][0], min(margin for _, margin in found), len(classes) > 1)


def event_class(verdict: Verdict, head: Head, least_margin: float | None = None) -> int | None:
    """Of the event that the verdict makes; None: none. ``least_margin`` in place of the head's."""
    if verdict.disagree and head.disagreement_class is not None:
        return head.disagreement_class
    least = head.least_margin if least_margin is None else least_margin
    if verdict.class_id not in head.eventful or verdict.margin < least:
        return None
    return head.class_base + verdict.class_id


class Neighbours:
    """No second event within ``radius`` pixels and lines of one; 0: each evaluation may make one."""

    def __init__(self, radius: int) -> None:
        self._radius = radius
        self._kept: list[tuple[int, int]] = []

    def start_frame(self) -> None:
        self._kept = []

    def takes(self, line: int, index: int) -> bool:
        """Whether an event there is told; lines count in the order of time."""
        if self._radius == 0:
            return True
        self._kept = [place for place in self._kept if line - place[0] <= self._radius]
        if any(abs(index - other) <= self._radius for _, other in self._kept):
            return False
        self._kept.append((line, index))
        return True
