import cocotb
from naive_reaction import NaiveReaction
from support import Bank, cycles, get, pack, seeded, settled, signed, start
from support_signals import LockstepBank

from reflexarc.contract.blocks import reaction
from reflexarc_hw.blocks.events import DETECTION

CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1
TICK = 16  # cycles between samples


async def configured(dut, **settings: int) -> Bank:
    await start(dut, live=1)
    bank = Bank(dut, reaction.BLOCK)
    await bank.configure(**({"enable": 1, "bias": 4000, "pulse_samples": 3, "settle_samples": 2, "budget": 5} | settings))
    await cycles(2)
    return bank


async def detect(dut, x: int = 0, y: int = 0) -> None:
    """A detection in this cycle; returns in the next."""
    dut.detection.value = pack(DETECTION, {"valid": 1, "class_id": 1, "x": x, "y": y})
    await cycles()
    dut.detection.value = 0


async def tick(dut, count: int = 1) -> None:
    for _ in range(count):
        dut.tick.value = 1
        await cycles()
        dut.tick.value = 0
        await cycles(TICK - 1)


def state(dut) -> tuple[int, int]:
    return get(dut.hold), get(dut.pulse)


@cocotb.test()
async def a_pulse_lasts_its_ticks_and_is_followed_by_its_rest(dut):
    for pulse, settle in ((1, 1), (1, 5), (7, 1), (20, 30)):
        bank = await configured(dut, pulse_samples=pulse, settle_samples=settle, bias=-777)
        assert state(dut) == (0, 0)
        await detect(dut, 123 << 12, -(55 << 12))
        await settled()
        assert state(dut) == (1, 1), "the cycle after the detection"
        assert signed(get(dut.pulse_bias), 20) == -777
        await cycles(3)
        for index in range(pulse + settle):
            assert state(dut) == (1, int(index < pulse))
            await tick(dut)
        assert state(dut) == (0, 0)
        assert (await bank.read("x"), await bank.read("y")) == (123 << 12, -(55 << 12))
        assert (await bank.read("count"), await bank.read("remaining"), await bank.read("ignored")) == (1, 4, 0)


@cocotb.test()
async def without_ticks_a_pulse_does_not_end_by_itself(dut):
    """Its time is the sample's; a lost sample is the interlock's matter."""
    await configured(dut, pulse_samples=1)
    await detect(dut)
    await cycles(500)
    assert state(dut) == (1, 1)


@cocotb.test()
async def the_budget_ends_pulses(dut):
    bank = await configured(dut, budget=2, pulse_samples=1, settle_samples=1)
    for remaining in (1, 0):
        await detect(dut)
        await cycles(2)
        assert state(dut) == (1, 1)
        await tick(dut, 3)
        assert await bank.read("remaining") == remaining
    await detect(dut)
    await cycles(2)
    assert state(dut) == (0, 0)
    assert (await bank.read("count"), await bank.read("ignored")) == (2, 0)
    await bank.write("budget", 1)
    await cycles(2)
    await detect(dut)
    await cycles(2)
    assert state(dut) == (1, 1)


@cocotb.test()
async def events_during_a_pulse_or_its_rest_are_ignored_and_counted(dut):
    bank = await configured(dut, pulse_samples=2, settle_samples=2)
    await detect(dut, 1, 2)
    for _ in range(4):
        await cycles(2)
        await detect(dut, 3, 4)
        await tick(dut)
    await cycles(3)
    assert (await bank.read("count"), await bank.read("ignored"), await bank.read("remaining")) == (1, 4, 4)
    assert (await bank.read("x"), await bank.read("y")) == (1, 2)


@cocotb.test()
async def losing_live_ends_the_pulse_at_once(dut):
    for ticks in range(6):
        bank = await configured(dut, pulse_samples=3, settle_samples=3)
        await detect(dut)
        await tick(dut, ticks)
        dut.live.value = 0
        await cycles()
        await settled()
        assert state(dut) == (0, 0)
        await cycles()
        await detect(dut)
        await cycles(3)
        assert state(dut) == (0, 0)
        dut.live.value = 1
        await cycles(3)
        assert state(dut) == (0, 0), "the old pulse does not go on"
        await detect(dut)
        await cycles(2)
        assert state(dut) == (1, 1)
        assert await bank.read("count") == 2


@cocotb.test()
async def a_pulse_keeps_its_bias_and_length_whatever_is_written(dut):
    """The next one takes what was written; the rest is as written when it begins."""
    bank = await configured(dut, bias=100, pulse_samples=3, settle_samples=1)
    await detect(dut)
    await tick(dut)
    await bank.configure(bias=200, pulse_samples=1, settle_samples=4, enable=0)
    assert signed(get(dut.pulse_bias), 20) == 100
    lengths = []
    for _ in range(10):
        lengths.append(state(dut))
        await tick(dut)
    assert lengths == [(1, 1)] * 2 + [(1, 0)] * 4 + [(0, 0)] * 4
    await bank.write("enable", 1)
    await cycles(2)
    await detect(dut)
    await cycles(2)
    assert signed(get(dut.pulse_bias), 20) == 200
    await tick(dut)
    assert state(dut) == (1, 0)


@cocotb.test()
async def a_random_run_equals_the_naive_model(dut):
    rng = seeded("reaction")
    await start(dut)
    bank = LockstepBank(dut, reaction.BLOCK)
    model = NaiveReaction()
    live = True
    for cycle in range(100_000):
        if bank.idle and rng.random() < 0.05:
            name = rng.choice(["enable", "bias", "pulse_samples", "settle_samples", "budget", "count", "ignored", "remaining", "x", "y"])
            if name in ("count", "ignored", "remaining", "x", "y"):
                bank.read(name)
            elif name == "bias":
                bank.write(name, rng.randrange(CODE_MIN, CODE_MAX + 1))
            elif name == "enable":
                bank.write(name, int(rng.random() < 0.9))
            else:
                bank.write(name, rng.randrange(1, 12))
        bank.drive()
        is_tick = cycle % TICK == 5
        live = rng.random() > (0.001 if live else 0.9)
        detection = (rng.randrange(-(1 << 31), 1 << 31), rng.randrange(-(1 << 31), 1 << 31)) if rng.random() < 0.01 else None
        dut.tick.value, dut.live.value = int(is_tick), int(live)
        dut.detection.value = pack(DETECTION, {"valid": 1, "x": detection[0], "y": detection[1]}) if detection else 0
        await settled()
        if bank.answering is not None and not bank.answering.is_write:
            assert bank.answer()[1] == bank.answering.expected, bank.answering.name
        if bank.deciding is not None and not bank.deciding.is_write:
            bank.deciding.expected = getattr(model, bank.deciding.name)
        assert state(dut) == (model.hold, model.pulse), f"cycle {cycle}"
        if model.pulse:
            assert signed(get(dut.pulse_bias), 20) == model.pulse_bias
        model.step(is_tick, live, detection, bank.taken)
        await cycles()
    cocotb.log.info("%d pulses, %d events ignored", model.count, model.ignored)
    assert model.count > 100 and model.ignored > 100
