"""Black box: a ring of the last samples, frozen by a trip."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from reflexarc.contract.blocks import recorder
from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.blocks.recorder import (
    DEPTH,
    POST_TRIGGER,
    STATE_BLANK_BIT,
    STATE_HOLD_BIT,
    STATE_INTERLOCK_SHIFT,
    STATE_PULSE_BIT,
    STATE_SCAN_SHIFT,
    RecorderState,
)
from reflexarc.contract.blocks.scan import ScanState
from reflexarc_hw.blocks.gate import OUTPUTS
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import CODE, SAMPLE
from reflexarc_hw.lib.memory import Ram

ENTRY = data.StructLayout({"current": CODE, "dac": OUTPUTS, "flags": 8})


class Recorder(wiring.Component):
    """Writes an entry with each sample; from a trip on ``POST_TRIGGER`` more, then none until it is released."""

    bus: In(BankSignature())
    sample: In(SAMPLE)
    dac: In(OUTPUTS)
    interlock_state: In(InterlockState)
    scan_state: In(ScanState)
    hold: In(1)
    pulse: In(1)
    blank: In(1)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, recorder.BLOCK)
        m.submodules.ring = ring = Ram(ENTRY, DEPTH)
        state = Signal(RecorderState)
        position = Signal(range(DEPTH))  # next entry
        full = Signal()
        after = Signal(range(DEPTH + 1))

        entry = Signal(ENTRY)
        flags = (
            Cat(self.interlock_state).shift_left(STATE_INTERLOCK_SHIFT)
            | Cat(self.scan_state).shift_left(STATE_SCAN_SHIFT)
            | self.hold.shift_left(STATE_HOLD_BIT)
            | self.pulse.shift_left(STATE_PULSE_BIT)
            | self.blank.shift_left(STATE_BLANK_BIT)
        )
        # What is recorded stands in a register first: it comes from all over the core.
        valid, tripped = Signal(), Signal()
        with m.If(self.sample.valid):
            m.d.sync += [entry.current.eq(self.sample.code), entry.dac.eq(self.dac), entry.flags.eq(flags)]
        m.d.sync += [valid.eq(self.sample.valid), tripped.eq(self.interlock_state == InterlockState.TRIPPED)]
        write = Signal()
        m.d.comb += [
            write.eq(valid & (state != RecorderState.FROZEN)),
            ring.write_enable.eq(write),
            ring.write_address.eq(position),
            ring.write_data.eq(entry),
        ]
        with m.If(write):
            m.d.sync += position.eq(position + 1)
            with m.If(position == DEPTH - 1):
                m.d.sync += full.eq(1)

        with m.Switch(state):
            with m.Case(RecorderState.RUNNING):
                with m.If(tripped):
                    m.d.sync += [state.eq(RecorderState.TRIGGERED), after.eq(write)]
            with m.Case(RecorderState.TRIGGERED):
                with m.If(write):
                    m.d.sync += after.eq(after + 1)
                    with m.If(after == POST_TRIGGER - 1):
                        m.d.sync += state.eq(RecorderState.FROZEN)
            with m.Case(RecorderState.FROZEN):
                with m.If(bank.release_strobe & ~tripped):
                    m.d.sync += [state.eq(RecorderState.RUNNING), position.eq(0), full.eq(0)]

        read = data.View(ENTRY, ring.read_data)
        m.d.sync += ring.read_address.eq(Mux(full, position, 0) + bank.index)
        m.d.comb += [
            bank.state.eq(state),
            bank.entries.eq(Mux(full, DEPTH, position)),
            bank.after_trip.eq(after),
            bank.current.eq(read.current),
            bank.x.eq(read.dac.x),
            bank.y.eq(read.dac.y),
            bank.z.eq(read.dac.z),
            bank.bias.eq(read.dac.bias),
            bank.flags.eq(read.flags),
        ]
        return m
