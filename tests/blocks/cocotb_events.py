from dataclasses import dataclass

import cocotb
from naive_events import NaiveEvents
from support import Bank, cycles, get, pack, parameters, seeded, settled, start, unpack
from support_signals import StreamReader, TimeInput

from reflexarc.contract.blocks import events
from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.events import EVENT_LAYOUT, Event, EventSource
from reflexarc.contract.words import to_bytes
from reflexarc_hw.blocks.capture.capture import PIXEL
from reflexarc_hw.blocks.events import DETECTION

MULTIPLIER_CYCLES = 75  # after a change of `on`, `off` or the samples of a pixel: the rest of a product, the other one, its own
POSITION_MIN, POSITION_MAX = -(1 << 31), (1 << 31) - 1
CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1


@dataclass
class Expected:
    """What a record must say."""

    class_id: int
    score: int
    x: int
    y: int
    time: int
    sequence: int


class Bench:
    """The block beside its model, with a reader of its records."""

    def __init__(self, dut, rng, readiness: float = 0.7):
        self.dut, self.rng = dut, rng
        self.bank = Bank(dut, events.BLOCK)
        self.model = NaiveEvents()
        self.reader = StreamReader(dut, "stream", rng, readiness)
        self.time = TimeInput(dut, rng.randrange(1 << 63))
        self.samples, self.channel, self.class_id = 1, EventChannel.Z, 0
        self.expected: list[Expected] = []

    async def set(self, samples: int, channel: EventChannel, on: int, off: int, class_id: int = 0) -> None:
        """In force when this returns."""
        self.samples, self.channel, self.class_id = samples, channel, class_id
        self.dut.pixel_samples.value = samples
        await self.bank.configure(channel=channel, on=on, off=off, class_id=class_id)
        self.model.on, self.model.off = on, off
        await cycles(MULTIPLIER_CYCLES)

    async def enable(self, enabled: bool) -> None:
        await self.bank.write("enable", int(enabled))
        self.model.enable(enabled)

    async def pixel(self, total: int, gap: int) -> bool:
        """A finished pixel with this sum, then ``gap`` cycles in which the detection comes exactly where it must."""
        x, y = (self.rng.randrange(POSITION_MIN, POSITION_MAX + 1) for _ in range(2))
        other = self.rng.randrange(-(1 << 55), 1 << 55)  # the channel that is not looked at
        z_sum, current_sum = (total, other) if self.channel is EventChannel.Z else (other, total)
        values = {"z_sum": z_sum, "current_sum": current_sum, "x": x, "y": y}
        fires = self.model.pixel(total, self.samples)
        detection_cycles = parameters()["detection_cycles"]
        if fires:
            # The record's time is that of the verdict, the cycle before the detection.
            time = self.time.now + detection_cycles - 1
            self.expected.append(Expected(self.class_id, self.model.scores[-1], x, y, time, self.model.count - 1))
        for cycle in range(gap):
            # The pixel stays on the wires until the next one, as capture leaves it.
            self.dut.pixel.value = pack(PIXEL, values | {"valid": cycle == 0})
            await settled()
            seen = unpack(DETECTION, get(self.dut.detection))
            due = int(fires and cycle == detection_cycles)
            assert seen["valid"] == due, f"cycle {cycle} after the pixel: {seen}, mean {total} / {self.samples}"
            if seen["valid"]:
                assert seen == {"valid": 1, "class_id": self.class_id, "x": x, "y": y}
            await cycles()
        return fires

    def check(self, packet: list[int], expected: Expected) -> None:
        event = Event.from_bytes(to_bytes(packet))
        assert event == Event(
            source=EventSource.THRESHOLD, class_id=expected.class_id, model_id=0, score=expected.score, x=expected.x, y=expected.y,
            time=expected.time % (1 << 64), sequence=expected.sequence,
        )  # fmt: skip


def near(rng, threshold: int, samples: int, low: int, high: int) -> int:
    """A sum whose mean is at the threshold, one unit of the sum beside it, near it, or anywhere; always one that samples can have."""
    exact = threshold * samples
    total = rng.choice([exact, exact - 1, exact + 1, exact + rng.randrange(-samples, samples + 1), samples * rng.randrange(low, high + 1)])
    return max(low * samples, min(high * samples, total))


@cocotb.test()
async def random_pixels_equal_the_model_with_exact_means(dut):
    """Both channels, pixels of 1 to 2**24 - 1 samples, sums at the very thresholds."""
    rng = seeded("events")
    await start(dut)
    bench = Bench(dut, rng)
    sizes = [1, 2, 3, (1 << 24) - 1, 1 << 23, (1 << 23) - 1]
    for round_ in range(120):
        samples = sizes[round_] if round_ < len(sizes) else rng.randrange(1, 1 << rng.randrange(1, 25))
        channel = rng.choice(list(EventChannel))
        low, high = (POSITION_MIN, POSITION_MAX) if channel is EventChannel.Z else (CODE_MIN, CODE_MAX)
        reach = rng.choice([(low, high), (-3, 3), (low, low + 10), (high - 10, high)])
        off, on = sorted(rng.randrange(reach[0], reach[1] + 1) for _ in range(2))
        if rng.random() < 0.2:
            off = on
        await bench.set(samples, channel, on, off, rng.randrange(256))
        if rng.random() < 0.5:
            await bench.enable(False)
        await bench.enable(rng.random() < 0.95)
        for _ in range(30):
            total = near(rng, rng.choice([on, off]), samples, low, high)
            # Real pixels of many samples are further apart than records take.
            await bench.pixel(total, rng.choice([16, 17, 30]) if samples == 1 else 40)
            if rng.random() < 0.02:
                await bench.enable(not bench.model.enabled)
    await cycles(200)
    cocotb.log.info("%d events", bench.model.count)
    assert bench.model.count > 200
    assert await bench.bank.read("count") == bench.model.count
    assert await bench.bank.read("lost") == 0
    assert len(bench.reader.packets) == len(bench.expected)
    for packet, expected in zip(bench.reader.packets, bench.expected, strict=True):
        bench.check(packet, expected)


@cocotb.test()
async def hysteresis_is_strict_on_both_sides(dut):
    rng = seeded("hysteresis")
    await start(dut)
    bench = Bench(dut, rng)
    await bench.set(3, EventChannel.Z, on=10, off=-10)
    await bench.enable(True)
    #       sum: 3 * 10 is not above `on`, 31 is; -30 is not below `off`, -31 is
    for total in (-30, 31, -31, 30):
        assert not await bench.pixel(total, 20), total
    assert await bench.pixel(31, 20)
    for total in (1000, -30, 31, -31, 0):
        assert not await bench.pixel(total, 20), total
    assert await bench.pixel(31, 20)


@cocotb.test()
async def enabling_on_a_feature_is_silent(dut):
    rng = seeded("enable")
    await start(dut)
    bench = Bench(dut, rng)
    await bench.set(1, EventChannel.CURRENT, on=100, off=50)
    assert not await bench.pixel(0, 20)  # low, but not enabled: does not count
    await bench.enable(True)
    assert not await bench.pixel(101, 20)
    assert not await bench.pixel(75, 20)
    assert not await bench.pixel(101, 20)
    assert not await bench.pixel(49, 20)
    await bench.enable(False)
    await bench.enable(True)
    assert not await bench.pixel(101, 20)
    assert not await bench.pixel(49, 20)
    assert await bench.pixel(101, 20)


@cocotb.test()
async def scores_are_held_at_32_bits(dut):
    rng = seeded("scores")
    await start(dut)
    bench = Bench(dut, rng)
    for samples in (1, 3, (1 << 24) - 1, 1 << 23):
        await bench.set(samples, EventChannel.Z, on=POSITION_MIN, off=POSITION_MIN)
        # Nothing is below the least: it becomes ready at another threshold.
        await bench.set(samples, EventChannel.Z, on=POSITION_MIN + 1, off=POSITION_MIN + 1)
        await bench.enable(True)
        for top in (POSITION_MAX, POSITION_MIN + 2, 0, -2):
            await bench.pixel(POSITION_MIN * samples, 60)
            assert await bench.pixel(top * samples, 60)
    await cycles(100)
    assert {expected.score for expected in bench.expected} >= {(1 << 31) - 1, 1}
    for packet, expected in zip(bench.reader.packets, bench.expected, strict=True):
        bench.check(packet, expected)


@cocotb.test()
async def records_without_room_are_counted_and_detections_go_on(dut):
    """Nobody reads: as many records as fit are kept whole, the others leave a gap in the sequence."""
    rng = seeded("room")
    await start(dut)
    bench = Bench(dut, rng, readiness=0)
    await bench.set(1, EventChannel.Z, on=0, off=0)
    await bench.enable(True)

    async def fire(count: int) -> None:
        for _ in range(count):
            assert not await bench.pixel(-1, 16)
            assert await bench.pixel(rng.randrange(1, POSITION_MAX), 16)

    await fire(90)
    lost = await bench.bank.read("lost")
    kept = 90 - lost
    cocotb.log.info("%d records fit", kept)
    assert await bench.bank.read("count") == 90
    assert parameters()["buffer_words"] // EVENT_LAYOUT.words - 3 <= kept <= parameters()["buffer_words"] // EVENT_LAYOUT.words
    bench.reader.readiness = 0.3
    await cycles(3000)
    await fire(20)
    await cycles(600)
    assert await bench.bank.read("lost") == lost
    assert len(bench.reader.packets) == kept + 20
    for packet, expected in zip(bench.reader.packets, bench.expected[:kept] + bench.expected[90:], strict=True):
        bench.check(packet, expected)
