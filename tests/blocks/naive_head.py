"""What a list of outputs means, and which events are left out because others are near."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

PIXELS = 1024  # of a line, for which events are remembered


class Verdict(NamedTuple):
    event: bool
    class_id: int
    greatest: int
    margin: int
    disagreement: bool


def judge(outputs: list[int], settings: dict[str, int]) -> Verdict:
    """``settings``: by the names of SETTINGS_LAYOUT."""
    classes = settings["classes"]
    members = [outputs[start : start + classes] for start in range(0, len(outputs), classes)]
    found = []
    for member in members:
        best = member.index(max(member))
        others = [*member[:best], *member[best + 1 :], settings["floor"]]
        found.append((best, member[best] - max(others)))
    number, margin = found[0][0], min(margin for _, margin in found)
    disagreement = any(other != number for other, _ in found)
    eventful = (settings["eventful"] | settings["eventful_high"] << 32) >> number & 1
    greatest = (settings["class_base"] + number) % 256
    if disagreement and settings["disagreement"]:
        return Verdict(True, settings["disagreement_class"], greatest, margin, True)
    return Verdict(bool(eventful) and margin >= settings["least_margin"], greatest, greatest, margin, disagreement)


@dataclass
class NaiveNeighbours:
    """Greedy, in time's order: an event counts unless one that counts is near. ``blind``: nothing is remembered in this frame."""

    events: list[tuple[int, int]] = field(default_factory=list)  # index and line
    blind: bool = False

    def frame(self, blind: bool) -> None:
        self.events, self.blind = [], blind

    def near(self, index: int, line: int, radius: int) -> bool:
        return any(abs(index - other) <= radius and line - before <= radius for other, before in self.events)

    def event(self, index: int, line: int, radius: int) -> None:
        if radius and index < PIXELS and not self.blind:
            self.events.append((index, line))
