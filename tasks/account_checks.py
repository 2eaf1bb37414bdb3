"""Checks of what the key may read: rights, clock, balances, orders, trades. The client used here cannot place."""

import asyncio

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.settings import ExchangeName
from exchanges.base import KeyRights
from services.secrets import describe
from tasks.asking import ask_all, expect
from tasks.key_report import key_checks
from tasks.session import Session, session
from trading.checks import Check
from trading.money import plain


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def check_key(exchange: ExchangeName) -> tuple[Check, ...]:
    """The key is accepted, cannot withdraw, and this machine's clock agrees with the venue's."""
    here = session(exchange)

    async def cannot_place() -> str:
        able = [name for name in ("place", "cancel", "cancel_all") if hasattr(here.reader, name)]
        expect(not able, f"this step's client can {', '.join(able)}")
        return f"{type(here.reader).__name__} has no way to place or cancel"

    told: list[KeyRights] = []

    async def rights() -> str:
        told.append(await here.reader.key_rights())
        return told[0].detail or "the venue tells them"

    async def clock() -> str:
        skew = await here.clock_skew_seconds()
        if skew is None:
            return "the venue tells no time to compare with"
        limit = here.settings.risk.max_clock_skew_seconds
        expect(abs(skew) <= limit, f"this machine is {skew:+.2f} s off, at most {limit:g} s: set up NTP")
        return f"{skew:+.2f} s off"

    checks = await ask_all([("read-only client", cannot_place), ("key rights", rights), ("clock", clock)])
    if told:
        here.learn_rights(told[0])
        checks += key_checks(told[0], here.wall_watch.wall.now(), here.settings.secrets.expiry_days)
    return (*checks, await _check_secret(here))


async def _check_secret(here: Session) -> Check:
    """Which version of the key's secret there is, and how old it is."""
    if not here.keys_from_provider:
        return Check("secret", True, "comes with the simulated venue")
    rows = await asyncio.to_thread(describe, here.settings, here.name, here.wall_watch.wall.now())
    problems = "; ".join(row.problem for row in rows if row.problem)
    due = [row.secret for row in rows if row.rotation_due]
    warning = f"older than {here.settings.secrets.rotation_days:g} days, replace {', '.join(due)}" if due else ""
    return Check("secret", not problems, problems or ", ".join(map(str, rows)), warning)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def check_account(exchange: ExchangeName) -> tuple[Check, ...]:
    """Balances, resting orders and own trades can be read and make sense."""
    here = session(exchange)

    async def balances() -> str:
        told = await here.reader.balances()
        bad = [asset for asset, each in told.items() if each.free < 0 or each.locked < 0]
        expect(not bad, f"negative balance of {', '.join(bad)}")
        return ", ".join(f"{plain(each.total)} {asset}" for asset, each in sorted(told.items())) or "empty"

    async def open_orders() -> str:
        return f"{len(await here.reader.open_orders(here.symbol))} resting in {here.symbol}"

    async def trades() -> str:
        told = await here.reader.fills(here.symbol)
        newest = f", newest {told[-1].at:%Y-%m-%d %H:%M}Z" if told else ""
        return f"{len(told)} of ours in {here.symbol}{newest}"

    return await ask_all([("balances", balances), ("open orders", open_orders), ("own trades", trades)])
