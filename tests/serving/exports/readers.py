"""Readers of exported files, each written from the rules of the engine that loads the file; nothing of routestat.

A reader returns a placement as the experts on each device, by the model's number of the layer, or counts, or names of
tensors. It raises `RefusedError` where the engine would end with an error, and where it would start and serve wrongly.
"""

import csv
import io
import json
import re
import shlex
import zipfile
from dataclasses import dataclass

import numpy as np


class RefusedError(Exception):
    """A file that the engine does not load, or that it would misread."""


@dataclass(frozen=True)
class Model:
    """What an engine knows of its model and of its own command line."""

    n_hidden_layers: int
    n_experts: int
    moe_layers: tuple
    n_devices: int = 1
    redundant: int = 0

    @property
    def n_slots(self):
        return self.n_experts + self.redundant


def require(condition, message):
    if not condition:
        raise RefusedError(message)


def is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def parsed(content):
    """Parse JSON; a key twice is not seen by the engine, so it is refused here."""

    def once(pairs):
        require(len({key for key, _ in pairs}) == len(pairs), "a key twice")
        return dict(pairs)

    try:
        return json.loads(content.decode("ascii"), object_pairs_hook=once)
    except ValueError as error:
        raise RefusedError(f"not JSON: {error}") from error


def divided(row, model):
    """Check the slots of a layer, and divide them among the devices."""
    require(isinstance(row, list) and all(is_whole(expert) for expert in row), "slots are whole numbers")
    require(len(row) == model.n_slots, f"{len(row)} slots, not {model.n_slots}")
    require(len(row) % model.n_devices == 0, "slots divide among the devices")
    require(set(row) == set(range(model.n_experts)), "each expert is in a slot, and no other number")
    size = len(row) // model.n_devices
    devices = [row[begin : begin + size] for begin in range(0, len(row), size)]
    require(all(len(set(experts)) == len(experts) for experts in devices), "an expert twice on a device")
    return devices


def read_sglang(content, model):
    """SGLang `--init-expert-location x.json`: the keys are the arguments of `init_by_mapping`."""
    record = parsed(content)
    require(isinstance(record, dict), "an object")
    require("physical_to_logical_map" in record, "the key physical_to_logical_map")
    require(len(record) == 1, "init_by_mapping() got an unexpected keyword argument")
    rows = record["physical_to_logical_map"]
    require(isinstance(rows, list) and len(rows) == model.n_hidden_layers, "a row for each hidden layer")
    devices = [divided(row, model) for row in rows]
    return {layer: devices[layer] for layer in model.moe_layers}


def read_tensorrt_llm(content, model):
    """TensorRT-LLM: MoeLoadBalancerConfig forbids further keys and looks up each layer that has experts."""
    import yaml  # noqa: PLC0415

    try:
        record = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise RefusedError("not YAML") from error
    require(isinstance(record, dict), "an object")
    known = {"num_slots", "initial_global_assignments", "layer_updates_per_iter"}
    require(set(record) <= known, "extra inputs are not permitted")
    require(is_whole(record.get("num_slots")), "num_slots must be set")
    require(record["num_slots"] == model.n_slots, "num_slots")
    require(record.get("layer_updates_per_iter", 0) == 0, "a static placement")
    assigned = record.get("initial_global_assignments")
    require(isinstance(assigned, dict) and all(is_whole(layer) for layer in assigned), "layers are numbers")
    require(set(assigned) == set(model.moe_layers), "layers with experts, by the model's numbers")
    return {layer: divided(row, model) for layer, row in assigned.items()}


def read_vllm_ascend(content, model):
    """vLLM-Ascend: `layer_list[place]` of the place-th layer with experts; all lists make one tensor."""
    record = parsed(content)
    require(isinstance(record, dict) and {"moe_layer_count", "layer_list"} <= set(record), "keys")
    require(
        record["moe_layer_count"] == len(record["layer_list"]) == len(model.moe_layers), "moe_layer_count"
    )
    found = {}
    for place, (layer, number) in enumerate(zip(record["layer_list"], model.moe_layers, strict=True)):
        require(layer["layer_id"] == place, "layers count from 0 in order")
        require(layer["device_count"] == len(layer["device_list"]) == model.n_devices, "device_count")
        require([d["device_id"] for d in layer["device_list"]] == list(range(model.n_devices)), "device_id")
        experts = [device["device_expert"] for device in layer["device_list"]]
        require(len({len(row) for row in experts}) == 1, "lists of one length")
        found[number] = divided([expert for row in experts for expert in row], model)
    return found


def read_vllm(content, model):
    """vLLM, pull request 49572: one row of slots for each layer with experts."""
    rows = parsed(content)
    require(
        isinstance(rows, list) and len(rows) == len(model.moe_layers), "a row for each layer with experts"
    )
    return {layer: divided(row, model) for layer, row in zip(model.moe_layers, rows, strict=True)}


def read_eplb(content, model):
    """DeepSeek EPLB: the three results of `rebalance_experts` agree with each other; and its argument."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RefusedError("not an .npz without pickle") from error
    require(set(held) == {"layer", "weight", "phy2log", "log2phy", "logcnt"}, "names of arrays")
    require(all(np.issubdtype(array.dtype, np.integer) for array in held.values()), "whole numbers")
    n_layers = len(model.moe_layers)
    require(held["layer"].tolist() == list(model.moe_layers), "layers")
    require(held["weight"].shape == (n_layers, model.n_experts) and (held["weight"] >= 0).all(), "weight")
    require(held["phy2log"].shape == (n_layers, model.n_slots), "phy2log")
    require(held["logcnt"].shape == (n_layers, model.n_experts), "logcnt")
    require(held["log2phy"].shape == (n_layers, model.n_experts, held["logcnt"].max()), "log2phy")
    for row, slots_of, copies in zip(held["phy2log"], held["log2phy"], held["logcnt"], strict=True):
        for expert in range(model.n_experts):
            slots = [slot for slot in range(model.n_slots) if row[slot] == expert]
            require(copies[expert] == len(slots), "logcnt")
            padded = slots + [-1] * (slots_of.shape[1] - len(slots))
            # Copies may be in any order, but the padding is at the end.
            require(sorted(slots_of[expert, : len(slots)].tolist()) == slots, "log2phy")
            require(slots_of[expert, len(slots) :].tolist() == padded[len(slots) :], "padding")
    return {
        layer: divided(row, model)
        for layer, row in zip(model.moe_layers, held["phy2log"].tolist(), strict=True)
    }


def read_logical_count(content, model):
    """Read `.pt` as both engines do: `weights_only`; KTransformers sums the first of three axes."""
    import torch  # noqa: PLC0415

    try:
        record = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise RefusedError("torch.load(weights_only=True)") from error
    require(isinstance(record, dict) and set(record) == {"logical_count"}, "the key logical_count")
    counts = record["logical_count"]
    require(isinstance(counts, torch.Tensor) and counts.dtype == torch.int64, "an int64 tensor")
    require(counts.dim() == 3 and counts.shape[0] >= 1, "three axes")
    counts = counts.sum(dim=0)
    require(tuple(counts.shape) == (model.n_hidden_layers, model.n_experts), "hidden layers by experts")
    require(bool((counts >= 0).all()), "counts")
    return counts.numpy()


def tensors_of(model):
    """Return the names of tensors in a GGUF file of the model, with those that must not be matched."""
    names = ["token_embd.weight", "output.weight"]
    for layer in range(model.n_hidden_layers):
        parts = ["attn_q.weight", "ffn_norm.weight"]
        if layer in model.moe_layers:
            parts += [
                f"ffn_{part}_exps.{kind}" for part in ("up", "gate", "down") for kind in ("weight", "bias")
            ]
            parts += ["ffn_gate_up_exps.weight", "ffn_up_shexp.weight", "ffn_down_shexp.weight"]
            parts += ["ffn_gate_inp.weight", "exp_probs_b.bias"]
        else:
            parts += ["ffn_up.weight", "ffn_gate.weight", "ffn_down.weight"]
        names += [f"blk.{layer}.{part}" for part in parts]
    return names


def options_of(content):
    """Return the lines of llama.cpp options as words of a shell, without comments."""
    lines = [line for line in content.decode("ascii").splitlines() if not line.startswith("#")]
    return [shlex.split(line) for line in lines]


def read_llama_cpp(words, model):
    """Return the tensors that one option keeps in main memory, by llama.cpp's rules."""
    require(len(words) == 2, "an option and its value")
    option, value = words
    if option in ("-ot", "--override-tensor"):
        patterns = []
        for part in value.split(","):
            pattern, equals, buffer = part.partition("=")
            require(equals == "=", "invalid value")
            require(buffer == "CPU", "unknown buffer type")
            patterns.append(pattern)
    elif option in ("-ncmoe", "--n-cpu-moe"):
        require(value.isdecimal(), "invalid value")
        patterns = [rf"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps" for layer in range(int(value))]
    else:
        raise RefusedError("unknown argument")
    try:
        return {name for name in tensors_of(model) if any(re.search(pattern, name) for pattern in patterns)}
    except re.error as error:
        raise RefusedError("not a regular expression") from error


def read_cache_profile(content, model):
    """Return the rows ``(pos, layer, experts)`` of a profile: no header, whole numbers only."""
    require(content.endswith(b"\n") or not content, "a last line with its end")
    rows = []
    for fields in csv.reader(io.StringIO(content.decode("ascii"))):
        require(len(fields) >= 3, "pos,layer,id0,…")
        require(all(re.fullmatch(r"-?\d+", field) for field in fields), "whole numbers")
        position, layer, *experts = map(int, fields)
        require(layer in model.moe_layers, "a layer with experts")
        require(all(0 <= expert < model.n_experts for expert in experts), "experts of the model")
        require(len(set(experts)) == len(experts), "different experts")
        rows.append((position, layer, tuple(experts)))
    return rows


def read_pins(content, model):
    """Return the pinned experts by router."""
    record = parsed(content)
    require(isinstance(record, dict) and record.get("format") == "routestat-pins", "the format")
    require(record.get("version") == 1, "the version")
    found = {}
    for router in record["routers"]:
        require(router["layer"] in model.moe_layers and router["n_experts"] == model.n_experts, "the model")
        experts = router["experts"]
        require(all(is_whole(e) and 0 <= e < model.n_experts for e in experts), "experts")
        require(len(set(experts)) == len(experts), "different experts")
        require(router["router"] not in found, "each router once")
        found[router["router"]] = experts
    return found


#: Readers of placements, by the name of the export.
PLACEMENTS = {
    "sglang": read_sglang,
    "tensorrt-llm": read_tensorrt_llm,
    "vllm-ascend": read_vllm_ascend,
    "vllm": read_vllm,
    "eplb": read_eplb,
}
