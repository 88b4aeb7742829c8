import cocotb
from naive_gate import CODE_MAX, RAIL, NaiveGate, Request, code
from support import Bank, cycles, get, parameters, seeded, settled, signed, start, unpack
from support_signals import LockstepBank

from reflexarc.contract.blocks import gate
from reflexarc.contract.link import BusStatus
from reflexarc_hw.blocks.gate import OUTPUTS

CODE_MIN = -CODE_MAX - 1


@cocotb.test()
async def outputs_are_safe_before_the_first_clock(dut):
    """The first test of the simulation: nothing was driven yet, not even reset."""
    await settled()
    assert unpack(OUTPUTS, get(dut.dac)) == {"x": 0, "y": 0, "z": CODE_MAX, "bias": 0}
    assert get(dut.blank) and not get(dut.dac_load)


@cocotb.test()
async def outputs_are_safe_during_and_after_reset(dut):
    """Even where nobody says safe: reset is stronger, and 2 cycles pass before a request is there."""
    await start(dut, safe=0, z=0, x=77 << 12)
    dut.rst.value = 1
    for _ in range(5):
        await settled()
        assert unpack(OUTPUTS, get(dut.dac)) == {"x": 0, "y": 0, "z": CODE_MAX, "bias": 0}
        assert get(dut.blank) and not get(dut.dac_load)
        await cycles()
    dut.safe.value = 1
    dut.rst.value = 0
    bank = Bank(dut, gate.BLOCK)
    assert await bank.read("z_code") == CODE_MAX
    assert await bank.read("withdrawn") == await bank.read("blanked") == 1


def drive(dut, safe: bool, tick: bool, frame: bool, request: Request, pulse_bias: int) -> None:
    dut.safe.value, dut.tick.value, dut.frame.value = int(safe), int(tick), int(frame)
    dut.x.value, dut.y.value, dut.z.value = request.x & 0xFFFFFFFF, request.y & 0xFFFFFFFF, request.z & 0xFFFFFFFF
    dut.pulse.value, dut.pulse_bias.value = int(request.pulse), pulse_bias & 0xFFFFF
    dut.blank_request.value = int(request.blank)


def compare(dut, model: NaiveGate, frame: bool, cycle: int) -> None:
    seen = unpack(OUTPUTS, get(dut.dac))
    seen |= {"z_driven": signed(get(dut.z_driven), 32), "blank": get(dut.blank), "load": get(dut.dac_load)}
    expected = {
        "x": model.x, "y": model.y, "z": model.z >> 12, "bias": model.bias, "z_driven": model.z, "blank": int(model.blank),
        "load": int(model.load(frame)),
    }  # fmt: skip
    assert seen == expected, f"cycle {cycle}: {seen}, expected {expected}"


def position(rng) -> int:
    """All of Q20.12, with the halves and the rails often."""
    return rng.choice([
        rng.randrange(-(1 << 31), 1 << 31), rng.randrange(-(1 << 31), 1 << 31),
        (rng.randrange(CODE_MIN, CODE_MAX) << 12) + rng.choice([2047, 2048, 2049]),
        (1 << 31) - 1, (1 << 31) - rng.randrange(1, 5000), -(1 << 31), -(1 << 31) + rng.randrange(5000), rng.randrange(-10000, 10000),
    ])  # fmt: skip


@cocotb.test()
async def random_requests_and_trips_equal_the_naive_model(dut):
    """Requests of all kinds that change each cycle, or stay; trips of all lengths."""
    rng = seeded("gate")
    period = parameters()["cycles_per_sample"]
    await start(dut, safe=1)
    bank = LockstepBank(dut, gate.BLOCK)
    model = NaiveGate(period)
    registers = {r.name: r.reset for r in gate.BLOCK.registers}
    safe, pulse, pulse_bias, armed, calm = True, False, 0, False, 0
    request = Request()
    loads = trips = 0
    for cycle in range(60_000):
        # The interlock: armed while live, and a trip shows before the state does.
        if rng.random() < (1 / 300 if not safe else 1 / 200 if model.z != RAIL else 1 / 50):
            safe = not safe
            trips += safe
        armed = not safe
        if rng.random() < 0.05:
            pulse, pulse_bias = not pulse, rng.randrange(CODE_MIN, CODE_MAX + 1)
        calm = calm - 1 if calm else rng.randrange(40) if rng.random() < 0.1 else 0
        if not calm:
            z = position(rng) if rng.random() < 0.5 else RAIL - rng.randrange(1 << 24)
            request = Request(position(rng), position(rng), z, 0, False, rng.random() < 0.5)
        if bank.idle and rng.random() < 0.05:
            # The step is locked while armed; it is changed where it makes no difference to a withdrawal under way.
            if safe and model.z == RAIL and rng.random() < 0.5:
                bank.write("retract_step", rng.choice([1, (1 << 24) - 1, rng.randrange(1, 1 << rng.randrange(2, 25))]))
            else:
                bank.write("bias", rng.randrange(CODE_MIN, CODE_MAX + 1))
        bank.drive()
        tick, frame = cycle % period == 3, cycle % (2 * period) == 12 or rng.random() < 0.02
        if any(access is not None and access.name == "retract_step" for access in (bank.strobing, bank.deciding)):
            safe, armed = True, False
        dut.armed.value = int(armed)
        request = Request(request.x, request.y, request.z, 0, pulse, request.blank)
        drive(dut, safe, tick, frame, request, pulse_bias)
        await settled()
        registers |= bank.taken
        request.bias = pulse_bias if pulse else registers["bias"]
        compare(dut, model, frame, cycle)
        loads += model.load(frame)
        model.step(safe, tick, request, registers["retract_step"])
        await cycles()
    cocotb.log.info("%d trips, %d loads", trips, loads)
    assert trips > 50


@cocotb.test()
async def requests_take_two_cycles_and_round_half_up(dut):
    rng = seeded("rounding")
    await start(dut, safe=0)
    edges = [(base << 12) + rest for base in (CODE_MIN, -1, 0, CODE_MAX) for rest in (0, 2047, 2048, 4095)]
    await cycles(2)
    for value in edges + [position(rng) for _ in range(500)]:
        before = get(dut.dac)
        for name in "xyz":
            getattr(dut, name).value = value & 0xFFFFFFFF
        await cycles()
        await settled()
        assert get(dut.dac) == before
        await cycles()
        await settled()
        seen = unpack(OUTPUTS, get(dut.dac))
        assert (seen["x"], seen["y"], seen["z"]) == (code(value),) * 3
        await cycles()


@cocotb.test()
async def withdrawal_begins_at_once_and_never_turns_back(dut):
    """Whatever is asked for meanwhile; the first step comes without a tick."""
    rng = seeded("withdrawal")
    bank = Bank(dut, gate.BLOCK)
    for step in (1, 4096, 60 << 12, (1 << 24) - 1):
        await start(dut, safe=1)
        await bank.write("retract_step", step)
        begin = RAIL - step * 9 - rng.randrange(step)
        begin -= begin % 4096
        dut.z.value = begin & 0xFFFFFFFF
        dut.safe.value = 0
        await cycles(3)
        assert await bank.read("withdrawn") == 0
        dut.safe.value = 1
        await cycles()
        ramp = []
        for tick in range(20):
            await settled()
            ramp.append(signed(get(dut.z_driven), 32))
            await cycles()
            dut.z.value = rng.randrange(1 << 32)
            dut.tick.value = 1
            await cycles()
            dut.tick.value = 0
            if tick % 3:
                await cycles(rng.randrange(5))
        assert ramp == [min(begin + step * (count + 1), RAIL) for count in range(20)]
        assert await bank.read("withdrawn") == int(ramp[-1] == RAIL)


@cocotb.test()
async def bias_falls_back_to_what_it_was_before_a_pulse(dut):
    await start(dut, safe=1)
    bank = Bank(dut, gate.BLOCK)
    await bank.write("bias", 1234)
    dut.safe.value = 0
    await cycles(4)
    dut.pulse_bias.value = 99999
    dut.pulse.value = 1
    await cycles(4)
    assert await bank.read("bias_code") == 99999
    await bank.write("bias", 4321)  # not driven yet: the pulse is
    dut.safe.value = 1
    await cycles(1)
    await settled()
    assert unpack(OUTPUTS, get(dut.dac))["bias"] == 1234
    await cycles(3)
    await bank.write("bias", 777)  # while safe the bias stays
    assert await bank.read("bias_code") == 1234
    # Live again: the register counts.
    dut.pulse.value = 0
    await cycles(2)
    dut.safe.value = 0
    await cycles(1)
    await settled()
    assert unpack(OUTPUTS, get(dut.dac))["bias"] == 777


@cocotb.test()
async def the_frame_with_the_first_safe_codes_is_not_cut_off(dut):
    """The trip in each cycle of two sample periods: an immediate frame, then none for its length, then the regular ones."""
    period = parameters()["cycles_per_sample"]
    for trip_at in range(2 * period):
        await start(dut, safe=0)
        await cycles(3)
        loads = []
        for cycle in range(8 * period):
            dut.frame.value = int(cycle % (2 * period) == 0)
            dut.safe.value = int(cycle >= 2 * period + trip_at)
            await settled()
            if get(dut.dac_load):
                loads.append(cycle)
            await cycles()
        first = 2 * period + trip_at + 1
        regular = [cycle for cycle in range(0, 8 * period, 2 * period) if cycle <= first or cycle > first + 2 * period - 2]
        assert loads == sorted({*regular, first})
        # No gap of more than two frames: the withdrawal goes on.
        assert all(later - earlier <= 4 * period for earlier, later in zip(loads, loads[1:], strict=False))


@cocotb.test()
async def retract_step_is_locked_while_armed(dut):
    await start(dut, safe=1)
    bank = Bank(dut, gate.BLOCK)
    await bank.write("retract_step", 5)
    dut.armed.value = 1
    await cycles(2)
    assert await bank.try_write("retract_step", 6) is BusStatus.LOCKED
    assert await bank.try_write("bias", 6) is BusStatus.OK
    assert await bank.read("retract_step") == 5
    dut.armed.value = 0
    await cycles(2)
    assert await bank.try_write("retract_step", 0) is BusStatus.RANGE
    await bank.write("retract_step", 6)


@cocotb.test()
async def registers_show_what_is_driven(dut):
    rng = seeded("registers")
    await start(dut, safe=0)
    bank = Bank(dut, gate.BLOCK)
    for _ in range(20):
        values = {name: rng.randrange(CODE_MIN, CODE_MAX + 1) for name in "xyz"}
        for name, value in values.items():
            getattr(dut, name).value = (value << 12) & 0xFFFFFFFF
        bias = rng.randrange(CODE_MIN, CODE_MAX + 1)
        dut.blank_request.value = bias & 1
        await bank.write("bias", bias)
        await cycles(3)
        assert {name: await bank.read(f"{name}_code") for name in "xyz"} == values
        assert await bank.read("bias_code") == bias
        assert await bank.read("blanked") == bias & 1
