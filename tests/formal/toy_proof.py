"""Proofs of a counter that are right or wrong in ways that are known, to see what the runner makes of them.

| assumption | why it is harmless |
|---|---|
| none | the counter has no inputs |
"""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from reflexarc_hw.formal import Mutation, Proof
from reflexarc_hw.lib.formats import CODE

FORMATS, TEXT = "lib/formats.py", "CODE = signed(20)"


class Counter(wiring.Component):
    """Counts 0 to 9: half the width of a code, so that there is gateware to change."""

    count: Out(5)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.count.eq(Mux(self.count == CODE.width // 2 - 1, 0, self.count + 1))
        return m


class _Toy(Proof):
    depth = 1
    cover_depth = 30
    greatest = 9

    def describe(self, m: Module) -> None:
        count = self.add("counter", Counter()).count
        for name in self.properties:
            self.holds(name, count <= self.greatest if name == "below" else count != 20)
        for name in self.covers:
            self.reaches(name, count == int(name.removeprefix("reaches_")))


class Right(_Toy):
    name = "right"
    properties = {"below": "The counter stays below its end."}
    covers = ("reaches_9",)
    mutations = (Mutation("below", FORMATS, TEXT, "CODE = signed(22)"),)


class Wrong(_Toy):
    name = "wrong"
    depth = 12
    greatest = 8
    properties = {"below": "Not so."}
    covers = ("reaches_9", "reaches_12")
    mutations = (
        Mutation("below", FORMATS, TEXT, "CODE = signed(18)"),  # makes it true
        Mutation("below", FORMATS, "no such text", ""),
        Mutation("below", "blocks/gate/gate.py", "class Gate", "class Gates"),  # not part of this proof
    )


class NotInductive(_Toy):
    name = "not_inductive"
    properties = {"never_20": "True, but not by induction over one cycle: from 19, which is never reached, follows 20."}
    mutations = (Mutation("never_20", FORMATS, TEXT, "CODE = signed(42)", 24),)


class Bounded(NotInductive):
    name = "bounded"
    depth = 12
    bounded = True


PROOFS = [Right(), Wrong(), NotInductive(), Bounded()]
