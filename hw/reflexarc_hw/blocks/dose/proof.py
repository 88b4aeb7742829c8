"""Proofs of the dose: the counts are never behind what the outputs did, and a count above its limit has its verdict.

| assumption | why it is harmless |
|---|---|
| `accesses_are_apart` | what the bus's arbiter does: `fabric` |
| the rate is one and the same number for counter and shadow | that it is not below the register or the monitor is a property of its own, with the product of code and gain as it is |
| no count of 64 bits wraps: charge, and the shadows of the doses once a count stands at its end | 2**63 in steps of at most 2**32 are 20 s at the very greatest rate, at which the count already stands at its end, above every limit |
| a limit was written 8 cycles ago or earlier, said in the properties | limits in force follow the registers by so many; hard ones are locked long before anything is live |

Blanker, position, samples, starts, enables, register accesses and the reset are free in every cycle. Limits: without injection.
"""

from amaranth.hdl import Module, Mux, Signal, Value

from reflexarc.contract.blocks.dose import CHARGE_BITS, ELECTRON_FRACTION_BITS, LARGE_DOSE_BITS, MONITOR_GAIN_SHIFT, DoseCommand
from reflexarc.contract.blocks.interlock import DOSE_CAUSES, Cause
from reflexarc.contract.blocks.signals import CURRENT
from reflexarc_hw.blocks.dose.dose import DOSE_BITS, SAMPLES_AFTER_PULSE, Dose
from reflexarc_hw.formal import Mutation, Proof
from reflexarc_hw.lib.bus_proof import APART, accesses_are_apart

DOSE = "blocks/dose/dose.py"
IN_FORCE = 8  # cycles from a register to the verdicts
COUNTED = 2  # cycles from a cycle with an open beam, or from a sample of a pulse, to the count with it
JUDGED = 4  # cycles for which a count is above its limit, at most, before its verdict


class _DoseProof(Proof):
    assumptions = (APART,)

    def block(self) -> Dose:
        dut = self.add("dose", Dose())
        accesses_are_apart(self, dut.bus)
        self.bank = self.part("dose.bank")
        return dut

    def reset_by(self, command: DoseCommand) -> Value:
        return self.bank.command_strobe & (self.bank.command == command)


class CountsProof(_DoseProof):
    """Counter against shadow."""

    name = "dose_counts"
    depth = 4
    properties = {
        "pixel_is_never_behind": f"The pixel's dose is all the beam since the pixel began, up to {COUNTED} cycles ago, or stands at its end.",
        "frame_is_never_behind": "So is the frame's since the frame began.",
        "region_is_never_behind": f"The region's dose is all the beam on positions within it since its reset, up to {COUNTED} cycles ago, or stands at its end.",
        "open_time_is_right": "The open time is the number of cycles with an open beam.",
        "beam_is_never_below": "The beam's rate is not below the register's, 5 cycles after its write, nor below what the monitor measured.",
        "pulses_are_counted": "The number of pulses is that of rising edges since the reset, or stands at its end.",
        "charge_is_counted": f"The charge is the sum of the magnitudes of all samples in pulses and of {SAMPLES_AFTER_PULSE} after each.",
    }
    mutations = (
        Mutation("pixel_is_never_behind", DOSE, "count.eq(Mux(begins, added, count + added))", "count.eq(Mux(begins, 0, count + added))"),
        Mutation("pixel_is_never_behind", DOSE, "open_.eq(~self.blank | (closing != 0))", "open_.eq(~self.blank)"),
        Mutation("frame_is_never_behind", DOSE, '("frame", frame, self.frame_start, rate_of_frame)', '("frame", frame, self.frame_start | self.pixel_start, rate_of_frame)'),
        Mutation("region_is_never_behind", DOSE, "self.dac.x <= bank.region_x_high", "self.dac.x < bank.region_x_high", 20),
        Mutation("open_time_is_right", DOSE, "with m.Elif(closing != 0):", "with m.Elif(closing > 1):"),
        Mutation("beam_is_never_below", DOSE, "Mux(found > bank.beam_rate, found, bank.beam_rate)", "Mux(found > bank.beam_rate, found, rate)"),
        Mutation("beam_is_never_below", DOSE, "m.If(multiplied | (beat == 0))", "m.If(beat == 0)"),
        Mutation("pulses_are_counted", DOSE, "self.pulse & ~was_pulse & ~pulses.all()", "self.pulse & ~was_pulse & ~pulses.all() & current.valid"),
        Mutation("charge_is_counted", DOSE, "samples_left.eq(SAMPLES_AFTER_PULSE)", "samples_left.eq(SAMPLES_AFTER_PULSE - 1)"),
        Mutation("charge_is_counted", DOSE, "Mux(current.code < 0, -current.code, current.code)", "current.code[:19]"),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        bank = self.bank
        rate = Value.cast(bank.beam)

        # Open, and for the blanker's delay after: cycles since it was last driven open, and the delay as it was then.
        since, delay = Signal(17, init=(1 << 17) - 1), Signal(16)
        with m.If(~dut.blank):
            m.d.sync += [since.eq(1), delay.eq(bank.blanker_delay)]
        with m.Elif(~since.all()):
            m.d.sync += since.eq(since + 1)
        is_open = ~dut.blank | (since <= delay)
        self.invariant(self.inside("dose.closing") == Mux(since <= delay, delay - since + 1, 0))
        beam = Mux(is_open, rate, 0)

        doses = (
            ("pixel_is_never_behind", bank.pixel_dose, dut.pixel_start, beam),
            ("frame_is_never_behind", bank.frame_dose, dut.frame_start, beam),
        )
        for name, count, starts, now in doses:
            shadow = Signal(DOSE_BITS, name=f"shadow_{name}")
            m.d.sync += shadow.eq(Mux(starts, 0, shadow) + now)
            self.holds(name, count[-1] | (count >= self.past(shadow)))
        x, y = dut.dac.x, dut.dac.y
        within = (x >= bank.region_x_low) & (x <= bank.region_x_high) & (y >= bank.region_y_low) & (y <= bank.region_y_high)
        late = self.past(Mux(within, beam, 0))
        shadow = Signal(DOSE_BITS, name="shadow_region")
        m.d.sync += shadow.eq(Mux(self.reset_by(DoseCommand.RESET_REGION), 0, shadow + late))
        self.holds("region_is_never_behind", bank.region_dose[-1] | (bank.region_dose >= shadow))

        cycles = Signal(64)
        m.d.sync += cycles.eq(cycles + is_open)
        self.holds("open_time_is_right", bank.open_time == cycles)

        steady = bank.beam_rate == self.past(bank.beam_rate)
        self.holds("beam_is_never_below", ~(steady & self.lasted(steady, 5)) | (rate >= bank.beam_rate))
        self.holds("beam_is_never_below", rate >= self.past(self.inside("dose.product") >> MONITOR_GAIN_SHIFT))

        rises = dut.pulse & ~self.past(dut.pulse)
        pulses = Signal(33)
        forget = self.reset_by(DoseCommand.RESET_TIP)
        m.d.sync += pulses.eq(Mux(forget, 0, Mux(pulses[-1], pulses, pulses + rises)))
        self.holds("pulses_are_counted", bank.pulses.all() | (bank.pulses >= pulses))
        self.invariant(bank.pulses.all() | (bank.pulses == pulses))

        current = dut.samples[CURRENT]
        after = Signal(range(SAMPLES_AFTER_PULSE + 1), init=SAMPLES_AFTER_PULSE)  # samples since the last pulse
        with m.If(dut.pulse):
            m.d.sync += after.eq(0)
        with m.Elif(current.valid & (after != SAMPLES_AFTER_PULSE)):
            m.d.sync += after.eq(after + 1)
        self.invariant(self.inside("dose.samples_left") == SAMPLES_AFTER_PULSE - after)
        counts = current.valid & (dut.pulse | (after != SAMPLES_AFTER_PULSE))
        magnitude = Mux(current.code < 0, -current.code, current.code)
        late = self.past(Mux(counts, magnitude, 0)[:20])
        charge = Signal(64)
        m.d.sync += charge.eq(Mux(forget, 0, charge + late))
        self.holds("charge_is_counted", bank.charge == charge)


class LimitProof(_DoseProof):
    """Counts against one kind of limit."""

    depth = IN_FORCE + 2
    cover_depth = 24

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.name = f"dose_limits_{kind}"
        self._prefix = {"hard": "", "soft": "soft_"}[kind]
        other = {"hard": "soft", "soft": "hard"}[kind]
        self.properties = {
            f"{kind}_limit_trips": f"A count that is above its {kind} limit for {JUDGED} cycles has its verdict then, whatever the {other} limit is.",
            f"last_count_trips_{kind}": "The last count of a pixel or frame that is above its limit has its verdict in the next cycle.",
        }
        self._trips, self._last = self.properties
        self.covers = tuple(cause.name for cause in DOSE_CAUSES) if kind == "hard" else ()
        tighter = 'tighter(getattr(bank, name), getattr(bank, f"soft_{name}"), least=False)'
        wrong = {"hard": 'getattr(bank, f"soft_{name}")', "soft": "getattr(bank, name)"}[kind]
        self.mutations = (
            Mutation(self._trips, DOSE, tighter, wrong, 24),
            Mutation(self._trips, DOSE, "(count > bound) & enable[cause]", "(count > bound + 1) & enable[cause]", 24),
            Mutation(self._last, DOSE, "ends.get(cause, Const(0))", "Const(0)", 24),
        )

    def describe(self, m: Module) -> None:
        dut = self.block()
        bank, ports = self.bank, dut.conditions
        counts = {
            Cause.DOSE_PIXEL: (bank.pixel_dose >> ELECTRON_FRACTION_BITS, "pixel_limit"),
            Cause.DOSE_REGION: (bank.region_dose >> (ELECTRON_FRACTION_BITS + LARGE_DOSE_BITS), "region_limit"),
            Cause.DOSE_FRAME: (bank.frame_dose >> (ELECTRON_FRACTION_BITS + LARGE_DOSE_BITS), "frame_limit"),
            Cause.PULSES: (bank.pulses, "pulses_limit"),
            Cause.CHARGE: (bank.charge >> CHARGE_BITS, "charge_limit"),
        }
        quiet = ~ports.inject.any()
        self.guide(quiet)
        for index, cause in enumerate(DOSE_CAUSES):
            count, name = counts[cause]
            limit = getattr(bank, self._prefix + name)
            steady = limit == self.past(limit)
            settled = steady & self.lasted(steady, IN_FORCE)
            above = (count > limit) & quiet & ports.enable[index]
            self.holds(self._trips, ~(self.lasted(above, JUDGED) & settled) | ports.verdict[index])
            starts = {Cause.DOSE_PIXEL: dut.pixel_start, Cause.DOSE_FRAME: dut.frame_start}.get(cause)
            if starts is not None:
                # Two cycles after the start the count begins anew: this is what it was.
                self.holds(self._last, ~self.past(self.past(starts) & above & settled) | ports.verdict[index])
            if self.covers:
                self.reaches(cause.name, ports.verdict[index])


PROOFS = [CountsProof(), LimitProof("hard"), LimitProof("soft")]
