"""Where tensors lie in the activation memory: two that are needed at the same time do not share a byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    """Needed from the layer that writes it to the last one that reads it, both included."""

    name: str
    size: int
    first: int
    last: int

    def meets(self, other: Tensor) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Allocation:
    """``bases``: first byte by tensor; ``size``: bytes up to the last one."""

    bases: dict[str, int]
    size: int


def _placed(tensors: Sequence[Tensor]) -> Allocation:
    """In the given order, each where there is room first."""
    placed: list[tuple[int, Tensor]] = []
    for tensor in tensors:
        base = 0
        for taken, other in sorted(((base, other) for base, other in placed if other.meets(tensor)), key=lambda pair: pair[0]):
            if base + tensor.size <= taken:
                break
            base = max(base, taken + other.size)
        placed.append((base, tensor))
    return Allocation({tensor.name: base for base, tensor in placed}, max((base + tensor.size for base, tensor in placed), default=0))


def allocate(tensors: Sequence[Tensor]) -> Allocation:
    """The best of three orders: the largest first, those needed longest first, and as they are made."""
    orders = (
        sorted(tensors, key=lambda tensor: (-tensor.size, tensor.first)),
        sorted(tensors, key=lambda tensor: (tensor.first - tensor.last, -tensor.size)),
        list(tensors),
    )
    return min((_placed(order) for order in orders), key=lambda allocation: allocation.size)


def fullest(tensors: Sequence[Tensor]) -> tuple[int, int]:
    """The most bytes that are needed at the same time, and the layer at which that is."""
    layers = range(max((tensor.last for tensor in tensors), default=0) + 1)
    needed = [sum(tensor.size for tensor in tensors if tensor.first <= layer <= tensor.last) for layer in layers]
    return max(needed), needed.index(max(needed))
