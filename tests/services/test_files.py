"""Files that are read while they are written."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.files import write_whole

_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from services.files import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
write_whole(Path(sys.argv[1]), "new")
"""


def test_whoever_reads_while_several_write_sees_one_whole_text(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "note"
    texts = ["a" * 10_000, "b" * 20_000, "c"]
    write_whole(path, texts[0])

    def write(text: str) -> None:
        for _ in range(100):
            write_whole(path, text)

    with ThreadPoolExecutor(3) as writers:
        writing = [writers.submit(write, text) for text in texts]
        read = {path.read_text()}
        while not all(each.done() for each in writing):
            read.add(path.read_text())
        for each in writing:
            each.result()
    assert read <= set(texts)
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_text_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_whole(path, "old")
    done = subprocess.run([sys.executable, "-c", _ON_A_FULL_DISK, path], stderr=subprocess.PIPE, timeout=60)
    assert done.returncode != 0 and b"File too large" in done.stderr
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_who_may_read_it_is_said_by_the_writer(tmp_path: Path, mode: int) -> None:
    write_whole(tmp_path / "note", "text", mode=mode)
    assert (tmp_path / "note").stat().st_mode & 0o777 == mode
