import cocotb
from support import Bank, cycles, get, seeded, settled, signed, start, unpack

from reflexarc.contract.blocks import scan, sync, trajectory
from reflexarc.contract.blocks.scan import Blanking, ScanCommand, ScanState
from reflexarc.contract.blocks.sync import SyncLine, SyncMode
from reflexarc.contract.blocks.trajectory import DEPTH, SAMPLES_BITS, PointKind
from reflexarc_hw.lib.formats import MARKER

TICK_CYCLES = 16
PIXEL = PointKind.PIXEL


class Bench:
    """Samples at the highest rate, a camera on its line, and a record of both."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.scan, self.sync, self.trajectory = (
            Bank(dut, block, f"{name}_bus")
            for name, block in (("scan", scan.BLOCK), ("sync", sync.BLOCK), ("trajectory", trajectory.BLOCK))
        )
        self.pause_share = 0.0
        self.samples: list[dict[str, int] | None] = []  # the marker of each, if it is active
        self.states: list[ScanState] = []  # that each tick found
        self.exposures: list[set[tuple[int, ...]]] = []  # where it was while the camera was at it
        self.lit: list[bool] = []
        cocotb.start_soon(self._ticks())

    def place(self) -> tuple[int, ...]:
        return tuple(signed(get(port), 32) for port in (self.dut.x, self.dut.y, self.dut.z))

    async def _ticks(self) -> None:
        dut = self.dut
        while True:
            dut.tick.value, dut.pause.value = 1, int(self.rng.random() < self.pause_share)
            await settled()
            marker = unpack(MARKER, get(dut.marker))
            self.samples.append(marker if marker["active"] else None)
            self.states.append(ScanState(get(dut.state)))
            self.lit.append(bool(get(dut.beam)))
            await cycles()
            dut.tick.value = 0
            await cycles(TICK_CYCLES - 1)

    async def camera(self, most_cycles: int = 100) -> None:
        """Triggered by a rise of ``pixel``, busy for some time, ready again; blind while it is busy."""
        dut = self.dut
        dut.lines.value = int(SyncLine.CAMERA_READY)
        before = 0
        while True:
            await cycles()
            now = get(dut.pixel)
            if now and not before:
                await cycles(self.rng.randrange(1, 8))
                dut.lines.value = 0
                places = set()
                for _ in range(self.rng.randrange(1, most_cycles)):
                    places.add(self.place())
                    await cycles()
                    assert not (get(dut.pixel) and not now), "it is triggered while it is busy"
                    now = get(dut.pixel)
                self.exposures.append(places)
                dut.lines.value = int(SyncLine.CAMERA_READY)
            before = now

    async def push(self, kind: PointKind, samples: int, *place: int) -> None:
        await self.trajectory.configure(**dict(zip("xyz", place, strict=True)))
        await self.trajectory.write("push", int(kind) << SAMPLES_BITS | samples)

    async def state(self, state: ScanState, patience: int = 20000) -> None:
        for _ in range(patience):
            if get(self.dut.state) == state:
                return
            await cycles()
        raise AssertionError(f"{state.name} never comes")

    @property
    def pixels(self) -> list[list[dict[str, int]]]:
        """Markers by pixel."""
        pixels: list[list[dict[str, int]]] = []
        for marker in self.samples:
            if marker is not None:
                if marker["first"]:
                    pixels.append([])
                pixels[-1].append(marker)
        return pixels


async def ready(dut, salt: str) -> Bench:
    await start(dut, live=1)
    return Bench(dut, seeded(salt))


def places(rng, count: int) -> list[tuple[int, ...]]:
    return [tuple(rng.randrange(-(1 << 30), 1 << 30) for _ in range(3)) for _ in range(count)]


@cocotb.test()
async def a_camera_paces_a_list(dut):
    """More points than the queue holds, each exposed once, whole, and at its place; samples until the camera is ready belong to it."""
    bench = await ready(dut, "camera list")
    rng = bench.rng
    await bench.sync.configure(mode=SyncMode.CAMERA)
    await bench.scan.configure(pixels=50)
    cocotb.start_soon(bench.camera())
    bench.pause_share = 0.1
    due = places(rng, DEPTH + 40)
    pixels = []
    started = False
    for number, place in enumerate(due):
        last = number == len(due) - 1
        kind = PIXEL if last or rng.random() < 0.7 else PointKind(0)
        if kind:
            pixels.append(place)
        while not await bench.trajectory.read("free"):
            await cycles(50)
        await bench.push(kind | (PointKind.LAST if last else PointKind(0)), rng.choice((0, 1, 2, 7)), *place)
        if number == DEPTH - 1 and not started:
            started = True
            await bench.scan.write("command", ScanCommand.LIST)
    await bench.state(ScanState.IDLE, 1_000_000)
    await cycles(4 * TICK_CYCLES)
    assert await bench.trajectory.read("refused") == await bench.scan.read("starved") == 0
    assert await bench.trajectory.read("free") == DEPTH
    assert bench.exposures == [{place} for place in pixels], "a place moved while it was exposed, or one is missing"
    assert [(pixel[0]["x"], pixel[0]["y"]) for pixel in bench.pixels] == [place[:2] for place in pixels]
    for number, pixel in enumerate(bench.pixels):
        assert [(marker["line"], marker["index"]) for marker in pixel] == [divmod(number, 50)] * len(pixel)
        assert [marker["last"] for marker in pixel] == [0] * (len(pixel) - 1) + [1]
    assert await bench.scan.read("frames") == 1


@cocotb.test()
async def a_camera_paces_a_raster(dut):
    """There and back over the same places, also if the position moves within a pixel."""
    bench = await ready(dut, "camera raster")
    await bench.sync.configure(mode=SyncMode.CAMERA)
    cocotb.start_soon(bench.camera())
    await bench.scan.configure(flags=1, pixels=4, lines=3, pixel_samples=2, step_x=1 << 20, line_y=1 << 12, overscan_samples=1)
    await bench.scan.write("command", ScanCommand.START)
    await bench.state(ScanState.WAIT)
    await bench.state(ScanState.IDLE, 100_000)
    await cycles(4 * TICK_CYCLES)
    assert len(bench.exposures) == len(bench.pixels) == 24
    for pixel in bench.pixels:
        index, there = pixel[0]["index"], not pixel[0]["direction"]
        steps = [1 + 2 * index, 2 + 2 * index]
        seen = [marker["x"] >> 12 for marker in pixel]
        first, last = steps if there else steps[::-1]
        assert seen[0] == first and set(seen[1:]) == {last}, "what it waits for does not move it on"
        assert {marker["y"] for marker in pixel} == {pixel[0]["line"] << 12}


@cocotb.test()
async def a_camera_that_does_not_come_is_late(dut):
    bench = await ready(dut, "late camera")
    await bench.sync.configure(mode=SyncMode.CAMERA, wait_samples=20)
    await bench.scan.configure(blanking=int(Blanking.STARVED))
    dut.lines.value = int(SyncLine.CAMERA_READY)
    await bench.push(PIXEL | PointKind.LAST, 1, 1, 2, 3)
    await bench.scan.write("command", ScanCommand.LIST)
    await bench.state(ScanState.LIST)
    for _ in range(30 * TICK_CYCLES):
        if get(dut.late):
            break
        await cycles()
    assert get(dut.late)
    assert 20 <= bench.states.count(ScanState.LIST) <= 22
    await cycles(4 * TICK_CYCLES)
    assert bench.lit[-1] is False and any(bench.lit), "blanked while it is late"
    assert await bench.sync.read("late") == 1
    # Cut short: nothing is late any more.
    await bench.scan.write("command", ScanCommand.STOP)
    await cycles(6)
    assert not get(dut.late)


@cocotb.test()
async def a_list_cut_short_empties_the_queue(dut):
    """By STOP and by the fall of live, in any cycle; the next list begins with what is pushed then."""
    bench = await ready(dut, "cut")
    rng = bench.rng
    for number in range(20):
        for place in places(rng, 8):
            await bench.push(PIXEL, 2, *place)
        await bench.scan.write("command", ScanCommand.LIST)
        await bench.state(ScanState.LIST)
        await cycles(rng.randrange(8 * TICK_CYCLES))
        if number % 2:
            await bench.scan.write("command", ScanCommand.STOP)
        else:
            dut.live.value = 0
        await cycles(3 * TICK_CYCLES)
        assert get(dut.state) == ScanState.IDLE
        assert await bench.trajectory.read("free") == DEPTH
        dut.live.value = 1
        await cycles(TICK_CYCLES)
        here = bench.place()
        await bench.scan.write("command", ScanCommand.LIST)
        await cycles(3 * TICK_CYCLES)
        assert get(dut.state) == ScanState.WAIT and bench.place() == here
        [there] = places(rng, 1)
        await bench.push(PIXEL | PointKind.LAST, 1, *there)
        await bench.state(ScanState.IDLE)
        assert bench.place() == there


@cocotb.test()
async def a_queue_cleared_under_a_list_makes_it_starve(dut):
    """In any cycle: the list goes on with what is pushed afterwards, and never goes to a place that was cleared."""
    bench = await ready(dut, "cleared")
    rng = bench.rng
    starved = 0
    for number in range(40):
        due = places(rng, 8)
        for place in due:
            await bench.push(PIXEL, 1, *place)
        await bench.scan.write("command", ScanCommand.LIST)
        await bench.state(ScanState.LIST)
        await cycles(rng.randrange(2 * TICK_CYCLES) + number % TICK_CYCLES)
        await bench.trajectory.write("clear", 1)
        await cycles(5)
        held = bench.place()
        assert held in due
        await cycles(6 * TICK_CYCLES)
        assert get(dut.starved) and bench.place() == held
        starved += 1
        assert await bench.scan.read("starved") == starved
        before = len(bench.pixels)
        [there] = places(rng, 1)
        await bench.push(PIXEL | PointKind.LAST, 3, *there)
        await bench.state(ScanState.IDLE)
        assert bench.place() == there
        await cycles(4 * TICK_CYCLES)
        assert len(bench.pixels) == before + 1 and len(bench.pixels[-1]) == 3
        for pixel in bench.pixels:
            assert [marker["last"] for marker in pixel] == [0] * (len(pixel) - 1) + [1]


@cocotb.test()
async def a_pixel_clock_ends_one_pixel_an_edge(dut):
    bench = await ready(dut, "clock")
    rng = bench.rng
    await bench.sync.configure(mode=SyncMode.PIXEL_CLOCK)

    async def edge(high: int, low: int) -> None:
        dut.lines.value = int(SyncLine.PIXEL_CLOCK)
        await cycles(high)
        dut.lines.value = 0
        await cycles(low)

    await bench.scan.configure(flags=int(scan.ScanFlags.STEPPED), pixels=5, lines=2, pixel_samples=2, step_x=1 << 12)
    await bench.scan.write("command", ScanCommand.START)
    await bench.state(ScanState.FORWARD)
    for pixel in range(10):
        await cycles(rng.randrange(3 * TICK_CYCLES, 8 * TICK_CYCLES))
        assert get(dut.state) == ScanState.FORWARD
        assert signed(get(dut.x), 32) == pixel % 5 << 12, "it stands at its pixel until the clock comes"
        if pixel % 3 == 2:
            # A second edge within the same sample.
            while not get(dut.tick):
                await cycles()
            await cycles(3)
            await edge(2, 2)
            await edge(2, 2)
        else:
            await edge(rng.randrange(2, 40), rng.randrange(2, 40))
        await cycles(TICK_CYCLES)
        assert await bench.sync.read("missed") == (pixel + 1) // 3
    await cycles(4 * TICK_CYCLES)
    assert get(dut.state) == ScanState.IDLE
    assert len(bench.pixels) == 10


@cocotb.test()
async def lines_and_scans_wait_for_other_instruments(dut):
    """The column's consent at the scan's start, an edge of the line trigger for each line."""
    bench = await ready(dut, "trigger")
    rng = bench.rng
    await bench.sync.configure(mode=SyncMode.LINE_TRIGGER | SyncMode.EXTERNAL_SCAN, external=1)
    assert get(dut.external)
    await bench.scan.configure(flags=1, pixels=3, lines=4, line_y=1 << 12)

    async def trigger(others: SyncLine) -> None:
        dut.lines.value = int(others | SyncLine.LINE_TRIGGER)
        await cycles(5)
        dut.lines.value = int(others)
        await cycles(TICK_CYCLES * 2)

    await trigger(SyncLine(0))  # an edge before the wait is none
    await bench.scan.write("command", ScanCommand.START)
    await cycles(5 * TICK_CYCLES)
    await trigger(SyncLine(0))
    await cycles(5 * TICK_CYCLES)
    assert get(dut.state) == ScanState.WAIT, "without consent"
    dut.lines.value = int(SyncLine.EXTERNAL_SCAN)
    for line in range(4):
        if line:
            await bench.state(ScanState.WAIT)
            await cycles(rng.randrange(3 * TICK_CYCLES, 6 * TICK_CYCLES))
            assert get(dut.state) == ScanState.WAIT
            assert await bench.scan.read("line") == line
            assert signed(get(dut.y), 32) == line << 12
            await trigger(SyncLine.EXTERNAL_SCAN)
        await cycles(4 * TICK_CYCLES)
        assert get(dut.state) != ScanState.WAIT or line < 3
    await bench.state(ScanState.IDLE)
    await cycles(4 * TICK_CYCLES)
    assert len(bench.pixels) == 24
    await settled()
