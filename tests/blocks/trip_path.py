"""From samples and requests to the outputs: interlock, signals, envelope and gate, joined as the core joins them."""

from unittest import mock

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from faulty_bank import FLIP, FaultyBank

from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc_hw.blocks.envelope import Envelope
from reflexarc_hw.blocks.gate import Gate
from reflexarc_hw.blocks.interlock import REACTION, Interlock
from reflexarc_hw.blocks.signals import Signals
from reflexarc_hw.lib.bus import BankSignature
from reflexarc_hw.lib.formats import CODE, OUTPUTS, POSITION, SAMPLES, TIME
from reflexarc_hw.platforms.board import FULL

CYCLES_PER_SAMPLE = 16
FRAME_CYCLES = 19  # from a frame's begin to its read-back
BLOCKS = ("interlock", "signals", "envelope", "gate")


class TripPath(wiring.Component):
    """All see the same requests in the same cycle. The converters of this bench read back what was sent, but for ``readback_flip``.

    Without the dose: its conditions are masked, and its place at the interlock stays empty but for a parity that works.
    """

    interlock_bus: In(BankSignature())
    signals_bus: In(BankSignature())
    envelope_bus: In(BankSignature())
    gate_bus: In(BankSignature())
    samples: In(SAMPLES)
    tick: In(1)
    estop_closed: In(1)
    ready: In(2)
    gain: In(4)
    x: In(POSITION)
    y: In(POSITION)
    z: In(POSITION)
    engaged: In(1)
    pulse: In(1)
    pulse_bias: In(CODE)
    readback_flip: In(20)
    flip: In(FLIP)
    time: In(TIME)
    safe: Out(1)
    state: Out(InterlockState)
    reaction: Out(REACTION)
    dac: Out(OUTPUTS)
    dac_load: Out(1)
    blank: Out(1)
    trigger: Out(1)
    motor_step: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.interlock = interlock = Interlock(CYCLES_PER_SAMPLE, FULL.straps)
        m.submodules.signals = signals = Signals(True)
        m.submodules.envelope = envelope = Envelope()
        m.submodules.gate = gate = Gate(CYCLES_PER_SAMPLE)
        blocks = {"interlock": interlock, "signals": signals, "envelope": envelope, "gate": gate}
        for name, block in blocks.items():
            wiring.connect(m, wiring.flipped(getattr(self, f"{name}_bus")), block.bus)
            if name != "interlock":
                wiring.connect(m, getattr(interlock, f"{name}_conditions"), block.conditions)
                wiring.connect(m, getattr(interlock, f"{name}_guard"), block.guard)
        with m.If(interlock.dose_guard.check):
            m.d.sync += interlock.dose_guard.error.eq(interlock.dose_guard.inject)

        # A frame each second sample, and what the converters hold at its end.
        phase = Signal(range(2 * CYCLES_PER_SAMPLE))
        left = Signal(range(FRAME_CYCLES + 1))
        held = Signal(OUTPUTS)
        m.d.sync += phase.eq(Mux(phase == 2 * CYCLES_PER_SAMPLE - 1, 0, phase + 1))
        with m.If(gate.dac_load):
            m.d.sync += [left.eq(FRAME_CYCLES), held.eq(gate.dac)]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.comb += [
            gate.readback.valid.eq((left == 1) & ~gate.dac_load),
            gate.readback.dac.eq(held),
            gate.readback.dac.z.eq(held.z ^ self.readback_flip.as_signed()),
            #
            interlock.tick.eq(self.tick),
            interlock.contact.eq(signals.contact),
            interlock.estop_closed.eq(self.estop_closed),
            interlock.ready.eq(self.ready),
            interlock.gain.eq(self.gain),
            interlock.time.eq(self.time),
            #
            signals.samples.eq(self.samples),
            signals.pulse.eq(self.pulse),
            #
            envelope.x.eq(self.x),
            envelope.y.eq(self.y),
            envelope.z.eq(self.z),
            envelope.bias.eq(gate.bias_requested),
            envelope.engaged.eq(self.engaged),
            envelope.live.eq(interlock.live),
            envelope.tick.eq(self.tick),
            #
            gate.safe.eq(interlock.safe),
            gate.reaction.eq(interlock.reaction),
            gate.frame.eq(phase == 0),
            gate.x.eq(self.x),
            gate.y.eq(self.y),
            gate.z.eq(self.z),
            gate.pulse.eq(self.pulse),
            gate.pulse_bias.eq(self.pulse_bias),
            #
            self.safe.eq(interlock.safe),
            self.state.eq(interlock.state),
            self.reaction.eq(interlock.reaction),
            self.dac.eq(gate.dac),
            self.dac_load.eq(gate.dac_load),
            self.blank.eq(gate.blank),
            self.trigger.eq(gate.trigger),
            self.motor_step.eq(gate.motor_step),
        ]
        return m


class FaultyTripPath(TripPath):
    """The same with banks in which ``flip`` turns bits over."""

    def elaborate(self, platform):
        flip = Signal(FLIP)
        with mock.patch("reflexarc_hw.lib.bus.RegisterBank", lambda block: FaultyBank(block, flip)):
            m = super().elaborate(platform)
            # The blocks are made when they are elaborated, which is later: they are elaborated here and now.
            for name in BLOCKS:
                block = getattr(m.submodules, name)
                elaborated = block.elaborate(platform)
                block.elaborate = lambda _, elaborated=elaborated: elaborated
        m.d.comb += flip.eq(self.flip)
        return m
