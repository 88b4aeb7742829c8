"""The detector's engine in process: the gateware, compiled, on windows by the thousand, with the cycles that each takes.

    python -m reflexarc_sim.engine IMAGE WINDOWS.npy OUT.npz

``WINDOWS.npy``: int8 [windows, bytes], stored values in the order of the ring: [record][line][channel]. ``OUT.npz``: ``outputs`` int8
[windows, outputs]; ``cycles`` and ``after_last`` int64 [windows], with all inputs there, and after the last one.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib.data import StructLayout
from numpy.typing import ArrayLike, NDArray

from reflexarc.contract.model import (
    HEADER_LAYOUT,
    LANES,
    MAGIC,
    MEMORY_WORDS,
    RING_BYTES,
    SEGMENT_LAYOUT,
    SETTINGS_LAYOUT,
    VERSION,
    Memory,
)
from reflexarc.contract.words import to_bytes, to_words
from reflexarc_hw.blocks.detector.engine import Engine
from reflexarc_hw.blocks.detector.memories import LOAD, QUAD_OUTPUTS, RING_WRITE

from .build import HARNESS, BuildError, cache_folder, check_tools, compile_library, source_key
from .top import TwinTop, fast_verilog

IN_ENGINE = (Memory.WEIGHTS, Memory.PARAMETERS, Memory.RUNS, Memory.LAYERS, Memory.TABLES)
PATIENCE_CYCLES = 20_000_000  # no network that fits takes so long

Int8 = NDArray[np.int8]


class EngineError(RuntimeError):
    """The engine does not do what the image asks for, or the image is none."""


def _header() -> str:
    """Where the fields of the engine's ports are, for the harness."""
    lines = ["#pragma once", f"#define RING_SIZE {RING_BYTES}u"]
    for prefix, layout in (("LOAD", LOAD), ("RING", RING_WRITE), ("OUTPUT", QUAD_OUTPUTS)):
        assert isinstance(layout, StructLayout) and layout.size <= 64
        lines += [f"#define {prefix}_{name} {field.offset}" for name, field in layout]
    return "\n".join(lines) + "\n"


def build_engine(lanes: int, progress: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)) -> Path:
    """The shared library of an engine with so many lanes; half a minute where it was not built before. BuildError as of the twin."""
    check_tools()
    library = cache_folder() / f"engine-{lanes}-{source_key(f'engine {lanes}')}.so"

    def add_layout(work: Path) -> None:
        (work / "engine_layout.h").write_text(_header())

    if not library.exists():
        verilog = fast_verilog(TwinTop(Engine(lanes)), "engine")
        compile_library(library, f"engine ({lanes} lanes)", verilog, "engine", HARNESS / "engine.cpp", add_layout, progress)
    return library


def segments(words: Sequence[int]) -> Iterator[tuple[Memory, int, list[int]]]:
    """Memory, start and words of each segment. EngineError for what is no whole image; the loader in the gateware is stricter."""
    if len(words) <= HEADER_LAYOUT.words:
        raise EngineError("no whole header")
    header = HEADER_LAYOUT.unpack(words)
    if (header["magic"], header["version"], header["words"]) != (MAGIC, VERSION, len(words)):
        raise EngineError("no image of this version, or not the whole of it")
    if zlib.crc32(to_bytes(words[:-1])) != words[-1]:
        raise EngineError("the image does not match its checksum")
    place, end = HEADER_LAYOUT.words, len(words) - 1
    while place < end:
        segment = SEGMENT_LAYOUT.unpack(words[place:])
        start, count = segment["start"], segment["count"]
        if segment["memory"] not in list(Memory) or start + count > MEMORY_WORDS[Memory(segment["memory"])] or place + 1 + count > end:
            raise EngineError("a segment reaches past its memory or the image")
        yield Memory(segment["memory"]), start, list(words[place + 1 : place + 1 + count])
        place += 1 + count


class CompiledEngine:
    """One engine and the models in its two banks. A context manager."""

    def __init__(self, lanes: int, progress: Callable[[str], None] | None = None) -> None:
        path = build_engine(lanes) if progress is None else build_engine(lanes, progress)
        self.lanes = lanes
        self._library = _load(path)
        self._engine = self._library.engine_new()
        self.settings: dict[str, int] = {}
        self._outputs = 0

    def close(self) -> None:
        if self._engine is not None:
            self._library.engine_free(self._engine)
        self._engine = None

    def __enter__(self) -> CompiledEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def cycle(self) -> int:
        """Of the engine's life."""
        return int(self._library.engine_cycle(self._engine))

    def load(self, words: Sequence[int], bank: int = 0) -> None:
        """An image into a bank, which counts from then on. EngineError for one that is not for this engine."""
        if len(words) > 1 and HEADER_LAYOUT.unpack([*words[:2], 0])["lanes"] != self.lanes:
            raise EngineError(f"the image is not for an engine of {self.lanes} lanes")
        settings: list[int] = []
        for memory, start, content in segments(words):
            if memory in IN_ENGINE:
                array = np.array(content, np.uint32)
                self._library.engine_load(self._engine, bank, int(memory), start, array, len(array))
            elif memory is Memory.SETTINGS:
                settings = content
        self.settings = SETTINGS_LAYOUT.unpack(settings)
        self._outputs = self.settings["classes"] * self.settings["members"]
        self._library.engine_select(self._engine, bank, self.settings["layers"], self.settings["window_bytes"])

    def run(
        self,
        windows: ArrayLike,
        *,
        bases: ArrayLike = 0,
        early_bytes: int | None = None,
        piece_bytes: int = 1,
        spacing_cycles: int = 0,
        delay_cycles: int = 0,
        count_out: int | None = None,
    ) -> tuple[Int8, NDArray[np.int64], NDArray[np.int64]]:
        """Outputs [windows, outputs]; cycles from the one in which all inputs are there to that of the last output; the same from the begin.

        Without ``early_bytes`` all is there when it begins. Otherwise so many bytes are, and then ``piece_bytes`` come each
        ``spacing_cycles``, the first ones ``delay_cycles`` after the begin. ``bases``: where each window begins in the ring.
        ``count_out``: outputs of an evaluation, where the last layer has not as many as the head takes.
        """
        size = self.settings["window_bytes"]
        stored = np.ascontiguousarray(windows, np.int8)
        if stored.ndim != 2 or stored.shape[1] != size:
            raise EngineError(f"windows of shape {stored.shape}; this model's have {size} bytes")
        early = size if early_bytes is None else early_bytes
        if not 0 <= early <= size or not 1 <= piece_bytes <= max(1, spacing_cycles or piece_bytes):
            raise EngineError("a byte a cycle at most")
        count = len(stored)
        places = np.ascontiguousarray(np.broadcast_to(np.asarray(bases), count) % RING_BYTES, np.uint32)
        each = self._outputs if count_out is None else count_out
        outputs, cycles, began = np.zeros((count, each), np.int8), np.zeros(count, np.uint32), np.zeros(count, np.uint32)
        done = self._library.engine_run(
            self._engine, stored, count, size, places, early, piece_bytes, spacing_cycles, delay_cycles, outputs, each, cycles,
            began, PATIENCE_CYCLES,
        )  # fmt: skip
        if done != count:
            raise EngineError(f"window {done} did not end with {each} outputs")
        return outputs, cycles.astype(np.int64), began.astype(np.int64)

    def after_last(self, windows: ArrayLike) -> tuple[Int8, NDArray[np.int64]]:
        """Outputs, and cycles after the newest value of each channel, where there was time for all that does not need them."""
        size, last = self.settings["window_bytes"], self.settings["channels"]
        _, cycles, _ = self.run(np.asarray(windows)[:1])
        outputs, after, _ = self.run(windows, early_bytes=size - last, piece_bytes=last, spacing_cycles=last, delay_cycles=int(cycles[0]))
        return outputs, after


def _load(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    pointer, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64

    def array(kind: type[np.generic]) -> Any:
        return np.ctypeslib.ndpointer(kind, flags="C_CONTIGUOUS")

    signatures: dict[str, tuple[Any, list[Any]]] = {
        "engine_new": (pointer, []),
        "engine_free": (None, [pointer]),
        "engine_cycle": (u64, [pointer]),
        "engine_load": (None, [pointer, u32, u32, u32, array(np.uint32), u32]),
        "engine_select": (None, [pointer, u32, u32, u32]),
        "engine_run": (
            u32,
            [
                pointer, array(np.int8), u32, u32, array(np.uint32), u32, u32, u32, u32, array(np.int8), u32, array(np.uint32), array(np.uint32),
                u64,
            ],
        ),
    }  # fmt: skip
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def main() -> None:
    parser = argparse.ArgumentParser(prog="reflexarc_sim.engine", description="Windows through the compiled engine.")
    parser.add_argument("image", type=Path)
    parser.add_argument("windows", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    try:
        words = to_words(given.image.read_bytes())
        windows = np.load(given.windows, allow_pickle=False)
        lanes = HEADER_LAYOUT.unpack([*words[:2], 0])["lanes"]
        if lanes not in LANES:
            raise EngineError(f"no image for {', '.join(map(str, LANES))} lanes")
        with CompiledEngine(lanes) as engine:
            engine.load(words)
            outputs, cycles, _ = engine.run(windows)
            late, after_last = engine.after_last(windows)
        if not np.array_equal(outputs, late):
            raise EngineError("outputs hang on when the inputs come")
        np.savez(given.out, outputs=outputs, cycles=cycles, after_last=after_last)
    except (OSError, ValueError, zipfile.BadZipFile, BuildError, EngineError) as error:
        sys.exit(f"reflexarc_sim.engine: {error}")


if __name__ == "__main__":
    main()
