"""Coarse approach with the motor: a specimen far out of z's reach is met, and each step is taken with the tip withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from running_board import RunningBoard, StartBoard

from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.device import Controller
from reflexarc.errors import BadInput, BoardTripped
from reflexarc.experiments.coarse_approach import Approached, coarse_approach, step_towards, withdraw
from reflexarc.experiments.settings import ScanSettings
from reflexarc.safety import Limits

SEEDS = (1, 2, 3)
GAP_M = 700e-9  # beyond what z reaches, which is 200 nm
STEP_M = 60e-9  # the twin's motor, towards; single steps differ by a tenth
SETTINGS = ScanSettings(approach_m_per_s=8e-6)
MOST_A = 3 * SETTINGS.setpoint_A  # more than that in any sample trips
LOOK_S = 0.5e-3


@pytest.fixture(scope="module")
def far_specimen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plant") / "far.toml"
    path.write_text(f"coarse_gap_m = {GAP_M}\n")
    return path


@pytest.fixture
def start_far(start_board: StartBoard, far_specimen: Path) -> StartBoard:
    def start(seed: int) -> RunningBoard:
        return start_board("--seed", str(seed), "--plant", str(far_specimen))

    return start


@dataclass(frozen=True)
class Seen:
    """One look at the board: steps of the motor so far, z at its withdrawn rail, armed."""

    steps: int
    withdrawn: bool
    armed: bool


class Watch:
    """Looks at the board each ``LOOK_S`` of its time; opens the e-stop when the motor has taken ``trip_after`` steps."""

    def __init__(self, board: Controller, monkeypatch: pytest.MonkeyPatch, trip_after: int | None = None) -> None:
        self.seen: list[Seen] = []
        self._board, self._trip_after = board.device, trip_after
        self._sleep = board.device.sleep
        monkeypatch.setattr(board.device, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        while seconds > 0:
            await self._sleep(min(seconds, LOOK_S))
            seconds -= LOOK_S
            steps = int((await self._board.truth())["approach_steps"])
            state, withdrawn = await self._board.registers.read_raw("interlock.state", "gate.withdrawn")
            self.seen.append(Seen(steps, bool(withdrawn), state == InterlockState.ARMED))
            if steps == self._trip_after:
                await self._board.inject("estop", closed=False)

    @property
    def steps(self) -> list[tuple[Seen, Seen]]:
        """Looks between which the motor stepped."""
        return [(before, after) for before, after in zip(self.seen, self.seen[1:], strict=False) if after.steps != before.steps]


@pytest.fixture
def armed(request: pytest.FixtureRequest, start_far: StartBoard) -> Iterator[Controller]:
    """With a far specimen, limits that know the greatest current; the seed is the parameter."""
    with Controller(start_far(request.param).address, lockstep=True) as board:
        board.set_limits(Limits(current_high_A=MOST_A, current_low_A=-MOST_A))
        board.arm()
        yield board


def approach(board: Controller, steps_a_look: int = 1, most_steps: int = 30) -> Approached:
    return board.run(coarse_approach(board.device, SETTINGS, steps_a_look, most_steps))


def motor_steps(board: Controller) -> int:
    return int(board.run(board.device.truth())["approach_steps"])


@pytest.mark.parametrize(("armed", "steps_a_look"), [(SEEDS[0], 1), (SEEDS[1], 1), (SEEDS[2], 2)], indirect=["armed"])
def test_a_far_specimen_is_met(armed: Controller, monkeypatch: pytest.MonkeyPatch, steps_a_look: int) -> None:
    """With as many steps as the gap has, each at the rail, never more than three times the setpoint, and under feedback in the end."""
    watch = Watch(armed, monkeypatch)
    found = approach(armed, steps_a_look)
    print(f"{found.looks} looks, {found.steps} steps, met at {found.z_m * 1e9:.1f} nm")
    assert found.steps == motor_steps(armed) == steps_a_look * (found.looks - 1)
    # Mid z lies 30 nm above the specimen's mean height; the last steps bring it somewhere into z's reach.
    assert (GAP_M - 70e-9) / STEP_M * 0.8 < found.steps < (GAP_M + 130e-9) / STEP_M * 1.2
    assert len(watch.steps) == found.steps
    assert all(look.withdrawn and look.armed for pair in watch.steps for look in pair)
    assert all(after.steps == before.steps + 1 for before, after in watch.steps)
    status = armed.status()
    assert status["interlock"] == "armed" and status["trips"] == 0
    truth = armed.run(armed.device.truth())
    assert truth["contacts"] == 0
    armed.run(armed.device.sleep(20e-3))
    assert armed.read("feedback.engaged") == [1]
    assert armed.run(armed.device.truth())["current_A"] == pytest.approx(SETTINGS.setpoint_A, rel=0.2)


@pytest.mark.parametrize("armed", SEEDS[:1], indirect=True)
def test_a_trip_among_the_steps_ends_them(armed: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The train of three is cut after two; nothing brings the third, neither time nor arming again."""
    watch = Watch(armed, monkeypatch, trip_after=5)
    with pytest.raises(BoardTripped, match="ESTOP"):
        approach(armed, steps_a_look=3)
    assert motor_steps(armed) == 5 and not watch.seen[-1].armed
    monkeypatch.undo()
    armed.run(armed.device.sleep(20e-3))
    assert motor_steps(armed) == 5
    assert armed.read("gate.approach_left", "gate.withdrawn") == [0, 1]
    armed.run(armed.device.inject("estop", closed=True))
    armed.run(armed.device.sleep(1e-3))
    armed.acknowledge()
    armed.arm()
    armed.run(armed.device.sleep(20e-3))
    assert motor_steps(armed) == 5


@pytest.mark.parametrize("armed", SEEDS[:1], indirect=True)
def test_too_few_steps_are_said(armed: Controller) -> None:
    with pytest.raises(BadInput, match="^no surface after 3 steps of the coarse motor and 3 looks; is the motor's direction right"):
        approach(armed, steps_a_look=2, most_steps=3)
    assert motor_steps(armed) == 3
    assert armed.read("gate.withdrawn", "gate.approach_left") == [1, 0]
    assert armed.status()["interlock"] == "armed"


@pytest.mark.parametrize("armed", SEEDS[:1], indirect=True)
def test_no_step_while_the_tip_is_out(armed: Controller) -> None:
    """Steps that are asked for then are dropped, whatever z does afterwards."""
    device = armed.device
    armed.run(device.set_bias(0.5))
    armed.run(device.set_feedback(setpoint_A=100e-12, bandwidth_Hz=4e3, slew_m_per_s=8e-6))
    armed.run(device.feedback_on())
    armed.run(device.sleep(5e-3))
    assert armed.read("gate.withdrawn") == [0]
    with pytest.raises(BadInput, match="z left its withdrawn rail"):
        armed.run(step_towards(device, 3))
    assert motor_steps(armed) == 0
    armed.run(withdraw(device, 20e-6))
    armed.run(device.sleep(20e-3))
    assert motor_steps(armed) == 0
    armed.run(step_towards(device, 3))
    assert motor_steps(armed) == 3
