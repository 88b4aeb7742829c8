"""Disarmed, arming, armed, tripped: the state machine that decides whether outputs may live."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.interlock import NO_CAUSE, ArmingResult, Cause, InterlockCommand, InterlockState
from reflexarc_hw.lib.conditions import CAUSE_BITS

CAUSES = len(Cause)
FIRE_CYCLES = 128  # within which an injected condition must fire: more than two sample periods, for what is judged once a sample
CLEAR_TICKS = 3  # sample periods after the last injection, in which every verdict must be made anew from what is really there
CLEAR_CYCLES = 512


class Lifecycle(wiring.Component):
    """Takes the verdicts, decides, latches.

    ``safe`` is combinational from the verdicts and high unless the state is armed and nothing is violated: reset, arming and any state that
    can't be are safe. ``inject`` is a register, one-hot, and 0 whenever the state is armed.

    ARM begins the test: each condition in turn must first be silent, and is then injected; each of ``tested`` must fire within FIRE_CYCLES.
    Then nothing may be violated, on samples that came after the last injection.
    ``causes`` gathers what was violated since the trip; ``first_cause`` is the lowest bit of the first cycle.
    """

    verdict: In(CAUSES)
    tested: In(CAUSES)  # enabled and present
    commissioned: In(1)
    flags_set: In(1)  # a flag of the last trip waits to be cleared
    command: In(InterlockCommand)
    command_valid: In(1)
    tick: In(1)
    safe: Out(1, init=1)
    armed: Out(1)
    locked: Out(1)
    state: Out(InterlockState)
    inject: Out(CAUSES)
    causes: Out(CAUSES)
    first_cause: Out(CAUSE_BITS, init=NO_CAUSE)
    tripping: Out(1)
    latch: Out(1)  # the cycle after ``tripping``
    trips: Out(32)
    result: Out(ArmingResult)
    result_cause: Out(CAUSE_BITS, init=NO_CAUSE)

    def elaborate(self, platform):
        m = Module()
        violated = Signal()
        m.d.comb += [
            violated.eq(self.verdict.any()),
            self.armed.eq(self.state == InterlockState.ARMED),
            self.locked.eq(self.armed | (self.state == InterlockState.ARMING)),
            self.safe.eq(~self.armed | violated),
            self.tripping.eq(self.armed & violated),
        ]

        def commanded(command: InterlockCommand):
            return self.command_valid & (self.command == command)

        turn = Signal(CAUSES)  # one-hot: the condition under test; 0 when all had their turn
        cause = Signal(range(CAUSES))  # its number
        waited = Signal(range(max(FIRE_CYCLES, CLEAR_CYCLES) + 1))
        ticks = Signal(range(CLEAR_TICKS + 1))
        # The lowest bit alone: what is left of a number when it meets its negative.
        alone = Signal(CAUSES)
        lowest = Signal(CAUSE_BITS, init=NO_CAUSE)
        m.d.comb += alone.eq(self.verdict & -self.verdict)
        with m.If(violated):
            m.d.comb += lowest.eq(Cat(Cat(alone[each] for each in Cause if each >> bit & 1).any() for bit in range(CAUSE_BITS - 1)))
        with m.Else():
            m.d.comb += lowest.eq(NO_CAUSE)

        def end(result: ArmingResult, which=NO_CAUSE):
            m.d.sync += [
                self.state.eq(InterlockState.ARMED if result is ArmingResult.ARMED else InterlockState.DISARMED),
                self.result.eq(result),
                self.result_cause.eq(which),
                self.inject.eq(0),
            ]

        m.d.sync += self.latch.eq(self.tripping)
        with m.Switch(self.state):
            with m.Case(InterlockState.DISARMED):
                with m.If(commanded(InterlockCommand.ARM)):
                    with m.If(~self.commissioned):
                        m.d.sync += [self.result.eq(ArmingResult.NOT_COMMISSIONED), self.result_cause.eq(NO_CAUSE)]
                    with m.Elif(violated | self.flags_set):
                        m.d.sync += [self.result.eq(ArmingResult.VIOLATED), self.result_cause.eq(lowest)]
                    with m.Else():
                        m.d.sync += [
                            self.state.eq(InterlockState.ARMING),
                            self.result.eq(ArmingResult.UNDER_TEST),
                            self.result_cause.eq(NO_CAUSE),
                            turn.eq(1),
                            cause.eq(0),
                            waited.eq(0),
                            ticks.eq(0),
                        ]
            with m.Case(InterlockState.ARMING):
                with m.If(self.command_valid):
                    end(ArmingResult.ABORTED)
                with m.Elif(self.inject.any()):
                    m.d.sync += waited.eq(waited + 1)
                    with m.If((self.inject & (self.verdict | ~self.tested)).any()):
                        m.d.sync += [self.inject.eq(0), turn.eq(turn << 1), cause.eq(cause + 1), waited.eq(0)]
                    with m.Elif(waited == FIRE_CYCLES):
                        end(ArmingResult.DID_NOT_FIRE, cause)
                with m.Elif(turn.any()):
                    m.d.sync += waited.eq(waited + 1)
                    with m.If(~(turn & self.verdict).any()):
                        m.d.sync += [self.inject.eq(turn), waited.eq(0)]
                    with m.Elif(waited == FIRE_CYCLES):
                        end(ArmingResult.DID_NOT_CLEAR, cause)
                with m.Else():
                    m.d.sync += waited.eq(waited + 1)
                    with m.If(self.tick & (ticks != CLEAR_TICKS)):
                        m.d.sync += ticks.eq(ticks + 1)
                    with m.If(~violated & (ticks == CLEAR_TICKS)):
                        end(ArmingResult.ARMED)
                    with m.Elif(waited == CLEAR_CYCLES):
                        end(ArmingResult.DID_NOT_CLEAR, lowest)
            with m.Case(InterlockState.ARMED):
                with m.If(violated):
                    m.d.sync += [
                        self.state.eq(InterlockState.TRIPPED),
                        self.first_cause.eq(lowest),
                        self.causes.eq(self.verdict),
                        self.trips.eq(self.trips + 1),
                    ]
                with m.Elif(commanded(InterlockCommand.DISARM)):
                    m.d.sync += self.state.eq(InterlockState.DISARMED)
            with m.Case(InterlockState.TRIPPED):
                m.d.sync += self.causes.eq(self.causes | self.verdict)
                with m.If(commanded(InterlockCommand.ACK) & ~self.flags_set & ~violated):
                    m.d.sync += [self.state.eq(InterlockState.DISARMED), self.causes.eq(0)]
        return m
