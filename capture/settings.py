"""What the user asked of the command, checked, and what follows from it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capture.corpus import Document, fingerprint, limited, read_dataset
from capture.model import LoadedModel
from capture.store import routers_of
from routestat.errors import RoutestatError
from routestat.traces.metadata import TraceMeta

DTYPES = ("auto", "float32", "bfloat16", "float16")
# These do not change what is recorded: a resumed run may have others.
_FREE = ("out", "text", "batch_size", "device_map", "threads", "save_every", "resume", "trust_remote_code")


@dataclass
class Asked:
    """The command's options under their own names, and what follows from them."""

    model: str
    out: Path
    text: list[Path] | None
    dataset: str
    column: str
    split: str
    dataset_config: str
    limit: int
    max_new_tokens: int
    num_beams: int
    prompt_lookup: int
    compiled: bool
    sample: bool
    seed: int
    chat_template: bool
    max_length: int
    window: int
    batch_size: int
    top1: bool
    weights: bool
    lookahead: str
    lookahead_variant: str
    dtype: str
    device_map: str
    load_in_4bit: bool
    experts: str
    revision: str
    trust_remote_code: bool
    threads: int
    save_every: float
    resume: bool
    # What is forced, if anything: see `capture.intervene.command`.
    intervention: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse what cannot be meant, before anything is loaded."""
        if bool(self.text) == bool(self.dataset):
            raise RoutestatError("name what to run: --text FILE, or --dataset NAME with --column")
        for path in self.text or ():
            if not path.is_file():
                raise RoutestatError(f"--text {path}: no such file")
        if self.dtype not in DTYPES:
            raise RoutestatError(f"--dtype is {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.window and self.max_new_tokens:
            raise RoutestatError("--window cuts documents for prefill; it goes not with --max-new-tokens")
        if self.replayed and not self.max_new_tokens:
            raise RoutestatError(
                "--num-beams, --prompt-lookup and --compiled are ways to generate: add --max-new-tokens"
            )
        if self.sample and not self.max_new_tokens:
            raise RoutestatError("--sample is a way to generate: add --max-new-tokens")
        if self.prompt_lookup and self.batch_size > 1:
            raise RoutestatError("--prompt-lookup runs one text at a time: add --batch-size 1")
        _ = self.distances

    @property
    def distances(self) -> list[int]:
        """Of the lookahead."""
        parts = [part.strip() for part in self.lookahead.split(",") if part.strip()]
        if not all(part.isdigit() for part in parts):
            raise RoutestatError(
                f"--lookahead wants numbers of layers such as 1,2,3,4, got {self.lookahead!r}"
            )
        return [int(part) for part in parts]

    @property
    def replayed(self) -> bool:
        """Whether a teacher-forced pass is recorded instead of the generation itself."""
        return self.num_beams > 1 or self.prompt_lookup > 0 or self.compiled

    @property
    def generation(self) -> dict[str, Any]:
        """Arguments of ``generate``; empty for prefill only."""
        if not self.max_new_tokens:
            return {}
        given: dict[str, Any] = {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": self.sample,
            "disable_compile": not self.compiled,
        }
        if self.num_beams > 1:
            given["num_beams"] = self.num_beams
        if self.prompt_lookup:
            given["prompt_lookup_num_tokens"] = self.prompt_lookup
        if self.compiled:
            given["cache_implementation"] = "static"
        return given

    def streamed(self) -> Iterator[Document]:
        """The rows of the data set."""
        return limited(read_dataset(self.dataset, self.column, self.split, self.dataset_config), self.limit)

    def options(self, texts: list[Document] | None) -> dict[str, Any]:
        """All that decides what is recorded."""
        fixed = {name: value for name, value in vars(self).items() if name not in _FREE}
        if self.sample:
            # What is drawn for a text depends on its neighbours.
            fixed["batch_size"] = self.batch_size
        # Flat, so that a run resumed with another one says what differs; absent where nothing is forced.
        forced = {f"intervention {name}": value for name, value in fixed.pop("intervention").items()}
        return {**fixed, **forced, "texts": "" if texts is None else fingerprint(texts)}

    def meta(self, loaded: LoadedModel) -> TraceMeta:
        """What the trace will say of itself."""
        files = ", ".join(path.name for path in (self.text or ())[:5])
        many = f" and {len(self.text) - 5} more" if self.text and len(self.text) > 5 else ""
        extra: dict[str, Any] = {
            "phases": ["prefill", "decode"] if self.max_new_tokens else ["prefill"],
            "routers": {site.name: site.module for site in loaded.sites},
            "identity_experts": {site.name: list(site.identity) for site in loaded.sites if site.identity},
            "deterministic_routers": [site.name for site in loaded.sites if site.deviation.deterministic],
            "quantised_routers": loaded.quantised_routers,
            "revision": getattr(loaded.model.config, "_commit_hash", None) or "",
        }
        if self.max_new_tokens:
            extra["generation"] = {**self.generation, "seed": self.seed, "replayed": self.replayed}
            extra["unforwarded"] = (
                "the last generated token of each document was never forwarded: it has no row"
            )
        if self.intervention:
            extra["intervention"] = self.intervention
        if self.lookahead:
            extra["lookahead"] = {"variant": self.lookahead_variant, "distances": self.distances}
        return TraceMeta(
            routers_of(loaded.sites),
            name=self.out.resolve().name,
            model=self.model,
            dataset=f"{self.dataset} {self.split} {self.column}".strip() if self.dataset else files + many,
            source="python -m capture",
            engine=loaded.engine,
            precision=loaded.precision,
            window=self.window,
            extra={key: value for key, value in extra.items() if value},
        )
