"""Time base: conversions, samples, DAC frames, identity."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import system
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import SAMPLES, TIME
from reflexarc_hw.lib.own_register import own_register

# Cycle of a sample period in which a DAC frame begins. A sample that comes at latest 3 cycles before the end of its period reaches the gate
# 14 cycles later, in cycle 11 of the next period (feedback with logarithm, the longest path), so the frame carries it.
FRAME_PHASE = 12
FEEDBACK_CYCLES = 14
LATEST_SAMPLE_PHASE_FROM_END = 3
CYCLES_PER_SAMPLE_MIN = 16


class System(wiring.Component):
    """Asks for a conversion each ``cycles_per_sample`` cycles and a DAC frame each second one, registers samples and counts time.

    ``adc`` is registered once, and that register is what ``sample valid`` means everywhere. ``sample_lost`` is high from a conversion that
    finds that one of the ``channels`` in use brought no sample for the one before, until that sample comes; a sample later than the period's
    last cycle but one counts as lost.
    ``tick`` strobes once a period, with the sample or, where it was lost, with the next conversion: what must go on without a converter
    (the withdrawal, the record of it) counts ticks.
    """

    def __init__(self, cycles_per_sample: int, sample_period_ps: int, fingerprint: int, channels: int = 1):
        if cycles_per_sample < CYCLES_PER_SAMPLE_MIN:
            raise ValueError(
                f"{cycles_per_sample} cycles a sample: the path from sample to DAC frame needs at least {CYCLES_PER_SAMPLE_MIN}"
            )
        # The frame's phase must lie after the arrival of the latest sample's result at the gate.
        assert FEEDBACK_CYCLES - LATEST_SAMPLE_PHASE_FROM_END < FRAME_PHASE < cycles_per_sample
        self._cycles_per_sample = cycles_per_sample
        self._sample_period_ps = sample_period_ps
        self._fingerprint = fingerprint
        self._channels = channels
        super().__init__(
            {
                "bus": In(BankSignature()),
                "adc": In(SAMPLES),
                "convert": Out(1, init=1),
                "frame": Out(1),
                "samples": Out(SAMPLES),
                "judged": Out(SAMPLES),  # the same, for what decides within the cycle: ``samples`` go to eight blocks
                "sample_lost": Out(1),
                "tick": Out(1),
                "time": Out(TIME),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, system.BLOCK)
        last = self._cycles_per_sample - 1
        phase = Signal(range(self._cycles_per_sample))
        odd = Signal()  # the second period of a DAC frame's two
        started = Signal()  # a conversion was asked for
        is_due = Signal()  # ``convert``, and the sample of the conversion before should have come
        seen, lost_now, lost = Signal(self._channels), Signal(self._channels), Signal(self._channels)  # a bit a converter
        valid = Cat(self.samples[index].valid for index in range(self._channels))
        count = Signal(64)

        m.d.sync += [self.time.eq(self.time + 1), phase.eq(phase + 1), self.samples.eq(self.adc)]
        m.d.sync += self.frame.eq((phase == FRAME_PHASE - 1) & odd)
        # Both in the period's first cycle, and registers, as the tick goes to half of the chip.
        m.d.sync += [self.convert.eq(phase == last), is_due.eq((phase == last) & started)]
        with m.If(phase == last):
            m.d.sync += [phase.eq(0), odd.eq(~odd)]
        m.d.comb += [
            self.judged.eq(own_register(m, self.adc.as_value(), "judged")),
            lost_now.eq(~seen & is_due.replicate(self._channels)),
            self.sample_lost.eq((lost_now | lost).any()),
            self.tick.eq(valid[0] | lost_now[0]),
        ]
        with m.If(lost_now.any() | valid.any()):
            m.d.sync += lost.eq((lost & ~valid) | lost_now)
        with m.If(self.convert):
            m.d.sync += [started.eq(1), seen.eq(0)]
        with m.If(valid.any()):
            m.d.sync += seen.eq(Mux(self.convert, 0, seen) | valid)
        with m.If(valid[0]):
            m.d.sync += count.eq(count + 1)

        m.d.comb += [
            bank.magic.eq(system.MAGIC),
            bank.fingerprint.eq(self._fingerprint),
            bank.cycles_per_sample.eq(self._cycles_per_sample),
            bank.sample_period.eq(self._sample_period_ps),
            bank.time.eq(self.time),
            bank.samples.eq(count),
        ]
        return m
