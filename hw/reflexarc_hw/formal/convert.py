"""Turns one proof into RTLIL, with a mutation of the gateware if asked for.

Runs as a process of its own, ``python -m reflexarc_hw.formal.convert``, with what is wanted as JSON on standard input: a mutated module must
not be seen by anything else.
"""

import importlib
import importlib.abc
import importlib.machinery
import json
import re
import sys
from pathlib import Path
from types import CodeType


class _Patched(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, source: str):
        super().__init__(fullname, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        # Never the compiled file: it is the unchanged text's.
        return self.source_to_code(self._source.encode(), self.path)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds each module of ``changes`` with its text changed: pairs of an old text, which must occur exactly once, and a new one."""

    def __init__(self, changes: dict[str, list[tuple[str, str]]]):
        self._changes = changes
        self.unused = set(changes)

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in self._changes:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        source = Path(spec.origin).read_text()
        for old, new in self._changes[fullname]:
            if source.count(old) != 1:
                raise ImportError(f"{fullname}: the text to change occurs {source.count(old)} times, not once: {old!r}")
            source = source.replace(old, new)
        spec.loader = _Patched(fullname, spec.origin, source)
        self.unused.discard(fullname)
        return spec


def named(text: str) -> str:
    """Give each statement's cell the name of its property, which the solver's report then shows."""
    count = 0

    def rename(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"cell $check \\{match[2]}#{count}\n{match[1]}"

    return re.sub(r'cell \$check \$\d+\n((?:\s+attribute .*\n)*\s+parameter \\FORMAT "([^"]+)")', rename, text)


def without_init(text: str) -> str:
    """Take the reset values of everything but the statements' own registers, which stand in the top module."""
    modules = re.split(r"(?m)^(?=module )", text)
    return "".join(each if each.startswith("module \\top\n") else re.sub(r"\s+attribute \\init .*", "", each) for each in modules)


def main() -> None:
    wanted = json.load(sys.stdin)
    finder = _Finder(wanted["changes"])
    sys.meta_path.insert(0, finder)
    # Only now: what is imported here may be what is mutated.
    from amaranth.back import rtlil
    from amaranth.hdl import Fragment

    from reflexarc_hw.formal.proof import free_signals

    proof = next(each for each in importlib.import_module(wanted["module"]).PROOFS if each.name == wanted["proof"])
    if finder.unused:
        raise ImportError(f"not part of proof {proof.name!r}: {sorted(finder.unused)}")
    goal = wanted["goal"]
    proof.goal = goal if isinstance(goal, str) else tuple(goal)
    fragment = Fragment.get(proof, None)
    ports = {id(signal): signal for signal in (proof.domain.clk, proof.domain.rst, *free_signals(fragment))}
    text = named(rtlil.convert(fragment, name="top", ports=list(ports.values()), emit_src=False))
    if proof.any_start:
        text = without_init(text)
    Path(wanted["path"]).write_text(text)


if __name__ == "__main__":
    main()
