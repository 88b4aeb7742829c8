import cocotb
from naive_recorder import NaiveRecorder
from support import BANK_CYCLES, Bank, cycles, pack, seeded, start

from reflexarc.contract.blocks import recorder
from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.blocks.recorder import DEPTH, LONG_DEPTH, LONG_POST_TRIGGER, POST_TRIGGER, RecorderState, Ring
from reflexarc.contract.blocks.scan import ScanState
from reflexarc_hw.lib.bus import ACCESS_CYCLES
from reflexarc_hw.lib.formats import OUTPUTS, SAMPLES

SAMPLE_CYCLES = 16
CODES = (-(1 << 19), -1, 0, 1, (1 << 19) - 1)
FIELDS = ("current", "monitor", "x", "y", "z", "bias", "flags", "current_low", "current_high")


class Bench:
    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.model = NaiveRecorder()
        self.bank = Bank(dut, recorder.BLOCK)
        self.interlock = InterlockState.ARMED
        self.gap = SAMPLE_CYCLES

    def drive(self, tick: bool) -> dict[str, int]:
        """New values at all inputs; the entry that they would make."""
        dut, rng = self.dut, self.rng
        names = ("current", "monitor", "x", "y", "z", "bias")
        code = {name: rng.choice(CODES) if rng.random() < 0.3 else rng.randrange(-(1 << 19), 1 << 19) for name in names}
        scan_state, hold, pulse, blank = rng.choice(list(ScanState)), rng.randrange(2), rng.randrange(2), rng.randrange(2)
        # What counts is the tick: a lost sample has an entry too.
        samples = {0: {"valid": rng.randrange(2), "code": code["current"]}, 1: {"valid": rng.randrange(2), "code": code["monitor"]}}
        dut.samples.value = pack(SAMPLES, samples)
        dut.tick.value = int(tick)
        dut.dac.value = pack(OUTPUTS, {name: code[name] for name in ("x", "y", "z", "bias")})
        dut.interlock_state.value, dut.scan_state.value = self.interlock, scan_state
        dut.hold.value, dut.pulse.value, dut.blank.value = hold, pulse, blank
        # Bits 0 and 1, 2 to 5, then 6, 7 and 8, as the contract lists them.
        return code | {"flags": self.interlock + 4 * scan_state + 64 * hold + 128 * pulse + 256 * blank}

    async def decimate(self, by: int) -> None:
        await self.bank.write("decimation", by)
        self.model.decimation = by

    async def samples(self, count: int) -> None:
        """So many samples; between them the inputs hold other values, which must not be recorded."""
        for _ in range(count):
            entry = self.drive(tick=True)
            self.model.cycle(entry, self.interlock == InterlockState.TRIPPED)
            await cycles()
            self.drive(tick=False)
            await cycles(self.gap - 1)

    async def set_interlock(self, state: InterlockState) -> None:
        """Between two samples."""
        self.interlock = state
        self.drive(tick=False)
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
        names = list(FIELDS)
        self.rng.shuffle(names)
        return {name: await self.bank.read(name) for name in names}

    async def check_state(self) -> None:
        assert await self.bank.read("state") == self.model.state

    async def check(self, share: float = 1.0) -> None:
        """Both frozen records, whole or a random share of them with both ends."""
        assert await self.bank.read("state") == self.model.state == RecorderState.FROZEN
        for ring, post_trigger in ((Ring.SHORT, POST_TRIGGER), (Ring.LONG, LONG_POST_TRIGGER)):
            await self.bank.write("ring", ring)
            expected = self.model.rings[ring].entries
            assert await self.bank.read("entries") == len(expected)
            assert await self.bank.read("after_trip") == post_trigger
            ends = {0, len(expected) - 1, len(expected) - post_trigger}
            for index in range(len(expected)):
                if index in ends or self.rng.random() < share:
                    assert await self.entry(index) == expected[index], (ring.name, index)


async def ready(dut, salt: str, decimation: int = 4) -> Bench:
    await start(dut)
    bench = Bench(dut, seeded(salt))
    bench.drive(tick=False)
    await bench.decimate(decimation)
    return bench


@cocotb.test()
async def the_records_are_the_last_entries_in_order(dut):
    """After more than one turn of either ring: oldest first, all fields, the trip where it was."""
    bench = await ready(dut, "ring", 3)
    await bench.samples(3 * LONG_DEPTH + 500)
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.samples(max(POST_TRIGGER, 3 * LONG_POST_TRIGGER) + 20)  # the last 20 change nothing
    await bench.check()
    for ring, depth, post_trigger in ((Ring.SHORT, DEPTH, POST_TRIGGER), (Ring.LONG, LONG_DEPTH, LONG_POST_TRIGGER)):
        tripped = [entry["flags"] & 3 == InterlockState.TRIPPED for entry in bench.model.rings[ring].entries]
        assert tripped == [False] * (depth - post_trigger) + [True] * post_trigger


@cocotb.test()
async def the_extremes_are_those_of_all_samples_between(dut):
    """One odd sample at any place between two long entries is in the later one, and only there."""
    by = 5
    for place in range(by):
        for odd in (77777, -77777):
            bench = await ready(dut, f"odd {place}", by)
            codes = [0] * by
            codes[place] = odd
            for code in [0] * by + codes + [0] * by * LONG_POST_TRIGGER * 2:
                dut.samples.value = pack(SAMPLES, {0: {"valid": 1, "code": code}, 1: {"valid": 1, "code": -code}})
                dut.tick.value = 1
                await cycles()
                dut.tick.value = 0
                dut.samples.value = pack(SAMPLES, {0: {"valid": 1, "code": 99999}})  # between ticks: not a sample
                await cycles(2)
                bench.dut.interlock_state.value = InterlockState.TRIPPED
            await cycles(SAMPLE_CYCLES)
            await bench.bank.write("ring", Ring.LONG)
            extremes = []
            for index in range(3):
                entry = await bench.entry(index)
                extremes.append((entry["current_low"], entry["current_high"]))
                assert entry["monitor"] == -entry["current"]
            assert extremes == [(0, 0), (min(0, odd), max(0, odd)), (0, 0)]


@cocotb.test()
async def decimation_may_be_anything_from_one_on(dut):
    for by in (1, 2, 7, 300):
        bench = await ready(dut, f"by {by}", by)
        bench.gap = 4
        await bench.samples(by * 3 + by // 2)
        await bench.set_interlock(InterlockState.TRIPPED)
        await bench.samples(max(POST_TRIGGER, by * LONG_POST_TRIGGER) + by)
        await bench.check(share=0.1)
    # Less than the samples that were already counted: the next sample is one.
    bench = await ready(dut, "changed", 100)
    await bench.samples(50)
    await bench.decimate(3)
    await bench.samples(40)
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.samples(POST_TRIGGER + 3 * LONG_POST_TRIGGER)
    await bench.check(share=0.2)


@cocotb.test()
async def the_state_is_of_both_rings(dut):
    """Whichever is frozen first waits for the other, and can't be released before; what it holds stays."""
    for by in (1, 2, 3, 5, 9):
        bench = await ready(dut, f"freeze {by}", by)
        await bench.samples(10)
        await bench.check_state()
        assert bench.model.state is RecorderState.RUNNING
        await bench.set_interlock(InterlockState.TRIPPED)
        await bench.check_state()
        await bench.set_interlock(InterlockState.DISARMED)
        first = min(POST_TRIGGER, by * LONG_POST_TRIGGER)
        await bench.samples(first + 3)
        await bench.check_state()
        await bench.release()  # ignored unless both are frozen
        await bench.check_state()
        while bench.model.state is not RecorderState.FROZEN:
            await bench.check_state()
            await bench.samples(1)
        await bench.check(share=0.05)


@cocotb.test()
async def a_ring_that_is_not_full_says_how_full_it_is(dut):
    """Just before, at and after the wrap; with the trip in the cycle of a sample as well."""
    for before in (0, 1, DEPTH - POST_TRIGGER - 1, DEPTH - POST_TRIGGER, DEPTH - POST_TRIGGER + 1):
        for together in (False, True):
            bench = await ready(dut, f"{before} {together}", 4)
            bench.gap = 6
            await bench.samples(before)
            if together:
                bench.interlock = InterlockState.TRIPPED
            else:
                await bench.set_interlock(InterlockState.TRIPPED)
            await bench.samples(max(POST_TRIGGER, 4 * LONG_POST_TRIGGER) + 7)
            await bench.check(share=0.02)


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
    assert len(bench.model.rings[Ring.SHORT].entries) == 40 + POST_TRIGGER
    # Acknowledged: it stays frozen until it is released.
    await bench.set_interlock(InterlockState.DISARMED)
    await bench.samples(40)
    await bench.check(share=0.03)
    await bench.release()
    await bench.check_state()
    assert bench.model.state is RecorderState.RUNNING
    # The next record has nothing of the last one.
    await bench.samples(7)
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.samples(4 * LONG_POST_TRIGGER + 8)
    await bench.check()
    assert len(bench.model.rings[Ring.SHORT].entries) == 7 + POST_TRIGGER


@cocotb.test()
async def an_acknowledge_before_it_is_frozen_does_not_spoil_the_record(dut):
    """Nor does a second trip meanwhile."""
    bench = await ready(dut, "early acknowledge")
    await bench.samples(50)
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.samples(POST_TRIGGER // 2)
    await bench.set_interlock(InterlockState.DISARMED)
    await bench.release()  # not frozen: ignored
    await bench.samples(20)
    await bench.set_interlock(InterlockState.TRIPPED)
    await bench.samples(20)
    await bench.set_interlock(InterlockState.ARMED)
    await bench.samples(POST_TRIGGER)
    await bench.check(share=0.3)


@cocotb.test()
async def random_trips_and_releases_equal_the_naive_model(dut):
    bench = await ready(dut, "random")
    rng = bench.rng
    bench.gap = 3
    frozen = 0
    for _ in range(60):
        # Not while a record is being made: a change of the decimation is no part of it.
        await bench.decimate(rng.choice([1, 2, 4, 5, rng.randrange(1, 12)]))
        await bench.samples(rng.choice([0, 1, rng.randrange(300), rng.randrange(1500)]))
        await bench.check_state()
        if rng.random() < 0.5:
            bench.interlock = InterlockState.TRIPPED
        else:
            await bench.set_interlock(InterlockState.TRIPPED)
        await bench.samples(rng.choice([1, 10, rng.randrange(1, 1200)]))
        await bench.check_state()
        if bench.model.state is RecorderState.FROZEN:
            frozen += 1
            await bench.check(share=0.02)
        await bench.set_interlock(rng.choice([InterlockState.DISARMED, InterlockState.ARMING, InterlockState.ARMED]))
        if rng.random() < 0.8:
            await bench.release()
        await bench.check_state()
    cocotb.log.info("frozen %d times", frozen)
    assert frozen > 10
