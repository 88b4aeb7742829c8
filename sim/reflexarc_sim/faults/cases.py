"""What goes wrong in a case: seeded, each fault a function of a rig and a generator.

A fault does what it does, may let time pass, and returns what must follow beside what the judge sees by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.interlock import Cause
from reflexarc.contract.blocks.scan import ScanCommand
from reflexarc.contract.blocks.sequencer import PROTECTED, SequencerCommand, load_writes
from reflexarc.contract.link import BusOperation, BusStatus
from reflexarc.contract.program import Operand, Operation, Row
from reflexarc.contract.registers import WORD_BYTES, Access

from ..plants.stm import Parameter
from .rig import EVENT_CLASS, KEEP_OUT, Rig

LINE_CYCLES = 6  # from a line that the rig sets to safe outputs: synchroniser, verdict, gate
PROGRAM_CYCLES = 40  # from a program's row that can't be done to safe outputs
WAITING = (Operation.WAIT_CYCLES, Operation.WAIT_SAMPLES, Operation.SAMPLE, Operation.DEADLINE)
ACCESS_CYCLES = 12  # from the end of a bus access that asks for what may not be to safe outputs
MOVE_S = 2e-3


@dataclass(frozen=True)
class Expected:
    """A violation that the rig knows of: it stands from ``cycle`` on, and the gate must be safe ``bound`` cycles later.

    ``causes``: what may be recorded for it. ``cycle`` None: only that it trips within the case;
    ``must`` false: it may.
    """

    causes: frozenset[str]
    cycle: int | None = None
    bound: int = 0
    must: bool = True


Fault = Callable[[Rig, Random], list[Expected]]


class LockBroken(Exception):
    """A locked register took a write while armed."""


def _expected(rig: Rig, bound: int, *causes: Cause) -> list[Expected]:
    return [Expected(frozenset(cause.name for cause in causes), rig.twin.cycle, bound)]


def crash(rig: Rig, rng: Random) -> list[Expected]:
    """A step or a rising surface, from what feedback follows with ease to what nothing can."""
    rig.twin.plant.provoke_rise(10 ** rng.uniform(-6, -2.3), 10 ** rng.uniform(-10, -7.7))
    return []


def ringing(rig: Rig, rng: Random) -> list[Expected]:
    """Gains far beyond what the scanner's resonance allows."""
    gain = 10 ** rng.uniform(0, 2.2)
    rig.write({"feedback.ki": min(int(rig.read("feedback.ki") * gain), (1 << 17) - 1)})
    if rng.random() < 0.5:
        rig.write({"feedback.kp": rng.randrange(1 << rng.randrange(1, 18))})
    rig.write({"feedback.slew": (1 << 22) - 1})
    return []


def adc_dead(rig: Rig, rng: Random) -> list[Expected]:
    """A converter that brings no samples any more."""
    rig.twin.set_adc_fault(rng.randrange(2), dead=True)
    return []


def adc_frozen(rig: Rig, rng: Random) -> list[Expected]:
    """A converter that repeats its last sample."""
    rig.twin.set_adc_fault(rng.randrange(2), frozen=True)
    return []


def adc_bits(rig: Rig, rng: Random) -> list[Expected]:
    """Bits that stick or flip."""
    bits = sum(1 << rng.randrange(20) for _ in range(rng.choice((1, 1, 1, 2, 3)))) & 0xFFFFF
    low, high, noise = (bits if kind == chosen else 0 for chosen in [rng.randrange(3)] for kind in range(3))
    rig.twin.set_adc_fault(rng.randrange(2), stuck_low=low, stuck_high=high, noise=noise)
    return []


def dac_stuck(rig: Rig, rng: Random) -> list[Expected]:
    """A DAC that ignores its frames; it shows with the first code that differs."""
    rig.twin.set_dac_stuck(rng.randrange(4), True)
    return []


def gain_switched(rig: Rig, rng: Random) -> list[Expected]:
    """The preamplifier's gain by hand: what it measures and its lines change."""
    rig.twin.plant.parameters_array[Parameter.GAIN_V_PER_A] *= rng.choice((0.01, 0.1, 10.0, 100.0))
    rig.twin.set_lines(gain=rng.randrange(1, 16))
    return []


def ready_lost(rig: Rig, rng: Random) -> list[Expected]:
    """High voltage or vacuum fails."""
    rig.twin.set_lines(ready=rng.randrange(3))
    return []


def estop(rig: Rig, rng: Random) -> list[Expected]:
    """The chain opens."""
    rig.twin.set_estop(False)
    return []


def host_killed(rig: Rig, rng: Random) -> list[Expected]:
    """No heartbeat any more."""
    rig.run(1.5 * rig.limits.heartbeat_s, heartbeat=False)
    return []


def bus_flooded(rig: Rig, rng: Random) -> list[Expected]:
    """A client that reads and writes whatever it likes, as fast as it can; what it may, it does."""
    spared = {"interlock.command", "interlock.trip_flags"}
    writable = [
        (block.address(r.name), r)
        for block in REGISTER_MAP
        for r in block.registers
        if r.access in (Access.RW, Access.WO) and f"{block.name}.{r.name}" not in spared and not r.name.startswith("soft_")
    ]
    for _ in range(rng.randrange(1, 6)):
        operations: list[tuple[BusOperation, int, int]] = []
        locked: list[int] = []
        for _ in range(rng.randrange(1, 400)):
            if rng.random() < 0.5:
                operations.append((BusOperation.READ, rng.randrange(0, 1 << 16), 0))
                continue
            address, register = rng.choice(writable)
            if register.locked:
                locked.append(len(operations))
            operations.append((BusOperation.WRITE, address, rng.getrandbits(32)))
        live_before = rig.twin.live
        results = rig.access(operations)
        if live_before and rig.twin.live and any(results[index][0] is BusStatus.OK for index in locked):
            raise LockBroken("a locked register took a write while armed")
    # Steps of the scan are anyone's to write, and may lead anywhere.
    return [Expected(frozenset({Cause.POSITION_OVERFLOW.name}), must=False)]


def register_flipped(rig: Rig, rng: Random) -> list[Expected]:
    """A bit of a locked register flips, by itself."""
    locked = [(f"{block.name}.{r.name}", r.width) for block in REGISTER_MAP for r in block.registers if r.locked and r.access is Access.RW]
    name, width = rng.choice(locked)
    rig.twin.flip(name, rng.randrange(width))
    return []


def wrong_limits(rig: Rig, rng: Random) -> list[Expected]:
    """Somebody opens the limits of an armed board: all of it must be refused, and nothing happen."""
    names = [(block, r) for block in REGISTER_MAP for r in block.registers if r.locked and r.access is Access.RW]
    for _ in range(20):
        block, register = rng.choice(names)
        raw = rng.randint(register.low, register.high)
        before, was_live = rig.read(f"{block.name}.{register.name}"), rig.twin.live
        status = rig.try_write(f"{block.name}.{register.name}", raw)
        if was_live and rig.twin.live and (status is not BusStatus.LOCKED or rig.read(f"{block.name}.{register.name}") != before):
            raise LockBroken(f"{block.name}.{register.name} took {raw} while armed")
    return []


def soft_current(rig: Rig, rng: Random) -> list[Expected]:
    """A soft limit below what is measured: the next sample but a few trips."""
    if not rig.twin.live:
        return []
    code = int(2**rig.setpoint_log2)
    rig.write({"signals.soft_current_high": rng.randrange(-code, code // 3)})
    return _expected(rig, ACCESS_CYCLES + 2 * rig.calibration.cycles_per_sample, Cause.CURRENT_HIGH)


def soft_z(rig: Rig, rng: Random) -> list[Expected]:
    """A soft floor of z above where the tip is."""
    if not rig.twin.live:
        return []
    rig.write({"envelope.soft_z_low": min(rig.twin.dac_code(2) + rng.randrange(20_000, 60_000), (1 << 19) - 1)})
    return _expected(rig, ACCESS_CYCLES, Cause.Z_LOW)


def bias_zero(rig: Rig, rng: Random) -> list[Expected]:
    """Zero bias under feedback: without a current the tip would be driven in."""
    if not rig.twin.live:
        return []
    least = rig.raw["envelope.bias_min"]
    rig.write({"gate.bias": rng.randrange(-least + 1, least)})
    return _expected(rig, ACCESS_CYCLES, Cause.BIAS_LOW)


def _move(rig: Rig, x_m: float, y_m: float, seconds: float) -> None:
    """As fast as it takes to be there well before ``seconds`` are over."""
    rig.write({"scan.command": ScanCommand.STOP})
    step = 1.5e-6 / seconds * rig.calibration.sample_period_s
    rig.write_physical({"scan.target_x": x_m, "scan.target_y": y_m, "scan.move_step": step})
    rig.write({"feedback.mode": 0, "scan.command": ScanCommand.MOVE})
    rig.run(seconds)


def into_keep_out(rig: Rig, rng: Random) -> list[Expected]:
    """A move that ends within a keep-out rectangle."""
    if not rig.twin.live:
        return []
    x_m, y_m = rng.uniform(KEEP_OUT.x_low_m, KEEP_OUT.x_high_m), rng.uniform(KEEP_OUT.y_low_m, KEEP_OUT.y_high_m)
    _move(rig, x_m, y_m, MOVE_S)
    return [Expected(frozenset({Cause.KEEP_OUT.name}))]


def out_of_box(rig: Rig, rng: Random) -> list[Expected]:
    """A move beyond the box."""
    if not rig.twin.live:
        return []
    _move(rig, rng.choice((-1, 1)) * rng.uniform(410e-9, 490e-9), -100e-9, MOVE_S)
    return [Expected(frozenset({Cause.XY_RANGE.name}))]


def underflow(rig: Rig, rng: Random) -> list[Expected]:
    """A list of a scan or program runs dry."""
    was_live = rig.twin.live
    rig.twin.set_underflow(True)
    return _expected(rig, LINE_CYCLES, Cause.UNDERFLOW) if was_live else []


def event(rig: Rig, rng: Random) -> list[Expected]:
    """An event of the class that trips, or of another that must not."""
    was_live = rig.twin.live
    if rng.random() < 0.3:
        rig.twin.event(rng.randrange(1, EVENT_CLASS))
        return []
    rig.twin.event(EVENT_CLASS)
    return _expected(rig, LINE_CYCLES, Cause.EVENT) if was_live else []


def _start(rig: Rig, rows: list[Row]) -> int:
    """Load a program and start it, whatever ran before; the cycle after which it runs."""
    rig.write({"sequencer.command": SequencerCommand.STOP, "sequencer.bank": 0})
    rig.run(20e-6)
    rig.access([(BusOperation.WRITE, rig.address(f"sequencer.{name}"), raw) for name, raw in load_writes(rows, 0)])
    rig.write({"sequencer.command": SequencerCommand.START})
    return rig.twin.cycle


def late_program(rig: Rig, rng: Random) -> list[Expected]:
    """A program that comes to a time which has passed."""
    if not rig.twin.live:
        return []
    past, wait = sorted(rng.sample(range(4, 300), 2))
    rows = [
        Row(Operation.WAIT_CYCLES, b=Operand.VALUE, value=wait),
        Row(Operation.WAIT_UNTIL, b=Operand.VALUE, value=past),
        Row(Operation.HALT),
    ]
    cycle = _start(rig, rows)
    return [Expected(frozenset({Cause.HOST.name}), cycle + wait, PROGRAM_CYCLES)]


def forbidden_program(rig: Rig, rng: Random) -> list[Expected]:
    """A program that writes to what watches over it; nothing there may change."""
    if not rig.twin.live:
        return []
    targets = [(block, r) for block in REGISTER_MAP for r in block.registers if block.name in PROTECTED and r.access is Access.RW]
    block, register = rng.choice(targets)
    name = f"{block.name}.{register.name}"
    before = rig.read(name)
    rows = [
        Row(Operation.WRITE, b=Operand.VALUE, place=block.address(register.name) // WORD_BYTES, value=rng.getrandbits(31)),
        Row(Operation.HALT),
    ]
    cycle = _start(rig, rows)
    rig.run(20e-6)
    if block.name != "sequencer" and rig.read(name) != before:
        raise LockBroken(f"a program changed {name}")
    return [Expected(frozenset({Cause.HOST.name}), cycle, PROGRAM_CYCLES)]


def wild_program(rig: Rig, rng: Random) -> list[Expected]:
    """Rows that no compiler would make, as fast as they go: jumps anywhere, ramps, moves, requests, writes to all that can be written."""
    if not rig.twin.live:
        return []
    places = [block.address(r.name) // WORD_BYTES for block in REGISTER_MAP for r in block.registers if r.access in (Access.RW, Access.WO)]
    operations = [one for one in Operation if one is not Operation.HALT]
    rows = []
    for _ in range(rng.randrange(4, 60)):
        operation = rng.choice(operations)
        accesses = operation in (Operation.WRITE, Operation.READ, Operation.RAMP)
        place = rng.choice(places) if accesses and rng.random() < 0.95 else rng.randrange(64)
        value = rng.getrandbits(rng.choice((4, 12, 20, 31))) * rng.choice((1, -1))
        if operation is Operation.RAMP:
            value = rng.randrange(1, 8) << 20 | rng.getrandbits(20)
        if operation is Operation.WAIT_UNTIL or (operation in WAITING and value > 4000):
            operation = Operation.WAIT_CYCLES
            value = abs(value) % 4000
        operands = (Operand.VALUE, Operand.VALUE, rng.randrange(32))
        rows.append(Row(operation, rng.randrange(16), rng.choice(operands), rng.choice(operands), place, value))
    _start(rig, [*rows, Row(Operation.JUMP, place=rng.randrange(len(rows)))])
    # It may be refused, or lead the scan anywhere, as anyone may.
    return [Expected(frozenset({Cause.HOST.name, Cause.POSITION_OVERFLOW.name}), must=False)]


def nothing(rig: Rig, rng: Random) -> list[Expected]:
    """Normal scanning, and whoever trips has no reason."""
    rig.run(rng.uniform(0, 2e-3))
    return []


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        crash, ringing, adc_dead, adc_frozen, adc_bits, dac_stuck, gain_switched, ready_lost, estop, host_killed, bus_flooded,
        register_flipped, wrong_limits, soft_current, soft_z, bias_zero, into_keep_out, out_of_box, underflow, event, late_program,
        forbidden_program, wild_program, nothing,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Faults in order, with board time before each and after the last."""

    seed: int
    faults: tuple[str, ...]
    waits_s: tuple[float, ...]
    tail_s: float


def make_case(seed: int) -> Case:
    """One fault in two of three cases, else a sequence of two or three; crashes, ringing and converters come more often."""
    rng = Random(f"case {seed}")
    names = list(FAULTS)
    weights = [4 if name in ("crash", "ringing", "adc_bits", "dac_stuck") else 1 if name == "host_killed" else 2 for name in names]
    count = rng.choice((1, 1, 1, 1, 2, 3))
    return Case(
        seed, tuple(rng.choices(names, weights, k=count)), tuple(10 ** rng.uniform(-5, -2.7) for _ in range(count)), rng.uniform(3e-3, 6e-3)
    )
