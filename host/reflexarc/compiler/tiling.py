"""How a layer is cut into tiles: what the sixteen columns of the array are, which vectors they read, and the cheapest choice.

A column of the array is an output at a place relative to the tile. Where a layer has fewer than sixteen outputs, places that are neighbours
share a tile (with a kernel that is taller by what they are apart, and 0 where a tap does not belong), or two values of a pool's window do, and the
greater one is taken at the end: a fold.

Two ways to count bytes. By columns: a tile reads the same rows in each of its input columns, and a column's bytes have their own bounds. By
line: the whole tensor is one column; a tile then has all rows of its output columns, and what is read may reach over ends of columns. The
latter serves whatever has one row, and matrix products.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.geometry import Bool, Geometry, Int8Array
from reflexarc.compiler.network import Int64
from reflexarc.contract.model import LAYER_LAYOUT, OUTPUTS, QUAD, RUN_LAYOUT, RUNS, RunFlag
from reflexarc.contract.words import Layout

SHARED_OUTPUTS = 3 * OUTPUTS  # of a tile in which neighbours share: beyond it more weights buy no time
RUN_VECTORS = (1 << 9) - 1


class Fold(enum.Enum):
    """Which of a pool's values stand beside each other in the array."""

    NONE = "none"
    ROWS = "rows"
    COLUMNS = "columns"


@dataclass(frozen=True)
class Tiling:
    line: bool
    places: int  # rows of outputs in a tile; by line, columns
    fold: Fold


@dataclass(frozen=True)
class Slot:
    """``outputs`` columns of the array from ``column`` on: the sums at one place, counted in sums from the tile's first."""

    column: int
    row: int
    x: int


@dataclass(frozen=True)
class Segment:
    """Vectors of a run. ``start``: byte in its input column, from the sum's first row; ``x``: input column, from the sum's first."""

    stream: int
    x: int
    start: int
    count: int


@dataclass(frozen=True)
class Pattern:
    """What several sums of a tile have in common: their slots, and what they read, relative to a place of their own."""

    slots: tuple[Slot, ...]
    segments: tuple[Segment, ...]

    @property
    def vectors(self) -> int:
        return sum(segment.count for segment in self.segments)


@dataclass(frozen=True)
class Sum:
    """``row``, ``x``: its place, counted in sums from the tile's first. By line rows are in the pattern."""

    pattern: int
    row: int
    x: int


@dataclass(frozen=True)
class Run:
    """As ``RUN_LAYOUT`` has it; ``source`` is the tensor that is read."""

    source: int
    offset: int
    count: int
    flags: RunFlag
    row: int
    column: int
    weight: int


@dataclass(frozen=True)
class Tile:
    """What is in the memories for one layer. ``weights``: [groups, rows, OUTPUTS, lanes]; ``bias`` and ``output`` by column of the array."""

    runs: tuple[Run, ...]
    weights: Int8Array
    bias: Int64
    output: NDArray[np.intp]


def field_range(layout: Layout, name: str) -> tuple[int, int]:
    """Least and greatest value that a field holds."""
    field = next(field for field in layout.fields if field.name == name)
    return (-(1 << (field.width - 1)), (1 << (field.width - 1)) - 1) if field.signed else (0, (1 << field.width) - 1)


def _holds(layout: Layout, **values: int) -> bool:
    return all(low <= values[name] <= high for name in values for low, high in [field_range(layout, name)])


def cover(needed: Bool, lanes: int, from_end: bool) -> list[int]:
    """Starts of the fewest vectors that hold all bytes that are needed."""
    if from_end:
        return sorted(len(needed) - lanes - start for start in cover(needed[::-1], lanes, False))
    places = np.flatnonzero(needed)
    if not len(places):
        return []
    first, last = int(places[0]), int(places[-1])
    if len(places) == last - first + 1:
        return list(range(first, last + 1, lanes))
    starts = []
    at = 0
    while at < len(places):
        starts.append(int(places[at]))
        at = int(np.searchsorted(places, places[at] + lanes))
    return starts


def segments_of(starts: list[int], lanes: int, stream: int, x: int) -> list[Segment]:
    """Vectors that lie one behind the other are one run."""
    found: list[Segment] = []
    for start in starts:
        if found and found[-1].start + found[-1].count * lanes == start and found[-1].count < RUN_VECTORS:
            found[-1] = Segment(stream, x, found[-1].start, found[-1].count + 1)
        else:
            found.append(Segment(stream, x, start, 1))
    return found


class Plan:
    """A layer cut in one way, with what it costs. ``ValueError`` where the image has no room for its numbers."""

    def __init__(self, geometry: Geometry, tiling: Tiling, lanes: int, ring: bool) -> None:
        self.geometry, self.tiling, self.lanes, self.ring = geometry, tiling, lanes, ring
        rows, columns = geometry.places
        self.unit = geometry.outputs * (rows if tiling.line else 1)  # outputs of a place
        self.tile_outputs = tiling.places * self.unit
        self.groups = -(-self.tile_outputs // OUTPUTS)
        along = columns if tiling.line else rows
        self.row_tiles = -(-along // tiling.places)
        self.output_columns = 1 if tiling.line else columns
        before = OUTPUTS * (self.groups - 1)
        self.last_group = self.tile_outputs - before
        self.last_row = (along - (self.row_tiles - 1) * tiling.places) * self.unit - before
        if self.last_row < 1 or tiling.places > along:
            raise ValueError("the last tile of a column has too few outputs")
        if tiling.fold is not Fold.NONE and self.tile_outputs > OUTPUTS // 2:
            raise ValueError("a fold leaves eight outputs")
        self._places()
        self._sums()
        self._steps()
        self._check()

    # Where a tile and its sums lie.

    def _places(self) -> None:
        geometry = self.geometry
        (row_stride, column_stride), (pool_row_stride, pool_column_stride) = geometry.window.stride, geometry.pool.stride
        top, left = geometry.window.pads[:2]
        pool_top, pool_left = geometry.pool.pads[:2]
        self.first_row = -pool_top * row_stride - top  # of the first tile, in the tensor
        self.first_column = -pool_left * column_stride - left
        columns = pool_column_stride * column_stride
        if self.tiling.line:
            self.row_step = self.tiling.places * columns * geometry.column_bytes
            self.column_step = self.column_step_bytes = 0
            self.columns, self.column_bytes = 1, geometry.shape.size
        else:
            self.row_step = self.tiling.places * pool_row_stride * row_stride * geometry.shape.channels
            self.column_step, self.column_step_bytes = columns, columns * geometry.column_bytes
            self.columns, self.column_bytes = geometry.shape.columns, geometry.column_bytes
        # A step that is never taken need not be one that the image has room for.
        if self.row_tiles == 1:
            self.row_step = 0
        if self.output_columns == 1:
            self.column_step = self.column_step_bytes = 0

    def _sums(self) -> None:
        """``sums`` in order, and their patterns. Those with the same pattern have the same weights."""
        rows, columns = self.geometry.pool.kernel
        fold = self.tiling.fold
        count = (-(-rows // 2) if fold is Fold.ROWS else rows) * (-(-columns // 2) if fold is Fold.COLUMNS else columns)
        if count > RUNS:
            raise ValueError("more sums than runs")

        def pairs(size: int) -> list[tuple[int, int]]:
            """Of neighbours; where their number is odd, one is in two pairs, which makes no difference to the greatest."""
            return [(min(first, size - 2), min(first, size - 2) + 1) for first in range(0, size, 2)]

        together: list[list[tuple[int, int]]]
        if fold is Fold.ROWS:
            together = [[(a, j), (b, j)] for j in range(columns) for a, b in pairs(rows)]
        elif fold is Fold.COLUMNS:
            together = [[(i, a), (i, b)] for a, b in pairs(columns) for i in range(rows)]
        else:
            together = [[(i, j)] for j in range(columns) for i in range(rows)]
        numbers: dict[tuple[tuple[int, int], ...], int] = {}
        self.sums: list[Sum] = []
        self.patterns: list[Pattern] = []
        for values in together:
            row, x = 0 if self.tiling.line else values[0][0], values[0][1]
            key = tuple((i - row, j - x) for i, j in values)
            if key not in numbers:
                numbers[key] = len(self.patterns)
                slots = self._slots(key)
                self.patterns.append(Pattern(slots, tuple(self._vectors(slots))))
            self.sums.append(Sum(numbers[key], row, x))

    def _slots(self, values: tuple[tuple[int, int], ...]) -> tuple[Slot, ...]:
        """Of each place of the tile, and each of the values of its window that are summed at once."""
        pool, outputs = self.geometry.pool, self.geometry.outputs
        if self.tiling.line:
            height = self.geometry.places[0]
            places = [((x * height + row) * outputs, row, x) for x in range(self.tiling.places) for row in range(height)]
        else:
            places = [(row * outputs, row, 0) for row in range(self.tiling.places)]
        return tuple(
            Slot(half * (OUTPUTS // 2) + column, row * pool.stride[0] + i, x * pool.stride[1] + j)
            for half, (i, j) in enumerate(values)
            for column, row, x in places
        )

    def _extent(self, slots: tuple[Slot, ...]) -> tuple[int, int]:
        """Columns and rows that a pattern reads."""
        window = self.geometry.window
        height = max(slot.row for slot in slots) * window.stride[0] + window.kernel[0]
        width = max(slot.x for slot in slots) * window.stride[1] + window.kernel[1]
        return width, self.geometry.shape.rows if self.tiling.line else height

    def _taps(self, slot: Slot) -> tuple[slice, slice, slice]:
        """Columns and rows of the pattern that a slot reads, and the rows of the kernel that they meet."""
        window = self.geometry.window
        x = slot.x * window.stride[1]
        row = slot.row * window.stride[0]
        low, high = 0, window.kernel[0]
        if self.tiling.line:
            row += self.first_row
            low, high = min(max(low, -row), high), max(min(high, self.geometry.shape.rows - row), 0)
            high = max(low, high)
        return slice(x, x + window.kernel[1]), slice(max(row + low, 0), max(row + low, 0) + high - low), slice(low, high)

    # Which vectors it takes.

    def _vectors(self, slots: tuple[Slot, ...]) -> list[Segment]:
        width, height = self._extent(slots)
        channels = self.geometry.shape.channels
        found: list[Segment] = []
        needs: list[Bool] = []
        for stream in self.geometry.streams:
            taken = stream.occupied
            need: Bool = np.zeros((width, height, channels), np.bool_)
            for slot in slots:
                columns, rows, kernel_rows = self._taps(slot)
                need[columns, rows] |= taken[:, kernel_rows]
            needs.append(need.reshape(1 if self.tiling.line else width, -1))
        for x in range(len(needs[0])):
            for number, need in enumerate(needs):
                found += segments_of(cover(need[x], self.lanes, self.ring), self.lanes, number, x)
        return found or [Segment(0, 0, 0, 1)]  # weights that are all 0

    def _steps(self) -> None:
        self.tiles = self.output_columns * self.row_tiles * self.groups
        self._find_wait()
        waits, folds = int(self.wait is not None), int(self.tiling.fold is not Fold.NONE)
        active = len(self._offsets) + waits + folds
        drained = -(-min(self.tile_outputs, OUTPUTS) // QUAD) if self.tiles > 1 else 0
        self.idle = max(0, drained - active)
        self.tile_steps = active + self.idle
        self.steps = self.tiles * self.tile_steps - self.idle
        self.run_count = sum(len(self.patterns[each.pattern].segments) for each in self.sums) + waits + folds + int(self.idle > 0)
        self.weight_rows = self.groups * (sum(pattern.vectors for pattern in self.patterns) + waits)

    def _find_wait(self) -> None:
        """Where the layer would end before the window is whole, its last step has to wait for that.

        ``wait``: offset of a vector that does, and is multiplied by 0; None where none is needed.
        """
        last_tile = (self.output_columns - 1) * self.column_step_bytes + (self.row_tiles - 1) * self.row_step
        reads = int(self._offsets.max()) + self.lanes
        size = self.geometry.shape.size
        self.wait = size - self.lanes - last_tile if self.ring and last_tile + reads < size else None

    def after(self, last_bytes: int) -> int:
        """Steps from the cycle on in which the window is whole, all before its last bytes having been done, and those coming one a cycle."""
        tiles = np.arange(self.output_columns)[:, None] * self.column_step_bytes + np.arange(self.row_tiles) * self.row_step
        ends = self._offsets + self.lanes
        if self.wait is not None:
            ends = np.append(ends, self.wait + self.lanes)
        found = 0
        for missing in range(last_bytes, 0, -1):
            there = self.geometry.shape.size - missing
            place = int(np.argmax(tiles.ravel() + ends.max() > there))  # the first tile that waits
            step = int(np.argmax(tiles.ravel()[place] + ends > there))
            found = max(found, (self.tiles - place * self.groups) * self.tile_steps - self.idle - step - (missing - 1))
        return found

    def _place(self, each: Sum) -> tuple[int, int]:
        """Byte in its input column, and input column, from the tile's: where a sum's pattern lies. By line it is a byte alone."""
        geometry = self.geometry
        column = self.first_column + each.x * geometry.window.stride[1]
        if self.tiling.line:
            return column * geometry.column_bytes, 0
        return (self.first_row + each.row * geometry.window.stride[0]) * geometry.shape.channels, column

    @cached_property
    def _offsets(self) -> Int64:
        """Of all vectors of a tile, from its place."""
        column_bytes = self.geometry.column_bytes
        patterns = [
            np.concatenate(
                [segment.x * column_bytes + segment.start + self.lanes * np.arange(segment.count) for segment in pattern.segments]
            )
            for pattern in self.patterns
        ]
        places = [(each.pattern, *self._place(each)) for each in self.sums]
        return np.concatenate([patterns[pattern] + byte + column * column_bytes for pattern, byte, column in places]).astype(np.int64)

    def _check(self) -> None:
        if not _holds(
            LAYER_LAYOUT,
            columns=self.columns,
            column_bytes=self.column_bytes,
            row_step=self.row_step,
            column_step_bytes=self.column_step_bytes,
            column_step=self.column_step,
            output_columns=self.output_columns,
            row_tiles=self.row_tiles,
            groups=self.groups,
        ):
            raise ValueError("beyond the fields of a layer")
        if not _holds(RUN_LAYOUT, offset=int(self._offsets.min())) or not _holds(
            RUN_LAYOUT, offset=max(int(self._offsets.max()), self.wait or 0)
        ):
            raise ValueError("beyond the fields of a run")
        for number, pattern in enumerate(self.patterns):
            places = [self._place(each) for each in self.sums if each.pattern == number]
            starts, columns = [segment.start for segment in pattern.segments], [segment.x for segment in pattern.segments]
            bytes_at, columns_at = [place[0] for place in places], [place[1] for place in places]
            for end in (min, max):
                if not _holds(RUN_LAYOUT, row=end(bytes_at) + end(starts), column=end(columns_at) + end(columns)):
                    raise ValueError("beyond the fields of a run")
        self._constants()

    def _constants(self) -> Int64:
        """By line, rows above and below the tensor have no bytes: what they would give, by column of the array.

        The bias takes it, which comes after the pool: all values of a window must have the same.
        """
        geometry = self.geometry
        constants = np.zeros(self.groups * OUTPUTS, np.int64)
        if not self.tiling.line or geometry.pad == 0:
            return constants
        kernel_rows = sum(stream.weights.sum(axis=(1, 3), dtype=np.int64) for stream in geometry.streams)
        assert isinstance(kernel_rows, np.ndarray)
        known: dict[int, Int64] = {}
        for pattern in self.patterns:
            for slot in pattern.slots:
                inside = self._taps(slot)[2]
                value = geometry.pad * (kernel_rows.sum(axis=1) - kernel_rows[:, inside].sum(axis=1))
                column = slot.column % (OUTPUTS // 2) if self.tiling.fold is not Fold.NONE else slot.column
                if known.setdefault(column, value) is not value and (known[column] != value).any():
                    raise ValueError("rows that are not there differ within a pool's window")
                constants[column : column + geometry.outputs] = value
        return constants

    # What goes into the memories.

    def _rows(self, pattern: Pattern, dense: list[Int8Array]) -> list[Int8Array]:
        """Rows of weights of each segment, [groups, count, OUTPUTS, lanes]."""
        width, height = self._extent(pattern.slots)
        geometry = self.geometry
        pieces = 1 if self.tiling.line else width
        blocks = []
        for weights in dense:
            block = np.zeros((width, height, geometry.shape.channels, self.groups * OUTPUTS), np.int8)
            for slot in pattern.slots:
                columns, rows, kernel_rows = self._taps(slot)
                block[columns, rows, :, slot.column : slot.column + geometry.outputs] = weights[:, :, kernel_rows].transpose(3, 2, 1, 0)
            blocks.append(block.reshape(pieces, -1, self.groups * OUTPUTS))
        size = blocks[0].shape[1]
        margin = self.lanes  # vectors may begin before the first byte and end after the last one
        found = []
        for segment in pattern.segments:
            padded = np.zeros((size + 2 * margin, self.groups * OUTPUTS), np.int8)
            padded[margin : margin + size] = blocks[segment.stream][segment.x]
            first = margin + segment.start
            part = padded[first : first + segment.count * self.lanes]
            if len(part) < segment.count * self.lanes:
                part = np.concatenate([part, np.zeros((segment.count * self.lanes - len(part), part.shape[1]), np.int8)])
            found.append(part.reshape(segment.count, self.lanes, self.groups, OUTPUTS).transpose(2, 0, 3, 1))
        return found

    def build(self) -> Tile:
        dense = [stream.dense() for stream in self.geometry.streams]
        runs: list[Run] = []
        weights: list[Int8Array] = []
        known: dict[bytes, int] = {}
        rows_so_far = 0
        first_rows: list[list[int]] = []
        for pattern in self.patterns:
            first_rows.append([])
            for rows in self._rows(pattern, dense):
                key = rows.shape[1].to_bytes(2, "little") + rows.tobytes()
                if key not in known:
                    known[key] = rows_so_far
                    weights.append(rows)
                    rows_so_far += rows.shape[1]
                first_rows[-1].append(known[key])
        for number, each in enumerate(self.sums):
            segments = self.patterns[each.pattern].segments
            byte, column = self._place(each)
            for index, (segment, weight) in enumerate(zip(segments, first_rows[each.pattern], strict=True)):
                flags = RunFlag(0)
                if index == 0:
                    flags |= RunFlag.FIRST
                if index == len(segments) - 1:
                    flags |= RunFlag.LAST
                    if number == 0:
                        flags |= RunFlag.POOL_FIRST
                    if number == len(self.sums) - 1 and self.tiling.fold is Fold.NONE:
                        flags |= RunFlag.DRAIN
                offset = (column + segment.x) * self.geometry.column_bytes + byte + segment.start
                source = self.geometry.streams[segment.stream].source
                runs.append(Run(source, offset, segment.count, flags, byte + segment.start, column + segment.x, weight))
        last = runs[-1]
        if self.wait is not None:
            runs[-1] = replace(last, flags=last.flags & RunFlag.FIRST)
            runs.append(Run(last.source, self.wait, 1, last.flags & ~RunFlag.FIRST, 0, 0, rows_so_far))
            weights.append(np.zeros((self.groups, 1, OUTPUTS, self.lanes), np.int8))
        if self.tiling.fold is not Fold.NONE:
            runs.append(Run(last.source, 0, 1, RunFlag.IDLE | RunFlag.FOLD | RunFlag.DRAIN, 0, 0, 0))
        if self.idle:  # behind the DRAIN, where it costs nothing in the last tile
            runs.append(Run(last.source, 0, self.idle, RunFlag.IDLE, 0, 0, 0))
        outputs = self.geometry.outputs
        bias = np.zeros(self.groups * OUTPUTS, np.int64)
        bias[: self.tile_outputs] = np.tile(self.geometry.bias, self.tile_outputs // outputs)
        output = np.tile(np.arange(outputs), self.tile_outputs // outputs)
        return Tile(tuple(runs), np.concatenate(weights, axis=1), bias + self._constants(), output)


def candidates(geometry: Geometry) -> Iterator[Tiling]:
    rows, columns = geometry.places
    folds = [Fold.NONE]
    if geometry.pool.kernel[0] > 1:
        folds.append(Fold.ROWS)
    if geometry.pool.kernel[1] > 1:
        folds.append(Fold.COLUMNS)
    for line in (False, True):
        along, unit = (columns, rows * geometry.outputs) if line else (rows, geometry.outputs)
        for places in range(1, along + 1):
            if places > 1 and places * unit > SHARED_OUTPUTS:
                break
            if places > 1 and places * unit > OUTPUTS and places * unit % OUTPUTS:
                continue  # several groups, and one of them not full
            if line and places == 1 and rows > 1 and unit > SHARED_OUTPUTS:
                break
            for fold in folds:
                if fold is Fold.NONE or places * unit <= OUTPUTS // 2:
                    yield Tiling(line, places, fold)


def plans(geometries: list[Geometry], lanes: int, ring: bool) -> list[Plan]:
    """All that the image has room for."""
    found = []
    for geometry in geometries:
        for tiling in candidates(geometry):
            try:
                found.append(Plan(geometry, tiling, lanes, ring))
            except ValueError:
                continue
    return found
