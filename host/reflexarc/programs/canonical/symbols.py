"""The symbols of the canonical form: `[sample:current:mean:64]`, `[pulse:2.2V:10us]`, `[end]`.

A symbol stands for a statement without its blocks and its names, or closes or turns to a block. Values that were given above stand in it as
`%1`, `%2` ... counted back; which ones these are is the decoder's question. Numbers carry their units.
"""

from __future__ import annotations

import enum
import functools
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypeAlias, TypeVar

from reflexarc.errors import BadInput
from reflexarc.programs.tokens import CHANNELS, COMPARATORS, CONDITIONS, FIELDS, READINGS, STATISTICS, shown
from reflexarc.programs.tree import (
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
    Line,
    Mark,
    Move,
    Number,
    Pause,
    Pulse,
    Ramp,
    Read,
    Repeat,
    Return,
    Sample,
    Scaled,
    Score,
    Set,
    Statement,
    Sum,
    Value,
    Variable,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
)

LINE_MAX = 1 << 16  # characters
SYMBOL_MAX = 200  # characters within the brackets
DIGITS_MAX = 40  # of a number; a float's are at most 24
EMITTED_MAX = 4  # values of one emission
CONDITIONS_MAX = 4  # of one event
HALTS_MAX = 99

# Names in a symbol: of what is counted back, and of an event's own fields.
BACK = "%"
_PREFIXES = {"f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9}
_LETTERS = {exponent: letter for letter, exponent in _PREFIXES.items()} | {0: ""}

_NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
_UNIT = r"(?:[fpnumkMG]?[AVms](?:/s)?)?"
_QUANTITY = re.compile(rf"({_NUMBER})({_UNIT})", re.ASCII)
_TERM = re.compile(rf"(?:(?P<factor>{_NUMBER}{_UNIT})\*)?(?P<name>%[1-9]\d{{0,4}}|[a-z]+)", re.ASCII)
_BRACKETS = re.compile(rf"\[([^\[\]]{{0,{SYMBOL_MAX}}})\]")


class CanonicalError(BadInput):
    """A line that is no canonical form, or a tree that has none."""


class Control(enum.Enum):
    """Symbols that are no statement."""

    END = "end"  # of the innermost block
    ELSE = "else"  # of an if: what is done where it does not hold
    OTHERWISE = "otherwise"  # directly behind a wait for something: what is done where that does not come in time


Symbol: TypeAlias = Statement | Control
_T = TypeVar("_T")


class _NoSymbol(ValueError):
    """What was expected."""


def read_line(line: str) -> list[Symbol]:
    """CanonicalError with the first place that is no symbol."""
    if len(line) > LINE_MAX:
        raise CanonicalError(f"a canonical line has at most {LINE_MAX} characters, this one has {len(line)}")
    symbols: list[Symbol] = []
    at = 0
    while at < len(line):
        found = _BRACKETS.match(line, at)
        if found is None:
            raise CanonicalError(
                f'character {at + 1}: expected a symbol such as "[wait:50us]", of at most {SYMBOL_MAX} characters, '
                f'found "{shown(line[at : at + 20])}"'
            )
        try:
            symbols.append(read_symbol(found[1]))
        except _NoSymbol as error:
            raise CanonicalError(f'character {at + 1}, "{shown(found[0])}": expected {error}') from None
        at = found.end()
    return symbols


@functools.lru_cache(maxsize=8192)
def read_symbol(text: str) -> Symbol:
    """The symbol of what stands between the brackets; ValueError with what was expected."""
    head, *arguments = text.split(":")
    if head not in _READERS:
        raise _NoSymbol(f"a symbol of {', '.join(_READERS)}")
    usage, reader = _READERS[head]
    try:
        return reader(*arguments)
    except (TypeError, _NoSymbol) as error:
        # The wrong number of arguments is a TypeError of the reader's call.
        raise _NoSymbol(f"{error} in [{usage}]" if isinstance(error, _NoSymbol) else f"[{usage}]") from None


# Numbers and values


def _quantity(text: str) -> tuple[float, str]:
    found = _QUANTITY.fullmatch(text)
    if found is None or len(found[1]) > DIGITS_MAX:
        raise _NoSymbol(f"a number of at most {DIGITS_MAX} characters with a unit of A, V, m or s")
    digits, unit = found.groups()
    rate = "/s" if unit.endswith("/s") else ""
    plain = unit.removesuffix("/s")
    mantissa, _, power = digits.partition("e")
    exponent = int(power or 0) + (_PREFIXES[plain[0]] if len(plain) == 2 else 0)
    # One decimal number, converted once: "2nA" is exactly the float 2e-9.
    value = float(f"{mantissa}e{exponent}")
    if math.isinf(value):
        raise _NoSymbol("a number that is not beyond 1.8e308")
    return value, plain[-1:] + rate


def _in(unit: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        value, found = _quantity(text)
        if found != unit:
            raise _NoSymbol(f"a number in {unit}")
        return value

    return read


_seconds, _amperes, _speed, _rate = (_in(unit) for unit in ("s", "A", "m/s", "V/s"))


def _whole(text: str) -> int:
    if not re.fullmatch(rf"-?\d{{1,{DIGITS_MAX}}}", text, re.ASCII):
        raise _NoSymbol("a whole number")
    return int(text)


def _number(text: str) -> Number:
    value, unit = _quantity(text)
    if "/" in unit:
        raise _NoSymbol("a number in A, V, m or s, or without a unit")
    return Number(value, unit)


def _term(text: str, at: int) -> tuple[Value, int]:
    """What stands at ``at`` and where it ends."""
    found = _TERM.match(text, at)
    if found is not None:
        name = found["name"]
        if name not in READINGS and not name.startswith(BACK):
            raise _NoSymbol(f"a reading of {', '.join(READINGS)}")
        atom = Read(READINGS[name]) if name in READINGS else Variable(name)
        return (Scaled(_number(found["factor"]), atom) if found["factor"] else atom), found.end()
    number = _QUANTITY.match(text, at)
    if number is None:
        raise _NoSymbol("a value such as 2nA, current, %1, 0.6*%1, x+2nm or %1|0V|1V")
    return _number(number[0]), number.end()


def _value(text: str) -> Value:
    """One term, or a sum or a difference of two; between two bars' numbers where they follow."""
    text, *ends = text.split("|")
    value, at = _term(text, 0)
    if at < len(text):
        if text[at] not in "+-":
            raise _NoSymbol("a value such as 0.6*%1 or x+2nm")
        kind = Sum if text[at] == "+" else Difference
        other, at = _term(text, at + 1)
        value = kind(value, other)
    if at < len(text) or len(ends) not in (0, 2):
        raise _NoSymbol("a value such as 0.6*%1, x+2nm or %1|0V|1V")
    return Clamped(value, _number(ends[0]), _number(ends[1])) if ends else value


def _one_of(choices: Mapping[str, _T], text: str) -> _T:
    if text not in choices:
        raise _NoSymbol(f"one of {', '.join(choices)}")
    return choices[text]


_LATEST, _BEFORE = Variable("%1"), Variable("%2")


def _comparison(*arguments: str) -> Comparison:
    """`a:<:b`, or in short `<:b` where a is the latest value; there a plain number is a factor of the one before it."""
    if len(arguments) == 3:
        return Comparison(_value(arguments[0]), _one_of(COMPARATORS, arguments[1]), _value(arguments[2]))
    if len(arguments) != 2:
        raise _NoSymbol("a comparison such as <:0.6, <:50pA or %1:<:0.6*%2")
    other = _value(arguments[1])
    if isinstance(other, Number) and not other.unit:
        other = Scaled(other, _BEFORE)
    return Comparison(_LATEST, _one_of(COMPARATORS, arguments[0]), other)


# Statements


def _sample(channel: str, statistic: str, count: str) -> Statement:
    return Sample("", _one_of(CHANNELS, channel), _one_of(STATISTICS, statistic), _whole(count))


def _wait(time: str) -> Statement:
    return WaitSamples(_whole(time)) if time[-1:].isdigit() else Wait(_seconds(time))


def _event(class_id: str, score: str, timeout: str, *conditions: str) -> Statement:
    if len(conditions) % 3 or len(conditions) > 3 * CONDITIONS_MAX:
        raise _NoSymbol(f"at most {CONDITIONS_MAX} conditions such as score:>:50pm")
    found = tuple(
        Comparison(Variable(_one_of(_FIELDS, field)), _one_of(COMPARATORS, comparator), _number(number))
        for field, comparator, number in zip(conditions[::3], conditions[1::3], conditions[2::3], strict=True)
    )
    return WaitEvent("", event_name(_whole(class_id), _one_of(_SCORES, score)), found, _seconds(timeout))


def event_name(class_id: int, score: Score) -> str:
    """In a symbol, where an event's type has no name of its own yet."""
    return f"{class_id}:{score.value}"


_FIELDS = {field: field for field in FIELDS}
_SCORES = {score.value: score for score in Score}
_CONDITIONS = {name.replace(" ", "_"): condition for name, condition in CONDITIONS.items()}


def _await(condition: str, timeout: str) -> Statement:
    return WaitFor(_one_of(_CONDITIONS, condition), _seconds(timeout))


def _pulse(to: str, time: str, rise: str = "0s", settle: str = "0s") -> Statement:
    return Pulse(_value(to), _seconds(time), _seconds(rise), _seconds(settle))


def _during(line: Line, time: str) -> Statement:
    return During(line, _seconds(time))


def _emit(*values: str) -> Statement:
    if len(values) > EMITTED_MAX:
        raise _NoSymbol(f"at most {EMITTED_MAX} values")
    return Emit("", tuple(map(_value, values)))


def _halt(number: str) -> Statement:
    return Halt(str(_whole(number)))


def _leave(*comparison: str) -> Statement:
    return Leave(_comparison(*comparison) if comparison else None)


_READERS: dict[str, tuple[str, Callable[..., Symbol]]] = {
    "sample": ("sample:current:mean:64", _sample),
    "let": ("let:0.5*%1", lambda value: Let("", _value(value))),
    "bias": ("bias:0.5V", lambda value: Set("bias", _value(value))),
    "setpoint": ("setpoint:100pA", lambda value: Set("setpoint", Number(_amperes(value), "A"))),
    "ramp": ("ramp:1V:100V/s", lambda to, rate: Ramp("bias", _value(to), _rate(rate))),
    "wait": ("wait:50us], or [wait:8", _wait),
    "mark": ("mark", lambda: Mark()),
    "until": ("until:1ms", lambda time: WaitUntil(_seconds(time))),
    "event": ("event:7:z:1ms], or [event:7:z:1ms:score:>:50pm", _event),
    "await": ("await:scan_idle:1ms", _await),
    "otherwise": ("otherwise", lambda: Control.OTHERWISE),
    "move": ("move:x+2nm:y:1um/s", lambda x, y, speed: Move(_value(x), _value(y), _speed(speed))),
    "return": ("return", lambda: Return()),
    "hold": ("hold:50us", lambda settle: Hold(_seconds(settle), ())),
    "height": ("height:50pm:1um/s", lambda z, speed: Height(_value(z), _speed(speed))),
    "pause": ("pause", lambda: Pause(())),
    "pulse": ("pulse:2.2V:10us], [pulse:2.2V:10us:2us], or [pulse:2.2V:10us:2us:20us", _pulse),
    **{line.value: (f"{line.value}:10us", functools.partial(_during, line)) for line in Line},
    "repeat": ("repeat:20", lambda count: Repeat(_whole(count), ())),
    "for": ("for:20", lambda count: Repeat(_whole(count), (), "")),
    "if": ("if:<:0.6], or [if:current:>:50pA", lambda *comparison: If(_comparison(*comparison), ())),
    "else": ("else", lambda: Control.ELSE),
    "leave": ("leave], [leave:<:0.6], or [leave:current:>:50pA", _leave),
    "emit": ("emit:%1", _emit),
    "halt": ("halt:1", _halt),
    "end": ("end", lambda: Control.END),
}


# Back to text


def write_symbol(symbol: Symbol) -> str:
    """With its brackets. CanonicalError for a statement that no symbol says."""
    if isinstance(symbol, Control):
        return f"[{symbol.value}]"
    text = _written(symbol)
    # Reading it back is the check: what a symbol can say is decided in one place.
    try:
        same = len(text) <= SYMBOL_MAX and "]" not in text and read_symbol(text) == symbol
    except _NoSymbol:
        same = False
    if not same:
        raise CanonicalError("no symbol says this")
    return f"[{text}]"


def _written(statement: Statement) -> str:
    match statement:
        case Sample(_, channel, statistic, count):
            return f"sample:{channel.name.lower()}:{statistic.name.lower()}:{count}"
        case Let(_, value):
            return f"let:{_shown(value)}"
        case Set("bias" | "setpoint" as name, value):
            return f"{name}:{_shown(value)}"
        case Ramp("bias", to, rate):
            return f"ramp:{_shown(to)}:{_digits(rate, 'V/s')}"
        case Wait(seconds):
            return f"wait:{_digits(seconds, 's')}"
        case WaitSamples(count):
            return f"wait:{count}"
        case WaitUntil(seconds):
            return f"until:{_digits(seconds, 's')}"
        case WaitEvent(_, event, conditions, timeout_s):
            wanted = "".join(f":{_compared(condition, False)}" for condition in conditions)
            return f"event:{event}:{_digits(timeout_s, 's')}{wanted}"
        case WaitFor(condition, timeout_s):
            return f"await:{condition.name.lower()}:{_digits(timeout_s, 's')}"
        case Move(x, y, speed):
            return f"move:{_shown(x)}:{_shown(y)}:{_digits(speed, 'm/s')}"
        case Hold(settle_s):
            return f"hold:{_digits(settle_s, 's')}"
        case Height(z, speed):
            return f"height:{_shown(z)}:{_digits(speed, 'm/s')}"
        case Pulse(to, for_s, rise_s, settle_s):
            times = (for_s, rise_s, settle_s) if settle_s else (for_s, rise_s) if rise_s else (for_s,)
            return f"pulse:{_shown(to)}:{':'.join(_digits(time, 's') for time in times)}"
        case During(line, for_s):
            return f"{line.value}:{_digits(for_s, 's')}"
        case Repeat(count, _, index):
            return f"{'repeat' if index is None else 'for'}:{count}"
        case If(comparison):
            return f"if:{_compared(comparison)}"
        case Leave(comparison):
            return "leave" if comparison is None else f"leave:{_compared(comparison)}"
        case Emit(_, values):
            return ":".join(["emit", *map(_shown, values)])
        case Halt(reason):
            return f"halt:{reason}"
    return {Mark: "mark", Return: "return", Pause: "pause"}.get(type(statement), "")


def _compared(comparison: Comparison, short: bool = True) -> str:
    a, b = comparison.a, comparison.b
    sign = comparison.comparator.value
    if short and a == _LATEST:
        match b:
            case Scaled(Number(factor, ""), of) if of == _BEFORE:
                return f"{sign}:{_digits(factor, '')}"
            case Number(_, ""):
                pass
            case _:
                return f"{sign}:{_shown(b)}"
    return f"{_shown(a)}:{sign}:{_shown(b)}"


def _shown(value: Value) -> str:
    match value:
        case Number(number, unit):
            return _digits(number, unit)
        case Variable(name):
            return name
        case Read(what):
            return what.value
        case Sum(a, b):
            return f"{_shown(a)}+{_shown(b)}"
        case Difference(a, b):
            return f"{_shown(a)}-{_shown(b)}"
        case Scaled(factor, of):
            return f"{_shown(factor)}*{_shown(of)}"
        case Clamped(of, low, high):
            return f"{_shown(of)}|{_shown(low)}|{_shown(high)}"


def _digits(value: float, unit: str) -> str:
    """The shortest digits that are this float, with the prefix that leaves one to three of them in front of the point."""
    digits = repr(float(value))
    if unit and value != 0 and math.isfinite(value):
        decimal = Decimal(digits)
        exponent = 3 * (decimal.adjusted() // 3)
        if exponent in _LETTERS:
            return f"{decimal.scaleb(-exponent).normalize():f}{_LETTERS[exponent]}{unit}"
    return f"{digits.removesuffix('.0')}{unit}"


# What search and learning draw from

_ALPHABET = """
sample:current:mean:16 sample:current:mean:64 sample:current:mean:256 sample:current:least:64 sample:current:greatest:64
sample:z:mean:16 sample:z:mean:64 sample:z:mean:256 sample:z:least:64 sample:z:greatest:64 sample:monitor:mean:64
let:current let:z let:x let:y let:bias let:clock let:events let:%1 let:0.5*%1 let:2*%1 let:%1+%2 let:%1-%2
bias:-2V bias:-1V bias:-500mV bias:0V bias:200mV bias:300mV bias:400mV bias:500mV bias:600mV bias:800mV bias:1V bias:1.5V bias:2V
bias:%1 bias:50mV*%1|0V|1V bias:100mV*%1-1V|-1V|1V
setpoint:50pA setpoint:70pA setpoint:100pA setpoint:140pA setpoint:200pA
ramp:-1V:1kV/s ramp:0V:1kV/s ramp:300mV:100V/s ramp:500mV:100V/s ramp:500mV:1kV/s ramp:1V:100V/s ramp:1V:1kV/s
wait:1us wait:2us wait:5us wait:10us wait:20us wait:50us wait:100us wait:200us wait:500us wait:1ms wait:1 wait:8 wait:64
mark until:20us until:50us until:100us until:200us until:500us until:1ms until:2ms
event:1:number:100us event:1:number:1ms event:7:z:100us event:7:z:1ms event:7:z:1ms:score:>:50pm event:8:current:1ms:x:>:0m
await:scan_idle:100us await:line_done:100us await:line_done:1ms await:camera_ready:100us await:line_trigger:100us otherwise
move:x+100pm:y:1um/s move:x-100pm:y:1um/s move:x:y+100pm:1um/s move:x:y-100pm:1um/s
move:x+500pm:y:1um/s move:x-500pm:y:1um/s move:x:y+500pm:1um/s move:x:y-500pm:1um/s
move:x+2nm:y:1um/s move:x-2nm:y:1um/s move:x:y+2nm:1um/s move:x:y-2nm:1um/s
move:x+100pm*%1:y:1um/s move:x:y+100pm*%1:1um/s move:%1:%1:1um/s move:%2:%2:1um/s move:0m:0m:1um/s return
hold:0s hold:10us hold:50us hold:200us pause
height:-50pm:200nm/s height:-20pm:1um/s height:0m:1um/s height:20pm:1um/s height:50pm:1um/s height:100pm:1um/s height:200pm:1um/s
height:500pm:1um/s height:1nm:2um/s height:20pm*%1|0m|500pm:1um/s
pulse:300mV:10us pulse:1V:1us pulse:1V:10us pulse:1V:100us pulse:1.5V:10us pulse:2.2V:10us pulse:2.2V:100us pulse:3V:10us
pulse:-1V:10us pulse:-2.2V:10us pulse:2.2V:10us:2us pulse:2.2V:10us:0s:20us pulse:2.2V:10us:2us:20us pulse:3V:20us:10us:50us
expose:1us expose:10us blank:1us blank:10us trigger:1us trigger:10us
repeat:2 repeat:3 repeat:5 repeat:10 repeat:20 repeat:50 for:2 for:5 for:10 for:20
if:<:0.6 if:<:0.9 if:>:1.1 if:>:1.5 if:<:%2 if:>:%2 if:<:50pA if:>:150pA if:>:0m if:current:>:100pA if:bias:>:400mV if:%1:>:3 else
leave leave:<:0.6 leave:<:0.9 leave:>:1.1 leave:>:1.5 leave:<:%2 leave:>:%2 leave:<:50pA leave:>:150pA leave:current:>:100pA
leave:clock:>:1ms leave:%1:>:3
emit emit:%1 emit:%2 emit:%1:%2 emit:%1:%2:%3 emit:current emit:z emit:current:z emit:x:y:z emit:bias:current
halt:1 halt:2 end
"""


@functools.cache
def alphabet() -> tuple[str, ...]:
    """Symbols from which search and learning draw: any sequence of them is a program. Other numbers can be written as well."""
    return tuple(f"[{text}]" for text in _ALPHABET.split())
