"""What a program does, instruction by instruction, with the cycle of each effect: short, slow and written from the instruction set's page."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.program import (
    BANK_ROWS,
    REGISTERS,
    Condition,
    Operand,
    Operation,
    Request,
    Row,
    SampleChannel,
    Statistic,
    StopReason,
)

TOP, BOTTOM = (1 << 31) - 1, -(1 << 31)
TAKEN = 6  # cycles of a jump that is taken
ACCESS = 17  # from an access's execution to its end
WRITTEN = 14  # from a write's execution to the new value
READ = 11  # from a read's execution to the value that it takes
NEVER = 1 << 60

Cycles = NDArray[np.int64]


def held(value: int) -> int:
    return max(BOTTOM, min(TOP, value))


@dataclass
class Surroundings:
    """What the program sees, a value a cycle; ``samples`` are (cycle, current, monitor), ``events`` (cycle, class, score, x, y)."""

    samples: list[tuple[int, int, int]]
    events: list[tuple[int, int, int, int, int]]
    line_last: Cycles
    lines: Cycles
    scan_state: Cycles
    scan_line: Cycles
    scan_x: Cycles
    scan_y: Cycles
    z: Cycles
    bias: Cycles
    seen: Cycles
    emitted: Cycles  # the taker of emissions says so in these cycles, whether there is one or not
    not_live: int = NEVER  # cycle in which live falls
    stopped: int = NEVER  # cycle of the STOP command's strobe


@dataclass
class NaiveProgram:
    """``run`` follows the program from ``start``, the cycle in which its first row executes, to its end or to ``until``.

    ``changes`` are (cycle, output, value) of what then stands at the outputs.
    """

    rows: list[Row]
    around: Surroundings
    start: int
    until: int
    bank: dict[int, int]  # writable registers by place; None of them is refused unless ``accepts`` says so
    accepts: Callable[[int, bool, int], bool]
    registers: list[int] = field(default_factory=lambda: [0] * REGISTERS)
    changes: list[tuple[int, str, int]] = field(default_factory=list)
    executed: int = 0

    def __post_init__(self) -> None:
        self.mark = self.start  # cycle in which the clock was 0
        self.clock_from, self.mark_before = 0, self.start
        self.deadline = (0, 0)  # from this cycle on there is one; from that on it is over
        self.event = dict.fromkeys((Operand.EVENT_SOURCE, Operand.EVENT_CLASS, Operand.EVENT_SCORE, Operand.EVENT_X, Operand.EVENT_Y), 0)
        self.taken_until = -1  # events up to this cycle are no more to be had
        self.kept: tuple[int, int, int, int, int] | None = None
        self.requests = 0
        self.emission_free = 0
        self.ticks = [sample[0] for sample in self.around.samples]

    # What an operand is, read in the cycle before the instruction executes

    def clock(self, cycle: int) -> int:
        mark = self.mark if cycle >= self.clock_from else self.mark_before
        return min(TOP, cycle - mark)

    def operand(self, which: int, row: Row, cycle: int) -> int:
        around, read = self.around, cycle - 1
        if which < REGISTERS:
            return self.registers[which]
        match which:
            case Operand.ZERO:
                return 0
            case Operand.VALUE:
                return row.value
            case Operand.EVENTS:
                return sum(self.started < event[0] < read for event in around.events)
            case Operand.CURRENT | Operand.MONITOR:
                last = [sample for sample in around.samples if sample[0] < read][-1:]
                return (last[0][1 + (which == Operand.MONITOR)] if last else 0) << 12
            case Operand.X:
                return int(around.scan_x[read - 2])
            case Operand.Y:
                return int(around.scan_y[read - 2])
            case Operand.Z:
                return int(around.z[read - 1])
            case Operand.BIAS:
                return int(around.bias[read - 1])
            case Operand.LINE:
                return int(around.scan_line[read - 1])
            case Operand.CLOCK:
                return max(0, self.clock(read))
            case _:
                return self.event[Operand(which)]

    # Events: the first since the last that was taken is kept

    def oldest(self, since: int, cycle: int) -> tuple[int, int, int, int, int] | None:
        return next((event for event in self.around.events if since < event[0] <= cycle), None)

    def run(self) -> StopReason:
        """Why it ended; NONE if it goes on at ``until``."""
        around = self.around
        self.started = self.taken_until = self.start - 5  # events count from the cycle after this one
        at, cycle = 0, self.start
        ends = min(around.not_live + 1, around.stopped + 2)
        reason = StopReason.NOT_LIVE if around.not_live + 1 <= around.stopped + 2 else StopReason.STOPPED
        gives: int | None = None  # destination of the instruction before, where the next one follows at once
        while True:
            row = self.rows[at] if at < len(self.rows) else Row(0)
            if at >= BANK_ROWS:
                row = Row(63)
            if gives is not None and gives in (row.a, row.b):
                cycle += 1
            if cycle >= min(ends, self.until):
                break
            a, b = self.operand(row.a, row, cycle), self.operand(row.b, row, cycle)
            over, jumps, stop = self.execute(row, a, b, cycle, ends)
            if stop is not None:
                # What stops it at the same time as a trip is not told.
                end = over + 2 if stop in (StopReason.HALTED, StopReason.ILLEGAL) else over
                if over < ends and (end < ends or (end == ends and reason is StopReason.STOPPED)):
                    ends, reason = end, stop
                elif over == ends and reason is StopReason.STOPPED and stop in (StopReason.LATE, StopReason.REFUSED):
                    reason = stop
                break
            if over >= min(ends, self.until):
                break
            self.executed += 1
            gives = row.destination if row.operation in self.GIVES and not jumps else None
            at, cycle = (row.place if row.place < BANK_ROWS else BANK_ROWS, over + TAKEN) if jumps else (at + 1, over + 1)
        if ends >= self.until:
            return StopReason.NONE
        self.changes.append((ends + 1, "requests", 0))
        self.changes.append((ends + 1, "reason", reason))
        if reason >= StopReason.LATE and around.not_live > ends:
            self.changes.append((ends + 1, "fault", 1))
        return reason

    GIVES = frozenset(
        {
            Operation.ADD, Operation.SUBTRACT, Operation.LOOP, Operation.SCALE, Operation.READ, Operation.RAMP, Operation.SAMPLE,
        }
    )  # fmt: skip

    def execute(self, row: Row, a: int, b: int, cycle: int, ends: int) -> tuple[int, bool, StopReason | None]:
        """The last cycle of an instruction, whether it jumps, whether it stops the program (then: the cycle of the end)."""
        around = self.around
        over, jumps = cycle, False
        match row.operation:
            case Operation.HALT:
                return cycle, False, StopReason.HALTED
            case Operation.JUMP:
                jumps = True
            case Operation.LESS:
                jumps = a < b
            case Operation.NOT_LESS:
                jumps = a >= b
            case Operation.EQUAL:
                jumps = a == b
            case Operation.NOT_EQUAL:
                jumps = a != b
            case Operation.LOOP:
                jumps = a > b
                self.registers[row.destination] = held(a - b)
            case Operation.ADD:
                self.registers[row.destination] = held(a + b)
            case Operation.SUBTRACT:
                self.registers[row.destination] = held(a - b)
            case Operation.SCALE:
                self.registers[row.destination] = held(a * b >> 16)
                over = cycle + 36
            case Operation.RAISE:
                self.request(cycle, ends, self.requests | row.value & 127 & ~Request.PULSE)
            case Operation.LOWER:
                self.request(cycle, ends, self.requests & ~row.value)
            case Operation.PULSE:
                self.request(cycle, ends, self.requests | Request.PULSE | Request.PULSE_LIMITS)
                if cycle < ends:
                    self.changes.append((cycle + 2, "pulse_bias", max(-(1 << 19), min((1 << 19) - 1, b))))
            case Operation.WAIT_CYCLES:
                over = cycle + max(4, b) - 1
            case Operation.WAIT_SAMPLES:
                over = cycle + 3 if b <= 0 else self.tick(cycle, b) + 2
            case Operation.WAIT_UNTIL:
                left = b - self.clock(cycle)
                if left < 4:
                    return cycle + 4, False, StopReason.LATE
                over = cycle + left - 1
            case Operation.MARK:
                self.mark_before, self.mark, self.clock_from = self.mark, cycle, cycle + 2
                over = cycle + 3
            case Operation.DEADLINE:
                self.deadline = (cycle + 2, cycle + 2 if b <= 0 else cycle + 3 + b)
            case Operation.WAIT:
                over, jumps = self.wait(row, cycle)
            case Operation.SAMPLE:
                over = self.sample(row, b, cycle)
            case Operation.WRITE | Operation.READ:
                return self.access(row, b, cycle, ends)
            case Operation.EMIT:
                at = max(cycle + 2, self.emission_free)
                over = at + 1
                if at < min(ends + 1, self.until):
                    for name, value in (("class", row.value & 255), ("part", row.value >> 8 & 0xFFFF), ("a", a), ("b", b)):
                        self.changes.append((at + 1, f"emission_{name}", value))
                    taken = next((c for c in range(at + 1, len(around.emitted)) if around.emitted[c]), NEVER)
                    self.emission_free = taken + 1
                    self.changes += [(at + 1, "emits", 1), (taken + 1, "emits", 0)]
            case _:
                return cycle, False, StopReason.ILLEGAL
        return over, jumps, None

    def request(self, cycle: int, ends: int, value: int) -> None:
        if value != self.requests and cycle + 1 < ends:
            self.changes.append((cycle + 2, "requests", int(value)))
        self.requests = int(value)

    def tick(self, cycle: int, number: int) -> int:
        """Cycle of the ``number``th sample that an instruction sees."""
        later = [tick for tick in self.ticks if tick >= cycle + 2]
        return later[number - 1] if number <= len(later) else NEVER

    def wait(self, row: Row, cycle: int) -> tuple[int, bool]:
        around = self.around
        condition = row.destination
        if condition == Condition.NEXT_EVENT:
            self.taken_until = max(self.taken_until, cycle)
        begin, over = self.deadline
        for now in range(cycle + 2, self.until):
            met = False
            if condition in (Condition.EVENT, Condition.NEXT_EVENT):
                event = self.oldest(self.taken_until, now)
                if event is not None:
                    met = True
                    _, class_id, score, x, y = event
                    self.event = dict(zip(self.event, (1, class_id, score, x, y), strict=True))
                    # What came while this one was kept is lost, but for one in this very cycle.
                    self.taken_until = now - 1 if event[0] < now else now
            elif condition == Condition.SCAN_IDLE:
                met = now >= cycle + 8 and around.scan_state[now - 1] == ScanState.IDLE
            elif condition == Condition.LINE_DONE:
                met = bool(around.line_last[cycle + 1 : now].any())
            elif condition == Condition.AT_REST:
                met = now >= cycle + 8
            elif condition >= Condition.CAMERA_BUSY:
                met = not around.lines[now] >> (condition - Condition.CAMERA_BUSY) & 1
            elif condition >= Condition.CAMERA_READY:
                met = bool(around.lines[now] >> (condition - Condition.CAMERA_READY) & 1)
            if met or now >= over:
                return now + 1, not met
        return NEVER, False

    def sample(self, row: Row, b: int, cycle: int) -> int:
        number = max(1, min((1 << 24) - 1, b))
        last = self.tick(cycle, number)
        channel, statistic = row.place >> 2 & 3, row.place & 3
        if last < NEVER:
            taken = [sample for sample in self.around.samples if cycle + 2 <= sample[0] <= last]
            if channel == SampleChannel.CURRENT:
                values = [current << 12 for _, current, _ in taken]
            elif channel == SampleChannel.MONITOR:
                values = [monitor << 12 for _, _, monitor in taken]
            else:
                values = [int(self.around.z[tick]) for tick, _, _ in taken]
            result = sum(values) // number if statistic == Statistic.MEAN else min(values) if statistic == Statistic.LEAST else max(values)
            self.registers[row.destination] = result
        return last + (39 if statistic == Statistic.MEAN else 4)

    def access(self, row: Row, b: int, cycle: int, ends: int) -> tuple[int, bool, StopReason | None]:
        write = row.operation == Operation.WRITE
        place = row.place
        if write and self.protected(place):
            return cycle + 3, False, StopReason.REFUSED
        if self.accepts(place, write, b):
            if write:
                if self.bank.get(place) != b & 0xFFFFFFFF and cycle < ends:
                    self.bank[place] = b & 0xFFFFFFFF
                    self.changes.append((cycle + WRITTEN, f"place_{place}", b & 0xFFFFFFFF))
            else:
                value = self.bank[place] if place in self.bank else int(self.around.seen[min(cycle + READ, self.until - 1)])
                self.registers[row.destination] = value - (1 << 32) if value >> 31 and value > 0 else value
            return cycle + ACCESS + 1, False, None
        return cycle + ACCESS + 2, False, StopReason.REFUSED

    protected: Callable[[int], bool] = staticmethod(lambda place: False)
