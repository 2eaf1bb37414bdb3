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
