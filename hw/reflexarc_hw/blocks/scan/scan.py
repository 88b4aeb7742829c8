"""Raster scan."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import scan
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS, STEP_FRACTION_BITS, ScanCommand, ScanFlags, ScanState
from reflexarc.contract.packets import Direction
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import MARKER, POSITION

# Samples between a position and the sample that was taken there: the code waits for a DAC frame and the frame for its last bit, which
# together end before the second conversion after it (see the page of this block).
MARKER_DELAY_SAMPLES = 2

EXTRA = STEP_FRACTION_BITS - POSITION_FRACTION_BITS
# Q22.20: two bits more than a position has, so that a step past the range shows instead of wrapping
ACCUMULATOR = signed(22 + STEP_FRACTION_BITS)


class Scan(wiring.Component):
    """Moves x and y, and says of each sample which pixel it belongs to.

    All motion happens in the cycle of ``tick`` (sample valid); a tick with ``pause`` high does not count. Runs only while ``live``:
    without it the raster ends at once and the position holds. ``marker`` belongs to the sample of the present tick; ``frame_start``
    strobes when a raster begins, ``aborted`` when it ends before its last pixel; ``overflow`` is high while a position is outside
    Q20.12 (the interlock trips on it).
    """

    bus: In(BankSignature())
    tick: In(1)
    pause: In(1)
    live: In(1)
    x: Out(POSITION)  # Q20.12, DAC LSB
    y: Out(POSITION)  # Q20.12, DAC LSB
    marker: Out(MARKER)
    state: Out(ScanState)
    pixels: Out(16)  # as configured, for the blocks that follow the markers
    pixel_samples: Out(24)
    frame_start: Out(1)
    aborted: Out(1)
    overflow: Out(1)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, scan.BLOCK)
        state = Signal(ScanState)
        x = Signal(ACCUMULATOR)  # Q22.20, DAC LSB
        y = Signal(ACCUMULATOR)
        start_x = Signal(ACCUMULATOR)  # start of the present line
        start_y = Signal(ACCUMULATOR)
        pixel = Signal(16)  # counted along the present direction
        line = Signal(16)
        sample = Signal(24)  # counts within a pixel or a rest
        frames = Signal(32)
        count = Signal()  # this tick moves the raster on
        stop = Signal(init=1)
        m.d.sync += stop.eq((bank.command_strobe & (bank.command == ScanCommand.STOP)) | ~self.live)
        m.d.comb += count.eq(self.tick & ~self.pause & ~stop)

        # Comparisons and the next line's start are registered and made anew each fourth cycle: all that they look at is stable for the 15
        # cycles and more between two ticks, and sleeping saves power and the twin's time.
        beat = Signal(2)
        m.d.sync += beat.eq(beat + 1)
        pixel_end, line_end, frame_end, rest_end = Signal(), Signal(), Signal(), Signal()
        next_x, next_y = Signal(ACCUMULATOR), Signal(ACCUMULATOR)
        rest_samples = Signal(24)
        with m.Switch(state):
            with m.Case(ScanState.TURN):
                m.d.comb += rest_samples.eq(bank.turn_samples)
            with m.Case(ScanState.FLYBACK):
                m.d.comb += rest_samples.eq(bank.flyback_samples)
            with m.Default():
                m.d.comb += rest_samples.eq(bank.settle_samples)
        with m.If(beat == 0):
            m.d.sync += [
                pixel_end.eq(sample + 1 >= bank.pixel_samples),
                line_end.eq(pixel + 1 >= bank.pixels),
                frame_end.eq(line + 1 >= bank.lines),
                rest_end.eq(sample + 1 >= rest_samples),
                next_x.eq(start_x + Cat(Const(0, EXTRA), bank.line_x).as_signed()),
                next_y.eq(start_y + Cat(Const(0, EXTRA), bank.line_y).as_signed()),
            ]

        # MOVE: per axis the remaining way, limited to move_step; known 5 cycles after a tick. It stands before the command comes, and sleeps
        # during a raster.
        moves = []
        may_move = Signal()
        m.d.comb += may_move.eq((state == ScanState.MOVING) | (state == ScanState.IDLE))
        for position, target in ((x, bank.target_x), (y, bank.target_y)):
            way = Signal(signed(len(position) + 1))
            move = Signal(ACCUMULATOR)
            limit = Cat(bank.move_step, Const(0, 1)).as_signed()
            way_late, back, above, below = Signal.like(way), Signal(ACCUMULATOR), Signal(), Signal()
            with m.If(may_move):
                m.d.sync += [
                    way.eq(Cat(Const(0, EXTRA), target).as_signed() - position),
                    way_late.eq(way),
                    above.eq(way > limit),
                    below.eq(way + limit < 0),
                    back.eq(-limit),
                    move.eq(Mux(above, limit, Mux(below, back, way_late))),
                ]
            moves.append(move)
        arrived = Signal()
        m.d.sync += arrived.eq((moves[0] == 0) & (moves[1] == 0))

        in_line = Signal()
        backward = Signal()
        m.d.comb += [
            in_line.eq((state == ScanState.FORWARD) | (state == ScanState.BACKWARD)),
            backward.eq(state == ScanState.BACKWARD),
        ]
        # What the next tick does to the position: a step, the start of a new line, or nothing. The last sample of a line leaves the position,
        # so that the way back meets the same points.
        delta_x, delta_y = Signal(ACCUMULATOR), Signal(ACCUMULATOR)
        advance, new_line = Signal(), Signal()
        with m.If((beat == 0) | may_move):
            with m.Switch(state):
                with m.Case(ScanState.FORWARD):
                    m.d.sync += [delta_x.eq(bank.step_x), delta_y.eq(bank.step_y)]
                with m.Case(ScanState.BACKWARD):
                    m.d.sync += [delta_x.eq(-bank.step_x), delta_y.eq(-bank.step_y)]
                with m.Case(ScanState.FLYBACK):
                    m.d.sync += [delta_x.eq(bank.flyback_x), delta_y.eq(bank.flyback_y)]
                with m.Default():
                    m.d.sync += [delta_x.eq(moves[0]), delta_y.eq(moves[1])]
            line_ends = pixel_end & line_end
            m.d.sync += [
                advance.eq((may_move & ~arrived) | ((state == ScanState.FLYBACK) & ~rest_end) | (in_line & ~line_ends)),
                new_line.eq(((state == ScanState.FLYBACK) & rest_end) | (backward & line_ends)),
            ]

        def begin_line() -> None:
            """State for a line whose start is the present position."""
            m.d.sync += [sample.eq(0), pixel.eq(0), state.eq(Mux(bank.settle_samples == 0, ScanState.FORWARD, ScanState.SETTLE))]

        def end_line() -> None:
            """After the way back: next line, or the end of the frame."""
            with m.If(frame_end):
                m.d.sync += [state.eq(ScanState.IDLE), frames.eq(frames + 1)]
            with m.Else():
                m.d.sync += line.eq(line + 1)
                begin_line()

        with m.If(count):
            m.d.sync += sample.eq(sample + 1)
            with m.Switch(state):
                with m.Case(ScanState.READY):
                    begin_line()
                with m.Case(ScanState.MOVING):
                    with m.If(arrived):
                        m.d.sync += state.eq(ScanState.IDLE)
                with m.Case(ScanState.SETTLE):
                    with m.If(rest_end):
                        m.d.sync += [sample.eq(0), state.eq(ScanState.FORWARD)]
                with m.Case(ScanState.TURN):
                    with m.If(rest_end):
                        m.d.sync += [sample.eq(0), pixel.eq(0), state.eq(ScanState.BACKWARD)]
                with m.Case(ScanState.FLYBACK):
                    with m.If(rest_end):
                        end_line()
                with m.Case(ScanState.FORWARD, ScanState.BACKWARD):
                    with m.If(pixel_end):
                        m.d.sync += [sample.eq(0), pixel.eq(pixel + 1)]
                    with m.If(pixel_end & line_end):
                        m.d.sync += pixel.eq(0)
                        with m.If(backward):
                            end_line()
                        with m.Elif(~bank.flags[0]):
                            m.d.sync += state.eq(ScanState.FLYBACK)
                        with m.Elif(bank.turn_samples == 0):
                            m.d.sync += state.eq(ScanState.BACKWARD)
                        with m.Else():
                            m.d.sync += state.eq(ScanState.TURN)
        with m.If(count & advance & (state != ScanState.IDLE) & (state != ScanState.READY)):
            m.d.sync += [x.eq(x + delta_x), y.eq(y + delta_y)]
        with m.Elif(count & new_line):
            m.d.sync += [x.eq(next_x), y.eq(next_y), start_x.eq(next_x), start_y.eq(next_y)]
        assert ScanFlags.BACKWARD == 1  # bank.flags[0] above

        # Markers travel with the samples that they belong to.
        now = Signal(MARKER)
        m.d.comb += [
            now.active.eq(in_line & ~self.pause & self.live),
            now.first.eq(sample == 0),
            now.last.eq(pixel_end),
            now.line_first.eq((sample == 0) & (pixel == 0)),
            now.line_last.eq(pixel_end & line_end),
            now.direction.eq(Mux(backward, Direction.BACKWARD, Direction.FORWARD)),
            now.index.eq(Mux(backward, bank.pixels - 1 - pixel, pixel)),
            now.line.eq(line),
            now.x.eq(self.x),
            now.y.eq(self.y),
        ]
        stage = now
        for index in range(MARKER_DELAY_SAMPLES):
            late = Signal(MARKER, name=f"marker_{index + 1}")
            with m.If(self.tick):
                m.d.sync += late.eq(stage)
            with m.If(self.aborted):
                m.d.sync += late.active.eq(0)
            stage = late
        m.d.comb += self.marker.eq(stage)

        with m.If(stop):
            m.d.sync += state.eq(ScanState.IDLE)
            m.d.comb += self.aborted.eq((state != ScanState.IDLE) & (state != ScanState.MOVING))
        with m.Elif(bank.command_strobe & (state == ScanState.IDLE)):
            with m.Switch(bank.command):
                with m.Case(ScanCommand.START):
                    m.d.sync += [line.eq(0), start_x.eq(x), start_y.eq(y), state.eq(ScanState.READY)]
                    m.d.comb += self.frame_start.eq(1)
                with m.Case(ScanCommand.MOVE):
                    m.d.sync += state.eq(ScanState.MOVING)

        m.d.comb += [
            self.state.eq(state),
            self.pixels.eq(bank.pixels),
            self.pixel_samples.eq(bank.pixel_samples),
            bank.state.eq(state),
            bank.x.eq(self.x),
            bank.y.eq(self.y),
            bank.line.eq(line),
            bank.frames.eq(frames),
        ]
        # Outside the range a position stands at the rail and says so, both one cycle later; it never comes out on the other side.
        beyond = []
        for position, output in ((x, self.x), (y, self.y)):
            top = position[POSITION.width + EXTRA - 1 :]
            outside = Signal()
            m.d.comb += outside.eq(~((top == 0) | top.all()))
            rail = Mux(position[-1], 1 << (POSITION.width - 1), (1 << (POSITION.width - 1)) - 1)
            m.d.sync += output.eq(Mux(outside, rail, position[EXTRA:]))
            beyond.append(outside)
        m.d.sync += self.overflow.eq(beyond[0] | beyond[1])
        return m
