"""Why a model can't be used: one line, with what would work instead."""

from __future__ import annotations

from typing import NoReturn

from reflexarc.errors import BadInput

LONGEST_NAME = 60
LONGEST = 500

# What works in place of an operator that does not.
INSTEAD = {
    "AffineGrid": "warp the data before the model",
    "Attention": "use convolutions and dense layers, whose weights are constants",
    "BatchNormalization": "fold it into the Conv or Gemm before it, as quantizing the float model with --calibration does",
    "Concat": "only two tensors of one shape, one behind the other in the channels, in front of a 1x1 Conv can be joined; use Add",
    "ConvInteger": "quantize statically (QuantizeLinear and DequantizeLinear, or QLinearConv), with scales that are constants",
    "ConvTranspose": "use Conv; what enlarges a tensor is not done, for the answer is a class",
    "DynamicQuantizeLinear": "quantize statically, with QuantizeLinear and a scale that is a constant",
    "Einsum": "use MatMul or Gemm with constant weights",
    "Expand": "give the tensor its shape in training; broadcasting of scalars and of a value for each channel works",
    "GRU": "use a 1-D Conv over the time",
    "Gather": "of the model's values nothing can be picked out; give weights that are zero where a value does not count",
    "GlobalLpPool": "use GlobalAveragePool or GlobalMaxPool",
    "GroupNormalization": "use BatchNormalization, which is folded into the Conv before it",
    "If": "leave control flow out: export the branch that is wanted",
    "InstanceNormalization": "use BatchNormalization, which is folded into the Conv before it",
    "LRN": "use BatchNormalization, which is folded into the Conv before it",
    "LSTM": "use a 1-D Conv over the time",
    "LayerNormalization": "use BatchNormalization, which is folded into the Conv before it",
    "Loop": "leave control flow out: export with the loop unrolled",
    "LpPool": "use AveragePool or MaxPool",
    "MatMulInteger": "quantize statically (QuantizeLinear and DequantizeLinear, or QLinearMatMul), with scales that are constants",
    "MaxUnpool": "use Conv; what enlarges a tensor is not done, for the answer is a class",
    "RNN": "use a 1-D Conv over the time",
    "RMSNormalization": "use BatchNormalization, which is folded into the Conv before it",
    "ReduceSum": "use ReduceMean over all places, or a Conv of ones",
    "Resize": "choose the window so that no layer needs another size",
    "Scan": "leave control flow out: export with the loop unrolled",
    "Slice": "a Conv with weights that are zero where a value does not count does the same",
    "Softmax": "it is done only as the last step, where the greatest output stays the greatest; use Sigmoid or Tanh between layers",
    "Split": "use a Conv of as many groups",
    "Upsample": "choose the window so that no layer needs another size",
    "Where": "use Clip, Relu, or another function of one value",
}
SUPPORTED = (
    "what works: Conv, Gemm, MatMul, Add, MaxPool, AveragePool, GlobalAveragePool, BatchNormalization, Flatten, Reshape, Transpose, functions of "
    "one value (Relu, Clip, LeakyRelu, Sigmoid, Tanh, HardSwish and others), and Softmax or ArgMax at the end"
)


def shown(name: str) -> str:
    """A name out of a file, fit for a line."""
    text = "".join(c if c.isprintable() else "?" for c in name[: LONGEST_NAME + 1])
    return f"'{text[:LONGEST_NAME]}...'" if len(name) > LONGEST_NAME else f"'{text}'"


def one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def refuse(what: str, instead: str) -> NoReturn:
    """Stop with one line: what is wrong; what would be right."""
    raise BadInput(one_line(f"{what}; {instead}"))


def instead_of(operator: str) -> str:
    return INSTEAD.get(operator, SUPPORTED)
