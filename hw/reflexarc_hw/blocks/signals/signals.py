"""Conditions on the raw samples."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import signals
from reflexarc.contract.blocks.interlock import SIGNAL_CAUSES, Cause
from reflexarc.contract.blocks.signals import CODE_MAX, CODE_MIN, CURRENT, MONITOR
from reflexarc_hw.blocks.signals.oscillation import ERROR, Oscillation
from reflexarc_hw.lib.bus import BankSignature, GuardSignature, attach_bank
from reflexarc_hw.lib.compare import greater
from reflexarc_hw.lib.conditions import LATCH_CYCLES, ConditionSignature, measured, tighter
from reflexarc_hw.lib.formats import CODE, SAMPLES
from reflexarc_hw.lib.own_register import own_register

BOUND = signed(22)  # a code and a change of up to 2**20 either way
BEYOND = (1 << 21) - 1
REFRESH_CYCLES = 9  # a changed limit counts after at most so many, a change of `pulse` one later


class Signals(wiring.Component):
    """Judges each raw sample in the cycle in which it is valid: window, slew and saturation stand in ``conditions.verdict`` one cycle
    later, a repeated code 4 to 7. A verdict holds until the next sample.

    The limits in force are registers, made anew within ``REFRESH_CYCLES``: the tighter of hard and soft, or the pulse's while ``pulse`` is
    high and for at most ``pulse_samples_max`` samples. The pulse's stand alone; soft limits do not count during a pulse. Samples are at
    least 9 cycles apart, so that the bounds of the slew, last sample plus and minus the limit, are there in time.

    ``contact`` is high while the last sample's magnitude is at or above ``contact_current``.
    """

    def __init__(self, monitor: bool) -> None:
        self._monitor = monitor
        super().__init__(
            {
                "bus": In(BankSignature()),
                "guard": In(GuardSignature()),
                "conditions": In(ConditionSignature(len(SIGNAL_CAUSES), short=2)),  # a bit a converter
                "samples": In(SAMPLES),
                "pulse": In(1),  # a pulse or its settling is under way
                "error": In(ERROR),  # of the feedback, Q6.12
                "error_valid": In(1),
                "contact": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, signals.BLOCK)
        place = {cause: index for index, cause in enumerate(SIGNAL_CAUSES)}
        enable = {cause: self.conditions.enable[index] for cause, index in place.items()}
        inject = {cause: self.conditions.inject[index] for cause, index in place.items()}
        beat = Signal(2)
        m.d.sync += beat.eq(beat + 1)

        pulse_samples = Signal(24)
        pulse_limits = Signal()
        with m.If(~self.pulse):
            m.d.sync += [pulse_samples.eq(0), pulse_limits.eq(0)]
        with m.Else():
            m.d.sync += pulse_limits.eq(pulse_samples < bank.pulse_samples_max)
            with m.If(self.samples[CURRENT].valid & (pulse_samples < bank.pulse_samples_max)):
                m.d.sync += pulse_samples.eq(pulse_samples + 1)

        current = self._channel(
            m, "current", self.samples[CURRENT], beat,
            high=Mux(pulse_limits, bank.pulse_current_high, tighter(bank.current_high, bank.soft_current_high, least=False)),
            low=Mux(pulse_limits, bank.pulse_current_low, tighter(bank.current_low, bank.soft_current_low, least=True)),
            slew=Mux(pulse_limits, bank.pulse_current_slew, tighter(bank.current_slew, bank.soft_current_slew, least=False)),
            causes=(Cause.CURRENT_HIGH, Cause.CURRENT_LOW, Cause.CURRENT_SLEW), enable=enable, inject=inject,
        )  # fmt: skip
        channels = [current]
        if self._monitor:
            channels.append(
                self._channel(
                    m,
                    "monitor",
                    self.samples[MONITOR],
                    beat,
                    high=tighter(bank.monitor_high, bank.soft_monitor_high, least=False),
                    low=tighter(bank.monitor_low, bank.soft_monitor_low, least=True),
                    slew=tighter(bank.monitor_slew, bank.soft_monitor_slew, least=False),
                    causes=(Cause.MONITOR_HIGH, Cause.MONITOR_LOW, Cause.MONITOR_SLEW),
                    enable=enable,
                    inject=inject,
                )  # fmt: skip
            )
            m.d.comb += bank.monitor.eq(channels[MONITOR]["last"])

        # Saturation and repetition, of whichever converter.
        saturated, stuck = Signal(len(channels)), Signal(len(channels))
        stuck_run = Signal(24)  # the longest, for the record
        runs = []
        for index, channel in enumerate(channels):
            sample = self.samples[index]
            code = Mux(inject[Cause.SATURATED], CODE_MAX, sample.code)
            with m.If(sample.valid | inject[Cause.SATURATED]):
                m.d.sync += saturated[index].eq(((code == CODE_MAX) | (code == CODE_MIN)) & enable[Cause.SATURATED])
            run = Signal(24, name=f"run_{index}")  # equal samples, the last one among them
            same, judged = Signal(name=f"same_{index}"), own_register(m, sample.valid, f"judged_{index}")
            with m.If(sample.valid):
                m.d.sync += same.eq((sample.code == channel["last"]) & (run != 0))
            with m.If(judged):
                with m.If(~same):
                    m.d.sync += run.eq(1)
                with m.Elif(~run.all()):
                    m.d.sync += run.eq(run + 1)
            seen = Signal(24, name=f"seen_{index}")
            with m.If((beat == 0) | inject[Cause.STUCK]):
                m.d.sync += seen.eq(Mux(inject[Cause.STUCK], (1 << 24) - 1, run))
            with m.If((beat == 1) | inject[Cause.STUCK]):
                m.d.sync += stuck[index].eq((seen >= bank.stuck_samples) & enable[Cause.STUCK])
            runs.append(run)
        with m.If(beat == 0):
            longest = runs[0] if len(runs) == 1 else Mux(runs[0] > runs[1], runs[0], runs[1])
            m.d.sync += stuck_run.eq(longest)

        m.submodules.oscillation = oscillation = Oscillation()
        m.d.comb += [
            oscillation.error.eq(self.error),
            oscillation.error_valid.eq(self.error_valid),
            oscillation.fast_shift.eq(bank.oscillation_fast),
            oscillation.slow_shift.eq(bank.oscillation_slow),
            oscillation.window.eq(bank.oscillation_window),
            bank.oscillation.eq(oscillation.energy),
        ]
        ringing = Signal()
        energy = Signal(33)
        with m.If((beat == 0) | inject[Cause.OSCILLATION]):
            m.d.sync += energy.eq(Mux(inject[Cause.OSCILLATION], 1 << 32, oscillation.energy))
        with m.If((beat == 1) | inject[Cause.OSCILLATION]):
            m.d.sync += ringing.eq((energy > bank.oscillation_limit) & enable[Cause.OSCILLATION])

        windows = [channel["verdict"] for channel in channels]
        if not self._monitor:
            windows.append(Const(0, 3))
        m.d.comb += self.conditions.short.eq(Cat(channel["short"] for channel in channels))
        m.d.comb += self.conditions.verdict.eq(Cat(*windows, saturated.any(), stuck.any(), ringing))
        assert SIGNAL_CAUSES[6:] == (Cause.SATURATED, Cause.STUCK, Cause.OSCILLATION)

        code, level = self.samples[CURRENT].code, Cat(bank.contact_current, Const(0, 1)).as_signed()
        with m.If(self.samples[CURRENT].valid):
            m.d.sync += self.contact.eq((code >= level) | (code <= -level))

        pairs = {
            Cause.CURRENT_HIGH: (current["last"], current["high"]),
            Cause.CURRENT_LOW: (current["last"], current["low"]),
            Cause.CURRENT_SLEW: (current["change"], current["slew"]),
            Cause.SATURATED: (Mux(saturated[0], current["last"], channels[-1]["last"]), 0),
            Cause.STUCK: (stuck_run, bank.stuck_samples),
            Cause.OSCILLATION: (oscillation.energy, bank.oscillation_limit),
        }
        if self._monitor:
            monitor = channels[MONITOR]
            pairs |= {
                Cause.MONITOR_HIGH: (monitor["last"], monitor["high"]),
                Cause.MONITOR_LOW: (monitor["last"], monitor["low"]),
                Cause.MONITOR_SLEW: (monitor["change"], monitor["slew"]),
            }
        measured(m, self.conditions, pairs)
        return m

    def _channel(self, m, name, sample, beat, *, high, low, slew, causes, enable, inject):
        """Window and slew of one converter; its registers by name."""
        high_now, low_now = Signal(CODE, name=f"{name}_high"), Signal(CODE, name=f"{name}_low")
        slew_now = Signal(20, name=f"{name}_slew")
        # The bounds are what a sample is compared with: a limit, or with injection a value that every sample lies beyond.
        high_bound, low_bound = Signal(BOUND, name=f"{name}_high_bound"), Signal(BOUND, name=f"{name}_low_bound")
        rise_to, fall_to = Signal(BOUND, name=f"{name}_rise_to"), Signal(BOUND, name=f"{name}_fall_to")
        last, change = Signal(CODE, name=f"{name}_last"), Signal(signed(CODE.width + 1), name=f"{name}_change")
        # A sample's limits stand until its trip's record has been made of them.
        recent = Signal(LATCH_CYCLES, name=f"{name}_recent")
        m.d.sync += recent.eq(Cat(sample.valid, recent))
        with m.If((beat == 0) & ~sample.valid & ~recent.any()):
            m.d.sync += [high_now.eq(high), low_now.eq(low), slew_now.eq(slew)]
        verdict, short = Signal(3, name=f"{name}_verdict"), Signal(name=f"{name}_short")
        cause_high, cause_low, cause_slew = causes
        m.d.sync += [
            high_bound.eq(Mux(inject[cause_high], -BEYOND, high_now)),
            low_bound.eq(Mux(inject[cause_low], BEYOND, low_now)),
        ]
        with m.If((beat == 1) | inject[cause_slew]):
            m.d.sync += [rise_to.eq(Mux(inject[cause_slew], -BEYOND, last + slew_now)), fall_to.eq(last - slew_now)]
        with m.If(sample.valid | inject[cause_high] | inject[cause_low] | inject[cause_slew]):
            found = Cat(
                greater(sample.code, high_bound) & enable[cause_high],
                greater(low_bound, sample.code) & enable[cause_low],
                (greater(sample.code, rise_to) | greater(fall_to, sample.code)) & enable[cause_slew],
            )
            m.d.sync += [verdict.eq(found), short.eq(found.any())]
        with m.If(sample.valid):
            m.d.sync += [last.eq(sample.code), change.eq(sample.code - last)]
        return {
            "last": last, "change": change, "high": high_now, "low": low_now, "slew": slew_now, "verdict": verdict, "short": short,
        }  # fmt: skip
