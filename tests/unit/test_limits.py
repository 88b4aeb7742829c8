"""Limits in physical units: their registers, and what can't be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc.calibration import Calibration, Preamp, PreampKind
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.interlock import MASKABLE, Cause, ReadyLine, Strap
from reflexarc.contract.registers import Access
from reflexarc.safety import BoardFacts, Limits, LimitsRefused, Reactions, Rectangle, SoftLimits
from reflexarc.safety.limits import (
    ALWAYS,
    BY_LIMIT,
    BY_NAME,
    BY_PATH,
    ENTRIES,
    SOFT_ENTRIES,
    SWITCHED,
    from_mask,
    soft_faults,
    to_mask,
)

CALIBRATION = Calibration()
COMPRESSED = Calibration(cycles_per_sample=16)
ALL = (1 << 32) - 1
EVERYWHERE = Strap(127)
FACTS = BoardFacts(ALL, EVERYWHERE, 0.0, 0.0)
FULL = Limits(
    contact_A=4e-9, pulse_current_slew_A=8e-9, monitor_slew_V=1.0, x_high_m=400e-9, x_low_m=-400e-9, y_high_m=300e-9, y_low_m=-300e-9,
    z_low_m=-90e-9, keep_outs=(Rectangle(100e-9, 150e-9, -20e-9, 20e-9), Rectangle(-300e-9, -200e-9, 50e-9, 60e-9)), beam_A=1e-9,
    beam_A_per_V=0.2e-9, blanker_delay_s=500e-9, pixel_dose_e=4e4, region_dose_e=1e6, frame_dose_e=1e9,
    region=Rectangle(-50e-9, 50e-9, -40e-9, 40e-9), pulses=100, charge_C=1e-9, cpu_heartbeat_s=0.1, event_class=7, retreat_steps=20,
    ready_lines=ReadyLine.VACUUM, conditions=SWITCHED - {Cause.STUCK}, conditions_where_present=frozenset(),
    reactions=Reactions(frozenset({Cause.ESTOP}), frozenset(Cause), frozenset({Cause.CURRENT_HIGH}), frozenset(Cause), frozenset({Cause.HOST})),
)  # fmt: skip


def faults(changes: dict[str, Any], board: BoardFacts | None = None, calibration: Calibration = CALIBRATION) -> list[str]:
    return [str(fault) for fault in dataclasses.replace(Limits(), **changes).faults(calibration, board)]


def test_the_defaults_can_be_set() -> None:
    for calibration in (CALIBRATION, COMPRESSED):
        assert Limits().faults(calibration, FACTS) == []
        assert FULL.faults(calibration, FACTS) == []


def test_every_locked_register_is_written() -> None:
    """Nothing that arming locks keeps what it woke up with; the record of the commissioning is written by arming."""
    locked = {f"{b.name}.{r.name}" for b in REGISTER_MAP for r in b.registers if r.locked and r.access is Access.RW}
    assert set(Limits().to_raw(CALIBRATION, ALL)) == locked - {"interlock.commissioned"}


def test_every_soft_register_has_a_soft_limit() -> None:
    soft = {f"{b.name}.{r.name}" for b in REGISTER_MAP for r in b.registers if r.name.startswith("soft_")}
    assert {entry.soft_register_name for entry in SOFT_ENTRIES} == soft
    assert [entry.name for entry in SOFT_ENTRIES] == [f.name for f in dataclasses.fields(SoftLimits)]


def test_each_condition_can_be_reached_in_one_way() -> None:
    assert ALWAYS | SWITCHED | BY_LIMIT.keys() == set(Cause)
    assert not SWITCHED & BY_LIMIT.keys() and not ALWAYS & MASKABLE
    assert len(BY_NAME) == len(BY_PATH) == len(ENTRIES)


@pytest.mark.parametrize("limits", [Limits(), FULL])
@pytest.mark.parametrize("calibration", [CALIBRATION, COMPRESSED, Calibration(preamp=Preamp(gain_V_per_A=1e8, gain_lines=3))])
def test_there_and_back(limits: Limits, calibration: Calibration) -> None:
    """What is read back asks for the same registers again, and says the same but for rounding."""
    if limits is FULL and calibration.preamp.gain_lines:
        limits = dataclasses.replace(limits, charge_C=1e-8)
    raw = limits.to_raw(calibration, ALL)
    back = Limits.from_raw(calibration, raw)
    assert back.to_raw(calibration, ALL) == raw
    assert back.faults(calibration, FACTS) == []
    for entry in ENTRIES:
        asked, held = getattr(limits, entry.name), getattr(back, entry.name)
        if asked is None:
            assert held is None, entry.name
        elif not entry.name.startswith("oscillation_"):
            assert held == pytest.approx(asked, rel=6e-2, abs=1e-30), entry.name
    assert (back.keep_outs == ()) == (limits.keep_outs == ()) and len(back.keep_outs) == len(limits.keep_outs)
    assert back.reactions == limits.reactions and back.ready_lines == limits.ready_lines
    assert back.enabled(ALL) == limits.enabled(ALL)


def test_known_registers() -> None:
    raw = Limits(beam_A=1e-9, pulses=3).to_raw(CALIBRATION, ALL)
    assert raw["signals.current_high"] == int(0.4 * (1 << 19)) and raw["signals.pulse_samples_max"] == 3571
    assert raw["signals.stuck_samples"] == 64 and raw["signals.oscillation_limit"] == 4 << 20
    assert [raw[f"signals.oscillation_{name}"] for name in ("fast", "slow", "window")] == [2, 7, 12]
    assert raw["interlock.heartbeat_timeout"] == 50_000_000 and raw["interlock.cpu_heartbeat_timeout"] == (1 << 31) - 1
    assert raw["envelope.x_high"] == (1 << 19) - 1 and raw["envelope.z_low"] == -(1 << 19)
    assert raw["dose.beam_rate"] / 2**20 == pytest.approx(1e-9 / 1.602176634e-19 * 10e-9, rel=1e-6)
    assert raw["dose.pixel_limit"] == 0xFFFFFFFF and raw["dose.pulses_limit"] == 3
    enabled = from_mask(raw["interlock.enable"])
    assert Cause.PULSES in enabled and Cause.DOSE_PIXEL not in enabled and Cause.KEEP_OUT not in enabled and Cause.READBACK in enabled
    absent = ALL & ~to_mask(frozenset({Cause.READBACK, Cause.MONITOR_HIGH}))
    assert not {Cause.READBACK, Cause.MONITOR_HIGH} & from_mask(Limits().to_raw(CALIBRATION, absent)["interlock.enable"])
    assert Limits().to_raw(Calibration(preamp=Preamp(gain_lines=5)), ALL)["interlock.gain_expected"] == 5


@given(
    high=st.floats(1e-12, 4.9e-9), low=st.floats(-4.9e-9, -1e-12), z_low=st.floats(-99e-9, 99e-9), bias=st.floats(1e-4, 9.9),
    beam=st.floats(1e-13, 1e-8), dose=st.floats(0.0, 1e9), speed=st.floats(1e-7, 1e-3),
)  # fmt: skip
def test_rounding_never_loosens(high: float, low: float, z_low: float, bias: float, beam: float, dose: float, speed: float) -> None:
    asked = Limits(
        current_high_A=high, current_low_A=low, z_low_m=z_low, bias_min_V=bias, beam_A=beam, frame_dose_e=dose, z_velocity_m_per_s=speed
    )
    held = Limits.from_raw(CALIBRATION, asked.to_raw(CALIBRATION, ALL))
    near = 1 + 1e-8
    assert held.current_high_A <= high * near and held.current_low_A >= low * near
    assert (z_low if held.z_low_m is None else held.z_low_m) >= z_low - 1e-8 * abs(z_low)
    assert held.bias_min_V * near >= bias and held.beam_A * near >= beam
    assert held.frame_dose_e is not None and held.frame_dose_e <= dose * near
    assert held.z_velocity_m_per_s is not None and held.z_velocity_m_per_s <= speed * near


@given(edges=st.lists(st.floats(-490e-9, 490e-9), min_size=4, max_size=4, unique=True))
def test_a_keep_out_never_shrinks(edges: list[float]) -> None:
    (a, b), (c, d) = sorted(edges[:2]), sorted(edges[2:])
    asked = Rectangle(a, b, c, d)
    (held,) = Limits.from_raw(CALIBRATION, Limits(keep_outs=(asked,)).to_raw(CALIBRATION, ALL)).keep_outs
    slack = 1e-15
    assert held.x_low_m <= a + slack and held.x_high_m >= b - slack and held.y_low_m <= c + slack and held.y_high_m >= d - slack


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"current_high_A": 6e-9}, "current.high: 6 nA is outside of what the board can hold, -5 nA to 4.99999 nA"),
        ({"current_high_A": float("nan")}, "current.high: nan A is outside"),
        ({"current_high_A": -3e-9}, "current.low: -2 nA does not lie below current.high = -3 nA"),
        ({"pulse_current_low_A": 4.9e-9}, "pulse.current_low: 4.9 nA does not lie below pulse.current_high = 4.9 nA"),
        ({"monitor_high_V": 5.0}, "monitor.high: 5 V is outside"),
        ({"x_low_m": 1e-9, "x_high_m": -1e-9}, "position.x_low: 1 nm does not lie below position.x_high = -1 nm"),
        ({"x_low_m": -600e-9}, "position.x_low: -600 nm is outside of what the board can hold, -500 nm to 499.999 nm"),
        ({"z_high_m": 50e-9}, "position.z_high: lies below the withdrawn rail"),
        ({"z_low_m": 100e-9}, "position.z_low: 100 nm is outside"),
        ({"stuck_samples": 1}, "converter.stuck: 1 samples is outside of what the board can hold, 2 samples to"),
        ({"heartbeat_s": 0.0}, "heartbeat.host: 0 s is outside"),
        ({"heartbeat_s": 30.0}, "heartbeat.host: 30 s is outside of what the board can hold, 10 ns to 21.4748 s"),
        ({"retract_m_per_s": 0.0}, "safe.retract: 0 m/s is outside"),
        ({"oscillation_from_Hz": 71e3}, "oscillation.from: 71 kHz does not lie an octave below oscillation.to = 71 kHz"),
        ({"oscillation_to_Hz": 0.0}, "oscillation.to: 0 Hz is outside"),
        ({"oscillation_to_Hz": -1.0}, "oscillation.to: -1 Hz is outside"),
        ({"oscillation_window_s": 0.0}, "oscillation.window: 0 s is outside"),
        ({"bias_min_V": 0.0}, "bias.least: a least bias of 0 can't fire"),
        ({"bias_min_V": -1.0}, "bias.least: -1 V is outside"),
        ({"ready_lines": ReadyLine(0)}, "lines.ready: no ready line is asked for"),
        ({"conditions": frozenset({Cause.ESTOP})}, "conditions.ESTOP: ESTOP always counts"),
        ({"conditions": frozenset({Cause.PULSES})}, "conditions.PULSES: PULSES counts as soon as its limit is given"),
        ({"conditions_where_present": frozenset({Cause.HOST})}, "conditions.HOST: HOST always counts"),
        ({"pixel_dose_e": 10.0}, "dose.pixel: a dose without a beam current is never used up"),
        ({"region_dose_e": 10.0, "beam_A": 1e-9}, "dose.region: the dose of a region needs the region"),
        ({"frame_dose_e": 1e13, "beam_A": 1e-9}, "dose.frame: 10000 Ge is outside"),
        ({"pulses": -1}, "tip.pulses: -1 pulses is outside"),
        ({"charge_C": 1.0}, "tip.charge: 1 C is outside of what the board can hold, 0 C to 5.87203 nC"),
        ({"event_class": 256}, "event.class: 256 is outside of what the board can hold, 0 to 255"),
        ({"keep_outs": (Rectangle(1e-9, 1e-9, 0, 1e-9),)}, "keep_out.0.x_low: 1 nm does not lie below x_high = 1 nm"),
        ({"keep_outs": (Rectangle(1e-9, 6e-7, 0, 1e-9),)}, "keep_out.0.x_high: 600 nm is outside of the scanner, -500 nm to 500 nm"),
        ({"keep_outs": (Rectangle(1e-9, 2e-9, 1e-9, 2e-9),) * 9}, "keep_out.8: there are 9 keep-outs; the board has room for 8"),
        ({"region": Rectangle(0, 1e-9, 2e-9, 1e-9)}, "region.y_low: 2 nm does not lie below y_high = 1 nm"),
        ({"reactions": Reactions(retreat=frozenset({Cause.HOST}))}, "reactions.retreat: a retreat of 0 steps goes nowhere"),
        ({"preamp_V_per_A": 1e8}, "preamp.gain: these limits are made for 100 MV/A, the calibration has 1 GV/A"),
        ({"gain_lines": 2}, "preamp.gain_lines: these limits are made for gain lines that read 2, the calibration has 0"),
    ],
)
def test_what_can_not_be(changes: dict[str, Any], says: str) -> None:
    (found,) = faults(changes)
    assert found.startswith(says)
    with pytest.raises(LimitsRefused) as error:
        dataclasses.replace(Limits(), **changes).check(CALIBRATION)
    assert str(error.value).splitlines()[0] == "these limits can't be set: 1 fault, nothing was written"


def test_what_is_off_needs_no_limit() -> None:
    off = Limits().conditions - {Cause.BIAS_LOW, Cause.READY}
    assert faults({"conditions": off, "bias_min_V": 0.0, "ready_lines": ReadyLine(0)}) == []


def test_all_faults_at_once() -> None:
    found = faults({"current_high_A": 6e-9, "z_high_m": 0.0, "pulses": -1, "bias_min_V": 0.0, "gain_lines": 1})
    assert len(found) == 5


@pytest.mark.parametrize(
    ("changes", "facts", "says"),
    [
        ({"keep_outs": (Rectangle(-1e-9, 1e-9, -1e-9, 1e-9),)}, FACTS, "keep_out.0: this keep-out covers the present position (0 m, 0 m)"),
        ({"x_low_m": 1e-9}, FACTS, "position.x_low: the present position (0 m, 0 m) lies outside"),
        ({"y_high_m": -1e-9}, FACTS, "position.y_high: the present position (0 m, 0 m) lies outside"),
        (
            {"conditions": frozenset({Cause.READBACK})},
            BoardFacts(ALL & ~(1 << Cause.READBACK), EVERYWHERE, 0, 0),
            "conditions.READBACK: this board has no means for READBACK",
        ),
        ({"beam_A_per_V": 1e-9}, BoardFacts(ALL, Strap.TIP, 0, 0), "dose.beam_per_monitor: this board has no second converter"),
        (
            {"reactions": Reactions(retreat=frozenset(Cause)), "retreat_steps": 5},
            BoardFacts(ALL, Strap.TIP, 0, 0),
            "reactions.retreat: this board has no coarse motor",
        ),
    ],
)
def test_what_this_board_can_not(changes: dict[str, Any], facts: BoardFacts, says: str) -> None:
    assert faults(changes) == []
    (found,) = faults(changes, facts)
    assert found.startswith(says)


def test_a_keep_out_beside_the_present_position() -> None:
    beside = Limits(keep_outs=(Rectangle(1e-9, 2e-9, -1e-9, 1e-9),))
    assert beside.faults(CALIBRATION, FACTS) == []
    assert beside.faults(CALIBRATION, BoardFacts(ALL, EVERYWHERE, 1e-9, 0.0))


def test_behind_a_logarithmic_preamplifier() -> None:
    calibration = Calibration(preamp=Preamp(kind=PreampKind.LOGARITHMIC))
    assert Limits().faults(calibration) == []
    assert faults({"charge_C": 1e-9}, calibration=calibration) == [
        "tip.charge: a charge can't be counted behind a logarithmic preamplifier"
    ]
    assert faults({"preamp_V_per_A": 1e9}, calibration=calibration) == [
        "preamp.gain: the preamplifier of the calibration is logarithmic and has no gain"
    ]


def soft(values: dict[str, float | None], now: SoftLimits = SoftLimits(), hard: Limits = Limits()) -> list[str]:  # noqa: B008
    return [str(fault) for fault in soft_faults(values, now, hard, CALIBRATION, to_mask(hard.enabled(ALL)))]


def test_soft_limits() -> None:
    assert soft({"current_high_A": 1e-9, "x_low_m": -1e-9, "z_velocity_m_per_s": 1e-6, "bias_min_V": 0.1, "z_high_m": 50e-9}) == []
    assert soft({"current_high_A": None}) == []
    # A soft limit beyond the hard one is no fault: the hard one counts.
    assert soft({"current_high_A": 3e-9}) == []
    assert soft({"current_high_A": 6e-9}) == ["current.high: 6 nA is outside of what the board can hold, -5 nA to 4.99999 nA"]
    assert soft({"current_high_A": -3e-9}) == ["current.low: -2 nA would not lie below current.high = -3 nA"]
    assert soft({"x_high_m": -2e-9}, SoftLimits(x_low_m=-1e-9)) == [
        "position.x_low: -999.451 pm would not lie below position.x_high = -2.00081 nm"
    ]
    assert soft({"pulses": 3}) == ["tip.pulses: PULSES is off on this board: a soft limit would not count"]
    assert soft({"pulses": 3}, hard=Limits(pulses=10)) == []


def test_plain_values_are_json() -> None:
    import json

    plain = json.loads(json.dumps(FULL.as_plain()))
    assert plain["current_high_A"] == 2e-9 and plain["ready_lines"] == ["VACUUM"] and plain["keep_outs"][0]["x_low_m"] == 100e-9
    assert plain["reactions"]["retreat"] == ["HOST"] and "STUCK" not in plain["conditions"]
