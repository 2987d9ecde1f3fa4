# SPDX-License-Identifier: Apache-2.0
"""Which one-line faults a Python file can have, each as the whole text of the file with that one fault.

The faults are those that reviews of this package found alive: a parameter that is not passed on, a check that never
holds, a sign, a bound, an assignment or a call that is gone, a name of a frame or a topic that is another. What people
read (messages, docstrings), types and decorators are left alone.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

NEGATED: dict[type[ast.cmpop], str] = {
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
AT_THE_BOUND: dict[type[ast.cmpop], str] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
"""Tried where whole numbers are compared; of real numbers the bound itself hardly ever comes."""

OTHER_OPERATOR: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.LShift: ">>",
    ast.RShift: "<<",
}
OTHER_NAME = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "minimum": "maximum",
    "maximum": "minimum",
    "nanmin": "nanmax",
    "nanmax": "nanmin",
    "floor": "ceil",
    "ceil": "floor",
    "sin": "cos",
    "cos": "sin",
}
SPOKEN = ("debug", "info", "warn", "warning", "error", "fatal", "exception", "print", "warn_once")
"""Calls whose strings people read."""
GUARDS = ("strict",)
"""Keywords that check what the code is sure of, as `assert` does."""


@dataclass(frozen=True)
class Mutation:
    """One fault: `line` from 1, what stood there and what stands there now, and the file's text with it."""

    line: int
    column: int
    kind: str
    before: str
    after: str
    text: str
    function: str
    """Dotted name of the function that it is in; empty at the level of the module or of a class: such a line runs once,
    when the file is imported."""


def mutations(source: str) -> list[Mutation]:
    """All faults of a file with this text that are still Python, in the order of the text."""
    tree = ast.parse(source)
    finder = _Finder(source)
    finder.visit(tree)
    found = {m.text: m for m in finder.found if m.text != source and _is_python(m.text)}
    return sorted(found.values(), key=lambda m: (m.line, m.column, m.kind, m.after))


def _is_python(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


class _Finder(ast.NodeVisitor):
    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[Mutation] = []
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line.encode()))
        self._bytes = source.encode()
        self._inside: list[str] = []
        self._functions = 0
        self._spoken = 0

    # Where things stand.

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self._starts[node.lineno - 1] + node.col_offset,  # type: ignore[attr-defined]
            self._starts[node.end_lineno - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._bytes[start:end].decode()

    def _replace(self, node: ast.AST, new: str, kind: str, *, span: tuple[int, int] | None = None) -> None:
        start, end = span or self._span(node)
        text = (self._bytes[:start] + new.encode() + self._bytes[end:]).decode()
        self.found.append(
            Mutation(
                line=node.lineno,  # type: ignore[attr-defined]
                column=node.col_offset,  # type: ignore[attr-defined]
                kind=kind,
                before=self._bytes[start:end].decode(),
                after=new,
                text=text,
                function=".".join(self._inside) if self._functions else "",
            )
        )

    # What is left alone.

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        if isinstance(node, ast.Lambda):
            self.visit(node.body)
            return
        self._inside.append(node.name)
        self._functions += 1
        for statement in node.body:
            self.visit(statement)
        self._functions -= 1
        self._inside.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self._inside.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assignment(node)
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """What is put together for people, and names that are put together: left alone."""

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace(node, "pass", "statement")

    def visit_Assert(self, node: ast.Assert) -> None:
        """For the type checker."""

    def visit_Import(self, node: ast.Import) -> None:
        """Left alone."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Left alone."""

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self._condition(node.test)
            self.generic_visit(node)

    # Statements.

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node.value, ast.Yield | ast.YieldFrom):
            self.generic_visit(node)
            return
        if not (isinstance(node.value, ast.Call) and _name_of(node.value.func) in SPOKEN):
            self._replace(node, "pass", "statement")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if [ast.unparse(target) for target in node.targets] == ["__all__"] or _is_type(node.value):
            return
        self._assignment(node)
        self.visit(node.value)

    def _assignment(self, node: ast.Assign | ast.AnnAssign) -> None:
        """Only what outlives the function: a local name that is gone ends in a NameError, which any test sees."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if self._functions and any(isinstance(t, ast.Attribute | ast.Subscript) for t in targets):
            self._replace(node, "pass", "statement")

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._replace(node, "pass", "statement")
        self.visit(node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        """Of a name, it only says that an argument is not used."""
        if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            self._replace(node, "pass", "statement")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break", "loop")

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue", "loop")

    # Expressions.

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.visit(node.iter)
        for condition in node.ifs:
            self._replace(condition, "True", "condition")
            self.visit(condition)

    def _condition(self, node: ast.expr) -> None:
        """A comparison and `not` are turned where they stand."""
        if not isinstance(node, ast.Compare | ast.BoolOp) and not _is_not(node):
            self._replace(node, f"not ({self._text(node)})", "condition")

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            span = (self._span(left)[1], self._span(right)[0])
            between = self._bytes[span[0] : span[1]].decode()
            options = [(NEGATED[type(operator)], "comparison")]
            if type(operator) in AT_THE_BOUND and (_is_whole(left) or _is_whole(right)):
                options.append((AT_THE_BOUND[type(operator)], "bound"))
            for new, kind in options:
                # Brackets and line breaks around the operator stay as they are.
                stripped = between.strip(" ()\n")
                if between.count(stripped) == 1:
                    self._replace(node, between.replace(stripped, new), kind, span=span)
            left = right
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for index, value in enumerate(node.values):
            others = [self._text(other) for i, other in enumerate(node.values) if i != index]
            word = " and " if isinstance(node.op, ast.And) else " or "
            joined = word.join(others if len(others) == 1 else [f"({text})" for text in others])
            self._replace(value, f"({joined})", "operand", span=self._span(node))
            self.visit(value)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub | ast.Invert):
            self._replace(node, f"({self._text(node.operand)})", "sign")
        if not isinstance(node.operand, ast.Constant):
            self.visit(node.operand)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in OTHER_OPERATOR and not any(_is_text(side) for side in (node.left, node.right)):
            span = (self._span(node.left)[1], self._span(node.right)[0])
            between = self._bytes[span[0] : span[1]].decode()
            stripped = between.strip(" ()\n")
            if between.count(stripped) == 1:
                new = between.replace(stripped, OTHER_OPERATOR[type(node.op)])
                self._replace(node, new, "operator", span=span)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = _name_of(node.func)
        if name in OTHER_NAME:
            end = self._span(node.func)[1]
            self._replace(node, OTHER_NAME[name], "call", span=(end - len(name.encode()), end))
        self._without_keywords(node)
        spoken = name in SPOKEN
        self._spoken += spoken
        self.visit(node.func)
        for argument in node.args[1:] if name == "cast" else node.args:
            self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg not in GUARDS:
                self.visit(keyword.value)
        self._spoken -= spoken

    def _without_keywords(self, node: ast.Call) -> None:
        """The parameter that is not passed on."""
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in GUARDS:
                continue
            start, end = self._span(keyword)
            rest = self._bytes[end:].decode()
            comma = len(rest) - len(rest.lstrip())
            if rest[comma : comma + 1] == ",":
                end += len(rest[: comma + 1].encode())
            self._replace(keyword, "", "keyword", span=(start, end))

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value), "constant")
        elif isinstance(value, int | float):
            self._replace(node, _next(value), "constant")
        elif isinstance(value, str) and self._is_name(node, value):
            self._replace(node, repr(value + "_x"), "name")

    def _is_name(self, node: ast.Constant, value: str) -> bool:
        """Of a topic, a frame, a key: not what people read."""
        plain = bool(value) and not any(c.isspace() for c in value)
        return plain and not self._spoken and self._text(node)[:1] in "'\""


def _next(value: int | float) -> str:
    """Another number of the same kind: far enough to be seen, near enough to be overlooked."""
    if isinstance(value, int):
        return str(value + 1)
    return repr(value * 2 if value else 1.0)


def _is_not(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _is_type(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _name_of(node.func) in ("TypeVar", "NewType", "NamedTuple")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_whole(node: ast.expr) -> bool:
    """Whether this is plainly a whole number: written as one, or a length."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int) and not isinstance(node.value, bool) and node.value != 0
    return isinstance(node, ast.Call) and _name_of(node.func) == "len"


def _name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""
