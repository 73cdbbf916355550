"""Readers of other tools' files, one file per engine.

registry
    The formats, and the reader of each.
detection
    The format of a file or folder, by its content.
array_detection
    The format of a file of arrays.
arrays
    Plain arrays in an .npz.
arrays_export
    A trace written as plain arrays.
parquet
    The store's columns in one Parquet file, both ways.
vllm
    vLLM.
sglang
    SGLang: responses.
sglang_recorder
    SGLang: the expert-distribution recorder.
sglang_requests
    Which rows of a recording are one request.
tensorrt_llm
    TensorRT-LLM.
llama_cpp
    llama.cpp: dumps of tensors.
llama_cpp_csv
    llama.cpp: the CSV of moe-trace.
megatron
    Megatron-LM.
megatron_ranks
    Which ranks of Megatron-LM belong together.
flame_moe
    FLAME-MoE-Traces.
moe_atlas
    moe-atlas.
slime
    slime and verl.
router_logits
    Router logits of transformers.
packed
    Packed bytes with shape and type.
tables
    Tables: CSV, TSV, JSON lines, Parquet.
storing
    Imported rows written to a store.
preview
    What a file would be stored as (`convert --show`).
common
    What the readers share.
"""
