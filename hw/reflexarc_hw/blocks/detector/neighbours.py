"""One atom, one event: what is near an event makes no second one."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc_hw.blocks.detector.values import LINE_BITS
from reflexarc_hw.lib.memory import Ram

PIXELS = 1024  # of a line, from its low end: those beyond are near nothing
INDEX_BITS = (PIXELS - 1).bit_length()
RADIUS_BITS = 6
LOOKUP_CYCLES = 5  # from ``lookup`` to ``is_near``
CLEAR_CYCLES = PIXELS + 1  # from a frame's start to that of the next one, if that is not to be without suppression

MARK = data.StructLayout({"line": LINE_BITS, "valid": 1})
# An event, and the pixels that it is written to.
SPAN = data.StructLayout({"valid": 1, "low": INDEX_BITS, "high": INDEX_BITS, "line": LINE_BITS})


class Neighbours(wiring.Component):
    """For each pixel of a line the line of the last event that was at most ``radius`` pixels away; ``is_near`` if that is at most ``radius`` lines ago.

    ``lookup`` asks for a place, and ``is_near`` is the answer until the next one. ``mark`` makes an event of the place that was asked for last.
    An event is written a pixel a cycle, and counts from the cycle of its mark on all the same. ``full``: no second mark now.

    Two memories take turns, a frame each: one is cleared while the other is in use. A frame that begins before that is done has no suppression.
    """

    radius: In(RADIUS_BITS)  # 0: nothing is near
    starts_frame: In(1)
    frame_now: In(1)  # changes with each frame
    lookup: In(1)
    index: In(16)
    line: In(LINE_BITS)
    frame: In(1)  # that of the place
    mark: In(1)
    is_near: Out(1)
    full: Out(1)

    def elaborate(self, platform):
        m = Module()
        # Which memory is in use, and how far the other one is cleared.
        using, blind = Signal(), Signal()
        cleared, clears = Signal(range(PIXELS + 1), init=PIXELS), Signal()
        m.d.comb += clears.eq(cleared != PIXELS)
        with m.If(self.starts_frame):
            m.d.sync += [using.eq(~using), blind.eq(clears), cleared.eq(0)]
        with m.Elif(clears):
            m.d.sync += cleared.eq(cleared + 1)

        # The place that is asked for, and what would be written if it had an event.
        index, line, frame, inside = Signal(INDEX_BITS), Signal(LINE_BITS), Signal(), Signal()
        low, high = Signal(signed(INDEX_BITS + 1)), Signal(INDEX_BITS + 1)
        asked = Signal(LOOKUP_CYCLES - 1)  # cycles since
        m.d.sync += asked.eq(Cat(self.lookup, asked))
        with m.If(self.lookup):
            m.d.sync += [
                index.eq(self.index),
                line.eq(self.line),
                frame.eq(self.frame),
                inside.eq((self.index[INDEX_BITS:] == 0) & (self.radius != 0)),
            ]
        with m.If(asked[0]):
            m.d.sync += [low.eq(index - self.radius), high.eq(index + self.radius)]

        # Events on their way to the memory: the one that is being written, and the one after it.
        active, pending, span = Signal(SPAN), Signal(SPAN), Signal(SPAN)
        at = Signal(INDEX_BITS)
        marks, written = Signal(), Signal()
        m.d.comb += [
            marks.eq(self.mark & inside & ~blind & (frame == self.frame_now)),
            span.valid.eq(1),
            span.low.eq(Mux(low[-1], 0, low)),
            span.high.eq(Mux(high[-1], PIXELS - 1, high)),
            span.line.eq(line),
            written.eq(active.valid & (at == active.high)),
            self.full.eq(pending.valid),
        ]
        with m.If(active.valid):
            m.d.sync += at.eq(at + 1)
        with m.If(written | ~active.valid):
            m.d.sync += [active.valid.eq(0), pending.valid.eq(0)]
            with m.If(pending.valid):
                m.d.sync += [active.eq(pending), at.eq(pending.low)]
                with m.If(marks):
                    m.d.sync += pending.eq(span)
            with m.Elif(marks):
                m.d.sync += [active.eq(span), at.eq(span.low)]
        with m.Elif(marks):
            m.d.sync += pending.eq(span)
        with m.If(self.starts_frame):
            m.d.sync += [active.valid.eq(0), pending.valid.eq(0)]

        marked = []
        for memory in range(2):
            m.submodules[f"marks_{memory}"] = ram = Ram(MARK.size, PIXELS)
            in_use = using == memory
            m.d.comb += [
                ram.write_enable.eq(Mux(in_use, active.valid, clears)),
                ram.write_address.eq(Mux(in_use, at, cleared)),
                ram.write_data.eq(Mux(in_use, Cat(active.line, Const(1, 1)), 0)),
                ram.read_enable.eq(in_use & asked[:2].any()),
                ram.read_address.eq(index),
            ]
            marked.append(ram.read_data)

        # The last event there: what is still on its way is later than what the memory has.
        by_pending, by_active = Signal(), Signal()
        active_line, pending_line = Signal(LINE_BITS), Signal(LINE_BITS)
        found, distance, is_marked = Signal(MARK), Signal(LINE_BITS), Signal()
        with m.If(asked[0]):
            m.d.sync += [
                by_pending.eq(pending.valid & (index >= pending.low) & (index <= pending.high)),
                by_active.eq(active.valid & (index >= active.low) & (index <= active.high)),
                active_line.eq(active.line),
                pending_line.eq(pending.line),
            ]
        with m.If(by_pending):
            m.d.comb += [found.valid.eq(1), found.line.eq(pending_line)]
        with m.Elif(by_active):
            m.d.comb += [found.valid.eq(1), found.line.eq(active_line)]
        with m.Else():
            m.d.comb += found.eq(Mux(using, marked[1], marked[0]))
        with m.If(asked[2]):
            m.d.sync += [distance.eq(line - found.line), is_marked.eq(found.valid & inside & ~blind)]
        with m.If(asked[3]):
            m.d.sync += self.is_near.eq(is_marked & (distance <= self.radius))
        return m
