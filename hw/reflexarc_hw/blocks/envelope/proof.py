"""Proofs of the envelope: what is about to be driven and beyond a limit has its verdict before it could be.

| assumption | why it is harmless |
|---|---|
| `accesses_are_apart` | what the bus's arbiter does: `fabric` |
| a limit was written 10 cycles ago or earlier, that of the change of z before the last tick: said in the properties | limits in force follow the registers by so many; hard ones are locked long before anything is live |

Positions, bias, ticks, live, enables, register accesses and the reset are free in every cycle: x, y and z may jump anywhere in each. The
properties speak of cycles without injection: for x and y in the last 10, for the change of z since the last tick.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from reflexarc.contract.blocks.envelope import KEEP_OUTS, keep_out
from reflexarc.contract.blocks.interlock import ENVELOPE_CAUSES, Cause
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc_hw.blocks.envelope.envelope import BIAS_CYCLES, XY_CYCLES, Z_CYCLES, Envelope
from reflexarc_hw.formal import Mutation, Proof
from reflexarc_hw.lib.bus_proof import APART, accesses_are_apart
from reflexarc_hw.lib.formats import POSITION

ENVELOPE = "blocks/envelope/envelope.py"
IN_FORCE = 10  # cycles from a register to the comparisons, also where nothing moves


def rounded(position: Value) -> Value:
    """Half up."""
    return (position + (1 << (POSITION_FRACTION_BITS - 1))) >> POSITION_FRACTION_BITS


class _EnvelopeProof(Proof):
    assumptions = (APART,)

    def block(self) -> Envelope:
        dut = self.add("envelope", Envelope())
        accesses_are_apart(self, dut.bus)
        self.bank, self.ports = self.part("envelope.bank"), dut.conditions
        self.quiet = ~dut.conditions.inject.any()
        self.guide(self.quiet)
        for name in self.covers:
            self.reaches(name, self.verdict(Cause[name]))
        return dut

    def verdict(self, cause: Cause) -> Value:
        return self.ports.verdict[ENVELOPE_CAUSES.index(cause)]

    def trips(self, name: str, cause: Cause, violated: Value, cycles: int) -> None:
        """``violated`` so many cycles ago; whether it is enabled counts in the last of them."""
        judged = self.quiet & self.ports.enable[ENVELOPE_CAUSES.index(cause)]
        self.holds(name, ~(self.past(violated, cycles) & self.past(judged)) | self.verdict(cause))

    def age(self, value: Value) -> Signal:
        """Cycles since a value last changed."""
        age = Signal(range(IN_FORCE + 1), name="age")
        self._m.d.sync += age.eq(Mux(value != self.past(value), 0, Mux(age == IN_FORCE, age, age + 1)))
        return Mux(value != self.past(value), 0, age)


class ZProof(_EnvelopeProof):
    """The window of z."""

    name = "envelope_z"
    short = True
    depth = 7
    cover_depth = 14
    properties = {
        "hard_z_trips": f"A z that rounds to a code beyond a hard limit has its verdict {Z_CYCLES} cycle later, whatever the soft limits are.",
        "soft_z_trips": "So has one beyond a soft limit, whatever the hard ones are.",
        "short_is_the_sum": "The block's bit of the interlock's short path is any verdict on z.",
    }
    covers = ("Z_HIGH", "Z_LOW")
    mutations = (
        Mutation("hard_z_trips", ENVELOPE, "tighter(bank.z_high, bank.soft_z_high, least=False)", "bank.soft_z_high", 24),
        Mutation("hard_z_trips", ENVELOPE, "-BEYOND, (z_high << 1) + 1)", "-BEYOND, (z_high << 1) + 2)", 24),
        Mutation("short_is_the_sum", ENVELOPE, "short.eq(too_high | too_low | too_fast)", "short.eq(too_high | too_low)", 24),
        Mutation("soft_z_trips", ENVELOPE, "tighter(bank.z_low, bank.soft_z_low, least=True)", "tighter(bank.z_low, bank.soft_z_low, least=False)", 24),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        on_z = (self.verdict(cause) for cause in (Cause.Z_HIGH, Cause.Z_LOW, Cause.Z_VELOCITY))
        self.holds("short_is_the_sum", self.ports.short == Cat(on_z).any())
        code = rounded(dut.z)
        for kind, prefix in (("hard", ""), ("soft", "soft_")):
            for side in ("high", "low"):
                limit = getattr(self.bank, f"{prefix}z_{side}")
                age = self.age(limit)
                half = self.inside(f"envelope.z_{side}_half")
                used = (half <= (limit << 1) + 1) if side == "high" else (half >= (limit << 1) - 1)
                self.invariant((age < 6) | used)
                beyond = (code > limit) if side == "high" else (code < limit)
                self.trips(f"{kind}_z_trips", Cause[f"Z_{side.upper()}"], beyond & (age >= 6) & self.quiet, Z_CYCLES)


class XyProof(_EnvelopeProof):
    """The windows of x and y."""

    depth = 7
    cover_depth = 14

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.name = f"envelope_xy_{kind}"
        self._prefix = {"hard": "", "soft": "soft_"}[kind]
        self._property = f"{kind}_xy_trips"
        self.properties = {
            self._property: f"An x or y that rounds to a code beyond a {kind} limit has its verdict {XY_CYCLES} cycles later, whatever the others are."
        }
        self.covers = ("XY_RANGE",) if kind == "hard" else ()
        self.mutations = (
            Mutation(self._property, ENVELOPE, 'tighter(hard, soft, least=side == "low")', {"hard": "soft", "soft": "hard"}[kind], 24),
            Mutation(self._property, ENVELOPE, "moved.eq((x_new != x) | (y_new != y))", "moved.eq(x_new != x)", 24),
            Mutation(
                self._property,
                ENVELOPE,
                "y_new.eq((self.y + half) >> POSITION_FRACTION_BITS)",
                "y_new.eq(self.y >> POSITION_FRACTION_BITS)",
                24,
            ),
        )

    def describe(self, m: Module) -> None:
        dut = self.block()
        clean = self.age(~self.quiet)  # an injected violation lingers until the next comparison
        outside = self.inside("envelope.outside")
        sides = [(axis, side) for axis in "xy" for side in ("high", "low")]
        for index, (axis, side) in enumerate(sides):
            limit = getattr(self.bank, f"{self._prefix}{axis}_{side}")
            age = self.age(limit)
            in_force = self.inside(f"envelope.{axis}_{side}")
            self.invariant((age < 5) | ((in_force <= limit) if side == "high" else (in_force >= limit)))
            compared = self.past(self.inside(f"envelope.{axis}"))
            beyond = (compared > limit) if side == "high" else (compared < limit)
            counts = beyond & (age == IN_FORCE) & self.quiet & (clean >= 5)
            self.invariant(~counts | outside[index])
            code = self.past(rounded(getattr(dut, axis)), XY_CYCLES - 1)
            self.invariant(~self.lasted(1, XY_CYCLES) | (code == compared))
            beyond = (code > limit) if side == "high" else (code < limit)
            counts = beyond & (age == IN_FORCE) & self.quiet & (clean >= 5)
            self.trips(self._property, Cause.XY_RANGE, counts, 1)


class BiasProof(_EnvelopeProof):
    """The least bias."""

    name = "envelope_bias"
    depth = 7
    cover_depth = 14
    properties = {
        "hard_bias_trips": f"With feedback on, a bias of a magnitude below the hard least has its verdict {BIAS_CYCLES} cycles later, whatever the soft least is.",
        "soft_bias_trips": "So has one below the soft least, whatever the hard one is.",
    }
    covers = ("BIAS_LOW",)
    mutations = (
        Mutation("hard_bias_trips", ENVELOPE, "tighter(bank.bias_min, bank.soft_bias_min, least=True)", "bank.soft_bias_min", 24),
        Mutation("hard_bias_trips", ENVELOPE, "(bias > bias_min_negative)", "(bias >= 0)", 24),
        Mutation("soft_bias_trips", ENVELOPE, "tighter(bank.bias_min, bank.soft_bias_min, least=True)", "tighter(bank.bias_min, bank.soft_bias_min, least=False)", 24),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        for kind, prefix in (("hard", ""), ("soft", "soft_")):
            least = getattr(self.bank, f"{prefix}bias_min")
            age = self.age(least)
            self.invariant((age < 5) | (self.inside("envelope.bias_min") >= least))
            small = (dut.bias < least) & (dut.bias > -least)
            judged = self.past(small & (age >= 6) & self.quiet, BIAS_CYCLES - 1)
            self.trips(f"{kind}_bias_trips", Cause.BIAS_LOW, judged & dut.engaged, 1)


class KeepOutProof(_EnvelopeProof):
    """One rectangle."""

    depth = 7
    cover_depth = 12

    def __init__(self, index: int) -> None:
        super().__init__()
        self._index = index
        self.name = f"envelope_keep_out_{index}"
        self.properties = {
            "keep_out_trips": f"A position that rounds into this rectangle, if enabled, has its verdict {XY_CYCLES} cycles later."
        }
        self.covers = () if index else ("KEEP_OUT",)
        self.mutations = (
            Mutation("keep_out_trips", ENVELOPE, "for edges in beyond) & bank.keep_out_enable)", f"for edges in beyond) & bank.keep_out_enable & ~{1 << index})", 24),
        )  # fmt: skip
        if index == 0:
            self.mutations += (
                Mutation("keep_out_trips", ENVELOPE, 'x_seen > edges["x_high"]', 'x_seen >= edges["x_high"]', 24),
                Mutation("keep_out_trips", ENVELOPE, "m.If(moved | (beat == 0) | corners)", "m.If((beat == 0) | corners)", 24),
            )  # fmt: skip

    def describe(self, m: Module) -> None:
        dut = self.block()
        clean = self.age(~self.quiet)  # an injected violation lingers until the next comparison
        x, y = self.past(rounded(dut.x), XY_CYCLES - 1), self.past(rounded(dut.y), XY_CYCLES - 1)
        compared = [self.past(self.inside(f"envelope.{axis}")) for axis in "xy"]
        self.invariant(~self.lasted(1, XY_CYCLES) | ((x == compared[0]) & (y == compared[1])))
        edges = [getattr(self.bank, keep_out(self._index, edge)) for edge in ("x_low", "x_high", "y_low", "y_high")]
        x_low, x_high, y_low, y_high = edges
        counts = (self.age(Cat(edges)) >= 6) & self.quiet & (clean >= 6)
        outside = Cat(compared[0] < x_low, compared[0] > x_high, compared[1] < y_low, compared[1] > y_high)
        self.invariant(~counts | (self.inside(f"envelope.beyond_{self._index}") == outside))
        within = (x >= x_low) & (x <= x_high) & (y >= y_low) & (y <= y_high)
        self.trips("keep_out_trips", Cause.KEEP_OUT, within & self.bank.keep_out_enable[self._index] & counts, 1)


class VelocityProof(_EnvelopeProof):
    """The change of z."""

    depth = 8
    cover_depth = 14

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.name = f"envelope_velocity_{kind}"
        self._register = {"hard": "z_velocity", "soft": "soft_z_velocity"}[kind]
        other = {"hard": "soft_z_velocity", "soft": "z_velocity"}[kind]
        self._property = f"{kind}_velocity_trips"
        self.properties = {
            self._property: f"While live, a z that is further from the z of the last tick, two or more cycles ago, than the {kind} limit has its "
            "verdict in the next cycle, whatever the other limit is."
        }
        self.covers = ("Z_VELOCITY",) if kind == "hard" else ()
        self.mutations = (
            Mutation(self._property, ENVELOPE, "tighter(bank.z_velocity, bank.soft_z_velocity, least=False)", f"bank.{other}", 24),
            Mutation(self._property, ENVELOPE, "fall_to.eq(z_reference - velocity)", "fall_to.eq(z_reference - velocity - 1)", 24),
            Mutation(self._property, ENVELOPE, "with m.If(self.tick | ~self.live):", "with m.If(~self.live):", 24),
        )

    def describe(self, m: Module) -> None:
        dut = self.block()
        begins = dut.tick | ~dut.live
        reference = Signal(POSITION)  # z at the last tick before this cycle
        with m.If(begins):
            m.d.sync += reference.eq(dut.z)
        judged_from = self.past(reference)
        self.invariant(self.inside("envelope.z_reference") == reference)

        limit = getattr(self.bank, self._register)
        same = limit == self.past(limit)
        settled = same & self.lasted(same, 5)
        counts, used = Signal(), Signal(32)  # the bounds were made with a limit that had settled, and which
        made = self.past(begins)
        with m.If(made):
            m.d.sync += [counts.eq(settled), used.eq(self.inside("envelope.velocity"))]
        with m.Elif(~same):
            m.d.sync += counts.eq(0)
        with m.If(self.ports.inject[ENVELOPE_CAUSES.index(Cause.Z_VELOCITY)]):
            m.d.sync += counts.eq(0)  # injection moves a bound until it is made anew
        in_force = counts & same
        rise_to, fall_to = self.inside("envelope.rise_to"), self.inside("envelope.fall_to")
        highest, lowest = judged_from + limit, judged_from - limit
        # In steps that are easy for the solver: the limit that was used, the bounds, the z.
        self.invariant(~in_force | ((used <= limit) & (rise_to == judged_from + used) & (fall_to == judged_from - used)))
        self.invariant(~in_force | ((rise_to <= highest) & (fall_to >= lowest)))
        beyond = (dut.z > highest) | (dut.z < lowest)
        self.trips(self._property, Cause.Z_VELOCITY, dut.live & in_force & beyond, 1)


PROOFS = [
    ZProof(),
    XyProof("hard"),
    XyProof("soft"),
    BiasProof(),
    *(KeepOutProof(index) for index in range(KEEP_OUTS)),
    VelocityProof("hard"),
    VelocityProof("soft"),
]
