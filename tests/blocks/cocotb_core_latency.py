"""Latencies of the whole core, counted in its own cycles from a word of the converter to codes at the gate."""

from collections.abc import Callable
from dataclasses import dataclass

import cocotb
from support import Master, cycles, get, pack, parameters, seeded, settled, start, unpack
from support_signals import StreamReader

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc.contract.blocks.interlock import DOSE_CAUSES, ArmingResult, Cause, InterlockCommand, InterlockState
from reflexarc.contract.blocks.scan import ScanCommand
from reflexarc.contract.blocks.sequencer import SequencerCommand
from reflexarc.contract.events import Event
from reflexarc.contract.link import BusStatus
from reflexarc.contract.program import Condition, Operand, Operation, Request, Row
from reflexarc.contract.registers import Access
from reflexarc.contract.words import to_bytes
from reflexarc_hw.blocks.gate import READBACK
from reflexarc_hw.lib.formats import OUTPUTS, SAMPLES
from reflexarc_hw.platforms.board import FULL

CODE_MAX = (1 << 19) - 1
CALM = 1 << 10  # the sample at which the controller is content
LIMIT = 1 << 16
BIAS, PULSE_BIAS = 100, 9000
RETRACT_CODES = 60
GAIN = 3
# Without a rectangle, a least bias and a converter that may repeat itself: these can't fire, or would.
ENABLE = (1 << len(Cause)) - 1 & ~(1 << Cause.KEEP_OUT | 1 << Cause.BIAS_LOW | 1 << Cause.STUCK)
FOREVER = (1 << 31) - 1
LIMITS: dict[str, dict[str, int]] = {
    "gate": {"bias": BIAS, "retract_step": RETRACT_CODES << 12},
    "signals": {
        "current_high": LIMIT, "current_low": -LIMIT, "pulse_current_high": LIMIT, "pulse_current_low": -LIMIT, "pulse_samples_max": 1000,
        "monitor_high": LIMIT, "monitor_low": -LIMIT,
    },
    "dose": {
        "pixel_limit": (1 << 32) - 1, "region_limit": (1 << 32) - 1, "frame_limit": (1 << 32) - 1, "pulses_limit": 1000,
        "charge_limit": (1 << 32) - 1,
    },
    "interlock": {
        "enable": ENABLE, "commissioned": int(FULL.straps) & 7 | 1 << 3, "ready_required": 3, "gain_expected": GAIN,
        "heartbeat_timeout": FOREVER, "cpu_heartbeat_timeout": FOREVER, "heartbeat": 0, "cpu_heartbeat": 0,
    },
}  # fmt: skip


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
        self.monitor: Callable[[int], int] = lambda index: CALM
        self.dead: int | None = None  # a converter that brings nothing
        self.converted_at: list[int] = []

    async def begin(self) -> None:
        await start(self.dut, estop=1, ready=3, gain=GAIN, capture__ready=1, events__ready=1)
        self._task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        countdown = to_readback = -1
        adc_to_valid = parameters()["adc_to_valid_cycles"]
        held: dict[str, int] = {}
        while True:
            countdown -= 1
            to_readback -= 1
            words = {channel: {"valid": countdown == 0, "code": 0} for channel in range(2)}
            if countdown == 0:
                index = len(self.valid_at)
                words[0]["code"], words[1]["code"] = self.code(index), self.monitor(index)
                if self.dead is not None:
                    words[self.dead]["valid"] = False
                self.valid_at.append(len(self.trace) + adc_to_valid)
            self.dut.adc.value = pack(SAMPLES, words)
            self.dut.readback.value = pack(READBACK, {"valid": to_readback == 0, "dac": held})
            await settled()
            if get(self.dut.convert):
                countdown = parameters()["adc_cycles"]
                self.converted_at.append(len(self.trace))
            dac = unpack(OUTPUTS, get(self.dut.dac))
            load = get(self.dut.dac_load)
            if load:  # aborts what was on its way
                to_readback, held = parameters()["dac_cycles"], dac
            self.trace.append(Seen(**dac, blank=get(self.dut.blank), load=load, live=get(self.dut.live)))
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
        for block, values in LIMITS.items():
            await self.write(block, **values)
        await self.write("feedback", **({"linearizer": Linearizer.LOG, "setpoint": 10 << 12, "kp": 0, "ki": 20 << 12} | feedback))
        await self.samples(3)
        await self.write("interlock", command=InterlockCommand.ARM)
        while await self.read("interlock", "state") == InterlockState.ARMING:
            assert self.trace[-1].blank and not self.trace[-1].live
        result = ArmingResult(await self.read("interlock", "arming_result"))
        assert result is ArmingResult.ARMED, (result, await self.read("interlock", "arming_cause"))
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
async def sample_to_x(dut):
    """A scan of one sample a pixel: x moves once a sample, as many cycles after it as the envelope needs to judge it."""
    machine = Machine(dut)
    await machine.arm(ki=0)
    await machine.scan()
    since = len(machine.trace)
    await machine.samples(20)
    moved = machine.changes("x", since)
    assert len(moved) > 15
    for cycle in moved:
        assert cycle - parameters()["xy_cycles"] in machine.valid_at
    machine.stop()


@cocotb.test()
async def no_locked_register_can_be_written_while_armed(dut):
    """Of any block, by either master: this is the whole map."""
    machine = Machine(dut)
    await machine.arm(ki=0)
    masters = [machine.host, Master(dut, "cpu_bus")]
    count = 0
    for block in REGISTER_MAP:
        for register in block.registers:
            if register.locked:
                for master, value in zip(masters, (register.low, register.high), strict=True):
                    status, _ = await master.access(True, block.base + register.offset, register.encode(value))
                    assert status is BusStatus.LOCKED, f"{block.name}.{register.name}"
                count += 1
                if register.access is Access.RW and register.name in LIMITS.get(block.name, {}):
                    assert await machine.read(block.name, register.name) == LIMITS[block.name][register.name]
    assert count > 80
    assert await machine.read("interlock", "state") == InterlockState.ARMED
    machine.stop()


@cocotb.test()
async def each_condition_of_the_dose_can_fire(dut):
    """Arming injects them all; masked, arming does without. Also with limits of 0, where nothing may be spent."""
    for dose, enable in ((1, ENABLE), (0, ENABLE), (0, ENABLE & ~sum(1 << cause for cause in DOSE_CAUSES))):
        machine = Machine(dut)
        await machine.begin()
        for block, values in LIMITS.items():
            await machine.write(block, **(values if block != "dose" or dose else dict.fromkeys(values, 0)))
        await machine.write("interlock", enable=enable)
        await machine.samples(3)
        await machine.write("interlock", command=InterlockCommand.ARM)
        await machine.samples(40)
        assert await machine.read("interlock", "arming_result") == ArmingResult.ARMED
        assert await machine.read("interlock", "state") == InterlockState.ARMED
        machine.stop()


@cocotb.test()
async def a_lost_converter_is_safe_in_its_bound(dut):
    """Either of the two: safe outputs 3 cycles after the conversion that finds no sample of the one before."""
    for dead in range(2):
        machine = Machine(dut)
        await machine.arm(ki=0)
        await machine.scan()
        last = await machine.samples(1) - 1
        machine.dead = dead
        await machine.samples(4)
        assert not machine.trace[machine.valid_at[last]].blank
        safe_at = machine.changes("blank", machine.valid_at[last])[0]
        # The next conversion is made, and brings nothing; the one after it finds that.
        _, finds = [cycle for cycle in machine.converted_at if cycle > machine.valid_at[last]][:2]
        assert safe_at == finds + parameters()["lost_cycles"]
        assert await machine.read("interlock", "first_cause") == Cause.SAMPLE_LOST
        machine.stop()


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


@cocotb.test()
async def last_sample_of_a_pixel_to_bias_by_a_program(dut):
    """A program that looks at the event's class, score and place before it gives the pulse."""
    machine = Machine(dut)
    await machine.arm(ki=0)
    await machine.write("events", channel=EventChannel.CURRENT, on=2000, off=1500, class_id=9, enable=1)
    elsewhere, least = 9, -(1 << 31)
    rows = [
        Row(Operation.DEADLINE, b=Operand.VALUE, value=FOREVER),
        Row(Operation.WAIT, Condition.EVENT, place=elsewhere),
        Row(Operation.NOT_EQUAL, a=Operand.EVENT_CLASS, b=Operand.VALUE, place=elsewhere, value=9),
        Row(Operation.LESS, a=Operand.EVENT_SCORE, b=Operand.VALUE, place=elsewhere, value=1000),
        Row(Operation.LESS, a=Operand.EVENT_X, b=Operand.VALUE, place=elsewhere, value=least),
        Row(Operation.LESS, a=Operand.EVENT_Y, b=Operand.VALUE, place=elsewhere, value=least),
        Row(Operation.PULSE, b=Operand.VALUE, value=PULSE_BIAS),
        Row(Operation.WAIT_SAMPLES, b=Operand.VALUE, value=3),
        Row(Operation.LOWER, value=Request.PULSE | Request.PULSE_LIMITS),
        Row(Operation.JUMP, place=0),
    ]
    await machine.write("sequencer", load_row=0)
    for row in rows:
        value, control = row.words()
        await machine.write("sequencer", load_value=value, load_control=control)
    await machine.write("sequencer", command=SequencerCommand.START)
    await machine.scan()
    for _ in range(10):
        valid_at = await machine.one_sample(3000)
        pulsed = machine.changes("bias", valid_at)[0]
        assert machine.trace[pulsed].bias == PULSE_BIAS
        assert pulsed - valid_at == parameters()["program_cycles"]
        await machine.samples(8)
        assert machine.trace[-1].bias == BIAS
    # Below its score there is no pulse.
    valid_at = await machine.one_sample(2999)
    await machine.samples(4)
    assert not machine.changes("bias", valid_at)
    assert await machine.read("sequencer", "running") == 1
