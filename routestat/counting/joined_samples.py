"""Parts of samples of documents, and two samples as one: what is predicted, and what predictors are fitted to."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.errors import RoutestatError
from routestat.traces.batch import Batch
from routestat.traces.clusters.document_prefixes import PrefixCollector
from routestat.traces.clusters.shared_prefixes import find_shared_prefixes
from routestat.traces.clusters.units import Units
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.number_ranges import span


def stretches_of(
    sample: Sample, chosen: NDArray[np.bool_], most: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose about `most` rows of some documents: a stretch of each, all of one length but where one is shorter.

    Documents are the independent units, so that parts of all of them say more than all of some. Stretches begin at
    random, as the beginnings of documents may be special.

    Parameters
    ----------
    sample : Sample
    chosen : bool array ``[row]``
        Rows of the documents, which are all kept if they are no more; one row of each is kept at least.
    most : int
    rng : numpy.random.Generator

    Returns
    -------
    bool array ``[row]``
    """
    at = np.flatnonzero(chosen)
    if len(at) <= most:
        return chosen
    document = sample.document[at]
    first = np.flatnonzero(np.append(True, document[1:] != document[:-1]))
    length = np.diff(np.append(first, len(at)))
    # The greatest length at which all stretches together have at most so many rows.
    low, high = 1, int(length.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(length, middle).sum() <= most else (low, middle - 1)
    start = np.repeat(rng.integers(0, np.maximum(length - low, 0) + 1), length)
    place = np.arange(len(at)) - np.repeat(first, length)
    found = np.zeros(len(sample), bool)
    found[at[(place >= start) & (place < start + low)]] = True
    return found


def common_routers(
    test: Sample, train: Sample, wanted: Sequence[Router] | None = None
) -> tuple[tuple[Router, ...], str]:
    """Return the routers that two samples of one model have, and a note on those that only one of them has.

    Parameters
    ----------
    test, train : Sample
    wanted : sequence of Router, optional
        Which both must have; all that both have by default.

    Raises
    ------
    RoutestatError
        If they are not of one model: routers of one name differ, or each has layers that the other does not have, so
        that their layers may be numbered in two ways. If one lacks a router that is wanted.
    """
    if wanted is not None:
        chosen = {router.name for router in wanted}
        found, note = common_routers(_with_routers(test, chosen), _with_routers(train, chosen))
        if note or len(found) < len(chosen):
            raise RoutestatError(
                f"expected {len(chosen)} layers in both traces, got {len(found)}; {note or 'name others'}"
            )
        return found, ""
    own, other = ({router.name: router for router in sample.routers} for sample in (test, train))
    unlike = [name for name in own if name in other and own[name] != other[name]]
    if unlike:
        a, b = own[unlike[0]], other[unlike[0]]
        raise RoutestatError(
            f"expected a training set of the same model, got {_words(b)} where the test set has {_words(a)} "
            f"({len(unlike)} such layers); experts of one model say nothing about those of another"
        )
    common = [name for name in own if name in other]
    alone = [span([router.layer for name, router in of.items() if name not in common]) for of in (own, other)]
    if not common or all(alone):
        raise RoutestatError(
            f"expected the same layers in both traces, got layers {alone[0]} in the test set only and {alone[1]} in "
            "the training set only; name the layers that both number alike with --layers, or train on the same model"
        )
    place, names = (0, "test") if alone[0] else (1, "training")
    note = f"layers {alone[place]} are recorded in the {names} set only and left out" if any(alone) else ""
    return tuple(own[name] for name in common), note


def shared_documents(test: Sample, train: Sample, routers: Sequence[Router]) -> NDArray[np.bool_]:
    """Return whether each row of the training set is of a document that shares its text with one of the test set.

    Documents that share a prefix are not independent (see `routestat.traces.clusters.shared_prefixes`): scores on
    documents that a predictor has seen say nothing about others. Documents are compared by token ids, or by the choices
    where some are unknown.

    Parameters
    ----------
    test, train : Sample
    routers : sequence of Router
        Which both have.

    Returns
    -------
    bool array ``[row]`` of the training set
    """
    joined = joined_sample(test, train, routers)
    by = "token ids" if len(joined) and (joined.token >= 0).all() else "choices"
    collector = PrefixCollector(TraceMeta(tuple(routers)), joined.n_documents, by)
    # Positions are not compared.
    position = np.zeros(len(joined), np.int32)
    collector.add(Batch(joined.document, position, {**joined.columns, "token": joined.token}))
    prefixes = collector.finished()
    bond = find_shared_prefixes(prefixes).bond
    of_test = np.isin(prefixes.document, joined.document[: len(test)])
    shared = prefixes.document[~of_test & (bond >= 0) & np.isin(bond, bond[of_test])]
    return np.asarray(np.isin(joined.document[len(test) :], shared))


def joined_sample(test: Sample, train: Sample, routers: Sequence[Router]) -> Sample:
    """Return two samples as one: first all rows of the test set, then those of the training set.

    Documents are numbered anew, in the order of their groups; groups become clusters and keep their order, those of the
    test set first, so that no group has documents of both. Only columns that both have are kept.

    Parameters
    ----------
    test, train : Sample
    routers : sequence of Router
        Which both have.
    """
    both = (test, train)
    names = [name for name in test.columns if name in train.columns]
    numbers, clusters, domains, groups, done = [], [], {}, 0, 0
    for sample in both:
        number, first_row, of_row = np.unique(sample.document, return_index=True, return_inverse=True)
        group = sample.group[first_row]
        order = np.argsort(group, kind="stable")
        new = np.empty(len(number), np.int64)
        new[order] = done + np.arange(len(number))
        used, first, of_group = np.unique(group[order], return_index=True, return_inverse=True)
        clusters.append(done + first[of_group])
        numbers.append(new[of_row])
        for old, at in zip(number.tolist(), new.tolist(), strict=True):
            if old in sample.domains:
                domains[at] = sample.domains[old]
        groups, done = groups + len(used), done + len(number)
    document = np.arange(done, dtype=np.int32)
    nothing = np.zeros(done, np.int64)
    units = Units(
        document, np.concatenate(clusters).astype(np.int32), nothing, np.full(done, "", np.str_), nothing
    )
    starts = [len(part) for part in both if len(part)]
    follows = np.concatenate([part.follows for part in both])
    follows[np.cumsum([0, *starts[:-1]]) if starts else []] = False
    return Sample(
        tuple(routers),
        np.concatenate([part.token for part in both]),
        np.concatenate(numbers).astype(np.int32),
        follows,
        {name: np.concatenate([part.columns[name] for part in both]) for name in names},
        units,
        max(groups, 1),
        done,
        test.n_tokens_in_all + train.n_tokens_in_all,
        np.concatenate([part.known_phase for part in both]),
        domains,
    )


def _with_routers(sample: Sample, names: Collection[str]) -> Sample:
    return replace(sample, routers=tuple(router for router in sample.routers if router.name in names))


def _words(router: Router) -> str:
    return f"{router.top_k} of {router.n_experts} experts at layer {router.layer}"
