from collections import deque

import cocotb
from support import BANK_CYCLES, Bank, cycles, get, parameters, seeded, settled, start, unpack

from reflexarc.contract.blocks import trajectory
from reflexarc.contract.blocks.trajectory import DEPTH, SAMPLES_BITS, PointKind
from reflexarc_hw.blocks.scan.point import POINT

OFFER_CYCLES = parameters().get("offer_cycles", 3)
CLEAR_CYCLES = parameters().get("clear_cycles", 2)


class Bench:
    """Pushes over the bus against a queue in Python; ``share`` is how often the other side takes what is offered."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.bank = Bank(dut, trajectory.BLOCK)
        self.registers = {"x": 0, "y": 0, "z": 0}
        self.queue: deque[dict[str, int]] = deque()
        self.refused = 0
        self.share = 0.0
        self.pushing: dict[str, int] | None = None  # under way on the bus
        self.clearing = False
        cocotb.start_soon(self._take())

    async def _take(self) -> None:
        """Each cycle: what is offered is the queue's oldest and stays until it is taken."""
        dut = self.dut
        held = None
        while True:
            ready = self.rng.random() < self.share
            dut.points__ready.value = int(ready)
            await settled()
            offered = unpack(POINT, get(dut.points__payload)) if get(dut.points__valid) else None
            if held is not None and not self.clearing:
                assert offered == held, "what was offered was withdrawn"
            held = None if ready or self.clearing else offered
            if offered is not None and not self.clearing:
                due = [*self.queue, *([self.pushing] if self.pushing else [])]
                assert offered == due[0]
                if ready:
                    if self.queue:
                        self.queue.popleft()
                    else:
                        self.pushing = None
            await cycles()

    async def push(self, point: dict[str, int]) -> None:
        changed = {axis: point[axis] for axis in self.registers if self.registers[axis] != point[axis]}
        await self.bank.configure(**changed)  # they keep their values for the next
        self.registers |= changed
        kind = point["pixel"] * PointKind.PIXEL | point["segment"] * PointKind.SEGMENT | point["last"] * PointKind.LAST
        full = len(self.queue) == DEPTH
        self.pushing = None if full else point
        self.refused += full
        await self.bank.write("push", kind << SAMPLES_BITS | point["samples"])
        if self.pushing is not None:
            self.queue.append(self.pushing)
            self.pushing = None


def random_point(rng) -> dict[str, int]:
    places = {axis: rng.choice((0, -(1 << 31), (1 << 31) - 1, rng.getrandbits(32) - (1 << 31))) for axis in "xyz"}
    return (
        places
        | {"samples": rng.choice((0, (1 << 24) - 1, rng.getrandbits(24)))}
        | {k: rng.randrange(2) for k in ("pixel", "segment", "last")}
    )


async def ready(dut, salt: str) -> Bench:
    await start(dut)
    return Bench(dut, seeded(salt))


@cocotb.test()
async def points_come_out_in_order(dut):
    bench = await ready(dut, "order")
    for _ in range(20):
        bench.share = bench.rng.choice((0.0, 0.01, 0.05, 1.0))
        for _ in range(bench.rng.randrange(60)):
            await bench.push(random_point(bench.rng))
        if not bench.share:
            await cycles(3)
            assert await bench.bank.read("free") == DEPTH - len(bench.queue)
    bench.share = 1.0
    await cycles(3 * DEPTH)
    assert not bench.queue
    assert await bench.bank.read("free") == DEPTH
    assert await bench.bank.read("refused") == bench.refused


@cocotb.test()
async def a_full_queue_refuses_and_counts(dut):
    """All of its places are used; what it refuses does no harm to what it has."""
    bench = await ready(dut, "full")
    assert await bench.bank.read("free") == DEPTH
    for number in range(DEPTH + 5):
        await bench.push({"x": number, "y": 0, "z": 0, "samples": number, "pixel": 1, "segment": 0, "last": 0})
    assert await bench.bank.read("free") == 0
    assert await bench.bank.read("refused") == bench.refused == 5
    bench.share = 1.0
    await cycles(3)
    bench.share = 0.0
    await cycles(3)
    room = DEPTH - len(bench.queue)
    assert await bench.bank.read("free") == room > 0
    for number in range(room + 1):
        await bench.push({"x": -number, "y": 0, "z": 0, "samples": 1, "pixel": 0, "segment": 1, "last": 1})
    assert await bench.bank.read("refused") == bench.refused == 6
    bench.share = 1.0
    await cycles(3 * DEPTH)
    assert not bench.queue


@cocotb.test()
async def clear_empties_at_once(dut):
    """By the strobe in any cycle, or by the register; what is pushed after it stays."""
    bench = await ready(dut, "clear")
    rng = bench.rng
    for number in range(24):
        for _ in range(rng.choice((0, 1, 2, 5, 30))):
            await bench.push(random_point(rng))
        await cycles(rng.randrange(4))
        offered = get(dut.points__payload) if get(dut.points__valid) else None
        bench.queue.clear()
        bench.clearing = True
        if number % 2:
            dut.clear.value = 1
            await cycles()
        else:
            cocotb.start_soon(bench.bank.write("clear", 0))
            await cycles(BANK_CYCLES + 1)
        dut.clear.value = 0
        await cycles(CLEAR_CYCLES - 1)
        await settled()
        assert not get(dut.points__valid)
        assert offered is None or get(dut.points__payload) == offered, "it stands for that cycle too, for a tick that comes then"
        await cycles()
        bench.clearing = False
        point = random_point(rng)
        await bench.push(point)
        await cycles(OFFER_CYCLES)
        assert await bench.bank.read("free") == DEPTH - 1
        assert get(dut.points__valid) and unpack(POINT, get(dut.points__payload)) == point
        bench.share = 1.0
        await cycles(3)
        bench.share = 0.0
        assert not bench.queue
    assert await bench.bank.read("refused") == 0


@cocotb.test()
async def latencies(dut):
    """From the strobe of a push, which comes BANK_CYCLES after that of the bus, to its point."""
    bench = await ready(dut, "latencies")
    bench.pushing = {"x": 0, "y": 0, "z": 0, "samples": 5, "pixel": 1, "segment": 0, "last": 0}
    cocotb.start_soon(bench.bank.write("push", PointKind.PIXEL << SAMPLES_BITS | 5))
    await cycles(BANK_CYCLES)
    for _ in range(OFFER_CYCLES):
        await settled()
        assert not get(dut.points__valid)
        await cycles()
    await settled()
    assert get(dut.points__valid)
