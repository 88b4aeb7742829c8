import cocotb
from naive_system import NaiveSystem
from support import Bank, cycles, get, pack, parameters, seeded, settled, start, unpack

from reflexarc.contract.blocks import system
from reflexarc_hw.lib.formats import SAMPLES


def put(dut, words: list[tuple[bool, int]]) -> None:
    """The converters' words of this cycle."""
    dut.adc.value = pack(SAMPLES, {index: {"valid": valid, "code": code} for index, (valid, code) in enumerate(words)})


def both(valid: bool, code: int = 5) -> list[tuple[bool, int]]:
    return [(valid, code), (valid, -code)]


@cocotb.test()
async def phases_samples_and_losses_equal_the_naive_model(dut):
    """A sample of each converter at any place of its period, or none."""
    period, channels = parameters()["cycles_per_sample"], parameters()["channels"]
    rng = seeded("system")
    model = NaiveSystem(period, channels)
    await start(dut)
    lost = ticks = 0
    together = True
    for _ in range(300 * period):
        # Mostly one sample a period, of both or of each at its own time; now and then none or two.
        if rng.random() < 1 / (10 * period):
            together = not together
        valid = rng.random() < 1.0 / period
        words = [(valid if together else rng.random() < 1.0 / period, rng.randrange(-(1 << 19), 1 << 19)) for _ in range(2)]
        put(dut, words)
        await settled()
        expected, samples = model.cycle(words)
        seen = {name: get(getattr(dut, name)) for name in expected}
        assert seen == expected
        shown = unpack(SAMPLES, get(dut.samples))
        assert unpack(SAMPLES, get(dut.judged)) == shown
        assert [(bool(shown[index]["valid"]), shown[index]["code"]) for index in range(2)] == [tuple(sample) for sample in samples]
        lost += seen["sample_lost"] & seen["convert"]
        ticks += seen["tick"]
        await cycles()
    assert 30 < lost < 280 and ticks > 150
    put(dut, both(False))
    assert await Bank(dut, system.BLOCK).read("samples") in (model.samples, model.samples + words[0][0])


@cocotb.test()
async def one_sample_a_period_loses_none_wherever_it_comes(dut):
    """At each place from the conversion's cycle on that is registered before the next conversion."""
    period = parameters()["cycles_per_sample"]
    for phase in range(period - 1):
        await start(dut)
        for cycle in range(4 * period):
            put(dut, both(cycle % period == phase))
            await settled()
            assert not get(dut.sample_lost)
            await cycles()
        # One left out, one lost.
        put(dut, both(False))
        losses = 0
        for _ in range(2 * period):
            await settled()
            losses += get(dut.sample_lost) & get(dut.convert)
            await cycles()
        assert losses == 1


@cocotb.test()
async def each_converter_in_use_is_missed_by_itself(dut):
    """The loss lasts until a sample of that very converter comes; ticks are those of the first one. One not in use is not missed."""
    period, channels = parameters()["cycles_per_sample"], parameters()["channels"]
    phase = period - 4
    for dead in range(2):
        for periods in (1, 2, 5):
            await start(dut)
            ticks = []
            for cycle in range((periods + 6) * period):
                here = cycle % period == phase
                gone = 2 <= cycle // period < 2 + periods
                put(dut, [(here and not (gone and dead == index), 3) for index in range(2)])
                await settled()
                # From the conversion that finds the loss until the sample that ends it, which is registered once.
                missed = dead < channels and 3 * period <= cycle <= (2 + periods) * period + phase + 1
                assert get(dut.sample_lost) == missed, f"cycle {cycle}"
                if get(dut.tick):
                    ticks.append(cycle)
                await cycles()
            regular = [index * period + phase + 1 for index in range(periods + 6)]
            if dead == 0:
                regular[2 : 2 + periods] = [(index + 1) * period for index in range(2, 2 + periods)]
            assert ticks == regular


@cocotb.test()
async def ticks_are_never_more_than_two_periods_apart(dut):
    """Whatever the converters do: the interlock counts on it."""
    period = parameters()["cycles_per_sample"]
    rng = seeded("ticks")
    await start(dut)
    since = 0
    share = 0.0
    for cycle in range(300 * period):
        if cycle % (10 * period) == 0:
            share = rng.choice([0, 0.2, 1 / period, 3 / period])
        put(dut, [(rng.random() < share, 1), (rng.random() < share, 1)])
        await settled()
        since = 0 if get(dut.tick) else since + 1
        assert since <= 2 * period
        await cycles()


@cocotb.test()
async def constants_can_be_read(dut):
    await start(dut)
    bank = Bank(dut, system.BLOCK)
    assert await bank.read("magic") == system.MAGIC
    assert await bank.read("fingerprint") == 0x1234_5678
    assert await bank.read("cycles_per_sample") == parameters()["cycles_per_sample"]
    assert await bank.read("sample_period") == 560_000


@cocotb.test()
async def samples_of_the_first_converter_are_counted(dut):
    await start(dut)
    bank = Bank(dut, system.BLOCK)
    for count in range(37):
        put(dut, [(True, 0), (count % 2 == 0, 0)])
        await cycles()
        put(dut, [(False, 0), (count % 3 == 0, 0)])
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
