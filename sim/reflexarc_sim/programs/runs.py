"""Programs on a twin, one after another on the same approached tip."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from reflexarc.device import Controller
from reflexarc.device.launch import private_board
from reflexarc.errors import BoardTripped
from reflexarc.experiments.approach import approach, follow
from reflexarc.experiments.commission import commission_twin
from reflexarc.experiments.program import POLL_S, run_program
from reflexarc.experiments.settings import ScanSettings
from reflexarc.programs.canonical import LONGEST_S, decode
from reflexarc.programs.verify import verify
from reflexarc.safety.limits import Limits

from .strings import assumptions

PLACE_RUNS = 25  # programs at one place
PLACES_M = 12e-9  # from the specimen's centre, along each axis: both steps of Au(111) are within
MOVE_M_PER_S = 1e-6
SETTLE_S = 3e-3  # after the bias and setpoint of the beginning were set again: 75 time constants of the feedback
HOME_POLLS = 100  # milliseconds that a tip may need to the scan's place
HOME_CODES = 3
TELL_RUNS = 20  # between two lines of progress
LATE_S = 2 * POLL_S  # within which the end of a program is seen, and its rows are loaded


@dataclass
class Ran:
    """What became of programs. ``late``: those that took longer than they may."""

    runs: int = 0
    emissions: int = 0
    board_s: float = 0.0
    trips: list[dict[str, str]] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def add(self, other: Ran) -> None:
        self.runs += other.runs
        self.emissions += other.emissions
        self.board_s += other.board_s
        self.trips += other.trips
        self.late += other.late


class Bench:
    """A twin that is armed, with its tip approached."""

    def __init__(self, board: Controller, seed: int) -> None:
        self.board, self.device = board, board.device
        self.settings = ScanSettings()
        self.given = assumptions()
        self.rng = Random(f"places {seed}")
        commission_twin(board)
        board.set_limits(Limits())
        board.arm()
        board.run(approach(self.device, self.settings))

    def next_place(self) -> None:
        """The scan's place elsewhere on the specimen."""
        x_m, y_m = (self.rng.uniform(-PLACES_M, PLACES_M) for _ in "xy")
        self.board.run(self.device.move_to(x_m, y_m, MOVE_M_PER_S))
        self.given = assumptions(x_m, y_m)

    def run(self, line: str, ran: Ran) -> None:
        """BoardTripped if it trips, or anything does on the way back to how all was."""
        tree = decode(line, self.given)
        verdict = verify(tree, self.given)
        assert verdict.compiled is not None and not verdict.findings, line
        found = self.board.run(run_program(self.device, verdict.compiled))
        ran.emissions += len(found.emissions)
        if found.time_s > LONGEST_S + LATE_S:
            ran.late.append(f"{found.time_s:.6f} s: {line}")
        self.restore()

    def restore(self) -> None:
        self.board.run(self.device.set_bias(self.settings.bias_V))
        self.board.run(follow(self.device, self.settings))
        self.board.run(self.device.feedback_on())
        for _ in range(HOME_POLLS):
            self.board.run(self.device.sleep(POLL_S))
            x, y, scan_x, scan_y = self.board.read("gate.x_code", "gate.y_code", "scan.x", "scan.y")
            if max(abs(x - scan_x), abs(y - scan_y)) < HOME_CODES * self.device.calibration.x_m_per_code:
                break
        self.board.run(self.device.sleep(SETTLE_S))
        self.board.run(self.device.check_live())


@contextmanager
def bench(seed: int) -> Iterator[Bench]:
    with private_board("--specimen=au111", f"--seed={seed}", "--hold") as address, Controller(address, lockstep=True) as board:
        yield Bench(board, seed)


def run_share(number: int, seed: int, lines: list[str]) -> Ran:
    """Of one process, which tells how far it is."""

    def told(done: int) -> None:
        if done % TELL_RUNS == 0 or done == len(lines):
            print(f"twin {number}: {done} of {len(lines)} programs", file=sys.stderr, flush=True)

    return run_lines(seed * 1000 + 100 * number, lines, told)


def run_lines(seed: int, lines: list[str], told: Callable[[int], None] = lambda done: None) -> Ran:
    """All of ``lines``; after a trip on a new twin, with another specimen."""
    ran, left = Ran(), list(lines)
    while left:
        with bench(seed) as instrument:
            began = instrument.board.run(instrument.device.time_cycles())
            while left:
                line = left.pop(0)
                ran.runs += 1
                try:
                    if ran.runs % PLACE_RUNS == 1:
                        instrument.next_place()
                    instrument.run(line, ran)
                except BoardTripped as error:
                    ran.trips.append({"line": line, "trip": str(error)})
                    break
                told(ran.runs)
            ended = instrument.board.run(instrument.device.time_cycles())
            ran.board_s += instrument.device.calibration.seconds(ended - began)
        seed += 1
    return ran
