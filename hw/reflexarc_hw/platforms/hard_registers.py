"""Registers of products: the multipliers' own on an ECP5, in place of flip-flops behind them. Yosys makes no use of those.

The way from a multiplier to flip-flops is no part of the cycle then, of which multiplying takes nearly half. Nothing changes in what comes out, nor
when. MULT18X18D and its registers: Lattice FPGA-TN-02205, ECP5 and ECP5-5G sysDSP usage guide.
"""

from collections import defaultdict
from typing import Any

from reflexarc_hw.lib.product_register import ATTRIBUTE

MULTIPLIER = "MULT18X18D"
FLIP_FLOP = "TRELLIS_FF"
PRODUCT_BITS = 36
ALWAYS = "1"  # of an enable


def enable_of(cell: dict[str, Any]) -> int | str | None:
    """What enables a flip-flop that a multiplier's register can stand for: it starts from 0, has no reset and no inverted input; else None."""
    parameters, connections = cell["parameters"], cell["connections"]
    if parameters["REGSET"] != "RESET" or parameters["CLKMUX"] != "CLK" or connections.get("LSR", ["0"]) != ["0"]:
        return None
    match parameters["CEMUX"].strip():
        case "1":
            return ALWAYS
        case "CE":
            return connections["CE"][0]
    return None


def registers_behind(multiplier: dict[str, Any], cells: dict[str, Any], loads: dict[Any, list[tuple[str, str]]]) -> dict[str, str]:
    """The flip-flop of each bit of the product that is used; none at all if there is one that is used otherwise."""
    found = {}
    for index in range(PRODUCT_BITS):
        port = f"P{index}"
        ends = loads[multiplier["connections"][port][0]] if port in multiplier["connections"] else []
        if not ends:
            continue
        name, load = ends[0]
        if len(ends) > 1 or load != "DI" or cells[name]["type"] != FLIP_FLOP:
            return {}
        found[port] = name
    return found


def take_in(module: dict[str, Any]) -> int:
    """Change ``module``, of Yosys' JSON for nextpnr, in place; how many multipliers have their products' registers.

    ValueError for a register that asks for it and can't be in a multiplier.
    """
    cells = module["cells"]
    asked = {bit: name for name, net in module["netnames"].items() if ATTRIBUTE in net["attributes"] for bit in net["bits"]}
    loads: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) == "input":
                for bit in bits:
                    loads[bit].append((name, port))
    for name, pin in module["ports"].items():
        for bit in pin["bits"]:
            loads[bit].append((name, "pin"))

    taken = 0
    for multiplier in [cell for cell in cells.values() if cell["type"] == MULTIPLIER]:
        behind = registers_behind(multiplier, cells, loads)
        registers = [cells[name] for name in behind.values()]
        if not registers or not all(register["connections"]["Q"][0] in asked for register in registers):
            continue
        clocks = {register["connections"]["CLK"][0] for register in registers}
        enables = {enable_of(register) for register in registers}
        if len(clocks) > 1 or len(enables) > 1 or None in enables:
            continue
        multiplier["parameters"] |= {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0", "REG_OUTPUT_RST": "RST0"}
        for port, bit in (("CLK0", clocks.pop()), ("CE0", enables.pop()), ("RST0", "0")):
            multiplier["connections"][port] = [bit]
            multiplier["port_directions"][port] = "input"
        for port, name in behind.items():
            multiplier["connections"][port] = cells.pop(name)["connections"]["Q"]
        taken += 1

    left = {
        asked[cell["connections"]["Q"][0]] for cell in cells.values() if cell["type"] == FLIP_FLOP and cell["connections"]["Q"][0] in asked
    }
    if left:
        raise ValueError(f"no register of one multiplier, though it asks to be: {', '.join(sorted(left))}")
    return taken
