"""What every test shares: nothing of the operator's environment, and one Prefect server for the whole session, also
where that is shared out among workers.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from cli.prefect_server import SERVER_ENVIRONMENT, api_is_up, free_port, prefect_server
from tests.cli.command import until

_WORKER = "PYTEST_XDIST_WORKER" in os.environ  # it has its environment from the process that shares out
_OPERATORS = ("PREFECT_", "CRYPTO_BOT_", "BYBIT_", "BITBANK_", "BITFLYER_", "OKCOINJP_")
# Prefect reads its settings when it is imported, which any test file may do first: they are here before that.
if not _WORKER:
    for _name in [name for name in os.environ if name.startswith(_OPERATORS)]:
        del os.environ[_name]
    _prefect_home = Path(tempfile.mkdtemp(prefix="crypto-bot-tests-"))
    atexit.register(shutil.rmtree, _prefect_home, ignore_errors=True)
    _port = free_port()
    os.environ.update(SERVER_ENVIRONMENT)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{_port}/api"
    os.environ["PREFECT_HOME"] = str(_prefect_home)
_server = ExitStack()
# How long an example takes is the machine's affair: a busy one fails no test.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Start the server for all workers before the first of them."""
    if not _WORKER and config.getoption("numprocesses", None):
        _server.enter_context(prefect_server(_prefect_home, _port))


def pytest_unconfigure() -> None:
    _server.close()


@pytest.fixture(scope="session", autouse=True)
def _starting_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """The server, starting beside the first tests where any test of the run is marked `prefect`."""
    if _WORKER or not any(item.get_closest_marker("prefect") for item in request.session.items):
        yield
        return
    with prefect_server(_prefect_home, _port):
        yield


@pytest.fixture(scope="session")
def prefect_url(_starting_server: None) -> str:
    """Address of the session's Prefect API, up. For tests marked `prefect`."""
    api = os.environ["PREFECT_API_URL"]
    until(lambda: api_is_up(api), "an answer of Prefect's server", 120)
    return api
