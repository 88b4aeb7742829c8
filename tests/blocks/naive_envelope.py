"""The conditions on what is about to be driven, in plain integers: each a statement about one request."""

from reflexarc.contract.blocks import envelope
from reflexarc.contract.blocks.envelope import KEEP_OUTS, keep_out
from reflexarc.contract.blocks.interlock import Cause


def code(position: int) -> int:
    """The nearest code of a Q20.12 position, half up; may be one past the upper rail."""
    return (position + 2048) // 4096


class NaiveEnvelope:
    def __init__(self, settings: dict[str, int] | None = None) -> None:
        self.settings = settings or {r.name: r.reset for r in envelope.BLOCK.registers}

    def changed(self, name: str, raw: int) -> "NaiveEnvelope":
        return NaiveEnvelope(self.settings | {name: raw})

    def greatest(self, name: str) -> int:
        return min(self.settings[name], self.settings[f"soft_{name}"])

    def least(self, name: str) -> int:
        return max(self.settings[name], self.settings[f"soft_{name}"])

    def rectangles(self, x: int, y: int) -> int:
        """Mask of the keep-outs that hold a position; their edges belong to them."""
        mask = 0
        for index in range(KEEP_OUTS):
            x_low, x_high, y_low, y_high = (self.settings[keep_out(index, edge)] for edge in ("x_low", "x_high", "y_low", "y_high"))
            if self.settings["keep_out_enable"] >> index & 1 and x_low <= code(x) <= x_high and y_low <= code(y) <= y_high:
                mask |= 1 << index
        return mask

    def xy(self, x: int, y: int) -> set[Cause]:
        """Verdicts on a requested x and y."""
        inside = all(self.least(f"{axis}_low") <= code(at) <= self.greatest(f"{axis}_high") for axis, at in (("x", x), ("y", y)))
        return (set() if inside else {Cause.XY_RANGE}) | ({Cause.KEEP_OUT} if self.rectangles(x, y) else set())

    def z(self, z: int) -> set[Cause]:
        """Verdicts on a requested z."""
        high, low = code(z) > self.greatest("z_high"), code(z) < self.least("z_low")
        return ({Cause.Z_HIGH} if high else set()) | ({Cause.Z_LOW} if low else set())

    def velocity(self, z: int, reference: int) -> set[Cause]:
        """Verdict on a requested z while live; ``reference``: the z at the tick before."""
        return {Cause.Z_VELOCITY} if abs(z - reference) > self.greatest("z_velocity") else set()

    def bias(self, bias: int, engaged: bool) -> set[Cause]:
        """Verdict on a requested bias."""
        return {Cause.BIAS_LOW} if engaged and abs(bias) < self.least("bias_min") else set()

    def xy_measured(self, x: int, y: int) -> tuple[int, int]:
        """Code and limit of the first edge that is passed: x before y, high before low."""
        for axis, at in (("x", x), ("y", y)):
            if code(at) > self.greatest(f"{axis}_high"):
                return code(at), self.greatest(f"{axis}_high")
            if code(at) < self.least(f"{axis}_low"):
                return code(at), self.least(f"{axis}_low")
        raise ValueError("within the box")
