"""Rasters, point lists and moves as sequences of ticks, in plain integers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from reflexarc.contract.blocks.scan import AXES, Blanking, ScanFlags, ScanState
from reflexarc.contract.packets import Direction

EXTRA = 8  # positions on the bus are Q20.12, within the scan they have 20 fraction bits as the steps have

Place = tuple[int, ...]  # x, y, z with 20 fraction bits


@dataclass
class Tick:
    """What stands while a tick comes, and what its sample means if it belongs to a pixel.

    A marker's ``last`` and ``line_last`` say that the pixel has had its samples: it ends if it may, otherwise it goes on with the next tick.
    """

    state: ScanState
    place: Place  # without drift
    line: int = 0
    marker: dict[str, int] | None = None
    dark: Blanking | None = None  # what blanks the beam here; None: it is never lit
    second: bool = False  # on the second pass over a line, or on the way to it


class World:
    """What a scan asks its surroundings when a tick counts: of each the value in the cycle after the tick before."""

    may_end = may_start = True
    line_waits = False
    move_step = 1
    target: Place = (0, 0, 0)  # of the MOVE command
    offered = False  # the list has a next entry

    def settings(self, c: dict[str, int]) -> dict[str, int]:
        """Those of a line that begins now."""
        return c

    def take(self) -> dict[str, Any]:
        """The list's next entry."""
        raise NotImplementedError


def vector(c: dict[str, int], name: str, fraction_bits: int = 20) -> Place:
    return tuple(c[f"{name}_{axis}"] << (20 - fraction_bits) for axis in AXES)


def add(place: Place, other: Place, times: int = 1) -> Place:
    return tuple(p + times * q for p, q in zip(place, other, strict=True))


def pass_after(flags: int, backward: bool, second: bool) -> tuple[bool, bool, bool]:
    """What follows a pass over a line: whether a new line, in which direction, and whether that is a second pass."""
    if flags & ScanFlags.BACKWARD:
        if not backward:
            return False, True, second
        if flags & ScanFlags.LIFT and not second:
            return False, False, True
        return True, False, False
    return True, bool(flags & ScanFlags.SERPENTINE) and not backward, False


def way(place: Place, target: Place, speed: Place, samples: int, first: Place, second: Place) -> list[Place]:
    """Places that the transitions lead to; speeds and accelerations have 28 fraction bits."""
    places = []
    for i in range(1, 2 * samples):
        acceleration = first if i <= samples else second
        place = tuple(p + ((v + (a >> 1)) >> 8) for p, v, a in zip(place, speed, acceleration, strict=True))
        speed = add(speed, acceleration)
        places.append(place)
    return [*places, target]


def nearer(place: Place, target: Place, most: int) -> Place:
    return tuple(p + max(-most, min(most, t - p)) for p, t in zip(place, target, strict=True))


def marker(place: Place, direction: Direction, second: bool, line: int, index: int, **ends: bool) -> dict[str, int]:
    where = {"x": place[0] >> EXTRA, "y": place[1] >> EXTRA}
    return {"active": 1, "direction": direction, "second": second, "index": index, "line": line} | ends | where


def raster(c: dict[str, int], x0: int, y0: int, z0: int = 0, world: World | None = None) -> Iterator[Tick]:
    """All counted ticks of a frame with the register values ``c``, the last one with IDLE."""
    world = world or World()
    place = field_start = (x0, y0, z0)
    line = field = 0
    backward = second = False
    new, waits = True, True

    def tick(state: ScanState, place: Place) -> Tick:
        return Tick(state, place, line, dark=Blanking.BETWEEN_LINES, second=second)

    while True:
        if new:
            start = place
        while waits:
            yield tick(ScanState.WAIT, place)
            waits = not world.may_start

        # A pass over the line: place number k is k steps from where it begins.
        overscan, samples, pixels = c["overscan_samples"], c["pixel_samples"], c["pixels"]
        stepped = bool(c["flags"] & ScanFlags.STEPPED)
        step = add((0, 0, 0), vector(c, "step", 12 if stepped else 20), -1 if backward else 1)
        steps = pixels if stepped else pixels * samples
        for _ in range(c["settle_samples"]):
            yield tick(ScanState.SETTLE, place)
        for k in range(overscan):
            yield tick(ScanState.OVERSCAN, add(place, step, k))
        for pixel in range(pixels):
            for sample in count():
                over = sample >= samples - 1
                k = overscan + (pixel if stepped else pixel * samples + min(sample, samples - 1))
                here = add(place, step, k)
                state = ScanState.BACKWARD if backward else ScanState.FORWARD
                sight = marker(
                    here, Direction.BACKWARD if backward else Direction.FORWARD, second, line, pixels - 1 - pixel if backward else pixel,
                    first=sample == 0, last=over, line_first=sample == pixel == 0, line_last=over and pixel == pixels - 1,
                )  # fmt: skip
                yield Tick(state, here, line, sight, Blanking(0), second)
                if over and world.may_end:
                    break

        new, next_backward, next_second = pass_after(c["flags"], backward, second)
        field_ends = new and line + c["interlace"] >= c["lines"]
        if field_ends and field + 1 >= min(c["interlace"], c["lines"]):
            yield Tick(ScanState.IDLE, here, line)
            return
        for k in range(overscan + steps, 2 * overscan + steps):
            yield tick(ScanState.OVERSCAN, add(place, step, k))
        end = add(place, step, 2 * overscan + steps - 1)

        turns = not new or next_backward and not field_ends
        mirrored = not new and backward
        forward_only = not c["flags"] & (ScanFlags.BACKWARD | ScanFlags.SERPENTINE)
        backward, second = next_backward and not field_ends, next_second
        if field_ends:
            field += 1
            line = field
            field_start = add(field_start, vector(c, "field", 12))
            place = end
            while True:
                yield tick(ScanState.MOVING, place)
                if place == field_start:
                    break
                place = nearer(place, field_start, world.move_step)
        else:
            place = start if forward_only else end
            if new:
                line += c["interlace"]
                place = add(place, vector(c, "line", 12))
            name = "turn" if turns else "next"
            sign = -1 if mirrored else 1
            halves = [add((0, 0, 0), vector(c, f"{name}_{half}"), sign) for half in (1, 2)]
            speed = tuple(s << 8 for s in step)
            for between in way(end, place, speed, c[f"{name}_samples"], *halves)[:-1]:
                yield tick(ScanState.TURN, between)
        if new:
            c = world.settings(c)
            waits = world.line_waits


def move(place: Place, world: World) -> Iterator[Tick]:
    """All counted ticks of a move, the last one with IDLE."""
    yield Tick(ScanState.MOVING, place)
    while place != world.target:
        place = nearer(place, world.target, world.move_step)
        yield Tick(ScanState.MOVING, place)
    yield Tick(ScanState.IDLE, place)


def point_list(pixels: int, place: Place, world: World) -> Iterator[Tick]:
    """All counted ticks of a list of entries, the last one with IDLE; ``pixels`` of them make a line."""
    pixel = line = 0
    yield Tick(ScanState.WAIT, place, dark=Blanking.BETWEEN_POINTS)
    while not (world.may_start and world.offered):
        yield Tick(ScanState.WAIT, place, dark=Blanking.BETWEEN_POINTS)
    while True:
        entry = world.take()
        where = (entry["x"], entry["y"], entry["z"])
        if not entry["segment"]:
            place = tuple(p << EXTRA for p in where)
        for sample in count():
            over = sample + 1 >= entry["samples"]
            line_ends = pixel == pixels - 1 or bool(entry["last"])
            sight = marker(
                place, Direction.FORWARD, False, line, pixel,
                first=sample == 0, last=over, line_first=sample == pixel == 0, line_last=over and line_ends,
            )  # fmt: skip
            yield Tick(ScanState.LIST, place, line, *((sight, Blanking(0)) if entry["pixel"] else (None, Blanking.BETWEEN_POINTS)))
            ends = over and (world.may_end or not entry["pixel"])
            if entry["segment"] and (ends or not over):
                place = add(place, where)
            if ends:
                break
        if entry["last"]:
            yield Tick(ScanState.IDLE, place, line)
            return
        if entry["pixel"]:
            line, pixel = (line + 1, 0) if line_ends else (line, pixel + 1)
        while not world.offered:
            yield Tick(ScanState.STARVED, place, line, dark=Blanking.STARVED)
