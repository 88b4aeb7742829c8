"""Fixtures of the system tests: twins built once, boards on sockets in short folders, always ended."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_board import RunningBoard, StartBoard, make_harmless

from reflexarc.device import Controller
from reflexarc_hw.platforms.timing import RATES
from reflexarc_sim.build import build


@pytest.fixture(scope="session", autouse=True)
def built_twins() -> None:
    """Both rates, so that no test waits for a compiler."""
    for rate in RATES.values():
        build(rate)


@pytest.fixture(scope="session", autouse=True)
def no_configuration_of_the_user() -> Iterator[None]:
    """Records of the person who runs the tests neither help nor hinder them."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("XDG_CONFIG_HOME", folder)
        yield


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A Unix socket's path may have about 100 characters; pytest's own temporary folders can be longer."""
    folder = Path(tempfile.mkdtemp(prefix="ra-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def board_starter() -> Iterator[StartBoard]:
    boards: list[RunningBoard] = []
    folders: list[Path] = []

    def start(*arguments: str, commissioned: bool = True) -> RunningBoard:
        folders.append(Path(tempfile.mkdtemp(prefix="ra-", dir="/tmp")))
        boards.append(RunningBoard(folders[-1], *arguments, commissioned=commissioned))
        return boards[-1]

    try:
        yield start
    finally:
        for board in boards:
            board.stop()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start_board() -> Iterator[StartBoard]:
    """Starts boards that end with the test."""
    yield from board_starter()


@pytest.fixture(scope="module")
def start_module_board() -> Iterator[StartBoard]:
    yield from board_starter()


@pytest.fixture(scope="module")
def shared_board(start_module_board: StartBoard) -> RunningBoard:
    """One board for a module whose tests leave it as they found it."""
    return start_module_board("--seed", "3")


@pytest.fixture
def lockstep(shared_board: RunningBoard) -> Iterator[Controller]:
    """A client in lockstep on the shared board: disarmed, without faults, before and after."""
    with Controller(shared_board.address, lockstep=True) as board:
        make_harmless(board)
        yield board
        make_harmless(board)
