"""The core as the twin compiles it."""

from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc_hw.core import Core
from reflexarc_hw.platforms.timing import Rate

from .upsets import make_reachable


class TwinTop(wiring.Component):
    """``Core`` in a clock domain without reset: it starts from its power-up values, as an FPGA does.

    The reset of a board is one more input of every register; without it Verilator's model runs half as fast again.
    """

    def __init__(self, rate: Rate) -> None:
        self._core = Core(rate)
        super().__init__({"clk": In(1), "core": Out(self._core.signature)})

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.domains.sync = domain = ClockDomain("sync", reset_less=True)
        m.d.comb += domain.clk.eq(self.clk)
        m.submodules.core = self._core
        wiring.connect(m, self._core, wiring.flipped(self.core))
        return m


def twin_verilog(rate: Rate) -> str:
    """Verilog text of ``TwinTop(rate)``, module ``twin``.

    Each edge of ``clk`` counts as a clock edge: an evaluation of the model for the idle edge would cost a tenth of its time.
    """
    text = str(verilog.convert(TwinTop(rate), name="twin", emit_src=False))
    assert text.count("posedge") == text.count("always @(posedge clk)") > 0
    return make_reachable(text.replace("always @(posedge clk)", "always @(edge clk)"))
