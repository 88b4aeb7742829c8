from collections import deque
from itertools import pairwise

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge
from cocotb.utils import get_sim_time
from naive_scan import EXTRA, Tick, World, move, point_list, raster
from support import BANK_CYCLES, PERIOD_NS, Bank, cycles, get, pack, parameters, seeded, settled, signed, start, unpack

from reflexarc.contract.blocks import scan
from reflexarc.contract.blocks.scan import AXES, Blanking, ScanCommand, ScanFlags, ScanState
from reflexarc_hw.blocks.scan.planner import NOW
from reflexarc_hw.blocks.scan.point import POINT
from reflexarc_hw.lib.formats import MARKER, POSITION

TICK_CYCLES_MIN = parameters().get("tick_cycles_min", 10)
PLACE_CYCLES = parameters().get("place_cycles", 4)
DELAY = parameters().get("marker_delay_samples", 2)
COMMAND_CYCLES = 6  # from a write's answer until nothing of its command is under way any more
LIMIT = 1 << (POSITION.width - 1)
RESET = {register.name: register.reset for register in scan.BLOCK.registers}
SETTINGS = (
    "flags", "pixels", "lines", "interlace", "pixel_samples", "settle_samples", "overscan_samples", "turn_samples", "next_samples",
    *(f"{name}_{axis}" for name in ("step", "line", "field", "turn_1", "turn_2", "next_1", "next_2", "drift") for axis in AXES),
)  # fmt: skip
GEOMETRY = SETTINGS[9:]


class Bench(World):
    """Ticks with random distances and pauses; each is compared with the next one of a naive sequence.

    With ``games`` may_end, may_start, late and the list's entries come and go; they count in one cycle only, and are noise in all others.
    """

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.bank = Bank(dut, scan.BLOCK)
        self.registers = dict(RESET)
        self.given = dict(RESET)  # in force
        self.now = Tick(ScanState.IDLE, (0, 0, 0))
        self.drift, self.rates = [0, 0, 0], [0, 0, 0]  # multiples of 2^-40 DAC LSB
        self.markers: list[dict[str, int] | None] = [None] * DELAY
        self.lit = [False] * DELAY
        self.prepared = True  # the next tick counts
        self.pause_share, self.games = 0.0, 0.0
        self.late = False
        self.raster_runs = False
        self.pending = self.renews = self.again = False  # UPDATE, see ``update``
        self.rests: dict[str, int] = {}
        self.first: tuple[int, ...] = ()  # where the last sequence began
        self.shown = False
        self.entries: deque[dict[str, int]] = deque()
        self.taken = False
        self.counted: list[dict[str, int]] = []  # active markers that came out
        self.aborts = self.starts = 0
        self.frames = self.starved = 0
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

    # -------------------------------------------------------------------------------------------------- what the model asks

    @property
    def move_step(self) -> int:
        return self.registers["move_step"]

    @property
    def target(self) -> tuple[int, ...]:
        return tuple(self.registers[f"target_{axis}"] << EXTRA for axis in AXES)

    def settings(self, c: dict[str, int]) -> dict[str, int]:
        if self.renews:
            # How the line begins was planned with the tick before it.
            self.take_over(self.registers | self.rests)
            self.pending = self.again
            self.renews = False
        return self.given

    def take_over(self, settings: dict[str, int]) -> None:
        self.given = dict(settings)
        self.rates = [settings[f"drift_{axis}"] if get(self.dut.live) else 0 for axis in AXES]

    def take(self) -> dict[str, int]:
        assert not self.taken
        self.taken = True
        return self.entries.popleft()

    # ------------------------------------------------------------------------------------------------------------ registers

    async def write(self, **values: int) -> None:
        self.registers |= values
        await self.bank.configure(**values)

    async def configure(self, **values: int) -> None:
        """Write what differs."""
        await self.write(**{name: value for name, value in values.items() if self.registers[name] != value})

    async def command(self, command: ScanCommand) -> None:
        await self.bank.write("command", command)
        await cycles(COMMAND_CYCLES)

    async def update(self) -> None:
        await self.command(ScanCommand.UPDATE)
        self.pending = self.again = True
        self._settle_update()

    def _settle_update(self) -> None:
        if self.pending and not self.raster_runs:
            self.take_over(self.registers)
            self.pending = False

    # ---------------------------------------------------------------------------------------------------------------- ticks

    @property
    def places(self) -> list[int]:
        """x, y, z in Q20.12, drift included, as wide as they are."""
        return [((place << 20) + drift) >> 28 for place, drift in zip(self.now.place, self.drift, strict=True)]

    def compare(self) -> None:
        dut = self.dut
        assert ScanState(get(dut.state)) is self.now.state
        places = self.places
        for port, place in zip((dut.x, dut.y, dut.z), places, strict=True):
            assert signed(get(port), POSITION.width) == max(-LIMIT, min(LIMIT - 1, place))
        assert get(dut.overflow) == any(not -LIMIT <= place < LIMIT for place in places)
        assert get(dut.beam) == (any(self.lit) and get(dut.live))
        assert get(dut.second) == self.now.second
        assert get(dut.waiting) == (self.now.state is ScanState.WAIT)
        assert get(dut.starved) == (self.now.state is ScanState.STARVED)
        assert get(dut.pixel_over) == (self.now.marker is not None and self.now.marker["last"])
        assert get(dut.points__ready) == 0 or get(dut.tick)

    async def tick(self, sequence=None) -> bool:
        """One tick, until what follows from it stands; whether it counted. ``sequence``: it goes on there if so."""
        dut, rng = self.dut, self.rng
        pause = rng.random() < self.pause_share
        self.late = rng.random() < self.games
        dut.tick.value, dut.pause.value, dut.late.value = 1, int(pause), int(self.late)
        await settled()
        self.compare()
        assert (get(dut.pixels), get(dut.pixel_samples)) == (self.given["pixels"], self.given["pixel_samples"])
        due, self.markers = self.markers[0], [*self.markers[1:], None if pause else self._marker()]
        seen = unpack(MARKER, get(dut.marker))
        assert seen["active"] == (due is not None)
        if due is not None:
            assert seen == due
            self.counted.append(seen)
        blanking = Blanking(self.registers["blanking"])
        dark = self.now.dark is None or self.now.dark in blanking and bool(self.now.dark) or self.late and Blanking.STARVED in blanking
        self.lit = [*self.lit[1:], not dark and bool(get(dut.live))]
        if get(dut.live):
            self.drift = [drift + rate for drift, rate in zip(self.drift, self.rates, strict=True)]
        counted = self.prepared and not pause
        self.prepared = True
        self.taken = False
        await cycles()
        dut.tick.value, dut.pause.value = 0, rng.randrange(2)  # pause means nothing between ticks
        await settled()
        ready = get(dut.points__ready)
        if counted and sequence is not None:
            before = self.now.state
            self.now = next(sequence)
            self.starved += self.now.state is ScanState.STARVED is not before
            if self.now.state is ScanState.IDLE:
                self.frames += before is not ScanState.MOVING
                self.raster_runs = False
                self._settle_update()
        assert ready == self.taken
        await cycles()
        if self.taken:
            self.shown = False
            dut.points__valid.value = 0
        self.renews, self.again = self.pending, False
        self.rests = {name: self.registers[name] for name in ("settle_samples", "overscan_samples")}
        await settled()
        assert get(dut.pixel_start) == (counted and self.now.marker is not None and self.now.marker["first"])
        await cycles()
        self._look(sequence is not None)
        await cycles()
        self._noise()
        between = rng.randrange(PLACE_CYCLES - 4, TICK_CYCLES_MIN - 4)
        await cycles(between)
        if rng.random() < 0.1:
            self._show()  # too late for the next tick
        await settled()
        self.compare()
        assert get(dut.pixel_start) == 0
        await cycles(TICK_CYCLES_MIN - 4 - between + (rng.randrange(5) if rng.random() < 0.3 else 0))
        return counted

    def _marker(self) -> dict[str, int] | None:
        if self.now.marker is None:
            return None
        x, y = (max(-LIMIT, min(LIMIT - 1, place)) for place in self.places[:2])
        ends = {} if self.may_end else {"last": 0, "line_last": 0}
        return {name: int(value) for name, value in (self.now.marker | {"x": x, "y": y} | ends).items()}

    def _look(self, plays: bool) -> None:
        """The third cycle after a tick: what the next one will ask."""
        dut, rng = self.dut, self.rng
        if rng.random() >= self.games:
            self._show()
        dut.points__valid.value = int(self.shown)
        self.offered = self.shown
        if plays and self.games:
            self.may_end, self.may_start = rng.random() >= self.games, rng.random() >= self.games
        dut.may_end.value, dut.may_start.value, dut.line_waits.value = int(self.may_end), int(self.may_start), int(self.line_waits)

    def _show(self) -> None:
        if self.entries and not self.shown:
            self.shown = True
            self.dut.points__valid.value = 1
            self.dut.points__payload.value = pack(POINT, self.entries[0])

    def _noise(self) -> None:
        """The cycle after that one and all others: nothing of this counts."""
        dut, rng = self.dut, self.rng
        if self.games:
            dut.may_end.value, dut.may_start.value, dut.late.value = (rng.randrange(2) for _ in range(3))
            if rng.random() < 0.1:
                self._show()

    async def idle(self, ticks: int) -> None:
        for _ in range(ticks):
            await self.tick()

    async def follow(self, sequence, ticks: int | None = None, meddle=None) -> bool:
        """Compare with a sequence to its end, or for so many ticks; True if it ended. ``meddle`` is called between two ticks."""
        while self.now.state is not ScanState.IDLE:
            if ticks == 0:
                return False
            ticks = None if ticks is None else ticks - 1
            await self.tick(sequence)
            if meddle is not None:
                await meddle()
        return True

    # ------------------------------------------------------------------------------------------------------------- commands

    async def begin(self, command: ScanCommand):
        """Give the command; the sequence that it begins."""
        await self.command(command)
        assert self.now.state is ScanState.IDLE
        whole = [(place << 20) + drift for place, drift in zip(self.now.place, self.drift, strict=True)]
        place, self.drift = tuple(w >> 20 for w in whole), [w & 0xFFFFF for w in whole]
        self.prepared = False
        if command is ScanCommand.MOVE:
            sequence = move(place, self)
        else:
            self.take_over(self.registers)
            self.raster_runs = command is ScanCommand.START
            sequence = raster(self.given, *place, self) if self.raster_runs else point_list(self.given["pixels"], place, self)
        self.now = next(sequence)
        self.first = place
        return sequence

    async def frame(self, ticks: int | None = None, meddle=None) -> bool:
        return await self.follow(await self.begin(ScanCommand.START), ticks, meddle)

    async def list(self, entries, ticks: int | None = None) -> bool:
        self.entries.extend(entries)
        return await self.follow(await self.begin(ScanCommand.LIST), ticks)

    async def go_to(self, *place: int) -> None:
        """To a position in Q20.12 within a few ticks."""
        await self.configure(**dict(zip(("target_x", "target_y", "target_z"), place, strict=True)), move_step=(1 << 31) - 1)
        assert await self.follow(await self.begin(ScanCommand.MOVE))

    def cut(self) -> None:
        """A raster or list ended before its end: it stands, and what was on its way is dropped."""
        self.now = Tick(ScanState.IDLE, self.now.place)
        self.markers, self.lit = [None] * DELAY, [False] * DELAY
        self.raster_runs = False
        self._settle_update()

    async def dead(self) -> None:
        """Live falls, whatever runs; until that has come through."""
        self.dut.live.value = 0
        if self.now.state is not ScanState.IDLE:
            self.cut()
        self.rates = [0, 0, 0]
        await cycles(3)


def random_config(rng, most_samples: int = 250) -> dict[str, int]:
    """A frame of bounded length; zeros and ones are as likely as anything."""

    def few(low: int, high: int) -> int:
        return low if rng.random() < 0.4 else rng.randrange(low, high + 1)

    config = {"flags": rng.randrange(16), "pixels": few(1, 12), "lines": few(1, 7), "pixel_samples": few(1, 7), "interlace": few(1, 4)}
    while config["pixels"] * config["lines"] * config["pixel_samples"] > most_samples:
        config["lines"] = max(1, config["lines"] // 2)
        config["pixels"] = max(1, config["pixels"] // 2)
    config |= {name: few(0, 4) for name in ("settle_samples", "overscan_samples", "turn_samples", "next_samples")}
    for name in GEOMETRY:
        # Outside of the range at times, but never so far that it would come round; fields are a few moves away.
        kind = name[:-2]
        stepped = config["flags"] & ScanFlags.STEPPED
        most = {"step": 26, "line": 24 if config["interlace"] > 1 else 27, "field": 24}.get(kind, 31)
        bits = rng.choice((1, 8, 20, most))
        config[name] = rng.choice((0, 1, -1, rng.randrange(-(1 << bits), 1 << bits)))
        if kind not in ("line", "field", "step" if stepped else "") and rng.random() < 0.02:
            config[name] = rng.choice((-(1 << 31), (1 << 31) - 1))
    return config


def anywhere(rng, bits: int = 29) -> list[int]:
    return [rng.randrange(-(1 << bits), 1 << bits) for _ in AXES]


async def ready(dut, salt: str) -> Bench:
    await start(dut, live=1, may_end=1, may_start=1)
    return Bench(dut, seeded(salt))


@cocotb.test()
async def frames_equal_the_naive_model(dut):
    """Rasters of every kind, with pauses and drift; half of them wait for pixels, lines and the scan's start."""
    bench = await ready(dut, "frames")
    rng = bench.rng
    for frame in range(120):
        config = random_config(rng)
        await bench.configure(**config, blanking=rng.randrange(8))
        if frame % 3 == 0:
            await bench.go_to(*anywhere(rng))
            await bench.configure(move_step=rng.choice(((1 << 31) - 1, 1 << 29)))
        bench.pause_share = rng.choice((0.0, 0.0, 0.2, 0.6))
        bench.games, bench.line_waits = rng.choice(((0.0, False), (0.3, False), (0.3, True), (0.6, True)))
        bench.may_end = bench.may_start = True
        bench.counted.clear()
        assert await bench.frame()
        await bench.idle(DELAY + 1)  # the markers of the last samples
        assert await bench.bank.read("frames") == bench.frames == bench.starts == frame + 1
        assert await bench.bank.read("line") == bench.now.line
        assert [await bench.bank.read(axis) for axis in AXES] == [max(-LIMIT, min(LIMIT - 1, place)) for place in bench.places]
        check_pixels(bench.counted, config, bench.first, bool(bench.games))
    assert bench.aborts == 0


def check_pixels(markers: list[dict[str, int]], config: dict[str, int], first: tuple[int, ...], waits: bool) -> None:
    """Of what came out, independent of the model: each pixel of the frame once, in order, with all its samples, and at its place."""
    flags, samples, interlace = ScanFlags(config["flags"]), config["pixel_samples"], config["interlace"]
    numbers = range(config["pixels"])
    expected = []
    for field in range(interlace):
        for turn, line in enumerate(range(field, config["lines"], interlace)):
            if ScanFlags.BACKWARD in flags:
                passes = [(0, 0), (1, 0), (0, 1), (1, 1)] if ScanFlags.LIFT in flags else [(0, 0), (1, 0)]
            else:
                passes = [(turn % 2 if ScanFlags.SERPENTINE in flags else 0, 0)]
            for direction, second in passes:
                expected += [(line, direction, second, index) for index in (reversed(numbers) if direction else numbers)]
    pixels: list[list[dict[str, int]]] = []
    for marker in markers:
        if marker["first"]:
            pixels.append([])
        pixels[-1].append(marker)
        assert marker["line_first"] == (marker["first"] and marker["index"] == (numbers[-1] if marker["direction"] else 0))
        assert marker["line_last"] == (marker["last"] and marker["index"] == (0 if marker["direction"] else numbers[-1]))
    assert [tuple(pixel[0][name] for name in ("line", "direction", "second", "index")) for pixel in pixels] == expected
    still = not any(config[f"drift_{axis}"] for axis in AXES)
    for pixel in pixels:
        assert [marker["last"] for marker in pixel] == [0] * (len(pixel) - 1) + [1]
        assert len(pixel) == samples or waits and len(pixel) > samples
        for number, marker in enumerate(pixel):
            assert all(marker[name] == pixel[0][name] for name in ("line", "direction", "second", "index"))
            if not still:
                continue
            within = min(number, samples - 1)
            within = samples - 1 - within if marker["direction"] else within
            along = marker["index"] if ScanFlags.STEPPED in flags else marker["index"] * samples + within
            turn, field = divmod(marker["line"], interlace)
            for axis, start_ in zip(AXES[:2], first, strict=False):
                place = start_ + ((field * config[f"field_{axis}"] + turn * config[f"line_{axis}"]) << EXTRA)
                step = config[f"step_{axis}"] << (EXTRA if ScanFlags.STEPPED in flags else 0)
                place += (config["overscan_samples"] + along) * step
                assert marker[axis] == max(-LIMIT, min(LIMIT - 1, place >> EXTRA))


@cocotb.test()
async def lists_equal_the_naive_model(dut):
    """Places and segments, pixels or not, with drift; entries that come too late, and the next list's that wait behind."""
    bench = await ready(dut, "lists")
    rng = bench.rng
    waiting: list[list[dict[str, int]]] = []
    for number in range(200):
        await bench.configure(
            pixels=rng.choice((1, 3, 100)), blanking=rng.randrange(8),
            **{f"drift_{axis}": rng.choice((0, rng.randrange(-(1 << 31), 1 << 31))) for axis in AXES},
        )  # fmt: skip
        bench.pause_share = rng.choice((0.0, 0.0, 0.3))
        bench.games = rng.choice((0.0, 0.1, 0.3, 0.6))
        bench.may_end = bench.may_start = True
        bench.counted.clear()
        if not waiting:
            for _ in range(rng.choice((1, 1, 2))):
                waiting.append([random_entry(rng) for _ in range(rng.choice((1, 2, rng.randrange(3, 20))))])
                waiting[-1][-1]["last"] = 1
            bench.entries.extend(entry for entries in waiting for entry in entries)
        entries = waiting.pop(0)
        assert await bench.list([])
        assert len(bench.entries) == sum(len(entries) for entries in waiting), "of the next list nothing is taken"
        await bench.idle(DELAY + 1)
        assert await bench.bank.read("frames") == bench.frames == bench.starts == number + 1
        assert await bench.bank.read("starved") == bench.starved
        check_points(bench.counted, entries, bench.given["pixels"], bool(bench.games))
    assert bench.starved > 50
    assert bench.aborts == 0


def random_entry(rng) -> dict[str, int]:
    segment = rng.randrange(2)
    bits = rng.choice((8, 20, 26 if segment else 30))
    return {
        **{axis: rng.randrange(-(1 << bits), 1 << bits) for axis in AXES},
        "samples": rng.choice((0, 1, 2, rng.randrange(1, 9))), "pixel": rng.randrange(2), "segment": segment, "last": 0,
    }  # fmt: skip


def check_points(markers: list[dict[str, int]], entries: list[dict[str, int]], in_line: int, waits: bool) -> None:
    """Independent of the model: each pixel of the list once, in order, numbered, with all its samples; those of a place do not move."""
    pixels: list[list[dict[str, int]]] = []
    for marker in markers:
        if marker["first"]:
            pixels.append([])
        pixels[-1].append(marker)
    due = [entry for entry in entries if entry["pixel"]]
    assert len(pixels) == len(due)
    for number, (pixel, entry) in enumerate(zip(pixels, due, strict=True)):
        assert len(pixel) == max(1, entry["samples"]) or waits and len(pixel) > entry["samples"]
        line, index = divmod(number, in_line)
        for marker in pixel:
            assert (marker["line"], marker["index"], marker["direction"], marker["second"]) == (line, index, 0, 0)
            if not entry["segment"]:
                assert abs(marker["x"] - entry["x"]) < 1 << 12, "further away than any drift"
        assert [marker["last"] for marker in pixel] == [0] * (len(pixel) - 1) + [1]
        assert [marker["line_first"] for marker in pixel] == [int(index == 0)] + [0] * (len(pixel) - 1)
        assert pixel[-1]["line_last"] == (index == in_line - 1 or entry["last"])


@cocotb.test()
async def moves_equal_the_naive_model(dut):
    """Also those that are told on their way to go on elsewhere, or faster."""
    bench = await ready(dut, "moves")
    rng = bench.rng
    bench.pause_share = 0.2

    def new_target() -> dict[str, int]:
        return {f"target_{axis}": rng.choice((0, -LIMIT, LIMIT - 1, rng.randrange(-LIMIT, LIMIT))) for axis in AXES}

    def new_step() -> int:
        # From a step that reaches the target at once down to some hundred ticks; the greatest is 2**11 LSB.
        distance = max(abs(t - p) for t, p in zip(bench.target, bench.now.place, strict=True))
        return min((1 << 31) - 1, max(1, distance >> rng.randrange(7)))

    async def meddle() -> None:
        if bench.now.state is ScanState.IDLE:
            return
        if rng.random() < 0.03:
            await bench.write(**{f"target_{axis}": value for axis, value in zip(AXES, anywhere(rng), strict=True)})
            await settle()
        if rng.random() < 0.03:
            await bench.write(move_step=new_step())
            await settle()

    async def settle() -> None:
        """What was written counts from the second tick on."""
        bench.pause_share, share = 1.0, bench.pause_share
        await bench.tick()
        bench.pause_share = share

    for number in range(40):
        await bench.configure(**new_target())
        await bench.configure(move_step=new_step())
        sequence = await bench.begin(ScanCommand.MOVE)
        assert await bench.follow(sequence, meddle=meddle if number % 2 else None)
        assert tuple(p << EXTRA for p in bench.places) == bench.target
        await bench.idle(2)
    assert bench.counted == []
    assert bench.aborts == bench.starts == await bench.bank.read("frames") == 0, "a move is no frame"


@cocotb.test()
async def registers_wait_for_an_update_and_then_for_a_line(dut):
    """Written at any time, they count from the next line after UPDATE on; those without one from the next start."""
    bench = await ready(dut, "updates")
    rng = bench.rng
    taken = 0

    async def meddle() -> None:
        nonlocal taken
        before = bench.pending
        if rng.random() < 0.08:
            config = random_config(rng)
            names = rng.sample(SETTINGS, rng.choice((1, 3, len(SETTINGS))))
            await bench.configure(**{name: config[name] for name in names})
        if rng.random() < 0.08:
            await bench.update()
        if bench.pending and rng.random() < 0.3:
            # Between the look at the next tick and that tick.
            await bench.write(settle_samples=rng.randrange(4), overscan_samples=rng.randrange(3))
        if before or bench.pending:
            assert await bench.bank.read("waiting") == bench.pending
        taken += before

    for number in range(50):
        await bench.configure(**random_config(rng), move_step=(1 << 31) - 1)
        bench.pause_share = rng.choice((0.0, 0.3))
        bench.line_waits = rng.random() < 0.3
        if number % 4 == 0:
            await bench.go_to(*anywhere(rng, 28))
        assert await bench.frame(meddle=meddle)
        assert not bench.pending, "at its end, if no line came"
        await bench.idle(3)
        assert await bench.bank.read("waiting") == 0
    assert taken > 20


@cocotb.test()
async def settings_are_never_mixed(dut):
    """Two sets take turns, whenever the bus gets to it; each line is one or the other from its first sample to its last."""
    bench = await ready(dut, "together")
    rng = bench.rng
    sets = [
        {"flags": 1, "pixels": 3, "pixel_samples": 2, "step_x": 3 << 20, "step_y": 0, "settle_samples": 0, "overscan_samples": 0},
        {"flags": 1, "pixels": 4, "pixel_samples": 1, "step_x": 5 << 20, "step_y": 7 << 20, "settle_samples": 2, "overscan_samples": 3},
    ]
    await bench.configure(**sets[0], lines=200)
    sequence = await bench.begin(ScanCommand.START)
    over = False
    taken = 0

    async def change() -> None:
        nonlocal taken
        while not over:
            taken += 1
            await bench.bank.configure(**sets[taken % 2])
            await bench.bank.write("command", ScanCommand.UPDATE)
            while await bench.bank.read("waiting") and not over:
                await cycles(rng.randrange(20))

    changes = cocotb.start_soon(change())
    markers: list[dict[str, int]] = []
    del sequence  # which settings count when is not asked here
    while get(dut.state) != ScanState.IDLE or not markers:
        dut.tick.value = 1
        await settled()
        marker = unpack(MARKER, get(dut.marker))
        if marker["active"]:
            markers.append(marker)
        await cycles()
        dut.tick.value = 0
        await cycles(TICK_CYCLES_MIN - 1 + rng.randrange(4))
    over = True
    await changes
    lines: dict[int, list[dict[str, int]]] = {}
    for marker in markers:
        lines.setdefault(marker["line"], []).append(marker)
    kinds = set()
    place = (0, 0)
    for number in range(199):  # of the last one some are still under way
        forward = [marker for marker in lines[number] if not marker["direction"]]
        backward = [marker for marker in lines[number] if marker["direction"]]
        kind = len({marker["index"] for marker in forward}) == sets[1]["pixels"]
        kinds.add(kind)
        c = sets[kind]
        samples = range(c["pixels"] * c["pixel_samples"])
        due = [
            tuple(p + (c["overscan_samples"] + k) * c[f"step_{axis}"] >> EXTRA for p, axis in zip(place, "xy", strict=True))
            for k in samples
        ]
        assert [(marker["x"], marker["y"]) for marker in forward] == due
        assert [(marker["x"], marker["y"]) for marker in backward] == due[::-1]
    assert kinds == {0, 1} and taken > 20


@cocotb.test()
async def an_update_without_a_raster_counts_at_once(dut):
    bench = await ready(dut, "at once")
    drift = {"drift_x": 1 << 30, "drift_y": -(1 << 30), "drift_z": 12345678}
    await bench.write(**drift, pixels=7)
    await bench.idle(3)
    await bench.update()
    assert bench.rates == list(drift.values())
    await bench.idle(200)
    assert bench.places[0] == 200 * (1 << 30) >> 28 and bench.places[1] < 0
    # In a list and in a move too.
    for command in (ScanCommand.LIST, ScanCommand.MOVE):
        await bench.configure(target_x=1 << 20, move_step=1 << 20)
        bench.entries.extend({"x": 0, "y": 0, "z": 0, "samples": 20, "pixel": 1, "segment": 0, "last": 1} for _ in range(1))
        sequence = await bench.begin(command)
        assert not await bench.follow(sequence, 5)
        await bench.write(drift_x=-bench.registers["drift_x"])
        await bench.update()
        assert await bench.bank.read("waiting") == 0
        assert await bench.follow(sequence)
    # Live falls: nothing drifts, then or later, before it is asked for again.
    await bench.dead()
    await bench.idle(5)
    await bench.update()
    await bench.idle(5)
    dut.live.value = 1
    await bench.idle(5)
    assert bench.rates == [0, 0, 0]
    await bench.update()
    await bench.idle(5)
    assert any(bench.rates)


@cocotb.test()
async def stop_and_the_fall_of_live_end_all_at_once(dut):
    bench = await ready(dut, "stops")
    rng = bench.rng
    aborts = starts = moves = 0
    for attempt in range(120):
        await bench.configure(**random_config(rng), blanking=rng.randrange(8), move_step=rng.choice((1 << 22, 1 << 29)))
        await bench.configure(**{f"target_{axis}": value for axis, value in zip(AXES, anywhere(rng), strict=True)})
        bench.pause_share = rng.choice((0.0, 0.3))
        bench.games = rng.choice((0.0, 0.3))
        command = rng.choice((ScanCommand.START, ScanCommand.START, ScanCommand.LIST, ScanCommand.MOVE))
        if not bench.entries:
            bench.entries.extend(random_entry(rng) for _ in range(6))
            bench.entries[-1]["last"] = 1
        sequence = await bench.begin(command)
        whole = await bench.follow(sequence, rng.randrange(50))
        moves += command is ScanCommand.MOVE
        starts += command is not ScanCommand.MOVE
        aborts += not whole and command is not ScanCommand.MOVE
        if attempt % 2:
            await cycles(rng.randrange(4))
            await bench.command(ScanCommand.STOP)
            if not whole:
                bench.cut()
        else:
            await bench.dead()
        assert bench.aborts == aborts
        await bench.idle(DELAY + 2)
        if not attempt % 2:
            # Without live nothing starts.
            for ignored in (ScanCommand.START, ScanCommand.MOVE, ScanCommand.LIST):
                await bench.command(ignored)
                await bench.idle(3)
            dut.live.value = 1
            await bench.idle(2)  # and what was asked for then does not begin now
        assert await bench.bank.read("frames") == bench.frames
    assert bench.aborts == aborts > 40 and bench.frames > 5
    assert bench.starts == starts, "without live no frame begins"


@cocotb.test()
async def live_that_falls_in_the_cycle_before_a_tick_stops_that_tick(dut):
    """In the cycle of the tick itself it comes too late: that one still moves, but its sample is dropped with all that are under way."""
    bench = await ready(dut, "live in tick")
    await bench.configure(pixels=5, lines=3, pixel_samples=2, step_x=1 << 20, step_y=3 << 19)
    for ticks in range(3, 12):
        for cycles_before in (1, 0):
            sequence = await bench.begin(ScanCommand.START)
            assert not await bench.follow(sequence, ticks)
            dut.live.value = 0
            await cycles(cycles_before)
            dut.tick.value, dut.pause.value = 1, 0
            await cycles()
            dut.tick.value = 0
            if not cycles_before:
                bench.now = next(sequence)
            bench.cut()
            await cycles(TICK_CYCLES_MIN)
            await bench.idle(3)
            dut.live.value = 1
            await cycles(2)
    assert bench.aborts == 18


@cocotb.test()
async def stop_in_any_cycle_leaves_no_doubt(dut):
    """STOP or the fall of live before, in or after the cycle of a tick: a frame is counted, and all of its samples come, or it is aborted,
    and no more come; never both, never neither. Then all stands."""
    for command in (True, False):
        await stops(dut, command)


async def stops(dut, command: bool) -> None:
    bench = await ready(dut, "stop in tick")

    async def fall() -> None:
        dut.live.value = 0

    await bench.configure(pixels=2, lines=2, pixel_samples=2, step_x=1 << 20, line_y=1 << 12)
    frames = aborts = 0
    whole_frame = len(list(raster(bench.registers, 0, 0)))  # ticks, with the one that prepares
    for ticks in range(whole_frame - 5, whole_frame):
        for lead in range(-TICK_CYCLES_MIN, BANK_CYCLES + 4):  # cycles from the write's strobe to the tick
            sequence = await bench.begin(ScanCommand.START)
            assert not await bench.follow(sequence, ticks)
            stop = None
            for cycle in range(min(lead, 0), max(lead, 0) + 1):
                if cycle == 0:
                    stop = cocotb.start_soon(bench.bank.write("command", ScanCommand.STOP) if command else fall())
                dut.tick.value, dut.pause.value = int(cycle == lead), 0
                await cycles()
            dut.tick.value = 0
            await stop
            await cycles(TICK_CYCLES_MIN)
            frames_now = await bench.bank.read("frames")
            assert (frames_now - frames) + (bench.aborts - aborts) == 1, f"{ticks} of {whole_frame} ticks, lead {lead}"
            finished = frames_now > frames
            frames, aborts = frames_now, bench.aborts
            places = [await bench.bank.read(axis) for axis in AXES]
            # From here on it stands; the markers of a finished frame still come out.
            ends = []
            for _ in range(DELAY + 1):
                dut.tick.value = 1
                await settled()
                marker = unpack(MARKER, get(dut.marker))
                ends.append(marker["line_last"] if marker["active"] else None)
                await cycles()
                dut.tick.value = 0
                await cycles(TICK_CYCLES_MIN)
                assert await bench.bank.read("state") == ScanState.IDLE, f"{ticks} of {whole_frame} ticks, lead {lead}"
            assert places == [await bench.bank.read(axis) for axis in AXES]
            assert (1 in ends) == finished and (finished or not any(end is not None for end in ends))
            dut.live.value = 1
            await cycles(3)
            bench.now = Tick(ScanState.IDLE, tuple(place << EXTRA for place in places))
            bench.cut()
            bench.frames = frames
    assert frames > 3 and aborts > 20


@cocotb.test()
async def commands_that_do_not_fit_the_state_are_ignored(dut):
    """Whatever cycle they come in, no tick is lost by them; nor by an UPDATE that changes nothing."""
    bench = await ready(dut, "ignored")
    rng = bench.rng
    for number in range(12):
        await bench.configure(**random_config(rng, 100) | {"pixels": 5, "lines": 4}, target_x=77, target_y=-5, move_step=1 << 30)
        world = World()
        world.move_step = bench.move_step
        length = len(list(raster(bench.registers, *bench.now.place, world)))
        over = False

        async def disturb() -> None:
            while not over:  # noqa: B023 - it ends with this turn of the loop
                await bench.bank.try_write("command", rng.choice((0, 1, 3, 4, 5, 5, 6, 7)))
                await cycles(rng.choice((0, 0, rng.randrange(12))))

        sequence = await bench.begin(ScanCommand.START)
        disturbing = cocotb.start_soon(disturb())
        assert not await bench.follow(sequence, length - 5)
        over = True
        await disturbing
        await cycles(TICK_CYCLES_MIN)
        assert await bench.follow(sequence)
        assert bench.starts == number + 1
    assert bench.aborts == 0
    await bench.command(ScanCommand.STOP)  # of nothing
    await bench.idle(3)
    assert bench.aborts == 0
    # STOP ends a move too, which is not a raster: nothing is aborted.
    await bench.configure(move_step=1 << 10)
    assert not await bench.follow(await bench.begin(ScanCommand.MOVE), 5)
    await bench.command(ScanCommand.STOP)
    bench.cut()
    await bench.idle(3)
    assert bench.aborts == 0


@cocotb.test()
async def a_command_is_done_before_the_bus_says_anything_else(dut):
    """The second of two commands finds what the first one did, and no register that is written after it counts for it."""
    bench = await ready(dut, "quick commands")
    await bench.configure(target_x=1 << 30, move_step=1)
    states = {ScanCommand.START: ScanState.WAIT, ScanCommand.LIST: ScanState.WAIT, ScanCommand.MOVE: ScanState.MOVING}
    dut.may_start.value = 0
    pixels = 1
    for first in states:
        for second in (ScanCommand.START, ScanCommand.LIST, ScanCommand.MOVE, ScanCommand.UPDATE):
            for lead in range(12):

                async def commands() -> None:
                    await bench.bank.write("command", first)  # noqa: B023
                    await bench.bank.write("command" if lead % 2 else "pixels", second if lead % 2 else pixels + 1)  # noqa: B023

                telling = cocotb.start_soon(commands())
                for cycle in range(13):
                    dut.tick.value = int(cycle == lead)
                    await cycles()
                dut.tick.value = 0
                await telling
                await cycles(TICK_CYCLES_MIN)
                assert get(dut.state) == states[first], f"{first.name}, {second.name}, tick in cycle {lead}"
                if first is not ScanCommand.MOVE and not lead % 2:
                    assert get(dut.pixels) == pixels
                    pixels += 1
                await bench.bank.write("command", ScanCommand.STOP)
                await bench.bank.write("pixels", pixels)
                await bench.bank.write("command", ScanCommand.UPDATE)
                await cycles(TICK_CYCLES_MIN)


@cocotb.test()
async def a_command_beside_a_tick_loses_no_drift(dut):
    """Whatever cycle it comes in: what it takes into the position and what goes on drifting add up."""
    bench = await ready(dut, "drift beside commands")
    await bench.write(drift_x=1 << 30, drift_y=-(1 << 31), drift_z=3)
    await bench.update()
    dut.may_start.value = 0
    ticks = 0
    for command in (ScanCommand.START, ScanCommand.LIST, ScanCommand.MOVE):
        for lead in range(12):
            await bench.write(**{f"target_{axis}": place for axis, place in zip(AXES, bench.places, strict=True)})
            telling = cocotb.start_soon(bench.bank.write("command", command))
            for cycle in range(13):
                dut.tick.value = int(cycle == lead)
                await cycles()
            ticks += 1
            await telling
            await bench.bank.write("command", ScanCommand.STOP)
            await cycles(TICK_CYCLES_MIN)
            bench.drift = [ticks * rate for rate in bench.rates]
            assert [signed(get(port), POSITION.width) for port in (dut.x, dut.y, dut.z)] == bench.places, f"{command.name}, {lead}"


@cocotb.test()
async def a_move_beside_a_tick_reaches_its_target(dut):
    """Whatever cycle it comes in."""
    bench = await ready(dut, "move beside a tick")
    await bench.write(move_step=1 << 30)
    for lead in range(-2, 14):
        there = bench.rng.randrange(1, 1 << 20)
        await bench.write(target_x=there)
        telling = cocotb.start_soon(bench.bank.write("command", ScanCommand.MOVE))
        for cycle in range(15):
            dut.tick.value = int(cycle == lead + 2)
            await cycles()
        dut.tick.value = 0
        await telling
        for _ in range(6):
            await cycles(TICK_CYCLES_MIN)
            dut.tick.value = 1
            await cycles()
            dut.tick.value = 0
        await cycles(TICK_CYCLES_MIN)
        assert get(dut.state) == ScanState.IDLE and signed(get(dut.x), POSITION.width) == there, f"tick in cycle {lead}"


@cocotb.test()
async def a_move_never_goes_too_far(dut):
    """Whatever cycle of whatever tick the greatest step changes in."""
    bench = await ready(dut, "too far")
    rng = bench.rng
    over = False

    async def hurry() -> None:
        while not over:
            await bench.bank.write("move_step", rng.choice((1 << 21, 1 << 22, 1 << 23)))
            await cycles(rng.randrange(9))

    for sign in (1, -1) * 30:
        over = False
        await bench.bank.configure(target_x=sign << 16, target_y=-sign << 16, target_z=sign << 15, move_step=1 << 22)
        await bench.bank.write("command", ScanCommand.MOVE)
        await cycles(COMMAND_CYCLES)
        hurrying = cocotb.start_soon(hurry())
        while get(dut.state) != ScanState.IDLE:
            dut.tick.value = 1
            await cycles()
            dut.tick.value = 0
            await cycles(TICK_CYCLES_MIN - 1 + rng.randrange(3))
            assert abs(signed(get(dut.x), 32)) <= 1 << 16 and abs(signed(get(dut.y), 32)) <= 1 << 16
            assert abs(signed(get(dut.z), 32)) <= 1 << 15
        over = True
        await hurrying
        assert signed(get(dut.x), 32) == sign << 16


@cocotb.test()
async def a_point_that_is_withdrawn_is_not_taken(dut):
    """The list's queue may be emptied after a point was looked at: the next tick does not count, then the list starves."""
    bench = await ready(dut, "withdrawn")
    here = {"x": 5, "y": 6, "z": 7, "samples": 3, "pixel": 1, "segment": 0, "last": 0}
    bench.entries.append(here)
    sequence = await bench.begin(ScanCommand.LIST)
    assert not await bench.follow(sequence, 3)
    assert bench.now.marker is not None and bench.now.marker["last"] == 0
    bench.entries.append(here | {"x": 1 << 30, "last": 1})
    assert not await bench.follow(sequence, 1)
    assert bench.shown and bench.now.marker["last"]
    bench.shown = bench.offered = False
    dut.points__valid.value = 0
    await cycles()
    dut.points__payload.value = pack(POINT, here | {"y": 1 << 30})
    dead = bench.entries.popleft()
    # The tick that is voided, and its sample belongs to no pixel.
    bench.prepared = False
    sight, bench.now.marker = bench.now.marker, None
    dut.tick.value, dut.pause.value = 1, 0
    await settled()
    assert get(dut.points__ready) == 0 and get(dut.pixel_over)
    await cycles()
    dut.tick.value = 0
    await cycles(TICK_CYCLES_MIN)
    bench.now.marker = sight
    bench.prepared = True
    bench.markers, bench.lit = [*bench.markers[1:], None], [*bench.lit[1:], True]
    assert not await bench.follow(sequence, 3)
    assert bench.now.state is ScanState.STARVED
    bench.entries.append(dead)
    assert await bench.follow(sequence)
    assert bench.places[0] == 1 << 30
    assert await bench.bank.read("starved") == 1


@cocotb.test()
async def a_position_outside_the_range_shows(dut):
    """``overflow`` stands while a position is outside, and falls when it comes back; ``compare`` looks at it at each tick."""
    bench = await ready(dut, "overflow")
    # No line step: the way back comes in again.
    await bench.configure(flags=1, pixels=4, lines=1, pixel_samples=2, turn_samples=1, settle_samples=1)
    near = LIMIT - (3 << 12)
    for sign in (1, -1):
        for axis in AXES:
            at = {"x": 0, "y": 0, "z": 0, axis: sign * near}
            await bench.configure(**{f"step_{name}": sign << 20 if name == axis else 0 for name in AXES})
            await bench.go_to(*at.values())
            places = [tick.place[AXES.index(axis)] >> EXTRA for tick in raster(bench.registers, *bench.now.place)]
            assert sum((-LIMIT <= a < LIMIT) != (-LIMIT <= b < LIMIT) for a, b in pairwise(places)) == 2
            assert await bench.frame()
            # Live falls while it is outside: then the rail is where it is, and one can go on from there.
            assert not await bench.frame(ticks=10)
            assert get(dut.overflow)
            await bench.dead()
            bench.now = Tick(ScanState.IDLE, tuple(max(-LIMIT, min(LIMIT - 1, place)) << EXTRA for place in bench.places))
            bench.drift = [0, 0, 0]
            await cycles(5)
            await bench.idle(2)
            assert not get(dut.overflow)
            dut.live.value = 1
            await bench.idle(2)


@cocotb.test()
async def latencies(dut):
    """State and beam two cycles after a tick, positions and ``overflow`` PLACE_CYCLES after it, STOP and live's fall three cycles."""
    bench = await ready(dut, "latencies")
    await bench.configure(pixels=4, step_x=2 << 20, step_y=-(2 << 20), blanking=7)
    await bench.go_to(LIMIT - (3 << 12), 0, 0)
    sequence = await bench.begin(ScanCommand.START)
    assert not await bench.follow(sequence, 1)

    async def tick() -> None:
        dut.tick.value, dut.pause.value = 1, 0
        await cycles()
        dut.tick.value = 0
        await cycles()

    await tick()
    assert get(dut.state) == ScanState.FORWARD
    assert get(dut.pixel_start)
    await cycles(TICK_CYCLES_MIN)
    assert not get(dut.beam)
    for number in (0, 1):
        before = [get(port) for port in (dut.x, dut.y, dut.overflow)]
        await tick()
        assert get(dut.beam)
        for _ in range(PLACE_CYCLES - 2):
            await settled()
            assert [get(port) for port in (dut.x, dut.y, dut.overflow)] == before
            await cycles()
        await settled()
        assert signed(get(dut.y), 32) == -(2 << 12) * (number + 1)
        assert get(dut.overflow) == number
        await cycles(TICK_CYCLES_MIN)
    dut.live.value = 0
    await settled()
    assert not get(dut.beam)
    await cycles(3)
    assert get(dut.state) == ScanState.IDLE
    # STOP, from the cycle in which the bank has it.
    await cycles(10)
    dut.live.value = 1
    await cycles(3)
    await bench.bank.write("command", ScanCommand.START)
    await cycles(COMMAND_CYCLES)
    assert get(dut.state) == ScanState.WAIT
    writing = cocotb.start_soon(bench.bank.write("command", ScanCommand.STOP))
    await cycles(BANK_CYCLES + 3)
    assert get(dut.state) == ScanState.IDLE
    await writing


@cocotb.test()
async def a_pixel_may_wait_for_longer_than_samples_are_counted(dut):
    """It has one first sample only. The count is set near its end from outside: to wait for that takes 2**24 samples."""
    bench = await ready(dut, "long wait")
    await bench.configure(flags=0, pixels=2, pixel_samples=2, step_x=1 << 20)
    sequence = await bench.begin(ScanCommand.START)
    bench.may_end = False
    assert not await bench.follow(sequence, 8)
    field = NOW["samples"]
    others = get(dut.now) & ~(((1 << field.width) - 1) << field.offset)
    dut.now.value = others | ((1 << field.width) - 3) << field.offset
    await cycles()
    await bench.tick()
    assert not await bench.follow(sequence, 8)
    assert bench.now.marker is not None and not bench.now.marker["first"]
    bench.may_end, bench.pause_share = True, 1.0
    await bench.tick()  # looked at after this one
    bench.pause_share = 0.0
    assert await bench.follow(sequence)
    await bench.idle(DELAY + 1)
    assert [marker["index"] for marker in bench.counted if marker["first"]] == [0, 1]
    assert [marker["index"] for marker in bench.counted if marker["last"]] == [0, 1]
