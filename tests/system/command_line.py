"""The command line as a user meets it: a process, its two streams, its exit status."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from types import TracebackType
from typing import Self

COMMAND = [sys.executable, "-W", "error", "-m", "reflexarc.cli.main"]
USER_ERROR = 2


def reflexarc(*arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)


def succeeds(*arguments: str, timeout_s: float = 120) -> str:
    """Standard output of a command that ends well."""
    result = reflexarc(*arguments, timeout_s=timeout_s)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


def one_line(result: subprocess.CompletedProcess[str], only: bool = True) -> str:
    """The line of a command that failed as it should; ``only``: with nothing before it, not even a progress bar."""
    said = result.stderr.replace("\r", "\n")
    assert "Traceback" not in said, said
    assert result.returncode != 0, said
    lines = [line for line in said.splitlines() if line.strip()]
    assert lines and lines[-1].startswith("reflexarc: "), said
    assert sum(line.startswith("reflexarc: ") for line in lines) == 1, said
    if only:
        assert len(lines) == 1, said
    return lines[-1].removeprefix("reflexarc: ")


def refused(*arguments: str, within_s: float = 30) -> str:
    """Run a command with bad input; its one line."""
    began = time.monotonic()
    result = reflexarc(*arguments)
    line = one_line(result)
    assert result.returncode == USER_ERROR
    assert result.stdout == ""
    assert time.monotonic() - began < within_s
    return line


class OnTerminal:
    """A command with a terminal for its errors, so that it shows its progress; killed at the end of the block, whatever happens."""

    def __init__(self, *arguments: str) -> None:
        self._terminal, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 100))  # without a width there is no progress bar
        self._said = b""
        self.process = subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)

    @property
    def said(self) -> str:
        """What came so far on standard error."""
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                data = os.read(self._terminal, 1 << 16)
            except OSError:  # nobody holds the other end any more
                break
            if not data:
                break
            self._said += data
        return self._said.decode(errors="replace")

    def wait_for_lines(self, count: int, total: int, timeout_s: float) -> int:
        """Until the progress bar shows ``count`` lines; how many it shows then."""
        end = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None
            done = max([int(number) for number in re.findall(rf"\b(\d+)/{total}\b", self.said)], default=0)
            if done >= count:
                return done
            assert not ended and time.monotonic() < end, self.said
            time.sleep(0.02)

    def ended(self, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """Its end, within so many seconds."""
        status = self.process.wait(timeout_s)
        return subprocess.CompletedProcess([], status, "", self.said)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)
