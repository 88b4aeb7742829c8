"""The raster and the move as lists of ticks, in plain integers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reflexarc.contract.blocks.scan import ScanFlags, ScanState
from reflexarc.contract.packets import Direction

EXTRA = 8  # positions on the bus are Q20.12, within the scan they have 20 fraction bits as the steps have


@dataclass
class Tick:
    """What stands while a tick comes: positions with 20 fraction bits, and what its sample means, if it belongs to a pixel."""

    state: ScanState
    x: int
    y: int
    line: int = 0
    marker: dict[str, int] | None = None


def raster(c: dict[str, Any], x0: int, y0: int) -> Iterator[Tick]:
    """All counted ticks of a frame with the register values ``c``, the last one with IDLE."""
    samples = c["pixels"] * c["pixel_samples"]

    def way(state: ScanState, direction: Direction, line: int, x: int, y: int) -> Iterator[Tick]:
        for k in range(samples):
            # k counts along the way, `place` from the line's low end.
            place = k if direction == Direction.FORWARD else samples - 1 - k
            index = place // c["pixel_samples"]
            k_in_pixel = k % c["pixel_samples"]
            px, py = x + place * c["step_x"], y + place * c["step_y"]
            marker = {
                "active": 1,
                "first": k_in_pixel == 0,
                "last": k_in_pixel == c["pixel_samples"] - 1,
                "line_first": k == 0,
                "line_last": k == samples - 1,
                "direction": direction,
                "index": index,
                "line": line,
                "x": px >> EXTRA,
                "y": py >> EXTRA,
            }
            yield Tick(state, px, py, line, marker)

    yield Tick(ScanState.READY, x0, y0, 0)
    for line in range(c["lines"]):
        x = x0 + line * (c["line_x"] << EXTRA)
        y = y0 + line * (c["line_y"] << EXTRA)
        end_x, end_y = x + (samples - 1) * c["step_x"], y + (samples - 1) * c["step_y"]
        for _ in range(c["settle_samples"]):
            yield Tick(ScanState.SETTLE, x, y, line)
        yield from way(ScanState.FORWARD, Direction.FORWARD, line, x, y)
        if c["flags"] & ScanFlags.BACKWARD:
            for _ in range(c["turn_samples"]):
                yield Tick(ScanState.TURN, end_x, end_y, line)
            yield from way(ScanState.BACKWARD, Direction.BACKWARD, line, x, y)
        else:
            for k in range(c["flyback_samples"]):
                yield Tick(ScanState.FLYBACK, end_x + k * c["flyback_x"], end_y + k * c["flyback_y"], line)
    yield Tick(ScanState.IDLE, x0 + c["lines"] * (c["line_x"] << EXTRA), y0 + c["lines"] * (c["line_y"] << EXTRA), c["lines"] - 1)


def move(c: dict[str, Any], x: int, y: int, line: int) -> Iterator[Tick]:
    """All counted ticks of a move from a position; ``line`` stays what it was."""

    def nearer(position: int, target: int) -> int:
        return position + max(-c["move_step"], min(c["move_step"], target - position))

    target_x, target_y = c["target_x"] << EXTRA, c["target_y"] << EXTRA
    yield Tick(ScanState.MOVING, x, y, line)
    while (x, y) != (target_x, target_y):
        x, y = nearer(x, target_x), nearer(y, target_y)
        yield Tick(ScanState.MOVING, x, y, line)
    yield Tick(ScanState.IDLE, x, y, line)
