"""Lengths as files write their units, in metres."""

from __future__ import annotations

import re
import unicodedata

_PREFIXES = {"": 1.0, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "\u03bc": 1e-6, "m": 1e-3, "c": 1e-2, "d": 1e-1}
_LONG_PREFIXES = {"": 1.0, "femto": 1e-15, "pico": 1e-12, "nano": 1e-9, "micro": 1e-6, "milli": 1e-3, "centi": 1e-2}
_LENGTHS = {
    **{f"{prefix}m": factor for prefix, factor in _PREFIXES.items()},
    **{f"{prefix}{word}": factor for prefix, factor in _LONG_PREFIXES.items() for word in ("meter", "meters", "metre", "metres")},
    **dict.fromkeys(("\u00e5", "ang", "angstrom", "angstroms", "\u00e5ngstr\u00f6m", "angstroem"), 1e-10),
    **dict.fromkeys(("micron", "microns"), 1e-6),
}
_FORM = re.compile(r"(?P<number>[0-9.]+(?:e[+-]?[0-9]+)?|10\s*(?:\^|\*\*)\s*[+-]?[0-9]+)?\s*\*?\s*(?P<symbol>[^\W\d_]+)", re.IGNORECASE)


def metres(unit: str) -> float | None:
    """How many metres one `unit` is; `None` where it is no length, or nothing.

    Known are m with the prefixes f, p, n, u (also the Greek and the micro sign), m, c and d, the same spelled out, Angstrom and micron,
    each also in brackets and with a factor in front, as in "1e-9 m".
    """
    # NFKC makes one of the two micro signs and one of the two Angstrom signs.
    text = unicodedata.normalize("NFKC", unit).replace("\0", "").strip().strip("[](){}").strip()
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    symbol = found["symbol"]
    # Short symbols differ by their capitals (nm, Nm); whole words, and the Angstrom, do not.
    factor = _LENGTHS.get(symbol if len(symbol) <= 2 and symbol != "\u00c5" else symbol.lower())
    number = found["number"]
    if factor is None or number is None:
        return factor
    try:
        mantissa, *exponent = re.split(r"\s*(?:\^|\*\*)\s*", number)
        return factor * (10.0 ** int(exponent[0]) if exponent else float(mantissa))
    except (ValueError, OverflowError):
        return None


def unit_of(raw: object) -> str:
    """A unit as `text_of` gives it; "" for words that say that there is none, which sidpy for one writes as "generic"."""
    text = text_of(raw)
    return "" if text.lower() in ("generic", "unknown", "undefined", "none", "n/a", "-") else text


def text_of(raw: object) -> str:
    """What a library returns for a string in a file: text, or bytes in an encoding that nobody wrote down."""
    if isinstance(raw, bytes):
        raw = raw.split(b"\0", 1)[0]
        try:
            return raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            return raw.decode("latin-1").strip()
    return raw.split("\0", 1)[0].strip() if isinstance(raw, str) else ""
