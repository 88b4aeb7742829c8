"""How registers, blocks and the map may be declared, and what a raw value is on the bus."""

import dataclasses
import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.registers import BLOCK_SIZE, Access, Block, ContractError, Register, RegisterMap


def register(name="a", offset=0, access=Access.RW, doc="A register.", **more) -> Register:
    return Register(name, offset, access, doc, **more)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"name": "Upper"}, "lower-case identifier"),
        ({"name": "two words"}, "lower-case identifier"),
        ({"name": "1st"}, "lower-case identifier"),
        ({"offset": 2}, "multiple of 4"),
        ({"offset": -4}, "multiple of 4"),
        ({"offset": BLOCK_SIZE}, "below 0x100"),
        ({"width": 0}, "not within 1 to 64 bits"),
        ({"width": 65, "access": Access.RO}, "not within 1 to 64 bits"),
        ({"width": 33}, "only read-only registers may be wider"),
        ({"doc": ""}, "one line of documentation"),
        ({"doc": "one\ntwo"}, "one line of documentation"),
        ({"locked": True, "access": Access.RO}, "only rw and wo registers can be locked"),
        ({"width": 8, "maximum": 256}, "does not fit 8 bits"),
        ({"width": 8, "minimum": -1}, "does not fit 8 bits"),
        ({"width": 8, "signed": True, "minimum": -129}, "does not fit 8 bits"),
        ({"minimum": 2, "maximum": 1}, "range 2 to 1"),
        ({"minimum": 1}, "reset 0 is outside 1"),
        ({"width": 4, "reset": 16}, "reset 16 is outside 0 to 15"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(declaration, message):
    with pytest.raises(ContractError, match=message):
        register(**declaration)


def test_overlap_is_refused_and_both_are_named():
    with pytest.raises(ContractError, match="'b' overlaps 'a' at offset 0x10"):
        Block("x", 0, "X.", (register("a", 0x10), register("b", 0x10)))


def test_the_second_word_of_a_wide_register_counts_too():
    wide = register("wide", 0x10, Access.RO, width=40)
    with pytest.raises(ContractError, match="'b' overlaps 'wide' at offset 0x14"):
        Block("x", 0, "X.", (wide, register("b", 0x14)))
    with pytest.raises(ContractError, match="'wide' overlaps 'b' at offset 0x14"):
        Block("x", 0, "X.", (register("b", 0x14), wide))
    with pytest.raises(ContractError, match="'late' reaches past the window"):
        Block("x", 0, "X.", (register("late", BLOCK_SIZE - 4, Access.RO, width=64),))
    Block("x", 0, "X.", (wide, register("b", 0x18), register("c", 0x0C)))


def test_names_and_bases_are_unique():
    with pytest.raises(ContractError, match="'a' is declared twice"):
        Block("x", 0, "X.", (register("a", 0), register("a", 4)))
    with pytest.raises(ContractError, match="not a multiple of 0x100"):
        Block("x", 0x80, "X.", ())
    with pytest.raises(ContractError, match="'x' and 'y' share the base 0x100"):
        RegisterMap((Block("x", 0x100, "X.", ()), Block("y", 0x100, "Y.", ())))
    with pytest.raises(ContractError, match="same name"):
        RegisterMap((Block("x", 0x100, "X.", ()), Block("x", 0x200, "X.", ())))


def test_registers_are_found_by_name():
    block = Block("x", 0x300, "X.", (register("a", 0x10), register("b", 0x14)))
    assert block["b"].offset == 0x14
    assert block.address("b") == 0x314
    assert RegisterMap((block,))["x"] is block
    with pytest.raises(KeyError, match="block 'x' has no register 'c'"):
        block["c"]
    with pytest.raises(KeyError, match="no block 'y'"):
        RegisterMap((block,))["y"]


@st.composite
def registers(draw) -> Register:
    width, signed = draw(st.integers(1, 64)), draw(st.booleans())
    lowest, highest = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    low = draw(st.none() | st.integers(lowest, highest))
    high = draw(st.none() | st.integers(lowest if low is None else low, highest))
    reset = draw(st.integers(lowest if low is None else low, highest if high is None else high))
    access = Access.RO if width > 32 else draw(st.sampled_from(Access))
    return Register("a", 0, access, "Any.", width=width, signed=signed, minimum=low, maximum=high, reset=reset)


@given(registers(), st.data())
def test_what_is_encoded_is_decoded(any_register, data):
    raw = data.draw(st.integers(any_register.low, any_register.high))
    pattern = any_register.encode(raw)
    assert 0 <= pattern < 1 << (32 * any_register.words)
    assert pattern % (1 << any_register.width) == raw % (1 << any_register.width)
    assert any_register.decode(pattern) == raw


@given(registers(), st.integers(-(1 << 66), 1 << 66))
def test_what_is_not_allowed_is_not_encoded(any_register, raw):
    if any_register.low <= raw <= any_register.high:
        any_register.encode(raw)
    else:
        with pytest.raises(ValueError, match=f"a: {raw} is outside {any_register.low} to {any_register.high}"):
            any_register.encode(raw)


@given(registers(), st.integers(0, (1 << 64) - 1))
def test_whatever_the_bus_says_is_a_raw_value(any_register, pattern):
    lowest, highest = any_register.raw_range
    assert lowest <= any_register.decode(pattern) <= highest


@pytest.mark.parametrize("block", tuple(REGISTER_MAP), ids=lambda block: block.name)
def test_the_real_blocks_are_consistent(block):
    for each in block.registers:
        assert each.decode(each.encode(each.reset)) == each.reset
        if each.values is not None:
            assert issubclass(each.values, enum.IntEnum | enum.IntFlag)
            assert all(each.raw_range[0] <= value.value <= each.raw_range[1] for value in each.values), each.name
        if each.quantity:
            assert each.unit, f"{each.name} has a quantity but no unit"
    with pytest.raises(dataclasses.FrozenInstanceError):
        block.base = 0
