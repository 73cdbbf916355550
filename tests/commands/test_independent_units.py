"""Shared text from file to report: noise in samples of one prompt is noise, whatever the source calls a document."""

import base64
import io
import json

import numpy as np
import pytest

from routestat import Trace
from routestat.analyze import app as analyze_app
from routestat.compare import app as compare_app
from routestat.convert import app as convert_app
from tests.commands.harness import ask, complaint

PROMPTS, SAMPLES, PROMPT, ANSWER, LAYERS = 10, 8, 120, 10, 3


def noise(rng, *shape):
    """Two of eight experts, all pairs alike."""
    return np.argsort(rng.random((*shape, 8)), axis=-1)[..., :2].astype(np.uint8)


def samples(rng):
    """Choices of every sample of every prompt: the prompt's rows are the same in each."""
    return [
        [np.concatenate([prompt, noise(rng, ANSWER, LAYERS)]) for _ in range(SAMPLES)]
        for prompt in (noise(rng, PROMPT, LAYERS) for _ in range(PROMPTS))
    ]


def rollouts(folder, found):
    arrays = {
        f"rollout_routed_experts_{i}": one for i, one in enumerate(one for group in found for one in group)
    }
    np.savez(folder / "x.npz", **arrays, response_lengths=np.full(len(arrays), ANSWER + 1))
    return folder / "x.npz"


def encoded(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return base64.b64encode(buffer.getvalue()).decode()


def responses(folder, found, together=True):
    """One response with several choices, or several of one request id with a choice each."""
    lines = []
    for index, group in enumerate(found):
        choices = [{"routed_experts": encoded(one)} for one in group]
        said = {"request_id": f"r{index}", "prompt_token_ids": list(range(PROMPT))}
        lines += [said | {"choices": choices}] if together else [said | {"choices": [one]} for one in choices]
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder / "x.jsonl"


def results_of(folder, source, *options):
    converted = ask(convert_app, "routestat convert", source, "--out", folder / "t", *options)
    assert converted.returncode == 0, converted.stderr
    analysed = ask(analyze_app, "routestat analyze", folder / "t", "--out", folder / "r")
    assert analysed.returncode == 0, analysed.stderr
    return (
        json.loads((folder / "r" / "results.json").read_text()),
        analysed.stdout,
        folder / "r" / "index.html",
    )


@pytest.mark.parametrize("written", [rollouts, responses, lambda *a: responses(*a, together=False)])
def test_samples_of_one_prompt_show_nothing_in_noise(tmp_path, written):
    source = written(tmp_path, samples(np.random.default_rng(0)))
    record, terminal, page = results_of(tmp_path, source, "--n-experts", 8)
    trace = record["trace"]
    assert (trace["n_documents"], trace["n_clusters"], trace["largest_cluster_documents"]) == (80, 10, 8)
    assert trace["clusters_from"] == ["choices" if written is rollouts else "source"]
    for pair in record["dependence"]:
        assert pair["log10_p_clustered"] is None or pair["log10_p_clustered"] > -2.5
        assert pair["mi_bits"] is None or pair["mi_bits_ci95"][0] is None or pair["mi_bits_ci95"][0] <= 0
    assert {order["chosen_order"] for order in record["order"]} <= {0, None}
    assert "(10 clusters)" in terminal
    said = "80 documents are 10 independent clusters"
    assert said in " ".join(terminal.split())
    assert said in page.read_text()


def test_taken_as_independent_the_same_noise_would_mislead(tmp_path):
    """The test above can fail: with every document a unit, the same file shows dependence."""
    source = rollouts(tmp_path, samples(np.random.default_rng(0)))
    assert (
        ask(convert_app, "routestat convert", source, "--out", tmp_path / "t", "--n-experts", 8).returncode
        == 0
    )
    misled = ask(
        analyze_app, "routestat analyze", tmp_path / "t", "--cluster", "document", "--out", tmp_path / "r"
    )
    assert misled.returncode == 0, misled.stderr
    pairs = json.loads((tmp_path / "r" / "results.json").read_text())["dependence"]
    assert min(pair["log10_p_clustered"] for pair in pairs) < -5


def plain(folder, documents=12, length=40, **more):
    rng = np.random.default_rng(3)
    document = np.repeat(np.arange(documents), length)
    np.savez(
        folder / "x.npz", experts=noise(rng, len(document), LAYERS), document=document, n_experts=8, **more
    )
    return folder / "x.npz"


@pytest.mark.parametrize("per_token", [True, False])
@pytest.mark.parametrize("name", ["clusters", "session", "cluster"])
def test_arrays_name_their_clusters(tmp_path, per_token, name):
    of = np.array([7, 7, 7, 7, 2, 2, 2, 2, 9, 9, 9, 9])
    source = plain(tmp_path, **{name: np.repeat(of, 40) if per_token else of})
    options = [] if name == "clusters" else ["--cluster", name]
    made = ask(convert_app, "routestat convert", source, "--out", tmp_path / "t", *options)
    assert made.returncode == 0, made.stderr
    units = Trace.open(tmp_path / "t").units
    assert units.cluster.tolist() == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8]
    # The store has a column named cluster itself.
    assert units.reasons == (f"column {'source_cluster' if name == 'cluster' else name}",)
    # And back: what was named stays named.
    for file in ("back.npz", "back.parquet"):
        assert ask(convert_app, "routestat convert", tmp_path / "t", "--out", tmp_path / file).returncode == 0
        again = ask(convert_app, "routestat convert", tmp_path / file, "--out", tmp_path / file[5:])
        assert again.returncode == 0, again.stderr
        assert Trace.open(tmp_path / file[5:]).units.cluster.tolist() == units.cluster.tolist()


@pytest.mark.parametrize(
    ("more", "options", "said"),
    [
        ({}, ["--cluster", "session"], "--cluster session: no such array"),
        ({"clusters": np.array([1, -1] * 6)}, [], "clusters has no value (below 0) at 1; fill the holes"),
        ({"clusters": np.arange(7)}, [], "clusters must be 480 whole numbers or words, one a token, or 12"),
        ({"clusters": np.arange(480) // 7}, [], "clusters changes within a document"),
        ({"clusters": np.linspace(0, 1, 12)}, [], "clusters must be 480 whole numbers or words"),
    ],
)
def test_clusters_that_cannot_be_are_refused(tmp_path, more, options, said):
    made = ask(convert_app, "routestat convert", plain(tmp_path, **more), "--out", tmp_path / "t", *options)
    assert said in complaint(made)
    assert not (tmp_path / "t").exists()


def test_a_field_of_the_records_that_is_not_there_is_refused(tmp_path):
    source = responses(tmp_path, samples(np.random.default_rng(1))[:2])
    made = ask(
        convert_app,
        "routestat convert",
        source,
        "--out",
        tmp_path / "t",
        "--format",
        "vllm",
        "--cluster",
        "chat",
    )
    assert "no chat (--cluster); it has request_id, prompt_token_ids, choices" in complaint(made)


def test_a_conversation_id_joins_its_turns(tmp_path):
    rng = np.random.default_rng(2)
    turns = [
        {"conversation_id": f"c{i // 3}", "routed_experts": encoded(noise(rng, 30, LAYERS))}
        for i in range(12)
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, turns)))
    for out, options in (("known", []), ("named", ["--cluster", "conversation_id"])):
        made = ask(convert_app, "routestat convert", tmp_path / "x.jsonl", "--out", tmp_path / out, *options)
        assert made.returncode == 0, made.stderr
        assert Trace.open(tmp_path / out).units.cluster.tolist() == [i // 3 * 3 for i in range(12)]


def test_columns_and_templates_that_are_not_there_are_refused(tmp_path):
    assert ask(convert_app, "routestat convert", plain(tmp_path), "--out", tmp_path / "t").returncode == 0
    for app, name, traces in ((analyze_app, "analyze", ["t"]), (compare_app, "compare", ["t", "t"])):
        where = [tmp_path / one for one in traces]
        said = complaint(
            ask(app, f"routestat {name}", *where, "--cluster", "session", "--out", tmp_path / "r")
        )
        assert "cluster column 'session': the documents have no such column; there are document" in said
        said = complaint(
            ask(app, f"routestat {name}", *where, "--template", "twice", "--out", tmp_path / "r")
        )
        assert "template must be one of once, drop, keep, got 'twice'" in said


def test_one_cluster_gives_no_test_and_says_why(tmp_path):
    record, terminal, _ = results_of(tmp_path, plain(tmp_path, clusters=np.zeros(12, int)))
    assert record["trace"]["n_clusters"] == 1
    assert all(pair["log10_p_clustered"] is None and pair["reason"] for pair in record["dependence"])
    assert all(pair["mi_bits_ci95"] == [None, None] for pair in record["dependence"])
    assert "One cluster is one measurement" in " ".join(terminal.split())


def test_a_system_prompt_is_counted_once_and_said(tmp_path):
    rng = np.random.default_rng(5)
    opening = noise(rng, 25, LAYERS)
    rows = np.concatenate([np.concatenate([opening, noise(rng, 20, LAYERS)]) for _ in range(30)])
    np.savez(tmp_path / "x.npz", experts=rows, document=np.repeat(np.arange(30), 45), n_experts=8)
    record, terminal, page = results_of(tmp_path, tmp_path / "x.npz")
    assert record["trace"]["n_tokens"] == 30 * 20 + 25
    assert record["trace"]["n_clusters"] == 30
    assert record["trace"]["template"] == {
        "counted": "once",
        "n_tokens": 25,
        "n_documents": 30,
        "n_tokens_left_out": 29 * 25,
        "n_documents_without_more": 0,
    }
    said = (
        "30 documents begin with the same 25 tokens (a template): they are counted once, 725 repeated tokens"
    )
    assert said in " ".join(terminal.split())
    assert said in page.read_text()
    dropped = ask(
        analyze_app, "routestat analyze", tmp_path / "t", "--template", "drop", "--out", tmp_path / "d"
    )
    assert dropped.returncode == 0, dropped.stderr
    assert json.loads((tmp_path / "d" / "results.json").read_text())["trace"]["n_tokens"] == 600


def test_halves_of_one_trace_that_share_clusters_are_noted(tmp_path):
    domain = np.repeat(np.array([0, 1] * 6), 40)
    source = plain(tmp_path, domain=domain, domains=np.array(["x", "y"]), clusters=np.repeat(np.arange(6), 2))
    assert ask(convert_app, "routestat convert", source, "--out", tmp_path / "t").returncode == 0
    sides = [tmp_path / "t", tmp_path / "t", "--domain-a", "x", "--domain-b", "y", "--out", tmp_path / "r"]
    found = ask(compare_app, "routestat compare", *sides)
    assert found.returncode == 0, found.stderr
    assert "6 clusters have documents in A and others in B" in " ".join(found.stdout.split())
    record = json.loads((tmp_path / "r" / "results.json").read_text())
    assert (record["a"]["n_documents"], record["a"]["n_clusters"]) == (6, 6)


def test_copies_of_one_text_are_one_document_or_nothing(tmp_path):
    rows = np.concatenate([noise(np.random.default_rng(6), 60, LAYERS)] * 12)
    np.savez(tmp_path / "x.npz", experts=rows, document=np.repeat(np.arange(12), 60), n_experts=8)
    record, terminal, _ = results_of(tmp_path, tmp_path / "x.npz")
    assert (record["trace"]["n_tokens"], record["trace"]["n_documents"], record["trace"]["n_clusters"]) == (
        60,
        1,
        1,
    )
    assert "11 documents hold nothing else and add nothing" in " ".join(terminal.split())
    for app, name, traces in ((analyze_app, "analyze", ["t"]), (compare_app, "compare", ["t", "t"])):
        where = [tmp_path / one for one in traces]
        said = complaint(ask(app, f"routestat {name}", *where, "--template", "drop", "--out", tmp_path / "d"))
        assert "every token belongs to the template: drop nothing, use --template once or keep" in said
