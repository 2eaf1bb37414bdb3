"""The maintenance flows in Prefect's own record."""

import contextlib
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from config.loader import load_settings
from services.backup import backup_directory, backups_in
from services.ledger import Ledger
from tests.flows.test_flows import artifacts, last_run
from trading.checks import UpkeepFailed

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_url")]


async def test_the_nightly_backup_and_the_weekly_drill_leave_their_reports(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.backup import backup
    from flows.restore_drill import restore_drill

    monkeypatch.setenv("CRYPTO_BOT_BACKUP_KEY", "correct horse battery staple")
    assert (await backup()).passed
    (path,) = backups_in(backup_directory(load_settings()))
    assert (await restore_drill()).passed
    assert "all is well" in (await artifacts("restore-drill"))[-1].data
    seen = str((await artifacts("restore-drill-checks"))[-1].data)
    assert path.name in seen and "verified" in seen
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UpkeepFailed, match="restored"):
        await restore_drill()
    assert (await last_run("restore_drill")).state.is_failed()
    assert "LOOK AT THIS" in (await artifacts("restore-drill"))[-1].data


async def test_a_backup_without_its_secret_is_a_red_run_that_says_so(home: Path) -> None:
    from flows.backup import backup

    with pytest.raises(UpkeepFailed, match="CRYPTO_BOT_BACKUP_KEY"):
        await backup()
    assert (await last_run("backup")).state.is_failed()
    assert not backup_directory(load_settings()).exists()


async def test_old_runs_and_reports_go_by_prefects_own_api_and_the_ledger_keeps_all(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.database_upkeep import database_upkeep
    from flows.heartbeat import heartbeat

    # How full this machine's disk is, is not the test's.
    monkeypatch.setenv("CRYPTO_BOT__MAINTENANCE__DISK_USED_PERCENT", "100")
    with contextlib.closing(Ledger(load_settings().ledger_url)) as ledger:
        await heartbeat()
        old = await last_run("heartbeat")
        report = (await artifacts("heartbeat"))[-1]
        before = ledger.counts()
        assert (await database_upkeep()).passed
        async with get_client() as client:
            assert (await client.read_flow_run(old.id)).name == "heartbeat"  # young enough
        for name in ("PREFECT_RUN_DAYS", "PREFECT_ARTIFACT_DAYS"):
            monkeypatch.setenv(f"CRYPTO_BOT__MAINTENANCE__{name}", "0.0000001")
        told = {check.name: check.detail for check in (await database_upkeep()).checks}
        assert told["Prefect's runs"][0] != "0" and told["Prefect's artifacts"][0] != "0"
        async with get_client() as client:
            with pytest.raises(ObjectNotFound):
                await client.read_flow_run(old.id)
        assert report.id not in [each.id for each in await artifacts("heartbeat")]
        assert ledger.counts() == before
