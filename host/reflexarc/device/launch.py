"""Start a private board process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reflexarc.errors import BadInput, ConnectionFailed

IDLE_EXIT_S = 120  # the board outlives a killed client so long, for a new one to ask what happened


@contextlib.contextmanager
def private_board(*arguments: str) -> Iterator[str]:
    """A twin of one's own, yielded as its address; ended with the block.

    It runs in a session of its own, so that whatever ends the client does not touch it. BadInput with the board's line if it can't start.
    """
    folder = Path(tempfile.mkdtemp(prefix="reflexarc-"))
    address = folder / "board.sock"
    command = [sys.executable, "-m", "reflexarc_sim.board", "--socket", str(address), "--idle-exit", str(IDLE_EXIT_S), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    try:
        ready = False
        for line in process.stderr:
            if line.startswith("reflexarc-board: "):
                raise BadInput(line.removeprefix("reflexarc-board: ").strip())
            if line.startswith("ready"):
                ready = True
                break
            sys.stderr.write(line)
        if not ready:
            raise ConnectionFailed(f"the board process ended with {process.wait()} before it was ready")
        print(f"board at {address}", file=sys.stderr)
        yield str(address)
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()
        with contextlib.suppress(OSError):
            address.unlink(missing_ok=True)
            folder.rmdir()
