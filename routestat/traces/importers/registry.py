"""The formats of other tools' files, and the reader of each."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from routestat.errors import FormatError
from routestat.traces.importers.arrays import read_arrays
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.flame_moe import read_flame_moe
from routestat.traces.importers.llama_cpp import read_llama_cpp
from routestat.traces.importers.megatron import read_megatron
from routestat.traces.importers.moe_atlas import read_moe_atlas
from routestat.traces.importers.packed import read_packed
from routestat.traces.importers.router_logits import read_router_logits
from routestat.traces.importers.sglang import read_sglang
from routestat.traces.importers.slime import read_slime
from routestat.traces.importers.tables.reader import read_table
from routestat.traces.importers.tensorrt_llm import read_tensorrt_llm
from routestat.traces.importers.vllm import read_vllm


class Format(NamedTuple):
    """The reader of a format, its name in words, and the fields of `ImportOptions` that it uses."""

    read: Callable[[Path, ImportOptions], ImportedTrace]
    words: str
    uses: tuple[str, ...]


AXIS = ("layers", "n_experts", "drop_dummy_rows")
# For formats whose records may give their cluster.
RECORDS = (*AXIS, "cluster")
FORMATS = {
    "arrays": Format(read_arrays, "plain arrays", (*RECORDS, "axes")),
    "vllm": Format(read_vllm, "vLLM's routed experts", (*RECORDS, "axes", "skip_failed")),
    "sglang": Format(
        read_sglang,
        "SGLang's routed experts or expert-distribution recorder",
        (*RECORDS, "top_k", "skip_failed"),
    ),
    "megatron": Format(
        read_megatron, "Megatron-LM's router trace", (*AXIS, "sequence_length", "sequence_parallel")
    ),
    "flame-moe": Format(
        read_flame_moe, "FLAME-MoE-Traces", (*AXIS, "end_of_document", "sequence_length", "iteration")
    ),
    "llama-cpp": Format(read_llama_cpp, "llama.cpp's ffn_moe_topk", (*AXIS, "top_k", "stride")),
    "slime": Format(read_slime, "routing replay of slime or verl", (*RECORDS, "axes", "skip_failed")),
    "tensorrt-llm": Format(
        read_tensorrt_llm,
        "TensorRT-LLM's raw expert statistic or routed experts",
        (*RECORDS, "axes", "skip_failed"),
    ),
    "moe-atlas": Format(read_moe_atlas, "activations of moe-atlas", (*RECORDS, "skip_failed")),
    "packed": Format(read_packed, "packed bytes", (*RECORDS, "axes", "shape", "dtype", "skip_failed")),
    "router-logits": Format(read_router_logits, "router logits", (*AXIS, "top_k", "axes", "logits")),
    "table": Format(
        read_table, "a table of one row per token and layer, or per expert", (*RECORDS, "top_k", "columns")
    ),
}


def read_foreign(path: Path, name: str, options: ImportOptions) -> ImportedTrace:
    """Read `path` as the format called `name`.

    Raises
    ------
    FormatError
        If an option is not used by this format, or as the reader does.
    """
    require_used_options(path, name, options)
    return FORMATS[name].read(path, options)


def require_used_options(path: Path, name: str, options: ImportOptions) -> None:
    """Refuse options that the format called `name` does not use.

    Raises
    ------
    FormatError
        Naming the option.
    """
    chosen = FORMATS[name]
    for field in fields(ImportOptions):
        if getattr(options, field.name) != field.default and field.name not in chosen.uses:
            option = "--" + field.name.replace("_", "-")
            raise FormatError(f"{path}: {option} is not used for {chosen.words} ({name}); leave it out")
