"""Proof of the conditions on raw samples: what is beyond a limit has its verdict, in the stated number of cycles.

| assumption | why it is harmless |
|---|---|
| `accesses_are_apart` | what the bus's arbiter does: `fabric` |
| `samples_are_apart` | 9 cycles at least from one sample of a converter to its next: rates have 16 or more (`CYCLES_PER_SAMPLE_MIN`) |
| a limit was written, or a pulse was over, 12 cycles ago or earlier, said in the properties | limits in force follow the registers by so many; hard ones are locked long before anything is live |
| the energy of the oscillation is taken as it is | that it is the energy is tested against a model; here, that it is judged |

Samples, pulse, error, enables, register accesses and the reset are free in every cycle. The properties speak of cycles without injection.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from reflexarc.contract.blocks.interlock import SIGNAL_CAUSES, Cause
from reflexarc.contract.blocks.signals import CODE_MAX, CODE_MIN, CURRENT, MONITOR
from reflexarc_hw.blocks.signals.signals import BEYOND, Signals
from reflexarc_hw.formal import Mutation, Proof
from reflexarc_hw.lib.bus_proof import APART, accesses_are_apart
from reflexarc_hw.lib.formats import CODE

SIGNALS = "blocks/signals/signals.py"
IN_FORCE = 12  # cycles from a register, or from the end of a pulse, to the limits in force, the slew's bounds included
SAMPLES_APART, APART_SAMPLES = "samples_are_apart", 9
REPEATED, RINGING = 6, 5  # cycles for which a converter has repeated itself, or the energy is above its limit, at most, before the verdict
CHANNELS = {CURRENT: "current", MONITOR: "monitor"}


def samples_are_apart(proof: Proof, samples) -> None:
    for channel in CHANNELS:
        valid = samples[channel].valid
        proof.assume(SAMPLES_APART, ~valid | ~Cat(proof.past(valid, cycles) for cycles in range(1, APART_SAMPLES)).any())


class _SignalsProof(Proof):
    """What they share."""

    assumptions = (APART, SAMPLES_APART)

    def block(self) -> Signals:
        dut = self.add("signals", Signals(monitor=True))
        accesses_are_apart(self, dut.bus)
        samples_are_apart(self, dut.samples)
        self.bank = self.part("signals.bank")
        self.ports = dut.conditions
        self.quiet = ~dut.conditions.inject.any()
        for name in self.covers:
            self.reaches(name, self.verdict(Cause[name]))
        self.guide(self.quiet & dut.conditions.enable.all())
        self.pulse_off = self.lasted(~dut.pulse, IN_FORCE)
        return dut

    def verdict(self, cause: Cause) -> Value:
        return self.ports.verdict[SIGNAL_CAUSES.index(cause)]

    def enabled(self, cause: Cause) -> Value:
        """To be judged now: enabled, and nothing is injected."""
        return self.ports.enable[SIGNAL_CAUSES.index(cause)] & self.quiet

    def trips(self, name: str, cause: Cause, violated: Value) -> None:
        self.holds(name, ~self.past(violated & self.enabled(cause)) | self.verdict(cause))

    def settled(self, value: Value) -> Value:
        same = value == self.past(value)
        return same & self.lasted(same, IN_FORCE)

    def last(self, m: Module, dut: Signals, channel: int) -> Signal:
        """The sample before."""
        last = Signal(CODE, name=f"last_{CHANNELS[channel]}")
        with m.If(dut.samples[channel].valid):
            m.d.sync += last.eq(dut.samples[channel].code)
        self.invariant(self.inside(f"signals.{CHANNELS[channel]}_last") == last)
        return last


class WindowProof(_SignalsProof):
    """Windows, saturation, contact."""

    name = "signals_windows"
    depth = IN_FORCE + 3
    cover_depth = 12
    properties = {
        "hard_window_trips": "Outside of a pulse, a sample beyond a hard limit has its verdict in the next cycle, whatever the soft limits are.",
        "soft_window_trips": "So does a sample beyond a soft limit, whatever the hard limits are.",
        "pulse_window_trips": "A sample beyond both the pulse's and the hard limit has its verdict in the next cycle, whatever the pulse does.",
        "long_pulse_is_judged": "In a pulse that has lasted for its greatest number of samples, a hard limit counts again.",
        "saturation_trips": "A sample at a rail, of either converter, has its verdict in the next cycle.",
        "short_is_the_sum": "The bit that a converter adds to the interlock's short path is any of its window and slew verdicts.",
        "contact_shows": "After a sample of the current at or above the contact's, of either sign, there is contact.",
    }
    covers = tuple(f"{name}_{side}".upper() for name in CHANNELS.values() for side in ("high", "low")) + ("SATURATED",)
    mutations = (
        Mutation("hard_window_trips", SIGNALS, "greater(sample.code, high_bound)", "greater(sample.code, high_bound + 1)", 24),
        Mutation("short_is_the_sum", SIGNALS, "short.eq(found.any())", "short.eq(found[:2].any())"),
        Mutation("hard_window_trips", SIGNALS, "tighter(bank.monitor_high, bank.soft_monitor_high, least=False)", "bank.soft_monitor_high"),
        Mutation("soft_window_trips", SIGNALS, "tighter(bank.current_low, bank.soft_current_low, least=True)", "tighter(bank.current_low, bank.soft_current_low, least=False)", 40),
        Mutation("pulse_window_trips", SIGNALS, "Mux(pulse_limits, bank.pulse_current_high,", "Mux(pulse_limits, CODE_MAX,", 40),
        Mutation("long_pulse_is_judged", SIGNALS, "pulse_limits.eq(pulse_samples < bank.pulse_samples_max)", "pulse_limits.eq(pulse_samples <= bank.pulse_samples_max)", 44),
        Mutation("saturation_trips", SIGNALS, "(code == CODE_MAX) | (code == CODE_MIN)", "code == CODE_MAX"),
        Mutation("saturation_trips", SIGNALS, "saturated.any()", "saturated[0]"),
        Mutation("contact_shows", SIGNALS, "(code >= level) | (code <= -level)", "code >= level"),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        bank = self.bank

        # Samples of this pulse, and whether their greatest number stayed what it is meanwhile.
        longest, valid = bank.pulse_samples_max, dut.samples[CURRENT].valid
        count, constant = Signal(25), Signal(init=1)
        changes = longest != self.past(longest)
        same = constant & ~changes
        m.d.sync += [
            count.eq(Mux(dut.pulse, Mux(valid & ~count.all(), count + 1, count), 0)),
            constant.eq(~dut.pulse | same),
        ]
        self.invariant(~same | (self.inside("signals.pulse_samples") == Mux(count < longest, count, longest)))
        outlasted = self.lasted(dut.pulse & same & (count >= longest), IN_FORCE)

        for channel, name in CHANNELS.items():
            sample = dut.samples[channel]
            for side in ("high", "low"):
                cause = Cause[f"{name}_{side}".upper()]

                def beyond(register: str, sample=sample, side=side) -> Value:
                    limit = getattr(bank, register)
                    return sample.valid & self.settled(limit) & ((sample.code > limit) if side == "high" else (sample.code < limit))

                hard, soft = beyond(f"{name}_{side}"), beyond(f"soft_{name}_{side}")
                if channel == CURRENT:
                    self.trips("pulse_window_trips", cause, hard & beyond(f"pulse_{name}_{side}"))
                    self.trips("long_pulse_is_judged", cause, hard & outlasted)
                    hard, soft = hard & self.pulse_off, soft & self.pulse_off
                self.trips("hard_window_trips", cause, hard)
                self.trips("soft_window_trips", cause, soft)
            at_rail = (sample.code == CODE_MAX) | (sample.code == CODE_MIN)
            self.trips("saturation_trips", Cause.SATURATED, sample.valid & at_rail)

        for channel in CHANNELS:
            self.holds("short_is_the_sum", self.ports.short[channel] == self.ports.verdict[3 * channel : 3 * channel + 3].any())
        code, level = dut.samples[CURRENT].code, bank.contact_current
        self.holds("contact_shows", ~self.past(valid & ((code >= level) | (-code >= level))) | dut.contact)


class SlewProof(_SignalsProof):
    """Changes from one sample to the next, of one converter."""

    depth = IN_FORCE + 2
    cover_depth = 20
    _statements = {
        "hard": "Outside of a pulse, a change beyond the hard limit has its verdict in the next cycle, whatever the soft limit is.",
        "soft": "So has a change beyond the soft limit, whatever the hard limit is.",
        "pulse": "A change beyond both the hard and the pulse's limit has its verdict in the next cycle, whatever the pulse does.",
    }

    def __init__(self, channel: int, kind: str) -> None:
        super().__init__()
        self._channel, self._kind = channel, kind
        self._signal = CHANNELS[channel]
        self.name = f"signals_slew_{self._signal}_{kind}"
        self.short = (channel, kind) == (CURRENT, "hard")
        self.covers = (f"{self._signal}_slew".upper(),) if kind == "hard" else ()
        self._property = f"{kind}_slew_trips"
        self.properties = {self._property: self._statements[kind]}
        changes = {
            "hard": (
                ("-BEYOND, last + slew_now)", "-BEYOND, last + change + slew_now)"),
                (f"tighter(bank.{self._signal}_slew, bank.soft_{self._signal}_slew, least=False)", f"bank.soft_{self._signal}_slew"),
            ),
            "soft": (
                ("fall_to.eq(last - slew_now)", "fall_to.eq(last - slew_now - 1)"),
                (f"tighter(bank.{self._signal}_slew, bank.soft_{self._signal}_slew, least=False)", f"bank.{self._signal}_slew"),
            ),
            "pulse": (("slew=Mux(pulse_limits, bank.pulse_current_slew,", "slew=Mux(pulse_limits, bank.pulse_current_slew | 1,"),),
        }
        self.mutations = tuple(Mutation(self._property, SIGNALS, old, new, 40) for old, new in changes[kind])

    def describe(self, m: Module) -> None:
        dut = self.block()
        name, sample, last = self._signal, dut.samples[self._channel], self.last(m, dut, self._channel)
        since = Signal(range(APART_SAMPLES + 1), init=APART_SAMPLES)  # cycles since the sample before
        m.d.sync += since.eq(Mux(sample.valid, 1, Mux(since == APART_SAMPLES, since, since + 1)))
        started = self.lasted(1, IN_FORCE)
        slew_now = self.inside(f"signals.{name}_slew")
        rise_to, fall_to = self.inside(f"signals.{name}_rise_to"), self.inside(f"signals.{name}_fall_to")
        # The bounds were made from the sample before and from the limit of some cycles ago.
        used = Signal(20)
        injected = self.ports.inject[SIGNAL_CAUSES.index(Cause[f"{name}_slew".upper()])]
        with m.If((self.inside("signals.beat") == 1) | injected):
            m.d.sync += used.eq(slew_now)
        rise = (rise_to == last + used) | (rise_to == -BEYOND)  # the latter where it was injected
        self.invariant(~started | (since < 5) | (rise & (fall_to == last - used)))

        hard, soft = getattr(self.bank, f"{name}_slew"), getattr(self.bank, f"soft_{name}_slew")
        normal = self.pulse_off if self._channel == CURRENT else Value.cast(1)
        match self._kind:
            case "hard":
                limit, counts = hard, normal
            case "soft":
                limit, counts = soft, normal
            case _:
                pulse = self.bank.pulse_current_slew
                limit, counts = Mux(hard > pulse, hard, pulse), self.settled(pulse) & self.settled(hard)
        # In steps that are easy for the solver: the limit that was used, the bounds, the sample.
        in_force = started & self.settled(limit) & counts
        highest, lowest = last + limit, last - limit
        self.invariant(~in_force | (used <= limit))
        self.invariant(~in_force | (since < 5) | ((rise_to <= highest) & (fall_to >= lowest)))
        beyond = (sample.code > highest) | (sample.code < lowest)
        judged = sample.valid & (since == APART_SAMPLES) & in_force
        self.trips(self._property, Cause[f"{name}_slew".upper()], judged & beyond)


class StuckProof(_SignalsProof):
    """Converters that repeat themselves."""

    name = "signals_stuck"
    depth = IN_FORCE + 2
    cover_depth = 16
    properties = {
        "stuck_trips": f"As many equal samples in a row as are set have their verdict {REPEATED + 1} cycles after the last of them, if they stand for so long.",
    }
    covers = ("STUCK",)
    mutations = (
        Mutation("stuck_trips", SIGNALS, "seen >= bank.stuck_samples", "seen > bank.stuck_samples", 40),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        for channel in CHANNELS:
            sample, last = dut.samples[channel], self.last(m, dut, channel)
            equal = Signal(24, name=f"equal_{channel}")  # samples in a row
            with m.If(sample.valid):
                m.d.sync += equal.eq(Mux((sample.code != last) | (equal == 0), 1, Mux(equal.all(), equal, equal + 1)))
            self.invariant(self.inside(f"signals.run_{channel}") == self.past(equal))
            is_stuck = (equal >= self.bank.stuck_samples) & self.enabled(Cause.STUCK)
            self.holds(
                "stuck_trips", ~(self.lasted(is_stuck, REPEATED) & self.settled(self.bank.stuck_samples)) | self.verdict(Cause.STUCK)
            )


class OscillationProof(_SignalsProof):
    """Apart from the rest, for the square in the energy is work for the solver."""

    name = "signals_oscillation"
    depth = IN_FORCE + 2
    cover_depth = 16
    properties = {"oscillation_trips": f"An energy that is above its limit for {RINGING} cycles has its verdict then."}
    covers = (Cause.OSCILLATION.name,)
    mutations = (
        Mutation("oscillation_trips", SIGNALS, "with m.If((beat == 0) | inject[Cause.OSCILLATION]):", "with m.If(((beat == 0) & self.pulse) | inject[Cause.OSCILLATION]):", 24),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        self.block()
        swings = (self.bank.oscillation > self.bank.oscillation_limit) & self.enabled(Cause.OSCILLATION)
        self.holds(
            "oscillation_trips",
            ~(self.lasted(swings, RINGING) & self.settled(self.bank.oscillation_limit)) | self.verdict(Cause.OSCILLATION),
        )


SLEWS = [SlewProof(CURRENT, kind) for kind in ("hard", "soft", "pulse")] + [SlewProof(MONITOR, kind) for kind in ("hard", "soft")]
PROOFS = [WindowProof(), *SLEWS, StuckProof(), OscillationProof()]
