"""Latencies of the whole core, counted in its own cycles from a word of the converter to codes at the gate."""

from collections.abc import Callable
from dataclasses import dataclass

import cocotb
from support import Master, cycles, get, pack, parameters, seeded, settled, start, unpack
from support_signals import StreamReader

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc.contract.blocks.interlock import Cause, InterlockCommand, InterlockState
from reflexarc.contract.blocks.scan import ScanCommand
from reflexarc.contract.events import Event
from reflexarc.contract.words import to_bytes
from reflexarc_hw.blocks.gate import OUTPUTS
from reflexarc_hw.lib.formats import SAMPLE

CODE_MAX = (1 << 19) - 1
CALM = 1 << 10  # the sample at which the controller is content
LIMIT = 1 << 16
BIAS, PULSE_BIAS = 100, 9000
RETRACT_CODES = 60


@dataclass
class Seen:
    """Outputs in one cycle."""

    x: int
    y: int
    z: int
    bias: int
    blank: int
    load: int
    live: int


class Machine:
    """The core with a converter at its input, a bus master, and a trace of each cycle."""

    def __init__(self, dut):
        self.dut = dut
        self.host = Master(dut, "host_bus")
        self.trace: list[Seen] = []  # by cycle since reset
        self.valid_at: list[int] = []  # cycle in which each sample was valid in the core
        self.code: Callable[[int], int] = lambda index: CALM  # of the sample with this index

    async def begin(self) -> None:
        await start(self.dut, estop_ok=1, capture__ready=1, events__ready=1)
        self._task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        countdown = -1
        adc_to_valid = parameters()["adc_to_valid_cycles"]
        while True:
            countdown -= 1
            word = {"valid": countdown == 0, "code": 0}
            if countdown == 0:
                word["code"] = self.code(len(self.valid_at))
                self.valid_at.append(len(self.trace) + adc_to_valid)
            self.dut.adc.value = pack(SAMPLE, word)
            await settled()
            if get(self.dut.convert):
                countdown = parameters()["adc_cycles"]
            self.trace.append(
                Seen(**unpack(OUTPUTS, get(self.dut.dac)), blank=get(self.dut.blank), load=get(self.dut.dac_load), live=get(self.dut.live))
            )
            await cycles()

    def stop(self) -> None:
        self._task.cancel()

    async def write(self, block: str, **values: int) -> None:
        for name, raw in values.items():
            await self.host.write(REGISTER_MAP[block].address(name), REGISTER_MAP[block][name].encode(raw))

    async def read(self, block: str, name: str) -> int:
        return REGISTER_MAP[block][name].decode(await self.host.read(REGISTER_MAP[block].address(name)))

    async def samples(self, count: int) -> int:
        """Until ``count`` more samples were valid; the index of the next one."""
        target = len(self.valid_at) + count
        while len(self.valid_at) < target or len(self.trace) <= self.valid_at[-1]:
            await cycles()
        return len(self.valid_at)

    async def one_sample(self, code: int) -> int:
        """The next sample but one has this code, all others are calm; the cycle in which it was valid. Waits for what comes of it."""
        odd_one = len(self.valid_at) + 1
        self.code = lambda index: code if index == odd_one else CALM
        await self.samples(4)
        return self.valid_at[odd_one]

    def changes(self, name: str, since: int) -> list[int]:
        """Cycles after ``since`` in which an output differs from the cycle before."""
        values = [getattr(seen, name) for seen in self.trace]
        return [cycle for cycle in range(since + 1, len(values)) if values[cycle] != values[cycle - 1]]

    async def arm(self, **feedback: int) -> None:
        """Live with feedback on, z some hundred codes below the rail."""
        await self.begin()
        await self.write("gate", bias=BIAS, retract_step=RETRACT_CODES << 12)
        await self.write(
            "interlock", current_high=LIMIT, current_low=-LIMIT, pulse_current_high=LIMIT, pulse_current_low=-LIMIT, pulse_samples_max=1000,
            heartbeat_timeout=(1 << 31) - 1, heartbeat=0,
        )  # fmt: skip
        await self.write("feedback", **({"linearizer": Linearizer.LOG, "setpoint": 10 << 12, "kp": 0, "ki": 20 << 12} | feedback))
        await self.samples(3)
        await self.write("interlock", command=InterlockCommand.ARM)
        await self.write("feedback", mode=FeedbackMode.ON)
        assert await self.read("interlock", "state") == InterlockState.ARMED

    async def scan(self) -> None:
        await self.write("scan", pixels=2000, lines=1, pixel_samples=1, step_x=1 << 20)
        await self.write("scan", command=ScanCommand.START)
        await self.samples(8)


@cocotb.test()
async def sample_to_z_with_logarithm(dut):
    """Each time one sample of half the current: error -1, so z falls by 20 codes, once."""
    machine = Machine(dut)
    await machine.arm()
    for _ in range(20):
        valid_at = await machine.one_sample(CALM // 2)
        (changed,) = machine.changes("z", valid_at)
        assert changed - valid_at == parameters()["z_cycles"]
        assert machine.trace[changed].z - machine.trace[changed - 1].z == -20
        # The next regular frame carries it, one or two sample periods after the conversion.
        load = next(cycle for cycle in range(changed, len(machine.trace)) if machine.trace[cycle].load)
        assert load - changed < 2 * parameters()["cycles_per_sample"]


@cocotb.test()
async def sample_to_z_linear(dut):
    """The linear mode takes the same way."""
    machine = Machine(dut)
    await machine.arm(linearizer=Linearizer.LINEAR, setpoint=CALM >> 2, kp=0, ki=(1 << 17) - 1)
    valid_at = await machine.one_sample(0)
    (changed,) = machine.changes("z", valid_at)
    assert changed - valid_at == parameters()["z_cycles"]


@cocotb.test()
async def sample_to_safe_outputs(dut):
    """In a running scan: 2 cycles after the sample all outputs are safe and a DAC frame with them begins."""
    rng = seeded("safe")
    for code in (LIMIT + 1, -LIMIT - 1, CODE_MAX, -CODE_MAX - 1):
        machine = Machine(dut)
        await machine.arm()
        for _ in range(8):
            await machine.one_sample(CALM // 2)
        await machine.scan()
        await machine.samples(rng.randrange(1, 4))
        valid_at = await machine.one_sample(code)
        safe_at = valid_at + parameters()["trip_cycles"]
        before, first = machine.trace[safe_at - 1], machine.trace[safe_at]
        assert not before.blank and before.live
        assert first.blank and first.load
        assert (first.x, first.y, first.bias) == (before.x, before.y, BIAS)
        assert first.z == before.z + RETRACT_CODES
        assert not machine.trace[safe_at + 1].live
        # Nothing turns back afterwards, and nothing else moves.
        rest = machine.trace[safe_at:]
        assert all(later.z >= earlier.z for earlier, later in zip(rest, rest[1:], strict=False))
        assert all((seen.x, seen.y, seen.bias, seen.blank) == (first.x, first.y, BIAS, 1) for seen in rest)
        assert await machine.read("interlock", "first_cause") == (Cause.CURRENT_HIGH if code > 0 else Cause.CURRENT_LOW)
        assert await machine.read("interlock", "trip_value") == code
        assert await machine.read("interlock", "trip_time") == safe_at
        machine.stop()


@cocotb.test()
async def last_sample_of_a_pixel_to_bias(dut):
    """Pixels of one sample: the sample that makes the event is known, and so is the cycle of its bias pulse."""
    machine = Machine(dut)
    await machine.arm(ki=0)
    reader = StreamReader(dut, "events", seeded("stream"), readiness=1.0)
    await machine.write("events", channel=EventChannel.CURRENT, on=2000, off=1500, class_id=9, enable=1)
    await machine.write("reaction", bias=PULSE_BIAS, pulse_samples=3, settle_samples=2, budget=100, enable=1)
    await machine.scan()
    for count in range(10):
        valid_at = await machine.one_sample(3000)
        pulsed = machine.changes("bias", valid_at)[0]
        assert machine.trace[pulsed].bias == PULSE_BIAS
        assert pulsed - valid_at == parameters()["event_cycles"]
        assert await machine.read("reaction", "latency") == parameters()["bias_cycles"]
        await machine.samples(8)
        assert await machine.read("reaction", "count") == count + 1
        assert machine.trace[-1].bias == BIAS
        event = Event.from_bytes(to_bytes(reader.packets[count]))
        # The detection comes a cycle after the verdict whose time the record has.
        assert event.time == pulsed - parameters()["bias_cycles"] - 1
        assert (event.class_id, event.score, event.sequence) == (9, 1000, count)
