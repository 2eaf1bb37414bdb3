"""Find the strategy that the configuration names, and check its parameters before anything runs."""

import inspect
from collections.abc import Callable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

    from trading.sizing import Target

Strategy = Callable[["pandas.DataFrame", Decimal], "Target"]

OURS = ("sma_cross", "breakout", "rebalance", "dca")


class StrategyError(ValueError):
    """The configured strategy cannot be found, or does not take the configured parameters. One line, with the
    remedy."""


def strategy(name: str) -> Callable[..., "Target"]:
    """Find a strategy: one of ours by name, or a user's by dotted path (`package.module.function`).

    Raises StrategyError.
    """
    if name in OURS:
        found: Callable[..., Target] = getattr(import_module(f"strategies.{name}"), name)
        return found
    module_name, _, function_name = name.rpartition(".")
    if not module_name:
        near = get_close_matches(name, OURS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"ours are {', '.join(OURS)};"
        raise StrategyError(f"strategy.name: no strategy {name!r}: {hint} your own is named by a dotted path")
    try:
        module = import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module may do anything when it is imported
        said = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise StrategyError(f"strategy.name: cannot import {module_name!r} for {name!r}: {said}") from error
    function: Callable[..., Target] | None = getattr(module, function_name, None)
    if not callable(function):
        raise StrategyError(f"strategy.name: {module_name} has no function {function_name!r}")
    return function


def strategy_from(name: str, parameters: Mapping[str, Any]) -> Strategy:
    """Find a strategy and bind its parameters: what is left takes (candles, position).

    Raises StrategyError for an unknown strategy, and for parameters that it does not take, lacks or refuses.
    """
    function = strategy(name)
    signature = inspect.signature(function)
    try:
        signature.bind(None, None, **parameters)
    except TypeError as error:
        options = [each for each in signature.parameters.values() if each.kind is each.KEYWORD_ONLY]
        raise StrategyError(
            f"strategy.parameters: {name}: {error}; it takes {', '.join(map(str, options)) or 'none'}"
        ) from error
    bound = partial(function, **parameters)
    if name in OURS:
        _try_on_nothing(name, bound)
    return bound


def _try_on_nothing(name: str, bound: Strategy) -> None:
    """Let one of ours look at its parameters: it does so before it looks at candles."""
    import pandas

    nothing = pandas.DataFrame(
        {column: [] for column in ("open", "high", "low", "close", "volume")},
        index=pandas.DatetimeIndex([], tz="UTC"),
    )
    try:
        bound(nothing, Decimal(0))
    except (TypeError, ValueError) as error:
        raise StrategyError(f"strategy.parameters: {name}: {error}") from error
