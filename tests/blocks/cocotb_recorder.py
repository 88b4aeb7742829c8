import cocotb
from naive_recorder import NaiveRecorder
from support import BANK_CYCLES, Bank, cycles, pack, seeded, start

from reflexarc.contract.blocks import recorder
from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.blocks.recorder import DEPTH, POST_TRIGGER, RecorderState
from reflexarc.contract.blocks.scan import ScanState
from reflexarc_hw.blocks.gate import OUTPUTS
from reflexarc_hw.lib.bus import ACCESS_CYCLES
from reflexarc_hw.lib.formats import SAMPLE

SAMPLE_CYCLES = 16
CODES = (-(1 << 19), -1, 0, 1, (1 << 19) - 1)


class Bench:
    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.model = NaiveRecorder()
        self.bank = Bank(dut, recorder.BLOCK)
        self.interlock = InterlockState.ARMED

    def drive(self, valid: bool) -> dict[str, int]:
        """New values at all inputs; the entry that they would make."""
        dut, rng = self.dut, self.rng
        names = ("current", "x", "y", "z", "bias")
        code = {name: rng.choice(CODES) if rng.random() < 0.3 else rng.randrange(-(1 << 19), 1 << 19) for name in names}
        scan_state, hold, pulse, blank = rng.choice(list(ScanState)), rng.randrange(2), rng.randrange(2), rng.randrange(2)
        dut.sample.value = pack(SAMPLE, {"valid": valid, "code": code["current"]})
        dut.dac.value = pack(OUTPUTS, {name: code[name] for name in ("x", "y", "z", "bias")})
        dut.interlock_state.value, dut.scan_state.value = self.interlock, scan_state
        dut.hold.value, dut.pulse.value, dut.blank.value = hold, pulse, blank
        # Bits 0 and 1, 2 to 4, then 5, 6 and 7, as the contract lists them.
        return code | {"flags": self.interlock + 4 * scan_state + 32 * hold + 64 * pulse + 128 * blank}

    async def samples(self, count: int) -> None:
        """So many samples; between them the inputs hold other values, which must not be recorded."""
        for _ in range(count):
            entry = self.drive(valid=True)
            self.model.cycle(entry, self.interlock == InterlockState.TRIPPED)
            await cycles()
            self.drive(valid=False)
            await cycles(SAMPLE_CYCLES - 1)

    async def set_interlock(self, state: InterlockState) -> None:
        """Between two samples."""
        self.interlock = state
        self.drive(valid=False)
        self.model.cycle(None, state == InterlockState.TRIPPED)
        await cycles(2)

    async def release(self) -> None:
        await self.bank.write("release", 1)
        self.model.cycle(None, self.interlock == InterlockState.TRIPPED, release=True)
        await cycles(2)

    async def entry(self, index: int) -> dict[str, int]:
        """Fields in random order, the first one two accesses after the index, each as long as the fabric makes it."""
        await self.bank.write("index", index)
        await cycles(2 * ACCESS_CYCLES - BANK_CYCLES - 1)
        names = ["current", "x", "y", "z", "bias", "flags"]
        self.rng.shuffle(names)
        return {name: await self.bank.read(name) for name in names}

    async def check_state(self) -> None:
        assert await self.bank.read("state") == self.model.state

    async def check(self, indices=None) -> None:
        """The frozen record, whole or in part."""
        assert await self.bank.read("state") == self.model.state == RecorderState.FROZEN
        expected = self.model.entries
        assert await self.bank.read("entries") == len(expected)
        assert await self.bank.read("after_trip") == POST_TRIGGER
        for index in range(len(expected)) if indices is None else indices:
            assert await self.entry(index) == expected[index], index


async def ready(dut, salt: str) -> Bench:
    await start(dut)
    bench = Bench(dut, seeded(salt))
    bench.drive(valid=False)
    return bench


@cocotb.test()
async def the_record_is_the_last_entries_in_order(dut):
    """After more than one turn of the ring: oldest first, all fields, the trip where it was."""
    bench = await ready(dut, "ring")
    await bench.samples(DEPTH + 500)
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.samples(POST_TRIGGER + 20)  # the last 20 change nothing
    await bench.check()
    tripped = [entry["flags"] & 3 == InterlockState.TRIPPED for entry in bench.model.entries]
    assert tripped == [False] * (DEPTH - POST_TRIGGER) + [True] * POST_TRIGGER


@cocotb.test()
async def it_freezes_after_exactly_so_many_entries(dut):
    bench = await ready(dut, "freeze")
    await bench.samples(10)
    await bench.check_state()
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.check_state()
    await bench.samples(POST_TRIGGER - 1)
    await bench.check_state()
    assert bench.model.state is RecorderState.TRIGGERED
    await bench.samples(1)
    await bench.check()


@cocotb.test()
async def a_ring_that_is_not_full_says_how_full_it_is(dut):
    """Just before, at and after the wrap; with the trip in the cycle of a sample as well."""
    for before in (0, 1, DEPTH - POST_TRIGGER - 1, DEPTH - POST_TRIGGER, DEPTH - POST_TRIGGER + 1):
        for together in (False, True):
            bench = await ready(dut, f"{before} {together}")
            await bench.samples(before)
            if together:
                bench.interlock = InterlockState.TRIPPED
            else:
                await bench.set_interlock(InterlockState.TRIPPED)
            await bench.samples(POST_TRIGGER + 3)
            last = min(DEPTH, before + POST_TRIGGER) - 1
            await bench.check({0, last, last - POST_TRIGGER + 1, *(bench.rng.randrange(last + 1) for _ in range(20))})


@cocotb.test()
async def only_an_acknowledged_trip_can_be_released(dut):
    bench = await ready(dut, "release")
    await bench.samples(30)
    await bench.release()  # of nothing: goes on
    await bench.samples(10)
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.release()  # not yet frozen
    await bench.samples(POST_TRIGGER)
    await bench.release()  # still tripped
    await bench.samples(40)
    await bench.check()
    assert len(bench.model.entries) == 40 + POST_TRIGGER
    # Acknowledged: it stays frozen until it is released.
    await bench.set_interlock(InterlockState.DISARMED)
    await bench.samples(40)
    await bench.check(range(0, 40 + POST_TRIGGER, 37))
    await bench.release()
    await bench.check_state()
    assert bench.model.state is RecorderState.RUNNING
    # The next record has nothing of the last one.
    await bench.samples(7)
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.samples(POST_TRIGGER)
    await bench.check()
    assert len(bench.model.entries) == 7 + POST_TRIGGER


@cocotb.test()
async def an_acknowledge_before_it_is_frozen_does_not_spoil_the_record(dut):
    bench = await ready(dut, "early acknowledge")
    await bench.samples(50)
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.samples(POST_TRIGGER // 2)
    await bench.set_interlock(InterlockState.DISARMED)
    await bench.release()  # not frozen: ignored
    await bench.samples(POST_TRIGGER)
    await bench.check()
