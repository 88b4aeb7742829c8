"""Second pass over a line, at a height above what the first one found."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import lift
from reflexarc.contract.blocks.lift import DEPTH
from reflexarc.contract.blocks.scan import ScanState
from reflexarc_hw.lib.approach import approach
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import POSITION
from reflexarc_hw.lib.memory import Ram

SPACING_MAX = 12
PLACE_BITS = (DEPTH - 1).bit_length()
COUNT_BITS = PLACE_BITS + SPACING_MAX + 1  # samples of a line that have a place, at most DEPTH << SPACING_MAX
BEYOND_BITS = 40  # those that have none: 8192 pixels of 2**24 samples fit three times
PART_BITS = 16  # of a product's lower part
LIFT_CYCLES = 11  # from a tick to the new z


class Lift(wiring.Component):
    """Keeps z while the scan runs a line forward for the first time; from the begin of the second pass to its end drives ``z``.

    Sample k of the line finds ``place[k >> spacing] + (place[(k >> spacing) + 1] - place[k >> spacing]) * fraction`` plus the height;
    before the line's first place and behind its last these stand. ``z`` goes there by ``step`` a sample at most, from where it is.

    ``state`` and ``second`` are the scan's after the tick from the cycle after it on. A scan that was stopped has no pass, whatever
    ``second`` says: arming alone never starts motion.
    """

    bus: In(BankSignature())
    tick: In(1)
    pause: In(1)
    live: In(1)
    state: In(ScanState)
    second: In(1)
    held_z: In(POSITION)  # Q20.12, DAC LSB: what is driven now
    z: Out(POSITION)  # Q20.12, DAC LSB
    active: Out(1)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, lift.BLOCK)
        m.submodules.places = places = Ram(POSITION, DEPTH)
        runs = (self.state != ScanState.IDLE) & (self.state != ScanState.MOVING)
        m.d.sync += self.active.eq(self.second & self.live & runs)

        # Samples of the line before the one that comes, counted from its low end: those that have a place, then those beyond. ``before``
        # is one less than ``count``, for the way back.
        count, before = Signal(COUNT_BITS), Signal(COUNT_BITS)
        beyond, is_beyond = Signal(BEYOND_BITS), Signal()
        last_place = Signal(PLACE_BITS)
        forward, backward = self.state == ScanState.FORWARD, self.state == ScanState.BACKWARD
        counted = Signal()
        m.d.comb += counted.eq(self.tick & ~self.pause)
        # Of the sample that comes; they follow the tick by two cycles.
        spacing = Signal(range(SPACING_MAX + 1))
        where = Signal(COUNT_BITS + SPACING_MAX)
        place, fraction, ended = Signal(PLACE_BITS), Signal(SPACING_MAX), Signal()  # ended: no room for its place
        m.d.comb += where.eq(Cat(Const(0, SPACING_MAX), Mux(backward, before, count)) >> spacing)
        m.d.sync += [
            fraction.eq(where[:SPACING_MAX]),
            place.eq(where[SPACING_MAX:]),
            ended.eq(where[SPACING_MAX + PLACE_BITS :].any()),
        ]
        with m.If(counted):
            with m.If(forward & ended):
                m.d.sync += [beyond.eq(beyond + 1), is_beyond.eq(1)]
            with m.Elif(forward):
                m.d.sync += [count.eq(count + 1), before.eq(count)]
            with m.Elif(backward & is_beyond):
                m.d.sync += [beyond.eq(beyond - 1), is_beyond.eq(beyond != 1)]
            with m.Elif(backward):
                m.d.sync += [count.eq(before), before.eq(Mux(before == 0, 0, before - 1))]
            with m.Elif(~self.second):
                m.d.sync += [count.eq(0), before.eq(0), beyond.eq(0), is_beyond.eq(0)]
        first_pass = counted & forward & ~self.second
        m.d.comb += [
            places.write_enable.eq(first_pass & ~ended & (fraction == 0)),
            places.write_address.eq(place),
            places.write_data.eq(self.held_z),
        ]
        with m.If(first_pass):
            m.d.sync += bank.overrun.eq(ended)
            with m.If(~ended):
                m.d.sync += last_place.eq(place)
            with m.If(count == 0):  # one spacing for a line and its second pass; sample 0 has place 0 with any
                m.d.sync += spacing.eq(bank.spacing)

        # The place before and the one behind, then what lies between. Stages follow the tick.
        stages = Signal(LIFT_CYCLES - 1)
        m.d.sync += stages.eq(Cat(counted & self.second, stages))
        at_end = ended | (place >= last_place)
        m.d.comb += places.read_address.eq(Mux(at_end, last_place, Mux(stages[1], place, place + 1)))
        low, rise = Signal(POSITION), Signal(signed(POSITION.width + 1))
        above = Signal(signed(POSITION.width + 1))
        # In two parts: each is one multiplier, and their sum has a cycle of its own.
        upper = Signal(signed(POSITION.width + 1 - PART_BITS + SPACING_MAX + 1))
        lower = Signal(PART_BITS + SPACING_MAX)
        target = Signal(signed(POSITION.width + 2))
        with m.If(stages[3]):
            m.d.sync += low.eq(places.read_data)
        with m.If(stages[4]):
            m.d.sync += [rise.eq(places.read_data - low), above.eq(low + bank.height)]
        with m.If(stages[5]):
            m.d.sync += [
                upper.eq(rise[PART_BITS:].as_signed() * Cat(fraction, Const(0, 1)).as_signed()),
                lower.eq(rise[:PART_BITS] * fraction),
            ]
        with m.If(stages[6]):
            m.d.sync += target.eq(above + (upper << (PART_BITS - SPACING_MAX)) + (lower >> SPACING_MAX))
        # What is beyond the range of a position stands at its end.
        inside = target[POSITION.width - 1 :].all() | (target[POSITION.width - 1 :] == 0)
        rail = Cat((~target[-1]).replicate(POSITION.width - 1), target[-1])
        goal = Signal(POSITION)
        m.d.comb += goal.eq(Mux(inside, target[: POSITION.width], rail))
        nearer = approach(m, "z", stages[7], stages[8], self.z, goal, bank.step)
        with m.If(~self.active):
            m.d.sync += self.z.eq(self.held_z)
        with m.Elif(stages[9]):
            m.d.sync += self.z.eq(nearer)
        return m
