"""The record of the commissioning test: kept whole, and refused if it is not what it was."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc.contract.blocks.interlock import STRAPS_COMMISSIONED, Strap
from reflexarc.errors import BadInput
from reflexarc.safety.commissioning import (
    CommissioningRecord,
    commissioned_word,
    find_record,
    is_commissioned,
    load_record,
    new_record,
    record_path,
    save_record,
)

STRAPS = int(Strap.RETRACT_POSITIVE | Strap.ESTOP_NORMALLY_CLOSED | Strap.TIP)
RECORD = new_record("lab 3", STRAPS, "2026-03-01T12:00:00+00:00", "Ada", {"towards": "yes", "withdrew": "yes"})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "record.json"
    save_record(RECORD, path)
    assert load_record(path) == RECORD
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]
    save_record(dataclasses.replace(RECORD, operator="Grace"), path)
    assert load_record(path).operator == "Grace"


def test_where_it_stands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "reflexarc" / "commissioning"
    assert record_path("twin") == folder / "twin.json"
    assert record_path("../../etc/passwd").parent == folder and record_path("").parent == folder
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert record_path("twin") == Path.home() / ".config" / "reflexarc" / "commissioning" / "twin.json"


def test_found_or_not(home: Path) -> None:
    assert find_record("lab 3", STRAPS) is None
    save_record(RECORD, record_path("lab 3"))
    assert find_record("lab 3", STRAPS) == RECORD
    assert find_record("lab 3", STRAPS | Strap.MONITOR) == RECORD, "a second converter changes no direction"
    with pytest.raises(BadInput, match="there is none; run: reflexarc commission"):
        find_record("lab 3", STRAPS, home / "elsewhere.json")


def test_of_another_board(home: Path) -> None:
    save_record(RECORD, home / "record.json")
    with pytest.raises(BadInput, match="is the commissioning record of the board 'lab 3', not of 'lab 4'"):
        find_record("lab 4", STRAPS, home / "record.json")
    with pytest.raises(BadInput, match="was commissioned with RETRACT_POSITIVE, ESTOP_NORMALLY_CLOSED and has ESTOP_NORMALLY_CLOSED now"):
        find_record("lab 3", STRAPS & ~Strap.RETRACT_POSITIVE, home / "record.json")


def damaged() -> dict[str, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        save_record(RECORD, path)
        good = path.read_bytes()
    found = json.loads(good)
    return {
        "empty": b"",
        "cut": good[: len(good) // 2],
        "noise": bytes(range(256)),
        "a list": b"[]",
        "another file": b"{}",
        "an answer changed": good.replace(b'"withdrew": "yes"', b'"withdrew": "no"'),
        "a strap changed": good.replace(f'"straps": {STRAPS}'.encode(), f'"straps": {STRAPS ^ 1}'.encode()),
        "the number changed": json.dumps(found | {"number": found["number"] + 1}).encode(),
        "without a number": json.dumps({k: v for k, v in found.items() if k != "number"}).encode(),
        "without a field": json.dumps({k: v for k, v in found.items() if k != "operator"}).encode(),
        "with one more": json.dumps(found | {"more": 1}).encode(),
        "of the wrong kind": json.dumps(found | {"straps": "7"}).encode(),
    }


@pytest.mark.parametrize(("what", "data"), damaged().items())
def test_damaged_or_changed(tmp_path: Path, what: str, data: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(data)
    with pytest.raises(BadInput, match="damaged or changed .*; run: reflexarc commission") as error:
        load_record(path)
    assert "\n" not in str(error.value), what


def test_a_place_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(BadInput, match="commissioning record .*: (Not a directory|File exists)"):
        save_record(RECORD, tmp_path / "file" / "record.json")
    with pytest.raises(BadInput, match="commissioning record"):
        load_record(tmp_path / "file" / "record.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match="commissioning record"):
        save_record(RECORD, tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"], "nothing is left behind"


@given(st.text(), st.integers(0, 127), st.text(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_the_word(board: str, straps: int, operator: str, answers: dict[str, str]) -> None:
    record = CommissioningRecord(board, straps, "2026", operator, answers, 1)
    assert 0 < record.number < 1 << 29 and record.word < 1 << 32
    assert record.word & 7 == straps & STRAPS_COMMISSIONED and record.word >> 3 == record.number
    assert is_commissioned(record.word, straps)
    for strap in STRAPS_COMMISSIONED:
        assert not is_commissioned(record.word, straps ^ strap)


def test_no_word_without_a_record() -> None:
    assert not is_commissioned(0, 0) and not is_commissioned(commissioned_word(7, 0), 7) and is_commissioned(commissioned_word(0, 1), 0)
