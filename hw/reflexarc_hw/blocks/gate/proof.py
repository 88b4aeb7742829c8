"""Proofs of the output gate: its floor, for every configuration of the registers.

| assumption | why it is harmless |
|---|---|
| `reactions_need_a_trip` | the interlock lets bias, trigger and motor react only while safe, a cycle before and 4 cycles after too: `interlock_trip`, under the same name |
| `accesses_are_apart` | what the bus's arbiter does: `fabric` |
| 56 (`gate_true`) and 16 (`gate`) cycles a sample | the two rates that there are; only how often z steps and how long a frame is left alone depend on it |

Requests, `safe`, reactions, frames, read-back, register accesses and the reset are free in every cycle.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed

from reflexarc.contract.blocks import gate
from reflexarc.contract.blocks.gate import CODE_MAX, CODE_MIN
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc_hw.blocks.envelope.envelope import BIAS_CYCLES, XY_CYCLES, Z_CYCLES
from reflexarc_hw.blocks.gate.gate import Gate
from reflexarc_hw.blocks.interlock.proof import SAFE_AFTER_REACTION
from reflexarc_hw.formal import Mutation, Proof
from reflexarc_hw.lib.bus_proof import APART, accesses_are_apart
from reflexarc_hw.lib.conditions import GATHER_CYCLES
from reflexarc_hw.lib.formats import CODE, OUTPUTS, POSITION
from reflexarc_hw.platforms.timing import COMPRESSED, RATES, Rate

BIAS_WAITS, XY_WAITS = BIAS_CYCLES + GATHER_CYCLES + 1, XY_CYCLES + GATHER_CYCLES + 1  # from the envelope's input to the pins
GATE, MOTOR = "blocks/gate/gate.py", "blocks/gate/motor.py"
RAIL = CODE_MAX << POSITION_FRACTION_BITS
LEAST_STEP = gate.BLOCK["retract_step"].low
STEPS = (CODE_MAX - CODE_MIN << POSITION_FRACTION_BITS) // LEAST_STEP  # that bring z from one rail to the other
GREATEST_BIAS_STEP = gate.BLOCK["bias_step"].high >> 12  # codes


def know_gate(proof: Proof, path: str) -> None:
    """State the invariants of z: the next step away is always at hand."""
    z = proof.part(path).z_driven
    proof.invariant((proof.part(f"{path}.bank").retract_step >= LEAST_STEP) & (z <= RAIL))
    # In the first safe cycle of what was asked, later of what is driven, if that stands for a cycle.
    was_safe = proof.past(proof.part(path).safe, init=1)
    stands = proof.past(was_safe, init=1) & (z == proof.past(z, init=RAIL))
    for name, counts in (("away_live", ~was_safe), ("away_safe", stands)):
        step = proof.inside(f"{path}.{name}")
        proof.invariant(~counts | (step == RAIL) | ((step >= z + LEAST_STEP) & (step < RAIL)))


class GateProof(Proof):
    assumptions = (APART, "reactions_need_a_trip")
    depth = 7
    covers = ("READBACK", "withdrawn_after_live", "bias_ramps", "bias_zero", "motor_steps", "approach_steps")

    def __init__(self, rate: Rate) -> None:
        super().__init__()
        n = self._cycles_per_sample = rate.cycles_per_sample
        self.short = rate is COMPRESSED
        self.name = "gate" if rate is COMPRESSED else f"gate_{rate.name}"
        self.cover_depth = 2 * n + 8
        self._left_alone = 2 * n - 1  # cycles after a trip's frame in which no other may begin
        self.properties = {
            "reset_is_safe": "After reset z stands at the withdrawn rail, x, y and bias at 0, the beam is blanked, nothing pulses or steps, all lines are low.",
            "z_never_approaches": "While safe, neither z nor its code ever falls.",
            "x_and_y_hold": "While safe, x and y do not change.",
            "beam_is_blanked": "While safe, the beam is blanked.",
            "pulse_ends": "While safe, no pulse is driven, and pump and blanker do not change.",
            "bias_floor": "While safe, the bias is the last one outside of a pulse; it goes to 0 on contact, or towards 0 in small steps once z is withdrawn.",
            "z_steps_away": f"While safe and told to withdraw, z goes {LEAST_STEP} or more away in each {n} cycles, or is withdrawn.",
            "retract_ends": f"Told to withdraw for n * {n} cycles, z is n * {LEAST_STEP} or more above the far rail: after n = {STEPS} at the near one.",
            "first_frame_at_once": "In the cycle in which the first safe codes stand, a frame begins.",
            "first_frame_is_left_to_end": f"No other frame begins in the {self._left_alone - 1} cycles after it.",
            "live_drives_what_was_asked": f"While live, each code is the rounded request of {Z_CYCLES + 1} (z), {BIAS_WAITS + 2} (bias, of the register or controlled), {BIAS_WAITS + 1} (a pulse's) or {XY_WAITS} (x, y) cycles ago.",
            "readback_shows": "A read-back that is not what was sent has its verdict 2 cycles later, if enabled.",
            "motor_needs_withdrawn_z": "The coarse motor steps only while safe, told to and z at the rail; and not more often than it was set to.",
            "lines_are_low": "While safe, the lines pixel, line and frame are low, and external does not change.",
            "safe_never_approaches": "While safe, the coarse motor's line towards the sample is low.",
            "approach_needs_withdrawn_z": "It rises only while live with z at the rail, 2 cycles before, and no more often than it was asked for last.",
        }
        self.mutations = (
            Mutation("reset_is_safe", GATE, '"blank": Out(1, init=1)', '"blank": Out(1)', 2),
            Mutation("z_never_approaches", GATE, "Mux(stepped > rail, rail, stepped)", "stepped"),
            Mutation("z_never_approaches", GATE, "self.z_driven.eq(away)", "self.z_driven.eq(requested_z)"),
            Mutation("x_and_y_hold", GATE, "[self.blank.eq(1), self.pulse_driven.eq(0)]", "[self.blank.eq(1), self.pulse_driven.eq(0), self.dac.x.eq(request.x)]"),
            Mutation("beam_is_blanked", GATE, "self.blank.eq(1), self.pulse", "self.blank.eq(self.blank_request), self.pulse"),
            Mutation("pulse_ends", GATE, "self.blank.eq(1), self.pulse_driven.eq(0)", "self.blank.eq(1)"),
            Mutation("bias_floor", GATE, "with m.If(~self.pulse_driven):", "with m.If(1):"),
            Mutation("bias_floor", GATE, "& ramping.all() & withdrawn)", "& ramping.all())", n + 12),
            Mutation("bias_floor", GATE, "bias_next.eq(Mux(self.dac.bias < 0, bias_upper, bias_lower))", "bias_next.eq(Mux(self.dac.bias < 0, bias_lower, bias_upper))", n + 12),
            Mutation("z_steps_away", GATE, "(beat | ~safe_late) & self.reaction.retract", "(beat | ~safe_late) & self.reaction.retract & self.frame", n + 8),
            Mutation("z_steps_away", "blocks/gate/gate.py", "stepped = position + bank.retract_step", "stepped = position + bank.retract_step[4:]", n + 8),
            Mutation("retract_ends", GATE, "(beat | ~safe_late) & self.reaction.retract", "~safe_late & self.reaction.retract", 3 * n + 4),
            Mutation("first_frame_at_once", GATE, "self.dac_load.eq(first_safe | (self.frame & ~guarded))", "self.dac_load.eq(self.frame & ~guarded)"),
            Mutation("first_frame_is_left_to_end", GATE, "guard.eq(guard_cycles)", "guard.eq(guard_cycles - 1)", 2 * n + 8),
            Mutation("live_drives_what_was_asked", GATE, "(position >> (POSITION_FRACTION_BITS - 1)) + 1 >> 1", "position >> POSITION_FRACTION_BITS"),
            Mutation("live_drives_what_was_asked", GATE, "for stage in range(XY_CYCLES + GATHER_CYCLES - 1)", "for stage in range(XY_CYCLES + GATHER_CYCLES - 2)"),
            Mutation("readback_shows", GATE, "Mux(inject, ~self.readback.dac[name], sent[name])).any()", "Mux(inject, ~self.readback.dac[name], sent[name]))[1:].any()"),
            Mutation("motor_needs_withdrawn_z", GATE, "motor.go.eq(safe_late & self.reaction.retreat & withdrawn)", "motor.go.eq(safe_late & self.reaction.retreat)", 3 * n),
            Mutation("motor_needs_withdrawn_z", MOTOR, "(self.left != 0) | self.step", "1", 3 * n),
            Mutation("live_drives_what_was_asked", GATE, "round_to_code(self.controlled_bias)", "self.controlled_bias >> POSITION_FRACTION_BITS"),
            Mutation("lines_are_low", GATE, 'for name in ("pixel", "line", "frame")', 'for name in ("pixel", "line")'),
            Mutation("lines_are_low", GATE, 'for name in ("pixel", "line", "frame")', 'for name in ("pixel", "line", "frame", "external")'),
            Mutation("safe_never_approaches", GATE, "approach.step & approach.go & ~self.safe", "approach.step & approach.go", 3 * n),
            Mutation("approach_needs_withdrawn_z", GATE, "approaching & ~safe_late & withdrawn", "approaching & ~safe_late", 3 * n),
            Mutation("approach_needs_withdrawn_z", GATE, "approach_steps.eq(bank.approach)]", "approach_steps.eq(bank.approach + 1)]", 3 * n),
        )  # fmt: skip

    def describe(self, m: Module) -> None:
        n, left_alone = self._cycles_per_sample, self._left_alone
        dut = self.add("gate", Gate(n))
        accesses_are_apart(self, dut.bus)
        bank = self.part("gate.bank")
        reaction = dut.reaction
        others = Cat(reaction.bias_ramp, reaction.bias_zero, reaction.trigger, reaction.retreat).any()
        was_safe = self.past(dut.safe, init=1)
        self.assume("reactions_need_a_trip", ~others | (dut.safe & was_safe))
        for cycles in range(1, SAFE_AFTER_REACTION + 1):
            self.assume("reactions_need_a_trip", ~self.past(others, cycles) | dut.safe)

        first = Signal(init=1)
        m.d.sync += first.eq(0)
        calm = dut.blank & ~dut.pulse_driven & ~dut.motor_step & ~dut.trigger & ~dut.approach_step & ~dut.lines.as_value().any()
        codes = (dut.dac.x == 0) & (dut.dac.y == 0) & (dut.dac.bias == 0) & (dut.dac.z == CODE_MAX)
        self.holds("reset_is_safe", ~first | (calm & codes & (dut.z_driven == RAIL)))

        z_before = self.past(dut.z_driven, init=RAIL)
        self.holds("z_never_approaches", ~was_safe | ((dut.z_driven >= z_before) & (dut.dac.z >= self.past(dut.dac.z, init=CODE_MAX))))
        know_gate(self, "gate")
        self.holds("x_and_y_hold", ~was_safe | ((dut.dac.x == self.past(dut.dac.x)) & (dut.dac.y == self.past(dut.dac.y))))
        self.holds("beam_is_blanked", ~was_safe | dut.blank)
        self.holds("pulse_ends", ~was_safe | (~dut.pulse_driven & (dut.pump == self.past(dut.pump))))

        kept = Signal(CODE)
        plain = Mux(dut.pulse_driven, kept, dut.dac.bias)
        m.d.sync += kept.eq(plain)
        before, bias = self.past(plain), dut.dac.bias
        change = Signal(signed(CODE.width + 1))
        m.d.comb += change.eq(bias - before)

        def recently(told: Value) -> Value:
            return Cat(self.past(told, cycles) for cycles in range(1, SAFE_AFTER_REACTION + 1)).any()

        at_once = recently(reaction.bias_zero) & (bias == 0)
        towards = Mux(before < 0, (change > 0) & (bias <= 0), (change < 0) & (bias >= 0))
        small = (change <= GREATEST_BIAS_STEP + 1) & (change >= -GREATEST_BIAS_STEP - 1)
        ramps = recently(reaction.bias_ramp & (dut.z_driven == RAIL)) & towards & small
        self.holds("bias_floor", ~was_safe | (change == 0) | at_once | ramps)
        self.invariant(self.inside("gate.bias_kept") == kept)

        # `period` cycles ago, or not yet since reset, z stepped if it was told to. A window of n cycles begins wherever `mark`, an input, says.
        told, period = dut.safe & reaction.retract, self.inside("gate.period")
        self.invariant((period < n) & (self.inside("gate.last") == (period == n - 1)))
        period = Mux(self.inside("gate.first_safe"), 0, period)
        mark, z_then, whole = Signal(), Signal(POSITION), Signal(range(n + 1))
        with m.If(~told):
            m.d.sync += whole.eq(0)
        with m.Elif((whole == 0) | (whole == n)):
            m.d.sync += [whole.eq(mark), z_then.eq(dut.z_driven)]
        with m.Else():
            m.d.sync += whole.eq(whole + 1)
        stepped = dut.z_driven >= z_then + LEAST_STEP
        self.holds("z_steps_away", (whole != n) | stepped | (dut.z_driven == RAIL))
        self.invariant(whole <= n)
        self.invariant((whole == 0) | (dut.z_driven >= z_then))
        self.invariant((whole <= period) | stepped | (dut.z_driven == RAIL))

        # Steps that must have been made by now, if each of n cycles brings one, from the rail next to the sample.
        cycle, steps = Signal(range(n)), Signal(range(STEPS + 1))
        ends = cycle == n - 1
        m.d.sync += [
            cycle.eq(Mux(told & ~ends, cycle + 1, 0)),
            steps.eq(Mux(told, Mux(ends & (steps != STEPS), steps + 1, steps), 0)),
        ]
        made = steps + (cycle > period)
        self.invariant((cycle < n) & (steps <= STEPS))
        self.invariant((dut.z_driven >= (CODE_MIN << POSITION_FRACTION_BITS) + made * LEAST_STEP) | (dut.z_driven == RAIL))
        self.holds("retract_ends", dut.z_driven >= (CODE_MIN << POSITION_FRACTION_BITS) + steps * LEAST_STEP)
        self.holds("retract_ends", (steps != STEPS) | (dut.z_driven == RAIL))

        first_codes = self.past(dut.safe & ~was_safe)
        self.holds("first_frame_at_once", ~first_codes | dut.dac_load)
        since = Signal(range(left_alone + 1), init=left_alone)  # cycles since that frame
        m.d.sync += since.eq(Mux(first_codes, 1, Mux(since == left_alone, since, since + 1)))
        self.holds("first_frame_is_left_to_end", ~dut.dac_load | first_codes | (since == left_alone))
        self.invariant(self.inside("gate.guard") == left_alone - since)
        self.invariant(self.inside("gate.guarded") == (left_alone != since))

        def rounded(position: Value) -> Value:
            code = (position + (1 << (POSITION_FRACTION_BITS - 1))) >> POSITION_FRACTION_BITS
            return Mux(code > CODE_MAX, CODE_MAX, code)

        asked = {
            "x": self.past(rounded(dut.x), XY_WAITS),
            "y": self.past(rounded(dut.y), XY_WAITS),
            "z": self.past(rounded(dut.z), Z_CYCLES + 1, init=CODE_MAX),
        }
        plain_asked = self.past(Mux(dut.bias_controlled, rounded(dut.controlled_bias), bank.bias))
        asked["bias"] = self.past(Mux(dut.pulse, dut.pulse_bias, plain_asked), BIAS_WAITS + 1)
        for name, code in asked.items():
            self.holds("live_drives_what_was_asked", was_safe | (dut.dac[name] == code))

        sent = Signal(OUTPUTS, init={"z": CODE_MAX})
        with m.If(dut.dac_load):
            m.d.sync += sent.eq(dut.dac)
        different = dut.readback.valid & (dut.readback.dac.as_value() != sent.as_value()) & ~dut.conditions.inject[0]
        shown = self.past(different, 2) & self.past(dut.conditions.enable[0])
        verdict = dut.conditions.verdict[0]
        self.holds("readback_shows", ~shown | verdict)

        steps_now = dut.motor_step & ~self.past(dut.motor_step)
        go = self.past(dut.safe & reaction.retreat) & self.past(dut.z_driven == RAIL, 2, init=1)
        self.holds("motor_needs_withdrawn_z", ~dut.motor_step | go)
        limit, made = Signal(16), Signal(17)
        going = self.inside("gate.motor.going")
        with m.If(~going):
            m.d.sync += [limit.eq(bank.retreat_steps), made.eq(0)]
        with m.Else():
            m.d.sync += made.eq(made + steps_now)
        self.holds("motor_needs_withdrawn_z", ~going | (made + steps_now <= limit))
        self.invariant(~going | (made + steps_now + self.part("gate.motor").left == limit))
        self.invariant(going | ~dut.motor_step)

        lines, lines_before = dut.lines, self.past(dut.lines.external)
        low = ~lines.pixel & ~lines.line & ~lines.frame
        self.holds("lines_are_low", ~was_safe | (low & (lines.external == lines_before)))

        self.holds("safe_never_approaches", ~was_safe | ~dut.approach_step)
        at_rail = self.past(dut.z_driven == RAIL, 2, init=1) & ~was_safe & ~self.past(dut.safe, 2, init=1)
        self.holds("approach_needs_withdrawn_z", ~dut.approach_step | at_rail)
        # What is asked for counts from the fourth cycle after its strobe on.
        rises = dut.approach_step & ~self.past(dut.approach_step)
        limit, made = Signal(16), Signal(17)
        counts, number = self.past(bank.approach_strobe, 3), self.past(bank.approach, 3)
        with m.If(counts):
            m.d.sync += [limit.eq(number), made.eq(0)]
        with m.Else():
            m.d.sync += made.eq(made + rises)
        self.holds("approach_needs_withdrawn_z", made + rises <= limit)
        motor = self.part("gate.approach")
        lately = Cat(bank.approach_strobe, *(self.past(bank.approach_strobe, cycles) for cycles in (1, 2, 3))).any()
        coming = motor.left + (motor.step & ~self.past(motor.step))
        self.invariant(lately | (made + rises + coming <= limit))
        going, asked = self.inside("gate.approach.going"), self.inside("gate.approach_asked")
        self.invariant(going | (~motor.step & (motor.left == 0)))
        self.invariant(~self.inside("gate.approaching") | going | asked)
        self.invariant(asked == self.past(bank.approach_strobe))

        self.reaches("READBACK", verdict & ~self.past(dut.conditions.inject.any(), 2))
        was_live = Signal()
        m.d.sync += was_live.eq(was_live | ~dut.safe)
        self.reaches("withdrawn_after_live", was_live & was_safe & (z_before != RAIL) & (dut.z_driven == RAIL))
        self.reaches("bias_ramps", was_safe & ramps & (bias != 0))
        self.reaches("bias_zero", was_safe & at_once & (change != 0))
        self.reaches("motor_steps", dut.motor_step)
        self.reaches("approach_steps", dut.approach_step & self.past(motor.step, 2))


PROOFS = [GateProof(rate) for rate in RATES.values()]
