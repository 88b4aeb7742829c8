"""The interlock: gathers every condition's verdict, decides, and tells the gate."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import interlock
from reflexarc.contract.blocks.interlock import (
    DOSE_CAUSES,
    ENVELOPE_CAUSES,
    GATE_CAUSES,
    MASKABLE,
    NO_CAUSE,
    OWN_CAUSES,
    SIGNAL_CAUSES,
    STRAPS_COMMISSIONED,
    Cause,
    InterlockCommand,
    InterlockState,
    Strap,
)
from reflexarc.contract.program import StopReason
from reflexarc_hw.blocks.interlock.lifecycle import CAUSES, Lifecycle
from reflexarc_hw.blocks.interlock.lines import Heartbeat, Lines
from reflexarc_hw.lib.bus import BankSignature, GuardSignature, attach_bank
from reflexarc_hw.lib.conditions import LATCH_CYCLES, ConditionSignature
from reflexarc_hw.lib.formats import TIME
from reflexarc_hw.lib.own_register import own_register

# What the gate does after a trip beside its floor (no approach, hold x and y, blank); from the cycle after the gate is safe.
REACTION = data.StructLayout({"retract": 1, "bias_ramp": 1, "bias_zero": 1, "trigger": 1, "retreat": 1})

# Who judges what, in the order of the bits; the rest is judged here.
JUDGES = {"signals": SIGNAL_CAUSES, "envelope": ENVELOPE_CAUSES, "dose": DOSE_CAUSES, "gate": GATE_CAUSES}
GUARDED = ("signals", "envelope", "dose", "gate")  # blocks with locked registers, beside this one

# What has no cycle to lose from its verdict to the gate: the raw samples' two cycles, z, which the gate drives in the cycle after, and the
# external lines. The rest is gathered in one more: the gate holds x, y and the bias back for as long.
SHORT = sum(1 << cause for cause in (*SIGNAL_CAUSES[:6], Cause.Z_HIGH, Cause.Z_LOW, Cause.Z_VELOCITY, Cause.ESTOP, Cause.READY, Cause.GAIN))
SHORT_BITS = {"signals": 2, "envelope": 1}

ALWAYS = sum(1 << cause for cause in Cause if cause not in MASKABLE)


def present(straps: Strap) -> int:
    """Mask of the conditions that a platform has the means for."""
    absent: set[Cause] = set()
    if Strap.MONITOR not in straps:
        absent |= {Cause.MONITOR_HIGH, Cause.MONITOR_LOW, Cause.MONITOR_SLEW}
    if Strap.READBACK not in straps:
        absent |= {Cause.READBACK}
    return sum(1 << cause for cause in Cause if cause not in absent)


class Interlock(wiring.Component):
    """Verdicts in, ``safe`` out.

    Cycle 0: a sample is valid. Cycle 1: its verdict stands in a register; ``safe`` is high. Cycle 2: the gate's outputs are safe. So for what
    is in SHORT; other verdicts are gathered for one cycle more.
    Nothing but armed-and-no-verdict makes ``safe`` low, so reset, an unconfigured core and a lost configuration are safe. ``live`` is
    its opposite, registered: for the blocks that ask the gate, which need not know in the same cycle. ``live_beside`` is the same again.
    """

    def __init__(self, cycles_per_sample: int, straps: Strap) -> None:
        self._cycles_per_sample = cycles_per_sample
        self._straps = straps
        super().__init__(
            {
                "bus": In(BankSignature()),
                **{f"{name}_conditions": Out(ConditionSignature(len(JUDGES[name]), SHORT_BITS.get(name, 0))) for name in JUDGES},
                **{f"{name}_guard": Out(GuardSignature()) for name in GUARDED},
                "sample_lost": In(1),
                "tick": In(1),
                "contact": In(1),
                "position_overflow": In(1),
                "underflow": In(1),  # a scan's list ran dry
                "program_fault": In(1),  # a program could not do what it was to do in time
                "program_reason": In(StopReason),
                "event": In(1),
                "event_class": In(8),
                "estop_closed": In(1),  # asynchronous, as are ready and gain
                "ready": In(2),
                "gain": In(4),
                "time": In(TIME),
                "safe": Out(1, init=1),
                "live": Out(1),
                "live_beside": Out(1),
                "state": Out(InterlockState),
                "reaction": Out(REACTION, init={"retract": int(Strap.TIP in straps)}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, interlock.BLOCK, guards_itself=True)
        m.submodules.lines = lines = Lines(self._cycles_per_sample)
        m.submodules.lifecycle = lifecycle = Lifecycle()
        m.submodules.heartbeat = heartbeat = Heartbeat()
        m.submodules.cpu_heartbeat = cpu_heartbeat = Heartbeat()
        m.d.comb += [
            lines.estop_closed.eq(self.estop_closed),
            lines.ready.eq(self.ready),
            lines.gain.eq(self.gain),
            lines.tick.eq(self.tick),
        ]

        enable = Signal(CAUSES)
        inject = lifecycle.inject
        m.d.comb += enable.eq((bank.enable | ALWAYS) & present(self._straps))

        # Parity of all locked registers, once a sample.
        guards = [bank.guard, *(getattr(self, f"{name}_guard") for name in GUARDED)]
        check, spoil = Signal(), Signal()
        m.d.sync += [check.eq(self.tick | inject[Cause.PARITY]), spoil.eq(inject[Cause.PARITY])]
        for guard in guards:
            m.d.comb += [guard.lock.eq(lifecycle.locked), guard.check.eq(check), guard.inject.eq(spoil)]

        # Verdicts that are made here: registers.
        for cause, heart, beat, timeout in (
            (Cause.HEARTBEAT, heartbeat, bank.heartbeat_strobe, bank.heartbeat_timeout),
            (Cause.CPU_HEARTBEAT, cpu_heartbeat, bank.cpu_heartbeat_strobe, bank.cpu_heartbeat_timeout),
        ):
            m.d.comb += [heart.beat.eq(beat), heart.timeout.eq(timeout), heart.inject.eq(inject[cause])]
        errors = Cat(guard.error for guard in guards)
        trip_commanded = bank.command_strobe & (bank.command == InterlockCommand.TRIP)
        event = self.event & (self.event_class == bank.event_class)
        not_ready = (~lines.ready_seen | inject[Cause.READY].replicate(2)) & bank.ready_required
        violated = {
            Cause.SAMPLE_LOST: self.sample_lost | lines.clock_lost,
            Cause.HEARTBEAT: heartbeat.old,
            Cause.CPU_HEARTBEAT: cpu_heartbeat.old,
            Cause.ESTOP: ~lines.estop_seen,
            Cause.READY: not_ready.any(),
            Cause.GAIN: lines.gain_seen != bank.gain_expected,
            Cause.POSITION_OVERFLOW: self.position_overflow,
            Cause.UNDERFLOW: self.underflow,
            # With injection each bank's comparison must fail.
            Cause.PARITY: Mux(inject[Cause.PARITY], errors.all(), errors.any()),
            Cause.EVENT: event,
            Cause.HOST: trip_commanded | self.program_fault,
        }
        # Where a comparison stands before, the injection is made before it.
        before = {Cause.HEARTBEAT, Cause.CPU_HEARTBEAT, Cause.READY, Cause.PARITY}
        first = OWN_CAUSES[0]
        forced = inject[first:] & sum(1 << (cause - first) for cause in OWN_CAUSES if cause not in before)
        own = Signal(len(OWN_CAUSES), init=1 << (Cause.ESTOP - first))
        own_now = (Cat(violated[cause] for cause in OWN_CAUSES) | forced) & enable[first:]
        m.d.sync += own.eq(own_now)

        verdicts = []
        for name, causes in JUDGES.items():
            port = getattr(self, f"{name}_conditions")
            span = slice(causes[0], causes[-1] + 1)
            m.d.comb += [
                port.enable.eq(enable[span]),
                port.inject.eq(inject[span]),
                port.latch.eq(lifecycle.latch),
                port.cause.eq(lifecycle.first_cause),
            ]
            verdicts.append(port.verdict)
        # The short path is four bits: the converters', that of z, and the sum of all others, which are gathered in one register more.
        given, gathered, verdict = Signal(CAUSES), Signal(CAUSES), Signal(CAUSES)
        others = Signal(init=1)  # a line says so, or any verdict that is gathered
        lines_now = Cat(own_now[cause - first] for cause in OWN_CAUSES if SHORT >> cause & 1)
        m.d.sync += [gathered.eq(given & ~SHORT), others.eq((given & ~SHORT).any() | lines_now.any())]
        short = Cat(getattr(self, f"{name}_conditions").short for name in SHORT_BITS)
        m.d.comb += [
            given.eq(Cat(*verdicts, own)),
            verdict.eq((given & SHORT) | gathered),
            lifecycle.verdict.eq(verdict),
            lifecycle.violated.eq(short.any() | others),
            lifecycle.tested.eq(enable),
            lifecycle.commissioned.eq((bank.commissioned[:3] == int(self._straps & STRAPS_COMMISSIONED)) & (bank.commissioned[3:] != 0)),
            lifecycle.flags_set.eq(bank.trip_flags.any()),
            lifecycle.command.eq(bank.command),
            lifecycle.command_valid.eq(bank.command_strobe),
            lifecycle.tick.eq(check),
            self.safe.eq(lifecycle.safe),
            self.state.eq(lifecycle.state),
        ]
        m.d.sync += self.live.eq(~lifecycle.safe)
        m.d.comb += self.live_beside.eq(own_register(m, ~lifecycle.safe, "live_beside"))

        # What was measured against what: kept by the judge in the cycle of ``latch``, here two cycles later.
        gather = Signal(2)
        trip_time = Signal(TIME)
        trip_value, trip_limit = Signal(32), Signal(32)
        m.d.sync += gather.eq(Cat(lifecycle.latch, gather))
        ports = [getattr(self, f"{name}_conditions") for name in JUDGES]
        # The lines as the verdict that is being recorded saw them.
        seen = Cat(lines.ready_seen, lines.gain_seen)
        seen_then: Value = seen
        for stage in range(LATCH_CYCLES + 1):
            late = Signal(len(seen), name=f"seen_{stage + 1}")
            m.d.sync += late.eq(seen_then)
            seen_then = late
        with m.If(lifecycle.caught):
            m.d.sync += trip_time.eq(self.time)
        with m.If(lifecycle.latch):
            m.d.sync += [trip_value.eq(0), trip_limit.eq(0)]
            with m.Switch(lifecycle.first_cause):
                for cause, value, limit in (
                    (Cause.HEARTBEAT, heartbeat.age_when_old, bank.heartbeat_timeout),
                    (Cause.CPU_HEARTBEAT, cpu_heartbeat.age_when_old, bank.cpu_heartbeat_timeout),
                    (Cause.READY, seen_then[:2], bank.ready_required),
                    (Cause.GAIN, seen_then[2:], bank.gain_expected),
                    (Cause.EVENT, bank.event_class, bank.event_class),
                    (Cause.HOST, self.program_reason, Const(0)),
                ):
                    with m.Case(cause):
                        m.d.sync += [trip_value.eq(value), trip_limit.eq(limit)]
        with m.If(gather[1]):
            value, limit = trip_value, trip_limit
            for port in ports:
                value, limit = value | port.value, limit | port.limit
            m.d.sync += [trip_value.eq(value), trip_limit.eq(limit)]

        # Reactions follow every cause since the trip. With a tip each trip and each disarmed cycle withdraws.
        tripped = lifecycle.state == InterlockState.TRIPPED
        causes = lifecycle.causes
        touching = Signal()  # contact at the trip
        was_tripped = Signal()
        with m.If(lifecycle.caught):
            m.d.sync += touching.eq(self.contact)
        with m.Elif(~tripped):
            m.d.sync += touching.eq(0)
        tip = Const(1) if Strap.TIP in self._straps else Const(0)
        motor = Const(1) if Strap.MOTOR in self._straps else Const(0)
        m.d.sync += was_tripped.eq(tripped)
        with m.If(tripped | was_tripped):
            m.d.sync += [
                self.reaction.retract.eq((tripped & (causes & bank.react_retract).any()) | tip),
                self.reaction.bias_ramp.eq(tripped & (causes & (bank.react_bias_ramp | bank.react_bias_contact)).any()),
                self.reaction.bias_zero.eq(tripped & (causes & bank.react_bias_contact).any() & touching),
                self.reaction.trigger.eq(tripped & (causes & bank.react_trigger).any()),
                self.reaction.retreat.eq(tripped & (causes & bank.react_retreat).any() & motor),
            ]

        m.d.comb += [
            bank.trip_flags_set.eq(Mux(lifecycle.armed | lifecycle.caught | tripped, verdict, 0)),
            bank.state.eq(lifecycle.state),
            bank.live.eq(verdict),
            bank.first_cause.eq(lifecycle.first_cause),
            bank.trip_time.eq(trip_time),
            bank.trip_value.eq(trip_value),
            bank.trip_limit.eq(trip_limit),
            bank.trips.eq(lifecycle.trips),
            bank.present.eq(present(self._straps)),
            bank.straps.eq(int(self._straps)),
            bank.arming_result.eq(lifecycle.result),
            bank.arming_cause.eq(lifecycle.result_cause),
            bank.estop_closed.eq(lines.estop_seen),
            bank.ready.eq(lines.ready_seen),
            bank.gain.eq(lines.gain_seen),
        ]
        assert NO_CAUSE >= CAUSES
        return m
