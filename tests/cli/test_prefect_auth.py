"""The password of the API that `crypto-bot up` starts."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.prefect_auth import api_password, password_file
from config.errors import ConfigurationError

_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from cli.prefect_auth import api_password
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
api_password(Path(sys.argv[1]))
"""


def test_it_is_made_once_for_its_owner_alone_by_whichever_command_comes_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as commands:
        (password,) = set(commands.map(api_password, [tmp_path] * 32))
    path = password_file(tmp_path)
    assert password == path.read_text() and len(password) > 30
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_no_empty_one_behind(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _ON_A_FULL_DISK, tmp_path], stderr=subprocess.PIPE, timeout=60)
    assert done.returncode != 0 and b"File too large" in done.stderr
    assert list(password_file(tmp_path).parent.iterdir()) == []


def test_an_empty_one_is_refused_since_the_api_would_ask_for_nothing(tmp_path: Path) -> None:
    password_file(tmp_path).parent.mkdir()
    password_file(tmp_path).touch()
    with pytest.raises(ConfigurationError, match="api-password is empty"):
        api_password(tmp_path)
