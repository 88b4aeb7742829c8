"""Specimens from files, above all from files that are wrong: one clear line each, never another exception."""

import io
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reflexarc_sim.specimens import Specimen, SpecimenError, load

REAL_SCAN = Path(__file__).parents[3] / "shared" / "data" / "moire_10nm.sxm"
SURFACE = np.random.default_rng(1).normal(0, 1e-9, (24, 32))


def close(value, rel=1e-9):
    """Relative only: by itself `pytest.approx` also accepts all within 1e-12, which is a lot for metres and amperes."""
    return pytest.approx(value, rel=rel, abs=0.0)


def npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def sxm_bytes(
    heights: np.ndarray | None = None,
    *,
    names: tuple[str, ...] = ("Z", "Current"),
    unit: str = "m",
    direction: str = "both",
    scan_dir: str = "up",
    pixels: str | None = None,
    scan_range: str = "2.0E-8 1.5E-8",
    order: str = "MSBFIRST",
) -> bytes:
    """A Nanonis scan with `heights` in the first channel, forward; zeros elsewhere."""
    heights = SURFACE if heights is None else heights
    rows, columns = heights.shape
    table = "".join(f"\t{14 - i}\t{name}\t{unit if i == 0 else 'A'}\t{direction}\t1.0E-9\t0.0E+0\n" for i, name in enumerate(names))
    header = (
        f":NANONIS_VERSION:\n2\n:SCANIT_TYPE:\n              FLOAT            {order}\n:ACQ_TIME:\n       10.0\n"
        f":SCAN_PIXELS:\n       {pixels or f'{columns}       {rows}'}\n:SCAN_TIME:\n             1.0E+0             1.0E+0\n"
        f":SCAN_RANGE:\n           {scan_range}\n:SCAN_OFFSET:\n             0.0E+0         0.0E+0\n:SCAN_DIR:\n{scan_dir}\n"
        f":BIAS:\n            1.0E-1\n:COMMENT:\nhalf an ångström\n"
        f":DATA_INFO:\n\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n{table}\n:SCANIT_END:\n\n\n"
    )
    data = np.zeros((len(names), 2, rows, columns), ">f4" if order == "MSBFIRST" else "<f4")
    if names:
        data[0, 0] = heights
        data[0, 1] = heights[:, ::-1]
    return header.encode() + b"\x1a\x04" + data.tobytes()


@pytest.fixture
def write(tmp_path):
    def write_file(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write_file


def refused(text: str, match: str, **options) -> None:
    with pytest.raises(SpecimenError, match=match) as caught:
        load(text, **options)
    assert "\n" not in str(caught.value)


def test_importing_is_light():
    """A board with a generated specimen does not wait for the libraries of files, nor a process that reads one for Numba."""
    heavy = ("numba", "scipy", "h5py", "PIL", "tifffile", "igor2", "nanonispy2")
    code = f"import sys, reflexarc_sim.specimens; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True).stdout == "[]\n"


# Names


@pytest.mark.parametrize("text", ["", "au110", "file.txt", "noending", "a.npz", "."])
def test_unknown_name(text):
    refused(text, "is not known; accepted: 'au111'")


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    refused(str(tmp_path / "folder.npy"), "is a folder", size_m=1e-8)
    refused(str(tmp_path / "none.sxm"), "does not exist")
    refused("nul\0.npy", "accepted", size_m=1e-8)
    refused("x" * 5000 + ".npy", "accepted", size_m=1e-8)
    os.mkfifo(tmp_path / "pipe.npy")  # opening it would wait for ever
    refused(str(tmp_path / "pipe.npy"), "no ordinary file", size_m=1e-8)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(write):
    path = write("secret.npy", npy_bytes(SURFACE))
    Path(path).chmod(0)
    refused(path, "cannot be read", size_m=1e-8)


@pytest.mark.parametrize("kind", ["npy", "sxm"])
def test_huge_file_is_refused_unread(tmp_path, kind):
    path = tmp_path / f"huge.{kind}"
    with path.open("wb") as file:
        file.truncate(600 * 2**20)  # sparse
    refused(str(path), "600 MiB are too large", **({"size_m": 1e-8} if kind == "npy" else {}))


# .npy


@pytest.mark.parametrize("dtype", ["f8", ">f8", "f4", "g"])
def test_npy(write, dtype):
    specimen = load(write("s.npy", npy_bytes(SURFACE.astype(dtype))), size_m=(20e-9, 10e-9))
    assert (specimen.size_x_m, specimen.size_y_m, specimen.features) == (20e-9, 10e-9, ())
    assert np.ptp(specimen.heights_m - SURFACE) < 1e-15 and abs(np.median(specimen.heights_m)) < 1e-20


def test_npy_fortran_order_and_square_pixels(write):
    specimen = load(write("s.NPY", npy_bytes(np.asfortranarray(SURFACE))), size_m=32e-9)
    assert specimen.size_y_m == close(24e-9) and specimen.heights_m.flags.c_contiguous
    assert np.allclose(specimen.heights_m, SURFACE - np.median(SURFACE), rtol=0, atol=1e-20)


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros(100), "1-D"),
        (np.zeros((9, 9, 3)), "3-D"),
        (np.float64(3), "0-D"),
        (np.zeros((7, 50)), "too few; at least 8 x 8"),
        (np.zeros((0, 0)), "too few"),
        (np.zeros((8, 20000), "f2"), "too many; at most 16384"),
        (SURFACE + 1j, "complex128, not real numbers"),
        (SURFACE > 0, "bool, not real"),
        (np.full((9, 9), "text"), "not real"),
        (np.zeros((9, 9), "M8[s]"), "not real"),
        (np.zeros((9, 9), [("a", "f8")]), "not real"),
        (np.where(SURFACE > 2e-9, math.nan, SURFACE), r"of 768 heights are NaN or infinite"),
        (np.where(SURFACE > 2e-9, math.inf, SURFACE), "infinite"),
        (np.full((9, 9), np.longdouble("1e4000")), "infinite"),
        (np.zeros((9, 9)), "flat: 9 x 9 points, 0 pm"),
        (np.arange(81, dtype="i4").reshape(9, 9), "metres are expected"),
        (np.arange(81.0).reshape(9, 9) * 1e306, "metres are expected"),
        (SURFACE * 1e4, "accepted: 8 um"),
    ],
)
def test_npy_refused(write, array, match):
    refused(write("s.npy", npy_bytes(array)), match, size_m=(1e-8, 1e-8))


def test_npy_objects_are_not_unpickled(write):
    array = np.empty((9, 9), object)
    refused(write("s.npy", npy_bytes(array)), "object, not real numbers", size_m=1e-8)


@pytest.mark.parametrize(
    ("shape", "match"), [((10**6, 10**6), "too many"), ((2**62, 8), "too many"), ((8000, 8000), "truncated"), ((-9, 9), "too few")]
)
def test_npy_announcing_what_is_not_there(write, shape, match):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    refused(write("s.npy", buffer.getvalue() + bytes(1000)), match, size_m=1e-8)


@pytest.mark.parametrize("size_m", [None, 0, -1e-9, 201e-6, math.nan, math.inf, (1e-8, 0.0), (1e-8, 1e-8, 1e-8), "wide", [1e-8]])
def test_npy_size_refused(write, size_m):
    refused(write("s.npy", npy_bytes(SURFACE)), "needs its size|is not possible; accepted", size_m=size_m)


@pytest.mark.parametrize("length", [0, 3, 8, 60, 128, 1000])
def test_npy_truncated(write, length):
    refused(write("s.npy", npy_bytes(SURFACE)[:length]), "no valid .npy file|truncated", size_m=1e-8)


# .sxm


@pytest.mark.parametrize("order", ["MSBFIRST", "LSBFIRST"])
@pytest.mark.parametrize("names", [("Z", "Current"), ("z",), ("Topography (m)",), ("Z_raw", "Bias")])
def test_sxm(write, names, order):
    specimen = load(write("s.sxm", sxm_bytes(names=names, order=order)))
    assert (specimen.size_x_m, specimen.size_y_m) == (20e-9, 15e-9)
    assert np.ptp(specimen.heights_m - SURFACE) < 1e-15


def test_sxm_scanned_downwards_is_turned_over(write):
    specimen = load(write("s.sxm", sxm_bytes(scan_dir="down")))
    assert np.ptp(specimen.heights_m - SURFACE[::-1]) < 1e-15


def test_sxm_unfinished(write):
    unfinished = SURFACE.copy()
    unfinished[17, 5:] = math.nan
    unfinished[18:] = math.nan
    specimen = load(write("s.sxm", sxm_bytes(unfinished)))
    assert specimen.heights_m.shape == (17, 32) and specimen.size_y_m == close(15e-9 * 17 / 24)
    assert "cropped to 17 complete rows of 24" in specimen.note
    unfinished[10] = math.nan
    refused(write("s.sxm", sxm_bytes(unfinished)), "unfinished scan: 10 complete rows of 24 in channel 'Z'; at least 16")
    refused(write("s.sxm", sxm_bytes(SURFACE * math.nan)), "unfinished scan: 0 complete rows of 24")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"names": ("Current", "Bias")}, r"no topography \(channels found: Current, Bias\)"),
        ({"names": ()}, "no channels|no usable DATA_INFO"),
        ({"unit": "V"}, "no topography"),
        ({"direction": "forward"}, "channel 'Z' was recorded in one direction only"),
        ({"heights": np.full((24, 32), 1e-7)}, r"flat: 24 x 32 points, 0 pm .* in channel 'Z' \(channels found: Z, Current\)"),
        ({"pixels": "32 32"}, "truncated: .* bytes where the header announces"),
        ({"pixels": "32 16"}, "too long"),
        ({"pixels": "99999 99999"}, "too many"),
        ({"pixels": "99999999999999999999 2"}, "no usable SCAN_PIXELS"),
        ({"pixels": "4 192"}, "too few"),
        ({"pixels": "-32 -24"}, "no usable SCAN_PIXELS"),
        ({"pixels": "many"}, "no usable SCAN_PIXELS"),
        ({"scan_range": "0 0"}, "a size of 0 nm"),
        ({"scan_range": "1 1"}, "scanner reaches"),
        ({"scan_range": "nan 1e-8"}, "no finite SCAN_RANGE"),
        ({"scan_range": "x"}, "damaged"),
        ({"order": "MIDDLE"}, "accepted: FLOAT MSBFIRST"),
        ({"heights": SURFACE * 1e4}, "accepted: 8 um"),
    ],
)
def test_sxm_refused(write, options, match):
    refused(write("s.sxm", sxm_bytes(**options)), match)


def test_sxm_of_another_kind(write):
    refused(write("s.sxm", b"PK\x03\x04 not a scan" * 100), "no Nanonis scan")
    refused(write("s.sxm", b""), "no Nanonis scan")
    refused(write("s.SXM", sxm_bytes()), "rename the file")
    refused(write("t.sxm", sxm_bytes()), "brings its own size", size_m=1e-8)
    refused(write("t.sxm", sxm_bytes()), "brings its own heights", height_m=1e-9)


def test_sxm_channel(write):
    """By name, capital or small; in metres only."""
    specimen = load(write("s.sxm", sxm_bytes(names=("Height", "Current"))), channel="height")
    assert np.ptp(specimen.heights_m - SURFACE) < 1e-15
    assert load(write("s.sxm", sxm_bytes(names=("Height", "Current")))).note == specimen.note
    refused(write("s.sxm", sxm_bytes()), r"channel 'Current' is in 'A', not in m \(channels found: Z, Current\)", channel="Current")
    refused(write("s.sxm", sxm_bytes()), r"no channel 'Phase' \(channels found: Z, Current\)", channel="Phase")


def test_npy_has_no_channels(write):
    refused(write("s.npy", npy_bytes(SURFACE)), "a .npy file has no channels", channel="Z", size_m=1e-8)


content = {"npy": npy_bytes(SURFACE), "sxm": sxm_bytes()}
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def loads_or_refuses(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    try:
        specimen = load(str(path), **({"size_m": 1e-8} if path.suffix == ".npy" else {}))
    except SpecimenError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
    else:
        assert isinstance(specimen, Specimen) and np.isfinite(specimen.heights_m).all()


@pytest.mark.parametrize("kind", ["npy", "sxm"])
@many
@given(data=st.data())
def test_damaged_files(tmp_path, kind, data):
    """Bytes overwritten, mostly in the header, and the end cut off: a specimen or one clear line."""
    raw = bytearray(content[kind])
    header = 128 if kind == "npy" else raw.index(b"\x1a\x04")
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, header - 1))
        replacement = data.draw(st.binary(min_size=0, max_size=3))
        raw[place : place + data.draw(st.integers(0, 3))] = replacement
    loads_or_refuses(tmp_path / f"s.{kind}", bytes(raw[: data.draw(st.just(len(raw)) | st.integers(0, len(raw)))]))


@pytest.mark.parametrize("kind", ["npy", "sxm"])
@many
@given(body=st.binary(max_size=400))
def test_random_files(tmp_path, kind, body):
    start = b"\x93NUMPY\x01\x00" if kind == "npy" else b":NANONIS_VERSION:\n2\n"
    loads_or_refuses(tmp_path / f"s.{kind}", start + body)


@pytest.mark.skipif(not REAL_SCAN.exists(), reason="the shared example data is not there")
def test_real_scan():
    specimen = load(str(REAL_SCAN))
    assert specimen.heights_m.shape == (160, 160)
    assert (specimen.size_x_m, specimen.size_y_m) == (1e-8, 1e-8)
    assert specimen.peak_to_peak_m == close(369.1e-12, rel=1e-3)
    assert specimen.features == ()


@pytest.mark.skipif(not REAL_SCAN.exists(), reason="the shared example data is not there")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 4000), replacement=st.binary(min_size=1, max_size=8))
def test_damaged_real_scan(tmp_path, place, replacement):
    raw = bytearray(REAL_SCAN.read_bytes())
    raw[place : place + len(replacement)] = replacement
    loads_or_refuses(tmp_path / "s.sxm", bytes(raw))
