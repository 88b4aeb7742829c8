"""Strangers on the link: a second client, garbage, a board with another contract. Nobody is harmed and everybody is told."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import refused, succeeds
from fake_board import FakeBoard, changed
from running_board import RunningBoard

from reflexarc.contract import fingerprint
from reflexarc.contract.blocks import REGISTER_MAP, system
from reflexarc.contract.blocks.interlock import CauseFlags, InterlockState
from reflexarc.contract.link import HEADER, MAGIC, OPERATION, PAYLOAD_MAX, VERSION, Frame, FrameCounter, FrameParser, Kind
from reflexarc.contract.registers import Access
from reflexarc.device import Controller
from reflexarc.errors import ConnectionFailed

SEED = 5
SETTINGS = [f"{block.name}.{register.name}" for block in REGISTER_MAP for register in block.registers if register.access is Access.RW]
HELLO = (Kind.HELLO, b'{"client": "stranger"}')


def test_a_second_client_is_told_who_is_first(shared_board: RunningBoard, tmp_path: Path) -> None:
    with Controller(shared_board.address) as first:
        for command in (["status"], ["arm"], ["ack"], ["scan", "--out", str(tmp_path / "out")]):
            line = refused(*command, "--board", shared_board.address, within_s=10)
            assert line.startswith("the board is in use by ") and f"(pid {os.getpid()})" in line and "one client at a time" in line
        assert first.status()["interlock"] == "disarmed", "the first one does not notice"
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    assert json.loads(succeeds("status", "--board", shared_board.address, "--json"))["interlock"] == "disarmed"


def test_the_refusal_arrives_each_time(shared_board: RunningBoard) -> None:
    """Whichever comes first, the second client's greeting or the board's hanging up."""
    with Controller(shared_board.address):
        for _ in range(50):
            with pytest.raises(ConnectionFailed, match="^the board is in use by "):
                Controller(shared_board.address)


def talk(address: str, data: bytes) -> list[Frame]:
    """Send bytes, hear the board out until it hangs up (or, if it has nothing against them, a moment)."""
    parser, frames = FrameParser(), []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(address)
        link.settimeout(3)
        try:
            link.sendall(data)
            while received := link.recv(1 << 16):
                frames += parser.feed(received)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
    return frames


def frame(
    magic: bytes = MAGIC,
    version: int = VERSION,
    kind: int = Kind.HELLO,
    sequence: int = 0,
    payload: bytes = b"{}",
    length: int | None = None,
) -> bytes:
    head = HEADER.pack(magic, version, kind, 1, sequence, len(payload) if length is None else length)
    return head + payload + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head)))


GARBAGE: dict[str, tuple[bytes, str]] = {
    "another protocol": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "is the other side a ReflexArc board?"),
    "noise": (b"\0" + random.Random(SEED).randbytes(5000), "frame starts with"),
    "another version": (frame(version=VERSION + 1), f"speaks link version {VERSION + 1}"),
    "a flipped bit": (frame()[:-5] + b"!" + frame()[-4:], "frame CRC is"),
    "a frame too long": (frame(length=PAYLOAD_MAX + 1), f"at most {PAYLOAD_MAX} are allowed"),
    "a frame out of order": (frame(sequence=7), "frame 7 came where 0 was due"),
    "a frame of no kind": (frame(kind=200), "frame kind 200 is unknown"),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage(shared_board: RunningBoard, what: str) -> None:
    print(f"seed {SEED}")
    before = shared_board.read_raw(*SETTINGS, "interlock.state")
    data, says = GARBAGE[what]
    frames = talk(shared_board.address, data)
    assert [found.kind for found in frames] == [Kind.ERROR] and says in frames[0].payload.decode()
    assert shared_board.alive and shared_board.read_raw(*SETTINGS, "interlock.state") == before


def test_half_a_frame_and_gone(shared_board: RunningBoard) -> None:
    for end in (1, HEADER.size - 1, HEADER.size, len(frame()) - 1):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.connect(shared_board.address)
            link.sendall(frame()[:end])
    assert json.loads(succeeds("status", "--board", shared_board.address, "--json"))["interlock"] == "disarmed"


BUS_READ = OPERATION.pack(0, 0, 0)
REQUESTS: dict[str, tuple[list[tuple[Kind, bytes]], str]] = {
    "no greeting": ([(Kind.BUS, BUS_READ)], "the first frame must be HELLO"),
    "a greeting that is no JSON": ([(Kind.HELLO, b"hello")], "not JSON"),
    "a greeting that is no object": ([(Kind.HELLO, b"[]")], "a JSON object is expected"),
    "half an operation": ([HELLO, (Kind.BUS, BUS_READ[:-1])], "bus operations of"),
    "no such operation": ([HELLO, (Kind.BUS, OPERATION.pack(9, 0, 0))], "bus operation 9 is unknown"),
    "no such pace": ([HELLO, (Kind.PACE, b"\7")], "PACE takes one byte"),
    "time on a free board": ([HELLO, (Kind.ADVANCE, struct.pack("<Q", 100))], "needs lockstep"),
    "time that is no number": ([HELLO, (Kind.PACE, b"\1"), (Kind.ADVANCE, b"soon")], "64-bit number"),
    "a reply": ([HELLO, (Kind.REPLY, b"")], "a client can't send REPLY"),
    "a fault that is no object": ([HELLO, (Kind.INJECT, b'"estop"')], "a JSON object is expected"),
    "a surface of two shapes": ([HELLO, (Kind.TRUTH, b'{"x_m": [0, 1], "y_m": [0, 1, 2], "time_s": 0}')], "of one shape"),
    "a surface that is no number": ([HELLO, (Kind.TRUTH, b'{"x_m": ["a"], "y_m": [0], "time_s": 0}')], "surface wants"),
    "an e-stop that is a word": ([HELLO, (Kind.INJECT, b'{"fault": "estop", "closed": "no"}')], "'no' is neither true nor false"),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_requests_that_can_not_be(shared_board: RunningBoard, what: str) -> None:
    """The client gets the line, and stays: its next request is answered."""
    requests, says = REQUESTS[what]
    counter = FrameCounter()
    greeting = (Kind.HELLO, b'{"client": "again"}')
    data = b"".join(counter.pack(kind, payload, number) for number, (kind, payload) in enumerate([*requests, greeting], 1))
    frames, parser = [], FrameParser()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(shared_board.address)
        link.settimeout(20)
        link.sendall(data)
        while len([found for found in frames if found.request_id]) < len(requests) + 1:
            received = link.recv(1 << 16)
            assert received, f"the board hung up after {frames}"
            frames += parser.feed(received)
    answers = {found.request_id: found for found in frames}
    refusal = answers[len(requests)]
    assert refusal.kind is Kind.ERROR and says in refusal.payload.decode() and b"\n" not in refusal.payload
    assert answers[len(requests) + 1].kind is Kind.REPLY
    assert shared_board.alive and shared_board.read_raw("interlock.state", "interlock.trips") == [InterlockState.DISARMED, 0]
    (live,) = shared_board.read_raw("interlock.live")
    assert not live & (CauseFlags.ESTOP | CauseFlags.SAMPLE_LOST), "no fault was injected"


def move_block(contract: dict[str, Any]) -> None:
    contract["blocks"]["gate"]["base"] += 0x100


def drop_register(contract: dict[str, Any]) -> None:
    contract["blocks"]["scan"]["registers"] = [r for r in contract["blocks"]["scan"]["registers"] if r["name"] != "step_x"]


def widen_register(contract: dict[str, Any]) -> None:
    next(r for r in contract["blocks"]["signals"]["registers"] if r["name"] == "current_high")["width"] = 24


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (move_block, "block gate: at "),
        (drop_register, "register scan.step_x: only here"),
        (widen_register, "register signals.current_high: differs"),
    ],
)
def test_a_board_with_another_contract(short_folder: Path, change: Callable[[dict[str, Any]], None], says: str) -> None:
    theirs = 0x12345678
    with FakeBoard(short_folder, changed(change), {"magic": system.MAGIC, "fingerprint": theirs}) as board:
        line = refused("arm", "--board", board.address, within_s=10)
    assert line.startswith(f"the gateware's contract {theirs:#010x} is not this host's {fingerprint.fingerprint():#010x}") and says in line
    assert board.touched == []


def test_a_board_that_tells_nothing(short_folder: Path) -> None:
    with FakeBoard(short_folder, {}, {"magic": system.MAGIC, "fingerprint": 1}) as board:
        assert "the gateware's contract 0x00000001 is not" in refused("status", "--board", board.address, within_s=10)
    assert board.touched == []


def test_something_else_that_speaks_the_link(short_folder: Path) -> None:
    with FakeBoard(short_folder, {}, {"magic": 0xDEADBEEF}) as board:
        line = refused("status", "--board", board.address, within_s=10)
    assert line == f"the board answers 0xdeadbeef where a ReflexArc core says {system.MAGIC:#010x}"
    assert board.touched == []
