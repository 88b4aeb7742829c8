"""A short campaign of faults on the compiled twin; the long one is `make faults`."""

from __future__ import annotations

import pytest

from reflexarc_sim.faults.campaign import campaign, run_case
from reflexarc_sim.faults.cases import FAULTS, Case
from reflexarc_sim.faults.rig import Rig
from reflexarc_sim.faults.table import rows

SEED = 1


def test_nothing_is_missed_late_or_false() -> None:
    print(f"seed {SEED}")
    summary = campaign(60, SEED, normal_samples=200_000, jobs=2)
    assert summary.failures == []
    assert (summary.cases, summary.missed, summary.late, summary.false_trips) == (60, 0, 0, 0)
    assert summary.tripped > 20 and summary.rightly_not > 3, "a campaign in which all ends alike shows nothing"
    assert summary.tripped + summary.rightly_not == 60
    assert len(rows({"worst_by_violation": summary.worst_by_violation})) == 34


@pytest.mark.parametrize("name", ["estop", "adc_dead", "bias_zero", "register_flipped", "underflow"])
def test_what_must_trip_trips(name: str) -> None:
    assert name in FAULTS
    verdict = run_case(Rig(3), Case(3, (name,), (1e-5,), 3e-4))
    assert verdict.result == "tripped" and verdict.cycles is not None and verdict.cycles <= (verdict.bound or 0)


def test_a_trip_without_a_reason_is_called_false() -> None:
    """The verdict is not made of the interlock's own word: here the judge believes in wider limits than the board has."""
    rig = Rig(4)
    rig.raw |= {"signals.current_high": (1 << 19) - 1, "signals.current_slew": (1 << 20) - 1}
    verdict = run_case(rig, Case(4, ("crash",), (1e-5,), 2e-3))
    assert verdict.result == "false_trip" and verdict.cause in ("CURRENT_HIGH", "CURRENT_SLEW")


def test_a_violation_without_a_trip_is_called_missed() -> None:
    """And here in narrower ones."""
    rig = Rig(4)
    rig.raw |= {"signals.current_high": 5_000}
    verdict = run_case(rig, Case(4, ("nothing",), (1e-5,), 3e-4))
    assert verdict.result == "missed" and "window" in verdict.violation
