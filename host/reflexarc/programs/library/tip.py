"""Pulses to the tip, and tests of what they did."""

from __future__ import annotations

from reflexarc.programs.build import Program, bias, current
from reflexarc.programs.tree import ProgramTree


def pulse_and_check(
    to_V: float, for_s: float, *, up_to: int = 20, below: float = 0.6, settle_s: float = 50e-6, mean_of: int = 64
) -> ProgramTree:
    """Pulses where the tip is, with the feedback held, until the current is less than ``below`` times what it was before the first.

    Emits "pulse" with the current (A) after each, then "before" with the one before; ends with the reason "changed" or "unchanged".
    """
    with Program("pulse and check") as p:
        with p.feedback_held(settle_s=settle_s):
            before = p.sample(current, mean_of=mean_of, name="before")
            with p.repeat(up_to):
                p.pulse(bias, to_V=to_V, for_s=for_s, settle_s=settle_s)
                after = p.sample(current, mean_of=mean_of, name="after")
                p.emit("pulse", after)
                p.stop_if(after < below * before)
        p.emit("before", before)
        with p.when(after < below * before):
            p.halt("changed")
        p.halt("unchanged")
    return p.tree


def condition_tip(
    to_V: float,
    for_s: float,
    *,
    up_to: int = 10,
    lift_m: float = 100e-12,
    falls_to: float = 0.3,
    speed_m_per_s: float = 1e-6,
    rest_s: float = 2e-3,
    mean_of: int = 256,
) -> ProgramTree:
    """Test the tip, and pulse it until the test is passed: the current falls to less than ``falls_to`` of itself when z goes up by ``lift_m``.

    Of a clean metal tip it falls to a tenth in 100 pm (work function 4.5 eV); a blunt or dirty one has less of a barrier. Emits "test" with
    the two currents (A) each time; ends with the reason "good" or "bad".
    """
    with Program("condition the tip") as p:
        with p.repeat(up_to):
            with p.feedback_held(settle_s=20e-6):
                near = p.sample(current, mean_of=mean_of, name="near")
                p.height(lift_m, speed_m_per_s=speed_m_per_s)
                p.wait(20e-6)
                far = p.sample(current, mean_of=mean_of, name="far")
                p.height(0.0, speed_m_per_s=speed_m_per_s)
            p.emit("test", near, far)
            with p.when(far < falls_to * near):
                p.halt("good")
            with p.feedback_held():
                p.pulse(bias, to_V=to_V, for_s=for_s, settle_s=20e-6)
            p.wait(rest_s)
        p.halt("bad")
    return p.tree
