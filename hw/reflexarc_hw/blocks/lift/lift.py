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
from reflexarc_hw.lib.product_register import product_register

SPACING_MAX = 12
PLACE_BITS = (DEPTH - 1).bit_length()
PLACED = PLACE_BITS + SPACING_MAX + 1  # a place and a fraction of it, up to the end of the last one
BEYOND_BITS = 40  # those that have none: 8192 pixels of 2**24 samples fit three times
RISE = signed(POSITION.width + 1)  # from a place to the next
PART_BITS = 16  # of a product's lower part
LIFT_CYCLES = 11  # from a tick to the new z


class Lift(wiring.Component):
    """Keeps z while the scan runs a line forward for the first time; from the begin of the second pass to its end drives ``z``.

    Sample k of the line finds ``place[k >> spacing] + (place[(k >> spacing) + 1] - place[k >> spacing]) * fraction`` plus the height;
    before the line's first place and behind its last these stand. ``z`` goes there by ``step`` a sample at most, from where it is.

    ``state`` and ``second`` are the scan's after the tick from the second cycle after it on. A scan that was stopped has no pass, whatever
    ``second`` says: arming alone never starts motion.
    """

    bus: In(BankSignature())
    tick: In(1)
    pause: In(1)
    live: In(1)
    state: In(ScanState)
    backward: In(1)  # it is BACKWARD
    second: In(1)
    held_z: In(POSITION)  # Q20.12, DAC LSB: what is driven now
    z: Out(POSITION)  # Q20.12, DAC LSB
    active: Out(1)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, lift.BLOCK)
        runs = (self.state != ScanState.IDLE) & (self.state != ScanState.MOVING)
        m.d.sync += self.active.eq(self.second & self.live & runs)

        # Where the sample that comes is in the line, counted from its low end in places and fractions of a place, then samples beyond those
        # that have a place. ``before`` is the sample before it, for the way back.
        here, before = Signal(PLACED), Signal(PLACED)
        beyond, is_beyond = Signal(BEYOND_BITS), Signal()
        last_place = Signal(PLACE_BITS)
        counted, in_forward, in_backward, in_second = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            counted.eq(self.tick & ~self.pause),
            in_forward.eq(self.state == ScanState.FORWARD),
            in_backward.eq(self.backward),
            in_second.eq(self.second),
        ]
        spacing = Signal(SPACING_MAX + 1, init=1 << SPACING_MAX)  # fraction of a place that is a sample; one-hot
        place, fraction, ended = Signal(PLACE_BITS), Signal(SPACING_MAX), Signal()  # ended: no room for its place
        at_end = Signal()  # at the last place or behind it
        # What the scan does is known late: it chooses.
        m.d.sync += [
            Cat(fraction, place, ended).eq(Mux(self.backward, before, here)),
            at_end.eq(Mux(self.backward, before[SPACING_MAX:] >= last_place, here[SPACING_MAX:] >= last_place)),
        ]
        with m.If(counted):
            with m.If(in_forward & ended):
                m.d.sync += [beyond.eq(beyond + 1), is_beyond.eq(1)]
            with m.Elif(in_forward):
                m.d.sync += [here.eq(here + spacing), before.eq(here)]
            with m.Elif(in_backward & is_beyond):
                m.d.sync += [beyond.eq(beyond - 1), is_beyond.eq(beyond != 1)]
            with m.Elif(in_backward):
                m.d.sync += [here.eq(before), before.eq(Mux(before == 0, 0, before - spacing))]
            with m.Elif(~in_second):
                m.d.sync += [here.eq(0), before.eq(0), beyond.eq(0), is_beyond.eq(0)]
        with m.If((here == 0) & ~in_second):  # one spacing for a line and its second pass
            m.d.sync += spacing.eq((1 << SPACING_MAX) >> bank.spacing)
        first_pass = counted & in_forward & ~in_second
        with m.If(first_pass):
            m.d.sync += bank.overrun.eq(ended)
            with m.If(~ended):
                m.d.sync += last_place.eq(place)

        # A place and the rise from it to the next, each from a memory of its own. A rise is known once the next place is: they are written in
        # the same cycle.
        m.submodules.places = places = Ram(POSITION, DEPTH)
        m.submodules.rises = rises = Ram(RISE, DEPTH)
        kept, rise = Signal(POSITION), Signal(RISE)  # rise: from the place before, at ``rise_place``
        kept_due, kept_place, rise_due, rise_place = Signal(), Signal(PLACE_BITS), Signal(), Signal(PLACE_BITS)
        # A cycle after it is known, with the z that was driven then; the place is still the same.
        keeps, z_then = Signal(), Signal(POSITION)
        m.d.sync += [
            keeps.eq(first_pass & ~ended & (fraction == 0)),
            z_then.eq(self.held_z),
            kept_due.eq(keeps),
            rise_due.eq(keeps & (place != 0)),
        ]
        with m.If(keeps):
            m.d.sync += [kept.eq(z_then), rise.eq(z_then - kept), kept_place.eq(place), rise_place.eq(place - 1)]
        stages = Signal(LIFT_CYCLES - 2)
        m.d.sync += stages.eq(Cat(counted & in_second, stages))
        m.d.comb += [
            places.write_enable.eq(kept_due),
            places.write_address.eq(kept_place),
            places.write_data.eq(kept),
            places.read_address.eq(Mux(at_end, last_place, place)),
            rises.write_enable.eq(rise_due),
            rises.write_address.eq(rise_place),
            rises.write_data.eq(rise),
            rises.read_address.eq(place),
        ]
        # Stages follow the tick. The rise times the fraction in two parts: each is one multiplier, with registers on either side that nothing else
        # uses, so that they can stand beside it, and their sum has a cycle of its own.
        factor = Signal(SPACING_MAX)
        m.d.sync += factor.eq(Mux(at_end, 0, fraction))
        read = rises.read_data
        upper_product = product_register(signed(RISE.width - PART_BITS + SPACING_MAX + 1), "upper_product")
        lower_product = product_register(PART_BITS + SPACING_MAX, "lower_product")
        upper, lower = Signal(upper_product.shape()), Signal(lower_product.shape())
        above = Signal(signed(POSITION.width + 1))
        target = Signal(signed(POSITION.width + 2))
        with m.If(stages[3]):
            m.d.sync += [
                upper_product.eq(read[PART_BITS:].as_signed() * Cat(factor, Const(0, 1)).as_signed()),
                lower_product.eq(read[:PART_BITS] * factor),
                above.eq(places.read_data + bank.height),
            ]
        with m.If(stages[4]):
            m.d.sync += [upper.eq(upper_product), lower.eq(lower_product)]
        with m.If(stages[5]):
            m.d.sync += target.eq(above + (upper << (PART_BITS - SPACING_MAX)) + (lower >> SPACING_MAX))
        # What is beyond the range of a position stands at its end.
        inside = target[POSITION.width - 1 :].all() | (target[POSITION.width - 1 :] == 0)
        rail = Cat((~target[-1]).replicate(POSITION.width - 1), target[-1])
        goal = Signal(POSITION)
        m.d.comb += goal.eq(Mux(inside, target[: POSITION.width], rail))
        nearer = approach(m, "z", stages[6], stages[7], self.z, goal, bank.step)
        with m.If(~self.active):
            m.d.sync += self.z.eq(self.held_z)
        with m.Elif(stages[8]):
            m.d.sync += self.z.eq(nearer)
        return m
