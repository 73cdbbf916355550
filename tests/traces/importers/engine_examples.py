"""Small valid files of the engines' formats, written by seeded generators, and what is in them."""

import base64
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.traces.importers.known import chosen, npy, raw

N_EXPERTS, LAYERS, TOP_K = 16, 3, 2


@dataclass(frozen=True)
class Example:
    """A way to write a format: `write(rng, folder)` leaves a source and returns it with its documents' experts."""

    name: str
    write: Callable[[np.random.Generator, Path], tuple[Path, list[np.ndarray]]]
    options: tuple[object, ...] = ("--n-experts", N_EXPERTS)


def parts(rng, *lengths):
    return [chosen(rng, n, LAYERS, N_EXPERTS, TOP_K) for n in lengths]


def tensorrt_raw(rng, folder):
    held = parts(rng, 9, 7)
    arrays = {
        f"{5 + i}_{layer}": one[:, layer].copy() for i, one in enumerate(held) for layer in range(LAYERS)
    }
    save_file(arrays, folder / "rank0_raw.safetensors")
    return folder / "rank0_raw.safetensors", held


def tensorrt_requests(rng, folder):
    held = parts(rng, 9, 7)
    save_file({f"r{i}": one.astype(np.int16) for i, one in enumerate(held)}, folder / "x.safetensors")
    return folder / "x.safetensors", held


def moe_atlas(rng, folder):
    held = parts(rng, 6, 4)
    records = [
        {
            "model_id": "m",
            "num_layers": LAYERS,
            "num_experts": N_EXPERTS,
            "top_k": TOP_K,
            "token_ids": rng.integers(5, 900, len(one)).tolist(),
            "activations": [
                {"layer": la, "token_idx": t, "expert_idx": int(one[t, la, s]), "gate_weight": 0.6 - 0.3 * s}
                for t in range(len(one))
                for la in range(LAYERS)
                for s in range(TOP_K)
            ],
        }
        for one in held
    ]
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder / "x.jsonl", held


def packed_json(rng, folder):
    held = parts(rng, 9, 7)
    records = [
        {"data": raw(held[0].astype(np.uint8)), "shape": [9, LAYERS, TOP_K], "dtype": "uint8", "id": "a"},
        {
            "data": base64.b64encode(zlib.compress(held[1].astype(np.int16).tobytes())).decode(),
            "shape": [7, LAYERS, TOP_K],
            "dtype": "int16",
            "compression": "zlib",
        },
    ]
    (folder / "x.json").write_text(json.dumps(records))
    return folder / "x.json", held


def packed_bytes(rng, folder):
    held = parts(rng, 9)
    (folder / "x.bin").write_bytes(zlib.compress(held[0].astype(np.uint8).tobytes()))
    return folder / "x.bin", held


def logits_of(rng, experts):
    """Logits whose k largest are the experts, the first the largest."""
    logits = rng.uniform(-1, 0, (*experts.shape[:2], N_EXPERTS)).astype(np.float32)
    np.put_along_axis(logits, experts.astype(np.int64), np.array([2, 1], np.float32), axis=2)
    return logits


def logits_npz(rng, folder):
    held = parts(rng, 12)
    logits = logits_of(rng, held[0])
    np.savez(folder / "x.npz", **{f"layer_{layer}": logits[:, layer] for layer in range(LAYERS)})
    return folder / "x.npz", held


def logits_safetensors(rng, folder):
    held = parts(rng, 12)
    logits = logits_of(rng, held[0]).transpose(1, 0, 2).copy()
    save_file(
        {"router_logits": logits, "attention_mask": np.ones((1, 12), np.int64)}, folder / "x.safetensors"
    )
    return folder / "x.safetensors", held


def vllm_with_failures(rng, folder):
    held = parts(rng, 9, 7)
    records = [
        None,
        *[{"id": f"r{i}", "choices": [{"routed_experts": npy(one)}]} for i, one in enumerate(held)],
    ]
    records.insert(2, {"error": {"message": "x"}})
    (folder / "x.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder / "x.jsonl", held


LOGITS = ("--logits", "--top-k", TOP_K)
EXAMPLES = (
    Example("tensorrt-raw", tensorrt_raw),
    Example("tensorrt-requests", tensorrt_requests),
    Example("moe-atlas", moe_atlas, ()),
    Example("packed-json", packed_json),
    Example("packed-bytes", packed_bytes, ("--shape", "9,3,2", "--dtype", "uint8", "--n-experts", N_EXPERTS)),
    Example("logits-npz", logits_npz, LOGITS),
    Example("logits-safetensors", logits_safetensors, LOGITS),
    Example("vllm-failures", vllm_with_failures, ("--n-experts", N_EXPERTS, "--skip-failed")),
)
