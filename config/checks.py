"""What no single value shows: settings that are each well-formed and cannot work together."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from config.credentials import credential_secrets
from config.errors import ConfigurationError
from config.reading import SIMULATED_ONLY, KeyPath, Tree
from config.settings import Endpoint, ExchangeName, ExchangeSettings, Settings
from config.settings_secrets import LATEST

# Requests of one trading cycle: candles, ticker, book, balances, open orders, fills, an unfinished order,
# then place, read, cancel. bitFlyer's candles and a second page are met by the margin.
REQUESTS_PER_CYCLE = 10


def requests_per_cycle() -> int:
    """How many requests one trading cycle is expected to need at most."""
    return REQUESTS_PER_CYCLE


def needed_requests_per_minute(settings: Settings) -> float:
    """Requests a minute that trading one exchange at the configured pace needs."""
    return requests_per_cycle() * 60 / settings.execution.cycle_seconds


def budgeted_requests_per_minute(settings: Settings, exchange: str) -> float:
    """Requests a minute that we allow ourselves at an exchange, without the share kept for cancelling."""
    block: ExchangeSettings = settings.exchanges[exchange]  # type: ignore[index]
    execution = settings.execution
    return block.requests_per_minute * execution.rate_limit_margin * (1 - execution.cancel_reserve)


def check_possible(settings: Settings, tree: Tree) -> None:
    """Raise ConfigurationError for the first setting that cannot work together with the others."""
    _check_thresholds(settings, tree)
    _check_secrets(settings, tree)
    for name, block in settings.exchanges.items():
        _check_endpoint(name, block, tree)
        _check_requests(settings, name, tree)
        _check_currency(settings, name, tree)


def _check_endpoint(name: str, block: ExchangeSettings, tree: Tree) -> None:
    where = ("exchanges", name)
    if block.endpoint is Endpoint.TESTNET and name != "bybit":
        raise _impossible(tree, (*where, "endpoint"), f"{name} has no testnet; use simulated or live")
    for key in ("base_url", "control_url"):
        url = getattr(block, key)
        if url is None:
            continue
        if block.endpoint is not Endpoint.SIMULATED:
            raise _impossible(
                tree,
                (*where, key),
                f"is for a simulated venue, and the endpoint is {block.endpoint}; remove it",
            )
        if not _is_loopback(url):
            raise _impossible(
                tree,
                (*where, key),
                "must be http://127.0.0.1:PORT: what is called simulated may approve its own promotion",
            )


def _is_loopback(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme in ("http", "https") and (host == "localhost" or ip_address(host).is_loopback)
    except ValueError:
        return False


def _check_requests(settings: Settings, name: str, tree: Tree) -> None:
    needed = needed_requests_per_minute(settings)
    budget = budgeted_requests_per_minute(settings, name)
    if needed <= budget:
        return
    pace = settings.execution.cycle_seconds
    slower = int(requests_per_cycle() * 60 / budget) + 1
    raise _impossible(
        tree,
        ("execution", "cycle_seconds"),
        f"a cycle every {pace} s needs {needed:g} requests a minute, the budget at {name} is {budget:g}; "
        f"write {slower} or more, or raise exchanges.{name}.requests_per_minute if the venue allows it",
    )


def _check_currency(settings: Settings, name: ExchangeName, tree: Tree) -> None:
    symbol = settings.symbol(name)
    quote = symbol.partition("/")[2].partition(":")[0]
    for key in ("max_order_notional", "max_position_notional", "max_daily_loss"):
        if quote not in getattr(settings.risk, key):
            raise _impossible(
                tree,
                ("risk", key),
                f"has no limit for {quote}, in which {name} trades {symbol}; add {quote}: AMOUNT",
            )


def _check_thresholds(settings: Settings, tree: Tree) -> None:
    real = [name for name, block in settings.exchanges.items() if block.endpoint is not Endpoint.SIMULATED]
    for file, name in SIMULATED_ONLY.items():
        if real and file in tree.files:
            raise _impossible(
                tree,
                ("exchanges", real[0], "endpoint"),
                f"the thresholds of {name} are for simulated venues only; leave that file out",
            )


def _check_secrets(settings: Settings, tree: Tree) -> None:
    """In live use every secret is one version that a person has chosen; another server than Google's is for tests."""
    gcp = settings.secrets.gcp
    live = [name for name, block in settings.exchanges.items() if block.endpoint is Endpoint.LIVE]
    if gcp.target is not None:
        where = ("secrets", "gcp", "target")
        if not _is_loopback(f"http://{gcp.target}") or "/" in gcp.target:
            raise _impossible(tree, where, "must be 127.0.0.1:PORT: keys are read from there")
        if live:
            raise _impossible(tree, where, f"is for development, and {live[0]} is live; remove it")
    if gcp.attempt_timeout > gcp.total_timeout:
        raise _impossible(tree, ("secrets", "gcp", "attempt_timeout"), "must not be more than total_timeout")
    if settings.secrets.provider != "gcp":
        return
    if gcp.project is None:
        raise _impossible(tree, ("secrets", "gcp", "project"), "is missing; write the project's id")
    for name in live:
        for secret in credential_secrets(settings.secrets, name, Endpoint.LIVE):
            if gcp.version_of(secret) == LATEST:
                raise _impossible(
                    tree,
                    ("secrets", "gcp", "versions"),
                    f"{name} is live, and no version of {secret} is pinned (latest is not one); "
                    f"add {secret}: NUMBER (gcloud secrets versions list {secret})",
                )


def _impossible(tree: Tree, path: KeyPath, said: str) -> ConfigurationError:
    return ConfigurationError(f"{tree.place(path)}: {'.'.join(path)}: {said}")
