"""Mean, least and greatest of samples."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.signals import CURRENT, MONITOR
from reflexarc.contract.program import MEASURED_FRACTION_BITS, SampleChannel, Statistic
from reflexarc_hw.blocks.sequencer.serial import COUNT_BITS, WORD, Divider
from reflexarc_hw.lib.formats import POSITION, SAMPLES

TOP = 1 << (WORD - 1)  # with the top bit the other way round signed words compare as unsigned ones


class Measure(wiring.Component):
    """``result`` of the ``count`` samples after ``start``, Q20.12, the mean rounded down; ``done`` is high for one cycle.

    A count of 0 is taken as 1. ``done`` comes 4 cycles after the last sample, of a mean 38.
    """

    samples: In(SAMPLES)
    z: In(POSITION)  # Q20.12, DAC LSB
    start: In(1)
    clear: In(1)  # gives a measurement up
    channel: In(2)  # SampleChannel; all three stand until done
    statistic: In(2)  # Statistic
    count: In(COUNT_BITS)
    done: Out(1)
    result: Out(signed(WORD))

    def elaborate(self, platform):
        m = Module()
        m.submodules.divider = divider = Divider()
        left = Signal(COUNT_BITS)
        divisor = Signal(COUNT_BITS)
        active, first = Signal(), Signal()
        taken, summed, ended = Signal(), Signal(), Signal()
        value = Signal(WORD)
        total = Signal(WORD + COUNT_BITS)
        least, greatest = Signal(WORD), Signal(WORD)
        chosen = Signal(WORD)
        with m.Switch(self.channel):
            for channel, index in ((SampleChannel.CURRENT, CURRENT), (SampleChannel.MONITOR, MONITOR)):
                with m.Case(channel):
                    m.d.comb += chosen.eq(Cat(Const(0, MEASURED_FRACTION_BITS), self.samples[index].code))
            with m.Default():
                m.d.comb += chosen.eq(self.z)
        last = Signal()
        m.d.sync += [taken.eq(0), last.eq(0), summed.eq(taken), ended.eq(last), self.done.eq(0), divider.start.eq(0)]
        with m.If(self.clear):
            m.d.sync += active.eq(0)
        with m.Elif(self.start):
            count = Mux(self.count == 0, 1, self.count)
            m.d.sync += [active.eq(1), first.eq(1), left.eq(count), divisor.eq(count)]
        with m.Elif(active & self.samples[CURRENT].valid):
            m.d.sync += [taken.eq(1), value.eq(chosen ^ TOP), left.eq(left - 1)]
            with m.If(left == 1):
                m.d.sync += [active.eq(0), last.eq(1)]
        with m.If(taken):
            m.d.sync += [first.eq(0), total.eq(Mux(first, 0, total) + value)]
            with m.If(first | (value < least)):
                m.d.sync += least.eq(value)
            with m.If(first | (value > greatest)):
                m.d.sync += greatest.eq(value)
        mean, dividing = Signal(), Signal()
        m.d.comb += [mean.eq(self.statistic == Statistic.MEAN), divider.total.eq(total), divider.count.eq(divisor)]
        with m.If(ended & ~self.clear):
            m.d.sync += [divider.start.eq(mean), dividing.eq(mean), self.done.eq(~mean)]
            m.d.sync += self.result.eq(Mux(self.statistic == Statistic.LEAST, least, greatest) ^ TOP)
        with m.If(self.clear):
            m.d.sync += dividing.eq(0)
        with m.Elif(divider.done & dividing):
            m.d.sync += [dividing.eq(0), self.result.eq(divider.quotient ^ TOP), self.done.eq(1)]
        return m
