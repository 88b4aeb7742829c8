"""Rows, labels and registers: what the compiler writes with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from reflexarc.contract.program import BANK_ROWS, REGISTERS, Operand, Operation, Row
from reflexarc.errors import BadInput
from reflexarc.programs.tree import Path


class TooLarge(BadInput):
    """More rows than a bank has, or more values at a time than registers."""


@dataclass
class Label:
    """A row that is jumped to; known once it is placed."""

    row: int | None = None


@dataclass
class Assembler:
    """Rows in their order, each with the statement that it comes from."""

    rows: list[Row] = field(default_factory=list)
    origins: list[Path] = field(default_factory=list)
    at: Path = ()  # statement that is being compiled
    _jumps: dict[int, Label] = field(default_factory=dict)
    _free: list[int] = field(default_factory=lambda: list(range(REGISTERS))[::-1])

    def add(
        self,
        operation: Operation,
        *,
        destination: int = 0,
        a: int = Operand.ZERO,
        b: int = Operand.ZERO,
        place: int | Label = 0,
        value: int = 0,
    ) -> None:
        """One row. TooLarge if the bank is full."""
        if len(self.rows) == BANK_ROWS:
            raise TooLarge(f"the program is too long: it takes more than the {BANK_ROWS} rows of a bank; repeat what is alike")
        if isinstance(place, Label):
            self._jumps[len(self.rows)] = place
            place = 0
        self.rows.append(Row(operation, destination, a, b, place, value))
        self.origins.append(self.at)

    def place(self, label: Label) -> None:
        """The next row is what ``label`` means."""
        label.row = len(self.rows)

    def take(self) -> int:
        """A free register. TooLarge if there is none."""
        if not self._free:
            raise TooLarge(f"more than {REGISTERS} values are needed at a time; give fewer names, or some within a block of their own")
        return self._free.pop()

    def give_back(self, register: int) -> None:
        self._free.append(register)

    @contextmanager
    def temporary(self) -> Iterator[int]:
        register = self.take()
        yield register
        self.give_back(register)

    def finished(self) -> list[Row]:
        """The rows with all jumps in place."""
        rows = list(self.rows)
        for index, label in self._jumps.items():
            assert label.row is not None
            rows[index] = dataclasses.replace(rows[index], place=label.row)
        return rows
