"""Hard and soft limits on a board: from a file, read back, in force, locked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import one_line, reflexarc, refused, succeeds
from running_board import RunningBoard, StartBoard

from reflexarc.contract.blocks.interlock import Cause
from reflexarc.device import Controller
from reflexarc.errors import BadInput, RegisterRefused
from reflexarc.safety import Limits, LimitsRefused, Rectangle, SoftLimits
from reflexarc.safety.limits_file import default_text

CODE_A = 5e-9 / (1 << 19)


def test_they_are_held_as_asked_for(lockstep: Controller) -> None:
    asked = Limits(
        current_high_A=1e-9, x_low_m=-100e-9, keep_outs=(Rectangle(50e-9, 60e-9, 0.0, 10e-9),), pulses=7, conditions=frozenset({Cause.BIAS_LOW})
    )  # fmt: skip
    lockstep.set_limits(asked)
    held = lockstep.limits()
    assert held is not None
    assert held.current_high_A == pytest.approx(1e-9, abs=CODE_A) and held.current_high_A <= 1e-9
    assert held.pulses == 7 and held.x_low_m == pytest.approx(-100e-9, abs=1e-12) and held.x_high_m is None
    assert held.keep_outs[0].x_high_m == pytest.approx(60e-9, abs=2e-12)
    enable, present = lockstep.run(lockstep.device.registers.read_raw("interlock.enable", "interlock.present"))
    assert {cause for cause in Cause if (enable & present) >> cause & 1} == asked.enabled(present)


def test_a_refusal_writes_nothing(lockstep: Controller) -> None:
    lockstep.set_limits(Limits())
    names = tuple(Limits().to_raw(lockstep.device.calibration, 0))
    before = lockstep.run(lockstep.device.registers.read_raw(*names))
    here = Rectangle(-1e-9, 1e-9, -1e-9, 1e-9)
    with pytest.raises(LimitsRefused, match="2 faults, nothing was written") as error:
        lockstep.set_limits(Limits(current_low_A=-1e-9, keep_outs=(here,), bias_min_V=0.0))
    assert [fault.paths[0] for fault in error.value.faults] == ["bias.least", "keep_out.0"]
    assert lockstep.run(lockstep.device.registers.read_raw(*names)) == before


def test_a_condition_that_can_not_fire_is_not_armed(lockstep: Controller) -> None:
    """Behind the host's back: the gateware's own test finds it."""
    lockstep.set_limits(Limits())
    lockstep.run(lockstep.device.registers.write_raw({"envelope.bias_min": 0}))
    with pytest.raises(BadInput, match="can't arm: BIAS_LOW did not fire when it was made to"):
        lockstep.arm()
    lockstep.set_limits(Limits())
    lockstep.arm()


def test_a_wrong_read_back_is_told(lockstep: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    registers = lockstep.device.registers
    write = registers.write_raw

    async def forgetful(values: dict[str, int]) -> None:
        await write({name: value for name, value in values.items() if name != "signals.current_high"})

    lockstep.set_limits(Limits(current_high_A=1e-9))
    monkeypatch.setattr(registers, "write_raw", forgetful)
    with pytest.raises(
        RegisterRefused, match="does not hold the limits that were written: signals.current_high is 104857, 209715 was written"
    ):
        lockstep.set_limits(Limits())


def test_soft_limits_tighten_and_never_loosen(lockstep: Controller) -> None:
    lockstep.set_limits(Limits())
    lockstep.arm()
    soft = lockstep.set_soft_limits(current_high_A=1e-9, current_low_A=-4e-9, z_low_m=-50e-9)
    assert soft.current_high_A == pytest.approx(1e-9, rel=1e-4) and soft.z_low_m == pytest.approx(-50e-9, rel=1e-4)
    effective = lockstep.run(lockstep.device.effective_limits())
    assert effective.current_high_A == pytest.approx(1e-9, rel=1e-4)
    assert effective.current_low_A == pytest.approx(-2e-9, rel=1e-4), "the hard one is the tighter"
    assert effective.z_low_m == pytest.approx(-50e-9, rel=1e-4)
    with pytest.raises(BadInput, match="PULSES is off"):
        lockstep.set_soft_limits(pulses=3, current_high_A=0.5e-9)
    with pytest.raises(BadInput, match="there is no soft limit 'heartbeat_s'"):
        lockstep.set_soft_limits(heartbeat_s=1.0)
    assert lockstep.soft_limits() == soft
    assert lockstep.set_soft_limits(**dict.fromkeys(SoftLimits().as_plain())) == SoftLimits()
    assert lockstep.status()["interlock"] == "armed"


def test_a_soft_limit_trips(lockstep: Controller) -> None:
    lockstep.set_limits(Limits())
    lockstep.arm()
    lockstep.run(lockstep.device.sleep(1e-3))
    lockstep.set_soft_limits(current_high_A=-1e-9)
    lockstep.run(lockstep.device.sleep(10e-6))
    trip = lockstep.last_trip()
    assert trip is not None and trip.cause == "CURRENT_HIGH" and trip.limit == pytest.approx(-1e-9, rel=1e-4) and abs(trip.value) < 20e-12
    with pytest.raises(BadInput, match="can't acknowledge while these causes persist: CURRENT_HIGH"):
        lockstep.acknowledge()
    lockstep.set_soft_limits(current_high_A=None)
    lockstep.run(lockstep.device.sleep(10e-6))
    lockstep.acknowledge()


def test_lines_are_named_in_words(lockstep: Controller) -> None:
    lockstep.set_limits(Limits())
    lockstep.run(lockstep.device.inject("lines", ready=1, gain=3))
    lockstep.run(lockstep.device.sleep(10e-6))
    with pytest.raises(BadInput, match=r"READY, GAIN \(ready line VACUUM is low; the gain lines read 3, the calibration says 0\)"):
        lockstep.arm()


def test_the_dose_is_reported_per_area(lockstep: Controller) -> None:
    lockstep.set_limits(Limits(beam_A=1e-12, frame_dose_e=1e12, bias_min_V=1e-3))
    lockstep.write({"scan.step_x": 1e-12, "scan.line_y": 1e-9, "scan.line_x": 0.0, "scan.step_y": 0.0})
    lockstep.run(
        lockstep.device.registers.write_raw({"scan.pixels": 8, "scan.lines": 2, "scan.pixel_samples": 1000, "scan.settle_samples": 0})
    )
    lockstep.arm()
    lockstep.run(lockstep.device.start_scan())
    lockstep.run(lockstep.device.sleep(5e-3))
    lockstep.run(lockstep.device.stop_scan())
    dose = lockstep.run(lockstep.device.dose())
    area_A2 = 8 * 2 * 1000 * 1e-12 * 1e-9 / 1e-20
    assert dose["frame_e"] > 0 and dose["frame_e_per_A2"] == pytest.approx(dose["frame_e"] / area_A2, rel=2e-2)
    assert dose["beam_A"] == pytest.approx(1e-12, rel=1e-2)


# The command line


@pytest.fixture(scope="module")
def fresh(start_module_board: StartBoard) -> RunningBoard:
    """A board that nobody has configured."""
    return start_module_board("--seed", "5")


def lab(folder: Path, *changes: tuple[str, str]) -> Path:
    """The default file, changed."""
    text = default_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "lab.toml"
    path.write_text(text)
    return path


def test_show_without_a_board() -> None:
    assert succeeds("limits", "show", "--default") == default_text()
    assert json.loads(succeeds("limits", "show", "--default", "--json"))["current_high_A"] == 2e-9


def test_check_and_set(fresh: RunningBoard, tmp_path: Path) -> None:
    assert "no limits were set on this board yet" in refused("limits", "show", "--board", fresh.address)
    file = lab(tmp_path, ('high = "2 nA"', 'high = "1 nA"'), ("STUCK = true", "STUCK = false"))
    assert succeeds("limits", "check", str(file)) == f"{file}: no faults\n"
    assert succeeds("limits", "check", str(file), "--board", fresh.address) == f"{file}: no faults\n"
    said = succeeds("limits", "set", str(file), "--board", fresh.address)
    assert "set, read back and compared" in said and "current.high: 2 nA -> 999.994 pA" in said
    shown = succeeds("limits", "show", "--board", fresh.address)
    assert "current.high                   999.994 pA             none       999.994 pA" in shown
    assert "switched off             MONITOR_SLEW, STUCK, KEEP_OUT" in shown
    assert succeeds("limits", "set", str(file), "--board", fresh.address).startswith(f"{file}: set, read back and compared; 0 changed")
    assert "current.high             499.992 pA" in succeeds("limits", "soft", "current.high=500 pA", "--board", fresh.address)
    found = json.loads(succeeds("limits", "show", "--json", "--board", fresh.address))
    assert found["soft"]["current_high_A"] == found["effective"]["current_high_A"] == pytest.approx(500e-12, rel=1e-4)
    assert found["hard"]["current_high_A"] == pytest.approx(1e-9, rel=1e-4) and "STUCK" not in found["counting"]
    assert "current.high             none" in succeeds("limits", "soft", "current.high=none", "--board", fresh.address)


def test_faults_are_named_with_their_lines_and_nothing_is_written(fresh: RunningBoard, tmp_path: Path) -> None:
    settings = LIMIT_REGISTERS
    before = fresh.read_raw(*settings)
    file = lab(
        tmp_path,
        ('high = "2 nA"', 'high = "6 nA"'),
        ('slew = "4 nA"', 'slwe = "4 nA"'),
        ('host = "500 ms"', "host = 0.5"),
    )
    with file.open("a") as text:
        text.write('[[keep_out]]\nx_low = "-1 nm"\nx_high = "1 nm"\ny_low = "-1 nm"\ny_high = "1 nm"\n')
    lines = file.read_text().splitlines()
    for command in (("check",), ("set", "--board", fresh.address)):
        result = reflexarc("limits", command[0], str(file), *command[1:])
        assert result.returncode == 2 and result.stdout == ""
        said = result.stderr.splitlines()
        assert said[0] == f"reflexarc: {file}: 3 faults, nothing was written"
        for line, key in zip(said[1:], ("high = ", "slwe = ", "host = "), strict=True):
            assert lines[int(line.split(":")[1]) - 1].startswith(key)
    good = lab(tmp_path)
    with good.open("a") as text:
        text.write('[[keep_out]]\nx_low = "-1 nm"\nx_high = "1 nm"\ny_low = "-1 nm"\ny_high = "1 nm"\n')
    assert succeeds("limits", "check", str(good)).startswith(f"{good}: no faults")
    for command in (("check",), ("set",)):
        result = reflexarc("limits", command[0], str(good), "--board", fresh.address)
        assert result.returncode == 2 and "keep_out.0: this keep-out covers the present position (0 m, 0 m)" in result.stderr
    assert fresh.read_raw(*settings) == before


LIMIT_REGISTERS = (
    "signals.current_high", "signals.current_low", "signals.current_slew", "interlock.enable", "interlock.heartbeat_timeout",
    "envelope.keep_out_enable", "gate.retract_step",
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("current.high=500", '"500" has no unit'),
        ("current.hihg=5 nA", "sets no soft limit; write NAME=VALUE with a name of: current.high"),
        ("heartbeat.host=1 s", "sets no soft limit"),
        ("current.high", "sets no soft limit"),
        ("current.high=5 V", '"5 V" is in V'),
    ],
)
def test_soft_limits_that_can_not_be(tmp_path: Path, value: str, says: str) -> None:
    assert says in refused("limits", "soft", value, "--board", str(tmp_path / "none.sock"))


def test_no_board_and_no_file(tmp_path: Path) -> None:
    none = str(tmp_path / "none.sock")
    for command in ("show", "soft"):
        assert refused("limits", command, "--board", none).startswith(f"no board at {none}")
    for command in ("check", "set"):
        assert "No such file" in refused("limits", command, str(tmp_path / "none.toml"))
    assert one_line(reflexarc("limits", "set", str(lab(tmp_path)), "--board", none)).startswith("no board at")


def test_arm_keeps_what_was_set(fresh: RunningBoard, tmp_path: Path) -> None:
    """And a scan checks against it: on the board the window is smaller than the default."""
    succeeds("limits", "set", str(lab(tmp_path, ('high = "2 nA"', 'high = "50 pA"'))), "--board", fresh.address)
    line = refused("scan", "--board", fresh.address, "--out", str(tmp_path / "out"))
    assert "setpoint 1e-10 A is outside the interlock's window, -2e-09 to 4.99916e-11 A" in line
    assert fresh.read_raw("signals.current_high") == [5242]
    line = refused("scan", "--board", fresh.address, "--limits", str(tmp_path / "none.toml"), "--out", str(tmp_path / "out"))
    assert "No such file" in line
