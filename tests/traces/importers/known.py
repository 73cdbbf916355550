"""Experts that are known before they are written in a foreign form, and the store that came of them."""

import base64
import io

import numpy as np

from routestat import Trace
from routestat.cli.runner import run
from routestat.convert import app
from routestat.traces.importers.arrays import read_arrays
from routestat.traces.importers.arrays_export import write_arrays


def chosen(rng, n, layers, n_experts, top_k):
    """Experts ``[token, layer, slot]``, no two alike in a row."""
    return np.argsort(rng.random((n, layers, n_experts)), axis=2)[..., :top_k].astype(np.int32)


def npy(array):
    """An array as base64 of an ``.npy``."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return base64.b64encode(buffer.getvalue()).decode()


def raw(array):
    """An array as base64 of its bytes."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def convert(capsys, source, out, *options):
    """Exit code, stdout and stderr of the command, run in this process."""
    code = run(app, "routestat convert", [str(source), "--out", str(out), *map(str, options)])
    said = capsys.readouterr()
    return code, said.out, said.err


def stored(capsys, source, tmp_path, *options):
    """The trace that the command made of a file, opened and checked, and its rows as arrays."""
    code, _, err = convert(capsys, source, tmp_path / "t", *options)
    assert code == 0, err
    trace = Trace.open(tmp_path / "t")
    write_arrays(trace, tmp_path / "back.npz")
    return trace, read_arrays(tmp_path / "back.npz"), err


def refused(capsys, source, tmp_path, *options):
    """The one line of a refusal; nothing may be left behind."""
    code, out, err = convert(capsys, source, tmp_path / "t", *options)
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert (code, out, len(lines)) == (2, "", 1), err
    assert not list(tmp_path.glob("t*"))
    return lines[0]


def subsets(experts):
    """Rows as sets: slots sorted."""
    return np.sort(np.asarray(experts, np.int64), axis=-1)
