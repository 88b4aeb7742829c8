"""What capture must have heard, in plain integers."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Line:
    """One line and direction; ``pixels`` are (index, sum of z, sum of current)."""

    line: int
    direction: int
    time: int
    pixels: list[tuple[int, int, int]] = field(default_factory=list)
    aborted: bool = False


class NaiveCapture:
    """Keeps every sample of a pixel and adds them up when it is whole."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.pixels: list[dict[str, int]] = []  # as the event source sees them
        self._open = False
        self._samples: list[tuple[int, int]] = []

    def sample(self, marker: dict[str, Any] | None, z: int, current: int, time: int) -> None:
        if marker is None:
            return
        if marker["line_first"]:
            self.lines.append(Line(marker["line"], marker["direction"], time))
            self._open = True
        if marker["first"]:
            self._samples = []
        self._samples.append((z, current))
        if marker["last"]:
            z_sum, current_sum = sum(z for z, _ in self._samples), sum(current for _, current in self._samples)
            self.lines[-1].pixels.append((marker["index"], z_sum, current_sum))
            self.pixels.append({"valid": 1, "z_sum": z_sum, "current_sum": current_sum, "x": marker["x"], "y": marker["y"]})
        if marker["line_last"]:
            self._open = False

    def abort(self) -> None:
        """After the sample of the same cycle, if there was one."""
        if self._open:
            self.lines[-1].aborted = True
            self._open = False
