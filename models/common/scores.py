"""How good a model is, and the tables of its card."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def by_class(labels: tuple[str, ...], allowed: NDArray[np.bool_], said: NDArray[np.int64]) -> dict[str, Any]:
    """Of inputs of which a set of classes may be said. ``accuracy``: share of answers that may be given; a class's ``precision``: the same of
    those that say it; its ``recall``: how many of the inputs that are of this class alone are said to be; ``inputs``: how many those are."""
    right = allowed[np.arange(len(said)), said]
    sure = allowed.sum(axis=1) == 1
    classes = {}
    for number, label in enumerate(labels):
        mine = sure & allowed[:, number]
        told = said == number
        classes[label] = {
            "precision": round(float(right[told].mean()), 4) if told.any() else None,
            "recall": round(float(told[mine].mean()), 4) if mine.any() else None,
            "inputs": int(mine.sum()),
        }
    return {"accuracy": round(float(right.mean()), 4), "inputs": len(said), "classes": classes}


def class_table(floating: dict[str, Any], integer: dict[str, Any]) -> str:
    """Markdown: accuracy, precision and recall, in floating point and in eight bits."""
    lines = ["| class | inputs | precision | recall | precision, int8 | recall, int8 |", "|---|---|---|---|---|---|"]
    for label, found in floating["classes"].items():
        eight = integer["classes"][label]
        lines.append(
            f"| {label} | {found['inputs']} | {found['precision']} | {found['recall']} | {eight['precision']} | {eight['recall']} |"
        )
    lines.append(f"| all (accuracy) | {floating['inputs']} | {floating['accuracy']} | | {integer['accuracy']} | |")
    return "\n".join(lines)


def flowed(text: str, width: int = 140) -> str:
    """Markdown with its paragraphs and list items filled anew; tables, titles and code stay."""
    parts: list[str] = []
    for number, block in enumerate(text.split("```")):
        if number % 2:
            parts.append(block)
            continue
        paragraphs = []
        for paragraph in block.split("\n\n"):
            if paragraph.lstrip("\n").startswith(("|", "#")) or not paragraph.strip():
                paragraphs.append(paragraph)
                continue
            items = paragraph.strip("\n").replace("\n- ", "\n\0- ").split("\n\0")
            filled = [
                textwrap.fill(" ".join(item.split()), width, subsequent_indent="  " if item.startswith("- ") else "") for item in items
            ]
            before = paragraph[: len(paragraph) - len(paragraph.lstrip("\n"))]
            paragraphs.append(before + "\n".join(filled) + paragraph[len(paragraph.rstrip("\n")) :])
        parts.append("\n\n".join(paragraphs))
    return "```".join(parts)


def write(folder: Path, metrics: dict[str, Any], card: str) -> None:
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (folder / "card.md").write_text(card)
    print(card)


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


def save_inputs(path: Path, inputs: NDArray[np.float32], step: float, **more: Any) -> None:
    """Inputs as int8 in steps, which is what the gateware's own eight bits can tell."""
    np.savez_compressed(path, x=np.clip(np.round(inputs / step), -128, 127).astype(np.int8), x_step=np.float32(step), **more)


def load_inputs(path: Path) -> tuple[NDArray[np.float32], dict[str, Any]]:
    with np.load(path) as stored:
        more = {name: stored[name] for name in stored.files}
    return more.pop("x").astype(np.float32) * more.pop("x_step"), more
