import cocotb
from naive_capture import NaiveCapture
from naive_scan import raster
from support import Bank, cycles, get, pack, seeded, settled, start, unpack

from reflexarc.contract.blocks import capture, scan
from reflexarc.contract.packets import Packet
from reflexarc.contract.words import to_bytes
from reflexarc_hw.blocks.capture import PIXEL
from reflexarc_hw.blocks.capture.capture import BUFFER_WORDS
from reflexarc_hw.lib.formats import CODE, MARKER, POSITION, SAMPLE
from reflexarc_hw.lib.packet import WORD

TICK_CYCLES_MIN = 16


class Bench:
    """Plays scan and converter in front of the block and the link behind it, cycle by cycle."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.model = NaiveCapture()
        self.time = rng.randrange(1 << 63)
        self.ready_share = 1.0  # 0: the link takes nothing
        self.words: list[int] = []
        self.packets: list[Packet] = []
        self.pixels: list[dict[str, int]] = []
        self.config = {register.name: register.reset for register in scan.BLOCK.registers}
        self._held: int | None = None

    def configure(self, **values: int) -> None:
        self.config |= values
        self.dut.pixels.value = self.config["pixels"]
        self.dut.pixel_samples.value = self.config["pixel_samples"]

    async def cycle(self, *, tick=False, marker=None, aborted=False, z=0, current=0) -> None:
        dut, rng = self.dut, self.rng
        if tick:
            dut.marker.value = pack(MARKER, marker or {"first": rng.randrange(2), "last": rng.randrange(2), "line_first": rng.randrange(2)})
            dut.sample.value = pack(SAMPLE, {"valid": 1, "code": current})
            dut.z.value = z
        else:
            # Only the tick's cycle counts.
            dut.sample.value = pack(SAMPLE, {"valid": 0, "code": rng.randrange(1 << 20)})
            dut.marker.value = rng.getrandbits(MARKER.size)
            dut.z.value = rng.getrandbits(32) - (1 << 31)
        dut.aborted.value = int(aborted)
        dut.time.value = self.time
        ready = rng.random() < self.ready_share
        dut.stream__ready.value = int(ready)
        await settled()
        if tick:
            self.model.sample(marker, z, current, self.time)
        if aborted:
            self.model.abort()
        self.take(ready)
        pixel = unpack(PIXEL, get(dut.pixel))
        if pixel["valid"]:
            self.pixels.append(pixel)
        self.time += 1
        await cycles()

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
        current = rng.choice((-(1 << 19), (1 << 19) - 1, rng.getrandbits(CODE.width) - (1 << 19)))
        length = length or (TICK_CYCLES_MIN if rng.random() < 0.8 else rng.randrange(TICK_CYCLES_MIN, 24))
        for number in range(length):
            if number == 0:
                await self.cycle(tick=True, marker=marker, aborted=abort_in == 0, z=z, current=current)
            else:
                await self.cycle(aborted=abort_in == number)

    async def frame(self, ticks: int | None = None, abort_in: int = 0) -> None:
        """A frame as the scan makes it; after so many ticks it is aborted within the next one."""
        for number, tick in enumerate(raster(self.config, 0, 0)):
            if number == ticks:
                await self.tick(tick.marker, abort_in)
                break
            await self.tick(tick.marker)
        await self.tick(None)

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
            assert (packet.line, packet.direction, packet.time, packet.aborted) == (line.line, line.direction, line.time, line.aborted)
            assert (packet.pixels, packet.pixel_samples) == (self.config["pixels"], self.config["pixel_samples"])
            records = [(pixel.index, pixel.z_sum, pixel.current_sum) for pixel in packet.records]
            rest = iter(line.pixels)
            assert all(record in rest for record in records), "a pixel is wrong, doubled or out of order"
            assert packet.lost == len(line.pixels) - len(records)
            lost_pixels += packet.lost
        assert self.pixels == self.model.pixels  # the event source misses none, whatever the link does
        bank = Bank(self.dut, capture.BLOCK)
        assert await bank.read("pixels_lost") == lost_pixels
        assert await bank.read("pixels_sent") == len(self.model.pixels) - lost_pixels
        return lost_pixels, len(lines) - len(arrived)


async def ready(dut, salt: str, **values: int) -> Bench:
    await start(dut)
    bench = Bench(dut, seeded(salt))
    bench.configure(**values)
    return bench


def random_size(rng) -> dict[str, int]:
    return {
        "flags": rng.randrange(2),
        "pixels": rng.choice((1, 2, rng.randrange(1, 12))),
        "lines": rng.randrange(1, 5),
        "pixel_samples": rng.choice((1, 1, 2, rng.randrange(1, 9))),
        "turn_samples": rng.choice((0, 2)),
        "settle_samples": rng.choice((0, 2)),
        "step_x": rng.getrandbits(20),
        "step_y": -rng.getrandbits(20),
    }


@cocotb.test()
async def frames_arrive_exact_and_whole(dut):
    """With a link that takes a word in most, or in few, cycles; a pixel has 5 words and at least 16 cycles."""
    for number in range(25):
        bench = await ready(dut, f"frames {number}", **random_size(seeded(f"size {number}")))
        bench.ready_share = bench.rng.choice((1.0, 0.9, 0.6))
        await bench.frame()
        assert await bench.check() == (0, 0)


@cocotb.test()
async def lines_of_one_sample_at_full_speed(dut):
    """Header, pixel and trailer for each sample: 14 words in 16 cycles."""
    bench = await ready(dut, "dense", flags=1, pixels=1, lines=100, pixel_samples=1)
    for tick in raster(bench.config, 0, 0):
        await bench.tick(tick.marker, length=TICK_CYCLES_MIN)
    assert await bench.check() == (0, 0)
    assert len(bench.packets) == 200


@cocotb.test()
async def a_stalled_link_loses_pixels_and_says_so(dut):
    """The buffer fills; what does not fit is counted, packets stay whole, and when the link goes on so does the capture."""
    for number, (pixels, lines) in enumerate(((700, 1), (60, 14), (3, 150), (1, 300))):
        bench = await ready(dut, f"stall {number}", flags=1, pixels=pixels, lines=lines, pixel_samples=1)
        bench.ready_share = 0.0
        ticks = 0
        for tick in raster(bench.config, 0, 0):
            ticks += 1
            if ticks > 300 and ticks % 40 == 0:
                # Now and then some words leave, so that single pixels and lines find room.
                bench.ready_share = bench.rng.choice((0.0, 0.02, 0.2, 0.5))
            await bench.tick(tick.marker, length=TICK_CYCLES_MIN)
        pixels_lost, lines_lost = await bench.check()
        assert pixels_lost > 0
        assert lines_lost > 0 or pixels > 60
        # Then all is well again.
        heard = len(bench.model.lines)
        bench.configure(lines=2)
        for tick in raster(bench.config, 0, 0):
            await bench.tick(tick.marker)
        assert await bench.check() == (pixels_lost, lines_lost)
        assert len(bench.model.lines) == heard + 4


@cocotb.test()
async def the_buffer_is_used_before_anything_is_lost(dut):
    """Not a single pixel is lost while 90 % of the buffer would hold it."""
    bench = await ready(dut, "use", flags=0, pixels=BUFFER_WORDS * 9 // 10 // 5, lines=1, pixel_samples=1)
    bench.ready_share = 0.0
    await bench.frame()
    assert await bench.check() == (0, 0)


@cocotb.test()
async def an_aborted_line_ends_there(dut):
    """The pixels finished until then are sent, and the packet says that it was aborted."""
    bench = await ready(dut, "aborts")
    aborted = 0
    for _ in range(60):
        size = random_size(bench.rng) | {"turn_samples": 0}
        # The configuration must hold for all packets that ``check`` looks at.
        size |= {"pixels": 5, "pixel_samples": 3}
        bench.configure(**size)
        # In a cycle of its own: any of the 15 between two samples.
        await bench.frame(ticks=bench.rng.randrange(40), abort_in=bench.rng.randrange(1, TICK_CYCLES_MIN))
        aborted += bool(bench.model.lines) and bench.model.lines[-1].aborted
    assert await bench.check() == (0, 0)
    assert aborted > 20


@cocotb.test()
async def an_abort_in_the_cycle_of_a_sample(dut):
    """That sample still counts, the line ends after it: also when it is the line's first, or its last."""
    bench = await ready(dut, "abort in sample", flags=1, lines=2, pixels=2, pixel_samples=2)
    for ticks in range(1, 18):
        await bench.frame(ticks=ticks, abort_in=0)
    await bench.frame()
    assert await bench.check() == (0, 0)


@cocotb.test()
async def an_abort_under_back_pressure(dut):
    bench = await ready(dut, "abort, stall", flags=1, pixels=40, lines=8, pixel_samples=1)
    for _ in range(20):
        bench.ready_share = bench.rng.choice((0.0, 0.0, 0.0, 0.2))
        await bench.frame(ticks=bench.rng.randrange(100), abort_in=bench.rng.randrange(1, TICK_CYCLES_MIN))
    pixels_lost, _ = await bench.check()
    assert pixels_lost > 0


@cocotb.test()
async def the_last_sample_can_be_read(dut):
    bench = await ready(dut, "sample")
    bank = Bank(dut, capture.BLOCK)
    for current in (0, -1, (1 << 19) - 1, -(1 << 19), 12345):
        await bench.cycle(tick=True, current=current)
        await bench.cycle()
        assert await bank.read("sample") == current
