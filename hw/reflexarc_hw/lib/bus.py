"""The register bus: masters, arbiter, decoder and the bank of registers that a contract block becomes.

A master raises ``valid`` with its request and holds it until ``done``; every access takes the same number of cycles once it is granted
(``ACCESS_CYCLES``), whoever asks and whatever the register, so that no master can stall another for long.
"""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.link import BusStatus
from reflexarc.contract.registers import BLOCK_SIZE, WORD_BYTES, Access, Block, Register

ADDRESS_BITS = 16
OFFSET_BITS = (BLOCK_SIZE // WORD_BYTES - 1).bit_length()
ACCESS_CYCLES = 7  # from grant to done
BANK_CYCLES = 4  # from a bank's strobe to its answer, and to a written value
ANY_WORD = (32, False, 0, (1 << 32) - 1)  # width, signedness and range of a register that takes any word, as flags do
READ_GROUP = 8  # registers that the first stage of the way out chooses from


class BusSignature(wiring.Signature):
    """As a master sees it."""

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "write": Out(1),
                "address": Out(ADDRESS_BITS),  # bytes
                "write_data": Out(32),
                "done": In(1),  # one cycle; the three below hold until the next access
                "read_data": In(32),
                "status": In(2),  # BusStatus
            }
        )


class BankSignature(wiring.Signature):
    """One block's side of the decoder; answers BANK_CYCLES after ``strobe``. Strobes come at least BANK_CYCLES apart."""

    def __init__(self) -> None:
        super().__init__(
            {
                "strobe": Out(1),
                "write": Out(1),
                "offset": Out(OFFSET_BITS),  # words
                "write_data": Out(32),
                "read_data": In(32),  # 0 unless this bank answers
                "status": In(2),  # BusStatus, 0 unless this bank answers
            }
        )


class GuardSignature(wiring.Signature):
    """What the interlock and the locked registers of a bank say to each other, as the interlock sees it."""

    def __init__(self) -> None:
        super().__init__(
            {
                "lock": Out(1),  # writes to locked registers are refused
                "check": Out(1),  # compare each locked register with its parity bit now
                "inject": Out(1),  # let each comparison fail
                "error": In(1),  # the last comparison found a flipped bit; 2 cycles after ``check``
            }
        )


def register_shape(register: Register):
    return signed(register.width) if register.signed else unsigned(register.width)


def _fits(value: Value, register: Register) -> Value:
    """Whether the 32-bit bus value, read with the register's sign, is within its allowed range."""
    word = value.as_signed() if register.signed else value
    lowest, highest = register.raw_range
    fits = Const(1)
    if register.width < 32:
        spare = value[register.width - 1 :] if register.signed else value[register.width :]
        fits = fits & (((spare == 0) | spare.all()) if register.signed else (spare == 0))
    if register.low > lowest:
        fits = fits & (word >= register.low)
    if register.high < highest:
        fits = fits & (word <= register.high)
    return fits


class RegisterBank(wiring.Component):
    """The registers of one contract block.

    Each locked register has a parity bit beside it, written with it and compared when the guard asks: a bit that flips in either shows.

    Members by register, beside ``bus`` and ``guard``:

    - rw: ``<name>`` out, ``<name>_strobe`` out, high in the first cycle of a newly written value
    - wo: ``<name>`` out, valid while ``<name>_strobe`` out is high
    - ro: ``<name>`` in
    - w1c: ``<name>`` out, ``<name>_set`` in: a mask whose bits set flags; a set beats a clear
    """

    def __init__(self, block: Block):
        self.block = block
        members: dict[str, Any] = {"bus": In(BankSignature()), "guard": In(GuardSignature())}
        for register in block.registers:
            shape = register_shape(register)
            match register.access:
                case Access.RW:
                    members[register.name] = Out(shape, init=register.reset)
                    members[f"{register.name}_strobe"] = Out(1)
                case Access.WO:
                    members[register.name] = Out(shape)
                    members[f"{register.name}_strobe"] = Out(1)
                case Access.RO:
                    members[register.name] = In(shape)
                case Access.W1C:
                    members[register.name] = Out(shape)
                    members[f"{register.name}_set"] = In(shape)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        # Stage 1: the request in a register of this bank's own. Stage 2: which register, does the value fit, its parity; and the word that
        # is read, from each group of 8. Stage 3: the answer but for the lock; choose the group. Stage 4: is the register locked, commit,
        # answer. All of it sleeps between accesses, which costs the gateware nothing and makes the twin several times faster than a
        # decoder that runs each cycle. No stage is more than a few LUTs: the registers of a bank lie all over the chip.
        by_access: dict[Access, list[Register]] = {access: [] for access in Access}
        for register in self.block.registers:
            by_access[register.access].append(register)
        writable = by_access[Access.RW] + by_access[Access.WO] + by_access[Access.W1C]
        place = {register.name: index for index, register in enumerate(writable)}

        asked, asks_write = Signal(), Signal()
        read, write = Signal(2), Signal(2)  # in stage 3, in stage 4
        offset = Signal(OFFSET_BITS)
        data = Signal(32)
        # Registers with the same range share its check and the parity of its width; ``kind`` is one-hot, and 0 where nothing can be written.
        kinds: dict[tuple[int, bool, int, int], list[Register]] = {}
        for register in writable:
            if register.access is Access.W1C:
                kinds.setdefault(ANY_WORD, []).append(register)
            else:
                kinds.setdefault((register.width, register.signed, register.low, register.high), []).append(register)
        kind, fits = Signal(len(kinds)), Signal(len(kinds))
        widths = sorted({register.width for register in by_access[Access.RW] if register.locked})
        odd = {width: Signal(name=f"odd_{width}") for width in widths}
        target = Signal(len(writable))  # one-hot: the register that is written
        locks = Signal()  # a locked register: what counts is whether the guard locks at the commit
        may = Signal()
        refusal = Signal(BusStatus)  # what a write would be told were it not for the lock
        m.d.sync += [
            asked.eq(self.bus.strobe),
            read.eq(Cat(asked & ~asks_write, read)),
            write.eq(Cat(asked & asks_write, write)),
        ]
        with m.If(self.bus.strobe):
            m.d.sync += [offset.eq(self.bus.offset), data.eq(self.bus.write_data), asks_write.eq(self.bus.write)]
        with m.If(asked & asks_write):
            m.d.sync += [kind.eq(0), target.eq(0), locks.eq(0)]
            m.d.sync += fits.eq(Cat(Const(1) if key == ANY_WORD else _fits(data, members[0]) for key, members in kinds.items()))
            m.d.sync += [odd[width].eq(data[:width].xor()) for width in widths]
            with m.Switch(offset):
                for index, members in enumerate(kinds.values()):
                    for register in members:
                        with m.Case(register.offset // WORD_BYTES):
                            m.d.sync += [kind.eq(1 << index), target.eq(1 << place[register.name]), locks.eq(int(register.locked))]
        with m.If(write[0]):
            m.d.sync += [may.eq((kind & fits).any()), refusal.eq(BusStatus.UNMAPPED)]
            with m.If((kind & fits).any()):
                m.d.sync += refusal.eq(BusStatus.OK)
            with m.Elif(kind.any()):
                m.d.sync += refusal.eq(BusStatus.RANGE)

        commit = Signal()
        m.d.comb += commit.eq(write[1] & may & ~(locks & self.guard.lock))
        committed = Signal(len(writable))  # one-hot: the register that was written in the cycle before
        m.d.sync += committed.eq(0)
        with m.If(commit):
            m.d.sync += committed.eq(target)
            for register in by_access[Access.RW]:
                with m.If(target[place[register.name]]):
                    m.d.sync += getattr(self, register.name).eq(data)
        guarded = [register for register in by_access[Access.RW] if register.locked]
        if guarded:
            at_reset = [(register.reset & ((1 << register.width) - 1)).bit_count() & 1 for register in guarded]
            parity = Signal(len(guarded), init=sum(bit << index for index, bit in enumerate(at_reset)))
            with m.If(commit):
                for index, register in enumerate(guarded):
                    with m.If(target[place[register.name]]):
                        m.d.sync += parity[index].eq(odd[register.width])
            flipped = Signal(len(guarded))
            with m.If(self.guard.check):
                found = Cat(Value.cast(getattr(self, register.name)).xor() for register in guarded)
                m.d.sync += flipped.eq(found ^ parity ^ self.guard.inject.replicate(len(guarded)))
            m.d.sync += self.guard.error.eq(flipped.any())
        for register in by_access[Access.RW] + by_access[Access.WO]:
            m.d.comb += getattr(self, f"{register.name}_strobe").eq(committed[place[register.name]])
        for register in by_access[Access.WO]:
            m.d.comb += getattr(self, register.name).eq(data)
        for register in by_access[Access.W1C]:
            flags = getattr(self, register.name)
            clear = Signal(register.width, name=f"{register.name}_clear")
            with m.If(commit & target[place[register.name]]):
                m.d.comb += clear.eq(data)
            m.d.sync += flags.eq((flags & ~clear) | getattr(self, f"{register.name}_set"))

        high = Signal(32)  # upper half of the wide register that was read last
        words: dict[int, Value] = {}  # by number of the word
        for register in self.block.registers:
            if register.access is not Access.WO:
                member = Value.cast(getattr(self, register.name))
                word = register.offset // WORD_BYTES
                # A signed one as a 32-bit number, which is how programs take it.
                sign = member[-1] if register.signed else Const(0, 1)
                words[word] = Cat(member, sign.replicate(max(0, 32 - len(member))))[:32]
                if register.words == 2:
                    words[word + 1] = high
        groups = sorted({word // READ_GROUP for word in words})
        chosen = {group: Signal(32, name=f"group_{group}") for group in groups}
        mapped = Signal()
        with m.If(asked & ~asks_write):
            m.d.sync += mapped.eq(0)
            for group in groups:
                with m.Switch(offset[: READ_GROUP.bit_length() - 1]):
                    for word, value in words.items():
                        if word // READ_GROUP == group:
                            with m.Case(word % READ_GROUP):
                                m.d.sync += chosen[group].eq(value)
            with m.Switch(offset):
                with m.Case(*words):
                    m.d.sync += mapped.eq(1)
            for register in self.block.registers:
                if register.words == 2:
                    with m.If(offset == register.offset // WORD_BYTES):
                        m.d.sync += high.eq(Value.cast(getattr(self, register.name))[32:])
        word = Signal(32)
        with m.If(read[0]):
            m.d.sync += word.eq(0)
            with m.If(mapped):
                with m.Switch(offset[READ_GROUP.bit_length() - 1 :]):
                    for group in groups:
                        with m.Case(group):
                            m.d.sync += word.eq(chosen[group])
        m.d.sync += [self.bus.read_data.eq(0), self.bus.status.eq(BusStatus.OK)]
        with m.If(write[1]):
            m.d.sync += self.bus.status.eq(Mux(locks & self.guard.lock, BusStatus.LOCKED, refusal))
        with m.Elif(read[1]):
            m.d.sync += self.bus.status.eq(Mux(mapped, BusStatus.OK, BusStatus.UNMAPPED))
            m.d.sync += self.bus.read_data.eq(word)
        return m


class Fabric(wiring.Component):
    """Round-robin arbiter over ``masters`` and decoder to the banks of ``bases``.

    One master more, the ``claimant``, is granted while it raises ``claim``, and nobody else then: ``ACCESS_CYCLES`` after its claim the bus
    is its own, whatever the others do.

    Members: ``claim``, ``claimant`` and ``master_<i>`` (in, BusSignature) and ``bank_<i>`` (out, BankSignature) in the order of ``bases``.
    """

    def __init__(self, masters: int, bases: tuple[int, ...]):
        self._masters = masters
        self._bases = bases
        members: dict[str, Any] = {"claim": In(1), "claimant": In(BusSignature())} | {
            f"master_{i}": In(BusSignature()) for i in range(masters)
        }
        members |= {f"bank_{i}": Out(BankSignature()) for i in range(len(bases))}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        masters = [getattr(self, f"master_{i}") for i in range(self._masters)]
        everyone = [*masters, self.claimant]
        banks = [getattr(self, f"bank_{i}") for i in range(len(self._bases))]
        grant = Signal(range(self._masters + 1))
        turn = Signal(range(self._masters))  # the last one that was granted in turn
        strobes = Signal(len(banks))  # one each, for banks are far from here and from each other
        write = Signal()
        address = Signal(ADDRESS_BITS)
        write_data = Signal(32)
        m.d.sync += strobes.eq(0)

        m.d.sync += [master.done.eq(0) for master in everyone]

        # The bank that each asks for, one-hot; 0 if there is none.
        hits = [Signal(len(banks), name=f"hits_{index}") for index in range(len(everyone))]
        for hit, master in zip(hits, everyone, strict=True):
            found = Cat(master.address[BLOCK_SIZE.bit_length() - 1 :] == base // BLOCK_SIZE for base in self._bases)
            m.d.comb += hit.eq(Mux(master.address[:2] == 0, found, 0))
        for bank, strobe in zip(banks, strobes, strict=True):
            m.d.comb += [
                bank.strobe.eq(strobe),
                bank.write.eq(write),
                bank.offset.eq(address[2 : 2 + OFFSET_BITS]),
                bank.write_data.eq(write_data),
            ]
        nowhere = Signal()  # no bank here, or an address that is not a word's
        read_data = Signal(32)
        status = Signal(2)
        merged_data: Value = Const(0, 32)
        merged_status: Value = Const(0, 2)
        for bank in banks:
            merged_data = merged_data | bank.read_data
            merged_status = merged_status | bank.status

        def serve(index: int, master) -> None:
            m.d.sync += [
                grant.eq(index),
                write.eq(master.write),
                address.eq(master.address),
                write_data.eq(master.write_data),
                strobes.eq(hits[index]),
            ]
            m.next = "STROBE"

        with m.FSM():
            with m.State("ARBITRATE"):
                with m.If(self.claim):
                    with m.If(self.claimant.valid & ~self.claimant.done):
                        serve(self._masters, self.claimant)
                with m.Else():
                    for step in reversed(range(self._masters)):
                        for current in range(self._masters):
                            index = (current + 1 + step) % self._masters
                            with m.If((turn == current) & masters[index].valid & ~masters[index].done):
                                serve(index, masters[index])
                                m.d.sync += turn.eq(index)
            with m.State("STROBE"):
                m.d.sync += nowhere.eq(~strobes.any())
                m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "WAIT"
            with m.State("WAIT"):
                m.next = "WAIT_MORE"
            with m.State("WAIT_MORE"):
                m.next = "MERGE"
            with m.State("MERGE"):
                m.d.sync += [read_data.eq(merged_data), status.eq(merged_status)]
                with m.If(nowhere):
                    m.d.sync += status.eq(BusStatus.UNMAPPED)
                m.next = "DONE"
            with m.State("DONE"):
                for index, master in enumerate(everyone):
                    with m.If(grant == index):
                        m.d.sync += master.done.eq(1)
                m.next = "ARBITRATE"
        for master in everyone:
            m.d.comb += [master.read_data.eq(read_data), master.status.eq(status)]
        return m


def attach_bank(m: Module, component: wiring.Component, block: Block, *, guards_itself: bool = False) -> RegisterBank:
    """Add the bank of ``block`` to a block's module, joined to the component's ``bus`` and, where it has one, ``guard``.

    The interlock guards its own bank; any other component with locked registers needs a ``guard`` to the interlock (TypeError).
    """
    m.submodules.bank = bank = RegisterBank(block)
    wiring.connect(m, wiring.flipped(component.bus), bank.bus)  # type: ignore[attr-defined]
    if "guard" in component.signature.members:
        wiring.connect(m, wiring.flipped(component.guard), bank.guard)  # type: ignore[attr-defined]
    elif not guards_itself and any(register.locked for register in block.registers):
        raise TypeError(f"{type(component).__name__}: block {block.name!r} has locked registers but the component has no 'guard'")
    return bank
