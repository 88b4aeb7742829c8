"""Multiplication and division a bit a cycle: programs scale and average rarely, and a multiplier array would be the longest path."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.program import SCALE_FRACTION_BITS

WORD = 32
COUNT_BITS = 24  # of the samples in a mean
SERIAL_CYCLES = WORD + 2  # from start to done


class Scaler(wiring.Component):
    """``product`` = floor(a * b / 2**16), held at the ends of 32 bits; ``done`` is high for one cycle, ``SERIAL_CYCLES`` after ``start``."""

    start: In(1)
    a: In(signed(WORD))  # both stand until done
    b: In(signed(WORD))  # Q16.16
    done: Out(1)
    product: Out(signed(WORD))

    def elaborate(self, platform):
        m = Module()
        left = Signal(range(WORD + 1))
        upper, lower = Signal(signed(WORD + 1)), Signal(WORD)
        more = Signal(signed(WORD + 2))
        # The last bit of a two's complement weighs -2**31: a is inverted there, and the adder's carry is the 1 that makes it -a.
        last = Signal()
        part = Mux(lower[0], self.a, 0)
        m.d.comb += more.eq((Cat(1, upper).as_signed() + Cat(last, Mux(last, ~part, part)).as_signed()) >> 1)
        ended = Signal()
        m.d.sync += [last.eq(left == 2), ended.eq(left == 1), self.done.eq(ended)]
        with m.If(self.start):
            m.d.sync += [left.eq(WORD), upper.eq(0), lower.eq(self.b)]
        with m.Elif(left != 0):
            m.d.sync += [left.eq(left - 1), upper.eq(more >> 1), lower.eq(Cat(lower[1:], more[0]))]
        whole = Cat(lower[SCALE_FRACTION_BITS:], upper).as_signed()
        beyond = whole[WORD - 1 :]
        with m.If(ended):
            m.d.sync += self.product.eq(
                Mux((beyond == 0) | beyond.all(), whole[:WORD], Mux(whole[-1], 1 << (WORD - 1), (1 << (WORD - 1)) - 1))
            )
        return m


class Divider(wiring.Component):
    """``quotient`` = floor(total / count) for a total below ``count * 2**32``; ``done`` one cycle, ``SERIAL_CYCLES`` after ``start``."""

    start: In(1)
    total: In(WORD + COUNT_BITS)
    count: In(COUNT_BITS)  # stands until done
    done: Out(1)
    quotient: Out(WORD)

    def elaborate(self, platform):
        m = Module()
        left = Signal(range(WORD + 1))
        rest = Signal(COUNT_BITS)
        bits = Signal(WORD)  # of the total still to come, above those of the quotient that are known
        trial = Signal(COUNT_BITS + 1)
        fits = Signal()
        m.d.comb += [trial.eq(Cat(bits[-1], rest)), fits.eq(trial >= self.count)]
        ended = Signal()
        m.d.sync += [ended.eq(left == 1), self.done.eq(ended)]
        with m.If(self.start):
            m.d.sync += [left.eq(WORD), rest.eq(self.total[WORD:]), bits.eq(self.total[:WORD])]
        with m.Elif(left != 0):
            m.d.sync += [left.eq(left - 1), bits.eq(Cat(fits, bits[:-1])), rest.eq(Mux(fits, trial - self.count, trial))]
        with m.If(ended):
            m.d.sync += self.quotient.eq(bits)
        return m
