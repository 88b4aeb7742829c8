"""Conditions on what is about to be driven."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from reflexarc.contract.blocks import envelope
from reflexarc.contract.blocks.envelope import KEEP_OUT_EDGES, KEEP_OUTS, keep_out
from reflexarc.contract.blocks.interlock import ENVELOPE_CAUSES, Cause
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc_hw.lib.bus import BankSignature, GuardSignature, attach_bank
from reflexarc_hw.lib.compare import greater
from reflexarc_hw.lib.conditions import GATHER_CYCLES, LATCH_CYCLES, ConditionSignature, measured, tighter
from reflexarc_hw.lib.formats import CODE, POSITION

ROUNDED = signed(CODE.width + 1)  # rounding may pass the rail by one
OPERAND = signed(CODE.width + 2)  # a rounded position, or with injection a value that no limit reaches
BEYOND = (1 << (OPERAND.width - 1)) - 1
VELOCITY_BOUND = signed(POSITION.width + 2)

# Cycles from a position at this block to its verdict; the gate holds each back until then, so that what is violated is never driven.
XY_CYCLES = 4
Z_CYCLES = 1
BIAS_CYCLES = 3


def rounded_half(position):
    """Q20.12 in half LSB, rounded down: half-up rounding to a code turns into a plain comparison with it."""
    return position >> (POSITION_FRACTION_BITS - 1)


class Envelope(wiring.Component):
    """Box, keep-out rectangles, change of z and least bias, each on the request that the gate will drive.

    z: verdict one cycle after the request. The bias: three. x and y: four (rounding, movement, comparisons, and/or). The gate delays each until
    the interlock has decided.
    The change of z is measured from the z that stood at the last ``tick``, and counts while ``live``. The limits in force are registers,
    made anew each 4 cycles: the tighter of hard and soft.
    """

    bus: In(BankSignature())
    guard: In(GuardSignature())
    conditions: In(ConditionSignature(len(ENVELOPE_CAUSES), short=1))
    x: In(POSITION)  # Q20.12, DAC LSB, as are y and z
    y: In(POSITION)
    z: In(POSITION)
    bias: In(CODE)
    engaged: In(1)  # feedback drives z
    live: In(1)
    tick: In(1)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, envelope.BLOCK)
        place = {cause: index for index, cause in enumerate(ENVELOPE_CAUSES)}
        enable = {cause: self.conditions.enable[index] for cause, index in place.items()}
        inject = {cause: self.conditions.inject[index] for cause, index in place.items()}
        verdict = {cause: Signal(name=cause.name.lower()) for cause in ENVELOPE_CAUSES}
        m.d.comb += self.conditions.verdict.eq(Cat(verdict[cause] for cause in ENVELOPE_CAUSES))
        beat = Signal(2)
        m.d.sync += beat.eq(beat + 1)

        # z: compared in half LSB, in the cycle in which the gate rounds it.
        z_high, z_low = Signal(CODE), Signal(CODE)
        z_high_half, z_low_half = Signal(OPERAND), Signal(OPERAND)
        with m.If(beat == 0):
            m.d.sync += [
                z_high.eq(tighter(bank.z_high, bank.soft_z_high, least=False)),
                z_low.eq(tighter(bank.z_low, bank.soft_z_low, least=True)),
            ]
        # z comes from afar and has one cycle: injection moves the bound that it is compared with, not z.
        m.d.sync += [
            z_high_half.eq(Mux(inject[Cause.Z_HIGH], -BEYOND, (z_high << 1) + 1)),
            z_low_half.eq(Mux(inject[Cause.Z_LOW], BEYOND, (z_low << 1) - 1)),
        ]
        z_half = rounded_half(self.z)
        too_high, too_low = ~greater(z_high_half, z_half) & enable[Cause.Z_HIGH], greater(z_low_half, z_half) & enable[Cause.Z_LOW]

        # Change of z since the last tick. The bounds follow a tick by one cycle.
        z_reference, reference_in_force = Signal(POSITION), Signal(POSITION)
        velocity = Signal(32)  # Q20.12 a sample
        rise_to, fall_to = Signal(VELOCITY_BOUND), Signal(VELOCITY_BOUND)
        ticked = Signal()
        m.d.sync += ticked.eq(self.tick | ~self.live)
        with m.If(beat == 0):
            m.d.sync += velocity.eq(tighter(bank.z_velocity, bank.soft_z_velocity, least=False))
        with m.If(self.tick | ~self.live):
            m.d.sync += z_reference.eq(self.z)
        with m.If(ticked):
            m.d.sync += reference_in_force.eq(z_reference)
            m.d.sync += [rise_to.eq(z_reference + Cat(velocity, Const(0, 1)).as_signed()), fall_to.eq(z_reference - velocity)]
        counts = Signal()
        m.d.comb += counts.eq((self.live | inject[Cause.Z_VELOCITY]) & enable[Cause.Z_VELOCITY])
        with m.If(inject[Cause.Z_VELOCITY]):
            m.d.sync += rise_to.eq(-1 << (VELOCITY_BOUND.width - 1))
        too_fast = (greater(self.z, rise_to) | greater(fall_to, self.z)) & counts
        m.d.sync += [
            verdict[Cause.Z_HIGH].eq(too_high),
            verdict[Cause.Z_LOW].eq(too_low),
            verdict[Cause.Z_VELOCITY].eq(too_fast),
            self.conditions.short.eq(too_high | too_low | too_fast),
        ]

        # Bias: within +-bias_min while feedback drives z, it would drive the tip in.
        bias_min, bias_min_negative = Signal(19), Signal(CODE)
        bias = Signal(CODE)
        m.d.sync += bias.eq(Mux(inject[Cause.BIAS_LOW], 0, self.bias))
        with m.If(beat == 0):
            m.d.sync += bias_min.eq(tighter(bank.bias_min, bank.soft_bias_min, least=True))
        m.d.sync += bias_min_negative.eq(-bias_min)
        # Cycle 2: compared. Cycle 3: does it count. With injection a least bias of 0 shows as what it is: a condition that can't fire.
        low = Signal()
        m.d.sync += [
            low.eq((bias < Cat(bias_min, Const(0, 1)).as_signed()) & (bias > bias_min_negative)),
            verdict[Cause.BIAS_LOW].eq(low & (self.engaged | inject[Cause.BIAS_LOW]) & enable[Cause.BIAS_LOW]),
        ]

        # x and y, cycle 1: rounded. Cycle 2: did either move?
        x_new, y_new = Signal(ROUNDED), Signal(ROUNDED)
        x, y = Signal(ROUNDED), Signal(ROUNDED)
        moved = Signal()
        half = 1 << (POSITION_FRACTION_BITS - 1)
        m.d.sync += [
            x_new.eq((self.x + half) >> POSITION_FRACTION_BITS),
            y_new.eq((self.y + half) >> POSITION_FRACTION_BITS),
            x.eq(x_new),
            y.eq(y_new),
            moved.eq((x_new != x) | (y_new != y)),
        ]
        # Cycle 3: compared. All of it sleeps while nothing moves, which only the twin notices.
        limits = {}
        with m.If(beat == 0):
            for axis in "xy":
                for side in ("high", "low"):
                    limits[axis, side] = Signal(CODE, name=f"{axis}_{side}")
                    hard, soft = getattr(bank, f"{axis}_{side}"), getattr(bank, f"soft_{axis}_{side}")
                    m.d.sync += limits[axis, side].eq(tighter(hard, soft, least=side == "low"))
        outside = Signal(4)  # x high, x low, y high, y low
        forced = inject[Cause.XY_RANGE]
        with m.If(moved | (beat == 0) | forced):
            m.d.sync += outside.eq(
                Cat(
                    x > limits["x", "high"],
                    (x < limits["x", "low"]) | forced,
                    y > limits["y", "high"],
                    y < limits["y", "low"],
                )
            )
        corners = Signal()  # injected into the keep-outs; a register of its own, for it goes to all of them
        m.d.sync += corners.eq(inject[Cause.KEEP_OUT])
        beyond = [Signal(len(KEEP_OUT_EDGES), name=f"beyond_{index}") for index in range(KEEP_OUTS)]  # 1: outside of that edge
        with m.If(moved | (beat == 0) | corners):
            for index in range(KEEP_OUTS):
                edges = {edge: getattr(bank, keep_out(index, edge)) for edge in KEEP_OUT_EDGES}
                # Injected: the rectangle's own corner, which lies within it unless it is inside out.
                x_seen, y_seen = Mux(corners, edges["x_low"], x), Mux(corners, edges["y_low"], y)
                m.d.sync += beyond[index].eq(
                    Cat(x_seen < edges["x_low"], x_seen > edges["x_high"], y_seen < edges["y_low"], y_seen > edges["y_high"])
                )
        # Cycle 4: and, or. With injection each enabled rectangle must fire.
        inside = Signal(KEEP_OUTS)
        hit = Signal(KEEP_OUTS)
        silent = Signal()
        m.d.comb += [
            inside.eq(Cat(~edges.any() for edges in beyond) & bank.keep_out_enable),
            silent.eq((bank.keep_out_enable & ~inside).any() | ~bank.keep_out_enable.any()),
        ]
        m.d.sync += [
            hit.eq(inside),
            verdict[Cause.XY_RANGE].eq(outside.any() & enable[Cause.XY_RANGE]),
            verdict[Cause.KEEP_OUT].eq(Mux(inject[Cause.KEEP_OUT], ~silent, inside.any()) & enable[Cause.KEEP_OUT]),
        ]

        # z may move in any cycle, so what was compared is kept until it is asked for; x and y move once a sample.
        def kept(value: Value, cycles: int, name: str) -> Value:
            for stage in range(cycles):
                late = Signal(Value.cast(value).shape(), name=f"{name}_{stage + 1}")
                m.d.sync += late.eq(value)
                value = late
            return value

        cycles = LATCH_CYCLES + 1  # from the cycle before a verdict of the short path to ``latch``
        z_late, reference_late = Signal(POSITION), Signal(POSITION)
        m.d.sync += [z_late.eq(self.z), reference_late.eq(reference_in_force)]
        z_then = kept((z_late + half) >> POSITION_FRACTION_BITS, cycles - 1, "z_then")
        change_then = kept(z_late - reference_late, cycles - 1, "change_then")
        bias_then = kept(self.bias, cycles + BIAS_CYCLES - 1 + GATHER_CYCLES, "bias_then")
        outside_then = kept(outside, cycles + GATHER_CYCLES, "outside_then")
        measured(
            m,
            self.conditions,
            {
                Cause.XY_RANGE: (
                    Mux(outside_then[:2].any(), x, y),
                    Mux(
                        outside_then[0], limits["x", "high"],
                        Mux(outside_then[1], limits["x", "low"], Mux(outside_then[2], limits["y", "high"], limits["y", "low"])),
                    ),
                ),
                Cause.Z_HIGH: (z_then, z_high),
                Cause.Z_LOW: (z_then, z_low),
                Cause.KEEP_OUT: (hit, bank.keep_out_enable),
                Cause.Z_VELOCITY: (change_then, velocity),
                Cause.BIAS_LOW: (bias_then, bias_min),
            },
        )  # fmt: skip
        return m
