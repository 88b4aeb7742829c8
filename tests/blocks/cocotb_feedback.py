import cocotb
import naive_feedback
from naive_feedback import NaiveFeedback
from support import Bank, cycles, get, pack, parameters, seeded, settled, signed, start

from reflexarc.contract.blocks import feedback
from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc_hw.lib.formats import SAMPLE

CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1
SAMPLES = 5000  # of a random run


class Bench:
    """The block beside its model; ``z`` is compared in each cycle that passes here."""

    def __init__(self, dut):
        self.dut = dut
        self.bank = Bank(dut, feedback.BLOCK)
        self.model = NaiveFeedback()
        self.z_cycles, self.error_cycles = parameters()["z_cycles"], parameters()["error_cycles"]

    def z(self) -> int:
        return signed(get(self.dut.z), 32)

    async def begin(self, gate_z: int, **settings: int) -> None:
        """Reset, then live from ``gate_z`` on with the controller on."""
        await start(self.dut, gate_z=gate_z & 0xFFFFFFFF)
        await cycles(2)
        self.model.follow(gate_z)
        await self.set(**settings)
        self.dut.live.value = 1
        await self.switch_on()

    async def switch_on(self) -> None:
        await self.bank.write("mode", FeedbackMode.ON)
        await cycles(2)

    async def set(self, **settings: int) -> None:
        """New settings, in force when this returns."""
        await self.bank.configure(**settings)
        self.model.settings |= settings
        await cycles(2)

    async def take(self, code: int, gap: int, engaged: bool = True) -> None:
        """One sample, then ``gap`` cycles until the next may come: z is the old one before cycle ``z_cycles``, then the new one."""
        before = self.model.z
        self.model.sample(code, engaged)
        for cycle in range(gap):
            self.dut.sample.value = pack(SAMPLE, {"valid": cycle == 0, "code": code})
            await settled()
            # The error is there earlier, for who watches it; a strobe says that it moves z.
            assert get(self.dut.error_valid) == (engaged and cycle == self.error_cycles), f"cycle {cycle}"
            if cycle >= self.error_cycles:
                assert signed(get(self.dut.error), 18) == self.model.error
            expected = before if cycle < self.z_cycles else self.model.z
            assert self.z() == expected, f"cycle {cycle} after the sample {code}: z {self.z()}, expected {expected}"
            await cycles()

    async def quick(self, code: int) -> int:
        """One sample without a look at what happens between; its z."""
        self.dut.sample.value = pack(SAMPLE, {"valid": 1, "code": code})
        await cycles()
        self.dut.sample.value = 0
        await cycles(self.z_cycles - 1)
        await settled()
        z = self.z()
        await cycles()
        return z


def table_codes(rng) -> list[int]:
    """Both ends and one inner code of each segment at each exponent, with both signs."""
    codes = [0, -1, 1, -2, CODE_MIN, CODE_MAX, CODE_MIN + 1]
    for exponent in range(19):
        segments = min(1 << exponent, 256)
        width = (1 << exponent) // segments
        for segment in range(segments):
            first = (1 << exponent) + segment * width
            for value in {first, first + width - 1, rng.randrange(first, first + width)}:
                codes.append(value if rng.random() < 0.5 else -1 - value)
    return codes


async def compare_linearizer(dut, linearizer: Linearizer, reference) -> None:
    """With unity proportional gain and no integral, z moves by exactly the error's bits."""
    rng = seeded(linearizer.name)
    bench = Bench(dut)
    await bench.begin(0, linearizer=linearizer, setpoint=0, ki=0, kp=1 << 8)
    codes = table_codes(rng) + [rng.randrange(CODE_MIN, CODE_MAX + 1) for _ in range(20000)]
    rng.shuffle(codes)
    for code in codes:
        assert await bench.quick(code) == reference(code), f"code {code}"


@cocotb.test()
async def logarithm_equals_the_table_on_every_segment(dut):
    await compare_linearizer(dut, Linearizer.LOG, naive_feedback.log2)


@cocotb.test()
async def linear_mode_equals_the_magnitude(dut):
    await compare_linearizer(dut, Linearizer.LINEAR, naive_feedback.linear)


def random_settings(rng) -> dict[str, int]:
    """Gains over all orders of magnitude; windows wide and so narrow that they clamp."""
    a, b = rng.randrange(CODE_MIN, CODE_MAX + 1), rng.randrange(CODE_MIN, CODE_MAX + 1)
    if rng.random() < 0.3:
        b = min(CODE_MAX, a + rng.randrange(100))
    if rng.random() < 0.2:
        a, b = CODE_MIN, CODE_MAX
    return {
        "linearizer": rng.randrange(2),
        "setpoint": rng.choice([rng.randrange((20 << 12) + 1), rng.randrange(10 << 12, 19 << 12), 0, 20 << 12]),
        "kp": rng.choice([0, (1 << 17) - 1, rng.randrange(1 << rng.randrange(1, 18))]),
        "ki": rng.choice([0, (1 << 17) - 1, rng.randrange(1 << rng.randrange(1, 18))]),
        "slew": rng.choice([0, (1 << 22) - 1, rng.randrange(1 << rng.randrange(1, 23))]),
        "z_min": min(a, b),
        "z_max": max(a, b),
    }


def random_code(rng) -> int:
    value = rng.randrange(1 << rng.randrange(1, 20))
    return rng.choice([value, -1 - value, 0, -1, CODE_MIN, CODE_MAX, value, value])


async def random_run(dut, gaps, salt: str) -> None:
    """Settings, hold, mode and live change between samples."""
    rng = seeded(salt)
    bench = Bench(dut)
    model = bench.model
    await bench.begin(rng.randrange(-(1 << 31), 1 << 31), **random_settings(rng))
    hold, on = False, True
    clamped = moved = 0
    for _ in range(SAMPLES):
        action = rng.random()
        if action < 0.08:
            chosen = random_settings(rng)
            names = rng.sample(sorted(chosen), rng.randrange(1, 8))
            await bench.set(**{name: chosen[name] for name in names} | {"z_min": chosen["z_min"], "z_max": chosen["z_max"]})
        elif action < 0.12:
            hold = not hold and rng.random() < 0.5
            dut.hold.value = int(hold)
        elif action < 0.16:
            on = rng.random() < 0.9
            await bench.bank.write("mode", FeedbackMode.ON if on else FeedbackMode.HOLD)
            await cycles(2)
        elif action < 0.18:
            await not_live(bench, rng)
            on = rng.random() < 0.7
            if on:
                await bench.switch_on()
        elif action < 0.20:
            assert await bench.bank.read("engaged") == int(on and not hold)
            assert await bench.bank.read("error") == model.error
            assert await bench.bank.read("z") == model.z
            assert await bench.bank.read("saturated") == int(model.saturated)
        before = model.z
        await bench.take(random_code(rng), gaps(rng), engaged=on and not hold)
        moved += model.z != before
        clamped += model.saturated
    cocotb.log.info("z moved with %d of %d samples, %d were clamped", moved, SAMPLES, clamped)
    assert moved > SAMPLES / 4 and clamped > SAMPLES / 8


async def not_live(bench: Bench, rng) -> None:
    """z and the integral follow the gate; afterwards the controller stands still until ON is written again."""
    dut = bench.dut
    await cycles(bench.z_cycles)  # the last sample's result is there
    dut.live.value = 0
    gate_z = rng.randrange(-(1 << 31), 1 << 31)
    for _ in range(rng.randrange(1, 30)):
        gate_z = rng.choice([gate_z, rng.randrange(-(1 << 31), 1 << 31)])
        dut.gate_z.value = gate_z & 0xFFFFFFFF
        await cycles()
        bench.model.follow(gate_z)
        await settled()
        assert bench.z() == gate_z
        await cycles()
    if rng.random() < 0.5:
        await bench.switch_on()  # has no effect: not live
    dut.live.value = 1
    await cycles(2)


@cocotb.test()
async def random_samples_every_16_cycles_equal_the_model(dut):
    await random_run(dut, lambda rng: 16, "regular")


@cocotb.test()
async def random_samples_at_irregular_times_equal_the_model(dut):
    """From the shortest documented distance on."""
    shortest = parameters()["sample_cycles_min"]
    await random_run(dut, lambda rng: rng.choice([shortest, rng.randrange(shortest, 60)]), "irregular")


@cocotb.test()
async def a_saturated_controller_leaves_its_limit_with_the_first_sample(dut):
    """Anti-windup: however long it stood there."""
    bench = Bench(dut)
    await bench.begin(0, setpoint=10 << 12, ki=5 << 12, kp=0, z_min=-100, z_max=100)
    for code, limit in ((CODE_MAX, 100), (0, -100)):
        for _ in range(200):
            await bench.take(code, 16)
        assert bench.model.z == limit << 12
        assert await bench.bank.read("saturated") == 1
        # Error of -1 or +1: 5 LSB back.
        await bench.take(512 if limit > 0 else 2048, 16)
        assert bench.model.z == (95 if limit > 0 else -95) << 12
        assert await bench.bank.read("saturated") == 0


@cocotb.test()
async def slew_limits_the_integral_and_not_the_proportional_part(dut):
    bench = Bench(dut)
    await bench.begin(0, setpoint=0, ki=1 << 12, kp=0, slew=3 << 10)  # 0.75 LSB a sample
    for count in range(1, 9):
        await bench.take(1 << 16, 16)
        assert bench.model.z == count * (3 << 10)
    await bench.set(kp=2 << 8)
    await bench.take(1 << 16, 16)
    assert bench.model.z == 9 * (3 << 10) + (32 << 12)


@cocotb.test()
async def losing_live_in_any_cycle_of_a_sample_gives_z_to_the_gate(dut):
    """And rising again does not start motion: ON has to be written again."""
    rng = seeded("live")
    bench = Bench(dut)
    for lost_at in range(bench.z_cycles + 2):
        await bench.begin(0, setpoint=0, ki=1 << 12, kp=0)
        await bench.take(1 << 10, 16)
        gate_z = [rng.randrange(-(1 << 31), 1 << 31) for _ in range(40)]
        for cycle in range(40):
            dut.sample.value = pack(SAMPLE, {"valid": cycle == 0, "code": 1 << 12})
            dut.live.value = int(cycle < lost_at)
            dut.gate_z.value = gate_z[cycle] & 0xFFFFFFFF
            await settled()
            if cycle > lost_at:
                assert bench.z() == gate_z[cycle - 1]
                assert not get(dut.engaged)
            await cycles()
        bench.model.follow(gate_z[-1])
        dut.live.value = 1
        assert await bench.bank.read("mode") == FeedbackMode.ON  # what was written stays readable, and counts no more
        assert await bench.bank.read("engaged") == 0
        for _ in range(3):
            await bench.take(random_code(rng), 16, engaged=False)
        await bench.switch_on()
        assert get(dut.engaged)
        await bench.take(1 << 15, 16)


@cocotb.test()
async def on_written_without_live_does_not_count(dut):
    bench = Bench(dut)
    await start(dut)
    await bench.set(setpoint=0, ki=1 << 12)
    await bench.switch_on()
    await cycles(2)
    bench.model.follow(0)
    dut.live.value = 1
    await bench.take(1 << 12, 16, engaged=False)
    assert await bench.bank.read("engaged") == 0


@cocotb.test()
async def hold_in_any_cycle_of_a_sample_freezes_z(dut):
    """The sample on its way counts or does not, by when hold came; nothing else is possible afterwards."""
    bench = Bench(dut)
    for held_at in range(bench.z_cycles + 2):
        await bench.begin(0, setpoint=0, ki=1 << 12, kp=1 << 9)
        await bench.take(1 << 10, 16)
        integral, z = bench.model.integral, bench.model.z
        bench.model.sample(1 << 12, True)
        frozen = None
        for cycle in range(64):
            dut.sample.value = pack(SAMPLE, {"valid": cycle % 16 == 0, "code": 1 << 12})
            dut.hold.value = int(held_at <= cycle < 48)
            await settled()
            if cycle == held_at:
                frozen = bench.z()
                assert frozen in (z, bench.model.z)
                if cycle < bench.z_cycles:
                    assert frozen == z
            elif held_at < cycle < 48:
                assert bench.z() == frozen
            await cycles()
        # The one after the release works on from the integral with or without the sample that was on its way.
        outcomes = []
        for begin in (integral, bench.model.integral):
            bench.model.integral = begin
            bench.model.sample(1 << 12, True)
            outcomes.append(bench.model.z)
        assert bench.z() in outcomes, f"hold at {held_at}"


@cocotb.test()
async def reset_z_is_the_gates_safe_value(dut):
    await start(dut)
    await settled()
    assert Bench(dut).z() == CODE_MAX << 12
    assert not get(dut.engaged)
