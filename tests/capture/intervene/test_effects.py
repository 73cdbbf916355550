"""Every result of an intervention computed again from the two traces."""

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from routestat import Trace
from tests.capture.intervene.harness import columns, command, effects, lines
from tests.oracle.comparison_oracle import without_bias


def by_document(rows, values, size):
    """Counts ``[document, value]``."""
    table = np.zeros((32, size))
    np.add.at(table, (rows["document"], values), 1)
    return table


@pytest.mark.parametrize("next_layer", [6, 7])
def test_every_result_of_a_forced_state_again(done, next_layer):
    out, _ = done
    name = f"L{next_layer:02d}"
    natural, forced = columns(out / "observed", "L05", name), columns(out / "do-12", "L05", name)
    (found,) = effects(out, "12", next_layer)
    chose = natural["L05"] == 12
    do = by_document(forced, forced[name], 28)
    free = by_document({"document": natural["document"][chose]}, natural[name][chose], 28)
    everyone = by_document(natural, natural[name], 28)
    assert (found["n_tokens_do"], found["n_tokens_observed"]) == (do.sum(), free.sum())
    distributions, scores, groups, dof = {}, {}, {}, {}
    for key, table in (("p_do", do), ("p_observed", free), ("p", everyone)):
        n = table.sum(axis=1)
        distributions[key] = table.sum(axis=0) / n.sum()
        groups[key] = (n > 0).sum()
        dof[key] = n.sum() ** 2 / (n**2).sum() - 1
        scores[key] = (
            (table - distributions[key] * n[:, None]) / n.sum() * np.sqrt(groups[key] / (groups[key] - 1))
        )
    assert groups["p_observed"] < 32
    assert found["n_groups_observed"] == groups["p_observed"]
    differences = {"difference": "p_observed", "difference_from_all": "p"}
    for row in found["next"]:
        j = row["state"]
        for key, distribution in distributions.items():
            reach = stats.t.ppf(0.975, dof[key]) * np.sqrt((scores[key][:, j] ** 2).sum())
            assert row[key] == pytest.approx(distribution[j])
            # Nothing seen is no certainty: there is no interval then.
            wanted = (
                None
                if distribution[j] == 0
                else pytest.approx([distribution[j] - reach, distribution[j] + reach])
            )
            assert row[f"{key}_ci95"] == wanted
        for key, other in differences.items():
            value = distributions["p_do"][j] - distributions[other][j]
            spread = np.sqrt(((scores["p_do"][:, j] - scores[other][:, j]) ** 2).sum())
            reach = stats.t.ppf(0.975, min(dof["p_do"], dof[other])) * spread
            assert row[key] == pytest.approx(value, abs=1e-12)
            assert row[f"{key}_ci95"] == pytest.approx([value - reach, value + reach], abs=1e-12)
    sizes = [abs(row["difference"]) for row in found["next"]]
    assert sizes == sorted(sizes, reverse=True)
    assert found["total_variation"] == pytest.approx(
        np.abs(distributions["p_do"] - distributions["p_observed"]).sum() / 2
    )

    def bits(p, q):
        p, q = p / p.sum(), q / q.sum()
        h = [-(v[v > 0] * np.log2(v[v > 0])).sum() for v in (p, q, (p + q) / 2)]
        return h[2] - (h[0] + h[1]) / 2

    whole = bits(do.sum(0), free.sum(0))
    left = [bits(do.sum(0) - do[g], free.sum(0) - free[g]) for g in range(32)]
    share = (do.sum(1) / do.sum() + free.sum(1) / free.sum()) / 2
    value, moves = without_bias(whole, left, share), (1 - share) * (whole - np.array(left))
    reach = stats.t.ppf(0.975, min(dof["p_do"], dof["p_observed"])) * np.std(moves, ddof=1) * np.sqrt(32)
    assert found["js_bits"] == pytest.approx(value)
    assert found["js_bits_ci95"] == pytest.approx([value - reach, value + reach])
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
