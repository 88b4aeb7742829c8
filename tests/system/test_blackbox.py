"""The black box of a trip: rings, files and report, again and again, until the trip is acknowledged."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from command_line import refused, succeeds
from running_board import RunningBoard, StartBoard

from reflexarc.contract.blocks.interlock import Cause
from reflexarc.contract.blocks.recorder import DEPTH, LONG_DEPTH, LONG_POST_TRIGGER, POST_TRIGGER
from reflexarc.device import Controller
from reflexarc.experiments.approach import approach
from reflexarc.experiments.blackbox import read_blackbox_file
from reflexarc.experiments.settings import ScanSettings
from reflexarc.report import report_text
from reflexarc.safety import Limits, Reactions
from reflexarc.store import read_blackbox_file as read_file


@pytest.fixture(scope="module")
def crashed(start_module_board: StartBoard) -> RunningBoard:
    """A board whose tip met a rising surface, left alone since."""
    running = start_module_board("--seed", "11")
    settings = ScanSettings(limits=Limits(contact_A=4e-9))
    with Controller(running.address, lockstep=True) as board:
        board.set_limits(settings.limits)
        board.arm()
        board.run(approach(board.device, settings))
        board.run(board.device.inject("rise", speed_m_per_s=10e-6, height_m=5e-9))
        board.run(board.device.sleep(2e-3))
        assert board.status()["interlock"] == "tripped"
    return running


def saved(board: RunningBoard, out: Path) -> Path:
    said = succeeds("blackbox", "--board", board.address, "--out", str(out))
    folder = Path(re.search(r"^written  (.*)/blackbox.h5, blackbox.png, blackbox.txt$", said, re.M)[1])  # type: ignore[index]
    assert (folder / "blackbox.txt").read_text() in said
    return folder


def test_files_and_report(crashed: RunningBoard, tmp_path: Path) -> None:
    folder = saved(crashed, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["blackbox.h5", "blackbox.png", "blackbox.txt"]
    box = read_file(folder / "blackbox.h5")
    assert box.attributes["cause"] == "CURRENT_HIGH" and box.attributes["limit"] == pytest.approx(2e-9, rel=1e-5)
    assert box.attributes["value"] > box.attributes["limit"]  # type: ignore[operator]
    assert len(box.short) == DEPTH and int(np.sum(box.short.time_s >= 0)) == POST_TRIGGER
    assert len(box.long) <= LONG_DEPTH and int(np.sum(box.long.time_s >= 0)) == LONG_POST_TRIGGER
    assert box.long.current_low_A is not None and box.long.current_high_A is not None
    assert (box.long.current_low_A <= box.long.current_A).all() and (box.long.current_A <= box.long.current_high_A).all()
    assert box.hard["contact_A"] == pytest.approx(4e-9, rel=1e-5) and box.soft["current_high_A"] == "none"
    text = " ".join((folder / "blackbox.txt").read_text().split())
    for part in (
        "Tripped by CURRENT_HIGH: the current rose above its window", "against a limit of 2 nA", "The last good sample, 560 ns before",
        "per µs", "z withdrew from", "at 50 µm/s; the first step stands in the first sample after the trip", "It reached the withdrawn rail",
        "x and y held.", "The bias kept 500 mV.", "The tip was not in contact.",
    ):  # fmt: skip
        assert part in text, part
    assert "APPROACHED" not in text
    assert (folder / "blackbox.png").read_bytes().startswith(b"\x89PNG")


def test_it_can_be_read_again(crashed: RunningBoard, tmp_path: Path) -> None:
    """Each command is a new process: also what a restart of the host finds."""
    first, second = (saved(crashed, tmp_path / name) for name in ("a", "b"))
    assert (first / "blackbox.txt").read_text() == (second / "blackbox.txt").read_text()
    assert (first / "blackbox.png").read_bytes() == (second / "blackbox.png").read_bytes()
    one, other = read_file(first / "blackbox.h5"), read_file(second / "blackbox.h5")
    for name, values in one.short.arrays().items():
        assert np.array_equal(values, other.short.arrays()[name])
    assert crashed.read_raw("interlock.state", "interlock.first_cause") == [2, Cause.CURRENT_HIGH]


def test_after_the_acknowledgement_it_is_gone(lockstep: Controller, shared_board: RunningBoard, tmp_path: Path) -> None:
    lockstep.set_limits(Limits())
    for _ in range(2):  # the second trip is recorded as the first was
        lockstep.arm()
        lockstep.run(lockstep.device.sleep(2e-3))
        lockstep.trip()
        recording = lockstep.recording()
        assert recording is not None and len(recording.short) == DEPTH
        lockstep.acknowledge()
        assert lockstep.recording() is None


def test_no_black_box(shared_board: RunningBoard, tmp_path: Path) -> None:
    line = refused("blackbox", "--board", shared_board.address, "--out", str(tmp_path / "out"))
    assert line == "there is no black box to read: nothing tripped since the last acknowledgement"
    assert not (tmp_path / "out").exists()


def test_who_died_before_the_release_costs_no_recording(lockstep: Controller) -> None:
    """Acknowledged, but never released: arming does it."""
    lockstep.set_limits(Limits())
    lockstep.arm()
    lockstep.trip()
    lockstep.run(lockstep.device.heartbeat())
    lockstep.run(lockstep.device.registers.write_raw({"interlock.trip_flags": 0xFFFFFFFF, "interlock.command": 4}))
    assert lockstep.status()["interlock"] == "disarmed"
    lockstep.arm()
    assert lockstep.status()["recorder"] == "running"


def test_reactions_show(lockstep: Controller) -> None:
    every = frozenset(Cause)
    limits = Limits(reactions=Reactions(bias_ramp=every, trigger=every, retreat=every), retreat_steps=3, bias_ramp_V_per_s=100.0)
    lockstep.set_limits(limits)
    before = lockstep.run(lockstep.device.truth())["motor_steps"]
    lockstep.arm()
    lockstep.run(lockstep.device.set_bias(0.5))
    lockstep.run(lockstep.device.sleep(1e-3))
    lockstep.trip()
    lockstep.run(lockstep.device.sleep(20e-3))
    assert lockstep.read("gate.trigger", "gate.retreat_left", "gate.bias_code") == [1, 0, 0]
    assert lockstep.run(lockstep.device.truth())["motor_steps"] == before + 3
    text = " ".join(report_text(lockstep.run(read_blackbox_file(lockstep.device))).split())
    assert "Tripped by HOST: it was asked to" in text and "z stood at the withdrawn rail already." in text
    assert "The bias was ramped from 500 mV to 0." in text
