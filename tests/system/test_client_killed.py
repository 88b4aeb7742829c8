"""SIGKILL of the client in mid-scan: what was scanned is in the file, the board goes on by itself and makes itself safe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import OnTerminal, succeeds
from running_board import RunningBoard

from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.blocks.recorder import DEPTH
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.store import read_scan

LINES = 64
SCAN = ["scan", "--pixels", str(LINES), "--size", "10e-9", "--time-per-pixel", "100e-6"]
SLOW_S = 90  # wall time for the approach, or for half a second of the board, on a slow machine


@pytest.mark.parametrize("pace", ["--free", "--lockstep"])
def test_a_client_killed_in_mid_scan(shared_board: RunningBoard, tmp_path: Path, pace: str) -> None:
    with OnTerminal(*SCAN, "--board", shared_board.address, "--out", str(tmp_path), pace) as client:
        done = client.wait_for_lines(5, LINES, SLOW_S)
        client.process.kill()
        client.process.wait()

    # The board goes on without it, then misses the heartbeat. This look sends none.
    state, scan_state, _, first_time = shared_board.read_raw("interlock.state", "scan.state", "scan.line", "system.time")
    assert state == InterlockState.ARMED and scan_state != ScanState.IDLE
    shared_board.wait_for("interlock.state", InterlockState.TRIPPED, SLOW_S)
    assert shared_board.alive and shared_board.read_raw("system.time")[0] > first_time

    # A new client finds it tripped, with the cause and the recorder's content, and the tip away.
    shared_board.wait_for("gate.withdrawn", 1, SLOW_S)
    found = json.loads(succeeds("status", "--board", shared_board.address, "--json"))
    assert found["interlock"] == "tripped"
    assert found["last_trip"].startswith("HEARTBEAT in cycle ") and "500 ms" in found["last_trip"]
    assert found["trip_flags"] == "HEARTBEAT"
    assert found["recorder"] == "frozen" and found["recorder_entries"] == found["blackbox_entries"] == DEPTH
    assert found["scan"] == "idle"
    assert found["z_m"] == pytest.approx(100e-9, rel=1e-5)
    assert found["bias_V"] == pytest.approx(0.5, abs=2e-5)

    # Each line that the client had reported is in the file, and so is whatever came after.
    (path,) = tmp_path.glob("*/scan.h5")
    scan = read_scan(path)
    forward, backward = scan.line_complete.T
    assert backward[:done].all() and not backward.all()
    for channels, complete in ((scan.forward, forward), (scan.backward, backward)):
        assert complete.sum() >= done and not np.any(np.diff(complete.astype(int)) > 0), "lines come in order"
        assert np.isfinite(channels.z_m[complete]).all() and np.isfinite(channels.current_A[complete]).all()
        assert np.isnan(channels.z_m[~complete]).all()
        assert (np.diff(channels.time_cycles[complete].astype(np.int64)) > 0).all()

    assert succeeds("ack", "--board", shared_board.address).startswith("acknowledged: HEARTBEAT in cycle ")
    found = json.loads(succeeds("status", "--board", shared_board.address, "--json"))
    assert found["interlock"] == "disarmed" and found["trip_flags"] == "" and found["recorder"] == "running"
