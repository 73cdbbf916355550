"""Facts of a model, read from the file of its configuration."""

import json
from pathlib import Path

from routestat.errors import RoutestatError
from routestat.structure.model_facts import ModelFacts, model_facts

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
