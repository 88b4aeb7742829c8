"""A register bank in which single bits can be flipped, as radiation or a weak cell would."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from reflexarc.contract.registers import WORD_BYTES, Access, Block, Register
from reflexarc_hw.lib.bus import OFFSET_BITS, BankSignature, GuardSignature, RegisterBank

# While ``valid``, each cycle one bit of one register turns over. ``block`` counts windows of the register map.
FLIP = data.StructLayout({"valid": 1, "block": 8, "offset": OFFSET_BITS, "bit": 5})


def locked_registers(block: Block) -> list[Register]:
    """Those that a parity bit watches: what is stored and locked."""
    return [register for register in block.registers if register.access is Access.RW and register.locked]


class FaultyBank(RegisterBank):
    """A bank like any other, but for ``flip``, a signal of whoever makes the bench."""

    def __init__(self, block: Block, flip: data.View):
        super().__init__(block)
        self._flip = flip

    def elaborate(self, platform):
        m = super().elaborate(platform)
        for register in locked_registers(self.block):
            here = (self._flip.block == self.block.base >> 8) & (self._flip.offset == register.offset // WORD_BYTES)
            value = Value.cast(getattr(self, register.name))
            with m.If(self._flip.valid & here):
                m.d.sync += value.eq(value ^ (1 << self._flip.bit))
        return m


class OneFaultyBank(wiring.Component):
    """The bank alone, for its own test."""

    def __init__(self, block: Block):
        self._block = block
        super().__init__({"bus": In(BankSignature()), "guard": In(GuardSignature()), "flip": In(FLIP)})

    def elaborate(self, platform):
        m = Module()
        flip = Signal(FLIP)
        m.d.comb += flip.eq(self.flip)
        m.submodules.bank = bank = FaultyBank(self._block, flip)
        wiring.connect(m, wiring.flipped(self.bus), bank.bus)
        wiring.connect(m, wiring.flipped(self.guard), bank.guard)
        return m
