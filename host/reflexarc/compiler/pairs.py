"""The sum of two quantized tensors in integers: small whole numbers as weights and one multiplier, where that is exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reflexarc.compiler.graph import MICROSOFT, Array, Node
from reflexarc.compiler.runtime import evaluate

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


def pair_weights(node: Node, a: Scaled, b: Scaled, sign: int, total: Scaled, signed: bool = False) -> PairWeights:
    """Weights that give what onnxruntime gives for each of the 65,536 pairs of values; refused where there are none. ``signed``: in the model
    all three are int8, in which onnxruntime may round another way where the sum is half a step."""
    pairs = np.arange(65536).reshape(1, -1)
    values = [(pairs >> 8).astype(np.uint8), (pairs & 255).astype(np.uint8)]
    references = _references(values, a, b, sign, total, signed)
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
        f"has inputs with scales {float(a[0]):g} and {float(b[0]):g}, its output {float(total[0]):g}: in whole numbers {fewest} of 65,536 pairs "
        "of values would give another result than in onnxruntime",
        "quantize both inputs with the same scale, or all three with powers of two; from a float model --calibration does so",
    )


def _references(values: list[Array], a: Scaled, b: Scaled, sign: int, total: Scaled, signed: bool) -> list[tuple[str, Array]]:
    """onnxruntime's results: of its Add on quantized values, and of Add on dequantized ones."""

    def constants(of: Scaled) -> list[Array]:
        return [np.array(of[0], np.float32), np.array(of[1], np.uint8)]

    real = [evaluate("DequantizeLinear", [value, *constants(of)]) for value, of in zip(values, (a, b), strict=True)]
    plain = evaluate("QuantizeLinear", [evaluate("Add" if sign > 0 else "Sub", real), *constants(total)], kind=np.uint8)
    found = [("Add" if sign > 0 else "Sub", plain)]
    if sign > 0:
        shift, kind = (128, np.int8) if signed else (0, np.uint8)
        given: list[Array] = []
        for of, value in ((a, values[0]), (b, values[1]), (total, None)):
            given += [] if value is None else [(value.astype(np.int64) - shift).astype(kind)]
            given += [np.array(of[0], np.float32), np.array(of[1] - shift, kind)]
        quantized = evaluate("QLinearAdd", given, domain=MICROSOFT, kind=kind)
        found.insert(0, ("QLinearAdd", (quantized.astype(np.int64) + shift).astype(np.uint8)))
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
