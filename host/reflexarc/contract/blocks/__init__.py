"""One module a block; ``REGISTER_MAP`` gathers them."""

from reflexarc.contract.blocks import capture, events, feedback, gate, interlock, reaction, recorder, scan, system
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
    )
)
