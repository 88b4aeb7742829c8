"""Black box: a ring of the last samples and a longer, decimated one, frozen by a trip."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import recorder
from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.blocks.recorder import (
    DEPTH,
    LONG_DEPTH,
    LONG_POST_TRIGGER,
    POST_TRIGGER,
    STATE_BITS,
    STATE_BLANK_BIT,
    STATE_HOLD_BIT,
    STATE_INTERLOCK_SHIFT,
    STATE_PULSE_BIT,
    STATE_SCAN_SHIFT,
    RecorderState,
    Ring,
)
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.blocks.signals import CURRENT, MONITOR
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import CODE, OUTPUTS, SAMPLES
from reflexarc_hw.lib.memory import Ram

ENTRY = data.StructLayout({"current": CODE, "monitor": CODE, "dac": OUTPUTS, "flags": STATE_BITS})
READ_CYCLES = 5  # from an index to its entry: address, RAM, its register, choice
LONG_ENTRY = data.StructLayout({"entry": ENTRY, "current_low": CODE, "current_high": CODE})


class TriggeredRing(wiring.Component):
    """A ring of entries; from ``tripped`` on ``post_trigger`` more are written, then none until ``release`` without ``tripped``.

    Index 0 is the oldest entry; ``read`` follows ``index`` after 3 cycles of ``reading``. Before the ring is frozen its entries move on,
    and the one that is being written reads as anything.
    """

    def __init__(self, layout: data.Layout, depth: int, post_trigger: int) -> None:
        self._layout, self._depth, self._post_trigger = layout, depth, post_trigger
        count = range(depth + 1)
        super().__init__(
            {
                "entry": In(layout),
                "valid": In(1),
                "tripped": In(1),
                "release": In(1),
                "index": In(range(depth)),
                "reading": In(1),  # look now; else the last entry stands
                "state": Out(RecorderState),
                "entries": Out(count),
                "after_trip": Out(count),
                "read": Out(layout),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = Ram(self._layout, self._depth)
        position = Signal(range(self._depth))  # next entry
        full, write = Signal(), Signal()
        m.d.comb += [
            write.eq(self.valid & (self.state != RecorderState.FROZEN)),
            ring.write_enable.eq(write),
            ring.write_address.eq(position),
            ring.write_data.eq(self.entry),
        ]
        with m.If(write):
            m.d.sync += position.eq(position + 1)
            with m.If(position == self._depth - 1):
                m.d.sync += full.eq(1)
        with m.Switch(self.state):
            with m.Case(RecorderState.RUNNING):
                with m.If(self.tripped):
                    m.d.sync += [self.state.eq(RecorderState.TRIGGERED), self.after_trip.eq(write)]
            with m.Case(RecorderState.TRIGGERED):
                with m.If(write):
                    m.d.sync += self.after_trip.eq(self.after_trip + 1)
                    with m.If(self.after_trip == self._post_trigger - 1):
                        m.d.sync += self.state.eq(RecorderState.FROZEN)
            with m.Case(RecorderState.FROZEN):
                with m.If(self.release & ~self.tripped):
                    m.d.sync += [self.state.eq(RecorderState.RUNNING), position.eq(0), full.eq(0)]
        with m.If(self.reading):
            m.d.sync += ring.read_address.eq(Mux(full, position, 0) + self.index)
        m.d.comb += [self.entries.eq(Mux(full, self._depth, position)), self.read.eq(ring.read_data)]
        return m


class Recorder(wiring.Component):
    """Writes an entry with each sample, and one each ``decimation`` samples into the long ring, with the extremes of the current between.

    The state that is shown is of both rings: frozen once both are. The host may be gone meanwhile; nothing here needs it.
    """

    bus: In(BankSignature())
    samples: In(SAMPLES)
    tick: In(1)
    dac: In(OUTPUTS)
    interlock_state: In(InterlockState)
    scan_state: In(ScanState)
    hold: In(1)
    pulse: In(1)
    blank: In(1)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, recorder.BLOCK)
        m.submodules.short = short = TriggeredRing(ENTRY, DEPTH, POST_TRIGGER)
        m.submodules.long = long = TriggeredRing(LONG_ENTRY, LONG_DEPTH, LONG_POST_TRIGGER)

        # What is recorded stands in a register first: it comes from all over the core.
        entry = Signal(ENTRY)
        flags = (
            Cat(self.interlock_state).shift_left(STATE_INTERLOCK_SHIFT)
            | Cat(self.scan_state).shift_left(STATE_SCAN_SHIFT)
            | self.hold.shift_left(STATE_HOLD_BIT)
            | self.pulse.shift_left(STATE_PULSE_BIT)
            | self.blank.shift_left(STATE_BLANK_BIT)
        )
        valid, tripped = Signal(), Signal()
        current = self.samples[CURRENT].code
        low, high = Signal(CODE), Signal(CODE)
        fresh = Signal(init=1)  # no sample since the last long entry
        counted = Signal(20)
        due, long_valid = Signal(), Signal()
        m.d.sync += [valid.eq(self.tick), tripped.eq(self.interlock_state == InterlockState.TRIPPED), long_valid.eq(0)]
        m.d.sync += due.eq(counted + 1 >= bank.decimation)  # of the next sample
        with m.If(self.tick):
            m.d.sync += [
                entry.current.eq(current),
                entry.monitor.eq(self.samples[MONITOR].code),
                entry.dac.eq(self.dac),
                entry.flags.eq(flags),
            ]
        with m.If(valid):
            m.d.sync += [
                low.eq(Mux(fresh | (entry.current < low), entry.current, low)),
                high.eq(Mux(fresh | (entry.current > high), entry.current, high)),
                fresh.eq(0),
                counted.eq(counted + 1),
            ]
            with m.If(due):
                m.d.sync += [counted.eq(0), long_valid.eq(1), fresh.eq(1)]
        m.d.comb += [
            short.entry.eq(entry),
            short.valid.eq(valid),
            long.entry.entry.eq(entry),
            long.entry.current_low.eq(low),
            long.entry.current_high.eq(high),
            long.valid.eq(long_valid),
        ]
        for ring in (short, long):
            m.d.comb += [
                ring.tripped.eq(tripped),
                ring.release.eq(bank.release_strobe & (bank.state == RecorderState.FROZEN)),
                ring.index.eq(bank.index),
            ]

        chosen = bank.ring == Ring.LONG
        # Between accesses the way out sleeps: it is the widest path of all.
        read = Signal(LONG_ENTRY)
        looking = Signal(range(READ_CYCLES + 1))
        with m.If(bank.index_strobe | bank.ring_strobe):
            m.d.sync += looking.eq(READ_CYCLES)
        with m.Elif(looking != 0):
            m.d.sync += looking.eq(looking - 1)
        m.d.comb += [short.reading.eq(looking != 0), long.reading.eq(looking != 0)]
        with m.If(looking == 1):
            m.d.sync += [
                read.entry.eq(Mux(chosen, long.read.entry, short.read)),
                read.current_low.eq(Mux(chosen, long.read.current_low, short.read.current)),
                read.current_high.eq(Mux(chosen, long.read.current_high, short.read.current)),
            ]
        m.d.comb += [
            bank.state.eq(RecorderState.TRIGGERED),
            bank.entries.eq(Mux(chosen, long.entries, short.entries)),
            bank.after_trip.eq(Mux(chosen, long.after_trip, short.after_trip)),
            bank.current.eq(read.entry.current),
            bank.monitor.eq(read.entry.monitor),
            bank.x.eq(read.entry.dac.x),
            bank.y.eq(read.entry.dac.y),
            bank.z.eq(read.entry.dac.z),
            bank.bias.eq(read.entry.dac.bias),
            bank.flags.eq(read.entry.flags),
            bank.current_low.eq(read.current_low),
            bank.current_high.eq(read.current_high),
        ]
        for state in (RecorderState.RUNNING, RecorderState.FROZEN):
            with m.If((short.state == state) & (long.state == state)):
                m.d.comb += bank.state.eq(state)
        return m
