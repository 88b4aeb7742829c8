"""A program's file: what it says, and in which line."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reflexarc.programs.names import walk
from reflexarc.programs.text import lines_of, parse, statement_line
from reflexarc.programs.tokens import shown
from reflexarc.programs.tree import Path as Place
from reflexarc.programs.tree import ProgramTree, Statement
from reflexarc.text_file import read_text

SIZE_MAX = 1 << 20  # bytes; a program that fits into a bank has a few thousand
STATEMENT_MAX = 90  # characters of a statement in a finding


@dataclass(frozen=True)
class Source:
    """A program's file: its tree, the lines that hold more than a comment, each statement and its line."""

    name: str
    tree: ProgramTree
    text: tuple[tuple[int, str], ...]
    statements: Mapping[Place, Statement]
    lines: Mapping[Place, int]

    def said(self, path: Place) -> str:
        """The statement there, as it is printed, without its blocks."""
        return statement_line(self.statements[path], self.tree)

    def place(self, path: Place) -> str:
        """Line and statement, as a finding begins; the file, for what is said of the program as a whole."""
        if path not in self.lines:
            return f"{self.name}: "
        statement = textwrap.shorten(self.said(path).removesuffix(":"), STATEMENT_MAX, placeholder=" ...")
        return f"line {self.lines[path]}: {statement}: "


def read_source(path: Path) -> Source:
    """BadInput with one line for what can't be read or is no program."""
    name = shown(str(path))
    text = read_text(path, f"program {name}", "text", "program", SIZE_MAX)
    tree = parse(text, name)
    held = [(number, line.rstrip("\r ")) for number, line in enumerate(text.split("\n"), 1) if line.strip("\r ")]
    held = [(number, line) for number, line in held if not line.lstrip(" ").startswith("#")]
    # The text that is printed of a tree has the same lines in the same order, with one that is empty behind the name and one behind events.
    empty = 2 if tree.events else 1
    lines = {path: held[line - 1 - empty][0] for path, line in lines_of(tree).items()}
    return Source(name, tree, tuple(held), dict(walk(tree)), lines)
