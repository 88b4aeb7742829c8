"""How many cycles the engine takes for an image. It takes exactly these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reflexarc.contract.model import QUAD

# Of the gateware; a test compares them with what it says.
START_CYCLES = 2
LAYER_CYCLES = {4: 20, 8: 21, 16: 22}
HEAD_CYCLES = 4


@dataclass(frozen=True)
class LayerCycles:
    """``steps`` of the array; ``after``: those from the first on that waits for the window's last record; ``quads`` of the last tile."""

    name: str
    steps: int
    after: int
    quads: int

    def change(self, lanes: int) -> int:
        """From the last step to the first one of the next layer, beyond one a cycle."""
        return LAYER_CYCLES[lanes] + self.quads


@dataclass(frozen=True)
class Cycles:
    """``total``: with the whole window there; ``after``: from the cycle in which the last record is in, once all before it has been done."""

    lanes: int
    layers: tuple[LayerCycles, ...]

    @property
    def total(self) -> int:
        return START_CYCLES + sum(layer.steps + layer.change(self.lanes) for layer in self.layers) + HEAD_CYCLES

    @property
    def after(self) -> int:
        return START_CYCLES + sum(layer.after + layer.change(self.lanes) for layer in self.layers) + HEAD_CYCLES


def quads(outputs: int) -> int:
    return -(-outputs // QUAD)


def cycles_of(lanes: int, layers: Sequence[LayerCycles]) -> Cycles:
    return Cycles(lanes, tuple(layers))
