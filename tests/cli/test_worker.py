"""The worker's runs find what the settings name, from whatever folder they run in."""

import os
from pathlib import Path

import pytest

from cli.worker import absolute_places
from config.loader import load_settings

RELATIVE = """
maintenance: {backup_directory: "my: backups"}
logging: {file_path: logs/my.log}
monitoring: {file_path: my.jsonl}
ledger: {url: sqlite:///my.db}
"""


def test_places_named_from_the_folder_of_the_command_are_the_same_for_a_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    (here / "my.yml").write_text(RELATIVE)
    monkeypatch.setattr(os, "environ", {"CRYPTO_BOT_CONFIG": "my.yml", "CRYPTO_BOT_HOME": "home"})
    monkeypatch.chdir(here)
    absolute_places(load_settings())
    monkeypatch.chdir(elsewhere)
    seen = load_settings()
    assert seen.home == here / "home"
    assert seen.maintenance.backup_directory == here / "my: backups"
    assert seen.log_file == here / "logs" / "my.log"
    assert seen.metrics_file == here / "my.jsonl"
    assert seen.ledger_url == f"sqlite:///{here / 'my.db'}"
