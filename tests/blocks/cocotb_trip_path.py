from collections.abc import Callable

import cocotb
from faulty_bank import FLIP, locked_registers
from naive_interlock import causes_of
from support import Bank, cycles, get, pack, parameters, seeded, settled, signed, start, unpack
from support_signals import TimeInput
from trip_path import BLOCKS, CYCLES_PER_SAMPLE

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.envelope import KEEP_OUT_EDGES, KEEP_OUTS, keep_out
from reflexarc.contract.blocks.interlock import (
    DOSE_CAUSES,
    ArmingResult,
    Cause,
    InterlockCommand,
    InterlockState,
)
from reflexarc.contract.link import BusStatus
from reflexarc.contract.registers import WORD_BYTES, Access
from reflexarc_hw.lib.formats import OUTPUTS, SAMPLES
from reflexarc_hw.platforms.board import FULL

CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1
ALL = (1 << len(Cause)) - 1
RETRACT = 60 << 12
GAIN = 6
NO_DOSE = ALL & ~sum(1 << cause for cause in DOSE_CAUSES)
XY_CYCLES, Z_CYCLES = 6, 2  # from a request to its codes
CALM = (11, 21)
# What a user might set, with each condition in use but for those of the dose.
LIMITS: dict[str, dict[str, int]] = {
    "signals": {
        "current_high": 1000, "current_low": -1000, "current_slew": 900, "pulse_current_high": 3000, "pulse_current_low": -3000,
        "pulse_current_slew": 6000, "pulse_samples_max": 100, "monitor_high": 500, "monitor_low": -500, "monitor_slew": 400,
        "stuck_samples": 200, "oscillation_limit": 1 << 24,
    },
    "envelope": {
        "x_high": 50_000, "x_low": -50_000, "y_high": 50_000, "y_low": -50_000, "z_high": CODE_MAX, "z_low": CODE_MIN, "bias_min": 20,
        "keep_out_enable": 1, "keep_out_0_x_low": 40_000, "keep_out_0_x_high": 45_000, "keep_out_0_y_low": 40_000,
        "keep_out_0_y_high": 45_000,
    },
    "gate": {"bias": 100, "retract_step": RETRACT},
    "interlock": {
        "enable": NO_DOSE, "commissioned": int(FULL.straps) & 7 | 42 << 3, "heartbeat_timeout": (1 << 31) - 1,
        "cpu_heartbeat_timeout": (1 << 31) - 1, "ready_required": 3, "gain_expected": GAIN,
    },
}  # fmt: skip


class Bench:
    """Converters that bring a sample of each channel once a period, a little noise on it, and the four buses."""

    running: "Bench | None" = None

    def __init__(self, dut) -> None:
        if Bench.running is not None:
            Bench.running.stop()
        Bench.running = self
        self.dut = dut
        self.banks = {name: Bank(dut, REGISTER_MAP[name], f"{name}_bus") for name in BLOCKS}
        self.codes: Callable[[int], tuple[int, int]] = lambda index: (10 + index % 3, 20 + index % 2)
        self.index = 0  # of the next sample
        self.now = 0
        self._task = cocotb.start_soon(self._run())
        self._time = TimeInput(dut)

    def stop(self) -> None:
        self._task.cancel()
        self._time.stop()

    async def _run(self) -> None:
        while True:
            valid = self.now % CYCLES_PER_SAMPLE == 3
            codes = self.codes(self.index)
            if valid:
                self.index += 1
            self.dut.samples.value = pack(SAMPLES, {channel: {"valid": valid, "code": code} for channel, code in enumerate(codes)})
            self.dut.tick.value = int(valid)
            await cycles()
            self.now += 1

    async def next_code(self, *codes: int) -> None:
        """To the cycle of a sample with these codes; those after it are as calm as those before."""
        await settled()
        while not get(self.dut.tick):
            await cycles()
            await settled()
        odd = self.index
        self.codes = lambda index: codes if index == odd else CALM
        await cycles(CYCLES_PER_SAMPLE)

    async def limits(self, changes: dict[str, dict[str, int]] | None = None) -> None:
        for name, values in LIMITS.items():
            await self.banks[name].configure(**(values | (changes or {}).get(name, {})))
        await self.banks["interlock"].configure(heartbeat=0, cpu_heartbeat=0)

    async def arm(self) -> InterlockState:
        await self.banks["interlock"].write("command", InterlockCommand.ARM)
        for _ in range(4000):
            await cycles()
            if get(self.dut.state) != InterlockState.ARMING:
                break
        return InterlockState(get(self.dut.state))

    async def result(self) -> tuple[ArmingResult, int]:
        bank = self.banks["interlock"]
        return ArmingResult(await bank.read("arming_result")), await bank.read("arming_cause")

    async def disarm(self) -> None:
        """From armed or tripped, with nothing violated."""
        bank = self.banks["interlock"]
        if get(self.dut.state) == InterlockState.TRIPPED:
            await bank.write("trip_flags", ALL)
            await cycles(3)
            await bank.write("command", InterlockCommand.ACK)
        else:
            await bank.write("command", InterlockCommand.DISARM)
        await cycles()
        assert get(self.dut.state) == InterlockState.DISARMED

    async def report(self) -> tuple[int, int, int]:
        bank = self.banks["interlock"]
        return await bank.read("first_cause"), await bank.read("trip_value"), await bank.read("trip_limit")


async def disarmed(dut, z: int = 0, **changes: dict[str, int]) -> Bench:
    await start(dut, estop_closed=1, ready=3, gain=GAIN, z=z & 0xFFFFFFFF, engaged=1)
    bench = Bench(dut)
    await bench.limits(changes)
    await cycles(3 * CYCLES_PER_SAMPLE)
    return bench


async def armed(dut, z: int = 0, **changes: dict[str, int]) -> Bench:
    """Live at ``z`` (Q20.12) with a bias of 100."""
    bench = await disarmed(dut, z, **changes)
    assert await bench.arm() is InterlockState.ARMED, await bench.result()
    await cycles(XY_CYCLES + 1)
    return bench


def outputs(dut) -> dict[str, int]:
    return unpack(OUTPUTS, get(dut.dac))


# ------------------------------------------------------------------------------------------------------------------ time to safe


@cocotb.test()
async def outputs_are_safe_two_cycles_after_the_sample(dut):
    """Cycle 0 the sample, cycle 1 still live, cycle 2 safe: withdrawing, x and y held, bias as before the pulse, a DAC frame."""
    rng = seeded("two cycles")
    safe_at = parameters()["trip_cycles"]
    cases = [
        (0, 1001, Cause.CURRENT_HIGH, 1000), (0, -1001, Cause.CURRENT_LOW, -1000), (0, CODE_MAX, Cause.CURRENT_HIGH, 1000),
        (0, 11 + 901, Cause.CURRENT_SLEW, 900), (0, 11 - 901, Cause.CURRENT_SLEW, 900),
        (1, 501, Cause.MONITOR_HIGH, 500), (1, -501, Cause.MONITOR_LOW, -500), (1, 21 + 401, Cause.MONITOR_SLEW, 400),
    ]  # fmt: skip
    for pulse in (0, 1):
        for channel, code, cause, limit in cases:
            if pulse and channel == 0:
                code, limit = {1000: (3001, 3000), -1000: (-3001, -3000)}.get(limit, (code, None))
                if limit is None:
                    continue  # no slew limit is met within a pulse's window
            z = rng.randrange(CODE_MIN, CODE_MAX - 1000) << 12
            wide = {"signals": {"current_slew": CODE_MAX, "monitor_slew": CODE_MAX}} if "SLEW" not in cause.name else {}
            bench = await armed(dut, z, **wide)
            dut.pulse.value, dut.pulse_bias.value = pulse, 5555
            await bench.next_code(*CALM)
            await bench.next_code(*(code if index == channel else calm for index, calm in enumerate(CALM)))
            before = outputs(dut)
            trace = []
            for cycle in range(safe_at + 4):
                dut.x.value = cycle + 1 << 12  # moves with each cycle, so that holding shows
                dut.y.value = cycle + 101 << 12
                await settled()
                trace.append(outputs(dut) | {"safe": get(dut.safe), "load": get(dut.dac_load), "blank": get(dut.blank)})
                await cycles()
            live = {"x": 0, "y": 0, "z": z >> 12, "bias": 5555 if pulse else 100}
            assert before == live
            for cycle, seen in enumerate(trace):
                assert seen["safe"] == (cycle >= safe_at - 1), f"cycle {cycle}"
                if cycle < safe_at:
                    assert {name: seen[name] for name in live} == live
                else:
                    held = {"x": 0, "y": 0, "z": (z + RETRACT) >> 12, "bias": 100}
                    assert {name: seen[name] for name in held} == held, f"cycle {cycle}"
                    assert seen["blank"] and seen["load"] == (cycle == safe_at)
            measured = code - CALM[channel] if "SLEW" in cause.name else code
            assert await bench.report() == (cause, measured, limit)


@cocotb.test()
async def estop_reaches_the_outputs_in_its_bound(dut):
    for _ in range(3):
        await armed(dut)
        before = outputs(dut)
        dut.estop_closed.value = 0
        for cycle in range(10):
            await settled()
            assert (outputs(dut) != before) == (cycle >= parameters()["estop_cycles"])
            await cycles()


# ------------------------------------------------------------------------------------------------------------------ never driven


@cocotb.test()
async def no_z_outside_the_window_is_ever_driven(dut):
    """Random windows, random walks that hit their edges by fractions of an LSB; after the trip z only rises."""
    rng = seeded("window")
    trips = at_edge = 0
    bench = await disarmed(dut)
    for _ in range(150):
        low = rng.randrange(CODE_MIN, CODE_MAX - 500)
        high = low + rng.randrange(400)
        inner = (low + high) * 2048
        z = inner
        dut.z.value = z & 0xFFFFFFFF
        await bench.banks["envelope"].configure(z_low=low, z_high=high)
        await cycles(8)
        assert await bench.arm() is InterlockState.ARMED
        await cycles(Z_CYCLES)
        last, was_safe = None, False
        for _ in range(400):
            # A walk with frequent visits to the last values inside, and rare ones beyond.
            step = rng.randrange(-600, 601) if rng.random() < 0.997 else rng.randrange(-(30 << 12), (30 << 12) + 1)
            inside = [(low << 12) - 2048, (low << 12) - 2047, (high << 12) + 2046, (high << 12) + 2047]
            outside = [(low << 12) - 2049, (high << 12) + 2048]
            z = rng.choice(outside if rng.random() < 0.01 else inside) if rng.random() < 0.1 else z + step
            z = max(CODE_MIN << 12, min(CODE_MAX << 12, z))
            dut.z.value = z & 0xFFFFFFFF
            await settled()
            code = outputs(dut)["z"]
            if not was_safe:
                assert low <= code <= high
                at_edge += code in (low, high)
            else:
                assert code >= last, "withdrawal turned back"
            last, was_safe = code, get(dut.safe)
            await cycles()
        trips += get(dut.state) != InterlockState.ARMED
        # z is back inside for the next round.
        dut.z.value = inner & 0xFFFFFFFF
        await cycles(4)
        await bench.disarm()
    cocotb.log.info("%d trips, %d cycles at an edge", trips, at_edge)
    assert trips > 50 and at_edge > 400


def rounded(position: int) -> int:
    return (position + 2048) >> 12


@cocotb.test()
async def no_x_y_outside_the_box_or_inside_a_keep_out_is_ever_driven(dut):
    """Random boxes and rectangles, walks that jump to their edges; judged on the codes that leave."""
    rng = seeded("box")
    trips = {Cause.XY_RANGE: 0, Cause.KEEP_OUT: 0}
    at_edge = 0
    bench = await disarmed(dut)
    for _ in range(120):
        box = {}
        for axis in "xy":
            box[f"{axis}_low"] = rng.randrange(CODE_MIN, CODE_MAX - 400)
            box[f"{axis}_high"] = box[f"{axis}_low"] + rng.randrange(50, 400)
        enabled = rng.randrange(1, 1 << KEEP_OUTS)
        rectangles = []
        registers = dict(box)
        for index in range(KEEP_OUTS):
            edges = {}
            for axis in "xy":
                # In the upper part of the box, so that its lowest corner stays free.
                low = rng.randrange(box[f"{axis}_low"] + 10, box[f"{axis}_high"] + 1)
                edges |= {f"{axis}_low": low, f"{axis}_high": min(CODE_MAX, low + rng.randrange(60))}
            registers |= {keep_out(index, edge): edges[edge] for edge in KEEP_OUT_EDGES}
            if enabled >> index & 1:
                rectangles.append(edges)
        start_at = {axis: (box[f"{axis}_low"] + 5) << 12 for axis in "xy"}
        position = dict(start_at)
        for axis in "xy":
            getattr(dut, axis).value = position[axis] & 0xFFFFFFFF
        await bench.banks["envelope"].configure(**registers, keep_out_enable=enabled)
        await cycles(12)
        assert await bench.arm() is InterlockState.ARMED, await bench.result()

        def allowed(x: int, y: int, box=box, rectangles=rectangles) -> bool:
            if not (box["x_low"] <= x <= box["x_high"] and box["y_low"] <= y <= box["y_high"]):
                return False
            return not any(r["x_low"] <= x <= r["x_high"] and r["y_low"] <= y <= r["y_high"] for r in rectangles)

        # What was driven before the arming is the gate's, and held until the first request comes through.
        await cycles(XY_CYCLES)
        held, was_safe = None, False
        for _ in range(300):
            if rng.random() < 0.3:
                for axis in rng.choice(["x", "y", "xy"]):
                    edges = [box[f"{axis}_low"], box[f"{axis}_high"]]
                    for rectangle in rectangles:
                        edges += [rectangle[f"{axis}_low"] - 1, rectangle[f"{axis}_high"] + 1]
                    wanted = (rng.choice(edges) << 12) + rng.choice([-2048, -2049, 2047, 2048, 0, rng.randrange(-2048, 2048)])
                    near = position[axis] + rng.randrange(-(3 << 12), (3 << 12) + 1)
                    wanted = max(-(1 << 31), min((1 << 31) - 1, wanted if rng.random() < 0.7 else near))
                    # Mostly what is allowed, else a round would be over at once.
                    trial = position | {axis: wanted}
                    if rng.random() < 0.03 or allowed(rounded(trial["x"]), rounded(trial["y"])):
                        position = trial
                    getattr(dut, axis).value = position[axis] & 0xFFFFFFFF
            await settled()
            codes = outputs(dut)
            x, y = codes["x"], codes["y"]
            assert allowed(x, y), (x, y, box, rectangles)
            if was_safe:
                assert (x, y) == held, "x and y hold"
            else:
                at_edge += x in (box["x_low"], box["x_high"]) or y in (box["y_low"], box["y_high"])
            held, was_safe = (x, y), get(dut.safe)
            await cycles()
        if get(dut.state) == InterlockState.TRIPPED:
            trips[Cause((await bench.report())[0])] += 1
        for axis in "xy":
            getattr(dut, axis).value = start_at[axis] & 0xFFFFFFFF
        await cycles(12)
        await bench.disarm()
    cocotb.log.info("trips %s, %d cycles at an edge", {cause.name: count for cause, count in trips.items()}, at_edge)
    assert min(trips.values()) >= 5 and at_edge > 500


@cocotb.test()
async def no_bias_below_the_least_is_driven_under_feedback(dut):
    """Between plus and minus the least bias the controller would drive the tip in; without feedback it may be anything."""
    for least in (1, 20, CODE_MAX):
        for bias in (0, least - 1, 1 - least, least, -least):
            bench = await armed(dut, envelope={"bias_min": least}, gate={"bias": CODE_MAX})
            seen = set()
            await bench.banks["gate"].write("bias", bias)
            for _ in range(8):
                await settled()
                seen.add(outputs(dut)["bias"])
                await cycles()
            if abs(bias) < least:
                assert seen == {CODE_MAX}, "a bias that was judged is never driven"
                assert await bench.report() == (Cause.BIAS_LOW, bias, least)
            else:
                assert outputs(dut)["bias"] == bias and get(dut.state) == InterlockState.ARMED
    bench = await armed(dut)
    dut.engaged.value = 0
    await cycles(2)
    await bench.banks["gate"].write("bias", 0)
    await cycles(10)
    assert outputs(dut)["bias"] == 0 and get(dut.state) == InterlockState.ARMED
    dut.engaged.value = 1
    await cycles(5)
    assert get(dut.state) == InterlockState.TRIPPED


# ------------------------------------------------------------------------------------------------------------------ arming


@cocotb.test()
async def arming_tests_the_real_comparisons(dut):
    """With limits as a user sets them all fire and clear; outputs are safe all the time, and go live with the last cycle."""
    bench = await disarmed(dut)
    await bench.banks["interlock"].write("command", InterlockCommand.ARM)
    safe = {"x": 0, "y": 0, "z": CODE_MAX, "bias": 0}
    waited = 0
    while get(dut.state) == InterlockState.ARMING:
        await settled()
        assert outputs(dut) == safe and get(dut.blank) and get(dut.safe)
        waited += 1
        await cycles()
    assert await bench.result() == (ArmingResult.ARMED, 63)
    cocotb.log.info("the self-test took %d cycles", waited)
    assert waited < 1500
    for _ in range(100 * CYCLES_PER_SAMPLE):
        await settled()
        assert not get(dut.safe)
        await cycles()


@cocotb.test()
async def the_reset_values_arm_nothing_and_say_why(dut):
    """Step by step from an unconfigured core; each limit that can't fire is named."""
    await start(dut, estop_closed=1, ready=3, gain=0)
    bench = Bench(dut)
    bench.codes = lambda index: (0, 0)
    interlock = bench.banks["interlock"]
    await cycles(4 * CYCLES_PER_SAMPLE)
    assert await bench.arm() is InterlockState.DISARMED
    assert await bench.result() == (ArmingResult.NOT_COMMISSIONED, 63)
    await interlock.write("commissioned", LIMITS["interlock"]["commissioned"])
    await bench.arm()
    assert await bench.result() == (ArmingResult.VIOLATED, Cause.HEARTBEAT)
    await interlock.configure(heartbeat_timeout=1 << 30, cpu_heartbeat_timeout=1 << 30, heartbeat=0, cpu_heartbeat=0)
    # No rectangle is enabled, no least bias is set: these two can't fire. A window that is open to the rails still does.
    await interlock.write("enable", NO_DOSE)
    await bench.arm()
    assert await bench.result() == (ArmingResult.DID_NOT_FIRE, Cause.KEEP_OUT)
    await interlock.write("enable", NO_DOSE & ~(1 << Cause.KEEP_OUT))
    await bench.arm()
    assert await bench.result() == (ArmingResult.DID_NOT_FIRE, Cause.BIAS_LOW)
    await interlock.write("enable", NO_DOSE & ~(1 << Cause.KEEP_OUT | 1 << Cause.BIAS_LOW | 1 << Cause.STUCK))
    assert await bench.arm() is InterlockState.ARMED
    # Armed, but the window of the current is closed: any sample but 0 trips.
    bench.codes = lambda index: (1, 0)
    await cycles(2 * CYCLES_PER_SAMPLE)
    assert (await bench.report())[0] == Cause.CURRENT_HIGH


@cocotb.test()
async def a_rectangle_that_is_inside_out_is_found(dut):
    bench = await disarmed(dut, envelope={"keep_out_0_x_low": 45_001})
    assert await bench.arm() is InterlockState.DISARMED
    assert await bench.result() == (ArmingResult.DID_NOT_FIRE, Cause.KEEP_OUT)


@cocotb.test()
async def converters_that_do_not_hold_what_was_sent_trip(dut):
    for bit in (0, 7, 19):
        bench = await armed(dut)
        dut.readback_flip.value = 1 << bit
        for _ in range(10 * CYCLES_PER_SAMPLE):
            await cycles()
        assert get(dut.state) == InterlockState.TRIPPED
        cause, value, limit = await bench.report()
        assert cause == Cause.READBACK and signed(value ^ limit, 20) & 0xFFFFF == 1 << bit
        await bench.banks["interlock"].write("trip_flags", ALL)
        await bench.banks["interlock"].write("command", InterlockCommand.ACK)
        assert get(dut.state) == InterlockState.TRIPPED
        dut.readback_flip.value = 0
        await cycles(4 * CYCLES_PER_SAMPLE)
        await bench.disarm()


# ------------------------------------------------------------------------------------------------------------------ locks and parity


@cocotb.test()
async def no_locked_register_can_be_written_while_armed_or_arming(dut):
    """Of any block; soft limits and requests can, and soft limits only tighten."""
    bench = await armed(dut)
    count = 0
    for state in (InterlockState.ARMED, InterlockState.ARMING):
        for name in BLOCKS:
            bank = bench.banks[name]
            for register in REGISTER_MAP[name].registers:
                if not register.locked:
                    continue
                if state is InterlockState.ARMING and get(dut.state) != state:
                    if get(dut.state) == InterlockState.ARMED:
                        await bench.disarm()
                    await bench.banks["interlock"].write("command", InterlockCommand.ARM)
                assert get(dut.state) == state
                count += 1
                if register.access is Access.WO:
                    assert await bank.try_write(register.name, register.high) is BusStatus.LOCKED
                    continue
                before = await bank.read(register.name)
                for value in (register.low, register.high):
                    assert await bank.try_write(register.name, value) is BusStatus.LOCKED, register.name
                assert await bank.read(register.name) == before
    assert count > 120
    assert await bench.banks["signals"].read("current_high") == 1000
    while get(dut.state) == InterlockState.ARMING:
        await cycles()
    # A soft limit beyond the hard one changes nothing; a tighter one counts.
    await bench.banks["signals"].write("soft_current_high", CODE_MAX)
    await cycles(8)
    bench.codes = lambda index: (900 - index % 2, 20 + index % 2)
    await cycles(3 * CYCLES_PER_SAMPLE)
    assert get(dut.state) == InterlockState.ARMED
    await bench.banks["signals"].write("soft_current_high", 800)
    await cycles(3 * CYCLES_PER_SAMPLE)
    assert await bench.report() in ((Cause.CURRENT_HIGH, 900, 800), (Cause.CURRENT_HIGH, 899, 800))


@cocotb.test()
async def a_flipped_bit_of_any_locked_register_trips(dut):
    """The first cause is the parity's, or another's that the new value itself violates; at latest with the second sample."""
    if not parameters()["faulty"]:
        return
    rng = seeded("flips")
    bench = await disarmed(dut)
    causes = dict.fromkeys(Cause, 0)
    for name in BLOCKS:
        for register in locked_registers(REGISTER_MAP[name]):
            assert await bench.arm() is InterlockState.ARMED, await bench.result()
            await cycles(rng.randrange(CYCLES_PER_SAMPLE))
            bit = rng.randrange(register.width)
            where = {"valid": 1, "block": REGISTER_MAP[name].base >> 8, "offset": register.offset // WORD_BYTES, "bit": bit}
            before = await bench.banks[name].read(register.name)
            dut.flip.value = pack(FLIP, where)
            await cycles()
            dut.flip.value = 0
            await cycles(2 * CYCLES_PER_SAMPLE)
            assert get(dut.state) == InterlockState.TRIPPED, f"{register.name}, bit {bit}"
            flags = causes_of(await bench.banks["interlock"].read("trip_flags"))
            assert Cause.PARITY in flags
            causes[Cause((await bench.report())[0])] += 1
            # Written anew it is whole again, and can be armed.
            await bench.banks[name].write(register.name, before)
            await bench.banks["interlock"].configure(heartbeat=0, cpu_heartbeat=0)
            await cycles(5 * CYCLES_PER_SAMPLE)
            await bench.disarm()
    cocotb.log.info("first causes %s", {cause.name: count for cause, count in causes.items() if count})
    assert causes[Cause.PARITY] > 50


# ------------------------------------------------------------------------------------------------------------------ reactions


@cocotb.test()
async def reactions_reach_the_outputs(dut):
    """A trip in contact: the bias is gone 4 cycles after safe outputs, the trigger rises after 3, z leaves, then the motor steps."""
    contact = 1 << Cause.CURRENT_HIGH
    for in_contact in (True, False):
        bench = await armed(
            dut,
            (CODE_MAX - 300) << 12,
            signals={"contact_current": 990, "current_slew": CODE_MAX},
            interlock={"react_bias_contact": contact, "react_trigger": contact, "react_retreat": contact},
            gate={"bias_step": 50 << 12 & 0xFFFFF, "retreat_steps": 3, "retreat_period": 1},
        )
        if in_contact:
            await bench.next_code(1001, CALM[1])
        else:
            # The same cause by a soft limit, far below what counts as contact.
            await bench.banks["signals"].write("soft_current_high", 5)
        while not get(dut.safe):
            await cycles()
            await settled()
        await cycles()
        trace = []
        for _ in range(25 * CYCLES_PER_SAMPLE):
            await settled()
            trace.append(outputs(dut) | {"trigger": get(dut.trigger), "motor": get(dut.motor_step)})
            await cycles()
        assert trace[0]["bias"] == 100 and trace[0]["z"] == CODE_MAX - 240
        at_once = [seen["bias"] for seen in trace[:CYCLES_PER_SAMPLE]]
        assert at_once == [100 if cycle < 4 or not in_contact else 0 for cycle in range(CYCLES_PER_SAMPLE)]
        assert [seen["trigger"] for seen in trace[:5]] == [0, 0, 0, 1, 1]
        away = next(cycle for cycle, seen in enumerate(trace) if seen["z"] == CODE_MAX)
        assert all(seen["motor"] == 0 for seen in trace[:away])
        if not in_contact:
            assert all(seen["bias"] == 100 for seen in trace[: away + 1]), "the bias stays until z is away"
        assert trace[-1]["bias"] == 0
        edges = sum(later["motor"] != earlier["motor"] for earlier, later in zip(trace, trace[1:], strict=False))
        assert edges == 6 and all((seen["x"], seen["y"]) == (0, 0) for seen in trace)
