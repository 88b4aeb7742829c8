"""`reflexarc program run`: a program from its file to its records, on a twin of the command's own."""

from __future__ import annotations

import csv
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import COMMAND, USER_ERROR, one_line, reflexarc, succeeds
from running_board import StartBoard

from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.program import StopReason

TRIPPED, INTERRUPTED = 3, 130
SLOW_S = 120  # wall time for an approach on a slow machine
IV = """\
program "I(V)"
hold feedback, settle 200 us:
    repeat 4 times with n:
        ramp bias to 100 mV + 100 mV * n at 1 kV/s
        wait 200 us
        i0 = mean of 64 samples of current
        emit "iv" bias, i0
    ramp bias to 500 mV at 1 kV/s
halt "swept"
"""
CRASH = """\
program "into the surface"
emit "before" z
set feedback.mode 0
set feedback.hold_step 100 pm
set feedback.hold_height -3 nm
wait 5 ms
emit "after" z
"""
EXPOSE = """\
program "two points"
repeat 2 times with n:
    move to 5 nm * n, 10 nm at 1 mm/s
    expose for 10 us
    i0 = mean of 64 samples of current
    emit "exposed" x, y, i0
"""
ENDLESS = """\
program "until it is stopped"
repeat:
    wait 10 ms
    emit "i" current
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "p.arc"
    path.write_text(text, encoding="utf-8")
    return path


def table(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def test_an_iv_curve(tmp_path: Path) -> None:
    """Ohmic where the plant is, from a setpoint of 100 pA at 0.5 V."""
    said = succeeds("program", "run", str(written(tmp_path, IV)), "--out", str(tmp_path / "out")).splitlines()
    (found,) = (tmp_path / "out").glob("*/*")
    header, rows = table(found)
    assert found.name == "emissions.csv" and header == ["time_s", "tag", "bias_V", "i0_A"]
    time_s, bias_V, current_A = np.array([[float(row[0]), float(row[2]), float(row[3])] for row in rows]).T
    assert {row[1] for row in rows} == {"iv"}
    assert bias_V == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=20e-6)
    assert current_A == pytest.approx(200e-12 * bias_V, rel=0.1)
    assert np.all(np.diff(time_s) > 0.3e-3) and np.all(np.diff(time_s) < 1e-3)
    for line, row in zip(said[:4], rows, strict=True):
        instant, tag, bias, current = line.split("  ")
        assert instant == f"{float(row[0]):.4f} s" and tag == "iv"
        assert bias == f"{float(row[2]) * 1e3:.3g} mV" and current == f"{float(row[3]) * 1e12:.3g} pA"
    assert said[4].startswith("ended        swept; ") and said[5] == f"written      {found}"


def test_a_beam_needs_no_approach(tmp_path: Path) -> None:
    """A move that no feedback could follow, and the twin's tip stays out of reach: without current, on a board that did nothing before."""
    path = written(tmp_path, EXPOSE)
    said = succeeds("program", "run", str(path), "--beam", "--out", str(tmp_path / "out")).splitlines()
    (found,) = (tmp_path / "out").glob("*/*")
    header, rows = table(found)
    assert header == ["time_s", "tag", "x_m", "y_m", "i0_A"]
    x_m, y_m, current_A = np.array([[float(value) for value in row[2:]] for row in rows]).T
    assert x_m == pytest.approx([0, 5e-9], abs=0.1e-9) and y_m == pytest.approx([10e-9, 10e-9], abs=0.1e-9)
    assert np.all(abs(current_A) < 5e-12)
    assert len(said) == 4 and said[2].startswith("ended        done; ") and said[3] == f"written      {found}"


def test_what_is_not_safe_is_refused(tmp_path: Path) -> None:
    """Faults always, what can't be shown safe unless it is allowed; before anything moves, and nothing is left behind."""
    out = tmp_path / "out"
    for text, says, first in (
        (IV.replace("100 mV * n", "3 V * n"), "2 faults", "line 4: ramp bias to "),
        (CRASH, "no faults, 3 notes; --allow-risks runs it all the same", "note: line 3: set feedback.mode 0: "),
    ):
        path = written(tmp_path, text)
        result = reflexarc("program", "run", str(path), "--out", str(out))
        assert result.returncode == USER_ERROR
        assert one_line(result, only=False) == f"{path}: {says}"
        assert result.stdout.startswith(first)
        assert not list(out.iterdir())


def test_a_trip_is_told_with_its_black_box(tmp_path: Path) -> None:
    path = written(tmp_path, CRASH)
    result = reflexarc("program", "run", str(path), "--out", str(tmp_path / "out"), "--allow-risks")
    assert result.returncode == TRIPPED
    assert one_line(result, only=False).startswith("the interlock tripped: CURRENT_HIGH in cycle ")
    assert "  before  " in result.stdout and "  after  " not in result.stdout
    found = {path.name: path for path in (tmp_path / "out").glob("*/*")}
    assert found.keys() == {"emissions.csv", "blackbox.h5", "blackbox.png", "blackbox.txt"}
    assert table(found["emissions.csv"])[0] == ["time_s", "tag", "z_m"] and len(table(found["emissions.csv"])[1]) == 1
    assert "Tripped by CURRENT_HIGH" in found["blackbox.txt"].read_text(encoding="utf-8")


def _as_in_a_terminal() -> None:
    """Tests that run in the background of a script inherit a SIGINT that is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_stops_the_program_and_disarms(start_board: StartBoard, tmp_path: Path) -> None:
    board = start_board()
    path, out = written(tmp_path, ENDLESS), tmp_path / "out"
    command = [*COMMAND, "program", "run", str(path), "--board", board.address, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_as_in_a_terminal)
    try:
        end = time.monotonic() + SLOW_S
        while not any(file.stat().st_size > 100 for file in out.glob("*/emissions.csv")):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=SLOW_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == INTERRUPTED
    assert errors.splitlines()[-1] == "reflexarc: interrupted" and "Traceback" not in errors
    (found,) = out.glob("*/emissions.csv")
    assert said.splitlines()[-1] == f"written      {found}"
    assert len(table(found)[1]) == len(said.splitlines()) - 1
    state, running, reason = board.read_raw("interlock.state", "sequencer.running", "sequencer.reason")
    assert (state, running, reason) == (InterlockState.DISARMED, 0, StopReason.STOPPED)
