"""Which ccxt is installed, and whether each venue's class in it still has what our adapter uses. Offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from config.loader import canonical_exchange
from config.settings import EXCHANGES
from exchanges.factory import reader_class

# What exchanges.transport overrides or calls in every ccxt class.
HOOKS = ("close", "describe", "fetch", "fetch2", "handle_errors", "on_json_response", "request", "sign")


@dataclass(frozen=True)
class ExchangeClientInfo:
    """One venue's client: the ccxt class below it, where it goes, what it calls, what ccxt lacks."""

    name: str
    ccxt_class: str
    api_version: str
    hosts: tuple[str, ...]
    has_testnet: bool
    endpoints: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def compatible(self) -> bool:
        return not self.missing

    def __str__(self) -> str:
        verdict = "ok" if self.compatible else f"missing in ccxt: {', '.join(self.missing)}"
        return (
            f"{self.name:<9} {self.ccxt_class:<14} {self.api_version:<4} {', '.join(self.hosts)}  "
            f"{len(self.endpoints)} endpoints, {verdict}"
        )


@dataclass(frozen=True)
class CompatibilityReport:
    """The installed ccxt beside the pinned one, and every venue's client."""

    ccxt_installed: str
    ccxt_pinned: str | None
    exchanges: tuple[ExchangeClientInfo, ...]

    @property
    def compatible(self) -> bool:
        """Whether the pinned ccxt is installed (or none is known) and nothing is missing in it."""
        pinned = self.ccxt_pinned in (None, self.ccxt_installed)
        return pinned and all(each.compatible for each in self.exchanges)

    def __str__(self) -> str:
        head = f"ccxt {self.ccxt_installed} installed, {self.ccxt_pinned or 'none'} pinned: " + (
            "compatible" if self.compatible else "NOT compatible"
        )
        return "\n".join([head, *(f"  {each}" for each in self.exchanges)])


class ApiVersionManager:
    """Answers what is installed and used. Sends nothing."""

    def generate_compatibility_report(self) -> CompatibilityReport:
        """Look at every venue's client."""
        infos = tuple(self.get_exchange_client_info(name) for name in EXCHANGES)
        return CompatibilityReport(version("ccxt"), pinned_version("ccxt"), infos)

    def get_exchange_client_info(self, name: str) -> ExchangeClientInfo:
        """Look at one venue's client. Raises ConfigurationError for an unknown name."""
        name = canonical_exchange(name)
        client = reader_class(name).client_class
        # The class below our transport, and below our own subclass of it where there is one.
        below = next(each for each in client.__mro__ if each.__module__.startswith("ccxt.async_support."))
        described: Mapping[str, Any] = client({}).describe()
        offered = _calls(described["api"])
        used = sorted(f"{route.api} {route}" for route in client.routes.values())
        missing = [each for each in used if each not in offered]
        missing += [f"{below.__name__}.{hook}" for hook in HOOKS if not hasattr(below, hook)]
        hostname = str(described.get("hostname") or "")
        urls = described["urls"]["api"]
        addresses = urls.values() if isinstance(urls, Mapping) else [urls]
        return ExchangeClientInfo(
            name=name,
            ccxt_class=f"ccxt.{below.__name__}",
            api_version=str(described.get("version") or ""),
            hosts=tuple(sorted({each.replace("{hostname}", hostname) for each in addresses})),
            has_testnet=name == "bybit",
            endpoints=tuple(used),
            missing=tuple(missing),
        )


def pinned_version(package: str) -> str | None:
    """The exact version that crypto-bot's own metadata asks for; None where it asks for none."""
    try:
        wanted = requires("crypto-bot") or []
    except PackageNotFoundError:
        return None
    exact = [each.removeprefix(f"{package}==") for each in wanted if each.startswith(f"{package}==")]
    return exact[0].split(";")[0].strip() if exact else None


def _calls(api: Mapping[str, Any], kind: str = "") -> frozenset[str]:
    """ccxt's tree `{"public": {"get": {path: cost}}}` as lines `public GET path`."""
    found: set[str] = set()
    for name, below in api.items():
        if name in ("get", "post", "put", "delete", "patch"):
            found |= {f"{kind} {name.upper()} {path}" for path in below}
        elif isinstance(below, Mapping):
            found |= _calls(below, name)
    return frozenset(found)
