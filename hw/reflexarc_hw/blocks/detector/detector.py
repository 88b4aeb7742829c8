"""A network on what the scan brings: banks, settings, what is looked at, and the events that come of it."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import detector
from reflexarc.contract.blocks.detector import BankState, Fault, SwapAt
from reflexarc.contract.model import BANKS, LANES, Memory, ViewSource
from reflexarc_hw.blocks.capture.pixel import PIXEL
from reflexarc_hw.blocks.detector.engine import Engine
from reflexarc_hw.blocks.detector.head import Head
from reflexarc_hw.blocks.detector.loader import Loader
from reflexarc_hw.blocks.detector.memories import put_word
from reflexarc_hw.blocks.detector.neighbours import Neighbours
from reflexarc_hw.blocks.detector.values import SETTINGS, Values
from reflexarc_hw.blocks.detector.view import View
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.conditions import held
from reflexarc_hw.lib.formats import MARKER, POSITION, SAMPLES, TIME

# ``valid`` for one cycle; it can't be stalled, so there is no ready.
DETECTION = data.StructLayout(
    {
        "valid": 1,
        "class_id": 8,
        "model_id": 16,
        "score": signed(32),
        "x": POSITION,  # Q20.12, DAC LSB
        "y": POSITION,
        "time": TIME,  # in which the newest pixel came
        "disagreement": 1,
    }
)
# Without a line, before a model is changed outside of one: the last pixel comes some samples after its line.
QUIET_CYCLES = 256
CYCLES_BITS = 20


class Detector(wiring.Component):
    """Evaluates the active bank's model wherever its view says, and tells of what makes an event.

    ``in_line``: a line is under way. ``underflow`` strobes for each evaluation that is missing, where that is asked for. With 0 lanes there are
    registers only.
    """

    bus: In(BankSignature())
    pixel: In(PIXEL)
    samples: In(SAMPLES)
    z: In(POSITION)  # Q20.12, DAC LSB
    marker: In(MARKER)
    pixels: In(16)  # of a line
    in_line: In(1)
    frame_start: In(1)
    aborted: In(1)
    time: In(TIME)
    detection: Out(DETECTION)
    underflow: Out(1)

    def __init__(self, lanes: int, *, paired: bool = False):
        if lanes and lanes not in LANES:
            raise ValueError(f"{lanes} lanes; there may be 0, {', '.join(map(str, LANES))}")
        self._lanes = lanes
        self._paired = paired
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, detector.BLOCK)
        refused = Signal(32)
        m.d.comb += [bank.lanes.eq(self._lanes), bank.refused.eq(refused)]
        if not self._lanes:
            with m.If(bank.load_strobe | bank.activate_strobe):
                m.d.sync += refused.eq(refused + 1)
            return m
        m.submodules.loader = loader = Loader(self._lanes)
        m.submodules.engine = engine = Engine(self._lanes, paired=self._paired)
        m.submodules.values = values = Values()
        m.submodules.view = view = View()
        m.submodules.head = head = Head()
        m.submodules.neighbours = neighbours = Neighbours()

        # Settings of both banks, and those in force.
        offered = [Signal(SETTINGS, name=f"settings_{index}") for index in range(BANKS)]
        settings = Signal(SETTINGS)
        with m.If(loader.load.enable & (loader.load.memory == Memory.SETTINGS)):
            for index in range(BANKS):
                with m.If(loader.load.bank == index):
                    put_word(m, offered[index], loader.load.address[:4], loader.load.data)
        active_bank, active_valid = Signal(), Signal()
        active = Signal()  # it is evaluated
        m.d.comb += active.eq(active_valid & bank.enable)

        # A change of the model: where nothing is under way, or else at the boundary. A load of the bank that it is to takes it back; one that comes
        # in the cycle of the change is a load of the active bank, and refused, as the loader hears of it a cycle later.
        due, due_bank, due_valid, stays_due, swaps = Signal(), Signal(), Signal(), Signal(), Signal()
        line_armed, frame_armed = Signal(), Signal()
        asked_valid, asked_active, taken_back = Signal(), Signal(), Signal()
        was_in_line = Signal()
        quiet, at_rest = Signal(range(QUIET_CYCLES + 1)), Signal()  # cycles without a line
        load_begins, load_bank = Signal(), Signal()
        m.d.comb += [
            asked_valid.eq(Mux(bank.activate, loader.state_1, loader.state_0) == BankState.VALID),
            asked_active.eq((active_valid | swaps) & (bank.activate == Mux(swaps, due_bank, active_bank))),
            due_valid.eq(due & (Mux(due_bank, loader.state_1, loader.state_0) == BankState.VALID)),
            taken_back.eq(bank.activate_strobe | (bank.load_strobe & (bank.load == due_bank))),
            swaps.eq((line_armed & (values.line_begins | at_rest)) | (frame_armed & self.frame_start)),
            stays_due.eq(due_valid & ~taken_back & ~swaps),
        ]
        m.d.sync += [
            at_rest.eq((quiet == QUIET_CYCLES) & ~values.busy & ~view.busy & ~view.waits & ~head.busy),
            load_begins.eq(bank.load_strobe),
            was_in_line.eq(self.in_line),
            line_armed.eq(stays_due & (bank.swap_at == SwapAt.LINE)),
            frame_armed.eq(stays_due & (bank.swap_at == SwapAt.FRAME)),
        ]
        with m.If(bank.load_strobe):
            m.d.sync += load_bank.eq(bank.load)
        with m.If(was_in_line | self.pixel.valid):
            m.d.sync += quiet.eq(0)
        with m.Elif(quiet != QUIET_CYCLES):
            m.d.sync += quiet.eq(quiet + 1)
        with m.If(bank.activate_strobe):
            m.d.sync += [due.eq(asked_valid & ~asked_active), due_bank.eq(bank.activate)]
        with m.Elif(~stays_due):
            m.d.sync += due.eq(0)
        with m.If(swaps):
            m.d.sync += [active_bank.eq(due_bank), active_valid.eq(1), settings.eq(Mux(due_bank, offered[1], offered[0]))]
        turned_down = Signal()
        m.d.comb += turned_down.eq(bank.activate_strobe & ~asked_valid)
        with m.If(turned_down | loader.refused):
            m.d.sync += refused.eq(refused + turned_down + loader.refused)

        # What was before a change, or before the detector was switched off, is dropped, and so is what a line that was aborted had begun.
        was_active, stop, clear = Signal(), Signal(), Signal()
        m.d.sync += was_active.eq(active)
        m.d.comb += [
            stop.eq(swaps | (was_active & ~active)),
            clear.eq(stop | (self.aborted & (settings.source != ViewSource.PROGRAM))),
        ]
        # The engine is told a cycle later, when it is at rest.
        engine_bank, engine_layers, engine_window = Signal(), Signal.like(engine.layers), Signal.like(engine.window_bytes)
        swapped = Signal()
        m.d.sync += swapped.eq(swaps)
        with m.If(swapped):
            m.d.sync += [engine_bank.eq(active_bank), engine_layers.eq(settings.layers), engine_window.eq(settings.window_bytes)]

        result = head.verdict
        judged, event = Signal(), Signal()
        m.d.comb += [
            loader.start.eq(load_begins),
            loader.start_bank.eq(load_bank),
            loader.data_strobe.eq(bank.load_data_strobe),
            loader.data.eq(bank.load_data),
            loader.end.eq(bank.load_end_strobe & bank.load_end),
            loader.active_bank.eq(active_bank),
            loader.active_valid.eq(active_valid),
            #
            values.settings.eq(settings),
            values.active.eq(active),
            values.changes.eq(line_armed),
            values.clear.eq(clear),
            values.pixel.eq(self.pixel),
            values.samples.eq(self.samples),
            values.z.eq(self.z),
            values.marker.eq(self.marker),
            values.push.eq(bank.push),
            values.push_strobe.eq(bank.push_strobe),
            values.restart.eq(bank.restart_strobe & bank.restart),
            values.frame_start.eq(self.frame_start),
            values.time.eq(self.time),
            values.taken.eq(view.taken),
            #
            view.settings.eq(settings),
            view.bank.eq(active_bank),
            view.load.eq(loader.load),
            view.pixels.eq(self.pixels),
            view.value.eq(values.value),
            view.clear.eq(clear),
            view.stop.eq(stop),
            view.engine_busy.eq(engine.busy),
            view.hold.eq(head.busy | neighbours.full),
            #
            engine.load.eq(loader.load),
            engine.ring_write.eq(view.ring_write),
            engine.bank.eq(engine_bank),
            engine.layers.eq(engine_layers),
            engine.window_bytes.eq(engine_window),
            engine.begin.eq(view.begin),
            engine.base.eq(view.base),
            engine.arrived.eq(view.arrived),
            engine.abort.eq(view.abort),
            #
            head.settings.eq(settings),
            head.outputs.eq(engine.outputs),
            head.outputs.valid.eq(engine.outputs.valid & view.running),
            head.clear.eq(stop),
            head.select.eq(bank.output_select),
            #
            neighbours.radius.eq(Mux(settings.source == ViewSource.PIXEL, bank.radius, 0)),
            neighbours.starts_frame.eq(view.starts_frame),
            neighbours.frame_now.eq(view.frame),
            neighbours.lookup.eq(view.completed),
            neighbours.index.eq(view.origin.index),
            neighbours.line.eq(view.origin.line),
            neighbours.frame.eq(view.origin.frame),
            neighbours.mark.eq(self.detection.valid),
            judged.eq(result.valid & ~stop),
            event.eq(judged & result.event & ~neighbours.is_near),
        ]

        # The place that an event will tell of, long before there is one.
        x, y = Signal(signed(POSITION.width + 1)), Signal(signed(POSITION.width + 1))
        placed = Signal()
        cycles, counting = Signal(CYCLES_BITS), Signal()
        detection = self.detection
        m.d.sync += placed.eq(view.completed)
        with m.If(view.completed):
            m.d.sync += [
                x.eq(view.origin.x + bank.offset_x),
                y.eq(view.origin.y + bank.offset_y),
                detection.time.eq(view.origin.time),
                detection.model_id.eq(settings.model_id),
                counting.eq(1),
                cycles.eq(
                    view.age + 2
                ),  # in the cycle of the verdict that is how far it, and the detection after it, are from the last byte
            ]
        with m.Elif(counting & ~cycles.all()):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(stop | result.valid):
            m.d.sync += counting.eq(0)
        with m.If(placed):
            m.d.sync += [detection.x.eq(held(x)), detection.y.eq(held(y))]

        counts = {name: Signal(32, name=name) for name in ("evaluations", "missed", "events", "suppressed", "disagreements")}
        last_result, last_cycles = Signal(18), Signal(CYCLES_BITS)
        m.d.sync += detection.valid.eq(event)
        with m.If(event):
            m.d.sync += [
                detection.class_id.eq(result.class_id),
                detection.score.eq(result.margin),
                detection.disagreement.eq(result.disagreement),
            ]
        with m.If(detection.valid):
            m.d.sync += counts["events"].eq(counts["events"] + 1)
        # What is counted is a register: the verdict is known late in its cycle, and a count is a carry chain.
        counted, was_suppressed, was_disagreement = Signal(), Signal(), Signal()
        m.d.sync += [
            counted.eq(judged),
            was_suppressed.eq(result.event & neighbours.is_near),
            was_disagreement.eq(result.disagreement),
        ]
        with m.If(judged):
            m.d.sync += [last_result.eq(Cat(result.greatest, result.margin, result.disagreement)), last_cycles.eq(cycles)]
        with m.If(counted):
            m.d.sync += [
                counts["evaluations"].eq(counts["evaluations"] + 1),
                counts["suppressed"].eq(counts["suppressed"] + was_suppressed),
                counts["disagreements"].eq(counts["disagreements"] + was_disagreement),
            ]
        # A model's last evaluation, which its successor drops, is one that was due and not done, but no fault.
        faults, drops = Signal(len(Fault)), Signal()
        for fault, strobe in ((Fault.BUSY, view.missed), (Fault.VALUES, values.overrun), (Fault.LINES, view.too_long)):
            m.d.comb += faults[int(fault).bit_length() - 1].eq(strobe)
        m.d.comb += [drops.eq(swaps & (view.dropped | head.busy)), bank.faults_set.eq(faults)]
        dropped = Signal()
        m.d.sync += [self.underflow.eq(bank.strict & faults.any()), dropped.eq(drops)]
        with m.If(view.missed | dropped):
            m.d.sync += counts["missed"].eq(counts["missed"] + view.missed + dropped)
        m.d.comb += [getattr(bank, name).eq(count) for name, count in counts.items()]
        m.d.comb += [
            bank.state_0.eq(loader.state_0),
            bank.state_1.eq(loader.state_1),
            bank.active.eq(Cat(active_bank, active_valid, due)),
            bank.model_id.eq(Mux(active_valid, settings.model_id, 0)),
            bank.cycles.eq(last_cycles),
            bank.result.eq(last_result),
            bank.output.eq(head.output),
        ]
        return m
