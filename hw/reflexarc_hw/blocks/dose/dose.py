"""Dose of the beam, pulses and charge of the tip."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from reflexarc.contract.blocks import dose
from reflexarc.contract.blocks.dose import (
    CHARGE_BITS,
    ELECTRON_FRACTION_BITS,
    LARGE_DOSE_BITS,
    MONITOR_GAIN_SHIFT,
    DoseCommand,
)
from reflexarc.contract.blocks.interlock import DOSE_CAUSES, Cause
from reflexarc.contract.blocks.signals import CURRENT, MONITOR
from reflexarc_hw.lib.bus import BankSignature, GuardSignature, attach_bank
from reflexarc_hw.lib.conditions import ConditionSignature, measured, tighter
from reflexarc_hw.lib.formats import OUTPUTS, SAMPLES
from reflexarc_hw.lib.own_register import own_register
from reflexarc_hw.lib.product_register import product_register

# Samples that belong to a pulse may come so many samples after its end: they were taken while it lasted.
SAMPLES_AFTER_PULSE = 2
DOSE_BITS = 64  # Q44.20 electrons; a count that reaches 2**43 electrons stays there


class Dose(wiring.Component):
    """Counts what the outputs did, whatever host, scan and streams do.

    The beam counts as open while ``blank`` is low and for ``blanker_delay`` cycles after; each such cycle adds the beam current to the
    doses of pixel, frame and, while the driven position lies in it, region. A cycle is in the counts two cycles after. The beam
    current is the greater of ``beam_rate`` and what the monitor last measured.

    ``pulse`` is high while the driven bias is a pulse's. Its charge is the sum of the current's magnitude over its samples.

    Verdicts follow the counts by at most 4 cycles, changed limits by 6; a pixel's or frame's last count is judged as it ends.
    """

    bus: In(BankSignature())
    guard: In(GuardSignature())
    conditions: In(ConditionSignature(len(DOSE_CAUSES)))
    samples: In(SAMPLES)
    blank: In(1)  # as driven
    dac: In(OUTPUTS)
    pulse: In(1)
    pixel_start: In(1)
    frame_start: In(1)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, dose.BLOCK)
        place = {cause: index for index, cause in enumerate(DOSE_CAUSES)}
        enable = {cause: self.conditions.enable[index] for cause, index in place.items()}
        inject = {cause: self.conditions.inject[index] for cause, index in place.items()}
        verdict = {cause: Signal(name=cause.name.lower()) for cause in DOSE_CAUSES}
        m.d.comb += self.conditions.verdict.eq(Cat(verdict[cause] for cause in DOSE_CAUSES))
        beat = Signal(2)
        m.d.sync += beat.eq(beat + 1)

        # Beam current. A multiplier has 18 bits; the product's upper part is the gain or nothing, and the sum has a cycle of its own.
        monitor = self.samples[MONITOR]
        lower, upper = product_register(36, "lower"), Signal(18)
        product = Signal(38)
        rate = Signal(32)  # Q12.20, electrons a cycle
        code = Signal(19)
        multiply, add, multiplied = Signal(), Signal(), Signal()
        m.d.sync += [multiply.eq(monitor.valid), add.eq(multiply), multiplied.eq(add)]
        with m.If(monitor.valid):
            m.d.sync += code.eq(Mux(monitor.code < 0, 0, monitor.code))
        with m.If(multiply):
            m.d.sync += [lower.eq(code[:18] * bank.monitor_gain), upper.eq(Mux(code[18], bank.monitor_gain, 0))]
        with m.If(add):
            m.d.sync += product.eq(lower + (upper << 18))
        found = product >> MONITOR_GAIN_SHIFT
        with m.If(multiplied | (beat == 0)):
            m.d.sync += rate.eq(Mux(found > bank.beam_rate, found, bank.beam_rate))
        m.d.comb += bank.beam.eq(rate)

        closing = Signal(16)  # cycles for which the beam is still open
        open_ = Signal()
        m.d.comb += open_.eq(~self.blank | (closing != 0))
        with m.If(~self.blank):
            m.d.sync += closing.eq(bank.blanker_delay)
        with m.Elif(closing != 0):
            m.d.sync += closing.eq(closing - 1)
        inside = Signal(4)  # of the region's four edges
        rate_late = Signal(32)  # 0 while the beam is blanked; the frame's count has its own
        open_time = Signal(64)
        rate_now = Mux(open_, rate, 0)
        m.d.sync += rate_late.eq(rate_now)
        rate_of_frame = own_register(m, rate_now, "rate_of_frame")
        with m.If(open_):
            m.d.sync += [
                open_time.eq(open_time + 1),
                inside.eq(
                    Cat(
                        self.dac.x >= bank.region_x_low,
                        self.dac.x <= bank.region_x_high,
                        self.dac.y >= bank.region_y_low,
                        self.dac.y <= bank.region_y_high,
                    )
                ),
            ]

        counts = {cause: Signal(DOSE_BITS, name=f"{cause.name.lower()}_count") for cause in DOSE_CAUSES[:3]}
        pixel, region, frame = counts[Cause.DOSE_PIXEL], counts[Cause.DOSE_REGION], counts[Cause.DOSE_FRAME]
        reset_region = bank.command_strobe & (bank.command == DoseCommand.RESET_REGION)
        reset_tip = bank.command_strobe & (bank.command == DoseCommand.RESET_TIP)
        ends = {}
        for name, count, start, added in (("pixel", pixel, self.pixel_start, rate_late), ("frame", frame, self.frame_start, rate_of_frame)):
            begins = Signal(name=f"{name}_begins")
            ends[Cause.DOSE_PIXEL if count is pixel else Cause.DOSE_FRAME] = begins
            m.d.sync += begins.eq(start)
            with m.If(begins | ~count[-1]):
                # The cycle in which it begins belongs to it. What begins chooses behind the sum: it has all bits to choose for.
                m.d.sync += count.eq(Mux(begins, added, count + added))
        with m.If(reset_region):
            m.d.sync += region.eq(0)
        with m.Elif(inside.all() & ~region[-1]):
            m.d.sync += region.eq(region + rate_late)

        pulses, charge = Signal(32), Signal(64)
        was_pulse = Signal()
        samples_left = Signal(range(SAMPLES_AFTER_PULSE + 1))
        current = self.samples[CURRENT]
        magnitude = Signal(20)
        charged = Signal()  # the sample of the cycle before belongs to a pulse
        m.d.sync += [was_pulse.eq(self.pulse), charged.eq(current.valid & (self.pulse | (samples_left != 0)))]
        with m.If(current.valid):
            m.d.sync += magnitude.eq(Mux(current.code < 0, -current.code, current.code))
        with m.If(reset_tip):
            m.d.sync += [pulses.eq(0), charge.eq(0)]
        with m.Elif(self.pulse & ~was_pulse & ~pulses.all()):
            m.d.sync += pulses.eq(pulses + 1)
        with m.If(self.pulse):
            m.d.sync += samples_left.eq(SAMPLES_AFTER_PULSE)
        with m.Elif(current.valid & (samples_left != 0)):
            m.d.sync += samples_left.eq(samples_left - 1)
        with m.If(charged & ~reset_tip):
            m.d.sync += charge.eq(charge + magnitude)

        shown = {
            Cause.DOSE_PIXEL: (pixel >> ELECTRON_FRACTION_BITS, "pixel_limit"),
            Cause.DOSE_REGION: (region >> (ELECTRON_FRACTION_BITS + LARGE_DOSE_BITS), "region_limit"),
            Cause.DOSE_FRAME: (frame >> (ELECTRON_FRACTION_BITS + LARGE_DOSE_BITS), "frame_limit"),
            Cause.PULSES: (pulses, "pulses_limit"),
            Cause.CHARGE: (charge >> CHARGE_BITS, "charge_limit"),
        }
        pairs = {}
        for cause, (count, name) in shown.items():
            limit = Signal(32, name=f"{cause.name.lower()}_limit")
            bound = Signal(signed(33), name=f"{cause.name.lower()}_bound")  # the limit, or with injection what every count is above
            with m.If(beat == 0):
                m.d.sync += limit.eq(tighter(getattr(bank, name), getattr(bank, f"soft_{name}"), least=False))
            m.d.sync += bound.eq(Mux(inject[cause], -1, limit))
            # Beside each fourth cycle the last one of a pixel or frame: what it was too much must not go with it.
            with m.If((beat == 2) | inject[cause] | ends.get(cause, Const(0))):
                m.d.sync += verdict[cause].eq((count > bound) & enable[cause])
            pairs[cause] = (count, limit)
        measured(m, self.conditions, pairs)
        m.d.comb += [
            bank.pixel_dose.eq(pixel),
            bank.region_dose.eq(region),
            bank.frame_dose.eq(frame),
            bank.open_time.eq(open_time),
            bank.pulses.eq(pulses),
            bank.charge.eq(charge),
        ]
        return m
