"""`crypto-bot adjust`: a person answers for a change of the balance that no trade explains."""

import contextlib

from cli.output import console
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import ExchangeName
from services.clock import WallClock
from services.ledger import Ledger
from trading.money import NotMoney, amount, plain


def run_adjust(exchange: ExchangeName, asset: str, change: str, *, by: str, reason: str) -> int:
    """Write the change (signed, in the asset) into the ledger in a person's name; the next reconcile counts with it.

    Raises ConfigurationError for what cannot be meant, LedgerConflict for an account that was never read.
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
        ledger.adjust(account, named, signed, by, reason, WallClock().now())
    console.print(f"{account}: {plain(signed)} {named} answered for by {by}; the next reconcile counts with it")
    return 0
