"""How the drill learns how its processes ended."""

import multiprocessing
import signal
from concurrent.futures import ThreadPoolExecutor

from cli.survive_processes import begin, ended


def test_cells_side_by_side_each_learn_how_their_own_processes_ended() -> None:
    """Python alone reads an exit status twice now and then, and makes it 255."""
    processes = multiprocessing.get_context("forkserver")

    def killed(_: int) -> list[int | None]:
        found = []
        for _ in range(60):
            process = processes.Process(target=signal.raise_signal, args=(signal.SIGKILL,))
            begin(process)
            found.append(ended(process, 30))
        return found

    with ThreadPoolExecutor(4) as threads:
        assert {code for codes in threads.map(killed, range(4)) for code in codes} == {-signal.SIGKILL}
