"""From symbols to a program: a derivation that takes them one after another.

What a statement that was accepted changes does not depend on what was left out before it, so a program that was derived is derived again from its
own symbols.
"""

from __future__ import annotations

from dataclasses import replace

from reflexarc.programs.canonical.bounds import Instrument
from reflexarc.programs.canonical.fit import BLOCKS_MAX, PASSES, ROW_CYCLES, Cost, Fit, Fitting, Open
from reflexarc.programs.canonical.scope import EVENT_FIELDS, Blocks
from reflexarc.programs.canonical.symbols import Control, Symbol
from reflexarc.programs.tree import (
    Halt,
    Hold,
    If,
    Leave,
    Mark,
    Move,
    Pause,
    ProgramTree,
    Repeat,
    Return,
    Statement,
    Wait,
    WaitEvent,
    WaitFor,
)

TRIVIAL = (Wait(1e-6),)  # a program of which nothing is left


class Derivation(Fitting):
    """``take`` symbols; then ``tree`` closes what is open."""

    def __init__(self, instrument: Instrument, longest_s: float) -> None:
        super().__init__(instrument, longest_s)
        self._ends: list[bool] = []  # of each `end` that is due, whether it is that of a block; others gave way to what is in them

    def tree(self) -> ProgramTree:
        while self._ends:
            self._close()
        body = tuple(self.block.body)
        return ProgramTree("program", body or TRIVIAL, self.state.events)

    def take(self, symbol: Symbol) -> None:
        match symbol:
            case Control.END:
                if self._ends:
                    self._close()
            case Control.ELSE:
                self._else()
            case Control.OTHERWISE:
                self._otherwise()
            case Hold() | Pause() | Repeat() | If():
                self._begin(symbol)
            case _ if self.room:
                fit = self.fitted(symbol)
                if fit is not None:
                    self._accept(fit)

    def _enter(self, block: Open, kind: Blocks, index: str | None = None) -> None:
        self.blocks.append(block)
        self._ends.append(True)
        self.loops += kind is Blocks.LOOP
        self.scope.begin(kind, index)
        self.restore(self.state)

    def _begin(self, statement: Hold | Pause | Repeat | If) -> None:
        fit = None
        if self.room and len(self.blocks) <= BLOCKS_MAX:
            fit = self.fitted_block(statement)
        if fit is None or (cost := self.cost(fit)) is None:
            self._ends.append(False)
            return
        above = self.block
        turns, index = above.turns, None
        if isinstance(fit.statement, Repeat):
            assert fit.statement.count is not None
            turns, index = turns * fit.statement.count, fit.statement.index
        block = Open(fit.statement, self.state, turns, begun_cycles=cost.cycles // above.turns)
        # Times since the mark go on into what is done once; a second turn of a loop begins later than the first.
        if above.marked is not None and not isinstance(fit.statement, Repeat):
            block.marked = above.marked - above.spent_cycles - block.begun_cycles
        self.restore(fit.state._replace(used=self.state.used.plus(cost)))
        kinds = {Repeat: Blocks.LOOP, If: Blocks.BRANCH}
        self._enter(block, kinds.get(type(fit.statement), Blocks.ONCE), index)

    def _close(self) -> None:
        if not self._ends.pop():
            return
        dead, block = self.scope.end(), self.blocks.pop()
        opener = block.opener
        self.loops -= isinstance(opener, Repeat)
        self.restore(self.state)
        if isinstance(opener, Hold) and block.body:
            self._put_back(block)
        body = tuple(block.body)
        statement: Statement | None = None
        match opener:
            case Hold() | Pause() | Repeat() if body:
                statement = replace(opener, body=body)
            case If() if block.then is not None:
                statement = replace(opener, then=block.then, otherwise=body)
                if not body:
                    assert block.before_else is not None
                    self.restore(block.before_else)
                elif dead and block.then_dead:
                    self.scope.halt()
            case If() if body:
                statement = replace(opener, then=body)
            case WaitEvent() | WaitFor():
                statement = replace(opener, otherwise=body or None)
                # If it did not come in time and the program goes on, nobody knows where it was.
                if not body or dead:
                    self.scope.values += block.hidden
                if not body:
                    self.restore(block.before)
        if statement is None:
            self.restore(block.before)
            return
        above = self.block
        above.body.append(statement)
        count = opener.count if isinstance(opener, Repeat) else 1
        assert count is not None
        above.spent_cycles += block.begun_cycles + count * block.spent_cycles

    def _else(self) -> None:
        block = self.block
        if not self._ends or not self._ends[-1] or not isinstance(block.opener, If) or block.then is not None:
            return
        dead = self.scope.end()
        if not block.body:
            self.blocks.pop()
            self._ends[-1] = False
            self.restore(block.before)
            return
        block.then, block.then_dead, block.before_else = tuple(block.body), dead, self.state
        block.body = []
        self.scope.begin(Blocks.BRANCH)

    def _otherwise(self) -> None:
        above = self.block
        if self.scope.dead or not above.body or len(self.blocks) > BLOCKS_MAX:
            return
        awaited = above.body[-1]
        if not isinstance(awaited, WaitEvent | WaitFor) or awaited.otherwise is not None:
            return
        above.body.pop()
        block = Open(awaited, self.state, above.turns)
        if above.marked is not None:
            block.marked = above.marked - above.spent_cycles
        if isinstance(awaited, WaitEvent):
            block.hidden = self.scope.values[-len(EVENT_FIELDS) :]
            del self.scope.values[-len(EVENT_FIELDS) :]
        self._enter(block, Blocks.BRANCH)

    def _put_back(self, block: Open) -> None:
        """The hold that ends: what is due. There is room for it, `cost` has seen to that."""
        due, state = self.state.due, self.state._replace(due=None)
        assert due is not None
        for statement, rows, seconds in self.what_is_due(due):
            cycles = rows * ROW_CYCLES + self.instrument.cycles(seconds)
            state = state._replace(used=state.used.plus(Cost(rows, block.turns * cycles, PASSES**self.loops)))
            block.body.append(statement)
            block.spent_cycles += cycles
        self.restore(state)

    def _accept(self, fit: Fit) -> None:
        cost = self.cost(fit)
        if cost is None:
            return
        block = self.block
        self.restore(fit.state._replace(used=self.state.used.plus(cost)))
        block.body.append(fit.statement)
        block.spent_cycles += cost.cycles // block.turns
        for name, kind in fit.given:
            self.scope.give(name, kind)
        match fit.statement:
            case Mark():
                block.marked = block.spent_cycles
            case Return() | Move():  # the way back was counted with the moves, and the verifier does not see how short a relative one is
                for one in self.blocks:
                    one.marked = None
            case Leave(comparison):
                self.scope.leave(comparison is None)
            case Halt():
                self.scope.halt()
