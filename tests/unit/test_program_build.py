"""The builder: what reads as an experimentalist thinks is the tree that the text has."""

from __future__ import annotations

import pytest

from reflexarc.contract.program import Condition
from reflexarc.errors import BadInput
from reflexarc.programs.build import Program, bias, clock, current, event, line, monitor, steps, x, z
from reflexarc.programs.text import parse, print_program
from reflexarc.programs.tree import Score

ADATOM = event("adatom", 7, Score.Z)


def same(program: Program, text: str) -> None:
    assert program.tree == parse(text)
    assert print_program(program.tree) == print_program(parse(text))


def test_the_adatom_pulse() -> None:
    with Program("pulse adatoms") as p:
        hit = p.wait_event(ADATOM, score__gt=50e-12, timeout_s=2.0, name="hit")
        with p.feedback_held(settle_s=50e-6):
            p.move_to(hit.x, hit.y, speed_m_per_s=1e-6)
            i0 = p.sample(current, mean_of=64, name="i0")
            with p.repeat(up_to=20):
                p.pulse(bias, to_V=2.2, for_s=10e-6)
                p.stop_if(p.sample(current, mean_of=64, name="i1") < 0.6 * i0)
        p.emit("done", i0)
    same(
        p,
        """program "pulse adatoms"
event adatom: class 7, score z
hit = wait for adatom where hit.score > 50 pm, at most 2 s
hold feedback, settle 50 us:
    move to hit.x, hit.y at 1 um/s
    i0 = mean of 64 samples of current
    repeat 20 times:
        pulse 2.2 V for 10 us
        i1 = mean of 64 samples of current
        leave if i1 < 0.6 * i0
emit "done" i0
""",
    )


def test_all_statements() -> None:
    with Program("all") as p:
        p.set(bias, 0.5)
        p.set("setpoint", 1e-10)
        p.set("feedback.kp", 1e-11)
        p.set(bias, bias + 0.1)
        p.ramp(bias, 1.0, 100.0)
        p.wait(1e-3)
        p.wait_samples(8)
        p.mark()
        p.wait_until(5e-3)
        p.wait_for(Condition.SCAN_IDLE, timeout_s=1.0)
        with p.otherwise():
            p.stop_scan()
        found = p.wait_event(ADATOM, timeout_s=1.0, x__lt=3e-9, name="found")
        with p.otherwise():
            p.halt("none")
        p.move_to(found.x + 1e-9, -2e-9, speed_m_per_s=1e-6)
        p.back()
        with p.feedback_held():
            p.height(1e-10, speed_m_per_s=1e-8)
        with p.scan_paused():
            p.trigger(1e-6)
            p.expose(1e-3)
            p.blank(1e-3)
        p.pulse(bias, to_V=1.0, for_s=1e-5, rise_s=1e-6, settle_s=2e-5)
        low = p.sample(monitor, least_of=3, name="low")
        high = p.sample(z, greatest_of=4, name="high")
        kept = p.let((x - 5e-9).clamped(-1e-8, 1e-8), "kept")
        p.assign(kept, 2 * kept / 4)
        with p.when(low <= 0.5):
            p.start_scan()
        with p.otherwise():
            p.emit("low", low, high, clock, line)
        with p.repeat() as n:
            p.wait(1e-3)
            p.set(bias, 0.1 + steps(0.1, n, bias))
            p.stop()
        p.halt("end")
    text = """program "all"
event adatom: class 7, score z
set bias 500 mV
set setpoint 100 pA
set feedback.kp 10 pm
set bias bias + 100 mV
ramp bias to 1 V at 100 V/s
wait 1 ms
wait 8 samples
mark
wait until 5 ms
wait for scan idle, at most 1 s
otherwise:
    stop scan
found = wait for adatom where found.x < 3 nm, at most 1 s
otherwise:
    halt "none"
move to found.x + 1 nm, -2 nm at 1 um/s
return
hold feedback:
    height 100 pm at 10 nm/s
pause scan:
    trigger for 1 us
    expose for 1 ms
    blank for 1 ms
pulse 1 V for 10 us, rise 1 us, settle 20 us
low = least of 3 samples of monitor
high = greatest of 4 samples of z
kept = clamp(x - 5 nm, -10 nm, 10 nm)
kept = 0.25 * 2 * kept
if low <= 0.5 V:
    start scan
otherwise:
    emit "low" low, high, clock, line
repeat with n1:
    wait 1 ms
    set bias 0.1 V + 0.1 V * n1
    leave
halt "end"
"""
    same(p, text)


def test_names_are_free_ones() -> None:
    with Program("names") as p:
        taken = p.sample(current, mean_of=2, name="s1")
        other = p.sample(current, mean_of=2)
        third = p.let(x)
        with p.repeat(2) as unused:
            p.emit("a", taken, other, third)
    del unused
    assert "s2 = mean" in print_program(p.tree) and "v1 = x" in print_program(p.tree) and "repeat 2 times:" in print_program(p.tree)


WRONG = {
    "a comparison within a program has no value yet": lambda p: bool(x > 1.0),
    "sample takes current, monitor or z, and one of mean_of": lambda p: p.sample(bias, mean_of=3),
    "and one of mean_of, least_of and greatest_of": lambda p: p.sample(current),
    "only what let or sample gave can be assigned to": lambda p: p.assign(x, 1.0),
    "a pulse is one of bias": lambda p: p.pulse(x, to_V=1.0, for_s=1e-6),
    "'speed__gt' is no condition; accepted: x, y, score, class": lambda p: p.wait_event(ADATOM, timeout_s=1, speed__gt=1.0),
    "event 'adatom' was something else above": lambda p: (
        p.wait_event(ADATOM, timeout_s=1), p.wait_event(event("adatom", 8), timeout_s=1),
    ),
    "otherwise stands directly behind when": lambda p: p.otherwise().__enter__(),
    "there is no parameter 'nothing'": lambda p: p.set("nothing", 1.0),
    "a program is complete once its 'with' block is left": lambda p: p.tree,
    "'x' means something else in a program": lambda p: p.let(x, "x"),
    "'a b' is no name": lambda p: p.let(x, "a b"),
}  # fmt: skip


@pytest.mark.parametrize("says", WRONG)
def test_wrong_use(says: str) -> None:
    with pytest.raises(BadInput, match=says.replace("(", r"\(")):
        WRONG[says](Program("wrong"))


def test_what_fails_within_leaves_no_program() -> None:
    with pytest.raises(ZeroDivisionError), Program("broken") as p:
        p.wait(1 / 0)
    with pytest.raises(BadInput):
        _ = p.tree


def test_sums_read_from_left_to_right() -> None:
    with Program("sums") as p:
        p.move_to(1e-9 + x - x + -2e-9, 0.0, speed_m_per_s=1e-6)
    assert "move to 1 nm + x - x - 2 nm, 0 m" in print_program(p.tree)
