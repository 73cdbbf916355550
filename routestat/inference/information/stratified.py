"""Mutual information within strata, with an interval over groups of documents."""

import math

import numpy as np

from routestat.counting.kernels.strata import leave_out
from routestat.counting.strata import Margin, Strata
from routestat.inference.base.estimate import check_level, without_interval
from routestat.inference.base.jackknife import jackknife
from routestat.inference.base.special import listed_x_log_x
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few
from routestat.inference.information.mutual_information import InformationInterval


def conditional_information_interval(strata: Strata, level: float = 0.95) -> InformationInterval:
    """I(source; target | stratum) in bits, centred on the delete-group jackknife.

    With hundreds of strata the plug-in is far too high: at a thousand token types of 28 x 28 cells by a fifth.
    Leaving out whole groups takes out the leading term of that bias whatever goes on inside documents, and the
    same replicates give the error: a group moves the figure by (1 - w_g)(I - I without g), w_g its share of the tokens.
    In the expert view the information is that of one source slot and one target slot of a token.

    Parameters
    ----------
    strata
        Groups are independent, tokens within one need not be.
    level
        Of confidence, between 0 and 1; Student's t (see `t_quantile`).

    Raises
    ------
    RoutestatError
        For a level outside (0, 1).

    References
    ----------
    Wolter (2007), Introduction to Variance Estimation, ch. 4 (the delete-a-group jackknife).
    """
    check_level(level)
    if not strata.n_tokens:
        why = f"no tokens with a known {strata.by}"
        return InformationInterval(without_interval(math.nan, 0, why), level, 0)
    return _interval(strata, strata, level)


def shuffled_information(strata: Strata, shuffled: Strata, level: float = 0.95) -> InformationInterval:
    """Estimate what `conditional_information_interval` does, after the targets are shuffled: its noise floor.

    Parameters
    ----------
    strata
        As they were counted.
    shuffled
        The same tokens, with the targets permuted inside every stratum: sources and strata are those of `strata`.
    level
        Of confidence.
    """
    check_level(level)
    return _interval(strata, shuffled, level) if strata.n_tokens else conditional_information_interval(strata)


def _interval(strata: Strata, joint: Strata, level: float) -> InformationInterval:
    """Estimate from sources and strata of the first and cells and targets of the other."""
    size = np.bincount(strata.tokens.group, strata.tokens.count, strata.n_groups)
    n, used = float(size.sum()), size > 0
    cells = Margin(joint.stratum, joint.source * joint.n_target + joint.target, joint.group, joint.count)
    parts = (
        (1, cells, joint.n_source * joint.n_target),
        (1, strata.tokens, 1),
        (-1, strata.sources, strata.n_source),
        (-1, joint.targets, joint.n_target),
    )
    whole, left = 0.0, np.zeros(int(used.sum()))
    for sign, margin, n_states in parts:
        every, without = _left_out(margin, n_states, strata.n_groups)
        whole, left = whole + sign * every, left + sign * without[used]
    unit = math.log(2.0)
    plugin = whole / n / unit
    if few := too_few(size):
        found = without_interval(math.nan, int(used.sum()), few, plugin)
    else:
        found = jackknife(plugin, left / (n - size[used]) / unit, size[used], level)
    return InformationInterval(found, level, strata.n_tokens)


def _left_out(margin: Margin, n_states: int, n_groups: int) -> tuple[float, Floats]:
    """Sum of c ln c over strata and states, and the same `[group]` without each group."""
    change = np.zeros(n_groups)
    key = margin.stratum * n_states + margin.state
    every = leave_out(key, margin.group, margin.count, listed_x_log_x(), change)
    return every, every + change
