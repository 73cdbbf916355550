"""--only and --skip: what is left out is absent, and what is there is what a whole study finds."""

import json

import numpy as np
import pytest

from routestat.analyze import app
from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.errors import RoutestatError
from routestat.report.records.study import results
from routestat.study.parts import PARTS, choose_parts, with_needed
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces import synthetic
from tests.commands.harness import ask

SHAPE = {"layers": 4, "documents": 24, "mean_length": 30}
# Families of tests are adjusted together, so these depend on which there are.
TOGETHER = {"parts", "trace", "across_families"}


def _made(view):
    rng = np.random.default_rng(3)
    if view == "subset":
        return synthetic.chain(coupling=0.7, rng=rng, n_experts=4, top_k=2, **SHAPE)
    return synthetic.expert_chain(coupling=1.0, rng=rng, n_experts=16, top_k=4, **SHAPE)


def _found(trace, parts=tuple(PARTS), **options):
    observed = count_paths(trace, None, 5)
    return study(
        trace,
        count(trace),
        observed,
        np.random.default_rng(0),
        parts=parts,
        structure=StructurePlan(n_paths=2),
        **options,
    )


def _same(part, whole):
    """Everything in `part` is in `whole`; NaN is NaN."""
    return json.dumps(part, sort_keys=True) == json.dumps(whole, sort_keys=True)


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_a_part_alone_is_what_it_is_in_the_whole(view):
    trace = synthetic.to_trace(_made(view))
    whole = results(_found(trace))
    assert whole["parts"] == list(PARTS)
    for name in PARTS:
        alone = results(_found(trace, [name]))
        assert name in alone["parts"]
        for key in set(alone) - TOGETHER - {"order", "memory"}:
            assert _same(alone[key], whole[key]), (name, key)
        for key in ("budget", "map", "enough", "chain", "prediction", "biclusters"):
            assert (key in alone) == (owner(key) in alone["parts"]), (name, key)
        for one, all_ in zip(alone.get("order", ()), whole["order"], strict=False):
            left_out = {"reason", "caution", "cautions"}
            assert all(one[key] == all_[key] for key in set(one) - left_out)
        if "not computed" not in " ".join(alone["trace"]["notes"]):
            pytest.fail(f"--only {name} does not say what it left out")


def owner(key):
    return {
        "budget": "dependence",
        "map": "layer-map",
        "enough": "sample-size",
        "prediction": "prediction",
        "chain": "chain",
        "biclusters": "blocks",
    }[key]


def test_parts_that_others_need_come_with_them():
    assert with_needed({"paths"}, states="subset", order=None) == {"paths", "chain", "memory"}
    # A chain of a given order is not chosen by held-out documents; order 2 takes its smoothing from them.
    assert with_needed({"paths"}, states="subset", order=1) == {"paths", "chain"}
    assert with_needed({"chain"}, states="subset", order=2) == {"chain", "memory"}
    assert with_needed({"memory"}, states="expert", order=None) == {"memory", "prediction"}
    assert with_needed({"chain"}, states="expert", order=1) == {"chain", "prediction"}
    left = with_needed(set(PARTS) - {"memory"}, {"memory"}, states="subset", order=None)
    assert left == set(PARTS) - {"memory", "chain", "paths", "windows"}


def test_names_that_are_no_parts_are_refused():
    assert choose_parts() == set(PARTS)
    assert choose_parts(("blocks", "paths"), ("paths",)[:0]) == {"blocks", "paths"}
    with pytest.raises(RoutestatError, match="got 'block'"):
        choose_parts(("block",))
    with pytest.raises(RoutestatError, match="in both"):
        choose_parts(("blocks",), ("blocks",))
    with pytest.raises(RoutestatError, match="at least one part"):
        choose_parts((), tuple(PARTS))
    with pytest.raises(RoutestatError, match="can do without memory"):
        with_needed({"paths", "chain"}, {"memory"}, states="subset", order=None)


def test_the_command_writes_the_chosen_parts_alone(tmp_path):
    synthetic.write(_made("subset"), tmp_path / "trace")
    out = tmp_path / "out"
    whole = ask(app, "routestat analyze", tmp_path / "trace", "--out", out)
    assert whole.returncode == 0, whole.stderr
    assert (out / "chain.npz").is_file()
    part = ask(app, "routestat analyze", tmp_path / "trace", "--out", out, "--only", "dependence, blocks")
    assert part.returncode == 0, part.stderr
    record = json.loads((out / "results.json").read_text())
    assert record["parts"] == ["dependence", "blocks"]
    # Files of the earlier report that belong to other parts are gone: nobody reads them as this report's.
    assert not (out / "chain.npz").exists()
    assert not (out / "routes.graphml").exists()
    files = {file.stem for file in (out / "tables").iterdir() if not file.stem.startswith("transition")}
    assert files == {"layers", "dependence", "order", "biclusters"}
    page = (out / "index.html").read_text()
    assert 'id="blocks"' in page
    assert 'id="next"' not in page
    bad = ask(app, "routestat analyze", tmp_path / "trace", "--out", out, "--skip", "memories")
    assert bad.returncode == 2
    assert "got 'memories'" in bad.stderr
