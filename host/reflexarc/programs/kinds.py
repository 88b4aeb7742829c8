"""Kinds of values: what each is measured in and how the sequencer's registers hold it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.sequencer import PROTECTED
from reflexarc.contract.program import MEASURED_FRACTION_BITS, SampleChannel
from reflexarc.contract.registers import Access, Register
from reflexarc.errors import BadInput
from reflexarc.programs.tree import Clamped, Difference, Number, Read, Reading, Scaled, Score, Sum, Value, Variable

MEASURED_ONE = 1 << MEASURED_FRACTION_BITS


class KindError(BadInput):
    """A value that is not what is due there."""


class Kind(enum.Enum):
    COUNT = "a count"
    TIME = "a time"
    CURRENT = "a current"
    CURRENT_SCORE = "a score in current"
    MONITOR = "a monitor voltage"
    BIAS = "a bias"
    X = "a position in x"
    Y = "a position in y"
    Z = "a height"

    @property
    def unit(self) -> str:
        """In which the user writes it."""
        return _UNITS[self]

    def to_raw(self, calibration: Calibration, value: float) -> float:
        """Raw value, not rounded. Counts as they are, times in cycles, scores in current and biases in codes, all else in Q20.12 of codes."""
        match self:
            case Kind.COUNT:
                return value
            case Kind.TIME:
                return value / calibration.sample_period_s * calibration.cycles_per_sample
            case Kind.CURRENT:
                return calibration.current_to_code(value) * MEASURED_ONE
            case Kind.CURRENT_SCORE:
                return calibration.current_to_code(value)
        return value / self._raw_unit(calibration)

    def to_physical(self, calibration: Calibration, raw: float) -> float:
        match self:
            case Kind.COUNT:
                return raw
            case Kind.TIME:
                return calibration.seconds(raw)
            case Kind.CURRENT:
                return calibration.code_to_current_A(raw / MEASURED_ONE)
            case Kind.CURRENT_SCORE:
                return calibration.code_to_current_A(raw)
        return raw * self._raw_unit(calibration)

    def _raw_unit(self, calibration: Calibration) -> float:
        match self:
            case Kind.MONITOR:
                return calibration.monitor_V_per_code / MEASURED_ONE
            case Kind.BIAS:
                return calibration.bias_V_per_code
            case Kind.X:
                return calibration.x_m_per_code / MEASURED_ONE
            case Kind.Y:
                return calibration.y_m_per_code / MEASURED_ONE
            case _:
                return calibration.z_m_per_code / MEASURED_ONE


_UNITS = {
    Kind.COUNT: "", Kind.TIME: "s", Kind.CURRENT: "A", Kind.CURRENT_SCORE: "A", Kind.MONITOR: "V", Kind.BIAS: "V", Kind.X: "m", Kind.Y: "m",
    Kind.Z: "m",
}  # fmt: skip
READING_KINDS = {
    Reading.CURRENT: Kind.CURRENT, Reading.MONITOR: Kind.MONITOR, Reading.X: Kind.X, Reading.Y: Kind.Y, Reading.Z: Kind.Z,
    Reading.BIAS: Kind.BIAS, Reading.CLOCK: Kind.TIME, Reading.LINE: Kind.COUNT, Reading.EVENTS: Kind.COUNT,
}  # fmt: skip
CHANNEL_KINDS = {SampleChannel.CURRENT: Kind.CURRENT, SampleChannel.MONITOR: Kind.MONITOR, SampleChannel.Z: Kind.Z}
SCORE_KINDS = {Score.Z: Kind.Z, Score.CURRENT: Kind.CURRENT_SCORE, Score.NUMBER: Kind.COUNT}


def event_fields(score: Score) -> dict[str, Kind]:
    """Of an event, by the name that follows the dot."""
    return {"x": Kind.X, "y": Kind.Y, "score": SCORE_KINDS[score], "class": Kind.COUNT}


@dataclass(frozen=True)
class Parameter:
    """What `Set` and `Ramp` change. ``kind`` is that of values that a program computes; None: only constants can be set."""

    name: str
    block: str
    register: Register
    address: int
    kind: Kind | None
    unit: str


SHORT_NAMES = {"bias": "gate.bias", "setpoint": "feedback.setpoint"}
BIAS_NAMES = ("bias", SHORT_NAMES["bias"])
_QUANTITY_KINDS = {"x": Kind.X, "y": Kind.Y, "z": Kind.Z}


def parameter(name: str) -> Parameter:
    """KindError for what is no register, or none that a program may write."""
    block_name, _, register_name = SHORT_NAMES.get(name, name).partition(".")
    try:
        block = REGISTER_MAP[block_name]
        register = block[register_name]
    except KeyError:
        raise KindError(f"there is no parameter {name!r}; known are {', '.join(SHORT_NAMES)} and registers such as feedback.kp") from None
    if block_name in PROTECTED:
        raise KindError(f"{name}: no program can write what watches over it; not accepted: {', '.join(PROTECTED)}")
    if register.access not in (Access.RW, Access.WO):
        raise KindError(f"{name} can't be written")
    if register.locked:
        raise KindError(f"{name} is locked while the interlock is armed, and programs run only then")
    kind = None
    if register.quantity == "bias" and register.scale == 1.0:
        kind = Kind.BIAS
    elif register.quantity in _QUANTITY_KINDS and register.scale == 1 / MEASURED_ONE:
        kind = _QUANTITY_KINDS[register.quantity]
    elif not register.quantity and not register.unit and register.scale == 1.0:
        kind = Kind.COUNT
    unit = "A" if name == "setpoint" else register.unit if register.unit in ("A", "V", "m", "s") else ""
    return Parameter(name, block_name, register, block.address(register_name), kind, unit)


Kinds = Mapping[str, Kind]  # of the variables so far


def _numbers_kinds(number: Number) -> set[Kind]:
    return {kind for kind in Kind if kind.unit == number.unit}


def kind_of(value: Value, kinds: Kinds, due: Kind | None = None) -> Kind:
    """Of ``value``, which is to be ``due`` if that is given. KindError with what was expected."""
    candidates = possible(value, kinds)
    if due is not None:
        if due not in candidates:
            raise KindError(f"{' or '.join(sorted(kind.value for kind in candidates))} stands where {due.value} is due")
        return due
    if len(candidates) > 1:
        raise KindError(
            f"this may be {' or '.join(sorted(kind.value for kind in candidates))}; use it with something that is only one of them"
        )
    return next(iter(candidates))


def possible(value: Value, kinds: Kinds) -> set[Kind]:
    """Kinds that ``value`` may be, at least one. KindError for a sum of different kinds, and names that were not given."""
    match value:
        case Number():
            return _numbers_kinds(value)
        case Variable(name):
            if name not in kinds:
                raise KindError(f"{name} is used before it is given")
            return {kinds[name]}
        case Read(what):
            return {READING_KINDS[what]}
        case Sum(a, b) | Difference(a, b):
            return _common(possible(a, kinds), possible(b, kinds))
        case Scaled(factor, of):
            inner = possible(of, kinds)
            if factor.unit == "":
                return inner
            if Kind.COUNT not in inner:
                raise KindError(
                    f"{' or '.join(sorted(kind.value for kind in inner))} can't be multiplied by a number with a unit; a count can"
                )
            return _numbers_kinds(factor) - {Kind.CURRENT_SCORE, Kind.TIME}
        case Clamped(of, low, high):
            return _common(possible(of, kinds), _common(_numbers_kinds(low), _numbers_kinds(high)))


def _common(a: set[Kind], b: set[Kind]) -> set[Kind]:
    both = a & b
    if not both:
        names = (" or ".join(sorted(kind.value for kind in side)) for side in (a, b))
        raise KindError(f"{' and '.join(names)} can't be compared or added")
    return both
