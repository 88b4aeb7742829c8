from itertools import pairwise

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge
from cocotb.utils import get_sim_time
from naive_scan import EXTRA, Tick, move, raster
from support import BANK_CYCLES, PERIOD_NS, Bank, cycles, get, seeded, settled, signed, start, unpack

from reflexarc.contract.blocks import scan
from reflexarc.contract.blocks.scan import ScanCommand, ScanState
from reflexarc_hw.blocks.scan.scan import MARKER_DELAY_SAMPLES
from reflexarc_hw.lib.formats import MARKER, POSITION

TICK_CYCLES_MIN = 16
GEOMETRY = ("step_x", "step_y", "line_x", "line_y", "flyback_x", "flyback_y")
RESTS = ("turn_samples", "settle_samples", "flyback_samples")
LIMIT = 1 << (POSITION.width - 1 + EXTRA)  # positions with 20 fraction bits are below it


class Bench:
    """Ticks with random distances and pauses; each is compared with the next one of a naive sequence."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.bank = Bank(dut, scan.BLOCK)
        self.config = {register.name: register.reset for register in scan.BLOCK.registers}
        self.now = Tick(ScanState.IDLE, 0, 0)
        self.markers: list[dict[str, int] | None] = [None] * MARKER_DELAY_SAMPLES
        self.pause_share = 0.0
        self.aborts = 0
        self.counted: list[dict[str, int]] = []  # active markers that came out
        self.starts = 0
        cocotb.start_soon(self._watch("aborted", "aborts"))
        cocotb.start_soon(self._watch("frame_start", "starts"))

    async def _watch(self, name: str, counter: str):
        strobe = getattr(self.dut, name)
        while True:
            await RisingEdge(strobe)
            began = get_sim_time("ns")
            await FallingEdge(strobe)
            assert get_sim_time("ns") - began <= PERIOD_NS, f"{name} is a strobe"
            setattr(self, counter, getattr(self, counter) + 1)

    async def configure(self, **values: int) -> None:
        self.config |= values
        await self.bank.configure(**values)

    def compare(self, expected: Tick) -> None:
        dut = self.dut
        assert ScanState(get(dut.state)) is expected.state
        outside = [not -LIMIT <= position < LIMIT for position in (expected.x, expected.y)]
        for port, position, beyond in zip((dut.x, dut.y), (expected.x, expected.y), outside, strict=True):
            seen = signed(get(port), POSITION.width)
            if beyond:
                assert (seen < 0) == (position < 0), "a position wrapped to the far side"
            else:
                assert seen == position >> EXTRA
        assert get(dut.overflow) == any(outside)

    async def tick(self) -> bool:
        """One tick, from its cycle to the next one's; whether it counted."""
        dut, rng = self.dut, self.rng
        pause = rng.random() < self.pause_share
        dut.tick.value, dut.pause.value = 1, int(pause)
        await settled()
        self.compare(self.now)
        due = self.markers[0]
        seen = unpack(MARKER, get(dut.marker))
        assert seen["active"] == (due is not None)
        if due is not None:
            for axis in ("x", "y"):
                if not -LIMIT <= due[axis] << EXTRA < LIMIT:
                    del seen[axis], due[axis]  # says nothing: the interlock has tripped
            assert seen == due
            self.counted.append(seen)
        self.markers = [*self.markers[1:], None if pause else self.now.marker]
        await cycles()
        dut.tick.value, dut.pause.value = 0, rng.randrange(2)  # pause means nothing between ticks
        return not pause

    async def gap(self, after: Tick) -> None:
        """The rest of the way to the next tick; what stands in it is ``after``."""
        between = self.rng.randrange(1, TICK_CYCLES_MIN - 1)
        await cycles(between)
        await settled()
        self.compare(after)
        await cycles(TICK_CYCLES_MIN - 1 - between + (self.rng.randrange(5) if self.rng.random() < 0.3 else 0))

    async def follow(self, sequence, ticks: int | None = None) -> bool:
        """Compare with a sequence to its end, or for so many ticks; True if it ended."""
        self.now = next(sequence)
        for after in sequence:
            while True:
                if ticks is not None:
                    if ticks == 0:
                        return False
                    ticks -= 1
                if await self.tick():
                    break
                await self.gap(self.now)
            self.now = after
            await self.gap(after)
        return True

    async def idle(self, ticks: int) -> None:
        for _ in range(ticks):
            await self.tick()
            await self.gap(self.now)

    async def command(self, command: ScanCommand) -> None:
        await self.bank.write("command", command)

    async def go_to(self, x: int, y: int) -> None:
        """To a position in Q20.12 within a few ticks."""
        await self.configure(target_x=x, target_y=y, move_step=(1 << 31) - 1)
        await self.command(ScanCommand.MOVE)
        assert await self.follow(move(self.config, self.now.x, self.now.y, self.now.line))

    async def frame(self, ticks: int | None = None) -> bool:
        await self.command(ScanCommand.START)
        return await self.follow(raster(self.config, self.now.x, self.now.y), ticks)


def random_config(rng, most_samples: int = 400) -> dict[str, int]:
    """A frame of bounded length; zeros and ones are as likely as anything."""

    def few(low: int, high: int) -> int:
        return low if rng.random() < 0.4 else rng.randrange(low, high + 1)

    config = {"flags": rng.randrange(2), "pixels": few(1, 12), "lines": few(1, 6), "pixel_samples": few(1, 7)}
    while config["pixels"] * config["lines"] * config["pixel_samples"] > most_samples:
        config["lines"] = max(1, config["lines"] // 2)
        config["pixels"] = max(1, config["pixels"] // 2)
    config |= {"turn_samples": few(0, 4), "settle_samples": few(0, 4), "flyback_samples": few(1, 6)}
    for name in GEOMETRY:
        # Within the range even if all lines and samples add up.
        bits = rng.choice((1, 8, 20, 28 if name.startswith("line") else 27))
        config[name] = rng.choice((0, 1, -1, rng.randrange(-(1 << bits), 1 << bits)))
    return config


async def ready(dut, salt: str) -> Bench:
    await start(dut, live=1)
    return Bench(dut, seeded(salt))


@cocotb.test()
async def frames_equal_the_naive_model(dut):
    bench = await ready(dut, "frames")
    rng = bench.rng
    for frame in range(60):
        config = random_config(rng)
        await bench.configure(**config)
        await bench.go_to(rng.randrange(-(1 << 29), 1 << 29), rng.randrange(-(1 << 29), 1 << 29))
        bench.pause_share = rng.choice((0.0, 0.0, 0.2, 0.6))
        bench.counted.clear()
        assert await bench.frame()
        assert bench.now.state is ScanState.IDLE
        await bench.idle(MARKER_DELAY_SAMPLES + 1)  # the markers of the last samples
        assert await bench.bank.read("frames") == bench.starts == frame + 1
        assert await bench.bank.read("line") == config["lines"] - 1
        assert await bench.bank.read("x") == bench.now.x >> EXTRA
        assert await bench.bank.read("y") == bench.now.y >> EXTRA
        check_pixels(bench.counted, config)
    assert bench.aborts == 0


def check_pixels(markers: list[dict[str, int]], config: dict[str, int]) -> None:
    """Of what came out, independent of the model: each pixel of the frame once, in order, with all its samples."""
    pixels: list[tuple[int, int, int]] = []
    samples = 0
    for marker in markers:
        if marker["first"]:
            samples = 0
        samples += 1
        if marker["last"]:
            assert samples == config["pixel_samples"]
            pixels.append((marker["line"], marker["direction"], marker["index"]))
    expected = []
    for line in range(config["lines"]):
        expected += [(line, 0, index) for index in range(config["pixels"])]
        if config["flags"]:
            expected += [(line, 1, index) for index in reversed(range(config["pixels"]))]
    assert pixels == expected


@cocotb.test()
async def moves_equal_the_naive_model(dut):
    bench = await ready(dut, "moves")
    rng = bench.rng
    bench.pause_share = 0.2
    for _ in range(40):
        target = [rng.choice((0, -(1 << 31), (1 << 31) - 1, rng.randrange(-(1 << 31), 1 << 31))) for _ in range(2)]
        # From a step that reaches the target at once down to some hundred ticks.
        distance = max(abs((t << EXTRA) - p) for t, p in zip(target, (bench.now.x, bench.now.y), strict=True))
        step = min((1 << 31) - 1, max(1, distance >> rng.randrange(8)))
        await bench.configure(target_x=target[0], target_y=target[1], move_step=step)
        await bench.command(ScanCommand.MOVE)
        # The greatest step is 2**11 LSB: the longest move takes 512 ticks.
        assert await bench.follow(move(bench.config, bench.now.x, bench.now.y, bench.now.line))
        assert (bench.now.x >> EXTRA, bench.now.y >> EXTRA) == tuple(target)
        await bench.idle(2)
    assert bench.counted == []
    assert bench.aborts == bench.starts == 0, "a move is no frame"


@cocotb.test()
async def stop_and_the_fall_of_live_end_a_raster_at_once(dut):
    bench = await ready(dut, "stops")
    rng = bench.rng
    finished = aborts = 0
    for attempt in range(80):
        await bench.configure(**random_config(rng))
        await bench.go_to(rng.randrange(-(1 << 29), 1 << 29), rng.randrange(-(1 << 29), 1 << 29))
        bench.pause_share = rng.choice((0.0, 0.3))
        whole = await bench.frame(ticks=rng.randrange(60))
        finished += whole
        aborts += not whole
        if attempt % 2:
            await bench.command(ScanCommand.STOP)
        else:
            dut.live.value = 0
            await cycles(1)
        held = Tick(ScanState.IDLE, bench.now.x, bench.now.y)
        bench.now = held
        if not whole:
            # What was on its way is dropped: an aborted line has no end.
            bench.markers = [None] * MARKER_DELAY_SAMPLES
        await cycles(3)
        assert bench.aborts == aborts
        await bench.idle(MARKER_DELAY_SAMPLES + 2)
        if not attempt % 2:
            # Without live nothing starts.
            for command in (ScanCommand.START, ScanCommand.MOVE):
                await bench.command(command)
                await bench.idle(3)
            dut.live.value = 1
            await bench.idle(2)  # and what was asked for then does not begin now
        assert await bench.bank.read("frames") == finished
    assert bench.aborts == aborts > 20 and finished > 5
    assert bench.starts == aborts + finished, "without live no frame begins"


@cocotb.test()
async def live_that_falls_in_the_cycle_before_a_tick_stops_that_tick(dut):
    """In the cycle of the tick itself it comes too late to: that one still moves, but its sample is of no pixel any more."""
    bench = await ready(dut, "live in tick")
    await bench.configure(pixels=5, lines=3, pixel_samples=2, step_x=1 << 20, step_y=3 << 19)
    for ticks in range(3, 12):
        for cycles_before in (1, 0):
            positions = [(tick.x, tick.y) for tick in raster(bench.config, bench.now.x, bench.now.y)]
            assert not await bench.frame(ticks=ticks)
            dut.live.value = 0
            await cycles(cycles_before)
            bench.now = Tick(bench.now.state, bench.now.x, bench.now.y)  # not active
            await bench.tick()
            bench.markers = [None] * MARKER_DELAY_SAMPLES
            bench.now = Tick(ScanState.IDLE, *positions[ticks + 1 - cycles_before])
            if not cycles_before:
                await cycles()
            await bench.gap(bench.now)
            await bench.idle(3)
            dut.live.value = 1
            await cycles(2)
    assert bench.aborts == 18


@cocotb.test()
async def stop_in_the_cycle_of_a_tick_leaves_no_doubt(dut):
    """Either the tick came first or STOP did: a frame is counted or aborted, never both, never neither."""
    bench = await ready(dut, "stop in tick")
    await bench.configure(pixels=2, lines=2, pixel_samples=2, step_x=1 << 20, line_y=1 << 12)
    config = bench.config
    frames = aborts = 0
    whole_frame = len(list(raster(config, 0, 0))) - 1  # ticks
    for ticks in range(whole_frame - 4, whole_frame):
        for lead in range(BANK_CYCLES + 3):  # cycles from the write's strobe to the tick
            await bench.command(ScanCommand.START)
            assert not await bench.follow(raster(config, bench.now.x, bench.now.y), ticks)
            remaining = cocotb.start_soon(bench.command(ScanCommand.STOP))
            await cycles(lead)
            dut.tick.value, dut.pause.value = 1, 0
            await cycles()
            dut.tick.value = 0
            await remaining
            await cycles(5)
            frames_now = await bench.bank.read("frames")
            assert (frames_now - frames) + (bench.aborts - aborts) == 1, f"{ticks} of {whole_frame} ticks, lead {lead}"
            frames, aborts = frames_now, bench.aborts
            assert await bench.bank.read("state") == ScanState.IDLE
            x, y = await bench.bank.read("x"), await bench.bank.read("y")
            # From here on it stands; the markers of a finished frame may still come out.
            for _ in range(MARKER_DELAY_SAMPLES + 1):
                dut.tick.value = 1
                await cycles()
                dut.tick.value = 0
                await cycles(TICK_CYCLES_MIN)
            assert (await bench.bank.read("x"), await bench.bank.read("y")) == (x, y)
            bench.now = Tick(ScanState.IDLE, x << EXTRA, y << EXTRA)
            bench.markers = [None] * MARKER_DELAY_SAMPLES


@cocotb.test()
async def commands_that_do_not_fit_the_state_are_ignored(dut):
    bench = await ready(dut, "ignored")
    await bench.configure(pixels=3, lines=2, pixel_samples=2, step_x=1 << 19, line_y=1 << 10, target_x=77, target_y=-5, move_step=1 << 10)
    sequence = raster(bench.config, 0, 0)
    await bench.command(ScanCommand.START)
    bench.now = next(sequence)
    for after in sequence:
        await bench.tick()
        bench.now = after
        await bench.gap(after)
        if after.state is not ScanState.IDLE:
            await bench.command(bench.rng.choice((ScanCommand.START, ScanCommand.MOVE)))
    assert bench.aborts == 0
    assert bench.starts == 1
    await bench.command(ScanCommand.STOP)  # of nothing
    await bench.idle(3)
    assert bench.aborts == 0
    # STOP ends a move too, which is not a raster: nothing is aborted.
    await bench.command(ScanCommand.MOVE)
    assert not await bench.follow(move(bench.config, bench.now.x, bench.now.y, 1), ticks=5)
    await bench.command(ScanCommand.STOP)
    await cycles()
    bench.now = Tick(ScanState.IDLE, bench.now.x, bench.now.y)
    await bench.idle(3)
    assert bench.aborts == 0


@cocotb.test()
async def a_position_outside_the_range_shows(dut):
    """``overflow`` stands while x or y is outside, and falls when it comes back; ``compare`` looks at it at each tick."""
    bench = await ready(dut, "overflow")
    # No line step: the way back comes in again.
    await bench.configure(flags=1, pixels=4, lines=1, pixel_samples=2, line_x=0, line_y=0, turn_samples=1, settle_samples=1)
    near = (1 << (POSITION.width - 1)) - (3 << 12)
    for sign in (1, -1):
        for axis in ("x", "y"):
            at = {"x": 0, "y": 0, axis: sign * near}
            await bench.configure(**{"step_x": 0, "step_y": 0, f"step_{axis}": sign << 20})
            await bench.go_to(**at)
            positions = [getattr(tick, axis) for tick in raster(bench.config, bench.now.x, bench.now.y)]
            crossings = sum((-LIMIT <= a < LIMIT) != (-LIMIT <= b < LIMIT) for a, b in pairwise(positions))
            assert crossings == 2
            assert await bench.frame()


@cocotb.test()
async def overflow_follows_the_position_within_two_cycles(dut):
    bench = await ready(dut, "overflow latency")
    await bench.configure(pixels=2, step_x=2 << 20)
    await bench.go_to((1 << (POSITION.width - 1)) - (1 << 12), 0)
    await bench.command(ScanCommand.START)
    assert not await bench.follow(raster(bench.config, bench.now.x, bench.now.y), ticks=1)
    dut.tick.value, dut.pause.value = 1, 0
    await cycles()
    dut.tick.value = 0
    for _ in range(2):
        await settled()
        late = get(dut.overflow)
        await cycles()
    assert late
