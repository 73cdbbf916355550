import numpy as np
import pytest

from tests.traces.importers.known import chosen, refused, stored, subsets


@pytest.fixture
def experts():
    """Rows of ten tokens of which the last has none, 3 layers, 2 of 8."""
    return chosen(np.random.default_rng(7), 9, 3, 8, 2)


def save(tmp_path, **arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    return tmp_path / "x.npz"


def test_one_sample_of_slime(capsys, tmp_path, experts):
    path = save(tmp_path, rollout_routed_experts=experts, tokens=np.arange(10) + 50, response_length=4)
    trace, got, err = stored(capsys, path, tmp_path, "--n-experts", 8)
    assert "recognised as routing replay of slime or verl" in err
    assert np.array_equal(subsets(got.experts), subsets(experts))
    assert got.token.tolist() == list(range(50, 59))
    assert got.decode.tolist() == [False] * 6 + [True] * 3
    assert trace.documents.column("unrouted_tokens").to_pylist() == [1]


def test_numbered_samples_of_slime(capsys, tmp_path, experts):
    path = save(
        tmp_path,
        rollout_routed_experts_0=experts,
        rollout_routed_experts_1=experts[:5],
        tokens_0=np.arange(10),
        tokens_1=np.arange(6),
        response_lengths=[4, 1],
    )
    _, got, _ = stored(capsys, path, tmp_path, "--n-experts", 8, "--layers", "4-6")
    assert got.document.tolist() == [0] * 9 + [1] * 5
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate([experts, experts[:5]])))
    assert got.decode.tolist() == [False] * 6 + [True] * 3 + [False] * 5


def padded(experts):
    """Two samples in twelve columns: prompts of 6 and 3 end before column 7, answers start there."""
    routed = np.zeros((2, 12, 3, 2), np.int32)
    mask = np.zeros((2, 12), np.int64)
    for row, (start, n) in enumerate(((1, 10), (4, 6))):
        mask[row, start : start + n] = 1
        routed[row, start : start + n - 1] = experts[: n - 1]
    return routed, mask


@pytest.mark.parametrize("with_mask", [True, False])
def test_padded_samples_of_verl(capsys, tmp_path, experts, with_mask):
    routed, mask = padded(experts)
    beside = {"attention_mask": mask} if with_mask else {}
    ids = np.arange(24).reshape(2, 12)
    path = save(tmp_path, routed_experts=routed, input_ids=ids, responses=ids[:, 7:], **beside)
    trace, got, _ = stored(capsys, path, tmp_path, "--n-experts", 8)
    assert got.document.tolist() == [0] * 9 + [1] * 5
    assert got.position.tolist() == [*range(9), *range(5)]
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate([experts, experts[:5]])))
    assert got.token.tolist() == [*range(1, 10), *range(16, 21)]
    assert got.decode.tolist() == [False] * 6 + [True] * 3 + [False] * 3 + [True] * 2
    assert trace.documents.column("unrouted_tokens").to_pylist() == [1, 1]


def test_torch_files_of_slime_and_verl(capsys, tmp_path, experts):
    torch = pytest.importorskip("torch")
    samples = [
        # NumPy arrays, as slime's debug rollout data holds them, and tensors.
        {"index": 0, "tokens": list(range(10)), "response_length": 4, "rollout_routed_experts": experts},
        {
            "index": 1,
            "tokens": list(range(6)),
            "response_length": 2,
            "rollout_routed_experts": torch.from_numpy(experts[:5]),
        },
    ]
    torch.save({"rollout_id": 3, "samples": samples}, tmp_path / "x.pt")
    _, got, err = stored(capsys, tmp_path / "x.pt", tmp_path, "--n-experts", 8)
    assert "slime" in err
    both = np.concatenate([experts, experts[:5]])
    assert np.array_equal(subsets(got.experts), subsets(both))
    assert got.decode.tolist() == [False] * 6 + [True] * 3 + [False] * 4 + [True]
    batch = {
        "rollout_routed_experts": [torch.from_numpy(experts), torch.from_numpy(experts[:5])],
        "tokens": [torch.arange(10), torch.arange(6)],
        "response_lengths": [4, 2],
    }
    routed, mask = padded(experts)
    verl = {"routed_experts": torch.from_numpy(routed), "attention_mask": torch.from_numpy(mask)}
    for name, held in (("batch", batch), ("verl", verl)):
        torch.save(held, tmp_path / f"{name}.pt")
        (tmp_path / name).mkdir()
        _, got, _ = stored(capsys, tmp_path / f"{name}.pt", tmp_path / name, "--n-experts", 8)
        assert np.array_equal(subsets(got.experts), subsets(both))


def test_what_is_wrong_is_named(capsys, tmp_path, experts):
    def said(*options, **arrays):
        return refused(capsys, save(tmp_path, **arrays), tmp_path, "--n-experts", 8, *options)

    def field(array):
        return {"rollout_routed_experts": array}

    assert "sample.rollout_routed_experts: 9 rows where 12 tokens" in said(
        **field(experts), tokens=np.arange(12)
    )
    assert "expected integers of 3 axes, got int32 [9, 6]" in said(**field(experts.reshape(9, 6)))
    assert "expected integers of 3 axes, got float64" in said(**field(experts.astype(float)))
    assert "response_length: 40 of 10 tokens" in said(**field(experts), response_length=40)
    assert "layers 0-2" not in said(**field(np.where(experts == 5, 9, experts)))
    assert "is outside 0 … 7" in said(**field(np.where(experts == 5, 9, experts)))
    dense = experts.copy()
    dense[:, 0] = 0
    assert "name the MoE layers: --layers 1-2" in said(**field(dense))
    routed, mask = padded(experts)
    assert "attention_mask is [2, 11], routed_experts [2, 12, 3, 2]" in said(
        routed_experts=routed, attention_mask=mask[:, :11]
    )
    gap = mask.copy()
    gap[1, 5] = 0
    assert "sample 1: attention_mask has gaps" in said(routed_experts=routed, attention_mask=gap)
    hole = routed.copy()
    hole[1, 5] = 0
    repeated = (
        "sample 1, document x 1, position 1: [0, 0] in every layer repeats an expert: one of 1 dummy rows"
    )
    assert repeated in said(routed_experts=hole, attention_mask=mask)
    assert "padding needs attention_mask" in said(routed_experts=routed[..., :1])
    assert "response_lengths has 1 samples where" in said(
        rollout_routed_experts_0=experts, rollout_routed_experts_1=experts, response_lengths=[4]
    )


def test_pickled_objects_are_not_loaded(capsys, tmp_path):
    path = save(tmp_path, rollout_routed_experts=np.array([{}], dtype=object))
    assert "not a readable file of plain arrays" in refused(capsys, path, tmp_path)
