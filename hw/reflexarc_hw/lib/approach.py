"""A value on its way to another, by a greatest step."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed


def approach(m: Module, name: str, first: Value, second: Value, value: Value, goal: Value, most: Value) -> Value:
    """What ``value`` is after its next step towards ``goal`` by at most ``most`` (unsigned), from the cycle after ``second`` on.

    ``second`` is high one or more cycles after ``first``, and ``value`` stands from ``first`` until the step is taken; what ``goal`` and
    ``most`` become meanwhile counts for the next step. Two registered stages, so that no cycle has more than one carry chain.
    """
    way = Signal(signed(max(len(value), len(goal)) + 1), name=f"{name}_way")
    above, below = Signal(name=f"{name}_above"), Signal(name=f"{name}_below")
    due = Signal.like(goal, name=f"{name}_due")
    step = Signal(signed(len(most) + 1), name=f"{name}_step")
    with m.If(first):
        m.d.sync += [way.eq(goal - value), due.eq(goal), step.eq(Cat(most, Const(0, 1)).as_signed())]
    with m.If(second):
        m.d.sync += [above.eq((step - way)[-1]), below.eq((step + way)[-1])]
    return Mux(above, value + step, Mux(below, value - step, due))
