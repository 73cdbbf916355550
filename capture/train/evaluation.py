"""Evaluation of a trained model: bits per byte on held-out text, those of a bigram model, and the experts' load."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import AutoModelForCausalLM

from capture.hooks import Recorder, Step
from capture.train.data import token_bytes
from capture.train.recipe import START_ID

ROWS = 8
IGNORED = -100
LOAD = "load.csv"


@dataclass(frozen=True)
class Evaluation:
    """Results on held-out text.

    Attributes
    ----------
    tokens, n_bytes : int
        Number that was predicted.
    nats : float
        Cross-entropy of the model per token.
    bits, bigram_bits : float
        Cross-entropy per byte of the model, and of a bigram model of tokens counted on the training text.
    load : float ``[layer, expert]``
        Share of tokens for which each expert was executed; top_k / experts if the load is even.
    """

    tokens: int
    n_bytes: int
    nats: float
    bits: float
    bigram_bits: float
    load: NDArray[np.float64]

    @property
    def dead(self) -> int:
        """Number of experts over all layers that were executed for no token."""
        return int((self.load == 0).sum())


def evaluate(
    folder: Path, tokenizer: Any, stream: NDArray[np.unsignedinteger], windows: Sequence[NDArray[np.int64]]
) -> Evaluation:
    """Evaluate a saved model on held-out text.

    Parameters
    ----------
    folder : Path
        The model is loaded from it, in float32.
    tokenizer : transformers tokenizer
    stream : int ``[token]``
        Training text, for the bigram model.
    windows : list of int ``[token]``
        Held-out text, each window after a start token.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    config = model.config
    served = np.zeros((config.num_hidden_layers, config.num_local_experts), np.int64)
    real = np.zeros(0, bool)

    def add(step: Step) -> None:
        for layer, experts in enumerate(step.experts.values()):
            served[layer] += np.bincount(experts[real].reshape(-1), minlength=served.shape[1])

    nats = 0.0
    with torch.inference_mode(), Recorder(model, on_step=add):
        for first in range(0, len(windows), ROWS):
            tokens, wanted = _batch(windows[first : first + ROWS])
            real = (wanted != IGNORED).numpy().reshape(-1)
            logits = model(input_ids=tokens, use_cache=False).logits
            nats += float(functional.cross_entropy(logits.flatten(0, 1), wanted.reshape(-1), reduction="sum"))
    predicted = np.concatenate([window[1:] for window in windows])
    n_bytes = int(token_bytes(tokenizer)[predicted].sum())
    bigram = bigram_nats(stream, windows, config.vocab_size)
    to_bits = 1 / (np.log(2) * max(n_bytes, 1))
    load = served / len(predicted)
    return Evaluation(len(predicted), n_bytes, nats / len(predicted), nats * to_bits, bigram * to_bits, load)


def _batch(windows: Sequence[NDArray[np.int64]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and the tokens that follow each, padded on the right, which causal attention ignores."""
    width = max(len(window) for window in windows) - 1
    tokens = np.zeros((len(windows), width), np.int64)
    wanted = np.full((len(windows), width), IGNORED, np.int64)
    for row, window in enumerate(windows):
        tokens[row, : len(window) - 1] = window[:-1]
        wanted[row, : len(window) - 1] = window[1:]
    return torch.from_numpy(tokens), torch.from_numpy(wanted)


def bigram_nats(
    stream: NDArray[np.unsignedinteger], windows: Sequence[NDArray[np.int64]], vocab: int
) -> float:
    """Compute the cross-entropy (nats) of the windows under a bigram model, smoothed with the unigram.

    Witten and Bell's smoothing: after a token with n occurrences and T different successors the unigram has the
    weight T / (n + T). After a start token the unigram alone is used.

    References
    ----------
    Witten & Bell (1991), The zero-frequency problem. IEEE Trans. Inf. Theory 37, method C.
    """
    before, after = stream[:-1].astype(np.int64), stream[1:].astype(np.int64)
    pairs, counts = np.unique(before * vocab + after, return_counts=True)
    places = np.bincount(before, minlength=vocab)
    kinds = np.bincount(pairs // vocab, minlength=vocab)
    unigram = (np.bincount(stream, minlength=vocab) + 1) / (len(stream) + vocab)
    first = np.concatenate([window[:-1] for window in windows])
    second = np.concatenate([window[1:] for window in windows])
    wanted = first * vocab + second
    index = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    seen = np.where(pairs[index] == wanted, counts[index], 0)
    known = np.where((first == START_ID) | (places[first] == 0), 0.0, 1.0)
    total = np.maximum(places[first] + kinds[first], 1)
    probability = known * (seen + kinds[first] * unigram[second]) / total + (1 - known) * unigram[second]
    return float(-np.log(probability).sum())


def write_load(folder: Path, load: NDArray[np.float64]) -> None:
    """Write ``load.csv``: one row per layer, the share of tokens for which each expert was executed."""
    with (folder / LOAD).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["layer", *(f"expert_{expert}" for expert in range(load.shape[1]))])
        writer.writerows([layer, *(f"{share:.5f}" for share in row)] for layer, row in enumerate(load))
