"""Folders that appear whole: what a killed process left is removed, what a living one holds is not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from routestat.cli.output_folders import LOCK, appearing_whole, checked_out, named_folder
from routestat.cli.runner import run
from routestat.convert import app
from routestat.errors import RoutestatError


def interrupted(folder, name, error):
    with checked_out(folder) as made:
        if name:
            (made / name).write_text("{}")
        raise error


def test_an_error_before_anything_is_written_leaves_no_folder(tmp_path):
    (tmp_path / "old").mkdir()
    for where in ("old", "new/r"):
        with pytest.raises(RoutestatError, match="bad"):
            interrupted(tmp_path / where, "", RoutestatError("bad"))
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "kept/r", "results.json", KeyboardInterrupt())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "old"]
    assert (tmp_path / "kept/r/results.json").is_file()


class Writing:
    """A process of its own that writes to `out` until it is killed, and its hidden folder."""

    def __init__(self, out):
        read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            with appearing_whole(out) as folder:
                (folder / "rows").write_bytes(bytes(100_000))
                os.write(write, folder.name.encode())
                time.sleep(60)
            os._exit(0)
        os.close(write)
        self.folder = os.read(read, 1000).decode()
        os.close(read)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_the_next_one_removes_what_twelve_killed_ones_left_and_spares_the_living(tmp_path):
    out = tmp_path / "t"
    living = Writing(out)
    try:
        for _ in range(12):
            Writing(out).kill()
            # The one before was removed by this one.
            assert len(hidden(tmp_path)) == 2
        with appearing_whole(out) as folder:
            (folder / "x").write_text("whole")
            assert sorted([folder.name, living.folder]) == hidden(tmp_path)
        assert [path.name for path in out.iterdir()] == ["x"]
    finally:
        living.kill()
    with appearing_whole(tmp_path / "t2"):
        pass
    # Another target's folders are not its business.
    assert hidden(tmp_path) == [living.folder]


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


def test_those_that_write_at_once_keep_their_folders(tmp_path):
    started = [Writing(tmp_path / "t") for _ in range(8)]
    try:
        assert sorted(one.folder for one in started) == hidden(tmp_path)
    finally:
        for one in started:
            one.kill()


def test_a_killed_command_leaves_nothing_for_long(tmp_path):
    """The command itself, killed while it waits for its source."""
    source = tmp_path / "x.npz"
    np.savez(
        source, experts=np.argsort(np.random.default_rng(0).random((60, 3, 8)), axis=2)[..., :2], n_experts=8
    )
    waiting = (
        "import sys, time, routestat.convert as c; from routestat.cli.runner import run; "
        "c.read_foreign = lambda *_: time.sleep(600); sys.exit(run(c.app, 'routestat convert', sys.argv[1:]))"
    )
    command = [sys.executable, "-c", waiting, str(source), "--out", str(tmp_path / "t")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not hidden(tmp_path):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < until, "it never began to write"
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert len(hidden(tmp_path)) == 1
    assert run(app, "routestat convert", [str(source), "--out", str(tmp_path / "t")]) == 0
    assert hidden(tmp_path) == []
    assert sorted(path.name for path in (tmp_path / "t").iterdir())[:2] == [
        "documents.arrow",
        "manifest.json",
    ]


def test_what_failed_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), appearing_whole(tmp_path / "t"):
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_folders_of_reports_are_named_after_the_command_and_its_traces():
    assert named_folder("place", "my trace") == Path("reports/place-my_trace")
    assert named_folder("compare", "a", "b/c", "d.e") == Path("reports/compare-a-b_c-d.e")
