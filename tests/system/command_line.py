"""The command line as a user meets it: a process, its two streams, its exit status."""

from __future__ import annotations

import subprocess
import sys
import time

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
