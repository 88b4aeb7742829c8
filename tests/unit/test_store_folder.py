"""The output folder is checked before anything moves."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from reflexarc.store import StoreError, prepare_output_folder


def test_a_new_folder_and_an_old_one(tmp_path: Path) -> None:
    folder = prepare_output_folder(tmp_path / "out" / "2025-01-01")
    assert folder == tmp_path / "out" / "2025-01-01" and list(folder.iterdir()) == []
    (folder / "kept").write_text("x")
    assert prepare_output_folder(str(folder)) == folder
    assert [p.name for p in folder.iterdir()] == ["kept"]


def refused(path: Path | str) -> str:
    with pytest.raises(StoreError) as error:
        prepare_output_folder(path)
    text = str(error.value)
    assert "\n" not in text and text.startswith("output folder ") and text.endswith("give a folder that can be created and written to")
    return text


def test_what_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert "is not a folder" in refused(tmp_path / "file")
    assert "is not a folder" in refused(tmp_path / "dangling")
    assert "cannot be created (Not a directory)" in refused(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_a_filesystem_that_takes_no_files() -> None:
    assert "cannot be created" in refused("/proc/out")
    assert "cannot be written to" in refused("/proc/self")


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not stop the super-user")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written to (Permission denied)" in refused(tmp_path)


def test_impossible_names(tmp_path: Path) -> None:
    assert "File name too long" in refused(tmp_path / ("x" * 300))
    assert "cannot be created" in refused(tmp_path / "a\0b")


def test_no_space(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        text = refused(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be written to (File too large)" in text
    assert list(tmp_path.iterdir()) == []
