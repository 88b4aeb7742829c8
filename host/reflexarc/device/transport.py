"""Transport over a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import sys
from collections.abc import Sequence
from typing import Any

from reflexarc.contract.events import Event
from reflexarc.contract.link import OPERATION, OPERATIONS_MAX, BusOperation, BusStatus, FrameCounter, FrameParser, Kind, LinkError, Pace
from reflexarc.contract.packets import Packet
from reflexarc.errors import ConnectionFailed

REPLY_TIMEOUT_S = 120.0  # wall time; a board in lockstep may run for long before it answers


class SocketTransport:
    """Frames to and from one board. Packets and events collect in ``packets`` and ``events`` until someone takes them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str = "") -> None:
        self.address = address
        self._reader = reader
        self._writer = writer
        self._counter = FrameCounter()
        self._replies: dict[int, asyncio.Future[bytes]] = {}
        self._next_id = 1
        self._broken: Exception | None = None
        self.packets: list[Packet] = []
        self.events: list[Event] = []
        self.welcome: dict[str, Any] = {}
        self._task = asyncio.create_task(self._receive())

    @classmethod
    async def connect(cls, path: str) -> SocketTransport:
        """ConnectionFailed where no board listens or it refuses."""
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise ConnectionFailed(_no_board(path, error)) from None
        transport = cls(reader, writer, path)
        name = f"{os.path.basename(sys.argv[0]) or 'python'} (pid {os.getpid()})"
        try:
            transport.welcome = json.loads(await transport.request(Kind.HELLO, json.dumps({"client": name}).encode()))
        except BaseException:
            await transport.close()
            raise
        return transport

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._break(LinkError("the link was closed"))
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass

    async def request(self, kind: Kind, payload: bytes) -> bytes:
        """Send, wait for the reply. ConnectionFailed with the board's line if it refuses or the link breaks."""
        if self._broken is not None:
            raise ConnectionFailed(str(self._broken))
        request_id = self._next_id
        self._next_id += 1
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies[request_id] = future
        try:
            self._writer.write(self._counter.pack(kind, payload, request_id))
            await self._writer.drain()
            async with asyncio.timeout(REPLY_TIMEOUT_S):  # wait_for of Python 3.11 may lose a cancellation that meets the reply
                return await future
        except TimeoutError:
            raise ConnectionFailed(f"the board did not answer within {REPLY_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise ConnectionFailed(str(self._broken or f"the link broke: {error}")) from None
        finally:
            self._replies.pop(request_id, None)

    async def bus(self, operations: Sequence[tuple[BusOperation, int, int]]) -> list[tuple[BusStatus, int]]:
        """Bus operations (operation, address, value) in order; (status, value) of each."""
        results: list[tuple[BusStatus, int]] = []
        for start in range(0, len(operations), OPERATIONS_MAX):
            part = operations[start : start + OPERATIONS_MAX]
            reply = await self.request(Kind.BUS, b"".join(OPERATION.pack(*operation) for operation in part))
            results += [(BusStatus(status), value) for status, _, value in OPERATION.iter_unpack(reply)]
        return results

    async def set_pace(self, pace: Pace) -> None:
        await self.request(Kind.PACE, bytes([pace]))

    async def advance(self, cycles: int) -> int:
        """Lockstep: run so many cycles; the time after them."""
        (time,) = struct.unpack("<Q", await self.request(Kind.ADVANCE, struct.pack("<Q", cycles)))
        return int(time)

    async def _receive(self) -> None:
        parser = FrameParser()
        try:
            while True:
                data = await self._reader.read(1 << 16)
                if not data:
                    raise LinkError("the board closed the link")
                for frame in parser.feed(data):
                    match frame.kind:
                        case Kind.CAPTURE:
                            self.packets.append(Packet.from_bytes(frame.payload))
                        case Kind.EVENT:
                            self.events.append(Event.from_bytes(frame.payload))
                        case Kind.REPLY:
                            self._resolve(frame.request_id, frame.payload, None)
                        case Kind.ERROR if frame.request_id:
                            self._resolve(frame.request_id, b"", ConnectionFailed(frame.payload.decode(errors="replace")))
                        case Kind.ERROR:
                            raise LinkError(frame.payload.decode(errors="replace"))
                        case other:
                            raise LinkError(f"a board can't send {other.name}")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever breaks the stream ends every request with its reason
            lost = isinstance(error, OSError) and not isinstance(error, LinkError)
            self._break(LinkError(f"the link to the board broke: {error.strerror or error}") if lost else error)  # type: ignore[attr-defined]

    def _break(self, reason: Exception) -> None:
        """No request gets an answer from now on; the first reason stands."""
        if self._broken is None:
            self._broken = reason
        for future in self._replies.values():
            if not future.done():
                future.set_exception(ConnectionFailed(str(self._broken)))

    def _resolve(self, request_id: int, payload: bytes, error: Exception | None) -> None:
        future = self._replies.get(request_id)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(payload)
        else:
            future.set_exception(error)


def _no_board(path: str, error: OSError) -> str:
    return f"no board at {path} ({error.strerror or error}); start one with: reflexarc-board --socket {path}"


async def trip_board(path: str) -> str:
    """Trip the board at ``path``, whoever is connected to it; what the board says. ConnectionFailed if there is none."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise ConnectionFailed(_no_board(path, error)) from None
    try:
        writer.write(FrameCounter().pack(Kind.TRIP, b"", 1))
        await writer.drain()
        parser = FrameParser()
        while data := await asyncio.wait_for(reader.read(1 << 16), REPLY_TIMEOUT_S):
            for frame in parser.feed(data):
                if frame.kind is Kind.REPLY:
                    return frame.payload.decode(errors="replace")
                raise ConnectionFailed(frame.payload.decode(errors="replace"))
        raise ConnectionFailed("the board closed the link before it answered")
    except (OSError, TimeoutError) as error:
        raise ConnectionFailed(f"the board did not answer: {error}") from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
