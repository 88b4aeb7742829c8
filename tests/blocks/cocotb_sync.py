import cocotb
from naive_sync import Cycle, NaiveSync
from support import Bank, cycles, get, parameters, seeded, settled, start

from reflexarc.contract.blocks import sync
from reflexarc.contract.blocks.sync import SyncLine, SyncMode

LINE_CYCLES = parameters().get("line_cycles", 4)
EXTERNAL_CYCLES = parameters().get("external_cycles", 3)
TRIGGER_CYCLES = parameters().get("trigger_cycles", 2)


class Bench:
    """Cycle by cycle against the naive model; a scan and its neighbours are played by chance."""

    def __init__(self, dut, rng, mode: SyncMode, wait_samples: int, pulse_cycles: int):
        self.dut, self.rng = dut, rng
        self.model = NaiveSync(mode, wait_samples, pulse_cycles)
        self.lines = SyncLine(0)

    async def cycle(self, lines: SyncLine | None = None, **inputs: bool) -> None:
        dut, model = self.dut, self.model
        self.lines = self.lines if lines is None else lines
        names = ("tick", "pixel_start", "pixel_first", "pixel_over", "waiting")
        model.add(Cycle(self.lines, **{name: bool(inputs.get(name)) for name in names}))
        dut.lines.value = int(self.lines)
        for name in names:
            getattr(dut, name).value = int(bool(inputs.get(name)))
        await settled()
        now = len(model.history) - 1
        assert get(dut.may_end) == model.may_end(now)
        assert get(dut.may_start) == model.may_start(now)
        assert get(dut.late) == model.late
        assert get(dut.pixel) == model.pulse(now)
        assert get(dut.line_waits) == (SyncMode.LINE_TRIGGER in model.mode)
        await cycles()


async def ready(dut, salt: str, mode: SyncMode, wait_samples: int = 0, pulse_cycles: int = 10) -> tuple[Bench, Bank]:
    await start(dut)
    bank = Bank(dut, sync.BLOCK)
    await bank.configure(mode=int(mode), wait_samples=wait_samples, pulse_cycles=pulse_cycles)
    await cycles(3)
    bench = Bench(dut, seeded(salt), mode, wait_samples, pulse_cycles)
    return bench, bank


@cocotb.test()
async def random_histories_equal_the_naive_model(dut):
    """Lines of any frequency, also edges in the very cycles of a pixel's begin and of its first sample."""
    seen_missed = seen_late = 0
    for number in range(48):
        rng = seeded(f"sync kind {number}")
        mode = SyncMode(number % 16)
        bench, bank = await ready(dut, f"sync {number}", mode, rng.choice((0, 1, 2, 5)), rng.choice((1, 2, 10)))
        shares = {line: rng.choice((0.02, 0.1, 0.5)) for line in SyncLine}
        spacing = rng.choice((2, 5, 16))
        waiting = over = False
        for number_ in range(400):
            lines = bench.lines
            for line, share in shares.items():
                if rng.random() < share:
                    lines ^= line
            # A pixel, a wait for a line or neither, each for some time; a new pixel may follow at once.
            begins = rng.random() < 0.04
            over = not begins and (over or rng.random() < 0.1) and rng.random() > 0.01
            waiting = not begins and not over and (waiting or rng.random() < 0.05) and rng.random() > 0.02
            await bench.cycle(
                lines, tick=number_ % spacing == 0, pixel_start=begins, pixel_first=rng.random() < 0.06, pixel_over=over, waiting=waiting
            )
        missed, lates = bench.model.missed, bench.model.lates
        for name in ("tick", "pixel_start", "pixel_first", "pixel_over", "waiting"):
            getattr(dut, name).value = 0
        await cycles(5)
        assert await bank.read("lines") == int(bench.lines)
        # What the last cycles before the end have brought is counted by then.
        for _ in range(5):
            bench.model.add(Cycle(bench.lines, False, False, False, False, False))
        missed, lates = bench.model.missed, bench.model.lates
        assert await bank.read("missed") == missed
        assert await bank.read("late") == lates
        seen_missed += missed
        seen_late += lates
    assert seen_missed > 100 and seen_late > 50


@cocotb.test()
async def a_camera_is_triggered_busy_and_ready(dut):
    """Each step is needed: a camera that is ready all the time, or was busy before its trigger only, ends no pixel."""
    bench, _ = await ready(dut, "camera", SyncMode.CAMERA)
    on = SyncLine.CAMERA_READY
    for _ in range(5):
        await bench.cycle(on)
    await bench.cycle(pixel_start=True)
    for lines in (on, SyncLine(0), SyncLine(0), on, on, on, on, on):  # busy before the trigger
        await bench.cycle(lines)
    assert not get(dut.may_end)
    await bench.cycle(pixel_first=True)
    for _ in range(30):
        await bench.cycle()
    assert not get(dut.may_end)
    for _ in range(10):
        await bench.cycle(SyncLine(0))
    assert not get(dut.may_end)
    for number in range(LINE_CYCLES + 1):
        await bench.cycle(on)
        assert get(dut.may_end) == (number >= LINE_CYCLES - 1), "what is read here is of the next cycle"
    await bench.cycle(pixel_start=True)
    assert not get(dut.may_end)


@cocotb.test()
async def latencies(dut):
    """From the cycle in which a line changes to what follows from it."""

    async def until(port, patience: int = 20) -> int:
        for count in range(patience):
            await settled()
            if get(port):
                return count
            await cycles()
        raise AssertionError("it never comes")

    bank = Bank(dut, sync.BLOCK)
    for mode, line, begin, port, due in (
        (SyncMode.PIXEL_CLOCK, SyncLine.PIXEL_CLOCK, "pixel_start", dut.may_end, LINE_CYCLES),
        (SyncMode.LINE_TRIGGER, SyncLine.LINE_TRIGGER, "waiting", dut.may_start, LINE_CYCLES),
        (SyncMode.EXTERNAL_SCAN, SyncLine.EXTERNAL_SCAN, "waiting", dut.may_start, EXTERNAL_CYCLES),
    ):
        await start(dut)
        await bank.configure(mode=int(mode), external=1)
        assert get(dut.external)
        getattr(dut, begin).value = 1
        await cycles()
        if begin != "waiting":
            getattr(dut, begin).value = 0
        await cycles(5)
        await settled()
        assert not get(port)
        await cycles()
        dut.lines.value = int(line)
        assert await until(port) == due, mode.name
        await cycles()
    # The pulse, of the length that was asked for.
    await start(dut)
    await bank.write("pulse_cycles", 7)
    pulse = []
    for cycle in range(14):
        dut.pixel_first.value = int(cycle == 0)
        await settled()
        pulse.append(get(dut.pixel))
        await cycles()
    assert pulse == [0] * TRIGGER_CYCLES + [1] * 7 + [0] * (14 - TRIGGER_CYCLES - 7)
