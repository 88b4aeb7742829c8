"""What the verifier refuses, what it lets pass, and the bounds that it gives."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from reflexarc.calibration import Calibration
from reflexarc.programs.intervals import Box, Interval
from reflexarc.programs.text import parse
from reflexarc.programs.verify import Assumptions, Verdict, verify
from reflexarc.safety.limits import Limits, Rectangle

EVENT = "event adatom: class 7, score z\n"


def verdict(text: str, **assumed: object) -> Verdict:
    limits = Limits(**assumed.pop("limits", {}))  # type: ignore[arg-type]
    return verify(parse(f'program "test"\n{text}'), Assumptions(Calibration(), limits, **assumed))  # type: ignore[arg-type]


REFUSED = {
    # names and kinds
    "leave": "leave stands only within repeat",
    "emit \"a\" i0": "i0 is used before it is given",
    "if current > bias:\n    halt \"a\"": "a current and a bias can't be compared or added",
    "set bias 1 nm": "bias is in V, not in m",
    "set feedback.nothing 1": "there is no parameter 'feedback.nothing'",
    "set interlock.heartbeat 1": "interlock.heartbeat: no program can write what watches over it",
    "set gate.retract_step 1 nm": "gate.retract_step is locked while the interlock is armed",
    "set gate.x_code 1 nm": "gate.x_code can't be written",
    "hit = wait for atom, at most 1 s": "there is no event 'atom'; this program has: none",
    "ramp setpoint to 1 nA at 1 A/s": "setpoint can't be ramped",
    "height 1 nm at 1 um/s": "height stands only where the feedback is held",
    "hold feedback:\n    hold feedback:\n        wait 1 ms": "the feedback is held already",
    "pause scan:\n    pause scan:\n        wait 1 ms": "the scan is paused already",
    'emit "a" current\nemit "a" x': '"a" was emitted with other kinds of values above',
    "v = 40000 * line": "a factor of 40000 is too large",
    "if current > 0 A:\n    v = line\nemit \"v\" v": "v may not have been given a value on the way here",
    # what is never reached
    'halt "a"\nwait 1 ms': "this is never reached",
    "repeat:\n    wait 1 ms\nwait 1 ms": "this is never reached",
    "repeat 3 times:\n    leave\n    wait 1 ms": "this is never reached",
    # no end and no wait
    "repeat:\n    set bias 1 V": "this may repeat without end and without a wait",
    "repeat:\n    if current > 1 nA:\n        wait 1 ms": "this may repeat without end and without a wait",
    # ranges
    "set bias 11 V": "outside -10 to 9.99998 V",
    "set bias 1 mV": "the bias may be 1 mV with the feedback on; the interlock asks for 10 mV at least",
    "set bias 0.2 V + 0.1 V * line": "the converter reaches -10 V to 10 V",
    "ramp bias to -1 V at 10 V/s": "the bias may be -1 V to 500 mV with the feedback on",
    "hold feedback:\n    set bias 0 V": "the feedback may go on with a bias of 0 V",
    "set setpoint 1.9 nA": "a setpoint of 1.9 nA is too near to the current's limit; accepted: up to 1.6 nA",
    "set setpoint 6 nA": "setpoint 6e-09 A is outside 0 to",
    "move to 600 nm, 0 nm at 1 um/s": "6e-07 m is outside -5e-07 to 5e-07 m",
    "move to 0 nm, 0 nm at 1 mm/s": "1 mm/s is faster than the feedback follows; accepted: up to 2 µm/s",
    "move to 0 nm, 0 nm at 1e-30 m/s": "a speed of 1e-30 m/s is not possible",
    # current
    "set bias 9.9 V": "the current may reach 1.98 nA; accepted: up to 1.6 nA",
    "hold feedback:\n    height -130 pm at 1 um/s": "the current may reach 2.43 nA",
    "hold feedback:\n    height -10 pm at 1 um/s\n    set bias 9 V": "the current may reach 2.2",
    "pulse 25 V for 10 us": "the pulse may be of 25 V; the converter reaches -10 V to 10 V",
    "set setpoint 1 nA\npulse 2.5 V for 10 us": "the current may reach 5 nA; accepted: up to 3.92 nA, 0.8 of the limit in a pulse",
    "pulse 20 mV for 1 ms": "the current may reach 2.5 nA",
    "hold feedback:\n    height 1 nm at 43 um/s\n    height 0 nm at 43 um/s": "the current may reach 2.2",
    "set setpoint 300 pA\nwait 1 ms\nhold feedback:\n    pulse 4 V for 20 us": "give it 'settle 20 µs' or more",
    # what the program leaves behind
    "hold feedback:\n    set bias 0 V\n    halt \"x\"": "the feedback may go on with a bias of 0 V",
    "hold feedback:\n    set bias 0 V\n    wait for scan idle, at most 1 ms\n    set bias 0.5 V": "the feedback may go on with a bias of 0 V",
    "hold feedback:\n    height 2 nm at 1 um/s\n    move to 0 nm, 0 nm at 200 um/s\nreturn": "home with the last move's 200 µm/s",
    "hold feedback:\n    height 2 nm at 1 um/s\n    move to 0 nm, 0 nm at 200 um/s": "home with the last move's 200 µm/s",
    "set setpoint 1 nA\nmove to 0 nm, 0 nm at 2 um/s": "2 µm/s is faster than the feedback follows; accepted: up to 339 nm/s",
    "move to 499.99995 nm, 0 nm at 1 um/s": "the interlock's box is -500 nm to 500 nm",
    "hold feedback:\n    set bias clamp(bias + 20 V, -10 V, 10 V)": "the converter reaches",
    # pulses, exposure, time
    "pulse 1 V for 10 ns": "1e-08 s is too short; accepted: from 5e-08 s",
    "pulse 1 V for 3 ms": "the pulse takes 3 ms; the limits of a pulse count for 2 ms",
    "repeat:\n    pulse 1 V for 10 us": "this may be repeated without end",
    "repeat:\n    expose for 10 us": "this may be repeated without end",
    "wait 1 ms\nwait until 1 ms": "would be late, and late is a trip",
    "repeat 10 times:\n    wait 1 ms\nwait until 10 ms": "would be late, and late is a trip",
    "repeat:\n    wait 1 ms\n    leave if current > 1 nA\nwait until 1 s": "would be late, and late is a trip",
    "hold feedback:\n    height 1 nm at 400 um/s": "a ramp of 0.0004 m/s is not possible",
    "wait for scan idle, at most 100 s": "a time-out of 100 s is not possible; accepted: up to 21.5 s",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    faults = verdict(text).faults
    assert faults and REFUSED[text] in faults[0].text, [fault.text for fault in faults]


PASSES = (
    "wait 1 ms",
    "hold feedback:\n    set bias 0 V\n    set bias 0.5 V",
    "repeat 10 times with i:\n    set bias 0.1 V + 0.1 V * i\n    wait 1 ms",
    "repeat:\n    wait 1 ms\n    leave if current > 1 nA\nemit \"over\"",
    "v = line\nif current > 0 A:\n    v = 2 * line\nemit \"v\" v",
    "mark\nrepeat 10 times:\n    wait 1 ms\nwait until 11 ms",
    "repeat 1000 times:\n    mark\n    wait 1 ms\n    wait until 1.1 ms",
    "hold feedback:\n    height 2 nm at 10 um/s\n    move to 0 nm, 0 nm at 10 um/s\n    return",
    "wait 400 us\nwait until 500 us\nwait until 800 us",
    "set setpoint 1 nA\nmove to 0 nm, 0 nm at 300 nm/s\nreturn",
    "hold feedback:\n    pulse 9 V for 20 us, settle 20 us",
    "cx = x\nrepeat 100 times:\n    cx = clamp(cx + 1 nm, -10 nm, 10 nm)\n    move to cx, 0 nm at 1 um/s",
    EVENT + "hit = wait for adatom where hit.score > 50 pm, at most 1 s\nmove to hit.x, hit.y at 1 um/s\nreturn",
    EVENT + "hit = wait for adatom, at most 1 s\notherwise:\n    halt \"none\"\nemit \"at\" hit.x",
    "ramp bias to 1 V at 100 V/s\npulse 2 V for 10 us, rise 20 us, settle 20 us",
    "repeat 20 times:\n    repeat 20 times:\n        repeat 20 times:\n            wait 1 us",
)  # fmt: skip


@pytest.mark.parametrize("text", PASSES)
def test_passes(text: str) -> None:
    found = verdict(text)
    assert not found.findings and found.bounds is not None, [finding.text for finding in found.findings]


def test_risks_are_told_and_not_refused() -> None:
    held = verdict("hold feedback:\n    move to 0 nm, 0 nm at 1 um/s")
    assert not held.faults and "with the feedback held" in held.risks[0].text and held.bounds is not None
    for lifted in ("height 0 nm at 1 um/s", "return"):
        above = "hold feedback:\n    height 2 nm at 1 um/s\n    move to 0 nm, 0 nm at 1 um/s\n    height 0.5 nm at 1 um/s\n    " + lifted
        assert not verdict(above).faults and verdict(above).risks
    gain = verdict("set feedback.kp 10 pm")
    assert not gain.faults and "what feedback.kp does" in gain.risks[0].text


def test_otherwise_gives_no_event() -> None:
    text = EVENT + 'hit = wait for adatom, at most 1 s\notherwise:\n    wait 1 ms\nemit "at" hit.x'
    assert "hit.x may not have been given a value" in verdict(text).faults[0].text


def test_leaving_a_hold_within_a_loop() -> None:
    """The way out of the loop leads out of the hold as well: the bias there is what the feedback goes on with."""
    text = "repeat 5 times:\n    hold feedback:\n        set bias 0 V\n        leave if current > 1 nA\n        set bias 0.5 V"
    assert "the feedback may go on with a bias of 0 V" in verdict(text).faults[0].text


SETTLING = {  # what is refused, why, and what is not: the same with time between
    "set bias 3 V\nset bias 9 V": ("the current may reach 1.8 nA", "set bias 3 V\nwait 1 ms\nset bias 9 V"),
    "set setpoint 10 pA\nhold feedback:\n    set bias 9 V\n    set bias 0.5 V": (
        "the current may reach 1.8 nA", "set setpoint 10 pA\nwait 1 ms\nhold feedback:\n    set bias 9 V\n    set bias 0.5 V",
    ),
    "hold feedback:\n    height -60 pm at 1 um/s\nset bias 5 V": (
        "the current may reach 4.2", "hold feedback:\n    height -60 pm at 1 um/s\nwait 1 ms\nset bias 5 V",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", SETTLING)
def test_what_the_feedback_has_not_settled(text: str) -> None:
    """A change of the current stays until the feedback has had its time."""
    says, settled = SETTLING[text]
    assert says in verdict(text).faults[0].text
    assert not verdict(settled).faults


def test_bounds() -> None:
    found = verdict("repeat 20 times:\n    pulse 2 V for 10 us\n    expose for 1 ms\n    wait 1 ms", limits={"beam_A": 1e-12}).bounds
    assert found is not None
    assert found.pulses == 20
    assert found.exposed_s == pytest.approx(20e-3)
    assert found.dose_e == pytest.approx(20e-3 * 1e-12 / 1.602176634e-19)
    assert 20 * 2.01e-3 <= found.time_s < 20 * 2.02e-3
    assert 0 < found.between_waits_s < 1e-6
    assert found.pulse_current_A == pytest.approx(400e-12)
    assert found.bias == (0.5, 2.0)
    endless = verdict("repeat:\n    wait 1 ms").bounds
    assert endless is not None and math.isinf(endless.time_s) and endless.between_waits_s < 1e-6


def test_budgets() -> None:
    pulses = "repeat 20 times:\n    pulse 1 V for 10 us"
    assert "up to 20 pulses in all; the limit of this tip is 19" in verdict(pulses, limits={"pulses": 19}).faults[0].text
    assert not verdict(pulses, limits={"pulses": 20}).faults
    exposure = "expose for 1 ms"
    assert "pixel_dose_e is 6000" in verdict(exposure, limits={"beam_A": 1e-12, "pixel_dose_e": 6000}).faults[0].text
    assert not verdict(exposure, limits={"beam_A": 1e-12, "pixel_dose_e": 6500}).faults


def test_keep_outs_and_frame() -> None:
    area = Rectangle(100e-9, 200e-9, -50e-9, 50e-9)
    way = "move to 50 nm, 0 nm at 1 um/s"
    assert "the way there may lead through keep-out 0" in verdict(way, limits={"keep_outs": (area,)}).faults[0].text
    frame = Box(Interval(-20e-9, 20e-9), Interval(-20e-9, 20e-9))
    assert not verdict(way, limits={"keep_outs": (area,)}, frame=frame).faults
    assert verdict("move to 250 nm, 0 nm at 1 um/s", limits={"keep_outs": (area,)}, frame=frame).faults


def test_box() -> None:
    box = {"x_low_m": -100e-9, "x_high_m": 100e-9}
    assert "x may be 150 nm; the interlock's box is -100 nm to 100 nm" in verdict("move to 150 nm, y at 1 um/s", limits=box).faults[0].text
    assert "x may be -90 nm to 110 nm" in verdict("move to x + 10 nm, y at 1 um/s", limits=box).faults[0].text
    assert not verdict("move to clamp(x + 10 nm, -100 nm, 100 nm), y at 1 um/s", limits=box).faults


def test_speed_of_z() -> None:
    text = "hold feedback:\n    height 1 nm at 6 um/s"
    assert "accepted: up to 5 µm/s, half of the interlock's" in verdict(text, limits={"z_velocity_m_per_s": 10e-6}).faults[0].text
    assert not verdict(text).faults


def test_a_beam_has_no_tip() -> None:
    text = "move to 0 nm, 0 nm at 1 mm/s\nexpose for 1 ms"
    assert verdict(text).faults and not verdict(text, tip=False).findings


def test_what_takes_too_long_to_be_shown() -> None:
    """Nine repeats within each other."""
    text = "".join("    " * depth + "repeat 2 times:\n" for depth in range(9)) + "    " * 9 + "wait 1 ms"
    assert "too involved" in verdict(text).faults[0].text


EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.arc"))
assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_examples_are_shown_safe(path: Path) -> None:
    found = verify(parse(path.read_text(), path.name), Assumptions(Calibration(), Limits()))
    assert not found.findings and found.bounds is not None
