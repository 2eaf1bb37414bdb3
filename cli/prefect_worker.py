"""Prefect's worker as a child of `crypto-bot up`: `python -m cli.prefect_worker PARENT WORDS...` is `prefect WORDS...`
that ends when its parent does.
"""

import os
import signal
import sys
from pathlib import Path

from cli.prefect_server import end_with


def _work(parent: str, *words: str) -> None:
    end_with(int(parent))
    # Deployments say where a run begins by this name: each machine may have its checkout elsewhere (prefect.yaml).
    os.environ["CRYPTO_BOT_CHECKOUT"] = str(Path(__file__).resolve().parents[1])
    from prefect.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["prefect", *words]
    app()


if __name__ == "__main__":
    _work(*sys.argv[1:])
