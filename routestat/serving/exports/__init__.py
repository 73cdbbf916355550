"""Files that engines load: one file for each engine, with its line in the registry.

registry
    All exports by name.
exported
    What exports are made of.
layer_rows, json_rows
    What formats with one row for each layer have in common.
sglang, logical_count, tensorrt_llm, vllm_ascend, vllm
    Placements for serving engines, and counts from which they make their own.
eplb
    Arrays of DeepSeek's load balancer.
llama_cpp, cache_profile
    Whole layers of experts in main memory, and routing profiles for forks with an expert cache.
pins
    Experts to keep in fast memory, in a plain form.
"""
