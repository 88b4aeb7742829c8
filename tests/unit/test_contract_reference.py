"""The generated register reference leaves nothing out."""

import re

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.fingerprint import fingerprint
from reflexarc.contract.reference import markdown


def sections() -> dict[str, str]:
    parts = re.split(r"^## (\w+) at (0x[0-9a-f]+)$", markdown(), flags=re.MULTILINE)
    assert len(parts) == 1 + 3 * len(REGISTER_MAP.blocks)
    return dict(zip(parts[1::3], parts[3::3], strict=True))


def test_each_register_stands_in_its_block():
    found = sections()
    for block in REGISTER_MAP:
        text = found[block.name]
        assert block.doc in text
        rows = [line for line in text.splitlines() if line.startswith("| 0x")]
        assert len(rows) == len(block.registers)
        for register, row in zip(block.registers, rows, strict=True):
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert len(cells) == 9, f"a cell of {register.name} breaks the table"
            assert int(cells[0], 16) == block.address(register.name)
            assert cells[1:3] == [f"`{register.name}`", register.access.value]
            assert cells[3] == f"{'s' if register.signed else 'u'}{register.width}"
            assert cells[5] == f"{register.low} … {register.high}"
            assert (cells[7] == "armed") == register.locked


def test_each_named_value_is_explained():
    found = sections()
    for block in REGISTER_MAP:
        for register in block.registers:
            for value in register.values or ():
                assert f"{value.value} = {value.name}" in found[block.name]


def test_it_carries_the_fingerprint():
    assert f"`{fingerprint():#010x}`" in markdown()
