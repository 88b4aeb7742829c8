from collections import deque
from dataclasses import dataclass

import cocotb
from naive_envelope import NaiveEnvelope, code
from support import BANK_CYCLES, Bank, cycles, get, seeded, settled, start
from support_conditions import Conditions, held
from support_signals import LockstepBank

from reflexarc.contract.blocks import envelope
from reflexarc.contract.blocks.envelope import KEEP_OUT_EDGES, KEEP_OUTS, keep_out
from reflexarc.contract.blocks.interlock import ENVELOPE_CAUSES, Cause
from reflexarc.contract.link import BusStatus

CYCLES = 60000  # of a random run
CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1
POSITION_MIN, POSITION_MAX = -(1 << 31), (1 << 31) - 1
# From a request to its verdict.
Z_LATENCY = 1
BIAS_LATENCY = 3  # ``engaged`` counts in the last of these
XY_LATENCY = 4
INJECT_LATENCY = 2
KEEP_OUT_INJECT_LATENCY = 3
BIAS_INJECT_LATENCY = 3  # or 1, where the bias is low already
# From a verdict to the interlock's question what was measured: of what it hears at once, and of the rest.
LATCH_CYCLES = 3
LATE_LATCH_CYCLES = 4
AT_ONCE = (Cause.Z_HIGH, Cause.Z_LOW, Cause.Z_VELOCITY)
# From the first cycle of a changed register to the verdict on a request that stands.
Z_LIMIT_CYCLES = range(3, 7)
XY_LIMIT_CYCLES = range(6, 10)
KEEP_OUT_CYCLES = range(2, 6)
BIAS_CYCLES = range(3, 7)
NEGATIVE_BIAS_CYCLES = range(4, 8)
SETTLE_CYCLES = 9  # all of them
TICK_TO_BOUNDS = 2  # the z of a tick is what later ones are measured from, from so many cycles after the tick on
INJECTED_CYCLES = 6  # after the end of an injection into x and y, which are compared anew each four cycles if nothing moves
FIRE_CYCLES = 128  # what the interlock waits for an injected condition


@dataclass(frozen=True)
class Request:
    """Inputs of one cycle."""

    x: int = 0
    y: int = 0
    z: int = 0
    bias: int = 0
    engaged: bool = False
    live: bool = True
    tick: bool = False


def drive(dut, request: Request) -> None:
    for name in "xyz":
        getattr(dut, name).value = getattr(request, name) & 0xFFFFFFFF
    dut.bias.value = request.bias & 0xFFFFF
    for name in ("engaged", "live", "tick"):
        getattr(dut, name).value = int(getattr(request, name))


class Bench:
    """For directed tests: one request at a time."""

    def __init__(self, dut):
        self.dut = dut
        self.bank = Bank(dut, envelope.BLOCK)
        self.conditions = Conditions(dut, ENVELOPE_CAUSES)

    async def begin(self, **settings: int) -> None:
        await start(self.dut)
        self.conditions.enable(ENVELOPE_CAUSES)
        await self.put(**settings)

    async def put(self, **settings: int) -> None:
        """Limits that count when this returns."""
        await self.bank.configure(**settings)
        await cycles(SETTLE_CYCLES)

    async def ask(self, wait: int = 8, **request) -> set[Cause]:
        """What is violated so many cycles after a request that stays."""
        drive(self.dut, Request(**request))
        await cycles(wait)
        return await self.conditions.settled_verdict()


def random_position(rng, edges: list[int]) -> int:
    """Around the half of a code beside an edge, at the ends, or anywhere."""
    value = rng.choice(
        [
            rng.choice(edges) * 4096 + rng.choice([-2049, -2048, -2047, 0, 2047, 2048, 2049]),
            rng.choice(edges) * 4096 + rng.choice([-2049, -2048, -2047, 0, 2047, 2048, 2049]),
            rng.choice([POSITION_MIN, POSITION_MAX, 0]),
            rng.randrange(POSITION_MIN, POSITION_MAX + 1),
        ]
    )
    return min(max(value, POSITION_MIN), POSITION_MAX)


def random_setting(rng, name: str) -> int:
    if name.endswith("z_velocity"):
        return rng.choice([0xFFFFFFFF, rng.randrange(1 << rng.randrange(1, 33)), 5000])
    if name.endswith("bias_min"):
        return rng.choice([0, 1, rng.randrange(1 << rng.randrange(1, 20)), (1 << 19) - 1])
    if name == "keep_out_enable":
        return rng.choice([0, 1 << rng.randrange(8), rng.randrange(256)])
    if name.startswith("keep_out"):
        edge = rng.randrange(3000) if name.endswith("high") else -rng.randrange(3000)
        return rng.choice([edge, edge, edge, -edge, CODE_MIN, CODE_MAX])  # most are not inside out
    rail, sign = (CODE_MAX, 1) if name.endswith("high") else (CODE_MIN, -1)
    wide = [rail] * (2 if "z_" in name else 6)
    return rng.choice([*wide, sign * rng.randrange(1 << rng.randrange(1, 20)), rng.randrange(CODE_MIN, CODE_MAX + 1)])


@cocotb.test()
async def a_random_run_equals_the_model_in_every_cycle(dut):
    """z and bias move in any cycle, x and y too; limits, soft limits and locks change meanwhile, and conditions are injected."""
    rng = seeded("envelope")
    await start(dut)
    bank, conditions = LockstepBank(dut, envelope.BLOCK), Conditions(dut, ENVELOPE_CAUSES)
    names = [r.name for r in envelope.BLOCK.registers]
    model = NaiveEnvelope()
    models: deque[NaiveEnvelope] = deque([model] * 40, maxlen=40)  # of each cycle, the last one of the cycle before
    requests: deque[Request] = deque([Request(live=False)] * 40, maxlen=40)
    # Of the bounds, by cycle; and whether an injection has moved them since.
    references: deque[tuple[int, list[NaiveEnvelope], bool]] = deque([(0, [model], False)] * 40, maxlen=40)
    enables: deque[set[Cause]] = deque([set()] * 40, maxlen=40)
    enabled = set(ENVELOPE_CAUSES)
    lock = False
    verdicts: deque[set[Cause]] = deque([set()] * 4, maxlen=4)
    latched: tuple[int, int] | None = (0, 0)
    shown_at: dict[int, tuple[int, int] | None] = {}  # what is latched from a cycle on
    blind = 20  # the registers behind the limits fill after reset
    quiet = 0  # cycles without a change of settings
    injected: set[Cause] = set()
    was_injected: set[Cause] = set()  # in the cycle before
    seen = dict.fromkeys(ENVELOPE_CAUSES, 0)
    latches = dict.fromkeys(ENVELOPE_CAUSES, 0)
    request = Request(live=False)
    next_tick = 12
    for now in range(CYCLES):
        # What is asked in this cycle.
        change: dict[str, int | bool] = {"tick": now == next_tick}
        if now == next_tick:
            next_tick += rng.randrange(9, 21)
        index = rng.randrange(KEEP_OUTS)
        into = rng.random() < 0.03
        for axis in "xy":
            if into:
                low, high = (model.settings[keep_out(index, f"{axis}_{side}")] for side in ("low", "high"))
                change[axis] = random_position(rng, [low, high]) if rng.random() < 0.3 else (low + high) << 11
            elif rng.random() < 0.12:
                edges = [model.greatest(f"{axis}_high"), model.least(f"{axis}_low"), 0]
                edges += [model.settings[keep_out(index, f"{axis}_{side}")] for side in ("low", "high")] * 2
                change[axis] = random_position(rng, edges)
        if rng.random() < 0.3:
            bound = model.greatest("z_velocity")
            at = references[-1][0] + rng.choice([1, -1]) * (bound + rng.choice([-1, 0, 0, 0, 1]))
            limits = [model.greatest("z_high"), model.least("z_low")]
            at = at if POSITION_MIN <= at <= POSITION_MAX and rng.random() < 0.7 else random_position(rng, limits)
            change["z"] = at
        if rng.random() < 0.1:
            least = model.least("bias_min")
            change["bias"] = rng.choice([least, -least, least - 1, 1 - least, 0, rng.randrange(CODE_MIN, CODE_MAX + 1), CODE_MIN])
        if rng.random() < 0.02:
            change["engaged"] = not request.engaged
        if rng.random() < (0.01 if request.live else 0.1):
            change["live"] = not request.live
        request = Request(**(request.__dict__ | change))
        if rng.random() < 0.01:
            enabled = set(ENVELOPE_CAUSES) if rng.random() < 0.8 else set(rng.sample(ENVELOPE_CAUSES, rng.randrange(6)))
        if rng.random() < 0.01:
            lock = not lock and rng.random() < 0.6
        if bank.idle and rng.random() < 0.08:
            name = rng.choice(names)
            bank.write(name, random_setting(rng, name))
            bank.rest(SETTLE_CYCLES + 2)  # one change at a time is under way
        if injected:
            injected = set() if rng.random() < 0.4 else injected
        elif rng.random() < 0.002:
            injected = {rng.choice(ENVELOPE_CAUSES)}
        if injected:
            blind = 10
        ask = None  # the cause of which the next cycle latches what it measured
        violated = {cause for cause in ENVELOPE_CAUSES if cause in verdicts[1 - (LATCH_CYCLES if cause in AT_ONCE else LATE_LATCH_CYCLES)]}
        if conditions.asked is None:
            if violated and rng.random() < 0.5:
                ask = rng.choice(sorted(violated))
            elif rng.random() < 0.02:
                ask = rng.choice([63, Cause.CURRENT_HIGH])

        drive(dut, request)
        dut.guard__lock.value = int(lock)
        conditions.enable(enabled)
        conditions.inject(*injected)
        latch = conditions.latch(ask)
        bank.drive()
        await settled()
        if bank.deciding is not None:
            bank.deciding.expected = BusStatus.LOCKED if envelope.BLOCK[bank.deciding.name].locked and lock else BusStatus.OK
        if bank.answering is not None:
            status, _ = bank.answer()
            assert status is bank.answering.expected
            for name, raw in bank.taken.items():
                model = model.changed(name, raw)
                quiet = 0

        # The verdict of this cycle, about requests of earlier ones.
        verdict = conditions.verdict()
        xy, z, bias = requests[-XY_LATENCY], requests[-Z_LATENCY], requests[-BIAS_LATENCY].bias
        reference, reference_models, moved = references[-1]
        candidates = []
        for each in dict.fromkeys(list(models)[-SETTLE_CYCLES:]):
            for bound in dict.fromkeys(reference_models):
                expected = each.xy(xy.x, xy.y) | each.z(z.z) | each.bias(bias, requests[-1].engaged)
                if z.live:
                    expected |= {Cause.Z_VELOCITY} if moved else bound.velocity(z.z, reference)
                candidates.append(expected & enables[-1])
        if not blind:
            for cause in ENVELOPE_CAUSES:
                allowed = {cause in each for each in candidates}
                assert (cause in verdict) in allowed, f"cycle {now}: {cause.name} is {cause in verdict} for {xy}, {z}, from {reference}"
                seen[cause] += cause in verdict
        blind = max(0, blind - 1)
        assert get(dut.conditions__short) == any(cause in verdict for cause in AT_ONCE), f"cycle {now}"
        verdicts.append(verdict)
        value = conditions.latched()
        latched = shown_at.pop(now, latched)
        if latched is not None:
            assert value == latched, f"cycle {now}"
        else:
            latched = value
        if latch is not None:
            # What the verdict of so many cycles before was about.
            past = list(requests)
            same_xy = len({(each.x, each.y) for each in past[-XY_LATENCY - LATE_LATCH_CYCLES :]} | {(request.x, request.y)}) == 1
            x, y, z_then = request.x, request.y, past[-Z_LATENCY - LATCH_CYCLES].z
            asked = None  # whatever it is
            if latch not in ENVELOPE_CAUSES:
                asked = (0, 0)
            elif quiet > SETTLE_CYCLES + 2 and not blind:
                if latch is Cause.Z_HIGH:
                    asked = code(z_then), model.greatest("z_high")
                elif latch is Cause.Z_LOW:
                    asked = code(z_then), model.least("z_low")
                elif latch is Cause.BIAS_LOW:
                    asked = past[-BIAS_LATENCY - LATE_LATCH_CYCLES].bias, model.least("bias_min")
                elif latch is Cause.XY_RANGE and same_xy:
                    asked = model.xy_measured(x, y)
                elif latch is Cause.KEEP_OUT and same_xy:
                    asked = model.rectangles(x, y), model.settings["keep_out_enable"]
                elif latch is Cause.Z_VELOCITY:
                    asked = held(z_then - references[-1 - LATCH_CYCLES][0]), held(model.greatest("z_velocity"))
                latches[latch] += asked is not None
            shown_at[now + 2] = asked
        quiet += 1
        models.append(model)
        requests.append(request)
        enables.append(enabled)
        # The bounds that the next verdict is made from: those of the z that stood at the last tick, if the tick is so long ago.
        at = requests[-1 - TICK_TO_BOUNDS]
        reference, reference_models, moved = (at.z, list(models)[-8:-1], False) if at.tick or not at.live else references[-1]
        references.append((reference, reference_models, moved or Cause.Z_VELOCITY in was_injected))
        was_injected = set(injected)
        await cycles()
    cocotb.log.info("cycles with each verdict: %s; latches %s", seen, latches)
    assert all(count > 300 for count in seen.values()) and all(count > 20 for count in latches.values())


@cocotb.test()
async def verdicts_come_in_their_cycles(dut):
    """z and its change 1 cycle after the request, the bias 3, x and y 4; and a request that is allowed again ends them as soon."""
    bench = Bench(dut)
    settings = {"x_high": 100, "y_low": -100, "z_high": 50, "z_low": -50, "bias_min": 20, "z_velocity": 400 << 12}
    corner = {keep_out(2, edge): value for edge, value in zip(KEEP_OUT_EDGES, (10, 20, 10, 20), strict=True)}
    allowed = {"bias": 100, "engaged": True}
    cases = (
        (Cause.XY_RANGE, {"x": 101 << 12}, XY_LATENCY), (Cause.XY_RANGE, {"y": -101 << 12}, XY_LATENCY),
        (Cause.KEEP_OUT, {"x": 15 << 12, "y": 15 << 12}, XY_LATENCY), (Cause.Z_HIGH, {"z": 51 << 12}, Z_LATENCY),
        (Cause.Z_LOW, {"z": -51 << 12}, Z_LATENCY), (Cause.Z_VELOCITY, {"z": 401 << 12}, Z_LATENCY), (Cause.BIAS_LOW, {"bias": 19}, BIAS_LATENCY),
    )  # fmt: skip
    await bench.begin(**settings, **corner, keep_out_enable=4)
    for cause, violation, latency in cases:
        for phase in range(8):
            assert not await bench.ask(wait=20 + phase, **allowed)
            for cycle in range(12):
                drive(dut, Request(**(allowed | violation if cycle < 5 else allowed)))
                found = await bench.conditions.settled_verdict()
                assert (cause in found) == (latency <= cycle < latency + 5), f"{cause.name} in cycle {cycle}"


@cocotb.test()
async def what_is_written_counts_within_its_cycles(dut):
    bench = Bench(dut)

    async def in_force(name: str, raw: int) -> None:
        """Returns in the first cycle of the register's new value."""
        port = {part: getattr(dut, f"bus__{part}") for part in ("strobe", "write", "offset", "write_data")}
        port["strobe"].value, port["write"].value = 1, 1
        port["offset"].value, port["write_data"].value = envelope.BLOCK[name].offset // 4, raw & 0xFFFFFFFF
        await cycles()
        port["strobe"].value = 0
        await cycles(BANK_CYCLES - 1)

    corner = {keep_out(0, edge): value for edge, value in zip(KEEP_OUT_EDGES, (11, 20, 10, 20), strict=True)}
    cases = (
        (("z_high", "soft_z_high"), 9, {"z": 10 << 12}, Cause.Z_HIGH, Z_LIMIT_CYCLES),
        (("z_low", "soft_z_low"), 11, {"z": 10 << 12}, Cause.Z_LOW, Z_LIMIT_CYCLES),
        (("x_high", "soft_x_high"), 9, {"x": 10 << 12}, Cause.XY_RANGE, XY_LIMIT_CYCLES),
        (("y_low", "soft_y_low"), 11, {"y": 10 << 12}, Cause.XY_RANGE, XY_LIMIT_CYCLES),
        (("bias_min", "soft_bias_min"), 11, {"bias": 10, "engaged": True}, Cause.BIAS_LOW, BIAS_CYCLES),
        (("bias_min", "soft_bias_min"), 11, {"bias": -10, "engaged": True}, Cause.BIAS_LOW, NEGATIVE_BIAS_CYCLES),
        (("keep_out_0_x_low",), 10, {"x": 10 << 12, "y": 10 << 12}, Cause.KEEP_OUT, KEEP_OUT_CYCLES),
    )
    for names, raw, request, cause, expected in cases:
        for name in names:
            waited = set()
            for phase in range(8):
                await bench.begin(**corner, keep_out_enable=1)
                assert not await bench.ask(wait=20 + phase, **request)
                await in_force(name, raw)
                waited.add(await bench.conditions.fires(cause, 20))
            assert waited == set(expected), f"{name}: {waited}"


@cocotb.test()
async def z_is_judged_as_the_gate_rounds_it(dut):
    """Half up, in either direction from 0; the tighter of hard and soft."""
    bench = Bench(dut)
    await bench.begin()
    for limit, slack in ((100, 0), (100, 5), (0, 1), (-77, 0), (CODE_MAX - 1, 1), (CODE_MIN, 9)):
        for hard, soft in ((limit, min(limit + slack, CODE_MAX)), (min(limit + slack, CODE_MAX), limit)):
            await bench.put(z_high=hard, soft_z_high=soft)
            assert Cause.Z_HIGH not in await bench.ask(z=limit * 4096 + 2047)
            assert Cause.Z_HIGH in await bench.ask(z=limit * 4096 + 2048)
            assert Cause.Z_HIGH in await bench.ask(z=POSITION_MAX)
    await bench.put(z_high=CODE_MAX, soft_z_high=CODE_MAX)
    for limit, slack in ((100, 0), (100, 5), (0, 1), (-77, 0), (CODE_MIN + 1, 1), (CODE_MAX, 9)):
        for hard, soft in ((limit, max(limit - slack, CODE_MIN)), (max(limit - slack, CODE_MIN), limit)):
            await bench.put(z_low=hard, soft_z_low=soft)
            assert Cause.Z_LOW not in await bench.ask(z=limit * 4096 - 2048)
            assert Cause.Z_LOW in await bench.ask(z=max(limit * 4096 - 2049, POSITION_MIN))
            assert Cause.Z_LOW in await bench.ask(z=POSITION_MIN)


@cocotb.test()
async def a_limit_at_the_rail_allows_every_code_and_nothing_beyond(dut):
    """What rounds past the upper rail isn't a code."""
    bench = Bench(dut)
    await bench.begin()
    assert not await bench.ask(x=POSITION_MIN, y=POSITION_MIN, z=POSITION_MIN)
    at_rail = (CODE_MAX << 12) + 2047
    assert not await bench.ask(x=at_rail, y=at_rail, z=at_rail, live=False)
    assert await bench.ask(z=at_rail + 1, live=False) == {Cause.Z_HIGH}
    assert await bench.ask(x=at_rail + 1) == {Cause.XY_RANGE}
    assert await bench.ask(y=at_rail + 1) == {Cause.XY_RANGE}


@cocotb.test()
async def each_side_of_the_box_allows_its_edge(dut):
    bench = Bench(dut)
    await bench.begin()
    for axis in "xy":
        for side, sign, rail in (("high", 1, CODE_MAX), ("low", -1, CODE_MIN)):
            name = f"{axis}_{side}"
            for hard, soft in ((500, rail), (rail, 500), (500, 500 + sign), (500 + sign, 500), (-20, 30), (30, -20)):
                await bench.put(**{name: hard, f"soft_{name}": soft})
                limit = min(hard, soft) if sign > 0 else max(hard, soft)
                edge = limit * 4096 + (2047 if sign > 0 else -2048)
                assert not await bench.ask(**{axis: edge})
                assert await bench.ask(**{axis: edge + sign}) == {Cause.XY_RANGE}
                assert await bench.conditions.measured(Cause.XY_RANGE) == (limit + sign, limit)
            await bench.put(**{name: rail, f"soft_{name}": rail})


@cocotb.test()
async def a_keep_out_holds_its_edges_and_nothing_beside_them(dut):
    """Each of the rectangles, alone and with all others beside it."""
    bench = Bench(dut)
    await bench.begin()
    corners = {index: (100 * index, 100 * index + 30, -50 * index, -50 * index + 20) for index in range(KEEP_OUTS)}
    for index, values in corners.items():
        await bench.put(**{keep_out(index, edge): value for edge, value in zip(KEEP_OUT_EDGES, values, strict=True)})
    for enabled in (*(1 << index for index in range(KEEP_OUTS)), 0xFF, 0):
        await bench.put(keep_out_enable=enabled)
        for index, (x_low, x_high, y_low, y_high) in corners.items():
            expected = {Cause.KEEP_OUT} if enabled >> index & 1 else set()
            for x in (x_low * 4096 - 2048, x_high * 4096 + 2047):
                for y in (y_low * 4096 - 2048, y_high * 4096 + 2047):
                    assert await bench.ask(x=x, y=y) == expected
                    if expected:
                        assert await bench.conditions.measured(Cause.KEEP_OUT) == (1 << index, enabled)
            middle_x, middle_y = (x_low + x_high) << 11, (y_low + y_high) << 11
            for x, y in (
                (x_low * 4096 - 2049, middle_y), (x_high * 4096 + 2048, middle_y),
                (middle_x, y_low * 4096 - 2049), (middle_x, y_high * 4096 + 2048),
            ):  # fmt: skip
                assert not await bench.ask(x=x, y=y)
    # A rectangle of one code, and those that are inside out hold nothing.
    await bench.put(keep_out_enable=1, keep_out_0_x_low=5, keep_out_0_x_high=5, keep_out_0_y_low=7, keep_out_0_y_high=7)
    assert await bench.ask(x=5 << 12, y=7 << 12)
    assert not await bench.ask(x=6 << 12, y=7 << 12)
    await bench.put(keep_out_0_x_low=6)
    for x in (5, 6):
        assert not await bench.ask(x=x << 12, y=7 << 12)


@cocotb.test()
async def injection_fires_a_keep_out_only_if_every_enabled_one_can(dut):
    """Wherever x and y are. One that is inside out stays silent, and so does a condition without any rectangle."""
    bench = Bench(dut)
    await bench.begin()
    for index in range(KEEP_OUTS):
        values = (100 * index, 100 * index, CODE_MIN, CODE_MIN) if index % 2 else (CODE_MIN, CODE_MAX, 1000, 1001)
        await bench.put(**{keep_out(index, edge): value for edge, value in zip(KEEP_OUT_EDGES, values, strict=True)})
    inside_out = {"x_low": 1 + CODE_MIN, "x_high": CODE_MIN, "y_low": 5, "y_high": 4}
    for at in ({}, {"x": 0, "y": 1000 << 12}):
        for index in range(KEEP_OUTS):
            for enabled in (1 << index, 0xFF):
                await bench.put(keep_out_enable=enabled)
                await bench.ask(wait=20, **at)
                bench.conditions.inject(Cause.KEEP_OUT)
                assert await bench.conditions.fires(Cause.KEEP_OUT, FIRE_CYCLES) <= KEEP_OUT_INJECT_LATENCY
                bench.conditions.inject()
                await cycles(INJECTED_CYCLES)
                violated = at and enabled & 0x55
                assert (await bench.conditions.settled_verdict() == {Cause.KEEP_OUT}) == bool(violated)  # as without the injection
                for axis in "xy":
                    names = [keep_out(index, f"{axis}_{side}") for side in ("low", "high")]
                    kept = [await bench.bank.read(name) for name in names]
                    await bench.put(**dict(zip(names, (inside_out[f"{axis}_low"], inside_out[f"{axis}_high"]), strict=True)))
                    await cycles(10)
                    bench.conditions.inject(Cause.KEEP_OUT)
                    # With the request within another one the condition is violated before the injection, and arming refused.
                    assert await bench.conditions.settled_verdict() == (
                        {Cause.KEEP_OUT} if at and enabled & 0x55 & ~(1 << index) else set()
                    )
                    assert await bench.conditions.fires(Cause.KEEP_OUT, FIRE_CYCLES) is None, f"{enabled:#x} with {index} inside out"
                    bench.conditions.inject()
                    await bench.put(**dict(zip(names, kept, strict=True)))
    await bench.put(keep_out_enable=0)
    bench.conditions.inject(Cause.KEEP_OUT)
    assert await bench.conditions.fires(Cause.KEEP_OUT, FIRE_CYCLES) is None


@cocotb.test()
async def injection_fires_each_other_condition_whatever_its_limit(dut):
    """With limits at the rails and at their loosest, live or not; and everything is as before afterwards."""
    bench = Bench(dut)
    requests = (
        {},
        {"z": POSITION_MIN, "bias": CODE_MAX},
        {"z": CODE_MAX << 12, "bias": CODE_MIN},
        {"x": POSITION_MIN, "y": CODE_MAX << 12},
    )
    for cause in (Cause.XY_RANGE, Cause.Z_HIGH, Cause.Z_LOW, Cause.Z_VELOCITY, Cause.BIAS_LOW):
        for request in requests:
            for live in (False, True):
                # The loosest least bias that can be violated at all is 1.
                await bench.begin(bias_min=1)
                await bench.ask(wait=20, **request, live=False)
                assert not await bench.ask(wait=20, **request, live=live)
                bench.conditions.inject(cause)
                # A bias of 0 is compared already: only what makes it count is left.
                latency = INJECT_LATENCY
                if cause is Cause.BIAS_LOW:
                    latency = BIAS_INJECT_LATENCY if request.get("bias") else 1
                assert await bench.conditions.fires(cause, latency) == latency
                for _ in range(20):
                    assert cause in await bench.conditions.settled_verdict()
                bench.conditions.inject()
                if cause is Cause.Z_VELOCITY and live:  # the moved bound stands until the next tick
                    for _ in range(20):
                        assert await bench.conditions.settled_verdict() == {cause}
                    drive(dut, Request(**request, live=True, tick=True))
                    assert await bench.conditions.settled_verdict() == {cause}
                    drive(dut, Request(**request, live=True))
                    await cycles(TICK_TO_BOUNDS - 1)
                    assert await bench.conditions.settled_verdict() == {cause}
                else:
                    await cycles(INJECTED_CYCLES if cause is Cause.XY_RANGE else INJECT_LATENCY)
                assert not await bench.conditions.settled_verdict()
                # z is still measured from where it stood.
                if live and request.get("z", 0) == 0:
                    await bench.put(z_velocity=10)
                    drive(dut, Request(**request, live=True, tick=True))
                    await cycles()
                    assert not await bench.ask(**(request | {"z": 10}))
                    assert await bench.ask(**(request | {"z": 11})) == {Cause.Z_VELOCITY}


@cocotb.test()
async def a_least_bias_of_0_can_not_fire(dut):
    """And shows that when it is injected: arming refuses what was never set."""
    bench = Bench(dut)
    await bench.begin()
    assert not await bench.ask(bias=0, engaged=True)
    for bias in (0, 1, -1):
        await bench.ask(bias=bias, engaged=True)
        bench.conditions.inject(Cause.BIAS_LOW)
        assert await bench.conditions.fires(Cause.BIAS_LOW, FIRE_CYCLES) is None
        bench.conditions.inject()
    await bench.put(soft_bias_min=1)
    bench.conditions.inject(Cause.BIAS_LOW)
    assert await bench.conditions.fires(Cause.BIAS_LOW, BIAS_INJECT_LATENCY) == BIAS_INJECT_LATENCY


@cocotb.test()
async def the_bias_may_be_at_its_least_magnitude_while_feedback_drives_z(dut):
    bench = Bench(dut)
    await bench.begin()
    for hard, soft in ((1000, 0), (0, 1000), (1000, 999), (999, 1000), (1, 0), (CODE_MAX, 0)):
        await bench.put(bias_min=hard, soft_bias_min=soft)
        least = max(hard, soft)
        for bias in (least, -least, CODE_MAX, CODE_MIN):
            assert not await bench.ask(bias=bias, engaged=True)
        for bias in (least - 1, 1 - least, 0):
            assert await bench.ask(bias=bias, engaged=True) == {Cause.BIAS_LOW}
            assert await bench.conditions.measured(Cause.BIAS_LOW) == (bias, least)
            assert not await bench.ask(bias=bias, engaged=False)


@cocotb.test()
async def z_may_change_by_its_limit_from_tick_to_tick(dut):
    """In both directions, in one step or in several, at any time between two ticks."""
    bench = Bench(dut)
    for hard, soft in ((5000, 0xFFFFFFFF), (0xFFFFFFFF, 5000), (5000, 5001), (5001, 5000), (0, 9), (1 << 31, 0xFFFFFFFF)):
        limit = min(hard, soft)
        for sign in (1, -1):
            for late in (TICK_TO_BOUNDS, 5, 12):
                base = -sign * (1 << 30)
                await bench.begin(z_velocity=hard, soft_z_velocity=soft)
                await bench.ask(z=base, live=False)
                drive(dut, Request(z=base, tick=True))
                await cycles()
                drive(dut, Request(z=base))
                await cycles(late - 1)
                assert not await bench.ask(z=base + sign * (limit // 2))
                assert not await bench.ask(z=base + sign * limit)
                assert not await bench.ask(z=base)
                beyond = base + sign * (limit + 1)
                assert await bench.ask(z=beyond) == {Cause.Z_VELOCITY}
                assert await bench.conditions.measured(Cause.Z_VELOCITY) == (held(sign * (limit + 1)), held(limit))
                # From the next tick on it is measured from where it stands.
                drive(dut, Request(z=beyond, tick=True))
                await cycles()
                assert not await bench.ask(wait=TICK_TO_BOUNDS, z=beyond)
    # What can't be passed: no change of 32 bits is greater.
    await bench.begin()
    await bench.ask(z=POSITION_MIN, live=False)
    assert not await bench.ask(z=CODE_MAX << 12)


@cocotb.test()
async def a_change_of_z_in_the_cycle_after_a_tick_counts_for_the_time_before(dut):
    """The bounds follow a tick by one cycle: that z is measured from the tick before it, and the later ones from the tick."""
    bench = Bench(dut)
    await bench.begin(z_velocity=100)
    await bench.ask(z=0, live=False)
    await bench.ask(z=0)
    for step, expected in ((100, False), (101, True)):
        drive(dut, Request(z=60, live=False))
        await cycles(4)
        drive(dut, Request(z=60))
        await cycles(4)
        drive(dut, Request(z=100, tick=True))
        await cycles()
        drive(dut, Request(z=60 + step))
        await cycles()
        assert (Cause.Z_VELOCITY in await bench.conditions.settled_verdict()) == expected
        assert not await bench.conditions.settled_verdict()


@cocotb.test()
async def what_was_judged_is_what_is_kept(dut):
    """The bias and the change of z that the verdict is about, though both have moved on when the interlock asks for them."""
    bench = Bench(dut)
    await bench.begin(z_velocity=100, bias_min=100)
    await bench.ask(z=0, bias=500, live=False)
    await bench.ask(z=0, bias=500, engaged=True)
    drive(dut, Request(z=60, bias=500, engaged=True, tick=True))
    await cycles()
    drive(dut, Request(z=101, bias=7, engaged=True))  # 101 from the tick before
    await cycles()
    drive(dut, Request(z=90, bias=500, engaged=True))
    assert await bench.conditions.settled_verdict() == {Cause.Z_VELOCITY}
    drive(dut, Request(z=80, bias=400, engaged=True))
    assert not await bench.conditions.settled_verdict()
    drive(dut, Request(z=70, bias=300, engaged=True))
    measured = cocotb.start_soon(bench.conditions.measured(Cause.Z_VELOCITY))  # latched one cycle later
    assert await bench.conditions.settled_verdict() == {Cause.BIAS_LOW}
    assert not await bench.conditions.settled_verdict()
    assert await measured == (101, 100)
    drive(dut, Request(z=70, bias=7, engaged=True))
    await cycles()
    drive(dut, Request(z=70, bias=500, engaged=True))
    await cycles(BIAS_LATENCY + LATE_LATCH_CYCLES - 2)  # so much after the request, and latched one cycle later
    assert await bench.conditions.measured(Cause.BIAS_LOW) == (7, 100)


@cocotb.test()
async def a_change_beyond_32_bits_is_kept_as_the_greatest(dut):
    bench = Bench(dut)
    await bench.begin(z_velocity=(1 << 32) - 4097)
    for at, value in ((POSITION_MIN, (1 << 31) - 1), (CODE_MAX << 12, -(1 << 31))):
        await bench.ask(z=at, live=False)
        assert await bench.ask(z=POSITION_MIN if value < 0 else CODE_MAX << 12) == {Cause.Z_VELOCITY}
        assert await bench.conditions.measured(Cause.Z_VELOCITY) == (value, (1 << 31) - 1)


@cocotb.test()
async def the_change_of_z_counts_while_live_only(dut):
    bench = Bench(dut)
    await bench.begin(z_velocity=10)
    for z in (0, 1 << 30, -(1 << 30)):
        assert not await bench.ask(wait=1, z=z, live=False)
    # The first live cycle measures from the last that was not.
    z = -(1 << 30)
    await bench.ask(z=z, live=False)
    assert not await bench.ask(z=z + 10)
    await bench.ask(z=z, live=False)
    assert await bench.ask(z=z + 11) == {Cause.Z_VELOCITY}
    await bench.ask(z=z, live=False)
    assert await bench.ask(wait=1, z=z + 11) == {Cause.Z_VELOCITY}


@cocotb.test()
async def a_changed_velocity_counts_from_the_next_tick(dut):
    bench = Bench(dut)
    await bench.begin()
    await bench.ask(z=0, live=False)
    await bench.ask(z=500)
    await bench.put(soft_z_velocity=10)
    assert not await bench.ask(z=500)
    drive(dut, Request(z=500, tick=True))
    await cycles()
    assert not await bench.ask(z=510)
    assert await bench.ask(z=511) == {Cause.Z_VELOCITY}


@cocotb.test()
async def a_condition_that_is_not_enabled_never_shows(dut):
    bench = Bench(dut)
    await bench.begin(z_velocity=0, bias_min=1000, x_high=0, x_low=0, z_low=5, z_high=-5, keep_out_enable=1)
    violation = {"x": 0, "y": 0, "z": 0, "engaged": True}
    await bench.ask(z=1, live=False)
    everything = {Cause.KEEP_OUT, Cause.Z_HIGH, Cause.Z_LOW, Cause.Z_VELOCITY, Cause.BIAS_LOW}
    assert await bench.ask(**violation) == everything
    assert await bench.ask(**(violation | {"x": 1 << 12})) == (everything - {Cause.KEEP_OUT}) | {Cause.XY_RANGE}
    for cause in ENVELOPE_CAUSES:
        bench.conditions.enable(set(ENVELOPE_CAUSES) - {cause})
        for x in (0, 1 << 12):
            assert cause not in await bench.ask(**(violation | {"x": x}))
        bench.conditions.inject(cause)
        for _ in range(10):
            assert cause not in await bench.conditions.settled_verdict()
        bench.conditions.inject()
    bench.conditions.enable(())
    assert not await bench.ask(**violation)


@cocotb.test()
async def another_blocks_cause_latches_nothing(dut):
    bench = Bench(dut)
    await bench.begin(bias_min=1000)
    await bench.ask(bias=7, engaged=True)
    assert await bench.conditions.measured(Cause.BIAS_LOW) == (7, 1000)
    await cycles(5)
    await settled()
    assert bench.conditions.latched() == (7, 1000)  # stays
    await cycles()
    for cause in (Cause.CURRENT_HIGH, Cause.HOST, 63):
        assert await bench.conditions.measured(Cause.BIAS_LOW) == (7, 1000)
        assert await bench.conditions.measured(cause) == (0, 0)
