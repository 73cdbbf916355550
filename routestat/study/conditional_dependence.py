"""Dependence of two layers given the token or an earlier choice."""

from dataclasses import dataclass

import numpy as np

from routestat.counting.document_sample import Sample
from routestat.counting.strata import Strata, StrataRows, strata_rows
from routestat.inference.association.stratified import StratifiedIndependence, stratified_independence
from routestat.inference.information.mutual_information import (
    InformationInterval,
    mutual_information_interval,
)
from routestat.inference.information.stratified import conditional_information_interval, shuffled_information
from routestat.inference.markov.order_selection import LEAST_BITS
from routestat.traces.metadata import Router

#: The noise floor may be this share of the estimate, and no more, for the estimate to be used.
MOST_SHUFFLED = 0.2


@dataclass(frozen=True)
class ConditionalDependence:
    """Conditional mutual information of two layers, and its test.

    Attributes
    ----------
    information : InformationInterval
    unconditional_bits : float
        Of the same tokens without the condition. The difference is the interaction information, negative where the
        condition adds information (synergy).
    shuffled_bits : float
        The noise floor: the same estimate after the target choices are shuffled inside every stratum.
    test : StratifiedIndependence
    """

    information: InformationInterval
    unconditional_bits: float
    shuffled_bits: float
    test: StratifiedIndependence

    @property
    def interaction_bits(self) -> float:
        """Information without the condition minus information given it."""
        return self.unconditional_bits - self.information.mi_bits

    @property
    def is_near_noise_floor(self) -> bool:
        """Whether the noise floor is a large share of the estimate or lies in its interval."""
        found, floor = self.information, self.shuffled_bits
        return abs(floor) > MOST_SHUFFLED * abs(found.mi_bits) or found.low <= floor <= found.high

    @property
    def is_safely_zero(self) -> bool:
        """Whether the noise floor does no harm: negligible, or inside an interval that contains zero."""
        found, floor = self.information, abs(self.shuffled_bits)
        # Such an interval is at least as wide as the error.
        return floor < LEAST_BITS or (found.low <= 0 <= found.high and floor <= (found.high - found.low) / 2)


def conditional_dependence(
    sample: Sample,
    source: Router,
    target: Router,
    by: str | Router,
    states: str,
    rng: np.random.Generator,
    rows: StrataRows | None = None,
    counted: Strata | None = None,
) -> ConditionalDependence:
    """Estimate the information of two layers inside strata of the token id or of an earlier choice.

    Parameters
    ----------
    sample : Sample
        Whole documents.
    source, target : Router
    by : {"token", "previous"} or Router
        The condition: the token id, the choice of the target's router at the previous token, or a router's choice.
    states : {"subset", "expert"}
    rng : numpy.random.Generator
        Shuffles choices inside strata.
    rows, counted : StrataRows, Strata, optional
        Tokens and counts of these strata, where they are known already.
    """
    rows = rows or strata_rows(sample, source, target, by, states=states)
    strata = counted or rows.count()
    return ConditionalDependence(
        conditional_information_interval(strata),
        mutual_information_interval(strata.pooled()).mi_bits,
        shuffled_information(strata, rows.count(rng)).mi_bits,
        stratified_independence(strata),
    )
