"""The sequencer with the fabric and a bank beside it, its ports cut so that each fits into 64 bits."""

from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import trajectory
from reflexarc.contract.program import Request, StopReason
from reflexarc.contract.registers import Access, Block, Register
from reflexarc_hw.blocks.sequencer import Sequencer
from reflexarc_hw.lib.bus import BusSignature, Fabric, RegisterBank
from reflexarc_hw.lib.formats import CODE, POSITION, SAMPLES

# Stands where another block does, so that no program is kept from it.
EXAMPLE = Block(
    "example",
    trajectory.BLOCK.base,
    "What programs write and read here.",
    (
        Register("any", 0x00, Access.RW, "Takes any word."),
        Register("code", 0x04, Access.RW, "Refuses what is no code.", width=20, signed=True),
        Register("seen", 0x08, Access.RO, "From outside.", signed=True),
    ),
)
WORD = signed(32)


class ProgramBench(wiring.Component):
    """Ports as the sequencer's; ``load_*`` is its bank, ``host`` another master of the fabric."""

    load_strobe: In(1)
    load_offset: In(6)
    load_data: In(32)
    host: In(BusSignature())
    seen: In(WORD)
    live: In(1)
    samples: In(SAMPLES)
    event_valid: In(1)
    event_class: In(8)
    event_score: In(WORD)
    event_x: In(POSITION)
    event_y: In(POSITION)
    lines: In(4)
    scan_state: In(4)
    line_last: In(1)
    scan_line: In(16)
    scan_x: In(POSITION)
    scan_y: In(POSITION)
    z: In(POSITION)
    bias: In(CODE)
    emitted: In(1)
    any: Out(32)
    code: Out(CODE)
    x: Out(POSITION)
    y: Out(POSITION)
    requests: Out(Request)
    pause: Out(1)
    pulse_bias: Out(CODE)
    emits: Out(1)
    emission_class: Out(8)
    emission_part: Out(16)
    emission_a: Out(WORD)
    emission_b: Out(WORD)
    running: Out(1)
    fault: Out(1)
    reason: Out(StopReason)

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequencer = sequencer = Sequencer()
        m.submodules.fabric = fabric = Fabric(1, (EXAMPLE.base,))
        m.submodules.bank = bank = RegisterBank(EXAMPLE)
        wiring.connect(m, wiring.flipped(self.host), fabric.master_0)
        wiring.connect(m, sequencer.master, fabric.claimant)
        wiring.connect(m, fabric.bank_0, bank.bus)
        m.d.comb += [
            sequencer.bus.strobe.eq(self.load_strobe),
            sequencer.bus.write.eq(1),
            sequencer.bus.offset.eq(self.load_offset),
            sequencer.bus.write_data.eq(self.load_data),
            fabric.claim.eq(sequencer.claim),
            bank.seen.eq(self.seen),
            sequencer.event.valid.eq(self.event_valid),
            sequencer.event.source.eq(1),
            sequencer.event.class_id.eq(self.event_class),
            sequencer.event.score.eq(self.event_score),
            sequencer.event.x.eq(self.event_x),
            sequencer.event.y.eq(self.event_y),
            self.any.eq(bank.any),
            self.code.eq(bank.code),
            self.emission_class.eq(sequencer.emission.class_id),
            self.emission_part.eq(sequencer.emission.part),
            self.emission_a.eq(sequencer.emission.a),
            self.emission_b.eq(sequencer.emission.b),
        ]
        for name in ("live", "samples", "lines", "scan_state", "line_last", "scan_line", "scan_x", "scan_y", "z", "bias", "emitted"):
            m.d.comb += getattr(sequencer, name).eq(getattr(self, name))
        for name in ("x", "y", "requests", "pause", "pulse_bias", "emits", "running", "fault", "reason"):
            m.d.comb += getattr(self, name).eq(getattr(sequencer, name))
        return m
