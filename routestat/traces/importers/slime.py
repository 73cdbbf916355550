"""Rollout routing replay of slime and verl, as ``.npz`` or ``.pt``.

- slime: ``rollout_routed_experts`` int32 ``[tokens − 1, layers, k]`` per sample. A ``.pt`` holds
  ``{"samples": [{"tokens", "response_length", "rollout_routed_experts"}, …]}`` (its debug rollout data) or lists of
  the batch, ``{"rollout_routed_experts": […], "tokens": […], "response_lengths": […]}``. An ``.npz`` holds
  ``rollout_routed_experts`` of one sample, or ``rollout_routed_experts_0``, ``_1`` … with ``tokens_0``, ``tokens_1``
  … and ``response_lengths [samples]`` where known.
- verl: ``routed_experts [samples, sequence, layers, k]`` with zeros on padding; where known also ``attention_mask``,
  ``input_ids [samples, sequence]`` and ``responses [samples, answer]`` (prompts are padded on the left, answers on
  the right). Without the mask a sample runs from its first row that is not all zeros to its last, for which k must
  exceed 1.

One sample is one document; tokens before the response are prefill. The last token is never forwarded: no row.
Layers may be all layers of the model with zeros for dense ones: then name the MoE layers. A ``.pt`` is read with
``weights_only=True``: tensors, arrays of numbers, strings and containers, nothing else.

Sources: THUDM/slime, ``slime/rollout/sglang_rollout.py``; volcengine/verl, ``verl/experimental/agent_loop``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.axes import oriented, refuse_doubtful_axes
from routestat.traces.importers.checks import narrow
from routestat.traces.importers.imported import Document, Imported, Wanted, cluster_of, join
from routestat.traces.importers.opening import files_of, integers, numpy_file, torch_file

KEY = "rollout_routed_experts"


def read_slime(path: Path, wanted: Wanted) -> Imported:
    """Read rollouts of slime or verl.

    Raises
    ------
    FormatError
        Naming the file, the sample and the field that is wrong.
    """
    found: list[Document] = []
    for file in files_of(path, (".npz", ".pt", ".pth")):
        held = torch_file(file) if file.suffix in (".pt", ".pth") else numpy_file(file)
        if not isinstance(held, Mapping):
            raise FormatError(f"{file}: wanted a dictionary, got {type(held).__name__}")
        if "routed_experts" in held:
            found += _from_verl(file, held, wanted)
        else:
            found += _from_slime(file, held, wanted)
    return join(
        path,
        found,
        wanted,
        engine="slime",
        extra={
            "last_token": "never forwarded by the engine: it has no row; see unrouted_tokens of the documents"
        },
    )


def _from_slime(file: Path, held: Mapping[str, Any], wanted: Wanted) -> Iterator[Document]:
    for index, (place, sample) in enumerate(_samples(file, held)):
        where = f"{file}: {place}"
        if sample.get(KEY) is None:
            raise FormatError(f"{where}: no {KEY}; it has {', '.join(sample) or 'nothing'}")
        experts = integers(f"{where}.{KEY} [tokens − 1, layers, k]", sample[KEY], 3)
        experts = oriented(experts, wanted.axes)
        tokens = sample.get("tokens")
        tokens = None if tokens is None else integers(f"{where}.tokens", tokens, 1)
        if tokens is not None and len(experts) not in (len(tokens), len(tokens) - 1):
            swapped = wanted.axes is None and experts.shape[1] in (len(tokens), len(tokens) - 1)
            hint = "; the second axis fits: --axes layers,tokens,k" if swapped else ""
            raise FormatError(
                f"{where}.{KEY}: {len(experts)} rows where {len(tokens)} tokens have one less{hint}"
            )
        n_tokens = len(experts) + 1 if tokens is None else len(tokens)
        response, n_prompt = sample.get("response_length"), None
        if response is not None:
            n_prompt = n_tokens - int(integers(f"{where}.response_length", response, 0))
            if not 0 <= n_prompt <= n_tokens:
                raise FormatError(f"{where}.response_length: {response} of {n_tokens} tokens")
        cluster = cluster_of(where, sample, wanted)
        name = f"{file.stem} {index}"
        known = tokens is not None
        yield Document(where, narrow(experts), name, 0, n_prompt, tokens, n_tokens, cluster, known)


def _samples(file: Path, held: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The samples of a file in any of slime's forms, each with its place in words."""
    if isinstance(held.get("samples"), list):
        for index, sample in enumerate(held["samples"]):
            if not isinstance(sample, Mapping):
                raise FormatError(f"{file}: samples[{index}] must be a dictionary")
            yield f"samples[{index}]", sample
        return
    if isinstance(held.get(KEY), list):
        columns = {
            KEY: held[KEY],
            "tokens": held.get("tokens"),
            "response_length": held.get("response_lengths"),
        }
        n = len(held[KEY])
        for name, column in columns.items():
            if column is not None and len(column) != n:
                raise FormatError(f"{file}: {name} has {len(column)} samples, {KEY} has {n}")
        for index in range(n):
            yield (
                f"[{index}]",
                {name: column[index] for name, column in columns.items() if column is not None},
            )
        return
    if KEY in held:
        yield "sample", {"response_length": held.get("response_length"), **held}
        return
    numbers = sorted(
        int(name.removeprefix(KEY + "_")) for name in held if name.removeprefix(KEY + "_").isdigit()
    )
    if not numbers:
        raise FormatError(
            f"{file}: no {KEY} and no routed_experts; it has {', '.join(map(str, held)) or 'nothing'}"
        )
    lengths = held.get("response_lengths")
    if lengths is not None and len(lengths) <= numbers[-1]:
        raise FormatError(
            f"{file}: response_lengths has {len(lengths)} samples where {KEY} goes to {numbers[-1]}"
        )
    for index in numbers:
        length = None if lengths is None else lengths[index]
        yield (
            f"sample {index}",
            {KEY: held[f"{KEY}_{index}"], "tokens": held.get(f"tokens_{index}"), "response_length": length},
        )


def _from_verl(file: Path, held: Mapping[str, Any], wanted: Wanted) -> Iterator[Document]:
    experts = integers(f"{file}: routed_experts [samples, sequence, layers, k]", held["routed_experts"], 4)
    experts = oriented(experts, wanted.axes)
    beside = {}
    for name in ("attention_mask", "input_ids"):
        if held.get(name) is not None:
            beside[name] = integers(f"{file}: {name}", held[name], 2)
            if beside[name].shape != experts.shape[:2]:
                swapped = wanted.axes is None and beside[name].shape == experts.shape[:3:2]
                hint = "; the third axis fits: --axes layers,tokens,k" if swapped else ""
                raise FormatError(
                    f"{file}: {name} is {list(beside[name].shape)}, routed_experts {list(experts.shape)}{hint}"
                )
    answer = held.get("responses")
    width = None if answer is None else experts.shape[1] - integers(f"{file}: responses", answer, 2).shape[1]
    if width is not None and width < 0:
        raise FormatError(f"{file}: responses are longer than the sequence of routed_experts")
    if wanted.axes is None and not beside and len(experts):
        refuse_doubtful_axes(str(file), [experts[0]])
    if "attention_mask" not in beside and experts.shape[3] == 1:
        raise FormatError(f"{file}: with k = 1 zeros are a choice too: padding needs attention_mask")
    for index in range(len(experts)):
        one = {name: values[index] for name, values in beside.items()}
        yield _padded(f"{file}: sample {index}", f"{file.stem} {index}", experts[index], one, width)


def _padded(
    where: str, name: str, experts: NDArray, beside: Mapping[str, NDArray], width: int | None
) -> Document:
    """One padded sample: its own columns, without the last token, whose zeros were never filled."""
    mask = beside.get("attention_mask")
    routed: NDArray[np.bool_] = np.asarray(np.any(experts != 0, axis=(1, 2)))
    columns = np.flatnonzero(routed if mask is None else mask)
    if not len(columns):
        raise FormatError(f"{where}: nothing but {'zeros' if mask is None else 'padding'}")
    start, stop = int(columns[0]), int(columns[-1]) + 1
    if mask is not None and len(columns) != stop - start:
        raise FormatError(f"{where}: attention_mask has gaps")
    n_tokens = stop - start if mask is not None else stop - start + 1
    if mask is not None and (not routed[stop - 1] or experts.shape[2] == 1):
        stop -= 1
    ids = beside.get("input_ids")
    tokens = None if ids is None else ids[start : start + n_tokens]
    n_prompt = None if width is None else max(width - start, 0)
    return Document(where, narrow(experts[start:stop]), name, 0, n_prompt, tokens, n_tokens)
