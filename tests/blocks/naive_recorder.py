"""The black box as a list."""

from typing import Any

from reflexarc.contract.blocks.recorder import DEPTH, POST_TRIGGER, RecorderState


class NaiveRecorder:
    """Keeps everything since the last release; what can be read is the end of it."""

    def __init__(self) -> None:
        self._all: list[dict[str, Any]] = []
        self.state = RecorderState.RUNNING
        self.after_trip = 0

    def cycle(self, entry: dict[str, Any] | None, tripped: bool, release: bool = False) -> None:
        """One cycle: an entry if there was a sample."""
        if self.state is RecorderState.RUNNING and tripped:
            self.state = RecorderState.TRIGGERED
            self.after_trip = 0
        if self.state is RecorderState.FROZEN:
            if release and not tripped:
                self.state = RecorderState.RUNNING
                self._all.clear()
        elif entry is not None:
            self._all.append(entry)
            if self.state is RecorderState.TRIGGERED:
                self.after_trip += 1
                if self.after_trip == POST_TRIGGER:
                    self.state = RecorderState.FROZEN

    @property
    def entries(self) -> list[dict[str, Any]]:
        return self._all[-DEPTH:]
