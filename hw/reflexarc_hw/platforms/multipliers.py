"""What an ECP5's multipliers can do and Yosys makes no use of. Nothing changes in what comes out, nor when.

- Registers of products are the multipliers' own, in place of flip-flops behind them: the way to those is no part of the cycle then, of which
  multiplying takes nearly half.
- Short operands stand at the upper end of theirs, above zeros, which need no wires. At the lower end an operand of 8 bits has its sign at eleven pins.

MULT18X18D and its registers: Lattice FPGA-TN-02205, ECP5 and ECP5-5G sysDSP usage guide.
"""

from collections import defaultdict
from typing import Any

from reflexarc_hw.lib.product_register import ATTRIBUTE

MULTIPLIER = "MULT18X18D"
FLIP_FLOP = "TRELLIS_FF"
OPERAND_BITS, PRODUCT_BITS = 18, 36
SHORT = 9  # bits of an operand, at most
ALWAYS = "1"  # of an enable

Loads = dict[Any, list[tuple[str, str]]]  # of a net: cells and their ports, or the module's own pins


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


def loads_of(module: dict[str, Any]) -> Loads:
    loads: Loads = defaultdict(list)
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"].get(port) == "input":
                for bit in bits:
                    loads[bit].append((name, port))
    for name, pin in module["ports"].items():
        for bit in pin["bits"]:
            loads[bit].append((name, "pin"))
    return loads


def registers_behind(multiplier: dict[str, Any], cells: dict[str, Any], loads: Loads) -> dict[str, str]:
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


def sign_pins(multiplier: dict[str, Any], operand: str) -> int:
    """Of a signed operand: how many of its upper pins have its sign, beside the topmost."""
    connections = multiplier["connections"]
    if connections[f"SIGNED{operand}"] != ["1"]:
        return 0
    pins = [connections[f"{operand}{index}"][0] for index in range(OPERAND_BITS)]
    return next((index for index, bit in enumerate(reversed(pins)) if bit != pins[-1]), OPERAND_BITS) - 1


def raise_operands(module: dict[str, Any]) -> int:
    """Change ``module``, of Yosys' JSON for nextpnr, in place; how many multipliers have their operands, of SHORT bits or less, at the upper end."""
    loads = loads_of(module)
    raised = 0
    for multiplier in [cell for cell in module["cells"].values() if cell["type"] == MULTIPLIER]:
        connections = multiplier["connections"]
        by = {operand: sign_pins(multiplier, operand) for operand in "AB"}
        places = sum(by.values())
        products = [connections[f"P{index}"] for index in range(PRODUCT_BITS)]
        # What is above the product's own bits is its sign, and should not be in use.
        if min(by.values()) < OPERAND_BITS - SHORT or any(loads[bit] for (bit,) in products[PRODUCT_BITS - places :]):
            continue
        for operand, raised_by in by.items():
            pins = [connections[f"{operand}{index}"] for index in range(OPERAND_BITS)]
            for index in range(OPERAND_BITS):
                connections[f"{operand}{index}"] = pins[index - raised_by] if index >= raised_by else ["0"]
        for index in range(PRODUCT_BITS):
            connections[f"P{index}"] = products[index - places]  # below ``places``: what nobody uses
        raised += 1
    return raised


def take_in(module: dict[str, Any]) -> int:
    """Change ``module``, of Yosys' JSON for nextpnr, in place; how many multipliers have their products' registers.

    ValueError for a register that asks for it and can't be in a multiplier.
    """
    cells = module["cells"]
    asked = {bit: name for name, net in module["netnames"].items() if ATTRIBUTE in net["attributes"] for bit in net["bits"]}
    loads = loads_of(module)
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
        raise ValueError(f"not in a multiplier, though it asks to be (lib/product_register.py says what can be): {', '.join(sorted(left))}")
    return taken
