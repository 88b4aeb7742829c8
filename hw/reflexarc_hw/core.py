"""The whole controller: all blocks and the wires between them, no board pins."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.fingerprint import fingerprint
from reflexarc_hw.blocks.capture import Capture
from reflexarc_hw.blocks.events import ThresholdEvents
from reflexarc_hw.blocks.feedback import Feedback
from reflexarc_hw.blocks.gate import OUTPUTS, Gate
from reflexarc_hw.blocks.interlock import Interlock
from reflexarc_hw.blocks.reaction import Reaction
from reflexarc_hw.blocks.recorder import Recorder
from reflexarc_hw.blocks.scan import Scan
from reflexarc_hw.blocks.system import System
from reflexarc_hw.lib.bus import BusSignature, Fabric
from reflexarc_hw.lib.formats import SAMPLE
from reflexarc_hw.lib.packet import WORD
from reflexarc_hw.platforms.timing import Rate


class Core(wiring.Component):
    """The controller at one rate.

    ``adc`` is the converter's parallel word, ``dac`` the codes that ``dac_load`` sends; ``live`` is high while outputs follow requests,
    for a lamp or a relay. ``host_bus`` is the link's master, ``cpu_bus`` the housekeeping core's. ``capture`` and ``events`` carry packets
    for the link.
    """

    def __init__(self, rate: Rate):
        self._rate = rate
        super().__init__(
            {
                "adc": In(SAMPLE),
                "convert": Out(1),
                "dac": Out(OUTPUTS),
                "dac_load": Out(1),
                "blank": Out(1, init=1),
                "live": Out(1),
                "estop_ok": In(1),
                "host_bus": In(BusSignature()),
                "cpu_bus": In(BusSignature()),
                "capture": Out(stream.Signature(WORD)),
                "events": Out(stream.Signature(WORD)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.system = system = System(self._rate.cycles_per_sample, self._rate.sample_period_ps, fingerprint())
        m.submodules.scan = scan = Scan()
        m.submodules.feedback = feedback = Feedback()
        m.submodules.interlock = interlock = Interlock()
        m.submodules.gate = gate = Gate(self._rate.cycles_per_sample)
        m.submodules.capture = capture = Capture()
        m.submodules.events = events = ThresholdEvents()
        m.submodules.reaction = reaction = Reaction()
        m.submodules.recorder = recorder = Recorder()

        blocks = {
            "system": system, "scan": scan, "feedback": feedback, "interlock": interlock, "gate": gate, "capture": capture,
            "events": events, "reaction": reaction, "recorder": recorder,
        }  # fmt: skip
        m.submodules.fabric = fabric = Fabric(masters=2, bases=tuple(block.base for block in REGISTER_MAP))
        wiring.connect(m, wiring.flipped(self.host_bus), fabric.master_0)
        wiring.connect(m, wiring.flipped(self.cpu_bus), fabric.master_1)
        for index, block in enumerate(REGISTER_MAP):
            wiring.connect(m, getattr(fabric, f"bank_{index}"), blocks[block.name].bus)

        live = interlock.live
        in_line = (scan.state == ScanState.FORWARD) | (scan.state == ScanState.BACKWARD)
        m.d.comb += [
            system.adc.eq(self.adc),
            self.convert.eq(system.convert),
            #
            scan.tick.eq(system.sample.valid),
            scan.pause.eq(reaction.hold),
            scan.live.eq(live),
            #
            feedback.sample.eq(system.sample),
            feedback.live.eq(live),
            feedback.hold.eq(reaction.hold),
            feedback.gate_z.eq(gate.z_driven),
            #
            interlock.sample.eq(system.sample),
            interlock.sample_lost.eq(system.sample_lost),
            interlock.z.eq(feedback.z),
            interlock.pulse.eq(reaction.hold),
            interlock.position_overflow.eq(scan.overflow),
            interlock.estop_ok.eq(self.estop_ok),
            interlock.time.eq(system.time),
            #
            gate.armed.eq(interlock.armed),
            gate.safe.eq(interlock.safe),
            gate.tick.eq(system.tick),
            gate.frame.eq(system.frame),
            gate.x.eq(scan.x),
            gate.y.eq(scan.y),
            gate.z.eq(feedback.z),
            gate.pulse.eq(reaction.pulse),
            gate.pulse_bias.eq(reaction.pulse_bias),
            gate.blank_request.eq(~in_line),
            #
            capture.sample.eq(system.sample),
            capture.marker.eq(scan.marker),
            capture.aborted.eq(scan.aborted),
            capture.z.eq(feedback.z),
            capture.time.eq(system.time),
            capture.pixels.eq(scan.pixels),
            capture.pixel_samples.eq(scan.pixel_samples),
            #
            events.pixel.eq(capture.pixel),
            events.pixel_samples.eq(scan.pixel_samples),
            events.time.eq(system.time),
            #
            reaction.tick.eq(system.sample.valid),
            reaction.live.eq(live),
            reaction.detection.eq(events.detection),
            reaction.driven_bias.eq(gate.dac.bias),
            #
            recorder.sample.code.eq(system.sample.code),
            recorder.sample.valid.eq(system.tick),
            recorder.dac.eq(gate.dac),
            recorder.interlock_state.eq(interlock.state),
            recorder.scan_state.eq(scan.state),
            recorder.hold.eq(reaction.hold),
            recorder.pulse.eq(reaction.pulse),
            recorder.blank.eq(gate.blank),
            #
            self.dac.eq(gate.dac),
            self.dac_load.eq(gate.dac_load),
            self.blank.eq(gate.blank),
            self.live.eq(live),
        ]
        wiring.connect(m, wiring.flipped(self.capture), capture.stream)
        wiring.connect(m, wiring.flipped(self.events), events.stream)
        return m
