"""What capture must have heard, in plain integers."""

from dataclasses import dataclass, field
from typing import Any

from reflexarc.contract.packets import Channel


@dataclass
class Line:
    """One line and direction."""

    line: int
    direction: int
    second: bool
    time: int
    channels: tuple[Channel, ...]
    pixels: list[tuple[int, ...]] = field(default_factory=list)  # index, samples, the sum of each channel
    aborted: bool = False


@dataclass
class NaivePulses:
    """One counter: when each pulse's edge was seen, and when the samples came."""

    edges: list[int] = field(default_factory=list)
    ticks: list[int] = field(default_factory=lambda: [-(1 << 80)] * 2)
    level: int = 0

    def cycle(self, level: int, now: int, seen_after: int) -> None:
        if level and not self.level:
            self.edges.append(now + seen_after)
        self.level = level

    def tick(self, now: int) -> int:
        """What the sample of this cycle has: the pulses of the period before the last one's end."""
        count = sum(self.ticks[-2] <= edge < self.ticks[-1] for edge in self.edges[-10000:])
        self.ticks.append(now)
        return count


class NaiveCapture:
    """Keeps every sample of a pixel and adds them up when it is whole."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._open = False
        self._samples: list[dict[Channel, int]] = []
        self._line_first = False
        self.pixel: dict[str, Any] = {}  # the last whole one

    def sample(self, marker: dict[str, Any] | None, values: dict[Channel, int], mask: int, time: int) -> None:
        if marker is None:
            return
        if marker["line_first"]:
            if self._open:
                self.lines[-1].aborted = True
            channels = tuple(channel for channel in Channel if mask >> channel & 1)
            self.lines.append(Line(marker["line"], marker["direction"], bool(marker["second"]), time, channels))
            self._open = True
        if marker["first"]:
            self._samples = []
            self._line_first = False
        self._line_first |= bool(marker["line_first"])
        self._samples.append(values)
        if marker["last"]:
            self.pixel = {name: int(marker[name]) for name in ("line_last", "direction", "second", "index")}
            self.pixel |= {"line_first": int(self._line_first), "samples": len(self._samples), "x": marker["x"], "y": marker["y"]}
            self.pixel |= {"sums": [sum(values[channel] for values in self._samples) for channel in Channel]}
            sums = (sum(values[channel] for values in self._samples) for channel in self.lines[-1].channels)
            self.lines[-1].pixels.append((marker["index"], len(self._samples), *sums))
        if marker["line_last"]:
            self._open = False

    def abort(self) -> None:
        """After the sample of the same cycle, if there was one."""
        if self._open:
            self.lines[-1].aborted = True
            self._open = False
