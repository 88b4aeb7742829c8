from collections import deque

import cocotb
from naive_dose import FULL, RATE_CYCLES, SAMPLES_AFTER_PULSE, Inputs, NaiveDose
from support import BANK_CYCLES, Bank, cycles, get, pack, seeded, settled, start
from support_conditions import Conditions, held
from support_signals import LockstepBank

from reflexarc.contract.blocks import dose
from reflexarc.contract.blocks.dose import DoseCommand
from reflexarc.contract.blocks.interlock import DOSE_CAUSES, Cause
from reflexarc.contract.blocks.signals import CURRENT, MONITOR
from reflexarc.contract.link import BusStatus
from reflexarc_hw.lib.formats import OUTPUTS, SAMPLE

CYCLES = 60000  # of a random run
CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1
NO_LIMIT = 0xFFFFFFFF
COUNT_CYCLES = range(1, 5)  # from a count to its verdict
INJECT_CYCLES = 2  # from an injection to its verdict
END_CYCLES = 2  # from the beginning of a pixel or frame to the verdict on the last count of the one before
LIMIT_CYCLES = range(3, 7)  # from a limit in force to its verdict
LATE = 1  # doses and charge stand two cycles after what they count, pulses and open time one
SETTINGS = ("beam_rate", "monitor_gain", "blanker_delay", "region_x_low", "region_x_high", "region_y_low", "region_y_high")
OPEN = {"pixel_limit": NO_LIMIT, "region_limit": NO_LIMIT, "frame_limit": NO_LIMIT, "pulses_limit": NO_LIMIT, "charge_limit": NO_LIMIT}
EVERYWHERE = {"region_x_low": CODE_MIN, "region_x_high": CODE_MAX, "region_y_low": CODE_MIN, "region_y_high": CODE_MAX}
ELECTRON = 1 << 20


def drive(dut, inputs: Inputs) -> None:
    dut.blank.value = int(inputs.blank)
    dut.dac.value = pack(OUTPUTS, {"x": inputs.x, "y": inputs.y, "z": 77, "bias": -77})
    for name in ("pulse", "pixel_start", "frame_start"):
        getattr(dut, name).value = int(getattr(inputs, name))
    bits = 0
    for channel, code in ((CURRENT, inputs.current), (MONITOR, inputs.monitor)):
        bits |= pack(SAMPLE, {"valid": code is not None, "code": code or 0}) << SAMPLE.size * channel
    dut.samples.value = bits


def shown(dut) -> dict[str, int]:
    """What the bank's read-only registers would give in this cycle."""
    return {name: get(getattr(dut.bank, name)) for name in ("pixel_dose", "region_dose", "frame_dose", "open_time", "pulses", "charge")}


def register_of(dut, name: str):
    """The flip-flops of a count, wherever the netlist's naming has put them; a value written there stays."""
    width = 32 if name == "pulses" else 64
    for handle in dut:
        if handle._name.split("$")[0].strip("\\") == name and hasattr(handle, "value") and len(handle.value) == width:
            return handle
    raise AssertionError(f"no register of {name} among {[handle._name for handle in dut]}")


class Bench:
    """For directed tests: the inputs of one or more cycles at a time, counts compared with the model's at the end."""

    def __init__(self, dut):
        self.dut = dut
        self.bank = Bank(dut, dose.BLOCK)
        self.conditions = Conditions(dut, DOSE_CAUSES)
        self.model = NaiveDose()

    async def begin(self, **settings: int) -> None:
        self.model = NaiveDose()
        await start(self.dut, blank=1)
        self.conditions.enable(DOSE_CAUSES)
        await self.put(**(OPEN | settings))

    async def put(self, **settings: int) -> None:
        """Settings that count when this returns; the beam is off and nothing is sampled."""
        await self.bank.configure(**settings)
        self.model.settings |= settings
        await self.step(count=8)

    async def command(self, command: DoseCommand) -> None:
        await self.bank.write("command", command)
        self.model.cycle(Inputs(), command)
        await self.step(count=4)

    async def step(self, count: int = 1, **inputs) -> None:
        for _ in range(count):
            asked = Inputs(**inputs)
            drive(self.dut, asked)
            self.model.cycle(asked)
            await cycles()
        drive(self.dut, Inputs())

    async def compare(self) -> None:
        """Each count equals the model's, to the unit; with the beam off."""
        model = self.model
        await self.step(count=4)
        expected = {"pixel_dose": model.pixel, "region_dose": model.region, "frame_dose": model.frame, "open_time": model.open_time}
        expected |= {"pulses": model.pulses, "charge": model.charge}
        for name, value in expected.items():
            assert await self.bank.read(name) == value, name
        await self.step(count=2)

    async def verdict(self) -> set[Cause]:
        await self.step(count=COUNT_CYCLES[-1] + LATE)
        return await self.conditions.settled_verdict()


def random_setting(rng, name: str) -> int:
    if name.endswith("_limit"):
        return rng.choice([NO_LIMIT, 0, rng.randrange(1 << rng.randrange(1, 24)), rng.randrange(1 << rng.randrange(1, 12))])
    if name.startswith("region_"):
        return rng.choice([CODE_MIN, CODE_MAX, rng.randrange(-10, 10), rng.randrange(CODE_MIN, CODE_MAX + 1)])
    match name:
        case "beam_rate":
            return rng.choice([0, 1, rng.randrange(1 << rng.randrange(1, 33)), rng.randrange(1 << 24)])
        case "monitor_gain":
            return rng.choice([0, 1, (1 << 18) - 1, rng.randrange(1 << rng.randrange(1, 19))])
    return rng.choice([0, 1, 2, rng.randrange(40)])  # blanker_delay


@cocotb.test()
async def a_random_run_counts_what_the_model_counts_in_every_cycle(dut):
    """Beam, position, pulses, pixels and frames change at any time, limits and commands too; verdicts within their cycles."""
    rng = seeded("dose")
    await start(dut, blank=1)
    bank, conditions = LockstepBank(dut, dose.BLOCK), Conditions(dut, DOSE_CAUSES)
    model = NaiveDose()
    limit_names = [r.name for r in dose.BLOCK.registers if r.name.endswith("_limit")]
    late = NaiveDose()  # doses and charge of the cycle before
    # Of each cycle, the last one of the cycle before: counts and limits in their units, and what was enabled.
    units: deque[dict[Cause, int]] = deque([model.units()] * 10, maxlen=10)
    limits: deque[dict[Cause, int]] = deque([model.limits()] * 10, maxlen=10)
    enables: deque[set[Cause]] = deque([set()] * 10, maxlen=10)
    starts: deque[set[Cause]] = deque([set()] * 10, maxlen=10)  # what began in it
    enabled = set(DOSE_CAUSES)
    injected: set[Cause] = set()
    blind: dict[Cause, int] = {}
    lock = False
    latched: tuple[int, set[int]] = (0, {0})
    latching = latched  # shown two cycles after it was latched
    seen = dict.fromkeys(DOSE_CAUSES, 0)
    unseen = dict.fromkeys(DOSE_CAUSES, 0)
    refused = commands = latches = 0
    pause = 20  # cycles until the beam may be used again, its settings being changed meanwhile
    next_sample = 30
    inputs = Inputs()
    for now in range(CYCLES):
        change: dict = {"pixel_start": rng.random() < 0.02, "frame_start": rng.random() < 0.004, "current": None, "monitor": None}
        if pause:
            pause -= 1
            if pause == 60:
                for name in rng.sample(SETTINGS, 3):
                    bank.write(name, random_setting(rng, name))
            change |= {"blank": True}
        else:
            if rng.random() < 0.05:
                change["blank"] = rng.random() < 0.5
            if rng.random() < 0.003:
                pause = 150  # the blanker's delay, the settings, and some cycles until they count
                change["blank"] = True
            if now >= next_sample:
                next_sample = now + rng.randrange(9, 21)
                for name in ("current", "monitor"):
                    code = rng.choice([rng.randrange(CODE_MIN, CODE_MAX + 1), rng.randrange(-99, 99), CODE_MIN, CODE_MAX])
                    change[name] = code if rng.random() < 0.95 else None
        for axis in "xy":
            if rng.random() < 0.1:
                edges = [model.settings[f"region_{axis}_low"], model.settings[f"region_{axis}_high"]]
                at = rng.choice([*edges, *edges, rng.randrange(CODE_MIN, CODE_MAX + 1)]) + rng.choice([-1, 0, 0, 0, 1])
                change[axis] = min(max(at, CODE_MIN), CODE_MAX)
        if rng.random() < 0.03:
            change["pulse"] = not inputs.pulse
        if not pause and bank.idle and rng.random() < 0.05:
            if rng.random() < 0.8:
                name = rng.choice(limit_names)
                bank.write(name, random_setting(rng, name))
            else:
                bank.write("command", rng.randrange(4))
            bank.rest(rng.randrange(5))
        if rng.random() < 0.003:
            lock = not lock and not pause and rng.random() < 0.6
        if pause:
            lock = False
        if rng.random() < 0.003:
            enabled = set(DOSE_CAUSES) if rng.random() < 0.8 else set(rng.sample(DOSE_CAUSES, rng.randrange(5)))
        injected = {rng.choice(DOSE_CAUSES)} if rng.random() < 0.002 else injected if rng.random() < 0.6 else set()
        asked = rng.choice([*DOSE_CAUSES, *DOSE_CAUSES, Cause.HOST, 63]) if conditions.asked is None and rng.random() < 0.05 else None

        bank.drive()
        if bank.answering is not None and bank.answering.name == "command":
            # See a_reset_of_the_tip_counts_in_any_cycle.
            change |= {"current": None, "pulse": inputs.pulse}
        inputs = Inputs(**(inputs.__dict__ | change))
        drive(dut, inputs)
        dut.guard__lock.value = int(lock)
        conditions.enable(enabled)
        conditions.inject(*injected)
        latch = conditions.latch(asked)
        await settled()
        if bank.deciding is not None:
            bank.deciding.expected = BusStatus.LOCKED if dose.BLOCK[bank.deciding.name].locked and lock else BusStatus.OK
        command = None
        if bank.answering is not None:
            status, _ = bank.answer()
            assert status is bank.answering.expected
            refused += status is BusStatus.LOCKED
            for name, raw in bank.taken.items():
                if name == "command":
                    command = raw
                    commands += 1
                else:
                    model.settings[name] = raw

        # Counts that stand now are those of the cycles before.
        expected = {"pixel_dose": late.pixel, "region_dose": late.region, "frame_dose": late.frame, "open_time": model.open_time}
        expected |= {"pulses": model.pulses, "charge": late.charge}
        assert shown(dut) == expected, f"cycle {now}"
        if not pause:
            assert get(dut.bank.beam) == model.rate, f"cycle {now}"
        counts = late.units() | {Cause.PULSES: model.pulses}

        verdict = conditions.verdict()
        for cause in DOSE_CAUSES:
            allowed = set()
            for c in COUNT_CYCLES:
                # Judged each four cycles, by the limit of two cycles before; the last count of a pixel or frame by what is in force.
                ends = cause in starts[-c - 1]
                for limit in [limits[-c - 2], *(limits[-c - k] for k in COUNT_CYCLES if ends)]:
                    allowed.add(units[-c][cause] > limit[cause] and cause in enables[-c])
                if ends:
                    break  # what was judged before that doesn't stand any more
            if cause not in blind:
                assert (cause in verdict) in allowed, f"cycle {now}: {cause.name} is {cause in verdict}"
                seen[cause] += cause in verdict
                unseen[cause] += cause not in verdict
        blind = {cause: left - 1 for cause, left in blind.items() if left > 1} | dict.fromkeys(injected, COUNT_CYCLES[-1] + 1)
        value, limit = conditions.latched()
        assert value == latched[0] and limit in latched[1], f"cycle {now}: {value}, {limit}, expected {latched}"
        latched = latching
        if latch is not None:
            latches += 1
            latching = 0, {0}
            if latch in DOSE_CAUSES:
                latching = held(counts[latch]), {held(limits[-c][latch]) for c in COUNT_CYCLES}
        units.append(counts)
        limits.append(model.limits())
        enables.append(enabled)
        began = ((inputs.pixel_start, Cause.DOSE_PIXEL), (inputs.frame_start, Cause.DOSE_FRAME))
        starts.append({cause for begins, cause in began if begins})
        late.pixel, late.region, late.frame, late.charge = model.pixel, model.region, model.frame, model.charge
        model.cycle(inputs, command)
        # A command is not late: it takes what is on its way with it.
        if command == DoseCommand.RESET_REGION:
            late.region = 0
        if command == DoseCommand.RESET_TIP:
            late.charge = 0
        await cycles()
    cocotb.log.info("cycles with each verdict: %s, without: %s; %d commands, %d refused, open for %d cycles", seen, unseen, commands, refused,
                    model.open_time)  # fmt: skip
    assert min(seen.values()) > 1000 and min(unseen.values()) > 1000 and commands > 50 and refused > 20 and latches > 500
    assert CYCLES / 4 < model.open_time < CYCLES


@cocotb.test()
async def the_beam_counts_from_the_blankers_opening_to_its_delay_after_closing(dut):
    """To the cycle, for delays from none to the longest."""
    bench = Bench(dut)
    for delay in (0, 1, 2, 17, 65535):
        await bench.begin(beam_rate=3, blanker_delay=delay, **EVERYWHERE)
        await bench.step(count=delay + 10)
        assert bench.model.open_time == 0 and await bench.bank.read("open_time") == 0  # after reset it counts as closed
        for opened in (1, 2, 10):
            before = bench.model.open_time
            await bench.step(count=opened, blank=False)
            await bench.step(count=delay + 3)
            assert bench.model.open_time - before == opened + delay
        await bench.compare()
    # Opened again before it was closed for long enough: the delay begins anew.
    await bench.begin(beam_rate=5, blanker_delay=10, **EVERYWHERE)
    await bench.step(count=4, blank=False)
    await bench.step(count=6)
    await bench.step(count=1, blank=False)
    await bench.step(count=20)
    assert bench.model.open_time == 4 + 6 + 1 + 10
    await bench.compare()


@cocotb.test()
async def the_beam_current_is_the_greater_of_what_is_set_and_measured(dut):
    """A negative sample counts as none. What is measured counts from the fourth cycle after its sample on."""
    bench = Bench(dut)
    for set_rate, gain, code in (
        (0, 0, CODE_MAX), (1000, 0, CODE_MAX), (0, 256, 1000), (999, 256, 1000), (1000, 256, 1000), (1001, 256, 1000), (0, 255, 1000),
        (0, 1, 255), (0, 1, 256), (7, 256, -1000), (7, (1 << 18) - 1, CODE_MIN), (0, (1 << 18) - 1, CODE_MAX), ((1 << 32) - 1, 5, 5),
    ):  # fmt: skip
        for phase in range(4):
            await bench.begin(beam_rate=set_rate, monitor_gain=gain, **EVERYWHERE)
            await bench.step(count=phase)
            await bench.step(count=10, blank=False)
            await bench.step(blank=False, monitor=code, current=-code - 1)
            for cycle in range(1, 8):
                # In the middle of the cycle: what counts now.
                measured = max(0, code) * gain // 256 if cycle >= RATE_CYCLES else 0
                assert get(dut.bank.beam) == max(set_rate, measured)
                await bench.step(blank=False)
            assert bench.model.rate == max(set_rate, max(0, code) * gain // 256)
            await bench.compare()
            assert await bench.bank.read("beam") == bench.model.rate


@cocotb.test()
async def the_cycle_in_which_a_pixel_or_frame_begins_belongs_to_it(dut):
    bench = Bench(dut)
    for name in ("pixel", "frame"):
        await bench.begin(beam_rate=1000, **EVERYWHERE)
        await bench.step(count=5, blank=False)
        await bench.step(blank=False, **{f"{name}_start": True})
        await bench.step(count=2, blank=False)
        assert getattr(bench.model, name) == 3000 and getattr(bench.model, "frame" if name == "pixel" else "pixel") == 8000
        await bench.compare()
        # With the beam off it begins at 0, and neither region nor open time know of it.
        await bench.step(**{f"{name}_start": True})
        assert getattr(bench.model, name) == 0 and bench.model.region == 8000
        await bench.compare()


@cocotb.test()
async def the_region_holds_its_edges(dut):
    bench = Bench(dut)
    x_low, x_high, y_low, y_high = -100, 50, 7, 9
    await bench.begin(beam_rate=ELECTRON, region_x_low=x_low, region_x_high=x_high, region_y_low=y_low, region_y_high=y_high)
    total = 0
    for x in (x_low - 1, x_low, 0, x_high, x_high + 1, CODE_MIN, CODE_MAX):
        for y in (y_low - 1, y_low, y_high, y_high + 1, CODE_MIN, CODE_MAX):
            await bench.step(count=3, blank=False, x=x, y=y)
            total += 3 * ELECTRON * (x_low <= x <= x_high and y_low <= y <= y_high)
            assert bench.model.region == total
    # Where the beam is after the blanker was closed counts too.
    await bench.compare()
    await bench.put(blanker_delay=10)
    await bench.step(blank=False, x=x_high + 1, y=y_low)
    await bench.step(count=4, x=x_high, y=y_low)
    await bench.step(count=20, x=x_high + 1, y=y_low)
    assert bench.model.region == total + 4 * ELECTRON
    await bench.compare()


@cocotb.test()
async def a_dose_of_the_limit_is_allowed_and_one_more_unit_is_not(dut):
    """The tighter of hard and soft. Units are an electron for a pixel, 256 for region and frame."""
    bench = Bench(dut)
    cases = (
        (Cause.DOSE_PIXEL, "pixel", ELECTRON),
        (Cause.DOSE_REGION, "region", ELECTRON << 8),
        (Cause.DOSE_FRAME, "frame", ELECTRON << 8),
    )
    for cause, name, unit in cases:
        for hard, soft in ((20, NO_LIMIT), (NO_LIMIT, 20), (20, 21), (21, 20), (0, 5)):
            limit = min(hard, soft)
            await bench.begin(beam_rate=unit, **EVERYWHERE)
            await bench.put(**{f"{name}_limit": hard, f"soft_{name}_limit": soft})
            await bench.step(count=limit, blank=False)
            assert not await bench.verdict()
            # All but the last part of one more unit.
            await bench.put(beam_rate=unit - 1)
            await bench.step(blank=False)
            assert not await bench.verdict()
            await bench.put(beam_rate=1)
            await bench.step(blank=False)
            assert await bench.verdict() == {cause}
            assert await bench.conditions.measured(cause) == (limit + 1, limit)
            await bench.compare()


@cocotb.test()
async def pulses_and_charge_of_the_limit_are_allowed_and_one_more_is_not(dut):
    bench = Bench(dut)
    for hard, soft in ((3, NO_LIMIT), (NO_LIMIT, 3), (3, 4), (4, 3), (0, 9)):
        limit = min(hard, soft)
        await bench.begin(pulses_limit=hard, soft_pulses_limit=soft)
        for _ in range(limit):
            await bench.step(count=5, pulse=True)
            assert not await bench.verdict()
        await bench.step(pulse=True)
        assert await bench.verdict() == {Cause.PULSES}
        assert await bench.conditions.measured(Cause.PULSES) == (limit + 1, limit)
        await bench.begin(charge_limit=hard, soft_charge_limit=soft)
        await bench.step(pulse=True)
        await bench.step(pulse=True, current=-(256 * limit + 255))
        assert not await bench.verdict()
        await bench.step(pulse=True, current=1)
        assert await bench.verdict() == {Cause.CHARGE}
        assert await bench.conditions.measured(Cause.CHARGE) == (limit + 1, limit)
        await bench.compare()


@cocotb.test()
async def a_pulses_charge_is_that_of_its_samples_and_two_after_it(dut):
    bench = Bench(dut)
    for codes in ((1, 2, 4, 8, 16, 32, 64), (CODE_MIN,) * 7, (-1, CODE_MAX, -3, 0, 5, CODE_MIN, 9)):
        for length in (1, 9, 10, 11, 25):
            await bench.begin()
            before = 0
            await bench.step(current=1000)
            await bench.step(count=4, current=None)
            for cycle in range(70):
                code = codes[cycle // 10] if cycle % 10 == 0 else None
                await bench.step(pulse=cycle < length, current=code)
                before += code is not None and cycle < length
            expected = sum(abs(code) for code in codes[: before + SAMPLES_AFTER_PULSE])
            assert bench.model.charge == expected and bench.model.pulses == 1
            await bench.compare()


@cocotb.test()
async def each_beginning_of_a_pulse_is_counted(dut):
    """However short it and the time before it are."""
    bench = Bench(dut)
    await bench.begin()
    for count in range(1, 20):
        await bench.step(count=1 + count % 3, pulse=True)
        await bench.step(count=1 + count % 2)
        assert bench.model.pulses == count
    await bench.compare()


@cocotb.test()
async def a_command_begins_its_counts_anew_and_no_others(dut):
    bench = Bench(dut)
    await bench.begin(beam_rate=ELECTRON, region_limit=0, pulses_limit=0, charge_limit=0, **EVERYWHERE)
    for command in (0, DoseCommand.RESET_REGION, DoseCommand.RESET_TIP, 3):
        await bench.step(count=300, blank=False)
        await bench.step(count=5, pulse=True, current=1000)
        await bench.step(count=5)
        await bench.compare()
        assert await bench.verdict() == {Cause.DOSE_REGION, Cause.PULSES, Cause.CHARGE}
        before = bench.model.units()
        await bench.command(command)
        reset = {DoseCommand.RESET_REGION: {Cause.DOSE_REGION}, DoseCommand.RESET_TIP: {Cause.PULSES, Cause.CHARGE}}.get(command, set())
        assert bench.model.units() == {cause: 0 if cause in reset else count for cause, count in before.items()}
        await bench.compare()
        assert await bench.verdict() == {Cause.DOSE_REGION, Cause.PULSES, Cause.CHARGE} - reset
    dut.guard__lock.value = 1
    assert await bench.bank.try_write("command", DoseCommand.RESET_TIP) is BusStatus.LOCKED
    await bench.compare()
    dut.guard__lock.value = 0


@cocotb.test()
async def a_reset_of_the_tip_counts_in_any_cycle(dut):
    """Also with a sample that belongs to a pulse, or a pulse's beginning, about its very cycle: nothing of before is left."""
    bench = Bench(dut)
    pulses, charges = [], []
    for at in range(8):
        await bench.begin()
        await bench.step(count=3, pulse=True, current=100000)
        await bench.step(count=1)
        await bench.compare()

        async def meanwhile(wait=at):
            await cycles(wait)
            drive(dut, Inputs(current=7, pulse=True))
            await cycles()
            drive(dut, Inputs(pulse=True))

        task = cocotb.start_soon(meanwhile())
        await bench.bank.write("command", DoseCommand.RESET_TIP)
        await task
        await cycles(6)
        pulses.append(await bench.bank.read("pulses"))
        charges.append(await bench.bank.read("charge"))
        drive(dut, Inputs())
        await cycles()
    # In the cycle of the command, the bank's third, a sample is counted after it and a pulse before it.
    assert pulses == [0] * (BANK_CYCLES + 1) + [1] * (7 - BANK_CYCLES)
    assert charges == [0] * BANK_CYCLES + [7] * (8 - BANK_CYCLES)


@cocotb.test()
async def a_verdict_follows_its_count_within_its_cycles(dut):
    """1 to 4 cycles from the count, which stands two cycles after what it counts (pulses: one); a written limit counts after 3 to 6."""
    bench = Bench(dut)
    from_count: dict[Cause, set[int]] = {cause: set() for cause in DOSE_CAUSES}
    from_limit: dict[Cause, set[int]] = {cause: set() for cause in DOSE_CAUSES}
    names = {
        Cause.DOSE_PIXEL: "pixel",
        Cause.DOSE_REGION: "region",
        Cause.DOSE_FRAME: "frame",
        Cause.PULSES: "pulses",
        Cause.CHARGE: "charge",
    }
    for cause, name in names.items():
        for phase in range(4):
            await bench.begin(beam_rate=ELECTRON << 8, **EVERYWHERE)
            await bench.step(count=10, pulse=True, current=None)
            await bench.put(**{f"{name}_limit": 0} if cause is not Cause.PULSES else {"pulses_limit": 1})
            await bench.step(count=5, pulse=cause is Cause.CHARGE)
            await bench.step(count=phase, pulse=cause is Cause.CHARGE)
            if cause is Cause.PULSES:
                drive(dut, Inputs(pulse=True))
            elif cause is Cause.CHARGE:
                drive(dut, Inputs(pulse=True, current=256))
            else:
                drive(dut, Inputs(blank=False))
            await cycles()
            drive(dut, Inputs(pulse=cause in (Cause.CHARGE, Cause.PULSES)))
            await cycles(0 if cause is Cause.PULSES else LATE)
            from_count[cause].add(await bench.conditions.fires(cause, 10))
            for soft in ("", "soft_"):
                await bench.put(**{f"{name}_limit": NO_LIMIT, f"soft_{name}_limit": NO_LIMIT})
                drive(dut, Inputs())
                await cycles(8 + phase)
                port = {part: getattr(dut, f"bus__{part}") for part in ("strobe", "write", "offset", "write_data")}
                port["strobe"].value, port["write"].value = 1, 1
                port["offset"].value, port["write_data"].value = dose.BLOCK[f"{soft}{name}_limit"].offset // 4, 0
                await cycles()
                port["strobe"].value = 0
                await cycles(BANK_CYCLES - 1)
                from_limit[cause].add(await bench.conditions.fires(cause, 10))
    cocotb.log.info("from count to verdict %s, from limit to verdict %s", from_count, from_limit)
    assert all(found == set(COUNT_CYCLES) for found in from_count.values())
    assert all(found == set(LIMIT_CYCLES) for found in from_limit.values())


@cocotb.test()
async def a_limit_that_is_passed_in_the_last_cycles_is_noticed(dut):
    """However few they are before the next pixel or frame begins."""
    bench = Bench(dut)
    cases = ((Cause.DOSE_PIXEL, "pixel", ELECTRON), (Cause.DOSE_FRAME, "frame", ELECTRON << 8))
    for cause, name, rate in cases:
        for blank in (True, False):
            for more in range(6):
                for phase in range(4):
                    await bench.begin(beam_rate=rate, **{f"{name}_limit": 10}, **EVERYWHERE)
                    await bench.step(count=phase)
                    await bench.step(count=10 + more, blank=False)
                    drive(dut, Inputs(blank=blank, **{f"{name}_start": True}))
                    await cycles()
                    drive(dut, Inputs())
                    await cycles(END_CYCLES - 1)
                    assert (cause in await bench.conditions.settled_verdict()) == (more > 0), f"{name} of {10 + more} with a limit of 10"
                    if blank:
                        assert not await bench.verdict()


@cocotb.test()
async def injection_fires_each_condition_whatever_its_limit(dut):
    """Two cycles later, with no limit at all, and no count knows of it."""
    bench = Bench(dut)
    for cause in DOSE_CAUSES:
        for phase in range(4):
            await bench.begin(beam_rate=12345, **EVERYWHERE)
            await bench.step(count=9, blank=False, pulse=True, current=3)
            await bench.step(count=10 + phase)
            assert not await bench.verdict()
            bench.conditions.inject(cause)
            for _ in range(INJECT_CYCLES):
                assert cause not in await bench.conditions.settled_verdict()
            for _ in range(20):
                assert await bench.conditions.settled_verdict() == {cause}
            bench.conditions.inject()
            await cycles(COUNT_CYCLES[-1] + INJECT_CYCLES - 1)
            assert not await bench.conditions.settled_verdict()
            await bench.compare()


@cocotb.test()
async def a_condition_that_is_not_enabled_never_shows(dut):
    bench = Bench(dut)
    limits = dict.fromkeys(OPEN, 0)
    await bench.begin(beam_rate=ELECTRON << 9, **limits, **EVERYWHERE)
    await bench.step(count=9, blank=False, pulse=True, current=300)
    assert await bench.verdict() == set(DOSE_CAUSES)
    for cause in DOSE_CAUSES:
        bench.conditions.enable(set(DOSE_CAUSES) - {cause})
        assert await bench.verdict() == set(DOSE_CAUSES) - {cause}
        bench.conditions.inject(cause)
        for _ in range(8):
            assert cause not in await bench.conditions.settled_verdict()
        bench.conditions.inject()
    bench.conditions.enable(())
    assert not await bench.verdict()


@cocotb.test()
async def after_reset_every_limit_is_0_and_nothing_is_counted(dut):
    bench = Bench(dut)
    await start(dut, blank=1)
    bench.conditions.enable(DOSE_CAUSES)
    for name in ("pixel_dose", "region_dose", "frame_dose", "open_time", "pulses", "charge", "beam"):
        assert await bench.bank.read(name) == 0
    assert not await bench.verdict()
    await bench.step(pulse=True, current=256)
    assert await bench.verdict() == {Cause.PULSES, Cause.CHARGE}


@cocotb.test()
async def a_dose_that_can_not_be_counted_on_stays(dut):
    """At 2**43 electrons, above every limit; a new pixel or frame, or the command, begins again from 0."""
    bench = Bench(dut)
    names = {Cause.DOSE_PIXEL: "pixel", Cause.DOSE_REGION: "region", Cause.DOSE_FRAME: "frame"}
    for below in (1, (1 << 32) - 1, (1 << 32) + 5):
        await bench.begin(beam_rate=(1 << 32) - 1, **EVERYWHERE)
        for name in names.values():
            register_of(dut, f"{name}_dose").value = FULL - below
            setattr(bench.model, name, FULL - below)
        await bench.step(count=2)
        await bench.compare()
        for _ in range(3):
            await bench.step(count=3, blank=False)
            assert all(getattr(bench.model, name) >= FULL for name in names.values())
            await bench.compare()
            assert await bench.verdict() == set(names)
        full = bench.model.pixel
        await bench.step(count=50, blank=False)
        assert bench.model.pixel == full
        await bench.compare()
        await bench.step(blank=False, pixel_start=True, frame_start=True)
        await bench.command(DoseCommand.RESET_REGION)
        assert bench.model.pixel == (1 << 32) - 1 and bench.model.region == 0
        await bench.step(count=2, blank=False)
        await bench.compare()


@cocotb.test()
async def pulses_that_can_not_be_counted_on_stay(dut):
    bench = Bench(dut)
    await bench.begin(pulses_limit=NO_LIMIT - 1)
    register_of(dut, "pulses").value = NO_LIMIT - 2
    bench.model.pulses = NO_LIMIT - 2
    for _ in range(5):
        await bench.step(count=3, pulse=True)
        await bench.step(count=3)
        await bench.compare()
    assert bench.model.pulses == NO_LIMIT
    assert await bench.verdict() == {Cause.PULSES}


@cocotb.test()
async def a_count_above_every_limit_is_above_them(dut):
    """Limits have 32 bits, counts more: none of the upper bits is lost."""
    bench = Bench(dut)
    cases = {
        Cause.DOSE_PIXEL: ("pixel_dose", 20), Cause.DOSE_REGION: ("region_dose", 28), Cause.DOSE_FRAME: ("frame_dose", 28),
        Cause.CHARGE: ("charge", 8),
    }  # fmt: skip
    for cause, (name, shift) in cases.items():
        for units, expected in ((NO_LIMIT, False), (1 << 32, True), ((1 << (64 - shift - 1)) - 1, True)):
            await bench.begin()
            register_of(dut, name).value = (units << shift) + (1 << shift) - 1
            await cycles(COUNT_CYCLES[-1] + 1)
            assert (cause in await bench.conditions.settled_verdict()) == expected, f"{name} {units}"
            assert await bench.conditions.measured(cause) == (held(units), held(NO_LIMIT))
