"""The text of programs: it says exactly what the tree does, and whatever is no program is refused in one line."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reflexarc.contract.program import Condition, SampleChannel, Statistic
from reflexarc.errors import BadInput
from reflexarc.programs.text import ProgramTextError, lines_of, parse, print_program, statement_line
from reflexarc.programs.tokens import (
    CONDITIONS,
    FIELDS,
    MAX_BLOCKS,
    MAX_CHARACTERS,
    MAX_COUNT,
    MAX_OPERATIONS,
    MAX_PARENTHESES,
    MAX_STATEMENTS,
    NUMBER_UNITS,
    PARAMETER_UNITS,
    RESERVED,
)
from reflexarc.programs.tree import (
    Block,
    Clamped,
    Comparator,
    Comparison,
    Difference,
    During,
    Emit,
    EventType,
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
    Read,
    Reading,
    Repeat,
    Return,
    Sample,
    Scaled,
    Score,
    Set,
    StartScan,
    Statement,
    StopScan,
    Sum,
    Value,
    Variable,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
    blocks,
)

EXAMPLE = """\
program "pulse adatoms"

event adatom: class 7, score z
event step: class 8, score current

hit = wait for adatom where hit.score > 50 pm and hit.x < 3 nm, at most 2 s
otherwise:
    halt "nothing seen"
hold feedback, settle 50 us:
    move to hit.x, hit.y at 1 um/s
    i0 = mean of 64 samples of current
    height 200 pm at 10 nm/s
    repeat 20 times:
        pulse 2.2 V for 10 us, rise 1 us, settle 20 us
        i1 = mean of 64 samples of current
        leave if i1 < 0.6 * i0
x1 = clamp(x + 2 nm - (y - 1 nm), -5 nm, 5 nm)
set bias 100 mV
set feedback.kp 1 nm
ramp bias to 1 V at 100 V/s
wait 50 us
wait 8 samples
mark
wait until 1 ms
wait for scan idle, at most 2 s
otherwise:
    repeat with i:
        set bias 10 mV * i
        leave
return
pause scan:
    wait 1 ms
expose for 1 ms
start scan
stop scan
if i1 < i0:
    emit "smaller" i0, hit.x
otherwise:
    halt "larger"
"""


def body(*statements: Statement) -> ProgramTree:
    return ProgramTree("p", statements)


def program(*lines: str) -> str:
    """A text whose first statement is in line 2."""
    return "\n".join(('program "p"', *lines, ""))


def one(line: str) -> Statement:
    (statement,) = parse(program(line)).body
    return statement


def refusal(text: str, name: str = "p.arc") -> str:
    with pytest.raises(ProgramTextError) as error:
        parse(text, name)
    assert isinstance(error.value, BadInput)
    assert len(str(error.value).splitlines()) == 1 and str(error.value).isprintable() and len(str(error.value)) < 700
    return str(error.value)


def short(text: object) -> str:
    return ascii(text)[:40]


# Trees

floats = st.floats(allow_nan=False, allow_infinity=False)
# What people write as well, not only what fills all digits of a float.
decimals = st.builds(lambda m, e: float(f"{m}e{e}"), st.integers(-99999, 99999), st.integers(-18, 12))
numbers = floats | decimals
positive = numbers.map(abs)
counts = st.integers(1, MAX_COUNT)
names = (st.sampled_from(("i0", "hit", "m", "nm", "_", "A" * 40)) | st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,39}", fullmatch=True)).filter(
    lambda name: name not in RESERVED
)
parameters = st.sampled_from(sorted(PARAMETER_UNITS)) | st.from_regex(r"[a-z_]{1,40}(\.[a-z_]{1,40})?", fullmatch=True)
quoted = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"), exclude_characters='"'), max_size=80)
constants = st.builds(Number, numbers, st.sampled_from(NUMBER_UNITS))
variables = st.builds(Variable, names | st.builds("{}.{}".format, names, st.sampled_from(FIELDS)))
values: st.SearchStrategy[Value] = st.recursive(
    constants | variables | st.builds(Read, st.sampled_from(Reading)),
    lambda inner: (
        st.builds(Sum, inner, inner)
        | st.builds(Difference, inner, inner)
        | st.builds(Scaled, constants, inner)
        | st.builds(Clamped, inner, constants, constants)
    ),
    max_leaves=6,
)
comparisons = st.builds(Comparison, values, st.sampled_from(Comparator), values)
simple: st.SearchStrategy[Statement] = st.one_of(
    st.builds(Sample, names, st.sampled_from(SampleChannel), st.sampled_from(Statistic), counts),
    st.builds(Let, names, values),
    st.builds(Set, parameters, values),
    st.builds(Ramp, parameters, values, positive),
    st.builds(Wait, positive),
    st.builds(WaitSamples, counts),
    st.sampled_from((Mark(), Return(), StartScan(), StopScan())),
    st.builds(WaitUntil, positive),
    st.builds(Move, values, values, positive),
    st.builds(Height, values, positive),
    st.builds(Pulse, values, positive, st.just(0.0) | positive, st.just(0.0) | positive),
    st.builds(During, st.sampled_from(Line), positive),
    st.builds(Leave, st.none() | comparisons),
    st.builds(Emit, quoted, st.lists(values, max_size=3).map(tuple)),
    st.builds(Halt, quoted),
)


def statements(depth: int) -> st.SearchStrategy[Statement]:
    waits = (
        st.builds(WaitEvent, names, names, st.lists(comparisons, max_size=3).map(tuple), positive, _block_or(None, depth)),
        st.builds(WaitFor, st.sampled_from(list(CONDITIONS.values())), positive, _block_or(None, depth)),
    )
    if depth == 0:
        return st.one_of(simple, *waits)
    inner = block(depth - 1)
    return st.one_of(
        simple,
        *waits,
        st.builds(Hold, st.just(0.0) | positive, inner),
        st.builds(Pause, inner),
        st.builds(Repeat, st.none() | counts, inner, st.none() | names),
        st.builds(If, comparisons, inner, _block_or((), depth)),
    )


def _block_or(nothing: Block | None, depth: int) -> st.SearchStrategy[Block | None]:
    return st.just(nothing) | block(depth - 1) if depth else st.just(nothing)


def block(depth: int) -> st.SearchStrategy[Block]:
    return st.lists(statements(depth), min_size=1, max_size=3).map(tuple)


events = st.lists(st.builds(EventType, names, st.integers(0, 255), st.sampled_from(Score)), max_size=3).map(tuple)
trees = st.builds(ProgramTree, quoted, block(2), events)


def walk(inner: Block, path: Path = ()) -> list[tuple[Path, Statement]]:
    """All statements in the order of the text."""
    found = []
    for place, statement in enumerate(inner):
        found.append(((*path, place), statement))
        for number, deeper in enumerate(blocks(statement)):
            found += walk(deeper, (*path, place, number))
    return found


@settings(max_examples=150, deadline=None)
@given(tree=trees)
@example(tree=body(Ramp("system.sample_period", Read(Reading.CURRENT), 0.005)))  # a rate in s/s
def test_round_trip(tree: ProgramTree) -> None:
    text = print_program(tree)
    read = parse(text)
    assert read == tree
    assert print_program(read) == text
    assert "\t" not in text and all(line == line.rstrip(" ") for line in text.split("\n"))


@settings(max_examples=50, deadline=None)
@given(tree=trees)
def test_lines_of_statements(tree: ProgramTree) -> None:
    lines = print_program(tree).split("\n")
    numbers_of = lines_of(tree)
    assert list(numbers_of) == [path for path, _ in walk(tree.body)]
    for path, statement in walk(tree.body):
        assert lines[numbers_of[path] - 1] == "    " * (len(path) // 2) + statement_line(statement, tree)
    assert sorted(numbers_of.values()) == list(numbers_of.values())


@settings(max_examples=300, deadline=None)
@given(value=numbers, unit=st.sampled_from(NUMBER_UNITS))
def test_numbers_are_exact(value: float, unit: str) -> None:
    (read,) = parse(print_program(body(Let("a", Number(value, unit))))).body
    assert isinstance(read, Let) and isinstance(read.value, Number)
    assert read.value.unit == unit and read.value.value.hex() == value.hex()  # -0.0 too


def test_example() -> None:
    tree = parse(EXAMPLE)
    assert print_program(tree) == EXAMPLE
    assert tree.name == "pulse adatoms"
    assert tree.events == (EventType("adatom", 7, Score.Z), EventType("step", 8, Score.CURRENT))
    assert lines_of(tree)[(1, 0, 3, 0, 2)] == 1 + EXAMPLE.split("\n").index("        leave if i1 < 0.6 * i0")
    first = tree.body[0]
    assert isinstance(first, WaitEvent) and first.otherwise == (Halt("nothing seen"),)
    assert first.conditions[0] == Comparison(Variable("hit.score"), Comparator.GREATER, Number(50e-12, "m"))
    assert tree.body[3:6] == (
        Set("bias", Number(0.1, "V")),
        Set("feedback.kp", Number(1e-9, "m")),
        Ramp("bias", Number(1.0, "V"), 100.0),
    )
    assert tree.body[10] == WaitFor(
        Condition.SCAN_IDLE, 2.0, (Repeat(None, (Set("bias", Scaled(Number(0.01, "V"), Variable("i"))), Leave()), "i"),)
    )


A, B, C = Variable("a"), Variable("b"), Variable("c")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a + b - c", Difference(Sum(A, B), C)),
        ("a - (b + c)", Difference(A, Sum(B, C))),
        ("2 * 3 * a + b", Sum(Scaled(Number(2.0, ""), Scaled(Number(3.0, ""), A)), B)),
        ("-0.6 * (a - b)", Scaled(Number(-0.6, ""), Difference(A, B))),
        ("2 * 3 V", Scaled(Number(2.0, ""), Number(3.0, "V"))),
        ("10 mV * a", Scaled(Number(0.01, "V"), A)),
        ("a - -3 V", Difference(A, Number(-3.0, "V"))),
        ("1 nm + 2 nm", Sum(Number(1e-9, "m"), Number(2e-9, "m"))),
        ("clamp(2 * (a + b), -1, 1)", Clamped(Scaled(Number(2.0, ""), Sum(A, B)), Number(-1.0, ""), Number(1.0, ""))),
        ("line - events", Difference(Read(Reading.LINE), Read(Reading.EVENTS))),
        ("hit.class", Variable("hit.class")),
        ("-50 pm", Number(-50e-12, "m")),
        ("1e-20 A", Number(1e-20, "A")),
        ("-0 V", Number(-0.0, "V")),
        ("999.9999999999999 mV", Number(0.9999999999999999, "V")),
        ("1e+22", Number(1e22, "")),
        ("5e-324 s", Number(5e-324, "s")),
        ("100 GV", Number(1e11, "V")),
        ("1000000000000 V", Number(1e12, "V")),
    ],
)
def test_values_as_they_are_printed(text: str, value: Value) -> None:
    assert one(f"a = {text}") == Let("a", value)
    assert statement_line(Let("a", value), body()) == f"a = {text}"


@pytest.mark.parametrize(
    ("line", "statement"),
    [
        ("a=b+-.5nA  # and more", Let("a", Sum(B, Number(-0.5e-9, "A")))),
        ("a = ((b))-c", Let("a", Difference(B, C))),
        ("a = 3 Å", Let("a", Number(3e-10, "m"))),
        ("a = 3 A\u030a", Let("a", Number(3e-10, "m"))),
        ("wait 3 µs", Wait(3e-6)),  # micro sign
        ("wait 3 μs", Wait(3e-6)),  # Greek letter
        ("wait 1.5E3us", Wait(1.5e-3)),
        ("move to x, y at 1 nm / us", Move(Read(Reading.X), Read(Reading.Y), 1e-3)),
        ("ramp setpoint to 1 nA at 2 pA/ms", Ramp("setpoint", Number(1e-9, "A"), 2e-9)),
        ("ramp feedback.kp to 1 nm at 5 nm/s", Ramp("feedback.kp", Number(1e-9, "m"), 5e-9)),
        ("ramp no.such to 3 at 5 /ms", Ramp("no.such", Number(3.0, ""), 5000.0)),
        ("pulse a for 1 ms, settle 1 us", Pulse(A, 1e-3, 0.0, 1e-6)),
        ('halt "# no comment"', Halt("# no comment")),
        ('emit "" -3, a', Emit("", (Number(-3.0, ""), A))),
        ("wait 008 samples", WaitSamples(8)),
    ],
)
def test_other_ways_to_write(line: str, statement: Statement) -> None:
    assert one(line) == statement
    assert one(statement_line(statement, body())) == statement


def test_layout_is_free() -> None:
    odd = 'program "p"\r\n# x\r\n\r\nif a < b :\r\n\r\n  # deep\r\n  repeat:\r\n         leave\r\n# shallow\r\n\r\notherwise:\r\n   mark\r\n   \r\nmark'
    assert parse(odd) == body(If(Comparison(A, Comparator.LESS, B), (Repeat(None, (Leave(),)),), (Mark(),)), Mark())


def test_otherwise_belongs_by_its_indentation() -> None:
    wait = "wait for at rest, at most 1 s"
    inner = parse(program("if a < b:", f"    {wait}", "    otherwise:", "        mark", "mark")).body[0]
    outer = parse(program("if a < b:", f"    {wait}", "otherwise:", "    mark", "mark")).body[0]
    assert isinstance(inner, If) and isinstance(outer, If)
    assert inner.then == (WaitFor(Condition.AT_REST, 1.0, (Mark(),)),) and inner.otherwise == ()
    assert outer.then == (WaitFor(Condition.AT_REST, 1.0),) and outer.otherwise == (Mark(),)


# What is refused


@pytest.mark.parametrize(
    ("line", "says"),
    [
        # statements
        ("foo", 'expected a statement such as "wait 50 us" or "i0 = mean of 64 samples of current", found "foo"'),
        ('"mark"', 'expected a statement such as .*, found "mark"'),
        ("otherwise:", r"expected a statement \(an otherwise stands directly below .*\), found \"otherwise\""),
        ("event a: class 1, score z", None),
        ("mark now", 'expected the end of the line, found "now"'),
        ("hold feedback", 'expected ":", found the end of the line'),
        ("hold scan:", 'expected "feedback", found "scan"'),
        ("hold feedback, rise 1 us:", 'expected "settle", found "rise"'),
        ("pulse 1 V for 1 ms, for 1 us", 'expected "rise" or "settle", found "for"'),
        ("pulse 1 V for 1 ms, settle 1 us, rise 1 us", 'expected the end of the line, found ","'),
        ("move to x at 1 um/s", 'expected ",", found "at"'),
        ("i0 = mean of 64 current", 'expected "samples of", found "current"'),
        ("i0 = mean of 64 samples of bias", 'expected "current", "monitor" or "z", found "bias"'),
        ("repeat 20:", 'expected "times", found ":"'),
        ("hit = wait for adatom", 'expected ", at most", found the end of the line'),
        ("wait for adatom, at most 1 s", 'expected "scan idle", .* or "external scan low" .*"hit = wait for ...".*, found "adatom"'),
        ("wait for event, at most 1 s", 'expected "scan idle", .*, found "event"'),
        ("wait for next event, at most 1 s", 'expected "scan idle", .*, found "next"'),
        ("halt nothing", 'expected a text in quotes, found "nothing"'),
        ('halt "nothing', "expected a quotation mark at the end of the quoted text, found the end of the line"),
        ('halt "a\x07b"', r"expected a text without control characters, found '\\x07'"),
        ('halt "a\u2028b"', r"expected a text without control characters, found '\\u2028'"),
        ('halt "a\ud800b"', r"expected a text without control characters, found '\\ud800'"),
        (f'emit "{"a" * 81}"', "expected a text of at most 80 characters, found 81 characters"),
        ('emit "a" 3 V, ', 'expected a value such as "2 nA", .*, found the end of the line'),
        # names
        ("x = 3 nm", 'expected a name that is no word of the program\'s language, found "x"'),
        ("repeat with mark:", 'expected a name that is no word of the program\'s language, found "mark"'),
        ("hit.x = 3 nm", 'expected a name of ASCII letters, digits and _, at most 40 characters, found "hit.x"'),
        (f"{'a' * 41} = 3", 'expected a name of ASCII letters, .*, found "a{40}..."'),
        ("größe = 3", 'expected a name of ASCII letters, .*, found "größe"'),
        ("3 = 3", 'expected a name of ASCII letters, .*, found "3"'),
        ("a = hit.z", 'expected "hit.x", "hit.y", "hit.score" or "hit.class", found "hit.z"'),
        ("a = hit.x.y", 'expected "hit.x", .*, found "hit.x.y"'),
        ("a = bias.x", 'expected a value such as .*, found "bias.x"'),
        ("set a.b.c 3", 'expected a parameter: "bias", "setpoint" or a register such as "feedback.kp", found "a.b.c"'),
        ("set 3 3", 'expected a parameter: .*, found "3"'),
        # values
        ("a = ", 'expected a value such as "2 nA", "current", "i0" or "0.6 \\* i0", found the end of the line'),
        ("a = b * 0.6", 'expected a number before "\\*", as in "0.6 \\* i0", found "\\*"'),
        ("a = -b", 'expected a number, found "b"'),
        ("a = -(b)", 'expected a number, found "\\("'),
        ("a = (b", 'expected "\\)", found the end of the line'),
        ("a = b)", 'expected the end of the line, found "\\)"'),
        ("a = b c", 'expected the end of the line, found "c"'),
        ("a = clamp(b, c, 3)", 'expected a number, found "c"'),
        ("a = clamp b", 'expected "\\(", found "b"'),
        ("a = clamp(b, 3)", 'expected ",", found "\\)"'),
        ("a = 3 V/s", 'expected a number in A, V, m or s, or without a unit, found "3 V/s"'),
        ("if a = b:", 'expected "<", "<=", ">", ">=", "==" or "!=", found "="'),
        ("if a:", 'expected "<", .*, found ":"'),
        ("leave if", "expected a value such as .*, found the end of the line"),
        # numbers
        ("a = 3 foo", 'expected a unit of A, V, m or s such as "nA" or "um/s", found "foo"'),
        ("a = 3 Hz", 'expected a unit .*, found "Hz"'),
        ("a = 3 k", 'expected a unit .*, found "k"'),
        ("a = 3 s/s", 'expected a number in A, V, m or s, or without a unit, found "3 s/s"'),
        ("a = 3 /", 'expected a unit .*, found "/"'),
        ("a = 3 / 2", 'expected a unit .*, found "/"'),
        ("a = 3 /m", 'expected a unit .*, found "/m"'),
        ("a = 3 samples", 'expected the end of the line, found "samples"'),
        ("a = 3 pulses", 'expected a unit .*, found "pulses"'),
        ("a = nan V", 'expected the end of the line, found "V"'),  # a variable by this name
        ("a = inf V", 'expected the end of the line, found "V"'),
        ("a = 1e309", 'expected a number between 5e-324 and 1.8e308 in magnitude, or 0, found "1e309"'),
        ("a = -1e308 kV", 'expected a number between .*, found "-1e308"'),
        ("a = 1e-400", 'expected a number between .*, found "1e-400"'),
        (f"a = 1e{'9' * 50}", 'expected a number between .*, found "1e9+"'),
        (f"a = 0.{'0' * 60}1", "expected a number of at most 60 characters, found 63 characters"),
        ("a = ٣", 'expected a word, a number, a sign or a text in quotes, found "٣"'),
        ("a = 3²", 'expected a unit .*, found "²"'),
        ("i0 = mean of 0 samples of current", 'expected a whole number from 1 to 16777215, found "0"'),
        ("i0 = mean of 6.4 samples of current", 'expected a whole number from 1 to 16777215, found "6.4"'),
        ("repeat 16777216 times:", 'expected a whole number from 1 to 16777215, found "16777216"'),
        ("wait 1e3 samples", 'expected a whole number from 1 to 16777215, found "1e3"'),
        (f"wait {'9' * 5000} samples", 'expected a whole number .*, found "9{40}..."'),
        # units that are due
        ("wait 50", 'expected a time, 0 or more, such as "0.5 s", found "50"'),
        ("wait -50 us", 'expected a time, 0 or more, such as "0.5 s", found "-50 us"'),
        ("wait until 1 nm", 'expected a time, .*, found "1 nm"'),
        ("expose for 1 V/s", 'expected a time, .*, found "1 V/s"'),
        ("height 1 nm at 1 um", 'expected a speed, 0 or more, such as "50 um/s", found "1 um"'),
        ("ramp bias to 1 V at 1 A/s", 'expected a rate of bias in V/s, 0 or more, such as "10 V/s", found "1 A/s"'),
        ("ramp setpoint to 1 nA at 1 V/s", 'expected a rate of setpoint in A/s, .*, found "1 V/s"'),
        ("ramp feedback.kp to 1 nm at 1 /s", 'expected a rate of feedback.kp in m/s, .*, found "1 /s"'),
        ("ramp a.b to 1 at 1 V/s", 'expected a rate of a.b in /s, 0 or more, such as "1 /s", found "1 V/s"'),
        # characters
        ("\tmark", "expected spaces, found a tab"),
        ("mark\t", "expected spaces, found a tab"),
        ("mark\x00", r"expected a word, a number, a sign or a text in quotes, found \"\\x00\""),
        ("mark\rmark", r"expected a word, .*, found \"\\r\""),
        ("mark; mark", 'expected a word, .*, found ";"'),
        (" mark", "expected an indentation of 0, found 1"),
    ],
    ids=short,
)
def test_a_line_is_refused(line: str, says: str | None) -> None:
    if says is None:  # a good line in a wrong place
        line, says = f"mark\n{line}", r'expected a statement \(events stand above the first one\), found "event"'
    pytest.raises(ProgramTextError, parse, program(line)).match(rf"^program, line {2 + line.count(chr(10))}: {says}$")
    refusal(program(line))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", 'line 1: expected a first line such as program "pulse adatoms", not indented, found the end of the text'),
        (' program "p"\nmark', 'line 1: expected a first line such as program "pulse adatoms", not indented, found "program"'),
        ("program p\nmark", 'line 1: expected a text in quotes, found "p"'),
        ('program "p"', "line 1: expected a statement, found the end of the text"),
        ('program "p"\n\n# none\n', "line 4: expected a statement, found the end of the text"),
        ('program "p"\nevent a', 'line 2: expected ": class", found the end of the line'),
        ('program "p"\nevent z: class 1, score z', 'line 2: expected a name that is no word of the program\'s language, found "z"'),
        ('program "p"\nevent a: class 256, score z', 'line 2: expected a whole number from 0 to 255, found "256"'),
        ('program "p"\nevent a: class 1, score x', 'line 2: expected "z", "current" or "number", found "x"'),
        ('program "p"\nevent a: class 1', 'line 2: expected ", score", found the end of the line'),
        (
            'program "p"\nrepeat:\n\nmark',
            'line 4: expected a statement indented by more than the 0 spaces of line 2, whose block begins here, found "mark"',
        ),
        ('program "p"\nrepeat:', "line 2: expected a statement indented by .*, found the end of the text"),
        ('program "p"\nrepeat:\n    # none\n', "line 4: expected a statement indented by .*, found the end of the text"),
        ('program "p"\nrepeat:\n    mark\n     mark', "line 4: expected an indentation of 4, found 5"),
        ('program "p"\nrepeat:\n    mark\n  mark', "line 4: expected an indentation of 0, found 2"),
        ('program "p"\nrepeat:\n    repeat:\n        mark\n      mark', "line 5: expected an indentation of 4, found 6"),
        ('program "p"\nwait for at rest, at most 1 s\n  otherwise:', "line 3: expected an indentation of 0, found 2"),
        ('program "p"\nmark\notherwise:\n    mark', r"line 3: expected a statement \(an otherwise .*\), found \"otherwise\""),
    ],
    ids=short,
)
def test_a_text_is_refused(text: str, says: str) -> None:
    pytest.raises(ProgramTextError, parse, text, "p.arc").match(f"^p.arc, {says}$")
    refusal(text)


def test_the_name_does_not_break_the_line() -> None:
    assert refusal("", "a\nb\x1b[31m").startswith(r"a\nb\x1b[31m, line 1: ")


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_reserved_words_are_no_names(word: str) -> None:
    assert "no word of the program's language" in refusal(program(f"repeat with {word}:"))
    with pytest.raises(ValueError, match="can't be written as text"):
        print_program(body(Let(word, Number(3.0, ""))))


def nested(value: Value, times: int) -> Value:
    for _ in range(times):
        value = Sum(A, value)
    return value


def chain(times: int) -> Value:
    value: Value = A
    for _ in range(times):
        value = Sum(value, B)
    return value


def in_blocks(times: int) -> Block:
    found: Block = (Mark(),)
    for _ in range(times):
        found = (Repeat(None, found),)
    return found


LIMITS = [
    (body(Let("a", chain(MAX_OPERATIONS))), body(Let("a", chain(MAX_OPERATIONS + 1))), "operations"),
    (body(Let("a", nested(A, MAX_PARENTHESES + 1))), body(Let("a", nested(A, MAX_PARENTHESES + 2))), "parentheses"),
    (body(*in_blocks(MAX_BLOCKS)), body(*in_blocks(MAX_BLOCKS + 1)), "blocks"),
    (body(*(Mark(),) * MAX_STATEMENTS), body(*(Mark(),) * (MAX_STATEMENTS + 1)), "statements"),
]


@pytest.mark.parametrize(("good", "bad", "what"), LIMITS, ids=[what for *_, what in LIMITS])
def test_limits(good: ProgramTree, bad: ProgramTree, what: str) -> None:
    assert parse(print_program(good)) == good
    with pytest.raises(ValueError, match=f"can't be written as text: .*expected at most [0-9]+ {what}.*, found one more"):
        print_program(bad)


@pytest.mark.parametrize(
    "statement",
    [
        If(Comparison(A, Comparator.LESS, B), ()),
        If(Comparison(A, Comparator.LESS, B), (), (Mark(),)),
        Hold(0.0, ()),
        Repeat(None, ()),
        WaitFor(Condition.AT_REST, 1.0, ()),
        WaitFor(Condition.EVENT, 1.0),
        WaitFor(Condition.NEXT_EVENT, 1.0),
        Wait(float("nan")),
        Wait(float("inf")),
        Wait(-1.0),
        Wait(10**400),
        Let("a", Number(float("nan"), "V")),
        Let("a", Number(-float("inf"), "")),
        Let("a", Number(3.0, "Hz")),
        Let("a", Number(2**60 + 1, "")),
        Let("a", Variable("x")),
        Let("a", nested(A, 10_000)),
        Let("a = 1\nb", A),
        Set("a b", A),
        WaitSamples(0),
        WaitSamples(MAX_COUNT + 1),
        Halt('"'),
        Halt('" # "'),
        Halt("a\nmark"),
        Halt("a" * 81),
        *in_blocks(5000),
    ],
    ids=lambda statement: type(statement).__name__,
)
def test_a_tree_without_a_text(statement: Statement) -> None:
    with pytest.raises(ValueError, match="can't be written as text"):
        print_program(body(Mark(), statement))


def test_an_empty_program_has_no_text() -> None:
    with pytest.raises(ValueError, match="expected a statement"):
        print_program(body())


# Any text


def tree_or_refusal(text: str) -> None:
    """What is read has a text as well."""
    try:
        tree = parse(text, "p.arc")
    except ProgramTextError as error:
        assert str(error).startswith("p.arc") and str(error).isprintable() and len(str(error)) < 700
    else:
        assert parse(print_program(tree)) == tree


SEEDS = (
    'program "p"\n',
    "wait 1 s\n",
    "repeat:\n",
    "    ",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\0",
    '"',
    "#",
    "(",
    ")",
    "-",
    "1e999",
    "٣",
    "Å",
    ":",
    ",",
    "=",
)
pieces = st.sampled_from((*SEEDS, *EXAMPLE.split())) | st.text(max_size=5)


@settings(max_examples=150, deadline=None)
@given(text=st.text() | st.lists(pieces, max_size=30).map(" ".join).map('program "p"\n'.__add__))
def test_any_text(text: str) -> None:
    tree_or_refusal(text)


@settings(max_examples=200, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 12), st.just("") | pieces), min_size=1, max_size=4))
def test_mutated_text(edits: list[tuple[int, int, str]]) -> None:
    text = EXAMPLE
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    tree_or_refusal(text)


@settings(max_examples=50, deadline=None)
@given(tree=trees, data=st.data())
def test_mutated_trees(tree: ProgramTree, data: st.DataObject) -> None:
    lines = print_program(tree).split("\n")
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at] = data.draw(st.sampled_from((lines[at][1:], f" {lines[at]}", "", f"{lines[at]}:", lines[at].swapcase(), *lines)))
    tree_or_refusal("\n".join(lines))


def assigned(repeated: str, end: str = "") -> str:
    return 'program "p"\na = ' + repeated * ((MAX_CHARACTERS - 30) // len(repeated)) + end


@pytest.mark.parametrize(
    "text",
    [
        "\0" * MAX_CHARACTERS,
        '"' * MAX_CHARACTERS,
        "\n" * MAX_CHARACTERS,
        "program " * (MAX_CHARACTERS // 8),
        assigned("("),
        assigned("-"),
        assigned("2 * "),
        assigned("a + "),
        assigned("a."),
        assigned("1"),
        assigned("1 Å/"),
        assigned("clamp("),
        assigned("A\u030a"),
        program('emit "a" ' + "a, " * 300_000 + "a"),
        program(*(" " * depth + "repeat:" for depth in range(1400))),
        program(*(" " * (1400 - depth) + "mark" for depth in range(1400))),
        program("repeat:", *(["  repeat:", "    mark"] * 40_000)),
    ],
    ids=lambda text: short(text.removeprefix('program "p"\n'))[:20],
)
def test_large_texts(text: str) -> None:
    """Read, or refused, within a time that is far above what is seen."""
    assert len(text) <= MAX_CHARACTERS
    began = time.process_time()
    try:
        parse(text)
    except ProgramTextError as error:
        assert str(error).isprintable() and len(str(error)) < 700
    assert time.process_time() - began < 10


def test_a_text_that_is_too_large() -> None:
    assert refusal(" " * (MAX_CHARACTERS + 1)) == f"p.arc: expected at most {MAX_CHARACTERS} characters, found {MAX_CHARACTERS + 1}"
