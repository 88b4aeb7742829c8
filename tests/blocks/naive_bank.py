"""A bank of registers in plain integers."""

from reflexarc.contract.link import BusStatus
from reflexarc.contract.registers import Access, Block, Register


def owner(block: Block, offset: int) -> tuple[Register, int] | None:
    """The register at a byte offset, and which of its words."""
    for register in block.registers:
        for word in range(register.words):
            if offset == register.offset + 4 * word:
                return register, word
    return None


def write_status(block: Block, offset: int, data: int, lock: bool) -> BusStatus:
    """How a write must be answered."""
    found = owner(block, offset)
    if found is None or found[0].access is Access.RO:
        return BusStatus.UNMAPPED
    register = found[0]
    if register.locked and lock:
        return BusStatus.LOCKED
    if register.access is Access.W1C:
        return BusStatus.OK  # any mask: bits without a flag clear nothing
    raw = data - (1 << 32) if register.signed and data >> 31 else data
    return BusStatus.OK if register.low <= raw <= register.high else BusStatus.RANGE


def read_status(block: Block, offset: int) -> BusStatus:
    """How a read must be answered."""
    found = owner(block, offset)
    return BusStatus.UNMAPPED if found is None or found[0].access is Access.WO else BusStatus.OK


class NaiveParity:
    """What a bank says of its locked registers. ``broken`` is the set of those in which a single bit is not what was written."""

    def __init__(self) -> None:
        self.found = False  # by the last check
        self.error = False  # the cycle after

    def step(self, check: bool, inject: bool, broken: set[str]) -> None:
        self.error = self.found
        if check:
            self.found = inject or bool(broken)
