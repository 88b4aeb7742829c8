"""From a sum to a stored value, rounded as onnxruntime rounds."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.model import ACCUMULATOR_BITS, MANTISSA_BITS
from reflexarc_hw.lib.product_register import product_register

SUM = signed(ACCUMULATOR_BITS)
STORED = signed(8)
SHIFT_BITS = 7
PRODUCT_CYCLES = 4  # of Product
REQUANTIZE_CYCLES = 8  # from ``valid`` to ``value_valid``

# What is shifted by 0 to 7 before it is multiplied need only be shifted by whole bytes behind: the ones of the value then stand at a bit 8n + 7.
PRESHIFT = 7
FACTOR_BITS = MANTISSA_BITS + PRESHIFT
PRODUCT = signed(ACCUMULATOR_BITS + FACTOR_BITS)
# Parts that fit a multiplier of 18 x 18 bits, signed.
SUM_SPLIT = 12
FACTOR_SPLIT = 16
WINDOWS = range(2, 7)  # shift // 8; below, all that is not 0 is beyond the range, and above all is nearer to 0 than to 1
MAGNITUDE_BITS = 8  # of what can be within the range: up to 255
# A product's 24 leading bits reach down at most so far below the half; the next one says where they are rounded up.
BELOW = 24


class Multiplier(wiring.Component):
    """``product = a * b``, a cycle after ``valid``."""

    def __init__(self, a: Shape, b: Shape) -> None:
        super().__init__({"valid": In(1), "a": In(a), "b": In(b), "product": Out(Shape(a.width + b.width, a.signed))})

    def elaborate(self, platform):
        m = Module()
        product = product_register(self.product.shape(), "product")
        m.d.comb += self.product.eq(product)
        with m.If(self.valid):
            m.d.sync += product.eq(self.a * self.b)
        return m


class Product(wiring.Component):
    """``product = (sum + bias) * mantissa << (7 - shift % 8)``, PRODUCT_CYCLES later.

    ``sum + bias`` has to fit, which the compiler proves. Four multipliers, with registers around each.
    """

    valid: In(1)
    sum: In(SUM)
    bias: In(SUM)
    mantissa: In(MANTISSA_BITS)
    shift: In(SHIFT_BITS)
    product: Out(PRODUCT)

    def elaborate(self, platform):
        m = Module()
        stages = Signal(PRODUCT_CYCLES - 1)
        m.d.sync += stages.eq(Cat(self.valid, stages))
        biased, factor = Signal(SUM), Signal(FACTOR_BITS)
        with m.If(self.valid):
            m.d.sync += [biased.eq(self.sum + self.bias), factor.eq(self.mantissa << ~self.shift[:3])]
        lower, upper = biased[:SUM_SPLIT], biased[SUM_SPLIT:].as_signed()
        factor_lower, factor_upper = factor[:FACTOR_SPLIT], factor[FACTOR_SPLIT:]
        m.submodules.lower_lower = lower_lower = Multiplier(lower.shape(), factor_lower.shape())
        m.submodules.lower_upper = lower_upper = Multiplier(lower.shape(), factor_upper.shape())
        m.submodules.upper_lower = upper_lower = Multiplier(upper.shape(), factor_lower.shape())
        m.submodules.upper_upper = upper_upper = Multiplier(upper.shape(), factor_upper.shape())
        m.d.comb += [lower_lower.a.eq(lower), lower_lower.b.eq(factor_lower), lower_upper.a.eq(lower), lower_upper.b.eq(factor_upper)]
        m.d.comb += [upper_lower.a.eq(upper), upper_lower.b.eq(factor_lower), upper_upper.a.eq(upper), upper_upper.b.eq(factor_upper)]
        m.d.comb += [part.valid.eq(stages[0]) for part in (lower_lower, lower_upper, upper_lower, upper_upper)]
        rise = FACTOR_SPLIT - SUM_SPLIT  # from the one middle part to the other
        outer = Signal(PRODUCT)
        middles = [Signal.like(part.product, name=f"middle_{index}") for index, part in enumerate((upper_lower, lower_upper))]
        # The ways out of the multipliers take a cycle by themselves; three numbers that are there are added up in another.
        with m.If(stages[1]):
            # The lowest part is below the weight of the highest one, so that their sum is the two side by side.
            m.d.sync += outer.eq(Cat(lower_lower.product, upper_upper.product))
            m.d.sync += [middle.eq(part.product) for middle, part in zip(middles, (upper_lower, lower_upper), strict=True)]
        with m.If(stages[2]):
            total = outer[SUM_SPLIT:].as_signed() + middles[0] + (middles[1] << rise)
            m.d.sync += self.product.eq(Cat(outer[:SUM_SPLIT], total[: PRODUCT.width - SUM_SPLIT]))
        return m


class Requantizer(wiring.Component):
    """``value = clamp(zero_point + v, low, high)`` with ``v = (sum + bias) * mantissa / 2**shift`` rounded twice, half to even both times:
    to 24 significant bits, as a product of float32 is, and then to an integer. A value each cycle; there is no back-pressure.

    ``low`` must not be above ``high``. With mantissa 0, of an output that nobody uses, v is 0.

    **Rounding without an increment.** Let v be w + f, w the integer not above it. The unit of the 24 bits, which leading bits of w say, is 2e;
    for any v that does not saturate e is 2**-17 or less. If w is even, v becomes w + 1 where f > 1/2 + e: the first rounding leaves it
    above 1/2. If w is odd, it does where f >= 1/2 - e: the first rounding brings it to 1/2 or above. (At a tie of the first rounding the
    neighbour that is 1/2 is the even one.) The rule is its own mirror image, so it needs no magnitude: negative v are taken as they are, in two's
    complement. Leading bits of a negative v are taken from ~v. Where this differs from -v, v is a power of two, needs no first rounding, and f is
    0, 1/2, or further from 1/2 than any e.
    """

    valid: In(1)
    sum: In(SUM)
    bias: In(SUM)
    mantissa: In(MANTISSA_BITS)  # from 2**23 up, or 0
    shift: In(SHIFT_BITS)
    zero_point: In(STORED)
    low: In(STORED)
    high: In(STORED)
    value_valid: Out(1)
    value: Out(STORED)

    def elaborate(self, platform):
        m = Module()
        stages = Signal(REQUANTIZE_CYCLES)
        m.d.sync += stages.eq(Cat(self.valid, stages))
        m.d.comb += self.value_valid.eq(stages[-1])

        def late(value: Value, begin: int, end: int) -> Value:
            """``value`` of stage ``begin`` in stage ``end``; the inputs are in stage 0."""
            for stage in range(begin, end):
                register = Signal(value.shape(), name="late")
                with m.If(self.valid if stage == 0 else stages[stage - 1]):
                    m.d.sync += register.eq(value)
                value = register
            return value

        # Stages 0 to 3: the product. Which bits of it count is decided on the way.
        m.submodules.product = multiply = Product()
        for name in ("valid", "sum", "bias", "mantissa", "shift"):
            m.d.comb += getattr(multiply, name).eq(getattr(self, name))
        eighth = late(self.shift[3:], 0, PRODUCT_CYCLES - 1)
        small = Signal()  # any sum that is not 0 saturates
        within = Signal(len(WINDOWS))  # one hot, or all 0
        with m.If(stages[PRODUCT_CYCLES - 2]):
            m.d.sync += [small.eq(eighth < WINDOWS.start), within.eq(Cat(eighth == n for n in WINDOWS))]

        # Stage 4: the window.
        product = multiply.product
        sign = product[-1]

        def bits(begin: int, end: int) -> Value:
            """Bits of the product, beyond its ends too."""
            inside = product[max(begin, 0) : min(end, len(product))]
            return Cat(Const(0, max(-begin, 0)), inside, sign.replicate(max(end - len(product), 0)))

        def window(begin: int, end: int) -> Value:
            """Bits counted from the ones; 0 outside of all windows."""
            chosen = Const(0, end - begin)
            for index, n in enumerate(WINDOWS):
                ones = 8 * n + PRESHIFT
                chosen = chosen | Mux(within[index], bits(ones + begin, ones + end), 0)
            return chosen

        negative, magnitude, half, below = Signal(), Signal(MAGNITUDE_BITS), Signal(), Signal(BELOW)
        rest = Signal(len(WINDOWS) - 1)  # of what is below ``below``, by bytes
        beyond = Signal(len(WINDOWS) - 2)  # of what is above ``magnitude``
        vast = Signal()
        with m.If(stages[3]):
            m.d.sync += [
                negative.eq(sign & (small | within.any())),
                magnitude.eq(window(0, MAGNITUDE_BITS)),
                half.eq(window(-1, 0)),
                below.eq(window(-1 - BELOW, -1)),
                vast.eq(small & bits(8 * WINDOWS.start + PRESHIFT, 8 * WINDOWS.start + PRESHIFT + MAGNITUDE_BITS).any()),
            ]
            for index, n in enumerate(WINDOWS[1:]):
                end = 8 * n + PRESHIFT - 1 - BELOW
                m.d.sync += rest[index].eq(within[index + 1 :].any() & bits(max(end - 8, 0), end).any())
            for index, n in enumerate(WINDOWS[:-2]):
                begin = 8 * n + PRESHIFT + MAGNITUDE_BITS
                counts = small | within[: index + 1].any()
                m.d.sync += beyond[index].eq(counts & (bits(begin, begin + 8) ^ sign.replicate(8)).any())

        # Stage 5: the place of the leading bit. ``place[j]``: it is bit j of the ones or above.
        ones, ones_half, ones_negative = Signal(MAGNITUDE_BITS), Signal(), Signal()
        place = Signal(MAGNITUDE_BITS)
        low_below = Signal(MAGNITUDE_BITS + 1)
        some_high, all_high, some_rest = Signal(), Signal(), Signal()
        with m.If(stages[4]):
            saturates = vast | beyond.any()
            m.d.sync += [
                ones.eq(Mux(saturates, (~negative).replicate(MAGNITUDE_BITS), magnitude)),
                ones_half.eq(half),
                ones_negative.eq(negative),
                place.eq(Cat((magnitude ^ negative.replicate(MAGNITUDE_BITS))[j:].any() for j in range(MAGNITUDE_BITS))),
                low_below.eq(below),
                some_high.eq(below[len(low_below) :].any()),
                all_high.eq(below[len(low_below) :].all()),
                some_rest.eq(rest.any()),
            ]
        zero_point, low, high = (late(value, 0, 5) for value in (self.zero_point, self.low, self.high))
        to_low, to_high = Signal(signed(9)), Signal(signed(9))
        with m.If(stages[4]):
            m.d.sync += [to_low.eq(low - zero_point), to_high.eq(high - zero_point)]
        zero_point, low, high = late(zero_point, 5, 6), late(low, 5, 7), late(high, 5, 7)

        # Stage 6: up or not, and what comes of either. Bit j of ``low_below`` is one of the 24 if the leading bit is below bit j - 1 of the ones;
        # if it is bit j - 1, it is the next one.
        here = Cat(Const(1, 1), place)  # the leading bit is bit j - 1 or above
        there = Cat(place, Const(0, 1))  # it is above
        leading_some = some_high | (low_below & ~here).any()
        next_set = (low_below & here & ~there).any()
        further_some = some_rest | (low_below & there).any()
        leading_all = all_high & (low_below | there).all()
        odd = ones[0]
        whole = Cat(ones, ones_negative).as_signed()
        up = Signal()
        value_down, value_up = Signal(STORED), Signal(STORED)
        is_low, is_high = Signal(), Signal()  # either way: what it would be without a clamp is at that end or beyond
        with m.If(stages[5]):
            m.d.sync += [
                up.eq(Mux(ones_half, odd | leading_some | (next_set & further_some), odd & leading_all)),
                value_down.eq(zero_point + whole),
                value_up.eq(zero_point - ~whole),  # ~x is -x - 1: one adder
                is_low.eq(whole < to_low),
                is_high.eq(whole >= to_high),
            ]

        # Stage 7: the value.
        with m.If(stages[6]):
            m.d.sync += self.value.eq(Mux(up, value_up, value_down))
            with m.If(is_high):
                m.d.sync += self.value.eq(high)
            with m.Elif(is_low):
                m.d.sync += self.value.eq(low)
        return m
