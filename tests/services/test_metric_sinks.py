"""The sinks of this machine: a file of JSON lines, and Prometheus."""

import json
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from config.loader import load_settings
from services.metrics import Snapshot, Table
from services.metrics_file import FileSink
from services.metrics_prometheus import PrometheusSink
from services.monitoring import plan_of

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def a_snapshot(process: str = "trader-bitbank") -> Snapshot:
    table = Table(process, NOON)
    table.take("trade_executed", 2, {"exchange": "bitbank", "symbol": "BTC/JPY", "side": "buy", "mode": "live"})
    table.take("equity", 1234.5, {"exchange": "bitbank", "currency": "JPY", "mode": "live"})
    table.take("mine", 1, {"colour": "red"})
    table.take("mine", 2, {"size": "9"})
    return table.snapshot(NOON + timedelta(seconds=30))


def test_the_file_holds_one_line_for_each_point(tmp_path: Path) -> None:
    path = tmp_path / "below" / "metrics.jsonl"
    for process in ("trader-bitbank", "trader-bybit"):
        FileSink(path).send(a_snapshot(process))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 8
    assert rows[0] == {
        "at": "2026-01-05T12:00:30.000+00:00",
        "process": "trader-bitbank",
        "name": "crypto_bot/trade_executed",
        "kind": "counter",
        "labels": {"exchange": "bitbank", "mode": "live", "side": "buy", "symbol": "BTC/JPY"},
        "value": 2.0,
    }


def test_the_file_is_cut_into_a_few(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "metrics.jsonl", most_bytes=2000)
    for _ in range(40):
        sink.send(a_snapshot())
    files = [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert len(files) == 5 and all(path.stat().st_size < 3000 for path in files)


def test_a_file_that_cannot_be_written_is_the_sinks_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        FileSink(tmp_path / "file" / "metrics.jsonl").send(a_snapshot())
    full = FileSink(Path("/dev/full"))
    with pytest.raises(OSError, match="space"):
        full.send(a_snapshot())
    assert capsys.readouterr().err == ""


def test_prometheus_reads_each_process_at_a_port_of_its_own(tmp_path: Path) -> None:
    sinks = [PrometheusSink(f"trader-{name}", 29464, tmp_path) for name in ("bitbank", "bybit")]
    try:
        for sink in sinks:
            sink.send(a_snapshot())
        assert sinks[0].port != sinks[1].port
        (target,) = json.loads((tmp_path / "targets" / "trader-bybit.json").read_text())
        assert target == {"targets": [f"127.0.0.1:{sinks[1].port}"], "labels": {"task": "trader-bybit"}}
        with urllib.request.urlopen(f"http://{target['targets'][0]}/metrics", timeout=5) as reply:
            found = {family.name: family for family in text_string_to_metric_families(reply.read().decode())}
    finally:
        for sink in sinks:
            sink.close()
    trades = found["crypto_bot_trade_executed"]
    assert trades.type == "counter"
    (sample,) = (sample for sample in trades.samples if sample.name == "crypto_bot_trade_executed_total")
    assert sample.value == 2 and sample.labels["symbol"] == "BTC/JPY"
    assert found["crypto_bot_equity"].type == "gauge" and found["crypto_bot_equity"].samples[0].value == 1234.5
    assert [sample.labels for sample in found["crypto_bot_mine"].samples] == [
        {"colour": "red", "size": ""},
        {"colour": "", "size": "9"},
    ]
    assert not list((tmp_path / "targets").iterdir())


def test_a_process_that_was_killed_is_no_target_at_the_port_that_another_one_takes(tmp_path: Path) -> None:
    targets = tmp_path / "targets"
    targets.mkdir()
    for name, port in (("trader-bybit", 39464), ("trader-bitflyer", 39465)):
        told = [{"targets": [f"127.0.0.1:{port}"], "labels": {"task": name}}]
        (targets / f"{name}.json").write_text(json.dumps(told))  # nobody listens there any more
    sink = PrometheusSink("trader-bitbank", 39464, tmp_path)
    try:
        sink.send(a_snapshot())
        assert sink.port == 39464
        assert sorted(path.name for path in targets.iterdir()) == ["trader-bitbank.json", "trader-bitflyer.json"]
    finally:
        sink.close()


def test_a_run_that_is_over_in_seconds_leaves_a_file_for_prometheus(tmp_path: Path) -> None:
    sink = PrometheusSink("monitoring", 29464, tmp_path)
    sink.send(a_snapshot())
    assert sink.port is None
    told = (tmp_path / "text" / "monitoring.prom").read_text()
    assert 'crypto_bot_equity{currency="JPY",exchange="bitbank",mode="live"} 1234.5' in told


def test_the_settings_name_the_sinks(tmp_path: Path) -> None:
    words = ["monitoring.sinks=[cloud_monitoring, file, prometheus, file]", "monitoring.project_id=my-project-1"]
    plan = plan_of(load_settings(environ={"CRYPTO_BOT_HOME": str(tmp_path)}, overrides=words), "trader-bitbank")
    assert [sink.name for sink in plan.sinks] == ["cloud_monitoring", "file", "prometheus"]
    assert plan.flush_seconds == 30
