"""Coarse approach with the motor: a specimen far out of z's reach is met, and each step is taken with the tip withdrawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from running_board import RunningBoard, StartBoard, make_harmless

from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.device import Controller
from reflexarc.errors import BadInput, BoardTripped
from reflexarc.experiments.coarse_approach import Approached, coarse_approach, step_towards, withdraw
from reflexarc.experiments.settings import ScanSettings
from reflexarc.safety import Limits

BEYOND_M = 5e-6  # what no test steps through
STEP_M = 60e-9  # the twin's motor, towards; single steps differ by a tenth
SETTINGS = ScanSettings(approach_m_per_s=8e-6, bandwidth_Hz=6e3)
MOST_A = 2 * SETTINGS.setpoint_A  # more than that in any sample trips
LOOK_S = 0.5e-3
StartFar = Callable[..., RunningBoard]


@pytest.fixture
def start_far(start_board: StartBoard, tmp_path: Path) -> StartFar:
    """Starts a board whose specimen is so much too far away."""

    def start(seed: int, gap_m: float) -> RunningBoard:
        path = tmp_path / "far.toml"
        path.write_text(f"coarse_gap_m = {gap_m}\n")
        return start_board("--seed", str(seed), "--plant", str(path))

    return start


@pytest.fixture(scope="module")
def far_board(start_module_board: StartBoard, tmp_path_factory: pytest.TempPathFactory) -> RunningBoard:
    path = tmp_path_factory.mktemp("plant") / "far.toml"
    path.write_text(f"coarse_gap_m = {BEYOND_M}\n")
    return start_module_board("--seed", "1", "--plant", str(path))


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


@contextmanager
def armed(address: str) -> Iterator[Controller]:
    """With limits that know the greatest current; harmless before and after."""
    with Controller(address, lockstep=True) as board:
        make_harmless(board)
        board.set_limits(Limits(current_high_A=MOST_A, current_low_A=-MOST_A))
        board.arm()
        yield board
        make_harmless(board)


@pytest.fixture
def far(far_board: RunningBoard) -> Iterator[Controller]:
    with armed(far_board.address) as board:
        yield board


def approach(board: Controller, steps_a_look: int = 1, most_steps: int = 30, settings: ScanSettings = SETTINGS) -> Approached:
    return board.run(coarse_approach(board.device, settings, steps_a_look, most_steps))


def motor_steps(board: Controller) -> int:
    return int(board.run(board.device.truth())["approach_steps"])


def assert_met(board: Controller, found: Approached) -> None:
    """Under feedback at the setpoint, without a trip or a contact ever."""
    print(f"{found.looks} looks, {found.steps} steps, met at {found.z_m * 1e9:.1f} nm")
    status, truth = board.status(), board.run(board.device.truth())
    assert status["interlock"] == "armed" and status["trips"] == 0 and truth["contacts"] == 0
    board.run(board.device.sleep(20e-3))
    assert board.read("feedback.engaged") == [1]
    assert board.run(board.device.truth())["current_A"] == pytest.approx(SETTINGS.setpoint_A, rel=0.2)


@pytest.mark.parametrize(("seed", "gap_m", "steps_a_look"), [(2, 250e-9, 1), (3, 600e-9, 2)])
def test_a_far_specimen_is_met(start_far: StartFar, monkeypatch: pytest.MonkeyPatch, seed: int, gap_m: float, steps_a_look: int) -> None:
    """With as many steps as the gap has, each with z at the rail, and never more than twice the setpoint's current."""
    with armed(start_far(seed, gap_m).address) as board:
        watch = Watch(board, monkeypatch)
        found = approach(board, steps_a_look)
        assert found.steps == motor_steps(board) == steps_a_look * (found.looks - 1)
        # The specimen's middle lies 30 nm below that of z: 70 nm less than the gap bring it into reach, 60 nm more than a look's steps do not.
        assert (gap_m - 70e-9) / STEP_M * 0.8 < found.steps < (gap_m - 70e-9) / STEP_M * 1.2 + steps_a_look + 1
        assert len(watch.steps) == found.steps
        assert all(after.steps == before.steps + 1 for before, after in watch.steps)
        assert all(look.withdrawn and look.armed for pair in watch.steps for look in pair)
        assert_met(board, found)


def test_no_surface_is_passed_over_in_haste(start_far: StartFar) -> None:
    """A speed that the feedback does not reach: z's whole way is looked at all the same, and no step is taken towards what lies in it."""
    with armed(start_far(4, 60e-9).address) as board:
        found = approach(board, 3, settings=dataclasses.replace(SETTINGS, approach_m_per_s=100e-6))
        assert found.steps == 0 and found.z_m < -80e-9
        assert_met(board, found)


def test_a_trip_among_the_steps_ends_them(far: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A train of three is cut after two; nothing brings the third, neither time nor arming again."""
    last = motor_steps(far) + 5
    watch = Watch(far, monkeypatch, trip_after=last)
    with pytest.raises(BoardTripped, match="ESTOP"):
        approach(far, steps_a_look=3)
    assert motor_steps(far) == last and not watch.seen[-1].armed
    monkeypatch.undo()
    far.run(far.device.sleep(20e-3))
    assert motor_steps(far) == last
    assert far.read("gate.approach_left", "gate.withdrawn") == [0, 1]
    far.run(far.device.inject("estop", closed=True))
    far.run(far.device.sleep(1e-3))
    far.acknowledge()
    far.arm()
    far.run(far.device.sleep(20e-3))
    assert motor_steps(far) == last


def test_too_few_steps_are_said(far: Controller) -> None:
    before = motor_steps(far)
    with pytest.raises(BadInput, match="^no surface after 3 steps of the coarse motor and 3 looks; is the motor's direction right"):
        approach(far, steps_a_look=2, most_steps=3)
    assert motor_steps(far) == before + 3
    assert far.read("gate.withdrawn", "gate.approach_left") == [1, 0]
    assert far.status()["interlock"] == "armed"


def test_no_step_while_the_tip_is_out(far: Controller) -> None:
    """Steps that are asked for then are refused by the host and dropped by the gate, whatever z does afterwards."""
    device, before = far.device, motor_steps(far)
    far.run(device.set_bias(SETTINGS.bias_V))
    far.run(device.set_feedback(setpoint_A=SETTINGS.setpoint_A, bandwidth_Hz=4e3, slew_m_per_s=8e-6))
    far.run(device.feedback_on())
    far.run(device.sleep(5e-3))
    with pytest.raises(BadInput, match="^the coarse motor takes no steps while z is not at its withdrawn rail"):
        far.run(step_towards(device, 3))
    far.write({"gate.approach": 3})
    far.run(withdraw(device, 20e-6))
    far.run(device.sleep(20e-3))
    assert motor_steps(far) == before and far.read("gate.withdrawn") == [1]
    far.run(step_towards(device, 3))
    assert motor_steps(far) == before + 3


def test_z_that_stands_short_of_its_end_moves_no_motor(far: Controller) -> None:
    """Here because the feedback looks at the wrong converter: nobody knows what lies where z does not go."""
    before = motor_steps(far)
    far.write({"feedback.channel": 1})
    try:
        with pytest.raises(BadInput, match="^z stands at 100 nm with .* pA, which is neither the setpoint nor the end of its way"):
            approach(far)
    finally:
        far.write({"feedback.channel": 0})
    assert motor_steps(far) == before
