import cocotb
from naive_interlock import ESTOP_CYCLES, Inputs, NaiveInterlock, round_half_up
from support import Bank, cycles, get, pack, seeded, settled, start
from support_signals import LockstepBank, TimeInput

from reflexarc.contract.blocks import interlock
from reflexarc.contract.blocks.interlock import NO_CAUSE, Cause, InterlockCommand, InterlockState
from reflexarc.contract.link import BusStatus
from reflexarc_hw.lib.formats import SAMPLE

CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1
LIMITS = {"current_high": 1000, "current_low": -1000, "pulse_current_high": 5000, "pulse_current_low": -5000, "z_high": 300, "z_low": -200}
STROBE_TO_COMMAND = 2  # cycles from the bus strobe of a write to its effect
COMMAND_TO_SAFE = 1
HEARTBEAT_TO_SAFE = 2  # beyond the time-out: one cycle to begin counting, one for the comparison's register
# By whether the interlock was armed while the access was on its way.
LOCK_STATUSES = {
    frozenset({True}): {BusStatus.LOCKED},
    frozenset({False}): {BusStatus.OK},
    frozenset({False, True}): {BusStatus.OK, BusStatus.LOCKED},
}
LOCKED = [r.name for r in interlock.BLOCK.registers if r.locked]


def drive(dut, inputs: Inputs) -> None:
    dut.sample.value = pack(SAMPLE, {"valid": inputs.sample is not None, "code": inputs.sample or 0})
    dut.sample_lost.value = int(inputs.lost)
    dut.z.value = inputs.z & 0xFFFFFFFF
    dut.pulse.value = int(inputs.pulse)
    dut.position_overflow.value = int(inputs.overflow)
    dut.estop_ok.value = int(inputs.estop_ok)
    dut.time.value = inputs.time


async def sample(dut, code: int) -> None:
    """A sample in this cycle; returns in the next."""
    dut.sample.value = pack(SAMPLE, {"valid": 1, "code": code})
    await cycles()
    dut.sample.value = 0


async def disarmed(dut, **settings: int) -> Bank:
    """After reset with limits set and no condition violated."""
    await start(dut, estop_ok=1)
    bank = Bank(dut, interlock.BLOCK)
    await bank.configure(**(LIMITS | {"heartbeat_timeout": (1 << 31) - 1} | settings))
    await bank.write("heartbeat", 1)
    await cycles(4)
    return bank


async def armed(dut, **settings: int) -> Bank:
    bank = await disarmed(dut, **settings)
    await bank.write("command", InterlockCommand.ARM)
    await cycles()
    assert await bank.read("state") == InterlockState.ARMED
    return bank


async def safe_cycle(dut, patience: int) -> int | None:
    """Cycles from now until ``safe`` is high; None if it stays low."""
    for cycle in range(patience):
        await settled()
        safe = get(dut.safe)
        await cycles()
        if safe:
            return cycle
    return None


async def trip_report(bank: Bank) -> dict[str, int]:
    return {name: await bank.read(name) for name in ("first_cause", "trip_value", "trip_limit", "trip_flags", "trips", "state")}


@cocotb.test()
async def reset_is_safe_and_says_so(dut):
    await start(dut)
    await settled()
    assert get(dut.safe) and not get(dut.armed) and not get(dut.live)
    bank = Bank(dut, interlock.BLOCK)
    await cycles()
    assert await bank.read("first_cause") == NO_CAUSE
    assert await bank.read("trips") == 0
    assert await bank.read("state") == InterlockState.DISARMED
    # An unconfigured core can't be armed: the e-stop line reads pressed, the heartbeat is missing.
    await bank.write("command", InterlockCommand.ARM)
    await cycles(3)
    assert get(dut.safe) and await bank.read("state") == InterlockState.DISARMED
    assert await bank.read("live") == 1 << Cause.ESTOP | 1 << Cause.HEARTBEAT


@cocotb.test()
async def sample_to_safe_takes_one_cycle(dut):
    """One more, and the gate is safe: 2 from sample valid."""
    for code in (1001, CODE_MAX, -1001, CODE_MIN):
        cause, limit = (Cause.CURRENT_HIGH, 1000) if code > 0 else (Cause.CURRENT_LOW, -1000)
        bank = await armed(dut)
        for harmless in (1000, -1000, 0):
            await sample(dut, harmless)
            assert await safe_cycle(dut, 20) is None
        dut.sample.value = pack(SAMPLE, {"valid": 1, "code": code})
        await settled()
        assert not get(dut.safe)
        await cycles()
        dut.sample.value = 0
        await settled()
        assert get(dut.safe), "safe must be high in the cycle after the sample"
        await cycles()
        await settled()
        assert not get(dut.live)
        await cycles(3)
        assert await trip_report(bank) == {
            "first_cause": cause, "trip_value": code, "trip_limit": limit, "trip_flags": 1 << cause, "trips": 1,
            "state": InterlockState.TRIPPED,
        }  # fmt: skip


@cocotb.test()
async def a_code_without_valid_is_no_sample(dut):
    await armed(dut)
    dut.sample.value = pack(SAMPLE, {"valid": 0, "code": CODE_MAX})
    assert await safe_cycle(dut, 20) is None


@cocotb.test()
async def z_is_judged_as_it_will_be_rounded(dut):
    """At the half LSB above and below each limit."""
    rng = seeded("z")
    cases = [(CODE_MIN, CODE_MAX), (-200, 300), (5, 5), (0, 0), (CODE_MAX, CODE_MAX), (CODE_MIN, CODE_MIN)]
    cases += [tuple(sorted(rng.randrange(CODE_MIN, CODE_MAX + 1) for _ in range(2))) for _ in range(30)]
    for low, high in cases:
        for edge in ((low << 12) - 2049, (low << 12) - 2048, (low << 12), (high << 12), (high << 12) + 2047, (high << 12) + 2048):
            # The controller is clamped to codes, so z is never above the greatest one.
            if not CODE_MIN << 12 <= edge <= CODE_MAX << 12:
                continue
            bank = await disarmed(dut, z_low=low, z_high=high)
            dut.z.value = (low << 12) & 0xFFFFFFFF
            await cycles(4)
            await bank.write("command", InterlockCommand.ARM)
            await cycles()
            assert get(dut.armed)
            dut.z.value = edge & 0xFFFFFFFF
            await settled()
            assert not get(dut.safe)
            await cycles()
            await settled()
            code = round_half_up(edge)
            assert bool(get(dut.safe)) == (not low <= code <= high), f"z {edge} in {low} to {high}"
            await cycles(5)
            if not low <= code <= high:
                report = await trip_report(bank)
                assert report["first_cause"] == (Cause.Z_HIGH if code > high else Cause.Z_LOW)
                assert (report["trip_value"], report["trip_limit"]) == (code, high if code > high else low)


@cocotb.test()
async def heartbeat_times_out_to_the_cycle_and_restarts(dut):
    for timeout in (20, 21, 100, 1000):
        bank = await disarmed(dut, heartbeat_timeout=(1 << 31) - 1)
        await bank.write("heartbeat_timeout", timeout)
        await bank.write("heartbeat", 0)  # any value
        await bank.write("command", InterlockCommand.ARM)
        # Three beats, each in its last cycle: strobe to strobe.
        after_strobe = 6  # two accesses of 3 cycles since the heartbeat's strobe
        last = timeout + HEARTBEAT_TO_SAFE - 1
        for _ in range(3):
            assert await safe_cycle(dut, last - after_strobe) is None
            await bank.write("heartbeat", 0xFFFFFFFF)
            after_strobe = 3
        silent = await safe_cycle(dut, 2 * timeout + 20)
        assert after_strobe + silent == STROBE_TO_COMMAND + timeout + HEARTBEAT_TO_SAFE
        await cycles(4)
        report = await trip_report(bank)
        assert (report["first_cause"], report["trip_value"], report["trip_limit"]) == (Cause.HEARTBEAT, timeout, timeout)
        # A heartbeat ends the condition, not the trip.
        await bank.write("heartbeat", 1)
        await cycles(2)
        assert get(dut.safe) and await bank.read("state") == InterlockState.TRIPPED


@cocotb.test()
async def estop_takes_its_synchroniser_and_one_cycle(dut):
    for phase in range(4):
        bank = await armed(dut)
        await cycles(phase)
        dut.estop_ok.value = 0
        assert await safe_cycle(dut, 20) == ESTOP_CYCLES
        assert (await trip_report(bank))["first_cause"] == Cause.ESTOP
        dut.estop_ok.value = 1
        await cycles(10)
        assert get(dut.safe), "releasing the button does not start anything"


@cocotb.test()
async def other_causes_take_one_cycle(dut):
    for pin, cause in ((dut.sample_lost, Cause.SAMPLE_LOST), (dut.position_overflow, Cause.POSITION_OVERFLOW)):
        bank = await armed(dut)
        pin.value = 1
        await settled()
        assert not get(dut.safe)
        await cycles()
        pin.value = 0
        await settled()
        assert get(dut.safe)
        await cycles(4)
        assert await trip_report(bank) == {
            "first_cause": cause, "trip_value": 0, "trip_limit": 0, "trip_flags": 1 << cause, "trips": 1, "state": InterlockState.TRIPPED,
        }  # fmt: skip


@cocotb.test()
async def host_trip_takes_one_cycle_from_its_register(dut):
    bank = await armed(dut)
    await bank.write("command", InterlockCommand.TRIP)  # returns 3 cycles after the strobe
    await settled()
    assert STROBE_TO_COMMAND + COMMAND_TO_SAFE == 3 and get(dut.safe)
    await cycles(3)
    assert (await trip_report(bank))["first_cause"] == Cause.HOST
    # While disarmed a trip leaves no trace.
    bank = await disarmed(dut)
    await bank.write("command", InterlockCommand.TRIP)
    await cycles(3)
    assert await trip_report(bank) == {
        "first_cause": NO_CAUSE, "trip_value": 0, "trip_limit": 0, "trip_flags": 0, "trips": 0, "state": InterlockState.DISARMED,
    }  # fmt: skip


@cocotb.test()
async def disarm_is_safe_without_a_trip(dut):
    bank = await armed(dut)
    await bank.write("command", InterlockCommand.DISARM)
    await settled()
    assert get(dut.safe) and not get(dut.armed)
    await cycles()
    assert await bank.read("trips") == 0


# How to make each cause hold and end.
PERSISTENT = {
    Cause.CURRENT_HIGH: (lambda dut: sample(dut, 1001), lambda dut: sample(dut, 0)),
    Cause.CURRENT_LOW: (lambda dut: sample(dut, -1001), lambda dut: sample(dut, 0)),
    Cause.Z_HIGH: (lambda dut: put(dut.z, 301 << 12), lambda dut: put(dut.z, 0)),
    Cause.Z_LOW: (lambda dut: put(dut.z, (-201 << 12) & 0xFFFFFFFF), lambda dut: put(dut.z, 0)),
    Cause.ESTOP: (lambda dut: put(dut.estop_ok, 0), lambda dut: put(dut.estop_ok, 1)),
    Cause.SAMPLE_LOST: (lambda dut: put(dut.sample_lost, 1), lambda dut: put(dut.sample_lost, 0)),
    Cause.POSITION_OVERFLOW: (lambda dut: put(dut.position_overflow, 1), lambda dut: put(dut.position_overflow, 0)),
}


async def put(handle, value: int) -> None:
    handle.value = value
    await cycles()


@cocotb.test()
async def arming_and_acknowledging_are_refused_while_a_cause_holds(dut):
    for cause, (begin, end) in PERSISTENT.items():
        bank = await disarmed(dut)
        await begin(dut)
        await cycles(4)
        assert await bank.read("live") == 1 << cause
        await bank.write("command", InterlockCommand.ARM)
        await cycles()
        assert not get(dut.armed), cause.name
        assert await bank.read("trip_flags") == 0, "nothing latches while disarmed"
        await end(dut)
        await cycles(4)
        await bank.write("command", InterlockCommand.ARM)
        await cycles()
        assert get(dut.armed)
        await begin(dut)
        await cycles(4)
        # A clear while the cause persists has no effect: set beats clear in each cycle.
        for _ in range(3):
            await bank.write("trip_flags", 0x1FF)
            assert await bank.read("trip_flags") == 1 << cause
        await bank.write("command", InterlockCommand.ACK)
        assert await bank.read("state") == InterlockState.TRIPPED
        await end(dut)
        await cycles(4)
        # The flag stands: neither acknowledge nor arm.
        for command in (InterlockCommand.ACK, InterlockCommand.ARM):
            await bank.write("command", command)
            assert await bank.read("state") == InterlockState.TRIPPED
        await bank.write("trip_flags", 0x1FF ^ 1 << cause)  # clears others only
        assert await bank.read("trip_flags") == 1 << cause
        await bank.write("trip_flags", 1 << cause)
        assert await bank.read("trip_flags") == 0
        await bank.write("command", InterlockCommand.ARM)
        assert await bank.read("state") == InterlockState.TRIPPED, "arming needs the acknowledge first"
        await bank.write("command", InterlockCommand.ACK)
        assert await bank.read("state") == InterlockState.DISARMED
        await bank.write("command", InterlockCommand.ARM)
        await cycles()
        assert get(dut.armed) and not get(dut.safe)
        assert await bank.read("first_cause") == cause, "stays readable until the next trip"


@cocotb.test()
async def a_missing_heartbeat_refuses_arming(dut):
    bank = await disarmed(dut, heartbeat_timeout=5)
    await cycles(10)
    await bank.write("command", InterlockCommand.ARM)
    await cycles()
    assert not get(dut.armed)
    assert await bank.read("live") == 1 << Cause.HEARTBEAT


@cocotb.test()
async def limits_are_locked_while_armed(dut):
    bank = await armed(dut)
    for name in LOCKED:
        before = await bank.read(name)
        assert await bank.try_write(name, before ^ 1) is BusStatus.LOCKED
        assert await bank.read(name) == before
    await sample(dut, 1001)
    await cycles(4)
    for name in LOCKED:  # tripped is not armed
        before = await bank.read(name)
        await bank.write(name, before ^ 1)
        assert await bank.read(name) == before ^ 1


@cocotb.test()
async def of_two_causes_in_one_cycle_the_lower_bit_is_first(dut):
    """Each pair that can happen; what comes later sets its flag and changes nothing else."""
    timeout = 400
    delay = {cause: 1 for cause in Cause} | {Cause.ESTOP: ESTOP_CYCLES, Cause.HOST: STROBE_TO_COMMAND + COMMAND_TO_SAFE}
    values = {
        Cause.CURRENT_HIGH: (1001, 1000), Cause.CURRENT_LOW: (-1001, -1000), Cause.Z_HIGH: (301, 300), Cause.Z_LOW: (-201, -200),
        Cause.HEARTBEAT: (timeout, timeout),
    }  # fmt: skip
    for first in Cause:
        for second in range(first + 1, len(Cause)):
            pair = {first, Cause(second)}
            if pair in ({Cause.CURRENT_HIGH, Cause.CURRENT_LOW}, {Cause.Z_HIGH, Cause.Z_LOW}):
                continue
            bank = await disarmed(dut)
            time = TimeInput(dut, begin=(1 << 40) - 7)
            await bank.write("heartbeat_timeout", timeout)
            await bank.write("heartbeat", 0)
            await bank.write("command", InterlockCommand.ARM)  # 6 cycles since the heartbeat's strobe
            # `safe` of the heartbeat comes in this many cycles; everything else is timed to it.
            to_safe = STROBE_TO_COMMAND + timeout + HEARTBEAT_TO_SAFE - 6
            if Cause.HEARTBEAT not in pair:
                to_safe = 50
            for cycle in range(to_safe):
                now = {cause for cause in pair if to_safe - cycle == delay[cause]}
                current = now & {Cause.CURRENT_HIGH, Cause.CURRENT_LOW}
                dut.sample.value = pack(SAMPLE, {"valid": bool(current), "code": 1001 if Cause.CURRENT_HIGH in current else -1001})
                if Cause.Z_HIGH in now:
                    dut.z.value = 301 << 12
                if Cause.Z_LOW in now:
                    dut.z.value = (-201 << 12) & 0xFFFFFFFF
                if Cause.ESTOP in now:
                    dut.estop_ok.value = 0
                dut.sample_lost.value = int(Cause.SAMPLE_LOST in now)
                dut.position_overflow.value = int(Cause.POSITION_OVERFLOW in now)
                host = Cause.HOST in now
                dut.bus__strobe.value = int(host)
                if host:
                    dut.bus__write.value = 1
                    dut.bus__offset.value = 0
                    dut.bus__write_data.value = int(InterlockCommand.TRIP)
                await settled()
                assert not get(dut.safe)
                await cycles()
            dut.sample.value = dut.sample_lost.value = dut.position_overflow.value = dut.bus__strobe.value = 0
            decided = time.now
            await settled()
            assert get(dut.safe)
            await cycles(3)
            expected_value, expected_limit = values.get(first, (0, 0))
            flags = 1 << first | 1 << second
            for _ in range(2):
                assert await trip_report(bank) == {
                    "first_cause": first, "trip_value": expected_value, "trip_limit": expected_limit, "trip_flags": flags, "trips": 1,
                    "state": InterlockState.TRIPPED,
                }  # fmt: skip
                assert await bank.read("trip_time") == decided + 1
                # Later causes: their flags stand beside, the record stays.
                await bank.write("command", InterlockCommand.TRIP)
                await sample(dut, CODE_MIN)
                dut.sample_lost.value = 1
                await cycles(2)
                dut.sample_lost.value = 0
                flags |= 1 << Cause.HOST | 1 << Cause.CURRENT_LOW | 1 << Cause.SAMPLE_LOST
            time.stop()


@cocotb.test()
async def pulse_limits_count_in_a_pulse_and_no_longer_than_allowed(dut):
    for allowed in (0, 1, 2, 7):
        for pulse_length in (1, 3, 10):
            bank = await armed(dut, pulse_samples_max=allowed)
            await sample(dut, 900)
            await cycles(8)
            dut.pulse.value = 1
            await cycles(8)
            tripped_at = None
            for index in range(pulse_length):
                await sample(dut, 3000 if index % 2 else -3000)  # outside the normal window, inside the pulse's
                await settled()
                if get(dut.safe) and tripped_at is None:
                    tripped_at = index
                await cycles(12)
            assert tripped_at == (allowed if allowed < pulse_length else None)
            if tripped_at is None:
                dut.pulse.value = 0
                await cycles(8)
                await sample(dut, 3000)
                await settled()
                assert get(dut.safe), "after the pulse the normal limits count"
                await cycles()
            await cycles(3)
            assert abs((await trip_report(bank))["trip_limit"]) == 1000
    # And the pulse has a limit of its own, which a new pulse counts from its beginning.
    bank = await armed(dut, pulse_samples_max=3)
    for _ in range(4):
        dut.pulse.value = 1
        await cycles(4)
        for _ in range(3):
            await sample(dut, 5000)
            await cycles(12)
        dut.pulse.value = 0
        await cycles(4)
        await sample(dut, 0)
        await cycles(12)
    dut.pulse.value = 1
    await cycles(4)
    await sample(dut, 5001)
    await settled()
    assert get(dut.safe)
    await cycles(3)
    report = await trip_report(bank)
    assert (report["trip_value"], report["trip_limit"]) == (5001, 5000)


def write_limits(rng, bank: LockstepBank) -> None:
    """A window that samples and z are usually within."""
    bank.write("current_high", rng.randrange(500, 2000))
    bank.write("current_low", -rng.randrange(500, 2000))
    bank.write("pulse_current_high", rng.randrange(2000, 5000))
    bank.write("pulse_current_low", -rng.randrange(2000, 5000))
    bank.write("pulse_samples_max", rng.randrange(5))
    bank.write("z_high", rng.randrange(100, 400))
    bank.write("z_low", -rng.randrange(100, 400))
    bank.write("heartbeat_timeout", rng.randrange(100, 1000))
    bank.rest(40)  # limits are in force and a new sample is judged by them


def host_action(rng, model: NaiveInterlock, bank: LockstepBank) -> None:
    """What a host, or a wild one, asks for next."""
    action = rng.random()
    if action < 0.25:
        bank.read(rng.choice(["state", "live", "trip_flags", "first_cause", "trip_value", "trip_limit", "trips"]))
    elif action < 0.45:
        bank.write("heartbeat", rng.randrange(1 << 32))
    elif action < 0.5:
        bank.write("command", rng.choice([0, 1, 2, 3, 4, 5, 7]))
    elif model.armed:
        if action < 0.6:
            bank.write(rng.choice(LOCKED), rng.randrange(1, 1 << 15))
        elif action < 0.62:
            bank.write("command", rng.choice([InterlockCommand.TRIP, InterlockCommand.DISARM]))
        else:
            bank.rest(rng.randrange(200))
    elif model.state is InterlockState.TRIPPED:
        if rng.random() < 0.2:  # a write that came after the trip may have left a window that nothing is within
            write_limits(rng, bank)
        bank.write("trip_flags", rng.choice([0x1FF, 0x1FF, rng.randrange(0x200)]))
        bank.write("command", InterlockCommand.ACK)
    else:
        if action < 0.6:
            write_limits(rng, bank)
        bank.write("heartbeat", 0)
        bank.write("command", InterlockCommand.ARM)


@cocotb.test()
async def a_long_random_run_equals_the_naive_model(dut):
    rng = seeded("interlock")
    await start(dut, estop_ok=0)
    bank = LockstepBank(dut, interlock.BLOCK)
    model = NaiveInterlock()
    time = rng.randrange(1 << 63)
    inputs = Inputs(estop_ok=False, time=time)
    to_sample, settling, tripped_at = 5, 0, -100
    causes = {cause: 0 for cause in Cause}
    arms = refused = 0
    for cycle in range(120_000):
        if bank.idle:
            host_action(rng, model, bank)
        bank.drive()
        to_sample -= 1
        if bank.strobing is not None and bank.strobing.name in LOCKED:
            to_sample = max(to_sample, 8)  # comparisons use precomputed limits, which take two cycles to follow
        inputs = Inputs(estop_ok=inputs.estop_ok, pulse=inputs.pulse, z=inputs.z, time=time)
        if inputs.pulse and not model.armed:  # the reaction ends its pulse when the gate is no longer live
            inputs.pulse = False
            to_sample = max(to_sample, 8)
        if to_sample == 0:
            to_sample = rng.choice([16, rng.randrange(8, 40)])
            reach = 6000 if rng.random() < 0.01 else 2500 if inputs.pulse and rng.random() < 0.3 else 450
            inputs.sample = rng.randrange(-reach, reach + 1)
        elif to_sample == 5 and model.armed and rng.random() < 0.2:
            inputs.pulse = not inputs.pulse
        if rng.random() < 0.3:
            reach = 450 << 12 if rng.random() < 0.005 else 99 << 12
            inputs.z = rng.randrange(-reach, reach + 1)
        inputs.lost = rng.random() < 0.0005
        inputs.overflow = rng.random() < 0.0005
        inputs.estop_ok = rng.random() > (0.0003 if inputs.estop_ok else 0.9)
        drive(dut, inputs)
        await settled()

        # What the bus did in this cycle
        written = bank.taken
        if bank.answering is not None:
            access = bank.answering
            status, value = bank.answer()
            if access.is_write and access.name in LOCKED:
                # Asked while armed and decided after a trip in between: either is right.
                assert status in LOCK_STATUSES[frozenset(access.expected)], f"cycle {cycle}: {access.name} was answered {status.name}"
                refused += status is BusStatus.LOCKED
                settling = 4 if access.name.startswith("z_") else settling
            elif access.is_write:
                assert status is BusStatus.OK
            elif access.expected is not None:
                assert value == access.expected, f"cycle {cycle}: {access.name} reads {value}, expected {access.expected}"
        clear = 0
        if bank.strobing is not None and bank.strobing.is_write:
            bank.strobing.expected = {model.armed}
        if bank.deciding is not None:
            access = bank.deciding
            if access.is_write:
                access.expected |= {model.armed}
                clear = access.raw if access.name == "trip_flags" else 0
            elif cycle - tripped_at > 3 and not settling:  # value, limit and time follow the decision by a cycle
                access.expected = {
                    "state": model.state, "live": model.live_mask, "trip_flags": model.flags, "first_cause": model.trip.cause,
                    "trip_value": model.trip.value, "trip_limit": model.trip.limit, "trips": model.trips,
                }[access.name]  # fmt: skip
        settling = max(0, settling - 1)
        model.registers |= written

        seen = get(dut.safe), get(dut.armed), get(dut.state), get(dut.live)
        expected = int(model.safe), int(model.armed), int(model.state), int(not model.was_safe)
        assert seen == expected, f"cycle {cycle}: safe, armed, state, live are {seen}, expected {expected} ({model.conditions()})"
        was = model.state
        model.step(inputs, written, clear)
        if was is InterlockState.ARMED and model.state is InterlockState.TRIPPED:
            causes[model.trip.cause] += 1
            tripped_at = cycle
        arms += was is InterlockState.DISARMED and model.armed
        time += 1
        await cycles()
    cocotb.log.info("armed %d times, %d writes refused, trips %s", arms, refused, {cause.name: count for cause, count in causes.items()})
    assert arms > 100 and refused > 50
    assert all(count >= 5 for count in causes.values()), causes
