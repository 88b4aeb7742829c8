"""The guard of a bank: its lock, and the parity of its locked registers. For any block with a ``guard``."""

import cocotb
from support import Bank, cycles, get, parameters, seeded, settled, start

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.link import BusStatus
from reflexarc.contract.registers import Access

ERROR_CYCLES = 2  # from ``check`` to ``error``


def block():
    return REGISTER_MAP[parameters()["block"]]


def guarded():
    """Registers with a parity bit."""
    return [r for r in block().registers if r.locked and r.access is Access.RW]


async def check(dut) -> int:
    """Ask the guard; its answer."""
    dut.guard__check.value = 1
    await cycles()
    dut.guard__check.value = 0
    await cycles(ERROR_CYCLES - 1)
    await settled()
    error = get(dut.guard__error)
    await cycles()
    return error


def random_value(rng, register) -> int:
    return rng.choice([register.low, register.high, rng.randrange(register.low, register.high + 1)])


@cocotb.test()
async def there_is_no_error_whatever_is_written_and_whenever_is_checked(dut):
    """Checks fall into every cycle of an access, refused ones included."""
    rng = seeded("guard")
    await start(dut)
    bank = Bank(dut, block())
    writable = [r for r in block().registers if r.access is Access.RW]
    done = False

    async def look() -> None:
        while not done:
            dut.guard__check.value = int(rng.random() < 0.5)
            dut.guard__lock.value = int(rng.random() < 0.2)
            await settled()
            assert not get(dut.guard__error)
            await cycles()

    task = cocotb.start_soon(look())
    statuses = set()
    for _ in range(1500):
        register = rng.choice(writable)
        statuses.add(await bank.try_write(register.name, random_value(rng, register)))
        await cycles(rng.randrange(3))
    done = True
    await task
    assert statuses == {BusStatus.OK, BusStatus.LOCKED}
    dut.guard__lock.value = 0


@cocotb.test()
async def an_injected_error_shows_two_cycles_after_its_check_and_until_the_next(dut):
    await start(dut)
    for wait in range(1, 6):
        dut.guard__inject.value = 1
        await cycles(3)
        assert not get(dut.guard__error)  # nothing was checked
        dut.guard__check.value = 1
        for cycle in range(ERROR_CYCLES + 1):
            await settled()
            assert get(dut.guard__error) == (cycle == ERROR_CYCLES), f"cycle {cycle}"
            await cycles()
            dut.guard__check.value = 0
            dut.guard__inject.value = 0
        await cycles(wait)
        assert get(dut.guard__error)
        dut.guard__check.value = 1
        for cycle in range(ERROR_CYCLES + 1):
            await settled()
            assert get(dut.guard__error) == (cycle < ERROR_CYCLES)
            await cycles()
            dut.guard__check.value = 0


@cocotb.test()
async def each_bit_that_flips_is_found_by_the_next_check(dut):
    """In each locked register and in its parity bit; a write of the register mends it."""
    rng = seeded("flips")
    await start(dut)
    bank = Bank(dut, block())
    for index, register in enumerate(guarded()):
        await bank.write(register.name, random_value(rng, register))
        for stored, bits in ((getattr(dut.bank, register.name), range(register.width)), (dut.bank.parity, (index,))):
            for bit in bits:
                stored.value = get(stored) ^ 1 << bit
                await cycles(3)
                assert not get(dut.guard__error)
                assert await check(dut), f"{register.name}: bit {bit} of {stored._name}"
                await bank.write(register.name, random_value(rng, register))
                assert not await check(dut), f"{register.name} after a write"


@cocotb.test()
async def two_registers_with_a_flipped_bit_each_are_found(dut):
    rng = seeded("two flips")
    await start(dut)
    for _ in range(20):
        for register in rng.sample(guarded(), 2):
            stored = getattr(dut.bank, register.name)
            stored.value = int(stored.value) ^ 1 << rng.randrange(register.width)
        await cycles()
        assert await check(dut)
        await start(dut)


@cocotb.test()
async def the_lock_refuses_each_locked_register_and_no_other(dut):
    rng = seeded("lock")
    await start(dut, guard__lock=1)
    bank = Bank(dut, block())
    for register in block().registers:
        if register.access not in (Access.RW, Access.WO):
            continue
        value = rng.choice(list(register.values)).value if register.values else random_value(rng, register)
        status = await bank.try_write(register.name, value)
        assert status is (BusStatus.LOCKED if register.locked else BusStatus.OK), register.name
        if register.access is Access.RW:
            assert await bank.read(register.name) == (register.reset if register.locked else value)
