"""A limits file: TOML, every value in physical units, every fault named with its line."""

from __future__ import annotations

import difflib
import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.envelope import KEEP_OUT_EDGES
from reflexarc.contract.blocks.interlock import Cause, ReadyLine
from reflexarc.safety.limits import (
    BY_PATH,
    ENTRIES,
    REACTIONS,
    SWITCHED,
    BoardFacts,
    Fault,
    Limits,
    LimitsRefused,
    Reactions,
    Rectangle,
)
from reflexarc.safety.units import UnitError, parse
from reflexarc.text_file import NotText, read_text

WHERE_PRESENT = "where present"
SIZE_MAX = 1 << 20  # bytes; a limits file has a few thousand
DOSE_AREAS = {"dose.pixel": "dose.pixel_area", "dose.frame": "dose.frame_area"}  # what a dose in e/Å^2 is multiplied with
_OTHER_KEYS = {
    "preamp": ("gain", "gain_lines"),
    "dose": ("pixel_area", "frame_area"),
    "lines": ("ready",),
    "region": KEEP_OUT_EDGES,
    "keep_out": KEEP_OUT_EDGES,
    "reactions": REACTIONS,
    "conditions": tuple(cause.name for cause in Cause if cause in SWITCHED),
}


def known_keys() -> dict[str, tuple[str, ...]]:
    """Keys by section."""
    found: dict[str, list[str]] = {}
    for entry in ENTRIES:
        section, _, key = entry.path.partition(".")
        found.setdefault(section, []).append(key)
    for section, keys in _OTHER_KEYS.items():
        found.setdefault(section, []).extend(keys)
    return {section: tuple(keys) for section, keys in found.items()}


def default_text() -> str:
    """The default limits as a file, with comments."""
    return importlib.resources.files("reflexarc.safety").joinpath("default_limits.toml").read_text(encoding="utf-8")


@dataclass(frozen=True)
class LimitsFile:
    """What a file says: its limits, and the keys that it leaves to defaults that limit something."""

    name: str
    limits: Limits
    omitted: tuple[str, ...]
    lines: Lines

    def check(self, calibration: Calibration, board: BoardFacts | None = None) -> None:
        """LimitsRefused with every fault and its line."""
        _refuse(self.name, self.limits.faults(calibration, board), self.lines)


def load_limits(path: Path, calibration: Calibration, board: BoardFacts | None = None) -> LimitsFile:
    """Read and check a file; LimitsRefused with all faults and their lines, BadInput if it can't be read."""
    try:
        text = read_text(path, f"limits file {path}", "TOML", "limits file", SIZE_MAX)
    except NotText as error:
        raise LimitsRefused([Fault((), "not UTF-8")], str(path), [f"{path}:{error.line}: not UTF-8"]) from None
    return parse_limits(text, str(path), calibration, board)


def parse_limits(text: str, name: str, calibration: Calibration, board: BoardFacts | None = None) -> LimitsFile:
    """Limits of a file's text, checked; LimitsRefused with all faults and their lines."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        place = re.search(r" \(at line (\d+), column \d+\)", said)
        line = int(place[1]) if place else text.count("\n") + 1
        what = said.replace(place[0], "") if place else said.replace(" (at end of document)", "")
        fault = f"not TOML: {what}"
        raise LimitsRefused([Fault((), fault)], name, [f"{name}:{line}: {fault}"]) from None
    lines = Lines(text)
    reader = _Reader(tables)
    limits = Limits(**reader.values)
    # What could not be read is not judged a second time.
    judged = [fault for fault in limits.faults(calibration, board) if not any(path in reader.unread for path in fault.paths)]
    _refuse(name, [*reader.faults, *judged], lines)
    default = Limits()
    omitted = tuple(entry.path for entry in ENTRIES if entry.path not in reader.given and getattr(default, entry.name))
    return LimitsFile(name, limits, omitted, lines)


def _refuse(name: str, faults: list[Fault], lines: Lines) -> None:
    if faults:
        placed = sorted(((lines.of(fault.paths), fault) for fault in faults), key=lambda pair: pair[0])
        raise LimitsRefused([fault for _, fault in placed], name, [f"{name}:{line}: {fault}" for line, fault in placed])


class Lines:
    """Which line of a TOML text a key stands in: tomllib does not tell."""

    _HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?")
    _KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")

    def __init__(self, text: str) -> None:
        self._lines: dict[str, int] = {}
        self._count = text.count("\n") + 1
        table = ""
        counts: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            header = self._HEADER.fullmatch(line)
            if header is not None:
                table = self._plain(header[2])
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = f"{table}.{counts[table]}"
                self._note(table, number)
                continue
            key = self._KEY.match(line)
            if key is not None:
                self._note(f"{table}.{self._plain(key[1])}".lstrip("."), number)

    @staticmethod
    def _plain(key: str) -> str:
        return ".".join(part.strip().strip("\"'") for part in key.split("."))

    def _note(self, path: str, number: int) -> None:
        """A key also shows where the tables begin that it implies."""
        parts = path.split(".")
        for end in range(len(parts), 0, -1):
            self._lines.setdefault(".".join(parts[:end]), number)

    def of(self, paths: tuple[str, ...]) -> int:
        """Line of the first of ``paths`` that the text has, else of the table it would be in, else the last line."""
        for path in paths:
            if path in self._lines:
                return self._lines[path]
        for path in paths:
            while "." in path:
                path = path.rpartition(".")[0]
                if path in self._lines:
                    return self._lines[path]
        return self._count


class _Reader:
    """TOML tables to the fields of `Limits`, collecting what is wrong."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.faults: list[Fault] = []
        self.values: dict[str, Any] = {}
        self.given: set[str] = set()
        self.unread: set[str] = set()
        self._known = known_keys()
        for section, table in tables.items():
            if section not in self._known:
                self._say(f"unknown {'section' if isinstance(table, dict | list) else 'key'}{_near(section, self._known)}", section)
            elif section == "keep_out":
                self._keep_outs(table)
            elif not isinstance(table, dict):
                self._say(f"is a section: write [{section}] and its keys below", section)
            else:
                self._section(section, table)
        self._doses(tables.get("dose"))

    def _say(self, text: str, *paths: str) -> None:
        self.faults.append(Fault(paths, text))

    def _quantity(self, path: str, value: object, unit: str) -> float | None:
        try:
            return parse(value, unit)
        except UnitError as error:
            self._say(str(error), path)
            self.unread.add(path)
            return None

    def _unknown(self, section: str, path: str, key: str) -> None:
        if section == "conditions" and key in Cause.__members__:
            return  # `Limits` says why it has no switch
        self._say(f"unknown key{_near(key, self._known[section])}", path)

    def _section(self, section: str, table: Mapping[str, Any]) -> None:
        for key, value in table.items():
            path = f"{section}.{key}"
            self.given.add(path)
            if key not in self._known[section]:
                self._unknown(section, path, key)
            elif path in BY_PATH and path not in ("dose.pixel", "dose.frame", "dose.region"):
                if (number := self._quantity(path, value, BY_PATH[path].unit)) is not None:
                    self.values[BY_PATH[path].name] = number
        match section:
            case "preamp":
                if "gain" in table and (gain := self._quantity("preamp.gain", table["gain"], "V/A")) is not None:
                    self.values["preamp_V_per_A"] = gain
                if "gain_lines" in table and (lines := self._quantity("preamp.gain_lines", table["gain_lines"], "")) is not None:
                    self.values["gain_lines"] = int(lines)
            case "lines" if "ready" in table:
                names = self._names("lines.ready", table["ready"], tuple(line.name or "" for line in ReadyLine))
                self.values["ready_lines"] = ReadyLine(sum(ReadyLine[name] for name in names))
            case "region":
                self.values["region"] = self._rectangle("region", table)
            case "reactions":
                causes = tuple(Cause.__members__)
                self.values["reactions"] = Reactions(
                    **{
                        key: frozenset(Cause[name] for name in self._names(f"reactions.{key}", value, causes))
                        for key, value in table.items()
                        if key in REACTIONS
                    }
                )
            case "conditions":
                self._conditions(table)

    def _names(self, path: str, value: object, known: tuple[str, ...]) -> set[str]:
        """Names of a list, or "all"."""
        if value == "all":
            return set(known)
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self._say(f'{value!r} is no list of names; write for instance ["{known[0]}"], [] or "all"', path)
            self.unread.add(path)
            return set()
        for name in value:
            if name not in known:
                self._say(f'"{name}" is not known{_near(name, known)}', path)
                self.unread.add(path)
        return {name for name in value if name in known}

    def _conditions(self, table: Mapping[str, Any]) -> None:
        default = Limits()
        on, where = set(default.conditions), set(default.conditions_where_present)
        for key, value in table.items():
            if key not in Cause.__members__:
                continue
            cause = Cause[key]
            if value not in (True, False, WHERE_PRESENT) or isinstance(value, int) and not isinstance(value, bool):
                self._say(f'{value!r} is no switch; write true, false or "{WHERE_PRESENT}"', f"conditions.{key}")
                self.unread.add(f"conditions.{key}")
                continue
            on.discard(cause)
            where.discard(cause)
            if value is True or cause not in SWITCHED:
                on.add(cause)
            elif value == WHERE_PRESENT:
                where.add(cause)
        self.values["conditions"], self.values["conditions_where_present"] = frozenset(on), frozenset(where)

    def _keep_outs(self, tables: object) -> None:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._say("is a list of rectangles: write [[keep_out]] and its edges below", "keep_out")
            return
        found = [self._rectangle(f"keep_out.{index}", table) for index, table in enumerate(tables)]
        self.values["keep_outs"] = tuple(rectangle for rectangle in found if rectangle is not None)

    def _rectangle(self, path: str, table: Mapping[str, Any]) -> Rectangle | None:
        edges = {}
        for key, value in table.items():
            if key not in KEEP_OUT_EDGES:
                if path != "region":  # of sections the caller has looked at the keys
                    self._unknown("keep_out", f"{path}.{key}", key)
            elif (number := self._quantity(f"{path}.{key}", value, "m")) is not None:
                edges[key] = number
        missing = [edge for edge in KEEP_OUT_EDGES if edge not in table]
        if missing:
            self._say(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing", path)
        if len(edges) < len(KEEP_OUT_EDGES):
            self.unread.add(path)
            # A place is kept, so that the others are counted as in the file; it is valid and never used.
            return Rectangle(0.0, 1e-12, 0.0, 1e-12) if path == "region" else Rectangle(-1e-9, 1e-9, -1e-9, 1e-9)
        return Rectangle(**{f"{edge}_m": edges[edge] for edge in KEEP_OUT_EDGES})

    def _doses(self, table: object) -> None:
        """Budgets in electrons, or in electrons per area where the area is known."""
        if not isinstance(table, dict):
            return
        areas: dict[str, float | None] = {}
        for path in DOSE_AREAS.values():
            key = path.partition(".")[2]
            if key in table:
                areas[path] = self._quantity(path, table[key], "m^2")
                if areas[path] is not None and not (areas[path] or 0) > 0:
                    self._say("an area is above 0", path)
        region = self.values.get("region")
        for path, name in (("dose.pixel", "pixel_dose_e"), ("dose.frame", "frame_dose_e"), ("dose.region", "region_dose_e")):
            key = path.partition(".")[2]
            if key not in table:
                continue
            value = table[key]
            try:
                per_area = parse(value, "e/m^2")
            except UnitError:
                if (number := self._quantity(path, value, "e")) is not None:
                    self.values[name] = number
                continue
            area_path = DOSE_AREAS.get(path, "region")
            area = region.area_m2 if path == "dose.region" and region is not None else areas.get(area_path)
            if area is None:
                if area_path not in self.unread:
                    self._say(f"a dose per area needs the area: give {area_path if '.' in area_path else f'[{area_path}]'}", path)
                self.unread.add(path)
            else:
                self.values[name] = per_area * area


def _near(name: str, known: Any) -> str:
    found = difflib.get_close_matches(name, list(known), 1)
    return f'; is "{found[0]}" meant?' if found else f"; known are {', '.join(known)}"
