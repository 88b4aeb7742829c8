"""Quantities as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc.safety.units import UnitError, example, parse, show

UNITS = ("A", "V", "m", "s", "m/s", "V/s", "Hz", "C", "e", "V/A", "A/V", "m^2", "e/m^2", "log2^2")
COUNTS = ("samples", "pulses", "steps", "")


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2 nA", "A", 2e-9),
        ("-2nA", "A", -2e-9),
        ("1e3 nA", "A", 1e-6),
        (".5 s", "s", 0.5),
        ("50 um/s", "m/s", 50e-6),
        ("50 µm/s", "m/s", 50e-6),  # micro sign
        ("50 μm/s", "m/s", 50e-6),  # Greek letter
        ("10 mm", "m", 1e-2),
        ("3 Å", "m", 3e-10),
        ("3 A\u030a", "m", 3e-10),  # A and a ring
        ("100 e/Å^2", "e/m^2", 1e22),
        ("100 e/Å²", "e/m^2", 1e22),
        ("1 e/nm^2", "e/m^2", 1e18),
        ("0.04 nm^2", "m^2", 4e-20),
        ("1 GV/A", "V/A", 1e9),
        ("1 V/nA", "V/A", 1e9),
        ("2 nA/V", "A/V", 2e-9),
        ("4 log2^2", "log2^2", 4.0),
        ("64 samples", "samples", 64.0),
        ("1 pulse", "pulses", 1.0),
        ("1 Me", "e", 1e6),
        (64, "samples", 64.0),
        (7, "", 7.0),
    ],
)
def test_a_quantity(text: object, unit: str, value: float) -> None:
    assert parse(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "says"),
    [
        ("2", "A", "has no unit"),
        (2, "A", "has no unit"),
        (2e-9, "A", "has no unit"),
        ("2 nV", "A", "is in V"),
        ("2 A^2", "A", r"is in A\^2"),
        ("100 e/A^2", "e/m^2", r"is in e/A\^2"),  # amperes, not ångström
        ("2 foo", "A", '"foo" is no unit'),
        ("2 m/s/s", "m/s", "is no unit"),
        ("two nA", "A", "does not begin with a number"),
        ("nan A", "A", "does not begin with a number"),
        ("inf A", "A", "does not begin with a number"),
        ("1e999 A", "A", "no finite number"),
        ("", "A", "does not begin with a number"),
        (True, "samples", "is no quantity"),
        ([1], "A", "is no quantity"),
        (None, "A", "is no quantity"),
        (float("nan"), "samples", "no finite number"),
        ("1.5 samples", "samples", "no whole number"),
        ("3 pulses", "samples", "is in pulses"),
        ("3 A", "", "is in A"),
    ],
)
def test_no_quantity(text: object, unit: str, says: str) -> None:
    with pytest.raises(UnitError, match=says) as error:
        parse(text, unit)
    assert "\n" not in str(error.value) and (example(unit) in str(error.value) or "whole number" in str(error.value))


@given(value=st.floats(-1e15, 1e15), unit=st.sampled_from(UNITS))
def test_shown_and_read_back(value: float, unit: str) -> None:
    assert parse(show(value, unit, digits=17), unit) == pytest.approx(value, rel=1e-14, abs=0)
    assert parse(show(value, unit), unit) == pytest.approx(value, rel=1e-5, abs=0)


@given(value=st.integers(-(10**9), 10**9), unit=st.sampled_from(COUNTS))
def test_a_count_shown_and_read_back(value: int, unit: str) -> None:
    assert parse(show(value, unit, digits=17), unit) == value


@given(text=st.text(max_size=20), unit=st.sampled_from((*UNITS, *COUNTS)))
def test_any_text_is_a_quantity_or_refused(text: str, unit: str) -> None:
    try:
        parse(text, unit)
    except UnitError as error:
        assert "expected" in str(error)


@pytest.mark.parametrize("unit", [*UNITS, *COUNTS])
def test_examples_are_good(unit: str) -> None:
    parse(example(unit), unit)


def test_short_numbers() -> None:
    assert [show(v, "A") for v in (0, 2e-9, 999.9999999e-12, -3.3e-12, 4.9)] == ["0 A", "2 nA", "1 nA", "-3.3 pA", "4.9 A"]
    assert show(0.5, "s") == "500 ms" and show(64, "samples") == "64 samples" and show(7, "") == "7"
