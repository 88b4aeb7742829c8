"""Proofs of the sequencer: whatever program it runs.

| assumption | why it is harmless |
|---|---|
| `accesses_are_apart` | what the bus's arbiter does: `fabric` |
| `claims_are_answered` | `fabric_service`: a request that was claimed is answered in so many cycles |
| rows, registers, products, measurements and the excursion are free | a program of any rows, and more than that |
"""

from amaranth.hdl import Cat, Module, Signal, Value

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.sequencer import PROTECTED
from reflexarc.contract.program import Operation, StopReason
from reflexarc.contract.registers import BLOCK_SIZE
from reflexarc_hw.blocks.sequencer import sequencer
from reflexarc_hw.blocks.sequencer.access import CLAIM_CYCLES, TIMED_ACCESS_CYCLES
from reflexarc_hw.blocks.sequencer.sequencer import Waiting
from reflexarc_hw.formal import Mutation, Proof, parts_are_free
from reflexarc_hw.lib.bus import ACCESS_CYCLES
from reflexarc_hw.lib.bus_proof import APART, accesses_are_apart

SEQUENCER = "blocks/sequencer/sequencer.py"
ACCESS = "blocks/sequencer/access.py"
ANSWERED = "claims_are_answered"
BLOCK_SHIFT = BLOCK_SIZE.bit_length() - 1
ENDS_IN = 3  # cycles from an output gate that does not follow to no request of a program


class SequencerProof(Proof):
    """What no program can do."""

    name = "sequencer"
    short = True
    depth = TIMED_ACCESS_CYCLES + 4
    cover_depth = 40
    assumptions = (APART, ANSWERED)
    covers = ("asks", "writes", "faults")
    properties = {
        "nothing_is_asked_unless_live": f"{ENDS_IN} cycles after the outputs ceased to be live no request of a program stands.",
        "nothing_is_asked_without_a_program": "No request stands while no program runs.",
        "protected_blocks_are_not_written": "No write goes to the interlock, to a judge of it, to the recorder, the system or the sequencer.",
        "claims_end": f"The bus is claimed for at most {TIMED_ACCESS_CYCLES} cycles, then is free for one at least.",
        "a_fault_is_told": "A program that ends late, refused or with no such operation while live raises the fault, with its reason.",
    }
    mutations = (
        Mutation("nothing_is_asked_unless_live", SEQUENCER, "ends.eq(~self.live | stopped", "ends.eq(stopped", 40),
        Mutation("nothing_is_asked_without_a_program", SEQUENCER, "with m.If(ends):\n            m.d.sync += requests.eq(0)", "with m.If(stopped):\n            m.d.sync += requests.eq(0)", 40),
        Mutation("protected_blocks_are_not_written", SEQUENCER, "with m.If(protected):\n                m.d.sync += begin[one].eq(0)", "with m.If(redirect):\n                m.d.sync += begin[one].eq(0)", 40),
        Mutation("claims_end", ACCESS, "                self.claim.eq(0),\n", "", 60),
        Mutation("a_fault_is_told", SEQUENCER, "(why == StopReason.LATE) | ", "", 40),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        with parts_are_free(sequencer, "Ram", "RegisterFile", "Scaler", "Measure", "Excursion"):
            dut = self.add("sequencer", sequencer.Sequencer())
        accesses_are_apart(self, dut.bus)
        master = dut.master
        waited = Signal(range(ACCESS_CYCLES + 1))  # cycles that a request has stood
        m.d.sync += waited.eq(0)
        with m.If(master.valid & ~master.done):
            m.d.sync += waited.eq(waited + (waited != ACCESS_CYCLES))
        self.assume(ANSWERED, master.done == (master.valid & (waited == ACCESS_CYCLES)))

        ends, running = self.inside("sequencer.ends"), dut.running
        self.holds("nothing_is_asked_unless_live", ~self.lasted(~dut.live, ENDS_IN + 1) | (dut.requests == 0))
        self.holds("nothing_is_asked_without_a_program", running | (dut.requests == 0))

        def protected(block: Value) -> Value:
            return Cat(block == REGISTER_MAP[name].base >> BLOCK_SHIFT for name in PROTECTED).any()

        self.holds("protected_blocks_are_not_written", ~(master.valid & master.write & protected(master.address[BLOCK_SHIFT:])))
        # Stages are empty without a program.
        for stage in ("in_ram", "out_of_ram", "operands_valid", "execute_valid", "raises", "pulses", "moves"):
            self.invariant(~self.inside(f"sequencer.{stage}") | running)
        # What is on its way to the bus was looked at before, and stands still since.
        on_its_way = master.valid | self.inside("sequencer.access.waiting")
        self.invariant(~(on_its_way & master.write & protected(master.address[BLOCK_SHIFT:])))
        waits, operation, state = (self.inside(f"sequencer.{name}") for name in ("waits", "operation", "state"))
        harmless = ~protected(self.inside("sequencer.place")[BLOCK_SHIFT - 2 :])
        first, begun = self.inside("sequencer.first"), Cat(self.inside(f"sequencer.begin_{one.name.lower()}") for one in sequencer.WAITING)
        self.invariant(~first | (waits & (state == Waiting.NOT) & ~begun.any()))
        self.invariant(~begun.any() | (waits & (state == Waiting.NOT)))
        self.invariant((state == Waiting.NOT) | waits)
        for one in sequencer.WAITING:
            self.invariant(~self.inside(f"sequencer.begin_{one.name.lower()}") | (waits & (operation == one)))
        for one in (Operation.WRITE, Operation.RAMP):
            self.invariant(~self.inside(f"sequencer.begin_{one.name.lower()}") | harmless)
        for one in (Waiting.RAMP, Waiting.STEP, Waiting.RAMP_ACCESS):
            self.invariant((state != one) | (waits & (operation == Operation.RAMP) & harmless))
        claimed = Signal(range(TIMED_ACCESS_CYCLES + 2))
        m.d.sync += claimed.eq(0)
        with m.If(dut.claim):
            m.d.sync += claimed.eq(claimed + (claimed != TIMED_ACCESS_CYCLES + 1))
        self.holds("claims_end", claimed <= TIMED_ACCESS_CYCLES)
        why = self.inside("sequencer.why")
        due = self.past(ends & dut.live & (why >= StopReason.LATE))
        self.holds("a_fault_is_told", ~due | (dut.fault & (dut.reason == self.past(why))))
        self.reaches("asks", dut.requests.any())
        self.reaches("writes", master.valid & master.write)
        self.reaches("faults", dut.fault)
        assert CLAIM_CYCLES > ACCESS_CYCLES


PROOFS = [SequencerProof()]
