"""The scan: commands, the state that the plan leads to, and to which pixel a sample belongs."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import scan
from reflexarc.contract.blocks.scan import AXES, Blanking, ScanCommand, ScanState
from reflexarc.contract.packets import Direction
from reflexarc_hw.blocks.scan.axis import COURSE, PREPARE_CYCLES, Axis
from reflexarc_hw.blocks.scan.planner import NOW, PLAN_CYCLES, SETTINGS, SIZES, Planner
from reflexarc_hw.blocks.scan.point import POINT
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import MARKER, POSITION

# Samples between a position and the sample that was taken there: the code waits for a DAC frame and the frame for its last bit, which
# together end before the second conversion after it (see the page of this block).
MARKER_DELAY_SAMPLES = 2
BUSY_CYCLES = PLAN_CYCLES + PREPARE_CYCLES - 1  # in which the next tick is prepared, from the second one after a tick on
TICK_CYCLES_MIN = BUSY_CYCLES + 3


class Scan(wiring.Component):
    """Moves x, y and an offset of z, and says of each sample which pixel it belongs to.

    All motion follows a ``tick`` (sample valid); one with ``pause`` high moves nothing but the drift. Runs only while
    ``live``: without it a raster or list ends at once and the position holds. ``marker`` belongs to the sample of the present tick;
    ``frame_start`` strobes when a raster or list begins, ``aborted`` when it ends before its end; ``overflow`` is high while a position
    is outside Q20.12 (the interlock trips on it). ``beam`` is high where the beam may fall on the specimen; like the markers it is late by
    what the converters take, at its beginning by one sample less.

    A pixel ends when its samples are over and ``may_end`` is high, a line begins when ``may_start`` is; ``line_waits`` says that each line
    is to be asked for, otherwise only the first. ``late`` means that one of them is overdue.
    """

    bus: In(BankSignature())
    tick: In(1)
    pause: In(1)
    live: In(1)
    points: In(stream.Signature(POINT))
    may_end: In(1)
    may_start: In(1)
    line_waits: In(1)
    late: In(1)
    x: Out(POSITION)  # Q20.12, DAC LSB, as are y and z
    y: Out(POSITION)
    z: Out(POSITION)  # to be added to what keeps the distance
    marker: Out(MARKER)
    beam: Out(1)
    state: Out(ScanState)
    backward: Out(1)  # it is BACKWARD
    second: Out(1)  # pass over the line
    pixel_start: Out(1)  # strobe: the scan is at a new pixel
    pixel_over: Out(1)  # it has had its samples, and lasts until ``may_end``
    waiting: Out(1)  # for ``may_start``
    starved: Out(1)
    pixels: Out(16)  # in force, for the blocks that follow the markers
    pixel_samples: Out(24)
    frame_start: Out(1)
    aborted: Out(1)
    overflow: Out(1)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, scan.BLOCK)
        now = Signal(NOW)
        entry, coming = Signal(POINT), Signal(POINT)  # of the list: the present one, and what it showed in the last cycle
        frames, starvations = Signal(32), Signal(32)

        # Settings: those of the registers, which a line's start takes over if told to (``waits``), and those in force.
        offered, given = Signal(SETTINGS), Signal(SETTINGS, init={name: scan.BLOCK[name].reset for name in ("flags", *SIZES)})
        waits = Signal()
        renews = Signal()  # it was told to before the next tick was looked at, which then knows how the line begins
        again = Signal()  # and once more since
        next_settle, next_overscan = Signal(24), Signal(24)
        most, least = Signal(31), Signal(signed(32))
        m.d.comb += [
            offered.flags.eq(bank.flags),
            *(offered[name].eq(getattr(bank, name)) for name in SIZES),
            *(offered[axis][name].eq(getattr(bank, f"{name}_{axis}")) for axis in AXES for name in COURSE.members),
        ]

        m.submodules.planner = planner = Planner()
        then = planner.then

        # A command that begins something waits until the place is known, for the cycles that a tick takes, and so for less than the bus needs
        # for the next write. What was planned before it is void, as is what was before a stop.
        stages = Signal(BUSY_CYCLES)
        stop, stopped = Signal(init=1), Signal(init=1)  # no tick counts any more; the last one that did is over
        asked, order = Signal(), Signal(ScanCommand)
        begin, void, planned, starts = Signal(), Signal(), Signal(), Signal()
        idle = Signal()
        # Ticks go to a thousand places: each kind has a register of its own, and all that follows from a tick follows from them.
        ticked, counted, drifting = Signal(), Signal(), Signal()
        dead = Signal(init=1)
        m.d.sync += [
            ticked.eq(self.tick),
            counted.eq(self.tick & ~self.pause & ~stop & ~begin & planned & (~then.take | self.points.valid)),
            coming.eq(self.points.payload),
            drifting.eq(self.tick & self.live),
            begin.eq(asked & ~(self.tick | ticked | begin | stop | stopped)),
            dead.eq(~self.live),
            stop.eq((bank.command_strobe & (bank.command == ScanCommand.STOP)) | ~self.live),
            stopped.eq(stop),
            stages.eq(Cat(ticked, Mux(void, 0, stages))),
        ]
        m.d.comb += void.eq(stop | stopped | begin)
        with m.If(bank.command_strobe & idle):
            m.d.sync += [
                asked.eq(Cat(bank.command == one for one in (ScanCommand.START, ScanCommand.LIST, ScanCommand.MOVE)).any()),
                order.eq(bank.command),
            ]
        with m.Elif(begin | stop):
            m.d.sync += asked.eq(0)

        # A list's entry that was there when the plan was made and is withdrawn before its tick is not taken: that tick does not count.
        with m.If(void | (then.take & ~self.points.valid)):
            m.d.sync += planned.eq(0)
        with m.Elif(stages[-1]):
            m.d.sync += planned.eq(1)
        with m.If(stages[0]):
            m.d.sync += [
                renews.eq(waits),
                again.eq(0),
                next_settle.eq(Mux(waits, bank.settle_samples, given.settle_samples)),
                next_overscan.eq(Mux(waits, bank.overscan_samples, given.overscan_samples)),
                most.eq(bank.move_step),
            ]
        m.d.sync += least.eq(-most)
        m.d.comb += [
            planner.now.eq(now),
            planner.given.eq(given),
            planner.next_settle.eq(next_settle),
            planner.next_overscan.eq(next_overscan),
            planner.entry.eq(entry),
            planner.offered.eq(self.points.valid),
            planner.offered_segment.eq(self.points.payload.segment),
            planner.may_end.eq(self.may_end),
            planner.may_start.eq(self.may_start),
            planner.line_waits.eq(self.line_waits),
            planner.look.eq(stages[0]),
        ]

        next_line = Signal(16)
        with m.If(stages[-1]):
            m.d.sync += next_line.eq(Mux(then.fields, now.field + 1, now.line + Mux(now.listing, 1, given.interlace)))

        # What a counted tick does.
        line_start, field_start = Signal(), Signal()  # one cycle later, when the place is reached
        takes, renew, renewing = Signal(), Signal(), Signal()
        # A stop in the cycle of the tick makes no difference: without a raster what waits is taken at once.
        renewed = self.tick & ~self.pause & renew
        m.d.sync += [
            line_start.eq(0),
            field_start.eq(0),
            renew.eq(then.line_start & renews & planned),
            renewing.eq(renewed),
            takes.eq(renewed),
        ]
        with m.If(takes):
            m.d.sync += given.eq(offered)
        with m.If(renewing):
            m.d.sync += [
                given.settle_samples.eq(next_settle),  # as the line begins
                given.overscan_samples.eq(next_overscan),
                waits.eq(again),
            ]
        m.d.comb += [
            self.points.ready.eq(counted & then.take),
            starts.eq(
                (then.state == ScanState.FORWARD) | (then.state == ScanState.BACKWARD) | ((then.state == ScanState.LIST) & coming.pixel)
            ),
        ]
        m.d.sync += self.pixel_start.eq(counted & then.restart & starts)
        with m.If(counted):
            m.d.sync += [
                now[name].eq(then[name]) for name in ("state", "backward", "second", "behind", "fields", "turn_next", "turn_mirror")
            ]
            m.d.sync += [
                now.samples.eq(Mux(then.restart, 1, now.samples + ~planner.full)),
                now.first.eq(then.restart),
                line_start.eq(then.line_start),
                field_start.eq(then.field_start),
            ]
            with m.If(then.line_end):
                m.d.sync += now.pixel.eq(0)
            with m.Elif(then.pixel_end):
                m.d.sync += now.pixel.eq(now.pixel + 1)
            with m.If(then.advance & ~then.finish):
                m.d.sync += now.line.eq(next_line)
            with m.If(then.advance & then.fields):
                m.d.sync += now.field.eq(next_line)
            with m.If(then.finish):
                m.d.sync += frames.eq(frames + 1)
            with m.If(then.take):
                m.d.sync += entry.eq(coming)
            with m.If((then.state == ScanState.STARVED) & (now.state != ScanState.STARVED)):
                m.d.sync += starvations.eq(starvations + 1)

        # Commands.
        moving, in_frame, aim = Signal(), Signal(), Signal()
        # Neither idle nor moving. This and ``backward`` are kept beside the state: what they switch is far from all else that looks at it.
        raster = Signal()
        m.d.comb += [
            idle.eq(now.state == ScanState.IDLE),
            moving.eq((now.state == ScanState.MOVING) & ~now.fields),
        ]
        with m.If(counted):
            m.d.sync += [
                raster.eq((then.state != ScanState.IDLE) & ((then.state != ScanState.MOVING) | then.fields)),
                self.backward.eq(then.state == ScanState.BACKWARD),
            ]
        # The target stands before the first look at the way to it.
        m.d.sync += [in_frame.eq(raster & ~now.listing), aim.eq(moving | (begin & (order == ScanCommand.MOVE)))]
        with m.If(waits & ~in_frame):
            m.d.sync += [takes.eq(1), waits.eq(0)]
        with m.If(bank.command_strobe & (bank.command == ScanCommand.UPDATE)):
            m.d.sync += [waits.eq(1), again.eq(1)]
        with m.If(begin | stopped):
            m.d.sync += self.backward.eq(0)
        with m.If(begin):
            with m.If(order == ScanCommand.MOVE):
                m.d.sync += [now.state.eq(ScanState.MOVING), now.fields.eq(0), raster.eq(0)]
            with m.Else():
                m.d.comb += self.frame_start.eq(1)
                m.d.sync += [
                    takes.eq(1), waits.eq(0), now.eq(0), line_start.eq(1), field_start.eq(1),
                    now.state.eq(ScanState.WAIT), now.listing.eq(order == ScanCommand.LIST), raster.eq(1),
                ]  # fmt: skip
        with m.If(stopped):
            m.d.sync += [now.state.eq(ScanState.IDLE), now.second.eq(0), raster.eq(0)]
            m.d.comb += self.aborted.eq(raster)
        with m.If(dead):  # arming alone never starts motion
            m.d.sync += [given[axis].drift.eq(0) for axis in AXES]

        outside = []
        for name in AXES:
            m.submodules[f"axis_{name}"] = axis = Axis()
            m.d.comb += [
                axis.course.eq(given[name]),
                axis.plan.eq(planner.plan),
                axis.look.eq(stages[0]),
                axis.prepare.eq(stages[PLAN_CYCLES]),
                axis.go.eq(counted),
                axis.begin.eq(begin),
                axis.aim.eq(aim),
                axis.wanted.eq(getattr(bank, f"target_{name}")),
                axis.line_start.eq(line_start),
                axis.field_start.eq(field_start),
                axis.tick.eq(drifting),
                axis.stepped.eq(given.flags[2]),
                axis.most.eq(most),
                axis.least.eq(least),
                axis.dead.eq(dead),
                axis.segment.eq(entry[name]),
                axis.point.eq(coming[name]),
                getattr(self, name).eq(axis.place),
                getattr(bank, name).eq(axis.place),
            ]
            outside.append(axis.beyond)
        arrived = Cat(m.submodules[f"axis_{name}"].arrived for name in AXES)
        m.d.comb += [planner.arrived.eq(arrived.all()), self.overflow.eq(Cat(outside).any())]

        # Markers travel with the samples that they belong to.
        in_line, in_pixel = Signal(), Signal()
        m.d.comb += [
            in_line.eq((now.state == ScanState.FORWARD) | self.backward),
            in_pixel.eq(in_line | ((now.state == ScanState.LIST) & entry.pixel)),
        ]
        sight = Signal(MARKER)
        paused = Signal()
        m.d.sync += paused.eq(self.pause)
        m.d.comb += [
            sight.active.eq(in_pixel & ~paused & planned),
            sight.first.eq(now.first),
            sight.last.eq(planner.pixel_ends),
            sight.line_first.eq(now.first & (now.pixel == 0)),
            sight.line_last.eq(planner.line_ends),
            sight.direction.eq(Mux(self.backward, Direction.BACKWARD, Direction.FORWARD)),
            sight.second.eq(now.second),
            sight.index.eq(Mux(self.backward, given.pixels - 1 - now.pixel, now.pixel)),
            sight.line.eq(now.line),
            sight.x.eq(self.x),
            sight.y.eq(self.y),
        ]
        # The beam: never without a scan; between pixels, and where the scan is kept waiting, as asked.
        lit = Signal()
        starved = now.state == ScanState.STARVED
        between = Mux(now.listing, ~bank.blanking[1], ~bank.blanking[0])
        assert (Blanking.BETWEEN_LINES, Blanking.BETWEEN_POINTS, Blanking.STARVED) == (1, 2, 4)
        m.d.comb += lit.eq(self.live & raster & (in_pixel | starved | between) & ~((starved | self.late) & bank.blanking[2]))
        stage, beams = sight, [lit]
        for index in range(MARKER_DELAY_SAMPLES):
            late = Signal(MARKER, name=f"marker_{index + 1}")
            beam = Signal(name=f"lit_{index + 1}")
            with m.If(ticked):
                m.d.sync += [late.eq(stage), beam.eq(beams[-1])]
            with m.If(self.aborted):
                m.d.sync += [late.active.eq(0), beam.eq(0)]
            stage = late
            beams.append(beam)
        m.d.comb += [self.marker.eq(stage), self.beam.eq((beams[-1] | beams[-2]) & self.live)]

        m.d.comb += [
            self.state.eq(now.state),
            self.second.eq(now.second),
            self.pixel_over.eq(planner.over & in_pixel),
            self.waiting.eq(now.state == ScanState.WAIT),
            self.starved.eq(now.state == ScanState.STARVED),
            self.pixels.eq(given.pixels),
            self.pixel_samples.eq(given.pixel_samples),
            bank.state.eq(now.state),
            bank.line.eq(now.line),
            bank.frames.eq(frames),
            bank.starved.eq(starvations),
            bank.waiting.eq(waits),
        ]
        return m
