"""Reads the text of a program, an `.arc` file, into its tree; `text` writes it.

A line is a statement. A line that ends with a colon has a block: the lines below it, indented further by spaces, all alike. What is read is
taken as it stands: nothing is worked out, and whether names are known and units fit is the verifier's question.
"""

from __future__ import annotations

from reflexarc.programs.tokens import (
    CHANNELS,
    COMPARATORS,
    CONDITIONS,
    FIELDS,
    MAX_BLOCKS,
    MAX_CLASS,
    MAX_COUNT,
    MAX_OPERATIONS,
    MAX_PARENTHESES,
    MAX_STATEMENTS,
    NAME,
    NUMBER_UNITS,
    PARAMETER_UNITS,
    READINGS,
    RESERVED,
    STATISTICS,
    Reader,
    listed,
)
from reflexarc.programs.tree import (
    Block,
    Clamped,
    Comparison,
    Difference,
    During,
    Emit,
    EventType,
    Halt,
    Height,
    Hold,
    If,
    Leave,
    Let,
    Line,
    Mark,
    Move,
    Number,
    Pause,
    ProgramTree,
    Pulse,
    Ramp,
    Read,
    Repeat,
    Return,
    Sample,
    Scaled,
    Score,
    Set,
    StartScan,
    Statement,
    StopScan,
    Sum,
    Value,
    Variable,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
)


def parse(text: str, name: str = "program") -> ProgramTree:
    """The tree of ``text``; ProgramTextError, which calls the text ``name``, for any text that has none."""
    return _Parser(text, name).program()


class _Parser(Reader):
    def __init__(self, text: str, name: str) -> None:
        super().__init__(text, name)
        self._statements = 0
        self._operations = 0  # of the value that is being read

    # Values

    def _value(self) -> Value:
        self._operations = 0
        return self._sum(0)

    def _sum(self, parentheses: int) -> Value:
        value = self._product(parentheses)
        while self._text in ("+", "-"):
            self._operation()
            kind = Sum if self._take() == "+" else Difference
            value = kind(value, self._product(parentheses))
        if self._text == "*":
            self._fail('a number before "*", as in "0.6 * i0"')
        return value

    def _product(self, parentheses: int) -> Value:
        factors: list[Number] = []
        while self._kind == "number" or self._text == "-":
            number = self._constant()
            if self._text != "*":
                return _scaled(factors, number)
            self._operation()
            self._take()
            factors.append(number)
        return _scaled(factors, self._operand(parentheses))

    def _operand(self, parentheses: int) -> Value:
        if self._text in ("(", "clamp") and parentheses == MAX_PARENTHESES:
            self._fail(f"at most {MAX_PARENTHESES} parentheses within each other", "one more")
        if self._accept("("):
            value = self._sum(parentheses + 1)
            self._words(")")
            return value
        if self._accept("clamp"):
            self._operation()
            self._words("(")
            value = self._sum(parentheses + 1)
            self._words(",")
            low = self._constant()
            self._words(",")
            high = self._constant()
            self._words(")")
            return Clamped(value, low, high)
        if self._text in READINGS:
            return Read(READINGS[self._take()])
        name, dot, event_field = self._text.partition(".")
        if self._kind != "word" or name in RESERVED or not NAME.fullmatch(name):
            self._fail('a value such as "2 nA", "current", "i0" or "0.6 * i0"')
        if dot and event_field not in FIELDS:
            self._fail(listed(f"{name}.{known}" for known in FIELDS))
        return Variable(self._take())

    def _constant(self) -> Number:
        number, unit, written = self._quantity()
        if unit not in NUMBER_UNITS:
            self._fail("a number in A, V, m or s, or without a unit", f'"{written}"')
        return Number(number, unit)

    def _operation(self) -> None:
        self._operations += 1
        if self._operations > MAX_OPERATIONS:
            self._fail(f"at most {MAX_OPERATIONS} operations in one value", "one more")

    def _comparison(self) -> Comparison:
        a = self._value()
        comparator = self._one_of(COMPARATORS)
        return Comparison(a, comparator, self._value())

    # Statements

    def program(self) -> ProgramTree:
        if self._text != "program" or self._indent:
            self._fail('a first line such as program "pulse adatoms", not indented')
        self._take()
        name = self._quoted()
        self._end_line()
        events = []
        while self._text == "event" and self._indent == 0:
            events.append(self._event())
        body = self._body(0, 0)
        if not body:
            self._fail("a statement")
        return ProgramTree(name, body, tuple(events))

    def _event(self) -> EventType:
        self._take()
        name = self._new_name()
        self._words(": class")
        class_id = self._whole(0, MAX_CLASS)
        self._words(", score")
        score = self._one_of({score.value: score for score in Score})
        self._end_line()
        return EventType(name, class_id, score)

    def _body(self, indent: int, depth: int) -> Block:
        """The statements from here on that are indented by ``indent``; less ends them."""
        statements = []
        while self._indent >= indent:
            if self._indent > indent:
                self._fail(f"an indentation of {indent}", f"{self._indent}")
            if self._statements == MAX_STATEMENTS:
                self._fail(f"at most {MAX_STATEMENTS} statements", "one more")
            self._statements += 1
            statements.append(self._statement(indent, depth))
        return tuple(statements)

    def _block(self, indent: int, depth: int) -> Block:
        """From the colon on: the block of a statement that is indented by ``indent``, itself in ``depth`` blocks."""
        above = self._number
        self._words(":")
        self._end_line()
        if depth == MAX_BLOCKS:
            self._fail(f"at most {MAX_BLOCKS} blocks within each other", "one more")
        if self._indent <= indent:
            self._fail(f"a statement indented by more than the {indent} spaces of line {above}, whose block begins here")
        return self._body(self._indent, depth + 1)

    def _otherwise(self, indent: int, depth: int) -> Block | None:
        if self._indent != indent or not self._accept("otherwise"):
            return None
        return self._block(indent, depth)

    def _ended(self, statement: Statement) -> Statement:
        self._end_line()
        return statement

    def _statement(self, indent: int, depth: int) -> Statement:
        if self._tokens[1][1] == "=":
            return self._assignment(indent, depth)
        first = self._take()
        match first:
            case "set":
                return self._ended(Set(self._parameter(), self._value()))
            case "ramp":
                return self._ramp()
            case "wait":
                return self._wait(indent, depth)
            case "mark":
                return self._ended(Mark())
            case "move":
                return self._move()
            case "return":
                return self._ended(Return())
            case "hold":
                self._words("feedback")
                (settle_s,) = self._times_after("settle")
                return Hold(settle_s, self._block(indent, depth))
            case "height":
                return self._ended(Height(self._value(), self._speed()))
            case "pause":
                self._words("scan")
                return Pause(self._block(indent, depth))
            case "pulse":
                to_V = self._value()
                self._words("for")
                return self._ended(Pulse(to_V, self._time(), *self._times_after("rise", "settle")))
            case "expose" | "blank" | "trigger":
                self._words("for")
                return self._ended(During(Line(first), self._time()))
            case "start" | "stop":
                self._words("scan")
                return self._ended(StartScan() if first == "start" else StopScan())
            case "repeat":
                return self._repeat(indent, depth)
            case "if":
                comparison = self._comparison()
                then = self._block(indent, depth)
                return If(comparison, then, self._otherwise(indent, depth) or ())
            case "leave":
                return self._ended(Leave(self._comparison() if self._accept("if") else None))
            case "emit":
                return self._emit()
            case "halt":
                return self._ended(Halt(self._quoted()))
        self._at = 0
        match first:
            case "otherwise":
                self._fail("a statement (an otherwise stands directly below the block of an if or below a wait for, indented as that)")
            case "event":
                self._fail("a statement (events stand above the first one)")
        self._fail('a statement such as "wait 50 us" or "i0 = mean of 64 samples of current"')

    def _assignment(self, indent: int, depth: int) -> Statement:
        into = self._new_name()
        self._take()
        if self._text in STATISTICS:
            statistic = STATISTICS[self._take()]
            self._words("of")
            count = self._whole(1, MAX_COUNT)
            self._words("samples of")
            return self._ended(Sample(into, self._one_of(CHANNELS), statistic, count))
        if not self._accept("wait"):
            return self._ended(Let(into, self._value()))
        self._words("for")
        event = self._new_name()
        conditions = []
        if self._accept("where"):
            conditions.append(self._comparison())
            while self._accept("and"):
                conditions.append(self._comparison())
        timeout_s = self._timeout()
        return WaitEvent(into, event, tuple(conditions), timeout_s, self._otherwise(indent, depth))

    def _wait(self, indent: int, depth: int) -> Statement:
        if self._accept("until"):
            return self._ended(WaitUntil(self._time()))
        if not self._accept("for"):
            if self._kind == "number" and self._tokens[self._at + 1][1] == "samples":
                count = self._whole(1, MAX_COUNT)
                self._take()
                return self._ended(WaitSamples(count))
            return self._ended(Wait(self._time()))
        began, words = self._at, []
        while self._kind == "word":
            words.append(self._take())
        condition = CONDITIONS.get(" ".join(words))
        if condition is None:
            self._at = began
            self._fail(f'{listed(CONDITIONS)} (for an event, "hit = wait for ...")')
        timeout_s = self._timeout()
        return WaitFor(condition, timeout_s, self._otherwise(indent, depth))

    def _timeout(self) -> float:
        """To the next line, where an otherwise may stand."""
        self._words(", at most")
        timeout_s = self._time()
        self._end_line()
        return timeout_s

    def _times_after(self, *words: str) -> tuple[float, ...]:
        """The time behind a comma and each of ``words``, in their order; 0 for those that are left out."""
        times = dict.fromkeys(words, 0.0)
        while words and self._accept(","):
            if self._text not in words:
                self._fail(listed(words))
            word = self._take()
            times[word] = self._time()
            words = words[words.index(word) + 1 :]
        return tuple(times.values())

    def _ramp(self) -> Statement:
        parameter = self._parameter()
        self._words("to")
        to = self._value()
        self._words("at")
        unit = f"{PARAMETER_UNITS.get(parameter, '')}/s"
        return self._ended(Ramp(parameter, to, self._due(unit, f"a rate of {parameter} in {unit}")))

    def _move(self) -> Statement:
        self._words("to")
        x = self._value()
        self._words(",")
        return self._ended(Move(x, self._value(), self._speed()))

    def _repeat(self, indent: int, depth: int) -> Statement:
        count = index = None
        if self._kind == "number":
            count = self._whole(1, MAX_COUNT)
            self._words("times")
        if self._accept("with"):
            index = self._new_name()
        return Repeat(count, self._block(indent, depth), index)

    def _emit(self) -> Statement:
        tag = self._quoted()
        values = []
        if self._kind != "end":
            values.append(self._value())
            while self._accept(","):
                values.append(self._value())
        return self._ended(Emit(tag, tuple(values)))


def _scaled(factors: list[Number], value: Value) -> Value:
    for factor in reversed(factors):
        value = Scaled(factor, value)
    return value
