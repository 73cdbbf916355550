"""Facts of a model, read from the file of its configuration, and beside them what its routers do in a trace."""

import json
from dataclasses import dataclass
from pathlib import Path

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.errors import RoutestatError
from routestat.inference.sample_size.unseen_experts import Unseen, unseen
from routestat.structure.model_facts import ModelFacts, model_facts, require_fit

# A configuration takes kilobytes; a file of weights given by mistake is not read.
_MOST_BYTES = 1 << 24


def read_model_facts(path: Path) -> ModelFacts:
    """Read a model's ``config.json``.

    Parameters
    ----------
    path : path
        Of the file, or of the folder that holds it.

    Raises
    ------
    RoutestatError
        If there is no such file, it is no JSON object, or not of a mixture-of-experts model.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise RoutestatError(
                f"--model-config: expected a model's config.json, found {file}, which is larger"
            )
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RoutestatError(
            f"--model-config: expected a model's config.json, or its folder; {file}: {error.strerror or error}"
        ) from None
    except (ValueError, RecursionError):
        raise RoutestatError(
            f"--model-config: expected {file} to be JSON, but it cannot be read as such"
        ) from None
    if not isinstance(values, dict):
        raise RoutestatError(
            f"--model-config: expected {file} to hold a JSON object, found {type(values).__name__}"
        )
    return model_facts(values)


@dataclass(frozen=True)
class ModelFindings:
    """A model and what its routers do.

    Attributes
    ----------
    facts : ModelFacts
    notes : tuple of str
        Where the trace differs from the configuration.
    unseen : tuple of Unseen
        By router: the experts that occurred, and those that more documents would show.
    """

    facts: ModelFacts
    notes: tuple[str, ...]
    unseen: tuple[Unseen, ...]


def measure_model(counts: Counts, facts: ModelFacts) -> ModelFindings:
    """Set the routers of a trace beside the model's configuration.

    Parameters
    ----------
    counts : Counts
        With the empty context.
    facts : ModelFacts

    Raises
    ------
    RoutestatError
        If the trace is not of this model.
    """
    found = []
    for router in counts.routers:
        table = counts.table(Context(), router)
        if counts.states == "subset":
            table = table.astype(int) @ router.alphabet.membership.astype(int)
        found.append(unseen(table))
    return ModelFindings(facts, require_fit(facts, counts.routers), tuple(found))
