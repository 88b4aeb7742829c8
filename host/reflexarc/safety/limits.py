"""The hard and soft limits of a board in physical units, their checks, and the registers that hold them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reflexarc.calibration import Calibration, PreampKind
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.envelope import KEEP_OUT_EDGES, KEEP_OUTS, keep_out
from reflexarc.contract.blocks.interlock import MASKABLE, Cause, ReadyLine, Strap
from reflexarc.contract.registers import Register
from reflexarc.errors import BadInput
from reflexarc.safety.units import show

ALWAYS = frozenset(Cause) - MASKABLE

# These count as soon as their limit is given, and only then; so no budget can be written down and forgotten to be switched on.
BY_LIMIT: Mapping[Cause, str] = {
    Cause.DOSE_PIXEL: "pixel_dose_e",
    Cause.DOSE_REGION: "region_dose_e",
    Cause.DOSE_FRAME: "frame_dose_e",
    Cause.PULSES: "pulses",
    Cause.CHARGE: "charge_C",
    Cause.CPU_HEARTBEAT: "cpu_heartbeat_s",
    Cause.EVENT: "event_class",
    Cause.KEEP_OUT: "keep_outs",
}
SWITCHED = frozenset(MASKABLE - BY_LIMIT.keys())  # these are switched by name

REACTIONS = ("retract", "bias_ramp", "bias_contact", "trigger", "retreat")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with limits; ``paths`` are the keys of a limits file that it is about, the most telling first."""

    paths: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.paths[0]}: {self.text}" if self.paths else self.text


class LimitsRefused(BadInput):
    """Limits that can't be; nothing was written. ``faults`` has all of them."""

    def __init__(self, faults: list[Fault], heading: str = "these limits can't be set", lines: list[str] | None = None) -> None:
        self.faults = faults
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n  ".join([f"{heading}: {count}, nothing was written", *(lines or map(str, faults))]))


@dataclass(frozen=True)
class Rectangle:
    """A part of the scanner's plane, edges included."""

    x_low_m: float
    x_high_m: float
    y_low_m: float
    y_high_m: float

    def contains(self, x_m: float, y_m: float) -> bool:
        return self.x_low_m <= x_m <= self.x_high_m and self.y_low_m <= y_m <= self.y_high_m

    def overlaps(self, other: Rectangle) -> bool:
        return (
            self.x_low_m <= other.x_high_m
            and other.x_low_m <= self.x_high_m
            and self.y_low_m <= other.y_high_m
            and other.y_low_m <= self.y_high_m
        )

    @property
    def area_m2(self) -> float:
        return (self.x_high_m - self.x_low_m) * (self.y_high_m - self.y_low_m)


@dataclass(frozen=True)
class Reactions:
    """Which causes make the gate do more than its floor (no approach, hold x and y, blank; with a tip: withdraw z)."""

    retract: frozenset[Cause] = frozenset()  # withdraw z on a platform without a tip
    bias_ramp: frozenset[Cause] = frozenset()  # bias to 0 once z is withdrawn
    bias_contact: frozenset[Cause] = frozenset()  # bias to 0 at once if the tip is in contact, else as bias_ramp
    trigger: frozenset[Cause] = frozenset()  # raise the trigger output
    retreat: frozenset[Cause] = frozenset()  # step away with the coarse motor once z is withdrawn


@dataclass(frozen=True)
class BoardFacts:
    """What the limits are checked against beside the calibration: conditions that the board has, its straps, where it stands."""

    present: int
    straps: Strap
    x_m: float
    y_m: float


@dataclass(frozen=True)
class Limits:
    """What arming locks. Units in the names; times are board time; None: no limit but the converter's range.

    ``conditions`` are those of `SWITCHED` that count, ``conditions_where_present`` those that count on a board that has the means for them.
    `ALWAYS` count always, those of `BY_LIMIT` as soon as their limit is given.
    ``preamp_V_per_A`` and ``gain_lines``: what the limits were made for; a calibration that says otherwise is refused.
    """

    current_high_A: float = 2e-9
    current_low_A: float = -2e-9
    current_slew_A: float | None = 4e-9  # from one sample to the next
    contact_A: float | None = None  # magnitude from which on a trip counts as contact
    pulse_current_high_A: float = 4.9e-9  # during a pulse and its settling, at most for pulse_s
    pulse_current_low_A: float = -4.9e-9
    pulse_current_slew_A: float | None = None
    pulse_s: float = 2e-3
    monitor_high_V: float | None = 4.9
    monitor_low_V: float | None = -4.9
    monitor_slew_V: float | None = None
    stuck_samples: float = 64
    oscillation_limit: float = 4.0  # mean square of the feedback's error within the band, log2^2
    oscillation_from_Hz: float = 2.2e3  # edges of the band and window come in powers of two: the nearest
    oscillation_to_Hz: float = 71e3
    oscillation_window_s: float = 2.3e-3
    x_high_m: float | None = None
    x_low_m: float | None = None
    y_high_m: float | None = None
    y_low_m: float | None = None
    z_high_m: float | None = None
    z_low_m: float | None = None
    z_velocity_m_per_s: float | None = 500e-6
    bias_min_V: float = 10e-3  # least magnitude while feedback drives z
    keep_outs: tuple[Rectangle, ...] = ()
    beam_A: float = 0.0  # where the monitor measures it: the least that is assumed
    beam_A_per_V: float = 0.0  # beam current for a volt of the monitor; 0: not measured
    blanker_delay_s: float = 0.0
    pixel_dose_e: float | None = None
    region_dose_e: float | None = None
    frame_dose_e: float | None = None
    region: Rectangle | None = None
    pulses: float | None = None  # of this tip
    charge_C: float | None = None  # through this tip in pulses
    heartbeat_s: float = 0.5
    cpu_heartbeat_s: float | None = None
    ready_lines: ReadyLine = ReadyLine.HIGH_VOLTAGE | ReadyLine.VACUUM  # that must be high
    event_class: float | None = None  # of events that trip
    retract_m_per_s: float = 50e-6
    bias_ramp_V_per_s: float = 10.0
    retreat_steps: float = 0
    retreat_period_s: float = 1e-3  # of one step
    reactions: Reactions = Reactions()
    conditions: frozenset[Cause] = frozenset(
        {
            Cause.CURRENT_SLEW, Cause.SATURATED, Cause.STUCK, Cause.OSCILLATION, Cause.Z_VELOCITY, Cause.BIAS_LOW, Cause.READY, Cause.GAIN,
            Cause.UNDERFLOW,
        }
    )  # fmt: skip
    conditions_where_present: frozenset[Cause] = frozenset({Cause.MONITOR_HIGH, Cause.MONITOR_LOW, Cause.READBACK})
    preamp_V_per_A: float | None = None
    gain_lines: int | None = None

    def enabled(self, present: int) -> frozenset[Cause]:
        """Conditions that count on a board with the conditions ``present`` (mask)."""
        given = {cause for cause, name in BY_LIMIT.items() if getattr(self, name) not in (None, ())}
        where_present = {cause for cause in self.conditions_where_present if present >> cause & 1}
        return ALWAYS | self.conditions | where_present | given

    def faults(self, calibration: Calibration, board: BoardFacts | None = None) -> list[Fault]:
        """All that is wrong, in the order of the file; empty: these limits can be set. ``board``: and on this one."""
        return _Check(self, calibration, board).faults

    def check(self, calibration: Calibration, board: BoardFacts | None = None) -> None:
        """LimitsRefused with all faults."""
        if found := self.faults(calibration, board):
            raise LimitsRefused(found)

    def to_raw(self, calibration: Calibration, present: int) -> dict[str, int]:
        """Raw values by ``block.register``, for limits without faults. What lies between two codes is rounded to the safe side."""
        raw = {entry.register_name: entry.to_raw(calibration, getattr(self, entry.name)) for entry in ENTRIES}
        for index in range(KEEP_OUTS):
            rectangle = self.keep_outs[index] if index < len(self.keep_outs) else None
            for edge in KEEP_OUT_EDGES:
                raw[f"envelope.{keep_out(index, edge)}"] = _edge_to_raw(calibration, rectangle, edge)
        raw["envelope.keep_out_enable"] = (1 << len(self.keep_outs)) - 1
        for edge in KEEP_OUT_EDGES:
            raw[f"dose.region_{edge}"] = _edge_to_raw(calibration, self.region, edge)
        raw["interlock.ready_required"] = int(self.ready_lines)
        raw["interlock.gain_expected"] = calibration.preamp.gain_lines
        raw["interlock.enable"] = to_mask(self.enabled(present))
        for name in REACTIONS:
            raw[f"interlock.react_{name}"] = to_mask(getattr(self.reactions, name))
        return raw

    @classmethod
    def from_raw(cls, calibration: Calibration, raw: Mapping[str, int]) -> Limits:
        """The limits that a board holds, from the registers that `to_raw` writes."""
        enabled = from_mask(raw["interlock.enable"])
        values: dict[str, Any] = {entry.name: entry.from_raw(calibration, raw[entry.register_name]) for entry in ENTRIES}
        for cause, name in BY_LIMIT.items():
            if name in values and cause not in enabled:
                values[name] = None
        region = [raw[f"dose.region_{edge}"] for edge in KEEP_OUT_EDGES]
        return cls(
            **values,
            keep_outs=tuple(
                _rectangle_from_raw(calibration, [raw[f"envelope.{keep_out(index, edge)}"] for edge in KEEP_OUT_EDGES])
                for index in range(KEEP_OUTS)
                if raw["envelope.keep_out_enable"] >> index & 1
            ),
            region=_rectangle_from_raw(calibration, region) if any(region) else None,
            ready_lines=ReadyLine(raw["interlock.ready_required"]),
            reactions=Reactions(**{name: from_mask(raw[f"interlock.react_{name}"]) for name in REACTIONS}),
            conditions=enabled & SWITCHED,
            conditions_where_present=frozenset(),
            preamp_V_per_A=calibration.preamp.gain_V_per_A if calibration.preamp.kind is PreampKind.LINEAR else None,
            gain_lines=raw["interlock.gain_expected"],
        )

    def as_plain(self) -> dict[str, Any]:
        """For JSON: numbers, names and lists."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}


@dataclass(frozen=True)
class SoftLimits:
    """Limits that anyone may set at any time; None: open. Of one of these and its hard twin the tighter counts."""

    current_high_A: float | None = None
    current_low_A: float | None = None
    current_slew_A: float | None = None
    monitor_high_V: float | None = None
    monitor_low_V: float | None = None
    monitor_slew_V: float | None = None
    x_high_m: float | None = None
    x_low_m: float | None = None
    y_high_m: float | None = None
    y_low_m: float | None = None
    z_high_m: float | None = None
    z_low_m: float | None = None
    z_velocity_m_per_s: float | None = None
    bias_min_V: float | None = None
    pixel_dose_e: float | None = None
    region_dose_e: float | None = None
    frame_dose_e: float | None = None
    pulses: float | None = None
    charge_C: float | None = None

    def as_plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _plain(value: Any) -> Any:
    if isinstance(value, ReadyLine):
        return [line.name for line in ReadyLine if line in value]
    if isinstance(value, frozenset):
        return [cause.name for cause in sorted(value)]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def to_mask(causes: frozenset[Cause]) -> int:
    return sum(1 << cause for cause in causes)


def from_mask(mask: int) -> frozenset[Cause]:
    return frozenset(cause for cause in Cause if mask >> cause & 1)


# From a limit to what its register counts in, and back.


@dataclass(frozen=True)
class Conversion:
    to: Callable[[Calibration, float], float]
    back: Callable[[Calibration, float], float]


def _to_octave(ratio: float) -> float:
    """Power of two nearest to ``ratio``; what is not above 0 lies below every register."""
    return math.log2(ratio) if ratio > 0 else -math.inf


SAME = Conversion(lambda c, v: v, lambda c, v: v)
PER_SAMPLE = Conversion(lambda c, v: v * c.sample_period_s, lambda c, v: v / c.sample_period_s)
SAMPLES = Conversion(lambda c, v: v / c.sample_period_s, lambda c, v: v * c.sample_period_s)
HALF_SAMPLES = Conversion(lambda c, v: v / 2 / c.sample_period_s, lambda c, v: v * 2 * c.sample_period_s)
CYCLES = Conversion(lambda c, v: v / c.sample_period_s * c.cycles_per_sample, lambda c, v: c.seconds(v))
BEAM = Conversion(lambda c, v: c.electrons_per_cycle(v), lambda c, v: c.beam_A(v))
BEAM_PER_VOLT = Conversion(
    lambda c, v: c.electrons_per_cycle(v * c.monitor_V_per_code), lambda c, v: c.beam_A(v) / c.monitor_V_per_code
)  # fmt: skip
# A low-pass of 2**n samples has its edge at 1 / (2 pi 2**n) of the sample rate.
LOW_PASS = Conversion(
    lambda c, v: _to_octave(1 / (2 * math.pi * v * c.sample_period_s)) if v > 0 else math.inf,
    lambda c, n: 1 / (2 * math.pi * 2**n * c.sample_period_s),
)
AVERAGE = Conversion(lambda c, v: _to_octave(v / c.sample_period_s), lambda c, n: 2**n * c.sample_period_s)


@dataclass(frozen=True)
class Entry:
    """One limit: its field, its key in a file, its register."""

    name: str
    path: str
    unit: str
    register_name: str
    causes: tuple[Cause, ...] = ()  # that it belongs to
    conversion: Conversion = SAME
    optional: bool = False  # None: the loosest that the register can hold
    least: bool = False  # a lower limit: of two the greater is the tighter
    rounding: int = 0  # to a code: 1 never below what was asked for, -1 never above, 0 the nearest

    @property
    def register(self) -> Register:
        return _register(self.register_name)

    @property
    def soft_register_name(self) -> str:
        block, _, name = self.register_name.partition(".")
        return f"{block}.soft_{name}"

    @property
    def has_soft(self) -> bool:
        return self.name in _SOFT_NAMES

    @property
    def loosest(self) -> int:
        return self.register.low if self.least else self.register.high

    def to_raw(self, calibration: Calibration, value: float | None, soft: bool = False) -> int:
        """ValueError with the range, in the limit's unit, for what the register can't hold."""
        register = _register(self.soft_register_name) if soft else self.register
        if value is None:
            # The loosest soft limit is what its register wakes up with.
            return register.reset if soft else self.loosest if self.optional else register.reset
        try:
            wanted = self.conversion.to(calibration, value)
            raw = calibration.to_raw(register, wanted)
            off = calibration.to_physical(register, raw) - wanted
            # What is off in the last digits of a float is not off.
            if off * self.rounding < 0 and abs(off) > 1e-9 * abs(wanted):
                raw = min(max(raw + self.rounding, register.low), register.high)
            return raw
        except (ValueError, OverflowError):
            if register.quantity == "charge" and calibration.preamp.kind is not PreampKind.LINEAR:
                raise ValueError("a charge can't be counted behind a logarithmic preamplifier") from None
            ends = sorted(
                self.conversion.back(calibration, calibration.to_physical(register, raw)) for raw in (register.low, register.high)
            )
            raise ValueError(f"{show(value, self.unit)} is outside of what the board can hold, {self._ends(ends)}") from None

    def _ends(self, ends: list[float]) -> str:
        return " to ".join(show(end, self.unit) for end in ends)

    def from_raw(self, calibration: Calibration, raw: int, soft: bool = False) -> float | None:
        register = _register(self.soft_register_name) if soft else self.register
        if soft and raw == register.reset or not soft and self.optional and raw == self.loosest:
            return None
        return self.conversion.back(calibration, calibration.to_physical(register, raw))

    def tighter(self, hard: int, soft: int) -> int:
        return max(hard, soft) if self.least else min(hard, soft)

    def shown(self, value: float | None) -> str:
        return "none" if value is None else show(value, self.unit)


def _register(name: str) -> Register:
    block, _, register = name.partition(".")
    return REGISTER_MAP[block][register]


_SOFT_NAMES = frozenset(f.name for f in dataclasses.fields(SoftLimits))

ENTRIES = (
    Entry("current_high_A", "current.high", "A", "signals.current_high", (Cause.CURRENT_HIGH,), rounding=-1),
    Entry("current_low_A", "current.low", "A", "signals.current_low", (Cause.CURRENT_LOW,), least=True, rounding=1),
    Entry("current_slew_A", "current.slew", "A", "signals.current_slew", (Cause.CURRENT_SLEW,), optional=True, rounding=-1),
    Entry("contact_A", "current.contact", "A", "signals.contact_current", optional=True),
    Entry("pulse_current_high_A", "pulse.current_high", "A", "signals.pulse_current_high", (Cause.CURRENT_HIGH,), rounding=-1),
    Entry("pulse_current_low_A", "pulse.current_low", "A", "signals.pulse_current_low", (Cause.CURRENT_LOW,), least=True, rounding=1),
    Entry(
        "pulse_current_slew_A", "pulse.current_slew", "A", "signals.pulse_current_slew", (Cause.CURRENT_SLEW,), optional=True, rounding=-1
    ),
    Entry("pulse_s", "pulse.time", "s", "signals.pulse_samples_max", conversion=SAMPLES, rounding=-1),
    Entry("monitor_high_V", "monitor.high", "V", "signals.monitor_high", (Cause.MONITOR_HIGH,), optional=True, rounding=-1),
    Entry("monitor_low_V", "monitor.low", "V", "signals.monitor_low", (Cause.MONITOR_LOW,), optional=True, least=True, rounding=1),
    Entry("monitor_slew_V", "monitor.slew", "V", "signals.monitor_slew", (Cause.MONITOR_SLEW,), optional=True, rounding=-1),
    Entry("stuck_samples", "converter.stuck", "samples", "signals.stuck_samples", (Cause.STUCK,)),
    Entry("oscillation_limit", "oscillation.limit", "log2^2", "signals.oscillation_limit", (Cause.OSCILLATION,), rounding=-1),
    Entry("oscillation_from_Hz", "oscillation.from", "Hz", "signals.oscillation_slow", (Cause.OSCILLATION,), LOW_PASS),
    Entry("oscillation_to_Hz", "oscillation.to", "Hz", "signals.oscillation_fast", (Cause.OSCILLATION,), LOW_PASS),
    Entry("oscillation_window_s", "oscillation.window", "s", "signals.oscillation_window", (Cause.OSCILLATION,), AVERAGE),
    Entry("x_high_m", "position.x_high", "m", "envelope.x_high", (Cause.XY_RANGE,), optional=True, rounding=-1),
    Entry("x_low_m", "position.x_low", "m", "envelope.x_low", (Cause.XY_RANGE,), optional=True, least=True, rounding=1),
    Entry("y_high_m", "position.y_high", "m", "envelope.y_high", (Cause.XY_RANGE,), optional=True, rounding=-1),
    Entry("y_low_m", "position.y_low", "m", "envelope.y_low", (Cause.XY_RANGE,), optional=True, least=True, rounding=1),
    Entry("z_high_m", "position.z_high", "m", "envelope.z_high", (Cause.Z_HIGH,), optional=True, rounding=-1),
    Entry("z_low_m", "position.z_low", "m", "envelope.z_low", (Cause.Z_LOW,), optional=True, least=True, rounding=1),
    Entry(
        "z_velocity_m_per_s",
        "position.z_velocity",
        "m/s",
        "envelope.z_velocity",
        (Cause.Z_VELOCITY,),
        PER_SAMPLE,
        optional=True,
        rounding=-1,
    ),
    Entry("bias_min_V", "bias.least", "V", "envelope.bias_min", (Cause.BIAS_LOW,), least=True, rounding=1),
    Entry("beam_A", "dose.beam", "A", "dose.beam_rate", conversion=BEAM, rounding=1),
    Entry("beam_A_per_V", "dose.beam_per_monitor", "A/V", "dose.monitor_gain", conversion=BEAM_PER_VOLT, rounding=1),
    Entry("blanker_delay_s", "dose.blanker_delay", "s", "dose.blanker_delay", conversion=CYCLES, rounding=1),
    Entry("pixel_dose_e", "dose.pixel", "e", "dose.pixel_limit", (Cause.DOSE_PIXEL,), optional=True, rounding=-1),
    Entry("region_dose_e", "dose.region", "e", "dose.region_limit", (Cause.DOSE_REGION,), optional=True, rounding=-1),
    Entry("frame_dose_e", "dose.frame", "e", "dose.frame_limit", (Cause.DOSE_FRAME,), optional=True, rounding=-1),
    Entry("pulses", "tip.pulses", "pulses", "dose.pulses_limit", (Cause.PULSES,), optional=True),
    Entry("charge_C", "tip.charge", "C", "dose.charge_limit", (Cause.CHARGE,), SAMPLES, optional=True, rounding=-1),
    Entry("heartbeat_s", "heartbeat.host", "s", "interlock.heartbeat_timeout", (Cause.HEARTBEAT,), CYCLES, rounding=-1),
    Entry(
        "cpu_heartbeat_s",
        "heartbeat.cpu",
        "s",
        "interlock.cpu_heartbeat_timeout",
        (Cause.CPU_HEARTBEAT,),
        CYCLES,
        optional=True,
        rounding=-1,
    ),
    Entry("event_class", "event.class", "", "interlock.event_class", (Cause.EVENT,)),
    Entry("retract_m_per_s", "safe.retract", "m/s", "gate.retract_step", conversion=PER_SAMPLE),
    Entry("bias_ramp_V_per_s", "safe.bias_ramp", "V/s", "gate.bias_step", conversion=PER_SAMPLE),
    Entry("retreat_steps", "safe.retreat_steps", "steps", "gate.retreat_steps"),
    Entry("retreat_period_s", "safe.retreat_period", "s", "gate.retreat_period", conversion=HALF_SAMPLES),
)
BY_NAME = {entry.name: entry for entry in ENTRIES}
BY_PATH = {entry.path: entry for entry in ENTRIES}
SOFT_ENTRIES = tuple(entry for entry in ENTRIES if entry.has_soft)
WINDOWS = (
    ("current_low_A", "current_high_A"),
    ("pulse_current_low_A", "pulse_current_high_A"),
    ("monitor_low_V", "monitor_high_V"),
    ("x_low_m", "x_high_m"),
    ("y_low_m", "y_high_m"),
    ("z_low_m", "z_high_m"),
)


def _edge_register(edge: str) -> Register:
    return _register(f"envelope.{keep_out(0, edge)}")


def _edge_to_raw(calibration: Calibration, rectangle: Rectangle | None, edge: str) -> int:
    """Rounded outwards: a keep-out and a region are never smaller than asked for."""
    if rectangle is None:
        return 0
    register, value = _edge_register(edge), getattr(rectangle, f"{edge}_m")
    raw = calibration.to_raw(register, value)
    short = value - calibration.to_physical(register, raw)
    side = 1 if edge.endswith("high") else -1
    if short * side > 1e-9 * abs(value):
        raw = min(max(raw + side, register.low), register.high)
    return raw


def _rectangle_from_raw(calibration: Calibration, raw: list[int]) -> Rectangle:
    edges = zip(KEEP_OUT_EDGES, raw, strict=True)
    return Rectangle(**{f"{edge}_m": calibration.to_physical(_edge_register(edge), value) for edge, value in edges})


@dataclass
class _Check:
    """Collects the faults of limits."""

    limits: Limits
    calibration: Calibration
    board: BoardFacts | None
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._calibration_fits()
        raw = self._ranges()
        self._windows(raw)
        self._rectangles()
        self._conditions(raw)
        if self.board is not None:
            self._fits(self.board)

    def _say(self, text: str, *paths: str) -> None:
        self.faults.append(Fault(paths, text))

    def _calibration_fits(self) -> None:
        preamp, limits = self.calibration.preamp, self.limits
        wanted = limits.preamp_V_per_A
        if wanted is not None and preamp.kind is not PreampKind.LINEAR:
            self._say("the preamplifier of the calibration is logarithmic and has no gain", "preamp.gain")
        elif wanted is not None and not math.isclose(wanted, preamp.gain_V_per_A, rel_tol=1e-6):
            found = show(preamp.gain_V_per_A, "V/A")
            self._say(f"these limits are made for {show(wanted, 'V/A')}, the calibration has {found}", "preamp.gain")
        if limits.gain_lines is not None and limits.gain_lines != preamp.gain_lines:
            self._say(
                f"these limits are made for gain lines that read {limits.gain_lines}, the calibration has {preamp.gain_lines}",
                "preamp.gain_lines",
            )

    def _ranges(self) -> dict[str, int]:
        raw = {}
        for entry in ENTRIES:
            try:
                raw[entry.name] = entry.to_raw(self.calibration, getattr(self.limits, entry.name))
            except ValueError as error:
                self._say(str(error), entry.path)
        return raw

    def _windows(self, raw: Mapping[str, int]) -> None:
        for low, high in WINDOWS:
            if low in raw and high in raw and raw[low] >= raw[high]:
                lower, upper = BY_NAME[low], BY_NAME[high]
                values = (getattr(self.limits, low), getattr(self.limits, high))
                shown = [
                    entry.shown(entry.from_raw(self.calibration, raw[entry.name]) if value is None else value)
                    for entry, value in zip((lower, upper), values, strict=True)
                ]
                self._say(f"{shown[0]} does not lie below {upper.path} = {shown[1]}", lower.path, upper.path)
        if "z_high_m" in raw and raw["z_high_m"] != BY_NAME["z_high_m"].loosest:
            self._say(
                "lies below the withdrawn rail, where z stands whenever the board is not armed: it could never be armed", "position.z_high"
            )
        if {"oscillation_from_Hz", "oscillation_to_Hz"} <= raw.keys() and raw["oscillation_from_Hz"] <= raw["oscillation_to_Hz"]:
            limits = self.limits
            self._say(
                f"{show(limits.oscillation_from_Hz, 'Hz')} does not lie an octave below oscillation.to = {show(limits.oscillation_to_Hz, 'Hz')}",
                "oscillation.from",
                "oscillation.to",
            )

    def _rectangles(self) -> None:
        limits = self.limits
        if len(limits.keep_outs) > KEEP_OUTS:
            self._say(f"there are {len(limits.keep_outs)} keep-outs; the board has room for {KEEP_OUTS}", f"keep_out.{KEEP_OUTS}")
        named = [(f"keep_out.{index}", rectangle) for index, rectangle in enumerate(limits.keep_outs)]
        for path, rectangle in [*named, *([("region", limits.region)] if limits.region else [])]:
            good = True
            for edge in KEEP_OUT_EDGES:
                value = getattr(rectangle, f"{edge}_m")
                try:
                    self.calibration.to_raw(_edge_register(edge), value)
                except (ValueError, OverflowError):
                    reach = getattr(self.calibration, f"{edge[0]}_range_m")
                    self._say(
                        f"{show(value, 'm')} is outside of the scanner, {show(-reach, 'm')} to {show(reach, 'm')}", f"{path}.{edge}", path
                    )
                    good = False
            for axis in "xy":
                low, high = getattr(rectangle, f"{axis}_low_m"), getattr(rectangle, f"{axis}_high_m")
                if good and low >= high:
                    self._say(
                        f"{show(low, 'm')} does not lie below {axis}_high = {show(high, 'm')}",
                        f"{path}.{axis}_low",
                        f"{path}.{axis}_high",
                        path,
                    )

    def _conditions(self, raw: Mapping[str, int]) -> None:
        limits = self.limits
        switchable = limits.conditions | limits.conditions_where_present
        for cause in sorted(switchable - SWITCHED):
            if cause in BY_LIMIT:
                self._say(f"{cause.name} counts as soon as its limit is given; it has no switch", f"conditions.{cause.name}")
            else:
                self._say(f"{cause.name} always counts; it has no switch", f"conditions.{cause.name}")
        # Arming makes each condition fire: one that can't would only show there.
        on = limits.enabled((1 << len(Cause)) - 1)
        if Cause.BIAS_LOW in on and raw.get("bias_min_V") == 0:
            self._say("a least bias of 0 can't fire, so it can't be armed; give one, or switch BIAS_LOW off", "bias.least")
        if Cause.READY in on and not limits.ready_lines:
            self._say("no ready line is asked for, so READY can't fire and can't be armed; name one, or switch READY off", "lines.ready")
        doses = [name for name in ("pixel_dose_e", "region_dose_e", "frame_dose_e") if getattr(limits, name) is not None]
        if doses and not (raw.get("beam_A", 1) or raw.get("beam_A_per_V", 1)):
            self._say("a dose without a beam current is never used up; give dose.beam or dose.beam_per_monitor", BY_NAME[doses[0]].path)
        if limits.region_dose_e is not None and limits.region is None:
            self._say("the dose of a region needs the region", "dose.region")
        if limits.reactions.retreat and not limits.retreat_steps:
            self._say("a retreat of 0 steps goes nowhere; give safe.retreat_steps", "reactions.retreat", "safe.retreat_steps")

    def _fits(self, board: BoardFacts) -> None:
        limits, calibration = self.limits, self.calibration
        for cause in sorted(limits.conditions):
            if not board.present >> cause & 1:
                self._say(f"this board has no means for {cause.name}", f"conditions.{cause.name}")
        if limits.beam_A_per_V and Strap.MONITOR not in board.straps:
            self._say("this board has no second converter that could measure the beam", "dose.beam_per_monitor")
        if limits.reactions.retreat and Strap.MOTOR not in board.straps:
            self._say("this board has no coarse motor", "reactions.retreat")
        where = f"the present position ({show(board.x_m, 'm')}, {show(board.y_m, 'm')})"
        for index, rectangle in enumerate(limits.keep_outs):
            # A code more on each side: the position is known to a code.
            grown = Rectangle(
                rectangle.x_low_m - calibration.x_m_per_code, rectangle.x_high_m + calibration.x_m_per_code,
                rectangle.y_low_m - calibration.y_m_per_code, rectangle.y_high_m + calibration.y_m_per_code,
            )  # fmt: skip
            if grown.contains(board.x_m, board.y_m):
                self._say(f"this keep-out covers {where}", f"keep_out.{index}")
        for axis, value, unit in (("x", board.x_m, calibration.x_m_per_code), ("y", board.y_m, calibration.y_m_per_code)):
            low, high = getattr(limits, f"{axis}_low_m"), getattr(limits, f"{axis}_high_m")
            if low is not None and value < low - unit / 2:
                self._say(f"{where} lies outside", f"position.{axis}_low")
            if high is not None and value > high + unit / 2:
                self._say(f"{where} lies outside", f"position.{axis}_high")


def soft_faults(values: Mapping[str, float | None], soft: SoftLimits, hard: Limits, calibration: Calibration, enabled: int) -> list[Fault]:
    """What is wrong with soft limits ``values`` that are about to change ``soft`` beside ``hard``; ``enabled``: mask of what counts."""
    found: list[Fault] = []
    merged = dataclasses.replace(soft, **values)  # type: ignore[arg-type]
    raw: dict[str, int] = {}
    for entry in SOFT_ENTRIES:
        try:
            mine = entry.to_raw(calibration, getattr(merged, entry.name), soft=True)
        except ValueError as error:
            found.append(Fault((entry.path,), str(error)))
            continue
        raw[entry.name] = entry.tighter(entry.to_raw(calibration, getattr(hard, entry.name)), mine)
        silent = [cause.name for cause in entry.causes if not enabled >> cause & 1]
        if values.get(entry.name) is not None and silent:
            found.append(Fault((entry.path,), f"{silent[0]} is off on this board: a soft limit would not count"))
    for low, high in WINDOWS:
        changed = values.get(low) is not None or values.get(high) is not None
        if changed and low in raw and high in raw and raw[low] >= raw[high]:
            ends = [BY_NAME[name].shown(BY_NAME[name].from_raw(calibration, raw[name])) for name in (low, high)]
            found.append(Fault((BY_NAME[low].path,), f"{ends[0]} would not lie below {BY_NAME[high].path} = {ends[1]}"))
    return found
