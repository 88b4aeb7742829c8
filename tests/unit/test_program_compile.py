"""Programs as rows: what each statement becomes, and that what rows compute is what the values say."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.feedback import FeedbackMode
from reflexarc.contract.blocks.scan import ScanCommand
from reflexarc.contract.program import BANK_ROWS, Condition, Operand, Operation, Request, Row
from reflexarc.programs.compile import Compiled, CompileError, compile_program
from reflexarc.programs.kinds import Kind
from reflexarc.programs.text import parse
from reflexarc.programs.tree import Clamped, Difference, Emit, Let, Number, ProgramTree, Read, Reading, Scaled, Sum, Value, Variable

SCALE = Calibration()
CYCLES = round(1 / SCALE.seconds(1))  # in a second
WORD = 1 << 31


def compiled(text: str, calibration: Calibration = SCALE) -> Compiled:
    return compile_program(parse(f'program "test"\n{text}'), calibration)


def rows(text: str) -> list[Row]:
    """Without the HALT that ends every program."""
    found = list(compiled(text).rows)
    assert Row(Operation.HALT) in found
    return found[: found.index(Row(Operation.HALT))]


def place(name: str) -> int:
    block, _, register = name.partition(".")
    return REGISTER_MAP[block].address(register) // 4


V = Operand.VALUE
STATEMENTS: dict[str, list[Row]] = {
    "wait 10 us": [Row(Operation.WAIT_CYCLES, b=V, value=1000)],
    "wait 8 samples": [Row(Operation.WAIT_SAMPLES, b=V, value=8)],
    "mark\nwait until 1 ms": [Row(Operation.MARK), Row(Operation.WAIT_UNTIL, b=V, value=100_000)],
    "i0 = mean of 64 samples of current": [Row(Operation.SAMPLE, 0, b=V, place=0, value=64)],
    "i0 = greatest of 3 samples of z": [Row(Operation.SAMPLE, 0, b=V, place=2 << 2 | 2, value=3)],
    "set bias 1 V": [Row(Operation.WRITE, b=V, place=place("gate.bias"), value=52429)],
    "set feedback.mode 1": [Row(Operation.WRITE, b=V, place=place("feedback.mode"), value=1)],
    "set bias 0.5 * bias": [
        Row(Operation.SCALE, 0, Operand.BIAS, V, value=1 << 15), Row(Operation.WRITE, a=Operand.ZERO, b=0, place=place("gate.bias")),
    ],
    "expose for 1 us": [Row(Operation.RAISE, value=Request.BEAM), Row(Operation.WAIT_CYCLES, b=V, value=99), Row(Operation.LOWER, value=Request.BEAM)],
    "blank for 50 ns": [Row(Operation.RAISE, value=Request.BLANK), Row(Operation.WAIT_CYCLES, b=V, value=4), Row(Operation.LOWER, value=Request.BLANK)],
    "pulse 2 V for 10 us, settle 1 us": [
        Row(Operation.PULSE, b=V, value=104858), Row(Operation.WAIT_CYCLES, b=V, value=999), Row(Operation.LOWER, value=Request.PULSE),
        Row(Operation.WAIT_CYCLES, b=V, value=100), Row(Operation.LOWER, value=Request.PULSE_LIMITS),
    ],
    "start scan\nstop scan": [Row(Operation.WRITE, b=V, place=place("scan.command"), value=one) for one in (ScanCommand.START, ScanCommand.STOP)],
    "hold feedback, settle 1 us:\n    mark": [
        Row(Operation.RAISE, value=Request.FEEDBACK_HELD), Row(Operation.WAIT_CYCLES, b=V, value=100), Row(Operation.MARK),
        Row(Operation.LOWER, value=Request.FEEDBACK_HELD),
    ],
    "pause scan:\n    mark": [Row(Operation.RAISE, value=Request.SCAN_PAUSED), Row(Operation.MARK), Row(Operation.LOWER, value=Request.SCAN_PAUSED)],
    "repeat 20 times:\n    mark": [Row(Operation.ADD, 0, V, value=20), Row(Operation.MARK), Row(Operation.LOOP, 0, 0, V, 1, 1)],
    "repeat 3 times with i:\n    mark": [
        Row(Operation.ADD, 0), Row(Operation.MARK), Row(Operation.ADD, 0, 0, V, value=1), Row(Operation.LESS, a=0, b=V, place=1, value=3),
    ],
    "repeat:\n    mark\n    leave if line > 3": [Row(Operation.MARK), Row(Operation.LESS, a=V, b=Operand.LINE, place=3, value=3), Row(Operation.JUMP)],
    "if line == 3:\n    mark": [Row(Operation.NOT_EQUAL, a=Operand.LINE, b=V, place=2, value=3), Row(Operation.MARK)],
    "if line <= 3:\n    mark\notherwise:\n    stop scan": [
        Row(Operation.LESS, a=V, b=Operand.LINE, place=3, value=3), Row(Operation.MARK), Row(Operation.JUMP, place=4),
        Row(Operation.WRITE, b=V, place=place("scan.command"), value=ScanCommand.STOP),
    ],
    'emit "a"': [Row(Operation.EMIT)],
    'emit "a" line\nemit "b" x, y, z': [
        Row(Operation.EMIT, a=Operand.LINE), Row(Operation.EMIT, a=Operand.X, b=Operand.Y, value=1),
        Row(Operation.EMIT, a=Operand.Z, value=1 | 1 << 8),
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", STATEMENTS)
def test_statement(text: str) -> None:
    assert rows(text) == STATEMENTS[text]


def test_a_wait_that_gives_up_ends_the_program() -> None:
    found = compiled("wait for scan idle, at most 1 ms")
    assert found.rows == (
        Row(Operation.DEADLINE, b=V, value=100_000),
        Row(Operation.WAIT, Condition.SCAN_IDLE, place=3),
        Row(Operation.HALT),
        Row(Operation.HALT, value=1),
    )
    assert found.reasons == ("done", "timeout") and found.origins[3] == (0,)


def test_otherwise_stands_before_the_wait() -> None:
    """So that what came finds no jump on its way."""
    event = "event adatom: class 7, score z\n"
    found = compiled(event + 'hit = wait for adatom where hit.x > 0 m, at most 1 ms\notherwise:\n    mark\nemit "x" hit.y').rows
    assert [Operation(row.operation).name for row in found] == [
        "JUMP", "MARK", "JUMP", "DEADLINE", "WAIT", "NOT_EQUAL", "NOT_LESS", "ADD", "EMIT", "HALT",
    ]  # fmt: skip
    assert found[0].place == 3 and found[2].place == 8 and found[4].place == 1
    assert found[5].place == found[6].place == 4 and found[5].value == 7
    assert found[7] == Row(Operation.ADD, 0, Operand.EVENT_Y)


def test_a_move() -> None:
    found = rows("move to 1 nm, y at 1 um/s\nreturn")
    assert [Operation(row.operation).name for row in found] == [
        "ADD", "RAISE", "WAIT_SAMPLES", "MOVE", "DEADLINE", "WAIT", "RETURN", "DEADLINE", "WAIT", "LOWER",
    ]  # fmt: skip
    step_m = 1e-6 * SCALE.sample_period_s
    assert found[3].b == Operand.Y and found[3].value == round(step_m / SCALE.x_m_per_code * 4096)
    assert found[0].value == round(1e-9 / SCALE.x_m_per_code * 4096)
    paused = rows("pause scan:\n    move to 0 m, 0 m at 1 um/s\n    return\n    mark")
    assert [row for row in paused if row.operation == Operation.LOWER] == [paused[-1]]


def test_height_takes_the_mode_and_gives_it_back() -> None:
    """A request freezes z; the mode lets it be moved. Whoever halts within gives the mode back too."""
    found = rows('hold feedback:\n    height 1 nm at 1 um/s\n    if current > 1 nA:\n        halt "high"')
    writes = [(row.place, row.value) for row in found if row.operation == Operation.WRITE]
    mode = place("feedback.mode")
    assert writes[0] == (mode, FeedbackMode.HOLD) and writes[1] == (place("feedback.hold_height"), 0)
    assert writes[-2:] == [(mode, FeedbackMode.ON)] * 2
    assert Operation(found[-2].operation) is Operation.HALT and found[-1].operation == Operation.WRITE
    ramp = next(row for row in found if row.operation == Operation.RAMP)
    period, step = ramp.value >> 20 & 0xFFF, ramp.value & 0xFFFFF
    assert step / period == pytest.approx(1e-6 * SCALE.sample_period_s / SCALE.z_m_per_code * 4096, rel=0.01)


def test_leaving_a_loop_from_within_a_hold_releases_it() -> None:
    found = rows("repeat 5 times:\n    hold feedback:\n        leave if current > 1 nA\n        mark\nmark")
    lowered = [index for index, row in enumerate(found) if row == Row(Operation.LOWER, value=Request.FEEDBACK_HELD)]
    assert len(lowered) == 2
    jump = found[lowered[0] + 1]
    assert jump.operation == Operation.JUMP and found[jump.place] == Row(Operation.MARK)


def test_a_long_wait() -> None:
    """Longer than a word has cycles: turns of 2**30."""
    found = rows("wait 100 s")
    turns, wait, rest = found[0].value, found[1].value, found[3].value
    assert turns * (wait + 6) + rest == 100 * CYCLES


def test_slow_and_fast_ramps() -> None:
    for rate in (1e-2, 1.0, 1e3, 1e5):
        found = rows(f"ramp bias to 1 V at {rate!r} V/s")[-1]
        period, step = found.value >> 20 & 0xFFF, found.value & 0xFFFFF
        assert step / period * SCALE.bias_V_per_code / SCALE.sample_period_s == pytest.approx(rate, rel=0.02)
    with pytest.raises(CompileError, match="a ramp of 1e\\+08 V/s is not possible; accepted: 0.00832 to 3.57e\\+07 V/s"):
        rows("ramp bias to 1 V at 1e8 V/s")
    with pytest.raises(CompileError, match="a ramp of 0 V/s is not possible"):
        rows("ramp bias to 1 V at 0 V/s")


def test_registers_are_used_again() -> None:
    """Names of different blocks share registers; sixteen at a time are too many."""
    block = "if line > {0}:\n    a{0} = line\n    b{0} = line\n" + '    emit "{0}" a{0}, b{0}\n'
    assert compiled("".join(block.format(index) for index in range(30)))
    names = "".join(f"a{index} = line\n" for index in range(17)) + "".join(f'emit "{index}" a{index}\n' for index in range(17))
    with pytest.raises(CompileError, match="more than 16 values are needed at a time"):
        compiled(names)


def test_too_long() -> None:
    with pytest.raises(CompileError, match=f"more than the {BANK_ROWS} rows of a bank"):
        compiled("mark\n" * BANK_ROWS)
    assert len(compiled("mark\n" * (BANK_ROWS - 1)).rows) == BANK_ROWS


def test_every_row_has_its_statement_and_fits() -> None:
    found = compiled('repeat 5 times:\n    pulse 1 V for 1 us, rise 3 us\n    emit "a" 2 * x, y\n')
    assert len(found.origins) == len(found.rows)
    assert {path[:1] for path in found.origins} <= {(0,), ()}
    for row in found.rows:
        assert Row.from_words(*row.words()) == row


# Values: what the rows compute


def held(value: int) -> int:
    return max(-WORD, min(WORD - 1, value))


def executed(found: Compiled, read: dict[Operand, int]) -> list[tuple[int, int]]:
    """What is emitted: arithmetic, comparisons and jumps as the instruction set says, without time."""
    registers, said, at = [0] * 16, [], 0
    for _ in range(10_000):
        row = found.rows[at]
        a, b = (
            registers[which] if which < 16 else {Operand.ZERO: 0, Operand.VALUE: row.value, **read}[Operand(which)]
            for which in (row.a, row.b)
        )
        at += 1
        match row.operation:
            case Operation.ADD:
                registers[row.destination] = held(a + b)
            case Operation.SUBTRACT | Operation.LOOP:
                registers[row.destination] = held(a - b)
                if row.operation == Operation.LOOP and a > b:
                    at = row.place
            case Operation.SCALE:
                registers[row.destination] = held(a * b >> 16)
            case Operation.JUMP:
                at = row.place
            case Operation.LESS | Operation.NOT_LESS:
                if (a < b) == (row.operation == Operation.LESS):
                    at = row.place
            case Operation.EQUAL | Operation.NOT_EQUAL:
                if (a == b) == (row.operation == Operation.EQUAL):
                    at = row.place
            case Operation.EMIT:
                said.append((a, b))
            case Operation.HALT:
                return said
            case _:
                raise AssertionError(row)
    raise AssertionError("no end")


def test_comparisons() -> None:
    symbols = {"<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__, "==": int.__eq__, "!=": int.__ne__}
    for symbol, line in product(symbols, (2, 3, 4)):
        for text in (f"if line {symbol} 3:", f"if 3 {symbol} line:"):
            found = executed(compiled(f'{text}\n    emit "yes"\notherwise:\n    emit "no"'), {Operand.LINE: line})
            a, b = (line, 3) if text.startswith("if line") else (3, line)
            assert found == [(0, 0)]
            tags = compiled(f'{text}\n    emit "yes" line\notherwise:\n    emit "no"')
            assert (executed(tags, {Operand.LINE: line}) == [(line, 0)]) == symbols[symbol](a, b), (text, line)


def test_loops() -> None:
    text = 'repeat 3 times with i:\n    repeat 2 times:\n        emit "i" i\n    leave if i == 1'
    assert executed(compiled(text), {}) == [(0, 0), (0, 0), (1, 0), (1, 0)]


NUMBERS = st.floats(-400e-9, 400e-9).map(lambda value: Number(value, "m"))
VALUES = st.recursive(
    NUMBERS | st.just(Read(Reading.X)),
    lambda inner: st.one_of(
        st.builds(Sum, inner, inner),
        st.builds(Difference, inner, inner),
        st.builds(Scaled, st.floats(-3, 3).map(lambda factor: Number(factor, "")), inner),
        st.builds(Clamped, inner, st.floats(-300e-9, 0).map(lambda v: Number(v, "m")), st.floats(0, 300e-9).map(lambda v: Number(v, "m"))),
    ),
    max_leaves=6,
)


def exact(value: Value, x: int) -> int:
    """Raw value with each step rounded and held as the instruction set says."""
    match value:
        case Number(number):
            found = round(Kind.X.to_raw(SCALE, number))
        case Read():
            found = x
        case Sum(a, b):
            found = held(exact(a, x) + exact(b, x))
        case Difference(a, b):
            found = held(exact(a, x) - exact(b, x))
        case Scaled(factor, of):
            found = held(exact(of, x) * round(factor.value * 65536) >> 16)
        case Clamped(of, low, high):
            ends = [round(Kind.X.to_raw(SCALE, end.value)) for end in (low, high)]
            found = min(max(exact(of, x), ends[0]), ends[1])
        case _:
            raise AssertionError(value)
    return found


@settings(deadline=None)
@given(value=VALUES, x=st.integers(-WORD, WORD - 1))
def test_values_are_computed_as_said(value: Value, x: int) -> None:
    body = (Let("v", Sum(value, Difference(Read(Reading.X), Read(Reading.X)))), Emit("v", (Variable("v"),)))
    found = compile_program(ProgramTree("values", body), SCALE)
    assert executed(found, {Operand.X: x})[0][0] == exact(value, x)


@pytest.mark.parametrize(("step", "unit"), [(10e-3, "V"), (1e-9, "m"), (50e-9, "m"), (-1e-12, "m")])
def test_a_ladder_is_true_to_a_code(step: float, unit: str) -> None:
    """``step * i`` for a loop's index, also where the step is larger than a factor can be."""
    kind, reading = (Kind.BIAS, Reading.BIAS) if unit == "V" else (Kind.X, Reading.X)
    ladder = Sum(Scaled(Number(step, unit), Read(Reading.LINE)), Difference(Read(reading), Read(reading)))
    found = compile_program(ProgramTree("ladder", (Let("v", ladder), Emit("v", (Variable("v"),)))), SCALE)
    fraction = 1 if kind is Kind.BIAS else 4096
    for line in (0, 1, 7, 100, 400):
        raw = executed(found, {Operand.LINE: line, Operand.BIAS: 0, Operand.X: 0})[0][0]
        wanted = kind.to_raw(SCALE, step * line)
        if abs(wanted) < WORD:
            assert abs(raw - wanted) <= 1.01 * fraction
