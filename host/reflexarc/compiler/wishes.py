"""What is asked for beside the network itself: which part of the stream it looks at, and what its outputs mean.

The model's file may say it (metadata ``view``, ``head`` and ``labels``, see ``models/README.md``); options say it otherwise.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from reflexarc.calibration import Calibration, PreampKind
from reflexarc.compiler.canonical import Format
from reflexarc.compiler.model_store import StoredModel
from reflexarc.compiler.network import Head, Shape
from reflexarc.contract.blocks.detector import BLOCK
from reflexarc.contract.model import CHANNELS, ViewSource
from reflexarc.contract.packets import Channel
from reflexarc.errors import BadInput
from reflexarc.safety.units import UnitError, parse, show

VIEWS = "window, window:32x32 (lines x pixels), line, lines:2, burst:64, program:16"
CHANNEL_UNITS = {Channel.Z: "m", Channel.CURRENT: "A", Channel.MONITOR: "V", Channel.COUNTER_0: "pulses", Channel.COUNTER_1: "pulses"}
SIZE_MAX = 1 << 14  # of a window in each direction; what really fits the compiler says
MARGIN_MAX = 511
METADATA_MAX = 1 << 16  # characters
RADIUS_MAX = BLOCK["radius"].high
FRACTION = 1 / 4096  # what is measured is Q20.12
SOURCES = {source.name.lower(): source for source in ViewSource}


def channel_name(channel: Channel) -> str:
    return channel.name.lower().replace("_", "-")


BY_NAME = {channel_name(channel): channel for channel in Channel}


@dataclass(frozen=True)
class ViewWish:
    """``rows``, ``records``: None: as the model's input has them. ``units``: of each channel what 1.0 of the input is, in SI units.

    ``center``: records and lines from the newest one back to the place that a result tells of.
    """

    source: ViewSource = ViewSource.PIXEL
    rows: int | None = None
    records: int | None = None
    hop: int | None = 1  # None: as many as there are records
    channels: tuple[Channel, ...] = (Channel.Z,)
    units: tuple[float, ...] = (1.0,)
    backward: bool = False
    line_mean: bool = False
    center: tuple[int, int] = (0, 0)

    def resolved(self, dimensions: Sequence[int]) -> ViewWish:
        """For a model's input [1, ...]: with all its numbers. BadInput where the two can't be brought together."""
        sizes = list(dimensions[1:])
        channels = len(self.channels)
        values = math.prod(sizes)
        rows, records = self.rows, self.records
        if len(sizes) == 3:
            rows, records = rows or sizes[1], records or sizes[2]
        elif len(sizes) == 2:
            rows, records = rows or 1, records or sizes[1]
        else:
            rows = rows or 1
            records = records or max(1, values // (rows * channels))
        if rows * records * channels != values or (len(sizes) == 3 and sizes != [channels, rows, records]):
            raise BadInput(
                f"the model's input is {_times(sizes)}, the view gives {_times((channels, rows, records))} (channels, lines, records); "
                f"accepted: {VIEWS}, and a --channel for each channel"
            )
        return replace(self, rows=rows, records=records, hop=self.hop or records)

    @property
    def shape(self) -> Shape:
        """Of one that is resolved."""
        assert self.rows is not None and self.records is not None
        return Shape(len(self.channels), self.rows, self.records)

    def lsb_units(self, calibration: Calibration) -> list[float]:
        """Of each channel what an LSB of the measured Q20.12 is in the model's units."""
        return [lsb(channel, calibration) / unit for channel, unit in zip(self.channels, self.units, strict=True)]

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"source": self.source.name.lower(), "channels": [channel_name(channel) for channel in self.channels]}

    def __str__(self) -> str:
        """For people."""
        seen = ", ".join(
            channel_name(channel) + (f" in {show(unit, CHANNEL_UNITS[channel])}" if unit != 1.0 else "")
            for channel, unit in zip(self.channels, self.units, strict=True)
        )
        match self.source:
            case ViewSource.SAMPLE:
                what = f"burst of {self.records} samples"
            case ViewSource.PROGRAM:
                what = f"{self.records} records of a program"
            case _:
                what = f"{self.rows} x {self.records} pixels (lines x pixels)"
        extra = [
            f"each {self.hop} records",
            *(["backward"] if self.backward else []),
            *(["less the line's mean"] if self.line_mean else []),
        ]
        return f"{what} of {seen}, {', '.join(extra)}"


@dataclass(frozen=True)
class HeadWish:
    """``eventful``: names or numbers of the classes that make an event; None: all but the first. ``least_margin`` in the output's own unit.

    ``disagreement``: members that do not agree make an event, of a class behind the others.
    """

    members: int = 1
    eventful: tuple[str | int, ...] | None = None
    least_margin: float = 0.0
    disagreement: bool = False
    radius: int = 0

    def head(self, outputs: int, labels: Sequence[str], output: Format | None, floats: bool = False) -> Head:
        """For so many outputs. ``output``: how they are quantized, None: nobody knows, so that a margin is one of steps. Of ``floats`` it has none."""
        if self.members < 1 or outputs % self.members:
            raise BadInput(f"the model's {outputs} outputs can't be those of {self.members} members; accepted: a number that divides them")
        classes = outputs // self.members
        if labels and len(labels) != classes:
            raise BadInput(f"the model has {len(labels)} labels for {classes} classes ({', '.join(labels)}); give one for each")
        scale = output.scale if output is not None else 1.0
        steps = 0 if floats else math.ceil(round(min(self.least_margin / scale, 1e6), 6))
        if not 0 <= steps <= MARGIN_MAX:
            raise BadInput(f"least margin {self.least_margin:g} is {steps} steps of the output; accepted: 0 to {MARGIN_MAX * scale:g}")
        return Head(
            classes=classes,
            members=self.members,
            least_margin=steps,
            eventful=frozenset(range(1, classes) if self.eventful is None else (_class_number(c, classes, labels) for c in self.eventful)),
            disagreement_class=classes if self.disagreement else None,
        )


def lsb(channel: Channel, calibration: Calibration) -> float:
    """What an LSB of a measured value is: metres, amperes, volts; of a counter pulses a sample."""
    match channel:
        case Channel.Z:
            return calibration.z_m_per_code * FRACTION
        case Channel.MONITOR:
            return calibration.monitor_V_per_code * FRACTION
        case Channel.CURRENT:
            if calibration.preamp.kind is not PreampKind.LINEAR:
                raise BadInput("a model looks at codes that are proportional to the current; this instrument's preamplifier is logarithmic")
            return calibration.current_A_per_code * FRACTION
    return FRACTION


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _class_number(wanted: str | int, classes: int, labels: Sequence[str]) -> int:
    if isinstance(wanted, str) and wanted in labels:
        return list(labels).index(wanted)
    number = int(wanted) if isinstance(wanted, int) or wanted.isdecimal() else -1
    if not 0 <= number < classes:
        raise BadInput(f"there is no class {wanted!r}; accepted: {', '.join(labels) or f'0 to {classes - 1}'}")
    return number


# Options.


def parse_view(text: str) -> ViewWish:
    """What ``--view`` says; BadInput with what would be understood."""
    found = re.fullmatch(r"\s*(?P<kind>[a-z]+)\s*(:\s*(?P<first>\d{1,9})\s*(x\s*(?P<second>\d{1,9}))?)?\s*", text.lower())
    kind = found["kind"] if found else ""
    first, second = (int(found[name]) if found and found[name] else None for name in ("first", "second"))
    for number in (first, second):
        if number is not None and not 1 <= number <= SIZE_MAX:
            raise BadInput(f"--view {text!r}: {number} is not possible; accepted: 1 to {SIZE_MAX}")
    match kind, first, second:
        case "window", int(rows), int(records):
            return ViewWish(rows=rows, records=records, center=((records - 1) // 2, (rows - 1) // 2))
        case "window", None, None:
            return ViewWish()
        case "line", None, None:
            return ViewWish(rows=1, hop=None)
        case "lines", int(rows), None:
            return ViewWish(rows=rows, hop=None)
        case "burst", _, None:
            return ViewWish(ViewSource.SAMPLE, rows=1, records=first, hop=None)
        case "program", _, None:
            return ViewWish(ViewSource.PROGRAM, rows=1, records=first, hop=None)
    raise BadInput(f"--view {text!r} is no view; accepted: {VIEWS}")


def parse_channel(text: str) -> tuple[Channel, float]:
    """``z`` or ``z:100pm``: the channel, and what 1.0 of the model's input is."""
    name, colon, amount = text.partition(":")
    channel = BY_NAME.get(name.strip().lower().replace("_", "-"))
    if channel is None:
        raise BadInput(f"--channel {text!r}: there is no such channel; accepted: {', '.join(BY_NAME)}, with a unit as in z:100pm")
    if not colon:
        return channel, 1.0
    try:
        size = parse(amount.strip(), CHANNEL_UNITS[channel])
    except UnitError as error:
        raise BadInput(f"--channel {text!r}: {error}") from None
    if not size > 0:
        raise BadInput(f"--channel {text!r}: 1.0 of the model's input must be something above 0")
    return channel, size


# Metadata.


def view_of(metadata: Mapping[str, str]) -> ViewWish | None:
    """What the model's file says about its view; None: nothing. BadInput, which names the key, for what can't be."""
    given = _parsed(metadata, "view")
    if given is None:
        return None
    source = given.pop("source", "pixel")
    if not isinstance(source, str) or source not in SOURCES:
        raise _wrong("view", "source", source, ", ".join(SOURCES))
    names = given.pop("channels", ["z"])
    if not _is_list(names, str, CHANNELS) or not all(name.replace("_", "-") in BY_NAME for name in names):
        raise _wrong("view", "channels", names, f"a list of 1 to {CHANNELS} of {', '.join(BY_NAME)}")
    units = given.pop("units", [1.0] * len(names))
    if not _is_list(units, (int, float), CHANNELS) or len(units) != len(names) or not all(0 < unit < math.inf for unit in units):
        raise _wrong("view", "units", units, f"{len(names)} numbers above 0")
    center = given.pop("center", [0, 0])
    if not _is_list(center, int, 2) or len(center) != 2 or not all(0 <= place < SIZE_MAX for place in center):
        raise _wrong("view", "center", center, "two whole numbers, records and lines back from the newest")
    plain: dict[str, Any] = {key: _whole(given.pop(key), "view", key, 1, SIZE_MAX) for key in ("rows", "records", "hop") if key in given}
    plain |= {key: _flag(given.pop(key), "view", key) for key in ("backward", "line_mean") if key in given}
    _nothing_left(given, "view")
    channels = tuple(BY_NAME[name.replace("_", "-")] for name in names)
    return ViewWish(source=SOURCES[source], channels=channels, units=tuple(map(float, units)), center=(center[0], center[1]), **plain)


def stored_view(entry: StoredModel) -> ViewWish:
    """As the store has it: all numbers are there."""
    wish = view_of({"view": json.dumps({key: value for key, value in entry.view.items() if key != "text"})})
    if wish is None or wish.rows is None or wish.records is None:
        raise BadInput(f"the entry of the model {entry.name!r} does not say what it looks at; deploy the model again")
    return wish


def head_of(metadata: Mapping[str, str]) -> HeadWish:
    given = _parsed(metadata, "head")
    wish = HeadWish()
    if given is None:
        return wish
    if "members" in given:
        wish = replace(wish, members=_whole(given.pop("members"), "head", "members", 1, 5))
    if "radius" in given:
        wish = replace(wish, radius=_whole(given.pop("radius"), "head", "radius", 0, RADIUS_MAX))
    if "disagreement" in given:
        wish = replace(wish, disagreement=_flag(given.pop("disagreement"), "head", "disagreement"))
    if "least_margin" in given:
        margin = given.pop("least_margin")
        if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < math.inf:
            raise _wrong("head", "least_margin", margin, "a number from 0 up")
        wish = replace(wish, least_margin=float(margin))
    if "eventful" in given:
        names = given.pop("eventful")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _wrong("head", "eventful", names, "a list of labels")
        wish = replace(wish, eventful=tuple(names))
    _nothing_left(given, "head")
    return wish


def _parsed(metadata: Mapping[str, str], key: str) -> dict[str, Any] | None:
    text = metadata.get(key)
    if text is None:
        return None
    try:
        found = json.loads(text) if len(text) <= METADATA_MAX else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput(f"the model's metadata '{key}' is no JSON object; write one, or leave it out and use options")
    return found


def _wrong(part: str, key: str, value: Any, accepted: str) -> BadInput:
    shown = json.dumps(value)
    return BadInput(f"the model's metadata '{part}': {key} {shown if len(shown) < 60 else shown[:57] + '...'}; accepted: {accepted}")


def _is_list(value: Any, kind: Any, most: int) -> bool:
    return isinstance(value, list) and 0 < len(value) <= most and all(isinstance(v, kind) and not isinstance(v, bool) for v in value)


def _whole(value: Any, part: str, key: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(part, key, value, f"a whole number from {low} to {high}")
    return value


def _flag(value: Any, part: str, key: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(part, key, value, "true or false")
    return value


def _nothing_left(given: Mapping[str, Any], part: str) -> None:
    if given:
        known = [field for field in (ViewWish if part == "view" else HeadWish).__dataclass_fields__]
        raise BadInput(f"the model's metadata '{part}' has {', '.join(map(repr, list(given)[:4]))}; accepted: {', '.join(known)}")
