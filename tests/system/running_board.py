"""Board processes for the tests: started, waited for, always ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from reflexarc.calibration import Calibration
from reflexarc.device import Controller
from reflexarc.device.registers import Registers
from reflexarc.device.transport import SocketTransport
from reflexarc.experiments.commission import commission_twin
from reflexarc.safety import SoftLimits

START_S = 240  # the first start on a machine builds the twin

T = TypeVar("T")


class RunningBoard:
    """A board in a session of its own, as a real one would not share the client's signals either; commissioned by its own plant."""

    def __init__(self, folder: Path, *arguments: str, commissioned: bool = True) -> None:
        self.address = str(folder / "board.sock")
        self.log = folder / "board.log"
        if not any(argument.startswith("--lanes") for argument in arguments):
            arguments = ("--lanes=0", *arguments)  # the detector's engine makes the twin slower
        command = [sys.executable, "-W", "error", "-m", "reflexarc_sim.board", "--socket", self.address, *arguments]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + START_S
        while "ready at" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"the board did not start: {self.log.read_text()}")
            time.sleep(0.05)
        if commissioned:
            with Controller(self.address, lockstep=True) as board:
                commission_twin(board)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, question: Callable[[Registers], Awaitable[T]]) -> T:
        """Look at registers as a client that sends no heartbeat and leaves the board's pace alone."""

        async def answer() -> T:
            transport = await SocketTransport.connect(self.address)
            try:
                return await question(Registers(transport, Calibration()))
            finally:
                await transport.close()

        return asyncio.run(answer())

    def read_raw(self, *names: str) -> list[int]:
        return self.ask(lambda registers: registers.read_raw(*names))

    def wait_for(self, name: str, value: int, timeout_s: float) -> None:
        """Until a register reads ``value``; AssertionError with what it read last."""
        end = time.monotonic() + timeout_s
        while (found := self.read_raw(name)[0]) != value:
            assert time.monotonic() < end, f"{name} is {found} after {timeout_s} s, {value} was due"
            time.sleep(0.1)

    @property
    def cpu_s(self) -> float:
        """Processor time of the board so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cycles_per_cpu_s(self) -> float:
        """What a free board runs in a second of its own processor time, on this machine, now."""
        with Controller(self.address) as board:
            began, cpu_s = board.run(board.device.registers.read_raw("system.time"))[0], self.cpu_s
            while (used := self.cpu_s - cpu_s) < 1.0:
                time.sleep(0.1)
            return (board.run(board.device.registers.read_raw("system.time"))[0] - began) / used

    def wait_for_cpu(self, cpu_s: float) -> None:
        """Until the board has worked for so long, without asking it: for when its one client is busy."""
        end = self.cpu_s + cpu_s
        while self.cpu_s < end:
            time.sleep(0.1)


StartBoard = Callable[..., RunningBoard]


def make_harmless(board: Controller) -> None:
    """Faults off, soft limits open, and disarmed whatever happened before."""
    device = board.device
    board.run(device.inject("estop", closed=True))
    for converter in (0, 1):
        board.run(device.inject("adc", converter=converter))
    for channel in range(4):
        board.run(device.inject("dac_stuck", channel=channel, stuck=False))
    board.run(device.inject("lines"))
    board.run(device.inject("monitor", volts=1.0))
    board.run(device.inject("underflow", underflow=False))
    board.set_soft_limits(**dict.fromkeys(SoftLimits().as_plain()))
    board.run(device.sleep(100e-6))
    match board.status()["interlock"]:
        case "armed":
            board.disarm()
        case "tripped":
            board.acknowledge()
    assert board.status()["interlock"] == "disarmed"
