from itertools import pairwise
from typing import Any

import cocotb
from cocotb.clock import Clock
from naive_bank import NaiveParity
from naive_interlock import AT_ONCE, LATE_CYCLES, LINE_CYCLES, Inputs, NaiveInterlock, causes_of, mask_of, present
from support import BANK_CYCLES, PERIOD_NS, Bank, cycles, get, pack, parameters, seeded, settled, start, unpack
from support_signals import LockstepBank, TimeInput

from reflexarc.contract.blocks import interlock
from reflexarc.contract.blocks.interlock import (
    DOSE_CAUSES,
    ENVELOPE_CAUSES,
    MASKABLE,
    NO_CAUSE,
    SIGNAL_CAUSES,
    ArmingResult,
    Cause,
    InterlockCommand,
    InterlockState,
    Strap,
)
from reflexarc.contract.link import BusStatus
from reflexarc_hw.blocks.interlock import REACTION

ALL = (1 << len(Cause)) - 1
STRAPS = Strap(parameters().get("straps", 0))
PERIOD = parameters().get("cycles_per_sample", 16)
PORTS = {"signals": SIGNAL_CAUSES, "envelope": ENVELOPE_CAUSES, "dose": DOSE_CAUSES, "gate": (Cause.READBACK,)}
SHORT = {"signals": (SIGNAL_CAUSES[:3], SIGNAL_CAUSES[3:6]), "envelope": ((Cause.Z_HIGH, Cause.Z_LOW, Cause.Z_VELOCITY),)}  # sums
GUARDS = ("signals", "envelope", "dose", "gate")
JUDGED = [cause for causes in PORTS.values() for cause in causes]
OWN = [cause for cause in Cause if cause not in JUDGED]
PRESENT = present(STRAPS)
LOCKED = [r.name for r in interlock.BLOCK.registers if r.locked]
STROBE_TO_COMMAND = BANK_CYCLES  # cycles from the bus strobe of a write to its effect
ACCESS = BANK_CYCLES + 1  # cycles that an access of the bench takes
HEARTBEAT_CYCLES = 3  # beyond the time-out: one to begin counting, one for the comparison's register, one of LATE_CYCLES
REACTION_CYCLES = 3  # after the first safe cycle at ``safe``; at the gate's outputs that is two cycles after they are safe
REACTIONS = {"react_retract": "retract", "react_bias_ramp": "bias_ramp", "react_trigger": "trigger", "react_retreat": "retreat"}
COMMISSIONED = int(STRAPS) & 7 | 1234 << 3
FOREVER = (1 << 31) - 1
SETTINGS = {
    "commissioned": COMMISSIONED, "heartbeat_timeout": FOREVER, "cpu_heartbeat_timeout": FOREVER, "ready_required": 3, "gain_expected": 5,
    "event_class": 7, "enable": ALL,
}  # fmt: skip


def shown_by_judge(cause: Cause) -> tuple[int, int]:
    """Value and limit that the judges of this bench show."""
    return 1000 + 3 * cause, -2000 - 5 * cause


class Judges:
    """The other blocks: each answers an injection with its verdict a cycle later, keeps what it measured when a trip latches, and checks
    the parity of its registers."""

    def __init__(self, dut) -> None:
        self._dut = dut
        self.forced: set[Cause] = set()  # violated now
        self.silent: set[Cause] = set()  # those that don't answer
        self.stubborn: set[Cause] = set()  # those that go on once they were injected
        self.sticking: set[Cause] = set()
        self.echo: set[Cause] = set()
        self.enabled: set[Cause] = set()
        self.shown: dict[str, tuple[int, int]] = dict.fromkeys(PORTS, (0, 0))  # from two cycles after a trip latches
        self.measured = dict(self.shown)  # in the cycle before that
        self.verdict: set[Cause] = set()
        self.parity = {name: NaiveParity() for name in GUARDS}
        self.flipped: set[str] = set()  # blocks of which a register has a flipped bit
        self.blind: set[str] = set()  # blocks whose check finds nothing

    def look(self) -> None:
        """At the interlock's outputs in this cycle, for the next."""
        dut = self._dut
        self.echo, self.enabled = set(), set()
        self.shown = dict(self.measured)
        for name, causes in PORTS.items():
            inject, enable = (get(getattr(dut, f"{name}_conditions__{word}")) for word in ("inject", "enable"))
            self.echo |= {cause for index, cause in enumerate(causes) if inject >> index & 1}
            self.enabled |= {cause for index, cause in enumerate(causes) if enable >> index & 1}
            if get(getattr(dut, f"{name}_conditions__latch")):
                cause = get(getattr(dut, f"{name}_conditions__cause"))
                self.measured[name] = shown_by_judge(Cause(cause)) if cause in causes else (0, 0)
        self.sticking |= self.echo & self.stubborn
        for name, parity in self.parity.items():
            check, inject = (get(getattr(dut, f"{name}_guard__{word}")) for word in ("check", "inject"))
            parity.step(bool(check), bool(inject) and name not in self.blind, {name} & self.flipped)

    @property
    def errors(self) -> tuple[bool, ...]:
        return tuple(self.parity[name].error for name in GUARDS)

    def put(self) -> None:
        """The pins of this cycle."""
        self.verdict = (self.forced | self.sticking | (self.echo - self.silent)) & self.enabled
        for name, causes in PORTS.items():
            getattr(self._dut, f"{name}_conditions__verdict").value = mask_of(
                index for index, cause in enumerate(causes) if cause in self.verdict
            )
            if name in SHORT:
                getattr(self._dut, f"{name}_conditions__short").value = mask_of(
                    index for index, group in enumerate(SHORT[name]) if self.verdict & set(group)
                )
            for word, number in zip(("value", "limit"), self.shown[name], strict=True):
                getattr(self._dut, f"{name}_conditions__{word}").value = number & 0xFFFFFFFF
        for name, error in zip(GUARDS, self.errors, strict=True):
            getattr(self._dut, f"{name}_guard__error").value = int(error)


class Bench:
    """Judges, sample clock and time beside a directed test."""

    running: "Bench | None" = None

    def __init__(self, dut) -> None:
        self.dut = dut
        self.bank = Bank(dut, interlock.BLOCK)
        self.judges = Judges(dut)
        self.tick = self.regular
        self.last_tick = 0  # cycles since it
        self.now = 0
        self.log: list[int] = []  # what was injected in each cycle of the last arming
        self.was_arming = False  # in the cycle before
        if Bench.running is not None:
            Bench.running.stop()
        Bench.running = self
        self._tasks = [cocotb.start_soon(self._run())]
        self._time = TimeInput(dut)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._time.stop()

    async def _run(self) -> None:
        dut = self.dut
        while True:
            tick = self.tick()
            self.last_tick = 0 if tick else self.last_tick + 1
            dut.tick.value = int(tick)
            self.judges.put()
            await settled()
            inject = self.inject()
            arming = get(dut.state) == InterlockState.ARMING
            if inject >> Cause.PARITY & 1:  # a cycle later than the others
                inject ^= 1 << Cause.PARITY
                assert get(dut.safe) and self.was_arming and not self.log[-1]
                self.log[-1] = 1 << Cause.PARITY
            assert not inject or (get(dut.safe) and arming)
            assert inject.bit_count() <= 1
            if arming:
                self.log.append(inject)
                assert get(dut.safe) and not get(dut.live)
            self.was_arming = arming
            self.judges.look()
            await cycles()
            self.now += 1

    def regular(self) -> bool:
        """Once a period."""
        return self.now % PERIOD == 3

    def inject(self) -> int:
        """What is injected into the judges and the registers' parities; the conditions judged within aren't seen from outside."""
        mask = get(self.dut.gate_guard__inject) << Cause.PARITY
        for name, causes in PORTS.items():
            bits = get(getattr(self.dut, f"{name}_conditions__inject"))
            mask |= mask_of(cause for index, cause in enumerate(causes) if bits >> index & 1)
        return mask

    def force(self, *causes: Cause) -> None:
        """These conditions of the judges are violated from this cycle on, and no others."""
        self.judges.forced = set(causes)
        self.judges.put()

    async def command(self, command: InterlockCommand) -> None:
        await self.bank.write("command", command)

    async def arm(self) -> InterlockState:
        """ARM, and wait for what becomes of it."""
        self.log.clear()
        await self.command(InterlockCommand.ARM)
        for _ in range(3000):
            await cycles()
            if get(self.dut.state) != InterlockState.ARMING:
                break
        return InterlockState(get(self.dut.state))

    async def result(self) -> tuple[ArmingResult, int]:
        return ArmingResult(await self.bank.read("arming_result")), await self.bank.read("arming_cause")

    async def report(self) -> dict[str, int]:
        return {name: await self.bank.read(name) for name in ("first_cause", "trip_value", "trip_limit", "trip_flags", "trips", "state")}

    async def acknowledge(self) -> None:
        """Until disarmed; nothing may be violated."""
        await self.bank.write("trip_flags", ALL)
        await cycles(4)
        await self.command(InterlockCommand.ACK)
        await cycles()
        assert get(self.dut.state) == InterlockState.DISARMED

    async def safe_cycle(self, patience: int) -> int | None:
        """Cycles from now until ``safe`` is high; None if it stays low."""
        for cycle in range(patience):
            await settled()
            safe = get(self.dut.safe)
            await cycles()
            if safe:
                return cycle
        return None


async def disarmed(dut, **settings: int) -> Bench:
    """After reset, configured, with nothing violated."""
    await start(dut, estop_closed=1, ready=3, gain=5)
    bench = Bench(dut)
    await bench.bank.configure(**(SETTINGS | settings))
    await bench.bank.configure(heartbeat=1, cpu_heartbeat=1)
    await cycles(8)
    return bench


async def armed(dut, **settings: int) -> Bench:
    bench = await disarmed(dut, **settings)
    assert await bench.arm() is InterlockState.ARMED, await bench.result()
    return bench


async def put(handle, value: int) -> None:
    handle.value = value


# How to make each condition that is judged here hold and end, and the cycles until its verdict. HOST and the heartbeats have tests of their own.
PINS: dict[Cause, tuple[str, int, int, int]] = {
    Cause.SAMPLE_LOST: ("sample_lost", 1, 0, 1),
    Cause.ESTOP: ("estop_closed", 0, 1, LINE_CYCLES),
    Cause.READY: ("ready", 1, 3, LINE_CYCLES),
    Cause.GAIN: ("gain", 4, 5, LINE_CYCLES),
    Cause.POSITION_OVERFLOW: ("position_overflow", 1, 0, 1),
    Cause.UNDERFLOW: ("underflow", 1, 0, 1),
    Cause.EVENT: ("event", 1, 0, 1),
}
VALUES = {Cause.READY: (1, 3), Cause.GAIN: (4, 5), Cause.EVENT: (7, 7)}  # value and limit


def delay_of(cause: Cause) -> int:
    """Cycles from its beginning to ``safe``."""
    return (0 if cause in JUDGED else PINS[cause][3]) + (0 if cause in AT_ONCE else LATE_CYCLES)


def begin(bench: Bench, cause: Cause) -> int:
    """Make it hold from this cycle on; cycles until ``safe``."""
    if cause in JUDGED:
        bench.force(*bench.judges.forced, cause)
    else:
        pin, violated, _, _ = PINS[cause]
        bench.dut.event_class.value = 7
        getattr(bench.dut, pin).value = violated
    return delay_of(cause)


def end(bench: Bench, cause: Cause) -> None:
    if cause in JUDGED:
        bench.force(*(bench.judges.forced - {cause}))
    else:
        pin, _, good, _ = PINS[cause]
        getattr(bench.dut, pin).value = good


TESTED = [cause for cause in Cause if cause in PRESENT and (cause in JUDGED or cause in PINS)]
PARITY_CYCLES = 5  # from the sample to ``safe``: one to the check, two in the bank, one here, one of LATE_CYCLES


# ------------------------------------------------------------------------------------------------------------------ reset and arming


@cocotb.test()
async def at_power_up_lines_that_were_never_seen_read_as_unsafe(dut):
    """The first test of the simulation, without reset: the lines are good from the beginning, and count when they were synchronised."""
    await cycles()  # the inputs take 0
    dut.estop_closed.value, dut.ready.value, dut.gain.value = 1, 3, 0
    dut.rst.value = 0
    Clock(dut.clk, PERIOD_NS, unit="ns").start(start_high=False)
    verdicts = []
    bank = LockstepBank(dut, interlock.BLOCK)
    bank.read("live")
    bank.read("live")
    for _ in range(10):
        bank.drive()
        await settled()
        assert get(dut.safe) and not get(dut.live) and get(dut.state) == InterlockState.DISARMED
        if bank.answering is not None:
            verdicts.append(causes_of(bank.answer()[1]) - {Cause.HEARTBEAT, Cause.CPU_HEARTBEAT})
        await cycles()
    # Looked at in the second cycle and in the seventh.
    assert verdicts == [{Cause.ESTOP, Cause.READY}, set()]


@cocotb.test()
async def reset_is_safe_and_says_so(dut):
    await start(dut)
    await settled()
    assert get(dut.safe) and not get(dut.live) and get(dut.state) == InterlockState.DISARMED
    reaction = unpack(REACTION, get(dut.reaction))
    assert reaction.pop("retract") == int(Strap.TIP in STRAPS) and not any(reaction.values())
    await cycles()
    bench = Bench(dut)
    assert bench.inject() == 0
    assert await bench.bank.read("first_cause") == NO_CAUSE
    assert await bench.result() == (ArmingResult.NONE, NO_CAUSE)
    assert await bench.bank.read("trips") == await bench.bank.read("trip_flags") == 0
    assert await bench.bank.read("straps") == STRAPS
    assert causes_of(await bench.bank.read("present")) == PRESENT
    # An unconfigured core can't be armed, whatever its lines say.
    dut.estop_closed.value, dut.ready.value, dut.gain.value = 1, 3, 0
    await bench.bank.configure(heartbeat=0, cpu_heartbeat=0)
    await cycles(5)
    assert await bench.bank.read("live") == 1 << Cause.HEARTBEAT | 1 << Cause.CPU_HEARTBEAT
    assert await bench.arm() is InterlockState.DISARMED
    assert await bench.result() == (ArmingResult.NOT_COMMISSIONED, NO_CAUSE)
    await bench.bank.write("commissioned", COMMISSIONED)
    assert await bench.arm() is InterlockState.DISARMED
    assert await bench.result() == (ArmingResult.VIOLATED, Cause.HEARTBEAT)


@cocotb.test()
async def arming_needs_the_record_of_the_commissioning(dut):
    wrong_straps = [COMMISSIONED ^ bit for bit in (1, 2, 4)]
    for word in (0, int(STRAPS) & 7, *wrong_straps, COMMISSIONED ^ 7):
        bench = await disarmed(dut, commissioned=word)
        assert await bench.arm() is InterlockState.DISARMED
        assert await bench.result() == (ArmingResult.NOT_COMMISSIONED, NO_CAUSE)
        assert not any(bench.log)
    for number in (1, 1 << 28, (1 << 29) - 1):
        bench = await disarmed(dut, commissioned=int(STRAPS) & 7 | number << 3)
        assert await bench.arm() is InterlockState.ARMED
        assert await bench.result() == (ArmingResult.ARMED, NO_CAUSE)


@cocotb.test()
async def arming_is_refused_while_a_condition_holds(dut):
    bench = await disarmed(dut)
    for cause in TESTED:
        begin(bench, cause)
        await cycles(6)
        assert await bench.bank.read("live") == 1 << cause, cause.name
        assert await bench.arm() is InterlockState.DISARMED
        assert not any(bench.log)
        assert await bench.result() == (ArmingResult.VIOLATED, cause)
        assert await bench.bank.read("trip_flags") == 0, "nothing latches while disarmed"
        end(bench, cause)
        await cycles(6)
    assert await bench.arm() is InterlockState.ARMED
    # Two: the lower one is named.
    bench = await disarmed(dut)
    begin(bench, Cause.GAIN)
    begin(bench, Cause.Z_LOW)
    await cycles(6)
    await bench.arm()
    assert await bench.result() == (ArmingResult.VIOLATED, Cause.Z_LOW)


@cocotb.test()
async def arming_injects_each_condition_that_counts_in_order(dut):
    """The conditions of the other blocks and the parity as seen at the ports: one at a time, each until it has fired."""
    masks = [ALL, ALL & ~mask_of(MASKABLE), ALL & ~(1 << Cause.BIAS_LOW), ALL & ~(1 << Cause.CURRENT_SLEW | 1 << Cause.CHARGE)]
    for mask in masks:
        bench = await armed(dut, enable=mask)
        order = []
        for inject in bench.log:
            if inject and (not order or order[-1] != inject):
                order.append(inject)
        fired = [inject.bit_length() - 1 for inject in order]
        watched = [cause for cause in Cause if cause in JUDGED or cause is Cause.PARITY]
        assert fired == watched
        # Where a condition does not count, its turn is two cycles; else it lasts until the cycle after the verdict counts: this bench gives it
        # in the next.
        counting = causes_of(mask) & PRESENT
        for cause in JUDGED:
            expected = 2 if cause not in counting else 3 if cause in AT_ONCE else 3 + LATE_CYCLES
            assert bench.log.count(1 << cause) == expected, cause.name
        # Between two injections there are two cycles, in the first of which the next one must be silent.
        injections = [(index, inject) for index, inject in enumerate(bench.log) if inject]
        for (earlier, before), (later, inject) in pairwise(injections):
            assert later - earlier == 1 if inject == before else later - earlier >= 3
        # Three ticks must pass after the last.
        quiet = len(bench.log) - max(index for index, inject in enumerate(bench.log) if inject)
        assert quiet > 2 * PERIOD
        assert not any(bench.log[-2 * PERIOD :])
        await bench.command(InterlockCommand.DISARM)
        assert get(dut.safe)


@cocotb.test()
async def a_condition_that_stays_silent_is_named(dut):
    for cause in sorted(set(JUDGED) & PRESENT):
        bench = await disarmed(dut)
        bench.judges.silent = {cause}
        assert await bench.arm() is InterlockState.DISARMED
        assert await bench.result() == (ArmingResult.DID_NOT_FIRE, cause)
        assert get(dut.safe) and not bench.inject()
        # Where it can be masked, arming goes on without it.
        if cause in MASKABLE:
            await bench.bank.write("enable", ALL & ~(1 << cause))
            assert await bench.arm() is InterlockState.ARMED
    # Ready lines of which none is required can't fire: who does not want them masks them.
    bench = await disarmed(dut, ready_required=0)
    assert await bench.arm() is InterlockState.DISARMED
    assert await bench.result() == (ArmingResult.DID_NOT_FIRE, Cause.READY)
    for required in (1, 2, 3):
        bench = await armed(dut, ready_required=required)


@cocotb.test()
async def a_condition_that_goes_on_firing_is_named(dut):
    for cause in sorted(set(JUDGED) & PRESENT):
        bench = await disarmed(dut)
        bench.judges.stubborn = {cause}
        assert await bench.arm() is InterlockState.DISARMED
        assert await bench.result() == (ArmingResult.DID_NOT_CLEAR, cause)
        assert get(dut.safe)


@cocotb.test()
async def what_becomes_violated_during_the_test_refuses_it(dut):
    """At any time of it: outputs are safe meanwhile, and in the end nothing may be violated."""
    for cause in TESTED:
        bench = await disarmed(dut)
        await bench.command(InterlockCommand.ARM)
        await cycles(10 + cause)
        assert get(dut.state) == InterlockState.ARMING
        begin(bench, cause)
        for _ in range(1000):
            assert get(dut.safe)
            await cycles()
        assert await bench.result() == (ArmingResult.DID_NOT_CLEAR, cause)


@cocotb.test()
async def commands_abort_the_test(dut):
    for command in (InterlockCommand.DISARM, InterlockCommand.TRIP):
        for wait in (0, 5, 17, 60, 90):
            bench = await disarmed(dut)
            await bench.command(InterlockCommand.ARM)
            await cycles(wait)
            assert get(dut.state) == InterlockState.ARMING
            await bench.command(command)
            await cycles()
            assert get(dut.state) == InterlockState.DISARMED and get(dut.safe)
            assert await bench.result() == (ArmingResult.ABORTED, NO_CAUSE)
            # Nothing latched, and after the last sample of the test it can be armed.
            assert await bench.bank.read("trips") == await bench.bank.read("trip_flags") == 0
            await cycles(2 * PERIOD)
            assert await bench.arm() is InterlockState.ARMED


# ------------------------------------------------------------------------------------------------------------------ conditions


@cocotb.test()
async def a_verdict_is_safe_in_its_own_cycle_or_the_next(dut):
    """The conditions of the other blocks, on the short path or not; the record has what they measured, and the cycle in which the gate is safe."""
    bench = await disarmed(dut)
    trips = 0
    for cause in [cause for cause in JUDGED if cause in PRESENT]:
        assert await bench.arm() is InterlockState.ARMED
        assert await bench.safe_cycle(3 * PERIOD) is None
        bench.force(cause)
        for _ in range(delay_of(cause)):
            await settled()
            assert not get(dut.safe) and get(dut.live)
            await cycles()
        await settled()
        now = get(dut.time)
        assert get(dut.safe) and get(dut.state) == InterlockState.ARMED
        await cycles()
        await settled()
        assert get(dut.safe) and not get(dut.live) and get(dut.state) == InterlockState.ARMED
        bench_time = get(dut.time)
        assert bench_time == now + 1
        await cycles()
        await settled()
        assert get(dut.safe) and not get(dut.live) and get(dut.state) == InterlockState.TRIPPED
        await cycles(4)
        bench.force()
        trips += 1
        value, limit = shown_by_judge(cause)
        assert await bench.report() == {
            "first_cause": cause, "trip_value": value, "trip_limit": limit, "trip_flags": 1 << cause, "trips": trips,
            "state": InterlockState.TRIPPED,
        }  # fmt: skip
        assert await bench.bank.read("trip_time") == bench_time
        await bench.acknowledge()


@cocotb.test()
async def conditions_judged_here_take_their_cycles(dut):
    bench = await disarmed(dut)
    for trips, cause in enumerate(PINS, 1):
        assert await bench.arm() is InterlockState.ARMED
        await cycles(trips)
        if cause is Cause.EVENT:  # another class is none of its business
            dut.event_class.value = 8
            dut.event.value = 1
            assert await bench.safe_cycle(5) is None
            dut.event.value = 0
            await cycles()
        delay = begin(bench, cause)
        assert await bench.safe_cycle(20) == delay
        value, limit = VALUES.get(cause, (0, 0))
        assert await bench.report() == {
            "first_cause": cause, "trip_value": value, "trip_limit": limit, "trip_flags": 1 << cause, "trips": trips,
            "state": InterlockState.TRIPPED,
        }  # fmt: skip
        end(bench, cause)
        await cycles(10)
        assert get(dut.safe), "the end of the condition does not start anything"
        await bench.acknowledge()


@cocotb.test()
async def each_line_counts_by_itself(dut):
    for required in range(1, 4):
        for ready in range(4):
            bench = await armed(dut, ready_required=required)
            dut.ready.value = ready
            tripped = await bench.safe_cycle(10)
            assert tripped == (LINE_CYCLES if required & ~ready else None)
            assert await bench.bank.read("ready") == ready
    for expected in (0, 5, 15):
        for bit in range(4):
            bench = await disarmed(dut, gain_expected=expected)
            dut.gain.value = expected
            await cycles(5)
            assert await bench.bank.read("gain") == expected
            assert await bench.arm() is InterlockState.ARMED
            dut.gain.value = expected ^ 1 << bit
            assert await bench.safe_cycle(10) == LINE_CYCLES
            await cycles(2)
            report = await bench.report()
            assert (report["trip_value"], report["trip_limit"]) == (expected ^ 1 << bit, expected)


@cocotb.test()
async def each_block_reports_its_flipped_bits(dut):
    """The lock and the check reach each; a bit that flips in any trips with the next sample."""
    for name in GUARDS:
        bench = await disarmed(dut)
        ports = {word: getattr(dut, f"{name}_guard__{word}") for word in ("lock", "check", "inject")}
        assert not get(ports["lock"])
        assert await bench.arm() is InterlockState.ARMED
        assert get(ports["lock"])
        await settled()
        checks, ticked = 0, get(dut.tick)
        for _ in range(10 * PERIOD):
            await cycles()
            await settled()
            checks += get(ports["check"])
            assert get(ports["check"]) == ticked and not get(ports["inject"])
            ticked = get(dut.tick)
        await cycles()
        assert checks == 10, "once a sample"
        bench.judges.flipped = {name}
        while not get(dut.tick):
            await cycles()
            await settled()
        await cycles()
        assert 1 + await bench.safe_cycle(PERIOD) == PARITY_CYCLES
        await cycles()
        assert (await bench.report())["first_cause"] == Cause.PARITY
        assert not get(ports["lock"])
        # It is not acknowledged while the bit is wrong, and nothing arms meanwhile.
        await bench.bank.write("trip_flags", ALL)
        await bench.command(InterlockCommand.ACK)
        assert get(dut.state) == InterlockState.TRIPPED
        bench.judges.flipped = set()
        await cycles(PERIOD + 4)
        await bench.acknowledge()
        bench.judges.flipped = {name}
        await cycles(PERIOD + 4)
        assert await bench.arm() is InterlockState.DISARMED
        assert await bench.result() == (ArmingResult.VIOLATED, Cause.PARITY)


@cocotb.test()
async def each_blind_parity_is_found_by_arming(dut):
    """It is not enough that one of them fires."""
    for name in GUARDS:
        bench = await disarmed(dut)
        bench.judges.blind = {name}
        assert await bench.arm() is InterlockState.DISARMED
        assert await bench.result() == (ArmingResult.DID_NOT_FIRE, Cause.PARITY)


@cocotb.test()
async def a_lost_sample_clock_trips_after_two_periods(dut):
    for wait in range(3):
        bench = await armed(dut)
        await cycles(wait)
        bench.tick = lambda: False
        # Cycles since the last tick, this one included or not.
        await settled()
        since = bench.last_tick
        await cycles()
        silent = await bench.safe_cycle(5 * PERIOD)
        assert since + 1 + silent == 2 * PERIOD + 2 + LATE_CYCLES
        await cycles(4)
        assert (await bench.report())["first_cause"] == Cause.SAMPLE_LOST
        # Also a stopped clock can't be acknowledged.
        await bench.bank.write("trip_flags", ALL)
        assert await bench.bank.read("trip_flags") == 1 << Cause.SAMPLE_LOST
        bench.tick = bench.regular
        await cycles(PERIOD + 4)
        await bench.acknowledge()


@cocotb.test()
async def ticks_two_periods_apart_are_no_loss(dut):
    """And one cycle more is one."""
    for distance in (2 * PERIOD - 1, 2 * PERIOD, 2 * PERIOD + 1):
        bench = await armed(dut)
        bench.tick = lambda distance=distance, bench=bench: bench.last_tick + 1 >= distance
        assert (await bench.safe_cycle(10 * PERIOD) is None) == (distance <= 2 * PERIOD)


@cocotb.test()
async def each_heartbeat_times_out_to_the_cycle_and_restarts(dut):
    for heart, other, cause in (
        ("heartbeat", "cpu_heartbeat", Cause.HEARTBEAT),
        ("cpu_heartbeat", "heartbeat", Cause.CPU_HEARTBEAT),
    ):
        for timeout in (600, 601, 1500):
            bench = await armed(dut, **{f"{heart}_timeout": timeout})
            await bench.bank.write(heart, 0)  # any value
            # Three beats, each in its last cycle: strobe to strobe. The other heart's do not count.
            last = timeout + HEARTBEAT_CYCLES - LATE_CYCLES - 1
            for _ in range(3):
                assert await bench.safe_cycle(last - 2 * ACCESS) is None
                await bench.bank.write(other, 0)
                await bench.bank.write(heart, 0xFFFFFFFF)
            silent = await bench.safe_cycle(2 * timeout + 20)
            assert ACCESS + silent == STROBE_TO_COMMAND + timeout + HEARTBEAT_CYCLES
            await cycles(4)
            report = await bench.report()
            assert (report["first_cause"], report["trip_value"], report["trip_limit"]) == (cause, timeout, timeout)
            # A beat ends the condition, not the trip.
            await bench.bank.write(heart, 1)
            await cycles(2)
            assert get(dut.safe) and await bench.bank.read("state") == InterlockState.TRIPPED
    # The housekeeping core's may be masked, the host's may not.
    mask = ALL & ~(1 << Cause.CPU_HEARTBEAT | 1 << Cause.HEARTBEAT)
    bench = await disarmed(dut, enable=mask, heartbeat_timeout=500, cpu_heartbeat_timeout=1)
    await bench.bank.write("heartbeat", 0)
    assert await bench.arm() is InterlockState.ARMED
    await cycles(600)
    assert (await bench.report())["first_cause"] == Cause.HEARTBEAT


@cocotb.test()
async def host_trip_takes_two_cycles_from_its_register(dut):
    bench = await armed(dut)
    await bench.command(InterlockCommand.TRIP)
    assert STROBE_TO_COMMAND + 1 == ACCESS and await bench.safe_cycle(5) == LATE_CYCLES
    await cycles(3)
    assert (await bench.report())["first_cause"] == Cause.HOST
    # While disarmed a trip leaves no trace.
    bench = await disarmed(dut)
    await bench.command(InterlockCommand.TRIP)
    await cycles(3)
    assert await bench.report() == {
        "first_cause": NO_CAUSE, "trip_value": 0, "trip_limit": 0, "trip_flags": 0, "trips": 0, "state": InterlockState.DISARMED,
    }  # fmt: skip


@cocotb.test()
async def only_what_may_be_masked_is_masked(dut):
    """With nothing enabled: what ignores the mask trips, the rest does not even show."""
    bench = await disarmed(dut, enable=0)
    for cause in TESTED:
        assert await bench.arm() is InterlockState.ARMED
        begin(bench, cause)
        tripped = await bench.safe_cycle(10) is not None
        assert tripped == (cause not in MASKABLE), cause.name
        assert causes_of(await bench.bank.read("live")) == ({cause} - MASKABLE)
        end(bench, cause)
        await cycles(6)
        if tripped:
            await bench.acknowledge()
        else:
            await bench.command(InterlockCommand.DISARM)
            await cycles()
    # What the platform has no means for never counts.
    await bench.bank.write("enable", ALL)
    await cycles()
    for name, causes in PORTS.items():
        enable = get(getattr(dut, f"{name}_conditions__enable"))
        assert {cause for index, cause in enumerate(causes) if enable >> index & 1} == set(causes) & PRESENT


# ------------------------------------------------------------------------------------------------------------------ latch and life


@cocotb.test()
async def disarm_is_safe_without_a_trip(dut):
    bench = await armed(dut)
    await bench.command(InterlockCommand.DISARM)
    await settled()
    assert get(dut.safe) and get(dut.state) == InterlockState.DISARMED
    await cycles()
    assert await bench.bank.read("trips") == 0


@cocotb.test()
async def acknowledging_is_refused_while_a_cause_holds_or_its_flag_stands(dut):
    bench = await disarmed(dut)
    for cause in TESTED:
        assert await bench.arm() is InterlockState.ARMED
        begin(bench, cause)
        await cycles(6)
        # A clear while the cause persists has no effect: set beats clear in each cycle.
        for _ in range(3):
            await bench.bank.write("trip_flags", ALL)
            assert await bench.bank.read("trip_flags") == 1 << cause, cause.name
        await bench.command(InterlockCommand.ACK)
        assert await bench.bank.read("state") == InterlockState.TRIPPED
        end(bench, cause)
        await cycles(6)
        # The flag stands: neither acknowledge nor arm.
        for command in (InterlockCommand.ACK, InterlockCommand.ARM, InterlockCommand.DISARM):
            await bench.command(command)
            assert await bench.bank.read("state") == InterlockState.TRIPPED
        await bench.bank.write("trip_flags", ALL ^ 1 << cause)  # clears others only
        assert await bench.bank.read("trip_flags") == 1 << cause
        await bench.bank.write("trip_flags", 1 << cause)
        assert await bench.bank.read("trip_flags") == 0
        await bench.command(InterlockCommand.ARM)
        assert await bench.bank.read("state") == InterlockState.TRIPPED, "arming needs the acknowledge first"
        # Without a flag, but violated again: no.
        begin(bench, cause)
        await cycles(6)
        await bench.command(InterlockCommand.ACK)
        assert await bench.bank.read("state") == InterlockState.TRIPPED
        end(bench, cause)
        await cycles(6)
        await bench.acknowledge()
        assert await bench.bank.read("first_cause") == cause, "stays readable until the next trip"


@cocotb.test()
async def of_two_causes_in_one_cycle_the_lower_bit_is_first(dut):
    """Pairs of all; what comes later sets its flag and changes nothing else."""
    rng = seeded("pairs")
    bench = await disarmed(dut)
    pairs = [(a, b) for a in TESTED for b in TESTED if a < b]
    trips = 0
    for first, second in rng.sample(pairs, 60):
        assert await bench.arm() is InterlockState.ARMED
        delay = {cause: delay_of(cause) for cause in (first, second)}
        for cycle in range(max(delay.values()) + 1):
            for cause in (first, second):
                if cycle == max(delay.values()) - delay[cause]:
                    begin(bench, cause)
            await settled()
            assert get(dut.safe) == (cycle == max(delay.values()))
            decided = get(dut.time)
            await cycles()
        await cycles(4)
        trips += 1
        value, limit = shown_by_judge(first) if first in JUDGED else VALUES.get(first, (0, 0))
        flags = 1 << first | 1 << second
        for later in [Cause.HOST, *rng.sample(TESTED, 2)]:
            assert await bench.report() == {
                "first_cause": first, "trip_value": value, "trip_limit": limit, "trip_flags": flags, "trips": trips,
                "state": InterlockState.TRIPPED,
            }, (first.name, second.name)  # fmt: skip
            assert await bench.bank.read("trip_time") == decided + 1
            flags |= 1 << later
            if later is Cause.HOST:
                await bench.command(InterlockCommand.TRIP)
                await cycles(2)
            else:
                begin(bench, later)
                await cycles(6)
        for cause in TESTED:
            end(bench, cause)
        await cycles(6)
        await bench.acknowledge()


@cocotb.test()
async def limits_are_locked_while_armed_and_while_arming(dut):
    bench = await disarmed(dut)
    registers = {name: interlock.BLOCK[name] for name in LOCKED}
    assert set(LOCKED) == {
        "enable", "commissioned", "heartbeat_timeout", "cpu_heartbeat_timeout", "ready_required", "gain_expected", "event_class",
        "react_retract", "react_bias_ramp", "react_bias_contact", "react_trigger", "react_retreat",
    }  # fmt: skip

    async def refused(name: str) -> None:
        before = await bench.bank.read(name)
        for value in (before ^ 1, registers[name].low, registers[name].high, (1 << 32) - 1):
            assert await bench.bank.try_write(name, value) is BusStatus.LOCKED
        assert await bench.bank.read(name) == before

    for name in LOCKED:
        await bench.command(InterlockCommand.ARM)
        assert get(dut.state) == InterlockState.ARMING
        await refused(name)
        assert await bench.bank.read("state") in (InterlockState.ARMING, InterlockState.ARMED)
        for _ in range(20 * PERIOD):
            await cycles()
        assert get(dut.state) == InterlockState.ARMED
        await refused(name)
        await bench.command(InterlockCommand.DISARM)
        await cycles(2 * PERIOD)
    assert await bench.arm() is InterlockState.ARMED
    await bench.command(InterlockCommand.TRIP)
    await cycles(4)
    for name in LOCKED:  # tripped is not armed
        before = await bench.bank.read(name)
        await bench.bank.write(name, before ^ 2)
        assert await bench.bank.read(name) == before ^ 2


@cocotb.test()
async def a_lock_falls_before_the_first_injection(dut):
    """A write that is on its way when ARM comes is either in force before the test or refused."""
    for gap in range(4):
        bench = await disarmed(dut)
        lockstep = LockstepBank(dut, interlock.BLOCK)
        lockstep.write("command", InterlockCommand.ARM)
        lockstep.rest(gap)
        lockstep.write("event_class", 99)
        for _ in range(20):
            lockstep.drive()
            await settled()
            if lockstep.answering is not None and lockstep.answering.name == "event_class":
                assert lockstep.answer()[0] is BusStatus.LOCKED
            await cycles()
        assert await bench.bank.read("event_class") == SETTINGS["event_class"]


# ------------------------------------------------------------------------------------------------------------------ reactions


@cocotb.test()
async def reactions_follow_the_causes_of_their_masks(dut):
    """The first cause and later ones; until the acknowledge. Without a mask only a tip withdraws, and it always does."""
    tip, motor = Strap.TIP in STRAPS, Strap.MOTOR in STRAPS
    rng = seeded("reactions")
    bench = await disarmed(dut)

    def seen() -> dict[str, int]:
        return unpack(REACTION, get(dut.reaction))

    quiet = {"retract": int(tip), "bias_ramp": 0, "bias_zero": 0, "trigger": 0, "retreat": 0}
    for register, reaction in [*REACTIONS.items(), ("react_bias_contact", "bias_ramp"), (None, None)]:
        for contact in (0, 1):
            cause, other = rng.sample(TESTED, 2)
            await bench.bank.configure(**dict.fromkeys([*REACTIONS, "react_bias_contact"], 0))
            if register is not None:
                await bench.bank.write(register, 1 << cause)
            assert await bench.arm() is InterlockState.ARMED
            assert seen() == quiet
            expected = dict(quiet)
            if reaction is not None and (reaction != "retreat" or motor):
                expected[reaction] = 1
            # Another cause: nothing.
            begin(bench, other)
            await cycles(10)
            assert get(dut.state) == InterlockState.TRIPPED and seen() == quiet
            # Then this one as a later cause: it counts. Contact does not: it was not there when the trip came.
            dut.contact.value = contact
            begin(bench, cause)
            await cycles(10)
            assert seen() == expected
            for each in (cause, other):
                end(bench, each)
            await cycles(10)
            assert seen() == expected, "stays until the acknowledge"
            await bench.acknowledge()
            await cycles(2)
            assert seen() == quiet
            # As the first cause, to the cycle; now with contact at the trip.
            assert await bench.arm() is InterlockState.ARMED
            for _ in range(begin(bench, cause)):
                await cycles()
            expected["bias_zero"] = int(register == "react_bias_contact" and contact)
            for cycle in range(6):
                if cycle == 2:
                    dut.contact.value = 1 - contact  # later contact changes nothing
                await settled()
                assert get(dut.safe)
                assert seen() == (expected if cycle >= REACTION_CYCLES else quiet), cycle
                await cycles()
            dut.contact.value = 0
            end(bench, cause)
            await cycles(6)
            await bench.acknowledge()


@cocotb.test()
async def disarmed_and_armed_only_a_tip_withdraws(dut):
    masks = dict.fromkeys([*REACTIONS, "react_bias_contact"], ALL)
    bench = await disarmed(dut, **masks)
    dut.contact.value = 1
    quiet = pack(REACTION, {"retract": Strap.TIP in STRAPS})
    for cause in (Cause.CURRENT_HIGH, Cause.GAIN):
        begin(bench, cause)
        await cycles(6)
        assert get(dut.reaction) == quiet
        end(bench, cause)
        await cycles(6)
    await bench.command(InterlockCommand.ARM)
    for _ in range(30 * PERIOD):
        await settled()
        assert get(dut.reaction) == quiet
        await cycles()
    assert get(dut.state) == InterlockState.ARMED


# ------------------------------------------------------------------------------------------------------------------ a long random run


def draw_settings(rng) -> dict[str, int]:
    few = rng.getrandbits(32) & rng.getrandbits(32)
    return {
        "enable": rng.choice([ALL, ALL, rng.getrandbits(32) | rng.getrandbits(32), 0]),
        "commissioned": rng.choice([COMMISSIONED] * 6 + [COMMISSIONED ^ 1 << rng.randrange(3), int(STRAPS) & 7]),
        "heartbeat_timeout": rng.randrange(300, 1500),
        "cpu_heartbeat_timeout": rng.randrange(300, 1500),
        "ready_required": rng.choice([3, 3, 1, 2, 0]),
        "gain_expected": rng.randrange(16),
        "event_class": rng.randrange(4),
        "react_retract": rng.choice([0, ALL, few]),
        "react_bias_ramp": rng.choice([0, few]),
        "react_bias_contact": rng.choice([0, few]),
        "react_trigger": few,
        "react_retreat": rng.choice([0, few]),
    }


class World:
    """What is around the interlock in the random run."""

    def __init__(self, dut, rng) -> None:
        self.dut, self.rng = dut, rng
        self.judges = Judges(dut)
        self.inputs = Inputs(time=rng.randrange(1 << 63))
        self.until: dict[Any, int] = {}  # cycle in which something ends
        self.now = 0
        self.deck: list[Cause] = []
        self.lines_free = 0  # until then the lines stay as they are
        self.outage = self.mute = 0

    def drive(self, model: NaiveInterlock) -> Inputs:
        rng, dut, now, r = self.rng, self.dut, self.now, model.registers
        armed_now = model.life.state is InterlockState.ARMED
        rate = 1 / 4000 if armed_now else 1 / 30_000  # of each condition, a cycle
        while rng.random() < rate * len(JUDGED):  # now and then two at once
            if not self.deck:  # all have their turn
                self.deck = rng.sample(JUDGED, len(JUDGED))
            self.until[self.deck.pop()] = now + rng.choice([1, 1, rng.randrange(1, 30)])
        self.judges.forced = {cause for cause in JUDGED if self.until.get(cause, 0) > now}
        if model.life.state is not InterlockState.ARMING:
            self.judges.sticking = set()
            self.judges.silent = {rng.choice(JUDGED)} if rng.random() < 0.1 else set()
            self.judges.stubborn = {rng.choice(JUDGED)} if rng.random() < 0.1 else set()
            self.judges.blind = {rng.choice(GUARDS)} if rng.random() < 0.03 else set()
        self.judges.put()
        pulses = {}
        for name in ("lost", "overflow", "underflow", "flip"):
            if rng.random() < rate:
                self.until[name] = now + rng.choice([1, 1, rng.randrange(1, 20)])
            pulses[name] = self.until.get(name, 0) > now
        if pulses.pop("flip"):
            self.judges.flipped |= {rng.choice(GUARDS)}
        elif rng.random() < 0.02:
            self.judges.flipped = set()
        before = self.inputs
        # Lines follow what is expected, and rarely do not.
        estop = rng.random() > (rate if before.estop_closed else 0.9)
        ready, gain = before.ready, before.gain
        if now >= self.lines_free:
            ready = r["ready_required"] | rng.randrange(4) if rng.random() < 0.01 or r["ready_required"] & ~ready else ready
            gain = r["gain_expected"]
            if rng.random() < 2 * rate:
                ready = rng.randrange(4)
            if rng.random() < 2 * rate:
                gain ^= 1 << rng.randrange(4)
            if (ready, gain) != (before.ready, before.gain):
                self.lines_free = now + rng.choice([1, 2, 3, rng.randrange(20)])
        event = None
        if rng.random() < 0.02:
            event = rng.randrange(4)
            if event == r["event_class"] and rng.random() > 50 * rate:
                event = None
        self.outage = self.outage - 1 if self.outage else rng.randrange(4 * PERIOD) if rng.random() < rate else 0
        shown = [0, 0]
        for value, limit in self.judges.shown.values():
            shown = [shown[0] | value, shown[1] | limit]
        self.inputs = Inputs(
            judged=self.judges.verdict, shown=(shown[0], shown[1]), errors=self.judges.errors, tick=now % PERIOD == 3 and not self.outage,
            contact=rng.random() < 0.3, event=event, estop_closed=estop, ready=ready, gain=gain, time=before.time + 1, **pulses,
        )  # fmt: skip
        inputs = self.inputs
        dut.sample_lost.value, dut.tick.value, dut.contact.value = int(inputs.lost), int(inputs.tick), int(inputs.contact)
        dut.position_overflow.value, dut.underflow.value = int(inputs.overflow), int(inputs.underflow)
        dut.event.value, dut.event_class.value = int(event is not None), rng.randrange(4) if event is None else event
        dut.estop_closed.value, dut.ready.value, dut.gain.value = int(estop), ready, gain
        dut.time.value = inputs.time
        self.now += 1
        return inputs

    def act(self, model: NaiveInterlock, bank: LockstepBank) -> None:
        """What a host, or a wild one, asks for next."""
        rng, state = self.rng, model.life.state
        self.mute = self.mute - 1 if self.mute else rng.randrange(150) if rng.random() < 0.003 else 0
        bank.rest(rng.randrange(8))
        action = rng.random()
        if action < 0.4:
            if not self.mute:
                bank.write("heartbeat", rng.getrandbits(32))
            if not self.mute or self.mute % 2:
                bank.write("cpu_heartbeat", rng.getrandbits(32))
        elif action < 0.6:
            bank.read(rng.choice(READABLE))
        elif action < 0.605:
            bank.write("command", rng.randrange(8))
        elif state in (InterlockState.ARMED, InterlockState.ARMING):
            if action < 0.65:
                settings = draw_settings(rng)
                name = rng.choice(sorted(settings))
                bank.write(name, settings[name])
            elif action < 0.652:
                bank.write("command", rng.choice([InterlockCommand.TRIP, InterlockCommand.DISARM]))
            elif action < 0.66:
                bank.write("trip_flags", rng.getrandbits(32))
        elif state is InterlockState.TRIPPED:
            bank.write("trip_flags", rng.choice([ALL, ALL, rng.getrandbits(32)]))
            bank.write("command", InterlockCommand.ACK)
            if action > 0.97:  # a write that came after the trip may have left what nothing is content with
                bank.write(*rng.choice(sorted(draw_settings(rng).items())))
        else:
            if action < 0.75:
                for name, value in draw_settings(rng).items():
                    bank.write(name, value)
                bank.rest(25)
            bank.write("heartbeat", 0)
            bank.write("cpu_heartbeat", 0)
            bank.write("command", InterlockCommand.ARM)
            bank.rest(3)


READABLE = ["state", "live", "trip_flags", "first_cause", "trip_value", "trip_limit", "trip_time", "trips", "arming_result",
            "arming_cause", "estop_closed", "ready", "gain", "present", "straps", "commissioned", "react_trigger"]  # fmt: skip


def readable(model: NaiveInterlock, name: str, line: Inputs) -> int:
    """What a read that is decided in this cycle answers."""
    life, trip = model.life, model.trip
    values = {
        "state": life.state, "live": mask_of(model.verdict), "trip_flags": mask_of(model.flags), "first_cause": life.first_cause,
        "trip_value": trip.value, "trip_limit": trip.limit, "trip_time": trip.time & 0xFFFFFFFF, "trips": life.trips,
        "arming_result": life.result, "arming_cause": life.result_cause, "present": mask_of(PRESENT), "straps": int(STRAPS),
        "estop_closed": int(line.estop_closed), "ready": line.ready, "gain": line.gain,
    }  # fmt: skip
    return values.get(name, model.registers.get(name))


@cocotb.test()
async def a_long_random_run_equals_the_naive_model(dut):
    rng = seeded("interlock")
    await start(dut)
    bank = LockstepBank(dut, interlock.BLOCK)
    model = NaiveInterlock(PERIOD, STRAPS)
    world = World(dut, rng)
    causes = dict.fromkeys(Cause, 0)
    results = dict.fromkeys(ArmingResult, 0)
    reactions = {name: 0 for name in model.reaction}
    refused = 0
    names = list(REACTION.members)
    past = [Inputs(estop_closed=False)] * 2
    for cycle in range(60_000):
        if bank.idle:
            world.act(model, bank)
        bank.drive()
        inputs = world.drive(model)
        await settled()
        written = bank.taken
        model.begin(inputs, written)
        life = model.life
        # What the bus did in this cycle
        if bank.answering is not None:
            access = bank.answering
            status, value = bank.answer()
            if access.is_write:
                assert status is access.expected, f"cycle {cycle}: {access.name} was answered {status.name}"
                refused += status is BusStatus.LOCKED
            else:
                assert value == access.expected, f"cycle {cycle}: {access.name} reads {value}, expected {access.expected}"
        clear = 0
        if bank.deciding is not None:
            access = bank.deciding
            if access.is_write:
                access.expected = BusStatus.LOCKED if access.name in LOCKED and life.locked else BusStatus.OK
                clear = access.raw if access.name == "trip_flags" else 0
            else:
                access.expected = readable(model, access.name, past[0])

        reaction = unpack(REACTION, get(dut.reaction))
        seen = (
            get(dut.safe), get(dut.live), get(dut.state), get(dut.gate_guard__lock), get(dut.dose_guard__check), get(dut.signals_guard__inject),
            [reaction[name] for name in names],
        )  # fmt: skip
        expected = (
            int(model.safe), int(not model.was_safe), life.state, int(life.locked), int(model.parity_check), int(model.parity_test),
            [int(model.reaction[name]) for name in names],
        )  # fmt: skip
        assert seen == expected, f"cycle {cycle}: {seen}, expected {expected} ({model.verdict})"
        world.judges.look()
        expected_inject = {life.injected} & set(JUDGED)
        assert world.judges.echo == expected_inject, f"cycle {cycle}"
        assert world.judges.enabled == model.enabled & set(JUDGED)
        for name in PORTS:
            assert get(getattr(dut, f"{name}_conditions__latch")) == life.latch
            assert get(getattr(dut, f"{name}_conditions__cause")) == life.first_cause

        was, trips = life.state, life.trips
        model.step(inputs, written, clear)
        past = [*past[1:], inputs]
        if life.trips != trips:
            causes[life.first_cause] += 1
        asked = was is InterlockState.DISARMED and written.get("command") == InterlockCommand.ARM
        if life.state is not InterlockState.ARMING and (asked or was is InterlockState.ARMING):
            results[life.result] += 1
        for name, value in model.reaction.items():
            reactions[name] += value
        await cycles()
    cocotb.log.info("%s", {result.name: count for result, count in results.items()})
    cocotb.log.info("%d writes refused, trips %s, reactions %s", refused, {c.name: n for c, n in causes.items()}, reactions)
    assert refused > 50
    # What is too rare for each run, the lifecycle's own has.
    rare = (ArmingResult.NONE, ArmingResult.UNDER_TEST, ArmingResult.VIOLATED)
    assert all(results[result] for result in ArmingResult if result not in rare), results
    assert sum(causes[cause] > 0 for cause in PRESENT) >= len(PRESENT) - 6
    assert all(count for name, count in reactions.items() if name != "retreat" or Strap.MOTOR in STRAPS)
