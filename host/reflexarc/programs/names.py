"""Which statement gives which names, and which it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reflexarc.programs.tree import (
    Block,
    Clamped,
    Comparison,
    Difference,
    Emit,
    Height,
    If,
    Leave,
    Let,
    Move,
    Number,
    Path,
    ProgramTree,
    Pulse,
    Ramp,
    Read,
    Repeat,
    Sample,
    Scaled,
    Set,
    Statement,
    Sum,
    Value,
    Variable,
    WaitEvent,
    blocks,
)


def names_in(value: Value) -> Iterator[str]:
    match value:
        case Variable(name):
            yield name
        case Sum(a, b) | Difference(a, b):
            yield from names_in(a)
            yield from names_in(b)
        case Scaled(_, of) | Clamped(of, _, _):
            yield from names_in(of)
        case Number() | Read():
            pass


def _of_comparison(comparison: Comparison | None) -> Iterator[str]:
    if comparison is not None:
        yield from names_in(comparison.a)
        yield from names_in(comparison.b)


def used(statement: Statement) -> Iterator[str]:
    """Names that must have been given before; without those of blocks within, and without the fields that an event's own conditions use."""
    match statement:
        case Let(_, value) | Set(_, value) | Ramp(_, value, _) | Height(value, _) | Pulse(to_V=value):
            yield from names_in(value)
        case Move(x, y, _):
            yield from names_in(x)
            yield from names_in(y)
        case If(comparison) | Leave(comparison):
            yield from _of_comparison(comparison)
        case Emit(_, values):
            for value in values:
                yield from names_in(value)
        case WaitEvent(into, _, conditions):
            for comparison in conditions:
                yield from (name for name in _of_comparison(comparison) if name.partition(".")[0] != into)


def given(statement: Statement) -> Iterator[str]:
    """Names that have a value once the statement is done, an event's with its fields."""
    match statement:
        case Sample(into) | Let(into):
            yield into
        case WaitEvent(into):
            yield from (f"{into}.{field}" for field in ("x", "y", "score", "class"))


def _walk(body: Block, path: Path) -> Iterator[tuple[Path, Statement]]:
    for index, statement in enumerate(body):
        yield (*path, index), statement
        for number, block in enumerate(blocks(statement)):
            yield from _walk(block, (*path, index, number))


def walk(tree: ProgramTree) -> Iterator[tuple[Path, Statement]]:
    """All statements with their paths, in the order of the text."""
    return _walk(tree.body, ())


def within(body: Block) -> Iterator[Statement]:
    """All statements of a block and of those in it."""
    for _, statement in _walk(body, ()):
        yield statement


def homes(tree: ProgramTree) -> Mapping[str, Path]:
    """Of each name that is used, or given and not a field of an event, the innermost block that has all its places."""
    places: dict[str, list[Path]] = {}
    for path, statement in walk(tree):
        for name in used(statement):
            places.setdefault(name, []).append(path[:-1])
        if isinstance(statement, Repeat) and statement.index is not None:
            places.setdefault(statement.index, []).append(path[:-1])
    for path, statement in walk(tree):
        for name in given(statement):
            if "." not in name or name in places:
                places.setdefault(name, []).append(path[:-1])
    return {name: _common(found) for name, found in places.items()}


def _common(paths: list[Path]) -> Path:
    shared = 0
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    return paths[0][: shared - shared % 2]
