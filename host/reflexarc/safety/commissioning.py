"""The record of the commissioning test: which way the tip goes, when the beam is off, and that the e-stop is heard.

Retract direction, blanker polarity and e-stop sense are constants of a platform. That they are right for the instrument behind it, no
gateware can know; a person looks, once, and the record of that is what arming asks for.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reflexarc.contract import fingerprint
from reflexarc.contract.blocks.interlock import STRAPS_COMMISSIONED, Strap
from reflexarc.errors import BadInput

FORMAT = "reflexarc-commissioning"
NUMBER_BITS = 29
WORD_SHIFT = 3  # the record's number stands above the straps
SIZE_MAX = 1 << 20


class NotCommissioned(BadInput):
    """The test was not passed. ``void``: it showed that something is wired wrong, so an older record must not count either."""

    def __init__(self, line: str, void: bool = False) -> None:
        super().__init__(f"not commissioned: {line}")
        self.void = void


@dataclass(frozen=True)
class CommissioningRecord:
    """What a passed test leaves. ``straps`` are all of the board's; ``answers`` the questions and what was seen."""

    board: str
    straps: int
    date: str  # ISO 8601, UTC
    operator: str
    answers: Mapping[str, str]
    contract: int  # fingerprint at the time

    @property
    def number(self) -> int:
        """CRC of the record in 29 bits, never 0: changing the record changes it."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return zlib.crc32(text.encode()) & ((1 << NUMBER_BITS) - 1) or 1

    @property
    def word(self) -> int:
        """For ``interlock.commissioned``."""
        return commissioned_word(self.straps, self.number)

    def check(self, board: str, straps: int, where: str) -> None:
        """BadInput unless this is the record of that board, wired as it is now."""
        if self.board != board:
            raise BadInput(f"{where} is the commissioning record of the board '{self.board}', not of '{board}'")
        if (self.straps ^ straps) & STRAPS_COMMISSIONED:
            now, then = (_strap_names(value) for value in (straps, self.straps))
            raise BadInput(f"{where}: the board was commissioned with {then} and has {now} now; run: reflexarc commission")


def commissioned_word(straps: int, number: int) -> int:
    return straps & STRAPS_COMMISSIONED | number << WORD_SHIFT


def is_commissioned(word: int, straps: int) -> bool:
    """Whether the gateware would take this word for a record."""
    return bool(word >> WORD_SHIFT) and not (word ^ straps) & STRAPS_COMMISSIONED


def _strap_names(straps: int) -> str:
    return ", ".join(strap.name or "" for strap in Strap if strap in Strap(straps) & STRAPS_COMMISSIONED) or "none of the straps"


def record_path(board: str) -> Path:
    """Where a board's record stands in the user's configuration folder."""
    home = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(home) if home else Path.home() / ".config"
    name = re.sub(r"[^A-Za-z0-9._-]", "_", board).lstrip(".") or "board"
    return folder / "reflexarc" / "commissioning" / f"{name}.json"


def new_record(board: str, straps: int, date: str, operator: str, answers: Mapping[str, str]) -> CommissioningRecord:
    return CommissioningRecord(board, straps, date, operator, dict(answers), fingerprint.fingerprint())


def save_record(record: CommissioningRecord, path: Path) -> None:
    """Whole or not at all: written beside, then renamed. BadInput if the place can't be written to."""
    text = json.dumps({"format": FORMAT, "number": record.number, **asdict(record)}, indent=2, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise BadInput(f"commissioning record {path}: {error.strerror or error}") from None


def set_aside(path: Path) -> Path | None:
    """Put an older record where nobody looks for it; its new place, None if there was none. BadInput if it can't be moved."""
    aside = path.with_name(f"{path.name}.void")
    try:
        os.replace(path, aside)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadInput(f"commissioning record {path} no longer holds but can't be moved: {error.strerror or error}; delete it") from None
    return aside


def load_record(path: Path) -> CommissioningRecord:
    """BadInput for a record that is missing, damaged, or was changed by hand."""
    where = f"commissioning record {path}"
    try:
        if path.is_fifo():  # opening it could wait for ever
            raise BadInput(f"{where}: is a pipe, no record; run: reflexarc commission")
        with path.open("rb") as file:
            data = file.read(SIZE_MAX)
    except FileNotFoundError:
        raise BadInput(f"{where}: there is none; run: reflexarc commission") from None
    except OSError as error:
        raise BadInput(f"{where}: {error.strerror or error}") from None
    try:
        found: Any = json.loads(data)
        if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
            raise ValueError("it is something else")
        number = found.pop("number", None)
        record = CommissioningRecord(**found)
        kinds = (
            (record.board, str), (record.straps, int), (record.date, str), (record.operator, str), (record.answers, dict),
            (record.contract, int),
        )  # fmt: skip
        if any(not isinstance(value, kind) for value, kind in kinds):
            raise ValueError("a field is of the wrong kind")
        if number != record.number:
            raise ValueError("its number does not fit its content")
    except (ValueError, TypeError, RecursionError) as error:
        reason = (
            str(error).splitlines()[0] if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError) else "not a record"
        )
        raise BadInput(f"{where}: damaged or changed ({reason}); run: reflexarc commission") from None
    return record


def find_record(board: str, straps: int, path: Path | None = None) -> CommissioningRecord | None:
    """The record at ``path``, which must be there, or the one in the user's configuration folder, if there is one. BadInput if it is bad."""
    if path is None:
        path = record_path(board)
        if not path.exists():
            return None
    record = load_record(path)
    record.check(board, straps, f"commissioning record {path}")
    return record
