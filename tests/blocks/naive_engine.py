"""The detector's image and what its memories compute, word by word and step by step."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from reflexarc.contract.blocks.detector import BankState
from reflexarc.contract.model import (
    ACCUMULATOR_BITS,
    ACTIVATION_BYTES,
    HEADER_LAYOUT,
    LAYER_LAYOUT,
    MAGIC,
    MANTISSA_BITS,
    MEMORY_WORDS,
    OUTPUTS,
    PARAMETER_LAYOUT,
    QUAD,
    RUN_LAYOUT,
    SEGMENT_LAYOUT,
    SETTINGS_LAYOUT,
    VERSION,
    LayerFlag,
    Memory,
    RunFlag,
)
from reflexarc.contract.words import to_bytes


class ImageError(Exception):
    """Why the loader would not make the bank valid."""

    def __init__(self, state: BankState, text: str) -> None:
        self.state = state
        super().__init__(text)


class EngineError(Exception):
    """What a compiler must not ask of the engine."""


@dataclass
class Image:
    """``memories``: words of each memory, 0 where no segment put any."""

    header: dict[str, int]
    memories: dict[Memory, list[int]]
    settings: dict[str, int] = field(default_factory=dict)
    layers: list[dict[str, int]] = field(default_factory=list)

    @property
    def lanes(self) -> int:
        return self.header["lanes"]

    def run(self, number: int) -> dict[str, int]:
        return RUN_LAYOUT.unpack(self.memories[Memory.RUNS][2 * number :])

    def parameter(self, number: int) -> dict[str, int]:
        return PARAMETER_LAYOUT.unpack(self.memories[Memory.PARAMETERS][2 * number :])

    def bytes_of(self, memory: Memory) -> list[int]:
        """Signed."""
        return [byte - 256 if byte > 127 else byte for byte in to_bytes(self.memories[memory])]


def parse_image(words: Sequence[int], lanes: int | None = None) -> Image:
    """As the loader of an engine with so many lanes does it; None: as one with whatever lanes the image is for."""

    def check(holds: bool, text: str) -> None:
        if not holds:
            raise ImageError(BankState.BAD_FORMAT, text)

    check(len(words) >= HEADER_LAYOUT.words, "no whole header")
    header = HEADER_LAYOUT.unpack(words)
    check(header["magic"] == MAGIC, "magic")
    check(header["version"] == VERSION, "version")
    check(lanes is None or header["lanes"] == lanes, "lanes")
    check(header["words"] == len(words), "number of words")
    memories = {memory: [0] * size for memory, size in MEMORY_WORDS.items()}
    place, end = HEADER_LAYOUT.words, len(words) - 1
    while place < end:
        segment = SEGMENT_LAYOUT.unpack(words[place:])
        place += 1
        start, count = segment["start"], segment["count"]
        check(segment["memory"] in list(Memory), "no such memory")
        memory = Memory(segment["memory"])
        check(start + count <= MEMORY_WORDS[memory], f"segment reaches past {memory.name}")
        check(place + count <= end, "segment reaches past the image")
        memories[memory][start : start + count] = words[place : place + count]
        place += count
    check(place == end, "no CRC")
    if zlib.crc32(to_bytes(words[:-1])) != words[-1]:
        raise ImageError(BankState.BAD_CRC, "CRC")
    settings = SETTINGS_LAYOUT.unpack(memories[Memory.SETTINGS])
    layers = [LAYER_LAYOUT.unpack(memories[Memory.LAYERS][8 * number :]) for number in range(settings["layers"])]
    return Image(header, memories, settings, layers)


class Step(NamedTuple):
    """``offset``: bytes from ``in_base`` or from the window's first byte. ``row``, ``column``: of lane 0, in the tensor."""

    offset: int
    row: int
    column: int
    weight: int  # row of weights
    run: dict[str, int]
    first: bool  # of its run
    last: bool  # of its run
    group: int
    outputs: int  # that the tile drains


def layer_steps(image: Image, layer: dict[str, int]) -> Iterator[Step]:
    runs = [image.run(layer["run_start"] + number) for number in range(layer["run_count"])]
    for column in range(layer["output_columns"]):
        for tile in range(layer["row_tiles"]):
            for group in range(layer["groups"]):
                outputs = OUTPUTS
                if group == layer["groups"] - 1:
                    outputs = layer["bytes_last_row"] if tile == layer["row_tiles"] - 1 else layer["bytes_last_group"]
                for run in runs:
                    for index in range(run["count"]):
                        yield Step(
                            column * layer["column_step_bytes"] + tile * layer["row_step"] + run["offset"] + index * image.lanes,
                            tile * layer["row_step"] + run["row"] + index * image.lanes,
                            column * layer["column_step"] + run["column"],
                            layer["weight_base"] + group * layer["group_weights"] + run["weight"] + index,
                            run,
                            index == 0,
                            index == run["count"] - 1,
                            group,
                            outputs,
                        )


def steps(image: Image) -> list[int]:
    """Number of steps of each layer."""
    return [sum(1 for _ in layer_steps(image, layer)) for layer in image.layers]


def requantize(total: int, mantissa: int, shift: int, zero_point: int, low: int, high: int) -> int:
    """``total`` is the sum with its bias."""
    if abs(total) >= 1 << (ACCUMULATOR_BITS - 1) or not 1 << (MANTISSA_BITS - 1) <= mantissa < 1 << MANTISSA_BITS:
        raise EngineError(f"a sum of {total} times {mantissa}")
    product = abs(total) * mantissa
    ulp = 1 << max(0, product.bit_length() - 24)  # of a float32 product
    product = round(Fraction(product, ulp)) * ulp  # round() is half to even
    value = round(Fraction(product, 1 << shift))
    return min(max(zero_point + (-value if total < 0 else value), low), high)


@dataclass
class Outputs:
    """``written``: of each layer what it wrote, in order; ``final``: the last layer's; ``memory``: the activations at the end."""

    written: list[list[int]] = field(default_factory=list)
    final: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def run_image(image: Image, window: bytes, garbage: Sequence[int] = (0,)) -> Outputs:
    """One evaluation. ``window``: its records' bytes, signed values as bytes. ``garbage``: what the activations hold before it, repeated."""
    signed = [byte - 256 if byte > 127 else byte for byte in window]
    if len(signed) != image.settings["window_bytes"]:
        raise EngineError(f"a window of {len(signed)} bytes")
    weights = image.bytes_of(Memory.WEIGHTS)
    tables = image.bytes_of(Memory.TABLES)
    lanes = image.lanes
    memory = [garbage[place % len(garbage)] for place in range(ACTIVATION_BYTES)]
    found = Outputs()

    for layer in image.layers:
        flags = LayerFlag(layer["flags"])

        def read(offset: int, layer: dict[str, int] = layer, flags: LayerFlag = flags) -> int:
            if LayerFlag.RING in flags:
                # What lies outside of the window is an older record, or a newer one: anything.
                return signed[offset] if 0 <= offset < len(signed) else garbage[offset % len(garbage)]
            return memory[(layer["in_base"] + offset) % ACTIVATION_BYTES]

        sums: list[int] | None = None
        results: list[int] | None = None
        written: list[int] = []
        for step in layer_steps(image, layer):
            run_flags = RunFlag(step.run["flags"])
            if RunFlag.IDLE in run_flags:
                if RunFlag.FOLD in run_flags and step.last:
                    assert results is not None
                    results = [max(results[index], results[index + OUTPUTS // 2]) for index in range(OUTPUTS // 2)] + results[
                        OUTPUTS // 2 :
                    ]
            else:
                column_is_there = 0 <= step.column < layer["columns"]
                values = [
                    read(step.offset + lane) if column_is_there and 0 <= step.row + lane < layer["column_bytes"] else layer["pad"]
                    for lane in range(lanes)
                ]
                if RunFlag.FIRST in run_flags and step.first:
                    sums = [0] * OUTPUTS
                if sums is None:
                    raise EngineError("a sum that nothing begins")
                for output in range(OUTPUTS):
                    place = (step.weight * OUTPUTS + output) * lanes
                    sums[output] += sum(weights[place + lane] * values[lane] for lane in range(lanes))
                if RunFlag.LAST in run_flags and step.last:
                    if max(map(abs, sums)) >= 1 << (ACCUMULATOR_BITS - 1):
                        raise EngineError(f"sums of {sums}")
                    if RunFlag.POOL_FIRST in run_flags:
                        results = sums
                    elif results is None:
                        raise EngineError("a pool that nothing begins")
                    else:
                        results = [max(pair) for pair in zip(results, sums, strict=True)]
                    sums = None
            if RunFlag.DRAIN in run_flags and step.last:
                if results is None or sums is not None:
                    raise EngineError("nothing to drain")
                for output in range(step.outputs):
                    parameter = image.parameter(layer["parameter_base"] + step.group * OUTPUTS + output)
                    value = requantize(
                        results[output] + parameter["bias"],
                        parameter["mantissa"],
                        parameter["shift"],
                        layer["zero_point"],
                        layer["low"],
                        layer["high"],
                    )
                    if LayerFlag.TABLE in flags:
                        value = tables[256 * layer["table"] + value + 128]
                    if LayerFlag.FINAL not in flags:
                        memory[(layer["out_base"] + len(written)) % ACTIVATION_BYTES] = value
                    written.append(value)
                results = None
        found.written.append(written)
        if LayerFlag.FINAL in flags:
            found.final = written
    found.memory = memory
    return found


def drains_too_close(image: Image) -> bool:
    """Whether a tile is ready for the requantizers while the one before it is still with them."""
    for layer in image.layers:
        since = busy = 0
        for step in layer_steps(image, layer):
            since += 1
            if RunFlag.DRAIN in RunFlag(step.run["flags"]) and step.last:
                if since < busy:
                    return True
                since, busy = 0, -(-step.outputs // QUAD)
    return False
