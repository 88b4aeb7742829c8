"""The fingerprint covers what two sides must agree on, and ``differences`` names it."""

import enum
import json
from dataclasses import replace

import pytest

from reflexarc.contract import fingerprint as module
from reflexarc.contract import link
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.fingerprint import describe, differences, fingerprint
from reflexarc.contract.registers import Access, Block, Register, RegisterMap


class Mode(enum.IntEnum):
    OFF = 0
    ON = 1


class OtherMode(enum.IntEnum):
    OFF = 0
    ON = 2


PLAIN = Register(
    "plain", 0x00, Access.RW, "Plain.", width=16, reset=1, minimum=0, maximum=9, unit="V", scale=0.5, quantity="bias", values=Mode
)  # fmt: skip
READ = Register("read", 0x04, Access.RO, "Read.", width=20)
BLOCK = Block("one", 0x100, "First.", (PLAIN, READ))
MAP = RegisterMap((BLOCK, Block("two", 0x200, "Second.", (READ,))))


def with_plain(**changes) -> RegisterMap:
    return RegisterMap((replace(BLOCK, registers=(replace(PLAIN, **changes), READ)), MAP.blocks[1]))


MEANINGFUL = [
    {"name": "renamed"}, {"offset": 0x08}, {"access": Access.W1C}, {"width": 17}, {"signed": True}, {"reset": 2}, {"unit": "A"},
    {"scale": 0.25}, {"quantity": "z"}, {"minimum": 1}, {"maximum": 10}, {"locked": True}, {"values": OtherMode}, {"values": None},
]  # fmt: skip


@pytest.mark.parametrize("change", MEANINGFUL, ids=str)
def test_a_change_of_a_register_changes_it_and_is_named(change):
    other = with_plain(**change)
    assert fingerprint(other) != fingerprint(MAP)
    lines = differences(describe(other), MAP)
    assert lines and all(line.startswith("register one.") for line in lines)
    assert any("one.plain: " in line for line in lines)


def test_documentation_changes_nothing():
    registers = tuple(replace(register, doc="Better.") for register in BLOCK.registers)
    other = RegisterMap((replace(BLOCK, doc="Better.", registers=registers), replace(MAP.blocks[1], doc="Better.")))
    assert fingerprint(other) == fingerprint(MAP)
    assert differences(describe(other), MAP) == []


def test_a_missing_register_is_named_with_its_side():
    other = RegisterMap((replace(BLOCK, registers=(PLAIN,)), MAP.blocks[1]))
    assert fingerprint(other) != fingerprint(MAP)
    assert differences(describe(other), MAP) == ["register one.read: only here"]
    assert differences(describe(MAP), other) == ["register one.read: only there"]


def test_a_missing_block_is_named_with_its_side():
    other = RegisterMap((BLOCK,))
    assert fingerprint(other) != fingerprint(MAP)
    assert differences(describe(other), MAP) == ["block two: only here"]
    assert differences(describe(MAP), other) == ["block two: only there"]


def test_a_moved_block_is_named():
    other = RegisterMap((BLOCK, replace(MAP.blocks[1], base=0x300)))
    assert fingerprint(other) != fingerprint(MAP)
    lines = differences(describe(other), MAP)
    assert len(lines) == 1 and "two" in lines[0]


def test_the_order_of_declarations_means_nothing():
    """Offsets are explicit, so the order is a matter of the text."""
    other = RegisterMap((MAP.blocks[1], replace(BLOCK, registers=(READ, PLAIN))))
    assert (fingerprint(other) == fingerprint(MAP)) == (differences(describe(other), MAP) == [])


@pytest.mark.parametrize(
    ("where", "name", "value", "message"),
    [
        (link, "VERSION", link.VERSION + 1, "link_version: here 2, there 1"),
        (module, "PACKET_MAGIC", 0x1234, "packet_magic: here 4660, there"),
        (module, "EVENT_LAYOUT", replace(module.EVENT_LAYOUT, words=9), "layouts"),
        (module, "HEADER_LAYOUT", replace(module.HEADER_LAYOUT, fields=module.HEADER_LAYOUT.fields[:-1]), "layouts"),
        (module, "PIXEL_LAYOUT", replace(module.PIXEL_LAYOUT, fields=module.PIXEL_LAYOUT.fields[::-1]), "layouts"),
        (module, "TRAILER_LAYOUT", replace(module.TRAILER_LAYOUT, name="other"), "layouts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_link_and_layouts_count(monkeypatch, where, name, value, message):
    before, theirs = fingerprint(), describe()
    monkeypatch.setattr(where, name, value)
    assert fingerprint() != before
    lines = differences(theirs)
    assert len(lines) == 1 and message in lines[0]


def test_it_survives_json():
    """A board sends its description as JSON."""
    assert differences(json.loads(json.dumps(describe()))) == []
    assert fingerprint() == fingerprint(REGISTER_MAP)
    assert 0 <= fingerprint() < 1 << 32


def test_a_strange_board_gets_a_screenful_at_most():
    registers = tuple(Register(f"r{number}", 4 * number, Access.RW, "Any.") for number in range(60))
    many = RegisterMap((Block("one", 0x100, "Many.", registers),))
    assert 0 < len(differences(describe(many), MAP)) <= 20
    assert 0 < len(differences({})) <= 20
