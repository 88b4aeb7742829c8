"""The simplest source of events: a per-pixel threshold with hysteresis."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.events import EventChannel
from reflexarc_hw.blocks.capture.pixel import SAMPLES_BITS, SUM
from reflexarc_hw.blocks.events.found import FOUND
from reflexarc_hw.lib.conditions import held
from reflexarc_hw.lib.formats import MARKER, POSITION, SAMPLE, TIME
from reflexarc_hw.lib.own_register import own_register

EXCESS = signed(SUM.width + 1)
FOUND_CYCLES = 2  # from ``fires`` to ``found``


class Threshold(wiring.Component):
    """Fires when a pixel's mean rises above ``on``; then not until a pixel's mean fell below ``off``.

    Means are compared exactly, whatever a pixel's number of samples: what is summed is each sample's excess over ``on`` and over ``off``.
    The score is the excess ``sum - on * samples`` shifted right by ``floor(log2(samples))`` and held at 32 bits: the mean's excess times a
    factor from 1 to 2 that the host knows exactly.

    ``fires`` is early, with ``x`` and ``y``; ``found`` has the score too, FOUND_CYCLES later. All but its ``valid`` hold until the next
    pixel's end.
    """

    enable: In(1)
    channel: In(EventChannel)
    on: In(signed(32))
    off: In(signed(32))
    class_id: In(8)
    sample: In(SAMPLE)
    z: In(POSITION)  # Q20.12, DAC LSB
    marker: In(MARKER)
    time: In(TIME)
    fires: Out(1)
    x: Out(POSITION)
    y: Out(POSITION)
    found: Out(FOUND)

    def elaborate(self, platform):
        m = Module()
        # 1: a sample's excess, 2: its pixel's, 3: verdict
        counted = Signal()
        m.d.comb += counted.eq(self.sample.valid & self.marker.active)
        value, of_current = Signal(POSITION), Signal()
        m.d.sync += of_current.eq(self.channel == EventChannel.CURRENT)
        m.d.comb += value.eq(Mux(of_current, self.sample.code, self.z))
        over, under = Signal(signed(POSITION.width + 1)), Signal(signed(POSITION.width + 1))
        over_sum, under_sum = Signal(EXCESS), Signal(EXCESS)
        samples = Signal(SAMPLES_BITS)
        seen = own_register(m, counted, "seen")
        first, last = Signal(), Signal()
        ended, judged = Signal(), Signal()
        above, below = Signal(), Signal()
        excess = Signal(EXCESS)
        m.d.sync += [ended.eq(seen & last), judged.eq(ended)]
        with m.If(counted):
            m.d.sync += [over.eq(value - self.on), under.eq(value - self.off), first.eq(self.marker.first), last.eq(self.marker.last)]
            with m.If(self.marker.last):
                m.d.sync += [self.x.eq(self.marker.x), self.y.eq(self.marker.y)]
        with m.If(seen):
            m.d.sync += [
                over_sum.eq(Mux(first, 0, over_sum) + over),
                under_sum.eq(Mux(first, 0, under_sum) + under),
                samples.eq(Mux(first, 0, samples) + 1),
            ]
        with m.If(ended):
            m.d.sync += [above.eq(over_sum > 0), below.eq(under_sum < 0), excess.eq(over_sum)]
        ready = Signal()  # below `off` since the last event; enabling starts with not ready, so a scan that begins on a feature is silent
        # A register, for it goes to all that an event starts. Since the last pixel's verdict ``ready`` stands.
        m.d.sync += self.fires.eq(ended & self.enable & ready & (over_sum > 0))
        with m.If(~self.enable):
            m.d.sync += ready.eq(0)
        with m.Elif(judged):
            m.d.sync += ready.eq((ready | below) & ~above)

        # The score: scaled in two steps, then held. An excess is less than 2**32 a sample and there are less than 2**(magnitude + 1), so the score is less
        # than 2**33, and less than 2**7 times that after the first step: what is above is the sign, and need not be looked at.
        magnitude = Signal(range(SAMPLES_BITS))  # floor(log2(samples))
        coarse, fine, score = Signal(signed(POSITION.width + 9)), Signal(signed(POSITION.width + 2)), Signal(signed(32))
        fine_shift = Signal(3)
        fired = Signal()
        time = Signal(TIME)
        with m.If(ended):
            for bit in range(SAMPLES_BITS):
                with m.If(samples[bit]):
                    m.d.sync += magnitude.eq(bit)
        with m.If(judged):
            m.d.sync += [coarse.eq(excess >> Cat(Const(0, 3), magnitude[3:])), fine_shift.eq(magnitude[:3]), time.eq(self.time)]
        m.d.comb += fine.eq(coarse >> fine_shift)
        with m.If(fired):
            m.d.sync += score.eq(held(fine))
        m.d.sync += [fired.eq(self.fires), self.found.valid.eq(fired)]
        m.d.comb += [
            self.found.class_id.eq(self.class_id),
            self.found.score.eq(score),
            self.found.x.eq(self.x),
            self.found.y.eq(self.y),
            self.found.time.eq(time),
        ]
        return m
