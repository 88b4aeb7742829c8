"""Lines that pace the scan, and the one that the scan paces others with."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import sync
from reflexarc.contract.blocks.sync import SyncLine, SyncMode
from reflexarc_hw.lib.bus import BankSignature, attach_bank

LINES = len(SyncLine)
LINE_CYCLES = 4  # from an edge of an input line to may_end or may_start


class Sync(wiring.Component):
    """Says when a pixel may end and when a line may start.

    ``pixel_start`` begins a pixel's wait anew, ``pixel_first`` is the sample that was taken there and triggers the camera; ``pixel_over``
    and ``waiting`` say that the scan waits. ``late`` rises when it has waited for more than ``wait_samples``, and falls with the wait.
    ``pixel`` is a pulse with each pixel's first sample.
    """

    bus: In(BankSignature())
    tick: In(1)
    lines: In(LINES)  # asynchronous, as SyncLine
    pixel_start: In(1)
    pixel_first: In(1)
    pixel_over: In(1)
    waiting: In(1)
    may_end: Out(1)
    may_start: Out(1)
    line_waits: Out(1)
    late: Out(1)
    pixel: Out(1)
    external: Out(1)
    lines_seen: Out(LINES)  # synchronized

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, sync.BLOCK)
        lines, before = Signal(LINES), Signal(LINES)
        m.submodules.lines = FFSynchronizer(self.lines, lines)
        m.d.sync += before.eq(lines)
        assert (SyncLine.CAMERA_READY, SyncLine.PIXEL_CLOCK, SyncLine.LINE_TRIGGER, SyncLine.EXTERNAL_SCAN) == (1, 2, 4, 8)
        assert (SyncMode.CAMERA, SyncMode.PIXEL_CLOCK, SyncMode.LINE_TRIGGER, SyncMode.EXTERNAL_SCAN) == (1, 2, 4, 8)
        camera, pixel_clock, line_trigger, external = (bank.mode[bit] for bit in range(4))
        rises = lines & ~before

        # A camera: triggered, then busy, then ready.
        triggered, busy, exposed = Signal(), Signal(), Signal()
        with m.If(self.pixel_start):
            m.d.sync += [triggered.eq(0), busy.eq(0), exposed.eq(0)]
        with m.Else():
            with m.If(self.pixel_first):
                m.d.sync += triggered.eq(1)
            with m.If(triggered & ~lines[0]):
                m.d.sync += busy.eq(1)
            with m.If(busy & lines[0]):
                m.d.sync += exposed.eq(1)

        # The pixel clock: one edge, one pixel.
        clocked = Signal()
        missed = Signal(32)
        with m.If(self.pixel_start):
            m.d.sync += clocked.eq(rises[1])
        with m.Elif(rises[1]):
            m.d.sync += clocked.eq(1)
        with m.If(rises[1] & pixel_clock & clocked & ~self.pixel_start):
            m.d.sync += missed.eq(missed + 1)

        # The line trigger: an edge since the line waits, so that lines keep its phase.
        line_due = Signal()
        with m.If(~self.waiting):
            m.d.sync += line_due.eq(0)
        with m.Elif(rises[2]):
            m.d.sync += line_due.eq(1)

        # What was latched in the cycle of ``pixel_start`` is still the last pixel's.
        m.d.sync += [
            self.may_end.eq((~camera | exposed) & (~pixel_clock | clocked) & ~(self.pixel_start & (camera | pixel_clock))),
            self.may_start.eq((~line_trigger | line_due) & (~external | lines[3])),
            self.line_waits.eq(line_trigger),
        ]

        waits = Signal()
        waited, spent = Signal(24), Signal()
        lates = Signal(32)
        m.d.sync += [
            waits.eq((self.pixel_over & ~self.may_end) | (self.waiting & ~self.may_start)),
            spent.eq((waited == bank.wait_samples) & (bank.wait_samples != 0)),
        ]
        with m.If(~waits):
            m.d.sync += [waited.eq(0), spent.eq(0), self.late.eq(0)]
        with m.Elif(self.tick & ~self.late):
            m.d.sync += waited.eq(waited + 1)
            with m.If(spent):
                m.d.sync += [self.late.eq(1), lates.eq(lates + 1)]

        left = Signal(16)
        begins = Signal()
        m.d.sync += begins.eq(self.pixel_first)
        with m.If(begins):
            m.d.sync += left.eq(bank.pulse_cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.sync += self.pixel.eq(left != 0)
        m.d.comb += [
            self.external.eq(bank.external),
            bank.lines.eq(lines),
            self.lines_seen.eq(lines),
            bank.late.eq(lates),
            bank.missed.eq(missed),
        ]
        return m
