"""The second pass in plain integers, a tick at a time."""

from reflexarc.contract.blocks.lift import DEPTH
from reflexarc.contract.blocks.scan import ScanState

FORWARD, BACKWARD = ScanState.FORWARD, ScanState.BACKWARD


def clamp(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def between(kept: list[int], spacing: int, sample: int) -> int:
    """Height at a sample: on the chord of its two places; behind the last one that stands."""
    place = sample >> spacing
    if place >= len(kept) - 1:
        return kept[-1]
    return kept[place] + (kept[place + 1] - kept[place]) * (sample - (place << spacing)) // (1 << spacing)


class NaiveLift:
    """``z`` and ``active`` after the last tick; z is what is driven until a pass begins."""

    def __init__(self) -> None:
        self.height, self.step, self.spacing = 0, 1 << 12, 0  # the registers
        self.heard: list[int] = []  # z of each forward sample of the first pass
        self.line_spacing = 0  # as it was when the line began
        self.overrun = False
        self.z, self.active = 0, False
        self.there = self.back = 0  # samples of the second pass, forward and backward

    @property
    def kept(self) -> list[int]:
        return self.heard[:: 1 << self.line_spacing][:DEPTH]

    def sample_that_comes(self, state: ScanState) -> int:
        length = len(self.heard)
        if state == FORWARD:
            return self.there
        if state == BACKWARD:
            return length - 1 - self.back
        return length if self.there and not self.back else 0

    def tick(self, state: ScanState, second: bool, driven: int, then: tuple[ScanState, bool]) -> None:
        """A counted one: ``state`` and ``second`` before it and ``then``; what was ``driven`` in its cycle."""
        if not second:
            self.there = self.back = 0
            if state == FORWARD:
                if not self.heard:
                    self.line_spacing = self.spacing
                self.heard.append(driven)
                self.overrun = len(self.heard) > DEPTH << self.line_spacing
        elif state == FORWARD:
            self.there += 1
        elif state == BACKWARD:
            self.back += 1
        if self.active:
            goal = between(self.kept, self.line_spacing, self.sample_that_comes(then[0])) + self.height
            goal = clamp(goal, -(1 << 31), (1 << 31) - 1)
            self.z += clamp(goal - self.z, -self.step, self.step)
        else:
            self.z = driven
        self.active = then[1] and then[0] not in (ScanState.IDLE, ScanState.MOVING)
        if not self.active:
            self.z = driven
        if second and not then[1] or then[0] == ScanState.IDLE:
            self.heard = []  # the next line
