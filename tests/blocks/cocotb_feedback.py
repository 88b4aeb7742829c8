from itertools import pairwise

import cocotb
import naive_feedback
from naive_feedback import NaiveFeedback, clamp
from support import Bank, cycles, get, pack, parameters, seeded, settled, signed, start

from reflexarc.contract.blocks import feedback
from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc.contract.link import BusStatus
from reflexarc_hw.lib.formats import SAMPLE

CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1
POSITION_MIN, POSITION_MAX = -(1 << 31), (1 << 31) - 1
SAMPLES = 4000  # of a random run


def entry(value: int, rise: int) -> int:
    return (value & 0x3FFFF) | (rise & 0x3FFF) << 18


class Bench:
    """The block beside its model; the output is compared in each cycle that passes here."""

    def __init__(self, dut):
        self.dut = dut
        block = {each.name: each for each in (feedback.BLOCK, feedback.BIAS_BLOCK)}[parameters()["block"]]
        self.bank = Bank(dut, block)
        self.model = NaiveFeedback(block, parameters()["rest"])
        self.output_cycles, self.error_cycles = parameters()["output_cycles"], parameters()["error_cycles"]
        self.offset, self.hold, self.taken = 0, False, None
        self.has_off = block is feedback.BIAS_BLOCK

    def output(self) -> int:
        assert get(self.dut.request) == get(self.dut.output)
        return signed(get(self.dut.output), 32)

    def convert(self, codes: tuple[int, int] | None, rng=None) -> None:
        """The samples of this cycle; without, wrong codes are there if ``rng`` is given."""
        bits = 0
        for channel in range(2):
            code = codes[channel] if codes else rng.randrange(1 << 20) if rng else 0
            bits |= pack(SAMPLE, {"valid": codes is not None, "code": code}) << channel * SAMPLE.size
        self.dut.samples.value = bits

    async def begin(self, driven: int, **settings: int) -> None:
        """Reset, then live from ``driven`` on with the controller on; the setpoint is reached."""
        await start(self.dut, driven=driven & 0xFFFFFFFF)
        self.__init__(self.dut)
        await self.set(mode=FeedbackMode.HOLD, **settings)
        self.model.follow(driven)
        await self.take((0, 0))
        await self.live()
        await self.set(mode=FeedbackMode.ON)

    async def live(self) -> None:
        self.dut.live.value = 1
        self.model.live = True
        await cycles(2)

    async def set(self, **settings: int) -> None:
        """New settings, in force when this returns."""
        for name, value in settings.items():
            await self.bank.write(name, value)
            self.model.write(name, value)
        await cycles(2)

    async def load(self, table: dict[int, tuple[int, int]]) -> None:
        for index, (value, rise) in table.items():
            await self.set(table_index=index, table_entry=entry(value, rise))

    def put(self, offset: int | None = None, hold: bool | None = None) -> None:
        """New inputs from this cycle on."""
        if offset is not None:
            self.offset = offset
            self.dut.offset.value = offset & 0xFFFFFFFF
        if hold is not None:
            self.hold = hold
            self.dut.hold.value = int(hold)

    def take_over(self, taken: int | None) -> None:
        self.taken = taken
        self.dut.taken.value = int(taken is not None)
        self.dut.taken_output.value = (taken or 0) & 0xFFFFFFFF

    async def take(self, codes: tuple[int, int] | int, gap: int = 16, rng=None) -> None:
        """One sample, then ``gap`` cycles until the next may come: the output is the old one before cycle ``output_cycles``, then the new one."""
        codes = (codes, -1) if isinstance(codes, int) else codes
        model, before = self.model, self.model.output
        engaged = model.engaged(self.hold, self.taken is not None)
        model.sample(codes, self.offset, self.hold, self.taken)
        for cycle in range(gap):
            self.convert(codes if cycle == 0 else None, rng)
            await settled()
            # The error is there earlier, for who watches it; a strobe says that it moves the output.
            assert get(self.dut.error_valid) == (engaged and cycle == self.error_cycles), f"cycle {cycle}"
            if cycle >= self.error_cycles:
                assert signed(get(self.dut.error), 18) == model.error, f"cycle {cycle} after the sample {codes}"
            expected = before if cycle < self.output_cycles else model.output
            assert self.output() == expected, f"cycle {cycle} after the sample {codes}: {self.output()}, expected {expected}"
            await cycles()
        assert get(self.dut.engaged) == engaged and get(self.dut.used) == (model.settings["mode"] != FeedbackMode.OFF)

    async def quick(self, code: int) -> int:
        """One sample without a look at what happens between; its output."""
        self.convert((code, 0))
        await cycles()
        self.dut.samples.value = 0
        await cycles(self.output_cycles - 1)
        await settled()
        output = self.output()
        await cycles()
        return output


# ----------------------------------------------------------------------------------------------------------- linearizers


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


async def compare_linearizer(bench: Bench, codes: list[int]) -> None:
    """With unity proportional gain and no integral, the output moves by exactly the error's bits."""
    await bench.set(setpoint=0, ki=0, kp=1 << 8)
    for code in codes:
        expected = clamp(bench.model.reading(code), -naive_feedback.ERROR_MAX, naive_feedback.ERROR_MAX)
        assert await bench.quick(code) == expected, f"code {code}"


@cocotb.test()
async def logarithm_equals_the_table_on_every_segment(dut):
    rng = seeded("log")
    bench = Bench(dut)
    await bench.begin(0, linearizer=Linearizer.LOG)
    codes = table_codes(rng) + [rng.randrange(CODE_MIN, CODE_MAX + 1) for _ in range(5000)]
    rng.shuffle(codes)
    await compare_linearizer(bench, codes)


@cocotb.test()
async def linear_mode_equals_the_magnitude(dut):
    rng = seeded("linear")
    bench = Bench(dut)
    await bench.begin(0, linearizer=Linearizer.LINEAR)
    await compare_linearizer(bench, [0, -1, 1, -2, CODE_MIN, CODE_MAX] + [rng.randrange(CODE_MIN, CODE_MAX + 1) for _ in range(5000)])


def random_segment(rng) -> tuple[int, int]:
    value = rng.choice([-(1 << 17), (1 << 17) - 1, rng.randrange(-(1 << 17), 1 << 17), rng.randrange(-5000, 5000)])
    return value, rng.choice([-(1 << 13), (1 << 13) - 1, 0, rng.randrange(-(1 << 13), 1 << 13)])


@cocotb.test()
async def the_users_table_is_interpolated_over_the_signed_code(dut):
    rng = seeded("table")
    bench = Bench(dut)
    await bench.begin(0)
    await bench.set(linearizer=Linearizer.TABLE)
    await bench.load({index: random_segment(rng) for index in rng.sample(range(256), 256)})
    codes = [
        (segment << 12) - (1 << 19) + rest for segment in range(256) for rest in (0, 1, 4095, *(rng.randrange(4096) for _ in range(12)))
    ]
    rng.shuffle(codes)
    await compare_linearizer(bench, codes)


@cocotb.test()
async def an_entry_may_be_written_in_any_cycle_of_a_sample(dut):
    """The very entry that the sample reads: it sees the old or the new one, and the next sample the new one."""
    rng = seeded("entry")
    bench = Bench(dut)
    await bench.begin(0, setpoint=0, table_index=200, table_entry=entry(1000, 0), ki=0, kp=1 << 8)
    await bench.set(linearizer=Linearizer.TABLE)
    code = (200 - 128) << 12
    old = await bench.quick(code)
    for shift in range(24):
        new = rng.randrange(-100000, 100000)
        writing = cocotb.start_soon(bench.bank.write("table_entry", entry(new, 0)))
        for cycle in range(60):
            sampled = cycle >= shift and (cycle - shift) % 12 == 0
            bench.convert((code, 0) if sampled else None)
            await settled()
            if cycle >= shift + bench.output_cycles:
                # Of the sample so many cycles after the begin of the access.
                sample = shift + (cycle - shift) // 12 * 12 - 12
                assert bench.output() in {old, new}
                assert sample > 2 or bench.output() == old
                assert sample < 4 or bench.output() == new
            await cycles()
        await writing
        old = new


# ----------------------------------------------------------------------------------------------------------- random runs


def random_settings(rng) -> dict[str, int]:
    """Gains over all orders of magnitude; windows wide and so narrow that they clamp."""
    low, high = sorted(rng.randrange(CODE_MIN, CODE_MAX + 1) for _ in range(2))
    if rng.random() < 0.3:
        high = min(CODE_MAX, low + rng.randrange(100))
    if rng.random() < 0.2:
        low, high = CODE_MIN, CODE_MAX

    def gain(bits: int) -> int:
        return rng.choice(
            [0, (1 << bits) - 1, rng.randrange(1 << rng.randrange(1, bits + 1)), rng.randrange(1 << rng.randrange(1, bits + 1))]
        )

    return {
        "linearizer": rng.randrange(3),
        "setpoint": rng.choice([rng.randrange(-(1 << 17), 1 << 17), rng.randrange(10 << 12, 19 << 12), 0, -(1 << 17), (1 << 17) - 1]),
        "kp": gain(17),
        "ki": gain(17),
        "slew": gain(22),
        "low": low,
        "high": high,
        "channel": rng.randrange(2),
        "setpoint_step": max(1, gain(30)),
        "hold_height": rng.choice(
            [0, POSITION_MIN, POSITION_MAX, rng.randrange(POSITION_MIN, POSITION_MAX + 1), rng.randrange(-50000, 50000)]
        ),
        "hold_step": max(1, gain(31)),
        "excitation": gain(24),
        "excitation_samples": rng.choice([0, 1, 2, rng.randrange(20), (1 << 24) - 1]),
    }


def random_code(rng) -> int:
    value = rng.randrange(1 << rng.randrange(1, 20))
    return rng.choice([value, -1 - value, 0, -1, CODE_MIN, CODE_MAX, value, value])


def position(rng) -> int:
    """Anything of Q20.12, often something small."""
    return rng.choice([rng.randrange(POSITION_MIN, POSITION_MAX + 1), rng.randrange(-(1 << 20), 1 << 20), 0, POSITION_MIN, POSITION_MAX])


async def random_run(dut, gaps, salt: str) -> None:
    """Settings, table, offset, hold, mode, live and what takes over change between samples."""
    rng = seeded(salt)
    bench = Bench(dut)
    model = bench.model
    await bench.begin(position(rng))
    model = bench.model
    await bench.load({index: random_segment(rng) for index in range(256)})
    modes = list(FeedbackMode) if bench.has_off else [FeedbackMode.HOLD, FeedbackMode.ON]
    moved = clamped = engaged = 0
    for _ in range(SAMPLES):
        action = rng.random()
        if action < 0.08:
            chosen = random_settings(rng)
            names = rng.sample(sorted(chosen), rng.randrange(1, len(chosen)))
            await bench.set(**{name: chosen[name] for name in names} | {"low": chosen["low"], "high": chosen["high"]})
        elif action < 0.12:
            await bench.load({rng.randrange(256): random_segment(rng)})
        elif action < 0.16:
            bench.put(hold=not bench.hold and rng.random() < 0.5)
        elif action < 0.20:
            bench.take_over(position(rng) if bench.taken is None and rng.random() < 0.5 else None)
        elif action < 0.30:
            await bench.set(mode=rng.choices(modes, [3, 6, 1][: len(modes)])[0])
        elif action < 0.32:
            await not_live(bench, rng)
        elif action < 0.34:
            registers = ("output", "error", "saturated", "setpoint_now", "engaged")
            shown = {name: await bench.bank.read(name) for name in registers}
            on = model.engaged(bench.hold, bench.taken is not None)
            assert list(shown.values()) == [model.output, model.error, model.saturated, model.setpoint >> 12, on]
        if rng.random() < 0.5:
            bench.put(offset=clamp(bench.offset + rng.randrange(-9000, 9000), POSITION_MIN, POSITION_MAX))
        elif rng.random() < 0.02:
            bench.put(offset=position(rng))
        if bench.taken is not None:
            bench.take_over(clamp(bench.taken + rng.randrange(-9000, 9000), POSITION_MIN, POSITION_MAX))
        if model.follows:
            driven = position(rng)
            dut.driven.value = driven & 0xFFFFFFFF
            await cycles(3)
            model.follow(driven)
        before = model.output
        on = model.engaged(bench.hold, bench.taken is not None)
        await bench.take((random_code(rng), random_code(rng)), gaps(rng), rng)
        engaged += on
        moved += on and model.output != before
        clamped += on and model.saturated
    cocotb.log.info("of %d samples %d engaged, the output moved with %d, %d were clamped", SAMPLES, engaged, moved, clamped)
    assert engaged > SAMPLES / 8 and moved > engaged / 4 and clamped > engaged / 8


async def not_live(bench: Bench, rng) -> None:
    """Output and integral follow the gate; afterwards the controller stands still until ON is written again."""
    dut = bench.dut
    await cycles(bench.output_cycles)  # the last sample's result is there
    dut.live.value = 0
    bench.model.lose_live()
    driven = position(rng)
    await cycles()
    for _ in range(rng.randrange(1, 30)):
        driven = rng.choice([driven, position(rng)])
        dut.driven.value = driven & 0xFFFFFFFF
        await cycles()
        bench.model.follow(driven)
        await settled()
        assert bench.output() == driven
        await cycles()
    if rng.random() < 0.5:  # has no effect: not live
        await bench.set(mode=FeedbackMode.ON, hold_height=position(rng), excitation_samples=3)
    await bench.live()


@cocotb.test()
async def random_samples_every_16_cycles_equal_the_model(dut):
    await random_run(dut, lambda rng: 16, "regular")


@cocotb.test()
async def random_samples_at_irregular_times_equal_the_model(dut):
    """From the shortest documented distance on."""
    shortest = parameters()["sample_cycles_min"]
    await random_run(dut, lambda rng: rng.choice([shortest, rng.randrange(shortest, 40)]), "irregular")


# ----------------------------------------------------------------------------------------------------------- controller


@cocotb.test()
async def a_saturated_controller_leaves_its_limit_with_the_first_sample(dut):
    """Anti-windup: however long it stood there, and with what stands beside it."""
    bench = Bench(dut)
    for offset in (0, 30 << 12, -(30 << 12)):
        await bench.begin(0, setpoint=10 << 12, ki=5 << 12, kp=0, low=-100, high=100)
        bench.put(offset=offset)
        for code, limit in ((CODE_MAX, 100), (0, -100)):
            for _ in range(100):
                await bench.take(code)
            assert bench.model.output == limit << 12
            assert await bench.bank.read("saturated") == 1
            # Error of -1 or +1: 5 LSB back.
            await bench.take(512 if limit > 0 else 2048)
            assert bench.model.output == (95 if limit > 0 else -95) << 12
            assert await bench.bank.read("saturated") == 0


@cocotb.test()
async def slew_limits_the_integral_and_not_the_proportional_part(dut):
    bench = Bench(dut)
    await bench.begin(0, setpoint=0, ki=1 << 12, kp=0, slew=3 << 10)  # 0.75 LSB a sample
    for count in range(1, 9):
        await bench.take(1 << 16)
        assert bench.model.output == count * (3 << 10)
    await bench.set(kp=2 << 8)
    await bench.take(1 << 16)
    assert bench.model.output == 9 * (3 << 10) + (32 << 12)


@cocotb.test()
async def the_setpoint_goes_to_its_register_by_its_step(dut):
    """And counts from the sample after: with unity proportional gain each sample shows it."""
    bench = Bench(dut)
    await bench.begin(0, ki=0, kp=1 << 8, setpoint=0)
    for target, step in ((5 << 12, 3 << 11), (-(3 << 12), 1 << 22), (100, 1), (7 << 12, (1 << 30) - 1), (-(1 << 17), (1 << 30) - 1)):
        before = bench.model.setpoint
        await bench.set(setpoint=target, setpoint_step=step)
        goal = target << 12
        for count in range(12):
            await bench.take(1)
            now = clamp(goal, before - count * step, before + count * step) >> 12
            assert bench.model.output == -max(now, -naive_feedback.ERROR_MAX), "log2(1) is 0"
        assert await bench.bank.read("setpoint_now") == clamp(goal, before - 12 * step, before + 12 * step) >> 12


@cocotb.test()
async def the_other_channel_is_used_if_chosen(dut):
    bench = Bench(dut)
    await bench.begin(0, ki=0, kp=1 << 8, setpoint=0)
    for channel in (1, 0, 1):
        await bench.set(channel=channel)
        await bench.take((1 << 4, 1 << 9))
        assert bench.model.output == (9 if channel else 4) << 12


# ----------------------------------------------------------------------------------------------------------- live, ON, OFF


@cocotb.test()
async def losing_live_in_any_cycle_of_a_sample_gives_the_output_to_the_gate(dut):
    """And rising again does not start motion: ON has to be written again."""
    rng = seeded("live")
    bench = Bench(dut)
    for lost_at in range(bench.output_cycles + 2):
        await bench.begin(0, setpoint=0, ki=1 << 12, kp=0)
        await bench.take(1 << 10)
        await bench.set(hold_height=1 << 20, excitation=1 << 15, excitation_samples=1)
        driven = [position(rng) for _ in range(40)]
        for cycle in range(40):
            bench.convert((1 << 12, 0) if cycle in (0, 16) else None)
            dut.live.value = int(cycle < lost_at)
            dut.driven.value = driven[cycle] & 0xFFFFFFFF
            await settled()
            if cycle > lost_at + 1:
                assert bench.output() == driven[cycle - 1]
                assert not get(dut.engaged)
            await cycles()
        dut.live.value = 1
        assert await bench.bank.read("mode") == FeedbackMode.ON  # what was written stays readable, and counts no more
        assert await bench.bank.read("engaged") == 0
        for _ in range(3):
            for cycle in range(16):
                bench.convert((random_code(rng), 0) if cycle == 0 else None)
                await settled()
                assert bench.output() == driven[-1]
                await cycles()


@cocotb.test()
async def what_starts_motion_counts_only_if_written_while_live(dut):
    """ON, a displacement, an excitation: written before, they are readable and nothing more; written again, they count."""
    bench = Bench(dut)
    await start(dut)
    wanted = {"mode": FeedbackMode.ON, "hold_height": 5 << 12, "excitation_samples": 2}
    await bench.set(setpoint=0, ki=1 << 12, excitation=1 << 12, **wanted)
    bench.model.follow(0)
    await bench.live()
    for _ in range(5):
        await bench.take(1 << 12)
        assert bench.model.output == 0
    assert await bench.bank.read("engaged") == 0
    for name, value in wanted.items():
        assert await bench.bank.read(name) == value
    await bench.set(hold_height=5 << 12)
    for count in range(1, 8):
        await bench.take(1 << 12)
        assert bench.model.output == min(count, 5) << 12
    await bench.set(excitation_samples=2)
    for sign in (1, 1, -1, -1, 1):
        await bench.take(1 << 12)
        assert bench.model.output == 5 + sign << 12
    await bench.set(mode=FeedbackMode.ON)
    assert get(dut.engaged)
    await bench.take(1 << 12)


@cocotb.test()
async def off_gives_the_output_to_what_is_driven_and_takes_it_back_without_a_bump(dut):
    """In any cycle of a sample, while what is driven moves until just before."""
    bench = Bench(dut)
    if not bench.has_off:
        await start(dut)
        assert await bench.bank.try_write("mode", FeedbackMode.OFF) is BusStatus.RANGE
        return
    for mode in (FeedbackMode.ON, FeedbackMode.HOLD):
        for shift in range(34):
            await bench.begin(7 << 12, setpoint=0, ki=1 << 12, kp=3 << 8)
            bench.put(offset=11 << 12)
            await bench.set(mode=FeedbackMode.OFF, excitation=1 << 12, hold_height=4 << 12, hold_step=1 << 12)
            assert not get(dut.used)
            bench.model.follow(7 << 12)
            await bench.take(1)
            driven, outputs, used = [], [], []
            writing = None
            for cycle in range(80):
                bench.convert((1, 0) if cycle % 16 == 3 else None)  # no error
                driven.append((cycle * 1000) << 12 if not used or not used[-1] else driven[-1])
                dut.driven.value = driven[-1] & 0xFFFFFFFF
                if cycle == shift:
                    writing = cocotb.start_soon(bench.bank.write("mode", mode))
                await settled()
                outputs.append(bench.output())
                used.append(get(dut.used))
                await cycles()
            await writing
            left = used.index(1)
            assert outputs[1 : left + 1] == driven[:left]
            stood = driven[left - 1]
            rest = outputs[left:]
            if mode is FeedbackMode.ON:
                assert set(rest) == {stood}
                assert get(dut.engaged)
            else:
                steps = [stood + (count << 12) for count in range(5)]
                assert sorted(set(rest)) == steps[: len(set(rest))] and rest == sorted(rest) and rest[0] == stood


# ----------------------------------------------------------------------------------------------------------- hold


@cocotb.test()
async def hold_in_any_cycle_of_a_sample_freezes_the_output(dut):
    """The sample on its way counts or does not, by when hold came; nothing else is possible afterwards."""
    bench = Bench(dut)
    for held_at in range(bench.output_cycles + 2):
        await bench.begin(0, setpoint=0, ki=1 << 12, kp=1 << 9)
        await bench.take(1 << 10)
        old = bench.model.output
        bench.model.sample((1 << 12, 0))
        frozen = None
        for cycle in range(64):
            bench.convert((1 << 12, 0) if cycle % 16 == 0 else None)
            dut.hold.value = int(held_at <= cycle < 48)
            await settled()
            if cycle == held_at + 1:  # the line has a register of its own
                frozen = bench.output()
                assert frozen == (old if cycle < bench.output_cycles else bench.model.output)
            elif held_at + 1 < cycle < 48:
                assert bench.output() == frozen
            await cycles()
        # The error stands: what the controller adds after the release is the step alone.
        assert bench.output() == frozen + (12 << 12), f"hold at {held_at}"


@cocotb.test()
async def release_is_without_a_bump(dut):
    """After any hold: by mode, by the interlock's line, by what takes over, displaced or not, with whatever stands beside the integral."""
    rng = seeded("release")
    bench = Bench(dut)
    for _ in range(60):
        await bench.begin(rng.randrange(-(1 << 28), 1 << 28), setpoint=0, kp=rng.randrange(1 << 12), ki=rng.randrange(1 << 10))
        model = bench.model
        await bench.set(
            excitation=rng.randrange(1 << 20), excitation_samples=rng.randrange(4), hold_height=rng.randrange(-(1 << 20), 1 << 20),
            hold_step=rng.randrange(1, 1 << 16),
        )  # fmt: skip
        for _ in range(rng.randrange(4)):
            await bench.take(random_code(rng), 12)
        kind = rng.choice(["mode", "hold", "taken"])
        if kind == "mode":
            await bench.set(mode=FeedbackMode.HOLD)
        bench.put(hold=kind == "hold")
        for _ in range(rng.randrange(1, 9)):
            bench.put(offset=rng.randrange(-(1 << 24), 1 << 24))
            bench.take_over(rng.randrange(-(1 << 28), 1 << 28) if kind == "taken" else None)
            await bench.take(random_code(rng), 12)
        if kind == "mode":
            await bench.set(mode=FeedbackMode.ON)
        bench.put(hold=False, offset=rng.randrange(-(1 << 24), 1 << 24))
        bench.take_over(None)
        before, feed, proportional = model.output, model.feed, model.settings["kp"] * model.error << 4
        await bench.take(random_code(rng), 12)
        step = model.settings["ki"] * model.error
        change = step + (model.settings["kp"] * model.error << 4) - proportional + model.feed - feed
        assert model.output == before + (change >> 12)


@cocotb.test()
async def nothing_moves_without_an_error_whoever_holds_and_releases_in_any_cycle(dut):
    """The interlock's hold and the mode at random; what stands beside the integral changes, and the output with it and with nothing else."""
    rng = seeded("toggle")
    bench = Bench(dut)
    await bench.begin(12345 << 12, setpoint=0, kp=1 << 12, ki=1 << 12)
    await bench.set(excitation=3 << 12, excitation_samples=1, hold_height=0)
    base, sign, feed, last_feed = bench.model.output, 1, 0, 0
    changed = -100
    for cycle in range(12_000):
        phase = cycle % 12
        if phase == 0:
            bench.convert((1, 0))
            bench.put(offset=rng.randrange(-(1 << 24), 1 << 24))
            last_feed, feed = feed, bench.offset + sign * (3 << 12)
            sign = -sign
        else:
            bench.convert(None, rng)
        if rng.random() < 0.05:
            bench.put(hold=not bench.hold)
            changed = cycle
        if cycle % 60 == 30 and rng.random() < 0.3:
            cocotb.start_soon(bench.bank.write("mode", rng.choice([FeedbackMode.ON, FeedbackMode.HOLD])))
            changed = cycle + 5
        await settled()
        # This cycle shows the sample before. One on its way as hold comes may be left out, and its feed with it.
        if cycle > 24 and phase == 11:
            allowed = {base + last_feed}
            if cycle - changed < 24:
                allowed.add(bench.output())  # looked at once it is settled
            assert bench.output() in allowed, f"cycle {cycle}"
        await cycles()


@cocotb.test()
async def held_the_output_follows_its_displacement_and_not_while_the_line_holds(dut):
    bench = Bench(dut)
    await bench.begin(100 << 12, setpoint=0, ki=1 << 12)
    await bench.set(hold_height=5 << 12, hold_step=1 << 11)  # while ON it does not count, then or later
    await bench.take(1)
    await bench.set(mode=FeedbackMode.HOLD)
    await bench.take(1)
    assert bench.model.output == 100 << 12
    await bench.set(hold_height=-(3 << 12))
    expected = 0
    for hold in (0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0):
        bench.put(hold=bool(hold), offset=bench.offset + 5)
        await bench.take(1 << 15)
        expected = max(expected - (0 if hold else 1 << 11), -(3 << 12))
        assert bench.model.output == (100 << 12) + expected + bench.offset
    # Another height from where it is; ON, and it begins anew from there.
    await bench.set(hold_height=1 << 11)
    await bench.take(1)
    assert bench.model.output == (100 << 12) - (5 << 11) + bench.offset
    await bench.set(mode=FeedbackMode.ON)
    await bench.take(1)
    await bench.set(mode=FeedbackMode.HOLD)
    await bench.take(1)
    assert bench.model.output == (100 << 12) - (5 << 11) + bench.offset


@cocotb.test()
async def the_excitation_is_a_square_wave_of_whole_samples(dut):
    """It begins with its positive half, wherever in a sample it is switched on, and ends with nothing."""
    bench = Bench(dut)
    await bench.begin(0, setpoint=0)
    await bench.set(mode=FeedbackMode.HOLD, excitation=9)
    for half in (1, 2, 5):
        for shift in range(16):
            outputs = []
            for cycle in range(16 * (4 * half + 4)):
                bench.convert((1, 0) if cycle % 16 == 0 else None)
                if cycle == shift + 20:
                    cocotb.start_soon(bench.bank.write("excitation_samples", half))
                await settled()
                if cycle % 16 == 15:
                    outputs.append(bench.output())
                await cycles()
            first = outputs.index(9)
            assert first <= 3 and not any(outputs[:first])
            assert outputs[first:] == [9 if index // half % 2 == 0 else -9 for index in range(len(outputs) - first)]
            await bench.bank.write("excitation_samples", 0)
            bench.convert((1, 0))
            await cycles()
            bench.convert(None)
            await cycles(16)
            assert bench.output() == 0


@cocotb.test()
async def taken_the_output_is_what_is_asked_for_with_each_sample(dut):
    rng = seeded("taken")
    bench = Bench(dut)
    await bench.begin(0, setpoint=0, ki=1 << 12, kp=1 << 8)
    for _ in range(30):
        bench.take_over(position(rng) if rng.random() < 0.7 else None)
        bench.put(offset=rng.randrange(-(1 << 20), 1 << 20))
        await bench.take(random_code(rng))
        if bench.taken is not None:
            assert bench.model.output == bench.taken


@cocotb.test()
async def at_reset_the_gates_safe_value_stands(dut):
    await start(dut)
    await settled()
    bench = Bench(dut)
    assert bench.output() == parameters()["rest"] << 12
    assert not get(dut.engaged)
    assert get(dut.used) == (not bench.has_off)


@cocotb.test()
async def what_is_written_in_any_cycle_of_a_sample_is_reached_by_its_step(dut):
    """A displacement and a setpoint that change while the next step is on its way count for the step after it."""
    bench = Bench(dut)
    step = 1 << 10

    async def samples(count: int, code: int, seen: list[int]) -> None:
        for cycle in range(16 * count):
            bench.convert((code, 0) if cycle % 16 == 0 else None)
            await settled()
            seen.append(bench.output())
            await cycles()

    for name, code in (("hold_height", 0), ("setpoint", 1)):
        for phase in range(18):
            await bench.begin(0, setpoint=0, ki=0, kp=1 << 8, hold_step=step, setpoint_step=step << 12)
            if name == "hold_height":
                await bench.set(mode=FeedbackMode.HOLD)
            seen: list[int] = []
            running = cocotb.start_soon(samples(8, code, seen))
            await cycles(16 + phase)
            await bench.bank.write(name, 1 << 16)
            await running
            assert max(abs(after - before) for before, after in pairwise(seen)) <= step, f"{name} in cycle {phase}"
            assert abs(seen[-1] - seen[0]) >= 4 * step
