"""How a register and a block of registers are declared.

A block occupies a window of ``BLOCK_SIZE`` bytes of the 32-bit register bus. Offsets are explicit and fixed: moving a register is a
visible edit, never a side effect of inserting another. A register wider than 32 bits takes two consecutive words, low word first;
reading the low word latches the high one, so that the pair is read whole.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

WORD_BYTES = 4
BLOCK_SIZE = 0x100


class ContractError(ValueError):
    """A declaration that contradicts itself or another one."""


class Access(enum.Enum):
    """What the bus may do with a register."""

    RW = "rw"  # host writes and reads back
    RO = "ro"  # gateware writes, host reads
    W1C = "w1c"  # flags set by gateware, cleared by writing 1; a set in the same cycle beats the clear
    WO = "wo"  # a command: the write itself is the event, reads return an error


@dataclass(frozen=True)
class Register:
    """One register.

    ``scale`` is the value of one LSB in ``unit``; where it depends on the instrument, ``quantity`` names the conversion of the
    ``calibration`` object instead and ``scale`` counts LSBs of that quantity's code per register LSB.
    ``minimum`` and ``maximum`` bound the raw value and default to what ``width`` and ``signed`` can hold.
    """

    name: str
    offset: int
    access: Access
    doc: str
    width: int = 32
    signed: bool = False
    reset: int = 0
    unit: str = ""
    scale: float = 1.0
    quantity: str = ""
    minimum: int | None = None
    maximum: int | None = None
    locked: bool = False  # writes are refused while the interlock is armed
    values: type[enum.IntEnum] | type[enum.IntFlag] | None = None

    def __post_init__(self) -> None:
        where = f"register {self.name!r} at offset {self.offset:#x}"
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise ContractError(f"{where}: the name must be a lower-case identifier")
        if self.offset % WORD_BYTES or not 0 <= self.offset < BLOCK_SIZE:
            raise ContractError(f"{where}: the offset must be a multiple of {WORD_BYTES} below {BLOCK_SIZE:#x}")
        if not 1 <= self.width <= 64:
            raise ContractError(f"{where}: width {self.width} is not within 1 to 64 bits")
        if self.width > 32 and self.access is not Access.RO:
            raise ContractError(f"{where}: only read-only registers may be wider than 32 bits")
        if not self.doc or "\n" in self.doc:
            raise ContractError(f"{where}: needs one line of documentation")
        if self.locked and self.access not in (Access.RW, Access.WO):
            raise ContractError(f"{where}: only rw and wo registers can be locked")
        lowest, highest = self.raw_range
        if not self.low <= self.high or self.low < lowest or self.high > highest:
            raise ContractError(f"{where}: range {self.low} to {self.high} does not fit {self.width} bits, {lowest} to {highest}")
        if not self.low <= self.reset <= self.high:
            raise ContractError(f"{where}: reset {self.reset} is outside {self.low} to {self.high}")

    @property
    def raw_range(self) -> tuple[int, int]:
        """Least and greatest raw value that ``width`` and ``signed`` can hold."""
        if self.signed:
            return -(1 << (self.width - 1)), (1 << (self.width - 1)) - 1
        return 0, (1 << self.width) - 1

    @property
    def low(self) -> int:
        return self.raw_range[0] if self.minimum is None else self.minimum

    @property
    def high(self) -> int:
        return self.raw_range[1] if self.maximum is None else self.maximum

    @property
    def words(self) -> int:
        return 1 if self.width <= 32 else 2

    def encode(self, raw: int) -> int:
        """Raw value to the unsigned pattern on the bus; ValueError outside the allowed range."""
        if not self.low <= raw <= self.high:
            raise ValueError(f"{self.name}: {raw} is outside {self.low} to {self.high}")
        return raw & ((1 << 32 * self.words) - 1)

    def decode(self, pattern: int) -> int:
        """Unsigned pattern on the bus to the raw value."""
        pattern &= (1 << self.width) - 1
        if self.signed and pattern >> (self.width - 1):
            return pattern - (1 << self.width)
        return pattern

    def describe(self) -> dict[str, Any]:
        """What the fingerprint covers: everything that changes the meaning of a bus access."""
        return {
            "name": self.name, "offset": self.offset, "access": self.access.value, "width": self.width, "signed": self.signed,
            "reset": self.reset, "unit": self.unit, "scale": self.scale, "quantity": self.quantity, "low": self.low, "high": self.high,
            "locked": self.locked, "values": {v.name: v.value for v in self.values} if self.values else None,
        }  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A named window of registers on the bus."""

    name: str
    base: int
    doc: str
    registers: tuple[Register, ...]

    def __post_init__(self) -> None:
        if self.base % BLOCK_SIZE:
            raise ContractError(f"block {self.name!r}: base {self.base:#x} is not a multiple of {BLOCK_SIZE:#x}")
        owner: dict[int, str] = {}
        names: set[str] = set()
        for register in self.registers:
            if register.name in names:
                raise ContractError(f"block {self.name!r}: register {register.name!r} is declared twice")
            names.add(register.name)
            for word in range(register.words):
                offset = register.offset + WORD_BYTES * word
                if offset >= BLOCK_SIZE:
                    raise ContractError(f"block {self.name!r}: {register.name!r} reaches past the window")
                if offset in owner:
                    raise ContractError(f"block {self.name!r}: {register.name!r} overlaps {owner[offset]!r} at offset {offset:#x}")
                owner[offset] = register.name

    def __getitem__(self, name: str) -> Register:
        for register in self.registers:
            if register.name == name:
                return register
        raise KeyError(f"block {self.name!r} has no register {name!r}")

    def address(self, name: str) -> int:
        """Byte address of a register on the bus."""
        return self.base + self[name].offset


@dataclass(frozen=True)
class RegisterMap:
    """All blocks of a controller; windows may not overlap."""

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        seen: dict[int, str] = {}
        for block in self.blocks:
            if block.base in seen:
                raise ContractError(f"blocks {seen[block.base]!r} and {block.name!r} share the base {block.base:#x}")
            seen[block.base] = block.name
        if len({block.name for block in self.blocks}) != len(self.blocks):
            raise ContractError("two blocks have the same name")

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __getitem__(self, name: str) -> Block:
        for block in self.blocks:
            if block.name == name:
                return block
        raise KeyError(f"the contract has no block {name!r}")
