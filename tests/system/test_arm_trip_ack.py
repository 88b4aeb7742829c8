"""`arm`, `trip`, `ack`, `status` on the command line, round and round, with their exit statuses."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from command_line import COMMAND, refused, succeeds
from running_board import RunningBoard, make_harmless

from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.device import Controller

TRIPPED = 3


@pytest.fixture(autouse=True)
def disarmed(shared_board: RunningBoard) -> None:
    """Each test begins with a board that is free and disarmed, whatever the one before left."""
    with Controller(shared_board.address) as board:
        make_harmless(board)


# What is started in the background of a script inherits a SIGINT that is ignored.
IN_THE_BACKGROUND = ("sh", "-c", """trap '' INT; exec "$@" """, "sh")


@contextmanager
def arming(board: RunningBoard, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    """`arm`, once it says that it is."""
    client = subprocess.Popen(
        [*prefix, *COMMAND, "arm", "--board", board.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert client.stdout is not None and client.stderr is not None
    try:
        assert client.stdout.readline().startswith("armed; ")
        yield client
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
        client.stderr.close()


def status(board: RunningBoard) -> dict[str, object]:
    found: dict[str, object] = json.loads(succeeds("status", "--board", board.address, "--json"))
    return found


def test_interrupted_arming_disarms(shared_board: RunningBoard) -> None:
    for number, prefix in ((signal.SIGINT, ()), (signal.SIGTERM, ()), (signal.SIGINT, IN_THE_BACKGROUND)):
        with arming(shared_board, *prefix) as client:
            client.send_signal(number)
            out, err = client.communicate(timeout=30)
        assert (client.returncode, out, err) == (0, "disarmed\n", "")
        found = status(shared_board)
        assert found["interlock"] == "disarmed" and found["trip_flags"] == ""


def test_round_trip(shared_board: RunningBoard) -> None:
    address = shared_board.address
    assert succeeds("trip", "--board", address) == "disarmed -> disarmed (outputs were safe already)\n"
    assert refused("ack", "--board", address) == "nothing to acknowledge: the interlock is disarmed"
    with arming(shared_board) as client:
        assert f"(pid {client.pid})" in refused("status", "--board", address)
        # Whoever uses the board: to make it safe nobody has to wait for a turn.
        assert succeeds("trip", "--board", address) == "armed -> tripped\n"
        out, err = client.communicate(timeout=30)
        assert client.returncode == TRIPPED and err.startswith("tripped: HOST in cycle ")
    found = status(shared_board)
    assert found["interlock"] == "tripped" and str(found["last_trip"]).startswith("HOST") and found["trip_flags"] == "HOST"
    assert "acknowledge it first" in refused("arm", "--board", address)
    assert succeeds("ack", "--board", address).startswith("acknowledged: HOST")
    assert refused("ack", "--board", address).startswith("nothing to acknowledge")
    found = status(shared_board)
    assert found["interlock"] == "disarmed" and found["trip_flags"] == "" and found["blackbox_entries"] == 0


def test_arming_ends_when_the_board_trips(shared_board: RunningBoard) -> None:
    """A client that is stopped for long and goes on afterwards finds that it came too late, and says so."""
    with Controller(shared_board.address) as board:
        [timeout] = board.run(board.device.registers.read_raw("interlock.heartbeat_timeout"))
    enough_s = 1.5 * timeout / shared_board.cycles_per_cpu_s()  # half more, as the machine may be faster in between
    with arming(shared_board) as client:
        client.send_signal(signal.SIGSTOP)
        try:
            # The stopped client is still connected, so nobody else can look: wait until the board has worked for long enough.
            shared_board.wait_for_cpu(enough_s)
        finally:
            client.send_signal(signal.SIGCONT)
        out, err = client.communicate(timeout=30)
    assert client.returncode == TRIPPED
    assert err.startswith("tripped: HEARTBEAT in cycle ") and err.count("\n") == 1 and out == ""
    assert shared_board.read_raw("interlock.state") == [InterlockState.TRIPPED]
    assert succeeds("ack", "--board", shared_board.address).startswith("acknowledged: HEARTBEAT")
