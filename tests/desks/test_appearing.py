"""Folders that appear whole: what a killed process left is removed, what a living one holds is not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from routestat.desk import LOCK, appearing_whole

WRITER = """
import sys, time
from pathlib import Path
from routestat.desk import appearing_whole
with appearing_whole(Path(sys.argv[1])) as folder:
    (folder / "rows").write_bytes(bytes(100_000))
    print(folder, flush=True)
    time.sleep(60)
"""


def writing(out):
    """A process that is writing to `out`, and its hidden folder."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_the_next_one_removes_what_twelve_killed_ones_left_and_spares_the_living(tmp_path):
    out = tmp_path / "t"
    living, held = writing(out)
    try:
        for _ in range(12):
            process, _ = writing(out)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            # The one before was removed by this one.
            assert len(hidden(tmp_path)) == 2
        with appearing_whole(out) as folder:
            (folder / "x").write_text("whole")
            assert sorted([folder.name, held.rsplit("/", 1)[1]]) == hidden(tmp_path)
        assert [path.name for path in out.iterdir()] == ["x"]
    finally:
        living.kill()
        living.wait()
    with appearing_whole(tmp_path / "t2"):
        pass
    # Another target's folders are not its business.
    assert hidden(tmp_path) == [held.rsplit("/", 1)[1]]


@pytest.mark.parametrize("host", ["", None, "another-host"])
def test_folders_of_other_hosts_and_of_others_stay(tmp_path, host):
    folder = tmp_path / ".t-abcdefgh"
    folder.mkdir()
    (folder / "rows").write_text("x")
    if host is not None:
        (folder / LOCK).write_text(host)
    with appearing_whole(tmp_path / "t"):
        pass
    assert folder.exists() == (host != "")
    (tmp_path / ".t-12345678").mkdir()
    (tmp_path / ".t-kept").mkdir()
    with appearing_whole(tmp_path / "u"), appearing_whole(tmp_path / "v"):
        pass
    assert (tmp_path / ".t-12345678").exists()


def test_two_that_begin_at_once_do_not_take_each_other_s_folder(tmp_path):
    started = [writing(tmp_path / "t") for _ in range(6)]
    time.sleep(0.1)
    try:
        assert sorted(folder.rsplit("/", 1)[1] for _, folder in started) == hidden(tmp_path)
    finally:
        for process, _ in started:
            process.kill()
            process.wait()


def test_what_failed_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), appearing_whole(tmp_path / "t"):
        raise ValueError
    assert list(tmp_path.iterdir()) == []
