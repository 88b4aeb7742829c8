"""A board that is not what it should be: a thread that answers like one, with another contract."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reflexarc.contract import fingerprint
from reflexarc.contract.blocks import system
from reflexarc.contract.link import OPERATION, BusOperation, BusStatus, FrameCounter, FrameParser, Kind


class FakeBoard:
    """Tells ``contract`` and answers register reads from ``registers``; ``touched`` notes all else that is asked of it."""

    def __init__(self, folder: Path, contract: dict[str, Any], registers: dict[str, int]) -> None:
        self.address = str(folder / "fake.sock")
        self.touched: list[str] = []
        self._contract = contract
        self._values = {system.BLOCK.address(name): value for name, value in registers.items()}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        parser, counter = FrameParser(), FrameCounter()
        with connection:
            while data := connection.recv(1 << 16):
                for frame in parser.feed(data):
                    connection.sendall(counter.pack(Kind.REPLY, self._answer(frame.kind, frame.payload), frame.request_id))

    def _answer(self, kind: Kind, payload: bytes) -> bytes:
        if kind is Kind.HELLO:
            return json.dumps({"platform": "fake", "contract": self._contract}).encode()
        if kind is not Kind.BUS:
            self.touched.append(kind.name)
            return b""
        reply = b""
        for operation, address, _ in OPERATION.iter_unpack(payload):
            if operation != BusOperation.READ:
                self.touched.append(f"write to {address:#05x}")
            reply += OPERATION.pack(BusStatus.OK, address, self._values.get(address, 0))
        return reply

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.join(10)
        self._listener.close()


def changed(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """This host's contract, with one thing changed."""
    contract: dict[str, Any] = json.loads(json.dumps(fingerprint.describe()))
    change(contract)
    return contract
