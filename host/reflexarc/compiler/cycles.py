"""How many cycles the engine takes for an image: exactly these, whatever the values are."""

from __future__ import annotations

from dataclasses import dataclass

from reflexarc.contract.model import QUAD

# Of the gateware; a test compares them with what it has.
BEGIN_CYCLES = 3  # from an evaluation's begin to its first step
ISSUE_CYCLES = 1  # from the arrival of what a step waits for to that step
LAYER_CYCLES = 17  # from a layer's last step to the next one's first, beside the quads
FINAL_CYCLES = 16  # from the last layer's last step to the last outputs, likewise
TABLE_CYCLES = 2


@dataclass(frozen=True)
class LayerCycles:
    """``steps``: one a cycle. ``after``: those from the first on that waits for the last of what an evaluation reads.

    ``quads``: of the last tile, four outputs each, which follow on its last step one a cycle.
    """

    name: str
    steps: int
    after: int
    quads: int
    table: bool

    @property
    def way_out(self) -> int:
        """What follows on the last step and hangs on the layer."""
        return self.quads + (TABLE_CYCLES if self.table else 0)


@dataclass(frozen=True)
class Cycles:
    layers: tuple[LayerCycles, ...]

    @property
    def _between(self) -> int:
        return sum(layer.way_out for layer in self.layers) + LAYER_CYCLES * (len(self.layers) - 1) + FINAL_CYCLES

    @property
    def total(self) -> int:
        """From the begin to the last outputs, the whole window being there."""
        return BEGIN_CYCLES + sum(layer.steps for layer in self.layers) + self._between

    @property
    def after(self) -> int:
        """From the cycle in which the window's last record is in to the last outputs, where there was time for all that does not need it."""
        return ISSUE_CYCLES + sum(layer.after for layer in self.layers) + self._between

    def of_layer(self, number: int) -> int:
        """A layer's part of ``total``, with the way to it."""
        layer = self.layers[number]
        ways = (BEGIN_CYCLES if number == 0 else 0) + (FINAL_CYCLES if number == len(self.layers) - 1 else LAYER_CYCLES)
        return layer.steps + layer.way_out + ways


def quads(outputs: int) -> int:
    return -(-outputs // QUAD)
