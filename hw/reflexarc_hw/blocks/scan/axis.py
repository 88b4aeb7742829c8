"""Motion of one axis: what the next sample does to a position, prepared between two samples."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.scan import DRIFT_FRACTION_BITS, POSITION_FRACTION_BITS, STEP_FRACTION_BITS, TURN_FRACTION_BITS
from reflexarc_hw.lib.formats import POSITION

INTEGER_BITS = 22  # two more than a position has, so that a step past the range shows instead of wrapping
FINE = signed(INTEGER_BITS + STEP_FRACTION_BITS)  # Q22.20, DAC LSB
SPEED = signed(INTEGER_BITS + TURN_FRACTION_BITS)  # Q22.28, DAC LSB per sample
DRIFT = signed(INTEGER_BITS + DRIFT_FRACTION_BITS)  # Q22.40, DAC LSB
WORD = signed(32)
STEP = signed(21 + STEP_FRACTION_BITS)  # Q21.20, DAC LSB per sample or pixel
PREPARE_CYCLES = 4

# Of one axis, as the registers give them; see the contract for their units.
COURSE = data.StructLayout({name: WORD for name in ("step", "line", "field", "turn_1", "turn_2", "next_1", "next_2", "drift")})


class Motion(enum.Enum, shape=3):
    """What the next counted sample does."""

    REST = 0
    LINE = 1  # one step along the line
    TURN = 2  # on a parabola from one line to the next
    MOVE = 3  # towards the target, by the greatest step at most
    ARRIVE = 4  # the target itself, which is at most a rounding error away at the end of a turn
    SEGMENT = 5  # the step of the list's present entry
    POINT = 6  # the place of the list's next entry


PLAN = data.StructLayout(
    {
        "motion": Motion,
        "back": 1,  # the line is run through from its high end
        "enter": 1,  # the turn begins, at the line's speed
        "next": 1,  # a turn to the next line: next_1, next_2; otherwise turn_1, turn_2
        "second": 1,  # its second half
        "mirror": 1,  # the same turn at the line's other end
        "leave": 1,  # the line ends with the next sample: fix the target
        "advance": 1,  # which is a line further
        "from_start": 1,  # counted from the line's start, otherwise from where it ends
        "new_field": 1,  # or from the field's start, a field further
    }
)


def fine(value: Value, fraction_bits: int) -> Value:
    """A value with fewer fraction bits as ``FINE``."""
    return Cat(Const(0, STEP_FRACTION_BITS - fraction_bits), value).as_signed()


class Axis(wiring.Component):
    """A position that moves by plan.

    ``plan`` stands from the cycle of ``prepare`` on; the change that it means is ready PREPARE_CYCLES later, and a ``go`` does it. ``look``
    comes 4 cycles or more before ``prepare`` and measures the way to the target. ``begin`` (a command) counts drift from here; while
    ``aim`` the target is ``wanted``. ``line_start`` and ``field_start``, in the cycle after a ``go``, keep the place. While ``dead`` a place
    that is outside of the range becomes the rail that it stands at: otherwise it would trip the interlock for good.

    A turn is exact motion under constant acceleration: speed v becomes v + a, the place moves by v + a/2.
    """

    course: In(COURSE)
    stepped: In(1)  # its step is Q20.12 per pixel, otherwise Q12.20 per sample
    plan: In(PLAN)
    look: In(1)
    prepare: In(1)
    go: In(1)
    begin: In(1)
    aim: In(1)
    wanted: In(POSITION)  # Q20.12, DAC LSB
    line_start: In(1)
    field_start: In(1)
    tick: In(1)  # a sample while live: drift goes on, whatever the scan does
    most: In(31)  # Q11.20, greatest step of a move, and the same the other way; from the cycle after ``look`` on and one later
    least: In(signed(32))
    dead: In(1)
    segment: In(WORD)  # Q12.20, step of the list's present entry
    point: In(POSITION)  # Q20.12, place of its next one
    arrived: Out(1)  # 2 cycles after ``look``
    place: Out(POSITION)  # Q20.12, DAC LSB, with drift; 3 cycles after ``go``
    beyond: Out(1)  # it is outside of Q20.12: ``place`` stands at the rail

    def elaborate(self, platform):
        m = Module()
        plan, course = self.plan, self.course
        position = Signal(FINE)
        start, field = Signal(FINE), Signal(FINE)  # of the present line, of the present field
        target = Signal(FINE)
        speed, speed_next = Signal(SPEED), Signal(SPEED)
        change = Signal(FINE)
        drift = Signal(DRIFT)

        # Way to the target, then what a move may take of it.
        way = Signal(signed(FINE.width + 1))
        most = Cat(self.most, Const(0, 1)).as_signed()
        looked = Signal()
        above, below, move = Signal(), Signal(), Signal(FINE)
        m.d.sync += looked.eq(self.look)
        with m.If(self.look):
            m.d.sync += way.eq(target - position)
        with m.If(looked):
            m.d.sync += [above.eq(way > most), below.eq(way + most < 0), self.arrived.eq(way == 0)]

        # Each stage ends in registers, and none has more than a choice and a sum.
        prepared = Signal(PREPARE_CYCLES - 1)
        m.d.sync += prepared.eq(Cat(self.prepare, prepared))
        # 1: what a turn and a target are made of
        chosen = Signal(WORD)  # Q4.28, DAC LSB per sample^2
        step, reverse, along = Signal(STEP), Signal(STEP), Signal(STEP)
        anchor, further = Signal(FINE), Signal(FINE)
        m.d.sync += [step.eq(Mux(self.stepped, fine(course.step, POSITION_FRACTION_BITS), course.step)), reverse.eq(-step)]
        with m.If(self.prepare):
            m.d.sync += [
                chosen.eq(Mux(plan.next, Mux(plan.second, course.next_2, course.next_1), Mux(plan.second, course.turn_2, course.turn_1))),
                along.eq(Mux(plan.back, reverse, step)),
                anchor.eq(Mux(plan.new_field, field, Mux(plan.from_start, start, position))),
                further.eq(fine(Mux(plan.new_field, course.field, Mux(plan.advance, course.line, 0)), POSITION_FRACTION_BITS)),
                move.eq(Mux(above, most, Mux(below, self.least, way))),
            ]
        # 2: acceleration, the speed that it adds to, the target
        acceleration = Signal(signed(WORD.width + 1))  # Q5.28
        base = Signal(SPEED)
        with m.If(prepared[0]):
            m.d.sync += [
                acceleration.eq(Mux(plan.mirror, -chosen, chosen)),
                base.eq(Mux(plan.enter, Cat(Const(0, TURN_FRACTION_BITS - STEP_FRACTION_BITS), along).as_signed(), speed)),
            ]
            with m.If(plan.leave):
                m.d.sync += target.eq(anchor + further)
        # 3: the turn
        turn = Signal(SPEED)  # Q22.28, DAC LSB
        with m.If(prepared[1]):
            m.d.sync += [speed_next.eq(base + acceleration), turn.eq(base + (acceleration >> 1))]
        # 4: the change
        with m.If(prepared[2]):
            with m.Switch(plan.motion):
                with m.Case(Motion.LINE):
                    m.d.sync += change.eq(along)
                with m.Case(Motion.TURN):
                    m.d.sync += change.eq(turn >> (TURN_FRACTION_BITS - STEP_FRACTION_BITS))
                with m.Case(Motion.MOVE):
                    m.d.sync += change.eq(move)
                with m.Case(Motion.SEGMENT):
                    m.d.sync += change.eq(self.segment)
                with m.Default():
                    m.d.sync += change.eq(0)

        coarse_drift = drift >> (DRIFT_FRACTION_BITS - STEP_FRACTION_BITS)
        total = Signal(signed(FINE.width + 1))  # Q23.20
        with m.If(self.go):
            with m.If(plan.motion == Motion.ARRIVE):
                m.d.sync += position.eq(target)
            with m.Elif(plan.motion == Motion.POINT):
                m.d.sync += position.eq(fine(self.point, POSITION_FRACTION_BITS))
            with m.Else():
                m.d.sync += position.eq(position + change)
            m.d.sync += speed.eq(speed_next)
        with m.If(self.tick):
            m.d.sync += drift.eq(drift + course.drift)
        # ``begin`` comes in no cycle of a tick or the one after: ``total`` is the place.
        with m.If(self.begin):
            m.d.sync += [position.eq(total), drift.eq(drift[: DRIFT_FRACTION_BITS - STEP_FRACTION_BITS])]
        with m.If(self.aim):
            m.d.sync += target.eq(fine(self.wanted, POSITION_FRACTION_BITS))
        with m.If(self.line_start):
            m.d.sync += start.eq(position)
        with m.If(self.field_start):
            m.d.sync += field.eq(position)

        # Outside the range a place stands at the rail and says so, both in one cycle; it never comes out on the other side.
        moved = Signal(2)
        back = Signal()
        m.d.comb += back.eq(self.dead & self.beyond & ~moved.any())
        m.d.sync += moved.eq(Cat(self.tick | self.go | back, moved))
        with m.If(back):
            m.d.sync += [position.eq(fine(self.place, POSITION_FRACTION_BITS)), drift.eq(0)]
        extra = STEP_FRACTION_BITS - POSITION_FRACTION_BITS
        top = total[POSITION.width + extra - 1 :]
        outside = ~((top == 0) | top.all())
        rail = Mux(total[-1], 1 << (POSITION.width - 1), (1 << (POSITION.width - 1)) - 1)
        with m.If(moved[0]):
            m.d.sync += total.eq(position + coarse_drift)
        with m.If(moved[1]):
            m.d.sync += [self.place.eq(Mux(outside, rail, total[extra:])), self.beyond.eq(outside)]
        return m
