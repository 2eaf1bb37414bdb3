"""`crypto-bot approval-code`: the code that approves a proposal, from its digest and the operator's secret.

Meant for the operator's own machine: it reads no configuration, no ledger and no network.
"""

import getpass
import re
import sys
from typing import Annotated

import typer

from config.errors import ConfigurationError
from config.guide import APPROVAL
from trading.approval import LEAST_SECRET, approval_code


def print_approval_code(
    digest: Annotated[str, typer.Argument(help="The proposal's digest: 64 hex characters.")],
) -> None:
    """Print the code for a proposal's digest; asks for the approval secret without showing it (or reads it from a
    pipe). For your own machine: the secret needs to be nowhere else but where answers are judged.
    """
    digest = digest.strip().strip("`").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ConfigurationError(
            "approval-code: the digest is the 64 hex characters that stand beside the evidence", section=APPROVAL
        )
    asked = sys.stdin.isatty()
    secret = getpass.getpass("approval secret: ") if asked else sys.stdin.readline().rstrip("\r\n")
    if len(secret) < LEAST_SECRET:
        raise ConfigurationError(f"approval-code: the secret has at least {LEAST_SECRET} characters", section=APPROVAL)
    sys.stdout.write(f"{approval_code(secret, digest)}\n")
