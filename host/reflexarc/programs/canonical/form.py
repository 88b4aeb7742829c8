"""From a line to a program and back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from reflexarc.errors import BadInput
from reflexarc.programs.canonical.bounds import instrument
from reflexarc.programs.canonical.derive import TRIVIAL, Derivation
from reflexarc.programs.canonical.scope import EVENT_FIELDS, Blocks, Scope
from reflexarc.programs.canonical.symbols import CanonicalError, Control, event_name, read_line, write_symbol
from reflexarc.programs.kinds import CHANNEL_KINDS, Kind, event_fields
from reflexarc.programs.text import statement_line
from reflexarc.programs.tree import (
    Block,
    Comparison,
    Emit,
    Halt,
    Height,
    Hold,
    If,
    Leave,
    Let,
    Move,
    Path,
    Pause,
    ProgramTree,
    Pulse,
    Ramp,
    Repeat,
    Sample,
    Set,
    Statement,
    Value,
    Variable,
    WaitEvent,
    WaitFor,
)
from reflexarc.programs.verify import Assumptions, verify

LONGEST_S = 10e-3  # long enough for 100 decisions, short enough for a search of thousands
LONGEST_RANGE_S = (10e-6, 10.0)
REPAIRS_MAX = 6  # rounds


def decode(line: str, assumptions: Assumptions, longest_s: float = LONGEST_S) -> ProgramTree:
    """The program of ``line``, in which `verify` finds neither fault nor risk under ``assumptions``, and which takes ``longest_s`` at most.

    The tip is sent nowhere but into the assumptions' frame, or the interlock's box without one. The verifier's own bound of the time may be
    longer where the tip moves: it does not see how short a way is that is relative to the tip.
    CanonicalError for a line that does not parse; BadInput for a ``longest_s`` outside 10 us to 10 s, or assumptions without bias or setpoint.
    """
    if not LONGEST_RANGE_S[0] <= longest_s <= LONGEST_RANGE_S[1]:
        raise BadInput(f"longest_s = {longest_s:g} is not possible; accepted: {LONGEST_RANGE_S[0]:g} to {LONGEST_RANGE_S[1]:g} s")
    tree = _derived(line, assumptions, longest_s)
    for _ in range(REPAIRS_MAX):
        findings = verify(tree, assumptions).findings
        if not findings:
            return tree
        paths = {finding.path for finding in findings}
        if () in paths:  # it is about all of it
            break
        # What is left may have other names and other bounds, so it is derived again.
        tree = _derived(_encode(tree, paths), assumptions, longest_s)
    return ProgramTree("program", TRIVIAL)


def encode(tree: ProgramTree) -> str:
    """The line of ``tree``: `decode` makes the same program of it, up to names, if it was one that it could make.

    CanonicalError, which names the statement, for what the form can't say: other registers, endless repeats, a second value of a name.
    """
    try:
        return _encode(tree)
    except RecursionError:
        raise CanonicalError("the canonical form can't say so many blocks within each other") from None


def _derived(line: str, assumptions: Assumptions, longest_s: float) -> ProgramTree:
    derivation = Derivation(instrument(assumptions), longest_s)
    for symbol in read_line(line):
        derivation.take(symbol)
    return derivation.tree()


class _NotSaid(ValueError):
    """Why."""


def _encode(tree: ProgramTree, without: Collection[Path] = ()) -> str:
    """``without`` some statements, and those that use what they gave."""
    writer = _Writer(tree, without)
    writer.block(tree.body, ())
    return "".join(writer.symbols)


class _Writer:
    """Walks through a tree as the derivation does through its symbols."""

    def __init__(self, tree: ProgramTree, without: Collection[Path]) -> None:
        self.tree = tree
        self.without = without
        self.scope = Scope()
        self.symbols: list[str] = []
        self.given: set[str] = set()
        self.reasons: list[str] = []

    def block(self, body: Block, above: Path) -> None:
        for place, statement in enumerate(body):
            path = (*above, place)
            if path in self.without:
                continue
            try:
                self.symbols.append(write_symbol(self.symbol(statement)))
            except (_NotSaid, CanonicalError) as error:
                if self.without:
                    continue
                line = statement_line(statement, self.tree)
                raise CanonicalError(f'the canonical form can\'t say "{line}": {error}') from None
            self.inner(statement, path)

    def symbol(self, statement: Statement) -> Statement:
        """``statement`` as its symbol has it: without blocks and names."""
        match statement:
            case Sample():
                return replace(statement, into="")
            case Let(_, value):
                return Let("", self.value(value))
            case Set("bias", value):
                return Set("bias", self.value(value, Kind.BIAS))
            case Ramp(_, to):
                return replace(statement, to=self.value(to, Kind.BIAS))
            case Pulse(to):
                return replace(statement, to_V=self.value(to, Kind.BIAS))
            case Height(z):
                return replace(statement, z_m=self.value(z, Kind.Z))
            case Move(x, y):
                return replace(statement, x=self.value(x, Kind.X), y=self.value(y, Kind.Y))
            case If(comparison):
                return If(self.comparison(comparison), ())
            case Leave(comparison):
                return statement if comparison is None else Leave(self.comparison(comparison))
            case Emit(_, values):
                return Emit("", tuple(map(self.value, values)))
            case Halt(reason):
                if reason not in self.reasons:
                    self.reasons.append(reason)
                return Halt(str(self.reasons.index(reason) + 1))
            case WaitEvent(into, event, conditions):
                found = next((one for one in self.tree.events if one.name == event), None)
                if found is None:
                    raise _NotSaid(f"there is no event {event!r}")
                own = tuple(Comparison(self.own(one.a, into), one.comparator, one.b) for one in conditions)
                return replace(statement, into="", event=event_name(found.class_id, found.score), conditions=own, otherwise=None)
            case WaitFor():
                return replace(statement, otherwise=None)
            case Hold() | Pause():
                return replace(statement, body=())
            case Repeat(_, _, index):
                return replace(statement, body=(), index=None if index is None else "")
        return statement

    def own(self, value: Value, into: str) -> Value:
        """A field of the event that is awaited."""
        if not isinstance(value, Variable) or value.name not in [f"{into}.{name}" for name in EVENT_FIELDS]:
            raise _NotSaid("a condition begins with a field of its event")
        return Variable(value.name.removeprefix(f"{into}."))

    def value(self, value: Value, due: Kind | None = None) -> Value:
        found = self.scope.counted(due, value)
        if found is None:
            raise _NotSaid("it uses a value that is not in sight, or of another kind")
        return found[1][0]

    def comparison(self, comparison: Comparison) -> Comparison:
        found = self.scope.counted(None, comparison.a, comparison.b)
        if found is None:
            raise _NotSaid("it compares what is not in sight, or of different kinds")
        return Comparison(found[1][0], comparison.comparator, found[1][1])

    def give(self, statement: Statement, name: str, *values: tuple[str, Kind]) -> None:
        if name in self.given:
            line = statement_line(statement, self.tree)
            raise CanonicalError(f'the canonical form can\'t say "{line}": {name} has been given a value above')
        self.given.add(name)
        for value in values:
            self.scope.give(*value)

    def inner(self, statement: Statement, path: Path) -> None:
        """What the statement gives, and its blocks."""
        match statement:
            case Sample(into, channel):
                self.give(statement, into, (into, CHANNEL_KINDS[channel]))
            case Let(into, value):
                found = self.scope.counted(None, value)
                assert found is not None  # it was written already
                self.give(statement, into, (into, found[0]))
            case Leave(comparison):
                self.scope.leave(comparison is None)
            case Halt():
                self.scope.halt()
            case Hold(body=body) | Pause(body=body):
                self.within(body, (*path, 0), Blocks.ONCE)
            case Repeat(_, body, index):
                if index is not None:
                    self.give(statement, index)
                self.within(body, (*path, 0), Blocks.LOOP, index)
            case If(_, then, otherwise):
                dead = self.within(then, (*path, 0), Blocks.BRANCH, end=Control.ELSE if otherwise else Control.END)
                if otherwise and self.within(otherwise, (*path, 1), Blocks.BRANCH) and dead:
                    self.scope.halt()
            case WaitEvent(into, event):
                score = self.tree.event(event).score
                fields = event_fields(score)
                known = statement.otherwise is None or self.late(statement.otherwise, path)
                self.give(statement, into, *(((f"{into}.{name}", fields[name]) for name in EVENT_FIELDS) if known else ()))
            case WaitFor(otherwise=late) if late is not None:
                self.late(late, path)

    def late(self, body: Block, path: Path) -> bool:
        """What is done where what was awaited does not come; whether nobody gets to its end."""
        self.symbols.append(write_symbol(Control.OTHERWISE))
        return self.within(body, (*path, 0), Blocks.BRANCH)

    def within(self, body: Block, path: Path, kind: Blocks, index: str | None = None, end: Control = Control.END) -> bool:
        self.scope.begin(kind, index)
        self.block(body, path)
        self.symbols.append(write_symbol(end))
        return self.scope.end()
