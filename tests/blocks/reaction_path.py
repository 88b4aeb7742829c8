"""From a detection to the bias output: reaction and gate, joined as the core joins them."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc_hw.blocks.events import DETECTION
from reflexarc_hw.blocks.gate import Gate
from reflexarc_hw.blocks.reaction import Reaction
from reflexarc_hw.lib.bus import BankSignature
from reflexarc_hw.lib.formats import OUTPUTS


class ReactionPath(wiring.Component):
    reaction_bus: In(BankSignature())
    gate_bus: In(BankSignature())
    detection: In(DETECTION)
    tick: In(1)
    live: In(1)
    dac: Out(OUTPUTS)
    hold: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.reaction = reaction = Reaction()
        m.submodules.gate = gate = Gate(16)
        wiring.connect(m, wiring.flipped(self.reaction_bus), reaction.bus)
        wiring.connect(m, wiring.flipped(self.gate_bus), gate.bus)
        m.d.comb += [
            reaction.tick.eq(self.tick),
            reaction.live.eq(self.live),
            reaction.detection.eq(self.detection),
            reaction.driven_bias.eq(gate.dac.bias),
            gate.safe.eq(~self.live),
            gate.reaction.retract.eq(1),
            gate.pulse.eq(reaction.pulse),
            gate.pulse_bias.eq(reaction.pulse_bias),
            self.dac.eq(gate.dac),
            self.hold.eq(reaction.hold),
        ]
        return m
