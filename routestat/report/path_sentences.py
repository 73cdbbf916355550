"""Sentences on whole-depth paths: which are probable, which are frequent, and whether tokens take them."""

import math

import numpy as np

from routestat.report.numbers import interval, many, number
from routestat.study.contexts import context_spec
from routestat.study.route_choice import GIVEN_TOKEN
from routestat.study.routes import PathFinding

#: A path repeats more than its chain explains where so few as frequent ones are expected.
IMPROBABLE = 0.05


def path_sentences(found: PathFinding, states: str) -> list[str]:
    """Describe the paths in a few sentences, the answer first.

    Parameters
    ----------
    found : PathFinding
    states : {"subset", "expert"}
    """
    if not len(found.dominant.states) or not found.observed.n_tokens:
        return ["No token has a choice at every layer, so no path can be said to be taken."]
    parts = (_most_probable, _listed, _chosen, _most_frequent, _shared)
    return [said for part in parts if (said := part(found, states))]


def _most_probable(found: PathFinding, states: str) -> str:
    tokens, documents = int(found.dominant_tokens[0]), int(found.dominant_documents[0])
    taken = f"taken by {many(tokens, 'token')} of {many(documents, 'document')}"
    bits = number(float(found.dominant.log2_probability[0]))
    route = "path" if states == "subset" else "path of one expert per layer"
    of = f" (of token id {found.dominant_token_ids[0]})" if found.dominant_token_ids[0] >= 0 else ""
    probability = number(float(found.dominant.probability[0]))
    return (
        f"The most probable {route}{of} has probability {probability} (2^{bits}) in {_chain(found)}: "
        f"{number(float(found.dominant_expected[0]))} tokens expected, {taken if tokens else 'taken by no token'}."
    )


def _chain(found: PathFinding) -> str:
    context = found.choice.context
    return (
        "a chain of independent layers" if context == "nothing" else f"the chain given {given_words(context)}"
    )


def given_words(context: str) -> str:
    """Return what a chain is given, after "given"."""
    if context == GIVEN_TOKEN:
        return "the token id and the layer before"
    return "nothing" if context == "nothing" else f"the {context_spec(context).words}"


def _listed(found: PathFinding, states: str) -> str:
    n = len(found.dominant_tokens)
    if n < 2:
        return ""
    never = int((found.dominant_tokens == 0).sum())
    said = (
        f"The {n} most probable paths have {number(float(found.dominant_expected.sum()))} expected tokens in total "
        f"and {number(int(found.dominant_tokens.sum()))} took them"
        if states == "subset"
        else f"The {n} most probable paths have {_range(found.dominant_expected)} expected tokens each, and "
        f"{_range(found.dominant_tokens)} took each"
    )
    if not never:
        return f"{said}."
    who = (
        "none of them was taken"
        if never == n
        else f"{never} of them {'was' if never == 1 else 'were'} taken by no token"
    )
    return f"{said}; {who}."


def _range(values: np.ndarray) -> str:
    low, high = (number(value) for value in (values.min().item(), values.max().item()))
    return low if low == high else f"{low} to {high}"


def _chosen(found: PathFinding, states: str) -> str:
    choice = found.choice
    if choice.gain is None or not choice.over or math.isnan(choice.gain.low):
        return ""
    per = "token over the whole depth" if states == "subset" else "choice of an expert"
    paid = ", the bits of the token id counted" if choice.given_token else ""
    over = "independent layers" if choice.over == "nothing" else given_words(choice.over)
    verb = "saves" if choice.gain.low > 0 else "does not clearly save:"
    return (
        f"The chain was chosen on held-out documents: against {over} it {verb} {number(choice.gain.value)} bits "
        f"({interval(choice.gain.low, choice.gain.high)}) per {per}{paid}."
    )


def _most_frequent(found: PathFinding, states: str) -> str:
    if not len(found.observed.tokens):
        return ""
    tokens, documents = int(found.observed.tokens[0]), int(found.observed.documents[0])
    whole = "path" if states == "subset" else "path of whole choices (all k experts of every layer)"
    said = (
        f"The most frequent {whole} was taken by {many(tokens, 'token')} of {many(documents, 'document')}, "
        f"{number(100 * tokens / found.observed.n_tokens)} % of the tokens"
    )
    expected = float(found.expected[0])
    if math.isnan(expected):
        return f"{said}."
    more = "; the chain does not explain how often it repeats" if _repeats(found, tokens, documents) else ""
    return f"{said}, where the chain expects {number(expected)}{more}."


def _repeats(found: PathFinding, tokens: int, documents: int) -> bool:
    """Whether any path as frequent as the most frequent one is improbable under the chain.

    Among many paths the most frequent one has repeats by chance. The expected number of paths that tokens of so many
    documents take is at most nᵈ / d! · Σ pᵈ, and Σ pᵈ at most the (d − 1)th power of the largest probability.
    """
    n, expected = found.observed.n_tokens, float(found.expected[0])
    largest = max(expected / n, float(found.dominant.probability[0]))
    if documents < 2 or tokens <= 10 * expected or largest <= 0:
        return False
    log_paths = documents * math.log(n) - math.lgamma(documents + 1) + (documents - 1) * math.log(largest)
    return log_paths < math.log(IMPROBABLE)


def _shared(found: PathFinding, states: str) -> str:
    experts = found.experts
    if experts is None or not len(experts.tokens):
        return ""
    tokens, documents = int(experts.tokens[0]), int(experts.documents[0])
    lift = experts.lift(0)
    limits = "" if math.isnan(lift.low) else f" ({interval(lift.low, lift.high)})"
    n = len(experts.tokens)
    together = (
        f" The {n} most frequent ones, each counted among the tokens of none before, are those of "
        f"{number(100 * experts.covered)} % of the tokens."
        if n > 1
        else ""
    )
    return (
        f"The path of one expert per layer that most tokens take is taken by {many(tokens, 'token')} of "
        f"{many(documents, 'document')}, {number(lift.value)} times{limits} what the chain expects.{together}"
    )
