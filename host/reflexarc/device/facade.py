"""`Controller`: the public Python interface to a board, synchronous."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from reflexarc.calibration import Calibration
from reflexarc.device.controller import AsyncController
from reflexarc.device.recorder import BlackBoxEntry, Recording
from reflexarc.device.trip import Trip
from reflexarc.safety.commissioning import CommissioningRecord
from reflexarc.safety.limits import Limits, SoftLimits

T = TypeVar("T")


class Controller:
    """Synchronous facade: the same board, for scripts and notebooks. A context manager; its event loop runs in a thread of its own.

    ``run(coroutine)`` does what any coroutine of ``AsyncController`` does::

        with Controller(address) as board:
            board.run(board.device.arm())
    """

    def __init__(self, address: str, calibration: Calibration | None = None, lockstep: bool = False) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reflexarc", daemon=True)
        self._thread.start()
        try:
            self.device: AsyncController = self.run(AsyncController.connect(address, calibration, lockstep))
        except BaseException:
            self._end_loop()
            raise

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the controller's event loop and wait for its result.

        The wait is for a socket's end, not for a lock: Ctrl-C may come between any two steps of this thread, and a lock that it leaves held
        would stop the event loop's thread, and with it heartbeat and every later call.
        """
        waiting, ended = socket.socketpair()
        tasks: list[asyncio.Task[T]] = []

        def end(task: asyncio.Task[T]) -> None:
            if not task.cancelled():
                task.exception()  # looked at, or asyncio reports it at exit where the one who waited was interrupted
            ended.close()

        def begin() -> None:
            tasks.append(self._loop.create_task(coroutine))
            tasks[0].add_done_callback(end)

        with waiting:
            try:
                self._loop.call_soon_threadsafe(begin)
            except RuntimeError:  # the loop is closed
                ended.close()
                coroutine.close()
                raise
            try:
                waiting.recv(1)
            except BaseException:
                self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
                raise
        return tasks[0].result()

    def close(self) -> None:
        self.run(self.device.close())
        self.run(self._end_tasks())
        self._end_loop()

    @staticmethod
    async def _end_tasks() -> None:
        """What was interrupted may still be on its way out."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_limits(self, limits: Limits) -> None:
        self.run(self.device.set_limits(limits))

    def limits(self) -> Limits | None:
        return self.run(self.device.limits())

    def set_soft_limits(self, **values: float | None) -> SoftLimits:
        """``board.set_soft_limits(current_high_A=1e-9)``, armed or not; None opens a limit."""
        return self.run(self.device.set_soft_limits(**values))

    def soft_limits(self) -> SoftLimits:
        return self.run(self.device.soft_limits())

    def arm(self, record: CommissioningRecord | None = None) -> None:
        self.run(self.device.arm(record))

    def disarm(self) -> None:
        self.run(self.device.disarm())

    def trip(self) -> None:
        self.run(self.device.trip())

    def acknowledge(self) -> None:
        self.run(self.device.acknowledge())

    def status(self) -> dict[str, Any]:
        return self.run(self.device.status())

    def last_trip(self) -> Trip | None:
        return self.run(self.device.last_trip())

    def dose(self) -> dict[str, float]:
        return self.run(self.device.dose())

    def blackbox(self) -> list[BlackBoxEntry]:
        return self.run(self.device.blackbox())

    def recording(self) -> Recording | None:
        return self.run(self.device.recording())

    def read(self, *names: str) -> list[float]:
        """Registers ``block.name`` in their units."""
        return self.run(self.device.registers.read(*names))

    def write(self, values: Mapping[str, float]) -> None:
        self.run(self.device.registers.write(values))
