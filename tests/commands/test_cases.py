"""Small inputs that once misled, from file to report: situations that no other test takes that far."""

import json

import numpy as np
import pytest

from routestat.analyze import app as analyze_app
from routestat.convert import app as convert_app
from tests.commands.harness import ask
from tests.traces.importers.known import chosen, raw


def report_of(folder, source, *options, analyze=()):
    """What convert said, the content of results.json and what the terminal showed."""
    made = ask(convert_app, "routestat convert", source, "--out", folder / "t", *options)
    assert made.returncode == 0, made.stderr
    found = ask(analyze_app, "routestat analyze", folder / "t", "--out", folder / "r", *analyze)
    assert found.returncode == 0, found.stderr
    return made.stderr, json.loads((folder / "r" / "results.json").read_text()), found.stdout


def responses(path, parts, prompt):
    """An engine's responses: the rows of the prompt and of what was generated, the last of which has none."""
    lines = [
        {
            "meta_info": {
                "id": f"r{place}",
                "routed_experts": raw(part.astype(np.int32)),
                "prompt_tokens": prompt,
                "completion_tokens": len(part) + 1 - prompt,
            },
            "output_ids": list(range(len(part) + 1 - prompt)),
        }
        for place, part in enumerate(parts)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.mark.parametrize(
    ("top_k", "prompt", "spoilt", "kind", "said"),
    [
        (4, 40, [3, 9, 12, 15], "phase", "repeat a few choices over and over, as replayed graphs do"),
        (1, 30, [0], "zeros", "hold the first expert ids in every layer, as rows that were never written do"),
    ],
)
def test_generated_rows_of_one_choice_are_noted_and_dropped(tmp_path, top_k, prompt, spoilt, kind, said):
    """All rows behind the prompts, replayed by the engine; or those that were never written, of one expert each."""
    parts = [chosen(np.random.default_rng(i), 60, 3, 16, top_k) for i in range(12)]
    for part in parts:
        part[40:] = spoilt
    source = responses(tmp_path / "x.jsonl", parts, prompt)
    options = ("--top-k", top_k, "--n-experts", 16)
    printed, record, terminal = report_of(tmp_path, source, *options)
    assert f"240 {'decode ' * (kind == 'phase')}rows at the ends of 12 of 12 documents" in printed
    assert said in printed
    (one,) = record["trace"]["not_measured"]
    assert (one["kind"], one["n_rows"], one["n_documents"], one["position"]) == (kind, 240, 12, 40)
    assert said in " ".join(terminal.split())
    (tmp_path / "dropped").mkdir()
    _, record, _ = report_of(tmp_path / "dropped", source, *options, "--drop-dummy-rows")
    assert record["trace"]["n_tokens"] == 480
    # What is left is noise, in which nothing is found.
    assert {order["chosen_order"] for order in record["order"]} <= {0, None}


@pytest.mark.parametrize(
    ("n_experts", "top_k", "n"),
    [
        (64, 6, 1000),
        pytest.param(64, 6, 100_000, marks=pytest.mark.long),
        pytest.param(128, 8, 10_000, marks=pytest.mark.long),
        pytest.param(512, 10, 1000, marks=pytest.mark.long),
    ],
)
def test_noise_of_wide_routers_has_no_memory(tmp_path, n_experts, top_k, n):
    experts = chosen(np.random.default_rng(n_experts), n, 3, n_experts, top_k)
    np.savez(tmp_path / "x.npz", experts=experts, document=np.arange(n) * 25 // n, n_experts=n_experts)
    _, record, terminal = report_of(tmp_path, tmp_path / "x.npz")
    said = " ".join(terminal.split())
    assert "no memory over layers" in said
    assert "layer long" not in said
    (row,) = [one for one in record["memory"]["contexts_mean"] if one["given"] == "layer before"]
    low, high = row["gain_bits_ci95"]
    assert low <= 0 or abs(high) < 1e-3


@pytest.mark.long
def test_a_deep_trace_of_few_tokens_ends_in_a_report(tmp_path):
    """More layers than tokens suffice for: horizons of every distance are estimated for 120 pairs of experts."""
    rng = np.random.default_rng(2)
    np.savez(
        tmp_path / "x.npz",
        experts=chosen(rng, 400, 32, 16, 2),
        document=np.arange(400) // 20,
        n_experts=16,
        layers=range(32),
    )
    _, record, _ = report_of(tmp_path, tmp_path / "x.npz")
    assert len(record["layers"]) == 32


def test_a_wide_trace_of_one_short_document_ends_in_a_report(tmp_path):
    experts = chosen(np.random.default_rng(3), 156, 3, 128, 6)
    np.savez(tmp_path / "x.npz", experts=experts, n_experts=128, layers=range(3))
    _, record, _ = report_of(tmp_path, tmp_path / "x.npz")
    assert record["states"] == "expert"
    assert all(one["p_clustered"] is None for one in record["dependence"])
