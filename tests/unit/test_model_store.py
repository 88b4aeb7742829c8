"""Deployed models by name and id; what a user's folder may have become meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_detector import small_image

from reflexarc.compiler.model_store import ENTRY, ModelStore, StoredModel, default_folder, identity, name_of
from reflexarc.contract.words import to_bytes
from reflexarc.errors import BadInput


def entry(name: str = "adatoms", model_id: int = 77, lanes: int = 8, tier: str = "fabric") -> StoredModel:
    return StoredModel(name, model_id, tier, lanes, "0" * 64, "2025-01-01T00:00:00Z", {"view": "window:13x13"}, {}, ("clean", "adatom"))


def parts(model_id: int = 77) -> dict[str, bytes]:
    return {"image": to_bytes(small_image(model_id=model_id)), "canonical.onnx": b"onnx", "report.json": b"{}"}


def test_put_find_replace_remove(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    assert store.entries() == []
    store.put(entry(), parts())
    store.put(entry("tips", 78), parts(78))
    assert [found.name for found in store.entries()] == ["adatoms", "tips"]
    assert store.find("78") == store.find("tips") == entry("tips", 78)
    assert store.image(store.find("tips")) == small_image(model_id=78)
    store.put(entry(model_id=79), parts(79))
    assert store.find("adatoms").model_id == 79
    store.remove(store.find("adatoms"))
    assert [found.name for found in store.entries()] == ["tips"]
    assert [path.name for path in store.folder.iterdir()] == ["tips"]  # nothing half done is left


def test_a_name_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(BadInput, match="no model 'x' in .*; there: none yet"):
        store.find("x")
    store.put(entry(), parts())
    with pytest.raises(BadInput, match="there: adatoms"):
        store.find("../adatoms")


def test_an_id_that_several_have_is_not_guessed(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    for name in ("a", "b"):
        store.put(entry(name), parts())
    with pytest.raises(BadInput, match="several models have the id 77: a, b"):
        store.find("77")
    assert store.free_id("c", 77) == 78 and store.free_id("a", 65535) == 65535


def test_ids_go_round_at_the_end(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.put(entry("last", 65535), parts(65535))
    assert store.free_id("c", 65535) == 1
    assert all(0 < identity(bytes([k, k // 251])) < 1 << 16 for k in range(250))


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "a" * 65, "é"])
def test_names_that_are_no_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="can't be a model's name"):
        ModelStore(tmp_path).put(entry(name), parts())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("x/adatoms/model.onnx", "adatoms"),
        ("tip change (2).onnx", "tip-change-2"),
        ("ü.onnx", "model"),
        ("a.canonical.onnx", "a.canonical"),
    ],
)
def test_a_file_gives_a_name(path: str, name: str) -> None:
    assert name_of(Path(path)) == name


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.put(entry(), parts())
    image = tmp_path / "adatoms" / "image"
    whole = image.read_bytes()
    for damaged in (whole[:-1], whole[:-4], b"", whole[:20] + bytes([whole[20] ^ 1]) + whole[21:]):
        image.write_bytes(damaged)
        with pytest.raises(BadInput, match="is damaged"):
            store.image(store.find("adatoms"))
    image.write_bytes(bytes(1 << 21))
    with pytest.raises(BadInput, match="longer than"):
        store.image(store.find("adatoms"))
    image.unlink()
    with pytest.raises(BadInput, match="No such file"):
        store.image(store.find("adatoms"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({"format": "reflexarc-model", "name": "adatoms"}),
        json.dumps({"format": "reflexarc-model"} | {**vars(entry()), "model_id": 0}),
        json.dumps({"format": "reflexarc-model"} | {**vars(entry()), "lanes": "8"}),
        json.dumps({"format": "reflexarc-model"} | {**vars(entry()), "more": 1}),
        json.dumps({"format": "something else"} | vars(entry())),
    ],
)
def test_an_entry_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    store = ModelStore(tmp_path)
    store.put(entry(), parts())
    (tmp_path / "adatoms" / ENTRY).write_text(text)
    with pytest.raises(BadInput, match="is no model's entry"):
        store.entries()


def test_a_model_of_the_edge_tier_has_no_image(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.put(entry(lanes=0, tier="edge"), {"canonical.onnx": b"onnx"})
    with pytest.raises(BadInput, match="edge tier"):
        store.image(store.find("adatoms"))


def test_a_folder_that_can_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="can't be written to"):
        ModelStore(tmp_path / "file" / "models").put(entry(), parts())


def test_where_models_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("REFLEXARC_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "reflexarc" / "models"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".local" / "share" / "reflexarc" / "models"
    monkeypatch.setenv("REFLEXARC_MODELS", str(tmp_path / "m"))
    assert default_folder() == tmp_path / "m"
