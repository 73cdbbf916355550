"""Mutated tables end in a right trace or in one line; nothing crashes, and nothing is left behind."""

import json
import os
import random

import pytest

from routestat import Trace
from tests.traces.importers.known import convert
from tests.traces.importers.tables.written import known, rows_of, write

MUTATIONS = int(os.environ.get("ROUTESTAT_FUZZ", 40))


def cut(rng, data):
    return data[: rng.randrange(len(data))]


def flipped(rng, data):
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def retyped(rng, data):
    values = "null 1.5 'a' [1] -7 99999999999 true {} 1e300 nan 0x1".replace("'", '"').encode().split()
    new = rng.choice([*values, b""])
    places = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    place = rng.choice(places) if places else 0
    return data[:place] + new + data[place + 1 :]


def renamed(rng, data):
    words = [b"request", b"step", b"layer", b"e0", b"e1", b"expert", b"slot", b"topk_ids", b"weight"]
    word = rng.choice([word for word in words if word in data] or [data[:1]])
    return data.replace(
        word, rng.choice([b"x", b"", b"layer", b"step", b"Step ", b"\xff"]), rng.choice([1, -1])
    )


def reordered(rng, data):
    lines = data.split(b"\n")
    kind = rng.randrange(4)
    if kind == 0:
        rng.shuffle(lines)
    elif kind == 1:
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    elif kind == 2:
        del lines[rng.randrange(len(lines))]
    else:
        lines += lines
    return b"\n".join(lines)


FAMILIES = (cut, flipped, retyped, renamed, reordered)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x.csv", "columns"),
        ("x.csv", "list"),
        ("x.tsv", "expert"),
        ("x.csv.gz", "columns"),
        ("x.jsonl", "list"),
        ("x.jsonl.zst", "expert"),
        ("x.parquet", "list"),
        ("x.parquet", "expert"),
    ],
)
def test_mutations_of_tables(capsys, tmp_path, name, form):
    rng = random.Random(f"{name} {form}")
    trace = known(11, missing=0.1)
    rows = rows_of(trace, form, ("token", "phase", "slot", "weight"))
    source = tmp_path / "in" / name
    source.parent.mkdir()
    good = write(source, rows).read_bytes()
    outcomes = {"trace": 0, "line": 0}
    for number in range(MUTATIONS):
        family = FAMILIES[number % len(FAMILIES)]
        data = family(rng, good)
        source.write_bytes(data)
        out = tmp_path / "out" / "t"
        code, said, err = convert(capsys, source, out, "--format", "table")
        lines = [line for line in err.splitlines() if not line.startswith("note: ")]
        what = (number, family.__name__, said, err)
        assert "Traceback" not in err, what
        if code == 0:
            assert not lines, what
            opened = Trace.open(out)
            assert opened.n_tokens >= 1, what
            outcomes["trace"] += 1
            for file in sorted(out.rglob("*"), reverse=True):
                file.unlink()
            out.rmdir()
        else:
            assert (code, len(lines)) == (2, 1), what
            assert name in lines[0], what
            assert len(lines[0]) < 600, what
            outcomes["line"] += 1
        assert not list((tmp_path / "out").iterdir()), what
    assert outcomes["line"] > 0, json.dumps(outcomes)
