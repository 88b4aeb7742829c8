"""What of the stream an evaluation sees, from all that was measured and without any machinery."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from reflexarc.contract.packets import Channel

LINE_FIT = 16380  # bytes that the former lines of a view may take


@dataclass(frozen=True)
class View:
    """``thresholds``: of each of ``channels``."""

    channels: tuple[Channel, ...]
    rows: int
    records: int
    hop: int
    thresholds: list[list[int]]
    line_mean: bool = False


@dataclass
class Point:
    """What was measured at once: a pixel, a sample, a record of a program. ``sums`` of all channels, over so many samples."""

    sums: dict[Channel, int]
    samples: int
    time: int  # tells one from another
    given: tuple[int, ...] | None = None  # by a program: the value of each of the view's channels


@dataclass
class Line:
    """Points one after the other: a line's pixels, a pixel's samples, a program's records. ``follows``: the line before is its predecessor."""

    points: list[Point] = field(default_factory=list)
    pixels: int = 0  # as the scan says
    whole: bool = False  # it came to its end
    follows: bool = True


def value(point: Point, channel: Channel) -> int:
    """The mean in Q20.12, rounded down; sums of z are Q20.12 already."""
    return (point.sums[channel] if channel is Channel.Z else point.sums[channel] << 12) // point.samples


def stored(view: View, points: list[Point]) -> list[list[int]]:
    """The bytes of each point of a line."""
    totals = [0] * len(view.channels)
    rows = []
    for number, point in enumerate(points, 1):
        row = []
        for index, channel in enumerate(view.channels):
            own = value(point, channel) if point.given is None else point.given[index]
            totals[index] += own
            if view.line_mean:
                own = max(-(1 << 31), min((1 << 31) - 1, own - totals[index] // number))
            row.append(bisect_right(view.thresholds[index], own) - 128)
        rows.append(row)
    return rows


def windows(view: View, lines: list[Line]) -> list[tuple[int, list[int]]]:
    """Of each evaluation the time of its newest point and its bytes, [record][row][channel], in order."""
    found = []
    former: list[tuple[Line, list[list[int]]]] = []  # whole lines of one length without a gap, the last one last
    for line in lines:
        here = stored(view, line.points)
        if not line.follows or (former and former[-1][0].pixels != line.pixels):
            former = []
        too_long = (view.rows - 1) * line.pixels * len(view.channels) > LINE_FIT
        if len(former) >= view.rows - 1 and not too_long:
            above = [bytes_ for _, bytes_ in former[len(former) - (view.rows - 1) :]]
            for start in range(0, len(here) - view.records + 1, view.hop):
                window = []
                for place in range(start, start + view.records):
                    for row in (*above, here):
                        window += row[place]
                found.append((line.points[start + view.records - 1].time, window))
        if line.whole and len(line.points) == line.pixels:
            former.append((line, here))
        else:
            former = []
    return found
