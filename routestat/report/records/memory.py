"""`order[]` and `memory`: the order of the chain, contexts, horizons and homogeneity."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from routestat.inference.base.estimate import Estimate
from routestat.inference.base.jackknife import Estimates
from routestat.inference.markov.homogeneity import StatisticByGap
from routestat.inference.markov.horizons import Horizons
from routestat.report.records.plain import Record, caution, note, reason
from routestat.report.sentences import MOST_KNOWN, memory_sentences
from routestat.study.contexts import OVER_LAYERS, OVER_TOKENS, LayerMemory, context_spec
from routestat.study.layer_pairs import LayerPair
from routestat.study.memory import Memory
from routestat.traces.metadata import Router

_NO_TESTS = (
    "bic_gain_tokens", "bic_gain_documents", "g", "dof", "log10_p_iid", "p_resampled_iid",
)  # fmt: skip
_NO_STRATA = "expert view: too many subsets to estimate the information given the layer between"
_NO_SHARE = "the interval of cmi_bits contains zero, so that its share is undefined"
_NOT_SMALL = "cmi_bits_shuffled, the noise floor, is not small against cmi_bits"
_FEW_TOKENS = f"{_NOT_SMALL}: too few tokens for the number of states to estimate what the layer before adds"
_UNKNOWN = Estimate(math.nan, math.nan, math.nan, math.nan, 0)
_BY_DEFINITION = "one layer on, counted and implied are the same by definition"


def order_records(pairs: Sequence[LayerPair], memory: Memory | None) -> list[Record]:
    """Return `order[]`: what the layer before the source adds, of every three consecutive layers.

    Tests and held-out gains are findings of the memory, and absent without it.
    """
    by_target = {item.target.name: item for item in memory.layers} if memory is not None else {}
    records = []
    for before, item in pairwise(pairs):
        record: Record = {
            "source": before.source.layer,
            "via": item.source.layer,
            "target": item.target.layer,
            "source_router": before.source.name,
            "via_router": item.source.name,
            "target_router": item.target.name,
        }
        layer = by_target.get(item.target.name)
        parts_of = [_information(item)]
        if memory is not None:
            parts_of += [_tests(layer), _gains(layer)]
        for part in parts_of:
            record |= part
        for key in ("reason", "caution", "cautions"):
            record.pop(key, None)
        why = [part.get("reason") for part in parts_of]
        careful: dict[str, str | None] = {}
        for part in parts_of:
            careful |= part.get("cautions", {})
        records.append(record | reason(*why) | caution(**careful))
    return records


def _information(item: LayerPair) -> Record:
    if item.skip is None:
        none = dict.fromkeys(("cmi_bits", "cmi_bits_ci95", "cmi_bits_shuffled", "cmi_share"))
        return none | reason(_NO_STRATA)
    found, doubtful = item.skip.information, item.skip.is_near_noise_floor
    no_share = _NO_SHARE if found.low <= 0 else _NOT_SMALL if doubtful else None
    few = _FEW_TOKENS if doubtful and not item.skip.is_safely_zero else None
    return {
        "mi_bits": item.skip.unconditional_bits,
        "cmi_bits": found.mi_bits,
        "cmi_bits_ci95": [found.low, found.high],
        "cmi_bits_shuffled": item.skip.shuffled_bits,
        "cmi_share": item.skip_share,
        "interaction_bits": item.skip.interaction_bits,
        **reason(found.reason, no_share),
        **caution(cmi_bits=few, interaction_bits=few),
    }


def _tests(layer: LayerMemory | None) -> Record:
    if layer is None or layer.tests is None or layer.clustered is None:
        return dict.fromkeys(("p_clustered", "log10_p_clustered", *_NO_TESTS))
    tests = layer.tests
    return {
        "p_clustered": layer.clustered.p_clustered,
        "log10_p_clustered": layer.clustered.log10_p_clustered,
        "g": tests.g,
        "dof": tests.dof,
        "log10_p_iid": tests.log10_p_g_iid,
        "p_resampled_iid": tests.p_resampled_iid,
        "bic_gain_tokens": tests.bic_tokens,
        "bic_gain_documents": tests.bic_documents,
        **reason(layer.clustered.reason, tests.reason),
        **caution(log10_p_clustered=layer.clustered.note),
    }


def _gains(layer: LayerMemory | None) -> Record:
    if layer is None or len(layer.over_layers.gains) < 2:
        none = dict.fromkeys(("heldout_gain_bits", "heldout_gain_bits_ci95", "chosen_order"))
        return none | reason("no order 2 could be scored")
    over, gain = layer.over_layers, layer.over_layers.gains[1]
    forward, share = layer.forward_code_gains, layer.known.get(OVER_LAYERS[2], 1.0)
    unknown = _none_known(share, OVER_LAYERS[2])
    losses = [
        loss if layer.known.get(context, 1.0) else _UNKNOWN
        for context, loss in zip(OVER_LAYERS, over.log_loss, strict=False)
    ]
    return {
        "forward_code_gain_nats": forward[1] if len(forward) > 1 and not unknown else None,
        "heldout_log_loss_bits": [loss.value for loss in losses],
        "heldout_log_loss_bits_ci95": [[loss.low, loss.high] for loss in losses],
        "heldout_gain_bits": None if unknown else gain.value,
        "heldout_gain_bits_ci95": None if unknown else [gain.low, gain.high],
        "chosen_order": None if unknown else over.chosen,
        **reason(gain.reason, unknown),
        **caution(heldout_gain_bits=partly_known(share, OVER_LAYERS[2])),
    }


def _none_known(share: float, context: str) -> str | None:
    """Return the reason why a context has no scores, if no token has it."""
    return f"no token has this context: {context_spec(context).words}" if share == 0 else None


def partly_known(share: float, context: str) -> str | None:
    """Return the caution where many tokens, but not all, do not have the whole context."""
    if not 0 < share < MOST_KNOWN:
        return None
    have = f"{100 * share:.3g} % of the tokens have this context ({context_spec(context).words})"
    return f"{have}; the others were predicted from a shorter one"


def contexts_mean(memory: Memory) -> list[Record]:
    """Return `memory.contexts_mean[]`: mean log loss over layers, and the saving over the next shorter context."""
    records = []
    names = memory.context_names
    for name in names:
        share = memory.share_known(name)
        record = {
            "context": name,
            "given": context_spec(name).words,
            **_loss(memory.mean_log_loss(name), share, name),
        }
        if name != "nothing":
            shorter = context_spec(name).shorter
            shorter = shorter if shorter in names else "nothing"
            gain = memory.mean_gain(name, shorter) if share != 0 else _UNKNOWN
            if "cautions" in record:
                record["cautions"]["gain_bits"] = record["caution"]
            record |= {
                "shorter": shorter,
                "gain_bits": gain.value,
                "gain_bits_ci95": [gain.low, gain.high],
            }
        records.append(record)
    return records


def memory_record(memory: Memory) -> Record:
    """Return `memory`."""
    return {
        "contexts": _contexts(memory),
        "contexts_mean": contexts_mean(memory),
        "contexts_mean_layers": [item.target.layer for item in memory.compared],
        "tokens_order": [_over_tokens(item) for item in memory.layers],
        **_horizons(memory.horizons, [item.target for item in memory.layers]),
        "homogeneity": _homogeneity(memory),
        "reading": memory_sentences(memory),
        **note(memory.note),
        **reason(memory.reason, memory.horizons.reason if memory.horizons else ""),
    }


def _contexts(memory: Memory) -> list[Record]:
    return [
        {
            "layer": item.target.layer,
            "router": item.target.name,
            "context": name,
            **_loss(item.log_loss(name), item.known.get(name, 1.0), name),
        }
        for item in memory.layers
        for name in item.scores.bits
    ]


def _loss(loss: Estimate, share: float, context: str) -> Record:
    """Return the log loss given a context; null if no token has it, with a caution if some have not."""
    unknown = _none_known(share, context)
    said = _UNKNOWN if unknown else loss
    return {
        "log_loss_bits": said.value,
        "log_loss_bits_ci95": [said.low, said.high],
        **reason(unknown or loss.reason),
        **caution(log_loss_bits=partly_known(share, context)),
    }


def _over_tokens(item: LayerMemory) -> Record:
    gains = item.over_tokens.gains
    record: Record = {"layer": item.target.layer, "router": item.target.name}
    careful = {}
    for order, found in enumerate(gains, start=1):
        share = item.known.get(OVER_TOKENS[order], 1.0)
        gain = found if share else _UNKNOWN
        careful[f"gain_bits_order_{order}"] = partly_known(share, OVER_TOKENS[order])
        record |= {
            f"gain_bits_order_{order}": gain.value,
            f"gain_bits_order_{order}_ci95": [gain.low, gain.high],
        }
    unknown = _none_known(item.known.get(OVER_TOKENS[1], 1.0), OVER_TOKENS[1])
    return (
        record
        | {"chosen_order": None if unknown else item.over_tokens.chosen}
        | reason(*(gain.reason for gain in gains), unknown)
        | caution(**careful)
    )


def _horizons(found: Horizons | None, routers: Sequence[Router]) -> Record:
    if found is None:
        return {"horizons": [], "horizons_mean": []}
    bands = {
        "mi_bits": "direct_bits",
        "mi_bits_chain": "chain_bits",
        "difference_bits": "difference_bits",
        "discrepancy_bits": "discrepancy_bits",
    }
    every, means = [], []
    for column, horizon in enumerate(found.horizons):
        means.append(
            {
                "horizon": horizon,
                **_banded({key: getattr(found, f"mean_{name}") for key, name in bands.items()}, column),
                "log10_p_clustered": _number(found.log10_p_combined[column]),
                **reason(*_why_horizon(found, column)),
                **caution(mi_bits=_scarcest(found, horizon)),
            }
        )
        for start in range(found.n_tokens.shape[0]):
            if not found.n_tokens[start, column]:
                continue
            at = (start, column)
            every.append(
                {
                    "source": routers[start].layer,
                    "target": routers[start + horizon].layer,
                    "source_router": routers[start].name,
                    "target_router": routers[start + horizon].name,
                    "horizon": horizon,
                    "n_tokens": int(found.n_tokens[at]),
                    **_banded({key: getattr(found, name) for key, name in bands.items()}, at),
                    "p_clustered": _number(found.p_clustered[at]),
                    "log10_p_clustered": _number(found.log10_p_clustered[at]),
                    **reason(found.reasons.get((start, horizon)), _BY_DEFINITION if horizon == 1 else None),
                    **caution(mi_bits=found.scarce.get((start, horizon))),
                }
            )
    return {
        "horizons": every,
        "horizons_mean": means,
        **({"horizons_note": found.note} if found.note else {}),
    }


def _scarcest(found: Horizons, horizon: int) -> str | None:
    """Return the cautions on the tables of one horizon, each once."""
    said = dict.fromkeys(text for (_, at), text in found.scarce.items() if at == horizon)
    return "; ".join(said) or None


def _why_horizon(found: Horizons, column: int) -> list[str | None]:
    """Return why the means over the start layers are null, if any are."""
    horizon = found.horizons[column]
    bands = math.isfinite(found.mean_direct_bits.low[column] + found.mean_chain_bits.low[column])
    if bands and horizon == 1:
        return [_BY_DEFINITION]
    if bands and math.isfinite(found.log10_p_combined[column]):
        return []
    return [found.reason, *(why for (_, at), why in found.reasons.items() if at == horizon)]


def _banded(bands: dict[str, Estimates], at: Any) -> Record:
    record: Record = {}
    for key, band in bands.items():
        record[key] = _number(band.value[at])
        record[f"{key}_ci95"] = [_number(band.low[at]), _number(band.high[at])]
    return record


def _homogeneity(memory: Memory) -> Record:
    found = memory.homogeneity
    if found is None:
        return reason(memory.reason)
    return {
        **_even("mi", found.information),
        **_even("conditional_entropy", found.conditional_entropy),
        **note(found.note),
        **reason(found.reason, found.information.reason, found.conditional_entropy.reason),
    }


def _even(name: str, even: StatisticByGap) -> Record:
    slope = even.slope_bits_per_layer
    return {
        f"{name}_range_bits": even.range_bits,
        f"{name}_spread_bits": even.spread_bits,
        f"{name}_slope_bits_per_layer": _number(slope.value),
        f"{name}_slope_bits_per_layer_ci95": [_number(slope.low), _number(slope.high)],
        f"{name}_log10_p_clustered": even.log10_p_clustered,
    }


def _number(value: Any) -> float:
    """Return a plain float, NaN if it is not finite."""
    return float(value) if math.isfinite(float(value)) else math.nan
