"""Interlock, signals, envelope and gate together: the time to safe, and that nothing outside of the limits leaves."""

import pytest
from support import run_block
from trip_path import FaultyTripPath, TripPath

TRIP_CYCLES = 2  # sample valid to safe outputs
ESTOP_CYCLES = 4  # e-stop line to safe outputs: synchroniser of two, and two


@pytest.mark.parametrize(("component", "testcase"), [(TripPath, None), (FaultyTripPath, "a_flipped_bit_of_any_locked_register_trips")])
def test_trip_path(component, testcase):
    faulty = component is FaultyTripPath
    name = "faulty_trip_path" if faulty else "trip_path"
    run_block(
        component(), "cocotb_trip_path", name=name, testcase=testcase, trip_cycles=TRIP_CYCLES, estop_cycles=ESTOP_CYCLES, faulty=faulty
    )
