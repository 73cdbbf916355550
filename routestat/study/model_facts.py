"""Facts of a model from its configuration: shared, expert, router and active parameters."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelFacts:
    """Numbers of parameters of a model."""


def read_model_facts(path: Path) -> ModelFacts:
    """Read a model's ``config.json``."""
    raise NotImplementedError
