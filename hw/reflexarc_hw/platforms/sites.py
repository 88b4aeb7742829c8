"""Which site each block RAM and each multiplier of an ECP5-85F has: with all else where it stands, those that take the least wire.

nextpnr's electrostatic placer gives one after the other the nearest site that is left. With the detector's engine, which takes three quarters of the RAMs
and most of the multipliers, some end half a chip from all that they are wired to, and a wire across half of the chip takes 4 ns of a cycle's 10. So
everything is placed, they are given other sites, all of a kind at once, and everything else is placed anew around them.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

# Of nextpnr's device: in each of these rows are groups of four, which begin in these columns. Site by site: its name and how many columns further it is.
GROUPS = (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)
ROWS = {"DP16KD": (22, 46, 70, 82), "MULT18X18D": (10, 34, 58)}
FOUR = {
    "DP16KD": (("EBR0", 0), ("EBR1", 2), ("EBR2", 4), ("EBR3", 6)),
    "MULT18X18D": (("MULT18_0", 0), ("MULT18_1", 1), ("MULT18_4", 4), ("MULT18_5", 5)),
}
SITES = {
    kind: tuple(f"X{group + further}/Y{row}/{name}" for row in rows for group in GROUPS for name, further in FOUR[kind])
    for kind, rows in ROWS.items()
}
# Nets with more ends are the clock and the constants, which have ways of their own or come from beside.
ENDS_MAX = 1000
ROUNDS_MAX = 10

Place = tuple[int, int]
# Of a net: those that are given sites, by number, and the corners of all else.
Net = tuple[list[int], list[Place]]


def place_of(bel: str) -> Place:
    """Column and row of a name such as X6/Y22/EBR1."""
    column, row, _ = bel.split("/")
    return int(column[1:]), int(row[1:])


def wire(nets: list[Net], places: np.ndarray) -> int:
    """Half perimeters of the boxes around the nets, in columns and rows."""
    total = 0
    for members, corners in nets:
        ends = np.array(corners + [tuple(places[member]) for member in members])
        total += int((ends.max(axis=0) - ends.min(axis=0)).sum())
    return total


def nets_of(module: dict[str, Any], bels: dict[str, str], members: list[str]) -> list[Net]:
    ends: dict[int, set[str]] = defaultdict(set)
    for name in bels:
        for bits in module["cells"][name]["connections"].values():
            for bit in bits:
                if isinstance(bit, int):
                    ends[bit].add(name)
    number = {name: index for index, name in enumerate(members)}
    nets: list[Net] = []
    for names in ends.values():
        inside = sorted(number[name] for name in names & number.keys())
        others = [place_of(bels[name]) for name in names - number.keys()]
        if inside and 1 < len(names) <= ENDS_MAX:
            columns, rows = zip(*others, strict=True) if others else ((), ())
            nets.append((inside, [(min(columns), min(rows)), (max(columns), max(rows))] if others else []))
    return nets


def nearest_sites(module: dict[str, Any], kind: str, sites: Sequence[str]) -> dict[str, str]:
    """A site for each cell of ``kind`` in ``module``, of nextpnr's JSON of a placement: those with the least half perimeters of their nets.

    The least there is where no two of them share a net; those that do are why it is done in rounds, until it is no better.
    """
    bels = {name: cell["attributes"]["NEXTPNR_BEL"] for name, cell in module["cells"].items() if "NEXTPNR_BEL" in cell["attributes"]}
    members = [name for name in bels if module["cells"][name]["type"] == kind]
    if not members:
        return {}
    nets = nets_of(module, bels, members)
    ground = np.array([place_of(site) for site in sites])
    places = np.array([place_of(bels[name]) for name in members])
    found, least = [bels[name] for name in members], wire(nets, places)
    for _ in range(ROUNDS_MAX):
        # What a net has more because one of them is at a site: how far that is from the box of the others.
        costs = np.zeros((len(members), len(sites)))
        for inside, corners in nets:
            for member in inside:
                others = np.array(corners + [tuple(places[other]) for other in inside if other != member])
                low, high = others.min(axis=0), others.max(axis=0)
                costs[member] += (np.maximum(low - ground, 0) + np.maximum(ground - high, 0)).sum(axis=1)
        _, chosen = linear_sum_assignment(costs)
        places = ground[chosen]
        total = wire(nets, places)
        if total >= least:
            break
        found, least = [sites[index] for index in chosen], total
    return dict(zip(members, found, strict=True))


def give_sites(placed: dict[str, Any], module: dict[str, Any]) -> None:
    """Change ``module``, of Yosys' JSON for nextpnr, in place: its RAMs and multipliers stand where they have the least wire in ``placed``, which is
    changed with it: the second kind's wires lead to where the first kind is then."""
    for kind, sites in SITES.items():
        for name, site in nearest_sites(placed, kind, sites).items():
            placed["cells"][name]["attributes"]["NEXTPNR_BEL"] = site
            module["cells"][name]["attributes"]["BEL"] = site
