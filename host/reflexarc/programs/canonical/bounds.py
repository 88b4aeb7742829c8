"""How far a canonical program may go. What stands here is stricter than the verifier, which follows a program step by step and takes the
feedback to be settled at each of them; here a program is bounded by all that it does anywhere, in whatever order that comes.

Wherever the feedback stopped, the junction's conductance is that of one of the program's setpoints at one of the biases that stood with the
feedback on, times what the tip has come nearer since. So no current is greater than

    most setpoint * most bias / least bias with the feedback on * exp(2 * decay * nearer),

and that stays below `SHARE` of the window: noise, drift while the feedback is held and its overshoot are in the other half.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from reflexarc.calibration.calibration import ELEMENTARY_CHARGE_C
from reflexarc.contract.blocks.interlock import Cause
from reflexarc.errors import BadInput
from reflexarc.programs.compile import COUNTED_LEAST
from reflexarc.programs.intervals import Box, Interval, Ranges
from reflexarc.programs.kinds import Kind
from reflexarc.programs.tree import Clamped, Difference, Number, Scaled, Sum, Value
from reflexarc.programs.values import LARGE, SCALE_MAX
from reflexarc.programs.verify import WORST_DECAY_PER_M, Assumptions

SHARE = 0.5  # of the current's limits, and of the mean square of the error that oscillation allows
LAG_M = (
    40e-12  # by which the tip may be behind a slope of 45 degrees while the feedback follows: 1 um/s at 4 kHz; an edge of Au(111) has 41
)
RING_S = 5.3e-6  # 1 / (2 pi 30 kHz), the lowest resonance of a scanner's z: a tip that stops overshoots by its speed times this
HEIGHT_MOST_M = 5e-9
HEIGHT_MOST_M_PER_S = 2e-6  # the displacement follows at twice this: 21 pm of overshoot
VELOCITY_SHARE = 0.1  # of the interlock's limit on z's velocity
MOVE_LEAST_M_PER_S = 20e-9  # 23 units of a move's step, which is rounded to whole ones
MOVE_MOST_M_PER_S = 1.0  # of a beam
RATE_LEAST_V_PER_S, RATE_MOST_V_PER_S = 1.0, 10e3
COUNTED_LEAST_S = 0.5e-6
EDGE_CODES = 2  # from the edge of the interlock's box: the limit is rounded inwards, the tip's place to the nearest code
KEEP_OUT_M = 1e-9  # from a keep-out
FACTOR_MOST = 1000.0
ENDLESS_S = 1e9  # whatever is longer
BISECTIONS = 20  # to a millionth of the way, of which two digits are kept


class Extremes(NamedTuple):
    """Of all that a program does, so far. Magnitudes."""

    least_V: float  # with the feedback on
    most_on_V: float
    most_V: float  # at any time
    least_A: float  # setpoints
    most_A: float
    nearer_m: float = 0.0  # than where the feedback was held
    lag_m: float = 0.0  # behind the surface, while the tip moves


class Instrument:
    """What holds for all programs on one instrument."""

    def __init__(self, given: Assumptions) -> None:
        limits, calibration = given.limits, given.calibration
        if given.tip and not (given.bias_V and 0 < given.setpoint_A):
            raise BadInput(
                f"no canonical program begins with a bias of {given.bias_V:g} V and a setpoint of {given.setpoint_A:g} A; neither is 0"
            )
        self.given, self.calibration = given, calibration
        self.cycle_s = calibration.seconds(1)
        self.start = Extremes(abs(given.bias_V), abs(given.bias_V), abs(given.bias_V), given.setpoint_A, given.setpoint_A)
        self._sign = math.copysign(1.0, given.bias_V)
        # A change of sign takes the current through twice its magnitude, within a sample at worst: half of a slew limit. Pulses may have
        # limits of their own, which may be the tighter ones.
        currents = [limits.current_high_A, limits.current_low_A, limits.pulse_current_high_A, limits.pulse_current_low_A]
        if Cause.CURRENT_SLEW in limits.conditions:
            currents += [one for one in (limits.current_slew_A, limits.pulse_current_slew_A) if one is not None]
        self.budget_A = max(SHARE * min(abs(one) for one in currents), self.current_A(self.start) if given.tip else 0.0)
        # The logarithm of the current that the feedback sees lies within so many bits whatever the program does, so the mean square of its
        # error is at most a quarter of their square.
        ringing = Cause.OSCILLATION in limits.conditions
        self.most_bits = 2 * math.sqrt(SHARE * limits.oscillation_limit) if ringing else math.inf
        self.least_V = max(2 * limits.bias_min_V if Cause.BIAS_LOW in limits.conditions else 0.0, 1e-3)
        self.converter_V = calibration.dac_full_scale_V * 0.99
        z_limit = limits.z_velocity_m_per_s if Cause.Z_VELOCITY in limits.conditions else None
        self.height_m_per_s = min(HEIGHT_MOST_M_PER_S, math.inf if z_limit is None else VELOCITY_SHARE * z_limit)
        self.height_m = min(HEIGHT_MOST_M, 0.5 * calibration.z_range_m)
        self.counted_s = max(COUNTED_LEAST_S, (COUNTED_LEAST + 1) * self.cycle_s)
        self.area = self._area()
        self.ranges = Ranges(calibration, Box(*_everywhere(given)))
        # Pulses, time in them and time with the beam on, in all.
        self.pulses = _whole(limits.pulses)
        self.pulse_cycles = _whole(None if limits.charge_C is None else limits.charge_C / self.budget_A / self.cycle_s)
        beam_A = max(limits.beam_A, limits.beam_A_per_V * calibration.adc_full_scale_V)
        doses = [one for one in (limits.pixel_dose_e, limits.frame_dose_e, limits.region_dose_e) if one is not None]
        self.exposed_cycles = _whole(min(doses) * ELEMENTARY_CHARGE_C / beam_A / self.cycle_s if doses and beam_A else None)

    def _area(self) -> Box | None:
        """Where the tip may be sent; None: nowhere, for a keep-out lies within it."""
        box, calibration = Box(*_everywhere(self.given)), self.calibration
        frame = self.given.frame or box
        x, y = (
            Interval(
                _whole_pm(max(outer.low, inner.low) + EDGE_CODES * code, 1), _whole_pm(min(outer.high, inner.high) - EDGE_CODES * code, -1)
            )
            for outer, inner, code in ((box.x, frame.x, calibration.x_m_per_code), (box.y, frame.y, calibration.y_m_per_code))
        )
        blocked = any(
            max(frame.x.low, box.x.low) <= out.x_high_m + KEEP_OUT_M
            and out.x_low_m - KEEP_OUT_M <= min(frame.x.high, box.x.high)
            and max(frame.y.low, box.y.low) <= out.y_high_m + KEEP_OUT_M
            and out.y_low_m - KEEP_OUT_M <= min(frame.y.high, box.y.high)
            for out in self.given.limits.keep_outs
        )
        return None if blocked or x.low > x.high or y.low > y.high else Box(x, y)

    def cycles(self, seconds: float) -> int:
        """No fewer than it takes."""
        return math.ceil(min(seconds, ENDLESS_S) / self.cycle_s * (1 + 1e-9))

    # What is allowed beside what the program does already. Each gives the nearest value that is, and the extremes with it.

    def current_A(self, extremes: Extremes) -> float:
        nearer = extremes.nearer_m + extremes.lag_m
        return extremes.most_A * extremes.most_V / extremes.least_V * math.exp(min(2 * WORST_DECAY_PER_M * nearer, 700.0))

    def allows(self, extremes: Extremes) -> bool:
        if not self.given.tip:
            return True
        bits = math.log2(extremes.most_on_V / extremes.least_V * extremes.most_A / extremes.least_A)
        return self.current_A(extremes) <= self.budget_A and bits <= self.most_bits

    def bias(self, extremes: Extremes, wanted_V: float, held: bool) -> tuple[float, Extremes] | None:
        """While the feedback is on it keeps its sign (on the way through 0 the tip would follow the vanishing current); None for another."""
        if held or not self.given.tip:
            sign, wanted = math.copysign(1.0, wanted_V), min(abs(wanted_V), self.converter_V)

            def extended(size: float) -> Extremes:
                return extremes._replace(most_V=max(extremes.most_V, size))

            least, good = 0.0, min(wanted, extremes.most_V)
        else:
            sign, wanted = self._sign, min(self._sign * wanted_V, self.converter_V)
            if wanted <= 0:
                return None

            def extended(size: float) -> Extremes:
                return extremes._replace(
                    least_V=min(extremes.least_V, size),
                    most_on_V=max(extremes.most_on_V, size),
                    most_V=max(extremes.most_V, size),
                )

            least, good = self.least_V, min(max(wanted, extremes.least_V), extremes.most_on_V)
        found = _nearest(good, wanted, lambda size: least <= size <= self.converter_V and self.allows(extended(size)))
        return sign * found, extended(found)

    def is_on(self, extremes: Extremes, bias_V: float) -> bool:
        """Whether the feedback may go on with this bias as far as the program has gone."""
        return extremes.least_V <= self._sign * bias_V <= extremes.most_on_V

    def setpoint(self, extremes: Extremes, wanted_A: float) -> tuple[float, Extremes]:
        def extended(setpoint_A: float) -> Extremes:
            return extremes._replace(least_A=min(extremes.least_A, setpoint_A), most_A=max(extremes.most_A, setpoint_A))

        wanted = min(max(wanted_A, 0.0), self.calibration.current_range_A)
        good = min(max(wanted, extremes.least_A), extremes.most_A)
        found = _nearest(good, wanted, lambda one: 0 < one < self.calibration.current_range_A and self.allows(extended(one)))
        return found, extended(found)

    def height(self, extremes: Extremes, wanted_m: float, speed_m_per_s: float) -> tuple[float, Extremes] | None:
        """None if even a tip that stops above the surface would come too near."""
        overshoot_m = 2 * speed_m_per_s * RING_S

        def extended(height_m: float) -> Extremes:
            return extremes._replace(nearer_m=max(extremes.nearer_m, max(-height_m, 0.0) + overshoot_m))

        if not self.allows(extended(0.0)):
            return None
        wanted = min(max(wanted_m, -self.height_m), self.height_m)
        found = _nearest(0.0, wanted, lambda one: self.allows(extended(one)))
        return found, extended(found)

    def speed(self, extremes: Extremes, wanted_m_per_s: float) -> tuple[float, Extremes] | None:
        """Of a move. None if even a slow one is not allowed."""
        if not self.given.tip:
            return min(max(wanted_m_per_s, MOVE_LEAST_M_PER_S), MOVE_MOST_M_PER_S), extremes
        per_second = 2 * math.pi * self.given.bandwidth_Hz

        def extended(speed: float) -> Extremes:
            return extremes._replace(lag_m=max(extremes.lag_m, speed / per_second))

        fastest = rounded(LAG_M * per_second)

        def allowed(speed: float) -> bool:
            return MOVE_LEAST_M_PER_S <= speed <= fastest and self.allows(extended(speed))

        if not allowed(MOVE_LEAST_M_PER_S):
            return None
        wanted = min(max(wanted_m_per_s, MOVE_LEAST_M_PER_S), fastest)
        found = _nearest(MOVE_LEAST_M_PER_S, wanted, allowed)
        return found, extended(found)

    def constants(self, value: Value, kind: Kind) -> Value:
        """``value`` of ``kind`` with its numbers within what the sequencer's words can hold."""
        match value:
            case Number(number, unit):
                words = self.ranges.words(kind)
                return Number(min(max(number, words.low * (1 - 1e-9)), words.high * (1 - 1e-9)), unit)
            case Sum(a, b):
                return Sum(self.constants(a, kind), self.constants(b, kind))
            case Difference(a, b):
                return Difference(self.constants(a, kind), self.constants(b, kind))
            case Scaled(Number(factor, unit), of):
                greatest = FACTOR_MOST if not unit else abs(kind.to_physical(self.calibration, 0.99 * SCALE_MAX * LARGE))
                return Scaled(Number(min(max(factor, -greatest), greatest), unit), of)
            case Clamped(of, low, high):
                least, most = (self.constants(end, kind) for end in sorted((low, high), key=lambda end: end.value))
                assert isinstance(least, Number) and isinstance(most, Number)
                return Clamped(self.constants(of, kind), least, most)
        return value


@functools.lru_cache(maxsize=16)
def instrument(given: Assumptions) -> Instrument:
    return Instrument(given)


def _everywhere(given: Assumptions) -> tuple[Interval, Interval]:
    """The interlock's box, or the scanner's range."""
    limits, calibration = given.limits, given.calibration
    ends = (
        (limits.x_low_m, limits.x_high_m, calibration.x_range_m, calibration.x_m_per_code),
        (limits.y_low_m, limits.y_high_m, calibration.y_range_m, calibration.y_m_per_code),
    )
    x, y = (Interval(-reach if low is None else low, reach - code if high is None else high) for low, high, reach, code in ends)
    return x, y


def _whole_pm(metres: float, side: int) -> float:
    """To whole picometres, inwards."""
    picometres = math.ceil(metres * 1e12) if side > 0 else math.floor(metres * 1e12)
    return float(f"{picometres}e-12")


def _whole(most: float | None) -> float:
    return math.inf if most is None else math.floor(most)


def _nearest(good: float, wanted: float, allowed: Callable[[float], bool]) -> float:
    """``wanted``, or what is nearest to it on the way from ``good``, to two digits. ``good`` is taken for allowed."""
    if wanted == good or allowed(wanted):
        return wanted
    inside, outside = good, wanted
    for _ in range(BISECTIONS):
        middle = inside + (outside - inside) / 2
        if allowed(middle):
            inside = middle
        else:
            outside = middle
    beyond, within = rounded(inside, down=wanted < good), rounded(inside, down=wanted > good)
    return next((found for found in (beyond, within) if allowed(found)), good)


def rounded(value: float, down: bool = True) -> float:
    """To two digits."""
    if value == 0 or not math.isfinite(value):
        return value
    decimal = Decimal(value)
    step = Decimal(1).scaleb(decimal.adjusted() - 1)
    return float(decimal.quantize(step, ROUND_FLOOR if down else ROUND_CEILING))
