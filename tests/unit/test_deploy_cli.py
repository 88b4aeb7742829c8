"""`reflexarc deploy`, `compile` and `models` without a board: what is written, and how errors end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from small_models import save_calibration, save_model

from reflexarc.cli.main import main
from reflexarc.compiler.image import unpack_image
from reflexarc.compiler.model_store import ModelStore
from reflexarc.contract.words import to_words

USER_ERROR = 2


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REFLEXARC_MODELS", str(tmp_path / "kept"))
    save_model(tmp_path / "model.onnx")
    save_calibration(tmp_path / "calibration.npz", labels=True)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def refused(*arguments: str) -> str:
    """The one line of a command that ends with 2."""
    result = run(*arguments)
    assert result.exit_code == USER_ERROR, result.output
    assert result.stdout == "" and result.stderr.count("\n") == 1 and result.stderr.startswith("reflexarc: ")
    return result.stderr


def test_compile_writes_all_files_and_says_so(here: Path) -> None:
    result = run("compile", "model.onnx", "--calibration", "calibration.npz", "--name", "small", "--lanes", "4", "--out", "made")
    assert result.exit_code == 0, result.output
    assert "written      made/small.canonical.onnx, small.image, small.report.json, small.report.txt" in result.stdout
    report = json.loads((here / "made" / "small.report.json").read_text())
    assert report["lanes"] == 4 and report["differences"] == 0 and report["compared"] > 0
    assert (here / "made" / "small.report.txt").read_text() in result.stdout
    image = unpack_image(to_words((here / "made" / "small.image").read_bytes()))
    assert (image.lanes, image.model_id) == (4, report["model_id"])
    assert not (here / "kept").exists()


def test_json_is_json_alone(here: Path) -> None:
    result = run("compile", "model.onnx", "--calibration", "calibration.npz", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["name"] == here.name
    assert (here / f"{here.name}.image").exists()  # beside the model, under its folder's name


def test_the_canonical_model_deploys_to_the_same_weights(here: Path) -> None:
    assert run("compile", "model.onnx", "--calibration", "calibration.npz", "--name", "a", "--model-id", "7").exit_code == 0
    options = ["--channel", "z:100pm", "--line-mean", "--event", "adatom", "--least-margin", "0.25", "--radius", "2", "--model-id", "7"]
    assert run("compile", "a.canonical.onnx", "--view", "window:7x7", "--name", "b", *options).exit_code == 0
    assert (here / "a.image").read_bytes() == (here / "b.image").read_bytes()


def test_options_tell_otherwise_than_the_file(here: Path) -> None:
    result = run(
        "compile", "model.onnx", "--calibration", "calibration.npz", "--channel", "current:1nA", "--hop", "2", "--backward", "--as-measured", "--event",
        "clean", "--event", "2", "--radius", "9", "--model-id", "300", "--json",
    )  # fmt: skip
    report = json.loads(result.stdout)
    view, head = report["view"], report["head"]
    assert (view["channels"], view["units"], view["hop"], view["backward"], view["line_mean"]) == (["current"], [1e-9], 2, True, False)
    assert (head["eventful"], head["radius"], report["model_id"]) == (["clean", "step"], 9, 300)


def test_the_edge_tier_needs_no_board(here: Path) -> None:
    result = run("deploy", "model.onnx", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["tier"] == "edge" and "--calibration" in report["tier_reason"]
    assert run("deploy", "model.onnx", "--calibration", "calibration.npz", "--tier", "edge", "--name", "other").exit_code == 0
    kept = ModelStore(here / "kept")
    assert {(entry.name, entry.tier, entry.input is None) for entry in kept.entries()} == {
        (here.name, "edge", True),
        ("other", "edge", False),
    }
    listed = [line.split()[:3] for line in run("models", "list").stdout.splitlines()]
    assert len(listed) == 2 and ["other", str(kept.find("other").model_id), "edge"] in listed
    assert "edge tier" in refused("models", "activate", "other")
    assert run("models", "remove", "other").stdout == "removed other\n"
    assert [entry["name"] for entry in json.loads(run("models", "list", "--json").stdout)["models"]] == [here.name]


def test_an_empty_store(here: Path) -> None:
    assert "no models are kept yet" in run("models", "list").stdout
    assert json.loads(run("models", "list", "--json", "--store", "elsewhere").stdout) == {"models": [], "banks": None}
    assert "no model 'x'" in refused("models", "remove", "x")
    assert "no model 'x'" in refused("scan", "--detect", "x")


@pytest.mark.parametrize("command", ["deploy", "compile"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.onnx"], "nothing.onnx: can't be opened"),
        (["."], "is a folder"),
        (["calibration.npz"], "calibration.npz: no ONNX model"),
        (["text.onnx"], "text.onnx: "),
        (["model.onnx", "--view", "circle"], "is no view"),
        (["model.onnx", "--view", "window:8x8"], "the model's input is 1 x 7 x 7, the view gives 1 x 8 x 8"),
        (["model.onnx", "--channel", "z", "--channel", "current"], "the view gives 2 x 7 x 7"),
        (["model.onnx", "--channel", "phase"], "there is no such channel"),
        (["model.onnx", "--calibration", "nothing.npz"], "nothing.npz: can't be opened"),
        (["model.onnx", "--calibration", "model.onnx"], "model.onnx: is no NumPy archive"),
        (["model.onnx", "--calibration", "other.npz"], "other.npz: "),
        (["model.onnx", "--calibration", "calibration.npz", "--validation", "other.npz"], "other.npz: "),
        (["model.onnx", "--calibration", "calibration.npz", "--event", "moon"], "accepted: clean, adatom, step"),
        (["model.onnx", "--calibration", "calibration.npz", "--members", "2"], "2 members"),
        (["model.onnx", "--name", "../x"], "can't be a model's name"),
        (["model.onnx", "--calibration", "calibration.npz", "--out", "model.onnx"], "is not a folder"),
        (["model.onnx", "--radius", "64"], "--radius"),
        (["model.onnx", "--check", "-1"], "--check"),
    ],
)
def test_errors_are_one_line(here: Path, command: str, arguments: list[str], says: str) -> None:
    (here / "text.onnx").write_text("not a model\n")
    np.savez(here / "other.npz", x=np.zeros((3, 2, 7, 7), np.float32))
    assert says in refused(command, *arguments)
    assert not list(here.glob("*.image")) and not (here / "kept").exists()


def test_what_the_fabric_refuses_is_an_error_where_it_is_asked_for(here: Path) -> None:
    save_model(here / "strange.onnx", hidden="Softsign")
    save_model(here / "large.onnx", channels=600)
    for arguments, says in (
        (["model.onnx", "--tier", "fabric"], "give --calibration"),
        (["large.onnx", "--tier", "fabric", "--calibration", "calibration.npz"], "more than the 65,536"),
        (["model.onnx", "--board", "nowhere.sock", "--calibration", "calibration.npz"], "no board at nowhere.sock"),
    ):
        assert says in refused("deploy", *arguments)
    assert "more than the 65,536" in refused("compile", "large.onnx", "--calibration", "calibration.npz")


def test_a_model_that_fits_no_board_asks_for_none(here: Path) -> None:
    save_model(here / "large.onnx", channels=600)
    result = run("deploy", "large.onnx", "--calibration", "calibration.npz", "--board", "nowhere.sock", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["tier"] == "edge" and "more than the 65,536" in report["tier_reason"] and report["differences"] == 0
    assert (here / "large.canonical.onnx").exists() and not (here / "large.image").exists()


def test_a_model_that_nobody_can_run(here: Path) -> None:
    """Neither tier: a node that onnxruntime does not know."""
    import onnx

    model = onnx.load("model.onnx")
    model.graph.node[1].op_type = "Mystery"
    onnx.save(model, "mystery.onnx")
    assert "Mystery" in refused("deploy", "mystery.onnx", "--calibration", "calibration.npz")
    assert "Mystery" in refused("compile", "mystery.onnx", "--calibration", "calibration.npz")
