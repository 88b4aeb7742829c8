"""The synchronous facade, interrupted: the loop goes on, and nothing is left for asyncio to complain of."""

import asyncio
import gc
import signal
import threading
from collections.abc import Iterator

import pytest

from reflexarc.device import Controller
from reflexarc.device.controller import AsyncController


class Device:
    """A board that can only be left."""

    async def close(self) -> None:
        pass


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Controller:
    async def connect(*_: object) -> Device:
        return Device()

    monkeypatch.setattr(AsyncController, "connect", connect)
    return Controller("nowhere")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Test processes that run beside others ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


async def answer() -> int:
    return 42


async def interrupts() -> None:
    """Ctrl-C comes while the caller waits, and what is abandoned fails on its own, as on a link that closes under it."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    try:
        await asyncio.sleep(60)
    finally:
        raise ConnectionError("the link was closed")


def test_interrupted(board: Controller, interruptible: None, caplog: pytest.LogCaptureFixture) -> None:
    with board:
        with pytest.raises(KeyboardInterrupt):
            board.run(interrupts())
        assert board.run(answer()) == 42
    gc.collect()
    assert caplog.records == []


def test_failure_reaches_the_caller(board: Controller) -> None:
    async def fails() -> None:
        raise ValueError("7 is odd")

    with board, pytest.raises(ValueError, match="7 is odd"):
        board.run(fails())
