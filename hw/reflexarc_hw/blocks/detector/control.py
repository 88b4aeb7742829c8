"""Layers, tiles, runs: which bytes meet which row of weights in each cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.model import (
    ACTIVATION_BYTES,
    LAYER_LAYOUT,
    LAYERS,
    OUTPUTS,
    RING_BYTES,
    RUN_LAYOUT,
    RUNS,
    WEIGHT_BYTES,
    LayerFlag,
    Memory,
    RunFlag,
)
from reflexarc_hw.blocks.detector.memories import LOAD, LoadedWords, put_word, struct_of
from reflexarc_hw.blocks.detector.requantize import REQUANTIZE_CYCLES

# What an evaluation takes, from the cycle of ``begin`` to that of the last outputs, all inputs waiting:
#
#     BEGIN_CYCLES + FINAL_CYCLES + (layers - 1) * LAYER_CYCLES
#     + over all layers: steps + quads + (TABLE_CYCLES if it has a table) - idle
#
# ``quads``: of the layer's last tile, a quarter of its outputs, rounded up. ``idle``: steps of that tile behind its DRAIN, which cost nothing where
# they are at most HIDDEN_CYCLES.
ARRAY_CYCLES = 9  # from a step's issue to its sums at the requantizers
BEGIN_CYCLES = 3  # from ``begin`` to the first step's issue
LAYER_CYCLES = ARRAY_CYCLES + REQUANTIZE_CYCLES
FINAL_CYCLES = ARRAY_CYCLES + REQUANTIZE_CYCLES - 1
TABLE_CYCLES = 2
PREFETCH_CYCLES = 16  # from the last step's way to its issue, or a restart, to the next layer's first step at hand
# What follows on a layer's last DRAIN while the next layer could begin already: it has to be at hand by then.
RELOAD_CYCLES = 15

LAYER = struct_of(LAYER_LAYOUT)
RUN = struct_of(RUN_LAYOUT)
# What a step does, beside reading and multiplying. All 0 where there is no step.
MARKS = data.StructLayout(
    {
        "multiplies": 1,
        "first": 1,
        "last": 1,
        "pool_first": 1,
        "fold": 1,
        "drain": 1,
        "group_first": 1,
        "group_last": 1,
        "row_last": 1,
        "tile_last": 1,  # of the layer
    }
)
PLACE = 15  # bytes; of a tile
OFFSET = signed(17)  # bytes; of a vector
ROW = signed(16)
COLUMN = signed(12)
WAYS_IN = 2  # cycles of the layer's and the runs' memories


def has(flags: Value, flag: RunFlag | LayerFlag) -> Value:
    return flags[int(flag).bit_length() - 1]


def step_layout(lanes: int) -> data.StructLayout:
    """``rows``: of each bank of the memory that is read; lane l takes bank (l + turn) % lanes, or the pad value where ``inside`` is 0."""
    return data.StructLayout(
        {
            "valid": 1,
            "marks": MARKS,
            "rows": data.ArrayLayout((ACTIVATION_BYTES // lanes - 1).bit_length(), lanes),
            "turn": (lanes - 1).bit_length(),
            "inside": lanes,
            "weight": (WEIGHT_BYTES // (OUTPUTS * lanes) - 1).bit_length(),
        }
    )


class Control(wiring.Component):
    """One step a cycle, from the layers and runs in its memories.

    The first step of a layer is fetched ahead and stands at hand until it may go: after ``begin``, or once the layer before it is done
    (``drained``; ``done`` for the last layer). A step that reads what has not arrived waits where it would be issued, and all behind it;
    an idle one reads nothing.

    ``layer`` is the one whose steps are issued, from the cycle before its first one is; ``layer_starts`` is high in that cycle.
    ``restart``: whatever is under way is to be dropped.
    """

    def __init__(self, lanes: int):
        self._lanes = lanes
        super().__init__(
            {
                "load": In(LOAD),
                "bank": In(1),
                "layers": In(6),
                "window_bytes": In(14),
                "begin": In(1),
                "base": In((RING_BYTES - 1).bit_length()),
                "arrived": In(14),
                "abort": In(1),
                "drained": In(1),
                "done": In(1),
                "busy": Out(1),
                "restart": Out(1),
                "awake": Out(1),  # a step stands at the memories, whether it is issued or waits, or was there in the cycle before
                "step": Out(step_layout(lanes)),
                "layer_starts": Out(1),
                "layer": Out(LAYER),
                "final": Out(1),  # that layer is the last one
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self._lanes
        turn_bits = (lanes - 1).bit_length()
        m.submodules.layer_words = layer_words = LoadedWords(Memory.LAYERS, 1, LAYERS * LAYER_LAYOUT.words)
        m.submodules.runs = runs = LoadedWords(Memory.RUNS, RUN_LAYOUT.words, RUNS)
        m.d.comb += [layer_words.load.eq(self.load), runs.load.eq(self.load)]

        # What was fetched of one bank is of no use in the other, nor is what was fetched before it was loaded.
        bank_before, layers_before = Signal(), Signal.like(self.layers)
        stale = Signal()
        m.d.sync += [
            bank_before.eq(self.bank),
            layers_before.eq(self.layers),
            stale.eq(
                ~self.busy
                & ((bank_before != self.bank) | (layers_before != self.layers) | (self.load.enable & (self.load.bank == self.bank)))
            ),
        ]
        powered_up = Signal()
        m.d.sync += powered_up.eq(1)
        m.d.comb += self.restart.eq(self.abort | stale | ~powered_up)

        # The life of an evaluation. ``goes``: steps of this layer may be issued.
        goes = Signal()
        waits_for_go = Signal()  # the layer is done, and some of its steps are still to come
        layer_is_done = Signal()
        last_leaves = Signal()  # the layer's last step, on its way to its issue
        base = Signal.like(self.base)
        m.d.comb += layer_is_done.eq(Mux(self.final, self.done, self.drained))
        with m.If(layer_is_done):
            m.d.sync += waits_for_go.eq(1)
        with m.If(last_leaves):
            m.d.sync += goes.eq(0)
        with m.If((layer_is_done | waits_for_go) & ~goes):
            m.d.sync += waits_for_go.eq(0)
            with m.If(self.final):
                m.d.sync += self.busy.eq(0)
            with m.Else():
                m.d.sync += goes.eq(1)
        with m.If(self.begin & ~self.busy):
            m.d.sync += [self.busy.eq(1), goes.eq(1), base.eq(self.base)]
        with m.If(self.restart):
            m.d.sync += waits_for_go.eq(0)
            with m.If(self.busy):
                m.d.sync += goes.eq(1)
        with m.If(self.abort):
            m.d.sync += [self.busy.eq(0), goes.eq(0)]

        # The next layer, word by word.
        layer = Signal(LAYER)
        number = Signal(range(LAYERS))
        is_final = Signal()
        words = LAYER_LAYOUT.words
        fetches = Signal()
        word = Signal(range(words + WAYS_IN))
        starts = Signal()  # the layer is whole
        m.d.comb += [
            layer_words.read_enable.eq(fetches),
            layer_words.read_address.eq(Cat(word[: (words - 1).bit_length()], number, self.bank)),
        ]
        m.d.sync += starts.eq(0)
        with m.If(fetches):
            m.d.sync += [word.eq(word + 1), is_final.eq(has(layer.flags, LayerFlag.FINAL) | (number + 1 == self.layers))]
            put_word(m, layer, word - WAYS_IN, layer_words.read_data)
            with m.If(word == words + WAYS_IN - 1):
                m.d.sync += [fetches.eq(0), starts.eq(1)]
        with m.If(last_leaves):
            m.d.sync += [fetches.eq(1), word.eq(0), number.eq(Mux(is_final, 0, number + 1))]
        with m.If(self.restart):
            m.d.sync += [fetches.eq(1), word.eq(0), number.eq(0), starts.eq(0)]

        # Stages move where the next one does. Those up to ``take`` fill while ``goes`` is 0.
        issue_moves, take_moves = Signal(), Signal()

        # Runs of the tile, again and again: the pointer, the memory, its register.
        points, in_memory, fetched = Signal(), Signal(), Signal()
        pointer, runs_left = Signal(range(RUNS)), Signal(9)
        pointer_last, in_memory_last, fetched_last = Signal(), Signal(), Signal()  # last run of the tile
        one_run = Signal()
        run_moves = Signal()
        m.d.comb += [
            one_run.eq(layer.run_count == 1),
            runs.read_enable.eq(run_moves),
            runs.read_address.eq(Cat(pointer, self.bank)),
        ]
        with m.If(run_moves):
            m.d.sync += [
                in_memory.eq(points),
                in_memory_last.eq(pointer_last),
                fetched.eq(in_memory),
                fetched_last.eq(in_memory_last),
                pointer.eq(pointer + 1),
                runs_left.eq(runs_left - 1),
                pointer_last.eq(runs_left == 2),
            ]
        with m.If(starts | (run_moves & pointer_last)):
            m.d.sync += [pointer.eq(layer.run_start), runs_left.eq(layer.run_count), pointer_last.eq(one_run)]
        with m.If(starts):
            m.d.sync += points.eq(1)
        with m.If(self.restart | last_leaves):
            m.d.sync += [points.eq(0), in_memory.eq(0), fetched.eq(0)]

        # The tile.
        column_left, row_left, group_left = Signal(10), Signal(12), Signal(8)
        column_last, row_last, group_last, group_first = Signal(), Signal(), Signal(), Signal()
        one_row, one_group = Signal(), Signal()
        place, next_column = Signal(PLACE), Signal(PLACE)  # the tile's, and that of the next column's first tile
        tile_row, tile_column = Signal(14), Signal(10)
        tile_weight = Signal(12)
        tile_moves = Signal()
        m.d.comb += [one_row.eq(layer.row_tiles == 1), one_group.eq(layer.groups == 1)]
        with m.If(starts | (tile_moves & group_last)):
            m.d.sync += [group_left.eq(layer.groups), group_last.eq(one_group), group_first.eq(1), tile_weight.eq(layer.weight_base)]
        with m.Elif(tile_moves):
            m.d.sync += [
                group_left.eq(group_left - 1),
                group_last.eq(group_left == 2),
                group_first.eq(0),
                tile_weight.eq(tile_weight + layer.group_weights),
            ]
        with m.If(starts | (tile_moves & group_last & row_last)):
            m.d.sync += [row_left.eq(layer.row_tiles), row_last.eq(one_row), tile_row.eq(0)]
        with m.Elif(tile_moves & group_last):
            m.d.sync += [
                row_left.eq(row_left - 1),
                row_last.eq(row_left == 2),
                tile_row.eq(tile_row + layer.row_step),
                place.eq(place + layer.row_step),
            ]
        with m.If(starts):
            m.d.sync += [
                column_left.eq(layer.output_columns),
                column_last.eq(layer.output_columns == 1),
                tile_column.eq(0),
                place.eq(0),
                next_column.eq(layer.column_step_bytes),
            ]
        with m.Elif(tile_moves & group_last & row_last):
            m.d.sync += [
                column_left.eq(column_left - 1),
                column_last.eq(column_left == 2),
                tile_column.eq(tile_column + layer.column_step),
                place.eq(next_column),
                next_column.eq(next_column + layer.column_step_bytes),
            ]

        # The run whose steps come now.
        run = Signal(RUN)
        runs_on = Signal()  # there is one
        left = Signal(9)
        step_first, step_last, run_last = Signal(), Signal(), Signal()
        tile_last, step_ends = Signal(), Signal()
        from_memory = data.View(RUN, runs.read_data)
        m.d.comb += [
            tile_last.eq(group_last & row_last & column_last),
            run_moves.eq(take_moves & (step_last | ~runs_on)),
            tile_moves.eq(take_moves & runs_on & step_last & run_last),
            step_ends.eq(runs_on & step_last & run_last & tile_last),
        ]
        with m.If(run_moves):
            m.d.sync += [
                run.eq(from_memory),
                runs_on.eq(fetched & ~step_ends),
                run_last.eq(fetched_last),
                left.eq(from_memory.count),
                step_first.eq(1),
                step_last.eq(from_memory.count == 1),
            ]
            with m.If(step_ends):
                # What comes behind is the layer's first tile once more.
                m.d.sync += [points.eq(0), in_memory.eq(0), fetched.eq(0)]
        with m.Elif(take_moves):
            m.d.sync += [left.eq(left - 1), step_first.eq(0), step_last.eq(left == 2)]
        with m.If(self.restart):
            m.d.sync += runs_on.eq(0)

        # Take: where the step is in its tensor.
        take_valid, take_ends, take_first = Signal(), Signal(), Signal()
        marks = Signal(MARKS)
        offset, row, column = Signal(OFFSET), Signal(ROW), Signal(COLUMN)
        weight = Signal(step_layout(lanes)["weight"].shape)
        idle = has(run.flags, RunFlag.IDLE)
        m.d.comb += take_moves.eq(issue_moves & (goes | ~take_valid))
        with m.If(take_moves):
            m.d.sync += take_valid.eq(runs_on)
            with m.If(runs_on):
                m.d.sync += [
                    take_ends.eq(step_ends),
                    marks.multiplies.eq(~idle),
                    marks.first.eq(has(run.flags, RunFlag.FIRST) & step_first & ~idle),
                    marks.last.eq(has(run.flags, RunFlag.LAST) & step_last & ~idle),
                    marks.pool_first.eq(has(run.flags, RunFlag.POOL_FIRST)),
                    marks.fold.eq(has(run.flags, RunFlag.FOLD) & idle),
                    marks.drain.eq(has(run.flags, RunFlag.DRAIN) & step_last),
                    marks.group_first.eq(group_first),
                    marks.group_last.eq(group_last),
                    marks.row_last.eq(row_last),
                    marks.tile_last.eq(tile_last),
                    # A sum each, whether it is the first step of its run or not.
                    offset.eq(Mux(step_first, place, offset) + Mux(step_first, run.offset, lanes)),
                    row.eq(Mux(step_first, tile_row, row) + Mux(step_first, run.row, lanes)),
                    column.eq(tile_column + run.column),
                    weight.eq(Mux(step_first, tile_weight, weight) + Mux(step_first, run.weight, 1)),
                ]
        with m.If(starts):
            m.d.sync += take_first.eq(1)
        leaves = Signal()
        m.d.comb += [leaves.eq(issue_moves & goes & take_valid), last_leaves.eq(leaves & take_ends)]
        m.d.sync += self.layer_starts.eq(leaves & take_first)
        with m.If(leaves & take_first):
            m.d.sync += [take_first.eq(0), self.layer.eq(layer), self.final.eq(is_final)]

        # Place: its address, which lanes are inside, how many bytes must have arrived. Quasi-static: of a model.
        window_less = Signal(signed(15))
        m.d.sync += window_less.eq(self.window_bytes - lanes)
        ring = has(layer.flags, LayerFlag.RING)
        place_valid = Signal()
        place_marks = Signal(MARKS)
        address = Signal(range(ACTIVATION_BYTES))
        needed = Signal(OFFSET)
        begins, ends = Signal(ROW), Signal(signed(ROW.width + 1))  # lane l is inside where begins + l is not negative and l not above ends
        column_inside = Signal()
        place_weight = Signal.like(weight)
        with m.If(issue_moves):
            m.d.sync += place_valid.eq(leaves)
            with m.If(leaves):
                m.d.sync += [
                    place_marks.eq(marks),
                    address.eq(offset + Mux(ring, base, layer.in_base)),
                    needed.eq(Mux(ring & marks.multiplies, Mux(offset > window_less, self.window_bytes, offset + lanes), 0)),
                    begins.eq(row),
                    ends.eq(layer.column_bytes + ~row),
                    column_inside.eq(~column[-1] & (column < layer.columns)),
                    place_weight.eq(weight),
                ]

        # Issue: at the memories.
        issue_valid, issue_ready = Signal(), Signal()
        issue_needed = Signal(OFFSET)
        step = Signal(step_layout(lanes))
        m.d.comb += issue_moves.eq(~issue_valid | issue_ready)
        # Of the first row that is inside, counted from lane 0: within the vector, before or behind it.
        begins_low, begins_high = begins[:turn_bits], begins[turn_bits:]
        ends_low, ends_high = ends[:turn_bits], ends[turn_bits:]
        inside = []
        for lane in range(lanes):
            above = ~begins[-1] | (begins_high.all() & (begins_low >= lanes - lane))
            below = ~ends[-1] & (ends_high.any() | (ends_low >= lane))
            inside.append(above & below & column_inside)
        address_row = address[turn_bits:]
        next_row = Signal(len(address_row))
        m.d.comb += next_row.eq(address_row + 1)
        # What arrives in the cycle before is known of here a cycle late, which is the time that the ring takes to have it.
        with m.If(issue_moves):
            m.d.sync += [issue_valid.eq(place_valid), issue_ready.eq(needed <= self.arrived)]
            with m.If(place_valid):
                m.d.sync += [
                    issue_needed.eq(needed),
                    step.marks.eq(place_marks),
                    step.turn.eq(address[:turn_bits]),
                    step.inside.eq(Cat(inside)),
                    step.weight.eq(place_weight),
                ]
                m.d.sync += [step.rows[bank].eq(Mux(address[:turn_bits] > bank, next_row, address_row)) for bank in range(lanes)]
        with m.Else():
            m.d.sync += issue_ready.eq(issue_needed <= self.arrived)
        with m.If(self.restart):
            m.d.sync += [take_valid.eq(0), place_valid.eq(0), issue_valid.eq(0)]
        m.d.sync += self.awake.eq(place_valid | issue_valid)  # a register, since it goes to all memories
        m.d.comb += [
            self.step.eq(step),
            self.step.valid.eq(issue_valid & issue_ready),
            self.step.marks.eq(Mux(issue_valid & issue_ready, step.marks, Const(0, MARKS.size))),
        ]
        return m
