import cocotb
from cocotb.utils import get_sim_time
from support import BANK_CYCLES, PERIOD_NS, Master, cycles, get, parameters, seeded, settled, start

from reflexarc.contract.link import BusStatus
from reflexarc_hw.lib.bus import ACCESS_CYCLES

WORDS = 64  # in a bank's window


def answer_of(bank: int, write: bool, offset: int, data: int) -> tuple[int, int]:
    """What the banks of this bench answer: depends on everything, and not always OK."""
    value = (bank << 28) ^ (offset << 20) ^ (data * 2654435761) ^ write
    return value % 4, value & 0xFFFFFFFF


class Banks:
    """All banks; answers are there for one cycle only, as real ones' are. ``seen`` collects what was asked."""

    def __init__(self, dut, count: int):
        names = ("strobe", "write", "offset", "write_data", "read_data", "status")
        self.ports = [{name: getattr(dut, f"bank_{index}__{name}") for name in names} for index in range(count)]
        self.seen: list[tuple[int, bool, int, int]] = []
        cocotb.start_soon(self._run())

    async def _run(self):
        due: list[list[tuple[int, int]]] = [[(0, 0)] * BANK_CYCLES for _ in self.ports]
        while True:
            for port, queue in zip(self.ports, due, strict=True):
                port["status"].value, port["read_data"].value = queue.pop(0)
            await settled()
            strobes = 0
            for index, (port, queue) in enumerate(zip(self.ports, due, strict=True)):
                if get(port["strobe"]):
                    strobes += 1
                    asked = bool(get(port["write"])), get(port["offset"]), get(port["write_data"])
                    self.seen.append((index, *asked))
                    queue.append(answer_of(index, *asked))
                else:
                    queue.append((0, 0))
            assert strobes <= 1
            await cycles()


def expected(bases, write: bool, address: int, data: int) -> tuple[tuple[BusStatus, int] | None, tuple[int, bool, int, int] | None]:
    """The answer and what a bank must have been asked; none for an address that is nobody's."""
    for bank, base in enumerate(bases):
        if base <= address < base + 4 * WORDS and address % 4 == 0:
            offset = (address - base) // 4
            status, value = answer_of(bank, write, offset, data)
            return (BusStatus(status), value), (bank, write, offset, data)
    return None, None


@cocotb.test()
async def a_lone_access_takes_exactly_the_documented_cycles(dut):
    bases = parameters()["bases"]
    rng = seeded("lone")
    await start(dut)
    banks = Banks(dut, len(bases))
    for number in range(60):
        name = f"master_{number % parameters()['masters']}"
        master = Master(dut, name)
        # Any kind: each bank's first and last word, unmapped, unaligned.
        address = rng.choice([*bases, *(base + 252 for base in bases), 0x0F00, bases[0] + rng.randrange(1, 4)])
        write, data = rng.random() < 0.5, rng.randrange(1 << 32)
        asked = len(banks.seen)
        status, value = await master.access(write, address, data)
        assert master.waited == ACCESS_CYCLES
        answer, request = expected(bases, write, address, data)
        if answer is None:
            assert status is BusStatus.UNMAPPED
            assert len(banks.seen) == asked
        else:
            assert (status, value) == answer
            assert banks.seen[asked:] == [request]
        # The answer stands until the next access.
        for _ in range(rng.randrange(10)):
            await settled()
            assert (get(getattr(dut, f"{name}__read_data")), get(getattr(dut, f"{name}__status"))) == (value, status)
            await cycles()


@cocotb.test()
async def masters_get_their_own_answers_in_bounded_time(dut):
    bases, count = parameters()["bases"], parameters()["masters"]
    await start(dut)
    banks = Banks(dut, len(bases))
    served: list[float] = []  # when answers came
    asked = []
    longest = [0] * count

    async def work(number: int):
        rng = seeded(f"master {number}")
        master = Master(dut, f"master_{number}")
        for _ in range(400):
            # Bursts without a pause, and pauses.
            await cycles(0 if rng.random() < 0.7 else rng.randrange(30))
            kind = rng.random()
            base = rng.choice(bases)
            address = base + 4 * rng.randrange(WORDS) if kind < 0.8 else base + rng.randrange(256) if kind < 0.9 else rng.randrange(1 << 16)
            write, data = rng.random() < 0.5, rng.randrange(1 << 32)
            began = get_sim_time("ns")
            status, value = await master.access(write, address, data)
            others = sum(answered >= began for answered in served[-10 * count :])
            served.append(get_sim_time("ns") - PERIOD_NS)
            answer, request = expected(bases, write, address, data)
            if request is None:
                assert status is BusStatus.UNMAPPED
            else:
                assert (status, value) == answer
                asked.append(request)
            assert others <= count - 1, f"master {number} waited for {others} accesses of others"
            assert master.waited <= count * ACCESS_CYCLES
            longest[number] = max(longest[number], master.waited)

    tasks = [cocotb.start_soon(work(number)) for number in range(count)]
    for task in tasks:
        await task
    assert sorted(banks.seen) == sorted(asked)
    assert all(worst > ACCESS_CYCLES for worst in longest)  # there was contention at all


@cocotb.test()
async def a_busy_master_does_not_starve_a_late_one(dut):
    """All but the last ask without a pause; the last, whenever it comes, waits for one access of each at most."""
    bases, count = parameters()["bases"], parameters()["masters"]
    await start(dut)
    Banks(dut, len(bases))

    async def hog(number: int):
        master = Master(dut, f"master_{number}")
        while True:
            await master.access(False, bases[0])

    for number in range(count - 1):
        cocotb.start_soon(hog(number))
    late = Master(dut, f"master_{count - 1}")
    for pause in range(3 * ACCESS_CYCLES * count):
        await cycles(pause)
        await late.access(False, bases[1])
        assert late.waited <= count * ACCESS_CYCLES
