"""TensorRT-LLM: the raw tensors of its expert statistic, and its routed experts as arrays.

**Raw tensors.** ``rank<r>_raw.safetensors``, one per rank, beside a ``meta_info.json`` with `num_experts` and
`num_experts_per_token`. A key is ``<iteration>_<layer>``, a value ``token_selected_experts [tokens, k]`` of that pass:
logical ids, as the router chose them, before replicas are picked.

*The unit.* An iteration is one forward pass over a batch: prompt chunks and answer tokens of several requests one after
the other, without request ids. One iteration of one rank is one document, all its rows are marked
prefill, and neighbouring rows need not be of one text. The iterations of a rank continue the same requests, so all
of them are one cluster; ``--cluster iteration`` makes them independent (one pass per request, for instance).

*Ranks.* Tensor- and expert-parallel ranks hold the same tokens: ranks that agree in nine rows of ten or more (ties may
be broken differently) are one, the first is kept. Attention-data-parallel ranks hold other tokens: a cluster each.
Ranks with other layers are pipeline stages and are joined layer by layer. A layer without a key in an iteration is
missing there.

**Routed experts.** ``CompletionOutput.routed_experts``, int16 ``[prompt + answer − 1, MoE layers, k]``, −1 where the
engine has none: an array in an ``.npy``, several in an ``.npz`` or ``.safetensors``, or arrays and objects
``{routed_experts, prompt_token_ids, token_ids}`` in a ``.pt``. Each is one document. Layers are counted among the MoE
layers. (Its JSON responses have vLLM's form.)

``rank<r>.safetensors`` without ``_raw`` holds counts per expert; by itself it is refused. The kind is recognised by
the shapes, the rank by the name.

Sources: NVIDIA/TensorRT-LLM, ``tensorrt_llm/_torch/expert_statistic.py``, ``load_raw_expert_statistic`` in
``ep_load_balancer/utils.py``, pull request 18397 and issue 17778 (routed experts).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.clusters.units import LABEL
from routestat.traces.importers.common.array_axes import oriented
from routestat.traces.importers.common.array_files import integers, numpy_file
from routestat.traces.importers.common.assembly import ImportedTrace, check_imported
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.counts_only import EXPERT_STATISTIC, refuse_counts
from routestat.traces.importers.common.documents import SourceDocument
from routestat.traces.importers.common.failed_records import FailedRecords
from routestat.traces.importers.common.json_files import json_records, whole_number
from routestat.traces.importers.common.misspelt_names import MisspeltNames
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.ranks import Rank, joined_stages, without_repeats
from routestat.traces.importers.common.requests import join_requests
from routestat.traces.importers.common.safetensors_files import safetensors_file, tensor_shapes
from routestat.traces.importers.common.source_files import files_of
from routestat.traces.importers.common.torch_files import torch_file

RAW = re.compile(r"rank\d+_raw\.safetensors")
RANK = re.compile(r"(?:.*_)?rank_?(\d+)(?:_.*)?\.safetensors")
KEY = re.compile(r"(\d+)_(\d+)")
META = ("meta_info.json", "meta_config.json")
SUFFIXES = (".npy", ".npz", ".safetensors", ".pt", ".pth")
FIELD, IDS = "routed_experts", ("prompt_token_ids", "token_ids")


def read_tensorrt_llm(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read a folder of raw tensors, one rank's file, or arrays of routed experts.

    Raises
    ------
    FormatError
        Naming the file and the key that is wrong; or for a file of counts only.
    """
    files = files_of(path, SUFFIXES)
    statistic = [file for file in files if _is_statistic(file)]
    raw = [file for file in statistic if not _is_counted(file)]
    if raw:
        return _read_raw(path, raw, options)
    if statistic:
        refuse_counts(path, EXPERT_STATISTIC)
    found: list[SourceDocument] = []
    failed, misspelt = FailedRecords(path, options.skip_failed), MisspeltNames((FIELD, *IDS))
    for file in files:
        found += _requests(file, failed, misspelt, options)
    return join_requests(path, found, options, "tensorrt-llm", failed, misspelt, files)


def is_raw(names: Any) -> bool:
    """Return whether the tensors of a ``.safetensors`` are named ``<iteration>_<layer>``."""
    return bool(names) and all(KEY.fullmatch(name) for name in names)


def _is_statistic(file: Path) -> bool:
    """Return whether a file is one of the expert statistic, raw or counted."""
    return file.suffix == ".safetensors" and (
        RAW.fullmatch(file.name) is not None or is_raw(tensor_shapes(file))
    )


def _is_counted(file: Path) -> bool:
    """Return whether a file of the statistic holds a number per expert, or per pair of experts, instead of rows."""
    shapes = tensor_shapes(file).values()
    return file.name.startswith("cooccurrence") or (bool(shapes) and all(len(one) == 1 for one in shapes))


def _read_raw(path: Path, files: list[Path], options: ImportOptions) -> ImportedTrace:
    notes: list[str] = []
    ranks = [_rank(file, number, options) for number, file in enumerate(files)]
    n_experts, top_k = _meta(path if path.is_dir() else path.parent)
    widths = {array.shape[1] for rank in ranks for array in rank.arrays.values()}
    if len(widths) > 1 or (top_k is not None and widths and widths != {top_k}):
        said = f"; {META[0]} says num_experts_per_token {top_k}" if top_k is not None else ""
        raise FormatError(f"{path}: rows of {' and '.join(map(str, sorted(widths)))} ids{said}")
    texts = joined_stages(path, without_repeats(ranks, notes), notes)
    layers = sorted({layer for text in texts for _, layer in text.arrays})
    rows: list[NDArray[np.integer]] = []
    described: dict[str, list[Any]] = {"name": [], "rank": [], "iteration": []}
    for text in texts:
        for iteration, experts in _passes(text, layers, notes):
            rows.append(narrow(experts))
            described["name"].append(f"rank {text.number} iteration {iteration}")
            described["rank"].append(text.number)
            described["iteration"].append(iteration)
    if not rows:
        raise FormatError(f"{path}: no tokens in it")
    if options.cluster is None:
        described[LABEL] = [f"rank {number}" for number in described["rank"]]
    notes.append(
        "a document is one iteration of one rank, a batch of several requests whose rows cannot be distinguished: "
        "neighbouring rows need not be of one text, and all are marked prefill"
    )
    if options.cluster is None:
        notes.append(
            "the iterations of a rank continue the same requests and are one cluster; --cluster iteration takes them "
            "as independent"
        )
    return check_imported(
        path,
        np.concatenate(rows),
        np.repeat(np.arange(len(rows)), [len(one) for one in rows]),
        None,
        options,
        axis=layers,
        n_experts=n_experts,
        described=described,
        notes=notes,
        engine="tensorrt-llm",
        extra={"unit": "one iteration of one rank"},
    )


def _rank(file: Path, number: int, options: ImportOptions) -> Rank:
    """Read one rank's tensors by iteration and layer, of the wanted layers."""
    named = RANK.fullmatch(file.name)
    arrays: dict[tuple[int, int], NDArray[np.integer]] = {}
    for name, value in safetensors_file(file).items():
        key = KEY.fullmatch(name)
        if key is None:
            raise FormatError(f"{file}: a tensor called {name!r}; expected <iteration>_<layer>")
        if value.ndim == 1:
            refuse_counts(file, EXPERT_STATISTIC)
        place = int(key[1]), int(key[2])
        if place in arrays:
            raise FormatError(f"{file}: {name}: another tensor is of the same iteration and layer")
        if options.layers is None or place[1] in options.layers:
            arrays[place] = integers(f"{file}: {name} [tokens, k]", value, 2)
    if not arrays:
        absent = "" if options.layers is None else " of the layers that --layers names"
        raise FormatError(f"{file}: no tensors{absent} in it")
    return Rank(int(named[1]) if named else number, file, arrays)


def _meta(folder: Path) -> tuple[int | None, int | None]:
    """Read the number of experts and k, if the folder gives them."""
    for name in META:
        if (folder / name).is_file():
            for where, record in json_records(folder / name):
                if "num_experts" in record:
                    top_k = None
                    if record.get("num_experts_per_token") is not None:
                        top_k = whole_number(where, record, "num_experts_per_token", 1)
                    return whole_number(where, record, "num_experts", 1), top_k
    return None, None


def _passes(rank: Rank, layers: list[int], notes: list[str]) -> Iterator[tuple[int, NDArray[np.integer]]]:
    """Yield the iterations of a rank with tokens, each ``[token, layer, slot]``; −1 where a layer has no key."""
    without = set()
    for iteration in sorted({place[0] for place in rank.arrays}):
        held = {layer: rank.arrays.get((iteration, layer)) for layer in layers}
        present = {layer: array for layer, array in held.items() if array is not None}
        lengths = {layer: len(array) for layer, array in present.items()}
        first = next(iter(present))
        for layer, length in lengths.items():
            if length != lengths[first]:
                raise FormatError(
                    f"{rank.file}: {iteration}_{layer} has {length} tokens, {iteration}_{first} has {lengths[first]}; "
                    "leave layers that route other tokens out with --layers"
                )
        if not lengths[first]:
            continue
        if len(present) < len(layers):
            without.add(iteration)
        shape = (lengths[first], len(layers), present[first].shape[1])
        experts = np.full(shape, -1, np.result_type(np.int8, *present.values()))
        for index, layer in enumerate(layers):
            if layer in present:
                experts[:, index] = present[layer]
        yield iteration, experts
    if without:
        notes.append(f"rank {rank.number}: in {len(without)} iterations a layer has no tensor: missing there")


def _requests(
    file: Path, failed: FailedRecords, misspelt: MisspeltNames, options: ImportOptions
) -> Iterator[SourceDocument]:
    """Yield the requests of one file, one document each."""
    held: Any = {".npy": numpy_file, ".npz": numpy_file, ".safetensors": safetensors_file}.get(
        file.suffix, torch_file
    )(file)
    if isinstance(held, Mapping) and FIELD in held:
        held = [held]
    items = (
        held.items() if isinstance(held, Mapping) else enumerate(held if isinstance(held, list) else [held])
    )
    for name, value in items:
        where, label = (f"{file}: {name}", f"{file.stem} {name}") if name != "" else (str(file), file.stem)
        record = value if isinstance(value, Mapping) else {FIELD: value}
        if failed.keep(where, record, None, None if record.get(FIELD) is not None else f"no {FIELD}"):
            yield _request(where, record, label, options)
        if isinstance(value, Mapping):
            misspelt.look(value)


def _request(where: str, record: Mapping[str, Any], name: str, options: ImportOptions) -> SourceDocument:
    experts = oriented(integers(f"{where} [tokens, MoE layers, k]", record[FIELD], 3), options.axes)
    prompt, answer = (
        None if record.get(key) is None else integers(f"{where}.{key}", record[key], 1) for key in IDS
    )
    n_prompt = None if prompt is None else len(prompt)
    tokens = None
    if prompt is not None and answer is not None:
        tokens = np.concatenate([prompt, answer]).astype(np.int64)
        if len(experts) not in (len(tokens), len(tokens) - 1):
            raise FormatError(
                f"{where}: {len(experts)} rows where prompt and answer have {len(tokens)} tokens"
            )
    known = tokens is not None
    return SourceDocument(where, narrow(experts), name, 0, n_prompt, tokens, axes_known=known)
