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
Layers may be all layers of the model with zeros for dense ones: then name the MoE layers. A sample that failed
(aborted, no rows) stops the reading, or is left out on request. A ``.pt`` is read with
``weights_only=True``: tensors, arrays of numbers, strings and containers, nothing else.

Sources: THUDM/slime, ``slime/rollout/sglang_rollout.py``; volcengine/verl, ``verl/experimental/agent_loop``.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_axes import oriented, refuse_doubtful_axes
from routestat.traces.importers.common.array_files import integers, numpy_file
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.documents import (
    CLUSTER_FIELDS,
    SourceDocument,
    cluster_of,
)
from routestat.traces.importers.common.failed_records import FailedRecords
from routestat.traces.importers.common.messages import kind_of, listed
from routestat.traces.importers.common.misspelt_names import MisspeltNames
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.requests import join_requests
from routestat.traces.importers.common.source_files import files_of
from routestat.traces.importers.common.torch_files import torch_file

KEY = "rollout_routed_experts"
NUMBERED = re.compile(rf"({KEY}|tokens)_(0|[1-9]\d{{0,8}})", re.ASCII)
READ = (
    *CLUSTER_FIELDS,
    "samples",
    KEY,
    "tokens",
    "response_length",
    "response_lengths",
    "routed_experts",
    "attention_mask",
    "input_ids",
    "responses",
)


def read_slime(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read rollouts of slime or verl.

    Raises
    ------
    FormatError
        Naming the file, the sample and the field that is wrong.
    """
    found: list[SourceDocument] = []
    failed = FailedRecords(path, options.skip_failed)
    misspelt = MisspeltNames(READ, options.cluster)
    files = files_of(path, (".npz", ".pt", ".pth"))
    for file in files:
        held = torch_file(file) if file.suffix in (".pt", ".pth") else numpy_file(file)
        if not isinstance(held, Mapping):
            raise FormatError(f"{file}: expected a dictionary, got {kind_of(held)}")
        misspelt.look(_unnumbered(held))
        if "routed_experts" in held:
            found += _from_verl(file, held, options, failed)
        else:
            found += _from_slime(file, held, options, failed)
    return join_requests(path, found, options, "slime", failed, misspelt, files)


def _from_slime(
    file: Path, held: Mapping[str, Any], options: ImportOptions, failed: FailedRecords
) -> Iterator[SourceDocument]:
    for index, (place, sample) in enumerate(_samples(file, held)):
        where = f"{file}: {place}"
        lacks = f"no {KEY}; it has {listed(sample)}"
        if not failed.keep(where, sample, None, lacks if sample.get(KEY) is None else None):
            continue
        experts = integers(f"{where}.{KEY} [tokens − 1, layers, k]", sample[KEY], 3)
        experts = oriented(experts, options.axes)
        tokens = sample.get("tokens")
        tokens = None if tokens is None else integers(f"{where}.tokens", tokens, 1)
        if tokens is not None and len(experts) not in (len(tokens), len(tokens) - 1):
            swapped = options.axes is None and experts.shape[1] in (len(tokens), len(tokens) - 1)
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
        cluster = cluster_of(where, sample, options)
        name = f"{file.stem} {index}"
        known = tokens is not None
        yield SourceDocument(
            where, narrow(experts), name, 0, n_prompt, tokens, n_tokens, cluster, axes_known=known
        )


def _samples(file: Path, held: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the samples of a file in any of slime's forms, each with its place in words; None is an empty one."""
    if isinstance(held.get("samples"), list):
        for index, sample in enumerate(held["samples"]):
            if sample is not None and not isinstance(sample, Mapping):
                raise FormatError(f"{file}: samples[{index}] must be a dictionary, got {kind_of(sample)}")
            yield f"samples[{index}]", sample or {}
        return
    if isinstance(held.get(KEY), list):
        n = len(held[KEY])
        columns = {
            KEY: held[KEY],
            "tokens": _per_sample(file, held, "tokens", n),
            "response_length": _per_sample(file, held, "response_lengths", n),
        }
        for index in range(n):
            yield (
                f"[{index}]",
                {name: column[index] for name, column in columns.items() if column is not None},
            )
        return
    if KEY in held:
        yield "sample", {"response_length": held.get("response_length"), **held}
        return
    yield from _numbered(file, held)


def _per_sample(file: Path, held: Mapping[str, Any], name: str, n: int) -> Any:
    """Return a list or array with an item for each of `n` samples; None if it is absent."""
    column = held.get(name)
    if column is None:
        return None
    several = isinstance(column, list) or (isinstance(column, np.ndarray) and column.ndim)
    if not several:
        raise FormatError(f"{file}: {name} must be a list, got {kind_of(column)}")
    if len(column) != n:
        raise FormatError(f"{file}: {name} has {len(column)} samples where {KEY} has {n}")
    return column


def _numbered(file: Path, held: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the samples of an archive whose members have the number of their sample."""
    members: dict[str, set[int]] = {KEY: set(), "tokens": set()}
    for name in held:
        if found := NUMBERED.fullmatch(str(name)):
            members[found[1]].add(int(found[2]))
    numbers = sorted(members[KEY])
    if not numbers:
        raise FormatError(f"{file}: no {KEY} and no routed_experts; it has {listed(held)}")
    without = sorted(members["tokens"] - members[KEY])
    if without:
        raise FormatError(f"{file}: there is tokens_{without[0]} but no {KEY}_{without[0]}")
    lengths = _per_sample(file, held, "response_lengths", numbers[-1] + 1)
    for index in numbers:
        length = None if lengths is None else lengths[index]
        yield (
            f"sample {index}",
            {KEY: held[f"{KEY}_{index}"], "tokens": held.get(f"tokens_{index}"), "response_length": length},
        )


def _unnumbered(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of a file without those of numbered samples."""
    return {name: value for name, value in held.items() if not NUMBERED.fullmatch(str(name))}


def _from_verl(
    file: Path, held: Mapping[str, Any], options: ImportOptions, failed: FailedRecords
) -> Iterator[SourceDocument]:
    experts = integers(f"{file}: routed_experts [samples, sequence, layers, k]", held["routed_experts"], 4)
    experts = oriented(experts, options.axes)
    beside = {}
    for name in ("attention_mask", "input_ids"):
        if held.get(name) is not None:
            beside[name] = integers(f"{file}: {name}", held[name], 2)
            if beside[name].shape != experts.shape[:2]:
                swapped = options.axes is None and beside[name].shape == experts.shape[:3:2]
                hint = "; the third axis fits: --axes layers,tokens,k" if swapped else ""
                raise FormatError(
                    f"{file}: {name} is {list(beside[name].shape)}, routed_experts {list(experts.shape)}{hint}"
                )
    mask = beside.get("attention_mask")
    if mask is not None and mask.size and not 0 <= mask.min() <= mask.max() <= 1:
        raise FormatError(f"{file}: attention_mask must be 0 or 1, got {mask.min()} … {mask.max()}")
    width = _prompt_width(file, held, experts, beside.get("input_ids"))
    if options.axes is None and not beside and len(experts):
        refuse_doubtful_axes(str(file), [experts[0]])
    if "attention_mask" not in beside and experts.shape[3] == 1:
        raise FormatError(f"{file}: with k = 1 zeros are a choice too: padding needs attention_mask")
    for index in range(len(experts)):
        one = {name: values[index] for name, values in beside.items()}
        sample = _padded(
            f"{file}: sample {index}", f"{file.stem} {index}", experts[index], one, width, failed
        )
        if sample is not None:
            yield sample


def _prompt_width(
    file: Path, held: Mapping[str, Any], experts: NDArray[np.integer], tokens: NDArray[np.integer] | None
) -> int | None:
    """Return the number of columns before the answers, which end every sequence; None if unknown."""
    if held.get("responses") is None:
        return None
    answers = integers(f"{file}: responses", held["responses"], 2)
    width = experts.shape[1] - answers.shape[1]
    if width < 0 or len(answers) != len(experts):
        raise FormatError(
            f"{file}: responses is {list(answers.shape)} where routed_experts has {list(experts.shape[:2])}"
        )
    if tokens is not None and not np.array_equal(tokens[:, width:], answers):
        raise FormatError(f"{file}: responses are not the end of input_ids; is it another batch's?")
    return width


def _padded(
    where: str,
    name: str,
    experts: NDArray[np.integer],
    beside: Mapping[str, NDArray[np.integer]],
    width: int | None,
    failed: FailedRecords,
) -> SourceDocument | None:
    """Read one padded sample without its last token, which was never filled; None if left out."""
    mask = beside.get("attention_mask")
    routed: NDArray[np.bool_] = np.asarray(np.any(experts != 0, axis=(1, 2)))
    columns = np.flatnonzero(routed if mask is None else mask)
    if not len(columns) or (experts.shape[2] > 1 and not routed.any()):
        failed.leave_out(where, f"nothing but {'zeros' if len(columns) or mask is None else 'padding'}")
        return None
    start, stop = int(columns[0]), int(columns[-1]) + 1
    if mask is not None and len(columns) != stop - start:
        raise FormatError(f"{where}: attention_mask has gaps")
    n_tokens = stop - start if mask is not None else stop - start + 1
    if mask is not None and (not routed[stop - 1] or experts.shape[2] == 1):
        stop -= 1
    ids = beside.get("input_ids")
    tokens = None if ids is None else ids[start : start + n_tokens]
    n_prompt = None if width is None else max(width - start, 0)
    return SourceDocument(where, narrow(experts[start:stop]), name, 0, n_prompt, tokens, n_tokens)
