"""Mutants made by machine: one small change of a reference's source each, such as a slip of the hand would make.

Nothing here imports a framework. A mutant is a text in a file and what stands for it, so that it reads as a line of a
review does; where a change makes no difference to what anyone can see, it is listed as equivalent, with the reason.
"""

import ast
import functools
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suites.implementations import BACKENDS, ROOT

SWAPPED = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "/",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.And: "or",
    ast.Or: "and",
}
"""What stands for an operator."""

SIGNS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.And: "and",
    ast.Or: "or",
}
"""How an operator is written."""

COMMUTATIVE = {"max", "min", "maximum", "minimum", "logical_and", "logical_or", "equal", "result_type"}
"""Functions of whose first two arguments neither has to be the first."""

ASKED = "keras.backend.backend()"
"""How a reference asks for the backend."""

DTYPES = {"float16": "float32", "bfloat16": "float32", "float32": "float16", "float64": "float32", "int32": "int64"}


@dataclass(frozen=True)
class Mutant:
    """One change of a file.

    Attributes:
        technique: whose reference it is.
        file: the name of the file, without its folder and ending.
        line, column: where the text that is changed begins, from 1 and from 0.
        operator: the kind of change.
        start, end: where the text that is changed stands in the source.
        old, new: the text, and what stands for it.
        code: the line as it is, for a reader.
        backend: the only one that runs it, empty where several do.
    """

    technique: str
    file: str
    line: int
    column: int
    operator: str
    start: int
    end: int
    old: str
    new: str
    code: str
    backend: str = ""

    def edit(self, source: str) -> str:
        """The source with the change."""
        assert source[self.start : self.end] == self.old
        return source[: self.start] + self.new + source[self.end :]

    @property
    def identity(self) -> str:
        """What it is called, the same as long as its line and its place in it stay as they are."""
        digest = hashlib.sha256(f"{self.code}/{self.old}/{self.new}".encode()).hexdigest()[:8]
        return f"{self.file}-{self.line}-{self.column}-{self.operator}-{digest}"

    def __str__(self) -> str:
        return self.identity


def files_of(technique: str) -> list[Path]:
    """The files of a technique's reference: its own parts, each after those that it imports, and last itself."""
    found: list[Path] = []

    def visit(path: Path) -> None:
        for node in ast.walk(ast.parse(path.read_bytes())):
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            part = module.removeprefix("reference.")
            if module.startswith("reference._") and (ROOT / "reference" / f"{part}.py") not in found:
                visit(ROOT / "reference" / f"{part}.py")
        if path not in found:
            found.append(path)

    visit(ROOT / "reference" / f"{technique}.py")
    return found


@functools.cache
def mutants(technique: str) -> list[Mutant]:
    """All mutants of a technique, in the order of its files and lines."""
    return [mutant for path in files_of(technique) for mutant in _of_file(technique, path)]


Change = tuple[str, tuple[int, int], str]
"""A kind of change, the place of the text that is changed, and what stands for it."""


def _of_file(technique: str, path: Path) -> Iterator[Mutant]:
    file = _File(path.read_text(encoding="utf-8"))
    seen: set[tuple[tuple[int, int], str]] = set()
    for operator, span, new in file.changes():
        if (span, new) not in seen and file.text[slice(*span)] != new:
            seen.add((span, new))
            line = file.text.count("\n", 0, span[0]) + 1
            column = span[0] - file.place(line, 0)
            code, backend = file.lines[line - 1].strip(), file.backend(line)
            yield Mutant(
                technique, path.stem, line, column, operator, *span, file.text[slice(*span)], new, code, backend
            )


class _File:
    """The source of a file, and the changes that can be made to it."""

    def __init__(self, text: str) -> None:
        self.text, self.lines, self.tree = text, text.splitlines(keepends=True), ast.parse(text)
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line))

    def place(self, line: int, column: int) -> int:
        """From a line and a column in bytes, as `ast` counts, to a place in the text."""
        return self._starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node stands."""
        where: Any = node
        return self.place(where.lineno, where.col_offset), self.place(where.end_lineno, where.end_col_offset)

    def of(self, node: ast.AST) -> str:
        """The text of a node."""
        return self.text[slice(*self.span(node))]

    def between(self, first: ast.AST, second: ast.AST, old: str) -> tuple[int, int]:
        """Where an operator stands between two nodes."""
        start = self.text.index(old, self.span(first)[1], self.span(second)[0])
        return start, start + len(old)

    def backend(self, line: int) -> str:
        """The one backend that runs a line, else empty."""
        return next((name for name, first, last in self._alone if first <= line <= last), "")

    @functools.cached_property
    def _alone(self) -> list[tuple[str, int, int]]:
        """Backends, and the first and last of lines that each alone runs.

        Those are the lines under its name in a `match` or an `if`, and functions that are called from there only.
        """
        found: list[tuple[str, int, int]] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Match) and self.of(node.subject) == ASKED:
                named = [self.of(case.pattern).strip("\"'") for case in node.cases if not _is_default(case.pattern)]
                others = [name for name in BACKENDS if name not in named]
                names = named if len(others) > 1 else named + others
                found += [(name, *_lines(case.body)) for name, case in zip(names, node.cases, strict=False)]
            if isinstance(node, ast.If) and self.of(node.test).startswith(f"{ASKED} == "):
                found.append((self.of(node.test).removeprefix(f"{ASKED} == ").strip("\"'"), *_lines(node.body)))
        calls = [(node.id, node.lineno) for node in ast.walk(self.tree) if isinstance(node, ast.Name)]
        for function in self.tree.body:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("_"):
                lines = [line for name, line in calls if name == function.name]
                only = {next((name for name, first, last in found if first <= line <= last), "") for line in lines}
                if len(only) == 1 and "" not in only:
                    found.append((only.pop(), *_lines([function])))
        return found

    def changes(self) -> Iterator[Change]:
        """All changes, in the order of the tree."""
        tree = ast.parse(self.text)
        _drop_what_does_not_run(tree)
        for node in ast.walk(tree):
            for change in (self._operator, self._constant, self._call, self._statement, self._condition):
                yield from change(node)

    def _operator(self, node: ast.AST) -> Iterator[Change]:
        """Another operator."""
        pairs: list[tuple[ast.AST, ast.AST, ast.AST]] = []
        if isinstance(node, ast.BinOp):
            pairs = [(node.left, node.op, node.right)]
        elif isinstance(node, ast.Compare):
            pairs = list(zip([node.left, *node.comparators], node.ops, node.comparators, strict=False))
        elif isinstance(node, ast.BoolOp):
            pairs = [(first, node.op, second) for first, second in itertools.pairwise(node.values)]
        for first, operator, second in pairs:
            if new := SWAPPED.get(type(operator)):
                yield "operator", self.between(first, second, SIGNS[type(operator)]), new
        if isinstance(node, ast.AugAssign) and (new := SWAPPED.get(type(node.op))):
            start, end = self.between(node.target, node.value, f"{SIGNS[type(node.op)]}=")
            yield "operator", (start, end - 1), new
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            number = isinstance(node.operand, ast.Constant)  # which is changed as a constant
            if not number:
                yield "operator", self.span(node), f"({self.of(node.operand)})"

    def _constant(self, node: ast.AST) -> Iterator[Change]:
        """Another constant: an axis, a size, a factor, a default, a dtype."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            value = node.operand.value
            if isinstance(value, int | float):
                yield "constant", self.span(node), f"({1 - value!r})" if isinstance(value, int) else f"({value!r})"
        elif isinstance(node, ast.Constant):
            match node.value:
                case bool():
                    yield "constant", self.span(node), repr(not node.value)
                case int():
                    yield "constant", self.span(node), repr(node.value + 1)
                case float():
                    yield "constant", self.span(node), repr(2 * node.value if node.value else 1.0)
                case str() if node.value in DTYPES:
                    yield "dtype", self.span(node), repr(DTYPES[node.value])

    def _call(self, node: ast.AST) -> Iterator[Change]:
        """An argument less, or two in each other's place; no cast."""
        if not isinstance(node, ast.Call):
            return
        for keyword in node.keywords:
            if keyword.arg is not None:
                operator = "training" if keyword.arg == "training" else "argument"
                yield operator, self._with_comma(node, keyword), ""
        positional = [each for each in node.args if not isinstance(each, ast.Starred)]
        function = self.of(node.func).rpartition(".")[2]
        if len(positional) >= 2 and len(positional) == len(node.args) and function not in COMMUTATIVE:
            first, second = positional[:2]
            between = self.text[self.span(first)[1] : self.span(second)[0]]
            swapped = f"{self.of(second)}{between}{self.of(first)}"
            yield "swap", (self.span(first)[0], self.span(second)[1]), swapped
        if self.of(node.func) in ("ops.cast", "tf.cast") and node.args:
            yield "cast", self.span(node), self.of(node.args[0])

    def _with_comma(self, call: ast.Call, keyword: ast.keyword) -> tuple[int, int]:
        """Where a keyword argument stands, with the comma before it, or else the one after it."""
        start, end = self.span(keyword)
        before = self.text[:start].rstrip()
        if before.endswith(","):
            return len(before) - 1, end
        after = self.text[end : self.span(call)[1]]
        stripped = after.lstrip()
        return (start, end + len(after) - len(stripped) + 1) if stripped.startswith(",") else (start, end)

    def _statement(self, node: ast.AST) -> Iterator[Change]:
        """A statement less; not one that says that a name is not used any more."""
        forgets = isinstance(node, ast.Delete) and all(isinstance(each, ast.Name) for each in node.targets)
        if isinstance(node, ast.Expr | ast.AugAssign | ast.Raise | ast.Delete) and not (
            forgets or isinstance(getattr(node, "value", None), ast.Constant)
        ):
            yield "statement", self.span(node), "pass"
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            yield "statement", self.span(node), "pass"
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node.value)):
                yield "statement", self.span(node), "pass"  # it keeps the value that it had

    def _condition(self, node: ast.AST) -> Iterator[Change]:
        """A condition that is always or never true."""
        if isinstance(node, ast.If | ast.IfExp):
            for new in ("True", "False"):
                yield "condition", self.span(node.test), new


def _is_default(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def _lines(body: Sequence[ast.stmt]) -> tuple[int, int]:
    """The first and the last line of statements."""
    return body[0].lineno, body[-1].end_lineno or 0


def _drop_what_does_not_run(tree: ast.Module) -> None:
    """Take docstrings, annotations, decorators, imports and messages out of the tree: no behaviour is in them.

    So is `strict` of `zip`, which asserts what holds.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "strict"]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = []
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.Raise):
            node.exc = node.cause = None
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [each for each in body if not isinstance(each, ast.Import | ast.ImportFrom)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
