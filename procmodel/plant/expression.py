"""Expressions over tag names, read without ever being executed, into whatever stands for the tags.

Tag names are looked for first, longest first, so names with dots, dashes or a leading digit need no quoting; a name
may also stand in quotes. What is left is arithmetic: numbers, + - * / **, brackets, and the functions below.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from procmodel.errors import PlantFileError

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
# Name: least number of arguments.
FUNCTIONS = {"abs": 1, "sqrt": 1, "exp": 1, "log": 1, "min": 2, "max": 2}
_PLACEHOLDER = "tag_{}_"
_DEEPEST = 100


def read(text: str, symbols: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]], where: str) -> Any:
    """The value of `text` in the arithmetic of its symbols.

    Args:
        text: For example "600 * FI100.PV - 20 * FI2.PV".
        symbols: What stands for each tag that may be named.
        functions: All of `FUNCTIONS`, of one argument or two.
        where: Place in the plant file, for messages.

    Raises:
        PlantFileError: it cannot be read, or names something unknown; the message says which and what is known.
    """
    marked, names = _mark_tags(text, symbols, where)
    try:
        tree = ast.parse(marked.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise PlantFileError(
            f"{where}: {text!r} cannot be read as an expression. It needs tag names, numbers, + - * / **, brackets and "
            f"{', '.join(FUNCTIONS)}. Correct it in the plant file."
        ) from error
    reader = _Reader(text=text, where=where, names=names, symbols=symbols, functions=functions)
    return reader.value(tree.body, 0)


def check(text: str, names: Sequence[str], where: str) -> None:
    """Whether `text` can be read where these tags may be named.

    Raises:
        PlantFileError: as of `read`.
    """
    read(text, dict.fromkeys(names, math.nan), dict.fromkeys(FUNCTIONS, lambda *_: math.nan), where)


def _mark_tags(text: str, symbols: Mapping[str, Any], where: str) -> tuple[str, dict[str, str]]:
    """Tag names replaced by plain identifiers, and which is which."""
    known = sorted(symbols, key=len, reverse=True)
    names = {_PLACEHOLDER.format(i): name for i, name in enumerate(known)}
    marks = {name: mark for mark, name in names.items()}
    quoted = r"'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\"|`(?P<back>[^`]*)`"
    plain = "|".join(re.escape(name) for name in known)
    # A name ends where no further letter, digit or dotted part follows: FI1 is not found in FI10 nor in FI1.PV.
    pattern = re.compile(rf"{quoted}|(?<![\w.])(?P<plain>{plain})(?!\w|\.\w)" if known else quoted)

    def mark(match: re.Match[str]) -> str:
        name = next(group for group in match.groups() if group is not None)
        if name not in marks:
            raise _unknown(name, text, symbols, where)
        return f" {marks[name]} "

    return pattern.sub(mark, text), names


def _unknown(name: str, text: str, symbols: Mapping[str, Any], where: str) -> PlantFileError:
    close = difflib.get_close_matches(name, list(symbols), n=1, cutoff=0.6)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return PlantFileError(
        f"{where}: unknown tag {name!r} in {text!r}.{hint} It may name MVs, CVs and DVs: {', '.join(symbols)}. "
        "Correct it in the plant file."
    )


class _Reader:
    """Walks the syntax tree; whatever is not on the list is refused."""

    def __init__(
        self,
        *,
        text: str,
        where: str,
        names: dict[str, str],
        symbols: Mapping[str, Any],
        functions: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._text, self._where, self._names, self._symbols = text, where, names, symbols
        self._functions = functions

    def value(self, node: ast.expr, depth: int) -> Any:
        """Of one node."""
        if depth > _DEEPEST:
            raise self._refused(node, f"nests deeper than {_DEEPEST} levels")
        match node:
            case ast.Constant(value=bool() | complex() | str() | bytes() | None):
                raise self._refused(node, "is not a number")
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=mark) if mark in self._names:
                return self._symbols[self._names[mark]]
            case ast.Name() | ast.Attribute():
                raise _unknown(self._readable(node), self._text, self._symbols, self._where)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._binary(node, op, self.value(left, depth + 1), self.value(right, depth + 1))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
                return _SIGNS[type(op)](self.value(operand, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
                return self._call(node, name, [self.value(argument, depth + 1) for argument in arguments])
            case _:
                raise self._refused(node, "is not allowed")

    def _binary(self, node: ast.expr, op: ast.operator, left: Any, right: Any) -> Any:
        try:
            return _OPERATORS[type(op)](left, right)
        except (ZeroDivisionError, OverflowError) as error:
            raise self._refused(node, "has no finite value") from error

    def _call(self, node: ast.expr, name: str, arguments: list[Any]) -> Any:
        function, least = self._functions[name], FUNCTIONS[name]
        if least == 1 and len(arguments) != 1:
            raise self._refused(node, f"needs one argument, got {len(arguments)}")
        if least == 2 and len(arguments) < 2:
            raise self._refused(node, f"needs two arguments or more, got {len(arguments)}")
        if least == 1:
            return function(arguments[0])
        value = arguments[0]
        for argument in arguments[1:]:
            value = function(value, argument)
        return value

    def _readable(self, node: ast.expr) -> str:
        """A node as the user wrote it, without placeholders."""
        text = ast.unparse(node)
        for mark, name in self._names.items():
            text = text.replace(mark, name)
        return text

    def _refused(self, node: ast.expr, why: str) -> PlantFileError:
        return PlantFileError(
            f"{self._where}: {self._readable(node)!r} in {self._text!r} {why}. It needs tag names, numbers, "
            f"+ - * / **, brackets and {', '.join(FUNCTIONS)}. Correct it in the plant file."
        )
