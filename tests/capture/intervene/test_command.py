"""The command: what it records, what it says of it, and every figure computed again from the two stores."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import typer
from scipy import stats

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")

from capture.command import app as capture_app
from capture.command_line import spread_values
from capture.forward import Runner
from capture.intervene.command import app
from routestat import Trace
from routestat.cli.runner import run
from tests.capture.conftest import ROOT, TINY
from tests.capture.families import BASE, DBRX

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


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Thirty-two documents in windows, forced in three ways, looked at two layers on."""
    folder = tmp_path_factory.mktemp("intervene")
    file = lines(folder, 32)
    options = ("--text", file, "--window", 50, "--batch-size", 16, "--out", folder / "out", "--layer", 5)
    forced = ("--do", "1+7", "--do", "natural", "--do", "random", "--horizon", 2, "--seed", 3)
    assert command(*options, *forced) == 0
    return folder / "out", (*options, *forced)


def effects(out, do, next_layer=6):
    found = json.loads((out / "intervene.json").read_text())["effects"]
    return [one for one in found if (one["do"], one["next_layer"]) == (do, next_layer)]


def test_every_recorded_token_was_forced_and_nothing_before_it_moved(done):
    out, _ = done
    layers = [f"L{layer:02d}" for layer in range(7)]
    natural, forced = columns(out / "observed", *layers), columns(out / "do-12", *layers)
    assert (forced["L05"] == 12).all()
    assert (natural["L05"] == 12).mean() < 0.2
    for name in ("document", "token", *layers[:5]):
        np.testing.assert_array_equal(natural[name], forced[name])
    assert (natural["L06"] != forced["L06"]).any()
    drawn = columns(out / "do-random", "L05")["L05"]
    assert len(np.unique(drawn)) == 28


def test_the_natural_choice_forced_changes_nothing_at_all(done):
    out, _ = done
    names = [f"L{layer:02d}" for layer in range(32)]
    natural, forced = columns(out / "observed", *names), columns(out / "do-natural", *names)
    for name, values in natural.items():
        np.testing.assert_array_equal(values, forced[name])
    (found,) = effects(out, "natural")
    assert (found["changed_share"], found["recall_at_k"], found["js_bits"]) == (0, 1, 0)
    assert all(row["difference"] == 0 and row["difference_ci95"] == [0, 0] for row in found["next"])


def test_the_stores_say_what_was_done_to_them(done):
    out, _ = done
    said = Trace.open(out / "do-12").meta.extra["intervention"]
    assert said == {"layer": 5, "do": "12", "state": 12, "experts": [1, 7], "weights_of": "renorm"}
    assert Trace.open(out / "do-random").meta.extra["intervention"]["seed"] == 3
    assert "intervention" not in Trace.open(out / "observed").meta.extra
    assert Trace.open(out / "observed").meta.window == 50


def by_document(rows, values, size):
    """Counts ``[document, value]``."""
    table = np.zeros((32, size))
    np.add.at(table, (rows["document"], values), 1)
    return table


@pytest.mark.parametrize("next_layer", [6, 7])
def test_every_figure_of_a_forced_state_again(done, next_layer):
    out, _ = done
    name = f"L{next_layer:02d}"
    natural, forced = columns(out / "observed", "L05", name), columns(out / "do-12", "L05", name)
    (found,) = effects(out, "12", next_layer)
    chose = natural["L05"] == 12
    do = by_document(forced, forced[name], 28)
    free = by_document({"document": natural["document"][chose]}, natural[name][chose], 28)
    everyone = by_document(natural, natural[name], 28)
    assert (found["n_tokens_do"], found["n_tokens_observed"]) == (do.sum(), free.sum())
    laws, scores, groups = {}, {}, {}
    for key, table in (("p_do", do), ("p_observed", free), ("p", everyone)):
        n = table.sum(axis=1)
        laws[key] = table.sum(axis=0) / n.sum()
        groups[key] = (n > 0).sum()
        scores[key] = (table - laws[key] * n[:, None]) / n.sum() * np.sqrt(groups[key] / (groups[key] - 1))
    assert groups["p_observed"] < 32
    assert found["n_groups_observed"] == groups["p_observed"]
    differences = {"difference": "p_observed", "difference_from_all": "p"}
    for row in found["next"]:
        j = row["state"]
        for key, law in laws.items():
            reach = stats.t.ppf(0.975, groups[key] - 1) * np.sqrt((scores[key][:, j] ** 2).sum())
            assert row[key] == pytest.approx(law[j])
            # Nothing seen is no certainty: there is no interval then.
            wanted = None if law[j] == 0 else pytest.approx([law[j] - reach, law[j] + reach])
            assert row[f"{key}_ci95"] == wanted
        for key, other in differences.items():
            value = laws["p_do"][j] - laws[other][j]
            spread = np.sqrt(((scores["p_do"][:, j] - scores[other][:, j]) ** 2).sum())
            reach = stats.t.ppf(0.975, groups[other] - 1) * spread
            assert row[key] == pytest.approx(value, abs=1e-12)
            assert row[f"{key}_ci95"] == pytest.approx([value - reach, value + reach], abs=1e-12)
    sizes = [abs(row["difference"]) for row in found["next"]]
    assert sizes == sorted(sizes, reverse=True)
    assert found["total_variation"] == pytest.approx(np.abs(laws["p_do"] - laws["p_observed"]).sum() / 2)

    def bits(p, q):
        p, q = p / p.sum(), q / q.sum()
        h = [-(v[v > 0] * np.log2(v[v > 0])).sum() for v in (p, q, (p + q) / 2)]
        return h[2] - (h[0] + h[1]) / 2

    whole = bits(do.sum(0), free.sum(0))
    pseudo = [32 * whole - 31 * bits(do.sum(0) - do[g], free.sum(0) - free[g]) for g in range(32)]
    reach = stats.t.ppf(0.975, groups["p_observed"] - 1) * np.std(pseudo, ddof=1) / np.sqrt(32)
    assert found["js_bits"] == pytest.approx(np.mean(pseudo))
    assert found["js_bits_ci95"] == pytest.approx([np.mean(pseudo) - reach, np.mean(pseudo) + reach])
    assert found["changed_share"] == pytest.approx((natural[name] != forced[name]).mean())
    pairs = Trace.open(out / "observed").meta.routers[0].alphabet.unrank(np.arange(28))
    stay = (pairs[natural[name]][:, :, None] == pairs[forced[name]][:, None, :]).sum(axis=(1, 2)) / 2
    assert found["recall_at_k"] == pytest.approx(stay.mean())


def test_random_subsets_give_an_effect_for_every_state(done):
    out, _ = done
    natural, forced = columns(out / "observed", "L05", "L06"), columns(out / "do-random", "L05", "L06")
    found = effects(out, "random")
    assert [one["state"] for one in found] == list(range(28))
    for one in found[::5]:
        here, chose = forced["L05"] == one["state"], natural["L05"] == one["state"]
        assert (one["n_tokens_do"], one["n_tokens_observed"]) == (here.sum(), chose.sum())
        assert one["changed_share"] == pytest.approx((natural["L06"] != forced["L06"])[here].mean())
        for row in one["next"][:4]:
            assert row["p_do"] == pytest.approx((forced["L06"][here] == row["state"]).mean())
            if chose.any():
                assert row["p_observed"] == pytest.approx((natural["L06"][chose] == row["state"]).mean())
            assert row["p"] == pytest.approx((natural["L06"] == row["state"]).mean())


def test_the_csv_is_the_same_figures_and_all_keys_are_documented(done):
    out, _ = done
    record = json.loads((out / "intervene.json").read_text())
    with (out / "intervene.csv").open() as file:
        rows = list(csv.DictReader(file))
    flat = [(one, row) for one in record["effects"] for row in one["next"]]
    assert len(rows) == len(flat)
    for written, (one, row) in zip(rows[::97], flat[::97], strict=True):
        assert (written["do"], int(written["next_layer"])) == (one["do"], one["next_layer"])
        assert int(written["next_state"]) == row["state"]
        assert float(written["difference"]) == row["difference"]
        assert written["p_do_ci95_high"] == ("" if row["p_do_ci95"] is None else str(row["p_do_ci95"][1]))
    page = (ROOT / "docs" / "capture.md").read_text()
    keys = {*record, *record["effects"][0], *record["effects"][-1], *record["effects"][0]["next"][0]}
    assert [key for key in sorted(keys) if f"`{key.removesuffix('_ci95')}`" not in page] == []


def test_resuming_adds_what_is_missing_and_refuses_other_treatments(done, capsys):
    out, options = done
    kept = (out / "do-12" / "manifest.json").stat().st_mtime_ns
    capsys.readouterr()
    assert command(*options, "--do", "3", "--resume") == 0
    assert "do(3): experts 0, 4 at layer 5 → layer 6" in capsys.readouterr().out
    assert (columns(out / "do-3", "L05")["L05"] == 3).all()
    # What was forced before stays in the results.
    found = json.loads((out / "intervene.json").read_text())["effects"]
    assert {one["do"] for one in found} == {"12", "natural", "random", "3"}
    assert kept <= (out / "do-12" / "manifest.json").stat().st_mtime_ns
    assert command(*options) == 2
    assert "already holds a trace; continue with --resume" in capsys.readouterr().err
    assert command(*options, "--resume", "--weights-of", "uniform") == 2
    assert "was made with intervention weights_of 'renorm', not 'uniform'" in capsys.readouterr().err
    # A capture that forces nothing must not go on in a store that was forced.
    again = ("--text", options[1], "--window", 50, "--dtype", "float32", "--out", out / "do-12", "--resume")
    assert run(capture_app, "capture", [str(TINY), *map(str, again)]) == 2
    assert "was made with intervention layer 5, not None" in capsys.readouterr().err


def test_an_interrupted_run_goes_on(tmp_path, capsys, monkeypatch):
    file = lines(tmp_path, 6)
    options = ("--text", file, "--batch-size", 2, "--layer", 30, "--do", 3, "--out")
    assert command(*options, tmp_path / "whole") == 0
    prefill, calls = Runner.prefill, []

    def interrupted(self, segments):
        calls.append(self.forcing)
        if sum(call is not None for call in calls) == 2:
            raise KeyboardInterrupt
        return prefill(self, segments)

    monkeypatch.setattr(Runner, "prefill", interrupted)
    capsys.readouterr()
    assert command(*options, tmp_path / "cut") == 130
    error = capsys.readouterr().err
    assert "2 documents are kept" in error
    assert error.strip().splitlines()[-1] == "error: interrupted"
    monkeypatch.undo()
    assert Trace.open(tmp_path / "cut" / "do-3").documents.num_rows == 2
    assert command(*options, tmp_path / "cut", "--resume") == 0
    for name in ("intervene.json", "intervene.csv"):
        assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_one_document_and_a_state_never_chosen_are_said(tmp_path, capsys):
    file = lines(tmp_path, 1, longest=12)
    absent = set(range(28))
    assert command("--text", file, "--layer", 5, "--do", "natural", "--out", tmp_path / "look") == 0
    absent -= set(columns(tmp_path / "look" / "observed", "L05")["L05"].tolist())
    state = min(absent)
    capsys.readouterr()
    assert command("--text", file, "--layer", 5, "--do", state, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "note: one document: no intervals" in printed
    assert "No token chose it by itself" in printed
    assert "nan" not in printed
    (found,) = effects(tmp_path / "out", str(state))
    assert found["reason"] == "never observed"
    assert found["js_bits"] is None
    row = found["next"][0]
    assert (row["p_observed"], row["difference"], row["p_do_ci95"]) == (None, None, None)
    assert abs(row["difference_from_all"]) == max(abs(r["difference_from_all"]) for r in found["next"])
    record = json.loads((tmp_path / "out" / "intervene.json").read_text())
    assert record["notes"] == [
        "one document: no intervals, because tokens of one document depend on each other"
    ]


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model of 16 experts, top 5: 4,368 subsets, so the laws are over experts; its first layer is dense."""
    folder = tmp_path_factory.mktemp("wide") / "model"
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY)
    tokenizer.save_pretrained(folder)
    moe = {"num_experts": 16, "num_experts_per_tok": 5, "moe_intermediate_size": 16, "mlp_only_layers": [0]}
    config = transformers.Qwen3MoeConfig(**{**BASE, **moe, "vocab_size": len(tokenizer), "head_dim": 8})
    transformers.Qwen3MoeForCausalLM(config).save_pretrained(folder)
    return folder


def test_wide_alphabets_give_the_inclusion_of_experts(tmp_path, wide, capsys):
    file = lines(tmp_path, 5)
    options = ("--text", file, "--window", 32, "--layer", 1, "--out", tmp_path / "out")
    assert command(*options, "--do", "0+3+5+6+15", "--do", "random", model=wide) == 0
    assert "Probability that an expert is among the 5 chosen." in capsys.readouterr().out
    router = Trace.open(tmp_path / "out" / "observed").meta.routers[1]
    state = int(router.alphabet.rank([0, 3, 5, 6, 15]))
    names = ("observed", f"do-{state}", "do-random")
    chosen = {
        name: {
            k: router.alphabet.unrank(v)
            for k, v in columns(tmp_path / "out" / name, "L01", "L02").items()
            if k[0] == "L"
        }
        for name in names
    }
    (found,) = effects(tmp_path / "out", str(state), 2)
    assert found["states"] == "expert"
    for row in found["next"]:
        assert row["p_do"] == pytest.approx(
            (chosen[f"do-{state}"]["L02"] == row["expert"]).any(axis=1).mean()
        )
        assert row["p"] == pytest.approx((chosen["observed"]["L02"] == row["expert"]).any(axis=1).mean())
    assert sum(row["p_do"] for row in found["next"]) == pytest.approx(5)
    drawn = effects(tmp_path / "out", "random", 2)
    assert [one["expert"] for one in drawn] == list(range(16))
    for one in drawn[::6]:
        after = {}
        for name in ("observed", "do-random"):
            has = (chosen[name]["L01"] == one["expert"]).any(axis=1)
            after[name] = chosen[name]["L02"][has]
        assert one["n_tokens_do"] == len(after["do-random"])
        for row in one["next"][:3]:
            for key, name in (("p_do", "do-random"), ("p_observed", "observed")):
                assert row[key] == pytest.approx((after[name] == row["expert"]).any(axis=1).mean())


BAD = {
    "nothing to do": ([], "name what to force: --do 12"),
    "no words": (["--do", "often"], "--do wants a state such as 12"),
    "no such state": (["--do", "28"], "--do 28: layer 5 has states 0 … 27"),
    "no such expert": (["--do", "1+8"], "chooses 2 different experts of 0 … 7"),
    "one expert twice": (["--do", "1+1"], "2 different experts"),
    "too many experts": (["--do", "1+2+3"], "2 different experts"),
    "no such layer": (["--do", "1", "--layer", "32"], "--layer 32 has no router: the MoE layers are 0-31"),
    "the last layer": (
        ["--do", "1", "--layer", "31"],
        "--layer 31 is the last MoE layer: no choice follows it",
    ),
    "too far": (["--do", "1", "--layer", "29", "--horizon", "3"], "only 2 MoE layers follow layer 29"),
    "no such weights": (["--do", "1", "--weights-of", "even"], "--weights-of is renorm, uniform, slot"),
    "nothing to run": (["--do", "1", "--text", ""], "no such file"),
    "unknown type": (["--do", "1", "--dtype", "float8"], "--dtype is auto"),
    "unknown option": (["--do", "1", "--max-new-tokens", "3"], "No such option"),
    "empty": (["--do", "1", "--text", "{empty}", "--window", "9"], "hold no tokens"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(tmp_path, capsys, case):
    (tmp_path / "text.txt").write_text("a few words")
    (tmp_path / "empty.jsonl").write_text('{"text": ""}')
    arguments, wanted = BAD[case]
    given = [part.format(empty=tmp_path / "empty.jsonl") for part in arguments]
    if "--text" not in given:
        given += ["--text", tmp_path / "text.txt"]
    if "--layer" not in given:
        given += ["--layer", 5]
    assert command(*given, "--out", tmp_path / "out") == 2
    error = [line for line in capsys.readouterr().err.strip().splitlines() if not line.startswith("run ")]
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert wanted in error[0]


def test_a_trace_is_no_folder_for_other_stores(done, tmp_path, capsys):
    out, _ = done
    given = ("--text", lines(tmp_path, 1), "--layer", 5, "--do", 1, "--out", out / "observed")
    assert command(*given) == 2
    assert "holds a trace; name another folder" in capsys.readouterr().err
    assert not (out / "observed" / "observed").exists()


def test_a_dense_layer_names_the_moe_layers(tmp_path, wide, capsys):
    assert (
        command("--text", lines(tmp_path, 1), "--layer", 0, "--do", 1, "--out", tmp_path / "o", model=wide)
        == 2
    )
    assert "--layer 0 has no router: the MoE layers are 1-2" in capsys.readouterr().err


def test_a_family_that_cannot_be_forced_gets_one_line(tmp_path, capsys):
    folder = tmp_path / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY)
    tokenizer.save_pretrained(folder)
    config = transformers.DbrxConfig(**{**DBRX, "vocab_size": len(tokenizer)})
    transformers.DbrxForCausalLM(config).save_pretrained(folder)
    options = ("--text", lines(tmp_path, 1), "--layer", 0, "--do", 1, "--out", tmp_path / "o", "--window", 30)
    assert command(*options, model=folder) == 2
    error = capsys.readouterr().err.strip()
    assert "transformer.blocks.0.ffn.router (DbrxRouter): its choice cannot be forced" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "o" / "observed").exists()


def test_every_option_is_in_the_docs():
    page = (ROOT / "docs" / "capture.md").read_text()
    command_line = typer.main.get_command(app)
    options = {name for parameter in command_line.params for name in parameter.opts if name.startswith("--")}
    assert len(options) > 20
    assert [option for option in sorted(options) if f"`{option}" not in page] == []


@pytest.mark.slow
def test_the_example_of_the_docs_runs_as_it_is_shown(tmp_path):
    page = (ROOT / "docs" / "capture.md").read_text()
    (line,) = re.findall(r"^python -m capture\.intervene .*$", page, re.MULTILINE)
    for name in ("data", "README.md", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    # As it is shown, on the beginning of each document.
    words = [sys.executable, *shlex.split(line)[1:], "--max-length", "200"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=one_thread)
    assert result.returncode == 0, result.stderr
    assert "do(12): experts 1, 7 at layer 5 → layer 6" in result.stdout
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
    assert (tmp_path / "traces" / "do" / "intervene.json").is_file()


@pytest.mark.slow
def test_the_example_of_the_help_is_a_command_that_parses():
    shown = subprocess.run(
        [sys.executable, "-m", "capture.intervene", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert shown.returncode == 0
    words = " ".join(shown.stdout.replace("│", " ").split())
    example = re.search(r"Example: python -m capture\.intervene (.*?--out \S+)", words).group(1)
    parser = typer.main.get_command(app)
    given = parser.make_context("capture.intervene", spread_values(shlex.split(example))).params
    assert (given["layer"], given["do"], str(given["out"])) == (5, ["12"], "do")
