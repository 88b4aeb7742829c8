"""Quantities as people write them: a number and a unit, "2 nA", "50 um/s", "100 e/Å^2"."""

from __future__ import annotations

import math
import re
import unicodedata
from decimal import Decimal

PREFIXES = {"f": -15, "p": -12, "n": -9, "u": -6, "μ": -6, "m": -3, "k": 3, "M": 6, "G": 9}
_SHOWN = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
_BASES = ("m", "s", "A", "V", "Hz", "C", "e")  # e: electrons
_ANGSTROM_EXPONENT = -10

# Units without prefixes, as the host writes them, by what a user may write.
_WORDS = {
    "sample": "samples", "samples": "samples", "pulse": "pulses", "pulses": "pulses", "step": "steps", "steps": "steps",
    "log2^2": "log2^2", "log22": "log2^2",
}  # fmt: skip
COUNTS = frozenset({"samples", "pulses", "steps", ""})  # of these a bare whole number says everything

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FACTOR = re.compile(r"(?P<prefix>[fpnuμmkMG]?)(?P<base>Hz|Å|[msAVCe])(\^?(?P<power>2))?")


class UnitError(ValueError):
    """A text that is not a quantity of the unit that is due."""


def example(unit: str) -> str:
    """How a quantity of ``unit`` is written."""
    examples = {
        "A": "2 nA", "V": "4.9 V", "m": "50 nm", "s": "0.5 s", "m/s": "50 um/s", "V/s": "10 V/s", "Hz": "2.2 kHz", "C": "10 pC",
        "e": "1e6 e", "V/A": "1 GV/A", "A/V": "1 nA/V", "m^2": "0.04 nm^2", "e/m^2": "100 e/Å^2", "log2^2": "4 log2^2",
        "samples": "64 samples", "pulses": "100 pulses", "steps": "200 steps", "": "1",
    }  # fmt: skip
    return examples.get(unit, f"1 {unit}")


def _factor(text: str) -> tuple[int, str] | None:
    """Power of ten and plain unit of one factor: "nm^2" is (-18, "m^2")."""
    found = _FACTOR.fullmatch(text)
    if found is None:
        return None
    base = found["base"]
    exponent = PREFIXES[found["prefix"]] if found["prefix"] else 0
    if base == "Å":
        exponent, base = exponent + _ANGSTROM_EXPONENT, "m"
    return (2 * exponent, f"{base}^2") if found["power"] else (exponent, base)


def parse_unit(text: str) -> tuple[int, str] | None:
    """Power of ten and plain unit of what may follow a number; None if it is no unit."""
    text = unicodedata.normalize("NFKC", text).replace(" ", "")
    if text in _WORDS:
        return 0, _WORDS[text]
    parts = [_factor(part) for part in text.split("/")]
    if len(parts) > 2 or any(part is None for part in parts):
        return None
    (exponent, name), *under = [part for part in parts if part is not None]
    if under:
        exponent, name = exponent - under[0][0], f"{name}/{under[0][1]}"
    return exponent, name


def parse(value: object, unit: str) -> float:
    """The number behind ``value`` in ``unit``. UnitError says what is wrong and gives an example."""
    wanted = f'expected a quantity such as "{example(unit)}"' if unit else "expected a whole number"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnitError(f"{value!r} is no quantity; {wanted}")
    if isinstance(value, int | float):
        if unit not in COUNTS:
            raise UnitError(f"{value!r} has no unit; {wanted}")
        number, exponent, found = float(value), 0, unit
    else:
        text = value.strip()
        match = _NUMBER.match(text)
        if match is None:
            raise UnitError(f'"{value}" does not begin with a number; {wanted}')
        rest = text[match.end() :].strip()
        if not rest and unit not in COUNTS:
            raise UnitError(f'"{value}" has no unit; {wanted}')
        parsed = parse_unit(rest) if rest else (0, unit)
        if parsed is None:
            raise UnitError(f'"{rest}" is no unit; {wanted}')
        exponent, found = parsed
        # One decimal number, converted once: "2 nA" is exactly the float 2e-9.
        number = float(Decimal(match.group()).scaleb(exponent))
    if found != unit:
        raise UnitError(f'"{value}" is in {found or "no unit"}; {wanted}')
    if not math.isfinite(number):
        raise UnitError(f"{value!r} is no finite number; {wanted}")
    if unit in COUNTS and number != int(number):
        raise UnitError(f"{value!r} is no whole number; {wanted}")
    return number


def show(value: float, unit: str, digits: int = 6) -> str:
    """``value`` with a prefix that keeps the number short; `parse` reads it back."""
    if unit in COUNTS or unit not in {*_BASES, "m/s", "V/s", "V/A", "A/V"} or value == 0 or not math.isfinite(value):
        return f"{value:.{digits}g} {unit}".rstrip()
    exponent = 3 * math.floor(math.log10(abs(value) * (1 + 0.5 * 10.0**-digits)) / 3)
    exponent = min(max(exponent, min(_SHOWN)), max(_SHOWN))
    return f"{value / 10.0**exponent:.{digits}g} {_SHOWN[exponent]}{unit}"
