"""The scan file: what goes in comes out, what was complete survives, and what the disk refuses is said in one line."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from reflexarc.store import (
    EXTRA_CHANNELS,
    BlackBox,
    Channel,
    Channels,
    Direction,
    EventRow,
    ScanGeometry,
    ScanWriter,
    StoreError,
    read_scan,
)

GEOMETRY = ScanGeometry(
    pixels=8, lines=5, width_m=20e-9, height_m=12.5e-9, center_x_m=3e-9, center_y_m=-4e-9, pixel_s=265e-6, angle_deg=30.0
)
EVENT = EventRow(source=1, class_id=3, score=0.75, x_m=1e-9, y_m=-2e-9, time_s=12.5, model_id=0xFFFFFFFF, sequence=0)


def black_box(samples: int = 16, **attributes: str | int | float) -> BlackBox:
    time_s = (np.arange(samples) - samples // 2) * 0.56e-6
    return BlackBox(time_s, *(time_s * k for k in range(1, 6)), np.arange(samples, dtype=np.uint32), attributes)


def write_line(writer: ScanWriter, line: int, direction: Direction = Direction.FORWARD) -> None:
    z_m = np.arange(writer.geometry.pixels) * 1e-12 + line * 1e-9 + direction
    writer.write_line(line, direction, z_m, -z_m, 7 + line, 2**40 + line)


def run_python(source: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def one_line(error: pytest.ExceptionInfo[StoreError]) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 400
    return text


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    attributes = {"specimen": "Au(111) – ä", "seed": 2**63, "negative": -5, "setpoint_A": 1e-10, "numpy": np.float64(2.5), "flag": True}
    surface_m = np.arange(40.0).reshape(5, 8) * 1e-12
    with ScanWriter(path, GEOMETRY, attributes) as writer:
        for line in range(5):
            for direction in Direction:
                write_line(writer, line, direction)
        events = [dataclasses.replace(EVENT, sequence=k) for k in range(600)]
        writer.append_events(events[:1])
        writer.append_events([])
        writer.append_events(events[1:])
        writer.write_blackbox(black_box(cause="window", value=-3, limit=1e-9, trip_time_cycles=2**63 + 1))
        writer.write_blackbox(black_box(4, cause="heartbeat"))
        writer.write_reference(surface_m)
    scan = read_scan(path)
    assert scan.geometry == GEOMETRY
    assert scan.attributes == attributes
    assert scan.line_complete.all() and scan.line_complete.dtype == bool
    for direction in Direction:
        channels = scan.channels(direction)
        expected = np.arange(8) * 1e-12 + np.arange(5)[:, None] * 1e-9 + direction
        np.testing.assert_array_equal(channels.z_m, expected)
        np.testing.assert_array_equal(channels.current_A, -expected)
        np.testing.assert_array_equal(channels.samples, np.repeat(np.arange(7, 12), 8).reshape(5, 8))
        np.testing.assert_array_equal(channels.time_cycles, 2**40 + np.arange(5))
    assert scan.events == tuple(events)
    assert [box.attributes["cause"] for box in scan.blackboxes] == ["window", "heartbeat"]
    assert scan.blackboxes[0].attributes["trip_time_cycles"] == 2**63 + 1
    np.testing.assert_array_equal(scan.blackboxes[0].bias_V, black_box().bias_V)
    np.testing.assert_array_equal(scan.blackboxes[0].state, black_box().state)
    np.testing.assert_array_equal(scan.reference_surface_m, surface_m)


def test_each_dataset_has_a_unit_and_a_chunk_is_a_line(tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}) as writer:
        writer.write_blackbox(black_box())
        writer.write_reference(np.zeros(GEOMETRY.shape))
    units: dict[str, str] = {}
    with h5py.File(tmp_path / "scan.h5") as file:
        file.visititems(lambda name, node: units.update({name: node.attrs["unit"]}) if isinstance(node, h5py.Dataset) else None)
        assert file["forward/z_m"].chunks == (1, 8)
        assert file["events"].maxshape == (None,)
        assert file["events"].dtype.names == ("source", "class", "score", "x_m", "y_m", "time_s", "model_id", "sequence")
    assert units["forward/z_m"] == units["reference/surface_m"] == units["blackbox/0/z_m"] == "m"
    assert units["backward/current_A"] == "A" and units["blackbox/0/bias_V"] == "V" and units["forward/time_cycles"] == "cycles"


def test_lines_that_were_not_written_are_nan(tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}) as writer:
        write_line(writer, 3, Direction.BACKWARD)
    scan = read_scan(tmp_path / "scan.h5")
    assert np.argwhere(scan.line_complete).tolist() == [[3, Direction.BACKWARD]]
    assert np.isnan(scan.forward.z_m).all() and np.isnan(scan.forward.current_A).all()
    assert np.isfinite(scan.backward.z_m[3]).all() and np.isnan(np.delete(scan.backward.z_m, 3, axis=0)).all()
    assert scan.events == () and scan.blackboxes == () and scan.reference_surface_m is None


def test_half_a_line_is_read_as_no_line(tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}) as writer:
        write_line(writer, 0)
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        file["forward/z_m"][1, :4] = 1.0  # data without the mark, as a kill between the two leaves them
    assert np.isnan(read_scan(tmp_path / "scan.h5").forward.z_m[1]).all()


def test_a_lost_pixel_is_kept_as_such(tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}) as writer:
        z_m, samples = np.ones(8), np.full(8, 5)
        z_m[2], samples[2] = np.nan, 0
        writer.write_line(0, Direction.FORWARD, z_m, z_m, samples, 0)
    scan = read_scan(tmp_path / "scan.h5")
    assert scan.line_complete[0, 0] and np.isnan(scan.forward.z_m[0, 2]) and scan.forward.samples[0].tolist() == samples.tolist()


def test_sigkill_loses_no_complete_line(tmp_path: Path) -> None:
    child = """
        import sys, numpy as np
        from reflexarc.store import Direction, EventRow, ScanGeometry, ScanWriter
        writer = ScanWriter(sys.argv[1], ScanGeometry(32, 20000, 1e-8, 1e-8, 0, 0, 1e-4), {})
        for line in range(20000):
            writer.write_line(line, Direction.FORWARD, np.full(32, line), np.full(32, -line), line, line)
            writer.append_events([EventRow(0, 0, 0, 0, 0, line, 0, line)] * 5)
            print(line, flush=True)
    """
    for lines_before in (1, 40, 111):
        path = tmp_path / f"killed-{lines_before}.h5"
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(child), path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(lines_before):
            process.stdout.readline()
        process.kill()
        rest = process.stdout.read().split()
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        promised = int(rest[-1]) + 1 if rest else lines_before
        assert promised < 20000

        scan = read_scan(path)
        complete = np.flatnonzero(scan.line_complete[:, Direction.FORWARD])
        assert len(complete) >= promised and complete.tolist() == list(range(len(complete)))
        expected = np.repeat(complete[:, None], 32, axis=1)
        np.testing.assert_array_equal(scan.forward.z_m[complete], expected)
        np.testing.assert_array_equal(scan.forward.current_A[complete], -expected)
        np.testing.assert_array_equal(scan.forward.samples[complete], expected)
        assert [event.sequence for event in scan.events[: 5 * promised]] == [line for line in range(promised) for _ in range(5)]
        assert np.isnan(scan.forward.z_m[len(complete) :]).all()


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    path.write_text("precious")
    with pytest.raises(StoreError, match="exists already") as error:
        ScanWriter(path, GEOMETRY, {})
    one_line(error)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("path", ["/proc/scan.h5", "/dev/null/scan.h5", "missing/scan.h5"])
def test_a_file_that_cannot_be_created(path: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be created") as error:
        ScanWriter(tmp_path / path, GEOMETRY, {})
    one_line(error)


def test_wrong_arguments_write_nothing(tmp_path: Path) -> None:
    row = np.zeros(8)
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}) as writer:
        write_line(writer, 0)
        with pytest.raises(ValueError, match="written already"):
            write_line(writer, 0)
        for line in (-1, 5):
            with pytest.raises(ValueError, match="outside the scan"):
                write_line(writer, line)
        with pytest.raises(ValueError, match="z_m must have the shape"):
            writer.write_line(1, Direction.FORWARD, row[:7], row, 1, 0)
        with pytest.raises(ValueError, match="samples must have the shape"):
            writer.write_line(1, Direction.FORWARD, row, row, [1, 2], 0)
        for samples in (-1, 2**32, 1.5):
            with pytest.raises(ValueError, match="32-bit counts"):
                writer.write_line(1, Direction.FORWARD, row, row, samples, 0)
        for time_cycles in (-1, 2**64):
            with pytest.raises(ValueError, match="64-bit"):
                writer.write_line(1, Direction.FORWARD, row, row, 1, time_cycles)
        with pytest.raises(ValueError, match="Direction"):
            writer.write_line(1, 2, row, row, 1, 0)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="time_s must be finite"):
            writer.append_events([dataclasses.replace(EVENT, time_s=float("nan"))])
        with pytest.raises(ValueError, match="event 9"):
            writer.append_events([EVENT, dataclasses.replace(EVENT, sequence=9, class_id=-1)])
        with pytest.raises(ValueError, match="must have the shape"):
            writer.write_reference(np.zeros((8, 5)))
        writer.write_reference(np.zeros((5, 8)))
        with pytest.raises(ValueError, match="written already"):
            writer.write_reference(np.zeros((5, 8)))
        write_line(writer, 1)
    scan = read_scan(tmp_path / "scan.h5")
    assert scan.line_complete.sum() == 2 and scan.events == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [([1], "text or a number"), (None, "text or a number"), (2**64, "64 bits"), ("a\0b", "NUL"), ("x" * 70_000, "60,000"), (b"x", "text")],
)
def test_attributes_that_hdf5_would_damage(value: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"'key'.*{message}"):
        ScanWriter(tmp_path / "scan.h5", GEOMETRY, {"key": value})  # type: ignore[dict-item]
    assert not (tmp_path / "scan.h5").exists()


def test_a_closed_writer(tmp_path: Path) -> None:
    writer = ScanWriter(tmp_path / "scan.h5", GEOMETRY, {})
    writer.close()
    writer.close()
    with pytest.raises(StoreError, match="the file is closed"):
        write_line(writer, 0)
    for call in (lambda: writer.append_events([EVENT]), lambda: writer.write_blackbox(black_box())):
        with pytest.raises(StoreError, match="the file is closed"):
            call()


@pytest.mark.parametrize("field", ["width_m", "height_m", "pixel_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_geometry(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(GEOMETRY, **{field: value})


def test_geometry_turns_counter_clockwise() -> None:
    square = ScanGeometry(4, 4, 2e-9, 2e-9, 10e-9, 20e-9, 1e-4, angle_deg=90.0)
    assert square.to_frame_m(10e-9, 20e-9) == pytest.approx((1e-9, 1e-9))
    assert square.to_frame_m(10e-9, 21e-9) == pytest.approx((2e-9, 1e-9))  # the frame's x points along the scanner's y
    with pytest.raises(ValueError, match="at least one pixel"):
        ScanGeometry(0, 4, 1e-9, 1e-9, 0, 0, 1e-4)
    with pytest.raises(ValueError, match="center_x_m"):
        ScanGeometry(1, 4, 1e-9, 1e-9, float("nan"), 0, 1e-4)


def test_a_black_box_is_of_one_length() -> None:
    good = black_box(4)
    with pytest.raises(ValueError, match="equally long"):
        dataclasses.replace(good, z_m=np.zeros(5))
    with pytest.raises(ValueError, match="must not decrease"):
        dataclasses.replace(good, time_s=good.time_s[::-1])
    assert len(good) == 4


# The disk gives out: RLIMIT_FSIZE refuses to let a file grow as a full disk does, and /dev/full refuses each write.

LIMITED = """
    import os, resource, signal, sys
    import numpy as np
    from reflexarc.store import *
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    row = np.ones(128)
    def attempt(call):
        try:
            call()
        except StoreError as error:
            print("StoreError", error)
    def line(number):
        return lambda: writer.write_line(number, Direction.FORWARD, row, row, 1, 0)
    def scan():
        return ScanWriter(sys.argv[1], ScanGeometry(128, 128, 1e-8, 1e-8, 0, 0, 1e-4), {})
"""


def test_no_room_for_the_scan_is_said_at_once(tmp_path: Path) -> None:
    result = run_python(LIMITED + "    attempt(scan)", tmp_path / "scan.h5", 200_000)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"StoreError {tmp_path / 'scan.h5'}: the empty scan not written (File too large)\n"
    assert not (tmp_path / "scan.h5").exists()


def test_no_room_for_events_leaves_the_lines_and_the_file_whole(tmp_path: Path) -> None:
    source = """
    writer = scan()
    line(0)()
    events = [EventRow(0, 0, 0, 0, 0, 1, 0, 0)] * 1000
    for _ in range(100):
        attempt(lambda: writer.append_events(events))
    attempt(lambda: writer.write_blackbox(BlackBox(*[np.arange(5000.0)] * 6, np.zeros(5000, "u4"))))
    attempt(lambda: writer.write_reference(np.zeros((128, 128))))
    for number in range(1, 128):
        line(number)()
    writer.close()
    """
    result = run_python(LIMITED + source, tmp_path / "scan.h5", 1_000_000)
    assert (result.returncode, result.stderr) == (0, "")
    answers = result.stdout.splitlines()
    assert all("(File too large)" in answer for answer in answers)
    assert {answer.split(": ")[1].partition(" not ")[0] for answer in answers} == {"1000 events", "the black box", "the reference surface"}
    data = read_scan(tmp_path / "scan.h5")
    assert data.line_complete[:, 0].all() and (data.forward.z_m == 1).all()
    assert 0 < len(data.events) < 100_000 and len(data.events) % 1000 == 0 and data.blackboxes == ()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("step", ["line(1)", "lambda: writer.append_events([EventRow(0, 0, 0, 0, 0, 1, 0, 0)])", "writer.close"])
def test_a_failing_disk_is_reported_and_does_not_take_the_process_down(step: str, tmp_path: Path) -> None:
    source = f"""
    writer = scan()
    line(0)()
    writer._reserve = lambda what, room: None  # /dev/full has no room to reserve
    if {"close" in step}:
        writer._datasets["line_complete"][5, 0] = 1  # something that is left to write
    os.dup2(os.open("/dev/full", os.O_RDWR), writer._file.id.get_vfd_handle())
    attempt({step})
    attempt(line(2))
    writer.close()
    """
    result = run_python(LIMITED + source, tmp_path / "scan.h5", 10_000_000)
    assert (result.returncode, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert "No space left on device" in first
    assert "earlier write failed" in second
    data = read_scan(tmp_path / "scan.h5")
    assert np.argwhere(data.line_complete).tolist() == [[0, 0]] and (data.forward.z_m[0] == 1).all()


# Files that are not what they should be.


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file") as error:
        read_scan(tmp_path / "scan.h5")
    one_line(error)
    with pytest.raises(StoreError, match="is not a file"):
        read_scan(tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    path.write_text(":NANONIS_VERSION:\n2\n")
    with pytest.raises(StoreError, match="not HDF5"):
        read_scan(path)
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="not HDF5"):
        read_scan(path)
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(StoreError, match="not a scan file") as error:
        read_scan(path)
    one_line(error)


def test_a_later_format(tmp_path: Path) -> None:
    ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}).close()
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(StoreError, match="format version 2; this program reads version 1"):
        read_scan(tmp_path / "scan.h5")


@pytest.mark.parametrize("name", ["forward/z_m", "events", "geometry", "line_complete", "blackbox/0/state"])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_part_that_is_missing_or_wrong(name: str, replaced: bool, tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}) as writer:
        writer.write_blackbox(black_box())
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        del file[name]
        if replaced:
            file[name] = np.zeros((2, 2))
    with pytest.raises(StoreError, match="damaged or incomplete") as error:
        read_scan(tmp_path / "scan.h5")
    one_line(error)


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.9])
def test_a_truncated_file(fraction: float, tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    ScanWriter(path, GEOMETRY, {}).close()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(StoreError) as error:
        read_scan(path)
    one_line(error)


def test_a_file_that_is_being_written(tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}):
        result = run_python(
            """
            import sys
            from reflexarc.store import *
            try:
                read_scan(sys.argv[1])
            except StoreError as error:
                print(error)
            """,
            tmp_path / "scan.h5",
        )
    assert result.stdout == f"{tmp_path / 'scan.h5'}: is still being written by another process\n", result.stderr


def test_a_second_pass_stands_beside_the_first(tmp_path: Path) -> None:
    geometry = ScanGeometry(4, 3, 1e-9, 1e-9, 0.0, 0.0, 1e-4)
    with ScanWriter(tmp_path / "scan.h5", geometry, {}, second=True) as writer:
        writer.write_line(1, Direction.FORWARD, [1e-9] * 4, [1e-10] * 4, 7, 100)
        writer.write_line(1, Direction.FORWARD, [2e-9] * 4, [5e-11] * 4, 7, 200, second=True)
        with pytest.raises(ValueError, match="is written already"):
            writer.write_line(1, Direction.FORWARD, [2e-9] * 4, [5e-11] * 4, 7, 200, second=True)
    found = read_scan(tmp_path / "scan.h5")
    assert found.forward.z_m[1].tolist() == [1e-9] * 4
    assert found.second is not None and found.second[0].z_m[1].tolist() == [2e-9] * 4
    assert np.isnan(found.second[1].z_m).all() and found.second[0].time_cycles[1] == 200
    with ScanWriter(tmp_path / "once.h5", geometry, {}) as writer, pytest.raises(ValueError, match="no second pass"):
        writer.write_line(1, Direction.FORWARD, [1e-9] * 4, [1e-10] * 4, 7, 100, second=True)
    assert read_scan(tmp_path / "once.h5").second is None


# Channels beside z and current.

EXTRA = {Channel.MONITOR: np.linspace(-5.0, 5.0, 8), Channel.COUNTER_0: np.arange(8), Channel.COUNTER_1: 2**53 + 1 + np.arange(8)}


def write_extra(writer: ScanWriter, line: int, direction: Direction, second: bool, channels: Iterable[Channel]) -> None:
    """A line whose further channels are `EXTRA`, times 1 to 4 by pass and direction, where they are whole plus the line."""
    extra = {channel: extra_row(channel, line, direction, second) for channel in channels}
    writer.write_line(line, direction, np.zeros(8), np.ones(8), 3, line, second, extra)


def extra_row(channel: Channel, line: int, direction: Direction, second: bool) -> np.ndarray[Any, Any]:
    return EXTRA[channel] * (1 + direction + 2 * second) + line


def extra_of(channels: Channels) -> dict[Channel, np.ndarray[Any, Any] | None]:
    return {channel: getattr(channels, extra.name) for channel, extra in EXTRA_CHANNELS.items()}


@pytest.mark.parametrize("channels", [frozenset(EXTRA), frozenset({Channel.MONITOR}), frozenset({Channel.COUNTER_1}), frozenset()])
@pytest.mark.parametrize("second", [False, True])
def test_channels_come_back_where_they_were_recorded(channels: frozenset[Channel], second: bool, tmp_path: Path) -> None:
    """Volts and whole pulses, exactly, in both directions and passes; a line that is missing is NaN, or has none."""
    path = tmp_path / "scan.h5"
    with ScanWriter(path, GEOMETRY, {}, second, channels) as writer:
        for passed in range(1 + second):
            for line in (0, 4):
                for direction in Direction:
                    write_extra(writer, line, direction, bool(passed), channels)
    scan = read_scan(path)
    passes = [(scan.forward, scan.backward), *([scan.second] if scan.second is not None else [])]
    assert len(passes) == 1 + second
    for number, ways in enumerate(passes):
        for direction, found in zip(Direction, ways, strict=True):
            for channel, image in extra_of(found).items():
                assert (image is not None) == (channel in channels)
                if image is None:
                    continue
                for line in (0, 4):
                    np.testing.assert_array_equal(image[line], extra_row(channel, line, direction, bool(number)))
                if channel is Channel.MONITOR:
                    assert image.dtype == np.float64 and np.isnan(image[1:4]).all()
                else:
                    assert image.dtype == np.int64 and not image[1:4].any()
    with h5py.File(path) as file:
        names = {EXTRA_CHANNELS[channel].name for channel in channels}
        for group in [file[way] for way in ("forward", "backward")] + [file[f"second/{way}"] for way in ("forward", "backward") if second]:
            assert set(group) == {"z_m", "current_A", "samples", "time_cycles"} | names
            assert all(group[extra.name].attrs["unit"] == extra.unit for extra in EXTRA_CHANNELS.values() if extra.name in names)
            assert all(group[name].chunks == (1, 8) for name in names)
            assert {group[name].id.get_space_status() for name in names} <= {h5py.h5d.SPACE_STATUS_ALLOCATED}


def test_half_a_line_of_channels_is_read_as_no_line(tmp_path: Path) -> None:
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}, channels=EXTRA) as writer:
        write_extra(writer, 0, Direction.FORWARD, False, EXTRA)
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        for extra in EXTRA_CHANNELS.values():
            file[f"forward/{extra.name}"][1, :4] = 1
    for channel, image in extra_of(read_scan(tmp_path / "scan.h5").forward).items():
        assert image is not None
        assert np.isnan(image[1]).all() if channel is Channel.MONITOR else not image[1].any()


def test_sigkill_loses_no_complete_line_of_channels(tmp_path: Path) -> None:
    child = """
        import sys, numpy as np
        from reflexarc.store import Channel, Direction, ScanGeometry, ScanWriter
        channels = [Channel.MONITOR, Channel.COUNTER_0, Channel.COUNTER_1]
        writer = ScanWriter(sys.argv[1], ScanGeometry(32, 20000, 1e-8, 1e-8, 0, 0, 1e-4), {}, True, channels)
        for line in range(20000):
            for second in (False, True):
                row = np.full(32, 2 * line + second)
                writer.write_line(line, Direction.FORWARD, row, row, 1, line, second, {c: row + int(c) for c in channels})
            print(line, flush=True)
    """
    path = tmp_path / "killed.h5"
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(child), path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(40):
        process.stdout.readline()
    process.kill()
    rest = process.stdout.read().split()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    promised = int(rest[-1]) + 1 if rest else 40
    scan = read_scan(path)
    assert scan.second is not None and promised < 20000
    for number, channels in enumerate((scan.forward, scan.second[0])):
        lines = np.flatnonzero(np.isfinite(channels.z_m).all(axis=1))
        assert len(lines) >= promised and lines.tolist() == list(range(len(lines)))
        for channel, image in extra_of(channels).items():
            assert image is not None
            np.testing.assert_array_equal(image[lines], np.repeat((2 * lines + number + channel)[:, None], 32, axis=1))


def test_room_for_channels_is_taken_at_once(tmp_path: Path) -> None:
    """A file without room for its channels is not begun; lines do not let it grow."""
    source = """
    channels = [Channel.MONITOR, Channel.COUNTER_0, Channel.COUNTER_1]
    def full():
        return ScanWriter(sys.argv[1], ScanGeometry(128, 128, 1e-8, 1e-8, 0, 0, 1e-4), {}, True, channels)
    attempt(full)
    """
    result = run_python(LIMITED + source, tmp_path / "scan.h5", 2_000_000)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"StoreError {tmp_path / 'scan.h5'}: the empty scan not written (File too large)\n"
    assert not (tmp_path / "scan.h5").exists()

    path = tmp_path / "full.h5"
    with ScanWriter(path, GEOMETRY, {}, True, EXTRA) as writer:
        size = path.stat().st_size
        for line in range(GEOMETRY.lines):
            for direction in Direction:
                for second in (False, True):
                    write_extra(writer, line, direction, second, EXTRA)
    assert path.stat().st_size == size


def test_channels_that_do_not_fit_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="channels Z are not all among MONITOR, COUNTER_0, COUNTER_1"):
        ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}, channels=[Channel.Z])
    assert not (tmp_path / "scan.h5").exists()
    row = np.zeros(8)
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}, channels=[Channel.COUNTER_0]) as writer:
        for extra in (None, {}, {Channel.COUNTER_1: [0] * 8}, {Channel.COUNTER_0: [0] * 8, Channel.MONITOR: row}):
            with pytest.raises(ValueError, match="records the channels COUNTER_0 beside z and current, not"):
                writer.write_line(0, Direction.FORWARD, row, row, 1, 0, extra=extra)
        for pulses in (row, [-1] * 8):
            with pytest.raises(ValueError, match="counter_0 must be whole numbers from 0"):
                writer.write_line(0, Direction.FORWARD, row, row, 1, 0, extra={Channel.COUNTER_0: pulses})
        with pytest.raises(ValueError, match="counter_0 must have the shape"):
            writer.write_line(0, Direction.FORWARD, row, row, 1, 0, extra={Channel.COUNTER_0: [1, 2]})
    assert not read_scan(tmp_path / "scan.h5").line_complete.any()


def test_a_file_from_before_the_channels_reads(tmp_path: Path) -> None:
    """As the writer wrote it then: format version 1, z and current only."""
    with ScanWriter(tmp_path / "scan.h5", GEOMETRY, {}) as writer:
        write_line(writer, 2)
    with h5py.File(tmp_path / "scan.h5") as file:
        assert file.attrs["format_version"] == 1
        assert set(file) == {"attributes", "backward", "blackbox", "events", "forward", "geometry", "line_complete"}
        assert set(file["forward"]) == {"z_m", "current_A", "samples", "time_cycles"}
    scan = read_scan(tmp_path / "scan.h5")
    assert np.isfinite(scan.forward.z_m[2]).all() and set(map(type, extra_of(scan.forward).values())) == {type(None)}
