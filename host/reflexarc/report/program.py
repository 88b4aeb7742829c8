"""The picture of a program: its timeline, cut into rows as music is, and its text below."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Polygon, Rectangle

from reflexarc.programs.intervals import Interval
from reflexarc.programs.timeline import Bracket, Course, Lane, Shape, Span, Step, Timeline
from reflexarc.programs.tree import Path as Place
from reflexarc.report.figure import DPI, GRID, INK, MEASURED, MISSING, QUIET, REACTION, STYLE, TRIP, TRUE, write_png
from reflexarc.safety.units import show

STEPS_MAX = 2000  # some 30,000 pixels of height

# Inches, downwards from the picture's upper left corner.
WIDTH, LEFT, RIGHT, MARGIN = 16.0, 1.55, 15.0, 0.5
HEAD, ROW, LANE_GAP, SYSTEM_GAP = 1.15, 0.25, 0.06, 0.42
CURVE, CURVE_TEXT = 0.62, 0.2
TEXT = 8.5  # points
LISTING, LISTING_ROW = 9.0, 0.175
LISTING_COLUMNS, COLUMN_LINES, NUMBER_ROOM = 3, 14, 0.45  # at most; lines of a column at least
MONO = "DejaVu Sans Mono"
PAD = 0.07
MARK = 0.17  # of a moment, before its text
LEAST, AWAITED, OF_1_US, A_DECADE = 0.3, 1.3, 0.42, 0.16  # widths of steps
TEXT_MAX, LINE_MAX = 30, 200  # characters in a lane, in the listing
CURVES = {Lane.BIAS: "V", Lane.HEIGHT: "m"}
FILLS = {
    Lane.WAITS: GRID, Lane.FEEDBACK: "#f6d3a6", Lane.TIP: "#c9d9ea", Lane.SCAN: MISSING, Lane.BEAM: "#f6d3a6", Lane.BLANK: QUIET,
    Lane.TRIGGER: "#c9d9ea", Lane.VALUES: "#c9d9ea", Lane.PARAMETERS: GRID,
}  # fmt: skip
MARKERS = {
    Lane.DECISIONS: ("D", INK), Lane.WAITS: ("v", INK), Lane.SCAN: ("|", INK), Lane.VALUES: ("|", MEASURED), Lane.PARAMETERS: ("o", INK),
    Lane.RECORDS: ("^", MEASURED),
}  # fmt: skip
EXPLANATION = (
    "each repeat for one turn, both ways of a decision one behind the other · times at their longest; widths grow with their logarithm · "
    "hatched: until it comes · a band: anywhere within"
)


def draw_program(path_png: str | os.PathLike[str], chart: Timeline, numbers: Mapping[Place, int], text: Sequence[tuple[int, str]]) -> None:
    """Draw ``chart`` into a PNG file, 1600 pixels wide; ``numbers`` has each statement's line, ``text`` the lines with their numbers.

    ValueError for more than ``STEPS_MAX`` steps or lines, `StoreError` if the file can't be written.
    """
    for count, what in ((len(chart.steps), "steps"), (len(text), "lines")):
        if count > STEPS_MAX:
            raise ValueError(f"{count} {what} are too many for a picture; it has room for {STEPS_MAX}")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        picture = _Picture(chart, numbers)
        figure = picture.drawn(text)
        write_png(figure, path_png)


class _Letters:
    """Widths of texts, and which letters the font has."""

    def __init__(self) -> None:
        canvas: Any = FigureCanvasAgg(Figure(dpi=DPI))
        self._renderer = canvas.get_renderer()
        self._fonts = {name: FontProperties(family=name) for name in ("DejaVu Sans", MONO)}
        self._glyphs = {name: get_font(findfont(font)) for name, font in self._fonts.items()}

    def known(self, text: str, family: str = "DejaVu Sans") -> str:
        """``text`` without what would be drawn as nothing."""
        return "".join(c if self._glyphs[family].get_char_index(ord(c)) else "□" for c in text)

    def width(self, text: str, size: float, family: str = "DejaVu Sans") -> float:
        """Inches."""
        font = self._fonts[family].copy()
        font.set_size(size)
        return float(self._renderer.get_text_width_height_descent(text, font, False)[0]) / DPI if text else 0.0

    def fitted(self, text: str, size: float, room: float, family: str = "DejaVu Sans") -> str:
        """``text``, or as much of it as fits into ``room``."""
        if self.width(text, size, family) <= room:
            return text
        length = next((n for n in range(len(text) - 1, 0, -1) if self.width(text[:n] + "…", size, family) <= room), 0)
        return text[:length] + "…" if length else ""


def _time_text(step: Step) -> str:
    if not step.seconds:
        return ""
    return ("" if step.exact else "≤ ") + show(step.seconds, "s", 3)


def _base_width(step: Step) -> float:
    if step.awaited:
        return AWAITED
    if not step.seconds:
        return LEAST
    return OF_1_US + A_DECADE * max(0.0, float(np.log10(step.seconds * 1e6)))


@dataclass
class _System:
    """Steps from ``first`` to ``last`` in one row of the picture; ``edges`` are their borders."""

    first: int
    last: int
    edges: list[float] = field(default_factory=list)

    def left(self, step: int) -> float:
        return self.edges[step - self.first]

    def right(self, step: int) -> float:
        return self.edges[step - self.first + 1]

    def has(self, first: int, last: int) -> bool:
        return first <= self.last and last >= self.first

    def between(self, first: int, last: int) -> tuple[float, float]:
        return self.left(max(first, self.first)), self.right(min(last, self.last))


class _Picture:
    def __init__(self, chart: Timeline, numbers: Mapping[Place, int]) -> None:
        self.chart, self.numbers = chart, numbers
        self.letters = _Letters()
        self.spans = {lane: [span for span in chart.spans if span.lane is lane] for lane in chart.lanes}
        for spans in self.spans.values():
            spans.sort(key=lambda span: (span.first, -span.last))
        self.texts = {id(span): self._short(span.text) for span in chart.spans}
        self.begins = [index == 0 or chart.steps[index - 1].path != step.path for index, step in enumerate(chart.steps)]
        self.widths = self._widths()
        self.systems = list(self._systems())
        self.scales = {lane: self._scale(courses) for lane, courses in self._courses().items()}

    def _short(self, text: str) -> str:
        text = self.letters.known(text)
        return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"

    def _courses(self) -> dict[Lane, Sequence[Course | None]]:
        return {Lane.BIAS: self.chart.bias, Lane.HEIGHT: self.chart.height}

    @staticmethod
    def _scale(courses: Sequence[Course | None]) -> Interval:
        """From the least to the greatest value, 0 among them."""
        ends = [end for course in courses if course is not None for interval in (course.begin, course.end) for end in interval]
        low, high = min([0.0, *ends]), max([0.0, *ends])
        return Interval(low, high if high > low else low + 1.0)

    # Where things stand

    def _room(self, span: Span) -> float:
        """Width that a span's text asks for."""
        return self.letters.width(self.texts[id(span)], TEXT) + 2 * PAD + (MARK if span.shape is Shape.MOMENT else 0.0)

    def _until(self, lane: Lane, span: Span) -> int:
        """The last step that a moment's text may reach into."""
        if span.shape is not Shape.MOMENT:
            return span.last
        later = [other.first for other in self.spans[lane] if other.first > span.first]
        return min(later, default=len(self.chart.steps)) - 1

    def _widths(self) -> list[float]:
        steps = self.chart.steps
        widths = [_base_width(step) for step in steps]
        for index, step in enumerate(steps):
            number = str(self.numbers[step.path]) if self.begins[index] else ""
            widths[index] = max(widths[index], *(self.letters.width(text, TEXT) + 2 * PAD for text in (number, _time_text(step))))
        wanted = [
            (span.first, self._until(lane, span), self._room(span))
            for lane, spans in self.spans.items()
            for span in spans
            if self.texts[id(span)]
        ]
        wanted += [(b.first, b.last, self._label_width(b)) for b in self.chart.brackets]
        for first, last, room in sorted(wanted):
            widths[first] += max(0.0, room - sum(widths[first : last + 1]))
        return widths

    def _systems(self) -> Iterator[_System]:
        """As many statements in a row as fit."""
        starts = [index for index, begins in enumerate(self.begins) if begins]
        first = 0
        while first < len(self.widths):
            fits = [end for end in [*starts, len(self.widths)] if end > first and sum(self.widths[first:end]) <= RIGHT - LEFT]
            end = max(fits, default=next(end for end in [*starts, len(self.widths)] if end > first))
            if end < len(self.widths):
                end = self._before_cut_label(first, end)
            yield _System(first, end - 1, [LEFT, *itertools.accumulate(self.widths[first:end], initial=LEFT)][1:])
            first = end

    def _before_cut_label(self, first: int, end: int) -> int:
        """``end``, or the beginning of a block that goes on beyond it and whose text has no room before."""
        for bracket in self.chart.brackets:
            room = sum(self.widths[bracket.first : end])
            if first < bracket.first < end <= bracket.last and self._label_width(bracket) > room:
                end = bracket.first
        return end

    def _label_width(self, bracket: Bracket) -> float:
        return self.letters.width(self._short(bracket.text), TEXT) + 4 * PAD

    def _lane_height(self, lane: Lane) -> float:
        return CURVE + CURVE_TEXT if lane in CURVES else ROW

    def _depths(self, system: _System) -> list[int]:
        return sorted({bracket.depth for bracket in self.chart.brackets if system.has(bracket.first, bracket.last)})

    def _lanes(self, system: _System) -> list[Lane]:
        """Those in which something happens there; the bias is always told where it ever changes."""
        return [lane for lane, spans in self.spans.items() if lane is Lane.BIAS or any(system.has(span.first, span.last) for span in spans)]

    def _system_height(self, system: _System) -> float:
        lanes = sum(self._lane_height(lane) + LANE_GAP for lane in self._lanes(system))
        return ROW * len(self._depths(system)) + ROW + lanes + ROW + SYSTEM_GAP

    # Drawing

    def drawn(self, text: Sequence[tuple[int, str]]) -> Figure:
        text = [(number, self.letters.known(line[:LINE_MAX], MONO)) for number, line in text]
        columns = self._columns([line for _, line in text])
        rows = -(-len(text) // columns)
        height = HEAD + sum(map(self._system_height, self.systems)) + 0.45 + rows * LISTING_ROW + MARGIN
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        self.ax: Axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.ax.set(xlim=(0, WIDTH), ylim=(height, 0))
        self.ax.axis("off")
        title = self.letters.fitted(self.letters.known(self.chart.tree.name), 19, WIDTH - 2 * MARGIN)
        self._text(MARGIN, 0.42, title, size=19, weight="bold")
        self._text(MARGIN, 0.78, self.letters.fitted(EXPLANATION, 10.5, WIDTH - 2 * MARGIN), size=10.5, color=QUIET)
        y = HEAD
        for system in self.systems:
            self._draw_system(system, y)
            y += self._system_height(system)
        self._draw_listing(text, y, columns, rows)
        return figure

    def _columns(self, lines: Sequence[str]) -> int:
        """Of the listing: as many as its longest line leaves room for."""
        longest = max((self.letters.width(line, LISTING, MONO) for line in lines), default=0.0)
        most = min(LISTING_COLUMNS, -(-len(lines) // COLUMN_LINES), int((WIDTH - 2 * MARGIN) / (longest + NUMBER_ROOM + 2 * PAD)))
        return max(1, most)

    def _text(self, x: float, y: float, text: str, size: float = TEXT, color: str = INK, **more: Any) -> None:
        self.ax.text(x, y, text, fontsize=size, color=color, **{"va": "center_baseline", "ha": "left", **more})

    def _box(self, x: float, y: float, right: float, height: float, color: str, **more: Any) -> None:
        self.ax.add_patch(Rectangle((x, y), right - x, height, **{"facecolor": color, "edgecolor": "none", "linewidth": 0.0, **more}))

    def _draw_system(self, system: _System, y: float) -> None:
        depths = self._depths(system)
        brackets_y = {depth: y + ROW * (row + 0.5) for row, depth in enumerate(depths)}
        y += ROW * len(depths)
        numbers_y = y + ROW / 2
        y += ROW
        left, right = system.edges[0], system.edges[-1]
        lanes_y = {}
        for lane in self._lanes(system):
            lanes_y[lane] = y
            self._box(left, y, right, self._lane_height(lane), "#f6f7f9")
            self._text(
                LEFT - 0.14, y + (CURVE_TEXT + CURVE / 2 if lane in CURVES else ROW / 2), lane.value, size=9.5, ha="right", weight="bold"
            )
            y += self._lane_height(lane) + LANE_GAP
        for step in range(system.first, system.last + 1):
            if self.begins[step]:
                x = system.left(step)
                self.ax.plot([x, x], [numbers_y - ROW / 2 + 0.05, y - LANE_GAP], color=GRID, linewidth=0.7, zorder=0.5)
                self._text(x + PAD, numbers_y, str(self.numbers[self.chart.steps[step].path]), size=TEXT, weight="bold")
            middle = (system.left(step) + system.right(step)) / 2
            self._text(middle, y + ROW / 2 - LANE_GAP, _time_text(self.chart.steps[step]), size=TEXT, color=QUIET, ha="center")
        self._text(LEFT - 0.14, numbers_y, "line", size=TEXT, color=QUIET, ha="right")
        self._text(LEFT - 0.14, y + ROW / 2 - LANE_GAP, "time", size=TEXT, color=QUIET, ha="right")
        for lane in lanes_y:
            if lane in CURVES:
                self._draw_curve(system, lane, lanes_y[lane])
            for span in self.spans[lane]:
                if system.has(span.first, span.last):
                    self._draw_span(system, lane, span, lanes_y[lane])
        self._draw_brackets(system, brackets_y, y - LANE_GAP)

    def _draw_brackets(self, system: _System, rows_y: Mapping[int, float], bottom: float) -> None:
        for bracket in self.chart.brackets:
            if not system.has(bracket.first, bracket.last):
                continue
            left, right = system.between(bracket.first, bracket.last)
            y = rows_y[bracket.depth]
            left, right = left + 0.03, right - 0.03
            self.ax.plot([left, right], [y, y], color=QUIET, linewidth=1.1)
            for x, there in ((left, bracket.first >= system.first), (right, bracket.last <= system.last)):
                if there:
                    self.ax.plot([x, x], [y, y + 0.1], color=QUIET, linewidth=1.1, solid_capstyle="projecting")
                    self.ax.plot([x, x], [y + 0.1, bottom], color=QUIET, linewidth=0.6, linestyle=(0, (1, 3)), zorder=0.6)
            text = self._short(bracket.text) if bracket.first >= system.first else f"… {self._short(bracket.text)}"
            self._text(
                left + 1.5 * PAD,
                y,
                self.letters.fitted(text, TEXT, right - left - 2 * PAD),
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
            )

    def _draw_curve(self, system: _System, lane: Lane, y: float) -> None:
        scale, courses = self.scales[lane], self._courses()[lane]
        top, bottom = y + CURVE_TEXT + 0.05, y + CURVE_TEXT + CURVE - 0.05

        def level(value: float) -> float:
            return bottom - (value - scale.low) / (scale.high - scale.low) * (bottom - top)

        for end in {scale.low, 0.0, scale.high}:
            self.ax.plot([system.edges[0], system.edges[-1]], [level(end)] * 2, color=GRID, linewidth=0.6, zorder=1)
        ends = [scale.high, scale.low] if any(course is not None for course in courses) else []
        for end in ends:
            self._text(LEFT - 0.14, level(end), show(end, CURVES[lane], 3), size=7.5, color=QUIET, ha="right")
        before: Course | None = None
        for step in range(system.first, system.last + 1):
            course = courses[step]
            if course is not None:
                left, right = system.left(step), system.right(step)
                if course.begin.low < course.begin.high or course.end.low < course.end.high:
                    corners = [
                        (left, level(course.begin.low)), (left, level(course.begin.high)),
                        (right, level(course.end.high)), (right, level(course.end.low)),
                    ]  # fmt: skip
                    self.ax.add_patch(Polygon(corners, facecolor=MEASURED, alpha=0.2, linewidth=0))
                for side in (0, 1):
                    self.ax.plot([left, right], [level(course.begin[side]), level(course.end[side])], color=MEASURED, linewidth=1.4)
                    if before is not None and not self.chart.steps[step].apart:
                        self.ax.plot([left, left], [level(before.end[side]), level(course.begin[side])], color=MEASURED, linewidth=1.4)
            before = course

    def _draw_span(self, system: _System, lane: Lane, span: Span, y: float) -> None:
        left, right = system.between(span.first, span.last)
        text = self.texts[id(span)]
        in_curve = lane in CURVES
        middle = y + (CURVE_TEXT if in_curve else ROW) / 2
        if span.shape is Shape.MOMENT:
            if span.first < system.first:
                return
            end = system.right(min(self._until(lane, span), system.last))
            room = (end if end < system.edges[-1] else WIDTH - MARGIN / 2) - left - PAD
            if not in_curve:
                marker, color = MARKERS[lane]
                marker = "s" if text.startswith("halt ") else marker
                self.ax.plot(left + PAD + 0.05, middle, marker, color=color, markersize=5, markeredgewidth=1.4, zorder=4)
                left, room = left + MARK, room - MARK
            self._text(left + PAD, middle, self.letters.fitted(text, TEXT, room), zorder=5)
            return
        height = self._lane_height(lane)
        if in_curve:
            if not text:
                self._box(left, y, right, height, REACTION if lane is Lane.BIAS else TRUE, alpha=0.14)
            color = TRIP if lane is Lane.BIAS and text.startswith("pulse") else INK
            self._text((left + right) / 2, middle, self.letters.fitted(text, TEXT, right - left), color=color, ha="center", zorder=5)
            return
        inset = 0.02
        if lane is Lane.TIP and not text:  # away, behind the moves
            self._box(left + inset, y + height / 2 - 0.03, right - inset, 0.06, MEASURED, alpha=0.5)
            return
        if span.shape is Shape.AWAITED:
            self._box(left + inset, y + inset, right - inset, height - 2 * inset, "white", edgecolor=QUIET, linewidth=0.8, hatch="////")
        else:
            self._box(left + inset, y + inset, right - inset, height - 2 * inset, FILLS[lane], zorder=2)
        shown = self.letters.fitted(text, TEXT, right - left - PAD)
        color = "white" if lane is Lane.BLANK else INK
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.0} if span.shape is Shape.AWAITED else None
        self._text((left + right) / 2, middle, shown, color=color, ha="center", zorder=5, bbox=ground)

    def _draw_listing(self, text: Sequence[tuple[int, str]], y: float, columns: int, rows: int) -> None:
        self._text(MARGIN, y + 0.05, "Program", size=12.5, weight="bold")
        y += 0.4
        width = (WIDTH - 2 * MARGIN) / columns
        for index, (number, line) in enumerate(text):
            column, row = divmod(index, rows)
            x, at = MARGIN + column * width, y + row * LISTING_ROW
            self._text(x + NUMBER_ROOM - 0.13, at, str(number), size=LISTING, color=QUIET, ha="right", family=MONO)
            shown = self.letters.fitted(line, LISTING, width - NUMBER_ROOM - 2 * PAD, MONO)
            self._text(x + NUMBER_ROOM, at, shown, size=LISTING, family=MONO)
