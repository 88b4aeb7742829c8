"""Registers that an ECP5's multipliers have themselves, in place of flip-flops behind them; Yosys makes no use of them.

A product that goes on to flip-flops only, all with the same enable, is in the multiplier's output register instead: the way to them is no part of
the cycle any more, which the multiplication takes half of. Nothing changes in what comes out, nor when. MULT18X18D and its registers:
Lattice FPGA-TN-02205, ECP5 sysDSP usage guide.
"""

from collections import defaultdict
from typing import Any

MULTIPLIER = "MULT18X18D"
FLIP_FLOP = "TRELLIS_FF"
PRODUCT_BITS = 36
NO_ENABLE = "1"


def fits(cell: dict[str, Any]) -> bool:
    """A flip-flop that starts from 0 and has no reset and no inverted clock or enable: what the multiplier's register can be."""
    parameters = cell["parameters"]
    return (
        cell["type"] == FLIP_FLOP
        and parameters["REGSET"] == "RESET"
        and parameters["CLKMUX"] == "CLK"
        and parameters["CEMUX"].strip() in (NO_ENABLE, "CE")
        and cell["connections"].get("LSR", ["0"]) == ["0"]
    )


def enable(cell: dict[str, Any]) -> list:
    return [NO_ENABLE] if cell["parameters"]["CEMUX"].strip() == NO_ENABLE else cell["connections"]["CE"]


def take_in(module: dict[str, Any]) -> int:
    """Change ``module``, of Yosys' JSON for nextpnr, in place; how many multipliers have taken their flip-flops in."""
    cells = module["cells"]
    loads: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    loads[bit].append((name, port))
    for port in module["ports"].values():
        for bit in port["bits"]:
            loads[bit].append(("", ""))

    taken = 0
    for name in [name for name, cell in cells.items() if cell["type"] == MULTIPLIER]:
        multiplier = cells[name]
        connections = multiplier["connections"]
        behind: dict[str, str] = {}  # the flip-flop of a product's bit
        only_registers = True
        for index in range(PRODUCT_BITS):
            ends = loads[connections[f"P{index}"][0]] if f"P{index}" in connections else []
            if not ends:
                continue
            if len(ends) > 1 or ends[0][1] != "DI" or not fits(cells[ends[0][0]]):
                only_registers = False
                break
            behind[f"P{index}"] = ends[0][0]
        registers = [cells[register] for register in behind.values()]
        clocks = {register["connections"]["CLK"][0] for register in registers}
        enables = {enable(register)[0] for register in registers}
        if not only_registers or len(clocks) != 1 or len(enables) != 1:
            continue
        multiplier["parameters"] |= {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0"}
        for port, bit in (("CLK0", clocks.pop()), ("CE0", enables.pop()), ("RST0", "0")):
            connections[port] = [bit]
            multiplier["port_directions"][port] = "input"
        for port, register in behind.items():
            connections[port] = cells.pop(register)["connections"]["Q"]
        taken += 1
    return taken
