"""Counts of choices as SGLang's recorder writes them: ``{"logical_count": int64 [1, hidden layer, expert]}``, in torch.

SGLang makes a placement of its own from the counts; KTransformers keeps the experts with the highest ones on the GPU.
Both read the file with ``weights_only=True``. The first axis is of steps, which both sum; KTransformers needs it.
"""

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.serving.exports.exported import Exported
from routestat.serving.exports.layer_rows import notes_on_layers, require_one_width


def sglang_counts(exported: Exported) -> Mapping[str, bytes]:
    """Return the ``.pt`` of ``--init-expert-location``.

    Raises
    ------
    RoutestatError
        As `counts_by_layer`, and if torch is not installed.
    """
    return {"sglang-logical-count.pt": _saved(counts_by_layer(exported, "SGLang"))}


def ktransformers(exported: Exported) -> Mapping[str, bytes]:
    """Return the same ``.pt`` for ``--kt-expert-placement-strategy frequency``.

    Raises
    ------
    RoutestatError
        As `counts_by_layer`, and if torch is not installed.
    """
    return {"ktransformers-logical-count.pt": _saved(counts_by_layer(exported, "KTransformers"))}


def counts_by_layer(exported: Exported, engine: str) -> NDArray[np.int64]:
    """Return the counts ``[1, hidden layer, expert]``; 0 at layers without a router in the trace.

    Raises
    ------
    RoutestatError
        If several routers are in a layer, or they differ in their number of experts.
    """
    n_experts = require_one_width(exported, engine)
    counts = np.zeros((1, exported.n_hidden_layers, n_experts), np.int64)
    for router, load in zip(exported.routers, exported.loads, strict=True):
        counts[0, router.layer] = load
    return counts


def notes(exported: Exported) -> tuple[str, ...]:
    """Return words on layers without counts."""
    return notes_on_layers(
        exported,
        "their counts are 0, so that no expert is preferred there, and KTransformers may refuse the file",
        "their counts are 0",
    )


def _saved(counts: NDArray[np.int64]) -> bytes:
    try:
        import torch  # noqa: PLC0415
    except ImportError:
        raise RoutestatError(
            "a .pt file: expected torch, found none; it needs torch: pip install 'routestat[network]'"
        ) from None
    buffer = io.BytesIO()
    torch.save({"logical_count": torch.from_numpy(counts)}, buffer)
    return buffer.getvalue()
