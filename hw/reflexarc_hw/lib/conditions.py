"""What the interlock and a block that judges conditions say to each other."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.interlock import Cause

CAUSE_BITS = 6  # of a cause's number, with NO_CAUSE
MEASURED = signed(32)
GATHER_CYCLES = 1  # from a verdict to the decision, except for those of the interlock's short path
LATCH_CYCLES = 3  # from the decision to ``latch``


class ConditionSignature(wiring.Signature):
    """One bit a condition, in the order of the block's causes; as the interlock sees it.

    ``short`` is the number of bits in which a block adds up its verdicts of the interlock's short path.
    """

    def __init__(self, count: int, short: int = 0) -> None:
        super().__init__(
            ({"short": In(short)} if short else {})  # registered, beside the verdicts
            | {
                "enable": Out(count),
                "inject": Out(count),  # make the condition's comparison see a violation
                "verdict": In(count),  # registered; 0 where it was judged without its enable
                "latch": Out(1),  # one cycle, LATCH_CYCLES after a trip was decided: keep what ``cause`` measured
                "cause": Out(CAUSE_BITS),  # from the cycle before ``latch`` on
                "value": In(MEASURED),  # from two cycles after ``latch``; 0 where the cause is another block's
                "limit": In(MEASURED),
            }
        )


def held(value: Value) -> Value:
    """A signed value for the record: what 32 bits can't hold stands at their end."""
    if len(value) <= MEASURED.width:
        return value
    top = value[MEASURED.width - 1 :]
    end = Mux(value[-1], 1 << (MEASURED.width - 1), (1 << (MEASURED.width - 1)) - 1)
    return Mux((top == 0) | top.all(), value[: MEASURED.width], end).as_signed()


def measured(m: Module, conditions, pairs: dict[Cause, tuple[Value, Value]]) -> None:
    """Register value and limit of the cause that is latched: as they are, then held to what the record can hold."""
    shapes = [Value.cast(value).shape() for pair in pairs.values() for value in pair]
    widest = signed(max(shape.width + (not shape.signed) for shape in shapes))
    mine = Signal(len(pairs))  # one-hot
    found, allowed = Signal(widest), Signal(widest)
    late = Signal()
    m.d.sync += [mine.eq(Cat(conditions.cause == cause for cause in pairs)), late.eq(conditions.latch)]
    with m.If(conditions.latch):
        m.d.sync += [found.eq(0), allowed.eq(0)]
        for index, (value, limit) in enumerate(pairs.values()):
            with m.If(mine[index]):
                m.d.sync += [found.eq(value), allowed.eq(limit)]
    with m.If(late):
        m.d.sync += [conditions.value.eq(held(found)), conditions.limit.eq(held(allowed))]


def tighter(hard: Value, soft: Value, *, least: bool) -> Value:
    """The tighter of two limits: the lesser of two upper ones, the greater of two lower ones."""
    return Mux((soft > hard) if least else (soft < hard), soft, hard)
