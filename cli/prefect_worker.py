"""Prefect's worker as a child of `crypto-bot up`: `python -m cli.prefect_worker PARENT WORDS...` is `prefect WORDS...`
with two differences: it ends when its parent does, and its runs begin sooner.

A process worker starts two interpreters for a run: one that finds out where the code is, and one that runs it. Where a
command is given, it starts that one alone; the engine takes the same steps itself. And it asks every two seconds, not
every ten, whether a run is due. Whoever presses the emergency stop in Prefect waits for both.
"""

import os
import signal
import sys
from typing import Any

from cli.prefect_server import end_with


def _start_one_interpreter_a_run() -> None:
    from prefect.utilities.processutils import command_to_string
    from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

    class Job(ProcessJobConfiguration):
        def prepare_for_flow_run(self, *args: Any, **kwargs: Any) -> None:
            self.command = self.command or command_to_string([sys.executable, "-m", "prefect.engine"])
            super().prepare_for_flow_run(*args, **kwargs)

    ProcessWorker.job_configuration = Job


def _work(parent: str, *words: str) -> None:
    end_with(int(parent))
    os.environ.setdefault("PREFECT_WORKER_QUERY_SECONDS", "2")
    _start_one_interpreter_a_run()
    from prefect.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["prefect", *words]
    app()


if __name__ == "__main__":
    _work(*sys.argv[1:])
