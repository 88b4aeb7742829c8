"""A raster as the scan's registers take it: steps, turns with limited acceleration, drift."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks import scan
from reflexarc.contract.blocks.scan import (
    AXES,
    DRIFT_FRACTION_BITS,
    POSITION_FRACTION_BITS,
    STEP_FRACTION_BITS,
    TURN_FRACTION_BITS,
    ScanFlags,
)
from reflexarc.contract.packets import Direction
from reflexarc.contract.registers import Access
from reflexarc.errors import BadInput
from reflexarc.scans.frame import Frame

Array = NDArray[np.float64]
SAMPLES_MAX = (1 << 24) - 1
INTERLACE_MAX = 255
DRIFT_MAX = scan.BLOCK["drift_x"].high / (1 << DRIFT_FRACTION_BITS)  # LSB a sample
TURN_SHARE_MAX = 4.0  # a turn longer than so many lines is no scan any more


class Mode(enum.Enum):
    """How lines are run through."""

    TRACE_RETRACE = "trace-retrace"  # each line there and back, both captured
    SERPENTINE = "serpentine"  # each line once, there and back by turns
    FORWARD = "forward"  # each line once, flying back between two


@dataclass(frozen=True)
class Raster:
    """How a frame is scanned. Times of the board; ``acceleration_m_per_s2`` is the greatest of x and y in turns, None lets them jump (a beam).

    ``overscan_s`` is run through in motion before and behind each line, ``settle_s`` at rest before it. ``stepped`` lets the position stand
    for each pixel. ``interlace`` scans each so many lines first. ``lift`` scans each line a second time, at a height that the lift block
    has. ``drift_m_per_s`` is followed in x, y, z.
    """

    frame: Frame
    pixel_s: float
    mode: Mode = Mode.TRACE_RETRACE
    interlace: int = 1
    stepped: bool = False
    lift: bool = False
    overscan_s: float = 0.0
    settle_s: float = 0.0
    acceleration_m_per_s2: float | None = 1.0
    drift_m_per_s: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class RasterPlan:
    """``registers`` by name, raw; ``start_m`` (x, y, z) is where the scan begins; ``line_samples`` of a whole line with its ways, once or there
    and back as the mode has it; ``passes`` of each line that are captured, in their order: second pass?, direction."""

    registers: dict[str, int]
    start_m: tuple[float, float, float]
    pixel_samples: int
    line_samples: int
    samples: int
    passes: tuple[tuple[bool, Direction], ...]
    serpentine: bool

    def directions(self, line: int) -> Iterator[tuple[bool, Direction]]:
        """What is captured of a line, in time's order."""
        if self.serpentine and line % 2:
            yield False, Direction.BACKWARD
        else:
            yield from self.passes


def _metres(calibration: Calibration) -> Array:
    """A DAC LSB of x, y, z."""
    return np.array([calibration.x_m_per_code, calibration.y_m_per_code, calibration.z_m_per_code])


def _codes(calibration: Calibration, way_m: Array) -> Array:
    """Metres of x, y, z to DAC LSB."""
    return np.asarray(way_m / _metres(calibration), np.float64)


def _registers(name: str, codes: Array, fraction_bits: int) -> dict[str, int]:
    """Three registers; BadInput for a value that none can hold."""
    found = {}
    for axis, code in zip(AXES, codes, strict=True):
        value = float(code) * (1 << fraction_bits)
        register = scan.BLOCK[f"{name}_{axis}"]
        if not math.isfinite(value) or not register.low <= round(value) <= register.high:
            raise BadInput(
                f"the scan's {name.split('_')[0]} in {axis} is beyond what its register can hold; make the scan smaller or slower"
            )
        found[f"scan.{register.name}"] = round(value)
    return found


def _half_samples(change: Array, way: Array, speed: Array, most: Array) -> int:
    """Least n for which a way of 2n samples keeps its accelerations: with a reversal ``change`` of speed, and ``way`` beside it."""
    n = 1
    while np.any(np.abs(change) / n + np.abs(way - 2 * n * speed) / n**2 > most):
        n = max(n + 1, math.ceil(n * 1.02))
        if n > SAMPLES_MAX // 4:
            raise BadInput("the acceleration allowed is too small for this scan's turns; accepted: a greater one, or a slower scan")
    return n


def standing_still() -> dict[str, int]:
    """All settings of a raster at their reset values: one pixel in one place."""
    settings = (register for register in scan.BLOCK.registers if register.access is Access.RW)
    return {f"scan.{register.name}": register.reset for register in settings}


def plan_raster(raster: Raster, calibration: Calibration) -> RasterPlan:
    """Registers for a raster. BadInput, one line, for what the scanner or the registers can't do."""
    frame = raster.frame
    period_s = calibration.sample_period_s
    if not (math.isfinite(raster.pixel_s) and raster.pixel_s >= 0.999 * period_s):
        raise BadInput(f"time per pixel {raster.pixel_s:g} s is below the minimum of one sample, {period_s:g} s")
    if raster.pixel_s > SAMPLES_MAX * period_s:
        raise BadInput(f"time per pixel {raster.pixel_s:g} s is above the maximum of {SAMPLES_MAX * period_s:g} s")
    pixel_samples = max(1, calibration.samples(raster.pixel_s))
    if raster.lift and raster.mode is not Mode.TRACE_RETRACE:
        raise BadInput("a second pass needs trace and retrace")
    if not 1 <= raster.interlace <= INTERLACE_MAX:
        raise BadInput(f"interlace = {raster.interlace} is not possible; accepted: 1 to {INTERLACE_MAX}")
    fastest_m_per_s = DRIFT_MAX / period_s * _metres(calibration)
    for axis, value, most in zip(AXES, raster.drift_m_per_s, fastest_m_per_s, strict=True):
        if not abs(value) <= most:
            raise BadInput(f"a drift of {value:g} m/s in {axis} is not possible; accepted: up to ±{most:.3g} m/s with this scanner")
    for name in ("overscan_s", "settle_s"):
        value = getattr(raster, name)
        if not (math.isfinite(value) and 0 <= value < SAMPLES_MAX * period_s):
            raise BadInput(f"{name} = {value:g} is not possible; accepted: 0 to {SAMPLES_MAX * period_s:g} s")
    if raster.stepped and (raster.overscan_s or raster.acceleration_m_per_s2 is not None):
        raise BadInput("a position that stands for each pixel has neither overscan nor acceleration; leave both out")
    overscan, settle = calibration.samples(raster.overscan_s), calibration.samples(raster.settle_s)

    pixel = _codes(calibration, frame.along_m)
    step = pixel if raster.stepped else pixel / pixel_samples
    line = _codes(calibration, frame.across_m)
    step_bits = POSITION_FRACTION_BITS if raster.stepped else STEP_FRACTION_BITS
    step_raw = np.round(step * (1 << step_bits))
    # A line's step is a whole number of 2^-20 (stepped: 2^-12) LSB: of a frame that is too small more than a hundredth would be lost.
    if np.abs(step_raw[:2]).max() < 50:
        raise BadInput(
            f"a frame of {frame.width_m:g} m is too small for {frame.pixels} pixels of {pixel_samples} samples; make it larger or faster"
        )
    speed = step_raw / (1 << step_bits)
    line_pixels = frame.pixels * pixel_samples  # samples
    moves = frame.pixels - 1 if raster.stepped else line_pixels - 1

    advance = line * raster.interlace
    turn_half = next_half = 0
    turn_1 = turn_2 = next_1 = next_2 = np.zeros(3)
    if raster.acceleration_m_per_s2 is not None:
        if not (math.isfinite(raster.acceleration_m_per_s2) and raster.acceleration_m_per_s2 > 0):
            raise BadInput(f"acceleration_m_per_s2 = {raster.acceleration_m_per_s2:g} is not possible; accepted: a number above 0")
        most = np.abs(_codes(calibration, np.full(3, raster.acceleration_m_per_s2 * period_s**2)))
        limit = scan.BLOCK["turn_1_x"].high / (1 << TURN_FRACTION_BITS)
        most = np.minimum(most, limit)
        most[2] = limit  # z follows a plane of x and y
        if raster.mode is Mode.FORWARD:
            length = speed * (moves + (2 * overscan if overscan else 0))
            way = advance - length
            next_half = _half_samples(np.zeros(3), way, speed, most)
            change = (way - 2 * next_half * speed) / next_half**2
            next_1, next_2 = change, -change
        else:
            beside = advance if raster.mode is Mode.SERPENTINE else np.zeros(3)
            turn_half = _half_samples(speed, beside, np.zeros(3), most)
            turn_1, turn_2 = -speed / turn_half + beside / turn_half**2, -speed / turn_half - beside / turn_half**2
            next_half = _half_samples(speed, advance, np.zeros(3), most)
            next_1, next_2 = speed / next_half + advance / next_half**2, speed / next_half - advance / next_half**2
        for half in (turn_half, next_half):
            if 2 * half > TURN_SHARE_MAX * max(line_pixels, 10000):
                raise BadInput(
                    f"turns of {2 * half * period_s:g} s would be longer than {TURN_SHARE_MAX:g} lines; accepted: a greater acceleration, a slower scan"
                )

    flags = {Mode.TRACE_RETRACE: ScanFlags.BACKWARD, Mode.SERPENTINE: ScanFlags.SERPENTINE, Mode.FORWARD: ScanFlags(0)}[raster.mode]
    flags |= ScanFlags.STEPPED if raster.stepped else ScanFlags(0)
    flags |= ScanFlags.LIFT if raster.lift else ScanFlags(0)
    registers = {
        "scan.flags": int(flags),
        "scan.pixels": frame.pixels,
        "scan.lines": frame.lines,
        "scan.interlace": raster.interlace,
        "scan.pixel_samples": pixel_samples,
        "scan.settle_samples": settle,
        "scan.overscan_samples": overscan,
        "scan.turn_samples": turn_half,
        "scan.next_samples": next_half,
        **_registers("step", step, step_bits),
        **_registers("line", advance, POSITION_FRACTION_BITS),
        **_registers("field", line, POSITION_FRACTION_BITS),
        **_registers("turn_1", turn_1, TURN_FRACTION_BITS),
        **_registers("turn_2", turn_2, TURN_FRACTION_BITS),
        **_registers("next_1", next_1, TURN_FRACTION_BITS),
        **_registers("next_2", next_2, TURN_FRACTION_BITS),
        **_registers("drift", _codes(calibration, np.array(raster.drift_m_per_s) * period_s), DRIFT_FRACTION_BITS),
    }

    # A pixel's samples spread over its width, their mean at its centre; a stepped one stands there.
    spread = 0.0 if raster.stepped else (pixel_samples - 1) / 2 / pixel_samples
    start = frame.place_m(0, -spread) - overscan * frame.along_m / (1 if raster.stepped else pixel_samples)
    one_way = settle + 2 * overscan + line_pixels
    both_ways = raster.mode is Mode.TRACE_RETRACE
    repeats = 2 if raster.lift else 1
    if both_ways:
        line_samples = repeats * 2 * one_way + (2 * repeats - 1) * 2 * turn_half + 2 * next_half
    else:
        line_samples = one_way + 2 * max(turn_half, next_half)
    ways = [Direction.FORWARD, Direction.BACKWARD] if both_ways else [Direction.FORWARD]
    return RasterPlan(
        registers=registers,
        start_m=(float(start[0]), float(start[1]), float(start[2])),
        pixel_samples=pixel_samples,
        line_samples=line_samples,
        samples=line_samples * frame.lines,
        passes=tuple((bool(second), way) for second in range(repeats) for way in ways),
        serpentine=raster.mode is Mode.SERPENTINE,
    )
