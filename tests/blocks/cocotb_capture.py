from collections import deque
from collections.abc import Iterator

import cocotb
from naive_capture import NaiveCapture, NaivePulses
from support import cycles, get, pack, parameters, seeded, settled, start, unpack
from support_signals import LockstepBank

from reflexarc.contract.blocks import capture
from reflexarc.contract.packets import Channel, Packet
from reflexarc.contract.words import to_bytes
from reflexarc_hw.blocks.capture.capture import BUFFER_WORDS
from reflexarc_hw.blocks.capture.pixel import PIXEL
from reflexarc_hw.lib.formats import CODE, MARKER, POSITION, SAMPLE
from reflexarc_hw.lib.packet import WORD

TICK_CYCLES_MIN = 16
TWO = 1 << Channel.Z | 1 << Channel.CURRENT
ALL = (1 << len(Channel)) - 1


def frame(rng, *, lines=1, pixels=1, samples=1, directions=(0, 1), between=0, passes=(0,)) -> Iterator[dict[str, int] | None]:
    """What the scan says of each sample of a raster; ``samples`` of a pixel may be a function. None: the sample belongs to no pixel."""
    for line in range(lines):
        for second in passes:
            for direction in directions:
                for pixel in range(pixels):
                    count = samples() if callable(samples) else samples
                    for number in range(count):
                        first, last = number == 0, number == count - 1
                        yield {
                            "active": 1, "first": first, "last": last, "line_first": first and pixel == 0,
                            "line_last": last and pixel == pixels - 1, "direction": direction, "second": second,
                            "index": pixels - 1 - pixel if direction else pixel, "line": line,
                            "x": rng.getrandbits(32), "y": rng.getrandbits(32),
                        }  # fmt: skip
                yield from [None] * between


class Bench:
    """Plays scan and converters in front of the block and the link behind it, cycle by cycle."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.model = NaiveCapture()
        self.pulses = [NaivePulses(), NaivePulses()]
        self.bank = LockstepBank(dut, capture.BLOCK)
        self.registers = {register.name: register.reset for register in capture.BLOCK.registers}
        self.shown: dict[str, int] = {}  # registers that were read
        self.begin = self.time = rng.randrange(1 << 63)
        self.ready_share = 1.0  # 0: the link takes nothing
        self.pulse_share = rng.choice((0.02, 0.3, 0.9))
        self.monitor_late = False
        self.words: list[int] = []
        self.packets: list[Packet] = []
        self.sizes = rng.randrange(1, 1 << 16), rng.randrange(1, 1 << 24)
        dut.pixels.value, dut.pixel_samples.value = self.sizes
        self._levels, self._since = [0, 0], [9, 9]
        self._latest = 0  # code of the monitor
        self._held: int | None = None
        self.due: deque[dict | None] = deque([None] * parameters()["whole_pixel_cycles"])

    async def cycle(self, *, tick=False, marker=None, aborted=False, z=0, codes=(0, 0)) -> None:
        dut, rng = self.dut, self.rng
        late = tick and self.monitor_late and rng.random() < 0.3
        valid = (int(tick), int(tick and not late or not tick and self.monitor_late and rng.random() < 0.05))
        if not tick:
            # Only the tick's cycle counts.
            codes = rng.getrandbits(20), rng.getrandbits(20)
        shown = [pack(SAMPLE, {"valid": valid[0], "code": codes[0]}), pack(SAMPLE, {"valid": valid[1], "code": codes[1]})]
        dut.samples.value = shown[0] | shown[1] << SAMPLE.size
        if tick:
            dut.marker.value = pack(MARKER, marker or {"first": rng.randrange(2), "last": rng.randrange(2), "line_first": rng.randrange(2)})
            dut.z.value = z
        else:
            dut.marker.value = rng.getrandbits(MARKER.size)
            dut.z.value = rng.getrandbits(32) - (1 << 31)
        dut.aborted.value = int(aborted)
        dut.time.value = self.time
        for index in range(2):
            self._since[index] += 1
            if self._since[index] >= 2 and rng.random() < self.pulse_share:
                self._levels[index], self._since[index] = 1 - self._levels[index], 0
        dut.pulses.value = self._levels[0] | self._levels[1] << 1
        ready = rng.random() < self.ready_share
        dut.stream__ready.value = int(ready)
        self.bank.drive()
        await settled()
        self.registers |= self.bank.taken
        if self.bank.answering and not self.bank.answering.is_write:
            self.shown[self.bank.answering.name] = self.bank.answer()[1]
        for index, pulses in enumerate(self.pulses):
            pulses.cycle(self._levels[index], self.time, parameters()["pulse_cycles"])
        if valid[1]:
            code = codes[1] & 0xFFFFF
            self._latest = code - (1 << 20) if code >> 19 else code
        if tick:
            counts = [pulses.tick(self.time) for pulses in self.pulses]
            values = {Channel.Z: z, Channel.CURRENT: codes[0], Channel.MONITOR: self._latest}
            values |= {Channel.COUNTER_0: counts[0], Channel.COUNTER_1: counts[1]}
            self.model.sample(marker, values, self.registers["channels"], self.time)
        if aborted:
            self.model.abort()
        self.look_at_pixel()
        self.due.append(self.model.pixel if tick and marker and marker["last"] else None)
        self.take(ready)
        self.time += 1
        await cycles()

    def look_at_pixel(self) -> None:
        """Each whole pixel is told of once, so many cycles after its last sample, and nothing else is."""
        seen, due = unpack(PIXEL, get(self.dut.pixel)), self.due.popleft()
        assert seen["valid"] == int(due is not None)
        assert get(self.dut.pixel_ends) == int(self.due[0] is not None), "pixel_ends is a cycle ahead of valid"
        if due is not None:
            assert list(seen.pop("sums").values()) == due["sums"]
            for name in ("x", "y"):
                assert seen.pop(name) & 0xFFFFFFFF == due[name]
            assert seen == {"valid": 1} | {
                name: due[name] for name in ("line_first", "line_last", "direction", "second", "index", "samples")
            }

    def take(self, ready: bool) -> None:
        """The stream: what is offered stays until it is taken; packets are checked as they end."""
        payload = get(self.dut.stream__payload) if get(self.dut.stream__valid) else None
        if self._held is not None:
            assert payload == self._held, "an offered word was withdrawn"
        self._held = None if ready else payload
        if ready and payload is not None:
            word = unpack(WORD, payload)
            self.words.append(word["data"])
            if word["last"]:
                self.packets.append(Packet.from_bytes(to_bytes(self.words)))
                self.words.clear()

    async def tick(self, marker, abort_in: int | None = None, length: int | None = None) -> None:
        """One sample and the cycles after it; ``aborted`` may strobe in one of them, 0 is the sample's own."""
        rng = self.rng
        # Extremes are likely: sums must hold them.
        z = rng.choice((-(1 << 31), (1 << 31) - 1, rng.getrandbits(POSITION.width) - (1 << 31)))
        codes = [rng.choice((-(1 << 19), (1 << 19) - 1, rng.getrandbits(CODE.width) - (1 << 19))) for _ in range(2)]
        length = length or (TICK_CYCLES_MIN if rng.random() < 0.8 else rng.randrange(TICK_CYCLES_MIN, 24))
        for number in range(length):
            if number == 0:
                await self.cycle(tick=True, marker=marker, aborted=abort_in == 0, z=z, codes=codes)
            else:
                await self.cycle(aborted=abort_in == number)

    async def play(self, markers, ticks: int | None = None, abort_in: int = 0, length: int | None = None) -> None:
        """A raster as the scan makes it; after so many ticks it is aborted within the next one."""
        for number, marker in enumerate(markers):
            if number == ticks:
                await self.tick(marker, abort_in)
                break
            await self.tick(marker, length=length)
        await self.tick(None)

    async def set(self, name: str, value: int) -> None:
        self.bank.write(name, value)
        while not self.bank.idle:
            await self.cycle()

    async def read(self, name: str) -> int:
        self.bank.read(name)
        while not self.bank.idle:
            await self.cycle()
        return self.shown[name]

    async def drain(self) -> None:
        self.ready_share = 1.0
        quiet = 0
        while quiet < 40:
            await self.cycle()
            quiet = 0 if get(self.dut.stream__valid) else quiet + 1
        assert not self.words, "the stream ended within a packet"

    async def check(self) -> tuple[int, int]:
        """All that came against all that was heard; how many pixels and lines were lost."""
        await self.drain()
        lines, lost_pixels = self.model.lines, 0
        arrived = {packet.sequence: packet for packet in self.packets}
        assert len(arrived) == len(self.packets) and list(arrived) == sorted(arrived)
        assert set(arrived) <= set(range(len(lines)))
        for sequence, line in enumerate(lines):
            packet = arrived.get(sequence)
            if packet is None:
                lost_pixels += len(line.pixels)
                continue
            assert (packet.line, packet.direction, packet.second, packet.time) == (line.line, line.direction, line.second, line.time)
            assert packet.aborted == line.aborted
            assert (packet.pixels, packet.pixel_samples) == self.sizes
            assert tuple(packet.sums) == line.channels
            records = list(zip(packet.index, packet.samples, *packet.sums.values(), strict=True))
            rest = iter(line.pixels)
            assert all(record in rest for record in records), "a pixel is wrong, doubled or out of order"
            assert packet.lost == len(line.pixels) - len(records)
            lost_pixels += packet.lost
        assert await self.read("pixels_lost") == lost_pixels
        assert await self.read("pixels_sent") == sum(len(line.pixels) for line in lines) - lost_pixels
        return lost_pixels, len(lines) - len(arrived)


async def ready(dut, salt: str, channels: int = TWO) -> Bench:
    await start(dut)
    bench = Bench(dut, seeded(salt))
    await bench.set("channels", channels)  # meanwhile the buffer says that it has room
    return bench


@cocotb.test()
async def frames_arrive_exact_and_whole(dut):
    """Pixels of any number of samples, any channels; with a link that takes a word in most, or in some, cycles."""
    for number in range(30):
        rng = seeded(f"size {number}")
        bench = await ready(dut, f"frames {number}", rng.choice((TWO, ALL, rng.randrange(1, ALL + 1))))
        bench.monitor_late = rng.random() < 0.5
        bench.ready_share = rng.choice((1.0, 0.95))
        few = bench.registers["channels"].bit_count() <= 2
        least = 1 if few else 2  # samples, so that records are written in time
        samples = rng.choice((least, rng.randrange(least, 9), lambda rng=rng, least=least: rng.randrange(least, 6)))
        size = {"lines": rng.randrange(1, 5), "pixels": rng.choice((1, 2, rng.randrange(1, 12))), "between": rng.choice((0, 1, 2))}
        await bench.play(frame(rng, samples=samples, directions=rng.choice(((0,), (0, 1))), passes=rng.choice(((0,), (0, 1))), **size))
        assert await bench.check() == (0, 0)


@cocotb.test()
async def lines_of_one_sample_at_full_speed(dut):
    """Header, pixel and trailer for each sample, 14 words in 16 cycles: with two channels nothing is lost, however long it goes on."""
    for channels in (TWO, 1 << Channel.COUNTER_1):
        bench = await ready(dut, "dense", channels)
        await bench.play(frame(bench.rng, lines=100), length=TICK_CYCLES_MIN)
        assert await bench.check() == (0, 0)
        assert len(bench.packets) == 200


@cocotb.test()
async def a_pixel_that_is_over_too_early_is_lost_and_counted(dut):
    """All channels in pixels of one sample: a record takes 13 cycles, but the first has a header before it, and so the second has no time."""
    bench = await ready(dut, "late", ALL)
    await bench.play(frame(bench.rng, lines=4, pixels=20), length=TICK_CYCLES_MIN)
    assert await bench.check() == (8, 0)
    for packet in bench.packets:
        places = [19 - index for index in packet.index] if packet.direction else list(packet.index)
        assert places == [0, *range(2, 20)]
    # Lines of one such pixel: those that begin before the last packet is written are left out whole.
    bench = await ready(dut, "later", ALL)
    await bench.play(frame(bench.rng, lines=20), length=TICK_CYCLES_MIN)
    lost, left_out = await bench.check()
    assert lost == left_out == 20
    # With two samples there is time for all.
    bench = await ready(dut, "not late", ALL)
    await bench.play(frame(bench.rng, lines=20, samples=2), length=TICK_CYCLES_MIN)
    assert await bench.check() == (0, 0)


@cocotb.test()
async def records_and_packets_take_their_cycles(dut):
    """One cycle less, and the next pixel or line is lost."""
    for count in range(1, len(Channel) + 1):
        channels = (1 << count) - 1
        for late in (0, 1):
            bench = await ready(dut, "cycles", channels)
            markers = list(frame(bench.rng, pixels=4, directions=(0,)))
            for marker, length in zip(markers, (50, parameters()["pixel_cycles"] + 2 * count - late, 50, 50), strict=True):
                await bench.tick(marker, length=length)
            assert await bench.check() == (late, 0)
            bench = await ready(dut, "cycles", channels)
            for marker in frame(bench.rng, lines=3, directions=(0,)):
                await bench.tick(marker, length=parameters()["line_cycles"] + 2 * count - late)
            assert await bench.check() == (late, late)


@cocotb.test()
async def a_stalled_link_loses_pixels_and_says_so(dut):
    """The buffer fills; what does not fit is counted, packets stay whole, and when the link goes on so does the capture."""
    for number, (pixels, lines, channels) in enumerate(((500, 1, TWO), (60, 8, ALL), (3, 80, TWO), (1, 150, TWO), (2, 80, ALL))):
        bench = await ready(dut, f"stall {number}", channels)
        bench.ready_share = 0.0
        ticks = 0
        for marker in frame(bench.rng, pixels=pixels, lines=lines):
            ticks += 1
            if ticks > 200 and ticks % 40 == 0:
                # Now and then some words leave, so that single pixels and lines find room.
                bench.ready_share = bench.rng.choice((0.0, 0.02, 0.2, 0.5))
            await bench.tick(marker, length=TICK_CYCLES_MIN)
        pixels_lost, lines_lost = await bench.check()
        assert pixels_lost > 0
        assert lines_lost > 0 or pixels > 20
        # Then all is well again.
        heard = len(bench.model.lines)
        await bench.play(frame(bench.rng, pixels=pixels, lines=2, samples=2))
        assert await bench.check() == (pixels_lost, lines_lost)
        assert len(bench.model.lines) == heard + 4


@cocotb.test()
async def the_buffer_is_used_before_anything_is_lost(dut):
    """Not a single pixel is lost while 90 % of the buffer would hold it."""
    for channels, words in ((TWO, 6), (ALL, 12)):
        bench = await ready(dut, "use", channels)
        bench.ready_share = 0.0
        await bench.play(frame(bench.rng, pixels=BUFFER_WORDS * 9 // 10 // words, samples=2, directions=(0,)))
        assert await bench.check() == (0, 0)


@cocotb.test()
async def an_aborted_line_ends_there(dut):
    """The pixels finished until then are sent, and the packet says that it was aborted."""
    bench = await ready(dut, "aborts")
    aborted = 0
    for _ in range(60):
        markers = frame(bench.rng, pixels=5, samples=3, lines=2, between=bench.rng.choice((0, 2)))
        # In a cycle of its own: any of the 15 between two samples.
        await bench.play(markers, ticks=bench.rng.randrange(40), abort_in=bench.rng.randrange(1, TICK_CYCLES_MIN))
        aborted += bool(bench.model.lines) and bench.model.lines[-1].aborted
    assert await bench.check() == (0, 0)
    assert aborted > 20


@cocotb.test()
async def an_abort_in_the_cycle_of_a_sample(dut):
    """That sample still counts, the line ends after it: also when it is the line's first, or its last."""
    bench = await ready(dut, "abort in sample")
    for ticks in range(1, 18):
        await bench.play(frame(bench.rng, lines=2, pixels=2, samples=2), ticks=ticks, abort_in=0)
    await bench.play(frame(bench.rng, lines=2, pixels=2, samples=2))
    assert await bench.check() == (0, 0)


@cocotb.test()
async def an_abort_under_back_pressure(dut):
    for channels in (TWO, ALL):
        bench = await ready(dut, "abort, stall", channels)
        for _ in range(20):
            bench.ready_share = bench.rng.choice((0.0, 0.0, 0.0, 0.2))
            markers = frame(bench.rng, pixels=40, lines=8)
            await bench.play(markers, ticks=bench.rng.randrange(100), abort_in=bench.rng.randrange(1, TICK_CYCLES_MIN))
        pixels_lost, _ = await bench.check()
        assert pixels_lost > 0


@cocotb.test()
async def a_line_that_never_ended_is_ended_by_the_next_one(dut):
    """Which is left out for it; the one after is sent again."""
    bench = await ready(dut, "open")
    for _ in range(3):
        for marker, _ in zip(frame(bench.rng, pixels=9), range(5), strict=False):
            await bench.tick(marker)
        for _ in range(bench.rng.randrange(3)):
            await bench.tick(None)
        await bench.play(frame(bench.rng, pixels=4, samples=2))
    assert await bench.check() == (3 * 4, 3)
    assert [packet.aborted for packet in bench.packets] == [True, False] * 3


@cocotb.test()
async def a_packet_has_the_channels_of_its_beginning(dut):
    """They are written at any time."""
    bench = await ready(dut, "channels")
    masks = set()
    for _ in range(60):
        for marker in frame(bench.rng, pixels=3, samples=2):
            if bench.bank.idle and bench.rng.random() < 0.3:
                bench.bank.write("channels", bench.rng.randrange(1, ALL + 1))
            await bench.tick(marker)
    assert await bench.check() == (0, 0)
    masks = {tuple(packet.sums) for packet in bench.packets}
    assert len(masks) > 20


@cocotb.test()
async def pulses_are_counted_where_they_belong(dut):
    """One pulse at a time, in each cycle of a period: in all, and in the sample after the tick that follows it."""
    bench = await ready(dut, "pulses", 1 << Channel.COUNTER_0 | 1 << Channel.COUNTER_1)
    bench.pulse_share, bench._levels = 0.0, [0, 0]
    for _ in range(3):
        await bench.tick(None)
    begin = [await bench.read(f"count_{index}") for index in range(2)]
    seen_after = parameters()["pulse_cycles"]
    for index in range(2):
        for phase in range(TICK_CYCLES_MIN):
            before = await bench.read(f"count_{index}")
            edge_in = None
            for number, marker in enumerate(frame(bench.rng, pixels=6, directions=(0,))):
                for cycle in range(TICK_CYCLES_MIN):
                    if number == 1 and cycle == phase:
                        bench._levels[index] = 1
                        edge_in = phase + seen_after
                    if number == 1 and cycle == phase + 2 or number == 2 and cycle == phase + 2 - TICK_CYCLES_MIN:
                        bench._levels[index] = 0
                    await bench.cycle(tick=cycle == 0, marker=marker if cycle == 0 else None)
            await bench.drain()
            assert edge_in is not None
            period = 1 + edge_in // TICK_CYCLES_MIN  # of the sample that begins it
            expected = [int(number == period + 2) for number in range(6)]
            assert list(bench.packets[-1].sums[Channel(Channel.COUNTER_0 + index)]) == expected
            assert await bench.read(f"count_{index}") == before + 1
    assert await bench.check() == (0, 0)
    assert [await bench.read(f"count_{index}") - begin[index] for index in range(2)] == [TICK_CYCLES_MIN] * 2


@cocotb.test()
async def every_pulse_is_in_one_sample(dut):
    """As fast as they may come: the sums of all samples are the counter's total, but for those of the last two periods."""
    bench = await ready(dut, "fast", ALL)
    bench.pulse_share = 1.0
    await bench.play(frame(bench.rng, lines=30, pixels=5, samples=2))
    assert await bench.check() == (0, 0)
    for index in range(2):
        total = sum(sum(packet.sums[Channel(Channel.COUNTER_0 + index)]) for packet in bench.packets)
        assert total > 500
        assert await bench.read(f"count_{index}") >= total


@cocotb.test()
async def the_last_samples_can_be_read(dut):
    bench = await ready(dut, "sample")
    for code in (0, -1, (1 << 19) - 1, -(1 << 19), 12345):
        await bench.cycle(tick=True, codes=(code, -1 - code))
        await bench.cycle()
        assert await bench.read("sample") == code
        assert await bench.read("monitor") == -1 - code
