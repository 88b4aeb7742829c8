"""Queue of points for the scan."""

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import trajectory
from reflexarc.contract.blocks.trajectory import DEPTH, SAMPLES_BITS, PointKind
from reflexarc_hw.blocks.scan.point import POINT
from reflexarc_hw.lib.bus import BankSignature, attach_bank


class Trajectory(wiring.Component):
    """A write to ``push`` enters the point of x, y and z as they are then; ``points`` gives it out again, 3 cycles later at the earliest.

    A point for which there is no room is lost and counted. ``clear`` (a strobe, or a write to the register) empties the queue: two cycles
    later nothing is offered any more, but what was offered stands for that cycle too.
    """

    bus: In(BankSignature())
    clear: In(1)
    points: Out(stream.Signature(POINT))

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, trajectory.BLOCK)
        # The last place is a register: what the scan takes in the cycle of a tick does not come out of the RAM in that cycle.
        queue = SyncFIFOBuffered(width=len(self.points.payload.as_value()), depth=DEPTH - 1)
        emptied = Signal()
        m.submodules.queue = ResetInserter(emptied)(queue)
        refused = Signal(32)
        kind = bank.push[SAMPLES_BITS:]
        assert (PointKind.PIXEL, PointKind.SEGMENT, PointKind.LAST) == (1, 2, 4)
        entry = Signal(POINT)
        m.d.comb += [
            entry.x.eq(bank.x),
            entry.y.eq(bank.y),
            entry.z.eq(bank.z),
            entry.samples.eq(bank.push[:SAMPLES_BITS]),
            Cat(entry.pixel, entry.segment, entry.last).eq(kind),
        ]
        m.d.comb += [
            queue.w_data.eq(entry),
            queue.w_en.eq(bank.push_strobe),
            queue.r_en.eq(~self.points.valid),
        ]
        with m.If(emptied):
            m.d.sync += self.points.valid.eq(0)
        with m.Elif(~self.points.valid & queue.r_rdy):
            m.d.sync += [self.points.valid.eq(1), self.points.payload.eq(queue.r_data)]
        with m.Elif(self.points.ready):
            m.d.sync += self.points.valid.eq(0)
        with m.If(bank.push_strobe & ~queue.w_rdy):
            m.d.sync += refused.eq(refused + 1)
        m.d.sync += [emptied.eq(self.clear | bank.clear_strobe), bank.free.eq(DEPTH - queue.level - self.points.valid)]
        m.d.comb += bank.refused.eq(refused)
        return m
