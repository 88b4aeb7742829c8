"""The picture of a run, ``report.png``: what was measured, what is true, and the moments before the trip."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from reflexarc.store.errors import StoreError, one_line
from reflexarc.store.records import BlackBox, EventRow, ScanGeometry

SIZE_IN, DPI = (16.0, 10.0), 100
TRIP_WINDOW_S = 400e-6
TEXT_COLUMNS, TEXT_LINES = 46, 18

INK, QUIET, GRID, MISSING = "#1d232b", "#5d6773", "#dfe3e8", "#b9bec5"
MEASURED, TRUE, REACTION, TRIP = "#1b5e9e", "#e07b00", "#ff3d3d", "#c62828"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same letters on each machine
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.formatter.useoffset": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "text.usetex": False,
    "text.parse_math": False,  # a title may hold a dollar sign
}

Image = NDArray[np.float64]


def draw_report(
    path_png: str | os.PathLike[str],
    *,
    geometry: ScanGeometry,
    topography_m: ArrayLike,
    current_A: ArrayLike,
    events: Sequence[EventRow],
    reactions_xy_m: Sequence[tuple[float, float]],
    blackbox: BlackBox | None,
    true_surface_m: ArrayLike | None,
    title: str,
    lines_of_text: Sequence[str],
) -> None:
    """Draw the report into the PNG file ``path_png``, 1600 × 1000 pixels; the same input gives the same bytes.

    ``topography_m``, ``current_A`` and ``true_surface_m`` have the shape (lines, pixels); NaN, as in a line that is missing, is
    drawn grey. ``events`` and ``reactions_xy_m`` are in the coordinates of the scanner. The two topographies share a colour scale
    after their medians were removed. Raises `ValueError` if an image does not fit ``geometry`` and `StoreError` if the file
    cannot be written.
    """
    measured = _image(topography_m, geometry, "topography_m")
    current = _image(current_A, geometry, "current_A")
    true = None if true_surface_m is None else _image(true_surface_m, geometry, "true_surface_m")
    measured = measured - _median(measured)
    if true is not None:
        # Over the pixels that were measured: half a scan compares with the same half.
        seen = true[np.isfinite(measured)]
        true = true - (_median(seen) if np.isfinite(seen).any() else _median(true))

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=SIZE_IN, dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        hidden = not (np.isfinite(measured).all() and np.isfinite(current).all())
        legend = [f"○ {_count(len(events), 'event')}   × {_count(len(reactions_xy_m), 'reaction')}"] + ["grey: not measured"] * hidden
        _head(figure, title, geometry, legend)
        top = figure.add_gridspec(1, 3, left=0.05, right=0.945, bottom=0.475, top=0.865, wspace=0.36)
        bottom = figure.add_gridspec(1, 3, left=0.05, right=0.975, bottom=0.07, top=0.365, wspace=0.22, width_ratios=(1.0, 1.12, 0.8))
        ax_measured, ax_true, ax_current = (figure.add_subplot(top[column]) for column in range(3))

        height_limits_m = _limits(measured, true)
        row = _profile_row(measured, geometry, reactions_xy_m)
        _draw_image(ax_measured, measured, geometry, height_limits_m, "m", "viridis", "Topography")
        _mark_points(ax_measured, geometry, events, reactions_xy_m)
        if true is None:
            _nothing(ax_true, "True surface", "not known")
            ax_true.set_box_aspect(geometry.height_m / geometry.width_m)
        else:
            _draw_image(ax_true, true, geometry, height_limits_m, "m", "viridis", "True surface (same scale)")
        for ax in (ax_measured,) if true is None else (ax_measured, ax_true):
            _mark_row(ax, geometry, row)
        _draw_image(ax_current, current, geometry, _limits(current), "A", "magma", "Current")

        _draw_profile(figure.add_subplot(bottom[0]), measured, true, geometry, row)
        _draw_trip(figure, bottom[1], blackbox)
        _draw_text(figure.add_subplot(bottom[2]), lines_of_text)
        write_png(figure, path_png)


def write_png(figure: Figure, path_png: str | os.PathLike[str]) -> None:
    """A drawn figure into a file; `StoreError` if it can't be written. To be called while the figure's style is in force."""
    buffer = io.BytesIO()
    # No version and no date in the file: two runs with one seed give the same bytes.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    try:
        Path(path_png).write_bytes(buffer.getvalue())
    except OSError as error:
        raise StoreError(f"{path_png}: cannot be written ({one_line(error)})") from error


def _image(values: ArrayLike, geometry: ScanGeometry, name: str) -> Image:
    image = np.array(values, np.float64)
    if image.shape != geometry.shape:
        raise ValueError(f"{name} must have the shape (lines, pixels) = {geometry.shape}, not {image.shape}")
    image[~np.isfinite(image)] = np.nan
    return image


def _median(image: Image) -> float:
    finite = image[np.isfinite(image)]
    return float(np.median(finite)) if finite.size else 0.0


def _limits(*images: Image | None) -> tuple[float, float]:
    """A common range without the outermost 0.2 %, so that one spike does not flatten the picture."""
    ranges = [np.percentile(finite, (0.2, 99.8)) for i in images if i is not None and (finite := i[np.isfinite(i)]).size]
    if not ranges:
        return 0.0, 1e-12
    low, high = float(min(r[0] for r in ranges)), float(max(r[1] for r in ranges))
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-12):
        pad = 0.05 * max(abs(low), 1e-12)
        return low - pad, high + pad
    return low, high


def scaled(span: float, unit: str) -> tuple[float, str]:
    """Factor and name of the unit in which ``span`` reads well: pm and pA, as long as the numbers are short."""
    for factor, prefix in ((1e12, "p"), (1e9, "n"), (1e6, "µ"), (1e3, "m")):
        if abs(span) * factor < 3000:
            return factor, prefix + unit
    return 1.0, unit


def _head(figure: Figure, title: str, geometry: ScanGeometry, legend: Sequence[str]) -> None:
    size = f"{_number(geometry.width_m * 1e9)} × {_number(geometry.height_m * 1e9)} nm"
    where = f"centre ({_number(geometry.center_x_m * 1e9)}, {_number(geometry.center_y_m * 1e9)}) nm, {_number(geometry.angle_deg)}°"
    frame = f"{geometry.pixels} × {geometry.lines} pixels · {size} · {where} · {_number(geometry.pixel_s * 1e6)} µs a pixel"
    frame = "   ·   ".join([frame, *legend])
    short = textwrap.shorten(title, 95, placeholder=" …") or title[:95]
    figure.text(0.05, 0.962, short, fontsize=19, fontweight="bold", va="center")
    figure.text(0.05, 0.927, frame, fontsize=11.5, color=QUIET, va="center")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _draw_image(ax: Axes, image: Image, geometry: ScanGeometry, limits: tuple[float, float], unit: str, colours: str, title: str) -> None:
    factor, name = scaled(max(abs(limits[0]), abs(limits[1])), unit)
    width_nm, height_nm = geometry.width_m * 1e9, geometry.height_m * 1e9
    colour_map: Colormap = matplotlib.colormaps[colours].with_extremes(bad=MISSING)
    mesh = ax.imshow(
        np.ma.masked_invalid(image * factor),
        cmap=colour_map,
        vmin=limits[0] * factor,
        vmax=limits[1] * factor,
        origin="lower",
        extent=(0, width_nm, 0, height_nm),
        interpolation="nearest",
        aspect="equal",
    )
    ax.set(xlabel="x (nm)", ylabel="y (nm)")
    ax.set_title(title)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    bar = ax.figure.colorbar(mesh, cax=ax.inset_axes((1.03, 0, 0.045, 1)))
    # Above the bar, not beside it: there it stays clear of the next panel, however long the numbers are.
    bar.ax.set_title(f"{'z' if unit == 'm' else 'I'} ({name})", fontsize=10.5, fontweight="normal", pad=6)
    bar.locator = MaxNLocator(6)
    bar.outline.set_linewidth(0.6)  # type: ignore[operator,unused-ignore]


def _mark_points(ax: Axes, geometry: ScanGeometry, events: Sequence[EventRow], reactions_xy_m: Sequence[tuple[float, float]]) -> None:
    """Events as open circles, reactions as crosses; each with a dark and a light edge, to be seen on every colour."""
    found = np.array([geometry.to_frame_m(e.x_m, e.y_m) for e in events]).reshape(-1, 2) * 1e9
    done = np.array([geometry.to_frame_m(x, y) for x, y in reactions_xy_m]).reshape(-1, 2) * 1e9
    dark = [patheffects.withStroke(linewidth=2.6, foreground="#00000090")]
    ax.plot(*found.T, "o", markersize=8, markerfacecolor="none", markeredgecolor="white", markeredgewidth=1.3, path_effects=dark)
    light = [patheffects.withStroke(linewidth=4.2, foreground="white")]
    ax.plot(*done.T, "x", markersize=9, markeredgecolor=REACTION, markeredgewidth=2.2, path_effects=light)
    ax.set(xlim=(0, geometry.width_m * 1e9), ylim=(0, geometry.height_m * 1e9))


def _profile_row(measured: Image, geometry: ScanGeometry, reactions_xy_m: Sequence[tuple[float, float]]) -> int | None:
    """The line to look at: through the first reaction in the frame, else the middle; of the lines with data the nearest to it."""
    rows = np.flatnonzero(np.isfinite(measured).any(axis=1))
    if not rows.size:
        return None
    wanted = geometry.lines // 2
    for x_m, y_m in reactions_xy_m:
        across_m = geometry.to_frame_m(x_m, y_m)[1]
        if 0 <= across_m < geometry.height_m:
            wanted = int(across_m / geometry.height_m * geometry.lines)
            break
    return int(rows[np.argmin(np.abs(rows - wanted))])


def _mark_row(ax: Axes, geometry: ScanGeometry, row: int | None) -> None:
    if row is None:
        return
    y_nm = (row + 0.5) * geometry.height_m / geometry.lines * 1e9
    for x, marker in ((0.0, 4), (1.0, 5)):  # small carets inside the frame, where no label stands
        ax.plot(x, y_nm, marker=marker, transform=ax.get_yaxis_transform(), color=TRIP, markersize=7, clip_on=False, zorder=5)


def _draw_profile(ax: Axes, measured: Image, true: Image | None, geometry: ScanGeometry, row: int | None) -> None:
    if row is None:
        _nothing(ax, "Profile", "no line was measured")
        return
    x_nm = (np.arange(geometry.pixels) + 0.5) * geometry.width_m / geometry.pixels * 1e9
    curves = [measured[row]] if true is None else [true[row], measured[row]]
    finite = np.concatenate([c[np.isfinite(c)] for c in curves])
    factor, name = scaled(float(np.abs(finite).max()), "m")
    if true is not None:
        ax.plot(x_nm, true[row] * factor, color=TRUE, linewidth=3.2, alpha=0.75, label="true", solid_capstyle="round")
    ax.plot(x_nm, measured[row] * factor, color=MEASURED, linewidth=1.3, label="measured", marker="." if geometry.pixels < 3 else None)
    low, high = float(finite.min()) * factor, float(finite.max()) * factor
    room = max(high - low, 1e-3)
    ax.set(xlim=(0, geometry.width_m * 1e9), ylim=(low - 0.08 * room, high + 0.28 * room))  # the legend's place is above the curves
    ax.set(xlabel="x (nm)", ylabel=f"z ({name})")
    ax.set_title(f"Profile along line {row}")
    ax.legend(loc="upper right", ncols=2, frameon=False, fontsize=10, borderaxespad=0.2)
    plain_axes(ax)


def _draw_trip(figure: Figure, cell: Any, blackbox: BlackBox | None) -> None:
    if blackbox is None or len(blackbox) == 0:
        _nothing(figure.add_subplot(cell), "Moments before the trip", "no trip was recorded")
        return
    rows = cell.subgridspec(2, 1, hspace=0.12)
    ax_current = figure.add_subplot(rows[0])
    ax_z = figure.add_subplot(rows[1], sharex=ax_current)
    time_s = np.asarray(blackbox.time_s, np.float64)
    first, last = _trip_window_s(time_s)
    inside = (time_s >= first) & (time_s <= last)
    time_us = time_s[inside] * 1e6
    z_m = np.asarray(blackbox.z_m, np.float64)
    at_trip = max(int(np.searchsorted(time_s, 0.0, side="right")) - 1, 0)
    for ax, values, unit, label in ((ax_current, blackbox.current_A, "A", "I"), (ax_z, z_m - z_m[at_trip], "m", "Δz")):
        shown = np.asarray(values, np.float64)[inside]
        largest = float(np.nanmax(np.abs(shown))) if np.isfinite(shown).any() else 0.0
        factor, name = scaled(largest, unit)
        ax.axvspan(0, max(last, 0) * 1e6, color=TRIP, alpha=0.06, linewidth=0)
        ax.axvline(0, color=TRIP, linewidth=1.2)
        # Each code stands until the next sample: steps, so that nothing is shown that was not there.
        ax.plot(time_us, shown * factor, color=MEASURED, linewidth=1.3, drawstyle="steps-post")
        ax.set_ylabel(f"{label} ({name})")
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.margins(y=0.12)
        plain_axes(ax)
    ax_current.tick_params(labelbottom=False)
    if last > first:
        ax_z.set_xlim(first * 1e6, last * 1e6)
    ax_z.set_xlabel("time from the trip (µs)")
    figure.align_ylabels([ax_current, ax_z])
    ax_current.set_title("Moments before the trip")
    cause = textwrap.shorten(str(blackbox.attributes.get("cause", "")), 34, placeholder=" …")
    ax_current.text(1, 1.035, cause, transform=ax_current.transAxes, ha="right", va="bottom", fontsize=10, color=TRIP)


def _trip_window_s(time_s: Image) -> tuple[float, float]:
    """All of a short recording; of a longer one 400 µs about the trip, three quarters of them before it where there is as much."""
    start, end = float(time_s[0]), float(time_s[-1])
    if end - start <= TRIP_WINDOW_S:
        return start, end
    first = min(max(start, -0.75 * TRIP_WINDOW_S), end - TRIP_WINDOW_S)
    return first, first + TRIP_WINDOW_S


def _draw_text(ax: Axes, lines_of_text: Sequence[str]) -> None:
    ax.axis("off")
    ax.set_title("Numbers")
    wrapped = [part for line in lines_of_text for part in (textwrap.wrap(line, TEXT_COLUMNS, subsequent_indent="  ") or [""])]
    if len(wrapped) > TEXT_LINES:
        wrapped = [*wrapped[: TEXT_LINES - 1], "…"]
    ax.text(0, 0.98, "\n".join(wrapped), transform=ax.transAxes, va="top", fontsize=9.5, family="DejaVu Sans Mono", linespacing=1.3)


def _nothing(ax: Axes, title: str, reason: str) -> None:
    ax.set_title(title)
    ax.set(xticks=[], yticks=[], facecolor="#f4f5f7")
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.text(0.5, 0.5, reason, transform=ax.transAxes, ha="center", va="center", color=QUIET)


def plain_axes(ax: Axes) -> None:
    ax.grid(True, color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
