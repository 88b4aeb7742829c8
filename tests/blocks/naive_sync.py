"""Handshakes with other instruments, as questions to a history of cycles."""

from collections.abc import Iterable
from dataclasses import dataclass

from reflexarc.contract.blocks.sync import SyncLine, SyncMode

SYNCHRONISER = 2  # cycles from a line to what the block sees of it


@dataclass
class Cycle:
    """What stands at the block's inputs in one cycle."""

    lines: SyncLine
    tick: bool
    pixel_start: bool
    pixel_first: bool
    pixel_over: bool
    waiting: bool


class NaiveSync:
    """Settings are given once; ``add`` a cycle, then ask for the outputs in it (cycle ``len(history) - 1``)."""

    def __init__(self, mode: SyncMode, wait_samples: int, pulse_cycles: int):
        self.mode, self.wait_samples, self.pulse_cycles = mode, wait_samples, pulse_cycles
        self.history: list[Cycle] = []
        self.missed = self.lates = 0
        self.late = False

    def add(self, cycle: Cycle) -> None:
        self.history.append(cycle)
        now = len(self.history) - 1
        # Counters show what happened until the cycle before.
        if SyncMode.PIXEL_CLOCK in self.mode and self.rises(SyncLine.PIXEL_CLOCK, now - 1) and not self._starts(now - 1):
            self.missed += self.clocked(now - 1)
        was_late, self.late = self.late, self.is_late(now)
        self.lates += self.late and not was_late

    def level(self, line: SyncLine, now: int) -> bool:
        return now >= SYNCHRONISER and line in self.history[now - SYNCHRONISER].lines

    def rises(self, line: SyncLine, now: int) -> bool:
        return self.level(line, now) and not self.level(line, now - 1)

    def _starts(self, now: int) -> bool:
        return now >= 0 and self.history[now].pixel_start

    def pixel_began(self, now: int) -> int:
        """The cycle before ``now`` in which its pixel began."""
        return next((c for c in reversed(range(max(0, now))) if self._starts(c)), -1)

    def exposed(self, now: int) -> bool:
        """Since the pixel's begin the camera was triggered, then not ready, then ready again."""

        def after(cycle: int | None, happens: Iterable[int]) -> int | None:
            return None if cycle is None else next((c for c in happens if c > cycle), None)

        cycles = range(self.pixel_began(now), max(0, now))
        cycle = after(self.pixel_began(now), (c for c in cycles if c >= 0 and self.history[c].pixel_first))
        cycle = after(cycle, (c for c in cycles if not self.level(SyncLine.CAMERA_READY, c)))
        return after(cycle, (c for c in cycles if self.level(SyncLine.CAMERA_READY, c))) is not None

    def clocked(self, now: int) -> bool:
        return any(self.rises(SyncLine.PIXEL_CLOCK, c) for c in range(max(0, self.pixel_began(now)), now))

    def may_end(self, now: int) -> bool:
        if not self.mode & (SyncMode.CAMERA | SyncMode.PIXEL_CLOCK):
            return True
        if self._starts(now - 1) or now < 1:
            return False
        camera = SyncMode.CAMERA not in self.mode or self.exposed(now - 1)
        return camera and (SyncMode.PIXEL_CLOCK not in self.mode or self.clocked(now - 1))

    def may_start(self, now: int) -> bool:
        """One cycle after: an edge since the wait began, and the column's consent."""
        due = False
        for c in reversed(range(now - 1)):
            if not self.history[c].waiting:
                break
            due |= self.rises(SyncLine.LINE_TRIGGER, c)
        triggered = SyncMode.LINE_TRIGGER not in self.mode or due
        return triggered and (SyncMode.EXTERNAL_SCAN not in self.mode or self.level(SyncLine.EXTERNAL_SCAN, now - 1))

    def waits(self, now: int) -> bool:
        cycle = self.history[now]
        return cycle.pixel_over and not self.may_end(now) or cycle.waiting and not self.may_start(now)

    def is_late(self, now: int) -> bool:
        """The wait that lasts until two cycles before has had more ticks than it may."""
        ticks = 0
        for c in reversed(range(1, now)):
            if not self.waits(c - 1):
                break
            ticks += self.history[c].tick
        return ticks > self.wait_samples > 0

    def pulse(self, now: int) -> bool:
        return any(c >= 0 and self.history[c].pixel_first for c in range(now - 2 - self.pulse_cycles, now - 2))
