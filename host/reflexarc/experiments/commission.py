"""The commissioning test: an operator, or the twin's plant, says what really happened."""

from __future__ import annotations

import contextlib
import datetime
import enum
from collections.abc import Callable, Iterator

from reflexarc.contract.blocks.interlock import InterlockState, Strap
from reflexarc.contract.blocks.scan import ScanFlags, ScanState
from reflexarc.device import Controller
from reflexarc.errors import BadInput
from reflexarc.safety.commissioning import CommissioningRecord, NotCommissioned, commissioned_word, new_record
from reflexarc.safety.limits import Limits
from reflexarc.scans import standing_still

BOX_FRACTION = 0.02  # of the range of z below the withdrawn rail: all that is ever driven here
EXTEND_FRACTION = 0.015
EXTEND_M_PER_S = 2e-6
BIAS_V = 0.1
SETPOINT_A = 100e-12
PROVISIONAL_NUMBER = 1
SETTLE_S = 0.5e-3
TOUCHED = (
    "feedback.linearizer", "feedback.setpoint", "feedback.kp", "feedback.ki", "feedback.slew", "feedback.low", "feedback.high", "gate.bias",
    *standing_still(),
)  # fmt: skip


class Question(enum.Enum):
    """What is asked, in this order. A no to any of them ends the test without a record."""

    TIP_FAR = "Is the tip far from the sample, retracted with the coarse motor?"
    TOWARDS = "z was extended a little and stands there: did the tip move towards the sample?"
    WITHDREW = "z was withdrawn again: did the tip move away from the sample?"
    BLANKED = "Is the beam off now? (Yes, if nothing is connected to the blanker)"
    BEAM_ON = "A scan is running in place: is the beam on now? (Yes, if nothing is connected to the blanker)"
    ESTOP_OPEN = "Open the e-stop chain (press the button). Is it open?"
    ESTOP_CLOSED = "Close the e-stop chain again. Is it closed?"


Ask = Callable[[Question], bool]

_MEANS = {
    Question.TIP_FAR: "retract the tip with the coarse motor first",
    Question.TOWARDS: "the retract direction of this platform is wrong for this scanner: do not use it",
    Question.WITHDREW: "the retract direction of this platform is wrong for this scanner: do not use it",
    Question.BLANKED: "the blanker polarity of this platform is wrong for this blanker: do not use it",
    Question.BEAM_ON: "the blanker polarity of this platform is wrong for this blanker: do not use it",
    Question.ESTOP_OPEN: "the e-stop could not be tried",
    Question.ESTOP_CLOSED: "close the e-stop chain and begin again",
}
_WIRING = {Question.TOWARDS, Question.WITHDREW, Question.BLANKED, Question.BEAM_ON}  # a no means that it is wired the other way round


def commission(board: Controller, ask: Ask, operator: str) -> CommissioningRecord:
    """Walk through the test on a disarmed board; the record if each answer is yes, else NotCommissioned (a BadInput).

    ``ask`` is called while the heartbeat goes on. Whatever happens, the board is disarmed in the end, without a valid record, and its
    limits and settings are as they were.
    """
    device = board.device
    state = board.run(device.state())
    if state is not InterlockState.DISARMED:
        raise BadInput(f"the test begins with a disarmed board; this one is {state.name.lower()}")
    facts = board.run(device.board_facts())
    answers: dict[str, str] = {}

    def confirm(question: Question) -> None:
        yes = ask(question)
        answers[question.name.lower()] = "yes" if yes else "no"
        if not yes:
            raise NotCommissioned(_MEANS[question], void=question in _WIRING)

    if Strap.TIP in facts.straps:
        confirm(Question.TIP_FAR)
    with _put_back(board):
        rail = device.calibration.z_range_m
        board.set_limits(Limits(z_low_m=rail - 2 * rail * BOX_FRACTION))
        board.run(device.registers.write_raw({"interlock.commissioned": commissioned_word(facts.straps, PROVISIONAL_NUMBER)}))
        if Strap.TIP in facts.straps:
            _extend(board)
            confirm(Question.TOWARDS)
            _still_armed(board)
            board.disarm()
            board.run(device.sleep(2 * rail * BOX_FRACTION / Limits().retract_m_per_s + SETTLE_S))
            confirm(Question.WITHDREW)
        confirm(Question.BLANKED)
        board.arm()
        _scan_in_place(board)
        confirm(Question.BEAM_ON)
        _still_armed(board)
        board.disarm()
        for question, closed in ((Question.ESTOP_OPEN, 0), (Question.ESTOP_CLOSED, 1)):
            confirm(question)
            board.run(device.sleep(SETTLE_S))
            if board.run(device.registers.read_raw("interlock.estop_closed")) != [closed]:
                seen = "open" if closed else "closed"
                raise NotCommissioned(f"the board sees the e-stop chain {seen}; look at its wiring", void=True)
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return new_record(device.board_name, int(facts.straps), date, operator, answers)


@contextlib.contextmanager
def _put_back(board: Controller) -> Iterator[None]:
    """Disarmed, uncommissioned and with the same settings after the block as before it."""
    device = board.device
    limits = tuple(Limits().to_raw(device.calibration, 0))
    before = dict(zip((*limits, *TOUCHED), board.run(device.registers.read_raw(*limits, *TOUCHED)), strict=True))
    try:
        yield
    finally:
        board.disarm()
        board.run(device.feedback_hold())
        board.run(device.registers.write_raw({**before, "interlock.commissioned": 0}))
        board.run(device.sleep(SETTLE_S))
        device.take_packets()  # of the scan in place


def _still_armed(board: Controller) -> None:
    state = board.run(board.device.state())
    if state is not InterlockState.ARMED:
        raise NotCommissioned(f"the board is {state.name.lower()} ({board.last_trip()}); acknowledge it and begin again")


def _extend(board: Controller) -> None:
    """z a little way out, under feedback that finds no current, and held there by the end of its range."""
    device = board.device
    rail = device.calibration.z_range_m
    goal = rail - 2 * rail * EXTEND_FRACTION
    board.write({"feedback.low": goal, "gate.bias": BIAS_V})
    board.run(device.set_feedback(setpoint_A=SETPOINT_A, bandwidth_Hz=1e3, slew_m_per_s=EXTEND_M_PER_S))
    board.arm()
    board.run(device.feedback_on())
    piece_s = (rail - goal) / EXTEND_M_PER_S / 3
    for _ in range(12):
        board.run(device.sleep(piece_s))
        _still_armed(board)
        if board.read("gate.z_code")[0] <= goal + 2 * device.calibration.z_m_per_code:
            board.run(device.sleep(SETTLE_S))
            return
    raise NotCommissioned("z does not extend; if there is a current already, retract with the coarse motor")


def _scan_in_place(board: Controller) -> None:
    """A scan that goes nowhere and takes hours: the blanker opens in its lines."""
    device = board.device
    board.run(
        device.registers.write_raw(
            {
                **standing_still(), "scan.flags": ScanFlags.BACKWARD, "scan.pixels": 64, "scan.lines": 64, "scan.pixel_samples": (1 << 24) - 1,
            }
        )
    )  # fmt: skip
    board.run(device.start_scan())
    board.run(device.sleep(SETTLE_S))
    if board.run(device.scan_state()) is not ScanState.FORWARD:
        raise NotCommissioned("the scan in place did not start")


class TwinOperator:
    """Answers from what the twin's plant knows, and works its e-stop."""

    name = "the twin's plant"
    MOVED_M = 0.5e-9

    def __init__(self, board: Controller) -> None:
        self._board = board
        self._gap_m = 0.0
        self.seen = ""

    def __call__(self, question: Question) -> bool:
        truth = self._board.run(self._board.device.truth())
        gap_m, before_m = float(truth["gap_m"]), self._gap_m
        self._gap_m = gap_m
        self.seen = f"gap {gap_m * 1e9:.2f} nm"
        match question:
            case Question.TIP_FAR:
                return gap_m > 10e-9
            case Question.TOWARDS:
                return gap_m < before_m - self.MOVED_M
            case Question.WITHDREW:
                return gap_m > before_m + self.MOVED_M
            case Question.BLANKED | Question.BEAM_ON:
                self.seen = f"beam {'off' if truth['blanked'] else 'on'}"
                return bool(truth["blanked"]) is (question is Question.BLANKED)
            case Question.ESTOP_OPEN | Question.ESTOP_CLOSED:
                closed = question is Question.ESTOP_CLOSED
                self._board.run(self._board.device.inject("estop", closed=closed))
                self.seen = f"e-stop chain {'closed' if closed else 'open'}"
        return True


def commission_twin(board: Controller) -> CommissioningRecord:
    """Commission a twin by its own plant, within some ms of board time, and write the record's word to it."""
    operator = TwinOperator(board)
    record = commission(board, operator, operator.name)
    board.run(board.device.registers.write_raw({"interlock.commissioned": record.word}))
    return record
