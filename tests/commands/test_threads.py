"""--threads limits every pool of threads, not only the first pass: with one, the command starts none."""

import os
import threading

import numpy as np
import pytest

from routestat.analyze import app
from routestat.traces.synthetic import chain, expert_chain, write
from tests.commands.harness import ask

SHAPE = {"layers": 4, "documents": 12, "mean_length": 30}


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_one_thread_is_one_thread(view, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    made = (
        chain(coupling=0.7, rng=rng, n_experts=4, top_k=2, **SHAPE)
        if view == "subset"
        else expert_chain(coupling=1.0, rng=rng, n_experts=16, top_k=4, **SHAPE)
    )
    write(made, tmp_path / "trace")
    before, most = set(threading.enumerate()), [0]
    start = threading.Thread.start

    def counted(self):
        start(self)
        own = [thread for thread in threading.enumerate() if thread not in before]
        most[0] = max(most[0], len(own))

    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(threading.Thread, "start", counted)
    result = ask(app, "routestat analyze", tmp_path / "trace", "--out", tmp_path / "out", "--threads", 1)
    assert result.returncode == 0, result.stderr
    assert most[0] == 0
