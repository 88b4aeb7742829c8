import cocotb
from naive_gate import CODE_MAX, LINES, RAIL, NaiveGate, NaiveReadback, Reaction, Request, code
from support import Bank, cycles, get, pack, parameters, seeded, settled, signed, start, unpack
from support_conditions import Conditions
from support_signals import LockstepBank

from reflexarc.contract.blocks import gate
from reflexarc.contract.blocks.interlock import GATE_CAUSES, NO_CAUSE, Cause
from reflexarc.contract.link import BusStatus
from reflexarc_hw.blocks.gate import LINES as LINE_REQUESTS
from reflexarc_hw.blocks.gate import READBACK
from reflexarc_hw.blocks.interlock import REACTION
from reflexarc_hw.lib.formats import OUTPUTS

CODE_MIN = -CODE_MAX - 1
XY_CYCLES, PULSE_CYCLES, BIAS_CYCLES, Z_CYCLES = 6, 6, 7, 2  # from a request to the codes
APPROACH_CYCLES = 2  # from a beat to the step's edge, one more than for the retreat
READBACK_CYCLES = 2  # from a read-back to the verdict
CHANNELS = ("x", "y", "z", "bias")


def outputs(dut) -> dict[str, int]:
    return unpack(OUTPUTS, get(dut.dac))


def react(dut, **reaction: int) -> None:
    dut.reaction.value = pack(REACTION, reaction)


@cocotb.test()
async def outputs_are_safe_before_the_first_clock(dut):
    """The first test of the simulation: nothing was driven yet, not even reset."""
    await settled()
    assert outputs(dut) == {"x": 0, "y": 0, "z": CODE_MAX, "bias": 0}
    assert get(dut.blank) and not get(dut.dac_load)
    assert not (get(dut.trigger) or get(dut.motor_step) or get(dut.pump) or get(dut.pulse_driven))
    assert not get(dut.approach_step) and not get(dut.lines)


@cocotb.test()
async def outputs_are_safe_during_and_after_reset(dut):
    """Even where nobody says safe: reset is stronger."""
    await start(dut, safe=0, z=0, x=77 << 12, reaction=pack(REACTION, dict.fromkeys(REACTION.members, 1)), pulse=1, pulse_bias=99)
    dut.rst.value = 1
    await cycles()
    for _ in range(5):
        await settled()
        assert outputs(dut) == {"x": 0, "y": 0, "z": CODE_MAX, "bias": 0}
        assert get(dut.blank) and not get(dut.dac_load)
        assert not (get(dut.trigger) or get(dut.motor_step) or get(dut.pump) or get(dut.pulse_driven))
        await cycles()
    dut.safe.value = 1
    dut.rst.value = 0
    bank = Bank(dut, gate.BLOCK)
    assert await bank.read("z_code") == CODE_MAX
    assert await bank.read("withdrawn") == await bank.read("blanked") == 1


def position(rng) -> int:
    """All of Q20.12, with the halves and the rails often."""
    return rng.choice([
        rng.randrange(-(1 << 31), 1 << 31), rng.randrange(-(1 << 31), 1 << 31),
        (rng.randrange(CODE_MIN, CODE_MAX) << 12) + rng.choice([2047, 2048, 2049]),
        (1 << 31) - 1, (1 << 31) - rng.randrange(1, 5000), -(1 << 31), -(1 << 31) + rng.randrange(5000), rng.randrange(-10000, 10000),
    ])  # fmt: skip


class World:
    """Requests of all kinds that change each cycle, or stay; trips of all lengths, with all reactions, as the interlock gives them."""

    def __init__(self, rng, period: int) -> None:
        self.rng, self.period = rng, period
        self.safe, self.since = True, 100  # cycles since ``safe`` changed
        self.tip = True
        self.wanted = Reaction()
        self.react_from = self.react_until = 0
        self.request = Request()
        self.calm = 0
        self.pulse, self.pulse_bias = False, 0
        self.controlled, self.controlled_bias = False, 0
        self.parked = 0  # cycles in which z is asked to stay at the rail
        self.lines = (False,) * 4

    def cycle(self, model: NaiveGate, quiet: bool) -> tuple[bool, Request, Reaction]:
        """``quiet``: stay safe without reactions, for a register is being written that is locked otherwise."""
        rng = self.rng
        self.since += 1
        leave = 1 / (30 * self.period) if model.z != RAIL or self.wanted.retreat or self.wanted.bias_ramp else 1 / 150
        if self.safe and quiet:
            leave = 0
        if rng.random() < (leave if self.safe else 1 / 300):
            self.safe, self.since = not self.safe, 0
            if self.safe:
                some = [rng.random() < 0.7, rng.random() < 0.7, rng.random() < 0.3, rng.random() < 0.5, rng.random() < 0.5]
                self.wanted = Reaction(*some) if rng.random() < 0.7 else Reaction()
                # The state follows ``safe`` by a cycle, what hangs on it by another, later causes later.
                self.react_from, self.react_until = 2 + rng.choice([0, 0, 1, rng.randrange(40)]), rng.randrange(100, 100 * self.period)
        reacting = self.safe and self.react_from <= self.since < self.react_until and not quiet
        if not self.safe and self.since == 200 and model.z == RAIL:
            self.tip = rng.random() < 0.7  # another board, as it were
        reaction = Reaction(**vars(self.wanted)) if reacting else Reaction()
        reaction.retract |= self.tip
        if rng.random() < 0.02:
            self.pulse, self.pulse_bias = not self.pulse, rng.randrange(CODE_MIN, CODE_MAX + 1)
        if rng.random() < 0.02:
            self.controlled = not self.controlled
        if rng.random() < 0.1:
            self.controlled_bias = position(rng)
        if rng.random() < 0.1:
            self.lines = tuple(rng.random() < 0.5 for _ in LINES)
        self.parked = self.parked - 1 if self.parked else rng.randrange(60 * self.period) if rng.random() < 1 / (20 * self.period) else 0
        self.calm = self.calm - 1 if self.calm else rng.randrange(40) if rng.random() < 0.1 else 0
        if not self.calm:
            z = position(rng) if rng.random() < 0.1 else RAIL - rng.choice([0, rng.randrange(1 << 24)])
            self.request = Request(position(rng), position(rng), z, blank=rng.random() < 0.5)
        z = RAIL if self.parked else self.request.z
        request = Request(self.request.x, self.request.y, z, 0, self.pulse, self.pulse_bias, self.request.blank, self.lines)
        return self.safe, request, reaction


def random_registers(rng) -> dict[str, int]:
    return {
        "retract_step": rng.choice([1 << 12, (1 << 24) - 1, rng.randrange(1 << 20, 1 << 24), rng.randrange(1 << 20, 1 << 24)]),
        "bias_step": rng.choice([1, (1 << 20) - 1, rng.randrange(1, 1 << rng.randrange(1, 21))]),
        "retreat_steps": rng.choice([0, 1, 2, 5, 65535]),
        "retreat_period": rng.choice([1, 1, 2, 3, 7]),
    }


@cocotb.test()
async def random_requests_trips_and_reactions_equal_the_naive_model(dut):
    rng = seeded("gate")
    period = parameters()["cycles_per_sample"]
    await start(dut, safe=1, reaction=pack(REACTION, {"retract": 1}))
    bank = LockstepBank(dut, gate.BLOCK)
    model, readback, conditions = NaiveGate(period), NaiveReadback(), Conditions(dut, GATE_CAUSES)
    registers = {r.name: r.reset for r in gate.BLOCK.registers}
    world = World(rng, period)
    seen_counts = dict.fromkeys(("load", "trips", "ramped", "steps", "pulsed", "zeroed", "wrong", "approached", "cut"), 0)
    quiet, latched, shown_next = 0, (0, 0), (0, 0)
    for cycle in range(50_000 + 1000 * period):
        if bank.idle and rng.random() < 0.05:
            # What is locked while armed is changed where it makes no difference to a reaction under way.
            if world.safe and world.since > 10 and model.z == RAIL and not quiet and rng.random() < 0.4:
                for name, value in random_registers(rng).items():
                    bank.write(name, value)
                quiet = 40
            elif world.parked and rng.random() < 0.4:
                bank.write("approach", rng.choice([0, 1, 2, 3, rng.randrange(65536)]))
            else:
                bank.write("bias", rng.choice([rng.randrange(CODE_MIN, CODE_MAX + 1), rng.randrange(-300, 301)]))
        bank.drive()
        quiet = max(0, quiet - 1)
        safe, request, reaction = world.cycle(model, quiet > 0)
        was_safe = model.was_safe
        frame = cycle % (2 * period) == 12 or rng.random() < 0.02
        dut.safe.value, dut.frame.value = int(safe), int(frame)
        dut.x.value, dut.y.value, dut.z.value = request.x & 0xFFFFFFFF, request.y & 0xFFFFFFFF, request.z & 0xFFFFFFFF
        dut.pulse.value, dut.pulse_bias.value = int(request.pulse), request.pulse_bias & 0xFFFFF
        dut.bias_controlled.value, dut.controlled_bias.value = int(world.controlled), world.controlled_bias & 0xFFFFFFFF
        dut.line_requests.value = pack(LINE_REQUESTS, dict(zip(LINES, request.lines, strict=True)))
        dut.blank_request.value = int(request.blank)
        dut.reaction.value = pack(REACTION, vars(reaction))
        # Read-back: mostly what was sent, sometimes not.
        read = None
        if rng.random() < 0.02:
            read = list(readback.sent)
            for place in range(4):
                if rng.random() < 0.1:
                    read[place] = signed(read[place] ^ 1 << rng.randrange(20), 20)
        inject, enable = rng.random() < 0.01, rng.random() < 0.9
        asked = rng.choice([Cause.READBACK, Cause.CURRENT_HIGH, NO_CAUSE]) if conditions.asked is None and rng.random() < 0.05 else None
        latch = conditions.latch(asked)
        codes = dict(zip(CHANNELS, read or (1, 2, 3, 4), strict=True))
        dut.readback.value = pack(READBACK, {"valid": read is not None, "dac": codes})
        dut.conditions__inject.value, dut.conditions__enable.value = int(inject), int(enable)
        await settled()
        registers |= bank.taken
        request.bias = code(world.controlled_bias) if world.controlled else registers["bias"]
        dac = outputs(dut)
        seen = dac | {"z_driven": signed(get(dut.z_driven), 32), "bias_requested": signed(get(dut.bias_requested), 20)}
        seen |= {
            name: get(getattr(dut, name))
            for name in ("blank", "dac_load", "trigger", "pump", "pulse_driven", "motor_step", "approach_step")
        }
        seen |= unpack(LINE_REQUESTS, get(dut.lines))
        seen |= {"verdict": get(dut.conditions__verdict)}
        expected = {
            "x": model.x, "y": model.y, "z": model.z >> 12, "bias": model.bias >> 12, "z_driven": model.z,
            "bias_requested": model.asked[-1].driven_bias,
            "blank": int(model.blank), "dac_load": int(model.load(frame)), "trigger": int(model.trigger), "pump": int(model.pump),
            "pulse_driven": int(model.pulse_driven), "motor_step": int(model.motor.level), "verdict": int(readback.verdict),
            "approach_step": int(model.approach_step), **dict(zip(LINES, map(int, model.lines), strict=True)),
        }  # fmt: skip
        assert seen == expected, f"cycle {cycle}: {seen}, expected {expected}"
        shown = signed(get(dut.conditions__value), 32), signed(get(dut.conditions__limit), 32)
        assert shown == latched, f"cycle {cycle}"
        latched = shown_next  # two cycles after ``latch``
        if latch is not None:
            shown_next = readback.measured() if latch is Cause.READBACK else (0, 0)
        loaded = tuple(dac[name] for name in CHANNELS) if model.load(frame) else None
        readback.step(loaded, tuple(read) if read else None, inject, enable)
        zeroing = model.zeroing
        bias, driving, level = model.bias, model.pulse_driven, model.motor.level
        approached, left = model.approach_step, model.approach.left
        model.step(safe, frame, request, reaction, registers, bank.taken.get("approach"))
        seen_counts["load"] += loaded is not None
        seen_counts["trips"] += safe and not was_safe
        seen_counts["ramped"] += safe and model.bias != bias and not driving and not zeroing
        seen_counts["zeroed"] += safe and model.bias != bias and zeroing
        seen_counts["steps"] += model.motor.level and not level
        seen_counts["approached"] += model.approach_step and not approached
        seen_counts["cut"] += left > 0 and not model.approach.going
        seen_counts["pulsed"] += model.pulse_driven
        seen_counts["wrong"] += readback.verdict
        await cycles()
    cocotb.log.info("%s", seen_counts)
    assert all(count >= 3 for count in seen_counts.values())


# ------------------------------------------------------------------------------------------------------------------ live


@cocotb.test()
async def requests_take_their_cycles_and_round_half_up(dut):
    """x and y 6, as a pulse's bias, the controlled one 7, z 2: as long as the envelope takes to judge them, and one more."""
    rng = seeded("rounding")
    await start(dut, safe=0)
    edges = [(base << 12) + rest for base in (CODE_MIN, -1, 0, CODE_MAX) for rest in (0, 2047, 2048, 4095)]
    for pulse in (1, 0):
        dut.pulse.value, dut.bias_controlled.value = pulse, 1
        await cycles(BIAS_CYCLES)
        for value in edges + [position(rng) for _ in range(300)]:
            await settled()
            before = outputs(dut)
            await cycles()
            bias = rng.randrange(CODE_MIN, CODE_MAX + 1)
            for name in "xyz":
                getattr(dut, name).value = value & 0xFFFFFFFF
            dut.pulse_bias.value = bias & 0xFFFFF
            dut.controlled_bias.value = value & 0xFFFFFFFF
            for cycle in range(BIAS_CYCLES + 1):
                await settled()
                expected = dict(before)
                if cycle >= Z_CYCLES:
                    expected |= {"z": code(value)}
                if cycle >= (PULSE_CYCLES if pulse else BIAS_CYCLES):
                    expected |= {"bias": bias if pulse else code(value)}
                if cycle >= XY_CYCLES:
                    expected |= {"x": code(value), "y": code(value)}
                assert outputs(dut) == expected, f"cycle {cycle}"
                await cycles()


@cocotb.test()
async def the_bias_is_the_registers_unless_it_is_controlled(dut):
    """Either way 7 cycles from the choice to the code, and a pulse goes before both."""
    await start(dut, safe=0, controlled_bias=(500 << 12) + 2048)
    bank = LockstepBank(dut, gate.BLOCK)
    bank.write("bias", -5)
    in_force = None
    seen = []
    for cycle in range(60):
        bank.drive()
        dut.bias_controlled.value = int(20 <= cycle < 40)
        dut.pulse.value, dut.pulse_bias.value = int(30 <= cycle < 32), 777
        await settled()
        if bank.taken:
            in_force = cycle
        seen.append(outputs(dut)["bias"])
        await cycles()
    register, controlled, pulse = in_force + BIAS_CYCLES, 20 + BIAS_CYCLES, 30 + PULSE_CYCLES
    expected = [0] * register + [-5] * (controlled - register) + [501] * (pulse - controlled) + [777] * 2
    expected += [501] * (40 + BIAS_CYCLES - len(expected))
    assert seen == expected + [-5] * (60 - len(expected))


@cocotb.test()
async def lines_follow_by_one_cycle_and_fall_but_for_the_relay(dut):
    """Safe: pixel, line and frame are low; ``external`` stays as it is, and goes on once live."""
    await start(dut, safe=0)
    for external in (1, 0):
        for safe_for in (1, 2, 30):
            asked = pack(LINE_REQUESTS, {"pixel": 1, "line": 1, "frame": 1, "external": external})
            dut.line_requests.value = asked
            await cycles()
            assert get(dut.lines) == asked
            dut.safe.value = 1
            dut.line_requests.value = pack(LINE_REQUESTS, {"pixel": 1, "line": 1, "frame": 1, "external": 1 - external})
            for _ in range(safe_for):
                await cycles()
                assert unpack(LINE_REQUESTS, get(dut.lines)) == {"pixel": 0, "line": 0, "frame": 0, "external": external}
            dut.safe.value = 0
            await cycles()
            assert unpack(LINE_REQUESTS, get(dut.lines)) == {"pixel": 1, "line": 1, "frame": 1, "external": 1 - external}


@cocotb.test()
async def what_is_being_judged_when_safe_comes_is_never_driven(dut):
    """A request whose verdict comes with its last cycle of waiting: safe in that cycle holds it back, at each distance."""
    for name, wait in (("x", 5), ("y", 5), ("z", 1)):
        for late in range(wait + 2):
            await start(dut, safe=0)
            react(dut, retract=0)
            for each in "xyz":
                getattr(dut, each).value = 100 << 12
            await cycles(XY_CYCLES)
            getattr(dut, name).value = 999 << 12
            await cycles(late)
            dut.safe.value = 1
            for _ in range(20):
                await cycles()
                await settled()
                assert outputs(dut)[name] == (100 if late <= wait else 999)
                await cycles()


@cocotb.test()
async def a_pulse_is_driven_as_long_as_it_says_so(dut):
    await start(dut, safe=0)
    bank = Bank(dut, gate.BLOCK)
    await bank.write("bias", -5)
    await cycles(BIAS_CYCLES)
    for cycle in range(14):
        dut.pulse.value, dut.pulse_bias.value = int(2 <= cycle < 6), 777
        await settled()
        driven = 2 + PULSE_CYCLES <= cycle < 6 + PULSE_CYCLES
        assert get(dut.pulse_driven) == driven
        assert outputs(dut)["bias"] == (777 if driven else -5)
        await cycles()
    # A pulse that safe ends is no longer driven.
    dut.pulse.value = 1
    await cycles(BIAS_CYCLES)
    dut.safe.value = 1
    await settled()
    assert get(dut.pulse_driven)
    await cycles()
    await settled()
    assert not get(dut.pulse_driven) and outputs(dut)["bias"] == -5
    await cycles()


@cocotb.test()
async def the_pump_changes_once_a_sample_period_while_live_and_only_then(dut):
    period = parameters()["cycles_per_sample"]
    await start(dut, safe=0)
    levels = []
    for _ in range(20 * period):
        await settled()
        levels.append(get(dut.pump))
        await cycles()
    edges = [cycle for cycle in range(1, len(levels)) if levels[cycle] != levels[cycle - 1]]
    assert len(edges) >= 19 and {later - earlier for earlier, later in zip(edges, edges[1:], strict=False)} == {period}
    dut.safe.value = 1
    await cycles()
    level = get(dut.pump)
    for _ in range(5 * period):
        await cycles()
        assert get(dut.pump) == level


# ------------------------------------------------------------------------------------------------------------------ withdrawal


async def live_at(dut, z: int, bias: int = 0, **registers: int) -> Bank:
    """Live at ``z`` (Q20.12); the registers are written while that is allowed."""
    await start(dut, safe=1)
    bank = Bank(dut, gate.BLOCK)
    await bank.configure(bias=bias, **registers)
    dut.z.value = z & 0xFFFFFFFF
    dut.safe.value = 0
    await cycles(XY_CYCLES)
    return bank


@cocotb.test()
async def withdrawal_begins_at_once_and_never_turns_back(dut):
    """Whatever is asked for meanwhile; then a step each period of the gate's own count, without any sample."""
    rng = seeded("withdrawal")
    period = parameters()["cycles_per_sample"]
    for step in (1 << 12, 4097, 60 << 12, (1 << 24) - 1):
        for phase in rng.sample(range(period), 3):
            begin = RAIL - step * 9 - rng.randrange(step)
            begin -= begin % 4096
            bank = await live_at(dut, begin, retract_step=step)
            react(dut, retract=1)
            assert await bank.read("withdrawn") == 0
            await cycles(phase)
            dut.safe.value = 1
            ramp = []
            for _ in range(12 * period + 1):
                await settled()
                ramp.append(signed(get(dut.z_driven), 32))
                await cycles()
                dut.z.value = rng.randrange(1 << 32)
            # Cycle 0 is the last live one.
            assert ramp == [min(begin + step * ((cycle + period - 1) // period), RAIL) for cycle in range(12 * period + 1)]
            assert await bank.read("withdrawn") == int(ramp[-1] == RAIL)


@cocotb.test()
async def without_the_reaction_z_holds(dut):
    """A beam's z is a focus: it stays, until the reaction comes."""
    rng = seeded("hold")
    period = parameters()["cycles_per_sample"]
    step = 3 << 12
    begin = 1000 << 12
    await live_at(dut, begin, retract_step=step)
    react(dut)
    dut.safe.value = 1
    for _ in range(5 * period):
        await cycles()
        dut.z.value = rng.randrange(1 << 32)
        await settled()
        assert signed(get(dut.z_driven), 32) == begin
        await cycles()
    react(dut, retract=1)
    last = begin
    for _ in range(5 * period):
        await settled()
        z = signed(get(dut.z_driven), 32)
        assert z - last in (0, step)
        last = z
        await cycles()
    assert last == begin + 5 * step
    react(dut)
    await cycles(3 * period)
    assert signed(get(dut.z_driven), 32) == last


@cocotb.test()
async def the_withdrawal_takes_a_bounded_time(dut):
    """The least step that the register takes is one code a sample period."""
    bank = await live_at(dut, 0)
    dut.safe.value = 1
    await cycles(2)
    assert await bank.try_write("retract_step", (1 << 12) - 1) is BusStatus.RANGE
    assert await bank.try_write("retract_step", 0) is BusStatus.RANGE
    await bank.write("retract_step", 1 << 12)


# ------------------------------------------------------------------------------------------------------------------ bias


@cocotb.test()
async def bias_falls_back_to_what_it_was_before_a_pulse(dut):
    bank = await live_at(dut, 0, bias=1234)
    dut.pulse_bias.value = 99999
    dut.pulse.value = 1
    await cycles(BIAS_CYCLES)
    assert await bank.read("bias_code") == 99999
    await bank.write("bias", 4321)  # not driven yet: the pulse is
    dut.safe.value = 1
    await cycles(1)
    await settled()
    assert outputs(dut)["bias"] == 1234
    await cycles(3)
    await bank.write("bias", 777)  # while safe the bias stays
    assert await bank.read("bias_code") == 1234
    # Live again: the register counts.
    dut.pulse.value = 0
    await cycles(BIAS_CYCLES - 1)
    dut.safe.value = 0
    await cycles(1)
    await settled()
    assert outputs(dut)["bias"] == 777
    await cycles()


@cocotb.test()
async def the_bias_ramps_only_after_z_is_withdrawn(dut):
    """By ``bias_step`` a period, towards 0 and not past it, with a fraction; before, and without the reaction, it stays."""
    period = parameters()["cycles_per_sample"]
    for bias in (1000, -1000, 7, -7, CODE_MAX, CODE_MIN):
        for step in (1 << 12, 300 << 12 & 0xFFFFF, 3 << 11, (1 << 20) - 1):
            bank = await live_at(dut, RAIL - (40 << 12), bias=bias, retract_step=10 << 12, bias_step=step)
            react(dut, retract=1)
            dut.safe.value = 1
            await cycles(2)
            react(dut, retract=1, bias_ramp=1)
            last, changed = bias, []
            withdrawn_for = 0
            for cycle in range(30 * period):
                await settled()
                now = outputs(dut)
                if now["bias"] != last:
                    assert withdrawn_for >= 3, "the bias moved before z was away"
                    assert abs(now["bias"]) < abs(last) and now["bias"] * bias >= 0 or now["bias"] == -1 and bias < 0
                    changed.append(cycle)
                    last = now["bias"]
                withdrawn_for = withdrawn_for + 1 if now["z"] == CODE_MAX else 0
                await cycles()
            expected = abs(bias << 12) - 27 * step  # 3 of 30 beats are the withdrawal's, and one period's rest may follow
            assert (last == 0) if expected <= 0 else abs(abs(last << 12) - expected) <= 2 * step + 4096
            if step >= 1 << 12 and len(changed) > 1:
                assert {later - earlier for earlier, later in zip(changed, changed[1:], strict=False)} == {period}
            # It is gone for good: the reaction's end does not bring it back.
            react(dut, retract=1)
            await cycles(3)
            last = await bank.read("bias_code")
            await cycles(2 * period)
            assert await bank.read("bias_code") == last


@cocotb.test()
async def a_ramp_may_begin_in_any_cycle(dut):
    """A later cause may ask for it when z is long away, in the cycle of a step too; nothing is left of the trip before."""
    period = parameters()["cycles_per_sample"]
    await live_at(dut, RAIL, bias=0, bias_step=1 << 12)
    for number, wait in enumerate(range(period + 2)):
        bias = 1000 * (1 if number % 2 else -1) + number
        bank = Bank(dut, gate.BLOCK)
        react(dut, retract=1)
        dut.safe.value = 0
        await bank.write("bias", bias)
        await cycles(BIAS_CYCLES)
        dut.safe.value = 1
        await cycles(3 * period + wait)
        react(dut, retract=1, bias_ramp=1)
        seen = []
        for _ in range(3 * period + 4):
            await settled()
            if not seen or outputs(dut)["bias"] != seen[-1]:
                seen.append(outputs(dut)["bias"])
            await cycles()
        towards = -1 if bias > 0 else 1
        assert seen == [bias + towards * count for count in range(len(seen))] and len(seen) in (4, 5)
        react(dut, retract=1)
        await cycles(3)


@cocotb.test()
async def the_bias_stays_without_a_reaction(dut):
    period = parameters()["cycles_per_sample"]
    bank = await live_at(dut, RAIL - (5 << 12), bias=-4242)
    react(dut, retract=1)
    dut.safe.value = 1
    for _ in range(10 * period):
        await settled()
        assert outputs(dut)["bias"] == -4242
        await cycles()
    assert await bank.read("withdrawn") == 1


@cocotb.test()
async def contact_takes_the_bias_to_zero_at_once(dut):
    """Without waiting for z; two cycles after the reaction."""
    for bias in (1000, -1000, CODE_MIN):
        await live_at(dut, 0, bias=bias, bias_step=1)
        react(dut, retract=1)
        dut.safe.value = 1
        await cycles(3)
        react(dut, retract=1, bias_ramp=1, bias_zero=1)
        for cycle in range(20):
            await settled()
            assert outputs(dut)["bias"] == (bias if cycle < 2 else 0)
            await cycles()
        react(dut, retract=1)
        await cycles(20)
        assert outputs(dut)["bias"] == 0
        # Live again: what is asked for counts.
        dut.safe.value = 0
        await cycles(3)
        await settled()
        assert outputs(dut)["bias"] == bias
        await cycles()


# ------------------------------------------------------------------------------------------------------------------ trigger, motor


@cocotb.test()
async def the_trigger_follows_its_reaction_by_one_cycle(dut):
    bank = await live_at(dut, 0)
    dut.safe.value = 1
    for level in (1, 0, 1, 1, 0):
        before = get(dut.trigger)
        react(dut, trigger=level)
        await settled()
        assert get(dut.trigger) == before
        await cycles()
        await settled()
        assert get(dut.trigger) == level
        await cycles()
        assert await bank.read("trigger") == level


@cocotb.test()
async def the_motor_steps_as_often_as_it_should_and_as_long(dut):
    """After z is away; each pulse is high and low for so many periods; then it rests until the next trip."""
    period = parameters()["cycles_per_sample"]
    for steps, half in ((1, 1), (3, 1), (4, 2), (2, 5), (0, 1)):
        bank = await live_at(dut, RAIL - (25 << 12), retract_step=10 << 12, retreat_steps=steps, retreat_period=half)
        react(dut, retract=1)
        dut.safe.value = 1
        await cycles(2)
        react(dut, retract=1, retreat=1)
        levels, away_at = [], None
        for cycle in range((2 * steps * half + 8) * period):
            await settled()
            levels.append(get(dut.motor_step))
            if away_at is None and outputs(dut)["z"] == CODE_MAX:
                away_at = cycle
            await cycles()
        edges = [cycle for cycle in range(1, len(levels)) if levels[cycle] != levels[cycle - 1]]
        assert len(edges) == 2 * steps and not levels[-1] and not levels[0]
        assert all(later - earlier == half * period for earlier, later in zip(edges, edges[1:], strict=False))
        if steps:
            assert edges[0] - away_at == half * period, "counted from the step that reached the rail"
        assert await bank.read("retreat_left") == 0
        await cycles(3 * period)
        assert not get(dut.motor_step)
        # Acknowledged, and tripped again: again so many.
        react(dut, retract=1)
        await cycles(5)
        react(dut, retract=1, retreat=1)
        await cycles(3)
        assert await bank.read("retreat_left") == steps


@cocotb.test()
async def the_motor_stops_when_its_reaction_ends(dut):
    period = parameters()["cycles_per_sample"]
    for after in (0, 1, period, 3 * period + 1, 7 * period + 5):
        bank = await live_at(dut, RAIL, retreat_steps=1000, retreat_period=1)
        react(dut, retract=1)
        dut.safe.value = 1
        await cycles(3)
        react(dut, retract=1, retreat=1)
        await cycles(after)
        react(dut, retract=1)
        await cycles()
        for _ in range(4 * period):
            await settled()
            assert not get(dut.motor_step)
            await cycles()
        assert await bank.read("retreat_left") == 0
    # And it never steps while z is not away, nor while live.
    await live_at(dut, 0, retract_step=1 << 12, retreat_steps=1000, retreat_period=1)
    react(dut, retract=1, retreat=1)
    for safe in (0, 1):
        dut.safe.value = safe
        for _ in range(10 * period):
            await settled()
            assert not get(dut.motor_step)
            await cycles()


# ------------------------------------------------------------------------------------------------------------------ approach


async def levels_of(dut, count: int) -> list[int]:
    """The approach's line in so many cycles."""
    levels = []
    for _ in range(count):
        await settled()
        levels.append(get(dut.approach_step))
        await cycles()
    return levels


def edges_of(levels: list[int]) -> list[int]:
    return [cycle for cycle in range(1, len(levels)) if levels[cycle] != levels[cycle - 1]]


@cocotb.test()
async def the_approach_steps_as_often_as_it_was_asked(dut):
    """Each step as long as the retreat's, with the beat and two cycles behind it; then it may be asked again, as soon as none is left."""
    period = parameters()["cycles_per_sample"]
    for steps, half in ((1, 1), (3, 1), (4, 2), (2, 5), (0, 1)):
        bank = await live_at(dut, RAIL, retreat_period=half)
        for _ in range(3):
            asking = cocotb.start_soon(bank.write("approach", steps))
            levels, pump = [], []
            for _ in range((2 * steps * half + 3) * period):
                await settled()
                levels.append(get(dut.approach_step))
                pump.append(get(dut.pump))
                await cycles()
            await asking
            edges = edges_of(levels)
            assert len(edges) == 2 * steps and not levels[-1] and not levels[0]
            assert all(later - earlier == half * period for earlier, later in zip(edges, edges[1:], strict=False))
            # The pump changes in the cycle after the beat.
            assert all(edge - APPROACH_CYCLES + 1 in edges_of(pump) for edge in edges)
            assert await bank.read("approach_left") == 0
            assert not get(dut.motor_step)


@cocotb.test()
async def a_train_that_is_asked_for_anew_begins_behind_the_step_under_way(dut):
    """In any phase of it: no pulse is cut, and from there on there are as many as were asked for last."""
    rng = seeded("anew")
    period = parameters()["cycles_per_sample"]
    half = 2
    for steps in (2, 0):
        for after in rng.sample(range(3, 9 * period), 25):
            bank = await live_at(dut, RAIL, retreat_period=half)
            await bank.write("approach", 3)
            before = await levels_of(dut, after)
            asking = cocotb.start_soon(bank.write("approach", steps))
            # In force after 4 cycles of the access; a step that rises within 3 more is still one of those before.
            levels = before + await levels_of(dut, 12 * half * period)
            await asking
            edges = edges_of(levels)
            assert all(later - earlier == half * period for earlier, later in zip(edges[::2], edges[1::2], strict=True))
            rises = edges[::2]
            until = [rise for rise in rises if rise <= after + 4 + 3]
            assert len(rises) == len(until) + steps and len(until) <= 3
            assert all(later - earlier >= 2 * half * period for earlier, later in zip(rises, rises[1:], strict=False))
            assert await bank.read("approach_left") == 0


@cocotb.test()
async def the_approach_ends_where_live_or_the_rail_does(dut):
    """No step from the cycle after safe on, nor 2 cycles after z has left; what is left is dropped and does not come back."""
    rng = seeded("approach")
    period = parameters()["cycles_per_sample"]
    for reason in ("safe", "z"):
        for phase in rng.sample(range(2 * period), 12):
            bank = await live_at(dut, RAIL, retreat_period=1)
            await bank.write("approach", 1000)
            await levels_of(dut, 4 * period + phase)
            assert await bank.read("approach_left") > 0
            if reason == "safe":
                dut.safe.value = 1
                allowed = 1
            else:
                dut.z.value = RAIL - (1 << 12)
                allowed = Z_CYCLES + 2
            levels = await levels_of(dut, 4 * period)
            assert not any(levels[allowed:])
            assert await bank.read("approach_left") == 0
            # Back again: it has to be asked for anew.
            dut.safe.value, dut.z.value = 0, RAIL
            assert not any(await levels_of(dut, 4 * period))
            await bank.write("approach", 1)
            assert len(edges_of(await levels_of(dut, 4 * period))) == 2
    # Asked for while safe, or away from the rail, it counts not even later.
    for reason in ("safe", "z"):
        bank = await live_at(dut, RAIL if reason == "safe" else 0, retreat_period=1)
        dut.safe.value = int(reason == "safe")
        await cycles(3)
        await bank.write("approach", 5)
        dut.safe.value, dut.z.value = 0, RAIL
        assert not any(await levels_of(dut, 4 * period))
        assert await bank.read("approach_left") == 0


# ------------------------------------------------------------------------------------------------------------------ frames, read-back


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
async def each_wrong_bit_of_each_converter_is_found(dut):
    """Against the codes of the last frame, whatever is driven by then; the record has the first channel that was wrong."""
    rng = seeded("readback")
    await start(dut, safe=0, conditions__enable=1)
    conditions = Conditions(dut, GATE_CAUSES)
    for channel in CHANNELS:
        for bit in range(20):
            codes = {name: rng.randrange(CODE_MIN, CODE_MAX + 1) for name in CHANNELS}
            for name in "xyz":
                getattr(dut, name).value = (codes[name] << 12) & 0xFFFFFFFF
            dut.pulse.value, dut.pulse_bias.value = 1, codes["bias"] & 0xFFFFF
            await cycles(XY_CYCLES)
            dut.frame.value = 1
            await settled()
            assert outputs(dut) == codes and get(dut.dac_load)
            await cycles()
            dut.frame.value = 0
            for name in "xyz":
                getattr(dut, name).value = rng.randrange(1 << 32)
            await cycles(rng.randrange(20))
            for wrong in (0, 1, 0):
                read = dict(codes)
                read[channel] = signed(codes[channel] ^ wrong << bit, 20)
                before = get(dut.conditions__verdict)
                dut.readback.value = pack(READBACK, {"valid": 1, "dac": read})
                await cycles()
                dut.readback.value = pack(READBACK, {"valid": 0, "dac": {name: rng.getrandbits(20) for name in CHANNELS}})
                await settled()
                assert get(dut.conditions__verdict) == before
                await cycles(READBACK_CYCLES - 1)
                await settled()
                assert get(dut.conditions__verdict) == wrong
                await cycles()
                shown = await conditions.measured(Cause.READBACK)
                assert shown == ((read[channel], codes[channel]) if wrong else (0, 0))


@cocotb.test()
async def the_injection_fails_the_comparison_until_the_next_read_back(dut):
    await start(dut, safe=1, conditions__enable=1)
    right = {"x": 0, "y": 0, "z": CODE_MAX, "bias": 0}
    dut.conditions__inject.value = 1
    await cycles()
    dut.conditions__inject.value = 0
    await cycles(READBACK_CYCLES - 1)
    for _ in range(20):
        await settled()
        assert get(dut.conditions__verdict)
        await cycles()
    dut.readback.value = pack(READBACK, {"valid": 1, "dac": right})
    await cycles()
    dut.readback.value = 0
    await cycles()
    await settled()
    assert not get(dut.conditions__verdict)
    await cycles()
    # Masked it says nothing.
    dut.conditions__enable.value = 0
    dut.conditions__inject.value = 1
    for _ in range(6):
        await cycles()
        await settled()
        assert not get(dut.conditions__verdict)
    await cycles()


# ------------------------------------------------------------------------------------------------------------------ registers


@cocotb.test()
async def what_shapes_a_reaction_is_locked(dut):
    await start(dut, safe=1)
    bank = Bank(dut, gate.BLOCK)
    values = {"retract_step": 5 << 12, "bias_step": 5, "retreat_steps": 5, "retreat_period": 5}
    assert {r.name for r in gate.BLOCK.registers if r.locked} == set(values)
    await bank.configure(**values)
    dut.guard__lock.value = 1
    await cycles(2)
    for name, value in values.items():
        assert await bank.try_write(name, value + 1) is BusStatus.LOCKED
        assert await bank.read(name) == value
    assert await bank.try_write("bias", 6) is BusStatus.OK
    dut.guard__lock.value = 0
    await cycles(2)
    for name, value in values.items():
        if gate.BLOCK[name].minimum is not None:
            assert await bank.try_write(name, 0) is BusStatus.RANGE
        await bank.write(name, value + 1)


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
        await cycles(BIAS_CYCLES)
        assert {name: await bank.read(f"{name}_code") for name in "xyz"} == values
        assert await bank.read("bias_code") == bias
        assert await bank.read("blanked") == bias & 1
