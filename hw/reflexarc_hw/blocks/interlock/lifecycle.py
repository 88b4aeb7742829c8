"""Disarmed, arming, armed, tripped: the state machine that decides whether outputs may live."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.interlock import NO_CAUSE, ArmingResult, Cause, InterlockCommand, InterlockState
from reflexarc_hw.lib.conditions import CAUSE_BITS

CAUSES = len(Cause)
FIRE_CYCLES = 128  # within which an injected condition must fire: more than two sample periods, for what is judged once a sample
CLEAR_TICKS = 3  # sample periods after the last injection, in which every verdict must be made anew from what is really there
CLEAR_CYCLES = 512


class Part(enum.Enum, shape=2):
    """Of the test that arming is."""

    SILENT = 0  # the condition whose turn it is must be silent
    FIRE = 1  # it is injected and must fire
    CLEAR = 2  # nothing may be violated any more


def lowest_of(bits: Value) -> Value:
    """Number of the lowest bit that is set, NO_CAUSE where none is: halves in pairs, for it decides late in its cycle."""
    parts = [(bits[index], Const(index, CAUSE_BITS)) for index in range(len(bits))]
    while len(parts) > 1:
        pairs = [parts[index : index + 2] for index in range(0, len(parts), 2)]
        parts = [(pair[0][0] | pair[-1][0], Mux(pair[0][0], pair[0][1], pair[-1][1])) for pair in pairs]
    found, number = parts[0]
    return Mux(found, number, NO_CAUSE)


class Lifecycle(wiring.Component):
    """Takes the verdicts, decides, latches.

    ``safe`` is combinational from ``violated`` and high unless ``armed`` and nothing is violated: reset, arming and any state that can't be
    are safe. ``armed`` falls with the first violated cycle; state, ``causes`` and ``first_cause`` follow one cycle after it. ``inject`` is
    a register, one-hot, and 0 whenever ``armed``.

    ARM begins the test: each condition in turn must first be silent, and is then injected; each of ``tested`` must fire within
    FIRE_CYCLES + 2. Then nothing may be violated, on samples that came after the last injection.
    ``causes`` gathers what was violated since the trip; ``first_cause`` is the lowest bit of the first cycle.
    """

    verdict: In(CAUSES)
    violated: In(1)  # any of ``verdict``
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
    caught: Out(1)  # one cycle, the first in which the gate is safe
    latch: Out(1)  # two cycles after ``caught``: ``first_cause`` has been there for one
    trips: Out(32)
    result: Out(ArmingResult)
    result_cause: Out(CAUSE_BITS, init=NO_CAUSE)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.locked.eq((self.state == InterlockState.ARMED) | (self.state == InterlockState.ARMING)),
            self.safe.eq(~self.armed | self.violated),
        ]

        def commanded(command: InterlockCommand):
            return self.command_valid & (self.command == command)

        turn = Signal(CAUSES)  # one-hot: the condition under test
        cause = Signal(range(CAUSES))  # its number
        part = Signal(Part)
        waited = Signal(range(max(FIRE_CYCLES, CLEAR_CYCLES) + 1))
        assert FIRE_CYCLES.bit_count() == 1 and CLEAR_CYCLES.bit_count() == 1  # one bit of ``waited`` tells that the time is over
        fire_time_over, clear_time_over = waited[FIRE_CYCLES.bit_length() - 1], waited[CLEAR_CYCLES.bit_length() - 1]
        ticks = Signal(range(CLEAR_TICKS + 1))

        # Only the way from armed to safe is short. Whatever else asks for the verdicts has time and looks at those of the cycle before; in
        # the test's first cycle of each part, ``fresh``, that was the part before.
        fresh = Signal()
        was_violated, fired, blocked = Signal(), Signal(), Signal()
        was_verdict = Signal(CAUSES)
        was_lowest = Signal(CAUSE_BITS)
        m.d.sync += was_verdict.eq(self.verdict)
        m.d.comb += [was_violated.eq(was_verdict.any()), was_lowest.eq(lowest_of(was_verdict))]
        with m.If(self.state == InterlockState.ARMING):
            m.d.sync += [
                fired.eq((self.inject & (self.verdict | ~self.tested)).any()),
                blocked.eq((turn & self.verdict).any()),
                fresh.eq(0),
            ]

        def begin(which: Part):
            m.d.sync += [part.eq(which), waited.eq(0), fresh.eq(1)]

        def end(result: ArmingResult, which=NO_CAUSE):
            m.d.sync += [
                self.state.eq(InterlockState.ARMED if result is ArmingResult.ARMED else InterlockState.DISARMED),
                self.result.eq(result),
                self.result_cause.eq(which),
                self.inject.eq(0),
                self.armed.eq(int(result is ArmingResult.ARMED)),
            ]

        known = Signal()
        m.d.sync += [self.caught.eq(self.armed & self.violated), known.eq(self.caught), self.latch.eq(known)]
        with m.Switch(self.state):
            with m.Case(InterlockState.DISARMED):
                with m.If(commanded(InterlockCommand.ARM)):
                    m.d.sync += [turn.eq(1), cause.eq(0), ticks.eq(0)]
                    begin(Part.SILENT)
                    with m.If(~self.commissioned):
                        m.d.sync += [self.result.eq(ArmingResult.NOT_COMMISSIONED), self.result_cause.eq(NO_CAUSE)]
                    with m.Elif(was_violated | self.flags_set):
                        m.d.sync += [self.result.eq(ArmingResult.VIOLATED), self.result_cause.eq(was_lowest)]
                    with m.Else():
                        m.d.sync += [
                            self.state.eq(InterlockState.ARMING),
                            self.result.eq(ArmingResult.UNDER_TEST),
                            self.result_cause.eq(NO_CAUSE),
                        ]
            with m.Case(InterlockState.ARMING):
                with m.If(self.command_valid):
                    end(ArmingResult.ABORTED)
                with m.Elif(fresh):
                    pass
                with m.Elif(part == Part.SILENT):
                    m.d.sync += waited.eq(waited + 1)
                    with m.If(~blocked):
                        m.d.sync += self.inject.eq(turn)
                        begin(Part.FIRE)
                    with m.Elif(fire_time_over):
                        end(ArmingResult.DID_NOT_CLEAR, cause)
                with m.Elif(part == Part.FIRE):
                    m.d.sync += waited.eq(waited + 1)
                    with m.If(fired):
                        m.d.sync += [self.inject.eq(0), turn.eq(turn << 1), cause.eq(cause + 1)]
                        begin(Part.SILENT)
                        with m.If(turn[-1]):
                            begin(Part.CLEAR)
                    with m.Elif(fire_time_over):
                        end(ArmingResult.DID_NOT_FIRE, cause)
                with m.Else():
                    m.d.sync += waited.eq(waited + 1)
                    with m.If(self.tick & (ticks != CLEAR_TICKS)):
                        m.d.sync += ticks.eq(ticks + 1)
                    with m.If(~was_violated & (ticks == CLEAR_TICKS)):
                        end(ArmingResult.ARMED)
                    with m.Elif(clear_time_over):
                        end(ArmingResult.DID_NOT_CLEAR, was_lowest)
            with m.Case(InterlockState.ARMED):
                with m.If(commanded(InterlockCommand.DISARM)):
                    m.d.sync += [self.state.eq(InterlockState.DISARMED), self.armed.eq(0)]
            with m.Case(InterlockState.TRIPPED):
                with m.If(commanded(InterlockCommand.ACK) & ~self.flags_set & ~was_violated):
                    m.d.sync += self.state.eq(InterlockState.DISARMED)
        with m.If(self.caught):
            m.d.sync += [
                self.state.eq(InterlockState.TRIPPED),
                self.trips.eq(self.trips + 1),
                self.first_cause.eq(was_lowest),
                self.causes.eq(was_verdict | self.verdict),
            ]
        with m.Elif(self.state == InterlockState.TRIPPED):
            m.d.sync += self.causes.eq(self.causes | self.verdict)
        with m.Elif(self.armed):
            m.d.sync += self.causes.eq(0)
        with m.If(self.armed & self.violated):
            m.d.sync += self.armed.eq(0)
        return m
