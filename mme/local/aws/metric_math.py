"""CloudWatch's metric math, the simple part: arithmetic, and SUM, AVG, MIN, MAX and METRICS."""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

Series = dict[int, float]  # by the start of the period, in seconds
Value = float | Series | list[Series]

_MOST_CHARACTERS = 2048
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


_FUNCTIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "SUM": sum,
    "AVG": _average,
    "MIN": min,
    "MAX": max,
}


class MathError(ValueError):
    """The expression cannot be evaluated; the message says what of it."""


def evaluate(
    expression: str, series_of: Callable[[str], Series], metrics: Mapping[str, Series]
) -> Series:
    """A time series from others.

    Args:
        expression: as in GetMetricData.
        series_of: gives the one with an id; KeyError if there is none.
        metrics: what METRICS() stands for.

    Raises:
        MathError: it is no expression, none of a time series, or of more than what is done here.
    """
    if len(expression) > _MOST_CHARACTERS:
        raise MathError(f"it is longer than {_MOST_CHARACTERS} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, RecursionError, MemoryError):
        raise MathError("it is no expression") from None
    value = _Evaluation(series_of, metrics).value(tree.body)
    if not isinstance(value, dict):
        raise MathError("it does not give one time series")
    return value


class _Evaluation:
    """One evaluation, from the leaves of the tree up."""

    def __init__(self, series_of: Callable[[str], Series], metrics: Mapping[str, Series]) -> None:
        self._series_of, self._metrics = series_of, metrics

    def value(self, node: ast.expr) -> Value:
        """What a part of the expression is."""
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                return float(number)
            case ast.Name(id=name):
                try:
                    return self._series_of(name)
                except KeyError:
                    raise MathError(f"nothing has the id {name!r}") from None
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _combined(operator.sub, 0.0, self.value(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _combined(_OPERATORS[type(op)], self.value(left), self.value(right))
            case ast.List(elts=items):
                return _all_series(self.value(item) for item in items)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments)
        _refuse(node)

    def _call(self, name: str, arguments: list[ast.expr]) -> Value:
        match name, arguments:
            case "METRICS", []:
                return list(self._metrics.values())
            case "METRICS", [ast.Constant(value=str() as part)]:
                return [series for key, series in self._metrics.items() if part in key]
            case _, [argument] if name in _FUNCTIONS:
                return _applied(_FUNCTIONS[name], self.value(argument))
        raise MathError(f"{name}() with {len(arguments)} arguments is not supported here")


def _applied(function: Callable[[Sequence[float]], float], value: Value) -> Value:
    """Of one series, a number; of several, a series."""
    if isinstance(value, dict):
        return float(function(list(value.values()))) if value else 0.0
    if isinstance(value, float):
        raise MathError("a function is of time series, and not of a number")
    times = sorted(set().union(*value))
    return {time: function([one[time] for one in value if time in one]) for time in times}


def _combined(function: Callable[[float, float], float], left: Value, right: Value) -> Value:
    """Point by point; where one has none, or by zero were divided, there is none."""
    if isinstance(left, list) or isinstance(right, list):
        raise MathError("arithmetic of several time series at once is not supported here")
    if isinstance(left, float) and isinstance(right, float):
        try:
            return function(left, right)
        except ZeroDivisionError:
            raise MathError("it divides by zero") from None
    found: Series = {}
    for time in left if isinstance(left, dict) else right if isinstance(right, dict) else ():
        one = left if isinstance(left, float) else left.get(time)
        other = right if isinstance(right, float) else right.get(time)
        if one is not None and other is not None and (other or function is not operator.truediv):
            found[time] = function(one, other)
    return found


def _all_series(values: Iterable[Value]) -> list[Series]:
    found = list(values)
    series = [value for value in found if isinstance(value, dict)]
    if len(series) != len(found):
        raise MathError("a list is of time series alone")
    return series


def _refuse(node: ast.expr) -> NoReturn:
    raise MathError(f"{ast.unparse(node)!r} is not supported here")
