"""The commissioning test on a twin: what it drives, what it records, and that nothing arms without it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from command_line import refused, succeeds
from running_board import RunningBoard, StartBoard

from reflexarc.cli.main import main
from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.device import AsyncController, Controller
from reflexarc.errors import BadInput
from reflexarc.experiments.commission import TOUCHED, Question, TwinOperator, commission, commission_twin
from reflexarc.safety import Limits
from reflexarc.safety.commissioning import is_commissioned, new_record, record_path, save_record


@pytest.fixture(scope="module")
def raw_board(start_module_board: StartBoard) -> RunningBoard:
    return start_module_board("--seed", "7", commissioned=False)


@pytest.fixture
def no_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty configuration folder for this test and its commands."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def forget(board: Controller) -> None:
    board.run(board.device.registers.write_raw({"interlock.commissioned": 0}))


def test_nothing_arms_without_a_record(raw_board: RunningBoard, no_records: Path, tmp_path: Path) -> None:
    for command in (["arm"], ["scan", "--out", str(tmp_path / "out")]):
        line = refused(*command, "--board", raw_board.address)
        assert line == f"can't arm: the board 'twin' has no commissioning record; run: reflexarc commission --board {raw_board.address}"
    assert not list((tmp_path / "out").glob("*"))
    line = refused("arm", "--board", raw_board.address, "--record", str(tmp_path / "none.json"))
    assert "there is none; run: reflexarc commission" in line
    (tmp_path / "bad.json").write_text("{}")
    assert "damaged or changed" in refused("arm", "--board", raw_board.address, "--record", str(tmp_path / "bad.json"))
    other = tmp_path / "other.json"
    save_record(new_record("other", 127, "", "", {}), other)
    assert "is the commissioning record of the board 'other', not of 'twin'" in refused(
        "arm", "--board", raw_board.address, "--record", str(other)
    )
    assert raw_board.read_raw("interlock.state", "interlock.commissioned", "interlock.trips") == [0, 0, 0]


def test_on_the_command_line(raw_board: RunningBoard, no_records: Path, tmp_path: Path) -> None:
    said = succeeds("commission", "--board", raw_board.address, "--operator", "Ada")
    assert said.count(" yes (") == len(Question) and str(record_path("twin")) in said
    record = json.loads(record_path("twin").read_text())
    assert record["operator"] == "Ada" and set(record["answers"].values()) == {"yes"} and record["straps"] == 127
    # The board takes the record's word when it is armed, not before.
    assert raw_board.read_raw("interlock.commissioned", "interlock.state") == [0, 0]
    with Controller(raw_board.address, lockstep=True) as board:
        board.set_limits(Limits())
        board.arm()
        assert board.run(board.device.registers.read_raw("interlock.commissioned"))[0] >> 3 == record["number"]
        board.disarm()
        forget(board)
    elsewhere = tmp_path / "elsewhere.json"
    assert str(elsewhere) in succeeds("commission", "--board", raw_board.address, "--record", str(elsewhere))
    assert json.loads(elsewhere.read_text())["operator"] == "the twin's plant"


def test_only_a_little_is_driven_and_all_is_put_back(lockstep: Controller) -> None:
    device = lockstep.device
    forget(lockstep)
    lockstep.set_limits(Limits(current_high_A=1.5e-9))
    lockstep.write({"gate.bias": 0.25, "feedback.low": -50e-9})
    limits = tuple(Limits().to_raw(device.calibration, 0))
    before = lockstep.run(device.registers.read_raw(*limits, *TOUCHED))
    heights = []
    operator = TwinOperator(lockstep)

    def watch(question: Question) -> bool:
        heights.append(lockstep.read("gate.z_code")[0])
        return operator(question)

    record = commission(lockstep, watch, "a test")
    assert min(heights) == pytest.approx(97e-9, abs=0.1e-9), "2 % of 200 nm below the rail is the end of the box, 1.5 % are used"
    assert lockstep.run(device.registers.read_raw(*limits, *TOUCHED)) == before
    assert lockstep.run(device.registers.read_raw("interlock.commissioned", "interlock.state", "feedback.mode")) == [0, 0, 0]
    assert device.take_packets() == [] and lockstep.status()["trips"] == 0 or lockstep.status()["interlock"] == "disarmed"
    assert is_commissioned(record.word, 127)
    lockstep.arm(record)
    assert lockstep.status()["commissioned"] is True


@pytest.mark.parametrize("question", Question)
def test_each_no_ends_it_without_a_record(lockstep: Controller, question: Question) -> None:
    forget(lockstep)
    operator = TwinOperator(lockstep)
    asked = []

    def ask(this: Question) -> bool:
        asked.append(this)
        return operator(this) and this is not question

    with pytest.raises(BadInput, match="^not commissioned: "):
        commission(lockstep, ask, "a test")
    assert asked == list(Question)[: len(asked)] and asked[-1] is question
    lockstep.run(lockstep.device.inject("estop", closed=True))
    assert lockstep.run(lockstep.device.registers.read_raw("interlock.commissioned")) == [0]
    assert lockstep.run(lockstep.device.state()) is InterlockState.DISARMED
    commission_twin(lockstep)  # for the tests to come


def test_an_estop_that_the_board_does_not_hear(lockstep: Controller) -> None:
    operator = TwinOperator(lockstep)

    def ask(question: Question) -> bool:
        return True if question is Question.ESTOP_OPEN else operator(question)  # says that it is, but the wire is not there

    with pytest.raises(BadInput, match="not commissioned: the board sees the e-stop chain closed; look at its wiring"):
        commission(lockstep, ask, "a test")
    commission_twin(lockstep)


def test_it_needs_a_disarmed_board(lockstep: Controller) -> None:
    lockstep.set_limits(Limits())
    lockstep.arm()
    with pytest.raises(BadInput, match="begins with a disarmed board; this one is armed"):
        commission_twin(lockstep)
    assert lockstep.status()["interlock"] == "armed"


def test_an_estop_in_the_middle(lockstep: Controller) -> None:
    """The board trips while the operator thinks: nothing is recorded, and the trip is told."""
    operator = TwinOperator(lockstep)

    def ask(question: Question) -> bool:
        if question is Question.TOWARDS:
            lockstep.run(lockstep.device.inject("estop", closed=False))
            lockstep.run(lockstep.device.sleep(10e-6))
            return True
        return operator(question)

    with pytest.raises(BadInput, match=r"not commissioned: the board is tripped \(ESTOP in cycle \d+\)"):
        commission(lockstep, ask, "a test")
    lockstep.run(lockstep.device.inject("estop", closed=True))
    lockstep.run(lockstep.device.sleep(10e-6))
    lockstep.acknowledge()
    commission_twin(lockstep)


def test_a_strap_that_differs(lockstep: Controller) -> None:
    lockstep.set_limits(Limits())
    with pytest.raises(BadInput, match="this is the commissioning record of the board 'other', not of 'twin'"):
        lockstep.arm(new_record("other", 127, "", "", {}))
    with pytest.raises(BadInput, match="this: the board was commissioned with BLANK_ACTIVE_HIGH"):
        lockstep.arm(new_record("twin", 126, "", "", {}))
    assert lockstep.status()["interlock"] == "disarmed"


@pytest.mark.parametrize(
    ("typed", "status", "says"),
    [
        ("n\n", 2, "reflexarc: not commissioned: retract the tip with the coarse motor first"),
        ("y\nn\n", 2, "reflexarc: not commissioned: the retract direction of this platform is wrong for this scanner: do not use it"),
        ("y\n" * 6, 2, "reflexarc: not commissioned: the board sees the e-stop chain closed; look at its wiring"),
        ("y\n", 130, "reflexarc: interrupted"),  # the end of the input while z is extended, as Ctrl-C
    ],
)
def test_a_person_at_the_terminal(
    shared_board: RunningBoard, no_records: Path, monkeypatch: pytest.MonkeyPatch, typed: str, status: int, says: str
) -> None:
    """As on a real board: the plant is not asked."""
    monkeypatch.setattr(AsyncController, "is_twin", False)
    save_record(new_record("twin", 127, "long ago", "Ada", {}), record_path("twin"))
    word = shared_board.read_raw("interlock.commissioned")[0]
    result = CliRunner().invoke(main, ["commission", "--board", shared_board.address], input=typed)
    assert result.exit_code == status and result.stderr.splitlines()[-1] == says
    assert Question.TIP_FAR.value in result.output
    # What was seen to be wrong takes an older record with it; a test that was not made leaves it.
    wrong = status == 2 and typed != "n\n"
    assert record_path("twin").exists() is not wrong and record_path("twin").with_name("twin.json.void").exists() is wrong
    assert ("the older record no longer holds: moved to " in result.stderr) is wrong
    assert shared_board.read_raw("interlock.state", "interlock.commissioned") == [InterlockState.DISARMED, word if typed == "n\n" else 0]
    shared_board.wait_for("gate.withdrawn", 1, 30)
    with Controller(shared_board.address, lockstep=True) as board:
        commission_twin(board)
