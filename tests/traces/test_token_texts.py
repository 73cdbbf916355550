"""Texts of token ids: pieces by hand, the `tokenizers` library as oracle, files of other kinds, other models' ids."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from routestat.errors import RoutestatError
from routestat.traces.token_texts import TokenTexts, read_token_texts, require_fitting, shown_text

TINY = Path(__file__).parents[2] / "data" / "tiny-mixtral"


def written(folder, vocabulary, **parts):
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({"model": {"type": "BPE", "vocab": vocabulary}, **parts}))
    return file


def test_byte_level_pieces(tmp_path):
    # Ġ is a space, Ċ a line end, Ã© the two bytes of é; â alone is the byte E2, the first of three.
    pieces = {"<s>": 0, "Ġthe": 1, "Ċ": 2, "Ã©": 3, "â": 4, "aâĢ": 5}
    special = [
        {"id": 0, "content": "<s>", "special": True},
        {"id": 6, "content": "<|pad|>", "special": False},
    ]
    found = read_token_texts(
        written(tmp_path, pieces, decoder={"type": "ByteLevel"}, added_tokens=special).parent
    )
    assert dict(found.texts) == {0: "<s>", 1: " the", 2: "\n", 3: "é", 4: "<E2>", 5: "a<E2 80>", 6: "<|pad|>"}
    assert (found.special, found.partial, found.size) == ({0}, {4, 5}, 7)


def test_pieces_with_marked_spaces_and_bytes(tmp_path):
    parts = {
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
            ],
        }
    }
    pieces = {"▁the": 0, "s": 1, "▁▁": 2, "<0x41>": 3, "<0xE2>": 4, "<0xZZ>": 5}
    found = read_token_texts(written(tmp_path, pieces, **parts))
    assert list(found.texts.values()) == [" the", "s", "  ", "A", "<E2>", "<0xZZ>"]
    assert found.partial == {4}


def test_pieces_with_scores_and_pieces_of_words(tmp_path):
    found = read_token_texts(
        written(tmp_path, [["<unk>", 0.0], ["▁a", -1.5]], pre_tokenizer={"type": "Metaspace"})
    )
    assert dict(found.texts) == {0: "<unk>", 1: " a"}
    found = read_token_texts(
        written(tmp_path, {"play": 0, "##ing": 1}, decoder={"type": "WordPiece", "prefix": "##"})
    )
    assert dict(found.texts) == {0: " play", 1: "ing"}


def test_texts_are_those_of_the_library():
    found, library = read_token_texts(TINY), Tokenizer.from_file(str(TINY / "tokenizer.json"))
    assert found.size == library.get_vocab_size() == 1024
    whole = [one for one in range(1024) if one not in found.partial | found.special]
    assert [found.text(one) for one in whole] == [library.decode([one]) for one in whole]
    assert all("�" in library.decode([one]) for one in found.partial)
    text = "L'été, 3 × 14 = 42.\n  def f(x): return x"
    ids = library.encode(text, add_special_tokens=False).ids
    assert all(one not in found.partial or "<" in found.text(one) for one in ids)
    assert "".join(
        found.text(one) for one in library.encode("a plain text", add_special_tokens=False).ids
    ) == ("a plain text")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("not json", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[1, 2]", "without model.vocab"),
        ('{"model": {"vocab": {}}}', "without model.vocab"),
        ('{"model": {"vocab": 5}}', "without model.vocab"),
        ('{"model": {"vocab": {"a": "b", "c": -4, "d": 1e99}}}', "without model.vocab"),
        ('{"model": {"vocab": {"a": 99999999999}}}', "without model.vocab"),
    ],
)
def test_a_file_of_another_kind_is_one_clear_error(tmp_path, content, complaint):
    file = tmp_path / "tokenizer.json"
    file.write_text(content)
    with pytest.raises(RoutestatError, match=complaint) as found:
        read_token_texts(file)
    assert "\n" not in str(found.value)


def test_a_binary_file_and_folders_without_one(tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RoutestatError, match="no JSON"):
        read_token_texts(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(RoutestatError, match=r"expected a folder with a tokenizer\.json"):
        read_token_texts(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(RoutestatError, match=r"got only tokenizer\.model; AutoTokenizer"):
        read_token_texts(tmp_path)
    with pytest.raises(RoutestatError, match="got nothing there"):
        read_token_texts(tmp_path / "nowhere")


def test_ids_of_another_model():
    texts = TokenTexts({0: "a", 1: "b", 3: "d"}, source="t.json")
    assert require_fitting(texts, np.array([0, 1, -1, 3])) == ""
    with pytest.raises(RoutestatError, match=r"t.json: .* one of 4 ids, but the trace has id 7; give"):
        require_fitting(texts, np.array([0, 7]))
    with pytest.raises(RoutestatError, match="the trace has none; leave --tokenizer out"):
        require_fitting(texts, np.array([-1, -1]))
    assert "1 ids without a text, 50.0% of the tokens" in require_fitting(texts, np.array([2, 3]))
    large = TokenTexts({one: "x" for one in range(100)}, source="t.json")
    assert "uses none above 3: is it the tokenizer of this model?" in require_fitting(
        large, np.arange(4000) % 4
    )
    assert require_fitting(large, np.arange(4000) % 90) == ""
    assert require_fitting(large, np.arange(40) % 4) == ""


def test_texts_are_shown_in_one_line():
    assert shown_text(" a\n\tb\x00\u202e\ud800") == "␣a⏎⇥b<U+0000><U+202E><U+D800>"
