"""What the next counted tick does: made anew after each tick, registered."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import scan
from reflexarc.contract.blocks.scan import AXES, ScanFlags, ScanState
from reflexarc_hw.blocks.scan.axis import COURSE, PLAN, Motion
from reflexarc_hw.blocks.scan.point import POINT

# What a line's start takes over from the registers.
SIZES = ("pixels", "lines", "interlace", "pixel_samples", "settle_samples", "overscan_samples", "turn_samples", "next_samples")
SETTINGS = data.StructLayout({"flags": 4} | {name: scan.BLOCK[name].width for name in SIZES} | {axis: COURSE for axis in AXES})

# Where the scan is.
NOW = data.StructLayout(
    {
        "state": ScanState,
        "backward": 1,
        "second": 1,  # second pass over the line
        "behind": 1,  # overscan behind the line, not before it
        "listing": 1,  # points of a list, no raster
        "fields": 1,  # MOVING to the next field, not for a command
        "samples": 24,  # of the pixel, rest, turn or entry of a list, with the present one
        "first": 1,  # it is the first
        "pixel": 16,  # counted along the present direction
        "line": 16,
        "field": 8,
        "turn_next": 1,  # the turn is one to the next line
        "turn_mirror": 1,  # it is at the line's low end
    }
)

# What the next counted tick does besides motion.
THEN = data.StructLayout(
    {
        "state": ScanState,
        "backward": 1,
        "second": 1,
        "behind": 1,
        "fields": 1,
        "turn_next": 1,
        "turn_mirror": 1,
        "restart": 1,  # the count of samples begins anew
        "pixel_end": 1,
        "line_end": 1,  # pixels begin anew
        "advance": 1,  # the count of lines goes on; of a field's last line that of fields
        "line_start": 1,  # here begins a line: settings that wait are taken
        "field_start": 1,  # and a field
        "finish": 1,
        "take": 1,  # the list's next entry
    }
)

PLAN_CYCLES = 5  # from ``look`` to the plan


class Planner(wiring.Component):
    """Registered steps of comparisons after ``look``, then the plan, PLAN_CYCLES after it.

    ``now``, ``given`` (settings in force) and ``entry`` (of the list) stand still meanwhile. ``may_end``, ``may_start``, ``line_waits`` and
    ``offered`` are looked at in the cycle after ``look``.
    """

    now: In(NOW)
    given: In(SETTINGS)
    next_settle: In(24)  # rest and overscan of the next new line, from the cycle after ``look`` on
    next_overscan: In(24)
    entry: In(POINT)
    offered: In(1)  # the list has a next entry
    offered_segment: In(1)
    may_end: In(1)
    may_start: In(1)
    line_waits: In(1)
    arrived: In(1)  # 2 cycles after ``look``
    look: In(1)
    plan: Out(PLAN)
    then: Out(THEN)
    pixel_ends: Out(1)  # the present sample is its pixel's last; line_ends: and its line's
    line_ends: Out(1)
    over: Out(1)  # the present pixel has had its samples
    full: Out(1)  # the count of samples has come to its end: one that waits for long keeps it there, so that it never begins anew

    def elaborate(self, platform):
        m = Module()
        now, given = self.now, self.given
        flags = given.flags
        assert (ScanFlags.BACKWARD, ScanFlags.SERPENTINE, ScanFlags.STEPPED, ScanFlags.LIFT) == (1, 2, 4, 8)
        both_ways, serpentine, stepped = flags[0], flags[1] & ~flags[0], flags[2]
        lifting = flags[3] & both_ways
        stages = Signal(PLAN_CYCLES - 1)
        m.d.sync += stages.eq(Cat(self.look, stages))

        state = Signal(ScanState)  # a copy of its own, for its many readers here
        # 1: comparisons; where a line could be left, and in which direction the next one would be.
        rest = Mux(now.state == ScanState.SETTLE, given.settle_samples, given.overscan_samples)
        way = Mux(now.turn_next, given.next_samples, given.turn_samples)
        over, index_last, line_last, field_last, rest_last, half, turning, again, advance, in_line = (
            Signal(name=name) for name in ("over", "index_last", "line_last", "field_last", "rest_last", "half", "turning", "again", "advance",
            "in_line"))  # fmt: skip
        following = Signal(25)  # samples with the next one
        turn_jumps, next_jumps, settles, overscans = Signal(), Signal(), Signal(), Signal()
        with m.If(self.look):
            m.d.sync += [
                over.eq(now.samples >= Mux(now.listing, self.entry.samples, given.pixel_samples)),
                index_last.eq(now.pixel + 1 >= given.pixels),
                line_last.eq(now.line + given.interlace >= given.lines),
                field_last.eq((now.field + 1 >= given.interlace) | (now.field + 1 >= given.lines)),
                rest_last.eq(now.samples >= rest),
                half.eq(now.samples >= way),
                following.eq(now.samples + 1),
                self.full.eq(now.samples.all()),
                turning.eq(~now.backward & (both_ways | serpentine)),
                again.eq(lifting & now.backward & ~now.second),
                advance.eq((~both_ways | now.backward) & ~(lifting & now.backward & ~now.second)),
                turn_jumps.eq(given.turn_samples == 0),
                next_jumps.eq(given.next_samples == 0),
                settles.eq(given.settle_samples != 0),
                overscans.eq(given.overscan_samples != 0),
                state.eq(now.state),
                in_line.eq(Cat(now.state == state for state in (ScanState.OVERSCAN, ScanState.FORWARD, ScanState.BACKWARD)).any()),
            ]
        with m.If(stages[0]):
            lines = (state == ScanState.FORWARD) | (state == ScanState.BACKWARD)
            m.d.sync += self.over.eq(over & (lines | ((state == ScanState.LIST) & self.entry.pixel)))

        # 2: what ends with this sample, what the end of the line means, which line would begin: the next one, or the same once more.
        leaves, finishes, to_field, jumps, moves, turned, may_start, offered = (
            Signal(name=name) for name in ("leaves", "finishes", "to_field", "jumps", "moves", "turned", "may_start", "offered"))  # fmt: skip
        backward, new = Signal(), Signal()
        next_settles, next_overscans = Signal(), Signal()
        frame_ends = advance & line_last & field_last
        may_end = self.may_end | (now.listing & ~self.entry.pixel)
        with m.If(stages[0]):
            m.d.sync += [
                self.pixel_ends.eq(over & may_end),
                self.line_ends.eq(over & may_end & (index_last | (now.listing & self.entry.last))),
                leaves.eq(
                    Mux(state == ScanState.OVERSCAN, rest_last & now.behind, over & may_end & index_last & (~overscans | frame_ends))
                ),
                finishes.eq(frame_ends),
                to_field.eq(advance & line_last & ~field_last),
                jumps.eq(Mux(turning | again, turn_jumps, next_jumps)),
                # Once a pixel has had its samples, it rests until it ends: what it waits for does not lengthen the line.
                moves.eq(Mux(over, may_end, now.listing | ~stepped)),
                turned.eq(following >= (way << 1)),
                may_start.eq(self.may_start),
                offered.eq(self.offered),
                next_settles.eq(self.next_settle != 0),
                next_overscans.eq(self.next_overscan != 0),
                # Of trace and retrace, the way back and the second pass are the same line.
                backward.eq(Mux(in_line, turning, now.backward)),
                new.eq(Mux(in_line, advance, now.fields | ~both_ways | (~now.backward & ~now.second))),
            ]

        # 3: the states that such a line begins with: ``begun``, without its rest ``run``, of the line that waits ``started``.
        begun, run, started = Signal(ScanState), Signal(ScanState), Signal(ScanState)

        def running(backward, overscans) -> Value:
            return Mux(overscans, ScanState.OVERSCAN, Mux(backward, ScanState.BACKWARD, ScanState.FORWARD))

        with m.If(stages[1]):
            with m.If(new & self.line_waits):
                m.d.sync += begun.eq(ScanState.WAIT)
            with m.Elif(Mux(new, next_settles, settles)):
                m.d.sync += begun.eq(ScanState.SETTLE)
            with m.Else():
                m.d.sync += begun.eq(running(backward, Mux(new, next_overscans, overscans)))
            m.d.sync += [
                run.eq(running(now.backward, overscans)),
                started.eq(Mux(settles, ScanState.SETTLE, running(now.backward, overscans))),
            ]

        # 4: where the way leads from a line that is left: the frame's end, a move to the next field, a jump or a turn.
        left = Signal(ScanState)
        fields, jumping, departing = Signal(), Signal(), Signal()
        with m.If(stages[2]):
            m.d.sync += [
                left.eq(Mux(finishes, ScanState.IDLE, Mux(to_field, ScanState.MOVING, Mux(jumps, begun, ScanState.TURN)))),
                fields.eq(to_field),
                jumping.eq(jumps & ~finishes & ~to_field),
                departing.eq(~jumps & ~finishes & ~to_field),
            ]

        # 5: the plan.
        plan, then = Signal(PLAN), Signal(THEN)
        with m.If(stages[3]):
            m.d.sync += [self.plan.eq(plan), self.then.eq(then)]

        def enter_line(state) -> None:
            m.d.comb += [then.state.eq(state), then.restart.eq(1), then.behind.eq(0)]

        def begin_line() -> None:
            """A line of the raster whose place is reached."""
            enter_line(begun)
            m.d.comb += then.line_start.eq(new)

        def leave_line() -> None:
            m.d.comb += [
                plan.motion.eq(Mux(jumping, Motion.ARRIVE, Mux(departing, Motion.TURN, Motion.REST))),
                plan.leave.eq(1),
                plan.enter.eq(departing),
                plan.advance.eq(advance),
                plan.from_start.eq(~both_ways & ~serpentine),
                plan.new_field.eq(fields),
                plan.next.eq(~turning & ~again),
                plan.mirror.eq(again),
                plan.second.eq(0),
                then.state.eq(left),
                then.restart.eq(1),
                then.behind.eq(0),
                then.fields.eq(fields),
                then.turn_next.eq(plan.next),
                then.turn_mirror.eq(again),
                then.backward.eq(turning & ~fields),
                then.second.eq((now.second & turning) | again),
                then.advance.eq(advance),
                then.finish.eq(finishes),
                then.line_start.eq(jumping & new),
            ]

        def take_entry() -> None:
            """The list's next entry, or starvation."""
            m.d.comb += then.restart.eq(1)
            with m.If(offered):
                m.d.comb += [then.state.eq(ScanState.LIST), then.take.eq(1)]
                with m.If(~self.offered_segment):
                    m.d.comb += plan.motion.eq(Motion.POINT)
            with m.Else():
                m.d.comb += then.state.eq(ScanState.STARVED)

        m.d.comb += [
            plan.back.eq(now.backward),
            plan.next.eq(now.turn_next),
            plan.mirror.eq(now.turn_mirror),
            plan.second.eq(half),
            then.state.eq(state),
            *(then[name].eq(now[name]) for name in ("backward", "second", "behind", "fields", "turn_next", "turn_mirror")),
        ]
        with m.Switch(state):
            with m.Case(ScanState.MOVING):
                m.d.comb += plan.motion.eq(Motion.MOVE)
                with m.If(self.arrived):
                    m.d.comb += [then.state.eq(ScanState.IDLE), then.fields.eq(0)]
                    with m.If(now.fields):
                        m.d.comb += then.field_start.eq(1)
                        begin_line()
            with m.Case(ScanState.WAIT):
                with m.If(may_start):
                    with m.If(~now.listing):
                        enter_line(started)
                    with m.Elif(offered):
                        take_entry()
            with m.Case(ScanState.SETTLE):
                with m.If(rest_last):
                    enter_line(run)
            with m.Case(ScanState.OVERSCAN):
                m.d.comb += plan.motion.eq(Motion.LINE)
                with m.If(leaves):
                    leave_line()
                with m.Elif(rest_last):
                    with m.If(~now.behind):
                        m.d.comb += [then.restart.eq(1), then.state.eq(Mux(now.backward, ScanState.BACKWARD, ScanState.FORWARD))]
            with m.Case(ScanState.FORWARD, ScanState.BACKWARD):
                with m.If(moves):
                    m.d.comb += plan.motion.eq(Motion.LINE)
                with m.If(self.pixel_ends):
                    m.d.comb += [then.restart.eq(1), then.pixel_end.eq(1)]
                with m.If(self.line_ends):
                    m.d.comb += then.line_end.eq(1)
                    m.d.comb += [then.state.eq(ScanState.OVERSCAN), then.behind.eq(1)]
                with m.If(leaves):
                    leave_line()
            with m.Case(ScanState.TURN):
                m.d.comb += plan.motion.eq(Motion.TURN)
                with m.If(turned):
                    m.d.comb += plan.motion.eq(Motion.ARRIVE)
                    begin_line()
            with m.Case(ScanState.LIST):
                with m.If(self.entry.segment & moves):
                    m.d.comb += plan.motion.eq(Motion.SEGMENT)
                with m.If(self.pixel_ends):
                    m.d.comb += [then.pixel_end.eq(self.entry.pixel), then.line_end.eq(self.entry.pixel & self.line_ends)]
                    m.d.comb += then.advance.eq(then.line_end)
                    with m.If(self.entry.last):
                        m.d.comb += [then.state.eq(ScanState.IDLE), then.finish.eq(1), then.restart.eq(1)]
                    with m.Else():
                        take_entry()
            with m.Case(ScanState.STARVED):
                with m.If(offered):
                    take_entry()
        return m
