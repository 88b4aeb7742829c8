"""A top with four pins around the core, so that place and route sees every path of it and no board."""

from amaranth.hdl import Cat, ClockDomain, Elaboratable, Module, Signal, Value

from reflexarc_hw.core import Core
from reflexarc_hw.platforms.board import FULL, Board
from reflexarc_hw.platforms.timing import Rate


class BenchTop(Elaboratable):
    """Inputs come from a shift register, outputs go through registered XOR trees: no path of the core is cut away, and no register of it is one of the
    shift register's.

    No reset net: what a register starts from is in the configuration, on a board as here. One that is routed to all of 12,000 flip-flops
    would fill the fabric.
    """

    def __init__(self, rate: Rate, board: Board = FULL):
        self._rate = rate
        self._board = board
        self.clk = Signal()
        self.data_in = Signal()
        self.data_out = Signal()

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = domain = ClockDomain("sync", reset_less=True)
        m.d.comb += domain.clk.eq(self.clk)
        m.submodules.core = core = Core(self._rate, self._board)
        inputs: list[Value] = []
        outputs: list[Value] = []
        for _, member, value in core.signature.flatten(core):
            (inputs if member.flow.name == "In" else outputs).append(Value.cast(value))
        chain = Signal(sum(len(value) for value in inputs) + 1)
        # What an input is a cycle later, the next one of a shift register is: synthesis would take the core's registers of one for those of the other.
        given = Signal(len(chain) - 1)
        m.d.sync += [chain.eq(Cat(self.data_in, chain)), given.eq(chain[1:] ^ chain[:-1])]
        m.d.comb += Cat(*inputs).eq(given)
        # Two registered levels, so that the fold is not the slowest path.
        flat = Cat(*outputs)
        held = Signal(len(flat))
        folds = Signal((len(flat) + 7) // 8)
        m.d.sync += held.eq(flat)
        m.d.sync += [folds[index].eq(held[8 * index : 8 * index + 8].xor()) for index in range(len(folds))]
        level: Value = folds
        while len(level) > 1:
            width = (len(level) + 7) // 8
            register = Signal(width)
            m.d.sync += [register[index].eq(level[8 * index : 8 * index + 8].xor()) for index in range(width)]
            level = register
        m.d.comb += self.data_out.eq(level)
        return m
