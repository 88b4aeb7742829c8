"""What an image takes of each memory, and what is to be done where that is too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reflexarc.compiler.allocate import Tensor, fullest
from reflexarc.compiler.lower import LoweredLayer
from reflexarc.compiler.network import Head, Shape, View
from reflexarc.compiler.refusal import one_line, refuse, shown
from reflexarc.compiler.tiling import field_range
from reflexarc.contract.model import (
    ACTIVATION_BYTES,
    CHANNELS,
    LAYERS,
    LINE_BYTES,
    OUTPUTS,
    OUTPUTS_MAX,
    PARAMETERS,
    RING_BYTES,
    RUNS,
    SETTINGS_LAYOUT,
    TABLES,
    WEIGHT_BYTES,
)
from reflexarc.errors import BadInput

RING_MARGIN = 8  # bytes that are left free beside a window; a test compares it with the gateware's


@dataclass(frozen=True)
class Use:
    """``hint``: what would fit."""

    name: str
    used: int
    available: int
    unit: str
    hint: str = ""

    @property
    def fits(self) -> bool:
        return self.used <= self.available

    def __str__(self) -> str:
        return f"{self.name} {self.used:,} of {self.available:,} {self.unit}"


def weights_hint(layers: Sequence[LoweredLayer], lanes: int, excess: int) -> str:
    row_bytes = OUTPUTS * lanes
    largest = max(layers, key=lambda layer: layer.weight_rows)
    groups, rows = largest.tile.weights.shape[:2]
    size = largest.weight_rows * row_bytes
    text = f"layer {shown(largest.layer.name)} has {size:,}"
    spared = -(-excess // (rows * row_bytes))
    if spared < groups:
        return f"{text}, and would fit with {OUTPUTS * (groups - spared)} outputs instead of {largest.plan.geometry.outputs}"
    if excess < size:
        return f"{text}, and would fit with {100 * (size - excess) // size} % of its inputs"
    return f"{text}; {100 * WEIGHT_BYTES // (WEIGHT_BYTES + excess)} % of all weights would fit"


def engine_uses(layers: Sequence[LoweredLayer], lanes: int, tensors: Sequence[Tensor], activation_bytes: int, tables: int) -> list[Use]:
    row_bytes = OUTPUTS * lanes
    weights = sum(layer.weight_rows for layer in layers) * row_bytes
    most, at = fullest(tensors)
    runs = [len(layer.tile.runs) for layer in layers]
    wordiest = layers[runs.index(max(runs))].layer.name
    parameters = [len(layer.tile.bias) for layer in layers]
    widest = layers[parameters.index(max(parameters))].layer.name
    return [
        Use("weights", weights, WEIGHT_BYTES, "bytes", weights_hint(layers, lanes, max(0, weights - WEIGHT_BYTES))),
        Use(
            "activations",
            activation_bytes,
            ACTIVATION_BYTES,
            "bytes",
            f"around layer {shown(layers[at].layer.name)} {most:,} bytes are needed at a time; a greater stride or a pool before it halves them",
        ),
        Use("layers", len(layers), LAYERS, "layers", f"{LAYERS} would fit"),
        Use("runs", sum(runs), RUNS, "runs", f"layer {shown(wordiest)} has {max(runs)}; smaller kernels and pools have fewer"),
        Use("parameters", sum(parameters), PARAMETERS, "outputs", f"layer {shown(widest)} has {max(parameters)}, in groups of {OUTPUTS}"),
        Use("tables", tables, TABLES, "tables", "use one activation for several layers, with one scale, or Relu, which needs no table"),
    ]


def view_uses(view: View) -> list[Use]:
    record = view.rows * len(view.channels)
    window = record * view.records
    return [
        Use("ring", window, RING_BYTES - RING_MARGIN, "bytes", f"a window of {(RING_BYTES - RING_MARGIN) // record} records would fit"),
        Use(
            "record",
            record,
            field_range(SETTINGS_LAYOUT, "record_bytes")[1],
            "bytes",
            "fewer lines or channels",
        ),
    ]


def line_pixels(view: View) -> int | None:
    """The longest line, in pixels, of which the view's former lines can be kept; None where none are."""
    former = (view.rows - 1) * len(view.channels)
    return (LINE_BYTES - CHANNELS) // former if former else None


class DoesNotFit(BadInput):
    """``excess``: by what part of what there is the memories are too small, in all."""

    def __init__(self, beyond: Sequence[Use]) -> None:
        self.excess = sum(use.used / use.available - 1 for use in beyond)
        parts = [f"{use}, {use.used - use.available:,} too many ({use.hint})" for use in beyond]
        super().__init__(one_line("the model does not fit: " + "; ".join(parts)))


def refuse_what_does_not_fit(uses: Sequence[Use]) -> None:
    """DoesNotFit with all that is too large, by how much, and what would fit."""
    beyond = [use for use in uses if not use.fits]
    if beyond:
        raise DoesNotFit(beyond)


def check_view(view: View, shape: Shape) -> None:
    if (len(view.channels), view.rows, view.records) != (shape.channels, shape.rows, shape.columns):
        refuse(
            f"the view gives {len(view.channels)} channels of {view.rows} lines and {view.records} records",
            f"the model's input has {shape.channels}, {shape.rows} and {shape.columns}",
        )
    record_bytes = max(1, view.rows * len(view.channels))
    hop_max = min(field_range(SETTINGS_LAYOUT, "hop")[1], field_range(SETTINGS_LAYOUT, "hop_bytes")[1] // record_bytes)
    for name, value, low, high in (
        ("channels", len(view.channels), 1, CHANNELS),
        ("lines", view.rows, 1, field_range(SETTINGS_LAYOUT, "rows")[1]),
        ("records", view.records, 1, field_range(SETTINGS_LAYOUT, "records")[1]),
        ("hop", view.hop, 1, hop_max),
    ):
        if not low <= value <= high:
            refuse(f"the view has {name} {value}", f"accepted: {low} to {high}")
    if view.thresholds.shape != (len(view.channels), 255):
        refuse(f"the view has thresholds of shape {view.thresholds.shape}", f"accepted: ({len(view.channels)}, 255)")
    if (view.thresholds[:, 1:] < view.thresholds[:, :-1]).any():
        refuse("the view's thresholds fall", "each channel's are to ascend")
    refuse_what_does_not_fit(view_uses(view))


def check_head(head: Head, shape: Shape) -> None:
    if sorted((shape.channels, shape.rows, shape.columns))[1] > 1:
        refuse(
            f"the model's output is a tensor of {shape.channels}x{shape.rows}x{shape.columns}",
            "end with a value for each class: GlobalAveragePool, or Flatten and Gemm",
        )
    if not 1 <= shape.size <= OUTPUTS_MAX:
        refuse(f"the model has {shape.size} outputs", f"accepted: 1 to {OUTPUTS_MAX}")
    if head.classes * head.members != shape.size:
        refuse(
            f"{head.members} members of {head.classes} classes are not the model's {shape.size} outputs",
            "give a number of members that divides them",
        )
    for name, value, low, high in (
        ("classes", head.classes, 1, field_range(SETTINGS_LAYOUT, "classes")[1]),
        ("members", head.members, 1, 5),
        ("floor", head.floor, -128, 127),
        ("least margin", head.least_margin, 0, field_range(SETTINGS_LAYOUT, "least_margin")[1]),
        ("first class", head.class_base, 0, 256 - head.classes),
        ("class of disagreement", head.disagreement_class or 0, 0, 255),
        ("eventful classes up to", max(head.eventful, default=0), 0, head.classes - 1),
        ("eventful classes from", min(head.eventful, default=0), 0, head.classes - 1),
    ):
        if not low <= value <= high:
            refuse(f"the head has {name} {value}", f"accepted: {low} to {high}")
