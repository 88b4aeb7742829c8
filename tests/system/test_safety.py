"""What makes safe does so, says why, and lets nobody go on before it is dealt with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.recorder import DEPTH, POST_TRIGGER
from reflexarc.contract.link import BusOperation, BusStatus
from reflexarc.contract.registers import Access
from reflexarc.device import Controller
from reflexarc.errors import BadInput, RegisterRefused
from reflexarc.safety import Limits

WITHDRAWAL_S = 2.2 * 100e-9 / 50e-6  # the whole range of z at the default speed, and some
RUNNING_S = 2e-3  # more samples than the recorder holds


def armed(board: Controller) -> None:
    board.set_limits(Limits())
    board.arm()
    board.run(board.device.sleep(RUNNING_S))
    assert board.status()["interlock"] == "armed"


def extended(board: Controller) -> list[float]:
    """The tip some way out, under feedback, far from the surface; where it is."""
    board.run(board.device.set_bias(0.5))
    board.run(board.device.set_feedback(setpoint_A=100e-12, bandwidth_Hz=4e3, slew_m_per_s=5e-6))
    board.run(board.device.feedback_on())
    board.run(board.device.sleep(4e-3))
    return board.read("gate.z_code")


def assert_safe(board: Controller, cause: str) -> None:
    """Tripped for this cause, on the record, and the tip away."""
    board.run(board.device.sleep(WITHDRAWAL_S))
    status = board.status()
    assert status["interlock"] == "tripped"
    trip = board.last_trip()
    assert trip is not None and trip.cause == cause and cause in trip.causes
    assert board.read("gate.withdrawn", "gate.blanked", "gate.z_code") == [1, 1, pytest.approx(100e-9, rel=1e-5)]
    entries = board.blackbox()
    assert len(entries) == DEPTH and [entry.index for entry in entries] == list(range(POST_TRIGGER - DEPTH, POST_TRIGGER))
    # x, y and bias hold.
    assert len({(entry.x_m, entry.y_m, entry.bias_V) for entry in entries[-POST_TRIGGER:]}) == 1


def test_an_opened_estop_trips(lockstep: Controller) -> None:
    armed(lockstep)
    trips = lockstep.status()["trips"]
    lockstep.run(lockstep.device.inject("estop", closed=False))
    lockstep.run(lockstep.device.sleep(2e-6))
    assert_safe(lockstep, "ESTOP")
    assert lockstep.status()["trips"] == trips + 1
    with pytest.raises(BadInput, match="can't acknowledge while these causes persist: ESTOP"):
        lockstep.acknowledge()
    assert len(lockstep.blackbox()) == DEPTH, "a refused acknowledgement must not cost the recording"
    lockstep.run(lockstep.device.inject("estop", closed=True))
    lockstep.run(lockstep.device.sleep(2e-6))
    lockstep.acknowledge()
    assert lockstep.status()["interlock"] == "disarmed"


def test_no_arming_while_the_estop_is_open(lockstep: Controller) -> None:
    lockstep.run(lockstep.device.set_limits(Limits()))
    lockstep.run(lockstep.device.inject("estop", closed=False))
    lockstep.run(lockstep.device.sleep(2e-6))
    with pytest.raises(BadInput, match="can't arm while these conditions hold: ESTOP \\(the e-stop chain is open\\)$"):
        lockstep.arm()
    assert lockstep.status()["interlock"] == "disarmed"
    assert lockstep.status()["conditions_now"] == "ESTOP"


def test_a_dead_converter_trips(lockstep: Controller) -> None:
    armed(lockstep)
    lockstep.run(lockstep.device.inject("adc_dead", dead=True))
    lockstep.run(lockstep.device.sleep(3e-6))
    status = lockstep.status()
    assert status["interlock"] == "tripped" and status["trip_flags"] == "SAMPLE_LOST"
    with pytest.raises(BadInput, match="can't acknowledge while these causes persist: SAMPLE_LOST"):
        lockstep.acknowledge()
    lockstep.run(lockstep.device.inject("adc_dead", dead=False))
    lockstep.run(lockstep.device.sleep(WITHDRAWAL_S))
    assert_safe(lockstep, "SAMPLE_LOST")


def test_a_dead_converter_while_the_tip_is_out(lockstep: Controller) -> None:
    """No sample comes any more to count the withdrawal with; the tip must get away all the same, and the recording must end."""
    armed(lockstep)
    (before,) = extended(lockstep)
    assert before < 90e-9
    lockstep.run(lockstep.device.inject("adc_dead", dead=True))
    lockstep.run(lockstep.device.sleep(3e-6))
    assert lockstep.status()["trip_flags"] == "SAMPLE_LOST"
    assert_safe(lockstep, "SAMPLE_LOST")


def test_no_arming_with_a_dead_converter(lockstep: Controller) -> None:
    """In whatever part of a sample's period the commands come."""
    lockstep.run(lockstep.device.set_limits(Limits()))
    lockstep.run(lockstep.device.inject("adc_dead", dead=True))
    lockstep.run(lockstep.device.sleep(3e-6))
    trips = lockstep.status()["trips"]
    for _ in range(lockstep.device.calibration.cycles_per_sample):
        with pytest.raises(BadInput, match="SAMPLE_LOST"):
            lockstep.arm()
        assert lockstep.status()["interlock"] == "disarmed"
        lockstep.run(lockstep.device.transport.advance(1))
    assert lockstep.status()["trips"] == trips


def test_the_host_trips(lockstep: Controller) -> None:
    armed(lockstep)
    lockstep.trip()
    assert_safe(lockstep, "HOST")


def test_a_silent_host_trips(lockstep: Controller) -> None:
    """The heartbeat is counted in the board's time: none is sent while cycles are asked for below ``sleep``."""
    armed(lockstep)
    lockstep.run(lockstep.device.set_bias(0.25))
    lockstep.run(lockstep.device.heartbeat())
    cycles = lockstep.device.calibration.cycles(Limits().heartbeat_s)
    lockstep.run(lockstep.device.transport.advance(cycles - 200))
    assert lockstep.status()["interlock"] == "armed"
    lockstep.run(lockstep.device.transport.advance(400))
    assert_safe(lockstep, "HEARTBEAT")
    assert lockstep.status()["bias_V"] == pytest.approx(0.25, abs=2e-5)
    trip = lockstep.last_trip()
    assert trip is not None and trip.limit == pytest.approx(Limits().heartbeat_s, rel=1e-6)


def test_nobody_arms_after_a_trip_without_an_acknowledgement(lockstep: Controller) -> None:
    armed(lockstep)
    lockstep.trip()
    with pytest.raises(BadInput, match=r"the board is tripped \(HOST\); acknowledge it first"):
        lockstep.arm()
    assert lockstep.status()["interlock"] == "tripped"
    lockstep.acknowledge()
    with pytest.raises(BadInput, match="nothing to acknowledge: the interlock is disarmed"):
        lockstep.acknowledge()
    lockstep.arm()
    assert lockstep.status()["interlock"] == "armed"


def locked_registers() -> list[str]:
    """Those that can be read; the commands among them are looked at apart."""
    registers = [(block, register) for block in REGISTER_MAP for register in block.registers if register.locked]
    return [f"{block.name}.{register.name}" for block, register in registers if register.access is Access.RW]


def writable_registers() -> list[str]:
    return [f"{block.name}.{register.name}" for block in REGISTER_MAP for register in block.registers if register.access is Access.RW]


def test_no_limit_changes_while_armed(lockstep: Controller) -> None:
    armed(lockstep)
    names = locked_registers()
    assert {"signals.current_high", "envelope.z_low", "dose.pixel_limit", "interlock.heartbeat_timeout", "gate.retract_step"} <= set(names)
    before = lockstep.run(lockstep.device.registers.read_raw(*names))
    for name, value in zip(names, before, strict=True):
        _, register = lockstep.device.registers.find(name)
        for other in {register.low, register.high, value}:
            with pytest.raises(RegisterRefused, match=f"^{name}: it is locked while the interlock is armed"):
                lockstep.run(lockstep.device.registers.write_raw({name: other}))
    assert lockstep.run(lockstep.device.registers.read_raw(*names)) == before
    for reset in (lockstep.device.reset_region_dose, lockstep.device.new_tip):
        with pytest.raises(RegisterRefused, match="^dose.command: it is locked while the interlock is armed"):
            lockstep.run(reset())
    with pytest.raises(RegisterRefused, match="locked while the interlock is armed"):
        lockstep.set_limits(Limits(current_high_A=1e-9))
    assert lockstep.run(lockstep.device.registers.read_raw(*names)) == before
    assert lockstep.status()["interlock"] == "armed"


def test_what_is_out_of_range_is_refused_and_nothing_of_it_written(lockstep: Controller) -> None:
    device = lockstep.device
    names = writable_registers()
    before = lockstep.run(device.registers.read_raw(*names))

    def unchanged() -> None:
        assert lockstep.run(device.registers.read_raw(*names)) == before

    for values in (
        {"gate.bias": 0.3, "envelope.z_high": 101e-9},
        {"gate.bias": 0.3, "gate.retract_step": -1e-9},
        {"gate.bias": 0.3, "scan.pixels": 8193.0},
        {"gate.bias": 0.3, "scan.lines": 0.0},
        {"gate.bias": 0.3, "feedback.setpoint": float("nan")},
        {"gate.bias": float("inf")},
        {"gate.bias": -10.1},
        {"gate.bias": 0.3, "signals.current_high": 5.1e-9},
    ):
        with pytest.raises(BadInput, match="outside|not a number"):
            lockstep.write(values)
        unchanged()
    with pytest.raises(BadInput, match="^interlock.state is read-only$"):
        lockstep.run(device.registers.write_raw({"gate.bias": 1, "interlock.state": 1}))
    unchanged()
    with pytest.raises(BadInput, match="does not lie below"):
        lockstep.run(device.set_limits(Limits(current_low_A=1e-9, current_high_A=1e-9)))
    with pytest.raises(BadInput, match="outside"):
        lockstep.run(device.set_limits(Limits(current_high_A=6e-9)))
    unchanged()


def test_the_gateware_refuses_too_what_the_host_would(lockstep: Controller) -> None:
    """A client without the host's checks: the raw bus."""
    names = (
        "scan.pixels",
        "scan.lines",
        "scan.pixel_samples",
        "feedback.setpoint",
        "gate.bias",
        "gate.retract_step",
        "interlock.heartbeat_timeout",
    )
    before = lockstep.run(lockstep.device.registers.read_raw(*names))

    def write(address: int, value: int) -> BusStatus:
        ((status, _),) = lockstep.run(lockstep.device.transport.bus([(BusOperation.WRITE, address, value)]))
        return status

    for name in names:
        address, register = lockstep.device.registers.find(name)
        outside = [register.high + 1] + ([register.low - 1] if register.signed or register.low > 0 else [])
        for value in outside:
            assert write(address, value & 0xFFFFFFFF) is BusStatus.RANGE, f"{name} = {value}"
    assert write(0xFF00, 0) is BusStatus.UNMAPPED
    assert write(lockstep.device.registers.find("interlock.state")[0], 0) is BusStatus.UNMAPPED
    assert lockstep.run(lockstep.device.registers.read_raw(*names)) == before


@pytest.mark.parametrize(
    ("fault", "values", "says"),
    [
        ("meteorite", {}, "fault 'meteorite' is unknown; known are .*rise.*estop"),
        ("rise", {"speed_m_per_s": 1e-6}, "height_m"),
        ("rise", {"speed_m_per_s": -1.0, "height_m": 1e-9}, "speed_m_per_s = -1.0 is not possible"),
        ("rise", {"speed_m_per_s": "fast", "height_m": 1e-9}, "fast"),
    ],
)
def test_a_fault_that_can_not_be(lockstep: Controller, fault: str, values: dict[str, object], says: str) -> None:
    with pytest.raises(Exception, match=says) as found:
        lockstep.run(lockstep.device.inject(fault, **values))
    assert "\n" not in str(found.value)


def test_two_trips_keep_the_first_cause(lockstep: Controller) -> None:
    armed(lockstep)
    lockstep.run(lockstep.device.inject("estop", closed=False))
    lockstep.run(lockstep.device.sleep(2e-6))
    first = lockstep.last_trip()
    lockstep.trip()
    lockstep.run(lockstep.device.sleep(2e-6))
    again = lockstep.last_trip()
    assert first is not None and again is not None
    assert (again.cause, again.time_cycles) == ("ESTOP", first.time_cycles)
    assert set(again.causes) == {"ESTOP", "HOST"}
    assert lockstep.status()["trips"] >= 1


def disarm(board: Controller) -> None:
    board.disarm()


def trip(board: Controller) -> None:
    board.trip()


@pytest.mark.parametrize("end", [disarm, trip])
def test_the_tip_never_approaches_when_it_is_made_safe(lockstep: Controller, end: Callable[[Controller], None]) -> None:
    """From the end on, z only rises, at the speed that was set, to the rail."""
    armed(lockstep)
    (z,) = extended(lockstep)
    end(lockstep)
    period = lockstep.device.calibration.sample_period_s
    heights = []
    while len(heights) < 400 and (not heights or heights[-1] < 99.99e-9):
        lockstep.run(lockstep.device.sleep(20 * period))
        heights += lockstep.read("gate.z_code")
    assert heights[0] >= z and all(b >= a for a, b in zip(heights, heights[1:], strict=False))
    assert heights[-1] > 99.99e-9
    # 20 samples and the few of the read-out; the last step ends at the rail.
    fastest = max(b - a for a, b in zip(heights, heights[1:], strict=False))
    assert fastest <= 50e-6 * period * 23
