"""CRC-32 over everything in the contract that two sides must agree on."""

from __future__ import annotations

import json
import zlib
from typing import Any

from reflexarc.contract import link, model, program
from reflexarc.contract.blocks import REGISTER_MAP, feedback, lift, recorder, scan, trajectory
from reflexarc.contract.events import EVENT_LAYOUT, EventSource
from reflexarc.contract.packets import HEADER_LAYOUT, PACKET_MAGIC, PIXEL_LAYOUT, SUM_WORDS, TRAILER_LAYOUT, Channel, Direction
from reflexarc.contract.registers import RegisterMap


def describe(register_map: RegisterMap = REGISTER_MAP) -> dict[str, Any]:
    """The contract as plain JSON values; documentation lines are left out, for they may be improved at any time."""
    return {
        "link_version": link.VERSION,
        "blocks": {
            block.name: {"base": block.base, "registers": sorted((r.describe() for r in block.registers), key=lambda r: r["offset"])}
            for block in register_map
        },
        "layouts": [
            layout.describe()
            for layout in (
                EVENT_LAYOUT,
                HEADER_LAYOUT,
                PIXEL_LAYOUT,
                TRAILER_LAYOUT,
                model.HEADER_LAYOUT,
                model.SEGMENT_LAYOUT,
                model.RUN_LAYOUT,
                model.LAYER_LAYOUT,
                model.PARAMETER_LAYOUT,
                model.SETTINGS_LAYOUT,
            )
        ],  # fmt: skip
        "packet_magic": PACKET_MAGIC,
        "constants": {
            "recorder": [
                recorder.DEPTH,
                recorder.POST_TRIGGER,
                recorder.LONG_DEPTH,
                recorder.LONG_POST_TRIGGER,
                recorder.STATE_INTERLOCK_SHIFT,
                recorder.STATE_SCAN_SHIFT,
                recorder.STATE_HOLD_BIT,
                recorder.STATE_PULSE_BIT,
                recorder.STATE_BLANK_BIT,
            ],
            "feedback": [
                feedback.ERROR_FRACTION_BITS,
                feedback.SETPOINT_FRACTION_BITS,
                feedback.KP_FRACTION_BITS,
                feedback.KI_FRACTION_BITS,
                feedback.TABLE_BITS,
                feedback.SLOPE_BITS,
            ],
            "scan": [scan.POSITION_FRACTION_BITS, scan.STEP_FRACTION_BITS, scan.TURN_FRACTION_BITS, scan.DRIFT_FRACTION_BITS],
            "depths": [trajectory.DEPTH, lift.DEPTH],
            "program": [
                program.BANKS,
                program.BANK_ROWS,
                program.REGISTERS,
                program.PLACE_BITS,
                program.MEASURED_FRACTION_BITS,
                program.SCALE_FRACTION_BITS,
            ],
            "model": [
                model.MAGIC,
                model.VERSION,
                model.OUTPUTS,
                model.QUAD,
                model.ACTIVATION_BYTES,
                model.RING_BYTES,
                model.LINE_BYTES,
                *(model.MEMORY_WORDS[memory] for memory in model.Memory),
            ],
            "sum_words": SUM_WORDS,
            "enums": {
                kind.__name__: {v.name: v.value for v in kind}
                for kind in (
                    EventSource,
                    Direction,
                    Channel,
                    trajectory.PointKind,
                    link.Kind,
                    link.BusOperation,
                    link.BusStatus,
                    model.Memory,
                    model.RunFlag,
                    model.LayerFlag,
                    model.ViewSource,
                    model.ViewFlag,
                    program.Operation,
                    program.Operand,
                    program.Condition,
                    program.Request,
                    program.Statistic,
                    program.SampleChannel,
                    program.StopReason,
                )
            },  # fmt: skip
        },
    }


def fingerprint(register_map: RegisterMap = REGISTER_MAP) -> int:
    """CRC-32 of the canonical JSON of ``describe``."""
    return zlib.crc32(json.dumps(describe(register_map), sort_keys=True, separators=(",", ":")).encode())


def differences(other: dict[str, Any], register_map: RegisterMap = REGISTER_MAP) -> list[str]:
    """What differs between this contract and another's ``describe``, one line each, at most about a screenful."""
    mine = describe(register_map)
    keys = ("link_version", "packet_magic", "constants")
    lines = [f"{key}: here {mine[key]}, there {other.get(key)}" for key in keys if mine[key] != other.get(key)]
    theirs = other.get("blocks", {})
    for name in sorted(set(mine["blocks"]) | set(theirs)):
        if name not in theirs or name not in mine["blocks"]:
            lines.append(f"block {name}: only {'here' if name in mine['blocks'] else 'there'}")
            continue
        if mine["blocks"][name]["base"] != theirs[name]["base"]:
            lines.append(f"block {name}: at {mine['blocks'][name]['base']:#05x} here, at {theirs[name]['base']:#05x} there")
        here = {r["name"]: r for r in mine["blocks"][name]["registers"]}
        there = {r["name"]: r for r in theirs[name]["registers"]}
        for register in sorted(set(here) | set(there)):
            if here.get(register) != there.get(register):
                side = "differs" if register in here and register in there else f"only {'here' if register in here else 'there'}"
                lines.append(f"register {name}.{register}: {side}")
    if mine["layouts"] != other.get("layouts"):
        lines.append("layouts of events, capture packets or model images differ")
    return lines[:20]
