"""The register reference as Markdown, generated from the contract."""

from __future__ import annotations

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.fingerprint import fingerprint
from reflexarc.contract.registers import Register, RegisterMap


def _range(register: Register) -> str:
    return f"{register.low} … {register.high}"


def _lsb(register: Register) -> str:
    if register.quantity:
        return f"{register.scale:g} × calibration.{register.quantity}"
    if register.scale != 1.0:
        return f"{register.scale:g} {register.unit}"
    return register.unit


def markdown(register_map: RegisterMap = REGISTER_MAP) -> str:
    """The whole reference as one Markdown text."""
    lines = [
        "# Register reference",
        "",
        f"Generated from `host/reflexarc/contract` by `make reference`. Contract fingerprint `{fingerprint(register_map):#010x}`.",
        "",
    ]
    for block in register_map:
        lines += [
            f"## {block.name} at {block.base:#05x}",
            "",
            block.doc,
            "",
            "| address | name | access | bits | reset | raw range | one LSB | locked | what |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for r in block.registers:
            bits = f"{'s' if r.signed else 'u'}{r.width}"
            lines.append(
                f"| {block.base + r.offset:#05x} | `{r.name}` | {r.access.value} | {bits} | {r.reset} | {_range(r)} | {_lsb(r)} "
                f"| {'armed' if r.locked else ''} | {r.doc.replace('|', '/')} |"
            )
        for r in block.registers:
            if r.values is not None:
                named = ", ".join(f"{v.value} = {v.name}" for v in r.values)
                lines += ["", f"`{r.name}`: {named}."]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
