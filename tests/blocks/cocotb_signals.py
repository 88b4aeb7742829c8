import itertools
from collections import deque
from fractions import Fraction

import cocotb
from naive_signals import HIGH, LOW, NAMES, SLEW, NaiveSignals
from support import BANK_CYCLES, Bank, cycles, get, pack, parameters, seeded, settled, signed, start
from support_conditions import Conditions
from support_signals import LockstepBank

from reflexarc.contract.blocks import signals
from reflexarc.contract.blocks.interlock import SIGNAL_CAUSES, Cause
from reflexarc.contract.blocks.signals import CHANNELS, CODE_MAX, CODE_MIN, CURRENT, MONITOR, SLEW_MAX
from reflexarc.contract.link import BusStatus
from reflexarc_hw.lib.formats import SAMPLE

SAMPLES = 6000  # of a random run
SHORTEST = 9  # cycles between samples
# From a sample or an error to its verdict; what is made each 4 cycles has a range.
FAST_CYCLES = 1
STUCK_CYCLES = range(4, 8)
OSCILLATION_CYCLES = range(12, 16)
ENERGY_CYCLES = 10  # of these, from the error to the new energy
RUN_CYCLES = 2  # of these, from the sample to the new run
# From the first cycle of a changed register, or of the pulse, to the first sample that is sure to be judged by it.
WINDOW_CYCLES = 5
SLEW_CYCLES = 5
PULSE_EXTRA = 1
STROBE_TO_FORCE = BANK_CYCLES
INJECTED_CYCLES = 5  # after an injection, until a sample is compared with its limits again
SLOW = (Cause.STUCK, Cause.OSCILLATION)  # judged without a sample: taken each 4 cycles, and compared in the cycle after
# From a verdict to the interlock's question what was measured: of what it hears at once, and of the rest.
LATCH_CYCLES = 3
LATE_LATCH_CYCLES = 4
# Wide limits, so that a test sets only what it is about.
WIDE = {
    "current_high": CODE_MAX, "current_low": CODE_MIN, "monitor_high": CODE_MAX, "monitor_low": CODE_MIN,
    "pulse_current_high": CODE_MAX, "pulse_current_low": CODE_MIN,
}  # fmt: skip
OSCILLATION_SHIFTS = ("oscillation_fast", "oscillation_slow", "oscillation_window")


def channels() -> int:
    return parameters()["channels"]


def judged() -> list[Cause]:
    """The causes that this variant of the block has the means for."""
    absent = () if channels() == CHANNELS else (HIGH[MONITOR], LOW[MONITOR], SLEW[MONITOR])
    return [cause for cause in SIGNAL_CAUSES if cause not in absent]


def within_rails(code: int) -> int:
    return min(max(code, CODE_MIN), CODE_MAX)


def pack_samples(codes: dict[int, int]) -> int:
    bits = 0
    for channel, code in codes.items():
        bits |= pack(SAMPLE, {"valid": 1, "code": code}) << SAMPLE.size * channel
    return bits


class Bench:
    """For directed tests: one sample at a time, its verdict looked at when everything has settled."""

    def __init__(self, dut):
        self.dut = dut
        self.bank = Bank(dut, signals.BLOCK)
        self.conditions = Conditions(dut, SIGNAL_CAUSES)

    async def begin(self, **settings: int) -> None:
        await start(self.dut)
        self.conditions.enable(SIGNAL_CAUSES)
        await self.put(**(WIDE | settings))

    async def put(self, **settings: int) -> None:
        """Limits that count when this returns."""
        await self.bank.configure(**settings)
        await cycles(SLEW_CYCLES)

    async def pulse(self, value: int) -> None:
        self.dut.pulse.value = value
        await cycles(SLEW_CYCLES + PULSE_EXTRA)

    async def take(self, current: int, monitor: int = 0, gap: int = 12) -> set[Cause]:
        """One sample of each converter; what is violated ``gap`` cycles later."""
        self.dut.samples.value = pack_samples({CURRENT: current, MONITOR: monitor})
        await cycles()
        self.dut.samples.value = 0
        await cycles(gap - 2)
        return await self.conditions.settled_verdict()

    async def take_on(self, channel: int, code: int, gap: int = 12) -> set[Cause]:
        """Of the one converter; the other one changes a little, so that it isn't stuck."""
        self._other = 1 - getattr(self, "_other", 0)
        return await self.take(*((code, self._other) if channel == CURRENT else (self._other, code)), gap=gap)


class Lockstep:
    """The block beside its model, compared in each cycle."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.model = NaiveSignals(channels())
        self.bank = LockstepBank(dut, signals.BLOCK)
        self.conditions = Conditions(dut, SIGNAL_CAUSES)
        self.history: deque[tuple[dict[Cause, int], dict[Cause, int], set[Cause]]] = deque(maxlen=20)  # SLOW: values, limits, enabled
        self.latched = self.latching = (0, 0)  # in this cycle, in the next
        self.injected: set[Cause] = set()
        self.blind: dict[Cause, int] = {}  # verdicts that injection has changed, with the cycles until they are made anew
        self.unsampled: dict[int, set[Cause]] = {channel: set() for channel in range(channels())}  # the same, until a sample
        self.expected: dict[Cause, bool] = {}  # of a verdict that was injected in the cycle before
        self.since_injection = 100
        self.lock = False
        self.seen: dict[Cause, int] = dict.fromkeys(SIGNAL_CAUSES, 0)
        self.refused = 0

    async def cycle(self, codes: dict[int, int] | None = None, error: int | None = None, ask: int | None = None) -> None:
        """One cycle; ``codes`` by converter. What ``ask`` measured is latched in the next one."""
        dut, model = self.dut, self.model
        codes = codes or {}
        dut.samples.value = pack_samples(codes)
        dut.pulse.value = int(model.pulse)
        dut.error.value = (error or 0) & 0x3FFFF
        dut.error_valid.value = int(error is not None)
        dut.guard__lock.value = int(self.lock)
        self.conditions.enable(model.enabled)
        self.conditions.inject(*self.injected)
        latch = self.conditions.latch(ask)
        self.bank.drive()
        await settled()
        if self.bank.deciding is not None:
            self.bank.deciding.expected = self.lock
        self._answered()
        verdict = self.conditions.verdict()
        hidden = set(self.blind) | set().union(*self.unsampled.values())
        fast = set(judged()) - {Cause.STUCK, Cause.OSCILLATION}
        assert (verdict ^ model.fast_verdict) & fast <= hidden, f"{verdict & fast}, expected {model.fast_verdict & fast}"
        values = {Cause.STUCK: model.longest_run, Cause.OSCILLATION: model.energy}
        limits = {Cause.STUCK: model.settings["stuck_samples"] - 1, Cause.OSCILLATION: model.settings["oscillation_limit"]}
        self.history.append((values, limits, model.enabled))
        if len(self.history) > OSCILLATION_CYCLES[-1]:
            # Judged in one of the last four cycles, by the limit of then and the value that stood in the cycle before.
            for cause, known in ((Cause.STUCK, RUN_CYCLES), (Cause.OSCILLATION, ENERGY_CYCLES)):
                allowed = set()
                for judged_at in range(-1 - len(STUCK_CYCLES), -1):
                    value = self.history[judged_at - known][0][cause]
                    _, limits, enabled = self.history[judged_at]
                    allowed.add(value > limits[cause] and cause in enabled)
                assert cause in hidden or (cause in verdict) in allowed, f"{cause.name} {cause in verdict}, allowed {allowed}"
        assert verdict <= set(judged())
        assert {cause: cause in verdict for cause in self.expected} == self.expected
        self.expected = {}
        assert get(dut.contact) == model.contact
        assert self.conditions.latched() == self.latched
        groups = [{HIGH[channel], LOW[channel], SLEW[channel]} for channel in range(channels())]
        assert get(dut.conditions__short) == sum(1 << channel for channel, group in enumerate(groups) if verdict & group)
        for cause in verdict - hidden:
            self.seen[cause] += 1
        self.latched = self.latching
        if latch is not None:
            self.latching = model.measured(latch)
        # Now the cycle ends.
        model.take({channel: code for channel, code in codes.items() if channel < channels()})
        if error is not None:
            model.oscillation.take(Fraction(error, 4096))
        for channel in self.unsampled:
            if channel in codes and self.since_injection >= INJECTED_CYCLES:
                self.unsampled[channel] = set()
        self.since_injection = 1 if self.injected else self.since_injection + 1
        self.blind = {cause: left - 1 for cause, left in self.blind.items() if left > 1}
        await cycles()

    def _answered(self) -> None:
        access = self.bank.answering
        if access is None:
            return
        status, _ = self.bank.answer()
        if signals.BLOCK[access.name].locked and access.expected:
            self.refused += 1
            assert status is BusStatus.LOCKED
        else:
            assert status is BusStatus.OK
            self.model.settings[access.name] = access.raw
            oscillation = self.model.oscillation
            oscillation.fast_shift, oscillation.slow_shift, oscillation.window = (self.model.settings[n] for n in OSCILLATION_SHIFTS)

    async def injection(self, cause: Cause) -> None:
        """Injection without a sample, for one cycle or as long as it takes; from the next cycle on the cause is violated."""
        self.injected = {cause}
        # A comparison that sees a value beyond all limits may find others of the same converter violated, or no more.
        for channel in self.unsampled:
            group = {HIGH[channel], LOW[channel], SLEW[channel]}
            if cause in group or cause is Cause.SATURATED:
                self.unsampled[channel] |= group if cause in group else {cause}
        if cause in SLOW:
            self.blind[cause] = 7
        if cause is not Cause.SATURATED:
            await self.cycle()
        enabled = cause in self.model.enabled
        await self.cycle()
        self.injected = set()
        self.expected = {cause: enabled}


def random_setting(rng, name: str) -> int:
    """Of a register; most often such that a random sample is within it, often not."""
    if name.endswith("_slew"):
        return rng.choice([SLEW_MAX, SLEW_MAX, rng.randrange(1 << rng.randrange(1, 21)), 0])
    if name.endswith("_high"):
        return rng.choice([CODE_MAX, rng.randrange(0, 1 << rng.randrange(1, 20)), rng.randrange(CODE_MIN, CODE_MAX + 1)])
    if name.endswith("_low"):
        return rng.choice([CODE_MIN, -rng.randrange(0, 1 << rng.randrange(1, 20)), rng.randrange(CODE_MIN, CODE_MAX + 1)])
    match name:
        case "pulse_samples_max":
            return rng.choice([0, 1, 2, 3, 5, (1 << 24) - 1])
        case "stuck_samples":
            return rng.choice([2, 3, 4, 7, (1 << 24) - 1])
        case "contact_current":
            return rng.choice([0, (1 << 19) - 1, rng.randrange(1 << rng.randrange(1, 20))])
        case "oscillation_limit":
            return rng.choice([0xFFFFFFFF, rng.randrange(1 << rng.randrange(1, 33))])
        case "oscillation_window":
            return rng.choice([0, 1, 3, rng.randrange(16)])
    return rng.randrange(16)  # the low-passes


def random_code(rng, model: NaiveSignals, channel: int) -> int:
    """At an edge of what is allowed, at rails, like the last one, or anywhere."""
    if channel >= channels():
        return rng.randrange(CODE_MIN, CODE_MAX + 1)
    high, low, slew = model.limits(channel)
    last = model.last(channel)
    beside = rng.choice([-1, 0, 0, 1])
    contact = model.settings["contact_current"]
    value = rng.choice(
        [
            high + beside, low + beside, last + slew + beside, last - slew + beside, last, last, last, last, CODE_MAX + min(beside, 0),
            CODE_MIN + max(beside, 0), contact + beside, -contact + beside, rng.randrange(CODE_MIN, CODE_MAX + 1), last + beside,
        ]
    )  # fmt: skip
    return within_rails(value)


@cocotb.test()
async def a_random_run_equals_the_model_in_every_cycle(dut):
    """Samples 9 to 20 cycles apart with pauses between; limits, soft limits, locks, pulses, enables and injections change meanwhile."""
    rng = seeded("signals")
    await start(dut)
    bench = Lockstep(dut, rng)
    model = bench.model
    names = [r.name for r in signals.BLOCK.registers if r.name in model.settings and r.access.value == "rw"]
    for name in names:
        bench.bank.write(name, random_setting(rng, name) if name not in WIDE else WIDE[name])
    bench.bank.rest(SLEW_CYCLES + PULSE_EXTRA)
    while not bench.bank.idle:
        await bench.cycle()
    since_error = 100
    latches = injections = 0
    for index in range(SAMPLES):
        gap = rng.choice([SHORTEST, rng.randrange(SHORTEST, 21)]) if rng.random() < 0.97 else rng.randrange(20, 90)
        present = set(range(CHANNELS)) if rng.random() < 0.9 else {rng.randrange(CHANNELS)}
        # The first sample is what the registers hold after reset: no repetition of anything.
        codes = {channel: random_code(rng, model, channel) if index else 0 for channel in sorted(present)}
        plan: dict[int, list] = {}
        error_at = rng.randrange(gap)
        chosen = None
        if rng.random() < 0.4 and gap > SHORTEST + PULSE_EXTRA:
            chosen = rng.choice(names)
            extra = PULSE_EXTRA if chosen == "pulse_samples_max" else 0
            at = rng.randrange(1, gap - STROBE_TO_FORCE - SLEW_CYCLES - extra + 1)
            if chosen in OSCILLATION_SHIFTS:
                error_at, at = 0, gap - STROBE_TO_FORCE - SLEW_CYCLES
                if at < 5:
                    error_at = -1  # none is on its way when the low-pass changes
            plan[at] = [lambda name=chosen: bench.bank.write(name, random_setting(rng, name))]
        if rng.random() < 0.15:
            at = rng.randrange(1, gap - SLEW_CYCLES - PULSE_EXTRA + 1)
            plan.setdefault(at, []).append(lambda: model.set_pulse(not model.pulse))
        if rng.random() < 0.05:
            plan.setdefault(rng.randrange(gap), []).append(lambda: setattr(bench, "lock", not bench.lock and rng.random() < 0.7))
        if rng.random() < 0.1:
            chosen_enable = set(SIGNAL_CAUSES) if rng.random() < 0.6 else set(rng.sample(SIGNAL_CAUSES, rng.randrange(9)))
            plan.setdefault(rng.randrange(gap), []).append(lambda e=chosen_enable: setattr(model, "enabled", e))
        latch_cause = rng.choice([*SIGNAL_CAUSES, Cause.Z_HIGH, 63]) if rng.random() < 0.3 else None
        latch_at = FAST_CYCLES + (LATE_LATCH_CYCLES if latch_cause is Cause.SATURATED else LATCH_CYCLES)
        if any(latch_cause in (HIGH[channel], LOW[channel], SLEW[channel]) for channel in set(range(CHANNELS)) - present):
            latch_at = None  # the interlock asks after a sample of that converter
        if latch_cause is Cause.STUCK:
            latch_at = gap - 2 if gap - 2 > STUCK_CYCLES[-1] else None
        inject_at = rng.randrange(1, gap) if rng.random() < 0.05 else None
        for cycle in range(gap):
            for action in plan.get(cycle, ()):
                action()
            error = None
            if cycle == error_at and since_error >= ENERGY_CYCLES and not (chosen in OSCILLATION_SHIFTS and cycle):
                error = rng.choice([rng.randrange(-(1 << 17), 1 << 17), rng.randrange(-999, 1000), 0])
            ask = latch_cause if latch_at is not None and cycle == latch_at - 1 else None
            if ask is Cause.OSCILLATION and (since_error < ENERGY_CYCLES or error is not None):
                ask = None
            if ask in set().union(*bench.unsampled.values()):
                ask = None  # injected, and not judged anew since
            latches += ask is not None
            if cycle == inject_at and error is None and ask is None and cycle:
                injections += 1
                await bench.injection(rng.choice(judged()))
            else:
                await bench.cycle(codes if cycle == 0 else None, error, ask)
            since_error = 1 if error is not None else since_error + 1
    cocotb.log.info("cycles with each verdict: %s; %d latches, %d refused writes", bench.seen, latches, bench.refused)
    assert all(bench.seen[cause] for cause in judged()) and latches > 500 and injections > 100 and bench.refused > 10


@cocotb.test()
async def an_edge_of_a_window_is_allowed_and_the_next_code_is_not(dut):
    """The tighter of hard and soft, whichever it is; a limit at the rail allows every code."""
    bench = Bench(dut)
    await bench.begin()
    for channel in range(channels()):
        name = NAMES[channel]
        for hard, soft in ((1000, CODE_MAX), (CODE_MAX, 1000), (1000, 1001), (1001, 1000), (-5, 7), (0, -1), (CODE_MIN, CODE_MAX)):
            await bench.put(**{f"{name}_high": hard, f"soft_{name}_high": soft})
            limit = min(hard, soft)
            assert HIGH[channel] not in await bench.take_on(channel, limit)
            assert HIGH[channel] in await bench.take_on(channel, limit + 1)
            assert HIGH[channel] in await bench.take_on(channel, CODE_MAX)
        await bench.put(**{f"{name}_high": CODE_MAX, f"soft_{name}_high": CODE_MAX})
        assert HIGH[channel] not in await bench.take_on(channel, CODE_MAX)
        for hard, soft in ((-1000, CODE_MIN), (CODE_MIN, -1000), (-1000, -1001), (-1001, -1000), (5, -7), (0, 1), (CODE_MAX, CODE_MIN)):
            await bench.put(**{f"{name}_low": hard, f"soft_{name}_low": soft})
            limit = max(hard, soft)
            assert LOW[channel] not in await bench.take_on(channel, limit)
            assert LOW[channel] in await bench.take_on(channel, limit - 1)
            assert LOW[channel] in await bench.take_on(channel, CODE_MIN)
        await bench.put(**{f"{name}_low": CODE_MIN, f"soft_{name}_low": CODE_MIN})
        assert LOW[channel] not in await bench.take_on(channel, CODE_MIN)


@cocotb.test()
async def after_reset_no_code_but_0_is_within_a_window(dut):
    bench = Bench(dut)
    await start(dut)
    bench.conditions.enable(SIGNAL_CAUSES)
    await cycles(SLEW_CYCLES)
    assert await bench.take(1, 1) >= {HIGH[channel] for channel in range(channels())}
    assert await bench.take(-1, -1) >= {LOW[channel] for channel in range(channels())}
    assert await bench.take(0, 0) == set()


@cocotb.test()
async def a_change_by_the_limit_is_allowed_and_one_more_is_not(dut):
    bench = Bench(dut)
    await bench.begin()
    for channel in range(channels()):
        name, slew = NAMES[channel], SLEW[channel]
        for hard, soft in ((100, SLEW_MAX), (SLEW_MAX, 100), (100, 101), (101, 100), (0, 7), (7, 0), (300000, 400000)):
            await bench.put(**{f"{name}_slew": hard, f"soft_{name}_slew": soft})
            limit = min(hard, soft)
            for sign in (1, -1):
                base = -sign * 200000
                await bench.take_on(channel, base)
                assert slew not in await bench.take_on(channel, base + sign * limit)
                await bench.take_on(channel, base)
                assert slew in await bench.take_on(channel, base + sign * (limit + 1))
                # A verdict holds until the next sample and no longer.
                await cycles(40)
                await settled()
                assert slew in bench.conditions.verdict()
                await cycles()
                assert slew not in await bench.take_on(channel, base + sign * (limit + 1))
        await bench.put(**{f"{name}_slew": SLEW_MAX, f"soft_{name}_slew": SLEW_MAX})
        for code in (CODE_MIN, CODE_MAX, CODE_MIN):
            assert slew not in await bench.take_on(channel, code)
        await bench.put(**{f"{name}_slew": SLEW_MAX - 1})
        for code in (CODE_MAX, CODE_MIN):
            assert slew in await bench.take_on(channel, code)
        await bench.put(**{f"{name}_slew": SLEW_MAX})


@cocotb.test()
async def the_first_change_after_reset_is_measured_from_0(dut):
    bench = Bench(dut)
    await bench.begin(current_slew=10, monitor_slew=10)
    assert not await bench.take(10, -10) & set(SLEW.values())
    await bench.begin(current_slew=10, monitor_slew=10)
    assert await bench.take(11, -11) & set(SLEW.values()) == {SLEW[channel] for channel in range(channels())}


@cocotb.test()
async def a_verdict_stands_one_cycle_after_its_sample(dut):
    """Window, slew and saturation: not in the sample's cycle, there in the next, from whatever cycle of the block's own count."""
    bench = Bench(dut)
    for phase in range(8):
        for channel in range(channels()):
            name = NAMES[channel]
            cases = {
                HIGH[channel]: ({f"{name}_high": 50}, 51), LOW[channel]: ({f"{name}_low": -50}, -51),
                SLEW[channel]: ({f"{name}_slew": 5}, 9), Cause.SATURATED: ({}, CODE_MAX),
            }  # fmt: skip
            for cause, (settings, code) in cases.items():
                await bench.begin(**settings)
                await bench.take(3, 3)
                await cycles(SHORTEST + phase)
                dut.samples.value = pack_samples({channel: code})
                assert cause not in await bench.conditions.settled_verdict()
                dut.samples.value = 0
                assert cause in await bench.conditions.settled_verdict()


@cocotb.test()
async def what_is_changed_counts_within_its_cycles(dut):
    """Register to window, register to slew, and the pulse's beginning and end: at the latest so many cycles later, never sooner than one."""
    bench = Bench(dut)
    first_counted: dict[str, set[int]] = {}

    async def look(what: str, change, cause: Cause, code: int, patience: int, **settings: int) -> None:
        """For each phase of the block's count: after how many cycles is a sample judged by what was changed."""
        for phase in range(4):
            for wait in range(patience + 1):
                await bench.begin(**settings)
                await bench.take(0, 0)
                await cycles(SHORTEST + phase)
                await change()
                await cycles(wait)
                dut.samples.value = pack_samples({CURRENT: code, MONITOR: 1})
                await cycles()
                dut.samples.value = 0
                if cause in await bench.conditions.settled_verdict():
                    first_counted.setdefault(what, set()).add(wait)
                    break
            else:
                raise AssertionError(f"{what}: not within {patience} cycles")

    async def write(name: str, raw: int) -> None:
        """Returns in the first cycle of the new value."""
        port = {part: getattr(dut, f"bus__{part}") for part in ("strobe", "write", "offset", "write_data")}
        port["strobe"].value, port["write"].value = 1, 1
        port["offset"].value, port["write_data"].value = signals.BLOCK[name].offset // 4, raw & 0xFFFFFFFF
        await cycles()
        port["strobe"].value = 0
        await cycles(STROBE_TO_FORCE - 1)

    async def begin_pulse() -> None:
        dut.pulse.value = 1

    async def end_pulse() -> None:
        dut.pulse.value = 0

    async def pulse_ends() -> None:
        dut.pulse.value = 1
        await cycles(12)
        dut.pulse.value = 0

    for name in ("current_high", "soft_current_high"):
        await look(name, lambda name=name: write(name, 10), HIGH[CURRENT], 11, WINDOW_CYCLES)
    for name in ("current_low", "soft_current_low"):
        await look(name, lambda name=name: write(name, -10), LOW[CURRENT], -11, WINDOW_CYCLES)
    for name in ("current_slew", "soft_current_slew"):
        await look(name, lambda name=name: write(name, 10), SLEW[CURRENT], 11, SLEW_CYCLES)
    pulsed = {"pulse_samples_max": 100}
    await look("pulse window", begin_pulse, HIGH[CURRENT], 11, WINDOW_CYCLES + PULSE_EXTRA, pulse_current_high=10, **pulsed)
    await look("pulse slew", begin_pulse, SLEW[CURRENT], 11, SLEW_CYCLES + PULSE_EXTRA, pulse_current_slew=10, **pulsed)
    await look("end window", pulse_ends, HIGH[CURRENT], 11, WINDOW_CYCLES + PULSE_EXTRA, current_high=10, **pulsed)
    await look("end slew", pulse_ends, SLEW[CURRENT], 11, SLEW_CYCLES + PULSE_EXTRA, current_slew=10, **pulsed)
    cocotb.log.info("first sample that a change counts for, by phase: %s", first_counted)
    # The bounds are reached: they are not looser than need be.
    assert max(first_counted["current_high"]) == WINDOW_CYCLES and max(first_counted["current_slew"]) == SLEW_CYCLES
    assert max(first_counted["pulse window"]) == WINDOW_CYCLES + PULSE_EXTRA
    assert max(first_counted["pulse slew"]) == SLEW_CYCLES + PULSE_EXTRA


@cocotb.test()
async def what_changes_beside_a_sample_counts_for_the_next_and_is_not_in_the_record_of_this(dut):
    """A limit, and a pulse that uses its last sample up: the limits stand until the interlock has asked for what was judged."""
    bench = Bench(dut)

    async def change(name: str, value: int, wait: int) -> None:
        await cycles(wait)
        await bench.bank.write(name, value)

    for phase in range(4):
        for after in range(LATCH_CYCLES + FAST_CYCLES):
            for pulse in (0, 1):
                pulsed = {"pulse_samples_max": 1, "pulse_current_high": 5, "pulse_current_slew": SLEW_MAX} if pulse else {"current_high": 5}
                await bench.begin(**pulsed)
                await bench.take(0, 0)
                await bench.pulse(pulse)
                await cycles(SHORTEST + phase)
                # In force so many cycles after the sample.
                changing = cocotb.start_soon(change("contact_current" if pulse else "current_high", 100, after))
                await cycles(STROBE_TO_FORCE)
                dut.samples.value = pack_samples({CURRENT: 7, MONITOR: 1})
                assert not await bench.conditions.settled_verdict()
                dut.samples.value = 0
                assert await bench.conditions.settled_verdict() == {HIGH[CURRENT]}
                await cycles(LATCH_CYCLES + FAST_CYCLES - 3)  # it is named one cycle before it is latched
                assert await bench.conditions.measured(HIGH[CURRENT]) == (7, 5), f"changed {after} cycles after the sample"
                await changing
                await cycles(SHORTEST - 7)  # the samples are as close as they can be
                assert not await bench.take(100, 2)


@cocotb.test()
async def the_pulses_limits_stand_alone(dut):
    """Wider than the hard ones, tighter than them, and whatever the soft ones are."""
    bench = Bench(dut)
    hard = {"current_high": 100, "current_low": -100, "current_slew": 50, "pulse_samples_max": 1000}
    current = {HIGH[CURRENT], LOW[CURRENT], SLEW[CURRENT]}
    for soft in ({}, {"soft_current_high": 10, "soft_current_low": -10, "soft_current_slew": 5}):
        for high, low, slew in ((5000, -4000, 300), (20, -10, 4)):
            await bench.begin(**hard, **soft, pulse_current_high=high, pulse_current_low=low, pulse_current_slew=slew)
            await bench.take(0)
            await bench.pulse(1)
            assert not await bench.take(slew) & current
            assert not await bench.take(0) & current
            assert SLEW[CURRENT] in await bench.take(slew + 1)
            for edge, beyond, cause in ((high, high + 1, HIGH[CURRENT]), (low, low - 1, LOW[CURRENT])):
                assert cause not in await bench.take(edge)
                assert cause in await bench.take(beyond)
            await bench.pulse(0)
            assert HIGH[CURRENT] in await bench.take(min(100, soft.get("soft_current_high", 100)) + 1)


@cocotb.test()
async def a_change_across_the_pulses_edge_is_judged_by_the_limit_of_its_sample(dut):
    """The first sample of the pulse by the pulse's, from the last one before; the first after it by the normal one."""
    bench = Bench(dut)
    settings = {"current_slew": 10, "pulse_current_slew": 1000, "pulse_samples_max": 50}
    for step, at_begin, at_end in ((10, False, False), (11, False, True), (1000, False, True), (1001, True, True)):
        await bench.begin(**settings)
        await bench.take(0)
        await bench.pulse(1)
        assert (SLEW[CURRENT] in await bench.take(step)) == at_begin
        await bench.pulse(0)
        assert (SLEW[CURRENT] in await bench.take(0)) == at_end
        assert SLEW[CURRENT] not in await bench.take(0)


@cocotb.test()
async def the_pulses_limits_count_for_no_more_than_their_samples(dut):
    bench = Bench(dut)
    for most in (0, 1, 2, 3, 17):
        await bench.begin(current_high=100, pulse_current_high=5000, pulse_samples_max=most)
        for _ in range(2):  # each pulse begins to count anew
            await bench.pulse(1)
            for index in range(most + 5):
                violated = HIGH[CURRENT] in await bench.take(1000 + index, gap=SHORTEST)
                assert violated == (index >= most), f"sample {index} of {most}"
            await bench.pulse(0)
            assert HIGH[CURRENT] in await bench.take(1000)


@cocotb.test()
async def the_monitor_has_no_limits_of_a_pulse(dut):
    if channels() < CHANNELS:
        return
    bench = Bench(dut)
    await bench.begin(monitor_high=100, monitor_slew=500, pulse_samples_max=50)
    await bench.pulse(1)
    assert HIGH[MONITOR] not in await bench.take(0, 100)
    assert await bench.take(1, 101) & {HIGH[MONITOR], SLEW[MONITOR]} == {HIGH[MONITOR]}


@cocotb.test()
async def both_rails_are_saturation_and_their_neighbours_are_not(dut):
    bench = Bench(dut)
    await bench.begin()
    for channel in range(CHANNELS):
        for rail, inner in ((CODE_MAX, CODE_MAX - 1), (CODE_MIN, CODE_MIN + 1)):
            assert Cause.SATURATED not in await bench.take_on(channel, inner)
            assert (Cause.SATURATED in await bench.take_on(channel, rail)) == (channel < channels())
            if channel < channels():
                assert await bench.conditions.measured(Cause.SATURATED) == (rail, 0)
            assert Cause.SATURATED not in await bench.take_on(channel, inner)


@cocotb.test()
async def a_converter_is_stuck_with_exactly_so_many_equal_samples(dut):
    """Of either converter, while the other one moves; 4 to 7 cycles after the sample that makes it so."""
    bench = Bench(dut)
    waited = set()
    for channel in range(channels()):
        for count in (2, 3, 5, 64):
            await bench.begin(stuck_samples=count)
            await bench.take_on(channel, -77)
            for repetition in range(1, count):
                assert Cause.STUCK not in await bench.take_on(channel, 1234, gap=9 + repetition % 4)
            dut.samples.value = pack_samples({channel: 1234, 1 - channel: 12 + count})
            await cycles()
            dut.samples.value = 0
            waited.add(1 + await bench.conditions.fires(Cause.STUCK, STUCK_CYCLES[-1] - 1))
            await cycles(3)
            assert Cause.STUCK in await bench.take_on(channel, 1234)
            assert Cause.STUCK not in await bench.take_on(channel, 1235)
    assert waited <= set(STUCK_CYCLES)
    # The first sample repeats nothing, also where it is what the registers hold after reset.
    for channel in range(channels()):
        await bench.begin(stuck_samples=3)
        for index in range(3):
            verdict = await bench.take(*((0, 1 + index) if channel == CURRENT else (1 + index, 0)))
            assert (Cause.STUCK in verdict) == (index == 2)
        assert await bench.conditions.measured(Cause.STUCK) == (3, 3)
    # Two converters that repeat each other's codes aren't stuck.
    await bench.begin(stuck_samples=2)
    for index in range(8):
        assert Cause.STUCK not in await bench.take(1 + index, 2 + index)


@cocotb.test()
async def the_verdict_of_a_stuck_converter_comes_within_its_cycles_in_each_phase(dut):
    bench = Bench(dut)
    waited = set()
    for phase in range(4):
        await bench.begin(stuck_samples=2)
        await bench.take(5, 6)
        await cycles(12 + phase)
        dut.samples.value = pack_samples({CURRENT: 5, MONITOR: 7})
        await cycles()
        dut.samples.value = 0
        waited.add(1 + await bench.conditions.fires(Cause.STUCK, 10))
    assert waited == set(STUCK_CYCLES)


@cocotb.test()
async def the_longer_run_is_recorded_for_a_stuck_converter(dut):
    bench = Bench(dut)
    for channel in range(channels()):
        await bench.begin(stuck_samples=6)
        await bench.take_on(channel, -77)
        for _ in range(6):
            verdict = await bench.take_on(channel, 1234)
        assert Cause.STUCK in verdict
        assert await bench.conditions.measured(Cause.STUCK) == (6, 6), f"channel {channel}"


@cocotb.test()
async def oscillation_at_the_limit_is_allowed(dut):
    """One constant error, with a low-pass of one sample above and no mean: the energy is the square of what the slow one lacks."""
    bench = Bench(dut)
    waited = set()
    for phase in range(4):
        for limit, expected in ((1 << 20, False), ((1 << 20) - 1, True)):
            await bench.begin(oscillation_limit=limit, oscillation_fast=0, oscillation_slow=1, oscillation_window=0)
            await cycles(phase)
            dut.error.value, dut.error_valid.value = 2 << 12, 1  # 2, of which the slow one takes the half: a band of 1
            await cycles()
            dut.error_valid.value = 0
            found = await bench.conditions.fires(Cause.OSCILLATION, 2 * OSCILLATION_CYCLES[-1])
            assert (found is not None) == expected
            if expected:
                waited.add(1 + found)
                assert await bench.conditions.measured(Cause.OSCILLATION) == (1 << 20, limit)
            assert await bench.bank.read("oscillation") == 1 << 20
    assert waited == set(OSCILLATION_CYCLES)


@cocotb.test()
async def contact_is_a_magnitude_at_or_above_its_limit(dut):
    bench = Bench(dut)
    for level in (0, 1, 1000, CODE_MAX):
        await bench.begin(contact_current=level)
        for code in {level, -level, CODE_MIN, CODE_MAX, within_rails(level - 1), within_rails(level + 1), -level + 1, 0}:
            dut.samples.value = pack_samples({CURRENT: code, MONITOR: -code - 1})
            await settled()
            before = get(dut.contact)
            await cycles()
            dut.samples.value = 0
            await settled()
            assert get(dut.contact) == (abs(code) >= level)
            await cycles(12)
            assert get(dut.contact) == (abs(code) >= level)
            assert before in (0, 1)
    # The monitor alone changes nothing.
    dut.samples.value = pack_samples({MONITOR: CODE_MAX})
    before = get(dut.contact)
    await cycles(2)
    assert get(dut.contact) == before


@cocotb.test()
async def injection_fires_each_condition_whatever_its_limit(dut):
    """In the next cycle, or the one after, with every limit as wide as it can be, and with no trace of it after the next samples."""
    bench = Bench(dut)
    for cause, pulse in itertools.product(judged(), (0, 1)):
        await bench.begin(stuck_samples=(1 << 24) - 1, pulse_samples_max=4)
        assert not await bench.take(100, 200) and not await bench.take(101, 201)
        await bench.pulse(pulse)
        bench.conditions.inject(cause)
        for _ in range(1 if cause is Cause.SATURATED else 2):
            assert cause not in await bench.conditions.settled_verdict()
        for _ in range(20):
            assert cause in await bench.conditions.settled_verdict()
        bench.conditions.inject()
        if cause in SLOW:
            await cycles(5)  # judged anew without a sample
            assert not await bench.conditions.settled_verdict()
        await bench.pulse(0)
        # The last sample, the one before and the runs are what they were.
        for channel in range(channels()):
            assert (await bench.conditions.measured(SLEW[channel]))[0] == 1
        await bench.put(current_slew=0, monitor_slew=0, stuck_samples=2)
        assert await bench.take(101, 201) == {Cause.STUCK}
        assert await bench.bank.read("oscillation") == 0
        assert await bench.bank.read("monitor") == (201 if channels() == CHANNELS else 0)


@cocotb.test()
async def a_condition_that_is_not_enabled_never_shows(dut):
    bench = Bench(dut)
    for cause in SIGNAL_CAUSES:
        await bench.begin(current_high=0, current_low=0, monitor_high=0, monitor_low=0, current_slew=0, monitor_slew=0, stuck_samples=2)
        await bench.put(oscillation_limit=0, oscillation_window=0)
        bench.conditions.enable(set(SIGNAL_CAUSES) - {cause})
        for code in (CODE_MAX, CODE_MAX, CODE_MIN, CODE_MIN):
            dut.error.value, dut.error_valid.value = (code >> 4) & 0x3FFFF, 1
            await cycles()
            dut.error_valid.value = 0
            assert cause not in await bench.take(code, code)
        bench.conditions.inject(cause)
        for _ in range(8):
            assert cause not in await bench.conditions.settled_verdict()
        bench.conditions.inject()
        bench.conditions.enable(())
        await bench.take(CODE_MAX, CODE_MAX)
        assert not await bench.take(CODE_MIN, CODE_MIN)


@cocotb.test()
async def without_a_monitor_nothing_of_it_counts(dut):
    if channels() == CHANNELS:
        return
    bench = Bench(dut)
    await bench.begin(monitor_high=0, monitor_low=0, monitor_slew=0, stuck_samples=3)
    for index, code in enumerate((CODE_MAX, CODE_MAX, CODE_MAX, CODE_MAX, CODE_MIN)):
        assert not await bench.take(index, code)
    bench.conditions.inject(HIGH[MONITOR], LOW[MONITOR], SLEW[MONITOR])
    await cycles(3)
    assert not await bench.conditions.settled_verdict()
    assert await bench.bank.read("monitor") == 0


@cocotb.test()
async def the_monitors_last_sample_can_be_read(dut):
    if channels() < CHANNELS:
        return
    bench = Bench(dut)
    await bench.begin()
    for code in (0, 5, -5, CODE_MIN, CODE_MAX):
        await bench.take(1, code)
        assert await bench.bank.read("monitor") == signed(code, 20)
