"""Single documents, token by token: what each layer chose, and how surprising that is given the layer before."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, missing_of
from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.experts import expert_rows
from routestat.errors import RoutestatError
from routestat.forecast.factorised import FactorisedChain
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.conditional_bernoulli.distribution import log_normaliser
from routestat.inference.markov.chain import Chain
from routestat.inference.smoothing.prior import resolve_alpha
from routestat.traces.metadata import Router
from routestat.traces.store import Trace
from routestat.traces.token_texts import TokenTexts
from routestat.traces.validation import PHASES, shown

#: The most surprising choices of a document that are marked: this share of them.
MARKED = 0.05
#: Choices are drawn in colours up to this many experts and so many of them per token; of wider models the number of
#: experts that the token before had too is drawn instead.
MOST_COLOURS, MOST_SLOTS = 20, 4
#: Tokens of a document that are drawn; its table has all.
MOST_DRAWN = 480
# Names are compared with one that is unknown if they are not more.
_MOST_NAMES = 100_000
_NEAR = 5


@dataclass(frozen=True, eq=False)
class DocumentView:
    """The routing of one document.

    Attributes
    ----------
    document : int
        Its number in the trace.
    name, domain : str
        Empty where it has none.
    routers : tuple of Router
    position, token : int arrays ``[token]``
        Positions in the document, and token ids (−1 unknown).
    phases : tuple of str
        ``prefill`` or ``decode``, by token.
    texts : tuple of str
        Of the tokens; empty if there is no tokenizer.
    experts : mapping of router name to int array ``[token, slot]``
        Ascending; −1 where the choice is missing.
    surprise_bits : float array ``[token, layer]``
        −log2 of the probability of the choice given the layer before (of the first layer by its loads), from the other
        documents; NaN where it is not known.
    marked_bits : float
        Choices with as many bits or more are marked: a twentieth of the document's after the first layer. NaN without
        any.
    reason : str
        Why there are no bits, or what is missing; empty if nothing is.
    """

    document: int
    name: str
    domain: str
    routers: tuple[Router, ...]
    position: NDArray[np.int32]
    token: NDArray[np.int32]
    phases: tuple[str, ...]
    texts: tuple[str, ...]
    experts: Mapping[str, NDArray[np.int64]]
    surprise_bits: Floats
    marked_bits: float
    reason: str = ""

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.position)

    @property
    def is_coloured(self) -> bool:
        """Whether a picture shows the choices themselves, by colours; of wider models there would be too many."""
        return all(r.n_experts <= MOST_COLOURS and r.top_k <= MOST_SLOTS for r in self.routers)

    @property
    def marked(self) -> NDArray[np.bool_]:
        """Whether a choice is among the most surprising ``[token, layer]``; the first layer is left out."""
        return np.asarray(compared(self.surprise_bits) >= self.marked_bits)


def compared(bits: Floats) -> Floats:
    """Return bits ``[token, layer]`` without those of the first layer, which has no layer before; NaN there."""
    found = bits.copy()
    if found.shape[1] > 1:
        found[:, 0] = np.nan
    return found


def resolve_documents(trace: Trace, names: Sequence[str]) -> tuple[int, ...]:
    """Find documents by name or, where no document has such a name, by number.

    Parameters
    ----------
    trace : Trace
    names : sequence of str

    Raises
    ------
    RoutestatError
        If there is no such document, with similar names; or several have the name, with their numbers.
    """
    if not names:
        return ()
    numbers = trace.documents.column("document").to_pylist()
    has_names = "name" in trace.documents.column_names
    known: dict[str, list[int]] = {}
    for number, name in zip(
        numbers, trace.documents.column("name").to_pylist() if has_names else (), strict=False
    ):
        if name is not None:
            known.setdefault(str(name), []).append(number)
    found = []
    for name in names:
        same = known.get(name, [])
        if len(same) > 1:
            several = ", ".join(map(str, same[:_NEAR])) + (" …" if len(same) > _NEAR else "")
            raise RoutestatError(
                f"--document: expected one document, but {len(same)} have the name {shown(name)}; "
                f"give a number: {several}"
            )
        if not same:
            same = [int(name)] if name.isascii() and name.isdigit() and int(name) in set(numbers) else []
        if not same:
            raise RoutestatError(_unknown(name, numbers, list(known)))
        found.append(same[0])
    return tuple(dict.fromkeys(found))


def _unknown(name: str, numbers: Sequence[int], known: Sequence[str]) -> str:
    listed = f"a number from {min(numbers)} to {max(numbers)}" if numbers else "a document of the trace"
    text = f"--document: expected {'a name or ' if known else ''}{listed}, found {shown(name)}"
    near = difflib.get_close_matches(name, known, _NEAR, 0.5) if len(known) <= _MOST_NAMES else []
    if near:
        return f"{text}; similar names: {', '.join(map(shown, near))}"
    return f"{text}; documents.arrow lists {'the names' if known else 'them'}"


def view_documents(
    trace: Trace,
    counts: Counts,
    documents: Sequence[int],
    *,
    chain: Chain | None = None,
    factorised: FactorisedChain | None = None,
    rows: BoardRows | None = None,
    texts: TokenTexts | None = None,
) -> tuple[DocumentView, ...]:
    """Read the rows of documents and score their choices.

    Parameters
    ----------
    trace : Trace
    counts : Counts
        With the empty context and layer −1; in the state view its groups give the probabilities, without the
        document's own group.
    documents : sequence of int
        Numbers of documents.
    chain : Chain, optional
        Whose priors are used; by default those of greatest evidence.
    factorised : FactorisedChain, optional
        Of the expert view, where it gives the probabilities, without the document's own fold.
    rows : BoardRows, optional
        Which were used to fit `factorised`, with their folds.
    texts : TokenTexts, optional
    """
    found = _read(trace, counts.routers, documents)
    named = {row["document"]: row for row in trace.documents.to_pylist() if row["document"] in found}
    return tuple(
        _view(trace, counts, number, found[number], named.get(number, {}), chain, factorised, rows, texts)
        for number in documents
    )


def _read(
    trace: Trace, routers: Sequence[Router], documents: Sequence[int]
) -> dict[int, dict[str, NDArray[Any]]]:
    """Read the counted rows of documents, column by column."""
    parts: dict[int, list[dict[str, NDArray[Any]]]] = {number: [] for number in documents}
    for batch in trace.counted([*(router.name for router in routers), "token", "phase"]):
        for number in documents:
            own = batch.document == number
            if own.any():
                phase = np.zeros(len(batch), np.int8) if batch.phase is None else batch.phase
                columns = {**batch.columns, "position": batch.position, "phase": phase}
                parts[number].append({name: values[own] for name, values in columns.items()})
    return {
        number: {name: np.concatenate([part[name] for part in found]) for name in found[0]} if found else {}
        for number, found in parts.items()
    }


def _view(
    trace: Trace,
    counts: Counts,
    number: int,
    columns: Mapping[str, NDArray[Any]],
    named: Mapping[str, object],
    chain: Chain | None,
    factorised: FactorisedChain | None,
    rows: BoardRows | None,
    texts: TokenTexts | None,
) -> DocumentView:
    routers = counts.routers
    n = len(columns["position"]) if columns else 0
    experts = {router.name: _experts(columns.get(router.name), router) for router in routers}
    reason = "" if n else "no token of the document is counted"
    bits = np.full((n, len(routers)), np.nan)
    if n and counts.states == "subset":
        group = int(trace.units.group_of(np.array([number], np.int32), counts.groups)[0])
        bits = _bits_of_states(counts, group, columns, chain)
    elif n and factorised is not None:
        bits = _bits_of_experts(factorised, _model(factorised, rows, number), routers, experts)
    elif n:
        reason = "how surprising a choice is was not computed: that needs the part chain"
    if n and not reason and np.isnan(bits).all():
        reason = "no choice has a probability given the layer before"
    token = columns["token"].astype(np.int32) if columns else np.empty(0, np.int32)
    known = compared(bits)
    known = known[np.isfinite(known)]
    return DocumentView(
        number,
        str(named.get("name") or ""),
        str(named.get("domain") or ""),
        routers,
        read_only(columns["position"].astype(np.int32) if columns else np.empty(0, np.int32)),
        read_only(token),
        tuple(PHASES[place] for place in (columns["phase"].tolist() if columns else ())),
        tuple(texts.text(one) if one >= 0 else "" for one in token.tolist()) if texts is not None else (),
        experts,
        read_only(bits),
        float(np.quantile(known, 1 - MARKED, method="higher")) if len(known) else float("nan"),
        reason,
    )


def _experts(values: NDArray[Any] | None, router: Router) -> NDArray[np.int64]:
    """Return experts ``[token, slot]``, −1 where missing."""
    if values is None:
        return np.empty((0, router.top_k), np.int64)
    rows = expert_rows(np.asarray(values), router).astype(np.int64)
    return read_only(np.where(rows == missing_of(router), -1, rows))


def _bits_of_states(
    counts: Counts, group: int, columns: Mapping[str, NDArray[Any]], chain: Chain | None
) -> Floats:
    """−log2 of the probability of each state given the state before ``[token, layer]``, from the other groups."""
    found = []
    before: NDArray[np.integer] | None = None
    for place, router in enumerate(counts.routers):
        state, size = columns[router.name], router.alphabet.size
        known = state < size
        now = np.where(known, state, 0).astype(np.intp)
        if before is None:
            table = counts.table(Context(), router).astype(np.int64)
            cells = (table.sum(axis=0) - table[group])[None]
            source = np.zeros(len(now), np.intp)
        else:
            table = counts.table(Context.layer(1), router).astype(np.int64)
            cells = table.sum(axis=0) - table[group]
            last = counts.routers[place - 1].alphabet.size
            known = known & (before < last)
            source = np.where(before < last, before, 0).astype(np.intp)
        prior = chain.priors[place] if chain is not None else resolve_alpha(cells, "empirical-bayes")
        probability = (cells[source, now] + prior[now]) / (cells.sum(axis=1)[source] + prior.sum())
        found.append(np.where(known, -np.log2(probability), np.nan))
        before = state
    return np.stack(found, axis=1)


def _model(factorised: FactorisedChain, rows: BoardRows | None, number: int) -> int:
    """Return the place of the model that was fitted without the document: 0 is that of all documents."""
    if rows is None:
        return 0
    own = np.flatnonzero(rows.sample.document == number)
    # A document that was not sampled was not used for the fit.
    return 1 + int(rows.fold[own[0]]) if len(own) else 0


def _bits_of_experts(
    factorised: FactorisedChain,
    model: int,
    routers: Sequence[Router],
    experts: Mapping[str, NDArray[np.int64]],
) -> Floats:
    """−log2 of the probability of each choice given the one before ``[token, layer]``, by the factorised chain."""
    n = len(experts[routers[0].name])
    found = np.full((n, len(routers)), np.nan)
    for place, router in enumerate(routers):
        order = min(place, 1)
        if order not in factorised.orders(place):
            continue
        own = experts[router.name]
        known = own[:, 0] >= 0
        theta = np.repeat(factorised.bias[place, order][model].astype(np.float64)[None], n, axis=0)
        if order:
            before = experts[routers[place - 1].name]
            known = known & (before[:, 0] >= 0)
            theta += factorised.weights[place, 1][model][np.maximum(before, 0)].sum(axis=1)
        if not known.any():
            continue
        chosen = np.take_along_axis(theta[known], own[known], axis=1).sum(axis=1)
        nats = log_normaliser(theta[known], router.top_k) - chosen
        found[known, place] = np.maximum(nats, 0.0) / np.log(2.0)
    return found
