"""The loaded model, the encoder and the documents of a run."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import transformers

from capture.corpus import Document, Encoder, limited, read_dataset, read_texts
from capture.model import LoadedModel, load
from capture.routers import RouterSite
from capture.settings import RunSettings


@dataclass(frozen=True)
class RunInputs:
    """A loaded model and the documents that are to run through it.

    Attributes
    ----------
    settings : RunSettings
    loaded : LoadedModel
    encoder : Encoder
    texts : list of Document, or None
        None where a data set is streamed.
    """

    settings: RunSettings
    loaded: LoadedModel
    encoder: Encoder
    texts: list[Document] | None

    def documents(self) -> Iterator[Document]:
        """Yield the documents, each time from the first on."""
        if self.texts is not None:
            return iter(self.texts)
        chosen = self.settings
        rows = read_dataset(chosen.dataset, chosen.column, chosen.split, chosen.dataset_config)
        return limited(rows, chosen.limit)

    def remaining(self, done: int) -> int | None:
        """Return the number of documents still to run; None where it is not known."""
        total = self.settings.limit if self.texts is None else len(self.texts)
        return max(total - done, 0) or None


def prepare_inputs(
    settings: RunSettings,
    *,
    seed: int = 0,
    new_tokens: int = 0,
    examine: Callable[[Sequence[RouterSite]], object] | None = None,
) -> RunInputs:
    """Read the texts, load the model, and encode once what is not streamed.

    Parameters
    ----------
    settings : RunSettings
    seed : int
        Seed of the sampling.
    new_tokens : int
        Tokens that will be generated after each document.
    examine : callable(sites), optional
        Called with the model's routers before any weights are read; it raises what cannot be done with them.

    Raises
    ------
    RoutestatError
        If a text cannot be read or is too long, or the model cannot be loaded or recorded.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    transformers.set_seed(seed)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    texts = None
    if settings.text:
        texts = list(limited(read_texts(settings.text, settings.column), settings.limit))
    loaded = load(settings, examine)
    for module in loaded.quantised_routers:
        print(
            f"note: {module} was quantised with the experts; its choices are not the original's",
            file=sys.stderr,
        )
    encoder = Encoder(
        loaded.tokenizer,
        settings.chat_template,
        settings.max_length,
        settings.window,
        loaded.context,
        new_tokens,
    )
    for document in texts or ():
        # All documents before any runs: the one that is too long may come last.
        encoder.encode(document)
    return RunInputs(settings, loaded, encoder, texts)
