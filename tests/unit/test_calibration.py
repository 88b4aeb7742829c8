"""Physical units and codes."""

from __future__ import annotations

import math

import pytest

from reflexarc.calibration import Calibration
from reflexarc.calibration.calibration import CODES_PER_SIDE, Preamp, PreampKind
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.registers import Register

CALIBRATION = Calibration()
QUANTITIES = sorted({register.quantity for block in REGISTER_MAP for register in block.registers} - {""})
REGISTERS = [(block.name, register) for block in REGISTER_MAP for register in block.registers]


def register(name: str) -> Register:
    block, _, register = name.partition(".")
    return REGISTER_MAP[block][register]


def test_full_scales() -> None:
    assert CALIBRATION.x_range_m == CALIBRATION.y_range_m == pytest.approx(500e-9)
    assert CALIBRATION.z_range_m == pytest.approx(100e-9)
    assert CALIBRATION.current_range_A == pytest.approx(5e-9, rel=1e-5) and CALIBRATION.current_range_A < 5e-9
    assert CALIBRATION.z_m_per_code * CODES_PER_SIDE == pytest.approx(100e-9)
    assert CALIBRATION.bias_V_per_code * CODES_PER_SIDE == pytest.approx(10.0)


def test_time() -> None:
    assert CALIBRATION.samples(560e-9 * 7) == 7 and CALIBRATION.cycles(1e-3) == 100_000
    assert CALIBRATION.seconds(CALIBRATION.cycles(0.5)) == pytest.approx(0.5)
    compressed = Calibration(cycles_per_sample=16)
    assert compressed.seconds(16) == CALIBRATION.seconds(56) == pytest.approx(560e-9)


@pytest.mark.parametrize("preamp", [Preamp(), Preamp(gain_V_per_A=1e8), Preamp(kind=PreampKind.LOGARITHMIC)])
def test_a_current_there_and_back(preamp: Preamp) -> None:
    calibration = Calibration(preamp=preamp)
    for current in (0.0, 1e-12, -1e-12, 1e-10, -3e-9):
        assert preamp.current_A(preamp.volts(current)) == pytest.approx(current, rel=1e-9, abs=1e-21)
        assert calibration.code_to_current_A(calibration.current_to_code(current)) == pytest.approx(current, rel=1e-9, abs=1e-21)
    assert preamp.volts(-1e-10) == -preamp.volts(1e-10)


def test_the_logarithm_counts_decades() -> None:
    preamp = Preamp(kind=PreampKind.LOGARITHMIC, log_V_per_decade=2.0, log_reference_A=1e-12)
    assert preamp.volts(1e-9) - preamp.volts(1e-10) == pytest.approx(2.0, rel=0.01)


def test_known_codes() -> None:
    assert CALIBRATION.to_raw(register("gate.bias"), 5.0) == CODES_PER_SIDE // 2
    assert CALIBRATION.to_raw(register("signals.current_high"), 2e-9) == round(0.4 * CODES_PER_SIDE)
    assert CALIBRATION.to_raw(register("envelope.z_low"), -100e-9) == -CODES_PER_SIDE
    assert CALIBRATION.to_raw(register("scan.target_x"), 250e-9) == CODES_PER_SIDE // 2 << 12
    assert CALIBRATION.to_raw(register("feedback.setpoint"), 13.5) == 27 << 11
    assert CALIBRATION.to_raw(register("scan.pixels"), 128.0) == 128
    assert CALIBRATION.to_physical(register("system.sample_period"), 560_000) == pytest.approx(560e-9)


@pytest.mark.parametrize(("block", "register"), REGISTERS, ids=[f"{block}.{register.name}" for block, register in REGISTERS])
def test_each_register_there_and_back(block: str, register: Register) -> None:
    """The ends of its range and what lies between come back as they were, with either preamp; what is beyond does not go."""
    if register.width > 32:
        return  # more than a float holds; never written
    middle = (register.low + register.high) // 2
    for raw in {register.low, register.high, register.reset, middle, max(register.low, min(register.high, 1))}:
        assert CALIBRATION.to_raw(register, CALIBRATION.to_physical(register, raw)) == raw
    step = CALIBRATION.to_physical(register, register.high) - CALIBRATION.to_physical(register, register.high - 1)
    with pytest.raises(ValueError, match=rf"^{register.name}: .* is outside .* to "):
        CALIBRATION.to_raw(register, CALIBRATION.to_physical(register, register.high) + 2 * step)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["gate.bias", "signals.current_high", "interlock.heartbeat_timeout", "feedback.setpoint"])
def test_what_is_no_number(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        CALIBRATION.to_raw(register(name), value)


def test_each_quantity_is_known() -> None:
    assert QUANTITIES == ["bias", "charge", "current", "current_change", "monitor", "monitor_change", "x", "y", "z"]


def test_currents_that_change_and_add_up() -> None:
    assert CALIBRATION.to_raw(register("signals.current_slew"), 5e-9) == CODES_PER_SIDE
    assert CALIBRATION.to_raw(register("signals.monitor_high"), 2.5) == CODES_PER_SIDE // 2
    assert CALIBRATION.to_physical(register("dose.charge"), CODES_PER_SIDE) == pytest.approx(5e-9)
    logarithmic = Calibration(preamp=Preamp(kind=PreampKind.LOGARITHMIC))
    assert logarithmic.to_physical(register("signals.current_slew"), CODES_PER_SIDE // 5) == pytest.approx(9e-12, rel=1e-4)
    assert math.isnan(logarithmic.to_physical(register("dose.charge"), 1))
    with pytest.raises(ValueError, match="can't be counted behind a logarithmic preamplifier"):
        logarithmic.to_raw(register("dose.charge_limit"), 1.0)


def test_electrons() -> None:
    assert CALIBRATION.electrons_per_cycle(1e-9) == pytest.approx(62.415, rel=1e-4)  # 6.2e9 a second, 10 ns a cycle
    assert CALIBRATION.beam_A(CALIBRATION.electrons_per_cycle(3e-10)) == pytest.approx(3e-10)
