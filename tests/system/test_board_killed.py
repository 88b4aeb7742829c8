"""A board that dies under its client: the client ends, with one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import OnTerminal, one_line, refused
from running_board import StartBoard

from reflexarc.store import read_scan

SLOW_S = 90
ENDS_S = 20


@pytest.mark.parametrize("pace", ["--free", "--lockstep"])
def test_a_board_killed_in_mid_scan(start_board: StartBoard, tmp_path: Path, pace: str) -> None:
    board = start_board()
    scan = [
        "scan",
        "--pixels",
        "32",
        "--size",
        "10e-9",
        "--time-per-pixel",
        "100e-6",
        "--board",
        board.address,
        "--out",
        str(tmp_path),
        pace,
    ]
    with OnTerminal(*scan) as client:
        done = client.wait_for_lines(3, 32, SLOW_S)
        board.kill()
        line = one_line(client.ended(ENDS_S), only=False)
    assert "link" in line or "board" in line, line
    (path,) = tmp_path.glob("*/scan.h5")
    assert read_scan(path).line_complete[:done].all()
    assert refused("status", "--board", board.address).startswith(f"no board at {board.address}")
