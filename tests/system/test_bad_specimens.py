"""Specimen files that can't be used, at the command line: one line that says what was wrong, within seconds, and nothing is left behind."""

from __future__ import annotations

import errno
import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gwyfile.objects
import h5py
import numpy as np
import pytest
import tifffile
from command_line import USER_ERROR, refused
from PIL import Image
from scipy.io import netcdf_file

SURFACE = np.random.default_rng(1).normal(0, 1e-9, (24, 32))
GREY = np.arange(SURFACE.size, dtype=np.uint16).reshape(SURFACE.shape)
WITHIN_S = 15  # of wall time on a machine that does something else too; by itself a refusal takes 1 to 2 s
KINDS = (".sxm", ".ibw", ".gwy", ".nc", ".h5", ".npy", ".png", ".tiff")


def sxm(channels: str = "\t14\tZ\tm\tboth\t1.0E-9\t0.0E+0\n") -> bytes:
    header = (
        ":NANONIS_VERSION:\n2\n:SCANIT_TYPE:\n  FLOAT  MSBFIRST\n:SCAN_PIXELS:\n  32  24\n:SCAN_RANGE:\n  3.2E-8 2.4E-8\n:SCAN_DIR:\nup\n"
        f":DATA_INFO:\n\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n{channels}\n:SCANIT_END:\n\n\n"
    )
    return header.encode() + b"\x1a\x04" + np.array([SURFACE, SURFACE], ">f4").tobytes()


def ibw(unit: bytes = b"m") -> bytes:
    """A wave of version 5 with one layer."""
    raw = SURFACE.astype("<f4").tobytes()
    wave = struct.pack("<IIIih", 0, 0, 0, SURFACE.size, 2) + struct.pack("<h6sh32sII", 0, b"", 1, b"Wave", 0, 0)
    wave += struct.pack("<4i8d", 32, 24, 0, 0, 1e-9, 1e-9, 1, 1, 0, 0, 0, 0) + unit.ljust(4, b"\0") + b"m\0\0\0" * 2
    head = struct.pack("<hh15i", 5, 0, 320 + len(raw), *[0] * 14)
    return head.ljust(64, b"\0") + wave.ljust(320, b"\0") + raw


def gwy(fields: bool = True) -> bytes:
    file = gwyfile.objects.GwyContainer()
    file["/0/data/title"] = "Z"
    if fields:
        unit = gwyfile.objects.GwySIUnit(unitstr="m")
        file["/0/data"] = gwyfile.objects.GwyDataField(SURFACE, 32e-9, 24e-9, si_unit_xy=unit, si_unit_z=unit)
    buffer = io.BytesIO()
    file.tofile(buffer)
    return buffer.getvalue()


def nc(variables: bool = True) -> bytes:
    buffer = io.BytesIO()
    file = netcdf_file(buffer, "w")
    for name, points in (("y", 24), ("x", 32)):
        file.createDimension(name, points)
        file.createVariable(name, "f8", (name,))[:] = np.arange(points)
        file.variables[name].units = "nm"
    if variables:
        file.createVariable("height", ">f8", ("y", "x"))[:] = SURFACE
        file.variables["height"].units = "m"
    file.flush()
    return buffer.getvalue()


def h5(arrays: bool = True) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["comment"] = "nothing else in here"
        if arrays:
            file["Height"] = SURFACE
    return buffer.getvalue()


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def npy(array: np.ndarray = SURFACE) -> bytes:
    return saved(lambda buffer: np.save(buffer, array))


def png(pixels: np.ndarray = GREY) -> bytes:
    return saved(lambda buffer: Image.fromarray(pixels).save(buffer, "PNG"))


def tiff(pixels: np.ndarray = SURFACE) -> bytes:
    return saved(lambda buffer: tifffile.imwrite(buffer, pixels))


GOOD = {".sxm": sxm, ".ibw": ibw, ".gwy": gwy, ".nc": nc, ".h5": h5, ".npy": npy, ".png": png, ".tiff": tiff}
# Without a channel that could be the surface, and what the line says.
WITHOUT = {
    ".sxm": (sxm(""), "the header lists no channels"),
    ".ibw": (ibw(b"A"), "no topography (channels found: "),
    ".gwy": (gwy(fields=False), "no topography (channels found: none)"),
    ".nc": (nc(variables=False), "no topography (channels found: none)"),
    ".h5": (h5(arrays=False), "no topography (channels found: none)"),
    ".npy": (npy(np.array(1.0)), "the heights are 0-D (a single number); a 2-D array"),
    ".png": (png(np.zeros((1, 1), np.uint8)), "1 x 1 points are too few"),
    ".tiff": (tiff(np.zeros((24, 32))), "there is no range to scale"),
}


def scale(kind: str) -> list[str]:
    """What files without a scale of their own need beside."""
    options = [] if kind in (".sxm", ".ibw", ".gwy", ".nc") else ["--specimen-size", "3.2e-8"]
    return [*options, "--specimen-height", "1e-9"] if kind in (".png", ".tiff") else options


def line_of(path: Path, kind: str, *options: str, command: tuple[str, ...] = ("scan",)) -> str:
    """The refusal, which names the file and leaves nothing."""
    out = path.parent / "out"
    line = refused(*command, "--specimen", str(path), *(options or scale(kind)), "--out", str(out), within_s=WITHIN_S)
    assert path.name in line and len(line) < 700, line
    assert not out.exists() or not list(out.iterdir()), f"{line}: a folder is left"
    return line


@pytest.mark.parametrize("kind", KINDS)
def test_content(tmp_path: Path, kind: str) -> None:
    """Cut off, nothing, another format under this ending, and no channel."""
    path = tmp_path / f"file{kind}"
    raw = GOOD[kind]()
    other = GOOD[".png" if kind != ".png" else ".npy"]()
    for content in (raw[: len(raw) // 2], b"", other):
        path.write_bytes(content)
        line = line_of(path, kind)
        assert any(word in line for word in ("needed", "truncated", "damaged")), line
    content, says = WITHOUT[kind]
    path.write_bytes(content)
    assert says in line_of(path, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_ordinary_file(tmp_path: Path, kind: str) -> None:
    """None of them is waited for, and none is read through."""
    path = tmp_path / f"it{kind}"
    path.mkdir()
    assert "is a folder" in line_of(path, kind)
    path.rmdir()
    os.mkfifo(path)
    assert "is no ordinary file" in line_of(path, kind)
    path.unlink()
    path.symlink_to("/proc/self/mem")  # opens, but can't be read, not even by the super-user
    line = line_of(path, kind)
    assert os.strerror(errno.EIO) in line or f"[Errno {errno.EIO}]" in line
    path.unlink()
    with path.open("wb") as file:
        file.write(GOOD[kind]())
        file.truncate(10 << 30)
    assert "10240 MiB are too large; at most 512 MiB are accepted" in line_of(path, kind)


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not stop the super-user")
@pytest.mark.parametrize("kind", KINDS)
def test_without_permission(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"file{kind}"
    path.write_bytes(GOOD[kind]())
    path.chmod(0)
    assert "cannot be read (Permission denied)" in line_of(path, kind)


def test_a_header_without_end(tmp_path: Path) -> None:
    """Below the limit of a file's size, and still not searched line by line: that took a minute."""
    path = tmp_path / "long.sxm"
    with path.open("wb") as file:
        file.write(sxm()[:60])
        for _ in range(100):
            file.write(b"\n" * (4 << 20))
    assert "the header has no end" in line_of(path, ".sxm")


@pytest.mark.parametrize("command", [("tune", "feedback"), ("bode",), ("run",)])
def test_each_command_refuses(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "file.gwy"
    path.write_bytes(gwy()[:100])
    assert "truncated" in line_of(path, ".gwy", "--seed", "1", command=command)


OPTIONS = {
    "--specimen-size nan": "a size of nan nm in x is not possible; accepted: 0.1 nm to 200 um",
    "--specimen-size inf": "a size of inf um in x",
    "--specimen-size 0": "a size of 0 nm in x",
    "--specimen-size 1e308": "a size of inf um in x",
    "--specimen-size 201e-6": "a size of 201 um in x",
    "--specimen-size 1e-8 --specimen-height nan": "a height of nan nm is not possible; accepted: 1 pm to 16 um",
    "--specimen-size 1e-8 --specimen-height -1e-9": "a height of -1 nm",
    "--specimen-size 1e-8 --specimen-height 1e308": "a height of inf um",
    "--specimen-size 1e-8 --channel Z": "a .npy file has no channels; leave the channel out",
}


def test_options_that_do_not_fit_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.npy"
    path.write_bytes(npy())
    for options, says in OPTIONS.items():
        assert says in line_of(path, ".npy", *options.split())
    path = tmp_path / "file.gwy"
    path.write_bytes(gwy())
    assert "there is no channel 'Current' (channels found: Z (m))" in line_of(path, ".gwy", "--channel", "Current")
    assert "the file brings its own size; leave the size out" in line_of(path, ".gwy", "--specimen-size", "1e-8")
    assert "the file brings its own heights; leave the height out" in line_of(path, ".gwy", "--specimen-height", "1e-9")


def test_a_name_like_an_option(tmp_path: Path) -> None:
    assert "specimen '-x' is not known; accepted: " in refused(
        "scan", "--specimen", "-x", "--out", str(tmp_path / "out"), within_s=WITHIN_S
    )


PLANTS = {
    b"x_hysteresis = nan\nfoo = 1\n": ":1: x_hysteresis = nan is not possible; accepted: 0 to 0.25 of the stroke",
    b"\nz_quality = 1e308": ":2: z_quality = 1e+308 is not possible; accepted: 0.6 to 1000",
    b"z_qality = 8.0": "'z_qality' is unknown; accepted: 'z_quality' perhaps",
    b"drift_x_m_per_s = -inf": "drift_x_m_per_s = -inf is not possible",
    b"\xff\xfe": ":1: not UTF-8",
    b"[stm]\nz_quality = 8": "'stm' is a table",
    b"z_quality = ": ":1: not TOML",
}


def test_plants(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    out = tmp_path / "out"

    def refusal() -> str:
        line = refused("scan", "--plant", str(path), "--out", str(out), within_s=WITHIN_S)
        assert str(path) in line
        assert not out.exists() or not list(out.iterdir())
        return line

    assert "No such file or directory" in refusal()
    for content, says in PLANTS.items():
        path.write_bytes(content)
        assert says in refusal()
    path.unlink()
    path.mkdir()
    assert "Is a directory" in refusal()
    path.rmdir()
    os.mkfifo(path)
    assert "is a pipe" in refusal()
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "longer than 1048576 bytes" in refusal()


BOARD_OPTIONS = {
    "--specimen none.sxm": "none.sxm does not exist; accepted: ",
    "--size 1e-8 1e-8 1e-8": "--size takes a width, or a width and a height, not 3 numbers",
    "--size wide": "argument --size: invalid float value: 'wide'",
    "--size nan": "au111: a size of nan nm in x is not possible; accepted: 30 to 200 nm",
    "--channel Z": "au111: a generated specimen has no channels",
    "--seed -1": "seed -1 is not possible; accepted: a whole number",
    "--idle-exit nan": "--idle-exit nan is not possible; accepted: seconds, 0 or more",
    "--frobnicate": "unrecognized arguments: --frobnicate",
    "": "is no socket; give another path",
}


def test_the_board_process(tmp_path: Path) -> None:
    """One line too; and a file that lies where the socket should be stays."""
    precious = tmp_path / "board.sock"
    precious.write_text("precious")
    for options, says in BOARD_OPTIONS.items():
        command = [sys.executable, "-W", "error", "-m", "reflexarc_sim.board", "--socket", str(precious), *options.split()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == USER_ERROR and result.stdout == ""
        assert result.stderr.startswith("reflexarc-board: ") and result.stderr.count("\n") == 1, result.stderr
        assert says in result.stderr
        assert precious.read_text() == "precious"
