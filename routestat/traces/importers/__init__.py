"""Readers of other tools' files, one file per engine.

`common` holds what the readers share, `tables` the reader of tables of any tool.

===============  ==================================================
file             content
===============  ==================================================
registry         the formats, and the reader of each
detection        the format of a file or folder, by its content
array_detection  the format of a file of arrays
arrays           plain arrays in an .npz
arrays_export    a trace written as plain arrays
parquet          the store's columns in one Parquet file, both ways
vllm             vLLM
sglang           SGLang: responses
sglang_recorder  SGLang: the expert-distribution recorder
sglang_requests  which rows of a recording are one request
tensorrt_llm     TensorRT-LLM
llama_cpp        llama.cpp: dumps of tensors
llama_cpp_csv    llama.cpp: the CSV of moe-trace
megatron         Megatron-LM
megatron_ranks   which ranks of Megatron-LM belong together
flame_moe        FLAME-MoE-Traces
moe_atlas        moe-atlas
slime            slime and verl
router_logits    router logits of transformers
packed           packed bytes with shape and type
tables           tables: CSV, TSV, JSON lines, Parquet
storing          imported rows written to a store
preview          what a file would be stored as (`convert --show`)
common           what the readers share
===============  ==================================================
"""
