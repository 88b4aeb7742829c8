"""Two products of one multiplier are the same two products: an array of pairs beside one without, in every cycle."""

import numpy as np
import pytest
from amaranth.hdl import Const, Module, Signal, signed
from amaranth.sim import Simulator
from support import default_seed

from reflexarc.contract.model import OUTPUTS, QUAD
from reflexarc_hw.blocks.detector.array import HALVES, Array, pair_of_products

LANES = 4
CYCLES = 600
EXTREMES = (-128, -127, -1, 0, 1, 127)


def bytes_of(values: np.ndarray) -> int:
    return int.from_bytes(values.astype(np.int8).tobytes(), "little")


def test_pairs_change_nothing():
    m = Module()
    m.submodules.single = single = Array(LANES)
    m.submodules.paired = paired = Array(LANES, paired=True)
    rng = np.random.default_rng(default_seed())
    seen = set()

    async def bench(ctx):
        for array in (single, paired):
            ctx.set(array.layer.bytes_last_group, 7)
            ctx.set(array.layer.bytes_last_row, 13)
        for cycle in range(CYCLES):
            # Now and then all at the ends of their range, or near zero.
            draw = (lambda n: rng.choice(EXTREMES, n)) if cycle % 3 else (lambda n: rng.integers(-128, 128, n))
            weights, operands = bytes_of(draw(OUTPUTS * LANES)), bytes_of(draw(HALVES * LANES))
            marks = int(rng.integers(0, 1 << len(single.marks.as_value())))
            for array in (single, paired):
                ctx.set(array.weights.as_value(), weights)
                ctx.set(array.operands.as_value(), operands)
                ctx.set(array.marks.as_value(), marks)
            await ctx.tick()
            found = [
                (ctx.get(array.quad.as_value()), *(ctx.get(array.sums[index]) for index in range(QUAD)), ctx.get(array.parameter))
                for array in (single, paired)
            ]
            assert found[0] == found[1], f"cycle {cycle}, seed {default_seed()}"
            seen.add(found[0])

    run(m, bench)
    assert len(seen) > CYCLES // 10


@pytest.mark.parametrize("upper", EXTREMES)
def test_a_pair_is_two_products(upper):
    """With either weight at an end of its range against all of the other and many operands."""
    m = Module()
    operand, lower = Signal(signed(8)), Signal(signed(8))
    weight = Signal(signed(8))
    products = pair_of_products(m, Const(1), operand, weight, lower, "both")
    outs = [Signal(signed(16), name=f"out_{index}") for index in range(2)]
    m.d.comb += [out.eq(product) for out, product in zip(outs, products, strict=True)]

    async def bench(ctx):
        ctx.set(weight, upper)
        for other in range(-128, 128):
            for factor in EXTREMES:
                ctx.set(operand, factor)
                ctx.set(lower, other)
                await ctx.tick()
                assert (ctx.get(outs[0]), ctx.get(outs[1])) == (factor * upper, factor * other)

    run(m, bench)


def run(m: Module, bench) -> None:
    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
