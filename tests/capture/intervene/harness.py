"""The command on generated documents, and what its traces and results hold."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.intervene.command import app
from routestat import Trace
from routestat.cli.runner import run
from tests.capture.conftest import TINY

WORDS = (
    "time",
    "captain",
    "return",
    "sea",
    "clips",
    "and",
    "of",
    "(x)",
    "48",
    "friends;",
    "April",
    "was",
    "def",
)


def command(*arguments, model=TINY):
    return run(app, "capture.intervene", [str(model), "--dtype", "float32", *map(str, arguments)])


def columns(store, *names):
    """Documents and some columns of a store."""
    batches = list(Trace.open(store).batches(["token", *names]))
    rows = {name: np.concatenate([b.columns[name] for b in batches]) for name in ("token", *names)}
    return {"document": np.concatenate([b.document for b in batches]), **rows}


def lines(folder, documents, seed=0, longest=60):
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(8, longest))) for _ in range(documents)]
    file = folder / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return file


def effects(out, do, next_layer=6):
    found = json.loads((out / "intervene.json").read_text())["effects"]
    return [one for one in found if (one["do"], one["next_layer"]) == (do, next_layer)]
