"""What is claimed of the interlock as a whole, and of the detector's numbers; the properties that say it: patterns of proof and property."""

from dataclasses import dataclass

from reflexarc.contract.blocks.interlock import Cause
from reflexarc_hw.blocks.dose import proof as dose
from reflexarc_hw.blocks.envelope.envelope import BIAS_CYCLES, XY_CYCLES, Z_CYCLES
from reflexarc_hw.blocks.interlock.lines import LINE_CYCLES
from reflexarc_hw.blocks.interlock.proof import gathered_late
from reflexarc_hw.blocks.signals import proof as signals
from reflexarc_hw.lib.bus import BANK_CYCLES

CLAIMS: dict[str, tuple[str, ...]] = {
    "An enabled, violated condition makes the gate safe within its stated bound; window and slew in 2 cycles from the raw sample.": (
        "signals_*.*",
        "envelope_*.*",
        "dose_limits_*.*",
        "gate.readback_shows",
        "interlock_conditions.*",
        "lifecycle.violated_is_safe",
        "core_trip.window_to_pins",
        "core_trip.slew_to_pins",
        "core_trip.verdict_to_pins",
        "core_box.*",
    ),
    "Tripped implies safe outputs until acknowledged, whatever bus, program, scan, feedback, CPU and host do.": (
        "lifecycle.tripped_is_safe",
        "lifecycle.live_only_after_arm",
        "lifecycle.disarm_is_safe",
        "interlock_trip.trip_holds",
        "core_trip.safe_until_armed",
        "core_trip.nothing_beside_the_gate",
    ),
    "No write changes a locked limit while armed.": (
        "bank_*.locked_registers_hold",
        "bank_*.a_refusal_is_said",
        "lifecycle.live_is_locked",
        "interlock_trip.live_locks_everything",
        "core_locks.locked_registers_hold_while_live",
    ),
    "Soft limits can only tighten: beyond a hard limit is a verdict whatever the soft ones are.": (
        "signals_*.hard_*",
        "envelope_*.hard_*",
        "dose_limits_hard.*",
    ),
    "The floor of the reactions holds for every configuration.": (
        "gate.reset_is_safe",
        "gate.z_never_approaches",
        "gate.x_and_y_hold",
        "gate.beam_is_blanked",
        "gate.pulse_ends",
        "gate.lines_are_low",
        "gate.bias_floor",
        "gate_true.*",
        "interlock_trip.tip_always_retracts",
        "interlock_trip.reactions_need_a_trip",
    ),
    "The first cause is never overwritten.": ("lifecycle.first_cause_is_kept", "interlock_trip.record_is_kept"),
    "Injection is impossible while an output is live.": (
        "lifecycle.injection_never_live",
        "interlock_trip.no_injection_while_live",
        "core_trip.no_injection_while_driven",
    ),
    "The dose counter never runs behind the blanker.": ("dose_counts.*_is_never_behind", "dose_counts.open_time_is_right"),
    "The coarse motor never steps towards the specimen while safe, nor with z anywhere but at its withdrawn rail.": (
        "gate.safe_never_approaches",
        "gate.approach_needs_withdrawn_z",
    ),
    "The withdrawal is monotone and ends in bounded time.": ("gate.z_never_approaches", "gate.z_steps_away", "gate.retract_ends"),
    "Accesses and wires are what the proofs of the blocks take them for.": (
        "fabric.accesses_are_apart",
        "*.short_is_the_sum",
        "core_wires_*.*",
    ),
    "No program writes to what watches over it, asks for anything while the outputs are not live, or keeps the bus from others.": (
        "sequencer.*",
        "fabric_service.*",
    ),
    "A program that can't keep its time is safe.": ("sequencer.a_fault_is_told", "interlock_conditions.program_is_safe"),
    "What a detector stores is its sum, multiplied, rounded and clamped as float32 arithmetic does it, whatever sum, scale and zero point.": (
        "requantizer_product.*",
        "requantizer.*",
    ),
    "Loading a model never touches the active one, and no bank becomes valid but by the CRC-32 of all its words.": ("loader.*",),
    "A flipped bit of a locked register shows.": ("parity_*.*", "interlock_conditions.parity_is_safe"),
}


@dataclass(frozen=True)
class Bound:
    """Cycles from ``start`` to a verdict. To safe outputs come those from the verdict to the decision, and one in the gate."""

    start: str
    verdict_cycles: int
    properties: tuple[str, ...]


def cycles(cause: Cause) -> int:
    """From where its bound starts to safe outputs."""
    return BOUNDS[cause].verdict_cycles + gathered_late(cause) + 1


# That a verdict has safe outputs is the part that all share.
VERDICT_TO_PINS = ("lifecycle.violated_is_safe", "interlock_conditions.verdict_is_safe", "core_trip.verdict_to_pins")


def _own(name: str, start: str, cycles: int = 1) -> Bound:
    return Bound(start, cycles, (f"interlock_conditions.{name}",))


def _slew(channel: str) -> Bound:
    return Bound("sample valid", 1, (f"signals_slew_{channel}_hard.hard_slew_trips", "core_trip.slew_to_pins"))


_WINDOW = Bound("sample valid", 1, ("signals_windows.hard_window_trips", "core_trip.window_to_pins"))
_Z = Bound("request at the gate", Z_CYCLES, ("envelope_z.hard_z_trips", "core_box.z_stays_in_the_box"))
_DOSE = ("dose_limits_hard.hard_limit_trips", "dose_limits_hard.last_count_trips_hard")

BOUNDS: dict[Cause, Bound] = {
    Cause.CURRENT_HIGH: _WINDOW,
    Cause.CURRENT_LOW: _WINDOW,
    Cause.CURRENT_SLEW: _slew("current"),
    Cause.MONITOR_HIGH: _WINDOW,
    Cause.MONITOR_LOW: _WINDOW,
    Cause.MONITOR_SLEW: _slew("monitor"),
    Cause.SATURATED: Bound("sample valid", 1, ("signals_windows.saturation_trips",)),
    Cause.STUCK: Bound("last equal sample valid", signals.REPEATED + 1, ("signals_stuck.stuck_trips",)),
    Cause.OSCILLATION: Bound("energy above its limit", signals.RINGING, ("signals_oscillation.oscillation_trips",)),
    Cause.XY_RANGE: Bound("request at the gate", XY_CYCLES, ("envelope_xy_hard.hard_xy_trips", "core_box.xy_stay_in_the_box")),
    Cause.Z_HIGH: _Z,
    Cause.Z_LOW: _Z,
    Cause.KEEP_OUT: Bound("request at the gate", XY_CYCLES, ("envelope_keep_out_*.keep_out_trips", "core_box.keep_out_is_kept")),
    Cause.Z_VELOCITY: Bound("request at the gate", Z_CYCLES, ("envelope_velocity_hard.hard_velocity_trips",)),
    Cause.BIAS_LOW: Bound("request at the gate", BIAS_CYCLES, ("envelope_bias.hard_bias_trips", "core_box.bias_keeps_its_least")),
    Cause.DOSE_PIXEL: Bound("cycle that is too much", dose.COUNTED + dose.JUDGED, ("dose_counts.pixel_is_never_behind", *_DOSE)),
    Cause.DOSE_REGION: Bound("cycle that is too much", dose.COUNTED + dose.JUDGED, ("dose_counts.region_is_never_behind", *_DOSE)),
    Cause.DOSE_FRAME: Bound("cycle that is too much", dose.COUNTED + dose.JUDGED, ("dose_counts.frame_is_never_behind", *_DOSE)),
    Cause.PULSES: Bound("pulse that is too many", 1 + dose.JUDGED, ("dose_counts.pulses_are_counted", *_DOSE)),
    Cause.CHARGE: Bound("sample that is too much", dose.COUNTED + dose.JUDGED, ("dose_counts.charge_is_counted", *_DOSE)),
    Cause.READBACK: Bound("codes read back", 2, ("gate.readback_shows",)),
    Cause.SAMPLE_LOST: Bound(
        "sample lost, or two periods without a tick",
        1,
        ("interlock_conditions.lost_sample_is_safe", "interlock_conditions.silent_clock_is_safe"),
    ),
    Cause.HEARTBEAT: _own("silent_host_is_safe", "age of the heartbeat at its time-out"),
    Cause.CPU_HEARTBEAT: _own("silent_cpu_is_safe", "age of the heartbeat at its time-out"),
    Cause.ESTOP: _own("open_estop_is_safe", "line", LINE_CYCLES),
    Cause.READY: _own("ready_is_safe", "line", LINE_CYCLES),
    Cause.GAIN: _own("gain_is_safe", "line", LINE_CYCLES),
    Cause.POSITION_OVERFLOW: _own("overflow_is_safe", "position at its rail"),
    Cause.UNDERFLOW: _own("underflow_is_safe", "starved list"),
    Cause.PARITY: _own("parity_is_safe", "error of a bank"),
    Cause.EVENT: _own("event_is_safe", "event"),
    Cause.HOST: _own("host_is_safe", "strobe on the bus", BANK_CYCLES + 1),
}
