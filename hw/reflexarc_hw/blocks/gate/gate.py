"""The output gate: every code that leaves the controller leaves here."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import gate
from reflexarc.contract.blocks.gate import CODE_MAX, CODE_MIN
from reflexarc.contract.blocks.interlock import Cause
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc_hw.blocks.envelope.envelope import BIAS_CYCLES, XY_CYCLES, Z_CYCLES
from reflexarc_hw.blocks.gate.motor import Motor
from reflexarc_hw.blocks.interlock import REACTION
from reflexarc_hw.lib.bus import BankSignature, GuardSignature, attach_bank
from reflexarc_hw.lib.conditions import GATHER_CYCLES, ConditionSignature, measured
from reflexarc_hw.lib.formats import CODE, OUTPUTS, POSITION

# Lines to other instruments. ``external`` asks a column for its scan inputs.
LINES = data.StructLayout({"pixel": 1, "line": 1, "frame": 1, "external": 1})
READBACK = data.StructLayout({"valid": 1, "dac": OUTPUTS})  # what the converters hold, after each frame
BIAS_FRACTION_BITS = 12


def rounded(position: Value) -> Value:
    """Q20.12 to an integer: half up."""
    return (position >> (POSITION_FRACTION_BITS - 1)) + 1 >> 1


def at_rail(code: Value) -> Value:
    """Held at the upper rail, the only one that rounding half up can pass."""
    return Mux(~code[-1] & code[CODE.width - 1], CODE_MAX, code)


def round_to_code(position: Value) -> Value:
    """Q20.12 to a code."""
    return at_rail(rounded(position))


class Gate(wiring.Component):
    """Drives the converters: the requested codes while permitted, otherwise the safe ones.

    Live: x and y follow the requests after 6 cycles, the bias after 7, in a pulse after 6, z after 2: each as soon as the envelope has judged
    it. From the cycle after ``safe`` rises: x and y hold; the bias is what it last was outside of a pulse; the beam is blanked. z never
    comes back: with ``reaction.retract`` it steps towards the withdrawn rail by ``retract_step``, in the first cycle and then once a sample
    period of the gate's own count (the sample clock may be what has failed); without it holds. The withdrawn rail is the greatest z code: a
    constant of the gateware, as rule 3 of the design asks. The rest of ``reaction`` comes a few cycles later: the bias goes to 0 at once, or
    by ``bias_step`` a period once z is withdrawn; the motor steps away once z is withdrawn; the trigger rises.

    ``dac_load`` starts a frame of all four converters with the codes of this cycle and aborts one that is under way (AD5791: SYNC high
    before the 24th SCLK edge discards the frame). It follows ``frame``, but the cycle in which the first safe codes stand starts one
    at once, and that one is left to end. ``readback`` is compared with the codes of the last frame.

    ``approach_step`` steps the motor towards the sample, as often as ``approach`` asked for last, while live and z stands at the withdrawn
    rail; what is left of a train when either ends is dropped.

    While safe the lines to other instruments are low, but ``external`` holds: a column that took its scan back would move the beam.

    ``pump`` changes once a sample period while live: a charge pump behind it falls when the clock stops.
    """

    def __init__(self, cycles_per_sample: int):
        self._cycles_per_sample = cycles_per_sample
        withdrawn = {"x": 0, "y": 0, "z": CODE_MAX, "bias": 0}
        super().__init__(
            {
                "bus": In(BankSignature()),
                "guard": In(GuardSignature()),
                "conditions": In(ConditionSignature(1)),
                "safe": In(1),
                "reaction": In(REACTION),
                "frame": In(1),
                "x": In(POSITION),  # Q20.12, DAC LSB, as are y and z
                "y": In(POSITION),
                "z": In(POSITION),
                "pulse": In(1),
                "pulse_bias": In(CODE),
                "bias_controlled": In(1),
                "controlled_bias": In(POSITION),  # Q20.12, DAC LSB; drives the bias where ``bias_controlled``
                "blank_request": In(1),
                "line_requests": In(LINES),
                "readback": In(READBACK),
                "bias_requested": Out(CODE),  # for the envelope, which judges it while it waits here
                "dac": Out(OUTPUTS, init=withdrawn),
                "dac_load": Out(1),
                "blank": Out(1, init=1),
                "trigger": Out(1),
                "pump": Out(1),
                "motor_step": Out(1),
                "approach_step": Out(1),
                "lines": Out(LINES),
                "pulse_driven": Out(1),  # the driven bias is a pulse's
                "z_driven": Out(POSITION, init=CODE_MAX << POSITION_FRACTION_BITS),  # Q20.12, DAC LSB
            }
        )

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, gate.BLOCK)
        assert CODE_MIN == -(CODE_MAX + 1)
        withdrawn_codes = {"x": 0, "y": 0, "z": CODE_MAX, "bias": 0}

        # Requests wait until the interlock has decided on what the envelope says of them.
        assert Z_CYCLES == 1
        request = Signal(OUTPUTS, init=withdrawn_codes)
        request_pulse = Signal()
        plain_bias = Signal(CODE)
        m.d.sync += [
            request.z.eq(round_to_code(self.z)),
            plain_bias.eq(Mux(self.bias_controlled, round_to_code(self.controlled_bias), bank.bias)),
            self.bias_requested.eq(Mux(self.pulse, self.pulse_bias, plain_bias)),
        ]
        bias, pulse = self.bias_requested, Signal(name="pulse_requested")
        m.d.sync += pulse.eq(self.pulse)
        for stage in range(BIAS_CYCLES + GATHER_CYCLES - 1):
            bias_late, pulse_late = Signal(CODE, name=f"bias_{stage + 1}"), Signal(name=f"pulse_{stage + 1}")
            m.d.sync += [bias_late.eq(bias), pulse_late.eq(pulse)]
            bias, pulse = bias_late, pulse_late
        m.d.sync += [request.bias.eq(bias), request_pulse.eq(pulse)]
        x, y = self.x, self.y
        for stage in range(XY_CYCLES + GATHER_CYCLES - 1):
            x_late, y_late = Signal.like(x, name=f"x_{stage + 1}"), Signal.like(y, name=f"y_{stage + 1}")
            m.d.sync += [x_late.eq(x), y_late.eq(y)]
            # The rounding and the rail have a cycle each.
            x, y = (rounded(x_late), rounded(y_late)) if stage == 0 else (x_late, y_late)
        m.d.sync += [request.x.eq(at_rail(x)), request.y.eq(at_rail(y))]

        requested_z = Cat(Const(0, POSITION_FRACTION_BITS), request.z).as_signed()
        bias_kept = Signal(CODE)  # last one driven outside of a pulse
        safe_late = Signal(init=1)
        m.d.sync += safe_late.eq(self.safe)

        first_safe = Signal()
        m.d.sync += first_safe.eq(self.safe & ~safe_late)

        # Once a sample period from the first safe cycle on, or while live.
        period = Signal(range(self._cycles_per_sample))
        last = Signal()  # the period's last cycle, unless it begins anew
        beat = Signal()
        m.d.comb += beat.eq(last & ~first_safe)
        m.d.sync += [last.eq((period == self._cycles_per_sample - 2) & ~first_safe), period.eq(period + 1)]
        with m.If(first_safe):
            m.d.sync += period.eq(1)  # as if it had begun with this cycle
        with m.Elif(last):
            m.d.sync += period.eq(0)

        # One step further away than z_driven, always at hand: ``safe`` comes late in its cycle and only selects. ``away_live`` is it in the
        # first safe cycle, ``away_safe``, one cycle behind, at each beat after.
        rail = CODE_MAX << POSITION_FRACTION_BITS
        away_live, away_safe = Signal(POSITION, init=rail), Signal(POSITION, init=rail)
        withdrawn = Signal(init=1)
        m.d.sync += withdrawn.eq(self.z_driven == rail)

        def step_away(position: Value) -> Value:
            stepped = position + bank.retract_step
            return Mux(stepped > rail, rail, stepped)

        m.d.sync += away_live.eq(step_away(requested_z))
        with m.If(safe_late):
            m.d.sync += away_safe.eq(step_away(self.z_driven))
        away = Mux(safe_late, away_safe, away_live)

        # The bias on its way to 0, with a fraction so that it may take seconds: what it is after the next step, ready two cycles later.
        bias_fraction = Signal(BIAS_FRACTION_BITS)
        bias_fine = Cat(bias_fraction, self.dac.bias).as_signed()
        bias_lower = Signal(CODE.width + BIAS_FRACTION_BITS)
        bias_upper = Signal(CODE.width + BIAS_FRACTION_BITS)
        bias_next = Signal(CODE.width + BIAS_FRACTION_BITS)
        ramping = Signal(2)
        ramp, zero = Signal(), Signal()  # a beat takes the step; take it now
        wanted = self.reaction.bias_ramp & ~self.reaction.bias_zero
        m.d.sync += [
            ramping.eq(Cat(wanted, ramping)),
            ramp.eq(wanted & ramping.all() & withdrawn),
            zero.eq(self.reaction.bias_zero),
        ]
        with m.If(self.reaction.bias_ramp):
            m.d.sync += [bias_lower.eq(bias_fine - bank.bias_step), bias_upper.eq(bias_fine + bank.bias_step)]
            m.d.sync += bias_next.eq(Mux(self.dac.bias < 0, bias_upper, bias_lower))
        # Where the step would reach or pass 0, and on contact.
        with m.If(self.reaction.bias_zero | Mux(self.dac.bias < 0, ~bias_upper[-1], bias_lower[-1])):
            m.d.sync += bias_next.eq(0)
        with m.If(~self.pulse_driven):
            m.d.sync += bias_kept.eq(self.dac.bias)
        with m.If(~safe_late):
            m.d.sync += bias_fraction.eq(0)
        with m.Elif(zero | (ramp & beat)):
            m.d.sync += bias_fraction.eq(bias_next)

        # ``safe`` comes late in its cycle and has many loads: here it chooses, and what it chooses from is there.
        with m.If(self.safe):
            m.d.sync += [self.blank.eq(1), self.pulse_driven.eq(0)]
            m.d.sync += [self.lines[name].eq(0) for name in ("pixel", "line", "frame")]
            with m.If((beat | ~safe_late) & self.reaction.retract):
                m.d.sync += self.z_driven.eq(away)
            with m.If(self.pulse_driven):
                m.d.sync += self.dac.bias.eq(bias_kept)
            with m.Elif(zero | (ramp & beat)):
                m.d.sync += self.dac.bias.eq(bias_next[BIAS_FRACTION_BITS:])
        with m.Else():
            m.d.sync += [
                self.dac.x.eq(request.x),
                self.dac.y.eq(request.y),
                self.dac.bias.eq(request.bias),
                self.blank.eq(self.blank_request),
                self.lines.eq(self.line_requests),
                self.pulse_driven.eq(request_pulse),
                self.z_driven.eq(requested_z),
            ]
            with m.If(beat):
                m.d.sync += self.pump.eq(~self.pump)
        m.d.comb += self.dac.z.eq(self.z_driven >> POSITION_FRACTION_BITS)
        m.d.sync += self.trigger.eq(self.reaction.trigger)

        m.submodules.motor = motor = Motor()
        m.d.comb += [
            motor.go.eq(safe_late & self.reaction.retreat & withdrawn),
            motor.again.eq(0),
            motor.beat.eq(beat),
            motor.steps.eq(bank.retreat_steps),
            motor.half_period.eq(bank.retreat_period),
            self.motor_step.eq(motor.step),
            bank.retreat_left.eq(motor.left),
        ]

        # The approach: steps towards the sample only from the rail. What is asked for anew counts from there on.
        approaching, approach_asked, approach_steps = Signal(), Signal(), Signal(16)
        m.submodules.approach = approach = Motor()
        m.d.comb += [
            approach.go.eq(approaching & ~safe_late & withdrawn),
            approach.again.eq(approach_asked),
            approach.beat.eq(beat),
            approach.steps.eq(approach_steps),
            approach.half_period.eq(bank.retreat_period),
            bank.approach_left.eq(approach.left),
        ]
        m.d.sync += approach_asked.eq(bank.approach_strobe)
        with m.If(safe_late | ~withdrawn):
            m.d.sync += approaching.eq(0)
        with m.Elif(bank.approach_strobe):
            m.d.sync += [approaching.eq(1), approach_steps.eq(bank.approach)]
        m.d.sync += self.approach_step.eq(approach.step & approach.go & ~self.safe)

        # A frame that carries the first safe codes must not be cut off by the regular one; the frame after it is at most one later.
        guard_cycles = 2 * self._cycles_per_sample - 2
        guard = Signal(range(guard_cycles + 1))
        guarded = Signal()  # guard != 0
        with m.If(first_safe):
            m.d.sync += [guard.eq(guard_cycles), guarded.eq(1)]
        with m.Elif(guarded):
            m.d.sync += [guard.eq(guard - 1), guarded.eq(guard != 1)]
        m.d.comb += self.dac_load.eq(first_safe | (self.frame & ~guarded))

        # Read-back against the codes of the last frame. Two cycles: compare, then one bit.
        sent = Signal(OUTPUTS, init=withdrawn_codes)
        with m.If(self.dac_load):
            m.d.sync += sent.eq(self.dac)
        wrong = Signal(len(OUTPUTS.members))
        channels = list(OUTPUTS.members)
        inject = self.conditions.inject[0]
        with m.If(self.readback.valid | inject):
            m.d.sync += wrong.eq(
                Cat((self.readback.dac[name] ^ Mux(inject, ~self.readback.dac[name], sent[name])).any() for name in channels)
            )
        verdict = Signal()
        m.d.sync += verdict.eq(wrong.any() & self.conditions.enable[0])
        m.d.comb += self.conditions.verdict.eq(verdict)
        read, expected = Signal(OUTPUTS), Signal(OUTPUTS)
        with m.If(self.readback.valid):
            m.d.sync += [read.eq(self.readback.dac), expected.eq(sent)]
        value, limit = Signal(CODE), Signal(CODE)
        for index, name in reversed(list(enumerate(channels))):
            with m.If(wrong[index]):
                m.d.comb += [value.eq(read[name]), limit.eq(expected[name])]
        measured(m, self.conditions, {Cause.READBACK: (value, limit)})

        m.d.comb += [
            bank.x_code.eq(self.dac.x),
            bank.y_code.eq(self.dac.y),
            bank.z_code.eq(self.dac.z),
            bank.bias_code.eq(self.dac.bias),
            bank.blanked.eq(self.blank),
            bank.withdrawn.eq(withdrawn),
            bank.trigger.eq(self.trigger),
        ]
        return m
