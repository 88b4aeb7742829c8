"""Proofs of the register bank, one for each block that has locked registers.

| assumption | why it is harmless |
|---|---|
| `accesses_are_apart` | a bank's accesses come at least as many cycles apart as it takes for one: proved of the arbiter here, `fabric` |
| `requests_are_held` (`fabric_service`) | what a master of `BusSignature` is declared to do; no other proof rests on it |

Otherwise bus, guard, masters and read-only registers may do anything in any cycle; so may the reset.

The proofs of parity begin in *any* state, as after an upset: no register needs to hold what a write could have left there.
"""

from amaranth.hdl import Cat, Module, Signal, Value

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.link import BusStatus
from reflexarc.contract.registers import WORD_BYTES, Access, Block, Register
from reflexarc_hw.formal import Mutation, Proof
from reflexarc_hw.lib.bus import ACCESS_CYCLES, BANK_CYCLES, Fabric, RegisterBank

BUS = "lib/bus.py"
APART = "accesses_are_apart"
MASTERS = 2  # the link's and the housekeeping core's


def accesses_are_apart(proof: Proof, bus) -> None:
    """What every proof with a bank in it assumes of its bus."""
    proof.assume(APART, ~bus.strobe | ~Cat(proof.past(bus.strobe, cycles) for cycles in range(1, BANK_CYCLES)).any())


def _locked(block: Block, access: Access) -> list[Register]:
    return [register for register in block.registers if register.locked and register.access is access]


class BankProof(Proof):
    """What the lock and the ranges do."""

    depth = BANK_CYCLES + 2
    cover_depth = BANK_CYCLES + 3
    assumptions = (APART,)
    mutations = (
        Mutation("locked_registers_hold", BUS, "may & ~(locks & self.guard.lock)", "may & ~(locks & self.guard.lock & data[0])"),
        Mutation("locked_registers_hold", BUS, "may & ~(locks & self.guard.lock)", "may"),
        Mutation("a_refusal_is_said", BUS, "Mux(locks & self.guard.lock, BusStatus.LOCKED, refusal)", "refusal"),
        Mutation("values_are_taken_whole", BUS, "((spare == 0) | spare.all()) if register.signed else (spare == 0)", "(spare == 0) | spare.all()"),
        Mutation("values_are_taken_whole", BUS, "m.d.sync += getattr(self, register.name).eq(data)", "m.d.sync += getattr(self, register.name).eq(data ^ (data >> 1))"),
    )  # fmt: skip

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.name = f"bank_{block.name}"
        self.short = block.name == "gate"
        self._block = block
        self.properties = {
            "locked_registers_hold": "While the guard locks, no locked register changes, whatever the bus does.",
            "a_refusal_is_said": "A write to a locked register is answered with LOCKED while the guard locks.",
            "values_are_taken_whole": "What a register holds is in its range and, after a write, just what was written.",
        }
        if _locked(block, Access.WO):
            self.properties["locked_commands_are_refused"] = "No locked command comes through from a cycle in which the guard locks."
            self.mutations += (
                Mutation(
                    "locked_commands_are_refused",
                    BUS,
                    "commit.eq(write[1] & may & ~(locks & self.guard.lock))",
                    "commit.eq(write[1] & may)",
                ),
            )
        if any(register.minimum is not None for register in block.registers):
            self.mutations += (Mutation("values_are_taken_whole", BUS, "register.low > lowest", "register.low < lowest"),)
        self.covers = tuple(register.name for register in _locked(block, Access.RW))

    def describe(self, m: Module) -> None:
        bank = self.add("bank", RegisterBank(self._block))
        accesses_are_apart(self, bank.bus)
        locked_before = self.past(bank.guard.lock)
        hits_locked = Cat(bank.bus.offset == register.offset // WORD_BYTES for register in self._block.registers if register.locked).any()
        written_locked = self.past(bank.bus.strobe & bank.bus.write & hits_locked, BANK_CYCLES)
        self.holds("a_refusal_is_said", ~(written_locked & locked_before) | (bank.bus.status == BusStatus.LOCKED))
        written = self.past(bank.bus.write_data, BANK_CYCLES)
        for register in self._block.registers:
            if register.access not in (Access.RW, Access.WO):
                continue
            value, strobe = Value.cast(getattr(bank, register.name)), getattr(bank, f"{register.name}_strobe")
            whole = written.as_signed() if register.signed else written
            taken = ~strobe | (value == whole)
            if register.access is Access.RW:
                self.holds("values_are_taken_whole", (value >= register.low) & (value <= register.high) & taken)
                if register.locked:
                    before = self.past(value, init=register.reset)
                    self.holds("locked_registers_hold", ~locked_before | (value == before))
                    self.reaches(register.name, strobe & (value != before))
            else:
                self.holds("values_are_taken_whole", taken)
                if register.locked:
                    self.holds("locked_commands_are_refused", ~(strobe & locked_before))


class ParityProof(Proof):
    """A flipped bit shows. Begins in any state at all."""

    depth = 4
    cover_depth = 4
    any_start = True
    properties = {
        "a_flip_shows": "If an odd number of bits of a locked register and its parity differ from what was written, a check says so two cycles later.",
        "injection_shows": "With injection each check says so.",
    }
    covers = ("error", "no_error")
    mutations = (
        Mutation("a_flip_shows", BUS, "found ^ parity ^", "found ^"),
        Mutation("a_flip_shows", BUS, "flipped.any()", "flipped[1:].any()"),
        Mutation("injection_shows", BUS, "^ self.guard.inject.replicate(len(guarded))", ""),
    )

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.name = f"parity_{block.name}"
        self.short = block.name == "gate"
        self._block = block

    def describe(self, m: Module) -> None:
        bank = self.add("bank", RegisterBank(self._block))
        guard = bank.guard
        guarded = _locked(self._block, Access.RW)
        wrong = Cat(Value.cast(getattr(bank, register.name)).xor() for register in guarded) ^ self.inside("bank.parity")
        checked = self.past(guard.check, 2)
        injected = self.past(guard.inject, 2)
        started = self.lasted(1, 2)
        self.holds("a_flip_shows", ~(started & checked & ~injected) | (guard.error == self.past(wrong.any(), 2)))
        self.holds("injection_shows", ~(started & checked & injected & self.past(~wrong.any(), 2)) | guard.error)
        self.reaches("error", started & checked & ~injected & guard.error)
        self.reaches("no_error", started & checked & ~injected & ~guard.error)


class _FabricProof(Proof):
    depth = 4 * ACCESS_CYCLES
    cover_depth = 4 * ACCESS_CYCLES

    def block(self) -> tuple[list, list]:
        """Banks and masters of the core's own fabric."""
        fabric = self.add("fabric", Fabric(MASTERS, tuple(block.base for block in REGISTER_MAP)))
        self.invariant(self.inside("fabric.fsm_state") < ACCESS_CYCLES)
        banks = [getattr(fabric, f"bank_{index}") for index in range(len(tuple(REGISTER_MAP)))]
        return banks, [getattr(fabric, f"master_{index}") for index in range(MASTERS)]


class FabricProof(_FabricProof):
    """What the banks may rely on, whatever the masters do."""

    name = "fabric"
    short = True
    properties = {
        "accesses_are_apart": f"From one strobe at any bank to the next at any there are at least {ACCESS_CYCLES} cycles.",
        "one_bank_at_a_time": "A strobe goes to one bank at most, and not for an address that is not a word's.",
    }
    mutations = (
        Mutation("accesses_are_apart", BUS, "m.d.sync += strobes.eq(0)\n", "m.d.sync += strobes.eq(strobes)\n"),
        Mutation("one_bank_at_a_time", BUS, "Mux(master.address[:2] == 0, found, 0)", "found"),
        Mutation("one_bank_at_a_time", BUS, "== base // BLOCK_SIZE for base", ">= base // BLOCK_SIZE for base"),
    )

    def describe(self, m: Module) -> None:
        banks, masters = self.block()
        strobes = Cat(bank.strobe for bank in banks)
        before = Cat(self.past(strobes.any(), cycles) for cycles in range(1, ACCESS_CYCLES)).any()
        self.holds("accesses_are_apart", ~strobes.any() | ~before)
        granted = self.past(Cat(master.address[:2] != 0 for master in (*masters, self.part("fabric").claimant)).all())
        self.holds("one_bank_at_a_time", ((strobes & (strobes - 1)) == 0) & ~(strobes.any() & granted))


class ServiceProof(_FabricProof):
    """What a master may rely on."""

    name = "fabric_service"
    properties = {
        "everyone_is_served": f"A master that waits is answered within {3 * ACCESS_CYCLES + 1} cycles of no claim, whatever the other does.",
        "a_claim_is_served_in_time": f"{ACCESS_CYCLES} cycles after its claim a request of the claimant is answered in {ACCESS_CYCLES} cycles exactly.",
    }
    assumptions = ("requests_are_held",)
    covers = ("both_served", "claimant_served")
    mutations = (
        Mutation("everyone_is_served", BUS, "with m.If(grant == index):", "with m.If(grant > index):", 24),
        Mutation("a_claim_is_served_in_time", BUS, "with m.If(self.claim):", "with m.If(self.claim & self.claimant.valid):", 30),
    )

    def describe(self, m: Module) -> None:
        _, masters = self.block()
        fabric = self.part("fabric")
        claim, claimant = fabric.claim, fabric.claimant
        claimed = self.lasted(claim, 2 * ACCESS_CYCLES)
        asked = self.lasted(claimant.valid, ACCESS_CYCLES) & ~self.past(claimant.valid, ACCESS_CYCLES + 1)
        quiet = ~Cat(self.past(claimant.done, cycles) for cycles in range(1, ACCESS_CYCLES + 1)).any()
        self.holds("a_claim_is_served_in_time", ~(claimed & asked) | (claimant.done & quiet))
        self.reaches("claimant_served", claimed & asked & claimant.done)
        patience = (MASTERS + 1) * ACCESS_CYCLES + 1  # one claimed access may be under way
        for master in (*masters, claimant):
            request = Cat(master.valid, master.write, master.address, master.write_data)
            waits = self.past(master.valid & ~master.done)
            self.assume("requests_are_held", ~waits | (request == self.past(request)))
        for master in masters:
            self.holds("everyone_is_served", ~self.lasted(master.valid & ~master.done & ~claim, patience))
        served = [Signal(name=f"served_{index}") for index in range(MASTERS)]
        m.d.sync += [seen.eq(seen | master.done) for seen, master in zip(served, masters, strict=True)]
        self.reaches("both_served", Cat(served).all())


GUARDED = [block for block in REGISTER_MAP if any(register.locked for register in block.registers)]
PROOFS = [*(BankProof(block) for block in GUARDED), *(ParityProof(block) for block in GUARDED), FabricProof(), ServiceProof()]
