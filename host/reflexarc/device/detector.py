"""The detector on the board: load a model, change to it, look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from reflexarc.contract.blocks.detector import BankState, Fault, SwapAt
from reflexarc.contract.model import BANKS, HEADER_LAYOUT, MAGIC, VERSION
from reflexarc.device.registers import Registers
from reflexarc.errors import BadInput, RegisterRefused

_WHY = {
    BankState.EMPTY: "it is empty",
    BankState.LOADING: "an image is still being loaded into it",
    BankState.BAD_FORMAT: "what was loaded is no image for this engine, or was left unfinished",
    BankState.BAD_CRC: "what was loaded does not match its checksum",
}
POLL_S = 1e-3  # board time between two looks at a change that is due


@dataclass(frozen=True)
class Verdict:
    """Of the last evaluation. ``cycles``: from the cycle in which its last input was in."""

    class_id: int
    margin: int
    disagree: bool
    cycles: int


@dataclass(frozen=True)
class DetectorStatus:
    """``running``: model of the active bank, 0 where that holds none. Counts are those since reset."""

    lanes: int
    states: tuple[BankState, ...]
    active: int
    running: int
    change_due: bool
    enabled: bool
    refused: int
    faults: Fault
    evaluations: int
    missed: int
    events: int
    suppressed: int
    disagreements: int
    last: Verdict


async def engine_lanes(registers: Registers) -> int:
    """Values that enter the engine at once. RegisterRefused for gateware without one."""
    (lanes,) = await registers.read_raw("detector.lanes")
    if not lanes:
        raise RegisterRefused("this gateware has no detector engine; deploy to the edge tier (--tier edge) or use gateware with one")
    return lanes


async def load_image(registers: Registers, words: Sequence[int]) -> int:
    """Into the bank that is not active; the bank. What runs goes on running, the board may be armed. A change that was still due is off.

    BadInput for an image that this engine can't take (nothing is written then), RegisterRefused if the board does not find it good.
    """
    lanes = await engine_lanes(registers)
    check_image(words, lanes)
    active, refused = await registers.read_raw("detector.active", "detector.refused")
    bank = 1 - (active & 1)
    writes = [("detector.load", bank), *(("detector.load_data", word) for word in words), ("detector.load_end", 1)]
    await registers.write_each(writes)
    raw, after = await registers.read_raw(f"detector.state_{bank}", "detector.refused")
    if after != refused:
        raise RegisterRefused(f"the board refused to load bank {bank}: it became the active one meanwhile")
    if (state := BankState(raw)) is not BankState.VALID:
        raise RegisterRefused(
            f"the board does not find the image in bank {bank} good ({state.name}): {_WHY[state]}; the old model keeps running"
        )
    return bank


def check_image(words: Sequence[int], lanes: int) -> None:
    """BadInput for what an engine with so many lanes would not take, as far as the header tells."""
    if len(words) < HEADER_LAYOUT.words:
        raise BadInput(f"an image of {len(words)} words has no header")
    header = HEADER_LAYOUT.unpack(words)
    if header["magic"] != MAGIC or header["version"] != VERSION:
        raise BadInput(f"this is no model image of version {VERSION}")
    if header["words"] != len(words):
        raise BadInput(f"the image has {len(words)} words, its header says {header['words']}")
    if header["lanes"] != lanes:
        raise BadInput(f"the image is for an engine of {header['lanes']} lanes, this board's has {lanes}; compile it anew")


async def activate(registers: Registers, bank: int, at: SwapAt = SwapAt.LINE) -> None:
    """Ask for the change to ``bank`` at the next boundary. RegisterRefused, with why, if the board does not take it."""
    names = ("detector.refused", f"detector.state_{bank}")
    refused, _ = await registers.read_raw(*names)
    await registers.write_raw({"detector.swap_at": at, "detector.activate": bank})
    after, raw = await registers.read_raw(*names)
    if after != refused:
        state = BankState(raw)
        raise RegisterRefused(f"the board does not change to bank {bank}: {_WHY.get(state, 'another change is under way')}")


async def is_active(registers: Registers, bank: int) -> bool:
    """Whether the change to ``bank`` has taken place."""
    (active,) = await registers.read_raw("detector.active")
    return active & 7 == 2 | bank


async def until_active(registers: Registers, bank: int, sleep: Callable[[float], Awaitable[None]], at_most_s: float) -> None:
    """Wait for a change that was asked for, in board time. RegisterRefused if it does not take place: then it still is due."""
    for _ in range(max(1, round(at_most_s / POLL_S))):
        if await is_active(registers, bank):
            return
        await sleep(POLL_S)
    if not await is_active(registers, bank):
        raise RegisterRefused(f"the change to bank {bank} did not take place within {at_most_s:g} s; it does at the next boundary")


async def set_enabled(registers: Registers, enabled: bool) -> None:
    await registers.write_raw({"detector.enable": int(enabled)})


async def detector_status(registers: Registers) -> DetectorStatus:
    """All that was read in one frame, so that it belongs together."""
    names = (
        "lanes", *(f"state_{bank}" for bank in range(BANKS)), "active", "model_id", "enable", "refused", "faults", "evaluations", "missed",
        "events", "suppressed", "disagreements", "result", "cycles",
    )  # fmt: skip
    raw = dict(zip(names, await registers.read_raw(*(f"detector.{name}" for name in names)), strict=True))
    result = raw["result"]
    return DetectorStatus(
        lanes=raw["lanes"],
        states=tuple(BankState(raw[f"state_{bank}"]) for bank in range(BANKS)),
        active=raw["active"] & 1,
        running=raw["model_id"] if raw["active"] & 2 else 0,
        change_due=bool(raw["active"] & 4),
        enabled=bool(raw["enable"]),
        refused=raw["refused"],
        faults=Fault(raw["faults"]),
        evaluations=raw["evaluations"],
        missed=raw["missed"],
        events=raw["events"],
        suppressed=raw["suppressed"],
        disagreements=raw["disagreements"],
        last=Verdict(result & 0xFF, result >> 8 & 0x1FF, bool(result >> 17 & 1), raw["cycles"]),
    )
