"""What the readers of files share: channels, which of them is the topography, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .specimen import SpecimenError
from .units import metres

MOST_MAP_BYTES = 128 * 2**20  # of a map as float64 that another process reads within its time and memory, 4096 x 4096 points
FEWEST_ROWS = 16  # of an unfinished scan
_LISTED = 10  # channels in a message
_BACKWARD = re.compile(r"retrace|backward|bwd|reverse|<-", re.IGNORECASE)
# Metres, or no unit, do not make a topography of these.
_OTHER = re.compile(r"ampl|defl|error|phase|current|freq|adhes|friction|lateral|deform|indent|dissip|mask|^[xy]$", re.IGNORECASE)


@dataclass(frozen=True)
class Channel:
    """One channel of a file. `names`: the one for messages first, then others that it goes by, such as its path. `unit`: as written in
    the file. `unusable`: why it can't be a surface, "" if it can. `volume`: a stack of planes. `source`: where the reader finds it."""

    names: tuple[str, ...]
    unit: str
    source: Any
    unusable: str = ""
    volume: bool = False

    def __str__(self) -> str:
        return f"{self.names[0][:30]} ({self.unusable or self.unit[:12] or 'no unit'})"


@dataclass(frozen=True)
class Reading:
    """What a reader found.

    `values`: float64, shape (rows, columns), rows from low to high y, columns from low to high x; NaN or infinite where nothing was
    measured. `size_m`: width and height, `None` where the file does not say. `metres`: the values are metres by the file's own unit.
    `bare`: without a unit they may pass for metres; brightness may not. `note`: which channel, and what was done to it.
    """

    values: NDArray[np.float64]
    size_m: tuple[float, float] | None
    metres: bool
    bare: bool
    note: str


def choose(file: str, channels: Sequence[Channel], wanted: str | None) -> Channel:
    """The channel called `wanted`, else the topography. Raises `SpecimenError`, with the channels found, where there is none.

    A topography is in a unit of length, or in none, and goes by its name: first "Z", then "Height" or "Topography", then what begins with
    one of these, then what contains one of the latter; forward before backward, measured before without unit, in the order of the file
    otherwise. Where no name fits, the only channel in a unit of length is taken, or else the only one without a unit, unless its name
    says that it is something else.
    """
    usable = [channel for channel in channels if not channel.unusable]
    if wanted is not None:
        return _named(file, channels, wanted)
    ranked = [(rank, i) for i, channel in enumerate(usable) if (rank := _rank(channel)) is not None]
    if ranked:
        return usable[min(ranked)[1]]
    nameless = [c for c in usable if not any(_OTHER.search(part) for name in c.names for part in name.split("/")[-2:])]
    for single in ([c for c in nameless if metres(c.unit) is not None], [c for c in nameless if not c.unit]):
        if len(single) == 1:
            return single[0]
    needed = "a channel in a unit of length is needed, called Z, Height or Topography, or name one as the channel"
    raise SpecimenError(f"{file}: no topography{listing(channels)}; {needed}")


def _named(file: str, channels: Sequence[Channel], wanted: str) -> Channel:
    plain = wanted.strip().lower()
    exact = [channel for channel in channels if wanted in channel.names]
    for found in (exact, [channel for channel in channels if plain in (name.lower() for name in channel.names)]):
        # Trace and retrace may go by one name; usable ones come first.
        found.sort(key=lambda channel: (bool(channel.unusable), _backward(channel)))
        if found and found[0].unusable:
            raise SpecimenError(f"{file}: channel {wanted[:60]!r} is no surface: {found[0].unusable}{listing(channels)}")
        if found:
            return found[0]
    raise SpecimenError(f"{file}: there is no channel {wanted[:60]!r}{listing(channels)}")


def listing(channels: Sequence[Channel]) -> str:
    """For messages: the channels found, in brackets."""
    shown = ", ".join(str(channel) for channel in channels[:_LISTED]) or "none"
    more = f" and {len(channels) - _LISTED} more" if len(channels) > _LISTED else ""
    return f" (channels found: {shown}{more})"


def _backward(channel: Channel) -> bool:
    return any(_BACKWARD.search(name) for name in channel.names)


def _rank(channel: Channel) -> tuple[bool, int, bool, bool] | None:
    """The smaller, the more a topography; `None` for what is none."""
    measured = metres(channel.unit) is not None
    if channel.unit and not measured:
        return None
    ranks = [_rank_of_name(name) for name in channel.names if "/" not in name]
    # Only a group that is called Height tells what is in it: its name is the weaker hint.
    ranks += [10 + rank for name in channel.names for part in name.split("/")[-2:-1] if (rank := _rank_of_name(part)) is not None]
    fitting = [rank for rank in ranks if rank is not None]
    return (channel.volume, min(fitting), _backward(channel), not measured) if fitting else None


def _rank_of_name(name: str) -> int | None:
    # Of "Z (Forward)", "Height_Trace" or "HeightRetrace" the direction does not count.
    word = re.sub(r"(forward|fwd|backward|bwd|retrace|trace|[^a-z])", "", name.lower())
    if "error" in word:
        return None
    if word == "z":
        return 0
    if word in ("height", "topography", "topo"):
        return 1
    if word.startswith("zsensor"):
        return 3  # the sensor of the scanner, noisier than the drive beside it
    if word.startswith(("z", "height", "topo")):
        return 2
    return 4 if "height" in word or "topo" in word else None


def complete_rows(name: str, heights: NDArray[np.float64], what: str) -> tuple[NDArray[np.float64], str]:
    """The longest block of rows without NaN or infinity, after columns without a single number are gone from either side; and a note, ""
    when nothing was cropped. `what` says in messages whose rows these are. Raises `SpecimenError` below `FEWEST_ROWS`."""
    good = np.isfinite(heights)
    if good.all():
        return heights, ""
    columns = np.flatnonzero(good.any(axis=0))
    first, last = (int(columns[0]), int(columns[-1]) + 1) if columns.size else (0, heights.shape[1])
    complete = good[:, first:last].all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], complete.astype(np.int8), [0]))))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts)) if starts.size else -1
    start, end = (int(starts[longest]), int(ends[longest])) if starts.size else (0, 0)
    if end - start < FEWEST_ROWS:
        raise SpecimenError(
            f"{name}: an unfinished scan: {end - start} complete rows of {heights.shape[0]} in {what}; "
            f"at least {FEWEST_ROWS} in one block are needed"
        )
    note = f"cropped to {end - start} complete rows of {heights.shape[0]}; "
    if last - first < heights.shape[1]:
        note = f"cropped to {last - first} columns of {heights.shape[1]} and {note.removeprefix('cropped to ')}"
    return heights[start:end, first:last], note
