"""`specialisation[]`, `specialisation_experts[]`, `specialisation_cells[]` and `specialisation_summary`."""

from collections import Counter
from collections.abc import Sequence

from routestat.inference.base.clustered_score_test import ScoreTest
from routestat.inference.base.estimate import Estimate
from routestat.report.numbers import interval, many, number
from routestat.report.records.plain import Record, caution, reason
from routestat.study.specialisation import NOT_TESTED, LayerFinding, SpecialisationFindings, SpecialisedCell
from routestat.traces.token_texts import shown_text

#: Cells of domains, and of classes, in results.json, the clearest first.
MOST_CELLS = 500
#: A noise floor of more than this share of an estimate is said beside it.
MOST_SHUFFLED = 0.2
#: Bits below are zero but for rounding.
LEAST_SHOWN = 1e-9


def specialisation_records(found: SpecialisationFindings) -> Record:
    """Return the keys of results.json that hold these findings."""
    return {
        "specialisation_summary": _summary(found),
        "specialisation": [_layer(item, found) for item in found.layers],
        "specialisation_experts": [row for item in found.layers for row in _experts(item, found)],
        "specialisation_cells": [_cell(cell, found) for cell in _clearest(found.cells)],
    }


def _summary(found: SpecialisationFindings) -> Record:
    return {
        "reading": reading(found),
        "domains": [{"domain": name, "n_documents": found.documents.get(name)} for name in found.domains],
        "kind": found.lexical_kind if found.values else None,
        "values": list(found.values),
        "n_tokens": found.n_tokens,
        "n_token_ids": found.n_ids,
        "share_of_tokens_with_these_ids": found.share_frequent,
        "n_cells": dict(found.n_cells),
        "n_found": dict(found.n_found),
        "sampled": found.sampled,
        "note": found.note,
        **reason(found.reason),
    }


def _layer(item: LayerFinding, found: SpecialisationFindings) -> Record:
    of = item.found
    record: Record = {
        "layer": item.router.layer,
        "router": item.router.name,
        "n_tokens": of.n_tokens,
        "verdict": item.verdict,
        **_bits("domain_bits", of.domain if found.domains else None),
        "domain_bits_shuffled": of.domain_shuffled,
        **_test("domain", of.domain_test, item.log10_q_domain),
    }
    token, both = of.by_token, bool(found.domains)
    given = token.domain_given if token and both else None
    record |= {
        **_bits("token_bits", token.lexical if token else None),
        **_bits("domain_bits_given_token", given),
        "domain_bits_given_token_shuffled": of.domain_given_shuffled,
        **_test("domain_given_token", of.domain_given_test, item.log10_q_domain_given),
        **_bits("token_bits_given_domain", token.lexical_given if token and both else None),
        **_bits("token_and_domain_bits", token.both if token and both else None),
        **_bits("shared_bits", token.shared if token and both else None),
        **_test("lexical", of.lexical_given_test, item.log10_q_lexical_given),
    }
    words = of.by_class
    record |= {
        **_bits("class_bits", words.lexical if words else None),
        **_bits("class_bits_given_domain", words.lexical_given if words and both else None),
        **_bits("domain_bits_given_class", words.domain_given if words and both else None),
    }
    for name, halves in (("domain", of.domain_halves), ("lexical", of.lexical_halves)):
        record |= {
            f"{name}_halves_correlation": halves.correlation if halves else None,
            f"{name}_halves_spread": halves.spread if halves else None,
            f"{name}_found_again": halves.share_found_again if halves else None,
        }
    why = [
        one.reason for one in (of.domain, of.domain_test, of.domain_given_test, of.lexical_given_test) if one
    ]
    return (
        record
        | reason(*why)
        | caution(
            domain_bits=_near_floor(of.domain, of.domain_shuffled),
            domain_bits_given_token=_near_floor(given, of.domain_given_shuffled),
        )
    )


def _near_floor(estimate: Estimate | None, floor: float) -> str | None:
    """Return the caution on an estimate that differences between documents could make up in good part."""
    if estimate is None or not abs(floor) > MOST_SHUFFLED * abs(estimate.value):
        return None
    return "near the noise floor: documents with exchanged domains show more than a fifth of it"


def _experts(item: LayerFinding, found: SpecialisationFindings) -> list[Record]:
    of = item.found
    cells = [cell for cell in found.cells if cell.router == item.router]
    rows = []
    for expert, verdict in enumerate(item.experts):
        own = [cell for cell in cells if cell.expert == expert]
        domain = next((cell for cell in own if cell.kind == "domain"), None)
        value = next((cell for cell in own if cell.kind != "domain"), None)
        row: Record = {
            "layer": item.router.layer,
            "router": item.router.name,
            "expert": expert,
            "n_tokens": int(of.loads[expert]),
            "verdict": verdict,
        }
        both = of.by_token is not None and bool(found.domains)
        for name, bits in (
            ("domain_bits_given_token", of.expert_domain),
            ("token_bits_given_domain", of.expert_lexical),
        ):
            row[name] = bits.value[expert] if both else None
            row[f"{name}_ci95"] = [bits.low[expert], bits.high[expert]] if both else None
        row |= {
            "domain": domain.value if domain else None,
            "domain_lift": domain.lift if domain else None,
            "value": value.value if value else None,
            "value_lift": value.lift if value else None,
        }
        rows.append(row)
    return rows


def _clearest(cells: Sequence[SpecialisedCell]) -> list[SpecialisedCell]:
    domains = [cell for cell in cells if cell.kind == "domain"]
    others = [cell for cell in cells if cell.kind != "domain"]
    return domains[:MOST_CELLS] + others[:MOST_CELLS]


def _cell(cell: SpecialisedCell, found: SpecialisationFindings) -> Record:
    texts = found.texts
    return {
        "layer": cell.router.layer,
        "router": cell.router.name,
        "expert": cell.expert,
        "kind": cell.kind,
        "value": cell.value,
        "n_observed": round(cell.observed),
        "n_expected": cell.expected,
        "lift": cell.lift,
        "lift_ci95": [cell.low, cell.high],
        "z": cell.z,
        "log10_q": cell.log10_q,
        "tokens": [
            {
                "token": one.token,
                "text": None if texts is None else shown_text(texts.text(one.token)),
                "n_tokens": one.count,
                "n_expected": one.expected,
                "n_documents": one.n_documents,
            }
            for one in cell.tokens
        ],
    }


def _bits(name: str, estimate: Estimate | None) -> Record:
    if estimate is None:
        return {name: None, f"{name}_ci95": None}
    return {name: estimate.value, f"{name}_ci95": [estimate.low, estimate.high]}


def _test(name: str, test: ScoreTest | None, log10_q: float) -> Record:
    return {
        f"log10_p_{name}": None if test is None else test.log10_p,
        f"log10_q_{name}": None if test is None else log10_q,
    }


def reading(found: SpecialisationFindings) -> str:
    """Describe in words what the experts depend on, with the numbers of the clearest layer."""
    layers = found.layers
    if not layers:
        return ""
    verdicts = Counter(item.verdict for item in layers)
    if verdicts[NOT_TESTED] == len(layers):
        return f"What the choice depends on was not tested: {_why_not(layers)}."
    of_layers = f"of {many(len(layers), 'layer')}"
    if not found.values:
        return _only_domains(found, verdicts["domain"], of_layers)
    tokens = [item.found.by_token.lexical.value for item in layers if item.found.by_token]
    # Differences of equal sums are not exactly zero.
    known = [0.0 if abs(bits) < LEAST_SHOWN else bits for bits in tokens if bits == bits]
    span = f"{number(min(known))} to {number(max(known))} bits" if known else "an unknown number of bits"
    if not found.domains:
        real = verdicts["lexical"]
        return (
            f"The choice depends on the token in {real} {of_layers}: its id shares {span} with the choice. "
            "The documents have no two domains, so that topics cannot be separated from tokens."
        )
    named = ", ".join(f"{name} in {n}" for name, n in verdicts.most_common())
    top = _largest([(item, item.found.by_token.domain_given) for item in layers if item.found.by_token])
    text = f"What the choice depends on: {named} {of_layers}. The token id shares {span} with the choice"
    if top is None:
        return f"{text}; there are too few documents to separate it from their domain."
    item, bits = top
    floor = item.found.domain_given_shuffled
    return (
        f"{text}; at one token id, the domain shares at most {number(bits.value)} bits "
        f"({interval(bits.low, bits.high)}; layer {item.router.layer}), of which documents that differ for other "
        f"reasons could make up {number(max(0.0, floor))}."
        + (
            f" Both are of the {number(100 * found.share_frequent)} % of the tokens whose id is frequent enough to be "
            "separated."
            if found.share_frequent < 1
            else ""
        )
    )


def _why_not(layers: Sequence[LayerFinding]) -> str:
    """Return the first reason why a layer has no tests: of its estimates, which say most, or of the tests."""
    parts = [
        one
        for item in layers
        for of in [item.found]
        for one in (
            of.by_token and of.by_token.lexical,
            of.domain,
            of.domain_given_test,
            of.lexical_given_test,
        )
    ]
    return next((one.reason for one in parts if one and one.reason), "there are too few tokens")


def _only_domains(found: SpecialisationFindings, real: int, of_layers: str) -> str:
    top = _largest([(item, item.found.domain) for item in found.layers])
    start = f"The choice depends on the domain of the document in {real} {of_layers}"
    if top is not None:
        item, bits = top
        start += (
            f": they share at most {number(bits.value)} bits ({interval(bits.low, bits.high)}; "
            f"layer {item.router.layer})"
        )
    return f"{start}. The trace has no token ids, so that it is unknown whether topics or their words matter."


def _largest(
    items: Sequence[tuple[LayerFinding, Estimate | None]],
) -> tuple[LayerFinding, Estimate] | None:
    known = [(item, bits) for item, bits in items if bits is not None and bits.value == bits.value]
    return max(known, key=lambda pair: pair[1].value) if known else None
