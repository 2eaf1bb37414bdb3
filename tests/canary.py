"""What the canary trades with: a strategy that fails now and then and says a secret when it does, as a careless one of
a user might, in each form in turn.
"""

import base64
import os
from decimal import Decimal
from urllib.parse import quote

import pandas

from trading.sizing import Target

SAID = "CANARY_SAYS"  # the variable with the secret
_EVERY = 4
_calls = 0


def careless(candles: pandas.DataFrame, position: Decimal) -> Target:
    """Everything when nothing is held, nothing when anything is; every fourth time an error with a secret in it."""
    global _calls
    _calls += 1
    secret = os.environ[SAID]
    if _calls % _EVERY == 0:
        said = (
            secret,
            f"https://127.0.0.1/x?apiKey={quote(secret, safe='')}&a=1",
            base64.b64encode(f"user:{secret}".encode()).decode(),
            secret.encode().hex(),
            secret.encode().hex().upper(),
            {"Authorization": secret},
        )[_calls // _EVERY % 6]
        raise RuntimeError(f"no signal: {said}")
    # What a fee in the base leaves is held for ever: it is below every smallest order.
    return Target(Decimal(0) if position > Decimal("0.5") else Decimal(1), f"{len(candles)} candles")


CRASH = """
import sys
import cli.main
from config.loader import load_settings
from config.secret import Secret
from services.logs import configure_logging
configure_logging(load_settings())
secret = Secret(sys.argv[1]).reveal()

def crash(**_):
    headers = {"ACCESS-SIGN": "f00dfeed" + "0" * 8}
    raise KeyError(f"{secret} and {headers}")

cli.main.app = crash
cli.main.main(["status"])
"""  # a command that ends in a defect, with a secret in the error
