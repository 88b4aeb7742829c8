"""The readable text of a program: `parse` reads it, `print_program` writes it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

from reflexarc.programs.syntax import parse
from reflexarc.programs.tokens import PARAMETER_UNITS, ProgramTextError
from reflexarc.programs.tree import (
    Block,
    Clamped,
    Comparison,
    Difference,
    During,
    Emit,
    Halt,
    Height,
    Hold,
    If,
    Leave,
    Let,
    Mark,
    Move,
    Number,
    Path,
    Pause,
    ProgramTree,
    Pulse,
    Ramp,
    Read,
    Repeat,
    Return,
    Sample,
    Scaled,
    Set,
    StartScan,
    Statement,
    StopScan,
    Sum,
    Value,
    Variable,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
    blocks,
)
from reflexarc.safety.units import PREFIXES

__all__ = ["ProgramTextError", "lines_of", "parse", "print_program", "statement_line"]

_INDENT = "    "
_LETTERS = {exponent: letter for letter, exponent in PREFIXES.items() if letter.isascii()} | {0: ""}


def print_program(tree: ProgramTree) -> str:
    """The text that `parse` reads back as ``tree``; ValueError where there is none: an empty block, a number that is not finite, a name that is
    a word of the language, and whatever else `parse` refuses.
    """
    try:
        text = "".join(f"{line}\n" for _, line in _lines(tree))
        # Reading it back is the check: what a text can say is decided in one place.
        read = parse(text)
    except (ProgramTextError, RecursionError, OverflowError) as error:
        raise ValueError(f"this program can't be written as text: {error}") from None
    if read != tree:
        raise ValueError("this program can't be written as text: it would read back as another one")
    return text


def lines_of(tree: ProgramTree) -> dict[Path, int]:
    """The line, from 1, of each statement in the text of ``tree``."""
    return {path: number for number, (path, _) in enumerate(_lines(tree), 1) if path}


def statement_line(statement: Statement, tree: ProgramTree) -> str:
    """The line of ``statement``, which is one of ``tree``, without its blocks and its indentation."""
    match statement:
        case Sample(into, channel, statistic, count):
            return f"{into} = {statistic.name.lower()} of {count} samples of {channel.name.lower()}"
        case Let(into, value):
            return f"{into} = {_value(value)}"
        case Set(parameter, value):
            return f"set {parameter} {_value(value)}"
        case Ramp(parameter, to, rate):
            return f"ramp {parameter} to {_value(to)} at {_quantity(rate, PARAMETER_UNITS.get(parameter, '') + '/s')}"
        case Wait(seconds):
            return f"wait {_quantity(seconds, 's')}"
        case WaitSamples(count):
            return f"wait {count} samples"
        case Mark():
            return "mark"
        case WaitUntil(seconds):
            return f"wait until {_quantity(seconds, 's')}"
        case WaitEvent(into, event, conditions, timeout_s):
            where = " where " + " and ".join(_comparison(condition) for condition in conditions) if conditions else ""
            return f"{into} = wait for {event}{where}, at most {_quantity(timeout_s, 's')}"
        case WaitFor(condition, timeout_s):
            return f"wait for {condition.name.lower().replace('_', ' ')}, at most {_quantity(timeout_s, 's')}"
        case Move(x, y, speed):
            return f"move to {_value(x)}, {_value(y)} at {_quantity(speed, 'm/s')}"
        case Return():
            return "return"
        case Hold(settle_s):
            return f"hold feedback{_after('settle', settle_s)}:"
        case Height(z, speed):
            return f"height {_value(z)} at {_quantity(speed, 'm/s')}"
        case Pause():
            return "pause scan:"
        case Pulse(to, for_s, rise_s, settle_s):
            return f"pulse {_value(to)} for {_quantity(for_s, 's')}{_after('rise', rise_s)}{_after('settle', settle_s)}"
        case During(line, for_s):
            return f"{line.value} for {_quantity(for_s, 's')}"
        case StartScan():
            return "start scan"
        case StopScan():
            return "stop scan"
        case Repeat(count, _, index):
            times = "" if count is None else f" {count} times"
            return f"repeat{times}{'' if index is None else f' with {index}'}:"
        case If(comparison):
            return f"if {_comparison(comparison)}:"
        case Leave(comparison):
            return "leave" if comparison is None else f"leave if {_comparison(comparison)}"
        case Emit(tag, values):
            return f'emit "{tag}" {", ".join(map(_value, values))}'.rstrip()
        case Halt(reason):
            return f'halt "{reason}"'


def _lines(tree: ProgramTree) -> Iterator[tuple[Path, str]]:
    """The text's lines, each with the path of the statement that it is; those that are none have an empty path."""
    yield (), f'program "{tree.name}"'
    yield (), ""
    for event in tree.events:
        yield (), f"event {event.name}: class {event.class_id}, score {event.score.value}"
    if tree.events:
        yield (), ""
    yield from _block_lines(tree, tree.body, (), "")


def _block_lines(tree: ProgramTree, block: Block, above: Path, indent: str) -> Iterator[tuple[Path, str]]:
    for place, statement in enumerate(block):
        path = (*above, place)
        yield path, indent + statement_line(statement, tree)
        for inner_place, inner in enumerate(blocks(statement)):
            if inner_place == 1 and not inner:
                continue  # an if with nothing otherwise
            if inner_place == 1 or isinstance(statement, WaitEvent | WaitFor):
                yield (), f"{indent}otherwise:"
            yield from _block_lines(tree, inner, (*path, inner_place), indent + _INDENT)


def _value(value: Value) -> str:
    match value:
        case Number(number, unit):
            return _quantity(number, unit)
        case Variable(name):
            return name
        case Read(what):
            return what.value
        case Sum(a, b):
            return f"{_value(a)} + {_operand(b)}"
        case Difference(a, b):
            return f"{_value(a)} - {_operand(b)}"
        case Scaled(factor, of):
            return f"{_value(factor)} * {_operand(of)}"
        case Clamped(of, low, high):
            return f"clamp({_value(of)}, {_value(low)}, {_value(high)})"


def _operand(value: Value) -> str:
    """To the right of an operator."""
    return f"({_value(value)})" if isinstance(value, Sum | Difference) else _value(value)


def _comparison(comparison: Comparison) -> str:
    return f"{_value(comparison.a)} {comparison.comparator.value} {_value(comparison.b)}"


def _after(word: str, seconds: float) -> str:
    return f", {word} {_quantity(seconds, 's')}" if seconds else ""


def _quantity(value: float, unit: str) -> str:
    """The shortest digits that are this float, with the prefix that leaves one to three of them in front of the point."""
    digits = repr(float(value))
    if unit and unit != "/s" and value != 0 and math.isfinite(value):
        decimal = Decimal(digits)
        exponent = 3 * (decimal.adjusted() // 3)
        if exponent in _LETTERS:
            return f"{decimal.scaleb(-exponent).normalize():f} {_LETTERS[exponent]}{unit}"
    return f"{digits.removesuffix('.0')} {unit}".rstrip()
