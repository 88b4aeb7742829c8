"""Proofs of the interlock: of its state machine alone, and of the whole block with every judge, line and bus access free.

| assumption | why it is harmless |
|---|---|
| `violated_is_any_verdict` (lifecycle) | the two come by two ways: `interlock_conditions`, `verdict_is_safe` |
| `short_is_the_sum` (whole block) | a judge adds up its verdicts of the short path in registers beside them: `signals_windows`, `envelope_z`, under the same name |
| `tested_holds_while_locked` (lifecycle) | the mask is made of straps and of a locked register: `bank_interlock`, `locked_registers_hold`, with `live_is_locked` here |
| `accesses_are_apart` (whole block) | what the bus's arbiter does: `fabric` |
| 16 cycles a sample (whole block) | the number only sets after how many cycles a silent sample clock counts as lost; the reasoning is the same for 56 |

Verdicts, commands, lines, ticks, bus accesses and the reset are free in every cycle.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from reflexarc.contract.blocks import interlock
from reflexarc.contract.blocks.interlock import MASKABLE, NO_CAUSE, OWN_CAUSES, Cause, InterlockCommand, InterlockState, Strap
from reflexarc.contract.registers import WORD_BYTES
from reflexarc_hw.blocks.interlock.interlock import GUARDED, JUDGES, SHORT, SHORT_BITS, Interlock
from reflexarc_hw.blocks.interlock.lifecycle import CAUSES, CLEAR_CYCLES, FIRE_CYCLES, Lifecycle, Part
from reflexarc_hw.blocks.interlock.lines import AGE_BITS, LINE_CYCLES
from reflexarc_hw.formal import Mutation, Proof
from reflexarc_hw.lib.bus import BANK_CYCLES
from reflexarc_hw.lib.bus_proof import APART, accesses_are_apart
from reflexarc_hw.lib.conditions import GATHER_CYCLES
from reflexarc_hw.platforms.board import FULL

LIFECYCLE, INTERLOCK, LINES = "blocks/interlock/lifecycle.py", "blocks/interlock/interlock.py", "blocks/interlock/lines.py"
CYCLES_PER_SAMPLE = 16
SHORT_SUM = "short_is_the_sum"
SAFE_AFTER_REACTION = 4  # cycles
RECORD_CYCLES = 7  # from a trip to its record
ARMING_CYCLES = CAUSES * 2 * (FIRE_CYCLES + 2) + CLEAR_CYCLES + 2
QUICK = ((LIFECYCLE, "turn.eq(1),", f"turn.eq(1 << {CAUSES - 1}),"),)  # a self-test of the last condition only, so that traces are short
SHORT_WAITS = ((LIFECYCLE, "FIRE_CYCLES = 128", "FIRE_CYCLES = 1"), (LIFECYCLE, "CLEAR_CYCLES = 512", "CLEAR_CYCLES = 4"))


def know_lifecycle(proof: Proof, path: str) -> Value:
    """State the invariants of the lifecycle's registers; what comes back is how many parts of the self-test are over."""
    dut = proof.part(path)
    turn, cause, part = (proof.inside(f"{path}.{name}") for name in ("turn", "cause", "part"))
    arming, armed = dut.state == InterlockState.ARMING, dut.state == InterlockState.ARMED
    firing, clearing = part == Part.FIRE, part == Part.CLEAR
    proof.invariant(~arming | Mux(clearing, (turn == 0) & (cause == 0), (turn == (1 << cause)) & (firing | (part == Part.SILENT))))
    proof.invariant(dut.inject == Mux(arming & firing, turn, 0))
    # A trip ends `armed` at once and the state one cycle later.
    proof.invariant(armed == (dut.armed | (dut.caught & (dut.state != InterlockState.DISARMED))))
    proof.invariant(~dut.caught | (~dut.armed & (armed | (dut.state == InterlockState.DISARMED))))
    return Mux(clearing, 2 * CAUSES, Cat(firing, cause))


class LifecycleProof(Proof):
    """The state machine."""

    name = "lifecycle"
    depth = 3
    cover_depth = 4 * CAUSES + 16
    properties = {
        "violated_is_safe": "A verdict makes safe in the same cycle.",
        "tripped_is_safe": "From a trip on, safe until ACK comes while no flag is set and nothing was violated in the cycle before.",
        "live_only_after_arm": "Live only if ARM came while commissioned and without flags, a cycle after nothing was violated, and no DISARM, trip or reset since.",
        "arming_tests_everything": "Live only if each tested condition has fired on injection since ARM.",
        "disarm_is_safe": "In the cycle after DISARM or TRIP is commanded while arming, or DISARM at any time, safe.",
        "first_cause_is_kept": "The first cause is the lowest verdict of the trip's first cycle, from two cycles after it until the next trip after an ACK.",
        "causes_gather": "While tripped, causes are all that was violated since the trip.",
        "injection_never_live": "Injection is one condition at a time, and never while live.",
        "live_is_locked": "While live, and in the cycle before, registers are locked.",
        "arming_ends": f"Arming ends within {ARMING_CYCLES} cycles.",
    }
    assumptions = ("tested_holds_while_locked", "violated_is_any_verdict")
    covers = (*(cause.name for cause in Cause), "armed_again")
    mutations = (
        Mutation("violated_is_safe", LIFECYCLE, "self.safe.eq(~self.armed | self.violated)", "self.safe.eq(~self.armed)", 20, shorter=QUICK),
        Mutation("tripped_is_safe", LIFECYCLE, "with m.If(self.armed & self.violated):", "with m.If(0):", 20, shorter=QUICK),
        Mutation("tripped_is_safe", LIFECYCLE, "commanded(InterlockCommand.ACK) & ~self.flags_set", "commanded(InterlockCommand.ACK)", 36, shorter=QUICK),
        Mutation("live_only_after_arm", LIFECYCLE, "with m.If(~self.commissioned):", "with m.If(0):", 20, shorter=QUICK),
        Mutation("live_only_after_arm", LIFECYCLE, "with m.Elif(was_violated | self.flags_set):", "with m.Elif(was_violated):", 20, shorter=QUICK),
        Mutation("arming_tests_everything", LIFECYCLE, "turn.eq(1),", f"turn.eq(1 << {CAUSES - 1}),", 20),
        Mutation("arming_tests_everything", LIFECYCLE, "(self.inject & (self.verdict | ~self.tested)).any()", "self.violated", 4 * CAUSES + 12, 4 * CAUSES),
        Mutation("disarm_is_safe", LIFECYCLE, "with m.If(commanded(InterlockCommand.DISARM)):", "with m.If(0):", 20, shorter=QUICK),
        Mutation("disarm_is_safe", LIFECYCLE, "with m.If(self.command_valid):", "with m.If(0):", 20, shorter=QUICK),
        Mutation("first_cause_is_kept", LIFECYCLE, "self.causes.eq(self.causes | self.verdict)", "[self.causes.eq(self.causes | self.verdict), self.first_cause.eq(was_lowest)]", 20, shorter=QUICK),
        Mutation("first_cause_is_kept", LIFECYCLE, "Mux(pair[0][0], pair[0][1], pair[-1][1])", "Mux(pair[-1][0], pair[-1][1], pair[0][1])", 20, shorter=QUICK),
        Mutation("causes_gather", LIFECYCLE, "self.causes.eq(self.causes | self.verdict)", "self.causes.eq(self.verdict)", 20, shorter=QUICK),
        Mutation("injection_never_live", LIFECYCLE, "self.inject.eq(turn)", "self.inject.eq(turn | turn >> 1)", 20, shorter=QUICK),
        Mutation("injection_never_live", LIFECYCLE, "self.causes.eq(0)", "[self.causes.eq(0), self.inject.eq(1)]", 20, shorter=QUICK),
        Mutation("live_is_locked", LIFECYCLE, "self.locked.eq((self.state == InterlockState.ARMED) | (self.state == InterlockState.ARMING))", "self.locked.eq(self.state == InterlockState.ARMING)", 20, shorter=QUICK),
        Mutation("arming_ends", LIFECYCLE, "with m.Elif(clear_time_over):", "with m.Elif(0):", 6 * CAUSES + 24, 6 * CAUSES, SHORT_WAITS, inductive=True),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.add("lifecycle", Lifecycle())
        live, violated = ~dut.safe, dut.violated
        self.assume("violated_is_any_verdict", violated == dut.verdict.any())
        command = Value.cast(dut.command)

        def commanded(which: InterlockCommand) -> Value:
            return dut.command_valid & (command == which)

        self.assume("tested_holds_while_locked", ~self.past(dut.locked) | (dut.tested == self.past(dut.tested)))
        self.holds("violated_is_safe", ~violated | dut.safe)

        tripped = Signal()
        was_violated = self.past(violated)
        acknowledged = commanded(InterlockCommand.ACK) & ~dut.flags_set & ~was_violated
        trips = dut.armed & violated
        with m.If(trips):
            m.d.sync += tripped.eq(1)
        with m.Elif(acknowledged):
            m.d.sync += tripped.eq(0)
        self.holds("tripped_is_safe", ~tripped | dut.safe)
        self.invariant(tripped == (dut.caught | (dut.state == InterlockState.TRIPPED)))

        allowed = Signal()  # by a command that was given when it could be
        with m.If(trips | commanded(InterlockCommand.DISARM)):
            m.d.sync += allowed.eq(0)
        with m.Elif(commanded(InterlockCommand.ARM) & dut.commissioned & ~dut.flags_set & ~was_violated):
            m.d.sync += allowed.eq(1)
        self.holds("live_only_after_arm", ~live | allowed)
        self.invariant(allowed | ~(dut.armed | (dut.state == InterlockState.ARMING)))

        fired = Signal(CAUSES)
        m.d.sync += fired.eq(Mux(dut.locked, fired | (dut.inject & dut.verdict), 0))
        missing = dut.tested & ~fired
        self.holds("arming_tests_everything", ~live | (missing == 0))
        arming = dut.state == InterlockState.ARMING
        ended = know_lifecycle(self, "lifecycle")
        turn, part, fresh = (self.inside(f"lifecycle.{name}") for name in ("turn", "part", "fresh"))
        self.invariant(~arming | ((missing & (turn - 1)[:CAUSES]) == 0))  # without a turn: all
        self.invariant(~(arming & (part == Part.FIRE) & ~fresh & self.inside("lifecycle.fired")) | ((missing & turn) == 0))
        self.invariant(~dut.armed | (missing == 0))

        stop = commanded(InterlockCommand.DISARM) | (arming & dut.command_valid)
        self.holds("disarm_is_safe", ~self.past(stop) | (dut.safe & ~dut.locked) | (dut.state == InterlockState.TRIPPED))

        first = Signal(NO_CAUSE + 1, init=1 << NO_CAUSE)
        with m.If(trips & ~tripped):
            m.d.sync += first.eq(dut.verdict & -dut.verdict)
        self.holds("first_cause_is_kept", dut.caught | (first == (1 << dut.first_cause)))

        gathered = Signal(CAUSES)
        m.d.sync += gathered.eq(Mux(trips, dut.verdict, gathered | dut.verdict))
        self.holds("causes_gather", (dut.state != InterlockState.TRIPPED) | (dut.causes == gathered))

        self.holds("injection_never_live", (~dut.inject.any() | dut.safe) & ((dut.inject & (dut.inject - 1)) == 0))
        self.holds("live_is_locked", ~live | (dut.locked & self.past(dut.locked)))

        lasted = Signal(range(ARMING_CYCLES + 3))
        m.d.sync += lasted.eq(Mux(arming, lasted + 1, 0))
        self.holds("arming_ends", lasted <= ARMING_CYCLES)
        waited = self.inside("lifecycle.waited")
        longest = Mux(part == Part.CLEAR, CLEAR_CYCLES, FIRE_CYCLES)
        self.invariant(~arming | ((waited <= longest) & (~fresh | (waited == 0))))
        self.invariant(~arming | (lasted <= ended * (FIRE_CYCLES + 2) + waited + ~fresh))

        self.guide(~self.domain.rst & dut.commissioned & dut.tick & ~dut.flags_set & (dut.tested == 0) & (dut.armed | ~violated))
        self.guide(dut.command_valid == ((dut.state == InterlockState.DISARMED) | tripped))
        self.guide(command == Mux(tripped, InterlockCommand.ACK, InterlockCommand.ARM))
        for each in Cause:
            self.reaches(each.name, tripped & (dut.first_cause == each))
        again = Signal()
        m.d.sync += again.eq(again | (tripped & acknowledged))
        self.reaches("armed_again", again & commanded(InterlockCommand.ARM) & (dut.state == InterlockState.DISARMED))


OFFSETS = {register.name: register.offset // WORD_BYTES for register in interlock.BLOCK.registers}


class _InterlockProof(Proof):
    """The whole block: what its proofs share."""

    assumptions: tuple[str, ...] = (APART,)
    straps = FULL.straps

    def block(self) -> Interlock:
        dut = self.add("interlock", Interlock(CYCLES_PER_SAMPLE, self.straps))
        accesses_are_apart(self, dut.bus)
        self.lifecycle = self.part("interlock.lifecycle")
        self.bank = self.part("interlock.bank")
        self.verdict = self.lifecycle.verdict
        self.trips = self.lifecycle.armed & self.lifecycle.violated
        know_lifecycle(self, "interlock.lifecycle")
        return dut

    def register(self, name: str) -> Signal:
        return getattr(self.bank, name)

    def written(self, dut: Interlock, name: str, value: int | None = None) -> Value:
        """Whether a write that was strobed on the bus takes effect in this cycle."""
        hit = dut.bus.strobe & dut.bus.write & (dut.bus.offset == OFFSETS[name])
        return self.past(hit if value is None else hit & (dut.bus.write_data == value), BANK_CYCLES)


def gathered_late(cause: Cause) -> int:
    """Cycles from a verdict to the decision."""
    return 0 if SHORT >> cause & 1 else GATHER_CYCLES


def safe_after(cause: Cause, cycles: int = 1) -> str:
    """The same in words, for a verdict that comes after so many cycles."""
    cycles += gathered_late(cause)
    return "one cycle" if cycles == 1 else f"{cycles} cycles"


def short_is_the_sum(interlock_part: Interlock, name: str) -> Value:
    """Whether a judge's ``short`` bits are any of its verdicts of the short path."""
    port = getattr(interlock_part, f"{name}_conditions")
    verdicts = Cat(port.verdict[index] for index, cause in enumerate(JUDGES[name]) if SHORT >> cause & 1)
    return port.short.any() == verdicts.any()


class ConditionsProof(_InterlockProof):
    """From whatever is violated to its verdict and ``safe``, within the stated bounds, armed or not."""

    name = "interlock_conditions"
    assumptions = (APART, SHORT_SUM)
    depth = BANK_CYCLES + 4
    cover_depth = 8
    properties = {
        "verdict_is_safe": f"A verdict of any judge makes safe, at once if it is one of the short path, else {GATHER_CYCLES} cycle later; nothing masks it on its way.",
        "windows_count_always": "Judges of causes that can't be masked are enabled whatever the registers say.",
        "lost_sample_is_safe": f"A lost sample makes safe {safe_after(Cause.SAMPLE_LOST)} later, whatever the registers say.",
        "silent_clock_is_safe": f"No tick for two sample periods makes safe {safe_after(Cause.SAMPLE_LOST)} later, whatever the registers say.",
        "open_estop_is_safe": f"An open e-stop chain makes safe {safe_after(Cause.ESTOP, LINE_CYCLES)} later, whatever the registers say.",
        "ready_is_safe": f"A required ready line that is low makes safe {safe_after(Cause.READY, LINE_CYCLES)} later, if enabled.",
        "gain_is_safe": f"A gain that is not the expected one makes safe {safe_after(Cause.GAIN, LINE_CYCLES)} later, if enabled.",
        "overflow_is_safe": f"A position that overflows makes safe {safe_after(Cause.POSITION_OVERFLOW)} later, whatever the registers say.",
        "underflow_is_safe": f"An underflow makes safe {safe_after(Cause.UNDERFLOW)} later, if enabled.",
        "parity_is_safe": f"A flipped bit that a bank reports makes safe {safe_after(Cause.PARITY)} later, whatever the registers say.",
        "event_is_safe": f"An event of the class that trips makes safe {safe_after(Cause.EVENT)} later, if enabled.",
        "host_is_safe": f"TRIP makes safe {safe_after(Cause.HOST, BANK_CYCLES + 1)} after the bus's strobe, whatever the registers say.",
        "program_is_safe": f"A program's fault makes safe {safe_after(Cause.HOST)} later, whatever the registers say.",
        "silent_host_is_safe": f"No heartbeat of the host for the time-out makes safe {safe_after(Cause.HEARTBEAT)} later, whatever other registers say.",
        "silent_cpu_is_safe": f"No heartbeat of the housekeeping core for its time-out makes safe {safe_after(Cause.CPU_HEARTBEAT)} later, if enabled.",
    }
    covers = tuple(cause.name for cause in OWN_CAUSES)
    mutations = (
        Mutation("verdict_is_safe", INTERLOCK, "given.eq(Cat(*verdicts, own))", "given.eq(Cat(*verdicts, own) & bank.enable)"),
        Mutation("verdict_is_safe", INTERLOCK, "(given & ~SHORT).any() | lines_now", "(given[:31] & ~SHORT).any() | lines_now"),
        Mutation("windows_count_always", INTERLOCK, "(bank.enable | ALWAYS) &", "bank.enable &"),
        Mutation("lost_sample_is_safe", INTERLOCK, "self.sample_lost | lines.clock_lost", "lines.clock_lost"),
        Mutation("silent_clock_is_safe", LINES, "with m.Elif(waited != self._patience):", "with m.Elif(waited != self._patience - 1):", 40),
        Mutation("open_estop_is_safe", LINES, "FFSynchronizer(self.estop_closed, self.estop_seen, init=0)", "FFSynchronizer(self.estop_closed, self.estop_seen, init=0, stages=3)"),
        Mutation("ready_is_safe", INTERLOCK, "Cause.READY: not_ready.any()", "Cause.READY: not_ready.all()"),
        Mutation("gain_is_safe", INTERLOCK, "lines.gain_seen != bank.gain_expected", "lines.gain_seen > bank.gain_expected"),
        Mutation("overflow_is_safe", INTERLOCK, "Cause.POSITION_OVERFLOW: self.position_overflow", "Cause.POSITION_OVERFLOW: self.position_overflow & self.tick"),
        Mutation("underflow_is_safe", INTERLOCK, "Cause.UNDERFLOW: self.underflow", "Cause.UNDERFLOW: self.underflow & self.tick"),
        Mutation("parity_is_safe", INTERLOCK, "errors.any()", "errors.all()"),
        Mutation("event_is_safe", INTERLOCK, "self.event & (self.event_class == bank.event_class)", "self.event & (self.event_class != bank.event_class)"),
        Mutation("host_is_safe", INTERLOCK, "bank.command_strobe & (bank.command == InterlockCommand.TRIP)", "bank.command_strobe & (bank.command == InterlockCommand.DISARM)"),
        Mutation("program_is_safe", INTERLOCK, "trip_commanded | self.program_fault", "trip_commanded | (self.program_fault & self.tick)"),
        Mutation("silent_host_is_safe", LINES, "seen >= self.timeout", "seen > self.timeout"),
        Mutation("silent_host_is_safe", INTERLOCK, "(Cause.HEARTBEAT, heartbeat, bank.heartbeat_strobe,", "(Cause.HEARTBEAT, heartbeat, bank.command_strobe,"),
        Mutation("silent_cpu_is_safe", INTERLOCK, "bank.cpu_heartbeat_strobe, bank.cpu_heartbeat_timeout", "bank.heartbeat_strobe, bank.cpu_heartbeat_timeout"),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        ports = [getattr(dut, f"{name}_conditions") for name in JUDGES]
        for name in SHORT_BITS:
            self.assume(SHORT_SUM, short_is_the_sum(dut, name))
        self.holds("verdict_is_safe", self.lifecycle.violated == self.verdict.any())
        for port, causes in zip(ports, JUDGES.values(), strict=True):
            for index, cause in enumerate(causes):
                found = self.past(port.verdict[index], gathered_late(cause))
                self.holds("verdict_is_safe", ~found | (dut.safe & self.verdict[cause]))
                if cause not in MASKABLE:
                    self.holds("windows_count_always", port.enable[index])

        def shows(name: str, cause: Cause, violated: Value, cycles: int = 1, *, given: Value | int = 1) -> None:
            """``given`` as it is in the last of these cycles, in which the registers count."""
            given = self.past(Value.cast(given))
            if cause in MASKABLE:
                given &= self.past(self.register("enable")[cause])
            due = self.past(self.past(violated, cycles) & given, gathered_late(cause))
            self.holds(name, ~due | (self.verdict[cause] & dut.safe))
            self.reaches(cause.name, self.verdict[cause] & self.lasted(~self.lifecycle.inject.any(), 1 + gathered_late(cause)))

        shows("lost_sample_is_safe", Cause.SAMPLE_LOST, dut.sample_lost)
        quiet = Signal(range(2 * CYCLES_PER_SAMPLE + 1))  # cycles since a tick
        m.d.sync += quiet.eq(Mux(dut.tick, 0, Mux(quiet == 2 * CYCLES_PER_SAMPLE, quiet, quiet + 1)))
        self.invariant(self.inside("interlock.lines.waited") == quiet)
        shows("silent_clock_is_safe", Cause.SAMPLE_LOST, quiet == 2 * CYCLES_PER_SAMPLE)
        shows("open_estop_is_safe", Cause.ESTOP, ~dut.estop_closed, LINE_CYCLES)
        for index in range(len(dut.ready)):
            shows("ready_is_safe", Cause.READY, ~dut.ready[index], LINE_CYCLES, given=self.register("ready_required")[index])
        wrong_gain = self.past(dut.gain, LINE_CYCLES - 1) != self.register("gain_expected")
        shows("gain_is_safe", Cause.GAIN, Value.cast(1), LINE_CYCLES, given=wrong_gain)
        shows("overflow_is_safe", Cause.POSITION_OVERFLOW, dut.position_overflow)
        shows("underflow_is_safe", Cause.UNDERFLOW, dut.underflow)
        for error in (self.bank.guard.error, *(getattr(dut, f"{name}_guard").error for name in GUARDED)):
            shows("parity_is_safe", Cause.PARITY, error & ~self.lifecycle.inject[Cause.PARITY])
        shows("event_is_safe", Cause.EVENT, dut.event & (dut.event_class == self.register("event_class")))
        shows("host_is_safe", Cause.HOST, self.written(dut, "command", InterlockCommand.TRIP))
        shows("program_is_safe", Cause.HOST, dut.program_fault)
        for name, cause, beat in (
            ("silent_host_is_safe", Cause.HEARTBEAT, "heartbeat"),
            ("silent_cpu_is_safe", Cause.CPU_HEARTBEAT, "cpu_heartbeat"),
        ):
            age = Signal(AGE_BITS)  # cycles since a heartbeat
            beats = self.written(dut, beat)
            m.d.sync += age.eq(Mux(beats, 0, Mux(age.all(), age, age + 1)))
            self.invariant(self.part(f"interlock.{beat}").age == age)
            shows(name, cause, (age >= self.register(f"{beat}_timeout")) & ~beats)


class TripProof(_InterlockProof):
    """What holds from a trip on, and while live, for any behaviour of bus, judges and lines."""

    name = "interlock_trip"
    short = True
    depth = BANK_CYCLES + 3
    properties = {
        "trip_holds": "From a trip on, safe until the bus wrote ACK and then ARM; from DISARM on until it wrote ARM.",
        "live_locks_everything": "While live, the guard of every bank with locked registers locks.",
        "no_injection_while_live": "No judge and no bank is told to inject while live, or while other blocks take the outputs for live.",
        "live_follows_safe": "What other blocks see as live is the opposite of safe one cycle ago, in either register.",
        "record_is_kept": f"Time, value and limit of a trip do not change until the next trip, from {RECORD_CYCLES} cycles after it on.",
        "trip_time_is_right": "The time of a trip is the cycle in which the gate's outputs became safe.",
        "tip_always_retracts": "With a tip, z is told to withdraw in every cycle, whatever the registers say.",
        "reactions_need_a_trip": f"Bias, trigger and motor react only if tripped one cycle before, and {SAFE_AFTER_REACTION} cycles after are safe; the bias at once only if in contact at the trip.",
    }
    mutations = (
        Mutation("trip_holds", INTERLOCK, "self.safe.eq(lifecycle.safe)", "self.safe.eq(lifecycle.safe & (verdict.any() | ~self.event))"),
        Mutation("trip_holds", LIFECYCLE, "[self.state.eq(InterlockState.DISARMED), self.armed.eq(0)]", "self.state.eq(InterlockState.DISARMED)", 36, shorter=QUICK),
        Mutation("live_locks_everything", INTERLOCK, "guard.lock.eq(lifecycle.locked)", "guard.lock.eq(lifecycle.locked & ~lifecycle.armed)", 36, shorter=QUICK),
        Mutation("live_locks_everything", INTERLOCK, "(getattr(self, f\"{name}_guard\") for name in GUARDED)]", "(getattr(self, f\"{name}_guard\") for name in GUARDED[1:])]", 36, shorter=QUICK),
        Mutation("no_injection_while_live", INTERLOCK, "guard.inject.eq(spoil)", "guard.inject.eq(spoil | self.contact)", 36, shorter=QUICK),
        Mutation("live_follows_safe", INTERLOCK, "self.live.eq(~lifecycle.safe)", "self.live.eq(lifecycle.armed)", 36, shorter=QUICK),
        Mutation("live_follows_safe", INTERLOCK, "own_register(m, ~lifecycle.safe,", "own_register(m, lifecycle.armed,", 36, shorter=QUICK),
        Mutation("record_is_kept", INTERLOCK, "with m.If(gather[1]):", "with m.If(lifecycle.state == InterlockState.TRIPPED):", 36, shorter=QUICK),
        Mutation("record_is_kept", INTERLOCK, "with m.If(lifecycle.latch):", "with m.If(lifecycle.latch | verdict.any()):", 36, shorter=QUICK),
        Mutation("trip_time_is_right", INTERLOCK, "trip_time.eq(self.time)", "trip_time.eq(self.time - 1)", 36, shorter=QUICK),
        Mutation("tip_always_retracts", INTERLOCK, "(tripped & (causes & bank.react_retract).any()) | tip", "(tripped & (causes & bank.react_retract).any())", 36, shorter=QUICK),
        Mutation("reactions_need_a_trip", INTERLOCK, "self.reaction.bias_zero.eq(tripped & (causes & bank.react_bias_contact).any() & touching)", "self.reaction.bias_zero.eq(tripped & (causes & bank.react_bias_contact).any())", 36, shorter=QUICK),
        Mutation("reactions_need_a_trip", INTERLOCK, "self.reaction.trigger.eq(tripped & (causes & bank.react_trigger).any())", "self.reaction.trigger.eq(was_tripped)", 42, shorter=QUICK),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        live = ~dut.safe
        armed = self.lifecycle.armed
        arm, disarm, ack = (self.written(dut, "command", InterlockCommand[name]) for name in ("ARM", "DISARM", "ACK"))
        needs_ack, needs_arm = Signal(), Signal(init=1)
        with m.If(self.trips):
            m.d.sync += [needs_ack.eq(1), needs_arm.eq(1)]
        with m.Elif(armed & disarm):
            m.d.sync += needs_arm.eq(1)
        with m.Elif(ack):
            m.d.sync += needs_ack.eq(0)
        with m.Elif(arm & ~needs_ack):
            m.d.sync += needs_arm.eq(0)
        self.holds("trip_holds", dut.safe | ~(needs_ack | needs_arm))
        disarmed, tripped = dut.state == InterlockState.DISARMED, dut.state == InterlockState.TRIPPED
        self.invariant(~needs_ack | tripped | self.lifecycle.caught)
        self.invariant(~needs_arm | tripped | self.lifecycle.caught | disarmed)

        locks = [self.bank.guard.lock, *(getattr(dut, f"{name}_guard").lock for name in GUARDED)]
        self.holds("live_locks_everything", ~live | Cat(locks).all())
        injected = [self.bank.guard.inject, *(getattr(dut, f"{name}_guard").inject for name in GUARDED)]
        injected += [getattr(dut, f"{name}_conditions").inject for name in JUDGES] + [self.lifecycle.inject]
        self.holds("no_injection_while_live", ~Cat(injected).any() | (dut.safe & ~dut.live))
        self.holds("live_follows_safe", (dut.live == self.past(live)) & (dut.live_beside == self.past(live)))

        recorded = Cat(self.bank.trip_time, self.bank.trip_value, self.bank.trip_limit)
        recent = Cat(self.past(self.trips, cycles) for cycles in range(2, RECORD_CYCLES + 1)).any()
        self.holds("record_is_kept", recent | (recorded == self.past(recorded)))
        safe_time = Signal(64)
        with m.If(self.past(self.trips)):
            m.d.sync += safe_time.eq(dut.time)
        self.holds("trip_time_is_right", self.bank.trip_time == safe_time)

        self.holds("tip_always_retracts", dut.reaction.retract)
        others = Cat(dut.reaction.bias_ramp, dut.reaction.bias_zero, dut.reaction.trigger, dut.reaction.retreat)
        touched = Signal()
        with m.If(self.past(self.trips)):
            m.d.sync += touched.eq(dut.contact)
        self.invariant(~self.inside("interlock.touching") | touched)
        self.holds("reactions_need_a_trip", ~others.any() | self.past(tripped))
        for cycles in range(1, SAFE_AFTER_REACTION + 1):
            self.holds("reactions_need_a_trip", ~self.past(others.any(), cycles) | dut.safe)
        self.holds("reactions_need_a_trip", ~dut.reaction.bias_zero | self.past(touched))


class BeamProof(_InterlockProof):
    """An instrument without a tip and without a coarse motor, where withdrawing is a reaction like others."""

    name = "interlock_beam"
    straps = FULL.straps & ~(Strap.TIP | Strap.MOTOR)
    depth = 5
    properties = {
        "retract_follows_its_cause": "While tripped, z is told to withdraw two cycles after a cause of the mask came; and otherwise not.",
        "no_motor_no_retreat": "A motor that is not there is never told to step.",
    }
    mutations = (
        Mutation("retract_follows_its_cause", INTERLOCK, "(tripped & (causes & bank.react_retract).any()) | tip", "tripped | tip", 36, shorter=QUICK),
        Mutation("no_motor_no_retreat", INTERLOCK, "bank.react_retreat).any() & motor", "bank.react_retreat).any()", 36, shorter=QUICK),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        tripped = dut.state == InterlockState.TRIPPED
        gathered = Signal(CAUSES)  # what was violated since the trip
        m.d.sync += gathered.eq(Mux(self.trips, self.verdict, Mux(tripped | self.lifecycle.caught, gathered | self.verdict, 0)))
        self.invariant(~tripped | (self.lifecycle.causes == gathered))
        due = tripped & (gathered & self.register("react_retract")).any()
        self.holds("retract_follows_its_cause", dut.reaction.retract == self.past(due))
        self.holds("no_motor_no_retreat", ~dut.reaction.retreat)


PROOFS = [LifecycleProof(), ConditionsProof(), TripProof(), BeamProof()]
