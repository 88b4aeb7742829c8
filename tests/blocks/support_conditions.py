"""More for the tests of blocks that judge conditions: what the interlock does to them."""

from typing import Any

from support import cycles, get, settled, signed

from reflexarc.contract.blocks.interlock import Cause


def held(value: int) -> int:
    """A value as the record keeps it: at the end of its 32 bits if it is beyond."""
    return min(max(value, -(1 << 31)), (1 << 31) - 1)


class Conditions:
    """The interlock's side of a block's ``conditions``."""

    def __init__(self, dut: Any, causes: tuple[Cause, ...]):
        self._dut = dut
        self.causes = causes
        self.asked: int | None = None  # what is latched in the next cycle

    def _mask(self, causes) -> int:
        return sum(1 << self.causes.index(cause) for cause in causes)

    def enable(self, causes) -> None:
        """Exactly these count from this cycle on."""
        self._dut.conditions__enable.value = self._mask(causes)

    def inject(self, *causes: Cause) -> None:
        """Exactly these are made to fire from this cycle on."""
        self._dut.conditions__inject.value = self._mask(causes)

    def verdict(self) -> set[Cause]:
        """What is violated; after ``settled()``."""
        bits = get(self._dut.conditions__verdict)
        return {cause for index, cause in enumerate(self.causes) if bits >> index & 1}

    def latch(self, cause: int | None) -> int | None:
        """Once a cycle: name the cause of which the next one latches what it measured; None: it latches nothing.

        The cause that is latched in this cycle, or None. A name stands for two cycles.
        """
        latched, self.asked = self.asked, cause
        assert latched is None or cause is None
        self._dut.conditions__latch.value = int(latched is not None)
        if cause is not None:
            self._dut.conditions__cause.value = cause
        return latched

    def latched(self) -> tuple[int, int]:
        """Value and limit, after ``settled()``, from two cycles after ``latch`` on."""
        return signed(get(self._dut.conditions__value), 32), signed(get(self._dut.conditions__limit), 32)

    async def measured(self, cause: int) -> tuple[int, int]:
        """What ``cause`` measured; takes four cycles."""
        for asked in (cause, None, None):
            self.latch(asked)
            await cycles()
        await settled()
        answer = self.latched()
        await cycles()
        return answer

    async def settled_verdict(self) -> set[Cause]:
        """The verdict of this cycle; returns in the next."""
        await settled()
        found = self.verdict()
        await cycles()
        return found

    async def fires(self, cause: Cause, within: int) -> int | None:
        """Cycles until ``cause`` is violated, or None; returns in the cycle after the last look."""
        for waited in range(within + 1):
            if cause in await self.settled_verdict():
                return waited
        return None
