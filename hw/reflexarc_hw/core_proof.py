"""Proofs of the whole: the blocks are joined by the core's own wiring, and what is not named in a proof is a block whose outputs are free.

| assumption | why it is harmless |
|---|---|
| `accesses_are_apart` | what the bus's arbiter does: `fabric` |
| `short_is_the_sum` (of judges that are free) | as in the interlock's: proved in `signals_windows`, `envelope_z` |
| in `core_trip` only interlock, signals and gate are real; in `core_box` interlock, envelope and gate; in `core_locks` all with locked registers | scan, feedback, reaction, sequencer, events, the rest and the bus may do anything in any cycle: that is more than the real ones can |
| `samples_are_apart` (`core_trip`); outside of a pulse: its end 12 or more cycles ago, said in the properties | as in `signals` |
| the board is the one with all straps, 16 cycles a sample | another board has fewer conditions and the same wires |
"""

import functools

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.envelope import KEEP_OUT_EDGES, keep_out
from reflexarc.contract.blocks.interlock import ENVELOPE_CAUSES, Cause, InterlockCommand, InterlockState, Strap
from reflexarc.contract.blocks.signals import CURRENT, MONITOR
from reflexarc.contract.program import Request
from reflexarc.contract.registers import Access
from reflexarc_hw import core
from reflexarc_hw.blocks.gate.proof import know_gate
from reflexarc_hw.blocks.interlock.interlock import JUDGES, SHORT_BITS
from reflexarc_hw.blocks.interlock.lifecycle import CAUSES
from reflexarc_hw.blocks.interlock.proof import LIFECYCLE, SHORT_SUM, gathered_late, know_lifecycle, short_is_the_sum
from reflexarc_hw.blocks.signals.proof import APART_SAMPLES, IN_FORCE, SAMPLES_APART, samples_are_apart
from reflexarc_hw.blocks.signals.signals import BEYOND
from reflexarc_hw.formal import Mutation, Proof, parts_are_free
from reflexarc_hw.lib.bus import BANK_CYCLES
from reflexarc_hw.lib.bus_proof import APART, accesses_are_apart
from reflexarc_hw.lib.conditions import GATHER_CYCLES
from reflexarc_hw.lib.formats import CODE
from reflexarc_hw.platforms.board import FULL, Board
from reflexarc_hw.platforms.timing import COMPRESSED

CORE = "core.py"

LONGEST_SKIP = 28  # the last condition with which the self-test may begin for that


def _begin_with(cause: int) -> tuple[tuple[str, str, str], ...]:
    """A self-test of the last conditions only, so that traces are short, but not so short that limits are not in force when it ends."""
    return ((LIFECYCLE, "turn.eq(1), cause.eq(0)", f"turn.eq({1 << cause}), cause.eq({cause})"),)


QUICK, FROM_READBACK = _begin_with(LONGEST_SKIP), _begin_with(Cause.READBACK)
PARTS = ("System", "Scan", "Feedback", "Interlock", "Signals", "Envelope", "Dose", "Gate", "Capture", "Events", "Reaction", "Recorder", "Trajectory", "Sync", "Lift", "Sequencer", "Detector", "Correlator", "Fabric")  # fmt: skip
LOCKED_FOR = 16  # cycles, after which every limit is in force


class _CoreProof(Proof):
    assumptions = (APART,)
    real: tuple[str, ...] = ()

    def block(self, board: Board = FULL) -> core.Core:
        with parts_are_free(core, *(name for name in PARTS if name not in self.real)):
            dut = self.add("core", core.Core(COMPRESSED, board))
        for index, block in enumerate(REGISTER_MAP):
            if block.name.capitalize() in self.real:
                accesses_are_apart(self, getattr(self.part("core.fabric"), f"bank_{index}"))
        self.interlock, self.gate = self.part("core.interlock"), self.part("core.gate")
        self.system, self.reaction = self.part("core.system"), self.part("core.reaction")
        self.live = ~self.interlock.safe
        for name in SHORT_BITS:
            if SHORT_SUM in self.assumptions:
                say = self.invariant if name.capitalize() in self.real else functools.partial(self.assume, SHORT_SUM)
                say(short_is_the_sum(self.interlock, name))
        return dut

    def limits_are_in_force(self, m: Module) -> None:
        """For how long the registers have been locked: long enough when live."""
        lifecycle = self.part("core.interlock.lifecycle")
        self.locked_for = Signal(range(LOCKED_FOR + 1))
        locked = lifecycle.locked
        m.d.sync += self.locked_for.eq(Mux(locked, Mux(self.locked_for == LOCKED_FOR, LOCKED_FOR, self.locked_for + 1), 0))
        ended = know_lifecycle(self, "core.interlock.lifecycle")
        fresh = self.inside("core.interlock.lifecycle.fresh")
        long = self.locked_for == LOCKED_FOR
        self.invariant(self.locked_for <= LOCKED_FOR)
        self.invariant(~(self.interlock.state == InterlockState.ARMED) | long)
        # Each part of the self-test takes two cycles or more, from the part with which it began.
        began, arming = Signal(range(2 * CAUSES + 1)), self.interlock.state == InterlockState.ARMING
        with m.If(self.locked_for == 0):
            m.d.sync += began.eq(ended)
        first = Mux(self.locked_for == 0, ended, began)
        self.invariant(~arming | ((first <= 2 * LONGEST_SKIP) & (first <= ended)))
        self.invariant(~arming | long | (self.locked_for >= 2 * (ended - first) + ~fresh))

    def outputs_are_safe(self, dut: core.Core) -> Value:
        """Compared with the cycle before: held, not approaching, blanked, without a pulse, nothing asked of other instruments."""
        held = (dut.dac.x == self.past(dut.dac.x)) & (dut.dac.y == self.past(dut.dac.y))
        asked = dut.approach_step | dut.lines.pixel | dut.lines.line | dut.lines.frame
        quiet = ~asked & (dut.lines.external == self.past(dut.lines.external))
        return held & (dut.dac.z >= self.past(dut.dac.z)) & dut.blank & ~self.gate.pulse_driven & quiet


class TripProof(_CoreProof):
    """From a sample to the pins."""

    name = "core_trip"
    assumptions = (APART, SAMPLES_APART, SHORT_SUM)
    depth = IN_FORCE + 2
    real = ("Interlock", "Signals", "Gate")
    properties = {
        "window_to_pins": "While live and outside of a pulse, a sample beyond a hard window has safe outputs 2 cycles later: held, blanked, not approaching.",
        "slew_to_pins": "So has a change beyond a hard limit of the slew, where it is enabled.",
        "verdict_to_pins": f"Any verdict of any judge has safe outputs in the next cycle, if not of the short path {GATHER_CYCLES} later, with a frame of the first safe codes.",
        "safe_until_armed": "From there on outputs stay safe until ACK and then ARM were written, whatever all others do.",
        "no_injection_while_driven": "While any judge or bank is told to inject, outputs are safe.",
        "nothing_beside_the_gate": "Codes, blanker, trigger, the motor both ways and the lines at the pins are the gate's.",
    }
    mutations = (
        Mutation("window_to_pins", CORE, "gate.safe.eq(interlock.safe)", "gate.safe.eq(~interlock.live)", 56, shorter=QUICK, inductive=True),
        Mutation("window_to_pins", CORE, "signals.samples.eq(system.judged)", "signals.samples.eq(self.adc)", 56, shorter=QUICK, inductive=True),
        Mutation("slew_to_pins", CORE, "gate.safe.eq(interlock.safe)", "gate.safe.eq(~interlock.live)", 60, shorter=QUICK, inductive=True),
        Mutation("verdict_to_pins", CORE, "for name in JUDGES:", "for name in list(JUDGES)[1:]:", 56, shorter=QUICK, inductive=True),
        Mutation("safe_until_armed", CORE, "gate.safe.eq(interlock.safe)", "gate.safe.eq(interlock.safe & ~scan.overflow)", 20),
        Mutation("no_injection_while_driven", CORE, "gate.safe.eq(interlock.safe)", "gate.safe.eq(interlock.safe & ~interlock.gate_conditions.inject[0])", 32, shorter=FROM_READBACK, inductive=True),
        Mutation("nothing_beside_the_gate", CORE, "self.dac.eq(gate.dac)", "self.dac.eq(self.readback.dac)"),
        Mutation("nothing_beside_the_gate", CORE, "self.approach_step.eq(gate.approach_step)", "self.approach_step.eq(gate.approach_step | scan.starved)"),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        samples_are_apart(self, self.system.judged)
        self.limits_are_in_force(m)
        signals, bank = self.part("core.signals"), self.part("core.signals.bank")
        safe_now = self.outputs_are_safe(dut)

        starting = ~self.lasted(1, 5)
        pulse = self.reaction.hold | (self.part("core.sequencer").requests & int(Request.PULSE_LIMITS)).any()
        pulse_off = self.lasted(~pulse, IN_FORCE) & ~pulse
        for channel, name in ((CURRENT, "current"), (MONITOR, "monitor")):
            sample = self.system.judged[channel]
            self.invariant(signals.conditions.short[channel] == signals.conditions.verdict[3 * channel : 3 * channel + 3].any())
            high, low = getattr(bank, f"{name}_high"), getattr(bank, f"{name}_low")
            in_force = (self.locked_for >= IN_FORCE) & (pulse_off if channel == CURRENT else 1)
            self.invariant(
                ~in_force | ((self.inside(f"core.signals.{name}_high") <= high) & (self.inside(f"core.signals.{name}_low") >= low))
            )
            beyond = sample.valid & ((sample.code > high) | (sample.code < low)) & self.live & (pulse_off if channel == CURRENT else 1)
            enabled = signals.conditions.enable[3 * channel : 3 * channel + 3]
            self.holds("window_to_pins", ~self.past(beyond & enabled[:2].all(), 2) | safe_now)

            # As in the proof of the slew: the sample before, the limit that was used, the bounds, the sample.
            last, since = Signal(CODE, name=f"last_{name}"), Signal(range(APART_SAMPLES + 1), init=APART_SAMPLES, name=f"since_{name}")
            m.d.sync += since.eq(Mux(sample.valid, 1, Mux(since == APART_SAMPLES, since, since + 1)))
            with m.If(sample.valid):
                m.d.sync += last.eq(sample.code)
            self.invariant(self.inside(f"core.signals.{name}_last") == last)
            used = Signal(20, name=f"used_{name}")
            with m.If((self.inside("core.signals.beat") == 1) | signals.conditions.inject[3 * channel + 2]):
                m.d.sync += used.eq(self.inside(f"core.signals.{name}_slew"))
            rise_to, fall_to = self.inside(f"core.signals.{name}_rise_to"), self.inside(f"core.signals.{name}_fall_to")
            rise = (rise_to == last + used) | (rise_to == -BEYOND)  # the latter where it was injected
            self.invariant(starting | (since < 5) | (rise & (fall_to == last - used)))
            limit = getattr(bank, f"{name}_slew")
            in_force = ~starting & (self.locked_for >= IN_FORCE) & (pulse_off if channel == CURRENT else 1)
            highest, lowest = last + limit, last - limit
            self.invariant(~in_force | (used <= limit))
            self.invariant(~in_force | (since < 5) | ((rise_to <= highest) & (fall_to >= lowest)))
            beyond = (sample.code > highest) | (sample.code < lowest)
            judged = sample.valid & (since == APART_SAMPLES) & in_force & self.live & enabled[2]
            self.holds("slew_to_pins", ~self.past(judged & beyond, 2) | safe_now)

        was_safe = self.past(self.interlock.safe, init=1)
        judges = [self.part(f"core.{name}").conditions for name in JUDGES]
        verdict = Value.cast(0)
        for judge, causes in zip(judges, JUDGES.values(), strict=True):
            for index, cause in enumerate(causes):
                verdict |= self.past(judge.verdict[index], 1 + gathered_late(cause))
        first = was_safe & ~self.past(self.interlock.safe, 2, init=1)
        self.holds("verdict_to_pins", ~verdict | (safe_now & (~first | dut.dac_load)))

        command = self.part("core.interlock.bank")
        commanded = {each: command.command_strobe & (command.command == each) for each in InterlockCommand}
        lifecycle = self.part("core.interlock.lifecycle")
        trips = lifecycle.armed & lifecycle.violated
        needs_ack, needs_arm = Signal(), Signal(init=1)
        with m.If(trips):
            m.d.sync += [needs_ack.eq(1), needs_arm.eq(1)]
        with m.Elif(lifecycle.armed & commanded[InterlockCommand.DISARM]):
            m.d.sync += needs_arm.eq(1)
        with m.Elif(commanded[InterlockCommand.ACK]):
            m.d.sync += needs_ack.eq(0)
        with m.Elif(commanded[InterlockCommand.ARM] & ~needs_ack):
            m.d.sync += needs_arm.eq(0)
        tripped, disarmed = self.interlock.state == InterlockState.TRIPPED, self.interlock.state == InterlockState.DISARMED
        tripped |= lifecycle.caught
        self.invariant((~needs_ack | tripped) & (~needs_arm | tripped | disarmed))
        waits = needs_ack | needs_arm
        self.holds("safe_until_armed", ~self.past(waits) | safe_now)

        injected = Cat(judge.inject for judge in judges).any()
        guards = [self.part(f"core.{name}").guard for name in core.GUARDED]
        injected |= Cat(guard.inject for guard in guards).any()
        self.holds("no_injection_while_driven", ~injected | (safe_now & self.interlock.safe))

        gate = self.gate
        same = (dut.dac.as_value() == gate.dac.as_value()) & (dut.blank == gate.blank) & (dut.trigger == gate.trigger)
        same &= (dut.motor_step == gate.motor_step) & (dut.approach_step == gate.approach_step)
        self.holds("nothing_beside_the_gate", same & (dut.lines.as_value() == gate.lines.as_value()) & (dut.dac_load == gate.dac_load))

        know_gate(self, "core.gate")


class BoxProof(_CoreProof):
    """What is judged is what is driven."""

    name = "core_box"
    assumptions = (APART, SHORT_SUM)
    depth = 10
    real = ("Interlock", "Envelope", "Gate")
    properties = {
        "z_stays_in_the_box": "While live, no z code beyond a hard limit is ever driven.",
        "xy_stay_in_the_box": "While live, no x or y code beyond a hard limit is ever driven.",
        "keep_out_is_kept": "While live, no position within an enabled keep-out is ever driven (the first one here; each one is judged: `envelope_keep_out_n`).",
        "bias_keeps_its_least": "While live with feedback on, no bias of a magnitude below the hard least is ever driven, where that is enabled.",
    }
    mutations = (
        Mutation("z_stays_in_the_box", CORE, "envelope.z.eq(feedback.request)", "envelope.z.eq(gate.z_driven)", 56, shorter=QUICK, inductive=True),
        Mutation("z_stays_in_the_box", "blocks/gate/gate.py", "requested_z = Cat(Const(0, POSITION_FRACTION_BITS), request.z).as_signed()", "requested_z = self.z", 56, shorter=QUICK, inductive=True),
        Mutation("xy_stay_in_the_box", CORE, "envelope.y.eq(sequencer.y)", "envelope.y.eq(sequencer.x)", 56, shorter=QUICK, inductive=True),
        Mutation("xy_stay_in_the_box", "blocks/gate/gate.py", "for stage in range(XY_CYCLES + GATHER_CYCLES - 1)", "for stage in range(XY_CYCLES + GATHER_CYCLES - 2)", 56, shorter=QUICK, inductive=True),
        Mutation("keep_out_is_kept", CORE, "gate.x.eq(sequencer.x)", "gate.x.eq(sequencer.y)", 56, shorter=QUICK, inductive=True),
        Mutation("bias_keeps_its_least", CORE, "envelope.bias.eq(gate.bias_requested)", "envelope.bias.eq(gate.dac.bias)", 56, shorter=QUICK, inductive=True),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        self.limits_are_in_force(m)
        envelope, bank = self.part("core.envelope"), self.part("core.envelope.bank")
        enable = dict(zip(ENVELOPE_CAUSES, envelope.conditions.enable, strict=True))
        follows = self.past(self.live)  # these codes are requests
        locked = self.locked_for

        half = {side: self.inside(f"core.envelope.z_{side}_half") for side in ("high", "low")}
        used = (half["high"] <= (bank.z_high << 1) + 1) & (half["low"] >= (bank.z_low << 1) - 1)
        self.invariant((locked < 6) | used)
        self.holds("z_stays_in_the_box", ~follows | ((dut.dac.z <= bank.z_high) & (dut.dac.z >= bank.z_low)))

        outside = self.inside("core.envelope.outside")
        sides = [(axis, side) for axis in "xy" for side in ("high", "low")]
        for index, (axis, side) in enumerate(sides):
            limit = getattr(bank, f"{axis}_{side}")
            in_force = self.inside(f"core.envelope.{axis}_{side}")
            compared = self.past(self.inside(f"core.envelope.{axis}"))
            self.invariant((locked < 5) | ((in_force <= limit) if side == "high" else (in_force >= limit)))
            beyond = (compared > limit) if side == "high" else (compared < limit)
            self.invariant(~(beyond & (locked == LOCKED_FOR)) | outside[index])
            code = dut.dac[axis]
            self.holds("xy_stay_in_the_box", ~follows | ((code <= limit) if side == "high" else (code >= limit)))

        x_low, x_high, y_low, y_high = (getattr(bank, keep_out(0, edge)) for edge in KEEP_OUT_EDGES)

        def within(x: Value, y: Value) -> Value:
            return (x >= x_low) & (x <= x_high) & (y >= y_low) & (y <= y_high)

        compared = [self.past(self.inside(f"core.envelope.{axis}")) for axis in "xy"]
        self.invariant((locked < 6) | ~within(*compared) | (self.inside("core.envelope.beyond_0") == 0))
        counts = follows & bank.keep_out_enable[0] & enable[Cause.KEEP_OUT]
        self.holds("keep_out_is_kept", ~counts | ~within(dut.dac.x, dut.dac.y))

        least = bank.bias_min
        self.invariant((locked < 5) | (self.inside("core.envelope.bias_min") >= least))
        counts = follows & self.past(self.part("core.feedback").engaged, GATHER_CYCLES + 2) & enable[Cause.BIAS_LOW]
        small = (dut.dac.bias < least) & (dut.dac.bias > -least)
        self.holds("bias_keeps_its_least", ~counts | ~small)


class LocksProof(_CoreProof):
    """Every locked register of the whole."""

    name = "core_locks"
    depth = BANK_CYCLES + 4
    real = ("Interlock", "Signals", "Envelope", "Dose", "Gate")
    properties = {"locked_registers_hold_while_live": "While live, not one locked register of any block changes, whatever is written."}
    mutations = (
        Mutation("locked_registers_hold_while_live", CORE, "for name in GUARDED:", "for name in GUARDED[1:]:", 56, shorter=QUICK, inductive=True),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        self.block()
        know_lifecycle(self, "core.interlock.lifecycle")
        was_live = self.past(self.live)
        for block in REGISTER_MAP:
            for register in block.registers:
                if register.locked and register.access is Access.RW:
                    value = Value.cast(getattr(self.part(f"core.{block.name}.bank"), register.name))
                    self.holds("locked_registers_hold_while_live", ~was_live | (value == self.past(value, init=register.reset)))


class WiresProof(_CoreProof):
    """What joins the blocks, all of which are free here, and the senses of the pins. One board with every strap, one with none."""

    short = True
    depth = 4
    assumptions = ()

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board
        self.name = f"core_wires_{board.name}"
        self.properties = {
            "judges_see_what_is_converted": "The judges of samples and of the dose see every sample of both converters, in the same cycle.",
            "judges_see_what_is_asked": "The envelope sees the very requests that the gate will drive.",
            "dose_sees_what_is_driven": "The dose is counted from the blanker, the positions and the pulses that the gate drives.",
            "lines_reach_the_interlock": "E-stop in its sense, ready lines, gain, lost samples, overflow, underflow (also a starved list, a late line and a missing evaluation), events and a program's fault reach the interlock.",
            "all_know_what_is_live": "Scan, both controllers, lift, envelope and sequencer see the interlock's `live`, the reaction its `live_beside`.",
            "pins_have_their_senses": "z and the blanker at the pins are the gate's in the straps' senses; nothing else is between.",
        }
        self.mutations = (
            Mutation("judges_see_what_is_converted", CORE, "signals.samples.eq(system.judged)", "signals.samples.eq(self.adc)"),
            Mutation("judges_see_what_is_converted", CORE, "dose.samples.eq(system.samples)", "dose.samples.eq(self.adc)"),
            Mutation("judges_see_what_is_asked", CORE, "envelope.z.eq(feedback.request)", "envelope.z.eq(gate.z_driven)"),
            Mutation("judges_see_what_is_asked", CORE, "gate.x.eq(sequencer.x)", "gate.x.eq(sequencer.y)"),
            Mutation("dose_sees_what_is_driven", CORE, "dose.blank.eq(gate.blank)", "dose.blank.eq(~scan.beam)"),
            Mutation("dose_sees_what_is_driven", CORE, "dose.dac.eq(gate.dac)", "dose.dac.eq(self.readback.dac)"),
            Mutation("lines_reach_the_interlock", CORE, "self.estop if Strap.ESTOP_NORMALLY_CLOSED in straps else ~self.estop", "self.estop if Strap.TIP not in straps else ~self.estop"),
            Mutation("lines_reach_the_interlock", CORE, "interlock.gain.eq(self.gain)", "interlock.gain.eq(self.gain | 1)"),
            Mutation("lines_reach_the_interlock", CORE, "interlock.position_overflow.eq(scan.overflow | sequencer.overflow)", "interlock.position_overflow.eq(sequencer.overflow)"),
            Mutation("judges_see_what_is_asked", CORE, "gate.controlled_bias.eq(bias_feedback.output)", "gate.controlled_bias.eq(feedback.output)"),
            Mutation("lines_reach_the_interlock", CORE, "self.underflow | scan.starved | sync.late", "self.underflow | scan.starved"),
            Mutation("lines_reach_the_interlock", CORE, "sync.late | detector.underflow", "sync.late"),
            Mutation("lines_reach_the_interlock", CORE, "interlock.program_fault.eq(sequencer.fault)", "interlock.program_fault.eq(0)"),
            Mutation("all_know_what_is_live", CORE, "sequencer.live.eq(live)", "sequencer.live.eq(1)"),
            Mutation("all_know_what_is_live", CORE, "  feedback.live.eq(live)", "  feedback.live.eq(1)"),
            Mutation("all_know_what_is_live", CORE, "lift.live.eq(live)", "lift.live.eq(1)"),
            Mutation("all_know_what_is_live", CORE, "reaction.live.eq(interlock.live_beside)", "reaction.live.eq(1)"),
            Mutation("pins_have_their_senses", CORE, "gate.blank if Strap.BLANK_ACTIVE_HIGH in straps else ~gate.blank", "~gate.blank if Strap.BLANK_ACTIVE_HIGH in straps else gate.blank"),
            Mutation("pins_have_their_senses", CORE, "self.dac.z.eq(gate.dac.z ^ mirror)", "self.dac.z.eq(gate.dac.z ^ ~mirror)"),
        )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block(self._board)
        system, scan, sync, lift, feedback, bias_feedback, reaction, sequencer, detector = (
            self.part(f"core.{name}")
            for name in ("system", "scan", "sync", "lift", "feedback", "bias_feedback", "reaction", "sequencer", "detector")
        )
        signals, envelope, dose, gate, interlock = (
            self.part(f"core.{name}") for name in ("signals", "envelope", "dose", "gate", "interlock")
        )
        straps = self._board.straps

        def same(name: str, *pairs: tuple[Value, Value]) -> None:
            for one, other in pairs:
                self.holds(name, Value.cast(one) == Value.cast(other))

        same("judges_see_what_is_converted", (signals.samples, system.judged), (dose.samples, system.samples))
        asked = ((envelope.x, gate.x), (envelope.y, gate.y), (envelope.z, gate.z), (envelope.bias, gate.bias_requested))
        same(
            "judges_see_what_is_asked",
            *asked,
            (gate.x, sequencer.x),
            (gate.y, sequencer.y),
            (gate.z, feedback.request),
            (gate.controlled_bias, bias_feedback.output),
            (gate.bias_controlled, bias_feedback.used),
            (envelope.engaged, feedback.engaged),
        )
        same("dose_sees_what_is_driven", (dose.blank, gate.blank), (dose.dac, gate.dac), (dose.pulse, gate.pulse_driven))
        estop = dut.estop if Strap.ESTOP_NORMALLY_CLOSED in straps else ~dut.estop
        same("lines_reach_the_interlock", (interlock.estop_closed, estop), (interlock.ready, dut.ready), (interlock.gain, dut.gain))
        same("lines_reach_the_interlock", (interlock.sample_lost, system.sample_lost), (interlock.tick, system.tick))
        underflow = dut.underflow | scan.starved | sync.late | detector.underflow
        same(
            "lines_reach_the_interlock", (interlock.position_overflow, scan.overflow | sequencer.overflow), (interlock.underflow, underflow)
        )
        same("lines_reach_the_interlock", (interlock.program_fault, sequencer.fault))
        event = interlock.event & (interlock.event_class == dut.event.class_id)
        self.holds("lines_reach_the_interlock", ~dut.event.valid | event)
        same(
            "all_know_what_is_live",
            *((each.live, interlock.live) for each in (scan, feedback, bias_feedback, lift, envelope, sequencer)),
            (reaction.live, interlock.live_beside),
        )
        z = gate.dac.z if Strap.RETRACT_POSITIVE in straps else ~gate.dac.z
        blank = gate.blank if Strap.BLANK_ACTIVE_HIGH in straps else ~gate.blank
        same("pins_have_their_senses", (dut.dac.z, z.as_signed()), (dut.blank, blank))
        same("pins_have_their_senses", *((dut.dac[name], gate.dac[name]) for name in ("x", "y", "bias")), (dut.dac_load, gate.dac_load))
        same("pins_have_their_senses", (dut.trigger, gate.trigger), (dut.motor_step, gate.motor_step), (dut.pump, gate.pump))
        same("pins_have_their_senses", (dut.approach_step, gate.approach_step), (dut.lines, gate.lines))


BARE = Board("bare", Strap(0))
PROOFS = [TripProof(), BoxProof(), LocksProof(), WiresProof(FULL), WiresProof(BARE)]
