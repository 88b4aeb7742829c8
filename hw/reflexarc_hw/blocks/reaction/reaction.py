"""First reaction: an event starts a bias pulse."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import reaction
from reflexarc_hw.blocks.events import DETECTION
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import CODE, POSITION


class Reaction(wiring.Component):
    """Event to pulse: ``hold`` and ``pulse`` rise the cycle after the detection.

    ``hold`` (feedback held, scan paused, pulse limits) lasts through the pulse and ``settle_samples`` after it. Without ``live`` the pulse
    ends at once. Each pulse takes one of the budget that was last written.
    """

    bus: In(BankSignature())
    tick: In(1)
    live: In(1)
    detection: In(DETECTION)
    driven_bias: In(CODE)  # the gate's output, to measure the latency
    hold: Out(1)
    pulse: Out(1)
    pulse_bias: Out(CODE)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, reaction.BLOCK)
        left = Signal(24)
        remaining = Signal(16)
        count, ignored = Signal(32), Signal(32)
        latency = Signal(16)
        began, measuring = Signal(), Signal()
        x, y = Signal(POSITION), Signal(POSITION)

        m.d.sync += began.eq(0)
        stop = Signal()
        m.d.comb += stop.eq(~self.live)
        with m.FSM() as fsm:
            with m.State("READY"):
                with m.If(self.detection.valid & bank.enable & self.live & (remaining != 0)):
                    m.d.sync += [
                        left.eq(bank.pulse_samples),
                        self.hold.eq(1),
                        self.pulse.eq(1),
                        self.pulse_bias.eq(bank.bias),
                        remaining.eq(remaining - 1),
                        count.eq(count + 1),
                        x.eq(self.detection.x),
                        y.eq(self.detection.y),
                        measuring.eq(1),
                        began.eq(1),
                    ]
                    m.next = "PULSE"
            with m.State("PULSE"):
                with m.If(self.tick):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left <= 1):
                        m.d.sync += [self.pulse.eq(0), left.eq(bank.settle_samples)]
                        m.next = "SETTLE"
                with m.If(stop):
                    m.next = "READY"
            with m.State("SETTLE"):
                with m.If(self.tick):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left <= 1):
                        m.d.sync += self.hold.eq(0)
                        m.next = "READY"
                with m.If(stop):
                    m.next = "READY"
        with m.If(stop):
            m.d.sync += [self.hold.eq(0), self.pulse.eq(0), measuring.eq(0)]
        with m.If(self.detection.valid & ~fsm.ongoing("READY")):
            m.d.sync += ignored.eq(ignored + 1)

        there = Signal()  # in the cycle before
        m.d.sync += there.eq(measuring & (self.driven_bias == self.pulse_bias))
        with m.If(measuring):
            with m.If(began):  # anew, a cycle after the detection, which comes from afar
                m.d.sync += latency.eq(1)
            with m.Elif(there):
                m.d.sync += measuring.eq(0)
            with m.Elif(~latency.all()):
                m.d.sync += latency.eq(latency + 1)
        with m.If(bank.budget_strobe):
            m.d.sync += remaining.eq(bank.budget)
        m.d.comb += [
            bank.remaining.eq(remaining),
            bank.count.eq(count),
            bank.ignored.eq(ignored),
            bank.latency.eq(latency),
            bank.x.eq(x),
            bank.y.eq(y),
        ]
        return m
