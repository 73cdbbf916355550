"""What experts specialise in: domains and classes of tokens."""

from dataclasses import dataclass

import numpy as np

from routestat.counting.document_sample import Sample
from routestat.progress import Tick, silent
from routestat.traces.token_texts import TokenTexts


@dataclass(frozen=True)
class SpecialisationFindings:
    """Dependence of experts on domains and on classes of tokens."""


def measure_specialisation(
    sample: Sample,
    states: str,
    token_texts: TokenTexts | None,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> SpecialisationFindings | None:
    """Measure the dependence of experts on domains and on classes of tokens."""
    return None
