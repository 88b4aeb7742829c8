import dataclasses
from dataclasses import dataclass

import cocotb
from naive_events import NaiveEvents
from support import Bank, cycles, get, pack, parameters, seeded, settled, start, unpack
from support_signals import StreamReader, TimeInput

from reflexarc.contract.blocks import events
from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.events import EVENT_LAYOUT, Event, EventSource
from reflexarc.contract.words import to_bytes
from reflexarc_hw.blocks.events import DETECTION, EMISSION, FOUND, SCORED
from reflexarc_hw.lib.formats import MARKER, SAMPLE

POSITION_MIN, POSITION_MAX = -(1 << 31), (1 << 31) - 1
CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1
SAMPLES_MAX = (1 << 24) - 1


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
        self.channel, self.class_id = EventChannel.Z, 0
        self.expected: list[Expected] = []

    async def set(self, channel: EventChannel, on: int, off: int, class_id: int = 0) -> None:
        """In force when this returns."""
        self.channel, self.class_id = channel, class_id
        await self.bank.configure(channel=channel, on=on, off=off, class_id=class_id)
        self.model.on, self.model.off = on, off

    async def enable(self, enabled: bool) -> None:
        await self.bank.write("enable", int(enabled))
        self.model.enable(enabled)

    def drive(self, value: int | None, **marker: int) -> None:
        """A sample of this pixel; None: no sample, or one that belongs to no pixel."""
        rng, dut = self.rng, self.dut
        other = rng.randrange(POSITION_MIN, POSITION_MAX + 1)  # the channel that is not looked at
        valid = value is not None or rng.random() < 0.1
        if value is None:
            marker = {name: rng.randrange(2) for name in ("first", "last")} | {"active": 0 if valid else rng.randrange(2)}
            value = rng.randrange(CODE_MIN, CODE_MAX + 1)
        z, code = (value, other) if self.channel is EventChannel.Z else (other, value)
        dut.sample.value = pack(SAMPLE, {"valid": int(valid), "code": code})
        dut.z.value = (z + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
        dut.marker.value = pack(MARKER, {"x": rng.getrandbits(32), "y": rng.getrandbits(32)} | marker)

    async def stand(self, count: int) -> None:
        """So many cycles in which nothing changes: none of them is looked at, and time stands too."""
        assert len(self.reader.packets) == len(self.expected)
        self.reader.stop()
        self.time.stop()
        self.dut.stream__ready.value = 0
        await cycles(count)
        packets = self.reader.packets
        self.reader = StreamReader(self.dut, "stream", self.rng)
        self.reader.packets = packets
        self.time = TimeInput(self.dut, self.time.now)

    async def pixel(self, values: list[int], gap: int = 16, between=None, times: int = 1) -> bool:
        """A pixel of these samples, ``gap`` cycles apart; the detection comes exactly where it must. ``between`` is awaited after a sample.

        ``times``: the last value but one comes so often, in cycles that follow each other.
        """
        samples = []
        place = {name: self.rng.randrange(POSITION_MIN, POSITION_MAX + 1) for name in ("x", "y")}
        for number, value in enumerate(values):
            last = number == len(values) - 1
            repeated = times if number == len(values) - 2 else 1
            samples.append((value, self.model.on, self.model.off, repeated))
            self.drive(value, active=1, first=number == 0, last=last, **(place if last else {}))
            if repeated > 1:
                await self.stand(repeated)
                continue
            if not last:
                for _ in range(gap):
                    await cycles()
                    self.drive(None)
                if between is not None:
                    await between()
        fires = self.model.pixel(samples)
        detection_cycles = parameters()["detection_cycles"]
        if fires:
            # The record's time is that of the verdict, the cycle before the detection.
            time = self.time.now + detection_cycles - 1
            self.expected.append(Expected(self.class_id, self.model.scores[-1], place["x"], place["y"], time, self.model.count - 1))
        for cycle in range(gap):
            if cycle:
                self.drive(None)
            await settled()
            seen = unpack(DETECTION, get(self.dut.detection))
            due = int(fires and cycle == detection_cycles)
            assert seen["valid"] == due, f"cycle {cycle} after the pixel: {seen}, samples {samples}"
            if seen["valid"]:
                assert seen == {"valid": 1, "class_id": self.class_id, **place}
            await cycles()
        self.drive(None)
        return fires

    async def pixel_unwatched(self, values: list[int]) -> None:
        """A pixel of these samples, 16 cycles apart."""
        for number, value in enumerate(values):
            self.drive(value, active=1, first=number == 0, last=number == len(values) - 1)
            for _ in range(16):
                await cycles()
                self.drive(None)
        self.model.pixel([(value, self.model.on, self.model.off, 1) for value in values])

    def check(self, packet: list[int], expected: Expected) -> None:
        event = Event.from_bytes(to_bytes(packet))
        assert event == Event(
            source=EventSource.THRESHOLD, class_id=expected.class_id, model_id=0, score=expected.score, x=expected.x, y=expected.y,
            time=expected.time % (1 << 64), sequence=expected.sequence,
        )  # fmt: skip

    async def check_all(self) -> None:
        await cycles(300)
        assert await self.bank.read("count") == self.model.count
        assert await self.bank.read("lost") == 0
        assert len(self.reader.packets) == len(self.expected)
        for packet, expected in zip(self.reader.packets, self.expected, strict=True):
            self.check(packet, expected)


def split(rng, total: int, samples: int, low: int, high: int) -> list[int]:
    """So many values with this sum, anything else at random."""
    values = []
    for left in range(samples, 0, -1):
        least, most = max(low, total - high * (left - 1)), min(high, total - low * (left - 1))
        value = rng.choice((least, most, rng.randrange(least, most + 1), min(max(total // left, least), most)))
        values.append(value)
        total -= value
    return values


def near(rng, threshold: int, samples: int, low: int, high: int) -> int:
    """A sum whose mean is at the threshold, one unit of the sum beside it, near it, or anywhere; always one that samples can have."""
    exact = threshold * samples
    total = rng.choice([exact, exact - 1, exact + 1, exact + rng.randrange(-samples, samples + 1), samples * rng.randrange(low, high + 1)])
    return max(low * samples, min(high * samples, total))


def thresholds(rng, low: int, high: int) -> tuple[int, int]:
    """``off`` and ``on``; now and then equal or exchanged."""
    reach = rng.choice([(low, high), (-3, 3), (low, low + 10), (high - 10, high)])
    off, on = sorted(rng.randrange(reach[0], reach[1] + 1) for _ in range(2))
    return rng.choice([(off, on), (off, on), (off, on), (off, off), (on, off)])


@cocotb.test()
async def random_pixels_equal_the_model_with_exact_means(dut):
    """Both channels, each pixel of its own number of samples, sums at the very thresholds."""
    rng = seeded("events")
    await start(dut)
    bench = Bench(dut, rng)
    for _ in range(100):
        channel = rng.choice(list(EventChannel))
        low, high = (POSITION_MIN, POSITION_MAX) if channel is EventChannel.Z else (CODE_MIN, CODE_MAX)
        off, on = thresholds(rng, low, high)
        await bench.set(channel, on, off, rng.randrange(256))
        if rng.random() < 0.5:
            await bench.enable(False)
        await bench.enable(rng.random() < 0.95)
        for _ in range(25):
            samples = rng.choice([1, 1, 2, 3, rng.randrange(1, 12)])
            total = near(rng, rng.choice([on, off]), samples, low, high)
            await bench.pixel(split(rng, total, samples, low, high), rng.choice([16, 16, 17, 30]))
            if rng.random() < 0.02:
                await bench.enable(not bench.model.enabled)
    cocotb.log.info("%d events", bench.model.count)
    assert bench.model.count > 200
    await bench.check_all()


@cocotb.test()
async def thresholds_may_change_within_a_pixel(dut):
    """They count for the samples after."""
    rng = seeded("change")
    await start(dut)
    bench = Bench(dut, rng)
    await bench.set(EventChannel.Z, 0, 0)
    await bench.enable(True)

    async def between() -> None:
        if rng.random() < 0.4:
            off, on = thresholds(rng, -1000, 1000)
            await bench.set(EventChannel.Z, on, off)

    for _ in range(400):
        await bench.pixel([rng.randrange(-1000, 1001) for _ in range(rng.randrange(1, 7))], between=between)
    assert bench.model.count > 50
    await bench.check_all()


@cocotb.test()
async def pixels_of_many_samples_are_exact(dut):
    """Up to the longest that there may be and to the ends of the range; two short ones follow at once and have their records too."""
    rng = seeded("many")
    await start(dut)
    bench = Bench(dut, rng)
    cases = [(EventChannel.Z, POSITION_MIN, POSITION_MIN, POSITION_MAX, SAMPLES_MAX - 2, True)]
    cases += [(EventChannel.Z, POSITION_MAX, POSITION_MAX, POSITION_MIN, 1 << 16, False)]
    for rest in (-1, 0, 1):
        # Many that are one above, and one that makes up for all of them, but for a rest.
        cases += [(EventChannel.Z, -6, -6 - 9000 + rest, -5, 9000, rest > 0)]
        cases += [(EventChannel.CURRENT, CODE_MAX - 1, CODE_MAX - 1 - (1 << 16) + rest, CODE_MAX, 1 << 16, rest > 0)]
    for channel, on, first, value, times, fires in cases:
        off = min(on + 1, POSITION_MAX)
        await bench.set(channel, on, off)
        await bench.enable(True)
        await bench.pixel([off - 1])
        await cycles(100)
        assert await bench.pixel([first, value, on], times=times) == fires
        if fires:
            await bench.pixel([off - 1])
            assert await bench.pixel([off])
    await bench.check_all()


@cocotb.test()
async def hysteresis_is_strict_on_both_sides(dut):
    rng = seeded("hysteresis")
    await start(dut)
    bench = Bench(dut, rng)
    await bench.set(EventChannel.Z, on=10, off=-10)
    await bench.enable(True)
    #       sum: 3 * 10 is not above `on`, 31 is; -30 is not below `off`, -31 is
    for total in (-30, 31, -31, 30):
        assert not await bench.pixel(split(rng, total, 3, -50, 50)), total
    assert await bench.pixel(split(rng, 31, 3, -50, 50))
    for total in (1000, -30, 31, -31, 0):
        assert not await bench.pixel(split(rng, total, 3, -500, 500)), total
    assert await bench.pixel(split(rng, 31, 3, -50, 50))


@cocotb.test()
async def enabling_on_a_feature_is_silent(dut):
    rng = seeded("enable")
    await start(dut)
    bench = Bench(dut, rng)
    await bench.set(EventChannel.CURRENT, on=100, off=50)
    assert not await bench.pixel([0])  # low, but not enabled: does not count
    await bench.enable(True)
    assert not await bench.pixel([101])
    assert not await bench.pixel([75])
    assert not await bench.pixel([101])
    assert not await bench.pixel([49])
    await bench.enable(False)
    await bench.enable(True)
    assert not await bench.pixel([101])
    assert not await bench.pixel([49])
    assert await bench.pixel([101])


@cocotb.test()
async def scores_are_held_at_32_bits(dut):
    rng = seeded("scores")
    await start(dut)
    bench = Bench(dut, rng)
    await bench.set(EventChannel.Z, on=POSITION_MIN + 1, off=POSITION_MIN + 1)
    await bench.enable(True)
    for samples in (1, 3, 4, 7):
        for top in (POSITION_MAX, POSITION_MIN + 2, 0, -2):
            await bench.pixel([POSITION_MIN] * samples)
            assert await bench.pixel([top] * samples)
    await bench.check_all()
    assert {expected.score for expected in bench.expected} >= {(1 << 31) - 1, 1}


@cocotb.test()
async def records_without_room_are_counted_and_detections_go_on(dut):
    """Nobody reads: as many records as fit are kept whole, the others leave a gap in the sequence."""
    rng = seeded("room")
    await start(dut)
    bench = Bench(dut, rng, readiness=0)
    await bench.set(EventChannel.Z, on=0, off=0)
    await bench.enable(True)

    async def fire(count: int) -> None:
        for _ in range(count):
            assert not await bench.pixel([-1])
            assert await bench.pixel([rng.randrange(1, POSITION_MAX)])

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


@cocotb.test()
async def programs_see_events_with_their_score_and_emit_beside_them(dut):
    """Two cycles after the detection; records of both, each whole, in one sequence, and each emission taken once."""
    rng = seeded("programs")
    await start(dut)
    bench = Bench(dut, rng)
    emitted: list[Event] = []
    scored: list[dict[str, int]] = []
    detected: list[int] = []
    running = True

    async def emit():
        while running:
            await cycles(rng.choice((1, 5, 40)))
            record = {
                "class_id": rng.randrange(256),
                "part": rng.randrange(1 << 16),
                "a": rng.randrange(-(1 << 31), 1 << 31),
                "b": rng.randrange(-(1 << 31), 1 << 31),
            }
            dut.emission.value, dut.emits.value = pack(EMISSION, record), 1
            while True:
                await settled()
                taken, now = get(dut.emitted), bench.time.now
                await cycles()
                if taken:
                    break
            dut.emits.value = 0
            time = (now - 1) % (1 << 64)  # of the taking, a cycle before it is said
            emitted.append(Event(EventSource.PROGRAM, record["class_id"], record["part"], record["a"], record["b"], 0, time, -1))

    async def watch():
        cycle = 0
        while running:
            await settled()
            if get(dut.detection__valid if hasattr(dut, "detection__valid") else dut.detection) & 1:
                detected.append(cycle)
            seen = unpack(SCORED, get(dut.scored))
            if seen["valid"]:
                assert cycle == detected[-1] + parameters()["score_cycles"]
                scored.append(seen)
            await cycles()
            cycle += 1

    tasks = [cocotb.start_soon(emit()), cocotb.start_soon(watch())]
    await bench.set(EventChannel.CURRENT, 0, 0, 77)
    await bench.enable(True)
    for _ in range(300):
        number = rng.choice((1, 2, 3, 7, 40))
        level = rng.choice((-5, CODE_MAX, 3, CODE_MIN))
        await bench.pixel([level] * number, 16)
    running = False
    for task in tasks:
        await task
    await cycles(300)
    records = [Event.from_bytes(to_bytes(packet)) for packet in bench.reader.packets]
    assert [record.sequence for record in records] == list(range(len(records)))
    ours = [record for record in records if record.source == EventSource.THRESHOLD]
    assert [(record.class_id, record.score, record.x, record.y) for record in ours] == [
        (seen["class_id"], seen["score"], seen["x"], seen["y"]) for seen in scored
    ]
    assert [record.score for record in ours] == bench.model.scores and len(ours) > 50
    theirs = [record for record in records if record.source == EventSource.PROGRAM]
    assert [dataclasses.replace(record, sequence=-1) for record in theirs] == emitted and len(theirs) > 50


@cocotb.test()
async def an_emission_without_room_is_lost_once(dut):
    """Nobody reads: of 200 emissions those without a place are counted, each once, and its number is missing from the sequence."""
    rng = seeded("emissions without room")
    await start(dut)
    bench = Bench(dut, rng, readiness=0)
    for number in range(200):
        dut.emission.value, dut.emits.value = pack(EMISSION, {"class_id": 0, "part": 0, "a": number, "b": 0}), 1
        await settled()
        while not get(dut.emitted):
            await cycles()
            await settled()
        await cycles()
        dut.emits.value = 0
        await cycles(rng.choice((1, 2, 20)))
    lost = await bench.bank.read("lost")
    assert 100 < lost < 200
    bench.reader.readiness = 0.3
    await cycles(3000)
    dut.emission.value, dut.emits.value = pack(EMISSION, {"class_id": 0, "part": 0, "a": 200, "b": 0}), 1
    await cycles(2)
    dut.emits.value = 0
    await cycles(300)
    records = [Event.from_bytes(to_bytes(packet)) for packet in bench.reader.packets]
    assert [record.sequence for record in records] == [record.score for record in records] == [*range(200 - lost), 200]


@cocotb.test()
async def sources_beside_the_threshold_are_told_of_once_each(dut):
    """Whatever comes together: each event as a detection, with its score two cycles later and as a record; what has no place is counted."""
    rng = seeded("sources")
    await start(dut)
    bench = Bench(dut, rng, readiness=1)
    sources = (EventSource.DETECTOR, EventSource.CORRELATOR)
    found: list[Event] = []
    detections: list[tuple[int, int, int]] = []
    scored: list[dict[str, int]] = []
    detected_at: list[int] = []
    crowded = 0
    running = True

    async def find():
        nonlocal crowded
        quiet = [0, 0]  # cycles in which the last event of a source may still be on its way
        while running:
            inputs = []
            for index, source in enumerate(sources):
                quiet[index] -= 1
                event = {"valid": int(rng.random() < 0.05), "class_id": rng.randrange(256), "model_id": rng.randrange(1 << 16)}
                event |= {"score": rng.randrange(-(1 << 31), 1 << 31), "time": rng.randrange(1 << 64)}
                event |= {name: rng.randrange(POSITION_MIN, POSITION_MAX + 1) for name in ("x", "y")}
                if event["valid"] and 0 < quiet[index] < 50 - 3:
                    event["valid"] = 0  # whether it has a place depends on what else is under way
                elif event["valid"] and quiet[index] > 0:
                    crowded += 1  # the last one is a few cycles old: not yet recorded
                elif event["valid"]:
                    quiet[index] = 50
                    found.append(Event(source, sequence=-1, **{name: value for name, value in event.items() if name != "valid"}))
                inputs.append(pack(FOUND, event))
            dut.found.value = inputs[0] | inputs[1] << FOUND.size
            await cycles()

    async def watch():
        cycle = 0
        while running:
            await settled()
            seen = unpack(DETECTION, get(dut.detection))
            if seen["valid"]:
                detections.append((seen["class_id"], seen["x"], seen["y"]))
                detected_at.append(cycle)
            seen = unpack(SCORED, get(dut.scored))
            if seen["valid"]:
                assert cycle - parameters()["score_cycles"] == detected_at[len(scored)]
                scored.append(seen)
            await cycles()
            cycle += 1

    await bench.set(EventChannel.Z, 0, 0, 77)
    await bench.enable(True)
    tasks = [cocotb.start_soon(find()), cocotb.start_soon(watch())]
    for _ in range(400):
        level = rng.choice((-5, POSITION_MAX, 3, POSITION_MIN))
        await bench.pixel_unwatched([level] * rng.choice((1, 2, 3)))
    running = False
    for task in tasks:
        await task
    dut.found.value = 0
    await cycles(200)
    records = [Event.from_bytes(to_bytes(packet)) for packet in bench.reader.packets]
    assert [record.sequence for record in records] == list(range(len(records)))
    for source in sources:
        theirs = [dataclasses.replace(record, sequence=-1) for record in records if record.source == source]
        assert theirs == [event for event in found if event.source == source] and len(theirs) > 50
    ours = [record for record in records if record.source == EventSource.THRESHOLD]
    assert [record.score for record in ours] == bench.model.scores and len(ours) > 50
    told = sorted((record.class_id, record.x, record.y) for record in records)
    assert told == sorted(detections) == sorted((seen["class_id"], seen["x"], seen["y"]) for seen in scored)
    assert sorted((record.source, record.score) for record in records) == sorted((seen["source"], seen["score"]) for seen in scored)
    assert await bench.bank.read("count") == len(records)
    assert await bench.bank.read("lost") == crowded > 0
