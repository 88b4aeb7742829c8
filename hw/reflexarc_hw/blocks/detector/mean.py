"""Means, exact: a sum divided by a number, rounded down."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc_hw.blocks.capture.pixel import SAMPLES_BITS, SUM

MEAN = signed(32)
DIGITS = MEAN.width // 2
MEAN_CYCLES = DIGITS + 1  # from start to done; 1 where the number is 1
TOP = 1 << (MEAN.width - 1)


class Mean(wiring.Component):
    """``mean`` = floor(total / number), for a mean that 32 bits hold; ``done`` one cycle, and ``mean`` holds until the next start.

    Two bits a cycle, four times the number being as little as a carry chain away from once the number. ``total`` and ``number`` may change
    after ``start``.
    """

    start: In(1)
    total: In(SUM)
    number: In(SAMPLES_BITS)  # from 1 up
    done: Out(1)
    mean: Out(MEAN)

    def elaborate(self, platform):
        m = Module()
        left = Signal(range(DIGITS + 1))
        once, thrice = Signal(SAMPLES_BITS), Signal(SAMPLES_BITS + 2)
        rest = Signal(SAMPLES_BITS)
        bits = Signal(MEAN.width)  # of the total still to come, above those of the quotient that are known
        # 2**31 times the number more, so that nothing is negative: a mean that is not negative any more, either.
        upper = Signal(SAMPLES_BITS + 1)
        m.d.comb += upper.eq((self.total >> (MEAN.width - 1)) + self.number)
        trial = Signal(SAMPLES_BITS + 2)
        less = [Signal(signed(SAMPLES_BITS + 3), name=f"less_{times}") for times in (1, 2, 3)]
        digit = Signal(2)
        m.d.comb += [
            trial.eq(Cat(bits[-2:], rest)),
            less[0].eq(trial - once),
            less[1].eq(trial - (once << 1)),
            less[2].eq(trial - thrice),
            digit.eq(Cat(~less[0][-1] & (less[1][-1] | ~less[2][-1]), ~less[1][-1])),
            self.mean.eq(bits ^ TOP),
        ]
        m.d.sync += self.done.eq(left == 1)
        with m.If(self.start):
            m.d.sync += [
                left.eq(DIGITS),
                once.eq(self.number),
                thrice.eq(self.number + (self.number << 1)),
                rest.eq(upper[1:]),
                bits.eq(Cat(self.total[: MEAN.width - 1], upper[0])),
            ]
            # A number of 1 leaves no rest: the bits are the quotient already.
            m.d.sync += self.done.eq(self.number == 1)
            with m.If(self.number == 1):
                m.d.sync += left.eq(0)
        with m.Elif(left != 0):
            m.d.sync += [
                left.eq(left - 1),
                bits.eq(Cat(digit, bits[:-2])),
                rest.eq(Mux(digit[1], Mux(digit[0], less[2], less[1]), Mux(digit[0], less[0], trial))),
            ]
        return m
