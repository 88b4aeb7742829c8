"""The interlock: lifecycle, causes, reactions, lines and heartbeats. The limits stand with their conditions: signals, envelope, dose."""

import enum

from reflexarc.contract.registers import Access, Block, Register


class InterlockCommand(enum.IntEnum):
    ARM = 1  # begins the self-test; refused (see arming_result) while a condition holds, a trip is latched or no commissioning is on record
    DISARM = 2  # outputs go safe (withdraw), limits unlock
    TRIP = 3  # make safe now
    ACK = 4  # tripped -> disarmed, ignored while a flag is set or a cause persists


class InterlockState(enum.IntEnum):
    DISARMED = 0
    ARMED = 1
    TRIPPED = 2
    ARMING = 3  # each enabled condition is made to fire by injection; outputs are safe meanwhile


class Cause(enum.IntEnum):
    """Bit number in the flag registers; the lowest set bit is the first cause when several fall in one cycle."""

    # Judged by the block `signals`
    CURRENT_HIGH = 0
    CURRENT_LOW = 1
    CURRENT_SLEW = 2
    MONITOR_HIGH = 3
    MONITOR_LOW = 4  # laser or photodiode sum lost, where the monitor converter measures it
    MONITOR_SLEW = 5
    SATURATED = 6  # a converter at a rail
    STUCK = 7  # a converter that repeats itself
    OSCILLATION = 8
    # by `envelope`
    XY_RANGE = 9
    Z_HIGH = 10
    Z_LOW = 11
    KEEP_OUT = 12
    Z_VELOCITY = 13
    BIAS_LOW = 14
    # by `dose`
    DOSE_PIXEL = 15
    DOSE_REGION = 16
    DOSE_FRAME = 17
    PULSES = 18
    CHARGE = 19
    # by the gate
    READBACK = 20
    # by the interlock itself
    SAMPLE_LOST = 21
    HEARTBEAT = 22
    CPU_HEARTBEAT = 23
    ESTOP = 24
    READY = 25
    GAIN = 26
    POSITION_OVERFLOW = 27
    UNDERFLOW = 28
    PARITY = 29
    EVENT = 30
    HOST = 31  # told to by the command TRIP, or by a program; trip_value: 0, or the program's StopReason


CauseFlags = enum.IntFlag("CauseFlags", {cause.name: 1 << cause.value for cause in Cause})  # type: ignore[misc]
NO_CAUSE = 63  # what first_cause reads before any trip

# Who judges what, in the order of the bits.
SIGNAL_CAUSES = tuple(Cause)[: Cause.XY_RANGE]
ENVELOPE_CAUSES = tuple(Cause)[Cause.XY_RANGE : Cause.DOSE_PIXEL]
DOSE_CAUSES = tuple(Cause)[Cause.DOSE_PIXEL : Cause.READBACK]
GATE_CAUSES = (Cause.READBACK,)
OWN_CAUSES = tuple(Cause)[Cause.SAMPLE_LOST :]

# Only these may be switched off, each for an instrument or an experiment that has no use for it. The windows of the current and of z and the
# heartbeat can be made wide, but never switched off; e-stop, lost samples, parity, overflow and the host's trip have nothing to set.
MASKABLE = frozenset(
    {
        Cause.CURRENT_SLEW, Cause.MONITOR_HIGH, Cause.MONITOR_LOW, Cause.MONITOR_SLEW, Cause.SATURATED, Cause.STUCK, Cause.OSCILLATION,
        Cause.KEEP_OUT, Cause.Z_VELOCITY, Cause.BIAS_LOW, Cause.READBACK, Cause.DOSE_PIXEL, Cause.DOSE_REGION, Cause.DOSE_FRAME,
        Cause.PULSES, Cause.CHARGE, Cause.CPU_HEARTBEAT, Cause.READY, Cause.GAIN, Cause.UNDERFLOW, Cause.EVENT,
    }
)  # fmt: skip


class ArmingResult(enum.IntEnum):
    """What became of the last ARM."""

    NONE = 0
    ARMED = 1
    UNDER_TEST = 2
    NOT_COMMISSIONED = 3  # the record of the commissioning test is missing or of another instrument
    VIOLATED = 4  # a condition holds, or a flag of the last trip is set
    DID_NOT_FIRE = 5  # a condition stayed silent when it was made to fire
    DID_NOT_CLEAR = 6  # a condition went on firing after the test
    ABORTED = 7  # another command came meanwhile


class Strap(enum.IntFlag):
    """Constants of the platform. The first three are what the commissioning test confirms."""

    RETRACT_POSITIVE = 1  # greatest z volts = away
    BLANK_ACTIVE_HIGH = 2
    ESTOP_NORMALLY_CLOSED = 4
    TIP = 8  # a probe: every trip withdraws z
    MOTOR = 16  # a coarse motor
    READBACK = 32  # the DACs can be read back
    MONITOR = 64  # a second converter: photodiode sum, beam current


STRAPS_COMMISSIONED = Strap.RETRACT_POSITIVE | Strap.BLANK_ACTIVE_HIGH | Strap.ESTOP_NORMALLY_CLOSED


class ReadyLine(enum.IntFlag):
    HIGH_VOLTAGE = 1
    VACUUM = 2


def _mask(name: str, offset: int, doc: str) -> Register:
    return Register(name, offset, Access.RW, doc, locked=True, values=CauseFlags)


BLOCK = Block(
    "interlock",
    0x300,
    "Lifecycle, causes and reactions. From sample valid to safe outputs: 2 cycles.",
    (
        Register("command", 0x00, Access.WO, "Arm, disarm, trip, acknowledge.", width=3, values=InterlockCommand),
        Register("state", 0x04, Access.RO, "Disarmed, armed, tripped or arming.", width=2, values=InterlockState),
        Register(
            "trip_flags", 0x08, Access.W1C, "Causes since the trip; a clear while the cause persists has no effect.", values=CauseFlags
        ),
        Register("live", 0x0C, Access.RO, "Conditions that are enabled and violated now, whether armed or not.", values=CauseFlags),
        Register("first_cause", 0x10, Access.RO, "Cause of the trip, bit number; 63 before any.", width=6, reset=NO_CAUSE),
        Register("trip_time", 0x14, Access.RO, "Cycle in which the gate became safe.", width=64, unit="cycles"),
        Register("trip_value", 0x1C, Access.RO, "What was measured, in the unit of the cause's limit; else 0.", signed=True),
        Register("trip_limit", 0x20, Access.RO, "The limit it was measured against.", signed=True),
        Register("trips", 0x24, Access.RO, "Trips since reset.", unit="trips"),
        Register(
            "enable",
            0x28,
            Access.RW,
            "Conditions that count; those that can't be masked count whatever is written here.",
            reset=0xFFFFFFFF,
            locked=True,
            values=CauseFlags,
        ),
        Register("present", 0x2C, Access.RO, "Conditions that this platform has the means for.", values=CauseFlags),
        Register(
            "commissioned",
            0x30,
            Access.RW,
            "Bits 0-2: straps as the commissioning test found them; bits 3-31: number of its record, not 0.",
            locked=True,
        ),
        Register("straps", 0x34, Access.RO, "Constants of the platform.", width=7, values=Strap),
        Register("arming_result", 0x38, Access.RO, "What became of the last ARM.", width=3, values=ArmingResult),
        Register("arming_cause", 0x3C, Access.RO, "Condition that stood against it, bit number; 63 for none.", width=6, reset=NO_CAUSE),
        Register(
            "heartbeat_timeout",
            0x40,
            Access.RW,
            "Cycles without a heartbeat of the host that trip.",
            width=31,
            reset=1,
            minimum=1,
            locked=True,
            unit="cycles",
        ),
        Register("heartbeat", 0x44, Access.WO, "The host lives: any write restarts the time-out."),
        Register(
            "cpu_heartbeat_timeout",
            0x48,
            Access.RW,
            "Cycles without a heartbeat of the housekeeping core that trip.",
            width=31,
            reset=1,
            minimum=1,
            locked=True,
            unit="cycles",
        ),
        Register("cpu_heartbeat", 0x4C, Access.WO, "The housekeeping core lives: any write restarts its time-out."),
        Register("ready_required", 0x50, Access.RW, "Ready lines that must be high.", width=2, reset=3, locked=True, values=ReadyLine),
        Register("gain_expected", 0x54, Access.RW, "What the preamplifier's gain lines must read.", width=4, locked=True),
        Register("estop_closed", 0x58, Access.RO, "1 while the e-stop chain is closed.", width=1),
        Register("ready", 0x5C, Access.RO, "Ready lines as they are.", width=2, values=ReadyLine),
        Register("gain", 0x60, Access.RO, "Gain lines as they are.", width=4),
        Register("event_class", 0x64, Access.RW, "Class of the events that trip.", width=8, locked=True),
        _mask("react_retract", 0x68, "Causes that withdraw z on a platform without a tip; with a tip each one does."),
        _mask("react_bias_ramp", 0x6C, "Causes after which the bias ramps to 0 once z is withdrawn."),
        _mask("react_bias_contact", 0x70, "Causes after which the bias goes to 0 at once if the tip is in contact."),
        _mask("react_trigger", 0x74, "Causes that raise the trigger output."),
        _mask("react_retreat", 0x78, "Causes after which the coarse motor steps away once z is withdrawn."),
    ),
)
