"""From a model's file to what is deployed, and the report of it: prepare, prove, compile. No board is needed here."""

from __future__ import annotations

import enum
import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc.calibration import Calibration
from reflexarc.compiler.calibration_data import check_inputs, read_calibration
from reflexarc.compiler.canonical import Format
from reflexarc.compiler.compile import Compiled, compile_network
from reflexarc.compiler.exact import Proven, input_thresholds, prove_channels, prove_inputs, split
from reflexarc.compiler.frontend import Comparison, Prepared, prepare
from reflexarc.compiler.graph import Model
from reflexarc.compiler.load import load, named, read_file
from reflexarc.compiler.model_store import CANONICAL, IMAGE, REPORT, ModelStore, StoredModel, checked_name, identity
from reflexarc.compiler.network import Float32, Head, Int8, View
from reflexarc.compiler.reference import run as run_reference
from reflexarc.compiler.trial import try_model
from reflexarc.compiler.wishes import HeadWish, ViewWish, head_of, view_of
from reflexarc.contract.model import OUTPUTS, ViewSource
from reflexarc.contract.words import to_bytes
from reflexarc.errors import BadInput

# Clock in Hz and lanes of each board's gateware: what `make timing LANES=...` shows room for beside the rest of the core. A PYNQ-Z2 has a Zynq-7020; a Red
# Pitaya's Zynq-7010 has 17,600 LUTs and 80 multipliers (AMD DS190), less than the core with an engine takes.
BOARDS = {"ECP5-85F": (100e6, 4), "PYNQ-Z2": (100e6, 8), "PYNQ-Z2, largest engine": (100e6, 16)}
CHECKED = 64  # inputs that the integer reference and onnxruntime are compared on, where nobody asks for more
AT_ONCE = 10_000  # inputs, so that many of them do not fill the memory
SEED = 1
VALIDATION_MAX = 256 << 20  # bytes, unpacked
FORMAT = "reflexarc-deploy-report"


class Tier(enum.Enum):
    FABRIC = "fabric"  # the engine of the gateware, microseconds
    EDGE = "edge"  # onnxruntime on the host, milliseconds


@dataclass(frozen=True)
class Request:
    """What is to be deployed and how. None: as the model's file says. ``tier`` None: whichever can."""

    path: Path
    name: str
    calibration: Path | None = None
    validation: Path | None = None
    view: ViewWish | None = None
    head: Mapping[str, Any] = field(default_factory=dict)  # of `HeadWish`, what is said otherwise
    channels: tuple[tuple[Any, float], ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)  # of `ViewWish`, likewise
    tier: Tier | None = None
    model_id: int | None = None


@dataclass(frozen=True)
class Ready:
    """A model that was read and, unless ``refusal`` says why not, made integer and proved. ``view`` has all its numbers."""

    request: Request
    source: Model
    view: ViewWish
    head: HeadWish
    labels: tuple[str, ...]
    prepared: Prepared | None
    refusal: BadInput | None
    proven: Proven
    accuracy: Mapping[str, Any] | None
    comparison: Comparison | None
    seconds: float


@dataclass(frozen=True)
class Deployable:
    """``compiled``: None on the edge tier; ``onnx`` is what it runs there: the canonical model, or the file itself where there is none."""

    ready: Ready
    tier: Tier
    reason: str
    model_id: int
    view: View | None
    head: Head
    compiled: Compiled | None
    onnx: bytes
    is_canonical: bool
    report: dict[str, Any]

    @property
    def name(self) -> str:
        return self.ready.request.name


# Prepare and prove.


def make_ready(request: Request) -> Ready:
    """Read, quantize, prove. BadInput for what no tier could use; what only the fabric can't use is in ``refusal``."""
    begun = time.perf_counter()
    checked_name(request.name)
    if request.path.is_dir():
        raise named(request.path.resolve(), BadInput("is a folder; give the model's file"))
    source = load(request.path)
    try:
        view, head = _wishes(request, source)
        if request.tier is Tier.EDGE and view.source is not ViewSource.PIXEL:
            raise BadInput("the edge tier looks at pixels only; accepted there: --view window, line, lines")
    except BadInput as error:
        raise named(request.path, error) from None
    inputs, labels = (None, None) if request.calibration is None else read_calibration(request.calibration, source)
    prepared = refusal = accuracy = comparison = None
    proven = Proven()
    try:
        prepared = prepare(request.path, inputs, view.shape)
        proven = prove(prepared)
    except BadInput as error:
        if request.tier is Tier.FABRIC or view.source is not ViewSource.PIXEL:
            raise
        refusal = error
    if prepared is not None:
        accuracy, comparison = _accuracy(request, prepared, head.members, inputs, labels), prepared.compare()
    seconds = time.perf_counter() - begun
    return Ready(request, source, view, head, source.labels, prepared, refusal, proven, accuracy, comparison, seconds)


def _wishes(request: Request, source: Model) -> tuple[ViewWish, HeadWish]:
    view = view_of(source.metadata)
    if request.view is not None:
        # Another view: of the file's only what it sees of each channel goes on.
        view = request.view if view is None else replace(request.view, channels=view.channels, units=view.units, line_mean=view.line_mean)
    if view is None:
        raise BadInput("the model does not say what it looks at; give --view, such as --view window:32x32, and --channel")
    if request.channels:
        view = replace(view, channels=tuple(c for c, _ in request.channels), units=tuple(unit for _, unit in request.channels))
    view = replace(view, **request.changes).resolved(source.input_shape)
    return view, replace(head_of(source.metadata), **request.head)


def prove(prepared: Prepared) -> Proven:
    """Whether each channel of each layer rounds as onnxruntime does, for all sums: by thresholds."""
    nodes = {node.name: node for node in prepared.canonical.model.nodes if node.op == "QLinearConv"}
    constants = prepared.canonical.model.constants
    found = Proven()
    for layer in prepared.network.layers:
        node = nodes.get(layer.name)
        if node is None:
            continue  # takes values as they are: nothing is rounded
        x_scale, _, _, w_scale, _, y_scale, y_zero_point = (constants[name] for name in node.inputs[1:8])
        mantissa, shift = split(layer.multiplier)
        scales = np.broadcast_to(w_scale.reshape(-1), len(mantissa))
        found += prove_channels(np.float32(x_scale), scales, np.float32(y_scale), int(y_zero_point), True, mantissa, shift)
    return found


def _accuracy(
    request: Request, prepared: Prepared, members: int, inputs: Float32 | None, labels: NDArray[np.int64] | None
) -> Mapping[str, Any] | None:
    """Before and after quantization, on the validation data or on calibration data that have labels."""
    if request.validation is not None:
        values, allowed = read_validation(request.validation, prepared.source)
        of = request.validation
    elif inputs is not None and labels is not None and request.calibration is not None:
        values, allowed = inputs, labels[:, None] == np.arange(max(1, int(labels.max()) + 1))
        of = request.calibration
    else:
        return None
    from reflexarc.compiler.runtime import Session

    both = (Session(prepared.source.to_onnx(), optimized=True).run_each(values).reshape(len(values), -1), prepared.run(values))
    # What counts is the class of the first member.
    before, after = (outputs[:, : outputs.shape[1] // members].argmax(axis=1) for outputs in both)
    classes = max(allowed.shape[1], int(before.max()) + 1, int(after.max()) + 1)
    allowed = np.pad(allowed, ((0, 0), (0, classes - allowed.shape[1])))
    rows = np.arange(len(values))
    return {
        "of": of.name,
        "inputs": len(values),
        "before": float(allowed[rows, before].mean()),
        "after": float(allowed[rows, after].mean()),
        "other_class": int((before != after).sum()),
    }


def read_validation(path: Path, model: Model) -> tuple[Float32, NDArray[np.bool_]]:
    """Inputs, and which classes may be said of each: an array ``labels``, or ``allowed`` [n, classes]; ``x_step`` multiplies integers."""
    try:
        read_file(path, VALIDATION_MAX)
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > VALIDATION_MAX:
                    raise BadInput(f"unpacks to more than {VALIDATION_MAX >> 20} MiB")
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files[:16]}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, MemoryError, KeyError, SyntaxError):
            raise BadInput("is no NumPy archive, or damaged") from None
        values = arrays.get(model.input, arrays.get("x"))
        if values is None:
            raise BadInput(f"has no array called as the model's input, {model.input!r}, nor 'x'")
        if "x_step" in arrays and arrays["x_step"].size == 1 and arrays["x_step"].dtype.kind == "f":
            values = values * np.float32(arrays["x_step"].reshape(()))
        inputs = check_inputs(values, model)
        labels, allowed = arrays.get("labels"), arrays.get("allowed")
        if allowed is not None and allowed.ndim == 2 and len(allowed) == len(inputs) and allowed.dtype.kind in "biu":
            return inputs, allowed.astype(bool)
        if labels is not None and labels.shape == (len(inputs),) and labels.dtype.kind in "iu" and 0 <= labels.min() and labels.max() < 256:
            return inputs, np.asarray(labels[:, None] == np.arange(int(labels.max()) + 1))
        raise BadInput(
            f"says of no input which class it is; accepted: an array 'labels' of {len(inputs)} numbers, or 'allowed' of [n, classes]"
        )
    except BadInput as error:
        raise named(path, error) from None


# Compile.


def fit(ready: Ready, calibration: Calibration, lanes: int | None, model_id: int | None = None) -> Deployable:
    """For an engine of so many lanes; None: there is none. What does not fit goes to the edge tier, where that is allowed."""
    begun = time.perf_counter()
    refusal = ready.refusal
    compiled = view = head = None
    wanted = ready.request.tier
    prepared = ready.prepared
    if prepared is not None:
        head = ready.head.head(prepared.network.shapes[prepared.network.output].size, ready.labels, prepared.canonical.output)
        view = make_view(ready.view, prepared, calibration)
    onnx = prepared.canonical_bytes if prepared is not None else read_file(ready.request.path)
    identified = model_id or ready.request.model_id or identity(onnx + repr((ready.view, ready.head)).encode())
    if lanes is None and refusal is None and wanted is not Tier.EDGE:
        refusal = BadInput("the board has no detector engine")
    if prepared is not None and head is not None and view is not None and refusal is None and wanted is not Tier.EDGE:
        assert lanes is not None
        try:
            compiled = compile_network(prepared.network, view, head, lanes, identified)
        except BadInput as error:
            refusal = error
    if compiled is None and (wanted is Tier.FABRIC or ready.view.source is not ViewSource.PIXEL):
        assert refusal is not None
        raise named(ready.request.path, refusal) if ready.refusal is None else refusal
    if compiled is not None:
        tier, reason = Tier.FABRIC, f"it fits the engine of {OUTPUTS * compiled.lanes} products a cycle"
    else:
        tier, reason = Tier.EDGE, "asked for" if wanted is Tier.EDGE else str(refusal)
    trial = try_model(onnx) if compiled is None else None
    if head is None:
        assert trial is not None
        head = ready.head.head(trial.outputs, ready.labels, None, floats=True)
    made = Deployable(ready, tier, reason, identified, view, head, compiled, onnx, prepared is not None, {})
    made.report.update(report_of(made, calibration, time.perf_counter() - begun))
    if trial is not None:
        made.report["edge"] = {"evaluation_us": trial.median_s * 1e6}
    return made


def make_view(wish: ViewWish, prepared: Prepared, calibration: Calibration) -> View:
    """With the thresholds of each channel, on an instrument of this calibration."""
    assert wish.rows is not None and wish.records is not None and wish.hop is not None
    given = input_format(prepared)
    thresholds = [input_thresholds(given.scale, given.zero_point, not given.signed, unit) for unit in wish.lsb_units(calibration)]
    return View(wish.source, wish.channels, wish.rows, wish.records, wish.hop, np.stack(thresholds), wish.backward, wish.line_mean)


def input_format(prepared: Prepared) -> Format:
    """How an input becomes an integer; where the model takes integers and says no more, they count the view's units."""
    return prepared.input or Format(1.0, 0, prepared.input_signed)


# Check.


def random_windows(prepared: Prepared, count: int, seed: int = SEED) -> Int8:
    """Stored inputs of the network [n, channels, lines, records], each value as likely."""
    shape = prepared.network.shapes[prepared.network.input]
    return np.random.default_rng(seed).integers(-128, 128, (count, shape.channels, shape.rows, shape.columns)).astype(np.int8)


def onnxruntime_outputs(prepared: Prepared, windows: Int8) -> Int8:
    """Of the canonical model, as stored: [n, outputs]."""
    from reflexarc.compiler.runtime import Session

    order = prepared.built.input_order.reshape(-1)
    given = np.empty((len(windows), order.size), np.uint8)
    given[:, order] = (windows.reshape(len(windows), -1).astype(np.int64) + 128).astype(np.uint8)
    found = Session(prepared.canonical_bytes).run_each(given.reshape(len(windows), *prepared.canonical.model.input_shape[1:]))
    return (found.reshape(len(windows), -1).astype(np.int64) - 128).astype(np.int8)


def reference_outputs(prepared: Prepared, windows: Int8) -> Int8:
    return run_reference(prepared.network, windows).reshape(len(windows), -1)


def ring_bytes(windows: Int8) -> Int8:
    """Windows as they lie in the ring: [n, bytes], record by record, in each the lines, in each line the channels."""
    return np.ascontiguousarray(windows.transpose(0, 3, 2, 1)).reshape(len(windows), -1)


@dataclass(frozen=True)
class Checked:
    """``cycles``: of each RTL evaluation with all inputs there; ``after``: after the last record; None where there is no RTL."""

    inputs: int
    compared: int
    reference: int  # outputs that the integer reference has otherwise than onnxruntime
    rtl: int | None  # that the RTL has otherwise than onnxruntime
    cycles: tuple[int, int] | None  # least and greatest
    after: tuple[int, int] | None


Rtl = Callable[[Sequence[int], Int8], tuple[Int8, NDArray[np.int64], NDArray[np.int64]]]


def check(made: Deployable, count: int, rtl: Rtl | None = None) -> Checked | None:
    """Random inputs through onnxruntime, the integer reference and, where it is given, the RTL: ``rtl`` takes the image and windows in
    the ring's order, and gives outputs, cycles and cycles after the last record. None for a model that is not in integers."""
    prepared, compiled = made.ready.prepared, made.compiled
    if prepared is None or count < 1:
        return None
    compared = reference = rtl_differences = 0
    cycles: list[int] = []
    after: list[int] = []
    for begin in range(0, count, AT_ONCE):
        windows = random_windows(prepared, min(AT_ONCE, count - begin), SEED + begin)
        theirs = onnxruntime_outputs(prepared, windows)
        reference += int((reference_outputs(prepared, windows) != theirs).sum())
        compared += theirs.size
        if rtl is not None and compiled is not None:
            found, all_there, last = rtl(compiled.words, ring_bytes(windows))
            rtl_differences += int((found != theirs).sum())
            compared += theirs.size
            cycles += [int(all_there.min()), int(all_there.max())]
            after += [int(last.min()), int(last.max())]
    if not cycles:
        return Checked(count, compared, reference, None, None, None)
    return Checked(count, compared, reference, rtl_differences, (min(cycles), max(cycles)), (min(after), max(after)))


def add_check(report: dict[str, Any], checked: Checked | None) -> None:
    if checked is None:
        return
    report["differences"] = checked.reference + (checked.rtl or 0)
    report["compared"] = checked.compared
    report["check"] = {
        "inputs": checked.inputs,
        "reference_against_onnxruntime": checked.reference,
        "rtl_against_onnxruntime": checked.rtl,
    }
    if checked.cycles is not None and checked.after is not None:
        report["cycles_measured"] = checked.cycles[1]
        report["cycles_after_last_measured"] = checked.after[1]
        report["jitter_cycles"] = max(high - low for low, high in (checked.cycles, checked.after))


# The report.


def report_of(made: Deployable, calibration: Calibration, compile_s: float) -> dict[str, Any]:
    """All that is known without a board; what is only measured is None."""
    ready, compiled, prepared = made.ready, made.compiled, made.ready.prepared
    proven = ready.proven
    view_proof = Proven()
    if prepared is not None and made.view is not None:
        given = input_format(prepared)
        for thresholds, unit in zip(made.view.thresholds, ready.view.lsb_units(calibration), strict=True):
            view_proof += prove_inputs(thresholds, given.scale, given.zero_point, not given.signed, unit)
    image = b"" if compiled is None else to_bytes(compiled.words)
    report: dict[str, Any] = {
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": made.name,
        "model": ready.request.path.name,
        "model_id": made.model_id,
        "tier": made.tier.value,
        "tier_reason": made.reason,
        "kind": prepared.kind if prepared is not None else "as it is",
        "labels": list(ready.labels),
        "view": ready.view.plain() | {"text": str(ready.view)},
        "head": head_plain(made),
        "notes": list(prepared.notes) if prepared is not None else [],
        "differences": None,
        "compared": 0,
        "check": None,
        "thresholds_proven": proven.thresholds_proven + view_proof.thresholds_proven,
        "thresholds_total": proven.thresholds_total + view_proof.thresholds_total,
        "cycles_predicted": None,
        "cycles_measured": None,
        "cycles_after_last_predicted": None,
        "cycles_after_last_measured": None,
        "jitter_cycles": None,
        "latency_us": None,
        "latency_after_last_us": None,
        "deploy_s": None,
        "compile_s": round(ready.seconds + compile_s, 3),
        "accuracy": dict(ready.accuracy) if ready.accuracy is not None else None,
        "canonical": asdict(ready.comparison) if ready.comparison is not None else None,
        "canonical_sha256": hashlib.sha256(made.onnx).hexdigest() if made.is_canonical else None,
        "edge": None,
        "image": None,
        "layers": [],
        "memory": [],
        "boards": [],
    }
    if compiled is None or prepared is None or made.view is None:
        return report
    clock = next((hertz for hertz, lanes in BOARDS.values() if lanes == compiled.lanes), 100e6)
    report |= {
        "lanes": compiled.lanes,
        "products_a_cycle": OUTPUTS * compiled.lanes,
        "clock_MHz": clock / 1e6,
        "cycles_predicted": compiled.cycles.total,
        "cycles_after_last_predicted": compiled.cycles.after,
        "latency_us": compiled.cycles.total / clock * 1e6,
        "latency_after_last_us": compiled.cycles.after / clock * 1e6,
        "line_pixels": compiled.line_pixels,
        "image": {
            "bytes": len(image),
            "crc32": f"{compiled.words[-1]:08x}",
            "sha256": hashlib.sha256(image).hexdigest(),
        },
        "layers": _layers(compiled, prepared),
        "memory": [
            {"name": use.name, "used": use.used, "available": use.available, "unit": use.unit, "share": use.used / use.available}
            for use in compiled.uses
        ],
        "boards": _boards(made, compiled),
    }
    return report


def _layers(compiled: Compiled, prepared: Prepared) -> list[dict[str, Any]]:
    operators = {node.name: node.op for node in prepared.canonical.model.nodes}
    found = []
    for layer in compiled.layers:
        least, greatest = prepared.built.reach.get(layer.name, (None, None))
        found.append(
            {
                "name": layer.name,
                "op": operators.get(layer.name, "Identity"),
                "steps": layer.steps,
                "cycles": layer.cycles,
                "products": layer.products,
                "utilisation": layer.utilisation,
                "weight_bytes": layer.weight_bytes,
                "output_bytes": layer.output_bytes,
                "sum_least": least,
                "sum_greatest": greatest,
                "how": layer.how,
            }
        )
    return found


def _boards(made: Deployable, compiled: Compiled) -> list[dict[str, Any]]:
    """The same network on each board's engine."""
    prepared, view = made.ready.prepared, made.view
    assert prepared is not None and view is not None
    cycles = {compiled.lanes: compiled.cycles}
    found = []
    for name, (clock, lanes) in BOARDS.items():
        entry: dict[str, Any] = {"board": name, "clock_MHz": clock / 1e6, "products_a_cycle": OUTPUTS * lanes}
        try:
            if lanes not in cycles:
                cycles[lanes] = compile_network(prepared.network, view, made.head, lanes, made.model_id).cycles
            total, after = cycles[lanes].total, cycles[lanes].after
            entry |= {
                "fits": True,
                "cycles": total,
                "latency_us": total / clock * 1e6,
                "cycles_after_last": after,
                "latency_after_last_us": after / clock * 1e6,
            }
        except BadInput as error:
            entry |= {"fits": False, "why": str(error)}
        found.append(entry)
    return found


def head_plain(made: Deployable) -> dict[str, Any]:
    head = made.head
    labels = made.ready.labels or tuple(map(str, range(head.classes)))
    return {
        "classes": head.classes,
        "members": head.members,
        "eventful": [labels[number] for number in sorted(head.eventful)],
        "eventful_numbers": sorted(head.eventful),
        "least_margin": head.least_margin,
        "margin": made.ready.head.least_margin,
        "floor": head.floor,
        "class_base": head.class_base,
        "disagreement_class": head.disagreement_class,
        "radius": made.ready.head.radius,
    }


# Results.


def _input_plain(made: Deployable) -> tuple[float, int, bool] | None:
    if not made.is_canonical or made.ready.prepared is None:
        return None
    given = input_format(made.ready.prepared)
    return given.scale, given.zero_point, given.signed


def files(made: Deployable) -> dict[str, bytes]:
    """What is written beside the model or into a folder, by name."""
    found = {f"{made.name}.report.json": json.dumps(made.report, indent=2).encode() + b"\n"}
    if made.is_canonical:
        found[f"{made.name}.canonical.onnx"] = made.onnx
    if made.compiled is not None:
        found[f"{made.name}.image"] = to_bytes(made.compiled.words)
    return found


def store(made: Deployable, models: ModelStore) -> StoredModel:
    """Keep it under its name."""
    parts = {CANONICAL: made.onnx, REPORT: json.dumps(made.report, indent=2).encode() + b"\n"}
    if made.compiled is not None:
        parts[IMAGE] = to_bytes(made.compiled.words)
    entry = StoredModel(
        name=made.name,
        model_id=made.model_id,
        tier=made.tier.value,
        lanes=made.compiled.lanes if made.compiled is not None else 0,
        sha256=hashlib.sha256(parts.get(IMAGE, made.onnx)).hexdigest(),
        date=made.report["date"],
        view=made.report["view"],
        head=made.report["head"],
        labels=made.ready.labels,
        input=_input_plain(made),
    )
    models.put(entry, parts)
    return entry
