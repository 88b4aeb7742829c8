"""A network, a view and a head become an image for an engine with so many lanes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reflexarc.compiler.allocate import Allocation, Tensor, allocate
from reflexarc.compiler.cycles import Cycles, LayerCycles, quads
from reflexarc.compiler.fit import DoesNotFit, Use, check_head, check_view, engine_uses, line_pixels, refuse_what_does_not_fit, view_uses
from reflexarc.compiler.image import Image, pack_image, packed
from reflexarc.compiler.lower import Aim, Lowered, LoweredLayer, lower
from reflexarc.compiler.network import Head, Int8, Network, View
from reflexarc.compiler.tiling import Fold
from reflexarc.contract.model import (
    LANES,
    LAYER_LAYOUT,
    OUTPUTS,
    PARAMETER_LAYOUT,
    RUN_LAYOUT,
    SETTINGS_LAYOUT,
    LayerFlag,
    Memory,
    ViewFlag,
)
from reflexarc.errors import BadInput


@dataclass(frozen=True)
class LayerReport:
    """``products``: multiplications of the layer's definition; ``utilisation``: of those that the array could have done meanwhile."""

    name: str
    steps: int
    cycles: int
    products: int
    utilisation: float
    weight_bytes: int
    output_bytes: int
    how: str


@dataclass(frozen=True)
class Compiled:
    """``words`` is the image as it is loaded; ``line_pixels``: the longest line that the view can have, None: any."""

    words: list[int]
    image: Image
    lanes: int
    model_id: int
    layers: tuple[LayerReport, ...]
    uses: tuple[Use, ...]
    cycles: Cycles
    line_pixels: int | None
    bases: dict[str, int]  # of tensors in the activation memory

    @property
    def size(self) -> int:
        """Bytes of the image."""
        return 4 * len(self.words)


def compile_network(network: Network, view: View, head: Head, lanes: int, model_id: int) -> Compiled:
    """BadInput where it does not fit."""
    if lanes not in LANES:
        raise BadInput(f"no engine has {lanes} lanes; accepted: {', '.join(map(str, LANES))}")
    check_view(view, network.shapes[network.input])
    check_head(head, network.shapes[network.output])
    refusals = []
    for aim in Aim:
        try:
            return _compiled(network, view, head, lanes, model_id, aim)
        except DoesNotFit as error:
            refusals.append(error)
    raise min(refusals, key=lambda refusal: refusal.excess)


def _compiled(network: Network, view: View, head: Head, lanes: int, model_id: int, aim: Aim) -> Compiled:
    lowered = lower(network, lanes, len(view.channels), aim)
    tensors = _tensors(lowered)
    allocation = allocate(tensors)
    tables = _tables(lowered)
    uses = engine_uses(lowered.layers, lanes, tensors, allocation.size, len(tables)) + view_uses(view)
    refuse_what_does_not_fit(uses)
    memories = {
        Memory.SETTINGS: _settings(view, head, model_id, len(lowered.layers)),
        Memory.THRESHOLDS: [int(value) & 0xFFFFFFFF for channel in view.thresholds for value in (*channel, 0)],
        **_memories(lowered, allocation, tables, lanes),
    }
    image = Image(lanes, model_id, memories)
    cycles = _cycles(lowered, len(view.channels))
    return Compiled(
        words=pack_image(image),
        image=image,
        lanes=lanes,
        model_id=model_id,
        layers=tuple(_report(layer, lanes, cycles.of_layer(number)) for number, layer in enumerate(lowered.layers)),
        uses=tuple(uses),
        cycles=cycles,
        line_pixels=line_pixels(view),
        bases=allocation.bases,
    )


def _tensors(lowered: Lowered) -> list[Tensor]:
    """What lies in the activation memory: all but the input, which is in the ring, and the output."""
    last = {source: number for number, layer in enumerate(lowered.layers) for source in layer.layer.sources}
    return [
        Tensor(layer.layer.target, lowered.shapes[layer.layer.target].size, number, last[layer.layer.target])
        for number, layer in enumerate(lowered.layers)
        if not layer.final
    ]


def _tables(lowered: Lowered) -> list[Int8]:
    found: list[Int8] = []
    for layer in lowered.layers:
        table = layer.layer.table
        if table is not None and not any(np.array_equal(table, other) for other in found):
            found.append(table)
    return found


def _memories(lowered: Lowered, allocation: Allocation, tables: list[Int8], lanes: int) -> dict[Memory, list[int]]:
    runs: list[int] = []
    layers: list[int] = []
    parameters: list[int] = []
    weights: list[np.ndarray[tuple[int, ...], np.dtype[np.int8]]] = []
    weight_rows = run_start = 0
    for layer in lowered.layers:
        plan, definition = layer.plan, layer.layer
        what = f"layer {definition.name!r}"
        bases = [0 if layer.ring else allocation.bases[source] for source in definition.sources]
        flags = LayerFlag(0)
        if layer.ring:
            flags |= LayerFlag.RING
        if layer.final:
            flags |= LayerFlag.FINAL
        table = 0
        if definition.table is not None:
            flags |= LayerFlag.TABLE
            table = next(number for number, other in enumerate(tables) if np.array_equal(definition.table, other))
        layers += packed(
            LAYER_LAYOUT,
            {
                "in_base": bases[0],
                "columns": plan.columns,
                "flags": flags,
                "column_bytes": plan.column_bytes,
                "row_step": plan.row_step,
                "column_step_bytes": plan.column_step_bytes,
                "column_step": plan.column_step,
                "out_base": 0 if layer.final else allocation.bases[definition.target],
                "output_columns": plan.output_columns,
                "pad": definition.pad_value,
                "row_tiles": plan.row_tiles,
                "groups": plan.groups,
                "bytes_last_group": plan.last_group,
                "bytes_last_row": plan.last_row,
                "run_start": run_start,
                "run_count": len(layer.tile.runs),
                "weight_base": weight_rows,
                "group_weights": layer.tile.weights.shape[1],
                "parameter_base": len(parameters) // PARAMETER_LAYOUT.words,
                "table": table,
                "zero_point": definition.zero_point,
                "low": definition.low,
                "high": definition.high,
            },
            what,
        )
        for run in layer.tile.runs:
            runs += packed(
                RUN_LAYOUT,
                {
                    "offset": run.offset + bases[run.source] - bases[0],
                    "count": run.count,
                    "flags": run.flags,
                    "row": run.row,
                    "column": run.column,
                    "weight": run.weight,
                },
                what,
            )
        for bias, shift, mantissa in zip(layer.tile.bias.tolist(), layer.shift.tolist(), layer.mantissa.tolist(), strict=True):
            parameters += packed(PARAMETER_LAYOUT, {"bias": bias, "shift": shift, "mantissa": mantissa}, what)
        weights.append(layer.tile.weights.reshape(-1))
        weight_rows += layer.weight_rows
        run_start += len(layer.tile.runs)
    found = {
        Memory.LAYERS: layers,
        Memory.RUNS: runs,
        Memory.PARAMETERS: parameters,
        Memory.WEIGHTS: np.concatenate(weights).view("<u4").tolist(),
    }
    if tables:
        found[Memory.TABLES] = np.concatenate(tables).astype(np.int8).view("<u4").tolist()
    return found


def _settings(view: View, head: Head, model_id: int, layers: int) -> list[int]:
    view_flags = ViewFlag(0)
    if view.backward:
        view_flags |= ViewFlag.BACKWARD
    if view.line_mean:
        view_flags |= ViewFlag.LINE_MEAN
    record_bytes = view.rows * len(view.channels)
    channels = {f"channel_{number}": int(view.channels[number]) if number < len(view.channels) else 0 for number in range(4)}
    eventful = sum(1 << number for number in head.eventful)
    values = {
        "model_id": model_id,
        "source": view.source,
        "view_flags": view_flags,
        "channels": len(view.channels),
        "layers": layers,
        "rows": view.rows,
        "records": view.records,
        "record_bytes": record_bytes,
        "window_bytes": view.records * record_bytes,
        "hop": view.hop,
        "hop_bytes": view.hop * record_bytes,
        **channels,
        "classes": head.classes,
        "members": head.members,
        "floor": head.floor,
        "least_margin": head.least_margin,
        "class_base": head.class_base,
        "disagreement": int(head.disagreement_class is not None),
        "disagreement_class": head.disagreement_class or 0,
        "eventful": eventful & 0xFFFFFFFF,
        "eventful_high": eventful >> 32,
    }
    return packed(SETTINGS_LAYOUT, values, "settings")


def _cycles(lowered: Lowered, last_bytes: int) -> Cycles:
    """Of a record the lines before are in the ring ahead of the pixel that it is about: what comes last is a value of each channel."""
    return Cycles(
        tuple(
            LayerCycles(
                name=layer.layer.name,
                steps=layer.plan.steps,
                after=layer.plan.after(last_bytes) if number == 0 else layer.plan.steps,
                quads=quads(layer.plan.last_row),
                table=layer.layer.table is not None,
            )
            for number, layer in enumerate(lowered.layers)
        )
    )


def _how(layer: LoweredLayer) -> str:
    plan = layer.plan
    text = f"{plan.tile_outputs} outputs a tile"
    if plan.tiling.fold is not Fold.NONE:
        text += f", pool folded by {plan.tiling.fold.value}"
    return text


def _report(layer: LoweredLayer, lanes: int, cycles: int) -> LayerReport:
    plan = layer.plan
    return LayerReport(
        name=layer.layer.name,
        steps=plan.steps,
        cycles=cycles,
        products=layer.products,
        utilisation=layer.products / (plan.steps * OUTPUTS * lanes),
        weight_bytes=layer.weight_rows * OUTPUTS * lanes,
        output_bytes=layer.output_bytes,
        how=_how(layer),
    )


def describe(compiled: Compiled) -> Iterator[str]:
    """Lines for people."""
    width = max(len("layer"), *(len(layer.name) for layer in compiled.layers))
    yield f"{'layer':{width}}  cycles  steps  products  used  weights  output  tile"
    for layer in compiled.layers:
        yield (
            f"{layer.name:{width}}  {layer.cycles:6,}  {layer.steps:5,}  {layer.products:8,}  {layer.utilisation:4.0%}"
            f"  {layer.weight_bytes:7,}  {layer.output_bytes:6,}  {layer.how}"
        )
    yield f"{compiled.cycles.total:,} cycles with all inputs there, {compiled.cycles.after:,} after the last record, at {compiled.lanes} lanes"
    for use in compiled.uses:
        yield str(use)
    if compiled.line_pixels is not None:
        yield f"lines of up to {compiled.line_pixels:,} pixels"
