"""What the interlock and a block that judges conditions say to each other."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.interlock import Cause

CAUSE_BITS = 6  # of a cause's number, with NO_CAUSE
MEASURED = signed(32)


class ConditionSignature(wiring.Signature):
    """One bit a condition, in the order of the block's causes; as the interlock sees it."""

    def __init__(self, count: int) -> None:
        super().__init__(
            {
                "enable": Out(count),
                "inject": Out(count),  # make the condition's comparison see a violation
                "verdict": In(count),  # registered, and 0 unless enabled
                "latch": Out(1),  # one cycle, the cycle after a trip was decided: keep what ``cause`` measured
                "cause": Out(CAUSE_BITS),
                "value": In(MEASURED),  # from the cycle after ``latch``; 0 where the cause is another block's
                "limit": In(MEASURED),
            }
        )


def held(value: Value) -> Value:
    """A value for the record: what 32 bits can't hold stands at their end."""
    shape = Value.cast(value).shape()
    highest, lowest = (1 << (MEASURED.width - 1)) - 1, -(1 << (MEASURED.width - 1))
    if shape.signed:
        return value if shape.width <= MEASURED.width else Mux(value > highest, highest, Mux(value < lowest, lowest, value))
    return value if shape.width < MEASURED.width else Mux(value[MEASURED.width - 1 :].any(), highest, value)


def measured(m: Module, conditions, pairs: dict[Cause, tuple[Value, Value]]) -> None:
    """Register value and limit of the cause that is latched."""
    value, limit = Signal(MEASURED), Signal(MEASURED)
    with m.If(conditions.latch):
        m.d.sync += [value.eq(0), limit.eq(0)]
        with m.Switch(conditions.cause):
            for cause, (found, allowed) in pairs.items():
                with m.Case(cause):
                    m.d.sync += [value.eq(held(Value.cast(found))), limit.eq(held(Value.cast(allowed)))]
    m.d.comb += [conditions.value.eq(value), conditions.limit.eq(limit)]


def tighter(hard: Value, soft: Value, *, least: bool) -> Value:
    """The tighter of two limits: the lesser of two upper ones, the greater of two lower ones."""
    return Mux((soft > hard) if least else (soft < hard), soft, hard)
