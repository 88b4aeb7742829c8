"""From sample and z to the outputs: interlock and gate, joined as the core joins them."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc_hw.blocks.gate import OUTPUTS, Gate
from reflexarc_hw.blocks.interlock import Interlock
from reflexarc_hw.lib.bus import BankSignature
from reflexarc_hw.lib.formats import CODE, POSITION, SAMPLE


class TripPath(wiring.Component):
    """Both see the same z in the same cycle."""

    interlock_bus: In(BankSignature())
    gate_bus: In(BankSignature())
    sample: In(SAMPLE)
    estop_ok: In(1)
    x: In(POSITION)
    z: In(POSITION)
    pulse: In(1)
    pulse_bias: In(CODE)
    armed: Out(1)
    dac: Out(OUTPUTS)
    dac_load: Out(1)
    blank: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.interlock = interlock = Interlock()
        m.submodules.gate = gate = Gate(16)
        wiring.connect(m, wiring.flipped(self.interlock_bus), interlock.bus)
        wiring.connect(m, wiring.flipped(self.gate_bus), gate.bus)
        m.d.comb += [
            interlock.sample.eq(self.sample),
            interlock.z.eq(self.z),
            interlock.pulse.eq(self.pulse),
            interlock.estop_ok.eq(self.estop_ok),
            gate.armed.eq(interlock.armed),
            gate.safe.eq(interlock.safe),
            gate.tick.eq(self.sample.valid),
            gate.x.eq(self.x),
            gate.y.eq(self.x),
            gate.z.eq(self.z),
            gate.pulse.eq(self.pulse),
            gate.pulse_bias.eq(self.pulse_bias),
            self.armed.eq(interlock.armed),
            self.dac.eq(gate.dac),
            self.dac_load.eq(gate.dac_load),
            self.blank.eq(gate.blank),
        ]
        return m
