"""Adatoms of a twin: a file places them, the plant tells where they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from command_line import refused
from running_board import StartBoard

from reflexarc.device import Controller

LATTICE_M = 0.288e-9


def test_truth_tells_where_they_are(start_board: StartBoard, tmp_path: Path) -> None:
    path = tmp_path / "adatoms.toml"
    path.write_text("adatoms_m = [[0, 0], [5e-9, -3e-9]]\nadatom_height_m = 0.2e-9\n")
    running = start_board("--plant", str(path), commissioned=False)
    with Controller(running.address, lockstep=True) as board:
        truth = board.run(board.device.truth())
        first, second = truth["adatoms"]
        assert first == [0.0, 0.0] and math.dist(second, (5e-9, -3e-9)) < LATTICE_M
        assert truth["adatom_hops"] == 0
        x_m, y_m = [0.0, second[0], 5e-9], [0.0, second[1], 5e-9]
        with_adatoms = np.frombuffer(board.run(board.device.true_surface(x_m, y_m, 0.0)))
    running.stop()
    running = start_board(commissioned=False)
    with Controller(running.address, lockstep=True) as board:
        truth = board.run(board.device.truth())
        assert truth["adatoms"] == [] and truth["adatom_hops"] == 0
        without = np.frombuffer(board.run(board.device.true_surface(x_m, y_m, 0.0)))
    assert with_adatoms - without == pytest.approx([0.2e-9, 0.2e-9, 0.0], abs=1e-15)


def test_beside_the_specimen(tmp_path: Path) -> None:
    path = tmp_path / "adatoms.toml"
    path.write_text("adatoms_m = [[1e-6, 0]]\n")
    line = refused("scan", "--plant", str(path), "--out", str(tmp_path / "out"), within_s=30)
    assert "adatoms_m has [1e-06, 0], which is beside au111; accepted: within +-2.5e-08 m in x" in line
