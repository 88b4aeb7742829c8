"""From the tree to the sequencer's rows, for one instrument."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.feedback import FeedbackMode
from reflexarc.contract.blocks.scan import ScanCommand
from reflexarc.contract.program import Condition, Operand, Operation, Request, Row
from reflexarc.contract.registers import WORD_BYTES
from reflexarc.errors import BadInput
from reflexarc.programs.assembler import Assembler, Label, TooLarge
from reflexarc.programs.kinds import CHANNEL_KINDS, Kind, KindError, Parameter, event_fields, kind_of, parameter
from reflexarc.programs.names import homes, within
from reflexarc.programs.tree import (
    Block,
    During,
    Emit,
    Halt,
    Height,
    Hold,
    If,
    Leave,
    Let,
    Line,
    Mark,
    Move,
    Number,
    Path,
    Pause,
    ProgramTree,
    Pulse,
    Ramp,
    Repeat,
    Return,
    Sample,
    Set,
    StartScan,
    Statement,
    StopScan,
    Value,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
    blocks,
)
from reflexarc.programs.values import WORD_MAX, Values, raw_constant

COUNTED_LEAST = 5  # cycles of a counted time: a wait takes 4 at least, the row that ends it 1
LONG_WAIT = 1 << 30  # cycles of a turn of a long wait; the jump takes 6 of them
TURN_CYCLES = 6
RAMP_STEP_BITS, RAMP_STEP_MAX, RAMP_PERIOD_MAX = 20, (1 << 20) - 1, (1 << 12) - 1
RAMP_ACCESS_CYCLES = 24  # a step of a ramp must be written before the next
RAMP_STEP_FINE = 64  # raw units that a step has where the rate allows it
RISE_STEP_SAMPLES = 2  # the converters take a code each second sample
RISE_STEP_CYCLES = 9  # of a step's rows beside its wait
MOVE_STEP_MAX = (1 << 31) - 1
EVENT_OPERANDS = {"x": Operand.EVENT_X, "y": Operand.EVENT_Y, "score": Operand.EVENT_SCORE, "class": Operand.EVENT_CLASS}
LINES = {Line.BEAM: Request.BEAM, Line.BLANK: Request.BLANK, Line.TRIGGER: Request.TRIGGER}
DONE, TIMED_OUT = "done", "timeout"  # reasons of all programs: the end, and where nothing else is said of what did not come


class CompileError(BadInput):
    """What can't be compiled, with the statement that it is about."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        super().__init__(text)


@dataclass(frozen=True)
class Compiled:
    """A program for one instrument. ``origins`` has the statement of each row."""

    tree: ProgramTree
    calibration: Calibration
    rows: tuple[Row, ...]
    origins: tuple[Path, ...]
    reasons: tuple[str, ...]  # by HALT's value
    kinds: Mapping[str, Kind]  # of the names
    tags: Mapping[str, tuple[Kind, ...]]  # kinds of what an emission brings, by its tag, in the order of their classes


@dataclass(frozen=True)
class _Context:
    """A `Hold` or `Pause` that is open: the rows that end it, and whether a program that halts needs them."""

    statement: Statement
    end: Callable[[], None]
    outlasts: bool = False  # what is written to a register stays; a request ends with the program


@dataclass(frozen=True)
class _Loop:
    end: Label
    contexts: int  # how many were open where it began


def compile_program(tree: ProgramTree, calibration: Calibration) -> Compiled:
    """CompileError with the first statement that can't be compiled: kinds that do not fit, values out of range, too many rows or names."""
    compiler = _Compiler(tree, calibration, homes(tree))
    compiler.block(tree.body, ())
    compiler.end()
    rows = compiler.out.finished()
    return Compiled(
        tree, calibration, tuple(rows), tuple(compiler.out.origins), tuple(compiler.reasons), dict(compiler.kinds), compiler.tags
    )


class _Compiler:
    def __init__(self, tree: ProgramTree, calibration: Calibration, homes: Mapping[str, Path]) -> None:
        self.tree, self.calibration = tree, calibration
        self.homes = homes  # of each name, the block that has all its uses
        self.out = Assembler()
        self.values = Values(calibration, self.out)
        self.kinds = self.values.kinds
        self.reasons: list[str] = [DONE]
        self.tags: dict[str, tuple[Kind, ...]] = {}
        self.loops: list[_Loop] = []
        self.contexts: list[_Context] = []
        self.later: list[Callable[[], None]] = []  # what is seldom done stands behind all else

    def end(self) -> None:
        """The program's end, and what stands behind it."""
        try:
            self.out.at = ()
            self.out.add(Operation.HALT)
            for seldom in self.later:
                seldom()
        except TooLarge as error:
            raise CompileError(self.out.at, str(error)) from None

    # Blocks and names

    def block(self, body: Block, path: Path) -> None:
        for index, statement in enumerate(body):
            self.out.at = (*path, index)
            try:
                self.statement(statement)
            except (KindError, TooLarge) as error:
                raise CompileError((*path, index), str(error)) from None
        registers = self.values.registers
        for name in [name for name in registers if self.homes[name] == path]:
            self.out.give_back(registers.pop(name))

    def nested(self, statement: Statement, index: int = 0) -> None:
        path = self.out.at
        self.block(blocks(statement)[index], (*path, index))
        self.out.at = path

    def variable(self, name: str, kind: Kind) -> int:
        """Register of a name that is given a value of ``kind``."""
        if self.kinds.setdefault(name, kind) is not kind:
            raise KindError(f"{name} is {self.kinds[name].value} already; {kind.value} needs another name")
        registers = self.values.registers
        if name not in registers:
            registers[name] = self.out.take()
        return registers[name]

    def alone(self, statement: Hold | Pause, otherwise: str) -> None:
        if any(type(context.statement) is type(statement) for context in self.contexts):
            raise KindError(otherwise)

    @contextmanager
    def context(self, context: _Context) -> Iterator[None]:
        self.contexts.append(context)
        yield
        self.contexts.pop().end()

    def statement(self, statement: Statement) -> None:
        add = self.out.add
        match statement:
            case Sample(into, channel, statistic, count):
                register = self.variable(into, CHANNEL_KINDS[channel])
                add(Operation.SAMPLE, destination=register, b=Operand.VALUE, place=statistic | channel << 2, value=count)
            case Let(into, value):
                self.let(into, value)
            case Set(name, value):
                self.set(parameter(name), value)
            case Ramp(name, to, rate):
                self.ramp(parameter(name), to, rate)
            case Wait(seconds):
                self.wait_cycles(self.calibration.cycles(seconds))
            case WaitSamples(count):
                add(Operation.WAIT_SAMPLES, b=Operand.VALUE, value=count)
            case Mark():
                add(Operation.MARK)
            case WaitUntil(seconds):
                add(Operation.WAIT_UNTIL, b=Operand.VALUE, value=raw_constant(Number(seconds, "s"), Kind.TIME, self.calibration))
            case WaitEvent() | WaitFor():
                self.wait(statement)
            case Move(x, y, speed):
                self.move(x, y, speed)
            case Return():
                add(Operation.RETURN)
                self.at_rest()
                if not any(isinstance(context.statement, Pause) for context in self.contexts):
                    add(Operation.LOWER, value=Request.SCAN_PAUSED)
            case Hold():
                self.hold(statement)
            case Height(z, speed):
                self.height(z, speed)
            case Pause():
                self.alone(statement, "the scan is paused already")
                add(Operation.RAISE, value=Request.SCAN_PAUSED)
                with self.context(_Context(statement, lambda: add(Operation.LOWER, value=Request.SCAN_PAUSED))):
                    self.nested(statement)
            case Pulse():
                self.pulse(statement)
            case During(line, for_s):
                add(Operation.RAISE, value=LINES[line])
                self.counted(for_s)
                add(Operation.LOWER, value=LINES[line])
            case StartScan():
                self.write("scan.command", ScanCommand.START)
            case StopScan():
                self.write("scan.command", ScanCommand.STOP)
            case Repeat():
                self.repeat(statement)
            case If():
                self.choose(statement)
            case Leave():
                self.leave(statement)
            case Emit(tag, values):
                self.emit(tag, values)
            case Halt(reason):
                self.halt(reason)

    # Values and parameters

    def let(self, into: str, value: Value) -> None:
        kind = kind_of(value, self.kinds, self.kinds.get(into))
        if into in self.values.registers:
            with self.out.temporary() as register:  # the value may use what it replaces
                self.values.into(register, value, kind)
                self.out.add(Operation.ADD, destination=self.values.registers[into], a=register)
        else:
            self.values.into(self.variable(into, kind), value, kind)

    def write(self, name: str, value: int) -> None:
        self.out.add(Operation.WRITE, b=Operand.VALUE, place=parameter(name).address // WORD_BYTES, value=value)

    def set(self, target: Parameter, value: Value) -> None:
        if isinstance(value, Number):
            if value.unit != target.unit:
                raise KindError(f"{target.name} is in {target.unit or 'plain numbers'}, not in {value.unit or 'plain numbers'}")
            raw = self.constant(target, value.value)
            self.out.add(Operation.WRITE, b=Operand.VALUE, place=target.address // WORD_BYTES, value=raw)
            return
        if target.kind is None:
            raise KindError(f"{target.name} can only be set to a constant")
        with self.values.operand(value, kind_of(value, self.kinds, target.kind)) as (operand, _):
            self.out.add(Operation.WRITE, b=operand, place=target.address // WORD_BYTES)

    def constant(self, target: Parameter, value: float) -> int:
        """Raw value of a register. KindError outside of its range."""
        if target.name == "setpoint":
            if not 0 < value < self.calibration.current_range_A:
                raise KindError(f"setpoint {value:g} A is outside 0 to {self.calibration.current_range_A:g} A")
            value = math.log2(max(self.calibration.current_to_code(value), 1.0))
        try:
            raw = self.calibration.to_raw(target.register, value)
        except ValueError as error:
            raise KindError(f"{target.block}.{error}") from None
        return raw - (1 << 32) if raw > WORD_MAX else raw

    def ramp(self, target: Parameter, to: Value, rate: float) -> None:
        if target.kind is None or target.kind is Kind.COUNT:
            raise KindError(f"{target.name} can't be ramped; what can is bias and registers that hold a position")
        kind = kind_of(to, self.kinds, target.kind)
        with self.values.operand(to, kind, constant=False) as (goal, _):
            self.ramp_to(target, goal, kind, rate)

    def ramp_to(self, target: Parameter, goal: int, kind: Kind, rate: float) -> None:
        each = kind.to_raw(self.calibration, rate) * self.calibration.sample_period_s  # raw units in a sample
        least = -(-RAMP_ACCESS_CYCLES // self.calibration.cycles_per_sample)
        # Of step and period the larger is rounded: the rate is then true to 1 %.
        if each >= 1:
            period = max(least, math.ceil(RAMP_STEP_FINE / each))
            step = round(min(each * period, RAMP_STEP_MAX + 1))
        else:
            step = min(RAMP_STEP_FINE, math.floor(each * RAMP_PERIOD_MAX))
            period = round(step / each) if step >= 1 else 0
        if not 1 <= step <= RAMP_STEP_MAX:
            slowest, fastest = (
                kind.to_physical(self.calibration, one / self.calibration.sample_period_s)
                for one in (1 / RAMP_PERIOD_MAX, RAMP_STEP_MAX / least)
            )
            raise KindError(f"a ramp of {rate:g} {kind.unit}/s is not possible; accepted: {slowest:.3g} to {fastest:.3g} {kind.unit}/s")
        place = target.address // WORD_BYTES
        with self.out.temporary() as register:
            self.out.add(Operation.READ, destination=register, place=place)
            value = period << RAMP_STEP_BITS | step
            self.out.add(Operation.RAMP, destination=register, a=register, b=goal, place=place, value=value - (value >> 31 << 32))

    # Time

    def wait_cycles(self, cycles: int) -> None:
        """So many cycles, 4 at least unless it is 0."""
        turns, rest = divmod(cycles, LONG_WAIT) if cycles > WORD_MAX else (0, cycles)
        if turns > WORD_MAX:
            raise KindError(f"{self.calibration.seconds(cycles):g} s is too long")
        if turns:
            with self.out.temporary() as register:
                again = Label()
                self.out.add(Operation.ADD, destination=register, a=Operand.VALUE, value=turns)
                self.out.place(again)
                self.out.add(Operation.WAIT_CYCLES, b=Operand.VALUE, value=LONG_WAIT - TURN_CYCLES)
                self.out.add(Operation.LOOP, destination=register, a=register, b=Operand.VALUE, place=again, value=1)
        if rest:
            self.out.add(Operation.WAIT_CYCLES, b=Operand.VALUE, value=rest)

    def counted(self, for_s: float) -> None:
        """What one row asked for stands for so long if the next one ends it."""
        cycles = self.calibration.cycles(for_s)
        if cycles < COUNTED_LEAST:
            raise KindError(f"{for_s:g} s is too short; accepted: from {self.calibration.seconds(COUNTED_LEAST):g} s")
        self.wait_cycles(cycles - 1)

    def deadline(self, timeout_s: float) -> None:
        cycles = self.calibration.cycles(timeout_s)
        if not 1 <= cycles <= WORD_MAX:
            raise KindError(f"a time-out of {timeout_s:g} s is not possible; accepted: up to {self.calibration.seconds(WORD_MAX):.3g} s")
        self.out.add(Operation.DEADLINE, b=Operand.VALUE, value=cycles)

    def wait(self, statement: WaitEvent | WaitFor) -> None:
        """Where there is something to do instead it stands before the wait, so that what was awaited finds no jump on its way."""
        begin, gave_up, end = Label(), Label(), Label()
        if statement.otherwise is not None:
            self.out.add(Operation.JUMP, place=begin)
            self.out.place(gave_up)
            self.nested(statement)
            self.out.add(Operation.JUMP, place=end)
            self.out.place(begin)
        else:
            self.give_up_at(gave_up)
        self.deadline(statement.timeout_s)
        if isinstance(statement, WaitFor):
            self.out.add(Operation.WAIT, destination=statement.condition, place=gave_up)
        else:
            self.event(statement, gave_up)
        self.out.place(end)

    def give_up_at(self, label: Label) -> None:
        """Behind the program's end: what ends it where nothing came in time."""
        path, contexts = self.out.at, list(self.contexts)

        def rows() -> None:
            self.out.at = path
            self.out.place(label)
            self.contexts = contexts
            self.halt(TIMED_OUT)

        self.later.append(rows)

    def event(self, statement: WaitEvent, gave_up: Label) -> None:
        try:
            event = self.tree.event(statement.event)
        except KeyError:
            known = ", ".join(one.name for one in self.tree.events) or "none"
            raise KindError(f"there is no event {statement.event!r}; this program has: {known}") from None
        again = Label()
        self.out.place(again)
        self.out.add(Operation.WAIT, destination=Condition.EVENT, place=gave_up)
        self.out.add(Operation.NOT_EQUAL, a=Operand.EVENT_CLASS, b=Operand.VALUE, place=again, value=event.class_id)
        found = {f"{statement.into}.{name}": kind for name, kind in event_fields(event.score).items()}
        operands = {name: EVENT_OPERANDS[name.partition(".")[2]] for name in found}
        self.kinds.update(found)
        self.values.fields.update(operands)
        for comparison in statement.conditions:
            self.values.jump_unless(comparison, again)
        self.values.fields.clear()
        for name, kind in found.items():
            if name in self.homes:  # it is used later
                self.out.add(Operation.ADD, destination=self.variable(name, kind), a=operands[name])

    # Tip and scan

    def at_rest(self) -> None:
        """However long it takes: a deadline is 21 s at most, and it always arrives."""
        again = Label()
        self.out.place(again)
        self.out.add(Operation.DEADLINE, b=Operand.VALUE, value=WORD_MAX)
        self.out.add(Operation.WAIT, destination=Condition.AT_REST, place=again)

    def move(self, x: Value, y: Value, speed_m_per_s: float) -> None:
        calibration = self.calibration
        per_sample = speed_m_per_s * calibration.sample_period_s
        # One step for both axes, in codes: no axis is faster than asked.
        step = min(kind.to_raw(calibration, per_sample) for kind in (Kind.X, Kind.Y))
        if not 1 <= step <= MOVE_STEP_MAX:
            slowest, fastest = (max(kind.to_physical(calibration, raw) for kind in (Kind.X, Kind.Y)) for raw in (1, MOVE_STEP_MAX))
            period = calibration.sample_period_s
            raise KindError(
                f"a speed of {speed_m_per_s:g} m/s is not possible; accepted: {slowest / period:.3g} to {fastest / period:.3g} m/s"
            )
        x_kind, y_kind = kind_of(x, self.kinds, Kind.X), kind_of(y, self.kinds, Kind.Y)
        add = self.out.add
        with self.values.operand(x, x_kind, constant=False) as (to_x, _), self.values.operand(y, y_kind, constant=False) as (to_y, _):
            add(Operation.RAISE, value=Request.SCAN_PAUSED)
            add(Operation.WAIT_SAMPLES, b=Operand.VALUE, value=1)  # the place to come back to is where the scan stands then
            add(Operation.MOVE, a=to_x, b=to_y, value=round(step))
        self.at_rest()

    def hold(self, statement: Hold) -> None:
        """By request, which acts in 2 cycles; where z is to move the mode takes over, since a request freezes z."""
        self.alone(statement, "the feedback is held already")
        add = self.out.add
        moves = any(isinstance(one, Height) for one in within(statement.body))
        add(Operation.RAISE, value=Request.FEEDBACK_HELD)
        if moves:
            self.write("feedback.mode", FeedbackMode.HOLD)
            self.write("feedback.hold_height", 0)
            add(Operation.LOWER, value=Request.FEEDBACK_HELD)
        self.wait_cycles(self.calibration.cycles(statement.settle_s))

        def end() -> None:
            if moves:
                self.write("feedback.mode", FeedbackMode.ON)
            else:
                add(Operation.LOWER, value=Request.FEEDBACK_HELD)

        with self.context(_Context(statement, end, outlasts=moves)):
            self.nested(statement)

    def height(self, z: Value, speed_m_per_s: float) -> None:
        if not any(isinstance(context.statement, Hold) for context in self.contexts):
            raise KindError("height stands only where the feedback is held")
        target, kind = parameter("feedback.hold_height"), kind_of(z, self.kinds, Kind.Z)
        # The displacement follows what is written at twice the speed: the ramp is what paces it.
        step = parameter("feedback.hold_step")
        self.out.add(
            Operation.WRITE,
            b=Operand.VALUE,
            place=step.address // WORD_BYTES,
            value=self.constant(step, 2 * speed_m_per_s * self.calibration.sample_period_s),
        )
        with self.values.operand(z, kind, constant=False) as (goal, _):
            self.ramp_to(target, goal, kind, speed_m_per_s)

    def pulse(self, pulse: Pulse) -> None:
        add, calibration = self.out.add, self.calibration
        kind = kind_of(pulse.to_V, self.kinds, Kind.BIAS)
        steps = round(pulse.rise_s / (RISE_STEP_SAMPLES * calibration.sample_period_s))
        if steps == 0:
            with self.values.operand(pulse.to_V, kind) as (goal, constant):
                add(Operation.PULSE, b=goal, value=constant)
            self.counted(pulse.for_s)
        else:
            with (
                self.out.temporary() as level,
                self.out.temporary() as step,
                self.values.operand(pulse.to_V, kind, constant=False) as (goal, _),
            ):
                add(Operation.ADD, destination=level, a=Operand.BIAS)
                add(Operation.SUBTRACT, destination=step, a=goal, b=level)
                add(Operation.SCALE, destination=step, a=step, b=Operand.VALUE, value=round((1 << 16) / steps))
                self.stairs(steps, level, step, Operation.ADD)
                add(Operation.PULSE, b=goal)
                self.counted(pulse.for_s)
                self.stairs(steps, level, step, Operation.SUBTRACT)
        add(Operation.LOWER, value=Request.PULSE)
        self.wait_cycles(calibration.cycles(pulse.settle_s))
        add(Operation.LOWER, value=Request.PULSE_LIMITS)

    def stairs(self, steps: int, level: int, step: int, operation: Operation) -> None:
        cycles = RISE_STEP_SAMPLES * self.calibration.cycles_per_sample
        with self.out.temporary() as left:
            again = Label()
            self.out.add(Operation.ADD, destination=left, a=Operand.VALUE, value=steps)
            self.out.place(again)
            self.out.add(operation, destination=level, a=level, b=step)
            self.out.add(Operation.PULSE, b=level)
            self.out.add(Operation.WAIT_CYCLES, b=Operand.VALUE, value=cycles - RISE_STEP_CYCLES)
            self.out.add(Operation.LOOP, destination=left, a=left, b=Operand.VALUE, place=again, value=1)

    # What comes after what

    def repeat(self, repeat: Repeat) -> None:
        add = self.out.add
        again, end = Label(), Label()
        self.loops.append(_Loop(end, len(self.contexts)))
        if repeat.index is not None:
            index = self.variable(repeat.index, Kind.COUNT)
            add(Operation.ADD, destination=index)
            self.out.place(again)
            self.nested(repeat)
            add(Operation.ADD, destination=index, a=index, b=Operand.VALUE, value=1)
            if repeat.count is None:
                add(Operation.JUMP, place=again)
            else:
                add(Operation.LESS, a=index, b=Operand.VALUE, place=again, value=repeat.count)
        elif repeat.count is None:
            self.out.place(again)
            self.nested(repeat)
            add(Operation.JUMP, place=again)
        else:
            with self.out.temporary() as left:
                add(Operation.ADD, destination=left, a=Operand.VALUE, value=repeat.count)
                self.out.place(again)
                self.nested(repeat)
                add(Operation.LOOP, destination=left, a=left, b=Operand.VALUE, place=again, value=1)
        self.loops.pop()
        self.out.place(end)

    def choose(self, choice: If) -> None:
        other, end = Label(), Label()
        self.values.jump_unless(choice.comparison, other)
        self.nested(choice)
        if choice.otherwise:
            self.out.add(Operation.JUMP, place=end)
        self.out.place(other)
        if choice.otherwise:
            self.nested(choice, 1)
        self.out.place(end)

    def leave(self, leave: Leave) -> None:
        if not self.loops:
            raise KindError("leave stands only within repeat; halt ends the program")
        loop, stays = self.loops[-1], Label()
        inner = self.contexts[loop.contexts :]
        if leave.comparison is not None and not inner:
            self.values.jump_where(leave.comparison, loop.end)
            return
        if leave.comparison is not None:
            self.values.jump_unless(leave.comparison, stays)
        for context in reversed(inner):
            context.end()
        self.out.add(Operation.JUMP, place=loop.end)
        self.out.place(stays)

    def emit(self, tag: str, values: tuple[Value, ...]) -> None:
        kinds = tuple(kind_of(value, self.kinds) for value in values)
        if self.tags.setdefault(tag, kinds) != kinds:
            raise KindError(f'"{tag}" was emitted with other kinds of values above')
        number = list(self.tags).index(tag)
        if number > 255:
            raise KindError("this is the 257th tag; accepted: up to 256")
        items = list(zip(values, kinds, strict=True))
        for part, pair in enumerate([items[at : at + 2] for at in range(0, len(items), 2)] or [[]]):
            with ExitStack() as stack:
                operands = [stack.enter_context(self.values.operand(value, kind, constant=False))[0] for value, kind in pair]
                a, b = (*operands, Operand.ZERO, Operand.ZERO)[:2]
                self.out.add(Operation.EMIT, a=a, b=b, value=number | part << 8)

    def halt(self, reason: str) -> None:
        for context in reversed(self.contexts):
            if context.outlasts:
                context.end()
        if reason not in self.reasons:
            self.reasons.append(reason)
        self.out.add(Operation.HALT, value=self.reasons.index(reason))
