"""The latched trip in physical units, whatever the cause."""

from __future__ import annotations

import pytest

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.interlock import Cause
from reflexarc.device.trip import Trip, decode_trip

CALIBRATION = Calibration()
FULL_SCALE = 1 << 19


def decoded(cause: Cause, value: int, limit: int, **more: tuple[int, ...]) -> Trip:
    return decode_trip(CALIBRATION, cause, 1 << cause, 100_000, value, limit, **more)


@pytest.mark.parametrize(
    ("cause", "value", "limit", "says"),
    [
        (Cause.CURRENT_HIGH, FULL_SCALE // 2, FULL_SCALE // 4, "2.5 nA against a limit of 1.25 nA"),
        (Cause.CURRENT_LOW, -FULL_SCALE // 2, -FULL_SCALE // 4, "-2.5 nA against a limit of -1.25 nA"),
        (Cause.CURRENT_SLEW, -FULL_SCALE, FULL_SCALE // 2, "-5 nA against a limit of 2.5 nA"),
        (Cause.MONITOR_LOW, 0, FULL_SCALE // 5, "0 V against a limit of 1 V"),
        (Cause.MONITOR_SLEW, FULL_SCALE, FULL_SCALE // 2, "5 V against a limit of 2.5 V"),
        (Cause.SATURATED, -FULL_SCALE, 0, "-5 V against a limit of -5 V"),
        (Cause.STUCK, 64, 64, "64 samples against a limit of 64 samples"),
        (Cause.OSCILLATION, -1, 4 << 20, "4096 log2^2 against a limit of 4 log2^2"),  # fills 32 bits of a signed register
        (Cause.XY_RANGE, FULL_SCALE // 2, FULL_SCALE // 5, "250 nm against a limit of 100 nm"),
        (Cause.Z_LOW, -FULL_SCALE // 2, -FULL_SCALE // 4, "-50 nm against a limit of -25 nm"),
        (Cause.Z_VELOCITY, FULL_SCALE << 12, FULL_SCALE << 11, "178.6 mm/s against a limit of 89.29 mm/s"),
        (Cause.BIAS_LOW, 0, FULL_SCALE // 1000, "0 V against a limit of 9.995 mV"),
        (Cause.DOSE_PIXEL, -1, 1000, "4.295 Ge against a limit of 1 ke"),
        (Cause.DOSE_FRAME, 10, 9, "2.56 ke against a limit of 2.304 ke"),
        (Cause.PULSES, 4, 3, "4 pulses against a limit of 3 pulses"),
        (Cause.CHARGE, 1 << 20, 1 << 19, "1.434 pC against a limit of 716.8 fC"),
        (Cause.HEARTBEAT, 50_000_000, 50_000_000, "500 ms against a limit of 500 ms"),
        (Cause.READBACK, 5, 7, "5 codes against a limit of 7 codes"),
        (Cause.KEEP_OUT, 0b101, 0b111, "in keep-out 0, 2"),
        (Cause.READY, 1, 3, "ready line VACUUM is low"),
        (Cause.READY, 0, 3, "ready line HIGH_VOLTAGE is low, ready line VACUUM is low"),
        (Cause.GAIN, 3, 0, "the gain lines read 3, 0 is expected"),
        (Cause.EVENT, 7, 7, "an event of class 7"),
        (Cause.ESTOP, 0, 0, ""),
        (Cause.HOST, 0, 0, ""),
    ],
)
def test_what_was_measured(cause: Cause, value: int, limit: int, says: str) -> None:
    trip = decoded(cause, value, limit)
    assert trip.measured == says and trip.cause == cause.name and trip.causes == (cause.name,)
    assert str(trip) == f"{cause.name} in cycle 100000" + (f": {says}" if says else "")
    assert trip.time_s == pytest.approx(1e-3)


def test_every_cause_can_be_told() -> None:
    for cause in Cause:
        for value, limit in ((0, 0), (-(1 << 31), (1 << 31) - 1)):
            assert str(decoded(cause, value, limit)).startswith(cause.name)


def test_the_axes_are_told_apart_where_their_limits_differ() -> None:
    calibration = Calibration(y_m_per_V=100e-9)
    in_x = decode_trip(calibration, Cause.XY_RANGE, 0, 0, FULL_SCALE // 2, 1000)
    in_y = decode_trip(calibration, Cause.XY_RANGE, 0, 0, FULL_SCALE // 2, 1000, y_limits=(1000,))
    assert in_x.value == pytest.approx(250e-9) and in_y.value == pytest.approx(500e-9) and in_y.detail == "in y"


def test_all_causes() -> None:
    trip = decode_trip(CALIBRATION, Cause.ESTOP, (1 << Cause.ESTOP) | (1 << Cause.HOST), 0, 0, 0)
    assert trip.causes == ("ESTOP", "HOST")
