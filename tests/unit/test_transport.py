"""The link's client side, against a peer that a test plays itself."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from reflexarc.contract.link import OPERATION, OPERATIONS_MAX, BusOperation, BusStatus, Frame, FrameCounter, FrameParser, Kind, Pace
from reflexarc.device.transport import SocketTransport
from reflexarc.errors import ConnectionFailed

T = TypeVar("T")
Answer = Callable[[Frame], list[tuple[Kind, bytes, int]] | bytes | None]


def with_peer(answer: Answer, client: Callable[[SocketTransport], Awaitable[T]]) -> T:
    """``answer`` gives frames to send for each that came, or raw bytes, or None to hang up."""

    async def both() -> T:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        peer_reader, peer_writer = await asyncio.open_connection(sock=theirs)
        transport = SocketTransport(*await asyncio.open_connection(sock=ours))

        async def peer() -> None:
            parser, counter = FrameParser(), FrameCounter()
            while data := await peer_reader.read(1 << 16):
                for frame in parser.feed(data):
                    what = answer(frame)
                    if what is None:
                        peer_writer.close()
                        return
                    peer_writer.write(what if isinstance(what, bytes) else b"".join(counter.pack(*each) for each in what))
            peer_writer.close()

        task = asyncio.create_task(peer())
        try:
            return await client(transport)
        finally:
            await transport.close()
            await task
            await peer_writer.wait_closed()

    return asyncio.run(asyncio.wait_for(both(), 20))


def memory(frame: Frame) -> list[tuple[Kind, bytes, int]]:
    """Reads give the address, writes to odd words are refused."""
    reply = b""
    for operation, address, value in OPERATION.iter_unpack(frame.payload):
        refused = operation == BusOperation.WRITE and address & 4
        reply += OPERATION.pack(
            BusStatus.LOCKED if refused else BusStatus.OK, address, address if operation == BusOperation.READ else value
        )
    return [(Kind.REPLY, reply, frame.request_id)]


def test_bus_operations_in_order() -> None:
    operations = [(BusOperation.READ, 0x10, 0), (BusOperation.WRITE, 0x14, 7), (BusOperation.WRITE, 0x18, 9)]
    found = with_peer(memory, lambda transport: transport.bus(operations))
    assert found == [(BusStatus.OK, 0x10), (BusStatus.LOCKED, 7), (BusStatus.OK, 9)]


def test_more_operations_than_a_frame_holds() -> None:
    count = 2 * OPERATIONS_MAX + 3
    found = with_peer(memory, lambda transport: transport.bus([(BusOperation.READ, n % 256, 0) for n in range(count)]))
    assert found == [(BusStatus.OK, n % 256) for n in range(count)]


def test_pace_and_time() -> None:
    seen: list[tuple[Kind, bytes]] = []

    def answer(frame: Frame) -> list[tuple[Kind, bytes, int]]:
        seen.append((frame.kind, frame.payload))
        return [(Kind.REPLY, struct.pack("<Q", 1 << 40) if frame.kind is Kind.ADVANCE else b"", frame.request_id)]

    async def client(transport: SocketTransport) -> int:
        await transport.set_pace(Pace.LOCKSTEP)
        return await transport.advance(1 << 33)

    assert with_peer(answer, client) == 1 << 40
    assert seen == [(Kind.PACE, b"\1"), (Kind.ADVANCE, struct.pack("<Q", 1 << 33))]


def test_answers_find_their_questions() -> None:
    """Two requests under way, answered the other way round."""
    waiting: list[Frame] = []

    def answer(frame: Frame) -> list[tuple[Kind, bytes, int]]:
        waiting.append(frame)
        if len(waiting) < 2:
            return []
        return [(Kind.REPLY, each.payload.upper(), each.request_id) for each in reversed(waiting)]

    async def client(transport: SocketTransport) -> list[bytes]:
        return list(await asyncio.gather(transport.request(Kind.TRUTH, b"one"), transport.request(Kind.TRUTH, b"two")))

    assert with_peer(answer, client) == [b"ONE", b"TWO"]


def test_a_refused_request_leaves_the_link_whole() -> None:
    def answer(frame: Frame) -> list[tuple[Kind, bytes, int]]:
        kind = Kind.ERROR if frame.kind is Kind.INJECT else Kind.REPLY
        return [(kind, b"no such fault", frame.request_id)]

    async def client(transport: SocketTransport) -> bytes:
        with pytest.raises(ConnectionFailed, match="^no such fault$"):
            await transport.request(Kind.INJECT, json.dumps({"fault": "x"}).encode())
        return await transport.request(Kind.TRUTH, b"")

    assert with_peer(answer, client) == b"no such fault"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda frame: None, "closed the link|broke"),
        (lambda frame: b"HTTP/1.1 400 Bad Request\r\n\r\n", "is the other side a ReflexArc board"),
        (lambda frame: [(Kind.ERROR, b"the board is in use by someone", 0)], "^the board is in use by someone$"),
        (lambda frame: [(Kind.HELLO, b"", 0)], "a board can't send HELLO"),
        (lambda frame: [(Kind.CAPTURE, b"short", 0)], "a capture packet can't have 5 bytes"),
    ],
    ids=["hang-up", "another protocol", "error for nobody", "wrong kind", "broken packet"],
)
def test_a_broken_link_ends_this_request_and_the_next(answer: Answer, says: str) -> None:
    async def client(transport: SocketTransport) -> None:
        for _ in range(2):
            with pytest.raises(ConnectionFailed, match=says):
                await transport.request(Kind.BUS, b"")

    with_peer(answer, client)


def test_no_board() -> None:
    with pytest.raises(ConnectionFailed, match=r"^no board at /nowhere/x.sock \(No such file or directory\); start one with: "):
        asyncio.run(SocketTransport.connect("/nowhere/x.sock"))
