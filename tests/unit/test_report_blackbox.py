"""The report of a trip, from recordings that are made up."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reflexarc.contract.blocks.interlock import Cause, InterlockState
from reflexarc.contract.blocks.recorder import STATE_BLANK_BIT, STATE_HOLD_BIT, STATE_PULSE_BIT, STATE_SCAN_SHIFT
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.report import describe_blackbox, draw_blackbox, report_text
from reflexarc.report.blackbox import WHAT
from reflexarc.store import BlackBox, BlackBoxFile, StoreError, read_blackbox_file, write_blackbox_file

PERIOD_S = 560e-9
DECIMATION = 1000
RAIL_M = 99.9998e-9
BEFORE, AFTER = 768, 256
RETRACT_M = 28e-12  # a sample: 50 µm/s


def recording(
    current_A: np.ndarray[Any, Any] | None = None, z_m: float = -30e-9, bias_V: float = 0.5, hold: bool = False, pulse: bool = False
) -> BlackBox:
    """One sample an entry; z withdraws from the trip on, the scan runs forward before it."""
    index = np.arange(-BEFORE, AFTER)
    state = (
        np.where(index < 0, InterlockState.ARMED, InterlockState.TRIPPED) | np.where(index < 0, ScanState.FORWARD, 0) << STATE_SCAN_SHIFT
    )
    state |= np.where(index < 0, 0, 1) << STATE_BLANK_BIT
    state |= np.where(index < 0, hold, 0) << STATE_HOLD_BIT | np.where(index < 0, pulse, 0) << STATE_PULSE_BIT
    z = np.where(index < 0, z_m, np.minimum(z_m + (index + 1) * RETRACT_M, RAIL_M))
    current = np.full(len(index), 100e-12) if current_A is None else current_A
    still = np.full(len(index), 1e-9)
    return BlackBox(
        index * PERIOD_S, current, z, still, -still, np.full(len(index), bias_V), state.astype(np.uint32), {"decimation": 1},
        np.full(len(index), 1.0), current, current,
    )  # fmt: skip


def long_of(short: BlackBox) -> BlackBox:
    """The decimated ring of the same: z reaches the rail after a while."""
    index = np.arange(-900, 64)
    z = np.where(index < 0, short.z_m[0], np.minimum(short.z_m[0] + (index + 1) * RETRACT_M * DECIMATION, RAIL_M))
    same = np.full(len(index), 100e-12)
    bias = np.full(len(index), short.bias_V[-1])
    return BlackBox(
        index * PERIOD_S * DECIMATION, same, z, same * 0, same * 0, bias, np.zeros(len(index), np.uint32), {"decimation": DECIMATION},
        np.ones(len(index)), same * 0.9, same * 1.1,
    )  # fmt: skip


def box(cause: Cause, short: BlackBox, **more: Any) -> BlackBoxFile:
    attributes = {
        "cause": cause.name, "causes": cause.name, "value": 0.0, "limit": 0.0, "unit": "", "detail": "", "trip_time_cycles": 1000,
        "trip_time_s": 1e-5, "board": "lab 3", "sample_period_s": PERIOD_S, "rail_m": RAIL_M,
    }  # fmt: skip
    return BlackBoxFile(short, long_of(short), attributes | more, {"contact_A": "none"}, {})


def rising() -> np.ndarray[Any, Any]:
    """From 100 pA to 2.2 nA in the sample before the trip, and back."""
    current = np.full(BEFORE + AFTER, 100e-12)
    current[BEFORE - 4 : BEFORE + 2] = [0.4e-9, 0.9e-9, 1.8e-9, 2.2e-9, 2.5e-9, 1e-9]
    return current


def test_a_crash() -> None:
    found = describe_blackbox(box(Cause.CURRENT_HIGH, recording(rising()), value=2.2e-9, limit=2e-9, unit="A"))
    assert found == [
        "Tripped by CURRENT_HIGH: the current rose above its window, 0.000010 s after the board's start (cycle 1000).",
        "Measured 2.2 nA against a limit of 2 nA.",
        "No other cause came since.",
        "The last good sample, 560 ns before the one that tripped, was 1.8 nA; from there the current changed by 714.3 pA per µs.",
        "It had been below half of the limit 1.12 µs before: 1.161 nA per µs on average since.",
        "At that moment the scan was at 'forward', at (1 nm, -1 nm), with a bias of 500 mV.",
        "z withdrew from -30 nm by 7.168 nm within 143.4 µs, at 50 µm/s; the first step stands in the first sample after the trip.",
        "It reached the withdrawn rail at most 2.24 ms after the trip.",
        "x and y held.",
        "The bias kept 500 mV.",
        "The beam was blanked in the first sample after the trip.",
        "The greatest current from then on was 2.5 nA, in the first sample after the trip.",
    ]


def test_a_negative_current() -> None:
    found = describe_blackbox(box(Cause.CURRENT_LOW, recording(-rising()), value=-2.2e-9, limit=-2e-9, unit="A"))
    assert any("was -1.8 nA; from there the current changed by -714.3 pA per µs" in line for line in found)


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_has_its_words(cause: Cause) -> None:
    text = report_text(box(cause, recording(), unit="A" if cause is Cause.CURRENT_SLEW else ""))
    assert text.startswith(f"Black box of lab 3: {cause.name}\n====")
    assert WHAT[cause] in " ".join(text.split()) and max(map(len, text.splitlines())) <= 110


def test_other_causes_and_details() -> None:
    found = describe_blackbox(box(Cause.GAIN, recording(), causes="GAIN, HOST", detail="the gain lines read 3, 0 is expected"))
    assert "Since then also: HOST." in found and "The gain lines read 3, 0 is expected." in found


def test_a_stuck_converter() -> None:
    current = 100e-12 + np.random.default_rng(1).normal(0, 1e-12, BEFORE + AFTER)
    current[BEFORE - 63 :] = 123e-12
    assert "The last 64 samples of the current before the trip are equal, 123 pA." in describe_blackbox(
        box(Cause.STUCK, recording(current))
    )


def test_a_jump() -> None:
    found = describe_blackbox(box(Cause.CURRENT_SLEW, recording(), value=5.6e-9, limit=4e-9, unit="A"))
    assert "That is 10 nA per µs, within one sample." in found


def test_a_trip_that_the_recording_does_not_show() -> None:
    found = describe_blackbox(box(Cause.CURRENT_HIGH, recording(), value=2.2e-9, limit=2e-9, unit="A"))
    assert "The sample that tripped is not in the recording." in found


def outputs(short: BlackBox, **more: Any) -> str:
    return " ".join(describe_blackbox(box(Cause.HOST, short, **more)))


def test_what_z_did() -> None:
    assert "z stood at the withdrawn rail already." in outputs(recording(z_m=RAIL_M))
    assert "It reached the withdrawn rail the" not in outputs(recording())
    near = outputs(recording(z_m=RAIL_M - 1e-9))
    assert "by 1 nm within" in near and "It reached the withdrawn rail 19.6 µs after the trip." in near
    short = recording()
    stayed = dataclasses.replace(short, z_m=np.full(len(short), -30e-9))
    assert "z did not withdraw within 142.8 µs." in outputs(stayed)
    z = np.array(short.z_m)
    z[BEFORE + 50] -= 1e-9
    assert "z APPROACHED the sample after the trip." in outputs(dataclasses.replace(short, z_m=z))


def test_what_the_bias_did() -> None:
    short = recording()
    bias = np.full(len(short), 0.5)
    bias[BEFORE + 1 :] = 0
    assert "The bias went to 0 at once, in the sample 560 ns after the first one" in outputs(dataclasses.replace(short, bias_V=bias))
    pulse = recording(pulse=True, hold=True)
    bias = np.full(len(short), 0.5)
    bias[BEFORE - 100 : BEFORE] = 2.0
    text = outputs(dataclasses.replace(pulse, bias_V=bias))
    assert "a pulse was being given" in text and "The pulse was ended: the bias went from 2 V back to 500 mV." in text
    ramp = box(Cause.HOST, short)
    long_bias = np.where(ramp.long.time_s < 0, 0.5, np.maximum(0.5 - ramp.long.time_s * 20, 0))
    ramped = dataclasses.replace(ramp, long=dataclasses.replace(ramp.long, bias_V=long_bias))
    assert "The bias was ramped from 500 mV to 0." in " ".join(describe_blackbox(ramped))
    on_its_way = dataclasses.replace(ramp, long=dataclasses.replace(ramp.long, bias_V=np.where(ramp.long.time_s < 0, 0.5, 0.4)))
    assert "The bias was on its way from 500 mV, at 400 mV, at the end" in " ".join(describe_blackbox(on_its_way))


def test_what_blanker_and_position_did() -> None:
    short = recording()
    assert "The beam was NOT blanked." in outputs(dataclasses.replace(short, state=np.zeros(len(short), np.uint32)))
    already = dataclasses.replace(short, state=np.full(len(short), 1 << STATE_BLANK_BIT, np.uint32))
    assert "The beam was blanked already." in outputs(already) and "no scan was under way" in outputs(already)
    x = np.array(short.x_m)
    x[-1] += 3e-9
    assert "x and y moved by 3 nm after the trip." in outputs(dataclasses.replace(short, x_m=x))


def test_contact() -> None:
    touching = dataclasses.replace(box(Cause.CURRENT_HIGH, recording(rising())), hard={"contact_A": 2.4e-9})
    assert "The tip was in contact in 1 samples." in describe_blackbox(touching)
    assert "The tip was not in contact." in describe_blackbox(dataclasses.replace(touching, hard={"contact_A": 3e-9}))


def test_recordings_that_are_short() -> None:
    short = recording()
    cut = {name: getattr(short, name)[BEFORE:] for name in ("time_s", "current_A", "z_m", "x_m", "y_m", "bias_V", "state")}
    assert "The recording does not reach across the trip." in describe_blackbox(
        dataclasses.replace(box(Cause.HOST, recording()), short=BlackBox(**cut))
    )
    none = {name: values[:0] for name, values in cut.items()}
    assert "The recording does not reach across the trip." in describe_blackbox(
        dataclasses.replace(box(Cause.CURRENT_HIGH, recording()), short=BlackBox(**none))
    )


def test_the_picture(tmp_path: Path) -> None:
    found = box(Cause.CURRENT_HIGH, recording(rising()), value=2.2e-9, limit=2e-9, unit="A")
    draw_blackbox(tmp_path / "a.png", found)
    draw_blackbox(tmp_path / "b.png", found)
    data = (tmp_path / "a.png").read_bytes()
    assert data.startswith(b"\x89PNG") and len(data) > 20_000 and data == (tmp_path / "b.png").read_bytes()
    with pytest.raises(StoreError, match="cannot be written"):
        draw_blackbox(tmp_path / "none" / "c.png", found)


def test_a_picture_of_next_to_nothing(tmp_path: Path) -> None:
    short = recording()
    one = {name: getattr(short, name)[BEFORE : BEFORE + 1] for name in ("time_s", "current_A", "z_m", "x_m", "y_m", "bias_V", "state")}
    draw_blackbox(tmp_path / "a.png", dataclasses.replace(box(Cause.HOST, short), short=BlackBox(**one), long=BlackBox(**one)))


def test_the_file_there_and_back(tmp_path: Path) -> None:
    written = box(Cause.CURRENT_HIGH, recording(rising()), value=2.2e-9, limit=2e-9, unit="A")
    path = tmp_path / "blackbox.h5"
    for _ in range(2):  # again over the first
        write_blackbox_file(path, written)
    found = read_blackbox_file(path)
    assert found.attributes == written.attributes and found.hard == written.hard and found.soft == written.soft
    for name in ("short", "long"):
        mine, theirs = getattr(written, name), getattr(found, name)
        assert theirs.attributes == mine.attributes
        assert theirs.arrays().keys() == mine.arrays().keys()
        for key, values in mine.arrays().items():
            assert np.array_equal(values, theirs.arrays()[key])
    assert report_text(found) == report_text(written)
    assert [p.name for p in tmp_path.iterdir()] == ["blackbox.h5"]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file"):
        read_blackbox_file(tmp_path / "none.h5")
    (tmp_path / "noise.h5").write_bytes(b"noise" * 100)
    with pytest.raises(StoreError, match="damaged or incomplete"):
        read_blackbox_file(tmp_path / "noise.h5")
    with pytest.raises(StoreError, match="cannot be written"):
        write_blackbox_file(tmp_path / "none" / "x.h5", box(Cause.HOST, recording()))
