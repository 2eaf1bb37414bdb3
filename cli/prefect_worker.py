"""Prefect's worker as a child of `crypto-bot up`: `python -m cli.prefect_worker PARENT WORDS...` is `prefect WORDS...`
that ends when its parent does.
"""

import signal
import sys

from cli.prefect_server import end_with


def _work(parent: str, *words: str) -> None:
    end_with(int(parent))
    from prefect.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["prefect", *words]
    app()


if __name__ == "__main__":
    _work(*sys.argv[1:])
