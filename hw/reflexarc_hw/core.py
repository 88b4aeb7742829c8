"""The whole controller: all blocks and the wires between them, no board pins."""

from amaranth.hdl import Cat, Const, Module, Mux
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks import feedback as feedback_contract
from reflexarc.contract.blocks.gate import CODE_MAX
from reflexarc.contract.blocks.interlock import Strap
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS, ScanState
from reflexarc.contract.blocks.signals import CURRENT
from reflexarc.contract.fingerprint import fingerprint
from reflexarc.contract.program import Request
from reflexarc_hw.blocks.capture import COUNTERS, Capture
from reflexarc_hw.blocks.correlator import Correlator
from reflexarc_hw.blocks.detector.detector import Detector
from reflexarc_hw.blocks.dose import Dose
from reflexarc_hw.blocks.envelope import Envelope
from reflexarc_hw.blocks.events import FOUND, Events
from reflexarc_hw.blocks.feedback import Feedback
from reflexarc_hw.blocks.gate import LINES, READBACK, Gate
from reflexarc_hw.blocks.interlock import GUARDED, JUDGES, Interlock
from reflexarc_hw.blocks.lift import Lift
from reflexarc_hw.blocks.reaction import Reaction
from reflexarc_hw.blocks.recorder import Recorder
from reflexarc_hw.blocks.scan import Scan
from reflexarc_hw.blocks.sequencer import Sequencer
from reflexarc_hw.blocks.signals import Signals
from reflexarc_hw.blocks.sync import LINES as SYNC_LINES
from reflexarc_hw.blocks.sync import Sync
from reflexarc_hw.blocks.system import System
from reflexarc_hw.blocks.trajectory import Trajectory
from reflexarc_hw.lib.bus import BusSignature, Fabric
from reflexarc_hw.lib.formats import OUTPUTS, SAMPLES
from reflexarc_hw.lib.own_register import own_register
from reflexarc_hw.lib.packet import WORD
from reflexarc_hw.platforms.board import FULL, Board
from reflexarc_hw.platforms.timing import Rate


class Core(wiring.Component):
    """The controller of one board at one rate.

    ``adc`` are the converters' parallel words, ``dac`` the codes that ``dac_load`` sends, ``readback`` what the DACs then hold; ``live`` is
    high while outputs follow requests, for a lamp or a relay; ``pump`` changes all that time, for a relay that falls when the clock stops.
    ``estop_ok`` is the chain's line, ``blank`` the blanker's, ``motor_step`` the coarse motor's; their senses are the board's straps.
    ``approach_step`` is its step the other way. ``sync`` are lines of other instruments, ``lines`` those to them, ``pulses`` go to counters.
    ``underflow`` and ``event`` are for sources that are yet to come. ``host_bus`` is the link's master, ``cpu_bus`` the housekeeping core's.
    ``capture`` and ``events`` carry packets for the link.
    """

    def __init__(self, rate: Rate, board: Board = FULL):
        self._rate = rate
        self._board = board
        super().__init__(
            {
                "adc": In(SAMPLES),
                "convert": Out(1),
                "dac": Out(OUTPUTS),
                "dac_load": Out(1),
                "readback": In(READBACK),
                "blank": Out(1, init=1),
                "trigger": Out(1),
                "motor_step": Out(1),
                "approach_step": Out(1),
                "sync": In(SYNC_LINES),
                "lines": Out(LINES),
                "pulses": In(COUNTERS),
                "live": Out(1),
                "pump": Out(1),
                "estop": In(1),
                "ready": In(2),
                "gain": In(4),
                "underflow": In(1),
                "event": In(data.StructLayout({"valid": 1, "class_id": 8})),
                "host_bus": In(BusSignature()),
                "cpu_bus": In(BusSignature()),
                "capture": Out(stream.Signature(WORD)),
                "events": Out(stream.Signature(WORD)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        n, straps = self._rate.cycles_per_sample, self._board.straps
        m.submodules.system = system = System(n, self._rate.sample_period_ps, fingerprint(), self._board.channels)
        m.submodules.scan = scan = Scan()
        m.submodules.trajectory = trajectory = Trajectory()
        m.submodules.sync = sync = Sync()
        m.submodules.lift = lift = Lift()
        m.submodules.feedback = feedback = Feedback(feedback_contract.BLOCK, CODE_MAX)
        m.submodules.bias_feedback = bias_feedback = Feedback(feedback_contract.BIAS_BLOCK, 0)
        m.submodules.interlock = interlock = Interlock(n, straps)
        m.submodules.signals = signals = Signals(Strap.MONITOR in straps)
        m.submodules.envelope = envelope = Envelope()
        m.submodules.dose = dose = Dose()
        m.submodules.gate = gate = Gate(n)
        m.submodules.capture = capture = Capture()
        m.submodules.events = events = Events()
        m.submodules.reaction = reaction = Reaction()
        m.submodules.sequencer = sequencer = Sequencer()
        m.submodules.recorder = recorder = Recorder()
        m.submodules.detector = detector = Detector(self._board.lanes, paired=self._board.paired)
        m.submodules.correlator = correlator = Correlator()

        blocks = {
            "system": system, "scan": scan, "feedback": feedback, "interlock": interlock, "gate": gate, "capture": capture,
            "events": events, "reaction": reaction, "recorder": recorder, "signals": signals, "envelope": envelope, "dose": dose,
            "trajectory": trajectory, "sync": sync, "lift": lift, "bias_feedback": bias_feedback,
            "sequencer": sequencer, "detector": detector, "correlator": correlator,
        }  # fmt: skip
        m.submodules.fabric = fabric = Fabric(masters=2, bases=tuple(block.base for block in REGISTER_MAP))
        wiring.connect(m, wiring.flipped(self.host_bus), fabric.master_0)
        wiring.connect(m, wiring.flipped(self.cpu_bus), fabric.master_1)
        wiring.connect(m, sequencer.master, fabric.claimant)
        for index, block in enumerate(REGISTER_MAP):
            wiring.connect(m, getattr(fabric, f"bank_{index}"), blocks[block.name].bus)

        for name in JUDGES:
            wiring.connect(m, getattr(interlock, f"{name}_conditions"), blocks[name].conditions)
        for name in GUARDED:
            wiring.connect(m, getattr(interlock, f"{name}_guard"), blocks[name].guard)

        live = interlock.live
        asks = {request: (sequencer.requests & int(request)).any() for request in Request}
        sample = system.samples[CURRENT]
        # Away is towards greater codes everywhere within; a scanner that is wired the other way round is mirrored here, at the last place.
        mirror = 0 if Strap.RETRACT_POSITIVE in straps else -1
        estop_closed = self.estop if Strap.ESTOP_NORMALLY_CLOSED in straps else ~self.estop
        blank = gate.blank if Strap.BLANK_ACTIVE_HIGH in straps else ~gate.blank
        # An event of another source, or of ours; one cycle has one event.
        event_class = Mux(self.event.valid, self.event.class_id, events.detection.class_id)
        # A pulse's bias is nothing that the second controller goes on from.
        bias_beside_pulses = Mux(gate.pulse_driven, bias_feedback.output[POSITION_FRACTION_BITS:].as_signed(), gate.dac.bias)
        sight = sample.valid & scan.marker.active
        # Held and paused by the reaction or by a program.
        hold = reaction.hold | asks[Request.FEEDBACK_HELD]
        pause = reaction.hold | sequencer.pause
        pulse = reaction.pulse | asks[Request.PULSE]
        pulse_limits = reaction.hold | asks[Request.PULSE_LIMITS]
        # What looks for events hears of a frame and of its end a cycle late: both come out of all that starts and stops a scan.
        scan_begins, scan_aborted = own_register(m, scan.frame_start, "scan_begins"), own_register(m, scan.aborted, "scan_aborted")
        in_scan = (scan.state != ScanState.IDLE) & (scan.state != ScanState.MOVING)
        m.d.comb += [
            system.adc.eq(self.adc),
            self.convert.eq(system.convert),
            #
            scan.tick.eq(sample.valid),
            scan.pause.eq(pause),
            scan.live.eq(live),
            scan.may_end.eq(sync.may_end),
            scan.may_start.eq(sync.may_start),
            scan.line_waits.eq(sync.line_waits),
            scan.late.eq(sync.late),
            trajectory.clear.eq(scan.aborted),
            #
            sync.tick.eq(sample.valid),
            sync.lines.eq(self.sync),
            sync.pixel_start.eq(scan.pixel_start),
            sync.pixel_first.eq(sight & scan.marker.first),
            sync.pixel_over.eq(scan.pixel_over),
            sync.waiting.eq(scan.waiting),
            #
            lift.tick.eq(sample.valid),
            lift.pause.eq(pause),
            lift.live.eq(live),
            lift.state.eq(scan.state),
            lift.backward.eq(scan.backward),
            lift.second.eq(scan.second),
            lift.held_z.eq(feedback.output),
            #
            feedback.samples.eq(system.samples),
            feedback.live.eq(live),
            feedback.hold.eq(hold),
            feedback.offset.eq(scan.z),
            feedback.taken.eq(lift.active),
            feedback.taken_output.eq(lift.z),
            feedback.driven.eq(gate.z_driven),
            #
            bias_feedback.samples.eq(system.samples),
            bias_feedback.live.eq(live),
            bias_feedback.hold.eq(hold),
            bias_feedback.driven.eq(Cat(Const(0, POSITION_FRACTION_BITS), bias_beside_pulses).as_signed()),
            #
            signals.samples.eq(system.judged),
            signals.pulse.eq(pulse_limits),
            signals.error.eq(feedback.error),
            signals.error_valid.eq(feedback.error_valid),
            #
            envelope.x.eq(sequencer.x),
            envelope.y.eq(sequencer.y),
            envelope.z.eq(feedback.request),
            envelope.bias.eq(gate.bias_requested),
            envelope.engaged.eq(feedback.engaged),
            envelope.live.eq(live),
            envelope.tick.eq(system.tick),
            #
            dose.samples.eq(system.samples),
            dose.blank.eq(gate.blank),
            dose.dac.eq(gate.dac),
            dose.pulse.eq(gate.pulse_driven),
            dose.pixel_start.eq(sight & scan.marker.first),
            dose.frame_start.eq(scan.frame_start),
            #
            interlock.sample_lost.eq(system.sample_lost),
            interlock.tick.eq(system.tick),
            interlock.contact.eq(signals.contact),
            interlock.position_overflow.eq(scan.overflow | sequencer.overflow),
            interlock.underflow.eq(self.underflow | scan.starved | sync.late | detector.underflow),
            interlock.event.eq(self.event.valid | events.detection.valid),
            interlock.event_class.eq(event_class),
            interlock.program_fault.eq(sequencer.fault),
            interlock.program_reason.eq(sequencer.reason),
            interlock.estop_closed.eq(estop_closed),
            interlock.ready.eq(self.ready),
            interlock.gain.eq(self.gain),
            interlock.time.eq(system.time),
            #
            gate.safe.eq(interlock.safe),
            gate.reaction.eq(interlock.reaction),
            gate.frame.eq(system.frame),
            gate.x.eq(sequencer.x),
            gate.y.eq(sequencer.y),
            gate.z.eq(feedback.request),
            gate.bias_controlled.eq(bias_feedback.used),
            gate.controlled_bias.eq(bias_feedback.output),
            gate.pulse.eq(pulse),
            gate.pulse_bias.eq(Mux(asks[Request.PULSE], sequencer.pulse_bias, reaction.pulse_bias)),
            gate.blank_request.eq(~(scan.beam | asks[Request.BEAM]) | asks[Request.BLANK]),
            gate.line_requests.pixel.eq(sync.pixel | asks[Request.TRIGGER]),
            gate.line_requests.line.eq(scan.marker.active),
            gate.line_requests.frame.eq(in_scan),
            gate.line_requests.external.eq(sync.external),
            gate.readback.eq(self.readback),
            gate.readback.dac.z.eq(self.readback.dac.z ^ mirror),
            #
            capture.samples.eq(system.samples),
            capture.pulses.eq(self.pulses),
            capture.marker.eq(scan.marker),
            capture.aborted.eq(scan.aborted),
            capture.z.eq(feedback.output),
            capture.time.eq(system.time),
            capture.pixels.eq(scan.pixels),
            capture.pixel_samples.eq(scan.pixel_samples),
            #
            events.sample.eq(sample),
            events.z.eq(feedback.output),
            events.marker.eq(scan.marker),
            events.time.eq(system.time),
            #
            detector.pixel.eq(capture.pixel),
            detector.pixel.valid.eq(own_register(m, capture.pixel_ends, "pixel_valid")),  # enables half a thousand registers there
            detector.samples.eq(system.samples),
            detector.z.eq(feedback.output),
            detector.marker.eq(scan.marker),
            detector.pixels.eq(scan.pixels),
            detector.in_line.eq(in_scan),
            # Much is dropped there in the cycle of these, so they come from beside it.
            detector.frame_start.eq(own_register(m, scan_begins, "frame_starts")),
            detector.aborted.eq(own_register(m, scan_aborted, "frame_aborted")),
            detector.time.eq(system.time),
            #
            correlator.pixel.eq(capture.pixel),
            correlator.frame_start.eq(scan_begins),
            correlator.aborted.eq(scan_aborted),
            correlator.time.eq(system.time),
            #
            reaction.tick.eq(sample.valid),
            reaction.live.eq(interlock.live_beside),
            reaction.detection.eq(events.detection),
            reaction.driven_bias.eq(gate.dac.bias),
            #
            fabric.claim.eq(sequencer.claim),
            sequencer.live.eq(live),
            sequencer.samples.eq(system.samples),
            sequencer.event.eq(events.scored),
            sequencer.lines.eq(sync.lines_seen),
            sequencer.scan_state.eq(scan.state),
            sequencer.line_last.eq(sight & scan.marker.line_last),
            sequencer.scan_line.eq(scan.marker.line),
            sequencer.scan_x.eq(scan.x),
            sequencer.scan_y.eq(scan.y),
            sequencer.z.eq(feedback.output),
            sequencer.bias.eq(gate.dac.bias),
            sequencer.emitted.eq(events.emitted),
            events.emission.eq(sequencer.emission),
            events.emits.eq(sequencer.emits),
            #
            recorder.samples.eq(system.samples),
            recorder.tick.eq(system.tick),
            recorder.dac.eq(gate.dac),
            recorder.interlock_state.eq(interlock.state),
            recorder.scan_state.eq(scan.state),
            recorder.hold.eq(hold),
            recorder.pulse.eq(pulse),
            recorder.blank.eq(gate.blank),
            #
            self.dac.eq(gate.dac),
            self.dac.z.eq(gate.dac.z ^ mirror),
            self.dac_load.eq(gate.dac_load),
            self.blank.eq(blank),
            self.trigger.eq(gate.trigger),
            self.motor_step.eq(gate.motor_step),
            self.approach_step.eq(gate.approach_step),
            self.lines.eq(gate.lines),
            self.pump.eq(gate.pump),
            self.live.eq(live),
        ]
        for found, source in zip(events.found, (detector, correlator), strict=True):
            m.d.comb += [found[name].eq(source.detection[name]) for name in FOUND.members]
        wiring.connect(m, scan.points, trajectory.points)
        wiring.connect(m, wiring.flipped(self.capture), capture.stream)
        wiring.connect(m, wiring.flipped(self.events), events.stream)
        return m
