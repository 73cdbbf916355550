"""Small valid files of every format, written by seeded generators.

**To add a format**, write a function ``(rng, folder) -> Written`` that leaves one valid source in `folder`, and add one
`Example` to `EXAMPLES`: its name, the format it belongs to, the function, and the options that `convert` needs. All
else follows: the file is converted, its documents are compared with what the function says it wrote, and the mutations
of `mutations` are applied to it. A kind of file that `trees` does not know by its suffix is mutated as bytes alone;
add its suffix there for mutations of names, types and order.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from routestat import Router, TraceMeta, TraceWriter
from routestat.traces.importers.parquet import write_parquet
from routestat.traces.importers.registry import FORMATS
from routestat.traces.store import Trace
from tests.traces.importers import engine_examples as engines
from tests.traces.importers.fuzz.example import (
    LAYERS,
    N_EXPERTS,
    TOP_K,
    Example,
    Written,
    ids,
    parts,
    save_json,
)
from tests.traces.importers.fuzz.tables import TABLES
from tests.traces.importers.known import npy, raw


def vllm_npy(rng, folder):
    (one,) = parts(rng, 12)
    np.save(folder / "x.npy", one)
    return Written(folder / "x.npy", [one])


def vllm_npz(rng, folder):
    held = parts(rng, 9, 12, 7)
    np.savez(folder / "x.npz", **dict(zip("abc", held, strict=True)))
    return Written(folder / "x.npz", held)


def vllm_nested(rng, folder):
    held = parts(rng, 9, 8, 11)
    records = [
        {
            "id": f"r{number}",
            "prompt_token_ids": ids(rng, 5),
            "prompt_routed_experts": one[:5].tolist(),
            "choices": [
                {"token_ids": ids(rng, len(one) - 4), "text": "…", "routed_experts": one[5:].tolist()}
            ],
        }
        for number, one in enumerate(held)
    ]
    return Written(save_json(folder / "x.jsonl", records), held)


def vllm_base64(rng, folder):
    held = parts(rng, 9, 8, 7, 10)
    records = [
        {
            "id": f"r{number}",
            "prompt_token_ids": ids(rng, 5),
            "choices": [
                {"token_ids": ids(rng, len(one) - 4), "routed_experts": npy(one.astype(np.uint8))}
                for one in pair
            ],
        }
        for number, pair in enumerate((held[:2], held[2:]))
    ]
    return Written(save_json(folder / "x.json", records), held)


def vllm_raw(rng, folder):
    held = parts(rng, 9, 8, 7)
    records = [
        {
            "request_id": f"r{number}",
            "usage": {"prompt_tokens": 5 + 2 * number, "completion_tokens": len(one) - 4},
            "choices": [
                {
                    "routed_experts": {
                        "data": raw(one.astype(np.uint16)),
                        "shape": list(one.shape),
                        "dtype": "uint16",
                        "start": 2 * number,
                    }
                }
            ],
        }
        for number, one in enumerate(held)
    ]
    return Written(save_json(folder / "x.jsonl", records), held)


def sglang_json(rng, folder):
    held = parts(rng, 9, 8, 7)
    records = [
        {
            "text": "…",
            "output_ids": ids(rng, len(one) - 4),
            "meta_info": {
                "id": f"r{number}",
                "prompt_tokens": 5,
                "completion_tokens": len(one) - 4,
                "routed_experts": raw(one.astype(np.int32)),
            },
        }
        for number, one in enumerate(held)
    ]
    return Written(save_json(folder / "x.json", records), held)


def sglang_choices(rng, folder):
    held = parts(rng, 9, 8, 7)
    records = [
        {
            "id": f"c{number}",
            "usage": {"prompt_tokens": 5, "completion_tokens": len(one) - 4},
            "choices": [
                {
                    "sgl_ext": {
                        "routed_experts": raw(one.astype(np.uint8)),
                        "routed_experts_dtype": "uint8",
                    }
                }
            ],
        }
        for number, one in enumerate(held)
    ]
    return Written(save_json(folder / "x.jsonl", records), held)


def recorder(rng, folder):
    """Two requests, of 5 and 7 rows: one pass for the prompts of 4 and 5, and decode passes for both, then one."""
    a, b = parts(rng, 5, 7)

    def record(number, rows, positions, lengths, mode):
        held = np.full((LAYERS, len(rows), 8), -1, np.int32)
        held[..., :TOP_K] = np.transpose(rows, (1, 0, 2))
        return {
            "forward_pass_id": number,
            "rank": 0,
            "input_ids": ids(rng, len(rows)),
            "positions": positions,
            "extend_seq_lens": lengths,
            "forward_mode": mode,
            "topk_ids_of_layer": torch.from_numpy(held),
        }

    records = [
        record(0, np.concatenate([a[:4], b[:5]]), [*range(4), *range(5)], [4, 5], 1),
        record(1, np.stack([a[4], b[5]]), [4, 5], None, 2),
        record(2, b[6:], [6], None, 2),
    ]
    to_logical = torch.arange(N_EXPERTS).repeat(LAYERS, 1)
    torch.save({"records": records, "last_physical_to_logical_map": to_logical}, folder / "x.pt")
    return Written(folder / "x.pt", [a, b])


def megatron(rng, folder):
    held = parts(rng, 8, 6, 7, 9)
    for rank, pair in enumerate((held[:2], held[2:])):
        records = [
            {
                "step": step,
                "stage": "pre_dispatch",
                "block": "decoder",
                "layer": layer + 1,
                "rank": rank,
                "num_tokens": len(one),
                "topk": TOP_K,
                "top_indices": one[:, layer].tolist(),
            }
            for step, one in enumerate(pair)
            for layer in range(LAYERS)
        ]
        save_json(folder / f"router_trace_rank{rank}.jsonl", records)
    return Written(folder, [held[i] for i in (0, 2, 1, 3)])


def flame(rng, folder):
    held = parts(rng, 8, 8, 8)
    experts = np.concatenate(held)
    (folder / "samples").mkdir()
    (folder / "actives" / "iter_10").mkdir(parents=True)
    tokens = pa.table({"token_id": pa.array(ids(rng, len(experts)), pa.int32())})
    pq.write_table(tokens, folder / "samples" / "a.parquet")
    for layer in range(LAYERS):
        table = pa.table(
            {
                "scores": pa.array([np.float16([0.6, 0.4])] * len(experts), pa.list_(pa.float16())),
                "indices": pa.array(experts[:, layer].tolist(), pa.list_(pa.int16())),
            }
        )
        pq.write_table(table, folder / "actives" / "iter_10" / f"layer_{layer + 1:02d}.parquet")
    return Written(folder, held)


def llama_npy(rng, folder):
    (one,) = parts(rng, 20)
    for layer in range(LAYERS):
        np.save(folder / f"ffn_moe_topk-{layer + 1}.npy", one[:, layer])
    return Written(folder, [one])


def llama_bin(rng, folder):
    (one,) = parts(rng, 20)
    for layer in range(LAYERS):
        (folder / f"ffn_moe_topk-{layer + 1}.bin").write_bytes(one[:, layer].astype("<i4").tobytes())
    return Written(folder, [one])


def llama_csv(rng, folder):
    (one,) = parts(rng, 12)
    lines = [
        f"{layer + 1},{e}\n"
        for cut in (slice(0, 9), slice(9, 10), slice(10, 11), slice(11, 12))
        for layer in range(LAYERS)
        for e in one[cut, layer].ravel()
    ]
    (folder / "moe_trace.csv").write_text("layer,expert\n" + "".join(lines))
    return Written(folder / "moe_trace.csv", [one])


def slime_npz(rng, folder):
    held = parts(rng, 9, 8, 7)
    arrays = {f"rollout_routed_experts_{i}": one for i, one in enumerate(held)}
    arrays |= {f"tokens_{i}": np.array(ids(rng, len(one) + 1)) for i, one in enumerate(held)}
    np.savez(folder / "x.npz", response_lengths=np.array([4, 3, 2]), **arrays)
    return Written(folder / "x.npz", held)


def slime_pt(rng, folder):
    held = parts(rng, 9, 8, 7)
    samples = [
        {
            "tokens": ids(rng, len(one) + 1),
            "response_length": 4,
            "rollout_routed_experts": torch.from_numpy(one),
        }
        for one in held
    ]
    torch.save({"samples": samples}, folder / "x.pt")
    return Written(folder / "x.pt", held)


def slime_batch(rng, folder):
    held = parts(rng, 9, 8, 7)
    batch = {
        "rollout_routed_experts": [torch.from_numpy(one) for one in held],
        "tokens": [ids(rng, len(one) + 1) for one in held],
        "response_lengths": [4, 3, 2],
    }
    torch.save(batch, folder / "x.pt")
    return Written(folder / "x.pt", held)


def verl_npz(rng, folder):
    held = parts(rng, 9, 8, 7)
    width, padded = 12, np.zeros((3, 12, LAYERS, TOP_K), np.int32)
    mask = np.zeros((3, width), np.int64)
    for index, one in enumerate(held):
        start = 5 - (3 + index)
        padded[index, start : start + len(one)] = one
        mask[index, start : start + len(one) + 1] = 1
    tokens = np.where(mask, rng.integers(10, 30_000, mask.shape), 0)
    np.savez(
        folder / "x.npz",
        routed_experts=padded,
        attention_mask=mask,
        input_ids=tokens,
        responses=tokens[:, 5:],
    )
    return Written(folder / "x.npz", held)


def arrays_npz(rng, folder):
    held = parts(rng, 9, 8, 7)
    lengths = [len(one) for one in held]
    document = np.repeat([3, 5, 6], lengths)
    np.savez(
        folder / "x.npz",
        experts=np.concatenate(held).astype(np.uint8),
        document=document,
        position=np.concatenate([np.arange(n) + 2 for n in lengths]),
        token=np.array(ids(rng, sum(lengths))),
        layers=np.array([1, 3, 4]),
        n_experts=np.array(N_EXPERTS),
        domain=np.repeat([1, 0, 1], lengths),
        domains=np.array(["law", "prose"]),
        phase=np.concatenate([np.arange(n) > 4 for n in lengths]).astype(np.int8),
        clusters=np.array([0, 1, 1]),
    )
    return Written(folder / "x.npz", held)


def store(rng, folder):
    """A trace that the writer made, in two shards, with companions."""
    held = parts(rng, 9, 8, 7)
    lengths = [len(one) for one in held]
    meta = TraceMeta(tuple(Router(layer, N_EXPERTS, TOP_K) for layer in (1, 3, 4)), name="e")
    rows = np.concatenate(held)
    with TraceWriter(folder / "store", meta, shard_rows=12) as writer:
        writer.add_documents({"document": [0, 1, 2], "name": ["a", "b", "c"], "domain": ["law", "law", None]})
        writer.write(
            np.repeat([0, 1, 2], lengths),
            experts=rows,
            token=np.array(ids(rng, len(rows))),
            columns={"L01.top1": rows[:, 0, 0]},
        )
    return Written(folder / "store", held)


def parquet(rng, folder):
    held = store(rng, folder)
    write_parquet(Trace.open(held.source), folder / "p" / "x.parquet")
    return Written(folder / "p" / "x.parquet", held.documents)


def borrowed(write):
    """A generator of the engines' own tests."""
    return lambda rng, folder: Written(*write(rng, folder))


SGLANG = ("--n-experts", N_EXPERTS, "--top-k", TOP_K)
PACKED = ("--shape", "9,3,2", "--dtype", "uint8", "--n-experts", N_EXPERTS)
FAILED = ("--n-experts", N_EXPERTS, "--skip-failed")
EXAMPLES = (
    Example("vllm array", "vllm", vllm_npy),
    Example("vllm arrays", "vllm", vllm_npz, records=1),
    Example("vllm nested lists", "vllm", vllm_nested, records=1),
    Example("vllm base64 of npy", "vllm", vllm_base64, records=2),
    Example("vllm raw base64", "vllm", vllm_raw, records=1),
    Example("sglang generate", "sglang", sglang_json, SGLANG, records=1),
    Example("sglang choices", "sglang", sglang_choices, SGLANG, records=1),
    Example("sglang recorder", "sglang recorder", recorder, ()),
    Example("megatron folder", "megatron", megatron),
    Example("flame-moe folder", "flame-moe", flame, ("--n-experts", N_EXPERTS, "--sequence-length", 8)),
    Example("llama.cpp npy", "llama.cpp dumps", llama_npy),
    Example("llama.cpp bin", "llama.cpp dumps", llama_bin, SGLANG),
    Example("llama.cpp csv", "llama.cpp csv", llama_csv, SGLANG),
    Example("slime npz", "slime, verl", slime_npz, records=1),
    Example("slime pt", "slime, verl", slime_pt, records=1),
    Example("slime batch", "slime, verl", slime_batch),
    Example("verl npz", "slime, verl", verl_npz),
    Example("plain arrays", "arrays", arrays_npz, ()),
    Example("parquet trace", "parquet", parquet, ()),
    Example("tensorrt raw", "tensorrt-llm", borrowed(engines.tensorrt_raw)),
    Example("tensorrt requests", "tensorrt-llm", borrowed(engines.tensorrt_requests), records=1),
    Example("moe-atlas", "moe-atlas", borrowed(engines.moe_atlas), (), records=1),
    Example("packed json", "packed", borrowed(engines.packed_json), records=1),
    Example("packed bytes", "packed", borrowed(engines.packed_bytes), PACKED),
    Example("logits npz", "router-logits", borrowed(engines.logits_npz), engines.LOGITS),
    Example("logits safetensors", "router-logits", borrowed(engines.logits_safetensors), engines.LOGITS),
    Example("vllm with failures", "vllm", borrowed(engines.vllm_with_failures), FAILED, records=1),
    Example("store", "store", store, (), out="t.npz"),
    *(TABLES if "table" in FORMATS else ()),
)
