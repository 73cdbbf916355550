"""Training data: a tokenizer, a stream of tokens to train on, and held-out documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from capture.corpus import Document
from capture.train.recipe import END, END_ID, SPECIAL, START, START_ID, UNKNOWN, Recipe
from routestat.errors import RoutestatError

HELD_OUT_SHARE = 0.05
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class TrainingData:
    """The data that a model is trained on and evaluated with.

    Attributes
    ----------
    tokenizer : transformers tokenizer
    stream : unsigned int ``[token]``
        All documents to train on, an end token after each.
    held_out : list of int ``[token]``
        Documents that are used neither for the tokenizer nor for the model.
    n_documents : int
        Number of documents to train on.
    """

    tokenizer: Any
    stream: NDArray[np.unsignedinteger]
    held_out: list[NDArray[np.int64]]
    n_documents: int

    @property
    def held_out_share(self) -> float:
        """Share of the tokens that are held out; more than intended where there are few documents."""
        held = sum(len(document) for document in self.held_out)
        return held / (held + len(self.stream) - self.n_documents)


def prepare_data(documents: Sequence[Document], recipe: Recipe, out: Path) -> TrainingData:
    """Hold documents out, train the tokenizer or read the one in `out`, and encode all documents.

    Raises
    ------
    RoutestatError
        If there is too little text to hold a document out and fill a step, or the tokenizer in `out` is damaged.
    """
    texts = [document.text for document in documents if document.text]
    if len(texts) < 2:
        raise RoutestatError(
            f"at least 2 documents with text are needed, one of them to be held out, got {len(texts)}; split the "
            "file, or give a .jsonl file with a document in each line"
        )
    kept, held = split_documents([len(text.encode()) for text in texts], recipe.seed)
    file = out / TOKENIZER
    tokenizer = _read(file) if file.exists() else train_tokenizer([texts[i] for i in kept], recipe.vocab)
    stream = np.concatenate([np.append(_encode(tokenizer, texts[i]), END_ID) for i in kept])
    if len(stream) // recipe.context <= recipe.rows:
        raise RoutestatError(
            f"{len(stream):,} tokens to train on where a step takes {recipe.batch_tokens:,} and one row more: "
            "give more text, or lower --batch-tokens"
        )
    kind = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    held_out = [_encode(tokenizer, texts[i]) for i in held]
    return TrainingData(wrap(tokenizer, recipe.context), stream.astype(kind), held_out, len(kept))


def train_tokenizer(texts: Sequence[str], vocab: int) -> Tokenizer:
    """Train a byte-level BPE: it encodes any text, single digits, and a start token before a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", pair=f"{START} $A {START} $B", special_tokens=[(START, START_ID)]
    )
    return tokenizer


def wrap(tokenizer: Tokenizer, context: int) -> Any:
    """Return the tokenizer as transformers saves and loads it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        padding_side="left",
        model_max_length=context,
    )


def token_bytes(tokenizer: Any) -> NDArray[np.int64]:
    """Return the number of bytes of each token ``[token]``; 0 for special tokens."""
    # In a byte-level vocabulary every character is one byte.
    words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return np.array([0 if word in SPECIAL else len(word) for word in words], np.int64)


def _read(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing narrower
        raise RoutestatError(
            f"{file}: not a tokenizer ({error}); remove it, and --resume trains the same one from the same text"
        ) from None


def _encode(tokenizer: Tokenizer, text: str) -> NDArray[np.int64]:
    return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)


def split_documents(sizes: Sequence[int], seed: int) -> tuple[list[int], list[int]]:
    """Split documents into those to train on and those held out, about 5 % of the bytes and at most twice that."""
    wanted = HELD_OUT_SHARE * sum(sizes)
    held: list[int] = []
    taken = 0
    for i in np.random.default_rng([seed, 0]).permutation(len(sizes)).tolist():
        if taken < wanted and taken + sizes[i] <= 2 * wanted:
            held.append(i)
            taken += sizes[i]
    held = sorted(held) or [int(np.argmin(sizes))]
    return [i for i in range(len(sizes)) if i not in set(held)], held
