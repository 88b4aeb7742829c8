import cocotb
from naive_interlock import CLEAR_CYCLES, CLEAR_TICKS, FIRE_CYCLES, NaiveLifecycle, causes_of, mask_of
from support import cycles, get, seeded, settled, start

from reflexarc.contract.blocks.interlock import NO_CAUSE, ArmingResult, Cause, InterlockCommand, InterlockState

ALL = (1 << len(Cause)) - 1


def drive(dut, verdict: int, tested: int, commissioned: bool, flags_set: bool, command: int | None, tick: bool) -> None:
    dut.verdict.value, dut.violated.value, dut.tested.value = verdict, int(verdict != 0), tested
    dut.commissioned.value, dut.flags_set.value = int(commissioned), int(flags_set)
    dut.command.value, dut.command_valid.value = command or 0, int(command is not None)
    dut.tick.value = int(tick)


def compare(dut, life: NaiveLifecycle, verdict: int, cycle: int) -> None:
    found = causes_of(verdict)
    seen = {name: get(getattr(dut, name)) for name in ("safe", "armed", "locked", "state", "inject", "causes", "first_cause", "caught")}
    seen |= {name: get(getattr(dut, name)) for name in ("latch", "trips", "result", "result_cause")}
    expected = {
        "safe": int(life.safe(found)), "armed": int(life.armed), "locked": int(life.locked), "state": life.state,
        "inject": 0 if life.injected is None else 1 << life.injected, "first_cause": life.first_cause,
        "caught": int(life.caught), "latch": int(life.latch), "trips": life.trips, "result": life.result,
        "result_cause": life.result_cause,
    }  # fmt: skip
    causes = seen.pop("causes")
    if life.state is InterlockState.TRIPPED:
        assert causes == mask_of(life.causes), f"cycle {cycle}"
    assert seen == expected, f"cycle {cycle}"
    assert seen["safe"] or not seen["inject"]
    assert seen["inject"].bit_count() <= 1


@cocotb.test()
async def anything_at_the_inputs_equals_the_naive_model(dut):
    """Verdicts that follow the injection, or do not; that stay, or come out of nothing; commands at any time."""
    rng = seeded("lifecycle")
    await start(dut)
    life = NaiveLifecycle()
    results = dict.fromkeys(ArmingResult, 0)
    inject = tested = mood = stubborn = silent = 0
    trips_by = dict.fromkeys(Cause, 0)
    for cycle in range(100_000):
        if rng.random() < 1 / 600:
            mood = rng.randrange(8)
            tested = rng.choice([ALL, 0, rng.getrandbits(32), rng.getrandbits(32) & rng.getrandbits(32)])
            silent = 1 << rng.randrange(32) if mood == 1 else 0
            stubborn = 1 << rng.randrange(32) if mood == 2 else 0
        if life.state is InterlockState.DISARMED and mood == 0:
            mood = 3
        # A judge that is as it should be answers an injection with its verdict a cycle later, masked.
        verdict = (inject & tested & ~silent) | (stubborn if life.locked else 0)
        if mood == 3 and rng.random() < 0.01 or rng.random() < 0.001:
            verdict |= rng.getrandbits(32) & rng.getrandbits(32) & rng.getrandbits(32) & rng.getrandbits(32)
        if life.state is InterlockState.ARMED and rng.random() < 0.02:
            verdict |= 1 << rng.randrange(32) | (1 << rng.randrange(32) if rng.random() < 0.3 else 0)
        command = None
        if rng.random() < (0.0005 if life.state is InterlockState.ARMING else 0.02):
            command = rng.randrange(8)
        elif life.state is InterlockState.DISARMED and rng.random() < 0.1:
            command = InterlockCommand.ARM
        elif life.state is InterlockState.TRIPPED and rng.random() < 0.1:
            command = InterlockCommand.ACK
        inputs = (tested, rng.random() < 0.9, rng.random() < 0.1, command, rng.random() < 1 / rng.choice([3, 16, 16, 400]))
        drive(dut, verdict, *inputs)
        await settled()
        compare(dut, life, verdict, cycle)
        inject = get(dut.inject)
        was = life.state, life.trips
        life.step(causes_of(verdict), causes_of(inputs[0]), *inputs[1:])
        if was[0] is InterlockState.ARMING and life.state is not InterlockState.ARMING:
            results[life.result] += 1
        elif was[0] is InterlockState.DISARMED and command == InterlockCommand.ARM:
            results[life.result] += 1
        if life.trips != was[1]:
            trips_by[life.first_cause] += 1
        await cycles()
    cocotb.log.info("%s, trips %s", {result.name: count for result, count in results.items()}, sorted(trips_by.values()))
    assert all(count >= 5 for result, count in results.items() if result is not ArmingResult.NONE), results
    assert sum(count > 0 for count in trips_by.values()) > 25


async def step(dut) -> None:
    await cycles()
    await settled()


@cocotb.test()
async def a_flag_of_the_last_trip_refuses_arming(dut):
    await start(dut)
    drive(dut, 0, ALL, True, True, InterlockCommand.ARM, False)
    await step(dut)
    assert get(dut.state) == InterlockState.DISARMED
    assert (get(dut.result), get(dut.result_cause)) == (ArmingResult.VIOLATED, NO_CAUSE)
    await cycles()


@cocotb.test()
async def each_silent_condition_is_found_after_the_time_that_is_stated(dut):
    for silent in Cause:
        await start(dut)
        drive(dut, 0, ALL, True, False, InterlockCommand.ARM, False)
        await cycles()
        drive(dut, 0, ALL, True, False, None, True)
        held = 0
        for _ in range(1000):
            await settled()
            inject = get(dut.inject)
            if get(dut.state) != InterlockState.ARMING:
                break
            held += inject == 1 << silent
            await cycles()
            drive(dut, inject & ~(1 << silent), ALL, True, False, None, True)
        assert (get(dut.state), get(dut.result), get(dut.result_cause)) == (InterlockState.DISARMED, ArmingResult.DID_NOT_FIRE, silent)
        assert held == FIRE_CYCLES + 2
        assert not inject
        await cycles()


@cocotb.test()
async def a_verdict_that_stands_before_its_own_injection_is_waited_for(dut):
    """What another one's injection made to fire must clear first, for it would hide that its own does nothing."""
    for stale in range(1, len(Cause), 5):
        for stands_for in (0, 1, 50, FIRE_CYCLES - 1, FIRE_CYCLES):
            await start(dut)
            drive(dut, 0, ALL, True, False, InterlockCommand.ARM, False)
            await cycles()
            drive(dut, 0, ALL, True, False, None, True)
            stands, since = False, 0
            while True:
                await settled()
                inject = get(dut.inject)
                if get(dut.state) != InterlockState.ARMING or inject == 1 << stale:
                    break
                stands |= inject == 1 << stale - 1
                since += stands and not inject  # cycles since the injection before ended
                await cycles()
                drive(dut, inject | (1 << stale if stands and since <= stands_for else 0), ALL, True, False, None, True)
            if stands_for < FIRE_CYCLES:
                assert inject == 1 << stale
            else:
                assert (get(dut.state), get(dut.result)) == (InterlockState.DISARMED, ArmingResult.DID_NOT_CLEAR)
                assert get(dut.result_cause) == stale and not inject
            await cycles()


@cocotb.test()
async def after_the_injections_three_ticks_must_pass(dut):
    """And what then still fires, fires for so many cycles before it is given up."""
    for stubborn in (None, Cause.CURRENT_HIGH, Cause.READBACK, Cause.HOST):
        await start(dut)
        drive(dut, 0, 0, True, False, InterlockCommand.ARM, False)
        await cycles()
        for cause in Cause:  # nothing is enabled: two cycles each, and two before, in the first of which it must be silent
            for inject in (0, 0, 1 << cause, 1 << cause):
                drive(dut, 0, 0, True, False, None, False)
                await settled()
                assert get(dut.inject) == inject
                await cycles()
        waited = 0
        for waited in range(1000):
            verdict = 0 if stubborn is None else 1 << stubborn
            drive(dut, verdict, 0, True, False, None, waited % 20 == 5)
            await settled()
            if get(dut.state) != InterlockState.ARMING:
                break
            assert get(dut.safe) and not get(dut.inject)
            await cycles()
        if stubborn is None:
            assert get(dut.state) == InterlockState.ARMED
            assert waited == 5 + 20 * (CLEAR_TICKS - 1) + 2
        else:
            assert (get(dut.result), get(dut.result_cause)) == (ArmingResult.DID_NOT_CLEAR, stubborn)
            assert waited == CLEAR_CYCLES + 2
        await cycles()
    # Without a sample clock there are no ticks, and no arming.
    await start(dut)
    drive(dut, 0, 0, True, False, InterlockCommand.ARM, False)
    await cycles()
    drive(dut, 0, 0, True, False, None, False)
    await cycles(4 * len(Cause) + CLEAR_CYCLES + 1)
    assert get(dut.state) == InterlockState.ARMING
    await step(dut)
    assert get(dut.state) == InterlockState.DISARMED
    assert (get(dut.result), get(dut.result_cause)) == (ArmingResult.DID_NOT_CLEAR, NO_CAUSE)
    await cycles()


async def arm(dut) -> None:
    """Nothing is tested; returns in the first cycle of ``armed``."""
    await start(dut)
    drive(dut, 0, 0, True, False, InterlockCommand.ARM, False)
    await cycles()
    while not get(dut.armed):
        drive(dut, 0, 0, True, False, None, True)
        await cycles()


@cocotb.test()
async def a_violation_beats_every_command_around_it(dut):
    """In its cycle or in the next: safe at once, and tripped two cycles later, with what was violated until then."""
    for command in range(8):
        for late in range(2):
            for stays in (False, True):
                await arm(dut)
                for cycle in range(5):
                    verdict = (0b1010, 0b0100 | 0b1010 * stays)[min(cycle, 1)] if cycle < 2 or stays else 0
                    drive(dut, verdict, 0, True, False, command if cycle == late else None, False)
                    await settled()
                    disarmed = command == InterlockCommand.DISARM and cycle == 1 and late == 0
                    before = InterlockState.DISARMED if disarmed else InterlockState.ARMED
                    assert get(dut.safe) and get(dut.armed) == (cycle == 0) and get(dut.caught) == (cycle == 1)
                    assert get(dut.latch) == (cycle == 3)
                    assert get(dut.state) == (InterlockState.TRIPPED if cycle >= 2 else before), f"{command} in cycle {late}: {cycle}"
                    if cycle >= 2:
                        assert (get(dut.causes), get(dut.first_cause), get(dut.trips)) == (0b1110, 1, 1)
                    await cycles()


@cocotb.test()
async def what_is_violated_in_the_last_cycle_of_the_test_trips_if_it_stays(dut):
    """The test looks at the cycle before; the first armed cycle is safe by its own verdict."""
    for stays in (False, True):
        await start(dut)
        drive(dut, 0, 0, True, False, InterlockCommand.ARM, False)
        await cycles()
        drive(dut, 0, 0, True, False, None, True)
        await cycles(4 * len(Cause) + CLEAR_TICKS + 1)
        drive(dut, 1 << 5, 0, True, False, None, True)
        await settled()
        assert get(dut.state) == InterlockState.ARMING and get(dut.safe)
        await cycles()
        drive(dut, 1 << 5 if stays else 0, 0, True, False, None, True)
        await settled()
        assert get(dut.state) == InterlockState.ARMED and get(dut.armed) and get(dut.safe) == stays
        await step(dut)
        assert get(dut.armed) != stays and get(dut.caught) == stays
        await step(dut)
        assert get(dut.state) == (InterlockState.TRIPPED if stays else InterlockState.ARMED)
        assert get(dut.trips) == stays
        await cycles()


@cocotb.test()
async def each_command_aborts_the_test_in_each_of_its_phases(dut):
    for wait in range(0, 4 * len(Cause) + 20, 3):
        for command in range(8):
            await start(dut)
            drive(dut, 0, 0, True, False, InterlockCommand.ARM, False)
            await cycles()
            drive(dut, 0, 0, True, False, None, False)
            await cycles(wait)
            drive(dut, 0, 0, True, False, command, False)
            await cycles()
            drive(dut, 0, 0, True, False, None, True)
            await settled()
            assert (get(dut.state), get(dut.result)) == (InterlockState.DISARMED, ArmingResult.ABORTED)
            assert get(dut.safe) and not get(dut.inject)
            await cycles()
