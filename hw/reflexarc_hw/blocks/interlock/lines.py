"""What comes from outside of the clock: external lines, heartbeats, and the sample clock itself."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

AGE_BITS = 31
LINE_CYCLES = 3  # from a line to its verdict: a synchroniser of two and the register


class Heartbeat(wiring.Component):
    """Age of the last beat in cycles, and, combinational, whether it is too old: from ``timeout + 1`` cycles after ``beat`` on."""

    beat: In(1)
    timeout: In(AGE_BITS)
    inject: In(1)
    age: Out(AGE_BITS)
    age_when_old: Out(AGE_BITS)  # in the first cycle in which it was
    old: Out(1)

    def elaborate(self, platform):
        m = Module()
        seen = Mux(self.inject, 1 << AGE_BITS, self.age)
        m.d.comb += self.old.eq((seen >= self.timeout) & ~(self.beat & ~self.inject))
        was_old = Signal()
        m.d.sync += was_old.eq(self.old)
        with m.If(self.old & ~was_old):
            m.d.sync += self.age_when_old.eq(self.age)
        with m.If(self.beat):
            m.d.sync += self.age.eq(0)
        with m.Elif(~self.age.all()):
            m.d.sync += self.age.eq(self.age + 1)
        return m


class Lines(wiring.Component):
    """Synchronises each external line with two registers; a line that was never seen reads as unsafe.

    ``estop_closed`` is high while the normally closed e-stop chain is closed: a cut wire reads as pressed. ``clock_lost`` is high when no
    ``tick`` came for more than two sample periods: the sample clock is gone, and with it everything that would notice.
    """

    def __init__(self, cycles_per_sample: int) -> None:
        self._patience = 2 * cycles_per_sample
        super().__init__(
            {
                "estop_closed": In(1),
                "ready": In(2),
                "gain": In(4),
                "tick": In(1),
                "estop_seen": Out(1),
                "ready_seen": Out(2),
                "gain_seen": Out(4),
                "clock_lost": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.estop = FFSynchronizer(self.estop_closed, self.estop_seen, init=0)
        m.submodules.ready = FFSynchronizer(self.ready, self.ready_seen, init=0)
        m.submodules.gain = FFSynchronizer(self.gain, self.gain_seen, init=0)
        waited = Signal(range(self._patience + 1))
        m.d.comb += self.clock_lost.eq(waited == self._patience)
        with m.If(self.tick):
            m.d.sync += waited.eq(0)
        with m.Elif(waited != self._patience):
            m.d.sync += waited.eq(waited + 1)
        return m
