"""Specimens from the files of microscopes and of others: scale, orientation, choice of the channel."""

import io
import struct
from pathlib import Path

import gwyfile
import h5py
import numpy as np
import pytest
import tifffile
from gwyfile.objects import GwyContainer, GwyDataField, GwyObject, GwySIUnit
from PIL import Image
from scipy.io import netcdf_file

from reflexarc_sim.specimens import SpecimenError, apart, load
from reflexarc_sim.specimens.channels import Channel, choose
from reflexarc_sim.specimens.units import metres

SHARED = Path(__file__).parents[3] / "shared" / "data"
SURFACE = np.random.default_rng(1).normal(0, 1e-9, (24, 32))  # row 0 is the lowest y
SURFACE -= np.median(SURFACE)
OTHER = np.random.default_rng(2).normal(0, 1e-9, SURFACE.shape)


def close(value, rel=1e-9):
    """Relative only: by itself `pytest.approx` also accepts all within 1e-12, which is a lot for metres and amperes."""
    return pytest.approx(value, rel=rel, abs=0.0)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Without another process for each file: what is in the way of debugging, and takes a quarter of a second."""

    def start(reader, path, channel, reply):
        apart.work(reader, path, channel, reply)
        return 0

    monkeypatch.setattr(apart, "start", start)


def is_surface(specimen, size=(32e-9, 24e-9), surface=SURFACE, within=1e-15):
    """The right heights in the right places, in the right size."""
    assert (specimen.size_x_m, specimen.size_y_m) == (close(size[0]), close(size[1]))
    assert specimen.heights_m.shape == surface.shape
    assert np.ptp(specimen.heights_m - surface) < within
    assert specimen.heights_m.flags.c_contiguous and specimen.features == ()


def refused(path, match, **options):
    with pytest.raises(SpecimenError, match=match) as caught:
        load(str(path), **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


# What each format is written with


def ibw_bytes(
    *layers,
    labels=None,
    note="",
    order="<",
    dtype="f4",
    unit=b"m",
    axis_unit=b"m",
    long_unit=b"",
    step=(1e-9, 1e-9),
    shape=None,
    kind=None,
    version=5,
    name=b"Image0001",
) -> bytes:
    """A version 5 wave whose layers have row 0 at the lowest y."""
    kinds = {"f4": 2, "f8": 4, "i1": 8, "i2": 16, "i4": 32, "u1": 72, "u2": 80, "u4": 96, "c8": 3}
    data = np.stack([layer.T for layer in layers], axis=-1)
    shape = shape or (data.shape if len(layers) > 1 or labels else data.shape[:2])
    raw = data.astype(order + dtype).tobytes(order="F")
    texts = [text.encode() for text in labels or ()]
    fields = b"".join((text + b"\0leftover of longer names").ljust(32, b"\0")[:32] for text in (b"", *texts)) if texts else b""
    note_bytes = note.encode("latin-1")
    sides = tuple(shape) + (0,) * (4 - len(shape))
    wave = struct.pack(f"{order}IIIih", 0, 0, 0, data.size, kinds[dtype] if kind is None else kind)
    wave += struct.pack(f"{order}h6sh32sII", 0, b"", 1, name, 0, 0)
    wave += struct.pack(f"{order}4i", *sides) + struct.pack(f"{order}4d", *step, 1, 1) + struct.pack(f"{order}4d", 0, 0, 0, 0)
    wave += unit.ljust(4, b"\0") + axis_unit.ljust(4, b"\0") * 2 + bytes(8)
    wave = wave.ljust(320, b"\0")
    head = struct.pack(f"{order}hh4i", version, 0, 320 + len(raw), 0, len(note_bytes), len(long_unit))
    head += struct.pack(f"{order}4i", 0, 0, 0, 0) + struct.pack(f"{order}4i", 0, 0, len(fields), 0) + bytes(12)
    return head + wave + raw + note_bytes + long_unit + fields


def gwy_bytes(*channels, masks=False, extra=()) -> bytes:
    """Channels are (title, heights with row 0 at the lowest y, unit); a title or a unit may be `None`."""
    file = GwyContainer()
    for i, (title, heights, unit) in enumerate(channels):
        field = GwyDataField(np.ascontiguousarray(heights[::-1]), 32e-9, 24e-9, si_unit_xy=GwySIUnit(unitstr="m"))
        if unit is not None:
            field.si_unit_z = GwySIUnit(unitstr=unit)
        if title is not None:
            file[f"/{i}/data/title"] = title
        file[f"/{i}/data"] = field
        file[f"/{i}/meta"] = GwyContainer({"Bias": "100 mV"}, typecodes={"Bias": "s"})
        if masks:
            file[f"/{i}/mask"] = GwyDataField((heights > 0).astype(np.float64), 32e-9, 24e-9)
    for key, value in extra:
        file[key] = value
    buffer = io.BytesIO()
    file.tofile(buffer)
    return buffer.getvalue()


def gwy_volume(title: str, planes: np.ndarray, unit: str = "m") -> list:
    data = {
        "xres": planes.shape[2], "yres": planes.shape[1], "zres": planes.shape[0], "xreal": 32.0, "yreal": 24.0, "zreal": 1.0,
        "si_unit_x": GwySIUnit(unitstr="nm"), "si_unit_y": GwySIUnit(unitstr="nm"), "si_unit_w": GwySIUnit(unitstr=unit),
        "data": np.ascontiguousarray(planes[:, ::-1]).ravel(),
    }  # fmt: skip
    return [("/brick/0", GwyObject("GwyBrick", data, {"xres": "i", "yres": "i", "zres": "i"})), ("/brick/0/title", title)]


def nsid(path, surface=SURFACE, *, quantity="Height", units="m", axis_units="m", scale=1e-9, labels=("x", "y"), falling=False, **storage):
    """In the layout of pyNSID: the first axis is x."""
    with h5py.File(path, "w") as file:
        for i, (name, values, unit) in enumerate(((quantity, surface, units), ("PhaseRetrace", OTHER, "deg"))):
            group = file.create_group(f"Measurement_000/Channel_{i}/Channel_{i}")
            array = values.T[:, ::-1] if falling else values.T
            dataset = group.create_dataset(f"Channel_{i}", data=array, **storage)
            dataset.attrs["quantity"], dataset.attrs["units"] = name, unit
            for axis, (label, points) in enumerate(zip(labels, array.shape, strict=True)):
                places = np.arange(points) * scale
                dimension = group.create_dataset(label, data=places[::-1] if falling and axis == 1 else places)
                dimension.attrs["units"] = axis_units
                dimension.make_scale(label)
                dataset.dims[axis].label = label
                dataset.dims[axis].attach_scale(dimension)
            group.create_group("original_metadata").attrs["ScanSize"] = 1e-6
    return path


def netcdf3(path, values=SURFACE, *, name="height", dims=("y", "x"), unit="nm", axis_unit="nm", axes=True, version=1, **attributes):
    """Values in `unit`; coordinates of 1 in `axis_unit`."""
    with netcdf_file(path, "w", version=version) as file:
        for dim, points in zip(dims, values.shape, strict=True):
            file.createDimension(dim, points)
            if axes:
                file.createVariable(dim, "f8", (dim,))[:] = np.arange(points) + 100.0
                if axis_unit:
                    file.variables[dim].units = axis_unit
        variable = file.createVariable(name, values.dtype.newbyteorder(">"), dims)
        variable[:] = values
        if unit:
            variable.units = unit
        for key, value in attributes.items():
            setattr(variable, key.removeprefix("attribute_"), value)
    return path


def netcdf4(path, values=SURFACE, *, fill=None, unit="m", **attributes):
    """As netCDF lays it out in HDF5: dimensions are scales of the same name, the order is t, y, x."""
    with h5py.File(path, "w") as file:
        for name, points in (("t", 1), ("y", values.shape[0]), ("x", values.shape[1])):
            scale = file.create_dataset(name, data=np.arange(points, dtype=">f4"))
            scale.make_scale(name)
            scale.attrs["units"] = "nanometers" if name != "t" else "s"
        variable = file.create_dataset("topo", data=values[None], compression="gzip", shuffle=True)
        for i, name in enumerate("tyx"):
            variable.dims[i].attach_scale(file[name])
        if fill is not None:
            variable.attrs["_FillValue"] = np.array([fill], values.dtype)
        variable.attrs["units"] = np.bytes_(unit)
        for key, value in attributes.items():
            variable.attrs[key] = value
    return path


# Units and channels


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("m", 1), ("nm", 1e-9), ("um", 1e-6), ("\u00b5m", 1e-6), ("\u03bcm", 1e-6), ("pm", 1e-12), ("mm", 1e-3), ("cm", 1e-2),
        ("\u00c5", 1e-10), ("\u212b", 1e-10), ("A\u030a", 1e-10), ("Angstrom", 1e-10), ("meters", 1), ("Nanometre", 1e-9), ("micron", 1e-6),
        ("[nm]", 1e-9), (" nm\0\0", 1e-9), ("1e-9 m", 1e-9), ("10^-9 m", 1e-9), ("0.5 nm", 0.5e-9),
    ],
)  # fmt: skip
def test_units_of_length(unit, factor):
    assert metres(unit) == close(factor)


@pytest.mark.parametrize("unit", ["", "V", "A", "Nm", "NM", "MM", "M", "deg", "nA", "m/s", "px", "m2", "1", "?", "10^x m", "min", "atm"])
def test_units_of_something_else(unit):
    assert metres(unit) is None


def chosen(*channels: str, wanted: str | None = None) -> str:
    """Channels as "name unit", with an underscore for a space."""
    made = [Channel((name.replace("_", " "),), unit, None) for name, _, unit in (text.partition(" ") for text in channels)]
    return choose("f", made, wanted).names[0]


@pytest.mark.parametrize(
    ("channels", "name"),
    [
        (("Current A", "Z m"), "Z"),
        (("Topography m", "Z m"), "Z"),
        (("ZSensorTrace m", "HeightTrace m"), "HeightTrace"),
        (("HeightRetrace m", "HeightTrace m"), "HeightTrace"),
        (("Z_(Backward) nm", "Z_(Forward) nm"), "Z (Forward)"),
        (("Amplitude m", "Height_Error m", "Height m"), "Height"),
        (("Z V", "Topo m"), "Topo"),
        (("Z", "Z_bwd m"), "Z"),
        (("Deflection m", "Measured_height nm"), "Measured height"),
        (("data m", "other V"), "data"),
        (("data", "mask"), "data"),
        (("/current/data/values m", "/phase/Values deg"), "/current/data/values"),
    ],
)
def test_topography_is_found(channels, name):
    assert chosen(*channels) == name


@pytest.mark.parametrize(
    "channels", [(), ("Current A",), ("Z V",), ("AmplitudeTrace m", "Phase deg"), ("a m", "b m"), ("a", "b"), ("Phase",), ("/Phase/data",)]
)
def test_topography_is_missing(channels):
    with pytest.raises(SpecimenError, match="f: no topography .channels found: .* name one as the channel"):
        chosen(*channels)


def test_channel_by_name():
    assert chosen("Z m", "Current A", wanted="Current") == "Current"
    assert chosen("Z m", "z m", wanted="z") == "z"
    assert chosen("Z m", "Current A", wanted="current ") == "Current"
    with pytest.raises(SpecimenError, match=r"no channel 'I' \(channels found: Z \(m\)\)"):
        chosen("Z m", wanted="I")


def test_listing_is_short():
    with pytest.raises(SpecimenError, match="and 190 more") as caught:
        chosen(*(f"{'long' * 100}{i}" for i in range(200)))
    assert len(str(caught.value)) < 1000


# Igor


@pytest.mark.parametrize(("order", "dtype"), [("<", "f4"), (">", "f4"), ("<", "f8"), (">", "f8")])
def test_ibw(tmp_path, order, dtype):
    (tmp_path / "s.ibw").write_bytes(ibw_bytes(SURFACE, order=order, dtype=dtype))
    specimen = load(str(tmp_path / "s.ibw"))
    is_surface(specimen)
    assert "channel 'Image0001'" in specimen.note


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "u1", "u2", "u4"])
def test_ibw_of_integers(tmp_path, dtype):
    counts = np.random.default_rng(3).integers(0, 100, SURFACE.shape)
    (tmp_path / "s.ibw").write_bytes(ibw_bytes(counts, dtype=dtype, unit=b"pm"))
    specimen = load(str(tmp_path / "s.ibw"))
    is_surface(specimen, surface=(counts - np.median(counts)) * 1e-12, within=1e-20)


def test_ibw_of_asylum(tmp_path):
    """Labels of 32 bytes with leftovers behind their ends, units by the note, one unit for all in the header."""
    labels = ["HeightRetrace", "HeightTrace", "PhaseTrace", "UserIn0Trace"]
    note = "ScanSize: 3.2e-08\rUserIn0Unit: nA\rTemperature: 20 \xb0C\r"
    (tmp_path / "s.ibw").write_bytes(ibw_bytes(OTHER, SURFACE, OTHER, OTHER, labels=labels, note=note))
    is_surface(load(str(tmp_path / "s.ibw")))
    is_surface(load(str(tmp_path / "s.ibw"), channel="HeightRetrace"), surface=OTHER)
    refused(tmp_path / "s.ibw", r"HeightTrace \(m\), PhaseTrace \(deg\), UserIn0Trace \(nA\)\)", channel="Deflection")
    refused(tmp_path / "s.ibw", "channel 'PhaseTrace' is not in a unit of length", channel="PhaseTrace")
    specimen = load(str(tmp_path / "s.ibw"), channel="PhaseTrace", height_m=5e-9)
    assert specimen.peak_to_peak_m == close(5e-9)


def test_ibw_of_asylum_without_units(tmp_path):
    (tmp_path / "s.ibw").write_bytes(ibw_bytes(SURFACE, labels=["Height"], note="FastScanSize: 1\r", unit=b"", axis_unit=b""))
    is_surface(load(str(tmp_path / "s.ibw")))


def test_ibw_without_labels(tmp_path):
    path = tmp_path / "s.ibw"
    path.write_bytes(ibw_bytes(OTHER, SURFACE))
    refused(path, r"no topography \(channels found: layer 0 \(m\), layer 1 \(m\)\)")
    is_surface(load(str(path), channel="layer 1"))


def test_ibw_long_unit_and_falling_axes(tmp_path):
    (tmp_path / "s.ibw").write_bytes(ibw_bytes(SURFACE * 1e9, unit=b"", long_unit=b"nanometers", step=(-1e-3, 2e-3), axis_unit=b"um"))
    is_surface(load(str(tmp_path / "s.ibw")), size=(32e-9, 48e-9), surface=SURFACE[:, ::-1], within=1e-15)


def test_ibw_without_scale(tmp_path):
    path = tmp_path / "s.ibw"
    path.write_bytes(ibw_bytes(SURFACE, unit=b"", axis_unit=b"", step=(1, 1)))
    refused(path, "no lateral scale in a unit of length; it needs its size in metres")
    specimen = load(str(path), size_m=32e-9)
    is_surface(specimen)
    assert "taken as metres" in specimen.note
    assert load(str(path), size_m=32e-9, height_m=1e-9).peak_to_peak_m == close(1e-9)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"version": 2}, "version 2, which has one dimension"),
        ({"version": 7}, "no Igor binary wave .version 7"),
        ({"dtype": "c8"}, "complex numbers"),
        ({"kind": 0}, "the wave holds text"),
        ({"kind": 128}, "numbers of type 128"),
        ({"shape": (768,)}, "1-D"),
        ({"shape": (4, 8, 8, 3)}, "4-D"),
        ({"shape": (0,)}, "0-D"),
        ({"shape": (64, 24)}, "contradict"),
        ({"shape": (-32, 24)}, "too few|contradict"),
        ({"shape": (32, 4, 6)}, "too few"),
        ({"shape": (2**31 - 1, 2**31 - 1, 2**31 - 1, 2**31 - 1)}, "4-D|too many"),
        ({"shape": (16000, 16000)}, "too many"),
        ({"shape": (4000, 4000)}, "contradict"),
        ({"step": (1e-12, 1e-9)}, "a size of 0.032 nm in x"),
        ({"step": (1e-9, float("nan"))}, "no lateral scale"),
        ({"axis_unit": b"s"}, "no lateral scale"),
        ({"unit": b"V"}, r"no topography \(channels found: Image0001 \(V\)\)"),
    ],
)
def test_ibw_refused(tmp_path, options, match):
    (tmp_path / "s.ibw").write_bytes(ibw_bytes(SURFACE, **options))
    refused(tmp_path / "s.ibw", match)


def test_own_scale_stays(tmp_path):
    (tmp_path / "s.ibw").write_bytes(ibw_bytes(SURFACE))
    refused(tmp_path / "s.ibw", "brings its own size; leave the size out", size_m=1e-8)
    refused(tmp_path / "s.ibw", "brings its own heights; leave the height out", height_m=1e-9)


# Gwyddion


def test_gwy(tmp_path):
    channels = [("Current", OTHER, "A"), ("Z (Backward)", OTHER, "m"), ("Z (Forward)", SURFACE, "m"), (None, OTHER, "m")]
    (tmp_path / "s.gwy").write_bytes(gwy_bytes(*channels, masks=True))
    is_surface(load(str(tmp_path / "s.gwy")))
    is_surface(load(str(tmp_path / "s.gwy"), channel="Z (Backward)"), surface=OTHER)
    is_surface(load(str(tmp_path / "s.gwy"), channel="/3/data"), surface=OTHER)
    refused(tmp_path / "s.gwy", r"Current \(A\), Z \(Backward\) \(m\), Z \(Forward\) \(m\), image 3 \(m\)\)", channel="none")


def test_gwy_in_other_units_and_pixels_that_are_not_square(tmp_path):
    field = GwyDataField(np.ascontiguousarray(SURFACE[::-1] * 1e10), 0.1, 0.2, si_unit_xy="\u00b5m", si_unit_z="\u00c5")
    (tmp_path / "s.gwy").write_bytes(gwy_bytes(extra=[("/0/data", field), ("/0/data/title", "Height")]))
    is_surface(load(str(tmp_path / "s.gwy")), size=(1e-7, 2e-7))


def test_gwy_without_units(tmp_path):
    field = GwyDataField(np.ascontiguousarray(SURFACE[::-1]))
    (tmp_path / "s.gwy").write_bytes(gwy_bytes(extra=[("/0/data", field)]))
    refused(tmp_path / "s.gwy", "no lateral scale")
    is_surface(load(str(tmp_path / "s.gwy"), size_m=(32e-9, 24e-9)))


def test_gwy_volume(tmp_path):
    """Its first plane, and only where no image is a topography."""
    path = tmp_path / "s.gwy"
    volume = gwy_volume("Z", np.stack([SURFACE, OTHER]))
    path.write_bytes(gwy_bytes(("Current", OTHER, "A"), extra=volume))
    specimen = load(str(path))
    is_surface(specimen)
    assert "plane 1 of 2" in specimen.note
    path.write_bytes(gwy_bytes(("Topography", OTHER, "m"), extra=volume))
    is_surface(load(str(path)), surface=OTHER)
    is_surface(load(str(path), channel="Z"))


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (b"GWYO" + bytes(100), "of version 1"),
        (b"RIFF" + bytes(100), "does not begin with GWYP"),
        (b"", "does not begin with GWYP"),
        (gwy_bytes(("Current", OTHER, "A")), r"no topography \(channels found: Current \(A\)\)"),
        (gwy_bytes(), r"no topography \(channels found: none\)"),
        (gwy_bytes(("Z", SURFACE, "m")).replace(struct.pack("<i", 32), struct.pack("<i", 2**30)), "its size is not that of its data"),
        (gwy_bytes(("Z", SURFACE, "m")).replace(struct.pack("<i", 32), struct.pack("<i", -32)), "its size is not that of its data"),
        (gwy_bytes(("Z", SURFACE[:4, :4], "m")), "too few"),
        (gwy_bytes(("Z", SURFACE * np.nan, "m")), "0 complete rows of 24 in channel 'Z'"),
        (gwy_bytes(("Z", SURFACE * np.inf, "m")), "0 complete rows of 24"),
        (gwy_bytes(("Z", SURFACE * 0, "m")), "flat: 24 x 32 points, 0 pm .* in channel 'Z'"),
        (gwy_bytes(("Z", SURFACE * 1e4, "m")), "reaches .* um .* accepted: 8 um"),
        (b"GWYPGwyContainer\0\xff\xff\xff\xff", "truncated or damaged"),
        (b"GWYPGwyContainer\0" + struct.pack("<I", 12) + b"a\0S\xff\xff\xff\xffxxxxx", "truncated or damaged"),
        (b"GWYPGwyContainer\0" + struct.pack("<I", 4) + b"a\0?x", "truncated or damaged"),
    ],
)
def test_gwy_refused(tmp_path, raw, match):
    (tmp_path / "s.gwy").write_bytes(raw)
    refused(tmp_path / "s.gwy", match)


# HDF5


@pytest.mark.parametrize("ending", ["h5", "hdf5", "nsid", "H5"])
def test_nsid(tmp_path, ending):
    specimen = load(str(nsid(tmp_path / f"s.{ending}")))
    is_surface(specimen)
    assert "channel 'Height'" in specimen.note
    refused(tmp_path / f"s.{ending}", "brings its own size", size_m=1e-8)


def test_nsid_in_nanometres_compressed_big_endian_falling(tmp_path):
    storage = {"compression": "gzip", "chunks": (7, 5), "shuffle": True, "dtype": ">f4"}
    is_surface(load(str(nsid(tmp_path / "s.h5", SURFACE * 1e9, units="nm", axis_units="nm", scale=1.0, falling=True, **storage))))


def test_nsid_channel(tmp_path):
    path = nsid(tmp_path / "s.h5", quantity="AmplitudeRetrace")
    refused(path, r"no topography \(channels found: AmplitudeRetrace \(m\), PhaseRetrace \(deg\)\)")
    for name in ("AmplitudeRetrace", "Channel_0", "/Measurement_000/Channel_0/Channel_0/Channel_0"):
        is_surface(load(str(path), channel=name))


def test_nsid_with_scales_that_are_not_attached(tmp_path):
    """The axes' names lead to the arrays beside; of equal sides only they tell which is x."""
    square = SURFACE[:, :24]
    path = nsid(tmp_path / "s.h5", square)
    with h5py.File(path, "a") as file:
        old = file["Measurement_000/Channel_0/Channel_0/Channel_0"]
        group, attributes = old.parent, {key: old.attrs[key] for key in ("quantity", "units")}
        del group["Channel_0"]
        new = group.create_dataset("Channel_0", data=square.T)
        new.attrs.update(attributes)
        new.dims[0].label, new.dims[1].label = "x", "y"
    is_surface(load(str(path)), size=(24e-9, 24e-9), surface=square - np.median(square))


def test_nsid_of_generic_units(tmp_path):
    """What sidpy writes for want of a unit is none."""
    path = nsid(tmp_path / "s.h5", units="generic", axis_units="generic")
    refused(path, "no lateral scale")
    is_surface(load(str(path), size_m=32e-9))


def test_nsid_with_rows_first(tmp_path):
    """Names of axes decide, not their order."""
    is_surface(load(str(nsid(tmp_path / "s.h5", SURFACE.T, labels=("y", "x")))))


@pytest.mark.parametrize(
    "places",
    [np.zeros(24), np.arange(24.0) ** 2, np.where(np.arange(24) == 3, np.nan, np.arange(24)), np.arange(23.0), np.full(24, "a", "S1")],
)
def test_hdf5_with_unusable_coordinates(tmp_path, places):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["Z"] = SURFACE
        file["x"], file["y"] = np.arange(32.0), places
        for name, unit in (("Z", "m"), ("x", "nm"), ("y", "nm")):
            file[name].attrs["units"] = unit
    refused(tmp_path / "s.h5", "no lateral scale")
    is_surface(load(str(tmp_path / "s.h5"), size_m=(32e-9, 24e-9)))


@pytest.mark.parametrize("values", [SURFACE, SURFACE.astype(">f4"), SURFACE[None, :, :, None]])
def test_plain_hdf5(tmp_path, values):
    """No unit: metres, as in a .npy file; row 0 is the lowest y."""
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["scans/first/values"] = values
        file["scans/about"] = "text"
        file["scans/time"] = np.arange(24.0)
    refused(tmp_path / "s.h5", "s.h5: the file has no lateral scale in a unit of length; it needs its size in metres")
    is_surface(load(str(tmp_path / "s.h5"), size_m=32e-9))
    is_surface(load(str(tmp_path / "s.h5"), size_m=(32e-9, 50e-9)), size=(32e-9, 50e-9))


def test_plain_hdf5_with_groups_coordinates_and_packing(tmp_path):
    counts = np.random.default_rng(4).integers(-99, 99, SURFACE.shape).astype("i2")
    stored = counts.copy()
    stored[:2] = -999
    with h5py.File(tmp_path / "s.h5", "w") as file:
        for group, values in (("Backward", OTHER), ("Forward", stored)):
            file[f"{group}/Height/data"] = values
            file[f"{group}/Height/X"], file[f"{group}/Height/Y"] = np.arange(32) * 0.5, np.arange(24) * 0.25
            file[f"{group}/Height/X"].attrs["unit"] = file[f"{group}/Height/Y"].attrs["unit"] = "nm"
        file["Forward/Height/data"].attrs.update({"units": "pm", "scale_factor": 0.5, "add_offset": 7.0, "missing_value": np.int16(-999)})
    specimen = load(str(tmp_path / "s.h5"))
    expected = counts[2:] * 0.5e-12
    is_surface(specimen, size=(16e-9, 5.5e-9), surface=expected - np.median(expected), within=1e-20)
    assert "cropped to 22 complete rows of 24" in specimen.note


def test_hdf5_keeps_to_its_own_file(tmp_path):
    """Links, storage and virtual data sets that lead to other files are not followed."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["Z"] = SURFACE
    SURFACE.tofile(tmp_path / "raw.bin")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["linked"] = h5py.ExternalLink("other.h5", "/Z")
        file["soft"] = h5py.SoftLink("/linked")
    refused(tmp_path / "s.h5", r"no topography \(channels found: none\)", size_m=1e-8)
    with h5py.File(tmp_path / "s.h5", "a") as file:
        file.create_dataset("stored", SURFACE.shape, "f8", external=[("raw.bin", 0, h5py.h5f.UNLIMITED)])
        layout = h5py.VirtualLayout(SURFACE.shape, "f8")
        layout[:] = h5py.VirtualSource("other.h5", "Z", SURFACE.shape)
        file.create_virtual_dataset("virtual", layout)
    elsewhere = "its data lie in another file"
    refused(tmp_path / "s.h5", rf"channels found: stored \({elsewhere}\), virtual \({elsewhere}\)", size_m=1e-8)
    refused(tmp_path / "s.h5", f"channel 'virtual' is no surface: {elsewhere}", size_m=1e-8, channel="virtual")


def test_hdf5_without_a_map(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["waves"] = SURFACE + 1j
        file["words"] = np.full((9, 9), "a", "S3")
        file["stack"] = np.zeros((9, 9, 9))
        file["line"], file["number"], file["empty"] = np.zeros(100), 3.0, h5py.Empty("f8")
        file.create_dataset("nothing", (0, 10), "f8")
        file["loop"] = file["/"]
    refused(tmp_path / "s.h5", r"stack \(3-D\), waves \(complex numbers\), words \(not real numbers\)", channel="z")
    refused(tmp_path / "s.h5", "too few", size_m=1e-8)
    refused(tmp_path / "s.h5", "channel 'waves' is no surface: complex numbers", channel="waves")


@pytest.mark.parametrize("shape", [(10**9, 10**9), (20000, 9), (9, 9)])
def test_hdf5_announcing_what_is_not_there(tmp_path, shape):
    """Chunks that were never written cost nothing in the file, a chunk of gigabytes a lot on reading."""
    chunks = {"maxshape": (None, None), "chunks": (30000, 30000), "compression": "gzip"} if shape == (9, 9) else {"chunks": (8, 9)}
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_dataset("Z", shape, "f8", **chunks)
    refused(tmp_path / "s.h5", "too many|chunks of 6866 MiB are too large", size_m=1e-8)


# NetCDF


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_netcdf_classic(tmp_path, version, dtype):
    values = (SURFACE * 1e9).astype(dtype)
    is_surface(load(str(netcdf3(tmp_path / "s.nc", values, version=version))))


def test_netcdf_axes_the_other_way(tmp_path):
    is_surface(load(str(netcdf3(tmp_path / "s.nc", SURFACE.T, unit="m", dims=("x", "y")))))


def test_netcdf_packed_with_fill_values(tmp_path):
    counts = np.random.default_rng(4).integers(-99, 99, SURFACE.shape).astype("i2")
    stored = counts.copy()
    stored[20:, 3] = -32767  # netCDF's own fill value
    specimen = load(str(netcdf3(tmp_path / "s.nc", stored, unit="pm", scale_factor=0.5, add_offset=7.0)))
    expected = counts[:20] * 0.5e-12
    is_surface(specimen, size=(32e-9, 20e-9), surface=expected - np.median(expected), within=1e-20)


def test_netcdf_without_scale(tmp_path):
    for options in ({"axes": False}, {"axis_unit": ""}, {"axis_unit": "V"}):
        path = netcdf3(tmp_path / "s.nc", SURFACE, unit="m", **options)
        refused(path, "no lateral scale")
        is_surface(load(str(path), size_m=32e-9))


def test_netcdf_refused(tmp_path):
    refused(netcdf3(tmp_path / "s.nc", SURFACE, unit="V", name="bias"), r"no topography \(channels found: bias \(V\)\)")
    (tmp_path / "s.nc").write_bytes(b"CDF\x05" + bytes(100))
    refused(tmp_path / "s.nc", "CDF-5; accepted: NetCDF-4, classic")
    (tmp_path / "s.nc").write_bytes(b"GIF89a" + bytes(100))
    refused(tmp_path / "s.nc", "begins with neither CDF nor HDF")


def test_netcdf4(tmp_path):
    path = netcdf4(tmp_path / "s.nc", (SURFACE * 1e9).astype("f4"), unit="nm", long_name="surface elevation")
    specimen = load(str(path))
    is_surface(specimen)
    is_surface(load(str(path), channel="topo"))


def test_netcdf4_with_fill_values(tmp_path):
    holes = SURFACE.astype("f4")
    holes[:, :3], holes[23] = 1e20, np.nan
    specimen = load(str(netcdf4(tmp_path / "s.nc", holes, fill=1e20)))
    assert specimen.heights_m.shape == (23, 29) and (specimen.size_x_m, specimen.size_y_m) == (close(29e-9), close(23e-9))
    assert "cropped to 29 columns of 32 and 23 complete rows of 24" in specimen.note
    default = np.where(holes > 1, np.float32(9.96921e36), holes)
    assert load(str(netcdf4(tmp_path / "s.nc", default))).heights_m.shape == (23, 29)


def test_netcdf4_dimension_without_coordinates(tmp_path):
    path = netcdf4(tmp_path / "s.nc")
    with h5py.File(path, "a") as file:
        file["x"].attrs["NAME"] = np.bytes_("This is a netCDF dimension but not a netCDF variable.        32")
    refused(path, "no lateral scale")


# Images


def image_is_surface(specimen, top_down, height_m=4e-9):
    expected = (top_down[::-1] - top_down.min()) * (height_m / np.ptp(top_down))
    is_surface(specimen, surface=expected - np.median(expected), within=1e-18)
    assert specimen.peak_to_peak_m == close(height_m)


GREY = np.random.default_rng(5).integers(10, 200, SURFACE.shape)  # row 0 at the top
SIZE = {"size_m": 32e-9, "height_m": 4e-9}


@pytest.mark.parametrize(
    ("mode", "dtype"), [("L", "u1"), ("I;16", "u2"), ("LA", "u1"), ("RGB", "u1"), ("RGBA", "u1"), ("P", "u1"), ("1", "?")]
)
def test_png(tmp_path, mode, dtype):
    values = (GREY * 250).astype(dtype) if mode == "I;16" else GREY > 100 if mode == "1" else GREY.astype(dtype)
    image = Image.fromarray(values)
    (image if image.mode == mode else image.convert(mode)).save(tmp_path / "s.png")
    specimen = load(str(tmp_path / "s.png"), **SIZE)
    if mode == "P":  # Pillow's palette of 256 greys
        assert np.corrcoef(specimen.heights_m.ravel(), GREY[::-1].ravel())[0, 1] > 0.99
    else:
        image_is_surface(specimen, values.astype(float))
    assert ("luminance" in specimen.note) == (mode in ("RGB", "RGBA", "P"))


def test_png_in_colour(tmp_path):
    colours = np.random.default_rng(6).integers(0, 256, (*SURFACE.shape, 3)).astype("u1")
    Image.fromarray(colours).save(tmp_path / "s.png")
    image_is_surface(load(str(tmp_path / "s.png"), **SIZE), colours @ (0.299, 0.587, 0.114))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">u2", "i2", "u4", "i4", "u8", "f2", "f4", ">f4", "f8"])
def test_tiff(tmp_path, dtype):
    values = GREY.astype("i4").astype(dtype) if dtype != "i1" else (GREY // 2).astype("i1")
    tifffile.imwrite(tmp_path / "s.tif", values, byteorder=">" if dtype.startswith(">") else "<")
    image_is_surface(load(str(tmp_path / "s.tif"), **SIZE), values.astype(float))


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"imagej": True},
        {"photometric": "miniswhite"},
        {"rowsperstrip": 5},
    ],
)
def test_tiff_variants(tmp_path, options):
    values = GREY.astype("u2")
    tifffile.imwrite(tmp_path / "s.tiff", values, **options)
    image_is_surface(load(str(tmp_path / "s.tiff"), **SIZE), -values.astype(float) if "photometric" in options else values.astype(float))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"])
def test_tiff_by_pillow(tmp_path, compression):
    values = GREY.astype("u2")
    Image.fromarray(values).save(tmp_path / "s.tif", compression=compression)
    image_is_surface(load(str(tmp_path / "s.tif"), **SIZE), values.astype(float))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_tiff_in_colour(tmp_path, planar, dtype):
    colours = np.random.default_rng(6).integers(0, 256, (*SURFACE.shape, 3)).astype(dtype)
    stored = colours if planar == "contig" else np.moveaxis(colours, -1, 0)
    tifffile.imwrite(tmp_path / "s.tif", stored, photometric="rgb", planarconfig=planar)
    specimen = load(str(tmp_path / "s.tif"), **SIZE)
    image_is_surface(specimen, colours.astype(float) @ (0.299, 0.587, 0.114))
    assert "luminance" in specimen.note


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation(tmp_path, orientation, compression):
    """What is stored such that it looks like GREY when turned as the tag says, by either library."""
    seen = GREY.astype("u2")
    turned = seen
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    stored = np.ascontiguousarray(turned.T if orientation > 4 else turned)
    if compression is None:
        tifffile.imwrite(tmp_path / "s.tif", stored, extratags=[(274, "H", 1, orientation, True)])
    else:
        Image.fromarray(stored).save(tmp_path / "s.tif", compression=compression, tiffinfo={274: orientation})
    image_is_surface(load(str(tmp_path / "s.tif"), **SIZE), seen.astype(float))


def test_tiff_pages_and_holes(tmp_path):
    """The first page counts; of a float image with rows of NaN the rest."""
    first = GREY.astype("f4")
    first[:4] = np.nan
    tifffile.imwrite(tmp_path / "s.tif", np.stack([first, OTHER.astype("f4")]), photometric="minisblack")
    specimen = load(str(tmp_path / "s.tif"), **SIZE)
    assert specimen.heights_m.shape == (20, 32) and specimen.size_y_m == close(20e-9)
    expected = first[4:][::-1].astype(float)
    expected = (expected - expected.min()) * (4e-9 / np.ptp(expected))
    assert np.ptp(specimen.heights_m - expected) < 1e-18


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_images_need_their_scale(tmp_path, ending):
    path = tmp_path / f"s.{ending}"
    Image.fromarray(GREY.astype("u1")).save(path)
    refused(path, "an image needs its size in metres, .* and its height in metres, from the darkest to the brightest")
    refused(path, "needs its size", height_m=1e-9)
    refused(path, "an image needs its height in metres", size_m=1e-8)
    refused(path, "an image has no channels", channel="red", **SIZE)
    for height in (0, -1e-9, float("nan"), float("inf"), 1e-13, 20e-6, "high", (1, 2)):
        refused(path, "height .* is not possible; accepted: ", size_m=1e-8, height_m=height)
    specimen = load(str(path), size_m=(32e-9, 48e-9), height_m=1e-9)
    assert (specimen.size_x_m, specimen.size_y_m) == (32e-9, 48e-9)


def test_images_refused(tmp_path):
    Image.fromarray(np.full((24, 32), 7, "u1")).save(tmp_path / "s.png")
    refused(tmp_path / "s.png", "from 7 to 7 there is no range to scale", **SIZE)
    Image.fromarray(GREY[:4].astype("u1")).save(tmp_path / "s.png")
    refused(tmp_path / "s.png", "4 x 32 points are too few", **SIZE)
    for name, array in (("complex", SURFACE + 1j), ("nan", SURFACE * np.nan), ("depth", np.zeros((3, 20, 30, 5), "u1"))):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, **({"planarconfig": "contig", "tile": (1, 16, 16)} if name == "depth" else {}))
        refused(tmp_path / f"{name}.tif", "not real numbers|0 complete rows|with the axes", **SIZE)


# Sizes


def test_npy_by_range(tmp_path):
    np.save(tmp_path / "s.npy", GREY)
    specimen = load(str(tmp_path / "s.npy"), **SIZE)
    assert specimen.peak_to_peak_m == close(4e-9) and np.argmax(specimen.heights_m) == np.argmax(GREY)
    refused(tmp_path / "s.npy", "metres are expected", size_m=1e-8)


def test_large_specimens(tmp_path):
    """Up to 200 um and 8 um, with their tilt; a small one loses its tilt where it then fits a fine scanner."""
    tilt = np.linspace(-5e-6, 5e-6, 32)[None, :] + SURFACE
    np.save(tmp_path / "s.npy", tilt)
    large = load(str(tmp_path / "s.npy"), size_m=150e-6)
    assert large.peak_to_peak_m == close(10e-6, rel=1e-3) and "plane" not in large.note
    small = load(str(tmp_path / "s.npy"), size_m=1e-6)
    assert small.peak_to_peak_m < 10e-9 and "plane subtracted" in small.note
    np.save(tmp_path / "s.npy", 2 * tilt)
    assert "plane subtracted" in load(str(tmp_path / "s.npy"), size_m=150e-6).note
    np.save(tmp_path / "s.npy", tilt + 1e3 * SURFACE)
    rough = load(str(tmp_path / "s.npy"), size_m=1e-6)  # too rough for a fine scanner either way
    assert "plane" not in rough.note and rough.peak_to_peak_m > 5e-6
    refused(tmp_path / "s.npy", "a size of 201 um in x is not possible; accepted: 0.1 nm to 200 um", size_m=201e-6)


def test_generated_take_no_channel():
    for options in ({"channel": "Z"}, {"height_m": 1e-9}):
        with pytest.raises(SpecimenError, match="graphene: a generated specimen has no channels"):
            load("graphene", **options)


# Real files


@pytest.mark.skipif(not SHARED.exists(), reason="the shared example data is not there")
@pytest.mark.parametrize(
    ("name", "channel", "size", "peak_to_peak"),
    [
        ("afm_P0089OP0027.ibw", "HeightRetrace", 256 * 2e-6 / 255, 47.586e-9),
        ("pto_110_virgin.gwy", "HeightRetrace", 256 * 10e-6 / 255, 125.095e-9),
        ("pto_pfm_nsid.h5", "HeightRetrace", 256 * 1e-6 / 255, 38.649e-9),
    ],
)
def test_real_files(name, channel, size, peak_to_peak):
    specimen = load(str(SHARED / name))
    assert specimen.heights_m.shape == (256, 256) and f"channel {channel!r}" in specimen.note
    assert (specimen.size_x_m, specimen.size_y_m) == (close(size), close(size))
    assert specimen.peak_to_peak_m == close(peak_to_peak, rel=1e-4)
    assert load(str(SHARED / name), channel=channel.upper()).heights_m.tobytes() == specimen.heights_m.tobytes()
    refused(
        SHARED / name,
        "channel 'PhaseRetrace' is not in a unit of length",
        channel="PhaseRetrace",
        **({"size_m": 1e-6} if "h5" in name else {}),
    )


@pytest.mark.skipif(not SHARED.exists(), reason="the shared example data is not there")
def test_real_files_are_the_right_way_up():
    """Against the libraries' arrays: Gwyddion's rows run from the top, Igor's and NSID's first axis is x and their y points up."""
    field = gwyfile.load(str(SHARED / "pto_110_virgin.gwy"))["/0/data"].data[::-1]
    assert np.ptp(load(str(SHARED / "pto_110_virgin.gwy")).heights_m - field) < 1e-20
    with h5py.File(SHARED / "pto_pfm_nsid.h5") as file:
        array = file["Measurement_000/Channel_0/Channel_0/Channel_0"][()].astype(np.float64).T
    assert np.ptp(load(str(SHARED / "pto_pfm_nsid.h5")).heights_m - array) < 1e-20
    raw = (SHARED / "afm_P0089OP0027.ibw").read_bytes()
    stored = np.frombuffer(raw, "<f4", 256 * 256, 384).reshape(256, 256).astype(np.float64)  # y by x
    assert np.ptp(load(str(SHARED / "afm_P0089OP0027.ibw")).heights_m - stored) < 1e-20
