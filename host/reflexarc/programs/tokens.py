"""The words of a program's text: what they are, and a reader that goes through them line by line."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import NoReturn, TypeVar

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.program import Condition, SampleChannel, Statistic
from reflexarc.errors import BadInput
from reflexarc.programs.tree import Comparator, Reading
from reflexarc.safety.units import example, parse_unit

# Far above what 512 rows can hold; they bound the time, and the depth of recursion here and of whoever walks the tree.
MAX_CHARACTERS = 1 << 20
MAX_STATEMENTS = 100_000
MAX_BLOCKS = 16  # within each other
MAX_PARENTHESES = 32  # within each other
MAX_OPERATIONS = 64  # of one value: sums, differences, factors, clamps
MAX_COUNT = (1 << 24) - 1
MAX_CLASS = 255
NAME_LENGTH = 40
QUOTED_LENGTH = 80
_NUMBER_LENGTH = 60  # a float's digits are at most 24

NUMBER_UNITS = ("", "A", "V", "m", "s")
# Of what `Set` and `Ramp` change; what is not in here has none.
PARAMETER_UNITS = {"bias": "V", "setpoint": "A"} | {
    f"{block.name}.{register.name}": register.unit
    for block in REGISTER_MAP
    for register in block.registers
    if register.unit in NUMBER_UNITS
}

# Events have a form of their own, "hit = wait for adatom".
CONDITIONS = {c.name.lower().replace("_", " "): c for c in Condition if c not in (Condition.EVENT, Condition.NEXT_EVENT)}
FIELDS = ("x", "y", "score", "class")  # of an event
CHANNELS = {channel.name.lower(): channel for channel in SampleChannel}
STATISTICS = {statistic.name.lower(): statistic for statistic in Statistic}
READINGS = {reading.value: reading for reading in Reading}
COMPARATORS = {comparator.value: comparator for comparator in Comparator}
# Words that begin a statement or can stand beside a value: no name may be one of them.
RESERVED = frozenset(READINGS) | frozenset(
    """program event otherwise set ramp wait mark move return hold height pause pulse expose blank trigger start stop repeat if leave emit halt
    mean least greatest of clamp samples times with to at for until where and""".split()
)

_TOKEN = re.compile(
    r"""(?P<space>[ ]+) | (?P<comment>\#.*)
    | (?P<number> (?: [0-9]+ (?:\.[0-9]*)? | \.[0-9]+ ) (?: [eE][+-]?[0-9]+ )? )
    | (?P<word> [^\W\d][\w\u030a]* (?: \.[^\W\d][\w\u030a]* )* )  # also units: \u030a is a ring of its own above an A
    | (?P<quoted> "[^"]*" )
    | (?P<sign> [<>=!]= | [-+*/(),:<>=] )""",
    re.VERBOSE | re.DOTALL,
)
NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{,{NAME_LENGTH - 1}}}")
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # break a line, show nothing, turn its direction, or can't be stored

_T = TypeVar("_T")


class ProgramTextError(BadInput):
    """A text that is no program: the line, what was expected there and what was found."""


def shown(text: str) -> str:
    """``text`` on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listed(choices: Iterable[str]) -> str:
    *first, last = (f'"{choice}"' for choice in choices)
    return f"{', '.join(first)} or {last}" if first else last


class Reader:
    """Stands at a token of a line. Past the last line there is one token, the end, at an indentation of -1, which ends all blocks."""

    def __init__(self, text: str, name: str) -> None:
        self._name = shown(name)
        if len(text) > MAX_CHARACTERS:
            raise ProgramTextError(f"{self._name}: expected at most {MAX_CHARACTERS} characters, found {len(text)}")
        self._lines = text.split("\n")
        self._number = 0  # of the line, from 1
        self._indent = -1
        self._tokens: list[tuple[str, str]] = []  # kind and text
        self._at = 0
        self._next_line()

    # Lines and tokens

    def _next_line(self) -> None:
        """To the next line that holds more than a comment."""
        while self._number < len(self._lines):
            line = self._lines[self._number].removesuffix("\r")
            self._number += 1
            self._tokens = self._split(line)
            self._at = 0
            if len(self._tokens) > 1:
                self._indent = len(line) - len(line.lstrip(" "))
                return
        self._tokens, self._at, self._indent = [("end", "the end of the text")], 0, -1

    def _split(self, line: str) -> list[tuple[str, str]]:
        tokens = []
        at = 0
        while at < len(line):
            found = _TOKEN.match(line, at)
            if found is None:
                if line[at] == "\t":
                    self._fail("spaces", "a tab")
                if line[at] == '"':
                    self._fail("a quotation mark at the end of the quoted text", "the end of the line")
                self._fail("a word, a number, a sign or a text in quotes", f'"{shown(line[at])}"')
            at = found.end()
            if found.lastgroup not in ("space", "comment"):
                tokens.append((str(found.lastgroup), found.group()))
        return [*tokens, ("end", "the end of the line")]

    def _fail(self, expected: str, found: str | None = None) -> NoReturn:
        if found is None:
            found = shown(self._text if len(self._text) <= 40 else self._text[:40] + "...")
            found = found if self._kind in ("end", "quoted") else f'"{found}"'
        raise ProgramTextError(f"{self._name}, line {self._number}: expected {expected}, found {found}")

    @property
    def _kind(self) -> str:
        return self._tokens[self._at][0]

    @property
    def _text(self) -> str:
        """A quoted text begins with its quotation mark and an end has spaces, so that neither is taken for a word."""
        return self._tokens[self._at][1]

    def _take(self) -> str:
        text = self._text
        if self._kind != "end":
            self._at += 1
        return text

    def _accept(self, text: str) -> bool:
        accepted = self._text == text
        self._at += accepted
        return accepted

    def _words(self, words: str) -> None:
        for word in words.split():
            if not self._accept(word):
                self._fail(f'"{words}"')

    def _end_line(self) -> None:
        if self._kind != "end":
            self._fail("the end of the line")
        self._next_line()

    def _one_of(self, choices: Mapping[str, _T]) -> _T:
        if self._text not in choices:
            self._fail(listed(choices))
        return choices[self._take()]

    # Names, texts and numbers

    def _new_name(self) -> str:
        if self._text in RESERVED:
            self._fail("a name that is no word of the program's language")
        if self._kind != "word" or not NAME.fullmatch(self._text):
            self._fail(f"a name of ASCII letters, digits and _, at most {NAME_LENGTH} characters")
        return self._take()

    def _parameter(self) -> str:
        parts = self._text.split(".")
        if self._kind != "word" or len(parts) > 2 or not all(NAME.fullmatch(part) for part in parts):
            self._fail('a parameter: "bias", "setpoint" or a register such as "feedback.kp"')
        return self._take()

    def _quoted(self) -> str:
        if self._kind != "quoted":
            self._fail("a text in quotes")
        text = self._text[1:-1]
        if len(text) > QUOTED_LENGTH:
            self._fail(f"a text of at most {QUOTED_LENGTH} characters", f"{len(text)} characters")
        hidden = [c for c in text if unicodedata.category(c) in _HIDDEN]
        if hidden:
            self._fail("a text without control characters", ascii(hidden[0]))
        self._take()
        return text

    def _whole(self, least: int, most: int) -> int:
        digits = self._text
        if self._kind != "number" or len(digits) > _NUMBER_LENGTH or not digits.isdigit() or not least <= int(digits) <= most:
            self._fail(f"a whole number from {least} to {most}")
        return int(self._take())

    def _quantity(self) -> tuple[float, str, str]:
        """A number with its unit, in that unit without a prefix; the unit; both as they were written."""
        sign = "-" if self._accept("-") else ""
        if self._kind != "number":
            self._fail("a number")
        if len(self._text) > _NUMBER_LENGTH:
            self._fail(f"a number of at most {_NUMBER_LENGTH} characters", f"{len(self._text)} characters")
        digits = self._take()
        exponent, unit, written = self._unit()
        mantissa, _, power = digits.lower().partition("e")
        # One decimal number, converted once: "2 nA" is exactly the float 2e-9.
        value = float(f"{sign}{mantissa}e{int(power or 0) + exponent}")
        if math.isinf(value) or value == 0 and mantissa.strip("0."):
            self._fail("a number between 5e-324 and 1.8e308 in magnitude, or 0", f'"{sign}{digits}"')
        return value, unit, f"{sign}{digits} {written}".rstrip()

    def _unit(self) -> tuple[int, str, str]:
        """Power of ten, plain unit ("/s" for a rate without one) and what is written; the unit is "" where there is none."""
        written = self._take() if self._kind == "word" and self._text not in RESERVED else ""
        if self._accept("/"):
            written += f"/{self._take()}" if self._kind == "word" else "/"
        if not written:
            return 0, "", ""
        parsed = parse_unit(written.removeprefix("/"))
        if parsed is not None and written.startswith("/"):
            parsed = (-parsed[0], "/s") if parsed[1] == "s" else None
        if parsed is None or parsed[1].removesuffix("/s") not in NUMBER_UNITS:
            self._fail('a unit of A, V, m or s such as "nA" or "um/s"', f'"{shown(written[:40])}"')
        return *parsed, shown(written)

    def _due(self, unit: str, what: str) -> float:
        """A number, 0 or more, in ``unit``."""
        value, found, written = self._quantity()
        if found != unit or value < 0:
            self._fail(f'{what}, 0 or more, such as "{example(unit)}"', f'"{written}"')
        return value

    def _time(self) -> float:
        return self._due("s", "a time")

    def _speed(self) -> float:
        self._words("at")
        return self._due("m/s", "a speed")
