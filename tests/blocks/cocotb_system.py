import cocotb
from naive_system import NaiveSystem
from support import Bank, cycles, get, pack, parameters, seeded, settled, start, unpack

from reflexarc.contract.blocks import system
from reflexarc_hw.lib.formats import SAMPLE


@cocotb.test()
async def phases_samples_and_losses_equal_the_naive_model(dut):
    """A sample at any place of its period, or none."""
    period = parameters()["cycles_per_sample"]
    rng = seeded("system")
    model = NaiveSystem(period)
    await start(dut)
    lost = 0
    for _ in range(200 * period):
        # Mostly one sample a period; now and then none or two.
        valid = rng.random() < 1.0 / period
        code = rng.randrange(-(1 << 19), 1 << 19)
        dut.adc.value = pack(SAMPLE, {"valid": valid, "code": code})
        await settled()
        expected, sample = model.cycle(valid, code)
        seen = {name: get(getattr(dut, name)) for name in expected}
        assert seen == expected
        assert unpack(SAMPLE, get(dut.sample)) == sample
        lost += seen["sample_lost"] & seen["convert"]
        await cycles()
    assert 20 < lost < 180


@cocotb.test()
async def one_sample_a_period_loses_none_wherever_it_comes(dut):
    """At each place from the conversion's cycle on that is registered before the next conversion."""
    period = parameters()["cycles_per_sample"]
    for phase in range(period - 1):
        await start(dut)
        for cycle in range(4 * period):
            dut.adc.value = pack(SAMPLE, {"valid": cycle % period == phase, "code": 5})
            await settled()
            assert not get(dut.sample_lost)
            await cycles()
        # One left out, one lost.
        dut.adc.value = 0
        losses = 0
        for _ in range(2 * period):
            await settled()
            losses += get(dut.sample_lost) & get(dut.convert)
            await cycles()
        assert losses == 1


@cocotb.test()
async def constants_can_be_read(dut):
    await start(dut)
    bank = Bank(dut, system.BLOCK)
    assert await bank.read("magic") == system.MAGIC
    assert await bank.read("fingerprint") == 0x1234_5678
    assert await bank.read("cycles_per_sample") == parameters()["cycles_per_sample"]
    assert await bank.read("sample_period") == 560_000


@cocotb.test()
async def samples_are_counted(dut):
    await start(dut)
    bank = Bank(dut, system.BLOCK)
    for _ in range(37):
        dut.adc.value = pack(SAMPLE, {"valid": 1})
        await cycles()
        dut.adc.value = 0
        await cycles(3)
    assert await bank.read("samples") == 37


@cocotb.test()
async def time_is_read_whole_while_it_carries(dut):
    """The low word's read latches the high one, whatever comes between the two accesses."""
    rng = seeded("time")
    await start(dut)
    bank = Bank(dut, system.BLOCK)
    low, high = system.BLOCK["time"].offset, system.BLOCK["time"].offset + 4
    for _ in range(40):
        before = (rng.randrange(1, 1 << 32) << 32) - rng.randrange(1, 16)
        dut.time.value = before
        await cycles(rng.randrange(6))
        await settled()
        now = get(dut.time)
        await cycles()
        _, low_word = await bank.access(False, low)
        await cycles(rng.randrange(40))
        await bank.read("magic")
        _, high_word = await bank.access(False, high)
        # The read happens within the access: its time lies between the strobe and the answer.
        assert now < (high_word << 32 | low_word) <= now + 3
