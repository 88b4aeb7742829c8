"""The sum of two quantized tensors in integers: small whole numbers as weights and one multiplier, where that is exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .graph import MICROSOFT, Array, Node
from .runtime import evaluate

MOST_WEIGHT = 127  # so that the weights of both signs fit int8
TRIED = 6  # of the best ratios

Scaled = tuple[np.float32, int]  # scale and zero point, of uint8


@dataclass(frozen=True)
class PairWeights:
    """first * (a - its zero point) + second * (b - its zero point), times scale of a * ``weight_scale`` / scale of the sum."""

    first: int
    second: int
    weight_scale: np.float32
    reference: str


def pair_weights(node: Node, a: Scaled, b: Scaled, sign: int, total: Scaled) -> PairWeights:
    """Weights that give what onnxruntime gives for each of the 65,536 pairs of values; refused where there are none."""
    pairs = np.arange(65536).reshape(1, -1)
    values = [(pairs >> 8).astype(np.uint8), (pairs & 255).astype(np.uint8)]
    references = _references(values, a, b, sign, total)
    ratio = float(b[0]) / float(a[0])
    fewest = 65536
    for first, second in _ratios(ratio):
        wide = first * (values[0].astype(np.int64) - a[1]) + sign * second * (values[1].astype(np.int64) - b[1])
        exact = float(a[0]) / first
        for weight_scale in dict.fromkeys(
            (np.float32(1 / first), np.float32(exact / float(a[0])), np.float32(float(b[0]) / second / float(a[0])))
        ):
            multiplier = np.float32(np.float32(a[0] * weight_scale) / total[0])
            made = np.clip(np.rint(wide.astype(np.float32) * multiplier) + total[1], 0, 255).astype(np.uint8)
            for name, expected in references:
                different = int((made != expected).sum())
                if different == 0:
                    return PairWeights(first, sign * second, weight_scale, name)
                fewest = min(fewest, different)
    node.refuse(
        f"has inputs whose scales {float(a[0]):g} and {float(b[0]):g} are in no ratio of small whole numbers: "
        f"{fewest} of 65,536 pairs of values would differ",
        "quantize both inputs with the same scale, or with scales whose ratio is a power of two; from a float model --calibration does so",
    )


def _references(values: list[Array], a: Scaled, b: Scaled, sign: int, total: Scaled) -> list[tuple[str, Array]]:
    """onnxruntime's results: of its Add on quantized values, and of Add on dequantized ones."""

    def constants(of: Scaled) -> list[Array]:
        return [np.array(of[0], np.float32), np.array(of[1], np.uint8)]

    real = [evaluate("DequantizeLinear", [value, *constants(of)]) for value, of in zip(values, (a, b), strict=True)]
    plain = evaluate("QuantizeLinear", [evaluate("Add" if sign > 0 else "Sub", real), *constants(total)], kind=np.uint8)
    found = [("Add" if sign > 0 else "Sub", plain)]
    if sign > 0:
        quantized = evaluate(
            "QLinearAdd", [values[0], *constants(a), values[1], *constants(b), *constants(total)], domain=MICROSOFT, kind=np.uint8
        )
        found.insert(0, ("QLinearAdd", quantized))
    return found


def _ratios(ratio: float) -> list[tuple[int, int]]:
    """Pairs of whole numbers whose quotient second / first is near ``ratio``, the nearest and smallest first."""
    tried = []
    for first in range(1, MOST_WEIGHT + 1):
        second = round(first * ratio)
        if 1 <= second <= MOST_WEIGHT:
            tried.append((abs(second / first / ratio - 1), first, second))
    tried.sort()
    return [(first, second) for _, first, second in tried[:TRIED]]
