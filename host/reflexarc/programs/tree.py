"""What a program is: statements and values in physical units, as text, Python and compiler share them.

All numbers are in SI units. Nodes are immutable and compare by content, so that a program that went through its text is equal to itself.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from reflexarc.contract.program import Condition, SampleChannel, Statistic


class Comparator(enum.Enum):
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="
    EQUAL = "=="
    NOT_EQUAL = "!="


class Reading(enum.Enum):
    """What can be read at any time."""

    CURRENT = "current"  # the last sample
    MONITOR = "monitor"
    X = "x"  # of the tip, as all positions in the scanner's frame
    Y = "y"
    Z = "z"
    BIAS = "bias"
    CLOCK = "clock"  # since the last mark
    LINE = "line"  # of the scan, counted from 0
    EVENTS = "events"  # since the program's start


# Values


@dataclass(frozen=True)
class Number:
    """A constant in ``unit``: A, V, m, s, or "" for a count."""

    value: float
    unit: str


@dataclass(frozen=True)
class Variable:
    """What a statement above has given a name: ``i0``, or of an event ``hit.x``, ``hit.y``, ``hit.score``, ``hit.class``."""

    name: str


@dataclass(frozen=True)
class Read:
    what: Reading


@dataclass(frozen=True)
class Sum:
    a: Value
    b: Value


@dataclass(frozen=True)
class Difference:
    a: Value
    b: Value


@dataclass(frozen=True)
class Scaled:
    """``factor`` is a plain number, or with a unit where ``of`` is a count: `10 mV * i`."""

    factor: Number
    of: Value


@dataclass(frozen=True)
class Clamped:
    """``of``, but not below ``low`` nor above ``high``."""

    of: Value
    low: Number
    high: Number


Value: TypeAlias = Number | Variable | Read | Sum | Difference | Scaled | Clamped


@dataclass(frozen=True)
class Comparison:
    a: Value
    comparator: Comparator
    b: Value


# Statements


@dataclass(frozen=True)
class Sample:
    """``into`` = mean, least or greatest of ``count`` samples from now on."""

    into: str
    channel: SampleChannel
    statistic: Statistic
    count: int


@dataclass(frozen=True)
class Let:
    into: str
    value: Value


@dataclass(frozen=True)
class Set:
    """``parameter`` is `bias`, `setpoint` or a register's name, `block.register`."""

    parameter: str
    value: Value


@dataclass(frozen=True)
class Ramp:
    """From where the parameter stands, by ``rate`` units a second; the next statement follows when it is there."""

    parameter: str
    to: Value
    rate: float


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class WaitSamples:
    count: int


@dataclass(frozen=True)
class Mark:
    """The clock begins anew."""


@dataclass(frozen=True)
class WaitUntil:
    """Until so long after the last mark. Late is a trip."""

    seconds: float


@dataclass(frozen=True)
class WaitEvent:
    """For the first event that is not yet taken, of ``event``'s class and with all of ``conditions``, where ``hit.score`` and so on may stand.

    After ``timeout_s`` ``otherwise`` is done, or without it the program ends with the reason "timeout".
    """

    into: str
    event: str
    conditions: tuple[Comparison, ...]
    timeout_s: float
    otherwise: Block | None = None


@dataclass(frozen=True)
class WaitFor:
    condition: Condition
    timeout_s: float
    otherwise: Block | None = None


@dataclass(frozen=True)
class Move:
    """The tip away from the scan's place, with the scan paused until `Return` or the end of the program."""

    x: Value
    y: Value
    speed_m_per_s: float


@dataclass(frozen=True)
class Return:
    """The tip back to where the scan is, with the last move's speed."""


@dataclass(frozen=True)
class Hold:
    """``body`` with the feedback held, ``settle_s`` after it was."""

    settle_s: float
    body: Block


@dataclass(frozen=True)
class Height:
    """Within `Hold`: z to ``z_m`` above (away, positive) or below where it was held, by ``speed_m_per_s``."""

    z_m: Value
    speed_m_per_s: float


@dataclass(frozen=True)
class Pause:
    """``body`` with the scan paused."""

    body: Block


@dataclass(frozen=True)
class Pulse:
    """The bias to ``to_V`` for ``for_s``, risen to and fallen from within ``rise_s`` each, then ``settle_s`` at rest under a pulse's limits."""

    to_V: Value
    for_s: float
    rise_s: float = 0.0
    settle_s: float = 0.0


class Line(enum.Enum):
    """What is asked for during a counted time."""

    BEAM = "expose"  # unblanked
    BLANK = "blank"
    TRIGGER = "trigger"


@dataclass(frozen=True)
class During:
    line: Line
    for_s: float


@dataclass(frozen=True)
class StartScan:
    """As the scan's registers say."""


@dataclass(frozen=True)
class StopScan:
    pass


@dataclass(frozen=True)
class Repeat:
    """``body`` ``count`` times, or without it until it is left. ``index`` counts from 0."""

    count: int | None
    body: Block
    index: str | None = None


@dataclass(frozen=True)
class If:
    comparison: Comparison
    then: Block
    otherwise: Block = ()


@dataclass(frozen=True)
class Leave:
    """The innermost `Repeat`, if ``comparison`` holds."""

    comparison: Comparison | None = None


@dataclass(frozen=True)
class Emit:
    tag: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Halt:
    reason: str


Statement: TypeAlias = (
    Sample | Let | Set | Ramp | Wait | WaitSamples | Mark | WaitUntil | WaitEvent | WaitFor | Move | Return | Hold | Height | Pause | Pulse
    | During | StartScan | StopScan | Repeat | If | Leave | Emit | Halt
)  # fmt: skip
Block: TypeAlias = tuple[Statement, ...]


class Score(enum.Enum):
    """What an event's score is."""

    Z = "z"  # metres above the threshold
    CURRENT = "current"  # amperes above it
    NUMBER = "number"


@dataclass(frozen=True)
class EventType:
    """A class of events by name. A threshold's score is the excess of a pixel's mean, times 1 to 2 where its samples are no power of two."""

    name: str
    class_id: int
    score: Score = Score.NUMBER


@dataclass(frozen=True)
class ProgramTree:
    name: str
    body: Block
    events: tuple[EventType, ...] = field(default=())

    def event(self, name: str) -> EventType:
        """KeyError if there is none."""
        for event in self.events:
            if event.name == name:
                return event
        raise KeyError(name)


# Where a statement stands: its place in the program's body, then in that statement's blocks ...
Path: TypeAlias = tuple[int, ...]


def blocks(statement: Statement) -> tuple[Block, ...]:
    """Blocks within a statement, in the order of the text."""
    match statement:
        case Hold(body=body) | Pause(body=body) | Repeat(body=body):
            return (body,)
        case If(then=then, otherwise=otherwise):
            return (then, otherwise)
        case WaitEvent(otherwise=otherwise) | WaitFor(otherwise=otherwise):
            return (otherwise,) if otherwise is not None else ()
    return ()
