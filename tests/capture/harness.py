"""The capture command on the small model that ships, and what its traces hold."""

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.command import app
from routestat import Trace
from routestat.cli.runner import run
from tests.capture.conftest import ROOT, TINY

TRACE = ROOT / "data" / "traces" / "tiny-mixtral"


TEXTS = (
    "It was the best of times, it was the worst of times, it was the age of wisdom.",
    "def add(a, b):\n    return a + b\n",
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.",
)


def command(*arguments):
    return run(app, "capture", [str(TINY), "--dtype", "float32", *map(str, arguments)])


def read(folder, columns=None):
    """All rows of a store as columns."""
    batches = list(Trace.open(folder).batches(columns))
    names = batches[0].columns
    whole = {name: np.concatenate([batch.columns[name] for batch in batches]) for name in names}
    return {
        "document": np.concatenate([batch.document for batch in batches]),
        "position": np.concatenate([batch.position for batch in batches]),
        **whole,
    }


def require_same(first, second, rows=slice(None)):
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values[rows], second[name], name)


def phases(folder):
    return np.concatenate(
        [b.column("phase").to_numpy(zero_copy_only=False) for b in Trace.open(folder).record_batches()]
    )


def small_model(folder, **changed):
    """Two layers with the tokenizer that ships, whose configuration is then changed."""
    config = transformers.AutoConfig.from_pretrained(TINY)
    config.num_hidden_layers, config.intermediate_size = 2, changed.pop("intermediate_size", 16)
    transformers.MixtralForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder / name)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | changed))
    return folder
