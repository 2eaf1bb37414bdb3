"""What every test shares: nothing of the operator's environment, and one Prefect server for the whole session."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.prefect_server import SERVER_ENVIRONMENT, PrefectServer, free_port, prefect_server

_OPERATORS = ("PREFECT_", "CRYPTO_BOT_", "BYBIT_", "BITBANK_", "BITFLYER_", "OKCOINJP_")
for _name in [name for name in os.environ if name.startswith(_OPERATORS)]:
    del os.environ[_name]
# Prefect reads its settings when it is imported, which any test file may do first: they are here before that.
_prefect_home = Path(tempfile.mkdtemp(prefix="crypto-bot-tests-"))
atexit.register(shutil.rmtree, _prefect_home, ignore_errors=True)
_port = free_port()
os.environ.update(SERVER_ENVIRONMENT)
os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{_port}/api"
os.environ["PREFECT_HOME"] = str(_prefect_home)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every worker its share of the files with slow tests, those first: a long test that begins last is waited for
    alone. Each worker is handed an equal part of the list and takes more from the ends of the others' parts.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)

    def slow(file: list[pytest.Item]) -> int:
        return sum(item.get_closest_marker("slow") is not None for item in file)

    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    weights = [0] * workers
    rest: list[pytest.Item] = []
    for file in sorted(files.values(), key=slow, reverse=True):
        if not slow(file):
            rest += file
            continue
        lightest = weights.index(min(weights))
        weights[lightest] += slow(file)
        shares[lightest] += file
    for share in shares[:-1]:
        missing = max(0, len(items) // workers - len(share))
        share += rest[:missing]
        del rest[:missing]
    items[:] = [item for share in (*shares, rest) for item in share]


@pytest.fixture(scope="session", autouse=True)
def _starting_server(request: pytest.FixtureRequest) -> Iterator[PrefectServer | None]:
    """The server, starting beside the first tests where any test of the run is marked `prefect`."""
    if not any(item.get_closest_marker("prefect") for item in request.session.items):
        yield None
        return
    with prefect_server(_prefect_home, _port) as server:
        yield server


@pytest.fixture(scope="session")
def prefect_url(_starting_server: PrefectServer | None) -> str:
    """Address of the session's Prefect API, up. For tests marked `prefect`."""
    assert _starting_server is not None, "mark the test with pytest.mark.prefect"
    _starting_server.wait_until_up()
    return _starting_server.api
