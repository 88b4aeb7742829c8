"""The canonical form: whatever parses is a safe program, and comes back from its own line."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc.calibration import Calibration, Preamp, PreampKind
from reflexarc.errors import BadInput
from reflexarc.programs.canonical import LONGEST_S, CanonicalError, alphabet, decode, encode
from reflexarc.programs.canonical.bounds import HEIGHT_MOST_M_PER_S, SHARE
from reflexarc.programs.canonical.symbols import LINE_MAX, read_line, write_symbol
from reflexarc.programs.intervals import Box, Interval
from reflexarc.programs.names import walk
from reflexarc.programs.text import parse, print_program
from reflexarc.programs.tree import (
    Block,
    Clamped,
    Halt,
    Height,
    Hold,
    If,
    Leave,
    Move,
    Number,
    ProgramTree,
    Pulse,
    Ramp,
    Repeat,
    Return,
    Set,
    Statement,
    Value,
    Wait,
    WaitEvent,
    WaitFor,
    blocks,
)
from reflexarc.programs.verify import WORST_DECAY_PER_M, Assumptions, verify
from reflexarc.safety.limits import Limits, Rectangle

SYMBOLS = [*alphabet(), *["[end]"] * 12]
CALIBRATION = Calibration()


def frame(half_m: float) -> Box:
    return Box(Interval(-half_m, half_m), Interval(-half_m, half_m))


STM = Assumptions(CALIBRATION, Limits(), frame=frame(2e-9))
INSTRUMENTS = {
    "stm": STM,
    "anywhere": Assumptions(CALIBRATION, Limits()),
    "negative": Assumptions(CALIBRATION, Limits(), setpoint_A=50e-12, bias_V=-1.0, frame=frame(2e-9)),
    "compressed": Assumptions(Calibration(cycles_per_sample=16), Limits(), frame=frame(2e-9)),
    "tight": Assumptions(
        CALIBRATION,
        Limits(current_high_A=150e-12, bias_min_V=0.4, pulse_s=50e-6, z_velocity_m_per_s=3e-6, oscillation_limit=0.1),
        frame=frame(3e-9),
    ),
    "beyond its limits": Assumptions(CALIBRATION, Limits(current_high_A=90e-12, bias_min_V=1.0)),
    "budgets": Assumptions(
        CALIBRATION,
        Limits(pulses=7, charge_C=1e-15, beam_A=1e-12, pixel_dose_e=300, blanker_delay_s=1e-6),
    ),
    "kept out": Assumptions(CALIBRATION, Limits(keep_outs=(Rectangle(1e-9, 2e-9, 1e-9, 2e-9),)), frame=frame(3e-9)),
    "boxed": Assumptions(CALIBRATION, Limits(x_low_m=-1e-9, x_high_m=1.3e-9, y_low_m=-1e-9, y_high_m=1e-9)),
    "beam": Assumptions(CALIBRATION, Limits(), bias_V=0.0, frame=frame(100e-9), tip=False),
    "logarithmic": Assumptions(replace(CALIBRATION, preamp=Preamp(PreampKind.LOGARITHMIC)), Limits()),
    "large": Assumptions(replace(CALIBRATION, x_m_per_V=10e-6, y_m_per_V=5e-6, z_m_per_V=1e-6), Limits(), frame=frame(5e-9)),
    "no conditions": Assumptions(CALIBRATION, Limits(conditions=frozenset()), setpoint_A=1e-9, bias_V=3.0),
}


def body(line: str, given: Assumptions = STM, longest_s: float = LONGEST_S) -> list[str]:
    """Lines of the text, without those that every program has."""
    text = print_program(decode(line, given, longest_s)).splitlines()[1:]
    return [one for one in text if one]


def check(line: str, given: Assumptions, longest_s: float = LONGEST_S) -> ProgramTree:
    """All that holds for whatever parses."""
    tree = decode(line, given, longest_s)
    verdict = verify(tree, given)
    assert not verdict.findings, verdict.findings
    assert verdict.bounds is not None and math.isfinite(verdict.bounds.time_s)
    if not any(isinstance(statement, Move) for _, statement in walk(tree)):  # the verifier does not see how short a relative way is
        assert verdict.bounds.time_s <= longest_s
    again = encode(tree)
    assert decode(again, given, longest_s) == tree and encode(decode(again, given, longest_s)) == again
    assert parse(print_program(tree)) == tree
    return tree


def inside_holds(body: Block, held: bool = False) -> list[Statement]:
    """Statements that are done with the feedback held."""
    found: list[Statement] = []
    for statement in body:
        found += [statement] * held
        for block in blocks(statement):
            found += inside_holds(block, held or isinstance(statement, Hold))
    return found


def ends(value: Value) -> tuple[float, float]:
    """What a bias or height can be: the decoder makes it a number, or holds it between two."""
    if isinstance(value, Number):
        return value.value, value.value
    assert isinstance(value, Clamped)
    return value.low.value, value.high.value


def test_alphabet() -> None:
    assert 100 < len(alphabet()) == len(set(alphabet())) <= 300
    for symbol in alphabet():
        (read,) = read_line(symbol)
        assert write_symbol(read) == symbol


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(SYMBOLS), max_size=60), st.sampled_from(list(INSTRUMENTS)), st.sampled_from((50e-6, 10e-3, 1.0)))
def test_every_sequence_of_symbols_is_a_safe_program(symbols: list[str], name: str, longest_s: float) -> None:
    check("".join(symbols), INSTRUMENTS[name], longest_s)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_random_lines(name: str) -> None:
    rng = Random(f"canonical {name}")
    for _ in range(30):
        check("".join(rng.choices(SYMBOLS, k=rng.randint(1, 40))), INSTRUMENTS[name])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_mutated_lines(data: st.DataObject) -> None:
    """Symbols and characters inserted, left out, swapped: refused in one line, or safe."""
    symbols = data.draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=15))
    line = "".join(symbols)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(line)))
        gone = data.draw(st.integers(0, 4))
        new = data.draw(
            st.sampled_from(("", "[", "]", ":", "1", "9" * 30, "e", "-", "%", "*", "|", " ", "\n", "V", "\u00b5", "\ud800", *alphabet()))
        )
        line = line[:at] + new + line[at + gone :]
    try:
        check(line, STM)
    except CanonicalError as error:
        assert len(str(error).splitlines()) == 1 and str(error).isprintable()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="[]:%|*+-.0123456789eVAmsun/<>=", max_size=40))
def test_any_text_is_refused_or_safe(text: str) -> None:
    try:
        check(text, STM)
    except CanonicalError as error:
        assert len(str(error).splitlines()) == 1 and str(error).isprintable()


def test_current_is_bounded_over_the_whole_program() -> None:
    """Whatever order it is done in: greatest setpoint, greatest bias over the least with the feedback on, the nearest that the tip comes."""
    rng = Random("current")
    outputs = [
        one for one in SYMBOLS if one[1:].startswith(("bias", "setpoint", "ramp", "pulse", "height", "hold", "move", "end", "repeat"))
    ]
    loud = 0
    for _ in range(150):
        tree = decode("".join(rng.choices(outputs, k=20)), STM)
        biases, on, setpoints, nearer_m, lag_m = {0.5}, {0.5}, {100e-12}, 0.0, 0.0
        held = {id(statement) for statement in inside_holds(tree.body)}
        for _, statement in walk(tree):
            match statement:
                case Set("setpoint", Number(value)):
                    setpoints.add(value)
                case Set("bias", value) | Ramp("bias", value) | Pulse(value):
                    biases.update(map(abs, ends(value)))
                    if id(statement) not in held:
                        assert min(ends(value)) > 0  # as at the start
                        on.update(ends(value))
                case Height(z, speed):
                    assert speed <= HEIGHT_MOST_M_PER_S
                    nearer_m = max(nearer_m, -ends(z)[0])
                case Move(_, _, speed):
                    lag_m = max(lag_m, speed / (2 * math.pi * STM.bandwidth_Hz))
        most_A = max(setpoints) * max(biases) / min(on) * math.exp(2 * WORST_DECAY_PER_M * (nearer_m + lag_m))
        bits = math.log2(max(on) / min(on) * max(setpoints) / min(setpoints))
        assert most_A <= SHARE * STM.limits.current_high_A and (bits / 2) ** 2 <= SHARE * STM.limits.oscillation_limit
        loud += most_A > 0.8 * SHARE * STM.limits.current_high_A
    assert loud > 10  # the bound is met, too


def test_what_is_done_with_the_feedback_held() -> None:
    """Nothing there ends or awaits or moves the tip sideways, and what it changed is put back before the feedback goes on."""
    rng = Random("held")
    within = [one for one in SYMBOLS if not one.startswith("[setpoint")]
    for _ in range(150):
        line = "".join(["[hold:10us]", *rng.choices(within, k=12), "[end]", *rng.choices(within, k=4)])
        tree = decode(line, STM)
        held = inside_holds(tree.body)
        assert not any(isinstance(one, Move | Return | Halt | WaitFor | WaitEvent | Hold) for one in held)
        for _, hold in walk(tree):
            if not isinstance(hold, Hold):
                continue
            done = inside_holds((hold,))
            changed = [one for one in done if isinstance(one, Set | Ramp | Pulse)]
            if any(isinstance(one, Height) for one in done):
                assert [one.z_m for one in hold.body if isinstance(one, Height)][-1] == Number(0.0, "m")
            if changed and not (isinstance(changed[-1], Pulse) and changed[-1].settle_s >= 20e-6):
                assert any(getattr(one, "seconds", 0.0) >= 20e-6 or getattr(one, "count", 0) >= 36 for one in hold.body)


EXAMPLES = {
    "": ["wait 1 us"],
    "[end][end][else][otherwise]": ["wait 1 us"],
    "[wait:50us]": ["wait 50 us"],
    "[wait:8]": ["wait 8 samples"],
    "[repeat:20][hold:0s][pause]": ["wait 1 us"],  # empty blocks vanish
    "[sample:current:mean:64][hold:50us][repeat:20][pulse:2.2V:10us][sample:current:mean:64][leave:<:0.6]": [
        "v1 = mean of 64 samples of current",
        "hold feedback, settle 50 us:",
        "    repeat 20 times:",
        "        pulse 2.2 V for 10 us",
        "        v2 = mean of 64 samples of current",
        "        leave if v2 < 0.6 * v1",
        "    wait 20 us",
    ],
    # counting back
    "[let:current][let:z][let:%1][let:%2][emit:%9]": ["v1 = current", "v2 = z", "v3 = v2", "v4 = v2", 'emit "r1" v4'],
    "[let:current][let:z][if:<:50pA][emit:%1]": ["v1 = current", "v2 = z", "if v1 < 50 pA:", '    emit "r1" v2'],
    "[let:z][leave:<:0.6][if:%1:>:3][wait:1us][end][bias:%1]": ["v1 = z", "wait 1 us"],
    "[for:5][move:x+100pm:y:2um/s][bias:50mV*%1][emit:%1]": [
        "repeat 5 times with v1:",
        "    move to clamp(x + 100 pm, -1.998 nm, 1.998 nm), y at 1 um/s",
        "    set bias clamp(50 mV * v1, 400 mV, 625 mV)",
        '    emit "r1" v1',
    ],
    # what is given in a branch, or behind a leave, is not in sight later
    "[if:current:>:50pA][let:z][end][emit:%1]": ["if current > 50 pA:", "    v1 = z"],
    "[repeat:3][let:x][leave:current:>:50pA][let:y][end][emit:%1]": [
        "repeat 3 times:", "    v1 = x", "    leave if current > 50 pA", "    v2 = y", 'emit "r1" v1',
    ],
    # where it makes no sense it is left out
    "[leave][height:1nm:1um/s][return][bias:-1V][bias:0V][emit:%1][let:2nm]": ["wait 1 us"],
    "[halt:7][wait:1us]": ['halt "halt 1"'],
    "[repeat:3][leave][wait:1us][end][wait:2us]": ["repeat 3 times:", "    leave", "wait 2 us"],
    "[if:current:>:50pA][halt:1][else][halt:2][end][wait:1us]": [
        "if current > 50 pA:", '    halt "halt 1"', "otherwise:", '    halt "halt 2"',
    ],
    "[hold:0s][hold:1us][halt:1][wait:2us][end][wait:1us]": ["hold feedback:", "    wait 2 us", "    wait 1 us"],
    "[hold:0s][repeat:2][hold:1us][leave][wait:1us][end][end][end][wait:3us]": [
        "hold feedback:", "    repeat 2 times:", "        leave", "wait 3 us",
    ],
    # numbers are clipped, times shortened
    "[setpoint:1A]": ["set setpoint 710 pA"],
    "[bias:100V]": ["set bias 3.5 V"],
    "[hold:0s][bias:-100V]": ["hold feedback:", "    set bias -5 V", "    set bias 500 mV", "    wait 20 us"],
    "[hold:0s][height:-1nm:200nm/s]": ["hold feedback:", "    height -93 pm at 200 nm/s", "    height 0 m at 200 nm/s"],
    "[wait:1s]": ["wait 9.9 ms"],
    "[repeat:1000][wait:50us]": ["repeat 1000 times:", "    wait 8.7 us"],
    "[wait:20us][until:1us]": ["wait 20 us", "wait until 30 us"],
    "[repeat:0][sample:z:least:-5]": ["repeat 1 times:", "    v1 = least of 1 samples of z"],
    # waits for something
    "[event:7:z:1ms:score:>:50pm][otherwise][halt:3][end][emit:%1:%4]": [
        "event e1: class 7, score z", "v1 = wait for e1 where v1.score > 50 pm, at most 1 ms", "otherwise:", '    halt "halt 1"',
        'emit "r1" v1.class, v1.x',
    ],
    "[event:7:z:1ms][otherwise][wait:1us][end][emit:%1]": [
        "event e1: class 7, score z", "v1 = wait for e1, at most 1 ms", "otherwise:", "    wait 1 us",
    ],
    "[await:line_done:100us][otherwise][end][wait:1us]": ["wait for line done, at most 100 us", "wait 1 us"],
    # what was changed with the feedback held is put back
    "[hold:0s][bias:-1V][for:3][bias:100mV*%1-1V|-1V|1V][height:-20pm:1um/s][emit:bias:current]": [
        "hold feedback:",
        "    set bias -1 V",
        "    repeat 3 times with v1:",
        "        set bias clamp(100 mV * v1 - 1 V, -1 V, 1 V)",
        "        height -20 pm at 1 um/s",
        '        emit "r1" bias, current',
        "    height 0 m at 1 um/s",
        "    set bias 500 mV",
        "    wait 20 us",
    ],
}  # fmt: skip


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples(line: str) -> None:
    assert body(line) == EXAMPLES[line]
    check(line, STM)


REFUSED = {
    "[foo]": 'character 1, "[foo]": expected a symbol of sample, let, bias',
    "x": 'character 1: expected a symbol such as "[wait:50us]"',
    "[wait:1us] [wait:1us]": "character 11: expected a symbol",
    "[wait:1us]\n": 'found "\\n"',
    "[wait:1us": "character 1: expected a symbol",
    "[wait:5V]": "expected a number in s in [wait:50us]",
    "[wait]": "expected [wait:50us]",
    "[expose:1us:]": "expected [expose:10us]",
    "[wait:1e999s]": "not beyond 1.8e308",
    "[wait:\u0661us]": "expected a number",
    "[repeat:2.5]": "expected a whole number",
    "[sample:current:median:64]": "expected one of mean, least, greatest",
    "[bias:%0]": "expected a value",
    "[move:x+:y:1um/s]": "expected a value",
    "[emit:x:x:x:x:x]": "expected at most 4 values",
    "[" + "1" * 300 + "]": "of at most 200 characters",
    "[end]" * (LINE_MAX // 5 + 1): f"at most {LINE_MAX} characters",
}


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: ascii(line)[:30])
def test_refused(line: str) -> None:
    with pytest.raises(CanonicalError) as error:
        decode(line, STM)
    assert isinstance(error.value, BadInput) and REFUSED[line] in str(error.value)
    assert len(str(error.value).splitlines()) == 1 and str(error.value).isprintable() and len(str(error.value)) < 500


@pytest.mark.parametrize("longest_s", [0.0, -1.0, 1e-6, 11.0, math.inf, math.nan])
def test_longest_is_a_time(longest_s: float) -> None:
    with pytest.raises(BadInput, match="accepted: 1e-05 to 10 s"):
        decode("", STM, longest_s)


def test_assumptions_without_a_junction() -> None:
    with pytest.raises(BadInput, match="neither is 0"):
        decode("", replace(STM, bias_V=0.0))


NOT_SAID = {
    "repeat:\n    wait 1 ms": "repeat:",
    "set feedback.kp 1 pm": "set feedback.kp 1 pm",
    "start scan": "start scan",
    "i0 = current\ni0 = 2 * i0": "i0 has been given a value above",
    "ramp feedback.low to 1 nm at 1 nm/s": "ramp feedback.low to 1 nm at 1 nm/s",
    'emit "many" x, y, z, bias, current': "no symbol says this",
    "x1 = x - (y - 1 nm)": "of another kind",
    "x1 = x - (x - 1 nm)": "no symbol says this",
    "i0 = current\nif i0 > 0 A:\n    i1 = current\nemit \"i\" i1": "not in sight",
}  # fmt: skip


@pytest.mark.parametrize("text", NOT_SAID)
def test_what_the_form_can_not_say(text: str) -> None:
    with pytest.raises(CanonicalError, match="the canonical form can't say") as error:
        encode(parse(f'program "p"\n{text}\n'))
    assert NOT_SAID[text] in str(error.value)


def test_deep_trees_are_refused() -> None:
    tree: Block = (Wait(1e-6),)
    for _ in range(5000):
        tree = (Repeat(2, tree),)
    with pytest.raises(CanonicalError):
        encode(ProgramTree("deep", tree))


def test_names_do_not_count() -> None:
    """A program that was written as text comes back, with names of the form's own."""
    text = """program "pulse adatoms"
event adatom: class 7, score z
hit = wait for adatom where hit.score > 50 pm, at most 1 ms
otherwise:
    halt "nothing seen"
hold feedback, settle 50 us:
    i0 = mean of 64 samples of current
    repeat 20 times:
        pulse 2.2 V for 10 us, rise 2 us, settle 20 us
        i1 = mean of 64 samples of current
        leave if i1 < 0.6 * i0
if i1 < 0.6 * i0:
    emit "pulsed" hit.x, i1
otherwise:
    halt "unchanged"
"""
    names = {
        "pulse adatoms": "program",
        "adatom": "e1",
        "hit": "v1",
        "i0": "v2",
        "i1": "v3",
        "nothing seen": "halt 1",
        "unchanged": "halt 2",
    }
    for name, own in (*names.items(), ("pulsed", "r1")):
        text = text.replace(name, own)
    tree = parse(text)
    assert decode(encode(tree), STM) == tree


def test_nothing_repeats_without_end_and_nothing_is_too_large() -> None:
    tree = decode("[repeat:99999999999][sample:z:mean:99999999]" + "[emit:x:y:z]" * 300, STM, 1.0)
    (repeat,) = tree.body
    assert isinstance(repeat, Repeat) and repeat.count is not None
    verdict = verify(tree, STM)
    assert verdict.compiled is not None and len(verdict.compiled.rows) <= 512


def test_the_feedback_is_not_held_for_long() -> None:
    """50 ms of each hold, however much time the program has: the surface drifts."""
    text = body("[repeat:3][hold:1s][wait:1s][end][wait:200ms]", longest_s=1.0)
    assert text == ["repeat 3 times:", "    hold feedback, settle 25 ms:", "        wait 24 ms", "    wait 200 ms"]


@pytest.mark.parametrize(
    "line",
    ["[repeat:2]" * 6500, "[if:current:>:50pA]" * 3400, "".join(f"[wait:{i}us]" for i in range(4900)), "[emit:x:y:z]" * 5400,
     "[for:2][for:2][for:2]" + "[let:x][let:%1+%2][emit:%1:%2:%3]" * 1900, "[for:2]" * 3 + "[bias:%1][leave:<:0.6][let:bias]" * 2000],
    ids=["repeats", "ifs", "waits", "records", "loops", "biases"],
)  # fmt: skip
def test_long_lines_take_no_long(line: str) -> None:
    """Tens of milliseconds; the bound is for a busy machine."""
    assert LINE_MAX * 0.9 < len(line) <= LINE_MAX
    began = time.process_time()
    decode(line, STM, 10.0)
    assert time.process_time() - began < 1.0


def test_every_leave_is_within_its_loop() -> None:
    """Not out of a hold that the loop is around."""
    tree = decode("[repeat:5][hold:0s][leave:current:>:50pA][wait:1us][end][leave:current:>:50pA][if:z:>:0m][leave]", STM)
    (repeat,) = tree.body
    assert isinstance(repeat, Repeat)
    hold, leave, choice = repeat.body
    assert hold == Hold(0.0, (Wait(1e-6),)) and isinstance(leave, Leave) and isinstance(choice, If) and choice.then == (Leave(),)
