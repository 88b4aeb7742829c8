"""Proofs of the requantizer: its product is one, and what it makes of any product is the formula of onnxruntime's float32.

| assumption | why it is harmless |
|---|---|
| `product_is_one`: the product is 0 or from 2**23 up to 2**55 in magnitude, anything else is free | `requantizer_product` has it as a sum below 2**24 in magnitude, which the compiler proves of each output, times a mantissa from 2**23 up to 2**24, shifted left by up to 7; mantissa 0 gives 0 |
| `low_is_not_above_high` | the compiler writes both, and each clamp has them so |
| the product of two numbers is the sum of the products of their parts, each shifted by what its factors are | distributivity. As one statement on 25 x 31 bits it is beyond a solver; the tests compare more than ten million products |
| a multiplier multiplies | it is one line, and the synthesis tool's operator |

Sum, bias, mantissa, shift, zero point, ends, valid and the reset are free in every cycle, and so is the product in `requantizer`.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed

from reflexarc_hw.blocks.detector import requantize
from reflexarc_hw.blocks.detector.requantize import (
    FACTOR_BITS,
    FACTOR_SPLIT,
    PRESHIFT,
    PRODUCT,
    PRODUCT_CYCLES,
    REQUANTIZE_CYCLES,
    SUM,
    SUM_SPLIT,
    Product,
    Requantizer,
)
from reflexarc_hw.formal import Mutation, Proof, parts_are_free

REQUANTIZE = "blocks/detector/requantize.py"
BEHIND = REQUANTIZE_CYCLES - PRODUCT_CYCLES
UP_CYCLES = 3  # from a product to the rounding of it


def half_even(value: Value, bits: int) -> Value:
    """``value / 2**bits`` rounded to the nearest integer, half to even."""
    if bits == 0:
        return value
    down, rest, half = value[bits:], value[:bits], 1 << (bits - 1)
    return down + ((rest > half) | ((rest == half) & down[0]))


class RequantizerProof(Proof):
    """All of it but the product."""

    name = "requantizer"
    short = True
    depth = REQUANTIZE_CYCLES + 1
    cover_depth = REQUANTIZE_CYCLES + 2
    assumptions = ("product_is_one", "low_is_not_above_high")
    properties = {
        "value_is_the_formula": "A value is the product rounded to 24 bits, then to an integer, half to even both times, with the zero point, clamped.",
        "value_is_on_time": f"There is a value {REQUANTIZE_CYCLES} cycles after each valid sum, and only then.",
        "value_stays": "Without one, what is given does not change.",
    }
    covers = ("first_rounding_makes_less", "first_rounding_makes_more", "below_the_range", "above_the_range", "without_a_shift")
    mutations = (
        Mutation("value_is_the_formula", REQUANTIZE, "Mux(ones_half, odd | leading_some | (next_set & further_some), odd & leading_all)", "ones_half & (odd | leading_some | next_set | further_some)", 9),
        Mutation("value_is_the_formula", REQUANTIZE, "odd & leading_all", "leading_all", 9),
        Mutation("value_is_the_formula", REQUANTIZE, "(next_set & further_some)", "next_set", 9),
        Mutation("value_is_the_formula", REQUANTIZE, "further_some = some_rest | ", "further_some = ", 9),
        Mutation("value_is_the_formula", REQUANTIZE, "Mux(saturates, (~negative).replicate(MAGNITUDE_BITS), magnitude)", "magnitude", 9),
        Mutation("value_is_the_formula", REQUANTIZE, "negative.eq(sign & (small | within.any()))", "negative.eq(sign & within.any())", 9),
        Mutation("value_is_the_formula", REQUANTIZE, "is_high.eq(whole >= to_high)", "is_high.eq(whole > to_high)", 9),
        Mutation("value_is_the_formula", REQUANTIZE, "is_low.eq(whole < to_low)", "is_low.eq(whole <= to_low)", 9),
        Mutation("value_is_on_time", REQUANTIZE, "self.value_valid.eq(stages[-1])", "self.value_valid.eq(stages[-2])", 9),
        Mutation("value_stays", REQUANTIZE, "with m.If(stages[6]):", "with m.If(~stages[6]):", 12),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        with parts_are_free(requantize, "Product"):
            dut = self.add("requantizer", Requantizer())
        product = self.part("requantizer.product").product
        # Of the sum whose product stands there.
        valid, shift, zero_point, low, high = (
            self.past(value, PRODUCT_CYCLES) for value in (dut.valid, dut.shift, dut.zero_point, dut.low, dut.high)
        )
        self.assume("low_is_not_above_high", dut.low <= dut.high)
        negative, magnitude = product < 0, Signal(PRODUCT.width)
        m.d.comb += magnitude.eq(Mux(negative, -product, product))
        self.assume("product_is_one", ~valid | (magnitude == 0) | ((magnitude >= 1 << 23) & (magnitude < 1 << 55)))

        # The formula of the design: P = (|acc| << clz24(|acc|)) * M has its leading bit at 46 or 47, and Q is P rounded to the 24 bits from there on.
        # That is the product rounded to the 24 bits from its leading bit on, wherever it is. r is how far behind the last of them the point is: the
        # product stands 7 - shift % 8 further left, so its point is at shift + 7 - shift % 8.
        significand, last = Signal(26), Signal(range(32))
        for leading in range(23, 55):
            with m.If(magnitude[leading:] == 1):
                m.d.comb += [significand.eq(half_even(magnitude, leading - 23)), last.eq(leading - 23)]
        right = Signal(signed(9))
        m.d.comb += right.eq((shift | PRESHIFT) - last)
        v = Signal(range(257))
        with m.If((magnitude == 0) | (right > 25)):
            m.d.comb += v.eq(0)
        with m.Elif(right < 16):
            m.d.comb += v.eq(256)
        for bits in range(16, 26):
            with m.Elif(right == bits):
                m.d.comb += v.eq(half_even(significand, bits))
        moved, value = Signal(signed(10)), Signal(signed(8))
        m.d.comb += moved.eq(zero_point + Mux(negative, -v, v))
        m.d.comb += value.eq(Mux(moved < low, low, Mux(moved > high, high, moved)))

        self.holds("value_is_the_formula", ~dut.value_valid | (dut.value == self.past(value, BEHIND)))
        self.holds("value_is_on_time", dut.value_valid == self.past(dut.valid, REQUANTIZE_CYCLES))
        self.holds("value_stays", dut.value_valid | (dut.value == self.past(dut.value)))

        # Half way: what is rounded is v, or both are beyond any zero point.
        whole = Cat(self.inside("requantizer.ones"), self.inside("requantizer.ones_negative")).as_signed()
        rounded = Signal(signed(10))
        m.d.comb += rounded.eq(self.past(whole) + self.inside("requantizer.up"))
        v_then, negative_then = self.past(v, UP_CYCLES), self.past(negative, UP_CYCLES)
        beyond = Mux(negative_then, rounded <= -255, rounded >= 255)
        same = Mux(v_then == 256, beyond, rounded == Mux(negative_then, -v_then, v_then))
        self.invariant(~self.past(valid, UP_CYCLES) | same)

        # What a single rounding gives instead.
        once = Signal(range(257))
        for n in range(16, 56):
            with m.If((shift | PRESHIFT) == n):
                m.d.comb += once.eq(half_even(magnitude, n))
        between = valid & (right > 16) & (right < 25)
        self.reaches("first_rounding_makes_less", dut.value_valid & self.past(between & (v < once), BEHIND))
        self.reaches("first_rounding_makes_more", dut.value_valid & self.past(between & (v > once), BEHIND))
        self.reaches("below_the_range", dut.value_valid & self.past(between & (moved < low), BEHIND))
        self.reaches("above_the_range", dut.value_valid & self.past(between & (moved > high), BEHIND))
        self.reaches("without_a_shift", dut.value_valid & self.past(valid & (shift == 0) & negative & (low != high), BEHIND))


class ProductProof(Proof):
    """Sum, factor, and four products of parts, which may be anything."""

    name = "requantizer_product"
    depth = PRODUCT_CYCLES + 1
    cover_depth = PRODUCT_CYCLES + 2
    properties = {
        "sum_has_its_bias": "What is multiplied is the sum with its bias.",
        "mantissa_is_shifted": "By the mantissa, shifted left by 7 - shift % 8.",
        "parts_have_their_factors": "Each of the four multipliers has the part of each that it is called after, when there are new ones.",
        "product_is_the_sum_of_its_parts": f"{PRODUCT_CYCLES} cycles after a valid sum the product is the sum of theirs, each shifted by what its factors are.",
    }
    covers = ("least_sum", "greatest_factor")
    mutations = (
        Mutation("sum_has_its_bias", REQUANTIZE, "biased.eq(self.sum + self.bias)", "biased.eq(self.sum - self.bias)"),
        Mutation("mantissa_is_shifted", REQUANTIZE, "self.mantissa << ~self.shift[:3]", "self.mantissa << self.shift[:3]"),
        Mutation("parts_have_their_factors", REQUANTIZE, "upper_lower.b.eq(factor_lower)", "upper_lower.b.eq(factor_upper)"),
        Mutation("parts_have_their_factors", REQUANTIZE, "part.valid.eq(stages[0])", "part.valid.eq(stages[1])"),
        Mutation("product_is_the_sum_of_its_parts", REQUANTIZE, "+ middles[0] +", "+ middles[0].as_unsigned() +"),
        Mutation("product_is_the_sum_of_its_parts", REQUANTIZE, "(middles[1] << rise)", "(middles[1] << (rise - 1))"),
        Mutation("product_is_the_sum_of_its_parts", REQUANTIZE, "with m.If(stages[2]):\n            total", "with m.If(stages[1]):\n            total"),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        with parts_are_free(requantize, "Multiplier"):
            dut = self.add("product", Product())
        biased, factor = self.inside("product.biased"), self.inside("product.factor")
        valid = self.past(dut.valid)
        expected, shifted = Signal(SUM), Signal(FACTOR_BITS)
        m.d.comb += expected.eq(self.past(dut.sum) + self.past(dut.bias))
        mantissa, extra = self.past(dut.mantissa), Signal(range(PRESHIFT + 1))
        m.d.comb += [extra.eq(PRESHIFT - self.past(dut.shift)[:3]), shifted.eq(mantissa << extra)]
        self.holds("sum_has_its_bias", ~valid | (biased == expected))
        self.holds("mantissa_is_shifted", ~valid | (factor == shifted))

        parts = [self.part(f"product.{name}") for name in ("lower_lower", "lower_upper", "upper_lower", "upper_upper")]
        lower, upper = biased[:SUM_SPLIT], biased[SUM_SPLIT:].as_signed()
        factor_lower, factor_upper = factor[:FACTOR_SPLIT], factor[FACTOR_SPLIT:]
        factors = [(lower, factor_lower), (lower, factor_upper), (upper, factor_lower), (upper, factor_upper)]
        for part, (a, b) in zip(parts, factors, strict=True):
            self.holds("parts_have_their_factors", ~valid | (part.valid & (part.a == a) & (part.b == b)))

        lower_lower, lower_upper, upper_lower, upper_upper = (self.past(part.product, 2) for part in parts)
        total = Signal(PRODUCT)
        m.d.comb += total.eq(
            lower_lower
            + (lower_upper << FACTOR_SPLIT)
            + (upper_lower << SUM_SPLIT)
            + (upper_upper << (SUM_SPLIT + FACTOR_SPLIT))
        )  # fmt: skip
        done = self.past(dut.valid, PRODUCT_CYCLES)
        self.holds("product_is_the_sum_of_its_parts", ~done | (dut.product == total))
        self.reaches("least_sum", done & (self.past(biased, 3) == -(1 << (SUM.width - 1)) + 1))
        self.reaches("greatest_factor", done & (self.past(factor, 3) == (1 << FACTOR_BITS) - (1 << PRESHIFT)))


PROOFS = [RequantizerProof(), ProductProof()]
