"""Run one batch of texts through a model, as prefill or generation, and return the recorded rows."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from capture.hooks import Recorder, input_device
from capture.lookahead import Lookahead
from capture.positions import BatchBuffer, Layout, RecordedRows, extend, flip_rate, lay_out
from capture.routers import RouterSite
from routestat.errors import RoutestatError


@dataclass(frozen=True)
class Segment:
    """A text, or a window of one, as it is given to the model.

    Parameters
    ----------
    document : int
    tokens : sequence of int
    first : int
        Position in the document of the first recorded token.
    skip : int
        Tokens at the start that run but are not recorded.
    """

    document: int
    tokens: Sequence[int]
    first: int = 0
    skip: int = 0


@dataclass
class Runner:
    """A loaded model and how batches run through it.

    Parameters
    ----------
    model : transformers model
    sites : sequence of RouterSite
    pad : int
        Token that pads a batch; it is masked.
    end_tokens : sequence of int
        Tokens that end a generation.
    weights : bool
        Record the weights of the executed experts.
    lookahead : Lookahead, optional
    generation : mapping
        Arguments of ``generate`` besides the tokens; empty for prefill only.
    replayed : bool
        Record a teacher-forced pass over the final tokens instead of the generation itself: needed where rows
        are not texts (beams), where guesses are rejected, and where compiled code skips the hooks.
    forcing : callable(Layout) -> context manager, optional
        Entered around the forward pass of a prefill and outside the recorder, so that the forced choice is recorded.

    Attributes
    ----------
    flips, compared : int
        Selections of replayed generations that changed, and all that were compared.
    """

    model: Any
    sites: Sequence[RouterSite]
    pad: int
    end_tokens: Sequence[int] = ()
    weights: bool = False
    lookahead: Lookahead | None = None
    generation: dict[str, Any] = field(default_factory=dict)
    replayed: bool = False
    forcing: Callable[[Layout], AbstractContextManager[None]] | None = None
    flips: int = 0
    compared: int = 0

    def run(self, segments: Sequence[Segment]) -> RecordedRows:
        """Return the rows of a batch, text by text."""
        if not self.generation:
            return self.prefill(segments)
        if not self.replayed:
            return self.generate(segments)
        return self.replay(segments)

    def prefill(self, segments: Sequence[Segment]) -> RecordedRows:
        """Record one forward pass over padded texts."""
        # With padding on the right every real token has the past and the position that it has without padding.
        tokens, mask, layout = self._batch(segments, left=False)
        forced = nullcontext() if self.forcing is None else self.forcing(layout)
        with forced, self._recorder() as recorder:
            self._forward(tokens, mask)
        buffer = BatchBuffer(len(segments))
        buffer.write(recorder.steps[0])
        return buffer.rows(layout)

    def generate(self, segments: Sequence[Segment]) -> RecordedRows:
        """Record the steps of a generation: the prompt and the decoded tokens."""
        tokens, mask, layout = self._batch(segments, left=True)
        with self._recorder() as recorder:
            output = self._generate(tokens, mask)
        buffer = BatchBuffer(len(segments))
        for step in recorder.steps:
            buffer.write(step)
        return buffer.rows(self._extended(layout, output.sequences))

    def replay(self, segments: Sequence[Segment]) -> RecordedRows:
        """Generate, record one pass over the final tokens, and count the selections that differ between the two."""
        tokens, mask, layout = self._batch(segments, left=True)
        compiled = (
            bool(self.generation.get("cache_implementation")) and not self.generation["disable_compile"]
        )
        if compiled:
            output, steps = self._generate(tokens, mask), None
        else:
            with Recorder(self.model, self.sites) as recorder:
                output = self._generate(tokens, mask)
            steps = recorder.steps
        final = self._extended(layout, output.sequences)
        rows = self._replayed(segments, final)
        if steps is not None:
            generated = BatchBuffer(len(segments))
            for number, step in enumerate(steps):
                generated.write(step, _beam_rows(output, number, len(segments)))
            flips, compared = flip_rate(generated.rows(final), rows)
            self.flips += flips
            self.compared += compared
        return rows

    def _replayed(self, segments: Sequence[Segment], final: Layout) -> RecordedRows:
        texts = []
        for row, segment in enumerate(segments):
            generated = final.document[row, final.prompt :] >= 0
            new = final.token[row, final.prompt :][generated]
            texts.append(
                Segment(segment.document, [*segment.tokens, *new.tolist()], segment.first, segment.skip)
            )
        rows = self.prefill(texts)
        prompt = {
            segment.document: len(segment.tokens) - segment.skip + segment.first for segment in segments
        }
        after = rows.position >= np.array([prompt[document] for document in rows.document.tolist()], int)
        return RecordedRows(rows.document, rows.position, rows.token, after, rows.columns)

    def _recorder(self) -> Any:
        recorder = Recorder(self.model, self.sites, weights=self.weights)
        return recorder if self.lookahead is None else self.lookahead.attached_to(recorder)

    def _batch(self, segments: Sequence[Segment], left: bool) -> tuple[torch.Tensor, torch.Tensor, Layout]:
        width = max(len(segment.tokens) for segment in segments)
        tokens = np.full((len(segments), width), self.pad, np.int64)
        mask = np.zeros((len(segments), width), np.int64)
        for row, segment in enumerate(segments):
            cells = slice(width - len(segment.tokens), None) if left else slice(len(segment.tokens))
            tokens[row, cells] = segment.tokens
            mask[row, cells] = 1
        layout = lay_out(
            [segment.document for segment in segments],
            tokens,
            mask,
            first=[segment.first for segment in segments],
            skip=[segment.skip for segment in segments],
        )
        device = input_device(self.model)
        return torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device), layout

    def _forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> None:
        # Logits are not needed: those of the last column alone save tokens × vocabulary of memory.
        with torch.inference_mode():
            self.model(input_ids=tokens, attention_mask=mask, use_cache=False, **self._few_logits())

    def _few_logits(self) -> dict[str, int]:
        accepts = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        return {"logits_to_keep": 1} if accepts else {}

    def _generate(self, tokens: torch.Tensor, mask: torch.Tensor) -> Any:
        with torch.inference_mode():
            return self.model.generate(
                input_ids=tokens,
                attention_mask=mask,
                pad_token_id=self.pad,
                eos_token_id=list(self.end_tokens) or None,
                return_dict_in_generate=True,
                **self.generation,
            )

    def _extended(self, layout: Layout, sequences: torch.Tensor) -> Layout:
        return extend(layout, sequences[:, layout.prompt :].cpu().numpy(), self.end_tokens)


def _beam_rows(output: Any, number: int, rows: int) -> NDArray[np.int64] | None:
    """Return the row of step `number` that belongs to each returned text, or None without beams."""
    indices = getattr(output, "beam_indices", None)
    if indices is None:
        return None
    # Column s of beam_indices is the row whose logits gave token s; in that step the row forwarded token s − 1.
    table = indices.cpu().numpy()
    if table.shape[0] != rows:
        raise RoutestatError(f"{table.shape[0]} texts came back for {rows} prompts; generate one each")
    return np.asarray(table[:, number]) if number < table.shape[1] else np.full(rows, -1)


def batches(segments: Iterator[Segment], size: int) -> Iterator[list[Segment]]:
    """Yield the segments in order, `size` at a time."""
    batch: list[Segment] = []
    for segment in segments:
        batch.append(segment)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
