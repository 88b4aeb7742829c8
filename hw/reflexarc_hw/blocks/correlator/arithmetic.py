"""Correlation from sums, exactly: numbers of many limbs, one multiplier, a short program."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from reflexarc_hw.lib.memory import RegisterFile
from reflexarc_hw.lib.product_register import product_register

LIMB = 16
FACTOR = LIMB  # bits of what the multiplier multiplies
SCALE_BITS = 15  # of a correlation, Q1.15
NUMBER_BITS, SUM_BITS, SQUARE_BITS = 12, 27, 43  # of up to 2**11 values of 16 bits: their number, sum, sum of products
ACCUMULATOR_BITS = 2 * LIMB + 3  # four products, and what the limb before left
PIPELINE = 3  # cycles from a product's factors to the limb that it ends
LOAD_CYCLES = 15  # limbs that are given


@dataclass(frozen=True)
class Number:
    """Limbs from ``place`` on, the lowest first."""

    place: int
    limbs: int

    def part(self, limbs: int) -> "Number":
        return Number(self.place, limbs)


# Given: n, sum of a, of b, of aa, bb, ab; and what a product is scaled with.
COUNT, SUM_A, SUM_B = Number(0, 1), Number(1, 2), Number(3, 2)
SUM_AA, SUM_BB, SUM_AB = Number(5, 3), Number(8, 3), Number(11, 3)
FOUR, ROOT = Number(14, 1), Number(15, 1)
FIRST, SECOND = Number(16, 4), Number(20, 4)
SPREAD_A, SPREAD_B, COMMON = Number(24, 4), Number(28, 4), Number(32, 4)  # n*sum(aa) - sum(a)**2, and so on
SQUARE, SHIFTED = Number(38, 8), Number(36, 9)  # common**2; the same times 2**32: below it lie two limbs of 0
PRODUCT, BOUND = Number(16, 8), Number(46, 8)  # spread_a * spread_b; four times that
PARTIAL, TRIAL = Number(16, 8), Number(25, 9)  # root * bound, root**2 * bound


class Operation(enum.Enum):
    MULTIPLY = 0  # target = first * second
    SUBTRACT = 1  # target = first - second; of as many limbs
    COMPARE = 2  # the same, not kept


@dataclass(frozen=True)
class Step:
    operation: Operation
    target: Number
    first: Number
    second: Number


# root/2**15 is at or below |correlation| where root**2 * 4 * spread_a * spread_b <= common**2 * 2**32.
PROGRAM = (
    Step(Operation.MULTIPLY, FIRST, COUNT, SUM_AA),
    Step(Operation.MULTIPLY, SECOND, SUM_A, SUM_A),
    Step(Operation.SUBTRACT, SPREAD_A, FIRST, SECOND),
    Step(Operation.MULTIPLY, FIRST, COUNT, SUM_BB),
    Step(Operation.MULTIPLY, SECOND, SUM_B, SUM_B),
    Step(Operation.SUBTRACT, SPREAD_B, FIRST, SECOND),
    Step(Operation.MULTIPLY, FIRST, COUNT, SUM_AB),
    Step(Operation.MULTIPLY, SECOND, SUM_A, SUM_B),
    Step(Operation.SUBTRACT, COMMON, FIRST, SECOND),
    Step(Operation.SUBTRACT, COMMON, SECOND, FIRST),  # where it is negative
    Step(Operation.MULTIPLY, SQUARE, COMMON, COMMON),
    Step(Operation.MULTIPLY, PRODUCT, SPREAD_A, SPREAD_B),
    Step(Operation.MULTIPLY, BOUND, FOUR, PRODUCT.part(7)),
    Step(Operation.MULTIPLY, PARTIAL, ROOT, BOUND.part(7)),
    Step(Operation.MULTIPLY, TRIAL, ROOT, PARTIAL),
    Step(Operation.COMPARE, TRIAL, SHIFTED, TRIAL),
)
FLAT_CHECKS = (2, 5)  # steps whose result is 0 where a line is flat
SIGN, NEGATIVE, SQUARES = 8, 9, 10
TRIES, LAST = 13, 15
for _step in PROGRAM:
    assert _step.operation is not Operation.MULTIPLY or _step.target.limbs == _step.first.limbs + _step.second.limbs


class State(enum.Enum):
    REST = 0
    LOAD = 1
    TAKE = 2  # a step of the program
    START = 3
    MULTIPLY = 4
    DRAIN = 5
    READ = 6  # a limb of a difference: read,
    SUBTRACT = 7
    WRITE = 8  # written
    NEXT = 9
    TRY = 10  # the next bit of the root
    END = 11


class Arithmetic(wiring.Component):
    """``start``, while ``busy`` is low, takes the sums; ``done`` tells the correlation, Q1.15, rounded down; 0 and ``flat`` where a line is flat.

    Values are from 0 up, which correlation does not mind. The multiplier is lent: in each cycle in which ``borrow`` is high it takes ``x`` and ``y``,
    and ``product`` is there 2 cycles later.
    """

    start: In(1)
    number: In(NUMBER_BITS)
    sum_a: In(SUM_BITS)
    sum_b: In(SUM_BITS)
    sum_aa: In(SQUARE_BITS)
    sum_bb: In(SQUARE_BITS)
    sum_ab: In(SQUARE_BITS)
    borrow: In(1)
    x: In(FACTOR)
    y: In(FACTOR)
    product: Out(2 * FACTOR)
    busy: Out(1)
    done: Out(1)
    correlation: Out(signed(SCALE_BITS + 2))
    flat: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.limbs = limbs = RegisterFile(LIMB, 64, 2)
        state = Signal(State)
        step = Signal(range(len(PROGRAM)))

        # The step that is done.
        operation = Signal(Operation)
        bases = [Signal(6, name=f"base_{name}") for name in ("target", "first", "second")]
        lasts = [Signal(4, name=f"last_{name}") for name in ("target", "first", "second")]  # limbs less one
        target, first, second = bases
        with m.If(state == State.TAKE):
            with m.Switch(step):
                for number, row in enumerate(PROGRAM):
                    with m.Case(number):
                        m.d.sync += operation.eq(row.operation)
                        for base, last, operand in zip(bases, lasts, (row.target, row.first, row.second), strict=True):
                            m.d.sync += [base.eq(operand.place), last.eq(operand.limbs - 1)]

        # Products of limbs, those that meet in a limb of the result one after the other.
        i, j, least_i, most_j = Signal(4), Signal(4), Signal(4), Signal(4)
        # Where these limbs are, so that no adder stands before the memory.
        at_first, at_second, least_first, most_second = Signal(6), Signal(6), Signal(6), Signal(6)
        limb_ends, over, issues = Signal(), Signal(), Signal()
        x, y = Signal(FACTOR), Signal(FACTOR)
        product = product_register(2 * FACTOR, "product")
        machine, ends = Signal(PIPELINE), Signal(PIPELINE)  # a step of this is at the multiplier, in the product, in the accumulator
        shifts = Signal()  # what was accumulated belongs to a limb that is done
        accumulator = Signal(ACCUMULATOR_BITS)
        m.d.comb += [
            over.eq(least_i > lasts[1]),  # what is left is the last carry
            limb_ends.eq((i == lasts[1]) | (j == 0) | over),
            issues.eq((state == State.MULTIPLY) & ~self.borrow),
            self.product.eq(product),
        ]
        m.d.sync += [machine.eq(Cat(issues, machine)), ends.eq(Cat(issues & limb_ends, ends))]
        with m.If(self.borrow):
            m.d.sync += [x.eq(self.x), y.eq(self.y)]
        with m.Elif(issues):
            m.d.sync += [x.eq(Mux(over, 0, limbs.read_data_0)), y.eq(limbs.read_data_1)]
            m.d.sync += [i.eq(i + 1), j.eq(j - 1), at_first.eq(at_first + 1), at_second.eq(at_second - 1)]
            with m.If(limb_ends):
                with m.If(most_j == lasts[2]):
                    m.d.sync += [least_i.eq(least_i + 1), i.eq(least_i + 1), j.eq(most_j)]
                    m.d.sync += [least_first.eq(least_first + 1), at_first.eq(least_first + 1), at_second.eq(most_second)]
                with m.Else():
                    m.d.sync += [most_j.eq(most_j + 1), i.eq(least_i), j.eq(most_j + 1)]
                    m.d.sync += [most_second.eq(most_second + 1), at_first.eq(least_first), at_second.eq(most_second + 1)]
        borrowed = Signal()
        m.d.sync += borrowed.eq(self.borrow)
        with m.If(borrowed | machine[0]):
            m.d.sync += product.eq(x * y)
        with m.If(machine[1]):
            m.d.sync += [accumulator.eq(Mux(shifts, accumulator >> LIMB, accumulator) + product), shifts.eq(ends[1])]

        # Differences, a limb in three cycles: the limbs are RAM made of LUTs, and a cycle with it has room for little else.
        at = Signal(4)
        carry, any_ = Signal(), Signal()  # borrowed from the next limb; there was one that is not 0
        minuend, subtrahend = Signal(LIMB), Signal(LIMB)
        difference = Signal(LIMB + 1)

        # From one step to the next.
        negative, exact = Signal(), Signal()
        root, bit = Signal(LIMB), Signal(LIMB)
        loaded = Signal(4)
        given = Signal(LIMB * LOAD_CYCLES)  # limbs still to be loaded
        inputs = (
            (self.number, COUNT), (self.sum_a, SUM_A), (self.sum_b, SUM_B), (self.sum_aa, SUM_AA), (self.sum_bb, SUM_BB), (self.sum_ab, SUM_AB),
            (Const(4, LIMB), FOUR),
        )  # fmt: skip
        m.d.comb += [
            limbs.read_address_0.eq(at_first),
            limbs.read_address_1.eq(at_second),
        ]
        m.d.sync += self.done.eq(0)
        with m.If(machine[2] & ends[2]):
            m.d.comb += [limbs.write_enable.eq(1), limbs.write_address.eq(target), limbs.write_data.eq(accumulator)]
            m.d.sync += target.eq(target + 1)
        with m.Switch(state):
            with m.Case(State.REST):
                with m.If(self.start):
                    m.d.sync += [state.eq(State.LOAD), self.busy.eq(1), loaded.eq(0), step.eq(0), self.flat.eq(0), negative.eq(0)]
                    m.d.sync += [given[LIMB * number.place :][: LIMB * number.limbs].eq(value) for value, number in inputs]
            with m.Case(State.LOAD):
                m.d.comb += [limbs.write_enable.eq(1), limbs.write_address.eq(loaded), limbs.write_data.eq(given[:LIMB])]
                m.d.sync += [given.eq(given >> LIMB), loaded.eq(loaded + 1)]
                with m.If(loaded == LOAD_CYCLES - 1):
                    m.d.sync += state.eq(State.TAKE)
            with m.Case(State.TAKE):
                m.d.sync += [
                    i.eq(0), j.eq(0), least_i.eq(0), most_j.eq(0), at.eq(0), carry.eq(0), any_.eq(0), shifts.eq(0), accumulator.eq(0),
                    state.eq(State.START),
                ]  # fmt: skip
            with m.Case(State.START):
                m.d.sync += [at_first.eq(first), least_first.eq(first), at_second.eq(second), most_second.eq(second)]
                m.d.sync += state.eq(Mux(operation == Operation.MULTIPLY, State.MULTIPLY, State.READ))
            with m.Case(State.MULTIPLY):
                with m.If(issues & over):
                    m.d.sync += state.eq(State.DRAIN)
            with m.Case(State.DRAIN):
                with m.If(~machine.any()):
                    m.d.sync += state.eq(State.NEXT)
            with m.Case(State.READ):
                m.d.sync += [minuend.eq(limbs.read_data_0), subtrahend.eq(limbs.read_data_1), state.eq(State.SUBTRACT)]
            with m.Case(State.SUBTRACT):
                m.d.sync += [difference.eq(minuend - subtrahend - carry), state.eq(State.WRITE)]
            with m.Case(State.WRITE):
                m.d.comb += [
                    limbs.write_enable.eq(operation == Operation.SUBTRACT),
                    limbs.write_address.eq(target),
                    limbs.write_data.eq(difference[:LIMB]),
                ]
                m.d.sync += [carry.eq(difference[-1]), any_.eq(any_ | (difference[:LIMB] != 0)), at.eq(at + 1), target.eq(target + 1)]
                m.d.sync += [at_first.eq(at_first + 1), at_second.eq(at_second + 1)]
                m.d.sync += state.eq(Mux(at == lasts[0], State.NEXT, State.READ))
            with m.Case(State.NEXT):
                m.d.sync += [step.eq(step + 1), state.eq(State.TAKE)]
                with m.Switch(step):
                    with m.Case(*FLAT_CHECKS):
                        with m.If(~any_):
                            m.d.sync += [self.flat.eq(1), root.eq(0), state.eq(State.END)]
                    with m.Case(SIGN):
                        m.d.sync += negative.eq(carry)
                        with m.If(~carry):
                            m.d.sync += step.eq(SQUARES)
                    with m.Case(TRIES - 1):
                        m.d.sync += [root.eq(0), bit.eq(1 << (LIMB - 1)), exact.eq(0), state.eq(State.TRY)]
                    with m.Case(LAST):
                        with m.If(~carry):
                            m.d.sync += [root.eq(root | bit), exact.eq(~any_)]
                        m.d.sync += [bit.eq(bit >> 1), state.eq(Mux(bit[0], State.END, State.TRY))]
            with m.Case(State.TRY):
                m.d.comb += [limbs.write_enable.eq(1), limbs.write_address.eq(ROOT.place), limbs.write_data.eq(root | bit)]
                m.d.sync += [step.eq(TRIES), state.eq(State.TAKE)]
            with m.Case(State.END):
                m.d.sync += [self.done.eq(1), self.busy.eq(0), state.eq(State.REST)]
                # Rounded down: where it is negative and not exact, one below -root, and ~root is that.
                m.d.sync += self.correlation.eq(Mux(negative, ~Cat(root, Const(0, 1)).as_signed() + exact, root))
        return m
