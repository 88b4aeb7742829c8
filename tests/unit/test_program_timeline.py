"""The timeline of programs: what is where, how long at the longest, and between which values."""

from __future__ import annotations

import math

import pytest

from reflexarc.calibration import Calibration
from reflexarc.programs.compile import compile_program
from reflexarc.programs.library import (
    condition_tip,
    current_distance,
    current_voltage,
    expose_points,
    pull_adatom,
    slide_adatom,
    spectroscopy_grid,
)
from reflexarc.programs.names import walk
from reflexarc.programs.text import parse
from reflexarc.programs.timeline import Course, Lane, Shape, Span, Timeline, timeline
from reflexarc.programs.tree import ProgramTree

CALIBRATION = Calibration()
REST_V = 0.5


def drawn(*lines: str) -> Timeline:
    tree = parse("\n".join(('program "p"', *lines, "")))
    return timeline(compile_program(tree, CALIBRATION), REST_V)


def on(chart: Timeline, lane: Lane) -> list[Span]:
    return [span for span in chart.spans if span.lane is lane]


def where(chart: Timeline, lane: Lane) -> list[tuple[Shape, int, int, str]]:
    return [(span.shape, span.first, span.last, span.text) for span in on(chart, lane)]


def seconds(chart: Timeline) -> list[float]:
    return [step.seconds for step in chart.steps]


def course(begin: float | tuple[float, float], end: float | tuple[float, float]) -> Course:
    def both(value: float | tuple[float, float]) -> tuple[float, float]:
        return value if isinstance(value, tuple) else (value, value)

    return Course(both(begin), both(end))  # type: ignore[arg-type]


def test_a_pulse_has_its_phases() -> None:
    chart = drawn("pulse 2 V for 10 us, rise 2 us, settle 20 us")
    assert seconds(chart) == [2e-6, 10e-6, 2e-6, 20e-6] and all(step.exact for step in chart.steps)
    assert chart.bias == (course(REST_V, 2.0), course(2.0, 2.0), course(2.0, REST_V), course(REST_V, REST_V))
    assert where(chart, Lane.BIAS) == [(Shape.SPAN, 0, 2, ""), (Shape.SPAN, 1, 1, "pulse 2 V")]
    assert where(chart, Lane.WAITS) == [(Shape.SPAN, 3, 3, "settle")]
    assert chart.lanes == (Lane.WAITS, Lane.BIAS)


def test_a_pulse_without_rise_and_settle_is_one_step() -> None:
    chart = drawn("pulse -1 V for 10 us")
    assert seconds(chart) == [10e-6] and chart.bias == (course(-1.0, -1.0),)


def test_set_and_ramp_move_the_bias() -> None:
    chart = drawn("set bias 100 mV", "ramp bias to 1 V at 100 V/s", "wait 1 ms")
    assert seconds(chart) == [0.0, pytest.approx(9e-3), 1e-3]
    assert chart.bias == (course(0.1, 0.1), course(0.1, 1.0), course(1.0, 1.0))
    assert chart.steps[1].exact
    assert where(chart, Lane.BIAS) == [(Shape.MOMENT, 0, 0, "100 mV"), (Shape.SPAN, 1, 1, "to 1 V")]


def test_other_parameters_have_a_lane() -> None:
    chart = drawn("set setpoint 200 pA", "set feedback.kp 1 pm")
    assert [text for *_, text in where(chart, Lane.PARAMETERS)] == ["setpoint 200 pA", "feedback.kp 1 pm"]


def test_a_repeat_is_drawn_for_one_turn() -> None:
    """Each turn may begin where any turn ended."""
    chart = drawn("repeat 4 times with i:", "    set bias 100 mV * i + 100 mV", "    wait 1 ms", "set bias 500 mV")
    (bracket,) = chart.brackets
    assert (bracket.first, bracket.last, bracket.text, bracket.depth) == (0, 2, "4 times with i", 0)
    assert chart.bias[0] == course(REST_V, REST_V)
    assert chart.bias[1] == chart.bias[2]
    assert chart.bias[1].begin.low == pytest.approx(0.1) and chart.bias[1].begin.high == pytest.approx(0.4)
    assert chart.bias[3] == course(0.5, 0.5)
    assert [step.apart for step in chart.steps] == [False, True, False, True]


def test_a_repeat_remembers_the_turn_before() -> None:
    chart = drawn("repeat 3 times:", "    wait 1 ms", "    ramp bias to 2 V at 1 kV/s")
    assert chart.bias[1].begin == (REST_V, 2.0)
    assert chart.steps[2].seconds == pytest.approx(1.5e-3) and not chart.steps[2].exact


def test_brackets_within_each_other() -> None:
    chart = drawn("repeat:", "    repeat 2 times:", "        mark", "    leave if current > 1 nA", "wait 1 s")
    assert {(b.text, b.first, b.last, b.depth) for b in chart.brackets} == {("until it is left", 0, 3, 0), ("2 times", 1, 2, 1)}
    assert where(chart, Lane.DECISIONS) == [(Shape.MOMENT, 3, 3, "leave if")]


def test_both_ways_of_a_decision_stand_behind_each_other() -> None:
    chart = drawn("if current > 1 nA:", "    set bias 1 V", "otherwise:", "    set bias 2 V", "wait 1 ms")
    assert [(b.first, b.last, b.text) for b in chart.brackets] == [(1, 1, "if current > 1 nA"), (2, 2, "otherwise")]
    assert chart.bias == (course(REST_V, REST_V), course(1.0, 1.0), course(2.0, 2.0), course((1.0, 2.0), (1.0, 2.0)))
    assert [step.apart for step in chart.steps] == [False, False, True, True]


def test_a_way_that_ends_does_not_count_behind() -> None:
    chart = drawn("if current > 1 nA:", "    set bias 1 V", '    halt "high"', "wait 1 ms")
    assert chart.bias[-1] == course(REST_V, REST_V)
    assert where(chart, Lane.DECISIONS)[-1] == (Shape.MOMENT, 2, 2, 'halt "high"')


def test_waits_for_events_last_to_their_time_out() -> None:
    lines = (
        "event adatom: class 7, score z",
        "hit = wait for adatom where hit.score > 50 pm, at most 2 s",
        "otherwise:",
        '    halt "none"',
        "mark",
    )
    chart = drawn(*lines)
    step = chart.steps[0]
    assert step.seconds == 2.0 and step.awaited and not step.exact
    assert where(chart, Lane.WAITS)[0] == (Shape.AWAITED, 0, 0, "adatom")
    assert where(chart, Lane.DECISIONS)[0] == (Shape.MOMENT, 0, 0, "wait for")
    assert [b.text for b in chart.brackets] == ["otherwise, after the time-out"]
    assert [step.apart for step in chart.steps] == [False, True, True]


def test_feedback_is_held_as_long_as_its_block() -> None:
    chart = drawn("hold feedback, settle 50 us:", "    height 200 pm at 10 nm/s", "    wait 1 ms", "    height 0 m at 10 nm/s", "wait 1 ms")
    assert where(chart, Lane.FEEDBACK) == [(Shape.SPAN, 0, 3, "held")]
    assert seconds(chart) == [50e-6, pytest.approx(20e-3), 1e-3, pytest.approx(20e-3), 1e-3]
    assert chart.height == (course(0, 0), course(0, 200e-12), course(200e-12, 200e-12), course(200e-12, 0), None)
    assert where(chart, Lane.HEIGHT)[:2] == [(Shape.MOMENT, 1, 1, "200 pm"), (Shape.MOMENT, 3, 3, "0 m")]


def test_the_scan_is_paused_while_the_tip_is_away() -> None:
    chart = drawn("start scan", "pause scan:", "    wait 1 ms", "move to 10 nm, 0 m at 1 um/s", "wait 1 ms", "return", "stop scan")
    paused = [(first, last) for shape, first, last, text in where(chart, Lane.SCAN) if shape is Shape.SPAN and text == "paused"]
    assert paused == [(1, 5)]  # the block and the way beside it follow each other
    assert [text for shape, _, _, text in where(chart, Lane.SCAN) if shape is Shape.MOMENT] == ["start", "stop"]
    assert (Shape.SPAN, 3, 5, "") in where(chart, Lane.TIP)
    move = chart.steps[3]
    assert move.seconds == pytest.approx((CALIBRATION.x_range_m + 10e-9) / 1e-6) and not move.exact
    assert chart.steps[5].seconds == pytest.approx(move.seconds)


def test_ways_between_known_places_are_exact() -> None:
    chart = drawn("move to 0 m, 0 m at 1 um/s", "move to 10 nm, 5 nm at 1 um/s")
    assert chart.steps[1].seconds == pytest.approx(10e-3) and chart.steps[1].exact
    assert (Shape.SPAN, 0, 1, "") in where(chart, Lane.TIP), "without a return it is away to the end"


def test_wait_until_lasts_as_long_as_is_left() -> None:
    chart = drawn("mark", "wait 1 ms", "expose for 500 us", "wait until 3 ms")
    assert chart.steps[3].seconds == pytest.approx(1.5e-3) and chart.steps[3].exact
    assert where(chart, Lane.WAITS) == [(Shape.MOMENT, 0, 0, "mark"), (Shape.SPAN, 1, 1, "wait"), (Shape.SPAN, 3, 3, "until 3 ms")]


def test_lines_samples_and_records() -> None:
    chart = drawn(
        "expose for 1 ms", "blank for 2 ms", "trigger for 3 ms", "i0 = least of 64 samples of current", "v = 2 * i0", 'emit "done" v', "wait 8 samples"
    )  # fmt: skip
    for lane, step in ((Lane.BEAM, 0), (Lane.BLANK, 1), (Lane.TRIGGER, 2)):
        assert [(span.first, span.last) for span in on(chart, lane)] == [(step, step)]
    assert [text for *_, text in where(chart, Lane.VALUES)] == ["i0 = least of 64 current", "v = 2 * i0"]
    assert chart.steps[3].seconds == pytest.approx(64 * CALIBRATION.sample_period_s)
    assert chart.steps[6].seconds == pytest.approx(8 * CALIBRATION.sample_period_s)
    assert where(chart, Lane.RECORDS) == [(Shape.MOMENT, 5, 5, "done")]


def test_values_are_followed_through_names() -> None:
    """What is given once and clamped is known to lie there."""
    chart = drawn("v = clamp(0.5 * bias, 100 mV, 200 mV)", "set bias v", "wait 1 ms")
    assert chart.bias[2] == course(0.2, 0.2)
    chart = drawn("before = bias", "set bias 1 V", "ramp bias to before at 1 V/s", "wait 1 ms")
    assert chart.bias[3] == course(REST_V, REST_V)


@pytest.mark.parametrize(
    "tree",
    [
        current_voltage(-1.0, 1.0, 21), current_distance(100e-12, 5), spectroscopy_grid((0.0, 0.0), 10e-9, 4, 4, -1.0, 1.0, 5),
        expose_points([(0.0, 0.0), (10e-9, 0.0)], 1e-3), slide_adatom((0.0, 0.0), (2e-9, 0.0)), pull_adatom((0.0, 0.0), (2e-9, 0.0)),
        condition_tip(to_V=3.0, for_s=1e-4),
    ],
    ids=lambda tree: tree.name,
)  # fmt: skip
def test_every_statement_of_the_ready_programs_has_its_place(tree: ProgramTree) -> None:
    chart = timeline(compile_program(tree, CALIBRATION), REST_V)
    assert {step.path for step in chart.steps} == {path for path, _ in walk(tree)}
    first = {path: [step.path for step in chart.steps].index(path) for path, _ in walk(tree)}
    assert list(first.values()) == sorted(first.values()), "in the order of the text"
    assert len(chart.bias) == len(chart.height) == len(chart.steps)
    assert all(step.seconds >= 0 and math.isfinite(step.seconds) for step in chart.steps)
    for first_step, last_step in [(one.first, one.last) for one in chart.spans] + [(one.first, one.last) for one in chart.brackets]:
        assert 0 <= first_step <= last_step < len(chart.steps)
    # Two things in one place would be drawn over each other; only what lasts longer may lie behind.
    for lane in Lane:
        texts = [span for span in on(chart, lane) if span.text and (lane is not Lane.SCAN or span.shape is Shape.MOMENT)]
        assert len({span.first for span in texts}) == len(texts)
