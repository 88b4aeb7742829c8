import cocotb
from example_block import BLOCK
from naive_bank import NaiveParity, owner, read_status, write_status
from support import BANK_CYCLES, Bank, cycles, get, seeded, settled, signed, start

from reflexarc.contract.link import BusStatus
from reflexarc.contract.registers import Access

WRITABLE = [r for r in BLOCK.registers if r.access in (Access.RW, Access.WO)]
STORED = [r for r in BLOCK.registers if r.access is Access.RW]
INPUTS = [r for r in BLOCK.registers if r.access is Access.RO]


def interesting(rng, register) -> int:
    """A value near something that matters to the register."""
    edges = [0, 1, -1, register.low, register.high, register.low - 1, register.high + 1, *register.raw_range, register.raw_range[1] + 1]
    return (rng.choice(edges) if rng.random() < 0.7 else rng.randrange(1 << 32)) & 0xFFFFFFFF


class Bench:
    """Drives all inputs with noise and checks all outputs, cycle by cycle."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.values = {r.name: r.reset for r in STORED}
        self.flags = 0
        self.inputs: list[dict[str, int]] = []
        self.flags_seen: list[int] = []
        self.locked = False
        self.parity = NaiveParity()
        self.strobing: dict[str, int] = {}  # what must strobe in this cycle, with its value
        self.clear = 0

    async def cycle(self, *, strobe=False, write=False, offset=0, data=0) -> None:
        dut, rng = self.dut, self.rng
        dut.bus__strobe.value = int(strobe)
        dut.bus__write.value = int(write) if strobe else rng.randrange(2)
        dut.bus__offset.value = offset // 4 if strobe else rng.randrange(64)
        dut.bus__write_data.value = data if strobe else rng.randrange(1 << 32)
        dut.guard__lock.value = int(self.locked)
        check, inject = rng.random() < 0.2, rng.random() < 0.1
        dut.guard__check.value, dut.guard__inject.value = int(check), int(inject)
        inputs = {r.name: rng.randrange(1 << r.width) for r in INPUTS}
        for name, value in inputs.items():
            getattr(dut, name).value = value
        set_mask = rng.randrange(1 << 9) if rng.random() < 0.1 else 0
        dut.flags_set.value = set_mask
        await settled()
        for register in STORED:
            seen = signed(get(getattr(dut, register.name)), register.width) if register.signed else get(getattr(dut, register.name))
            assert seen == self.values[register.name], register.name
        for register in WRITABLE:
            assert get(getattr(dut, f"{register.name}_strobe")) == (register.name in self.strobing), register.name
            if register.name in self.strobing and register.access is Access.WO:
                assert get(getattr(dut, register.name)) == self.strobing[register.name]
        assert get(dut.flags) == self.flags
        assert get(dut.guard__error) == self.parity.error
        self.parity.step(check, inject, set())
        self.inputs.append(inputs)
        self.flags_seen.append(self.flags)
        self.flags = (self.flags & ~self.clear) | set_mask
        self.clear = 0
        self.strobing = {}
        self.answer = BusStatus(get(dut.bus__status)), get(dut.bus__read_data)
        await cycles()

    def word(self, register, word: int, late: int) -> int:
        """The word that a read would give of the value ``late`` cycles ago."""
        if register.access is Access.RW:
            value = self.values[register.name]
        elif register.access is Access.W1C:
            value = self.flags_seen[-1 - late]
        else:
            value = self.inputs[-1 - late][register.name]
        return value >> 32 * word & 0xFFFFFFFF

    async def access(self, write: bool, offset: int, data: int = 0) -> tuple[BusStatus, int]:
        """One access; a write is there, with its strobe, in the cycle of the answer."""
        self.locked = self.rng.random() < 0.3
        await self.cycle(strobe=True, write=write, offset=offset, data=data)
        await self.cycle()
        await self.cycle()
        found = owner(BLOCK, offset)
        if write and found and found[0].access is Access.W1C:
            self.clear = data & 0x1FF
        assert BANK_CYCLES == 4
        await self.cycle()
        if write and found and write_status(BLOCK, offset, data, self.locked) is BusStatus.OK and found[0].access is not Access.W1C:
            register = found[0]
            self.strobing[register.name] = register.decode(data)
            if register.access is Access.RW:
                self.values[register.name] = register.decode(data)
        await self.cycle()
        return self.answer


@cocotb.test()
async def every_access_is_answered_and_done_as_the_contract_says(dut):
    rng = seeded("bank")
    await start(dut)
    bench = Bench(dut, rng)
    statuses = set()
    for _ in range(4000):
        register = rng.choice(BLOCK.registers)
        offset = register.offset + 4 * rng.randrange(register.words) if rng.random() < 0.8 else 4 * rng.randrange(64)
        write = rng.random() < 0.6
        data = interesting(rng, register)
        status, answer = await bench.access(write, offset, data)
        found = owner(BLOCK, offset)
        if write:
            expected = write_status(BLOCK, offset, data, bench.locked)
            assert answer == 0
        else:
            expected = read_status(BLOCK, offset)
            if expected is not BusStatus.OK:
                assert answer == 0
            elif found[1] == 0:
                # Of one of the cycles from the strobe to the answer.
                mask = (1 << min(32, found[0].width)) - 1
                assert answer & mask in {bench.word(found[0], 0, late) & mask for late in range(1, BANK_CYCLES)}, found[0].name
        assert status is expected, (write, hex(offset), data)
        statuses.add(status)
        for _ in range(rng.randrange(4)):
            await bench.cycle()
            assert bench.answer == (BusStatus.OK, 0)  # silent unless asked
    assert statuses == set(BusStatus)


@cocotb.test()
async def wide_registers_are_read_whole(dut):
    """The high word belongs to the low word that was read, whatever is read, written or changed in between."""
    rng = seeded("wide")
    await start(dut)
    bench = Bench(dut, rng)
    for _ in range(300):
        register = rng.choice([r for r in INPUTS if r.words == 2])
        _, low = await bench.access(False, register.offset)
        candidates = [bench.inputs[-1 - late][register.name] for late in range(1, BANK_CYCLES)]
        for _ in range(rng.randrange(3)):
            other = rng.choice([r for r in BLOCK.registers if r.words == 1])
            await bench.access(rng.random() < 0.5, other.offset, rng.randrange(1 << 32))
        _, high = await bench.access(False, register.offset + 4)
        assert (high << 32 | low) in candidates


@cocotb.test()
async def a_set_beats_a_clear(dut):
    """Bits that are set in the very cycle of the clear stay."""
    await start(dut)
    for offset_cycles in range(5):
        bank = Bank(dut, BLOCK)
        dut.flags_set.value = 0b111
        await cycles()
        dut.flags_set.value = 0

        async def set_again(wait=offset_cycles):
            await cycles(wait)
            dut.flags_set.value = 0b010
            await cycles()
            dut.flags_set.value = 0

        task = cocotb.start_soon(set_again())
        await bank.access(True, BLOCK["flags"].offset, 0b011)
        await task
        await cycles(2)
        # Set before the clear: cleared. In its cycle or after: there.
        assert await bank.read("flags") == (0b100 if offset_cycles < BANK_CYCLES - 1 else 0b110)
        await bank.access(True, BLOCK["flags"].offset, 0x1FF)
        await cycles(2)
        assert await bank.read("flags") == 0


@cocotb.test()
async def a_locked_register_never_changes_while_locked(dut):
    """Wherever the lock falls in the access: in a locked cycle a limit is what it was before, and the status tells the truth."""
    await start(dut)
    bank = Bank(dut, BLOCK)
    for locked_from in range(BANK_CYCLES + 2):
        value = 100 + locked_from
        dut.guard__lock.value = 0
        await cycles(2)
        await bank.write("limit", 0)

        async def lock(wait=locked_from):
            await cycles(wait)
            dut.guard__lock.value = 1
            await settled()
            locked_at = get(dut.limit)
            for _ in range(BANK_CYCLES + 2):
                await cycles()
                await settled()
                assert get(dut.limit) == locked_at, "a limit changed while locked"

        task = cocotb.start_soon(lock())
        status = await bank.try_write("limit", value)
        await task
        await cycles()
        taken = await bank.read("limit") == value
        assert status is (BusStatus.OK if taken else BusStatus.LOCKED)
        assert taken or locked_from < BANK_CYCLES


@cocotb.test()
async def a_locked_command_never_strobes_while_locked(dut):
    await start(dut)
    bank = Bank(dut, BLOCK)
    for locked_from in range(BANK_CYCLES + 2):
        dut.guard__lock.value = 0
        await cycles(2)
        strobes = []

        async def watch(wait=locked_from, strobes=strobes):
            for cycle in range(BANK_CYCLES + 4):
                dut.guard__lock.value = int(cycle >= wait)
                await settled()
                strobes.append(get(dut.reset_count_strobe))
                await cycles()

        task = cocotb.start_soon(watch())
        status = await bank.try_write("reset_count", 1)
        await task
        # What counts is the lock in the cycle before the strobe, which is the cycle that decides.
        assert status is (BusStatus.LOCKED if locked_from < BANK_CYCLES else BusStatus.OK)
        assert strobes == [int(cycle == BANK_CYCLES and locked_from >= BANK_CYCLES) for cycle in range(BANK_CYCLES + 4)]


@cocotb.test()
async def a_check_takes_two_cycles_and_its_answer_stands_until_the_next(dut):
    """Also of written values: the parity follows each write."""
    rng = seeded("parity")
    await start(dut)
    bank = Bank(dut, BLOCK)
    for _ in range(100):
        register = rng.choice([r for r in STORED if r.locked])
        await bank.write(register.name, rng.randrange(max(register.low, 1), register.high + 1))
        for inject in (0, 1, 0):
            before = get(dut.guard__error)
            dut.guard__check.value, dut.guard__inject.value = 1, inject
            await cycles()
            dut.guard__check.value, dut.guard__inject.value = 0, rng.randrange(2)
            await settled()
            assert get(dut.guard__error) == before
            for _ in range(rng.randrange(1, 4)):
                await cycles()
                await settled()
                assert get(dut.guard__error) == inject
            await cycles()
