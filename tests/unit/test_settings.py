"""What a scan may be: the limits of each setting, from both sides."""

from __future__ import annotations

import dataclasses
import math

import pytest

from reflexarc.calibration import Calibration
from reflexarc.contract.packets import Channel
from reflexarc.errors import BadInput
from reflexarc.experiments.settings import ScanSettings
from reflexarc.safety import Limits, Rectangle
from reflexarc.scans.frame import PIXELS_MAX

CALIBRATION = Calibration()
POSITIVE = ("width_m", "height_m", "pixel_s", "setpoint_A", "bandwidth_Hz", "approach_m_per_s", "slew_m_per_s", "move_m_per_s")


def refusal(**changes: object) -> str:
    with pytest.raises(BadInput) as error:
        dataclasses.replace(ScanSettings(), **changes).check(CALIBRATION)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def accepted(**changes: object) -> None:
    dataclasses.replace(ScanSettings(), **changes).check(CALIBRATION)  # type: ignore[arg-type]


def test_defaults() -> None:
    accepted()


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("value", [0.0, -1e-9, math.nan, math.inf, -math.inf])
def test_what_must_be_above_zero(name: str, value: float) -> None:
    line = refusal(**{name: value})
    assert line.startswith(f"{name} = {value:g} is not possible") and "above 0" in line


@pytest.mark.parametrize("name", ["pixels", "lines"])
def test_pixels(name: str) -> None:
    for count in (1, PIXELS_MAX):
        accepted(**{name: count})
    for count in (0, -1, PIXELS_MAX + 1, 10**20):
        assert refusal(**{name: count}) == f"{name} = {count} is not possible; accepted: 1 to {PIXELS_MAX}"


def test_reach() -> None:
    accepted(width_m=998e-9, height_m=998e-9)
    assert "the scanner reaches from -500 to 500 nm" in refusal(width_m=1002e-9)
    assert " nm in y; " in refusal(height_m=1002e-9)
    assert " to 501 nm in x; " in refusal(center_x_m=476e-9)
    assert "from -501 " in refusal(center_y_m=-476e-9)
    for value in (math.nan, math.inf):
        assert "is not possible; accepted: a finite number" in refusal(center_x_m=value)


def test_time_per_pixel() -> None:
    accepted(pixel_s=560e-9)
    assert refusal(pixel_s=550e-9).endswith("below the minimum of one sample, 5.6e-07 s")
    assert "above the maximum" in refusal(pixel_s=9.4)
    assert ScanSettings(pixel_s=160e-6).pixel_samples(CALIBRATION) == 286
    one = dataclasses.replace(
        ScanSettings(), pixels=10, width_m=5e-9, pixel_s=560e-9, overscan_s=1e-3, settle_s=2e-3, acceleration_m_per_s2=1e3
    )
    plan = one.plan(CALIBRATION)
    ways = 2 * (plan.registers["scan.turn_samples"] + plan.registers["scan.next_samples"])
    assert one.line_s(CALIBRATION) == pytest.approx((20 + ways) * 560e-9 + 8e-3, abs=6 * 560e-9)


def test_bias() -> None:
    for bias in (-9.9, -10e-3, 9.9):
        accepted(bias_V=bias)
    for bias in (0.0, 10.0, -10.0, math.nan, math.inf):
        assert refusal(bias_V=bias).startswith(f"bias {bias:g} V is not possible; accepted: up to ")


def test_setpoint() -> None:
    accepted(setpoint_A=1.9e-9)
    assert refusal(setpoint_A=2e-9) == "setpoint 2e-09 A is outside the interlock's window, -2e-09 to 2e-09 A"
    accepted(setpoint_A=3e-9, limits=Limits(current_high_A=4e-9))
    assert refusal(setpoint_A=5e-9).endswith("the range of the converter")


def test_what_the_interlock_would_end() -> None:
    assert refusal(bias_V=9e-3) == "bias 0.009 V is below the least that the interlock allows under feedback, 0.01 V"
    accepted(bias_V=1e-3, limits=Limits(bias_min_V=1e-4))
    assert "leaves the interlock's box in y, -20 nm to the end of the scanner" in refusal(limits=Limits(y_low_m=-20e-9))
    accepted(limits=Limits(y_low_m=-30e-9, x_high_m=30e-9))
    corner = Rectangle(24e-9, 30e-9, 24e-9, 30e-9)
    assert refusal(limits=Limits(keep_outs=(Rectangle(1e-7, 2e-7, 1e-7, 2e-7), corner))) == "the scan enters keep-out 1 of the interlock"
    accepted(center_x_m=-2e-9, limits=Limits(keep_outs=(corner,)))
    assert "z at 600 µm/s is faster than the interlock allows, 500 µm/s" in refusal(slew_m_per_s=600e-6)
    without = dataclasses.replace(ScanSettings(), bias_V=1e-3)
    without.check(CALIBRATION, with_limits=False)


def test_bandwidth() -> None:
    accepted(bandwidth_Hz=7500.0)
    assert refusal(bandwidth_Hz=7501.0).endswith("accepted: up to 7500 Hz")


def test_channels() -> None:
    assert ScanSettings().channels == frozenset()
    accepted(channels=frozenset({Channel.MONITOR, Channel.COUNTER_0, Channel.COUNTER_1}))
    for channel in (Channel.Z, Channel.CURRENT):
        line = refusal(channels=frozenset({Channel.MONITOR, channel}))
        assert line == f"{channel.name} can't be recorded beside z and current; accepted: MONITOR, COUNTER_0, COUNTER_1"
