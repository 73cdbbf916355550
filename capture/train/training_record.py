"""``training.json``: the options of a training and its result, beside the model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from routestat.errors import RoutestatError
from routestat.traces.manifest import replace_file

FILE = "training.json"


def check_folder(out: Path, options: Mapping[str, Any], resume: bool) -> None:
    """Check that a folder is empty, or holds the training that is to be resumed.

    Raises
    ------
    RoutestatError
        If the folder holds files and `resume` is not set, or its training has other options or is finished.
    """
    file = out / FILE
    if not resume or not file.exists():
        if out.is_dir() and any(out.iterdir()):
            there = "holds a training" if file.exists() else "holds files that are not a training"
            remedy = (
                "continue with --resume, or name another folder" if file.exists() else "name another folder"
            )
            raise RoutestatError(f"--out {out}: {there}; {remedy}")
        return
    record = read(out)
    if record["run"] is not None:
        raise RoutestatError(f"--out {out}: this training is finished; name another folder for a new one")
    changed = [name for name in options if record["options"].get(name) != options[name]]
    if changed:
        raise RoutestatError(
            f"--out {out}: was made with {changed[0]} {record['options'].get(changed[0])!r}, not "
            f"{options[changed[0]]!r}; resume with the same options or name another folder"
        )


def read(out: Path) -> dict[str, Any]:
    """Read ``training.json``.

    Raises
    ------
    RoutestatError
        If the file is damaged.
    """
    try:
        record = json.loads((out / FILE).read_bytes())
        if isinstance(record["options"], dict) and "run" in record:
            return dict(record)
    except (ValueError, TypeError, KeyError):
        pass
    raise RoutestatError(f"{out / FILE}: not the record of a training; name another folder")


def write(out: Path, options: Mapping[str, Any], run: Mapping[str, Any] | None) -> None:
    """Write ``training.json``; `run` is None until the training is finished."""
    out.mkdir(parents=True, exist_ok=True)
    record = {"options": dict(options), "run": None if run is None else dict(run)}
    replace_file(out / FILE, json.dumps(record, indent=1, ensure_ascii=False).encode())
