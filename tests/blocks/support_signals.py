"""More for the block tests: a bank's bus in tests that go cycle by cycle, and a reader of streams."""

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import cocotb
from support import cycles, get, settled, unpack

from reflexarc.contract.link import BusStatus
from reflexarc.contract.registers import WORD_BYTES, Block
from reflexarc_hw.lib.packet import WORD


@dataclass
class Access:
    """One access to a bank: strobe in cycle 0; a read looks in cycle 1, a write is decided in cycle 3; answered and in force in cycle 4."""

    name: str
    raw: int | None  # None: a read
    expected: Any = None  # for the test's use: what the model said on the way

    @property
    def is_write(self) -> bool:
        return self.raw is not None


class LockstepBank:
    """Queue of accesses, driven one cycle at a time by a loop that compares with a model in each of them.

    In each cycle: ``drive()``, then ``settled()``; ``strobing``, ``deciding`` and ``answering`` are the accesses of this cycle.
    """

    def __init__(self, dut: Any, block: Block, prefix: str = "bus"):
        self.block = block
        names = ("strobe", "write", "offset", "write_data", "read_data", "status")
        self._port = {name: getattr(dut, f"{prefix}__{name}") for name in names}
        self._queue: deque[Access | int] = deque()
        self._rest = 0
        self.strobing: Access | None = None
        self._looking: Access | None = None
        self._between: Access | None = None
        self._committing: Access | None = None
        self.answering: Access | None = None

    def write(self, name: str, raw: int) -> None:
        self._queue.append(Access(name, raw))

    def read(self, name: str) -> None:
        """Low word of a register."""
        self._queue.append(Access(name, None))

    def rest(self, count: int) -> None:
        """Cycles in which nothing is asked."""
        self._queue.append(count)

    @property
    def _busy(self) -> bool:
        return any(access is not None for access in (self.strobing, self._looking, self._between, self._committing, self.answering))

    @property
    def idle(self) -> bool:
        return not self._queue and not self._rest and not self._busy

    @property
    def deciding(self) -> Access | None:
        """The access of which this cycle's inputs and values count."""
        if self._looking is not None and not self._looking.is_write:
            return self._looking
        return self._committing if self._committing is not None and self._committing.is_write else None

    def drive(self) -> None:
        """The pins of this cycle."""
        self.answering, self._committing, self._between = self._committing, self._between, self._looking
        self._looking, self.strobing = self.strobing, None
        self._port["strobe"].value = 0
        if self._rest:
            self._rest -= 1
        elif self._queue and not self._busy:
            item = self._queue.popleft()
            if isinstance(item, int):
                self._rest = item
                return
            self.strobing = item
            self._port["strobe"].value = 1
            self._port["write"].value = int(item.is_write)
            self._port["offset"].value = self.block[item.name].offset // WORD_BYTES
            self._port["write_data"].value = (item.raw or 0) & 0xFFFFFFFF

    def answer(self) -> tuple[BusStatus, int]:
        """Status and raw value for ``answering``, after ``settled()``."""
        assert self.answering is not None
        register = self.block[self.answering.name]
        return BusStatus(get(self._port["status"])), register.decode(get(self._port["read_data"]))

    @property
    def taken(self) -> dict[str, int]:
        """The write that is in force from this cycle on, by name; empty unless one was taken. After ``settled()``."""
        access = self.answering
        if access is None or access.raw is None or self.answer()[0] is not BusStatus.OK:
            return {}
        return {access.name: access.raw}


class StreamReader:
    """Takes the words of a packet stream in the background, with idle cycles between them, and cuts them into packets."""

    def __init__(self, dut: Any, prefix: str, rng: random.Random, readiness: float = 0.7):
        self._valid, self._ready = getattr(dut, f"{prefix}__valid"), getattr(dut, f"{prefix}__ready")
        self._payload = getattr(dut, f"{prefix}__payload")
        self._rng = rng
        self.readiness = readiness  # share of cycles with ready; 0 stops the reader
        self.packets: list[list[int]] = []
        self._words: list[int] = []
        self._task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            ready = self._rng.random() < self.readiness
            self._ready.value = int(ready)
            await settled()
            if ready and get(self._valid):
                word = unpack(WORD, get(self._payload))
                self._words.append(word["data"])
                if word["last"]:
                    self.packets.append(self._words)
                    self._words = []
            await cycles()

    def stop(self) -> None:
        self._task.cancel()


class TimeInput:
    """Counts cycles on a block's ``time`` input, in the background."""

    def __init__(self, dut: Any, begin: int = 0):
        self._handle = dut.time
        self.now = begin
        self._task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            self._handle.value = self.now
            await cycles()
            self.now += 1

    def stop(self) -> None:
        self._task.cancel()
