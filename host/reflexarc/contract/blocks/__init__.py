"""One module a block; ``REGISTER_MAP`` gathers them."""

from reflexarc.contract.blocks import (
    capture,
    correlator,
    detector,
    dose,
    envelope,
    events,
    feedback,
    gate,
    interlock,
    lift,
    reaction,
    recorder,
    scan,
    sequencer,
    signals,
    sync,
    system,
    trajectory,
)
from reflexarc.contract.registers import RegisterMap

REGISTER_MAP = RegisterMap(
    (
        system.BLOCK,
        scan.BLOCK,
        feedback.BLOCK,
        interlock.BLOCK,
        gate.BLOCK,
        capture.BLOCK,
        events.BLOCK,
        reaction.BLOCK,
        recorder.BLOCK,
        signals.BLOCK,
        envelope.BLOCK,
        dose.BLOCK,
        trajectory.BLOCK,
        sync.BLOCK,
        lift.BLOCK,
        feedback.BIAS_BLOCK,
        sequencer.BLOCK,
        detector.BLOCK,
        correlator.BLOCK,
    )
)
