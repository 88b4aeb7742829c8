import cocotb
from example_block import BLOCK
from faulty_bank import FLIP, locked_registers
from support import Bank, cycles, get, pack, seeded, settled, start

from reflexarc.contract.registers import WORD_BYTES


async def flip(dut, register, bit: int) -> None:
    where = {"valid": 1, "block": BLOCK.base >> 8, "offset": register.offset // WORD_BYTES, "bit": bit}
    dut.flip.value = pack(FLIP, where)
    await cycles()
    dut.flip.value = 0


async def check(dut) -> int:
    """What the parity says, two cycles after it was asked."""
    dut.guard__check.value = 1
    await cycles()
    dut.guard__check.value = 0
    await cycles()
    await settled()
    error = get(dut.guard__error)
    await cycles()
    return error


@cocotb.test()
async def each_flipped_bit_of_each_locked_register_shows(dut):
    """After reset and after writes; what is written anew is whole again."""
    rng = seeded("flips")
    await start(dut)
    bank = Bank(dut, BLOCK)
    for written in (False, True):
        for register in locked_registers(BLOCK):
            for bit in range(register.width):
                if written:
                    await bank.write(register.name, rng.randrange(register.low, register.high + 1))
                before = await bank.read(register.name)
                assert await check(dut) == 0
                await flip(dut, register, bit)
                assert await bank.read(register.name) != before
                assert await check(dut) == 1, f"{register.name}, bit {bit}"
                if written:
                    await bank.write(register.name, rng.randrange(register.low, register.high + 1))
                else:
                    await flip(dut, register, bit)
    # Two flips in different registers do not hide each other; nor does a flip hide behind a write of another register.
    first, second = locked_registers(BLOCK)[:2]
    await flip(dut, first, 3)
    await flip(dut, second, 3)
    assert await check(dut) == 1
    await bank.write(first.name, 5)
    assert await check(dut) == 1
    await bank.write(second.name, 5)
    assert await check(dut) == 0


@cocotb.test()
async def a_check_that_nobody_asked_for_finds_nothing(dut):
    await start(dut)
    await flip(dut, locked_registers(BLOCK)[0], 0)
    for _ in range(20):
        await settled()
        assert not get(dut.guard__error)
        await cycles()
