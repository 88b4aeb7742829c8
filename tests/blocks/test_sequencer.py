"""The sequencer against a naive model: random programs in random surroundings, each effect in its cycle."""

import os
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from lockstep import Lockstep
from naive_program import NaiveProgram, Surroundings
from program_bench import EXAMPLE, ProgramBench
from support import default_seed

from reflexarc.contract.blocks import sequencer
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.blocks.sequencer import PROTECTED, SequencerCommand, load_writes
from reflexarc.contract.program import Condition, Operand, Operation, Request, Row, SampleChannel, Statistic, StopReason

PROGRAMS = int(os.environ.get("REFLEXARC_PROGRAMS", "2000"))
ACCESS_CYCLES = 4  # from one load to the next
STARTS = 25  # cycles from the start command's strobe to the first row's execution
CYCLES = 500  # of a program, at most
OFFSETS = {name: sequencer.BLOCK[name].offset // 4 for name in ("command", "bank", "load_row", "load_value", "load_control")}
PLACES = {name: (EXAMPLE.base + EXAMPLE[name].offset) // 4 for name in ("any", "code", "seen")}
NOWHERE = PLACES["seen"] + 5
COMPARED = (
    "requests",
    "pulse_bias",
    "emits",
    "emission_class",
    "emission_part",
    "emission_a",
    "emission_b",
    "fault",
    "reason",
    "any",
    "code",
)


@pytest.fixture(scope="module")
def compiled():
    component = Lockstep(ProgramBench(), "program_bench")
    yield component
    component.close()


@pytest.fixture
def bench(compiled):
    compiled.restart()
    compiled.left = {"any": 0, "code": 0, "sample": (-1, 0, 0)}  # in the bank, and the last sample, from one program to the next
    return compiled


def accepts(place: int, write: bool, value: int) -> bool:
    if place == PLACES["seen"]:
        return not write
    return place == PLACES["any"] or (place == PLACES["code"] and (not write or -(1 << 19) <= value < 1 << 19))


def word(rng: random.Random) -> int:
    return rng.choice(
        (
            0,
            1,
            -1,
            rng.randrange(-20, 20),
            rng.randrange(-(1 << 20), 1 << 20),
            rng.randrange(-(1 << 31), 1 << 31),
            -(1 << 31),
            (1 << 31) - 1,
        )
    )


def random_row(rng: random.Random, rows: int) -> Row:
    operation = rng.choice([one for one in Operation if one not in (Operation.HALT, Operation.MOVE, Operation.RETURN, Operation.RAMP)])
    registers = range(4)  # few, so that results are used
    a, b = (rng.choice((*registers, *registers, Operand.VALUE, rng.randrange(16, 32))) for _ in range(2))
    value, place, destination = word(rng), rng.randrange(rows), rng.choice(registers)
    if rng.random() < 0.01:
        place = rng.randrange(512, 4096)
    match operation:
        case Operation.WRITE | Operation.READ:
            place = rng.choice((*PLACES.values(), PLACES["any"], PLACES["any"]))
            if rng.random() < 0.03:
                place = rng.choice((NOWHERE, *(sequencer_place(name) for name in PROTECTED)))
            if place == PLACES["code"] and operation == Operation.WRITE and rng.random() < 0.9:
                b, value = Operand.VALUE, rng.randrange(-(1 << 19), 1 << 19)
            if place == PLACES["seen"] and rng.random() < 0.9:
                operation = Operation.READ
        case Operation.RAISE | Operation.LOWER:
            value = rng.randrange(128)
        case Operation.WAIT_CYCLES | Operation.WAIT_SAMPLES | Operation.SAMPLE | Operation.DEADLINE:
            b, value = rng.choice(
                ((Operand.VALUE, rng.randrange(-1, 60 if operation in (Operation.WAIT_CYCLES, Operation.DEADLINE) else 5)), (b, value))
            )
            if operation == Operation.SAMPLE:
                place = rng.choice(list(Statistic)) | rng.choice(list(SampleChannel)) << 2
        case Operation.WAIT_UNTIL:
            b, value = Operand.VALUE, rng.randrange(20, CYCLES)
        case Operation.WAIT:
            destination = rng.choice(list(Condition))
        case Operation.SCALE:
            b, value = rng.choice(((Operand.VALUE, rng.randrange(1 << 17)), (b, value)))
    return Row(operation, destination, a, b, place, value)


def sequencer_place(name: str) -> int:
    from reflexarc.contract.blocks import REGISTER_MAP

    return REGISTER_MAP[name].base // 4 + 2


def random_program(rng: random.Random) -> list[Row]:
    number = rng.randrange(1, 24)
    rows = [random_row(rng, number + 1) for _ in range(number)]
    end = Row(63) if rng.random() < 0.02 else Row(Operation.HALT, value=word(rng))
    return [*rows, end]


def random_surroundings(rng: random.Random, cycles: int) -> tuple[Surroundings, dict[str, np.ndarray]]:
    """And what that is at the ports."""
    noise = np.random.default_rng(rng.getrandbits(32))
    period = rng.randrange(11, 57)
    samples = [
        (tick, rng.randrange(-(1 << 19), 1 << 19), rng.randrange(-(1 << 19), 1 << 19))
        for tick in range(rng.randrange(period), cycles, period)
    ]
    events, at = [], 0
    while True:
        at += rng.randrange(1, 150)
        if at >= cycles:
            break
        events.append((at, rng.randrange(256), word(rng), word(rng), word(rng)))

    def holding(low: int, high: int, often: float) -> np.ndarray:
        changes = noise.random(cycles) < often
        values = noise.integers(low, high, cycles)
        return values[np.maximum.accumulate(np.where(changes, np.arange(cycles), 0))]

    idle = holding(0, 2, 0.03)
    around = Surroundings(
        samples, events,
        line_last=(noise.random(cycles) < 0.03).astype(np.int64),
        lines=holding(0, 16, 0.05),
        scan_state=np.where(idle, ScanState.IDLE, ScanState.FORWARD),
        scan_line=holding(0, 1 << 16, 0.01),
        scan_x=holding(-(1 << 31), 1 << 31, 0.1), scan_y=holding(-(1 << 31), 1 << 31, 0.1), z=holding(-(1 << 31), 1 << 31, 0.1),
        bias=holding(-(1 << 19), 1 << 19, 0.1), seen=holding(-(1 << 31), 1 << 31, 0.1),
        emitted=(noise.random(cycles) < rng.choice((0.02, 0.2, 1.0))).astype(np.int64),
    )  # fmt: skip
    ports = {
        name: getattr(around, name)
        for name in ("line_last", "lines", "scan_state", "scan_line", "scan_x", "scan_y", "z", "bias", "seen", "emitted")
    }
    packed = np.zeros(cycles, np.int64)
    for tick, current, monitor in samples:
        packed[tick] = 1 | (current & 0xFFFFF) << 1 | 1 << 21 | (monitor & 0xFFFFF) << 22
    ports["samples"] = packed
    for name in ("valid", "class", "score", "x", "y"):
        ports[f"event_{name}"] = np.zeros(cycles, np.int64)
    for tick, *record in events:
        for name, value in zip(("valid", "class", "score", "x", "y"), (1, *record), strict=True):
            ports[f"event_{name}"][tick] = value
    return around, ports


def check_program(bench: Lockstep, seed: str) -> tuple[StopReason, int]:
    rng = random.Random(seed)
    rows = random_program(rng)
    loads = [*load_writes(rows, 0), ("command", SequencerCommand.START)]
    start = ACCESS_CYCLES * (len(loads) - 1) + STARTS
    cycles = start + CYCLES
    around, ports = random_surroundings(rng, cycles)
    sampled = around.samples[-1]
    around.samples.insert(0, bench.left["sample"])
    strobes, offsets, words = (np.zeros(cycles, np.int64) for _ in range(3))
    if rng.random() < 0.2:
        around.stopped = start + rng.randrange(CYCLES)
        loads_stop = around.stopped
        strobes[loads_stop - 4], offsets[loads_stop - 4], words[loads_stop - 4] = 1, OFFSETS["command"], SequencerCommand.STOP
    live = np.ones(cycles, np.int64)
    if rng.random() < 0.2:
        around.not_live = start + rng.randrange(CYCLES)
        live[around.not_live :] = 0
    for index, (name, content) in enumerate(loads):
        strobes[index * ACCESS_CYCLES], offsets[index * ACCESS_CYCLES], words[index * ACCESS_CYCLES] = 1, OFFSETS[name], content
    ports |= {"load_strobe": strobes, "load_offset": offsets, "load_data": words, "live": live}
    # Another master that never rests.
    ports |= {"host__valid": 1, "host__write": 0, "host__address": EXAMPLE.base}
    if rng.random() < 0.5:
        ports["host__valid"] = 0
    # The bank keeps what the program before left there.
    code = bench.left["code"] - (bench.left["code"] >> 19 << 20) & 0xFFFFFFFF
    before = {PLACES["any"]: bench.left["any"], PLACES["code"]: code}
    seen = bench.run(ports, cycles)
    model = NaiveProgram(rows, around, start, cycles, before, accepts)
    model.protected = lambda place: place // 64 in [sequencer_place(name) // 64 for name in PROTECTED]
    reason = model.run()
    expected = {name: np.full(cycles, seen[name][start - 1]) for name in COMPARED}
    for cycle, name, value in sorted(model.changes, key=lambda change: change[0]):
        output = {f"place_{place}": register for register, place in PLACES.items()}.get(name, name)
        if cycle < cycles:
            expected[output][cycle:] = value
            if output == "fault":
                expected[output][cycle + 1 :] = 0
    for name in COMPARED:
        width = bench.outputs[name]
        wrong = np.flatnonzero((expected[name] ^ seen[name]) & ((1 << width) - 1))
        wrong = wrong[wrong >= start]
        if len(wrong):
            at = wrong[0]
            listing = "\n".join(f"{number:3} {row}" for number, row in enumerate(rows))
            changes = [(cycle - start, *rest) for cycle, *rest in sorted(model.changes)]
            found, due = int(seen[name][at]), int(expected[name][at]) & (1 << width) - 1
            raise AssertionError(
                f"seed {seed!r}: {name} is {found:#x} instead of {due:#x} in cycle {at - start} of the program\n{listing}\n"
                f"live until {around.not_live - start}, stopped {around.stopped - start}, changes {changes}"
            )
    # Ready for the next: ended, and nothing asked for that is not taken.
    rest = np.zeros(64, np.int64)
    offsets = np.full(64, OFFSETS["command"])
    rest[0] = 1
    seen = bench.run({"load_strobe": rest, "load_offset": offsets, "load_data": SequencerCommand.STOP, "live": 1, "emitted": 1}, 64)
    bench.left = {name: int(seen[name][-1]) for name in ("any", "code")}  # a write may have been under way
    bench.left["sample"] = (-1, *sampled[1:])
    return reason, model.executed


def run_rows(bench: Lockstep, rows: list[Row], cycles: int, ports: dict[str, Any], bank: int = 0) -> tuple[dict[str, np.ndarray], int]:
    """Loads and starts; outputs and the cycle in which the first row executes. ``ports`` are from that cycle on."""
    loads = [*load_writes(rows, bank), ("bank", bank), ("command", SequencerCommand.START)]
    start = ACCESS_CYCLES * (len(loads) - 1) + STARTS
    stimuli = {"live": 1, "emitted": 1}
    for name, (column, *_) in {"load_strobe": (0,), "load_offset": (1,), "load_data": (2,)}.items():
        stimuli[name] = np.zeros(start + cycles, np.int64)
        for index, (register, content) in enumerate(loads):
            stimuli[name][index * ACCESS_CYCLES] = (1, OFFSETS[register], content)[column]
    for name, values in ports.items():
        stimuli[name] = np.concatenate([np.full(start, values[0]), values]) if isinstance(values, np.ndarray) else values
    return bench.run(stimuli, start + cycles), start


def ticks(cycles: int, period: int, first: int = 5) -> np.ndarray:
    """Valid samples with code 0."""
    valid = np.zeros(cycles, np.int64)
    valid[first::period] = 1 | 1 << 21
    return valid


@pytest.mark.parametrize("period", [16, 56])
def test_ramp(bench, period: int):
    """Steps of 7 with each third sample to a target that is no multiple; up, then down; each step as long after its sample."""
    rows = [
        Row(Operation.ADD, 1, Operand.VALUE, Operand.ZERO, value=100),
        Row(Operation.WRITE, b=1, place=PLACES["any"]),
        Row(Operation.ADD, 2, Operand.VALUE, Operand.ZERO, value=150),
        Row(Operation.RAMP, 1, 1, 2, PLACES["any"], 3 << 20 | 7),
        Row(Operation.EMIT, a=1, value=1),
        Row(Operation.RAMP, 1, 1, Operand.ZERO, PLACES["any"], 2 << 20 | 60),
        Row(Operation.HALT),
    ]
    cycles = 40 * 3 * period
    sampled = ticks(cycles, period)
    seen, start = run_rows(bench, rows, cycles, {"samples": sampled})
    values = seen["any"][start:]
    changes = [(int(at) + 1, int(values[at + 1])) for at in np.flatnonzero(np.diff(values))]
    assert [value for _, value in changes] == [100, 107, 114, 121, 128, 135, 142, 149, 150, 90, 30, 0]
    tick_cycles = np.flatnonzero(sampled)
    after = {at - int(tick_cycles[tick_cycles < at - 10][-1]) for at, _ in changes[1:]}
    assert len(after) == 1, "a step that is not as long after its sample as the others"
    up, down = np.diff([at for at, _ in changes[1:9]]), np.diff([at for at, _ in changes[9:]])
    assert set(up) == {3 * period} and set(down) == {2 * period}
    assert seen["emission_a"][-1] == 150 and seen["reason"][-1] == StopReason.HALTED


def test_a_ramp_that_is_too_fast_is_late(bench):
    """A step each sample, with samples that come faster than the bus takes an access."""
    rows = [
        Row(Operation.ADD, 2, Operand.VALUE, Operand.ZERO, value=50),
        Row(Operation.RAMP, 1, 1, 2, PLACES["any"], 1 << 20 | 1),
    ]
    seen, _ = run_rows(bench, rows, 400, {"samples": ticks(400, 11)})
    assert seen["reason"][-1] == StopReason.LATE and seen["fault"].sum() == 1


def test_excursion(bench):
    """To a place and back: per sample and axis at most a step, the scan paused all the while, and x and y the scan's otherwise."""
    rows = [
        Row(Operation.RAISE, value=Request.SCAN_PAUSED),
        Row(Operation.WAIT_SAMPLES, b=Operand.VALUE, value=2),
        Row(Operation.ADD, 1, Operand.VALUE, Operand.ZERO, value=10_000),
        Row(Operation.ADD, 2, Operand.VALUE, Operand.ZERO, value=-20_000),
        Row(Operation.MOVE, a=1, b=2, value=3_000),
        Row(Operation.DEADLINE, b=Operand.VALUE, value=5000),
        Row(Operation.WAIT, Condition.AT_REST, place=10),
        Row(Operation.EMIT, a=Operand.X, b=Operand.Y),
        Row(Operation.LOWER, value=Request.SCAN_PAUSED),
        Row(Operation.HALT, value=1),
        Row(Operation.HALT, value=2),
    ]
    cycles, period = 1200, 16
    scan_x, scan_y = 4_000, 1_000
    seen, start = run_rows(bench, rows, cycles, {"samples": ticks(cycles, period), "scan_x": scan_x, "scan_y": scan_y})
    x, y = (((seen[name][start:] + (1 << 31)) % (1 << 32)) - (1 << 31) for name in "xy")
    path = [(int(x[0]), int(y[0]))] + [(int(x[at + 1]), int(y[at + 1])) for at in np.flatnonzero((np.diff(x) != 0) | (np.diff(y) != 0))]
    there = [
        (4000, 1000),
        (7000, -2000),
        (10000, -5000),
        (10000, -8000),
        (10000, -11000),
        (10000, -14000),
        (10000, -17000),
        (10000, -20000),
    ]
    back = [(7000, -17000), (4000, -14000), (4000, -11000), (4000, -8000), (4000, -5000), (4000, -2000), (4000, 1000)]
    assert path == there + back
    away = (x != scan_x) | (y != scan_y)
    assert seen["pause"][start:][away].all(), "the scan is not paused while the tip is away"
    assert not seen["pause"][-1] and seen["emission_a"][-1] == 10_000 and seen["emission_b"][-1] == -20_000 & 0xFFFFFFFF
    assert seen["reason"][-1] == StopReason.HALTED


def test_a_trip_ends_an_excursion(bench):
    """Outputs hold then; the way back is not gone."""
    rows = [
        Row(Operation.ADD, 1, Operand.VALUE, Operand.ZERO, value=1 << 20),
        Row(Operation.MOVE, a=1, value=100),
        Row(Operation.JUMP, place=2),
    ]
    cycles = 600
    live = np.ones(cycles, np.int64)
    live[400:] = 0
    seen, start = run_rows(bench, rows, cycles, {"samples": ticks(cycles, 16), "live": live})
    assert seen["x"][start + 399] > 1000 and seen["pause"][start + 399]
    assert seen["x"][start + 402] == 0 and not seen["pause"][start + 403] and seen["reason"][-1] == StopReason.NOT_LIVE


def test_the_bank_that_runs_is_not_loaded(bench):
    """And the other one is, and runs then."""
    endless = [Row(Operation.EMIT, value=7), Row(Operation.JUMP, place=0)]
    seen, _ = run_rows(bench, endless, 200, {}, bank=1)
    assert seen["running"][-1] and seen["emission_class"][-1] == 7
    loads = [
        ("load_row", 512),
        ("load_value", 8),
        ("load_control", Row(Operation.EMIT).words()[1]),
        ("load_row", 0),
        ("load_value", 9),
        ("load_control", Row(Operation.EMIT).words()[1]),
    ]
    strobe, offset, content = (np.zeros(400, np.int64) for _ in range(3))
    for index, (name, value) in enumerate(loads):
        strobe[4 * index], offset[4 * index], content[4 * index] = 1, OFFSETS[name], value
    seen = bench.run({"live": 1, "emitted": 1, "load_strobe": strobe, "load_offset": offset, "load_data": content}, 400)
    assert set(seen["emission_class"]) == {7} and seen["running"].all()
    stop = np.zeros(40, np.int64)
    stop[0] = 1
    seen = bench.run({"live": 1, "load_strobe": stop, "load_offset": OFFSETS["command"], "load_data": SequencerCommand.STOP}, 40)
    assert not seen["running"][-1] and seen["reason"][-1] == StopReason.STOPPED
    for bank, tag in ((0, 9), (1, 7)):
        strobe, offset, content = (np.zeros(100, np.int64) for _ in range(3))
        for index, (name, value) in enumerate([("bank", bank), ("command", SequencerCommand.START)]):
            strobe[4 * index], offset[4 * index], content[4 * index] = 1, OFFSETS[name], value
        seen = bench.run({"live": 1, "emitted": 1, "load_strobe": strobe, "load_offset": offset, "load_data": content}, 100)
        assert seen["emission_class"][-1] == tag
        bench.run({"live": 0}, 10)


def test_random_programs(bench):
    """Registers, jumps, waits, requests, accesses, emissions, ends: each in its cycle."""
    seed = default_seed()
    print(f"seed {seed}: REFLEXARC_SEED={seed} repeats this run")
    reasons: Counter[str] = Counter()
    executed = 0
    for number in range(PROGRAMS):
        reason, done = check_program(bench, f"{seed}/{number}")
        reasons[reason.name] += 1
        executed += done
    print(f"{PROGRAMS} programs, {executed} instructions: {dict(reasons)}")
    assert set(reasons) == {reason.name for reason in StopReason}
