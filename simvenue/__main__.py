"""`python -m simvenue EXCHANGE`: one simulated venue in the foreground."""

import argparse
import gc
import sys
from pathlib import Path
from typing import NoReturn

from simvenue.server import run


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"simvenue: {message}\n")


def main() -> int:
    """Parse the command line and serve; give the exit status."""
    gc.set_threshold(50_000, 10, 10)  # docs/adr/0016-the-collector-looks-less-often.md
    parser = OneLineParser(prog="python -m simvenue", description="One simulated venue on loopback.")
    parser.add_argument("exchange", help="bybit, bitbank, bitflyer or okcoinjp (okj)")
    parser.add_argument("--port", type=int, help="0 or left out: a free one")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--candles", type=Path, help="a CSV to replay; without it the market is generated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limits", choices=("published", "guide"), default="published")
    parser.add_argument("--clock", choices=("wall", "stepped"), default="wall")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[=VALUE][@OPERATION][xTIMES]",
        help="a fault from the start; may be given several times; GET {control_url}/faults lists them",
    )
    parser.add_argument("--parent", type=int, metavar="PID", help="exit when this process is gone")
    asked = parser.parse_args()
    return run(
        asked.exchange,
        port=asked.port,
        host=asked.host,
        candles=asked.candles,
        seed=asked.seed,
        limits=asked.limits,
        clock=asked.clock,
        parent=asked.parent,
        faults=asked.fault,
    )


if __name__ == "__main__":
    sys.exit(main())
