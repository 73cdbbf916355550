"""What a trace states of its origin, and the options that a resumed run has to share."""

from collections.abc import Mapping, Sequence
from typing import Any

from capture.corpus import Document, fingerprint
from capture.model import LoadedModel
from capture.settings import RecordSettings, RunSettings
from routestat.traces.metadata import TraceMeta

# Options that do not change what is recorded: a resumed run may have others.
FREE_OPTIONS = (
    "out",
    "text",
    "batch_size",
    "device_map",
    "threads",
    "save_every",
    "resume",
    "trust_remote_code",
)


def fixed_options(
    run: RunSettings,
    record: RecordSettings,
    texts: Sequence[Document] | None,
    intervention: Mapping[str, Any],
) -> dict[str, Any]:
    """Return every option that decides what is recorded, with a fingerprint of the texts.

    Parameters
    ----------
    run : RunSettings
    record : RecordSettings
    texts : sequence of Document, or None
        None where a data set is streamed.
    intervention : mapping
        What is forced; empty if nothing is.
    """
    fixed = {name: value for name, value in {**vars(run), **vars(record)}.items() if name not in FREE_OPTIONS}
    if record.sample:
        # The tokens drawn for a text depend on the others in its batch.
        fixed["batch_size"] = run.batch_size
    # One key per item, so that the error of a resumed run names the one that differs.
    forced = {f"intervention {name}": value for name, value in intervention.items()}
    return {**fixed, **forced, "texts": "" if texts is None else fingerprint(texts)}


def trace_meta(
    run: RunSettings, record: RecordSettings, loaded: LoadedModel, intervention: Mapping[str, Any]
) -> TraceMeta:
    """Return the metadata of a trace: model, engine, precision, documents and how they were run."""
    extra: dict[str, Any] = {
        "phases": ["prefill", "decode"] if record.max_new_tokens else ["prefill"],
        "routers": {site.name: site.module for site in loaded.sites},
        "identity_experts": {site.name: list(site.identity) for site in loaded.sites if site.identity},
        "deterministic_routers": [site.name for site in loaded.sites if site.deviation.deterministic],
        "quantised_routers": loaded.quantised_routers,
        "revision": getattr(loaded.model.config, "_commit_hash", None) or "",
    }
    if record.max_new_tokens:
        extra["generation"] = {**record.generation, "seed": record.seed, "replayed": record.is_replayed}
        extra["unforwarded"] = "the last generated token of each document was never forwarded: it has no row"
    if intervention:
        extra["intervention"] = dict(intervention)
    if record.lookahead:
        extra["lookahead"] = {"variant": record.lookahead_variant, "distances": record.distances}
    return TraceMeta(
        tuple(site.as_router for site in loaded.sites),
        name=run.out.resolve().name,
        model=run.model,
        dataset=_documents_in_words(run),
        source="python -m capture",
        engine=loaded.engine,
        precision=loaded.precision,
        window=run.window,
        extra={key: value for key, value in extra.items() if value},
    )


def _documents_in_words(run: RunSettings) -> str:
    if run.dataset:
        return f"{run.dataset} {run.split} {run.column}".strip()
    files = run.text or []
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    return ", ".join(path.name for path in files[:5]) + more
