"""The detectors in models/: complete, as good as their cards say, and the same in onnxruntime as in whole numbers."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reflexarc.compiler import reference
from reflexarc.compiler.compile import compile_network
from reflexarc.compiler.frontend import Prepared, prepare
from reflexarc.compiler.load import load
from reflexarc.compiler.network import View
from reflexarc.compiler.wishes import head_of, view_of
from reflexarc.contract.model import LANES

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
NAMES = ("adatoms", "tip_change", "domain_wall", "burst")
FILES = (
    "calibration.npz",
    "card.md",
    "golden.npz",
    "held_out.npz",
    "measure.py",
    "metrics.json",
    "model.canonical.onnx",
    "model.onnx",
    "train.py",
)
DATA = ROOT.parent / "shared" / "data"  # beside the checkout, not in it
LARGEST = 2_000_000  # bytes, of all folders
# Least accuracy on the stored inputs, in eight bits, and what at most quantizing may cost.
BARS = {"adatoms": 0.93, "tip_change": 0.85, "domain_wall": 0.93, "burst": 0.93}
COST = 0.02

sys.path.append(str(ROOT))  # the scripts import each other as models.…


def measure(name: str) -> Any:
    return importlib.import_module(f"models.{name}.measure")


def scores() -> Any:
    return importlib.import_module("models.common.scores")


@pytest.fixture(scope="module")
def prepared() -> dict[str, Prepared]:
    return {name: prepare(MODELS / name / "model.onnx", MODELS / name / "calibration.npz") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_complete(name: str) -> None:
    assert not {file for file in FILES if not (MODELS / name / file).is_file()}
    assert f"({name}/card.md)" in (MODELS / "README.md").read_text()


def test_all_of_it_is_small() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.suffix in (".onnx", ".npz", ".json", ".md")) < LARGEST


@pytest.mark.parametrize("name", NAMES)
def test_the_card_has_the_numbers_that_were_measured(name: str) -> None:
    metrics = json.loads((MODELS / name / "metrics.json").read_text())
    assert (MODELS / name / "card.md").read_text() == measure(name).card(metrics)
    assert "out_of_distribution" in metrics and {"float", "int8"} <= set(metrics)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_looks_at(name: str, prepared: dict[str, Prepared]) -> None:
    model = load(MODELS / name / "model.onnx")
    view = view_of(model.metadata)
    assert view is not None
    view = view.resolved(model.input_shape)
    network = prepared[name].network
    head = head_of(model.metadata).head(network.shapes[network.output].size, model.labels, prepared[name].canonical.output)
    assert len(model.labels) == head.classes and head.eventful
    assert view.shape == network.shapes[network.input]
    thresholds = np.arange(255, dtype=np.int32)[None]
    seen = View(view.source, view.channels, view.shape.rows, view.shape.columns, view.hop or 1, thresholds, view.backward, view.line_mean)
    for lanes in LANES:
        compile_network(network, seen, head, lanes, 1)  # refuses what does not fit


@pytest.mark.parametrize("name", NAMES)
def test_golden_vectors(name: str) -> None:
    canonical = prepare(MODELS / name / "model.canonical.onnx")
    with np.load(MODELS / name / "golden.npz") as stored:
        x, y = stored["x"], stored["y"]
    assert np.array_equal(importlib.import_module("models.golden").outputs(canonical, x), y)
    assert np.array_equal(reference.run(canonical.network, x).reshape(y.shape), y)


@pytest.mark.parametrize("name", NAMES)
def test_the_canonical_file_is_that_of_the_model(name: str, prepared: dict[str, Prepared]) -> None:
    """To within what another processor's rounding may do to the scales."""
    with np.load(MODELS / name / "golden.npz") as stored:
        x, y = stored["x"], stored["y"]
    assert np.abs(reference.run(prepared[name].network, x).reshape(y.shape).astype(int) - y).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_as_good_in_eight_bits(name: str, prepared: dict[str, Prepared]) -> None:
    module = measure(name)
    inputs, more = scores().load_inputs(MODELS / name / "held_out.npz")
    stored = prepared[name].stored(inputs)
    outputs = reference.run(prepared[name].network, stored).reshape(len(inputs), -1)[:, : len(module.LABELS)]
    found = scores().by_class(module.LABELS, more["allowed"], outputs.argmax(axis=1))
    metrics = json.loads((MODELS / name / "metrics.json").read_text())
    assert abs(found["accuracy"] - metrics["int8"]["accuracy"]) < 0.003, "the card's numbers are not those of this model"
    assert found["accuracy"] >= max(BARS[name], metrics["float"]["accuracy"] - COST)


def test_adatoms_are_found_on_whole_frames() -> None:
    module = measure("adatoms")
    eight = importlib.import_module("models.common.onnx_run").InEightBits(MODELS / "adatoms")
    with np.load(MODELS / "adatoms" / "frames.npz") as stored:
        images, places = stored["x"] * stored["x_step"], [stored["places_0"], stored["places_1"]]
    total = module.Count()
    for image, true in zip(images, places, strict=True):
        total.add(module.events(eight, image.astype(np.float32)), true, image.shape)
    found = total.result()
    assert found["adatoms"] >= 20 and found["precision"] >= 0.98 and found["recall"] >= 0.98
    assert found["double"] == 0


@pytest.mark.skipif(not DATA.exists(), reason="the shared example data is not there")
def test_the_numbers_of_real_files() -> None:
    pytest.importorskip("gwyfile")
    for name in ("adatoms", "tip_change", "domain_wall"):
        module = measure(name)
        eight = importlib.import_module("models.common.onnx_run").InEightBits(MODELS / name)
        known = json.loads((MODELS / name / "metrics.json").read_text())["real"]
        if name == "tip_change":
            threshold = json.loads((MODELS / name / "metrics.json").read_text())["random surfaces"]["correlation"]["threshold"]
            assert {"moire_10nm.sxm": module.real(eight, threshold, DATA)} == known
        else:
            assert module.real(eight, DATA) == known
