"""What runs here, part by part: the certificate must be for the same (trading/certificates.py)."""

import ast
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from config.secret import Secret
from config.settings import EXCHANGES, ExchangeName, Settings
from exchanges.budget import key_fingerprint
from services.ledger_tables import canonical_json
from strategies.registry import OURS
from trading.certificates import Fingerprint
from trading.instruments import Instrument

_ROOT = Path(__file__).resolve().parents[1]
# The rooms that an order passes through. `cli` only calls them, `simvenue` is another program, `strategies` is a part
# of its own; what belongs to one venue in `exchanges` is that venue's adapter.
_ROOMS = ("config", "exchanges", "execution", "flows", "services", "tasks", "trading")
_LENGTH = 12  # hex characters: enough to tell two apart, short enough to read out


def running_fingerprint(
    settings: Settings, exchange: ExchangeName, key_id: str, instrument: Instrument | None
) -> Fingerprint:
    """The fingerprint of what this process runs at an exchange; `instrument` None: not read, its part is not known.

    Sources are read once per process: what runs is what was there when it began.
    """
    return Fingerprint(
        code=_code(),
        ccxt=version("ccxt"),
        adapter=_adapter(exchange),
        instrument="" if instrument is None else _short(_told(instrument)),
        # Which candles it sees is a part of it: the same averages over other ones are another strategy.
        strategy=_strategy(
            settings.strategy.name,
            canonical_json([settings.strategy.parameters, settings.data.timeframe, settings.data.candles]),
        ),
        limits=_short(_limits(settings, exchange)),
        key=key_id,
    )


def key_id(api_key: Secret) -> str:
    """Which API key it is, without telling it: 8 hex characters."""
    return key_fingerprint(api_key.reveal())


@cache
def _code() -> str:
    return _sources(path for room in _ROOMS for path in sorted((_ROOT / room).rglob("*.py")) if _venue_of(path) is None)


@cache
def _adapter(exchange: ExchangeName) -> str:
    return _sources(path for path in sorted((_ROOT / "exchanges").glob("*.py")) if _venue_of(path) == exchange)


def _venue_of(path: Path) -> str | None:
    """The exchange that a file of `exchanges` belongs to, None for what all share."""
    if path.parent != _ROOT / "exchanges":
        return None
    return next((name for name in EXCHANGES if path.stem == name or path.stem.startswith(f"{name}_")), None)


@cache
def _strategy(name: str, parameters: str) -> str:
    module = f"strategies.{name}" if name in OURS else name.rpartition(".")[0]
    spec = find_spec(module) if module else None
    files = _with_its_helpers(Path(spec.origin)) if spec is not None and spec.has_location and spec.origin else []
    source = sha256(b"".join(file.read_bytes() for file in files))
    return _short(f"{name} {parameters} {source.hexdigest()}")


def _with_its_helpers(module: Path) -> list[Path]:
    """A strategy's file, and those beside it that it imports, directly or through one another."""
    found = [module]
    for file in found:
        for name in _imported(file):
            beside = module.parent / f"{name}.py"
            if beside not in found and beside.is_file():
                found.append(beside)
    return found


def _imported(file: Path) -> list[str]:
    """The last names of what a file imports, in its order; none of a file that Python cannot read either."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(each.name for each in node.names)]
        elif isinstance(node, ast.Import):
            names += [each.name for each in node.names]
    return [name.rpartition(".")[2] for name in names]


def _limits(settings: Settings, exchange: ExchangeName) -> str:
    size = settings.exchanges[exchange].target_quantity
    return canonical_json([settings.risk.model_dump(), settings.execution.model_dump(), size])


def _told(instrument: Instrument) -> str:
    return canonical_json({key: value if value is None else str(value) for key, value in asdict(instrument).items()})


def _sources(paths: Iterable[Path]) -> str:
    told = sha256()
    for path in paths:
        told.update(f"{path.relative_to(_ROOT)}\n".encode())
        told.update(path.read_bytes())
    return told.hexdigest()[:_LENGTH]


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_LENGTH]
