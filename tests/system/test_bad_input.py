"""Bad input: one line that says what was wrong and what would be accepted, a non-zero exit status, no traceback, within seconds.

Nothing of it reaches the gateware: what the options alone show to be wrong is refused before a board is looked for, the rest with the board's
registers as they were.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import USER_ERROR, one_line, reflexarc, refused
from running_board import RunningBoard

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.registers import Access

SETTINGS = [f"{block.name}.{register.name}" for block in REGISTER_MAP for register in block.registers if register.access is Access.RW]

BAD_OPTIONS = {
    "--pixels 0": "pixels = 0 is not possible; accepted: 1 to 8192",
    "--pixels -3": "pixels = -3 is not possible; accepted: 1 to 8192",
    "--pixels 8193": "pixels = 8193 is not possible; accepted: 1 to 8192",
    "--pixels 99999999999999999999": "is not possible; accepted: 1 to 8192",
    f"--pixels {10**400}": "is not possible; accepted: 1 to 8192",
    "--lines 0": "lines = 0 is not possible; accepted: 1 to 8192",
    "--lines 8193": "lines = 8193 is not possible; accepted: 1 to 8192",
    "--interlace 0": "interlace = 0 is not possible; accepted: 1 to 128",
    "--interlace 9 --lines 8": "interlace = 9 is not possible; accepted: 1 to 8",
    f"--interlace {10**400}": "is not possible; accepted: 1 to 128",
    "--mode spiral": "'spiral' is not one of 'trace-retrace', 'serpentine', 'forward'",
    "--angle nan": "angle_deg = nan is not possible; accepted: up to ±360",
    "--angle 1e308": "accepted: up to ±360",
    "--shear -61": "shear_deg = -61 is not possible; accepted: up to ±60",
    "--slope-x inf": "slope_x = inf is not possible; accepted: up to ±1",
    "--slope-y 1.1": "slope_y = 1.1 is not possible; accepted: up to ±1",
    "--slope-x 1 --size 50e-6": "the scanner reaches from -500 to 500 nm",
    "--center-y nan": "center_y_m = nan is not possible; accepted: a finite number",
    "--drift nan 0 0": "a drift of nan m/s in x is not possible; accepted: up to ±3.33e-09 m/s",
    "--drift 0 -inf 0": "a drift of -inf m/s in y is not possible; accepted: up to ±3.33e-09 m/s",
    "--drift 0 0 1e308": "a drift of 1e+308 m/s in z is not possible; accepted: up to ±6.65e-10 m/s",
    "--lift nan": "lift_m = nan is not possible; accepted: within the range of z, ±1e-07 m",
    "--lift 1": "lift_m = 1 is not possible; accepted: within the range of z, ±1e-07 m",
    "--lift 1e-9 --mode serpentine": "a second pass needs trace and retrace",
    "--acceleration 0": "acceleration_m_per_s2 = 0 is not possible; accepted: a number above 0",
    "--acceleration nan": "acceleration_m_per_s2 = nan is not possible; accepted: a number above 0",
    "--acceleration 1e-9": "accepted: a greater one, or a slower scan",
    "--size 201e-6": "the scanner reaches from -500 to 500 nm",
    "--size 1e308": "accepted: above 0, up to 0.001 m and to the scanner's range",
    "--size 1e-8 --center-x 1e308": "; the scanner reaches from -500 to 500 nm",
    "--size 0": "accepted: a number above 0",
    "--size -1e-8": "accepted: a number above 0",
    "--size nan": "accepted: a number above 0",
    "--size inf": "accepted: a number above 0",
    "--time-per-pixel 5e-7": "is below the minimum of one sample, 5.6e-07 s",
    "--time-per-pixel 0": "accepted: a number above 0",
    "--time-per-pixel nan": "accepted: a number above 0",
    "--time-per-pixel inf": "accepted: a number above 0",
    "--time-per-pixel 1e9": "is above the maximum of",
    "--time-per-pixel 1e200": "is above the maximum of",
    "--time-per-line 1e308": "is above the maximum of",
    "--time-per-line 1e-6": "is below the minimum of one sample",
    "--time-per-line nan": "accepted: a number above 0",
    "--time-per-line 0.01 --time-per-pixel 1e-4": "give --time-per-pixel or --time-per-line, not both",
    "--setpoint 5.1e-9": "is outside 0 to 4.99999e-09 A, the range of the converter",
    "--setpoint 0": "accepted: a number above 0",
    "--setpoint 1e-15": "is less than the converter can tell from 0, 9.54e-15 A",
    "--setpoint -1e-10": "accepted: a number above 0",
    "--setpoint nan": "accepted: a number above 0",
    "--bias 0": "is not possible; accepted: up to",
    "--bias 11": "is not possible; accepted: up to",
    "--bias nan": "is not possible; accepted: up to",
    "--bandwidth 1e5": "accepted: up to 7500 Hz",
    "--bandwidth 0.1": "is less than a gain can be; accepted: from 0.415 Hz",
    "--bandwidth -inf": "accepted: a number above 0",
}


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_options_that_can_not_be(tmp_path: Path, options: str) -> None:
    """The address has no board: that none is missed shows that the options were looked at first."""
    line = refused("scan", *options.split(), "--board", str(tmp_path / "none.sock"), "--out", str(tmp_path / "out"), within_s=10)
    assert BAD_OPTIONS[options] in line
    assert not (tmp_path / "out").exists()


def test_the_default_scanner(tmp_path: Path) -> None:
    """A generated specimen lies in it: what it can't reach is refused before a twin is started."""
    for options, says in (
        ("--size 1.1e-6", "the scanner reaches from -500 to 500 nm"),
        ("--slope-x 1 --size 5e-7", "the plane reaches 250 nm"),
    ):
        assert says in refused("scan", *options.split(), "--out", str(tmp_path / "out"), within_s=10)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", ["--pixels 0", "--size 201e-6", "--setpoint 5.1e-9", "--time-per-pixel 5e-7"])
def test_the_main_job_looks_first_too(tmp_path: Path, options: str) -> None:
    assert BAD_OPTIONS[options] in refused("run", *options.split(), "--out", str(tmp_path / "out"), within_s=10)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", ["--seed -1", "--seed x", "--pixels 1.5", "--size wide", "--frobnicate"])
def test_options_that_are_not_understood(tmp_path: Path, options: str) -> None:
    assert refused("scan", *options.split(), "--out", str(tmp_path / "out"), within_s=10)
    assert not (tmp_path / "out").exists()


def test_a_frame_too_small_for_the_scanner(tmp_path: Path) -> None:
    """A step per sample that rounds to nothing would scan one point many times."""
    assert "too small" in refused(
        "scan", "--size", "1e-15", "--board", str(tmp_path / "none.sock"), "--out", str(tmp_path / "out"), within_s=10
    )


def test_an_output_folder_that_can_not_be(tmp_path: Path) -> None:
    """Below an ordinary file: not even the super-user can write there."""
    (tmp_path / "file").write_text("precious")
    for command in ("scan", "run"):
        for out in (tmp_path / "file", tmp_path / "file" / "below"):
            line = refused(command, "--out", str(out), within_s=10)
            assert line.startswith(f"output folder {out}") and line.endswith("give a folder that can be created and written to")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_setpoint_outside_of_the_window(tmp_path: Path) -> None:
    """A twin of its own has the default limits."""
    for command in ("scan", "run"):
        line = refused(command, "--setpoint", "2.1e-9", "--out", str(tmp_path / "out"), within_s=10)
        assert "is outside the interlock's window, -2e-09 to 2e-09 A" in line
    assert not (tmp_path / "out").exists()


def write_specimens(folder: Path) -> dict[str, tuple[list[str], str]]:
    """Options and what the line must say, by what is wrong."""
    np.save(folder / "flat.npy", np.zeros((32, 32)))
    np.save(folder / "good.npy", np.random.default_rng(1).normal(0, 1e-11, (32, 32)))
    np.save(folder / "hole.npy", np.where(np.eye(32) > 0, np.nan, 1e-10))
    np.save(folder / "line.npy", np.linspace(0, 1e-10, 32))
    (folder / "corrupt.sxm").write_bytes(b":NANONIS_VERSION:\n2\n:SCAN_PIXELS:\n  16  16\n\x1a\x04" + bytes(100))
    (folder / "noise.sxm").write_bytes(np.random.default_rng(2).bytes(5000))
    (folder / "cut.npy").write_bytes((folder / "good.npy").read_bytes()[:1000])
    size = ["--specimen-size", "1e-8"]
    return {
        "missing": ([str(folder / "missing.sxm")], "does not exist; accepted: "),
        "of no known kind": (["gold"], "specimen 'gold' is not known; accepted: "),
        "a folder": ([f"{folder}/x.sxm/.."], "is not known"),
        "corrupt": ([str(folder / "corrupt.sxm")], "corrupt.sxm: "),
        "noise": ([str(folder / "noise.sxm")], "noise.sxm: "),
        "flat": ([str(folder / "flat.npy"), *size], "flat"),
        "cut short": ([str(folder / "cut.npy"), *size], "truncated"),
        "with a hole": ([str(folder / "hole.npy"), *size], "32 of 1024 heights are NaN or infinite"),
        "one-dimensional": ([str(folder / "line.npy"), *size], "line.npy"),
        "without a size": ([str(folder / "good.npy")], "a .npy file needs its size"),
        "of no size": ([str(folder / "good.npy"), "--specimen-size", "nan"], "nan nm"),
        "of negative size": ([str(folder / "good.npy"), "--specimen-size", "-1e-8"], "-10 nm"),
        "larger than the scanner": ([str(folder / "good.npy"), "--specimen-size", "201e-6"], "201 um"),
    }


def test_a_setpoint_within_the_noise(tmp_path: Path) -> None:
    """The approach would take noise for the surface; the folder of a scan that never began is not left behind."""
    for command in ("scan --pixels 16", "bode"):
        result = reflexarc(*command.split(), "--setpoint", "5e-13", "--out", str(tmp_path / "out"))
        line = one_line(result, only=False)
        assert result.returncode == USER_ERROR
        found = re.fullmatch(r"setpoint 5e-13 A can't be told from the noise of the current, (\S+) A rms; accepted: from (\S+) A", line)
        assert found and 0.5e-12 < float(found[1]) < 2e-12 and float(found[2]) == pytest.approx(5 * float(found[1]), rel=0.03), line
        assert not list((tmp_path / "out").iterdir())


def test_specimens_that_can_not_be(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for wrong, (options, says) in write_specimens(tmp_path).items():
        line = refused("scan", "--specimen", *options, "--out", str(out), within_s=20)
        assert says in line, f"a specimen that is {wrong}: {line}"
        assert not out.exists() or not list(out.iterdir()), f"a specimen that is {wrong} left a folder"


def test_the_main_job_refuses_a_specimen_within_seconds(tmp_path: Path) -> None:
    """Before it measures times or builds anything."""
    line = refused("run", "--specimen", str(tmp_path / "missing.sxm"), "--out", str(tmp_path / "out"), within_s=10)
    assert "does not exist" in line


def test_a_size_beyond_the_generated_specimens(tmp_path: Path) -> None:
    assert "accepted: 30 to 200 nm" in refused("scan", "--specimen-size", "1e-9", "--out", str(tmp_path / "out"), within_s=20)


LOOP_OPTIONS = {
    "--amplitude 0": "amplitude 0 m is not possible; accepted: above 0, up to 5e-11 m",
    "--amplitude nan": "amplitude nan m is not possible; accepted: above 0, up to 5e-11 m",
    "--amplitude 1e308": "accepted: above 0, up to 5e-11 m",
    "--setpoint nan": "setpoint_A = nan is not possible; accepted: a number above 0",
    "--setpoint 1e308": "is outside 0 to 4.99999e-09 A, the range of the converter",
    "--bias 0": "bias 0 V is not possible; accepted: up to",
    "--specimen-size nan": "au111: a size of nan nm in x is not possible; accepted: 30 to 200 nm",
    "--seed -1": "'--seed'",
    "--plant missing.toml": "missing.toml",
    "--channel Height": "au111: a generated specimen has no channels",
}


@pytest.mark.parametrize("command", ["tune feedback", "bode"])
def test_options_of_the_loop(tmp_path: Path, command: str) -> None:
    for options, says in LOOP_OPTIONS.items():
        assert says in refused(*command.split(), *options.split(), "--out", str(tmp_path / "out"), within_s=10), options
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    line = refused("scan", "--limits", str(tmp_path / "pipe"), "--out", str(tmp_path / "out"), within_s=10)
    assert line == f"limits file {tmp_path / 'pipe'}: is a pipe; accepted: an ordinary TOML file"


@pytest.mark.parametrize("command", ["status", "arm", "trip", "ack", "scan"])
def test_no_board_at_the_address(tmp_path: Path, command: str) -> None:
    address = tmp_path / "none.sock"
    line = refused(command, "--board", str(address), *(["--out", str(tmp_path / "out")] if command == "scan" else []), within_s=10)
    assert line.startswith(f"no board at {address} (No such file or directory)")
    address.write_text("not a socket")
    assert refused(command, "--board", str(address), within_s=10).startswith(f"no board at {address} (Connection refused)")
    long = "/tmp/" + "x" * 200 + ".sock"
    assert refused(command, "--board", long, within_s=10).startswith(f"no board at {long}")


def test_a_running_board_keeps_its_registers(shared_board: RunningBoard, tmp_path: Path) -> None:
    """The same refusals with a board there: nothing is written to it."""
    before = shared_board.read_raw(*SETTINGS, "interlock.state", "interlock.trips")
    for options in ("--pixels 0", "--size 2e-6", "--time-per-pixel 1e-9", "--setpoint 3e-9", "--bias nan"):
        assert refused("scan", *options.split(), "--board", shared_board.address, "--out", str(tmp_path), within_s=10)
    (tmp_path / "file").write_text("")
    assert refused("scan", "--board", shared_board.address, "--out", str(tmp_path / "file"), within_s=10)
    assert shared_board.read_raw(*SETTINGS, "interlock.state", "interlock.trips") == before
