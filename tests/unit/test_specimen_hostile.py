"""Files that are damaged or mean harm: one clear line each, soon, without output, and with bounded memory."""

import os
import resource
import struct
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image
from test_specimen_formats import GREY, OTHER, SURFACE, gwy_bytes, gwy_volume, ibw_bytes, netcdf3, netcdf4, nsid

from reflexarc_sim.specimens import Specimen, SpecimenError, apart, load
from reflexarc_sim.specimens.load import READERS

IMAGE = {"size_m": 32e-9, "height_m": 4e-9}


def options(path: Path) -> dict[str, float]:
    return IMAGE if path.suffix in (".png", ".tif", ".tiff") else {}


def refused(path: Path, match: str, **given) -> None:
    with pytest.raises(SpecimenError, match=match) as caught:
        load(str(path), **(given or options(path)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, bytes]:
    """A small good file of each kind, by a name whose ending is its own."""
    folder = tmp_path_factory.mktemp("samples")
    labels = ["HeightTrace", "PhaseTrace"]
    (folder / "s.ibw").write_bytes(ibw_bytes(SURFACE, OTHER, labels=labels, note="ScanSize: 1\rUserIn0Unit: V\r"))
    (folder / "s.gwy").write_bytes(gwy_bytes(("Current", OTHER, "A"), ("Z", SURFACE, "m"), masks=True, extra=gwy_volume("v", OTHER[None])))
    netcdf3(folder / "classic.nc", SURFACE[:, :20], unit="m")
    netcdf4(folder / "four.nc", SURFACE[:20, :20].astype("f4"))
    nsid(folder / "s.h5", SURFACE[:20, :20].astype("f4"), chunks=(8, 8), compression="gzip")
    Image.fromarray(GREY.astype("u1")).save(folder / "grey.png")
    Image.fromarray(np.stack([GREY] * 3, axis=-1).astype("u1")).save(folder / "colour.png")
    tifffile.imwrite(folder / "float.tif", SURFACE.astype("f4"))
    tifffile.imwrite(folder / "packed.tif", GREY.astype("u2"), compression="zlib", predictor=True)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def start_here(reader, path, channel, reply):
    apart.work(reader, path, channel, reply)
    return 0


def start_forked(reader, path, channel, reply):
    """For what may crash: as in another process, without starting an interpreter each time."""
    child = os.fork()
    if child == 0:
        try:
            silent = os.open(os.devnull, os.O_RDWR)
            os.dup2(silent, 1), os.dup2(silent, 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
            apart.work(reader, path, channel, reply)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def loads_or_refuses(path: Path, raw: bytes) -> bool:
    path.write_bytes(raw)
    try:
        specimen = load(str(path), **options(path))
    except SpecimenError as error:
        assert "\n" not in str(error) and len(str(error)) < 700 and path.name in str(error)
        return False
    assert isinstance(specimen, Specimen) and np.isfinite(specimen.heights_m).all()
    return True


NAMES = ("s.ibw", "s.gwy", "classic.nc", "four.nc", "s.h5", "grey.png", "colour.png", "float.tif", "packed.tif")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 and later, on fork with threads
def test_damaged_files(tmp_path, monkeypatch, samples, name):
    """Cut off at 50 places, and some bytes changed, mostly in the first part, where the sizes are."""
    forked = name in ("four.nc", "s.h5")
    monkeypatch.setattr(apart, "start", start_forked if forked else start_here)
    raw = samples[name]
    path = tmp_path / name
    assert loads_or_refuses(path, raw)
    random = np.random.default_rng(8)
    for length in np.unique(np.concatenate((np.arange(12), np.linspace(12, len(raw) - 1, 40).astype(int)))):
        loads_or_refuses(path, raw[:length])
    for case in range(25 if forked else 150):
        damaged = bytearray(raw)
        for _ in range(random.integers(1, 5)):
            place = int(random.integers(0, len(raw) if case % 2 else min(len(raw), 400)))
            damaged[place] = random.choice([0, 1, 127, 128, 255, random.integers(256)])
        loads_or_refuses(path, bytes(damaged))


@pytest.mark.parametrize("ending", sorted(READERS))
def test_wrong_ending(tmp_path, monkeypatch, samples, ending):
    """Files of another kind, text, and nothing."""
    monkeypatch.setattr(apart, "start", start_here)
    same = {".nc": ("four.nc", "s.h5", "classic.nc"), ".tiff": ("float.tif", "packed.tif")}
    same |= dict.fromkeys((".h5", ".hdf5", ".nsid"), ("four.nc", "s.h5"))
    others = {name: raw for name, raw in samples.items() if not name.endswith(ending) and name not in same.get(ending, ())}
    for raw in (*others.values(), b"", b"x", b"<html></html>\n" * 100, bytes(3000)):
        (tmp_path / f"s{ending}").write_bytes(raw)
        refused(
            tmp_path / f"s{ending}",
            "no .* file|no .* image|no Igor binary wave|an Igor wave of version|contradict|type|truncated|holds text",
        )


@pytest.mark.parametrize("ending", sorted(READERS))
def test_no_ordinary_file(tmp_path, ending):
    (tmp_path / f"folder{ending}").mkdir()
    refused(tmp_path / f"folder{ending}", "is a folder")
    os.mkfifo(tmp_path / f"pipe{ending}")  # opening it would wait for ever
    refused(tmp_path / f"pipe{ending}", "no ordinary file")
    refused(tmp_path / f"none{ending}", "does not exist")
    with (tmp_path / f"huge{ending}").open("wb") as file:
        file.truncate(600 * 2**20)  # sparse
    refused(tmp_path / f"huge{ending}", "600 MiB are too large", size_m=1e-8, height_m=1e-9)


def test_names_that_would_break_the_line(tmp_path):
    path = tmp_path / "two\nlines\x1b[31m.h5"
    path.write_bytes(b"nothing")
    refused(path, "two.lines.*no HDF5 file")
    nsid(tmp_path / "s.h5", quantity="first\nsecond")
    refused(tmp_path / "s.h5", r"no channel 'a.nb' \(channels found: first.second", channel="a\nb")


# The other process


@pytest.fixture
def refused_by(tmp_path, monkeypatch):
    """A reader with this code gives an error in one line that matches."""

    def check(code: str, match: str) -> None:
        (tmp_path / "reader_of_a_test.py").write_text(f"import os\n\n\ndef read(path, channel):\n    {code}\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(SpecimenError, match=f"^s.h5: .*{match}") as caught:
            apart.read_apart("reader_of_a_test", tmp_path / "s.h5", None)
        assert "\n" not in str(caught.value)

    return check


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("os.abort()", "the library that reads it crashes"),
        ("os.kill(os.getpid(), 11)", "the library that reads it crashes"),
        ("os._exit(0)", "the library that reads it crashes"),
        ("raise SystemExit(0)", "the library that reads it crashes"),
        ("os.system('echo noise >&2; echo noise'); raise ValueError('first\\nsecond')", r"says ValueError \(first\)"),
        ("return bytes(3 * 2**30)", "does not fit into 1536 MiB"),
        ("import no_such_library", r"a library is missing \(No module named 'no_such_library'\); install .* its extra 'sim'"),
        ("return read(path, channel)", "says RecursionError"),
        ("import warnings; warnings.warn('beware'); 1 / 0", r"says ZeroDivisionError \(division by zero\)"),
    ],
)
def test_reader_that_fails(refused_by, capfd, code, match):
    refused_by(code, match)
    assert capfd.readouterr() == ("", "")


def test_reader_that_does_not_end(refused_by, monkeypatch):
    monkeypatch.setattr(apart, "CPU_S", 1)
    began = time.monotonic()
    refused_by("while True: pass", "reading it takes longer than 1 s of work")
    assert time.monotonic() - began < 20  # on a machine that does much else


def test_reader_that_waits(refused_by, monkeypatch):
    monkeypatch.setattr(apart, "WALL_S", 0.5)
    refused_by("__import__('time').sleep(60)", "reading it takes longer than")


def test_each_kind_in_another_process(tmp_path, samples, capfd):
    for name in ("s.ibw", "s.gwy", "classic.nc", "s.h5", "grey.png", "float.tif"):
        assert loads_or_refuses(tmp_path / name, samples[name])
        assert not loads_or_refuses(tmp_path / name, samples[name][: len(samples[name]) // 2])
    assert capfd.readouterr() == ("", "")


def test_hdf5_that_crashes_its_library(tmp_path, capfd):
    """Damage of this kind was seen to end the process; what it does depends on the library, what comes out here does not."""
    raw = nsid(tmp_path / "s.h5", SURFACE[:20, :20].astype("f4"), chunks=(8, 8), compression="gzip").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(3):
        damaged = bytearray(raw)
        for place in random.integers(0, len(raw), 200):
            damaged[place] = random.integers(256)
        loads_or_refuses(tmp_path / "s.h5", bytes(damaged))
    assert capfd.readouterr() == ("", "")


# Bombs


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(apart, "start", start_here)


def zeros(mebibytes: int) -> bytes:
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(mebibytes)) + packer.flush()


def png_bytes(columns: int, rows: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (png_bytes(2**31 - 1, 2**31 - 1, (b"IDAT", b"")), "too many"),
        (png_bytes(16000, 16000, (b"IDAT", zeros(1))), "too many; at most 16384 per side and 128 MiB"),
        (png_bytes(0, 0, (b"IDAT", b"")), "too few"),
        (png_bytes(32, 24, (b"zTXt", b"a\0\0" + zeros(64)), (b"IDAT", zlib.compress(bytes(33 * 24)))), "says ValueError"),
        (png_bytes(32, 24, (b"IDAT", zeros(64))), "there is no range to scale"),
        (png_bytes(32, 24), "says"),
    ],
)
@pytest.mark.usefixtures("in_this_process")
def test_png_bombs(tmp_path, raw, match):
    (tmp_path / "s.png").write_bytes(raw)
    refused(tmp_path / "s.png", match)


def tiff_bytes(**changed: int) -> bytes:
    """A grey image of 64 x 64 bytes, with other values of its tags."""
    tags = {"width": (256, 64), "length": (257, 64), "bits": (258, 8), "compression": (259, 1), "photometric": (262, 1)}
    tags |= {"offset": (273, 200), "samples": (277, 1), "rows": (278, 64), "bytes": (279, 4096)}
    values = [(code, changed.get(name, value)) for name, (code, value) in tags.items()]
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in values)
    return (b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + struct.pack("<I", changed.get("next", 0))).ljust(200, b"\0") + bytes(
        range(256)
    ) * changed.get("blocks", 16)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"width": 2**32 - 1, "length": 2**32 - 1}, "too many"),
        ({"width": 0}, "too few"),
        ({"width": 4000, "length": 4000, "samples": 65535}, "too large|with the axes"),
        ({"bits": 64, "width": 4000, "length": 4000, "samples": 4}, "too large|with the axes|says"),
        ({"blocks": 3}, "says"),
        ({"offset": 2**32 - 1}, "says"),
        ({"bits": 0}, "says|holds"),
    ],
)
@pytest.mark.usefixtures("in_this_process")
def test_tiff_bombs(tmp_path, changed, match):
    (tmp_path / "s.tif").write_bytes(tiff_bytes(**changed))
    refused(tmp_path / "s.tif", match)


@pytest.mark.usefixtures("in_this_process")
def test_tiff_whose_pages_go_round(tmp_path):
    (tmp_path / "s.tif").write_bytes(tiff_bytes(next=8))
    assert load(str(tmp_path / "s.tif"), **IMAGE).heights_m.shape == (64, 64)


def test_hdf5_bomb(tmp_path):
    """A chunk of 32 KiB that inflates to far more than the process may have."""
    with h5py.File(tmp_path / "s.h5", "w") as file:
        dataset = file.create_dataset("Z", (64, 64), "f8", chunks=(64, 64), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), zeros(96))
    refused(tmp_path / "s.h5", "flat|says OSError|not fit", size_m=1e-8)


@pytest.mark.usefixtures("in_this_process")
def test_gwyddion_bombs(tmp_path):
    def item(name: bytes, kind: bytes, value: bytes) -> bytes:
        return name + b"\0" + kind + value

    def container(value: bytes, name: bytes = b"GwyContainer") -> bytes:
        return name + b"\0" + struct.pack("<I", len(value)) + value

    nested = container(b"")
    for _ in range(5000):
        nested = container(item(b"a", b"o", nested))
    for root, match in (
        (item(b"/0/data", b"o", nested), "its size is not that of its data"),
        (b"".join(item(b"%d" % i, b"b", b"\1") for i in range(100_002)), "truncated or damaged"),
        (item(b"/0/data", b"D", struct.pack("<I", 2**32 - 1)), "truncated or damaged"),
        (item(b"/0/data", b"d", bytes(8)), r"channels found: none"),
    ):
        (tmp_path / "s.gwy").write_bytes(b"GWYP" + container(root))
        refused(tmp_path / "s.gwy", match)


@pytest.mark.usefixtures("in_this_process")
def test_igor_note_without_end(tmp_path):
    """The library would make an object of each of its characters."""
    raw = bytearray(ibw_bytes(SURFACE))
    struct.pack_into("<i", raw, 12, 64 * 2**20)
    with (tmp_path / "s.ibw").open("wb") as file:
        file.write(raw)
        file.truncate(len(raw) + 64 * 2**20)
    refused(tmp_path / "s.ibw", "67108864 bytes of notes and labels are too many")


def test_netcdf_bomb(tmp_path):
    raw = netcdf3(tmp_path / "s.nc").read_bytes().replace(struct.pack(">I", 24), struct.pack(">I", 2**31 - 8), 1)
    (tmp_path / "s.nc").write_bytes(raw)
    refused(tmp_path / "s.nc", "does not fit|says|too many")
