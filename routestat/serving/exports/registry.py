"""The registry of exports: to add an engine, write its file in this package and add its line to `EXPORTS`."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from routestat.errors import RoutestatError
from routestat.serving.exports import (
    cache_profile,
    eplb,
    llama_cpp,
    logical_count,
    pins,
    sglang,
    tensorrt_llm,
    vllm,
    vllm_ascend,
)
from routestat.serving.exports.exported import Exported
from routestat.serving.placement.placement import Placement


def _no_notes(exported: Exported) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Export:
    """One registered export.

    Attributes
    ----------
    name : str
        As ``--export`` names it.
    engine : str
        The engine and its option, for readers.
    usage : str
        What to type, with ``{file}``, ``{devices}``, ``{redundant}`` and `` where these belong;
        `usage_of` fills it.
    files : callable(Exported)
        Returns the content of each file by its name.
    needs : str
        The part of `Exported` that must be there: "placement", "loads", "pinned", "fast_layers" or "steps".
    notes : callable(Exported)
        Returns words on what the files hold for layers that the trace lacks, and other cautions; often none.
    experimental : bool
        Whether no release of the engine reads the file yet.
    """

    name: str
    engine: str
    usage: str
    files: Callable[[Exported], Mapping[str, bytes]]
    needs: str = "placement"
    notes: Callable[[Exported], tuple[str, ...]] = _no_notes
    experimental: bool = False


#: Every export, in the order in which they are listed.
EXPORTS: tuple[Export, ...] = (
    Export(
        "sglang", "SGLang --init-expert-location",
        "--init-expert-location {file} --ep-size {devices} --ep-num-redundant-experts {redundant}",
        sglang.sglang, notes=sglang.notes,
    ),
    Export(
        "sglang-counts", "SGLang --init-expert-location, which then places experts by itself",
        "--init-expert-location {file}",
        logical_count.sglang_counts, needs="loads", notes=logical_count.notes,
    ),
    Export(
        "ktransformers", "KTransformers --kt-expert-placement-strategy frequency",
        "--kt-expert-placement-strategy frequency --init-expert-location {file}",
        logical_count.ktransformers, needs="loads", notes=logical_count.notes,
    ),
    Export(
        "tensorrt-llm", "TensorRT-LLM moe_config.load_balancer",
        "moe_config: {{load_balancer: {file}}}",
        tensorrt_llm.tensorrt_llm, notes=tensorrt_llm.notes,
    ),
    Export(
        "vllm-ascend", "vLLM-Ascend eplb_config.expert_map_path",
        '--additional-config \'{{"eplb_config": {{"expert_map_path": "{file}"}}}}\'',
        vllm_ascend.vllm_ascend, notes=vllm_ascend.notes,
    ),
    Export(
        "llama.cpp", "llama.cpp -ot and --n-cpu-moe",
        "the options in {file}",
        llama_cpp.llama_cpp, needs="fast_layers", notes=llama_cpp.notes,
    ),
    Export(
        "cache-profile", "llama.cpp forks with an expert cache, --moe-cache-profile",
        "--moe-cache-profile {file} --moe-cache-slots N",
        cache_profile.cache_profile, needs="steps", notes=cache_profile.notes,
    ),
    Export(
        "eplb", "DeepSeek EPLB, arrays of rebalance_experts",
        'numpy.load("{file}")',
        eplb.eplb,
    ),
    Export(
        "vllm", "vLLM eplb_config.initial_expert_map_path (proposed)",
        '--enable-eplb --eplb-config \'{{"initial_expert_map_path": "{file}", "num_redundant_experts": {redundant}}}\'',
        vllm.vllm, notes=vllm.notes, experimental=True,
    ),
    Export(
        "pins", "a reader of your own",
        "the experts of each router in {file}, the most used first",
        pins.pins, needs="pinned",
    ),
)  # fmt: skip


def export_of(name: str) -> Export:
    """Return a registered export by its name.

    Raises
    ------
    RoutestatError
        If there is none of this name.
    """
    for export in EXPORTS:
        if export.name == name:
            return export
    names = ", ".join(export.name for export in EXPORTS)
    raise RoutestatError(f"--export: expected one of {names}, got {name!r}")


def can_be_made(export: Export, exported: Exported) -> bool:
    """Return whether the part that an export needs is there."""
    return getattr(exported, export.needs) is not None


def usage_of(export: Export, file: str, placement: Placement | None = None) -> str:
    """Return what to type so that the engine reads a file.

    Parameters
    ----------
    export : Export
    file : str
        Its path.
    placement : Placement, optional
        Names the numbers of devices and of redundant slots.
    """
    numbers = {"devices": "N", "redundant": "0"}
    if placement is not None:
        numbers = {
            "devices": str(placement.devices.n_devices),
            "redundant": str(placement.devices.redundant),
        }
    # On a command line of a shell the path is quoted where it needs it; inside JSON and Python it already is.
    quoted = file if '"{file}"' in export.usage else shlex.quote(file)
    return export.usage.format(file=quoted, **numbers)
