import cocotb
from naive_lift import BACKWARD, FORWARD, NaiveLift
from support import Bank, cycles, get, parameters, seeded, settled, signed, start

from reflexarc.contract.blocks import lift
from reflexarc.contract.blocks.lift import DEPTH
from reflexarc.contract.blocks.scan import ScanState

POSITION_MIN, POSITION_MAX = -(1 << 31), (1 << 31) - 1


class Bench:
    """Plays the scan in front of the block and the controller behind it."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.bank = Bank(dut, lift.BLOCK)
        self.model = NaiveLift()
        self.lift_cycles = parameters()["lift_cycles"]
        self.state, self.second = ScanState.IDLE, False
        self.driven = 0
        self.moved = self.arrived = 0

    async def set(self, **values: int) -> None:
        for name, value in values.items():
            await self.bank.write(name, value)
            setattr(self.model, name, value)

    def scan(self, state: ScanState, second: bool) -> None:
        self.state, self.second = state, second
        self.dut.state.value, self.dut.second.value = int(state), int(second)
        self.dut.backward.value = int(state == BACKWARD)

    async def tick(self, then: tuple[ScanState, bool], driven: int | None = None, gap: int = 12, pause: bool = False) -> None:
        """One tick in the present state; with the cycle after it the scan is in the next one, unless it is told to pause."""
        dut, model, before = self.dut, self.model, self.model.z
        was_active = model.active
        if driven is not None:
            self.driven = driven
        dut.held_z.value = self.driven & 0xFFFFFFFF
        await cycles()
        if not pause:
            model.tick(self.state, self.second, self.driven, then)
        for cycle in range(gap - 1):
            dut.tick.value, dut.pause.value = int(cycle == 0), int(pause)
            if cycle == 2 and not pause:
                self.scan(*then)
            await settled()
            if was_active and model.active:
                assert get(dut.active)
                expected = before if cycle < self.lift_cycles else model.z
                assert signed(get(dut.z), 32) == expected, f"cycle {cycle}: {signed(get(dut.z), 32)}, expected {expected}"
            elif cycle >= 3:
                assert get(dut.active) == model.active
            if not model.active and cycle > 3:
                assert signed(get(dut.z), 32) == self.driven
            await cycles()
        self.moved += was_active and model.active and model.z != before

    async def quick(self, then: tuple[ScanState, bool], driven: int) -> None:
        """As ``tick``, with a look at the end only."""
        dut = self.dut
        self.driven = driven
        dut.held_z.value = driven & 0xFFFFFFFF
        await cycles()
        self.model.tick(self.state, self.second, driven, then)
        dut.tick.value = 1
        await cycles()
        dut.tick.value = 0
        await cycles()
        self.scan(*then)
        await cycles(self.lift_cycles - 2)
        assert signed(get(dut.z), 32) == self.model.z

    async def line(self, plan: list[tuple[ScanState, bool]], drive, pause: float = 0.0, gap=lambda: 13) -> None:
        """Ticks through the states of ``plan``, in each of which the scan stands for one sample."""
        for number, then in enumerate(plan):
            while self.rng.random() < pause:
                await self.tick(then, drive(), gap(), pause=True)
            await self.tick(then, drive() if not self.model.active or self.rng.random() < 0.2 else None, gap())
            assert number or self.state == then[0]


def there_and_back(rng, length: int, *, turns: bool = True) -> list[tuple[ScanState, bool]]:
    """The states of one line with both passes, and of the way to the next one."""

    def some(state: ScanState, second: bool) -> list[tuple[ScanState, bool]]:
        return [(state, second)] * rng.choice((0, 0, 1, 2, 5)) if turns else []

    plan = []
    for second in (False, True):
        plan += some(ScanState.SETTLE, second) + some(ScanState.OVERSCAN, second) + [(FORWARD, second)] * length
        plan += some(ScanState.OVERSCAN, second) + some(ScanState.TURN, second) + some(ScanState.OVERSCAN, second)
        plan += [(BACKWARD, second)] * length + some(ScanState.OVERSCAN, second) + some(ScanState.TURN, not second)
    return plan


def walk(rng, reach: int):
    """z of a surface: near where it was, now and then anywhere."""
    z = 0

    def drive() -> int:
        nonlocal z
        z = rng.choice((POSITION_MIN, POSITION_MAX, rng.randrange(POSITION_MIN, POSITION_MAX + 1))) if rng.random() < 0.02 else z
        z = min(max(z + rng.randrange(-reach, reach + 1), POSITION_MIN), POSITION_MAX)
        return z

    return drive


async def ready(dut, salt: str) -> Bench:
    await start(dut, live=1)
    bench = Bench(dut, seeded(salt))
    return bench


@cocotb.test()
async def random_lines_equal_the_model(dut):
    """Settings, lengths, turns and pauses at random; the second pass goes there and back over what the first one found."""
    rng = seeded("lines")
    bench = await ready(dut, "lines")
    overruns = 0
    for _ in range(80):
        spacing = rng.choice((0, 0, 1, 2, 3, rng.randrange(13)))
        length = rng.choice((1, 2, 3, rng.randrange(1, 120), (rng.randrange(1, 12) << min(spacing, 4)) + rng.randrange(-1, 2)))
        await bench.set(
            height=rng.choice((0, POSITION_MIN, POSITION_MAX, rng.randrange(POSITION_MIN, POSITION_MAX + 1), rng.randrange(-(1 << 20), 1 << 20))),
            step=rng.choice((1, (1 << 31) - 1, rng.randrange(1, 1 << rng.randrange(1, 32)))),
            spacing=spacing,
        )  # fmt: skip
        plan = there_and_back(rng, max(1, length), turns=rng.random() < 0.8)
        await bench.line(plan, walk(rng, 1 << rng.randrange(1, 24)), rng.choice((0.0, 0.1)), lambda: rng.choice((12, 12, 13, 16, 20)))
        overruns += await bench.bank.read("overrun")
    cocotb.log.info("z moved with %d ticks", bench.moved)
    assert bench.moved > 1000 and not overruns


@cocotb.test()
async def each_sample_is_prepared_before_it_comes(dut):
    """With a step that is large enough z is exact at each sample, there and back, to the place itself."""
    rng = seeded("exact")
    for spacing in (0, 2):
        bench = await ready(dut, "exact")
        await bench.set(height=1000, step=(1 << 31) - 1, spacing=spacing)
        length = 21
        heights = [rng.randrange(-(1 << 20), 1 << 20) for _ in range(length)]
        await bench.tick((FORWARD, False))
        for number in range(length):
            await bench.tick((FORWARD, False) if number + 1 < length else (ScanState.TURN, False), heights[number])
        await bench.tick((BACKWARD, False))
        for number in range(length):
            await bench.tick((BACKWARD, False) if number + 1 < length else (ScanState.TURN, True), 0)
        await bench.tick((FORWARD, True))
        for way in (range(length), reversed(range(length))):
            for number in way:
                # The scan stands at this sample.
                if number % (1 << spacing) == 0:
                    assert signed(get(dut.z), 32) == heights[number] + 1000
                state = FORWARD if bench.state == FORWARD and number + 1 < length else BACKWARD if number else ScanState.TURN
                if number + 1 == length and bench.state == FORWARD:
                    state = ScanState.TURN
                await bench.tick((state, True))
            if bench.state == ScanState.TURN and number + 1 == length:
                # Behind the line's end the last place stands.
                await bench.tick((ScanState.TURN, True))
                assert signed(get(dut.z), 32) == heights[(length - 1) >> spacing << spacing] + 1000
                await bench.tick((BACKWARD, True))


@cocotb.test()
async def a_pass_begins_where_z_is_and_goes_by_its_step(dut):
    bench = await ready(dut, "step")
    await bench.set(height=-(50 << 12), step=3 << 12)
    await bench.line([(FORWARD, False)] * 5 + [(ScanState.TURN, False)], lambda: 1000 << 12)
    await bench.tick((FORWARD, True), 2000 << 12)
    assert get(dut.active) and signed(get(dut.z), 32) == 2000 << 12
    for count in range(1, 5):
        await bench.tick((FORWARD, True), 0)
        assert signed(get(dut.z), 32) == (2000 - 3 * count) << 12


@cocotb.test()
async def what_is_beyond_the_range_stands_at_its_end(dut):
    """A height that would wrap: z stops at the rail."""
    for height, driven, rail in ((POSITION_MAX, POSITION_MAX - 5, POSITION_MAX), (POSITION_MIN, POSITION_MIN + 5, POSITION_MIN)):
        bench = await ready(dut, "rail")
        await bench.set(height=height, step=1 << 12)
        await bench.line([(FORWARD, False)] * 3 + [(ScanState.TURN, False), (FORWARD, True), (FORWARD, True)], lambda value=driven: value)
        assert signed(get(dut.z), 32) == rail


@cocotb.test()
async def a_line_longer_than_the_memory_keeps_its_begin(dut):
    """At the very depth nothing is lost; beyond it the last place stands, there and back."""
    rng = seeded("long")
    for length, spacing in ((DEPTH, 0), (DEPTH + 300, 0), (2 * DEPTH + 1, 1)):
        bench = await ready(dut, "long")
        await bench.set(height=12345, step=(1 << 31) - 1, spacing=spacing)
        drive = walk(rng, 1 << 16)
        for then in there_and_back(rng, length, turns=spacing == 0):
            await bench.quick(then, drive())
        assert bench.model.overrun == (length > DEPTH << spacing)
        assert await bench.bank.read("overrun") == bench.model.overrun


@cocotb.test()
async def a_scan_that_was_stopped_has_no_pass(dut):
    """Nor when it is armed again: ``second`` may stand as it was."""
    bench = await ready(dut, "stop")
    await bench.set(height=1 << 20, step=1 << 16)
    for state in (ScanState.IDLE, ScanState.MOVING):
        await bench.line([(FORWARD, False)] * 9 + [(ScanState.TURN, False)] + [(FORWARD, True)] * 4, lambda: 77 << 12)
        assert get(dut.active)
        bench.scan(ScanState.IDLE, True)
        bench.model.active, bench.model.heard = False, []
        await cycles(3)
        for live in (1, 0, 1):
            dut.live.value = live
            bench.scan(state if live else ScanState.IDLE, True)
            for driven in (5 << 12, 6 << 12, 6 << 12):
                dut.held_z.value = driven
                dut.tick.value = 1
                await cycles()
                dut.tick.value = 0
                await cycles(15)
                await settled()
                assert not get(dut.active) and signed(get(dut.z), 32) == driven
                await cycles()
        # The next scan finds its own line.
        bench.scan(ScanState.WAIT, False)
        bench.model = NaiveLift()
        await bench.set(height=1 << 10, step=1 << 16)
        await bench.line(there_and_back(bench.rng, 6), walk(bench.rng, 1 << 20))


@cocotb.test()
async def without_live_nothing_is_driven(dut):
    bench = await ready(dut, "live")
    await bench.set(height=1 << 20, step=1 << 16)
    await bench.line([(FORWARD, False)] * 9 + [(ScanState.TURN, False)] + [(FORWARD, True)] * 4, lambda: 77 << 12)
    dut.live.value = 0
    dut.held_z.value = 99 << 12
    await cycles(2)
    for _ in range(30):
        await settled()
        assert not get(dut.active) and signed(get(dut.z), 32) == 99 << 12
        await cycles()
