"""The host's side of the detector's registers, against a board that answers by the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from fake_detector import FakeDetector, small_image

from reflexarc.contract.blocks.detector import BankState, SwapAt
from reflexarc.contract.link import OPERATIONS_MAX
from reflexarc.contract.words import to_bytes, to_words
from reflexarc.device.detector import activate, detector_status, engine_lanes, is_active, load_image, until_active
from reflexarc.errors import BadInput, RegisterRefused

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def change_to(board: FakeDetector, words: list[int]) -> int:
    async def both() -> int:
        bank = await load_image(board.registers, words)
        await activate(board.registers, bank)
        assert await is_active(board.registers, bank)
        return bank

    return run(both())


def test_models_take_turns_in_the_banks() -> None:
    board = FakeDetector()
    assert [change_to(board, small_image(model_id=number)) for number in (5, 6, 7)] == [1, 0, 1]
    status = run(detector_status(board.registers))
    assert status.running == 7 and status.active == 1 and status.states == (BankState.VALID, BankState.VALID)
    assert not status.change_due and status.refused == 0


def test_words_come_in_order_in_as_few_frames_as_the_link_allows() -> None:
    board = FakeDetector()
    words = small_image()
    assert run(load_image(board.registers, words)) == 1
    assert board.taken == words
    assert [frame for frame in board.frames if frame > 4] == [len(words) + 2] and len(words) + 2 < OPERATIONS_MAX


def test_gateware_without_an_engine_is_told_in_one_line() -> None:
    board = FakeDetector(lanes=0)
    with pytest.raises(RegisterRefused, match="no detector engine") as caught:
        run(load_image(board.registers, small_image()))
    assert "\n" not in str(caught.value)
    assert not board.taken
    with pytest.raises(RegisterRefused):
        run(engine_lanes(board.registers))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (small_image(lanes=4), "for an engine of 4 lanes, this board's has 8"),
        (small_image(version=2), "no model image of version 1"),
        (small_image()[:-1], "its header says"),
        ([], "0 words"),
        ([0] * 20, "no model image"),
    ],
)
def test_what_the_header_tells_is_refused_before_anything_is_written(words: list[int], says: str) -> None:
    board = FakeDetector()
    with pytest.raises(BadInput, match=says):
        run(load_image(board.registers, words))
    assert not any(board.values[f"state_{bank}"] for bank in range(2))


def test_an_image_that_is_changed_anywhere_leaves_the_old_model_running() -> None:
    board = FakeDetector()
    change_to(board, small_image(model_id=5))
    whole = to_bytes(small_image(model_id=6))
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        with pytest.raises((BadInput, RegisterRefused)) as caught:
            run(load_image(board.registers, to_words(bytes(changed))))
        assert "\n" not in str(caught.value)
        status = run(detector_status(board.registers))
        assert status.running == 5 and status.active == 1 and not status.change_due
    assert change_to(board, to_words(whole)) == 0


def test_a_bad_bank_can_not_be_activated() -> None:
    board = FakeDetector()
    with pytest.raises(RegisterRefused, match="bank 1: it is empty"):
        run(activate(board.registers, 1))
    words = small_image()
    words[5] ^= 1
    with pytest.raises(RegisterRefused, match="BAD_CRC"):
        run(load_image(board.registers, words))
    with pytest.raises(RegisterRefused, match="does not match its checksum"):
        run(activate(board.registers, 1))


def test_a_change_that_is_due_is_waited_for() -> None:
    board = FakeDetector(waits=True)
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            board.boundary()

    async def change() -> None:
        bank = await load_image(board.registers, small_image())
        await activate(board.registers, bank, SwapAt.FRAME)
        assert (await detector_status(board.registers)).change_due
        await until_active(board.registers, bank, sleep, 1.0)

    run(change())
    assert len(slept) == 3 and board.values["swap_at"] == SwapAt.FRAME


def test_a_load_takes_the_place_of_a_change_that_is_due() -> None:
    board = FakeDetector(waits=True)

    async def change() -> None:
        for number in (5, 6):
            bank = await load_image(board.registers, small_image(model_id=number))
            assert bank == 1 and not (await detector_status(board.registers)).change_due
            await activate(board.registers, bank, SwapAt.FRAME)
        board.boundary()
        assert (await detector_status(board.registers)).running == 6

    run(change())


def test_a_boundary_that_never_comes_is_told() -> None:
    board = FakeDetector(waits=True)

    async def sleep(seconds: float) -> None: ...

    async def change() -> None:
        bank = await load_image(board.registers, small_image())
        await activate(board.registers, bank)
        await until_active(board.registers, bank, sleep, 5e-3)

    with pytest.raises(RegisterRefused, match="did not take place within 0.005 s"):
        run(change())


def test_a_verdict_is_taken_apart() -> None:
    board = FakeDetector()
    board.values |= {"result": 1 << 17 | 255 << 8 | 3, "cycles": 90, "faults": 5}
    status = run(detector_status(board.registers))
    assert (status.last.class_id, status.last.margin, status.last.disagree, status.last.cycles) == (3, 255, True, 90)
    assert [fault.name for fault in status.faults] == ["BUSY", "LINES"]
