"""What a proof is: a block with everything upstream free, and statements about it that hold in every cycle.

A proof stands beside its block, in ``proof.py``. It says what is to hold (``properties``), under which assumptions (``assumptions``, explained
in the table of the module's docstring), and which change of the gateware breaks each property (``mutations``). ``describe`` adds the
block and the statements to a module; every signal that nothing drives is an input that may take any value in any cycle, the reset among them.
"""

import linecache
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Assert, Assume, ClockDomain, Cover, Elaboratable, Fragment, Module, Signal, Value
from amaranth.hdl._ast import SignalSet  # not exported; Amaranth is pinned to 0.5

PROVE, COVER = "prove", "cover"  # goals; the third is the names of single properties


@dataclass(frozen=True)
class Mutation:
    """A change of the gateware for which a property must fail.

    ``file`` is below ``reflexarc_hw``; ``old`` must occur exactly once in it. The counterexample starts at reset and is at most ``depth``
    cycles long; cycles before ``skip`` are not looked at, which saves time where the way to arming is long. ``shorter`` are further changes,
    file, old and new, that do not break the property by themselves: a smaller constant, a shorter self-test, so that the counterexample is
    short. That they don't is shown by a search as deep, or, with ``inductive``, by the whole proof.
    """

    breaks: str
    file: str
    old: str
    new: str
    depth: int = 16
    skip: int = 0
    shorter: tuple[tuple[str, str, str], ...] = ()
    inductive: bool = False

    @property
    def changes(self) -> tuple[tuple[str, str, str], ...]:
        return ((self.file, self.old, self.new), *self.shorter)


class _Elaborated(Elaboratable):
    """A component that was elaborated before, so that its signals could be found."""

    def __init__(self, fragment: Fragment):
        self._fragment = fragment

    def elaborate(self, platform):
        return self._fragment


def _fragments(fragment: Fragment, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Fragment]]:
    yield path, fragment
    for index, (sub, name, _) in enumerate(fragment.subfragments):
        yield from _fragments(sub, (*path, name or f"U{index}"))


def free_signals(fragment: Fragment) -> list[Signal]:
    """Every signal that is read somewhere and driven nowhere."""
    driven, used = SignalSet(), SignalSet()
    for _, each in _fragments(fragment):
        for statements in each.statements.values():
            driven |= statements._lhs_signals()
            used |= statements._rhs_signals()
    return [signal for signal in used if signal not in driven]


def _given_names(signals: list[Signal]) -> list[str]:
    """Names in the source. In ``a, b, c = Signal(), Signal(), Signal()`` Amaranth finds the last one's only; the others are in order."""
    names, seen = [], Counter[tuple[str, int]]()
    for signal in sorted(signals, key=lambda each: each.duid):
        name = signal.name
        if name == "$signal":
            found = re.match(r"\s*([\w, ]+?) = ", linecache.getline(*signal.src_loc))
            given = found[1].split(", ") if found else []
            if len(given) > seen[signal.src_loc] + 1:
                name = given[seen[signal.src_loc]]
            seen[signal.src_loc] += 1
        names.append(name)
    return names


class Proof(Elaboratable):
    """One concern. ``depth`` is the k of the induction; ``cover_depth`` the length of the longest trace of a cover.

    Where no induction closes, ``bounded`` makes it a search of all traces of ``depth`` cycles from reset: the report says so.
    """

    name: str
    short: bool = False  # part of the short run
    bounded: bool = False
    depth: int = 6
    cover_depth: int = 20
    any_start: bool = False  # the block's registers begin with any value; those of the statements with their reset value
    properties: dict[str, str] = {}  # name: statement
    assumptions: tuple[str, ...] = ()  # explained in the table of the module
    covers: tuple[str, ...] = ()
    mutations: tuple[Mutation, ...] = ()

    def __init__(self) -> None:
        self.goal: str | tuple[str, ...] = PROVE
        self.domain = ClockDomain("sync")
        self._m = Module()
        self._signals: dict[tuple[str, ...], list[Signal]] = {}
        self._parts: dict[tuple[str, ...], Any] = {}
        self._said: set[str] = set()
        self._invariants = 0

    def describe(self, m: Module) -> None:
        """Add the block and the statements."""
        raise NotImplementedError

    def elaborate(self, platform):
        self._m.domains += self.domain
        self.describe(self._m)
        wanted = set(self.properties) | set(self.assumptions) | set(self.covers)
        if wanted != self._said:
            raise ValueError(f"proof {self.name!r}: declared and stated differ: {sorted(wanted ^ self._said)}")
        return self._m

    # Parts

    def add(self, name: str, component: Any) -> Any:
        """Add a component; its registers can then be found with ``inside``."""
        fragment = Fragment.get(component, None)
        for path, each in _fragments(fragment, (name,)):
            if each.origins:
                self._parts[path] = each.origins[0]
            driven = SignalSet()
            for statements in each.statements.values():
                driven |= statements._lhs_signals()
            signals = sorted(driven, key=lambda signal: signal.duid)
            for signal, given in zip(signals, _given_names(signals), strict=True):
                self._signals.setdefault((*path, given), []).append(signal)
        self._m.submodules[name] = _Elaborated(fragment)
        return component

    def part(self, path: str) -> Any:
        """A component within an added one by its path, as ``gate.bank``."""
        return self._parts[tuple(path.split("."))]

    def inside(self, path: str) -> Signal:
        """A register within an added component by its path, as ``gate.bias_kept``: what invariants are about."""
        (signal,) = self._signals[tuple(path.split("."))]
        return signal

    # Statements

    def holds(self, name: str, test: Value) -> None:
        """A property: ``test`` is true in every cycle. One name may have several tests."""
        self._said.add(name)
        if self.goal == PROVE or (self.goal != COVER and name in self.goal):
            self._m.d.comb += Assert(test, name)

    def invariant(self, test: Value) -> None:
        """What the induction needs to know of the registers; proved together with the properties."""
        self._invariants += 1
        if self.goal == PROVE:
            self._m.d.comb += Assert(test, f"invariant_{self._invariants}")

    def assume(self, name: str, test: Value) -> None:
        """What is taken as given; see the table."""
        self._said.add(name)
        self._m.d.comb += Assume(test, name)

    def reaches(self, name: str, test: Value) -> None:
        """Some trace makes ``test`` true."""
        self._said.add(name)
        if self.goal == COVER:
            self._m.d.comb += Cover(test, name)

    def guide(self, test: Value) -> None:
        """Narrow the search for covers: what some of the inputs may do is enough to show that there is a trace."""
        if self.goal == COVER:
            self._m.d.comb += Assume(test, "guide")

    # Shadows: plain state beside the block

    def past(self, value: Any, cycles: int = 1, init: int = 0) -> Value:
        """``value`` so many cycles ago; ``init`` before the first."""
        for _ in range(cycles):
            value = Value.cast(value)
            late = Signal(value.shape(), init=init, name="past")
            self._m.d.sync += late.eq(value)
            value = late
        return value

    def lasted(self, condition: Any, cycles: int) -> Value:
        """Whether ``condition`` was true in each of the last ``cycles`` cycles, this one not included."""
        # A shift register forgets by itself what an induction starts with; a counter would need an invariant.
        shift = Signal(cycles, name="lasted")
        self._m.d.sync += shift.eq((shift << 1) | Value.cast(condition).any())
        return shift.all()
