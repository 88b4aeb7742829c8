"""The layer engine: control, memories, array and requantizers."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.model import LANES, OUTPUTS, QUAD, RING_BYTES, LayerFlag
from reflexarc_hw.blocks.detector.array import HALVES, QUAD_MARKS, Array
from reflexarc_hw.blocks.detector.control import ARRAY_CYCLES, MARKS, TABLE_CYCLES, Control, has
from reflexarc_hw.blocks.detector.memories import (
    LOAD,
    PARAMETER,
    QUAD_OUTPUTS,
    RING_WRITE,
    STORED,
    Activations,
    Parameters,
    Ring,
    Tables,
    Weights,
)
from reflexarc_hw.blocks.detector.requantize import REQUANTIZE_CYCLES, Requantizer
from reflexarc_hw.lib.own_register import own_register

RESTART_CYCLES = 18  # from ``abort`` to the first step's issue at the earliest


class Engine(wiring.Component):
    """Evaluates the model in ``bank`` on the window that begins at ``base`` in the ring.

    ``begin`` counts while ``busy`` is low. ``arrived``: bytes of the window that are in the ring; it may say so from the cycle after that of
    their ``ring_write`` on. ``bank``, ``layers`` and ``window_bytes`` change while ``busy`` is low only. ``outputs`` can't be stalled.

    How long it takes: ``control.py``. After ``abort``, a change of ``bank`` or ``layers`` and a load into ``bank``, the first step is fetched
    anew: ``begin`` counts from the next cycle on, but what it begins is not issued before RESTART_CYCLES have passed.
    """

    def __init__(self, lanes: int, *, paired: bool = False):
        if lanes not in LANES:
            raise ValueError(f"{lanes} lanes; there may be {', '.join(map(str, LANES))}")
        self._lanes = lanes
        self._paired = paired
        super().__init__(
            {
                "load": In(LOAD),
                "ring_write": In(RING_WRITE),
                "bank": In(1),
                "layers": In(6),
                "window_bytes": In(14),
                "begin": In(1),
                "base": In((RING_BYTES - 1).bit_length()),
                "arrived": In(14),
                "abort": In(1),
                "busy": Out(1),
                "outputs": Out(QUAD_OUTPUTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self._lanes
        m.submodules.control = control = Control(lanes)
        m.submodules.array = array = Array(lanes, paired=self._paired)
        m.submodules.weights = weights = Weights(lanes)
        m.submodules.parameters = parameters = Parameters()
        m.submodules.tables = tables = Tables()
        m.submodules.activations = activations = Activations(lanes)
        m.submodules.ring = ring = Ring(lanes)
        load = Signal(LOAD)  # goes to places all over the chip
        m.d.sync += load.enable.eq(self.load.enable)
        with m.If(self.load.enable):
            m.d.sync += load.eq(self.load)
        m.d.comb += [part.load.eq(load) for part in (control, weights, parameters, tables)]
        for name in ("bank", "layers", "window_bytes", "begin", "base", "arrived", "abort"):
            m.d.comb += getattr(control, name).eq(getattr(self, name))
        m.d.comb += [self.busy.eq(control.busy), ring.write.eq(self.ring_write)]
        layer = control.layer
        from_ring, to_table = has(layer.flags, LayerFlag.RING), has(layer.flags, LayerFlag.TABLE)
        restart = control.restart

        # Stages 0 to 2: what a step reads.
        step = control.step
        marks = [step.marks]
        for stage in range(1, 4):
            register = Signal(MARKS, name=f"marks_{stage}")
            m.d.sync += register.eq(Mux(restart, 0, marks[-1]))
            marks.append(register)
        turn, inside = [step.turn], [step.inside]
        for stage in range(1, 3):
            turn.append(Signal.like(step.turn, name=f"turn_{stage}"))
            inside.append(Signal.like(step.inside, name=f"inside_{stage}"))
            with m.If(marks[stage - 1].multiplies):
                m.d.sync += [turn[stage].eq(turn[stage - 1]), inside[stage].eq(inside[stage - 1])]
        m.d.comb += [
            activations.read_enable.eq(control.awake & ~from_ring),
            ring.read_enable.eq(control.awake & from_ring),
            weights.read_enable.eq(control.awake),
            weights.read_address.eq(Cat(step.weight, self.bank)),
        ]
        for bank in range(lanes):
            m.d.comb += [activations.read_rows[bank].eq(step.rows[bank]), ring.read_rows[bank].eq(step.rows[bank])]

        # Stage 3: operands. A register at the weights' memory and one at the multipliers: the way from one to the other takes a cycle. Operands are
        # kept twice, for the multipliers of half the outputs each, which fill half of a chip. Either half has its own enable, or synthesis would
        # make one register of both.
        weight_row = Signal(data.ArrayLayout(STORED, OUTPUTS * lanes))
        operands = [Signal(data.ArrayLayout(STORED, lanes), name=f"operands_{half}") for half in range(HALVES)]
        enables = [marks[2].multiplies, own_register(m, marks[1].multiplies & ~restart, "multiplies_2")]
        read = Signal(data.ArrayLayout(STORED, lanes))  # by bank
        m.d.comb += read.eq(Mux(from_ring, ring.read_data.as_value(), activations.read_data.as_value()))
        for half in range(HALVES):
            with m.If(enables[half]):
                size = len(weight_row.as_value()) // HALVES
                m.d.sync += weight_row.as_value().word_select(half, size).eq(weights.read_data.word_select(half, size))
        for lane in range(lanes):
            in_turn = Signal(STORED, name=f"in_turn_{lane}")
            with m.Switch(turn[2]):
                for index in range(lanes):
                    with m.Case(index):
                        m.d.comb += in_turn.eq(read[(lane + index) % lanes])
            for half in range(HALVES):
                with m.If(enables[half]):
                    m.d.sync += operands[half][lane].eq(Mux(inside[2][lane], in_turn, layer.pad))
        m.d.comb += [
            array.restart.eq(restart),
            array.layer.eq(layer),
            array.marks.eq(marks[3]),
            *(array.operands[half].eq(operands[half]) for half in range(HALVES)),
            array.weights.eq(weight_row),
            parameters.read_enable.eq(array.parameter_enable),
            parameters.read_address.eq(Cat(array.parameter, self.bank)),
        ]

        # Stages 9 and on: to stored values.
        values = Signal(data.ArrayLayout(STORED, QUAD))
        for index in range(QUAD):
            m.submodules[f"requantizer_{index}"] = requantizer = Requantizer()
            parameter = data.View(PARAMETER, parameters.read_data.word_select(index, PARAMETER.size))
            m.d.comb += [
                requantizer.valid.eq(array.quad.valid & (array.quad.count > index)),
                requantizer.sum.eq(array.sums[index]),
                requantizer.bias.eq(parameter.bias),
                requantizer.mantissa.eq(parameter.mantissa),
                requantizer.shift.eq(parameter.shift),
                requantizer.zero_point.eq(layer.zero_point),
                requantizer.low.eq(layer.low),
                requantizer.high.eq(layer.high),
                tables.values[index].eq(requantizer.value),
                values[index].eq(Mux(to_table, tables.found[index], requantizer.value)),
            ]
        m.d.comb += [tables.bank.eq(self.bank), tables.table.eq(layer.table), tables.enable.eq(to_table)]
        out_of_requantizers = ARRAY_CYCLES + REQUANTIZE_CYCLES
        quads = {ARRAY_CYCLES: array.quad}
        for stage in range(ARRAY_CYCLES + 1, out_of_requantizers + TABLE_CYCLES):
            quads[stage] = Signal(QUAD_MARKS, name=f"quad_{stage}")
            goes_on = ~restart
            if stage >= out_of_requantizers:
                goes_on = goes_on & to_table  # the next layer may have a table, and must not find what has none here
            m.d.sync += [quads[stage].eq(quads[stage - 1]), quads[stage].valid.eq(quads[stage - 1].valid & goes_on)]
        # The one whose values come in the next cycle, and then the one whose values are there.
        coming, there = Signal(QUAD_MARKS), Signal(QUAD_MARKS)
        m.d.comb += coming.eq(
            Mux(to_table, quads[out_of_requantizers + TABLE_CYCLES - 1].as_value(), quads[out_of_requantizers - 1].as_value())
        )
        m.d.sync += [there.eq(coming), there.valid.eq(coming.valid & ~restart)]
        m.d.sync += self.outputs.valid.eq(there.valid & control.final & ~restart)
        with m.If(there.valid & control.final):
            m.d.sync += [self.outputs.count.eq(there.count), self.outputs.last.eq(there.ends), self.outputs.values.eq(values)]
        m.d.comb += [
            control.drained.eq(coming.valid & coming.ends),
            control.done.eq(self.outputs.valid & self.outputs.last),
            activations.start.eq(control.layer_starts),
            activations.place.eq(control.layer.out_base),
            activations.announce.eq(coming.valid & ~control.final),
            activations.count.eq(coming.count),
            activations.values.eq(values),
        ]
        return m
