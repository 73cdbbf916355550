"""Documents that lack what others have are noted."""

import json

from tests.traces.importers.known import npy, stored


def test_documents_that_lack_what_others_have_are_noted(capsys, tmp_path, experts):
    whole = {
        "prompt_token_ids": [1, 2, 3, 4],
        "choices": [{"token_ids": [5] * 6, "routed_experts": npy(experts)}],
    }
    bare = {"choices": [{"routed_experts": npy(experts)}]}
    none = {"choices": [{"routed_experts": npy(experts[:0])}]}
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, (whole, bare, none))))
    trace, _, err = stored(capsys, tmp_path / "x.jsonl", tmp_path, "--n-experts", 8)
    assert "1 of 3 documents have no rows and are left out" in err
    assert "2 of 3 documents have no token ids, the others do" in err
    assert trace.documents.num_rows == 2
