"""The black box as two lists."""

from typing import Any

from reflexarc.contract.blocks.recorder import DEPTH, LONG_DEPTH, LONG_POST_TRIGGER, POST_TRIGGER, RecorderState, Ring


class NaiveRing:
    """Keeps everything since the last release; what can be read is the end of it."""

    def __init__(self, depth: int, post_trigger: int) -> None:
        self._depth, self._post_trigger = depth, post_trigger
        self._all: list[dict[str, Any]] = []
        self.state = RecorderState.RUNNING
        self.after_trip = 0

    def cycle(self, entry: dict[str, Any] | None, tripped: bool) -> None:
        """One cycle: an entry if there was one."""
        if self.state is RecorderState.RUNNING and tripped:
            self.state = RecorderState.TRIGGERED
            self.after_trip = 0
        if entry is not None and self.state is not RecorderState.FROZEN:
            self._all.append(entry)
            if self.state is RecorderState.TRIGGERED:
                self.after_trip += 1
                if self.after_trip == self._post_trigger:
                    self.state = RecorderState.FROZEN

    def release(self) -> None:
        self.state = RecorderState.RUNNING
        self._all.clear()

    @property
    def entries(self) -> list[dict[str, Any]]:
        return self._all[-self._depth :]


class NaiveRecorder:
    """A short ring with each sample, a long one with each ``decimation``-th."""

    def __init__(self) -> None:
        self.rings = {Ring.SHORT: NaiveRing(DEPTH, POST_TRIGGER), Ring.LONG: NaiveRing(LONG_DEPTH, LONG_POST_TRIGGER)}
        self.decimation = 1000
        self._since: list[int] = []  # currents since the last long entry

    def cycle(self, entry: dict[str, Any] | None, tripped: bool, release: bool = False) -> None:
        """One cycle: an entry if there was a sample."""
        if release and self.state is RecorderState.FROZEN and not tripped:
            for ring in self.rings.values():
                ring.release()
        long_entry = None
        if entry is not None:
            self._since.append(entry["current"])
            if len(self._since) >= self.decimation:
                long_entry = entry | {"current_low": min(self._since), "current_high": max(self._since)}
                self._since.clear()
            entry = entry | {"current_low": entry["current"], "current_high": entry["current"]}
        self.rings[Ring.SHORT].cycle(entry, tripped)
        self.rings[Ring.LONG].cycle(long_entry, tripped)

    @property
    def state(self) -> RecorderState:
        """Of both: frozen once both are."""
        states = {ring.state for ring in self.rings.values()}
        return states.pop() if len(states) == 1 else RecorderState.TRIGGERED
