"""The tip's way beside the scan, while that is paused."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc_hw.lib.formats import POSITION


class Excursion(wiring.Component):
    """``x`` and ``y`` are the scan's, a cycle later, and what the excursion adds.

    ``go`` sets out for ``target_x``, ``target_y`` at most ``step`` a tick along each axis; ``home`` sets out for the scan's own position with
    the step of the last way. ``away`` is high from ``go`` until home is reached: the scan must stand still for as long. ``clear`` ends an
    excursion at once, for outputs that do not follow. Ticks are 8 cycles apart or more.
    """

    tick: In(1)
    clear: In(1)
    scan_x: In(POSITION)  # Q20.12, DAC LSB, as all here
    scan_y: In(POSITION)
    go: In(1)
    home: In(1)
    target_x: In(POSITION)
    target_y: In(POSITION)
    step: In(31)  # Q19.12
    x: Out(POSITION)
    y: Out(POSITION)
    moving: Out(1)
    away: Out(1)
    overflow: Out(1)

    def elaborate(self, platform):
        m = Module()
        offset_shape = signed(POSITION.width + 1)
        step = Signal(31, init=1)
        homewards = Signal()
        sets_out = Signal(2)  # until what there is still to go is right
        ticked = Signal(3)
        m.d.sync += [ticked.eq(Cat(self.tick, ticked)), sets_out.eq(Cat(self.go | self.home, sets_out))]
        with m.If(self.go):
            m.d.sync += [homewards.eq(0), step.eq(Mux(self.step == 0, 1, self.step))]
        with m.Elif(self.home):
            m.d.sync += homewards.eq(1)
        arrived, astray = Signal(2), Signal(2)
        for axis, (scan, target, out) in enumerate(((self.scan_x, self.target_x, self.x), (self.scan_y, self.target_y, self.y))):
            wanted, offset = Signal(offset_shape, name=f"wanted_{axis}"), Signal(offset_shape, name=f"offset_{axis}")
            rest = Signal(signed(offset_shape.width + 1), name=f"rest_{axis}")
            forth, back = Signal(name=f"forth_{axis}"), Signal(name=f"back_{axis}")
            total = Signal(signed(offset_shape.width + 1), name=f"total_{axis}")
            beyond = total[POSITION.width - 1 :]
            with m.If(self.go):
                m.d.sync += wanted.eq(target - scan)
            with m.Elif(self.home | self.clear):
                m.d.sync += wanted.eq(0)
            m.d.sync += rest.eq(wanted - offset)
            m.d.sync += [forth.eq((step - rest)[-1]), back.eq((rest + step)[-1])]
            with m.If(self.clear):
                m.d.sync += offset.eq(0)
            with m.Elif(self.tick & ~self.go & ~self.home & ~sets_out.any()):
                m.d.sync += offset.eq(Mux(forth, offset + step, Mux(back, offset - step, wanted)))
            m.d.comb += [arrived[axis].eq(rest == 0), astray[axis].eq((beyond != 0) & ~beyond.all())]
            m.d.comb += total.eq(scan + offset)
            m.d.sync += out.eq(Mux(astray[axis], Mux(total[-1], 1 << (POSITION.width - 1), (1 << (POSITION.width - 1)) - 1), total))
        m.d.sync += self.overflow.eq(astray.any())
        # ``rest`` is right two cycles after a tick or a start.
        with m.If(self.clear):
            m.d.sync += [self.moving.eq(0), self.away.eq(0)]
        with m.Elif(self.go | self.home):
            m.d.sync += [self.moving.eq(self.moving | self.away | self.go), self.away.eq(self.away | self.go)]
        with m.Elif(ticked[2] & arrived.all() & ~sets_out.any()):
            m.d.sync += self.moving.eq(0)
            with m.If(homewards):
                m.d.sync += self.away.eq(0)
        return m
