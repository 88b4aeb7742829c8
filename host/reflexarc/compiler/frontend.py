"""From a user's file to a network, with what has to be told of the way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.build import Built, build
from reflexarc.compiler.calibration_data import check_inputs, read_calibration
from reflexarc.compiler.canonical import OPSET, Canonical, Format, canonical
from reflexarc.compiler.graph import Array, Model
from reflexarc.compiler.load import load, named, parse
from reflexarc.compiler.network import Float32, Network, Shape
from reflexarc.compiler.quantize import is_quantized, quantize
from reflexarc.compiler.refusal import refuse
from reflexarc.compiler.runtime import Session
from reflexarc.compiler.simplify import simplify, without_last
from reflexarc.errors import BadInput

COMPARED = 64  # inputs that are compared where nobody says how many


@dataclass(frozen=True)
class Comparison:
    """Of the model that was given and its canonical form, both in onnxruntime."""

    inputs: int
    outputs: int  # values compared
    differences: int  # of them differ as integers
    largest: int  # by so many steps at most
    decisions: int  # inputs for which the greatest output is another one
    random: bool  # the inputs are random numbers


@dataclass(frozen=True)
class Accuracy:
    """Of inputs whose class is known the part that is recognized."""

    inputs: int
    before: float  # by the model that was given
    after: float  # by the canonical one


@dataclass(frozen=True)
class Prepared:
    """``source``: the model as it was given, with what the head does taken off; ``quantized``: the same, or what the quantizer made of it."""

    name: str
    kind: str  # "float", "qdq", "qoperator"
    source: Model
    quantized: Model
    canonical: Canonical
    canonical_bytes: bytes
    built: Built
    notes: tuple[str, ...]
    calibration: Float32 | None
    labels: NDArray[np.int64] | None  # of the calibration data

    @property
    def network(self) -> Network:
        return self.built.network

    @property
    def input(self) -> Format | None:
        """How a number becomes an integer of the model's own type; ``None`` where the model's input is integers of which it does not tell more."""
        return self.canonical.input

    @property
    def input_signed(self) -> bool:
        found = self.canonical.input
        return found.signed if found is not None else self.source.input_type == np.int8

    def integers(self, values: Array) -> NDArray[np.uint8]:
        """Inputs of the model that was given, [n, ...], as the canonical model's."""
        if self.source.input_type == np.float32:
            found = self.canonical.input
            assert found is not None
            with np.errstate(over="ignore"):
                steps = np.rint(values.astype(np.float32) / np.float32(found.scale))
            return np.asarray(np.clip(steps.astype(np.float64) + found.unsigned_zero_point, 0, 255)).astype(np.uint8)
        return (values.astype(np.int64) + (128 if self.source.input_type == np.int8 else 0)).astype(np.uint8)

    def stored(self, values: Array) -> NDArray[np.int8]:
        """Inputs of the model that was given as the network's."""
        return self.built.store(self.integers(values))

    def random_inputs(self, count: int, seed: int = 1) -> Array:
        """Inputs of the model that was given, each of its integers as likely."""
        rng = np.random.default_rng(seed)
        integers = rng.integers(0, 256, (count, *self.source.input_shape[1:]))
        if self.source.input_type == np.float32:
            found = self.canonical.input
            assert found is not None
            return ((integers - found.unsigned_zero_point) * np.float32(found.scale)).astype(np.float32)
        return (integers - (128 if self.source.input_type == np.int8 else 0)).astype(self.source.input_type)

    def compare(self, inputs: Array | None = None, optimized: bool = False, of: Model | None = None) -> Comparison | None:
        """The quantized model (or ``of``) and the canonical one, on the calibration data, or random inputs where there are none.

        Without optimizations onnxruntime computes the quantized model as it is written, in floats; with them it may replace a part by another
        one that rounds differently, and some models it then does not run, for which there is no comparison."""
        random = inputs is None and self.calibration is None
        if inputs is None:
            inputs = self.random_inputs(COMPARED) if self.calibration is None else self.calibration[:COMPARED]
        model = self.quantized if of is None else of
        try:
            theirs = Session(model.to_onnx(), optimized).run_each(inputs).reshape(len(inputs), -1)
        except Exception:  # onnxruntime raises several of its own where it has no kernel
            return None
        ours = self.run(inputs).astype(np.int64)
        integers = self._as_integers(theirs)
        distance = np.abs(integers - ours)
        decisions = int((theirs.argmax(axis=1) != ours.argmax(axis=1)).sum())
        return Comparison(len(inputs), ours.size, int((distance > 0).sum()), int(distance.max()), decisions, random)

    def _as_integers(self, outputs: Array) -> NDArray[np.int64]:
        """Outputs of the model that was given as the canonical model's."""
        if outputs.dtype.kind != "f":
            return outputs.astype(np.int64) + (128 if outputs.dtype == np.int8 else 0)
        found = self.canonical.output
        if found is None:
            refuse("the model does not say how its output is quantized", "end with QuantizeLinear and DequantizeLinear")
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.rint(outputs.astype(np.float32) / np.float32(found.scale)) + found.unsigned_zero_point
        return np.asarray(np.clip(np.nan_to_num(steps), 0, 255)).astype(np.int64)

    def run(self, inputs: Array, optimized: bool = False) -> NDArray[np.uint8]:
        """The canonical model's outputs in onnxruntime, [n, classes], for inputs of the model that was given."""
        session = Session(self.canonical_bytes, optimized)
        return session.run_each(self.integers(inputs)).reshape(len(inputs), -1)

    def accuracy(self, inputs: Array, labels: NDArray[np.int64]) -> Accuracy:
        before = Session(self.source.to_onnx(), optimized=True).run_each(inputs).reshape(len(inputs), -1).argmax(axis=1)
        after = self.run(inputs).argmax(axis=1)
        return Accuracy(len(inputs), float((before == labels).mean()), float((after == labels).mean()))


def prepare(
    path: str | os.PathLike[str],
    calibration: str | os.PathLike[str] | Array | None = None,
    view: Shape | None = None,
    signed: bool = True,
) -> Prepared:
    """Read, quantize where needed, make canonical and build. ``calibration``: a file .npz, or inputs [n, ...]; a float model needs it.
    ``view``: of what channels, rows and records the input is. ``signed``: int8 for the values of a float model that is quantized here, or uint8.
    Raises `BadInput`, one line with the file's name in front."""
    model = load(path)
    try:
        return _prepare(Path(os.fspath(path)).name, model, calibration, view, signed)
    except BadInput as error:
        text = str(error)
        if isinstance(calibration, str | os.PathLike) and text.startswith(f"{Path(os.fspath(calibration)).name}: "):
            raise
        raise named(path, error) from None


def _prepare(name: str, model: Model, calibration: str | os.PathLike[str] | Array | None, view: Shape | None, signed: bool) -> Prepared:
    notes: list[str] = []
    source, note = without_last(simplify(model))
    if note is not None:
        notes.append(note)
    inputs: Float32 | None = None
    labels = None
    if isinstance(calibration, np.ndarray):
        inputs = check_inputs(calibration, source)
    elif calibration is not None:
        inputs, labels = read_calibration(calibration, source)
    if not is_quantized(source):
        kind = "float"
        if inputs is None:
            refuse(
                "it is a float model and has to be quantized, for which nothing says what its values are",
                f"give --calibration with a file .npz that has some hundred inputs as an array '{source.input}' of shape "
                f"[n, {', '.join(str(size) for size in source.input_shape[1:])}]",
            )
        quantized = quantize(source, inputs, signed)
        notes.append(f"quantized by onnxruntime on {len(inputs)} inputs")
    else:
        kind = "qdq" if any(node.op == "DequantizeLinear" for node in source.nodes) else "qoperator"
        quantized = source
    found = canonical(quantized, None if inputs is None else lambda: _output_range(quantized, inputs))
    content = found.model.to_onnx(OPSET)
    built = build(_canonical_model(content), view)
    return Prepared(name, kind, source, quantized, found, content, built, (*notes, *found.notes), inputs, labels)


def _canonical_model(content: bytes) -> Model:
    """What is built is what is in the file."""
    return simplify(parse(content))


def _output_range(model: Model, inputs: Float32) -> tuple[float, float]:
    values = Session(model.to_onnx()).run_each(inputs)
    finite: Sequence[float] = values[np.isfinite(values)].tolist()
    return (min(finite), max(finite)) if finite else (0.0, 0.0)
