"""`crypto-bot adjust`: a person answers for a change of the balance that no trade explains."""

import contextlib

from rich.markup import escape

from cli.output import say
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import ExchangeName
from services.clock import WallClock
from services.ledger import Ledger
from trading.money import NotMoney, amount, plain


def run_adjust(exchange: ExchangeName, asset: str, change: str, *, by: str, reason: str) -> int:
    """Write the change (signed, in the asset) into the ledger in a person's name; the next reconcile counts with it.

    Raises ConfigurationError for what cannot be meant, and for an account that was never read.
    """
    if not by.strip() or not reason.strip():
        raise ConfigurationError("adjust: --by and --reason must not be empty", section="books")
    try:
        signed = amount(change)
    except NotMoney as error:
        raise ConfigurationError(f"adjust: {error}; write e.g. 100000 or -0.05", section="books") from None
    if signed == 0:
        raise ConfigurationError("adjust: a change of 0 explains nothing", section="books")
    apart, colon, currency = asset.rpartition(":")  # bitFlyer's CFD collateral is collateral:JPY
    named = f"{apart.lower()}{colon}{currency.upper()}"
    settings = load_settings()
    account = settings.account(exchange)
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        if ledger.opening(account) is None:
            raise ConfigurationError(
                f"adjust: the ledger at {settings.ledger_url} has read no balances of {account} yet: check --home and "
                f"--config, or begin with `crypto-bot check {exchange}`",
                section="books",
            )
        ledger.adjust(account, named, signed, by, reason, WallClock().now())
    say(f"{account}: {plain(signed)} {named} answered for by {escape(by)}; the next reconcile counts with it")
    return 0
