"""moe-atlas: JSON with every activation of a prompt.

An object is one prompt: ``{model_id, num_layers, num_experts, top_k, text, token_ids, activations: [{layer, token_idx,
expert_idx, gate_weight}, …]}``. A file is one such object, a list of them, ``{"traces": […]}``, or one a line; a folder
is read whole. One prompt is one document. The activations of a token in a layer come in any order and are put by
descending `gate_weight`, which is kept. A layer of which a token has no activation is missing there.

Source: moe-atlas/moe-routing-atlas, its export (``export_traces``, ``Trace``) and the file format in its README.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_files import integers
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.documents import (
    CLUSTER_FIELDS,
    SourceDocument,
    cluster_of,
    join_documents,
)
from routestat.traces.importers.common.failed_records import FailedRecords, responses
from routestat.traces.importers.common.json_files import json_object, whole_number
from routestat.traces.importers.common.messages import reason
from routestat.traces.importers.common.misspelt_names import MisspeltNames
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.source_files import files_of, note_unread_files

# Of the sixteen-bit floats that weights are kept in.
LARGEST_WEIGHT = 65504
PARTS = ("layer", "token_idx", "expert_idx")
#: The names of a prompt, including those that are not read.
KNOWN = (
    *CLUSTER_FIELDS,
    *(
        "model_id",
        "model_name",
        "model_class",
        "num_layers",
        "num_experts",
        "top_k",
        "trace_id",
        "id",
        "domain",
    ),
    *(
        "text",
        "token_ids",
        "token_strs",
        "tokens",
        "timestamp",
        "activations",
        "traces",
        "gate_weight",
        *PARTS,
    ),
)


def read_moe_atlas(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read the prompts of moe-atlas.

    Raises
    ------
    FormatError
        Naming the file, the prompt and the activation that is wrong.
    """
    prompts: list[_Prompt] = []
    failed, misspelt = (
        FailedRecords(path, options.skip_failed),
        MisspeltNames(KNOWN, options.cluster),
    )
    files = files_of(path, (".json", ".jsonl"))
    for file in files:
        for where, record in _records(file, failed):
            activations = record.get("activations")
            lacks = None if isinstance(activations, list) and activations else "no activations"
            if failed.keep(where, record, None, lacks):
                prompts.append(_Prompt(where, record, f"{file.stem} {len(prompts)}", options))
            misspelt.look(record)
    notes = [*failed.notes(len(prompts)), *misspelt.notes(), *note_unread_files(path, files)]
    if not prompts:
        raise FormatError(f"{path}: no prompts in it")
    layers = sorted({int(layer) for prompt in prompts for layer in np.unique(prompt.layer)})
    for prompt in prompts:
        for name in ("model", "n_experts", "top_k"):
            if getattr(prompt, name) != getattr(prompts[0], name):
                raise FormatError(
                    f"{prompt.where}: {name} is {getattr(prompt, name)}, in {prompts[0].where} it is "
                    f"{getattr(prompts[0], name)}: convert them separately"
                )
    by_weight = all(prompt.weight is not None for prompt in prompts)
    found = [prompt.document(layers) for prompt in prompts]
    lacking = sum(int((one.experts == -1).all(axis=2).sum()) for one in found)
    if lacking:
        notes.append(f"{lacking} tokens have no activation in a layer that others have: missing")
    return join_documents(
        path,
        found,
        options,
        axis=layers,
        n_experts=prompts[0].n_experts,
        notes=notes,
        engine="moe-atlas",
        slot_order="weight" if by_weight else "unknown",
    )


def _records(file: Path, failed: FailedRecords) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the prompts of a file; an export wraps them in ``{"traces": […]}``."""
    for where, record in responses(file, failed):
        traces = record.get("traces")
        if "activations" in record or not isinstance(traces, list):
            yield where, record
            continue
        for index, one in enumerate(traces):
            place = f"{where}, traces[{index}]"
            if one is None:
                failed.leave_out(place, "null")
            else:
                yield place, json_object(place, one)


class _Prompt:
    """The activations of one prompt as columns, checked one by one."""

    def __init__(self, where: str, record: dict[str, Any], fallback: str, options: ImportOptions) -> None:
        self.where = where
        self.model = record.get("model_id") or record.get("model_name")
        self.n_experts = self._said(record, "num_experts")
        self.name = str(record.get("trace_id") or record.get("id") or fallback)
        domain = record.get("domain")
        self.domain = domain if isinstance(domain, str) and domain else None
        self.cluster = cluster_of(where, record, options)
        self.layer, self.token, self.expert = (self._column(record["activations"], name) for name in PARTS)
        self.weight = self._weights(record["activations"])
        ids = record.get("token_ids")
        self.tokens = integers(f"{where}.token_ids", ids, 1) if ids else None
        words = record.get("token_strs", record.get("tokens"))
        n_words = len(words) if isinstance(words, list) and words else int(self.token.max()) + 1
        self.n_tokens = n_words if self.tokens is None else len(self.tokens)
        outside = self.token >= self.n_tokens
        if outside.any():
            at = int(np.argmax(outside))
            raise FormatError(
                f"{where}, activations[{at}]: token_idx {self.token[at]} of {self.n_tokens} tokens"
            )
        self.top_k = self._said(record, "top_k") or self._most()

    def _said(self, record: dict[str, Any], name: str) -> int | None:
        return None if record.get(name) is None else whole_number(self.where, record, name, 1)

    def _column(self, activations: list[Any], name: str) -> NDArray[np.int64]:
        """Return a field of all activations; the first value that is not a whole number from 0 is refused."""
        values = [one.get(name) if isinstance(one, dict) else None for one in activations]
        for at, value in enumerate(values):
            if type(value) is not int or not 0 <= value < 1 << 31:
                raise FormatError(
                    f"{self.where}, activations[{at}]: {name} must be a whole number from 0, got {reason(value)[:60]}"
                )
        return np.array(values, np.int64)

    def _weights(self, activations: list[Any]) -> NDArray[np.float64] | None:
        """Return the gate weights; None if an activation has none."""
        values = [one.get("gate_weight") for one in activations]
        if any(value is None for value in values):
            return None
        for at, value in enumerate(values):
            if type(value) not in (int, float) or not abs(value) <= LARGEST_WEIGHT:
                raise FormatError(
                    f"{self.where}, activations[{at}]: gate_weight must be a finite number, at most "
                    f"{LARGEST_WEIGHT}, got {reason(value)[:60]}"
                )
        return np.array(values, np.float64)

    def _most(self) -> int:
        _, counts = np.unique(np.stack([self.token, self.layer]), axis=1, return_counts=True)
        return int(counts.max())

    def document(self, layers: list[int]) -> SourceDocument:
        """Return the prompt as rows ``[token, layer, slot]``, heaviest first.

        Raises
        ------
        FormatError
            If a token has not k experts in a layer, or one of them twice.
        """
        column = np.searchsorted(layers, self.layer)
        weight = np.zeros(len(column)) if self.weight is None else self.weight
        # Of equal weights the lower id comes first, whatever the order of the file.
        order = np.lexsort((self.expert, -weight, column, self.token))
        cell = (self.token * len(layers) + column)[order]
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
        lengths = np.diff(np.append(starts, len(cell)))
        odd = np.flatnonzero(lengths != self.top_k)
        if len(odd):
            token, index = divmod(int(cell[starts[odd[0]]]), len(layers))
            raise FormatError(
                f"{self.where}: token {token} has {lengths[odd[0]]} experts in layer {layers[index]}, top_k is "
                f"{self.top_k}"
            )
        rows = np.full((self.n_tokens * len(layers), self.top_k), -1, np.int64)
        rows[cell[starts]] = self.expert[order].reshape(-1, self.top_k)
        weights = np.zeros(rows.shape)
        weights[cell[starts]] = weight[order].reshape(-1, self.top_k)
        shape = (self.n_tokens, len(layers), self.top_k)
        return SourceDocument(
            self.where,
            narrow(rows.reshape(shape)),
            self.name,
            n_prompt=self.n_tokens,
            tokens=self.tokens,
            n_tokens=self.n_tokens,
            cluster=self.cluster,
            domain=self.domain,
            weights=None if self.weight is None else weights.reshape(shape),
        )
