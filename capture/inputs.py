"""What every run over documents needs first: a loaded model, an encoder, and the documents that were named."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import transformers

from capture.corpus import Document, Encoder, limited, read_texts
from capture.model import LoadedModel, load
from capture.routers import RouterSite
from capture.settings import Asked


@dataclass(frozen=True)
class RunInputs:
    """A loaded model and what is to go through it.

    Attributes
    ----------
    texts : list of Document, or None
        None where a data set is streamed.
    """

    asked: Asked
    loaded: LoadedModel
    encoder: Encoder
    texts: list[Document] | None

    def documents(self) -> Iterator[Document]:
        """From the first on; as often as asked for."""
        return self.asked.streamed() if self.texts is None else iter(self.texts)

    def left(self, done: int) -> int | None:
        """Documents still to run, where that is known."""
        total = self.asked.limit if self.texts is None else len(self.texts)
        return max(total - done, 0) or None


def prepare_inputs(
    asked: Asked, examine: Callable[[Sequence[RouterSite]], object] | None = None
) -> RunInputs:
    """Read the texts, load the model, and encode once what is not streamed.

    Parameters
    ----------
    asked : Asked
    examine : callable(sites), optional
        Sees the model's routers before any weights are read, and refuses what cannot be done with them.

    Raises
    ------
    RoutestatError
        If a text cannot be read, is too long, or the model cannot be loaded or recorded.
    """
    if asked.threads:
        torch.set_num_threads(asked.threads)
    transformers.set_seed(asked.seed)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    texts = list(limited(read_texts(asked.text, asked.column), asked.limit)) if asked.text else None
    loaded = load(
        asked.model,
        dtype=asked.dtype,
        device_map=asked.device_map,
        load_in_4bit=asked.load_in_4bit,
        experts=asked.experts,
        revision=asked.revision,
        trust_remote_code=asked.trust_remote_code,
        examine=examine,
    )
    for module in loaded.quantised_routers:
        print(
            f"note: {module} was quantised with the experts; its choices are not the original's",
            file=sys.stderr,
        )
    encoder = Encoder(
        loaded.tokenizer,
        asked.chat_template,
        asked.max_length,
        asked.window,
        loaded.context,
        asked.max_new_tokens,
    )
    for document in texts or ():
        # All of them before any work: the longest may come last.
        encoder.encode(document)
    return RunInputs(asked, loaded, encoder, texts)
