"""Loader and engine as the detector joins them, and random images for them."""

import random
import zlib
from dataclasses import dataclass, field

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from naive_engine import EngineError, Image, drains_too_close, layer_steps, parse_image, run_image

from reflexarc.contract.blocks.detector import BankState
from reflexarc.contract.model import (
    ACTIVATION_BYTES,
    HEADER_LAYOUT,
    LAYER_LAYOUT,
    MAGIC,
    OUTPUTS,
    PARAMETER_LAYOUT,
    PARAMETERS,
    QUAD,
    RING_BYTES,
    RUN_LAYOUT,
    RUNS,
    SEGMENT_LAYOUT,
    SETTINGS_LAYOUT,
    TABLE_SIZE,
    TABLES,
    VERSION,
    WEIGHT_BYTES,
    LayerFlag,
    Memory,
    RunFlag,
)
from reflexarc.contract.words import to_bytes, to_words
from reflexarc_hw.blocks.detector.engine import Engine
from reflexarc_hw.blocks.detector.loader import Loader
from reflexarc_hw.blocks.detector.memories import LOAD, QUAD_OUTPUTS, RING_WRITE


class EngineBench(wiring.Component):
    def __init__(self, lanes: int):
        self._lanes = lanes
        self.engine = Engine(lanes)
        self.loader = Loader(lanes)
        super().__init__(
            {
                "start": In(1),
                "start_bank": In(1),
                "data_strobe": In(1),
                "data": In(32),
                "end": In(1),
                "active_bank": In(1),
                "active_valid": In(1),
                "state_0": Out(BankState),
                "state_1": Out(BankState),
                "load": Out(LOAD),
                "ring_write": In(RING_WRITE),
                "layers": In(6),
                "window_bytes": In(14),
                "begin": In(1),
                "base": In(13),
                "arrived": In(14),
                "drop": In(1),  # ``abort`` is a name that C++ has already
                "busy": Out(1),
                "outputs": Out(QUAD_OUTPUTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.loader = loader = self.loader
        for name in ("start", "start_bank", "data_strobe", "data", "end", "active_bank", "active_valid"):
            m.d.comb += getattr(loader, name).eq(getattr(self, name))
        for name in ("ring_write", "layers", "window_bytes", "begin", "base", "arrived"):
            m.d.comb += getattr(engine, name).eq(getattr(self, name))
        m.d.comb += [
            engine.load.eq(loader.load),
            engine.bank.eq(self.active_bank),
            engine.abort.eq(self.drop),
            self.load.eq(loader.load),
            self.state_0.eq(loader.state_0),
            self.state_1.eq(loader.state_1),
            self.busy.eq(engine.busy),
            self.outputs.eq(engine.outputs),
        ]
        return m


def seal(words: list[int]) -> list[int]:
    """With its CRC."""
    return [*words, zlib.crc32(to_bytes(words))]


def make_image(lanes: int, segments: list[tuple[Memory, int, list[int]]], model_id: int = 1) -> list[int]:
    """``segments``: memory, start, words."""
    body = []
    for memory, start, words in segments:
        body += [*SEGMENT_LAYOUT.pack({"memory": memory, "start": start, "count": len(words)}), *words]
    header = {"magic": MAGIC, "version": VERSION, "lanes": lanes, "model_id": model_id, "words": HEADER_LAYOUT.words + len(body) + 1}
    return seal([*HEADER_LAYOUT.pack(header), *body])


@dataclass
class Draft:
    """What becomes an image. Places in the memories are taken as they are given."""

    lanes: int
    layers: list[dict[str, int]] = field(default_factory=list)
    runs: dict[int, dict[str, int]] = field(default_factory=dict)
    weights: dict[int, bytes] = field(default_factory=dict)  # by row
    parameters: dict[int, dict[str, int]] = field(default_factory=dict)
    tables: list[bytes] = field(default_factory=list)
    window_bytes: int = 0

    def words(self, rng: random.Random) -> list[int]:
        """Segments of consecutive words, in any order."""
        settings = {name.name: 0 for name in SETTINGS_LAYOUT.fields} | {
            "model_id": 1,
            "layers": len(self.layers),
            "window_bytes": self.window_bytes,
        }
        segments = [(Memory.SETTINGS, 0, SETTINGS_LAYOUT.pack(settings))]
        segments += [(Memory.LAYERS, 8 * number, LAYER_LAYOUT.pack(layer)) for number, layer in enumerate(self.layers)]
        segments += [(Memory.TABLES, TABLE_SIZE // 4 * number, to_words(table)) for number, table in enumerate(self.tables)]
        for memory, size, found in (
            (Memory.RUNS, 2, {number: RUN_LAYOUT.pack(run) for number, run in self.runs.items()}),
            (Memory.WEIGHTS, OUTPUTS * self.lanes // 4, {row: to_words(values) for row, values in self.weights.items()}),
            (Memory.PARAMETERS, 2, {number: PARAMETER_LAYOUT.pack(one) for number, one in self.parameters.items()}),
        ):
            number, pending = -2, []
            for place in sorted(found):
                if place != number + 1 or rng.random() < 0.02:
                    pending = []
                    segments.append((memory, size * place, pending))
                pending += found[place]
                number = place
        rng.shuffle(segments)
        return make_image(self.lanes, segments)


def random_tile(rng: random.Random, lanes: int, geometry, quads: int) -> list[dict[str, int]]:
    """Runs of a tile. ``geometry`` gives offset, row and column of a run of so many vectors."""
    runs: list[dict[str, int]] = []
    weight = 0

    def add(count: int, flags: int, multiplies: bool = True) -> None:
        nonlocal weight
        where = (
            geometry(count)
            if multiplies
            else {"offset": rng.randrange(-16384, 16384), "row": rng.randrange(-8192, 8192), "column": rng.randrange(-128, 128)}
        )
        runs.append({**where, "count": count, "flags": flags, "weight": weight if multiplies else rng.randrange(1024)})
        weight += count if multiplies else 0

    def idle(count: int, flags: int = 0) -> None:
        add(count, RunFlag.IDLE | flags, multiplies=False)

    if rng.random() < 0.2:
        idle(rng.randrange(1, 6))
    pool = rng.choice((1, 1, 1, 2, 3, 4))
    for number in range(pool):
        parts = rng.choice((1, 1, 2, 3))
        for part in range(parts):
            flags = RunFlag.FIRST * (part == 0) | RunFlag.LAST * (part == parts - 1)
            if number == 0 and (part == parts - 1 or rng.random() < 0.2):
                flags |= RunFlag.POOL_FIRST
            add(rng.choice((1, 1, 2, 3, rng.randrange(1, 9))), flags)
            if rng.random() < 0.1:
                idle(rng.randrange(1, 4))
    fold, end = rng.random() < 0.2, rng.random()
    if fold:
        idle(rng.choice((1, 1, 3)), RunFlag.FOLD)
    if end < 0.2:
        idle(rng.randrange(1, 5))
    runs[-1]["flags"] |= RunFlag.DRAIN
    missing = quads - sum(run["count"] for run in runs)
    if missing > 0 or rng.random() < 0.2:
        idle(max(missing, rng.choice((1, 2, 5, 9, 30))))
    return runs


def random_draft(rng: random.Random, lanes: int, layers: int) -> Draft:
    draft = Draft(lanes)
    rows = WEIGHT_BYTES // (OUTPUTS * lanes)
    draft.tables = [rng.randbytes(TABLE_SIZE) for _ in range(TABLES)]
    # The window: columns of so many bytes.
    column_bytes = rng.choice((rng.randrange(1, 40), rng.randrange(1, 400), lanes * rng.randrange(1, 20)))
    columns = rng.randrange(1, min(1024, RING_BYTES // column_bytes, 1 + 3000 // column_bytes) + 1)
    draft.window_bytes = column_bytes * columns
    run_place = 0
    for number in range(layers):
        final = number == layers - 1
        ring = number == 0 or rng.random() < 0.1
        if not ring:
            column_bytes = rng.choice((rng.randrange(1, 40), rng.randrange(1, 400)))
            columns = rng.randrange(1, 30)
        else:
            column_bytes = rng.choice((min(column_bytes, draft.window_bytes), draft.window_bytes, rng.randrange(1, draft.window_bytes + 1)))
            columns = min(1023, draft.window_bytes // column_bytes)
        groups = rng.choice((1, 1, 2, 3))
        row_tiles = rng.choice((1, 1, 2, 5))
        output_columns = rng.choice((1, 1, 2, 4))
        column_step = rng.choice((0, 1, 2, rng.randrange(columns)))
        row_step = rng.choice((0, 1, rng.randrange(1, 40), rng.randrange(column_bytes)))
        bytes_last_group = rng.randrange(1, OUTPUTS + 1)
        bytes_last_row = rng.choice((bytes_last_group, rng.randrange(1, OUTPUTS + 1)))
        quads = -(-(OUTPUTS if groups > 1 else max(bytes_last_group, bytes_last_row)) // QUAD)
        wild = not ring and rng.random() < 0.3  # what is inside has nothing to do with where it is

        def geometry(count: int, column_bytes=column_bytes, columns=columns, wild=wild) -> dict[str, int]:
            column = rng.choice((0, 0, 1, rng.randrange(-3, columns + 2)))
            column = max(-128, min(127, column))
            row = rng.choice((0, rng.randrange(-2 * lanes, column_bytes + lanes), rng.randrange(-2, 3)))
            row = max(-8192, min(8191, row))
            offset = rng.randrange(-16384, 16384) if wild else column * column_bytes + row
            return {"offset": max(-16384, min(16383, offset)), "row": row, "column": column}

        runs = random_tile(rng, lanes, geometry, quads)
        rows_needed = sum(run["count"] for run in runs if not run["flags"] & RunFlag.IDLE)
        weight_base = rng.choice((0, rng.randrange(rows - groups * rows_needed)))
        if run_place + len(runs) > RUNS:
            raise EngineError("runs")
        for index, run in enumerate(runs):
            draft.runs[run_place + index] = run
        for row in range(weight_base, weight_base + groups * rows_needed):
            draft.weights.setdefault(row, rng.randbytes(OUTPUTS * lanes))
        parameter_base = OUTPUTS * rng.randrange(PARAMETERS // OUTPUTS - groups + 1)
        steps = max(1, rows_needed)
        typical = (steps * lanes) ** 0.5 * 5400
        for output in range(groups * OUTPUTS):
            shift = max(1, min(127, 24 + round(typical / 60).bit_length() + rng.choice((-2, -1, 0, 0, 1, 1, 2))))
            draft.parameters.setdefault(
                parameter_base + output,
                {"bias": round(rng.gauss(0, typical / 2)), "mantissa": rng.randrange(1 << 23, 1 << 24), "shift": shift},
            )
        low, high = sorted((rng.choice((-128, rng.randrange(-128, 128))), rng.choice((127, rng.randrange(-128, 128)))))
        flags = LayerFlag.RING * ring | LayerFlag.FINAL * final | LayerFlag.TABLE * (rng.random() < 0.3)
        draft.layers.append(
            {
                "in_base": rng.randrange(ACTIVATION_BYTES), "columns": columns, "flags": flags, "column_bytes": column_bytes,
                "row_step": row_step, "column_step_bytes": column_step * column_bytes % ACTIVATION_BYTES, "column_step": column_step,
                "out_base": rng.randrange(ACTIVATION_BYTES), "output_columns": output_columns, "pad": rng.randrange(-128, 128),
                "row_tiles": row_tiles, "groups": groups, "bytes_last_group": bytes_last_group, "bytes_last_row": bytes_last_row,
                "run_start": run_place, "run_count": len(runs), "weight_base": weight_base, "group_weights": rows_needed,
                "parameter_base": parameter_base, "table": rng.randrange(TABLES), "zero_point": rng.randrange(-128, 128), "low": low, "high": high,
            }
        )  # fmt: skip
        run_place += len(runs) + rng.choice((0, 0, 3))
    return draft


def written_bytes(image: Image, layer: dict[str, int]) -> int:
    total = 0
    for step in layer_steps(image, layer):
        total += step.outputs * bool(step.run["flags"] & RunFlag.DRAIN and step.last)
    return total


def reads_what_it_writes(image: Image, layer: dict[str, int]) -> bool:
    """Or reads from the ring what is not of the window, which may be anything."""
    flags = LayerFlag(layer["flags"])
    written = 0 if LayerFlag.FINAL in flags else written_bytes(image, layer)
    window = image.settings["window_bytes"]
    for step in layer_steps(image, layer):
        if step.run["flags"] & RunFlag.IDLE or not 0 <= step.column < layer["columns"]:
            continue
        for lane in range(image.lanes):
            if 0 <= step.row + lane < layer["column_bytes"]:
                if LayerFlag.RING in flags:
                    if not 0 <= step.offset + lane < window:
                        return True
                elif (layer["in_base"] + step.offset + lane - layer["out_base"]) % ACTIVATION_BYTES < written:
                    return True
    return False


def random_image(rng: random.Random, lanes: int, most_layers: int = 4, most_steps: int = 600) -> tuple[list[int], Image]:
    """That an engine with so many lanes must do right, whatever was in its memories before."""
    while True:
        try:
            draft = random_draft(rng, lanes, rng.randrange(1, most_layers + 1))
        except EngineError:
            continue
        words = draft.words(rng)
        image = parse_image(words, lanes)
        if sum(sum(1 for _ in layer_steps(image, layer)) for layer in image.layers) > most_steps or drains_too_close(image):
            continue
        if any(reads_what_it_writes(image, layer) for layer in image.layers):
            continue
        try:
            run_image(image, rng.randbytes(draft.window_bytes))
        except EngineError:
            continue
        return words, image


def layered_image(rng: random.Random, lanes: int, sizes: tuple[int, ...]) -> tuple[list[int], Image]:
    """Dense layers from so many inputs to so many outputs, one behind the other."""
    draft = Draft(lanes, window_bytes=sizes[0])
    weight = parameter = place = 0
    for number, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
        vectors, groups = -(-inputs // lanes), -(-outputs // OUTPUTS)
        flags = RunFlag.FIRST | RunFlag.LAST | RunFlag.POOL_FIRST | RunFlag.DRAIN
        draft.runs[2 * number] = {"offset": 0, "count": vectors, "flags": flags, "row": 0, "column": 0, "weight": 0}
        waits = OUTPUTS // QUAD - vectors if groups > 1 else 0
        if waits > 0:
            draft.runs[2 * number + 1] = draft.runs[2 * number] | {"count": waits, "flags": RunFlag.IDLE}
        out = (place + inputs) % ACTIVATION_BYTES
        last = (outputs - 1) % OUTPUTS + 1
        draft.layers.append(
            {
                "in_base": place, "columns": 1, "flags": LayerFlag.RING * (number == 0) | LayerFlag.FINAL * (number == len(sizes) - 2),
                "column_bytes": inputs, "row_step": 0, "column_step_bytes": 0, "column_step": 0, "out_base": out, "output_columns": 1, "pad": 0,
                "row_tiles": 1, "groups": groups, "bytes_last_group": last, "bytes_last_row": last, "run_start": 2 * number,
                "run_count": 1 + (waits > 0), "weight_base": weight, "group_weights": vectors, "parameter_base": parameter, "table": 0,
                "zero_point": 0, "low": -128, "high": 127,
            }
        )  # fmt: skip
        for _ in range(groups * vectors):
            draft.weights[weight] = rng.randbytes(OUTPUTS * lanes)
            weight += 1
        for _ in range(groups * OUTPUTS):
            draft.parameters[parameter] = {"bias": rng.randrange(-9999, 9999), "mantissa": rng.randrange(1 << 23, 1 << 24), "shift": 34}
            parameter += 1
        place = out
    words = draft.words(rng)
    return words, parse_image(words, lanes)
