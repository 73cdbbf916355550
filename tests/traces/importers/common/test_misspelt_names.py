import numpy as np
import pytest

from routestat.traces.importers.common.misspelt_names import MisspeltNames, closest_name
from routestat.traces.importers.vllm import READ
from tests.traces.importers.common.responses import one
from tests.traces.importers.known import stored


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("prompt_token_id", "prompt_token_ids"),
        ("prompt-token-ids", "prompt_token_ids"),
        ("ROUTED_EXPERTS", "routed_experts"),
        (" usage", "usage"),
        ("strat", "start"),
        ("routedexperts", "routed_experts"),
    ],
)
def test_a_misspelt_name_is_known_by_its_likeness(name, known):
    assert closest_name(name, READ) == known


@pytest.mark.parametrize(
    "name",
    [
        "prompt_token_ids",
        "completion_tokens_details",
        "prompt_tokens_details",
        "finish_reason",
        "text",
        "logprobs",
        "stop_reason",
        "created",
        "model",
        "index",
        "kv_transfer_params",
        "cached_tokens",
        "ids",
        7,
    ],
)
def test_what_engines_write_besides_is_not_accused(name):
    assert closest_name(name, READ) is None


def test_names_are_counted_in_objects_and_lists_of_objects():
    misspelt = MisspeltNames(("choices", "token_ids"))
    for _ in range(2):
        misspelt.look({"choices": [{"token_id": [1]}, {"token_ids": [2], "text": "x"}]})
    assert misspelt.notes() == ["'token_id' is not read (2 times in the file); did you mean token_ids?"]


def test_depth_is_no_matter():
    record: dict = {}
    for _ in range(5000):
        record = {"a": record}
    assert not MisspeltNames(("b",)).notes()
    MisspeltNames(("b",)).look(record)


def test_a_misspelt_field_and_array_are_noted(capsys, tmp_path, experts):
    (tmp_path / "x.json").write_text(one(experts, prompt_token_id=[1, 2, 3]))
    _, _, err = stored(capsys, tmp_path / "x.json", tmp_path, "--n-experts", 8)
    assert "'prompt_token_id' is not read (1 times in the file); did you mean prompt_token_ids?" in err
    (tmp_path / "n").mkdir()
    np.savez(tmp_path / "x.npz", experts=experts, postion=np.arange(9), other=np.arange(2))
    _, _, err = stored(capsys, tmp_path / "x.npz", tmp_path / "n")
    assert "array 'postion' is not read; did you mean position?" in err
    assert "array 'other' is not read\n" in err
