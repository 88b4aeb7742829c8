"""One access to the register bus that always takes as long."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.link import BusStatus
from reflexarc.contract.program import PLACE_BITS
from reflexarc_hw.lib.bus import ACCESS_CYCLES, BusSignature

CLAIM_CYCLES = ACCESS_CYCLES + 1  # from the claim until no other master is on the bus, whatever it was doing
TIMED_ACCESS_CYCLES = CLAIM_CYCLES + ACCESS_CYCLES + 2  # from start to done


class TimedAccess(wiring.Component):
    """``done`` is high for one cycle, ``TIMED_ACCESS_CYCLES`` after ``start``: the bus is claimed before it is used.

    The request stands from ``start`` to ``done``. An access that nobody waits for any more is ended all the same; starts are further apart.
    """

    start: In(1)
    write: In(1)
    place: In(PLACE_BITS)  # words
    data: In(32)
    done: Out(1)
    refused: Out(1)  # with done
    master: Out(BusSignature())
    claim: Out(1)  # no other master is to begin

    def elaborate(self, platform):
        m = Module()
        pace = Signal(range(CLAIM_CYCLES + 1))
        waiting = Signal()
        m.d.sync += self.done.eq(0)
        with m.If(self.start):
            m.d.sync += [
                self.claim.eq(1),
                waiting.eq(1),
                pace.eq(CLAIM_CYCLES - 1),
                self.master.write.eq(self.write),
                self.master.address.eq(Cat(Const(0, 2), self.place)),
                self.master.write_data.eq(self.data),
            ]
        with m.Elif(waiting):
            m.d.sync += pace.eq(pace - 1)
            with m.If(pace == 1):
                m.d.sync += [waiting.eq(0), self.master.valid.eq(1)]
        with m.If(self.master.done):
            m.d.sync += [
                self.master.valid.eq(0),
                self.claim.eq(0),
                self.done.eq(1),
                self.refused.eq(self.master.status != BusStatus.OK),
            ]
        return m
