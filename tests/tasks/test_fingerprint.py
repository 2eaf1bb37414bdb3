"""What a strategy decides by is a part of what was examined."""

from pathlib import Path

import pytest

from config.loader import load_settings
from tasks.fingerprint import _strategy, running_fingerprint


def strategy_part(*overrides: str) -> str:
    return running_fingerprint(load_settings((), overrides, {}), "bitbank", "a key", None).strategy


@pytest.mark.parametrize(
    "other", ["data.timeframe=1h", "data.candles=100", "strategy.parameters.fast=9", "strategy.name=breakout"]
)
def test_another_name_parameter_or_candles_are_another_strategy(other: str) -> None:
    assert strategy_part(other) != strategy_part()
    assert strategy_part("data.cache_ttl=5") == strategy_part()


def test_a_file_that_the_strategy_imports_from_beside_it_is_a_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {
        "my_cross": "import pandas\nfrom my_averages import fast\n",
        "my_averages": "import my_numbers\nfast = my_numbers.FAST\n",
        "my_numbers": "FAST = 5\n",
        "my_notes": "nobody imports this\n",
    }
    for name, source in files.items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")

    def told() -> str:
        _strategy.cache_clear()  # another process, which reads the files anew
        return strategy_part("strategy.name=my_cross.decide", "strategy.parameters={}")

    examined = told()
    (tmp_path / "my_notes.py").write_text("nor this\n", encoding="utf-8")
    assert told() == examined
    (tmp_path / "my_numbers.py").write_text("FAST = 50\n", encoding="utf-8")
    assert told() != examined
