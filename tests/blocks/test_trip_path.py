"""Interlock and gate together: the time to safe, and that no z outside the window leaves."""

from support import run_block
from trip_path import TripPath

TRIP_CYCLES = 2  # sample valid to safe outputs
ESTOP_CYCLES = 4  # e-stop line to safe outputs: synchroniser of two, and two


def test_trip_path():
    run_block(TripPath(), "cocotb_trip_path", name="trip_path", trip_cycles=TRIP_CYCLES, estop_cycles=ESTOP_CYCLES)
