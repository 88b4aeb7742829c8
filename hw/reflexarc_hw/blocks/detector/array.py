"""Products, sums, and what becomes of a tile's sums until the requantizers take them."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.model import OUTPUTS, PARAMETERS, QUAD
from reflexarc_hw.blocks.detector.control import LAYER, MARKS
from reflexarc_hw.blocks.detector.memories import STORED, SUM
from reflexarc_hw.lib.product_register import product_register

HALVES = 2  # of the outputs, that have their own copies of the operands
PAIR_SHIFT = 16  # bits from one weight of a pair to the other: 25 in all, as many as a DSP48E1 takes on one side (AMD UG479, "Input Ports")
# One to four outputs of a tile. ``ends``: the last ones of the layer.
QUAD_MARKS = data.StructLayout({"valid": 1, "count": 3, "ends": 1})


def add_tree(m: Module, terms: list[Value], enables: list[Value], name: str) -> Value:
    """The sum of ``terms``, a stage for each of ``enables``; as many at once as are needed to be through by then."""
    for stage, enable in enumerate(enables):
        left = len(enables) - stage
        at_once = 2
        while at_once**left < len(terms):
            at_once += 1
        sums = []
        for index in range(0, len(terms), at_once):
            total = terms[index]
            for term in terms[index + 1 : index + at_once]:
                total = total + term
            sums.append(Signal(signed(len(terms[index]) + (at_once - 1).bit_length()), name=f"{name}_{stage}_{index}"))
            with m.If(enable):
                m.d.sync += sums[-1].eq(total)
        terms = sums
    (total,) = terms
    return total


def pair_of_products(m: Module, enable: Value, operand: Value, upper: Value, lower: Value, name: str) -> tuple[Value, Value]:
    """``operand`` times either weight, all of 8 bits and signed, from one product of 25 by 8 bits, for a multiplier that has room for that.

    Shifted by 16 the upper product is clear of the lower one's 16 bits, but is less by one where that is negative: its sign is added back.
    """
    both = Signal(signed(33), name=name, reset_less=True)
    with m.If(enable):
        m.d.sync += both.eq(operand * ((upper << PAIR_SHIFT) + lower))
    lower_product = both[:PAIR_SHIFT].as_signed()
    return (both[PAIR_SHIFT:].as_signed() + lower_product[-1])[:16].as_signed(), lower_product


class Array(wiring.Component):
    """OUTPUTS columns of as many products as there are lanes. ``paired``: a multiplier makes two of them, of neighbouring columns (Series 7).

    Stages, counted from the issue of a step: operands and weights come in 3; products in 4, the sum of a column's products in 6, the running sum
    in 7, the result in 8. Where the step drains, the tile's first quad leaves in 9, the others behind it; ``parameter`` names a quad's
    parameters two cycles before, which is what their memory takes.
    """

    def __init__(self, lanes: int, *, paired: bool = False):
        self._lanes = lanes
        self._paired = paired
        super().__init__(
            {
                "restart": In(1),
                "layer": In(LAYER),
                "marks": In(MARKS),
                "operands": In(data.ArrayLayout(data.ArrayLayout(STORED, lanes), HALVES)),
                "weights": In(data.ArrayLayout(STORED, OUTPUTS * lanes)),
                "parameter_enable": Out(1),
                "parameter": Out(range(PARAMETERS // QUAD)),
                "quad": Out(QUAD_MARKS),
                "sums": Out(data.ArrayLayout(SUM, QUAD)),
            }
        )

    def factors(self, output: int, lane: int) -> tuple[Value, Value]:
        return self.operands[output * HALVES // OUTPUTS][lane], self.weights[output * self._lanes + lane]

    def products(self, m: Module, enable: Value) -> list[list[Value]]:
        """Of each output the registers of its products, each of a multiplier of its own."""
        columns: list[list[Value]] = []
        for output in range(OUTPUTS):
            columns.append([product_register(signed(16), f"product_{output}_{lane}") for lane in range(self._lanes)])
            for lane, product in enumerate(columns[-1]):
                operand, weight = self.factors(output, lane)
                with m.If(enable):
                    m.d.sync += product.eq(operand * weight)
        return columns

    def pairs(self, m: Module, enable: Value) -> list[list[Value]]:
        """The same, two neighbours' products of one multiplier."""
        columns: list[list[Value]] = [[] for _ in range(OUTPUTS)]
        for output in range(0, OUTPUTS, 2):
            for lane in range(self._lanes):
                operand, lower = self.factors(output, lane)
                _, upper = self.factors(output + 1, lane)
                upper_product, lower_product = pair_of_products(m, enable, operand, upper, lower, f"products_{output}_{lane}")
                columns[output].append(lower_product)
                columns[output + 1].append(upper_product)
        return columns

    def elaborate(self, platform):
        m = Module()
        marks = [self.marks]  # of the stages from 3 on
        for stage in range(4, 9):
            register = Signal(MARKS, name=f"marks_{stage}")
            m.d.sync += register.eq(Mux(self.restart, 0, marks[-1]))
            marks.append(register)
        at = dict(enumerate(marks, 3))

        # A sum for each output.
        sums, results = [], []
        columns = self.pairs(m, at[3].multiplies) if self._paired else self.products(m, at[3].multiplies)
        for output, products in enumerate(columns):
            total = add_tree(m, products, [at[4].multiplies, at[5].multiplies], f"tree_{output}")
            running = Signal(SUM, name=f"sum_{output}")
            with m.If(at[6].multiplies):
                m.d.sync += running.eq(total + Mux(at[6].first, 0, running))
            sums.append(running)
            results.append(Signal(SUM, name=f"result_{output}"))
        # The greatest of several sums; of a tile that is folded, the greater of its halves.
        for output in range(OUTPUTS):
            other = sums[output]
            takes = at[7].last & (at[7].pool_first | (sums[output] > results[output]))
            if output < OUTPUTS // 2:
                # Either is compared by itself: which one it is need not be known before.
                half = results[output + OUTPUTS // 2]
                other = Mux(at[7].fold, half, sums[output])
                takes = Mux(at[7].fold, half > results[output], takes)
            with m.If(takes):
                m.d.sync += results[output].eq(other)

        # Quads of a tile: the first one at once; what is left is kept aside, since the next tile's results may be there before it has gone.
        outputs = Signal(range(OUTPUTS + 1))
        with m.If(~at[6].group_last):
            m.d.comb += outputs.eq(OUTPUTS)
        with m.Elif(at[6].row_last):
            m.d.comb += outputs.eq(self.layer.bytes_last_row)
        with m.Else():
            m.d.comb += outputs.eq(self.layer.bytes_last_group)
        left = Signal(range(OUTPUTS + 1))  # outputs, this quad's among them
        drains, first, ends = Signal(), Signal(), Signal()
        parameter = Signal.like(self.parameter)
        last = Signal()
        m.d.comb += last.eq(left <= QUAD)
        m.d.sync += first.eq(0)
        with m.If(at[6].drain):
            m.d.sync += [drains.eq(1), first.eq(1), left.eq(outputs), ends.eq(at[6].tile_last)]
            # Groups have their parameters one behind the other, and each but the last takes all four of its quads.
            m.d.sync += parameter.eq(Mux(at[6].group_first, self.layer.parameter_base[QUAD.bit_length() - 1 :], parameter + 1))
        with m.Elif(drains):
            m.d.sync += [drains.eq(~last), left.eq(left - QUAD)]
            with m.If(~last):
                m.d.sync += parameter.eq(parameter + 1)
        quad, quad_first = Signal(QUAD_MARKS), Signal()
        m.d.sync += [
            quad.valid.eq(drains),
            quad.count.eq(Mux(last, left, QUAD)),
            quad.ends.eq(ends & last),
            quad_first.eq(first),
            self.quad.eq(quad),
        ]
        with m.If(self.restart):
            m.d.sync += [drains.eq(0), quad.valid.eq(0), self.quad.valid.eq(0)]
        m.d.comb += [self.parameter_enable.eq(drains | quad.valid), self.parameter.eq(parameter)]
        kept = [Signal(SUM, name=f"kept_{output}") for output in range(QUAD, OUTPUTS)]
        with m.If(quad.valid):
            m.d.sync += [self.sums[index].eq(Mux(quad_first, results[index], kept[index])) for index in range(QUAD)]
            with m.If(quad_first):
                m.d.sync += [keeper.eq(result) for keeper, result in zip(kept, results[QUAD:], strict=True)]
            with m.Else():
                m.d.sync += [keeper.eq(after) for keeper, after in zip(kept, kept[QUAD:], strict=False)]
        return m
