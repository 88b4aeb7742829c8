"""Routes that lead to registers too late, given up, so that nextpnr's router looks for others while all else stays.

The router begins with what is long by the placement; what is short may be led around, however far, as long as there is a way. So some of the
registers that are late in the end are not far from anything. Routed once more, with every other net where it is, these nets push their neighbours
aside instead.
"""

from collections.abc import Iterable
from typing import Any

LOGIC = "TRELLIS_COMB"
# nextpnr leads the clock anew in each run, and ends where it finds it led already.
GLOBAL = "$glbnet$"

End = tuple[str, str]  # cell and port


def nets_before(module: dict[str, Any], ends: Iterable[End]) -> set[int]:
    """The nets that ``ends`` wait for in ``module``, of nextpnr's JSON: theirs and those before it, through logic back to registers, by number."""
    cells = module["cells"]
    drivers = {
        bit: name
        for name, cell in cells.items()
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "output"
        for bit in bits
    }
    found: set[int] = set()
    to_look_at = [bit for name, port in ends for bit in cells[name]["connections"][port]]
    while to_look_at:
        bit = to_look_at.pop()
        if bit in found or bit not in drivers:
            continue
        found.add(bit)
        driver = cells[drivers[bit]]
        if driver["type"] == LOGIC:
            inputs = (bits for port, bits in driver["connections"].items() if driver["port_directions"][port] == "input")
            to_look_at += [bit for bits in inputs for bit in bits]
    return found


def give_up_routes(module: dict[str, Any], ends: Iterable[End]) -> int:
    """Change ``module``, of nextpnr's JSON, in place: what leads to ``ends`` has no route; how many nets that are."""
    nets = nets_before(module, ends)
    given_up = 0
    for name, net in module["netnames"].items():
        late = not nets.isdisjoint(net["bits"])
        given_up += late
        # A net that never had a route has a blank one, which nextpnr can't read.
        if late or name.startswith(GLOBAL) or not net["attributes"].get("ROUTING", "").strip():
            net["attributes"].pop("ROUTING", None)
    return given_up
