"""The interlock: conditions, lifecycle, latched first cause."""

import enum

from reflexarc.contract.registers import Access, Block, Register


class InterlockCommand(enum.IntEnum):
    ARM = 1  # ignored while a condition holds or a trip is latched
    DISARM = 2  # outputs go safe (withdraw), limits unlock
    TRIP = 3  # make safe now
    ACK = 4  # tripped -> disarmed, ignored while a flag is set


class InterlockState(enum.IntEnum):
    DISARMED = 0
    ARMED = 1
    TRIPPED = 2


class Cause(enum.IntEnum):
    """Bit number in the flag registers; the lowest set bit is the first cause when several fall in one cycle."""

    CURRENT_HIGH = 0
    CURRENT_LOW = 1
    Z_HIGH = 2
    Z_LOW = 3
    HEARTBEAT = 4
    ESTOP = 5
    SAMPLE_LOST = 6
    POSITION_OVERFLOW = 7
    HOST = 8


CauseFlags = enum.IntFlag("CauseFlags", {cause.name: 1 << cause.value for cause in Cause})  # type: ignore[misc]
NO_CAUSE = 31  # what first_cause reads before any trip

BLOCK = Block(
    "interlock",
    0x300,
    "Conditions on the raw sample and on what is about to be driven. From sample valid to safe outputs: 2 cycles.",
    (
        Register("command", 0x00, Access.WO, "Arm, disarm, trip, acknowledge.", width=3, values=InterlockCommand),
        Register("state", 0x04, Access.RO, "Disarmed, armed or tripped.", width=2, values=InterlockState),
        Register(
            "trip_flags",
            0x08,
            Access.W1C,
            "Causes since the trip; a clear while the cause persists has no effect.",
            width=9,
            values=CauseFlags,
        ),
        Register("live", 0x0C, Access.RO, "Conditions that are violated now, whether armed or not.", width=9, values=CauseFlags),
        Register("first_cause", 0x10, Access.RO, "Cause of the trip, bit number; 31 before any.", width=5, reset=NO_CAUSE),
        Register("trip_time", 0x14, Access.RO, "Cycle in which the gate became safe.", width=64, unit="cycles"),
        Register("trip_value", 0x1C, Access.RO, "What was measured: current or z code, heartbeat age in cycles, else 0.", signed=True),
        Register("trip_limit", 0x20, Access.RO, "The limit it was measured against.", signed=True),
        Register(
            "current_high", 0x24, Access.RW, "Greatest allowed sample.", width=20, signed=True, locked=True, unit="A", quantity="current"
        ),
        Register("current_low", 0x28, Access.RW, "Least allowed sample.", width=20, signed=True, locked=True, unit="A", quantity="current"),
        Register(
            "pulse_current_high",
            0x2C,
            Access.RW,
            "Greatest allowed sample during a pulse and its settling.",
            width=20,
            signed=True,
            locked=True,
            unit="A",
            quantity="current",
        ),
        Register(
            "pulse_current_low",
            0x30,
            Access.RW,
            "Least allowed sample during a pulse and its settling.",
            width=20,
            signed=True,
            locked=True,
            unit="A",
            quantity="current",
        ),
        Register(
            "pulse_samples_max",
            0x34,
            Access.RW,
            "Longest time that the pulse limits count; after it the normal ones do.",
            width=24,
            locked=True,
            unit="samples",
        ),
        Register(
            "z_high",
            0x38,
            Access.RW,
            "Greatest z code that may be driven.",
            width=20,
            signed=True,
            reset=(1 << 19) - 1,
            locked=True,
            unit="m",
            quantity="z",
        ),
        Register(
            "z_low",
            0x3C,
            Access.RW,
            "Least z code that may be driven.",
            width=20,
            signed=True,
            reset=-(1 << 19),
            locked=True,
            unit="m",
            quantity="z",
        ),
        Register(
            "heartbeat_timeout",
            0x40,
            Access.RW,
            "Cycles without a heartbeat that trip.",
            width=31,
            reset=1,
            minimum=1,
            locked=True,
            unit="cycles",
        ),
        Register("heartbeat", 0x44, Access.WO, "The host lives: any write restarts the time-out."),
        Register("trips", 0x48, Access.RO, "Trips since reset.", unit="trips"),
    ),
)
