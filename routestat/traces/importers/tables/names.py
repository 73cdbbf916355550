"""Names by which the columns of a table are recognised."""

import re

from routestat.traces.importers.common.documents import CLUSTER_FIELDS

# Names by which columns are recognised, the most specific first; in lower case, words joined by _.
NAMES: dict[str, tuple[str, ...]] = {
    "document": (
        *("document", "document_id", "doc", "doc_id", "request", "request_id", "req", "req_id", "rid"),
        *(
            "prompt",
            "prompt_id",
            "prompt_idx",
            "sample",
            "sample_id",
            "sample_idx",
            "sequence",
            "sequence_id",
        ),
        *("seq", "seq_id", "example", "example_id", "text_id", "question_id", "query_id", "turn"),
        *("batch_number", "batch_index", "batch_idx"),
    ),
    "position": (
        *("position", "pos", "step", "token_idx", "token_index", "token_pos", "token_position", "seq_pos"),
        *("position_id", "timestep", "time_step", "token_number", "token_no", "token_step"),
    ),
    "layer": (
        "layer",
        "layer_id",
        "layer_idx",
        "layer_index",
        "layer_number",
        "layer_no",
        "moe_layer",
        "block",
    ),
    "experts": (
        *(
            "experts",
            "expert_ids",
            "topk_ids",
            "topk_experts",
            "topk_indices",
            "topk_idx",
            "top_indices",
            "topk",
        ),
        *(
            "selected_experts",
            "activated_experts",
            "activated_expert_ids",
            "active_experts",
            "expert_indices",
        ),
        *("expert_idxs", "routed_experts", "chosen_experts", "top_k_ids", "top_k_experts", "top_k_indices"),
        *("top_k_index", "indices", "ids"),
    ),
    "expert": (
        "expert",
        "expert_id",
        "expert_idx",
        "expert_index",
        "selected_expert",
        "routed_expert",
        "expert_no",
    ),
    "slot": (
        "slot",
        "slot_id",
        "slot_idx",
        "topk_slot",
        "expert_slot",
        "expert_rank",
        "topk_rank",
        "topk_pos",
    ),
    "weight": (
        *("weight", "gate_weight", "expert_weight", "routing_weight", "router_weight", "prob", "probability"),
        *("gate_prob", "score", "gate_score", "gate"),
    ),
    "weights": (
        *("weights", "topk_weights", "expert_weights", "gate_weights", "routing_weights", "router_weights"),
        *("probs", "topk_probs", "scores", "topk_scores", "gate_probs", "top_k_weights"),
    ),
    "token": ("token_id", "input_id", "tok_id", "vocab_id", "token"),
    "phase": ("phase", "stage", "forward_mode", "mode", "is_decode", "is_prefill"),
    "domain": ("domain", "category", "subject", "topic", "dataset", "task"),
    "cluster": CLUSTER_FIELDS,
}
# Beginnings of numbered columns.
STEMS = {
    "experts": (
        "e",
        "expert",
        "experts",
        "expert_id",
        "id",
        "topk",
        "top",
        "top_k",
        "k",
        "exp",
        "topk_id",
        "slot",
    ),
    "weights": (
        "w",
        "weight",
        "weights",
        "prob",
        "gate",
        "gate_weight",
        "score",
        "topk_weight",
        "expert_weight",
    ),
}

# Further names of numbered columns: expert_id_0, top1_expert.
ONES = {"experts": (*NAMES["expert"], "idx", "index"), "weights": NAMES["weight"]}
# Words before a number that precedes such a name: top1_expert, rank_0_weight.
COUNTED = ("top", "top_k", "topk", "k", "slot", "rank", "choice", "e", "expert", "")


def plain(name: str) -> str:
    """Return a name in lower case with words joined by ``_``: ``Layer ID`` and ``layerId`` become ``layer_id``."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_")
