"""A trip in words and as a picture, from its black box alone."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from reflexarc.contract.blocks.interlock import Cause
from reflexarc.contract.blocks.recorder import STATE_BLANK_BIT, STATE_HOLD_BIT, STATE_PULSE_BIT, STATE_SCAN_SHIFT
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.report.figure import DPI, GRID, MEASURED, QUIET, STYLE, TRIP, plain_axes, scaled, write_png
from reflexarc.safety.units import show
from reflexarc.store.blackbox_file import BlackBoxFile
from reflexarc.store.records import BlackBox

SIZE_IN = (16.0, 9.0)
COLUMNS = 110  # of the report
AROUND_TRIP = 6  # samples about the trip in which the one that tripped must lie

Floats = NDArray[np.float64]

WHAT = {
    Cause.CURRENT_HIGH: "the current rose above its window",
    Cause.CURRENT_LOW: "the current fell below its window",
    Cause.CURRENT_SLEW: "the current jumped from one sample to the next",
    Cause.MONITOR_HIGH: "the monitor rose above its window",
    Cause.MONITOR_LOW: "the monitor fell below its window",
    Cause.MONITOR_SLEW: "the monitor jumped from one sample to the next",
    Cause.SATURATED: "a converter stood at the end of its range",
    Cause.STUCK: "a converter repeated the same sample",
    Cause.OSCILLATION: "the feedback oscillated",
    Cause.XY_RANGE: "x or y was about to leave its box",
    Cause.Z_HIGH: "z was about to leave its box upwards",
    Cause.Z_LOW: "z was about to leave its box downwards",
    Cause.KEEP_OUT: "the tip or beam was about to enter a keep-out",
    Cause.Z_VELOCITY: "z was about to move too fast",
    Cause.BIAS_LOW: "the bias was too small for a feedback that drives z",
    Cause.DOSE_PIXEL: "the dose of a pixel was used up",
    Cause.DOSE_REGION: "the dose of the region was used up",
    Cause.DOSE_FRAME: "the dose of the frame was used up",
    Cause.PULSES: "the number of pulses of this tip was used up",
    Cause.CHARGE: "the charge through this tip was used up",
    Cause.READBACK: "a converter did not hold the code that it was sent",
    Cause.SAMPLE_LOST: "a conversion brought no sample",
    Cause.HEARTBEAT: "the host was silent for too long",
    Cause.CPU_HEARTBEAT: "the housekeeping core was silent for too long",
    Cause.ESTOP: "the e-stop chain was opened",
    Cause.READY: "a ready line fell",
    Cause.GAIN: "the preamplifier's gain lines changed",
    Cause.POSITION_OVERFLOW: "a position left what can be represented",
    Cause.UNDERFLOW: "a scan or program ran out of data",
    Cause.PARITY: "a bit of the locked configuration flipped",
    Cause.EVENT: "an event of the class that trips came",
    Cause.HOST: "it was asked to, or a program could not keep its time",
}
# What the recorder shows of a cause: array, unit, and on which side of the limit the violation lies.
SEEN = {
    Cause.CURRENT_HIGH: ("current_A", "A", 1),
    Cause.CURRENT_LOW: ("current_A", "A", -1),
    Cause.MONITOR_HIGH: ("monitor_V", "V", 1),
    Cause.MONITOR_LOW: ("monitor_V", "V", -1),
}
NOUNS = {"current_A": "the current", "monitor_V": "the monitor"}


def describe_blackbox(box: BlackBoxFile) -> list[str]:
    """What tripped, how fast it came, and what the outputs did, in sentences; times are the board's."""
    return [line for part in (_what(box), _how_fast(box), _before(box), _outputs(box)) for line in part]


def report_text(box: BlackBoxFile) -> str:
    """The same, with a heading, wrapped for a terminal."""
    cause = box.attributes.get("cause", "")
    heading = f"Black box of {box.attributes.get('board', 'a board')}: {cause}"
    lines = [heading, "=" * len(heading), ""]
    for sentence in describe_blackbox(box):
        lines += textwrap.wrap(f"- {sentence}", COLUMNS, subsequent_indent="  ")
    return "\n".join(lines) + "\n"


def _cause(box: BlackBoxFile) -> Cause | None:
    return Cause.__members__.get(str(box.attributes.get("cause", "")))


def _number(box: BlackBoxFile, name: str) -> float:
    value = box.attributes.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def _what(box: BlackBoxFile) -> list[str]:
    cause = _cause(box)
    name, unit, detail = (str(box.attributes.get(key, "")) for key in ("cause", "unit", "detail"))
    when = f"{_number(box, 'trip_time_s'):.6f} s after the board's start (cycle {int(_number(box, 'trip_time_cycles'))})"
    found = [f"Tripped by {name}{f': {WHAT[cause]}' if cause in WHAT else ''}, {when}."]
    if unit:
        found.append(f"Measured {show(_number(box, 'value'), unit, 5)} against a limit of {show(_number(box, 'limit'), unit, 5)}.")
    if detail:
        found.append(f"{detail[0].upper()}{detail[1:]}.")
    others = [other for other in str(box.attributes.get("causes", "")).split(", ") if other and other != name]
    found.append(f"Since then also: {', '.join(others)}." if others else "No other cause came since.")
    return found


def _trip_index(ring: BlackBox) -> int:
    """Index of the first entry after the trip."""
    return int(np.searchsorted(ring.time_s, 0.0, side="left"))


def _how_fast(box: BlackBoxFile) -> list[str]:
    cause, ring = _cause(box), box.short
    if cause is Cause.STUCK:
        values = np.asarray(ring.current_A)[: _trip_index(ring) + 1]
        changed = np.flatnonzero(np.diff(values))
        same = len(values) - (int(changed[-1]) + 1 if changed.size else 0)
        return [f"The last {same} samples of the current before the trip are equal, {show(float(values[-1]), 'A', 5)}."] if same > 1 else []
    if cause is Cause.CURRENT_SLEW or cause is Cause.MONITOR_SLEW:
        unit = str(box.attributes.get("unit", ""))
        period = _number(box, "sample_period_s")
        return [f"That is {_rate(_number(box, 'value') / period, unit)}, within one sample."] if period else []
    if cause not in SEEN:
        return []
    name, unit, side = SEEN[cause]
    recorded = ring.arrays().get(name)
    if recorded is None or not len(recorded):
        return []
    values = np.asarray(recorded, np.float64)
    limit = _number(box, "limit")
    trip = _trip_index(ring)
    bad = np.flatnonzero((values - limit) * side > 0)
    bad = bad[(bad >= trip - AROUND_TRIP) & (bad <= trip + 1)]
    if not bad.size:
        return ["The sample that tripped is not in the recording."]
    first = int(bad[0])
    good = np.flatnonzero((values[:first] - limit) * side <= 0)
    if not good.size:
        return [f"{NOUNS[name].capitalize()} lies beyond the limit from the beginning of the recording on."]
    last_good = int(good[-1])
    step_s = float(ring.time_s[first] - ring.time_s[last_good])
    slope = float(values[first] - values[last_good]) / step_s
    found = [
        f"The last good sample, {show(step_s, 's', 4)} before the one that tripped, was {show(float(values[last_good]), unit, 4)}; from there "
        f"{NOUNS[name]} changed by {_rate(slope, unit)}."
    ]
    half = np.flatnonzero(np.abs(values[: first + 1]) < abs(limit) / 2)
    if half.size and abs(limit) > 0:
        took_s = float(ring.time_s[first] - ring.time_s[int(half[-1])])
        mean = float(values[first] - values[int(half[-1])]) / took_s
        found.append(f"It had been below half of the limit {show(took_s, 's', 4)} before: {_rate(mean, unit)} on average since.")
    return found


def _rate(slope: float, unit: str) -> str:
    """A change per time in what reads well: per microsecond."""
    return f"{show(slope * 1e-6, unit, 4)} per µs"


def _before(box: BlackBoxFile) -> list[str]:
    """What was going on."""
    ring = box.short
    index = max(_trip_index(ring) - 1, 0)
    if not len(ring):
        return []
    state = int(ring.state[index])
    scan = ScanState(state >> STATE_SCAN_SHIFT & 7)
    doing = "no scan was under way" if scan is ScanState.IDLE else f"the scan was at '{scan.name.lower()}'"
    extras = ["a pulse was being given"] if state >> STATE_PULSE_BIT & 1 else []
    if state >> STATE_HOLD_BIT & 1 and not extras:
        extras = ["the feedback was held"]
    where = f"({show(float(ring.x_m[index]), 'm', 4)}, {show(float(ring.y_m[index]), 'm', 4)})"
    return [f"At that moment {' and '.join([doing, *extras])}, at {where}, with a bias of {show(float(ring.bias_V[index]), 'V', 4)}."]


def _outputs(box: BlackBoxFile) -> list[str]:
    ring = box.short
    trip = _trip_index(ring)
    if trip >= len(ring) or trip == 0:
        return ["The recording does not reach across the trip."]
    return [*_z(box, trip), *_xy(ring, trip), *_bias(box, trip), *_blank(ring, trip), *_contact(box, trip)]


def _when(time_s: float) -> str:
    return "the first sample after the trip" if time_s <= 0 else f"the sample {show(time_s, 's', 4)} after the first one after the trip"


def _z(box: BlackBoxFile, trip: int) -> list[str]:
    ring = box.short
    z, time_s = np.asarray(ring.z_m, float), np.asarray(ring.time_s, float)
    before, after = float(z[trip - 1]), z[trip - 1 :]
    rail = _number(box, "rail_m")
    found = []
    if float(np.min(np.diff(after), initial=0.0)) < 0:
        found.append("z APPROACHED the sample after the trip. That must never happen: do not use this board.")
    if rail and before >= rail:
        return [*found, "z stood at the withdrawn rail already."]
    moved = float(after[-1]) - before
    if moved <= 0:
        return [*found, f"z did not withdraw within {show(float(time_s[-1]), 's', 4)}."]
    moving = np.flatnonzero(np.diff(after) > 0)
    start, end = trip - 1 + int(moving[0]), trip + int(moving[-1])
    speed = float(z[end] - z[start]) / float(time_s[end] - time_s[start])
    found.append(
        f"z withdrew from {show(before, 'm', 4)} by {show(moved, 'm', 4)} within {show(float(time_s[end] - time_s[start]), 's', 4)}, "
        f"at {show(speed, 'm/s', 4)}; the first step stands in {_when(float(time_s[start + 1]))}."
    )
    long_z, long_s = np.asarray(box.long.z_m, float), np.asarray(box.long.time_s, float)
    there_short = np.flatnonzero(z[trip:] >= rail) if rail else np.array([])
    there_long = np.flatnonzero((long_z >= rail) & (long_s >= 0)) if rail else np.array([])
    if there_short.size:
        found.append(f"It reached the withdrawn rail {show(float(time_s[trip + int(there_short[0])]), 's', 4)} after the trip.")
    elif there_long.size:
        found.append(f"It reached the withdrawn rail at most {show(float(long_s[int(there_long[0])]), 's', 4)} after the trip.")
    elif rail:
        found.append("It was still on its way at the end of the recording.")
    return found


def _xy(ring: BlackBox, trip: int) -> list[str]:
    travel = max(float(np.ptp(np.asarray(axis, float)[trip:])) for axis in (ring.x_m, ring.y_m))
    return ["x and y held."] if travel == 0 else [f"x and y moved by {show(travel, 'm', 4)} after the trip."]


def _bias(box: BlackBoxFile, trip: int) -> list[str]:
    ring = box.short
    bias = np.asarray(ring.bias_V, float)
    before, first, last = float(bias[trip - 1]), float(bias[trip]), float(bias[-1])
    at_the_end = float(np.asarray(box.long.bias_V, float)[-1]) if len(box.long) else last
    pulse = int(ring.state[trip - 1]) >> STATE_PULSE_BIT & 1
    found = []
    if pulse and first != before:
        found.append(f"The pulse was ended: the bias went from {show(before, 'V', 4)} back to {show(first, 'V', 4)}.")
    changes = np.flatnonzero(np.diff(bias[trip:]))
    if not changes.size and at_the_end == last:
        found.append(f"The bias kept {show(last, 'V', 4)}.")
    elif changes.size and last == 0 and len(changes) == 1:
        found.append(f"The bias went to 0 at once, in {_when(float(ring.time_s[trip + int(changes[0]) + 1]))}.")
    elif at_the_end == 0:
        found.append(f"The bias was ramped from {show(first, 'V', 4)} to 0.")
    else:
        found.append(f"The bias was on its way from {show(first, 'V', 4)}, at {show(at_the_end, 'V', 4)}, at the end of the recording.")
    return found


def _blank(ring: BlackBox, trip: int) -> list[str]:
    blank = np.asarray(ring.state, np.uint32) >> STATE_BLANK_BIT & 1
    if blank[trip - 1]:
        return ["The beam was blanked already."]
    closed = np.flatnonzero(blank[trip:])
    if not closed.size:
        return ["The beam was NOT blanked."]
    return [f"The beam was blanked in {_when(float(ring.time_s[trip + int(closed[0])]))}."]


def _contact(box: BlackBoxFile, trip: int) -> list[str]:
    ring = box.short
    current = np.abs(np.asarray(ring.current_A, float)[trip:])
    peak = int(np.argmax(current))
    found = [f"The greatest current from then on was {show(float(current[peak]), 'A', 4)}, in {_when(float(ring.time_s[trip + peak]))}."]
    contact = box.hard.get("contact_A")
    if isinstance(contact, int | float):
        touching = int(np.count_nonzero(current >= contact))
        found.append(f"The tip was in contact in {touching} samples." if touching else "The tip was not in contact.")
    return found


def draw_blackbox(path_png: str | os.PathLike[str], box: BlackBoxFile) -> None:
    """Both rings about the trip, current, z and bias one below the other, into a PNG file. StoreError if it can't be written."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=SIZE_IN, dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        cause = str(box.attributes.get("cause", ""))
        figure.text(0.05, 0.955, f"{box.attributes.get('board', 'board')}: {cause}", fontsize=19, fontweight="bold", va="center")
        figure.text(0.05, 0.918, textwrap.shorten(" ".join(_what(box)), 170, placeholder=" …"), fontsize=11.5, color=QUIET, va="center")
        grid = figure.add_gridspec(3, 2, left=0.06, right=0.98, bottom=0.07, top=0.86, wspace=0.14, hspace=0.1)
        for column, (ring, title) in enumerate(((box.short, "Each sample about the trip"), (box.long, "The time before"))):
            axes = [figure.add_subplot(grid[0, column])]
            axes += [figure.add_subplot(grid[row, column], sharex=axes[0]) for row in (1, 2)]
            axes[0].set_title(title)
            _draw_ring(axes, ring, _number(box, "limit") if _cause(box) in (Cause.CURRENT_HIGH, Cause.CURRENT_LOW) else None)
            figure.align_ylabels(axes)
        write_png(figure, path_png)


def _draw_ring(axes: Sequence[Axes], ring: BlackBox, limit_A: float | None) -> None:
    time_s = np.asarray(ring.time_s, float)
    span = float(np.max(np.abs(time_s), initial=1e-9))
    factor_t, unit_t = scaled(span, "s")
    for ax, name, unit, label in zip(axes, ("current_A", "z_m", "bias_V"), ("A", "m", "V"), ("I", "z", "bias"), strict=True):
        values = np.asarray(getattr(ring, name), float)
        largest = float(np.max(np.abs(values), initial=0.0))
        factor, unit_name = scaled(largest, unit)
        ax.axvline(0, color=TRIP, linewidth=1.2)
        if name == "current_A":
            if ring.current_low_A is not None and ring.current_high_A is not None:
                ax.fill_between(
                    time_s * factor_t,
                    ring.current_low_A * factor,
                    ring.current_high_A * factor,
                    color=MEASURED,
                    alpha=0.25,
                    linewidth=0,
                    step="pre",
                )
            if limit_A is not None and abs(limit_A) < 5 * max(largest, 1e-15):
                ax.axhline(limit_A * factor, color=TRIP, linewidth=1, linestyle="--")
        ax.plot(time_s * factor_t, values * factor, color=MEASURED, linewidth=1.2, drawstyle="steps-post")
        ax.set_ylabel(f"{label} ({unit_name})")
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.margins(y=0.1)
        plain_axes(ax)
        ax.grid(True, color=GRID)
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
    axes[-1].set_xlabel(f"time from the trip ({unit_t})")
    if len(time_s) > 1:
        axes[0].set_xlim(time_s[0] * factor_t, time_s[-1] * factor_t)
