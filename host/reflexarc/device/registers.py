"""Registers by name, in physical units."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.link import BusOperation, BusStatus
from reflexarc.contract.registers import Access, Register, RegisterMap
from reflexarc.device.transport import SocketTransport
from reflexarc.errors import BadInput, RegisterRefused

_REASONS = {
    BusStatus.UNMAPPED: "the board has no such register, or not for this kind of access",
    BusStatus.LOCKED: "it is locked while the interlock is armed; disarm first",
    BusStatus.RANGE: "the board finds the value out of range",
}


class Registers:
    """Reads and writes by ``block.register``; whatever is out of range raises before anything is written."""

    def __init__(self, transport: SocketTransport, calibration: Calibration, register_map: RegisterMap = REGISTER_MAP) -> None:
        self._transport = transport
        self._map = register_map
        self.calibration = calibration

    def find(self, name: str) -> tuple[int, Register]:
        """Address and declaration of ``block.register``; KeyError if there is none."""
        block, _, register = name.partition(".")
        return self._map[block].address(register), self._map[block][register]

    async def read_raw(self, *names: str) -> list[int]:
        """Raw values, in one frame: nothing of the host comes between."""
        operations = []
        for name in names:
            address, register = self.find(name)
            operations += [(BusOperation.READ, address + 4 * word, 0) for word in range(register.words)]
        results = iter(await self._transport.bus(operations))
        values = []
        for name in names:
            _, register = self.find(name)
            pattern = 0
            for word in range(register.words):
                status, value = next(results)
                self._check(name, status)
                pattern |= value << (32 * word)
            values.append(register.decode(pattern))
        return values

    async def read(self, *names: str) -> list[float]:
        """Values in the registers' units."""
        raw = await self.read_raw(*names)
        return [self.calibration.to_physical(self.find(name)[1], value) for name, value in zip(names, raw, strict=True)]

    async def write(self, values: Mapping[str, float | enum.IntEnum]) -> None:
        """Write in the mapping's order, in the registers' units. BadInput if any value is out of range: then none is written."""
        raw: dict[str, int] = {}
        for name, value in values.items():
            _, register = self.find(name)
            try:
                raw[name] = int(value) if isinstance(value, enum.IntEnum) else self.calibration.to_raw(register, float(value))
            except ValueError as error:
                raise BadInput(f"{name.partition('.')[0]}.{error}") from None
        await self.write_raw(raw)

    async def write_raw(self, values: Mapping[str, int]) -> None:
        """Raw values; BadInput if any is out of range (none is written), RegisterRefused if the board refuses one."""
        await self.write_each(list(values.items()))

    async def write_each(self, values: Sequence[tuple[str, int]]) -> None:
        """As `write_raw`, for registers that are written more than once."""
        operations = []
        for name, value in values:
            address, register = self.find(name)
            if register.access is Access.RO:
                raise BadInput(f"{name} is read-only")
            try:
                operations.append((BusOperation.WRITE, address, register.encode(value)))
            except ValueError as error:
                raise BadInput(f"{name.partition('.')[0]}.{error}") from None
        for (name, _), (status, _) in zip(values, await self._transport.bus(operations), strict=True):
            self._check(name, status)

    @staticmethod
    def _check(name: str, status: BusStatus) -> None:
        if status is not BusStatus.OK:
            raise RegisterRefused(f"{name}: {_REASONS[status]}")
