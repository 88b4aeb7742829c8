"""Coarse motor: a counted train of steps in one direction."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Motor(wiring.Component):
    """While ``go`` is high: ``steps`` pulses on ``step``, high and low for ``half_period`` beats each; then none until ``go`` was low.

    With ``again`` it is ``steps`` from there on, behind the pulse that is under way. The direction is the motor driver's strap: an output
    steps away or towards the sample, never both.
    """

    go: In(1)
    again: In(1)
    beat: In(1)
    steps: In(16)
    half_period: In(20)
    step: Out(1)
    left: Out(16)

    def elaborate(self, platform):
        m = Module()
        waited = Signal(20)
        going = Signal()
        with m.If(~self.go):
            m.d.sync += [going.eq(0), self.step.eq(0), self.left.eq(0), waited.eq(0)]
        with m.Elif(~going):
            m.d.sync += [going.eq(1), self.left.eq(self.steps)]
        with m.Else():
            with m.If(self.beat & ((self.left != 0) | self.step)):
                m.d.sync += waited.eq(waited + 1)
                with m.If(waited + 1 >= self.half_period):
                    m.d.sync += [waited.eq(0), self.step.eq(~self.step)]
                    with m.If(~self.step):
                        m.d.sync += self.left.eq(self.left - 1)
            with m.If(self.again):
                m.d.sync += self.left.eq(self.steps)
        return m
