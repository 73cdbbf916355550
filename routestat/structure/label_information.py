"""How much two labels of tokens share with the choice of experts: each alone, both, and one given the other.

In the state view the information is that of a token's state, in the expert view that of a random one of its experts.
All figures come from sums of c ln c over cells; the same sums without each group give the delete-group jackknife, which
takes out the bias that tokens of one document share. A domain is constant within its documents, so that the bias of its
information is that of documents, however many tokens they have.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routestat.counting.kernels.labels import inclusion_sums, stratum_sums
from routestat.counting.kernels.pair_tables import left_out_sums
from routestat.counting.labelled_tokens import Integers, MeetingChoices, Meetings
from routestat.inference.base.estimate import Estimate, Estimates, without_interval
from routestat.inference.base.jackknife import LeftOutSums, jackknife_columns
from routestat.inference.base.special import listed_x_log_x, x_log_x
from routestat.inference.base.tables import Floats, for_loops
from routestat.inference.base.units import too_few


def estimates_of(sums: Sequence[LeftOutSums], size: Integers) -> list[Estimate]:
    """Return the jackknife estimates of means over the tokens, in the order of the sums.

    Parameters
    ----------
    sums : sequence of LeftOutSums
        Of log2 P(choice | label), in bits.
    size : int array ``[group]``
        Tokens of each group.
    """
    n, used = int(size.sum()), size > 0
    groups = int(used.sum())
    if n == 0:
        return [without_interval(math.nan, 0, "no tokens") for _ in sums]
    plugins = np.array([one.whole / n for one in sums])
    if why := too_few(size):
        return [without_interval(math.nan, groups, why, float(plugin)) for plugin in plugins]
    left_out = np.stack([one.left_out for one in sums], axis=1)[used] / (n - size[used])[:, None]
    found = jackknife_columns(plugins, left_out, size[used])
    columns = (found.value, found.low, found.high, found.standard_error, plugins)
    rows = (column.tolist() for column in columns)
    return [
        Estimate(value, low, high, error, groups, "", plugin)
        for value, low, high, error, plugin in zip(*rows, strict=True)
    ]


def table_sums(table: Integers, slots: int) -> LeftOutSums:
    """Sum log2 P(choice | label) over the tokens of a table ``[group, label, choice]``.

    Parameters
    ----------
    table : int array
    slots : int
        Cells that a token counts in: 1 in the state view, k in the expert view; the sum is that of a random one.
    """
    groups = len(table)
    whole, left = 0.0, np.zeros(groups)
    for sign, counts in ((1.0, table.reshape(groups, -1)), (-1.0, table.sum(axis=2))):
        own = np.empty(groups)
        total = counts.sum(axis=0, dtype=np.int64)
        whole += sign * left_out_sums(for_loops(counts), total, listed_x_log_x(), 0.0, own)
        left += sign * own
    unit = slots * math.log(2.0)
    return LeftOutSums(whole / unit, left / unit)


def sums_in_strata(of: MeetingChoices, meetings: Meetings, label: int) -> tuple[LeftOutSums, LeftOutSums]:
    """Sum log2 P(choice | stratum), and log2 P(choice | stratum, label), over all tokens.

    Parameters
    ----------
    of : MeetingChoices
    meetings : Meetings
    label : int
        Which of the labels of the meetings.
    """
    sums, change = np.zeros(2), np.zeros((2, meetings.n_groups))
    stratum_sums(
        of.chosen, of.count, of.first, meetings.start, meetings.group, meetings.labels[label],
        meetings.sizes[label], listed_x_log_x(), sums, change,
    )  # fmt: skip
    unit = of.slots * math.log(2.0)
    without, given = (LeftOutSums(float(a) / unit, (a + b) / unit) for a, b in zip(sums, change, strict=True))
    return without, given


@dataclass(frozen=True)
class LabelInformation:
    """Information in bits of the choice of experts with two labels, such as the domain and the token id.

    Attributes
    ----------
    domain, lexical : Estimate
        Of each alone.
    domain_given, lexical_given : Estimate
        Of each given the other.
    both : Estimate
        Of both together: `domain` + `lexical_given`, which is `lexical` + `domain_given`.
    shared : Estimate
        `domain` + `lexical` − `both`: what each of them has of it. Below zero where the two together have more than the
        sum of each, as where an expert serves one token in one domain and another token in another.
    """

    domain: Estimate
    lexical: Estimate
    domain_given: Estimate
    lexical_given: Estimate
    both: Estimate
    shared: Estimate

    @classmethod
    def of(
        cls,
        nothing: LeftOutSums,
        domain: LeftOutSums,
        lexical: LeftOutSums,
        both: LeftOutSums,
        size: Integers,
    ) -> "LabelInformation":
        """Estimate from sums of log2 P(choice), and of the same given the domain, the lexical label, and both."""
        parts = (
            domain - nothing,
            lexical - nothing,
            both - lexical,
            both - domain,
            both - nothing,
            domain + lexical - both - nothing,
        )
        return cls(*estimates_of(parts, size))


def expert_information(
    of: MeetingChoices, meetings: Meetings, label: int, table: Integers, size: Integers
) -> tuple[Estimates, Estimates]:
    """Estimate what each expert's inclusion shares with a label given the strata, and with the strata given the label.

    Parameters
    ----------
    of : MeetingChoices
    meetings : Meetings
    label : int
        Which of the labels of the meetings.
    table : int array ``[group, label, expert]``
        Tokens that include an expert.
    size : int array ``[group]``
        Tokens that have a choice.

    Returns
    -------
    Estimates ``[expert]`` in bits: of the label given the strata, and of the strata given the label.
    """
    n, used = int(size.sum()), size > 0
    if n == 0 or too_few(size):
        nothing = np.full(of.n_experts, math.nan)
        return (Estimates(nothing, nothing, nothing, nothing, nothing),) * 2
    sums, change = np.zeros((2, of.n_experts)), np.zeros((2, meetings.n_groups, of.n_experts))
    inclusion_sums(
        of.chosen, of.count, of.first, meetings.start, meetings.group, meetings.labels[label],
        meetings.sizes[label], of.members, of.slots, listed_x_log_x(), sums, change,
    )  # fmt: skip
    left = sums[:, None] + change
    tokens = table.sum(axis=2) // (of.members.shape[1] * of.slots)
    alone, alone_left = _inclusion_of(table, tokens)
    unit = math.log(2.0)

    def estimate(whole: Floats, without: Floats) -> Estimates:
        rest = (n - size[used])[:, None] * unit
        return jackknife_columns(whole / (n * unit), without[used] / rest, size[used])

    return estimate(sums[1] - sums[0], left[1] - left[0]), estimate(sums[1] - alone, left[1] - alone_left)


def _inclusion_of(table: Integers, tokens: Integers) -> tuple[Floats, Floats]:
    """Sum ln P(inclusion | label) of every expert ``[expert]``, and without each group ``[group, expert]``."""
    total, n = table.sum(axis=0), tokens.sum(axis=0)

    def summed(included: Integers, of_label: Integers) -> Floats:
        margin = of_label[..., None]
        return np.asarray((x_log_x(included) + x_log_x(margin - included) - x_log_x(margin)).sum(axis=-2))

    return summed(total, n), summed(total - table, n - tokens)
