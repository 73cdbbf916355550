"""Run one batch of texts through a model, in prefill or generation, and return its recorded rows."""

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
from capture.positions import Board, Layout, Rows, extend, flip_rate, lay_out
from capture.routers import RouterSite
from routestat.errors import RoutestatError


@dataclass(frozen=True)
class Piece:
    """A text, or a window of one, as it is given to the model.

    Parameters
    ----------
    document : int
    tokens : sequence of int
    first : int
        Position in the document of the first recorded token.
    skip : int
        Tokens at the start that are run but not recorded.
    """

    document: int
    tokens: Sequence[int]
    first: int = 0
    skip: int = 0


@dataclass
class Runner:
    """A loaded model and how it is to be run.

    Parameters
    ----------
    model : transformers model
    sites : sequence of RouterSite
    pad : int
        Token that fills a batch; masked.
    end_tokens : sequence of int
        Tokens that end a generation.
    weights : bool
        Record the weights of the executed experts.
    lookahead : Lookahead, optional
    generation : mapping
        Arguments of ``generate`` beside the tokens; empty for prefill only.
    replayed : bool
        Record a teacher-forced pass over the final tokens instead of the generation itself: needed where rows
        are not texts (beams), where guesses are thrown away, and where compiled code skips the hooks.
    forcing : callable(Layout) -> context manager, optional
        Open around the forward pass of a prefill, outside the recorder: what is recorded is what was forced.
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

    def run(self, pieces: Sequence[Piece]) -> Rows:
        """Rows of a batch, text by text."""
        if not self.generation:
            return self.prefill(pieces)
        if not self.replayed:
            return self.generate(pieces)
        return self.replay(pieces)

    def prefill(self, pieces: Sequence[Piece]) -> Rows:
        """One forward pass over padded texts."""
        # Padding on the right leaves every real token's past and position as they are alone.
        tokens, mask, layout = self._batch(pieces, left=False)
        forced = nullcontext() if self.forcing is None else self.forcing(layout)
        with forced, self._recorder() as recorder:
            self._forward(tokens, mask)
        board = Board(len(pieces))
        board.place(recorder.steps[0])
        return board.rows(layout)

    def generate(self, pieces: Sequence[Piece]) -> Rows:
        """The recorded steps of a generation, the prompt's and the decoded tokens'."""
        tokens, mask, layout = self._batch(pieces, left=True)
        with self._recorder() as recorder:
            output = self._generate(tokens, mask)
        board = Board(len(pieces))
        for step in recorder.steps:
            board.place(step)
        return board.rows(self._extended(layout, output.sequences))

    def replay(self, pieces: Sequence[Piece]) -> Rows:
        """Generate, then record one pass over the final tokens; count how often the generation chose otherwise."""
        tokens, mask, layout = self._batch(pieces, left=True)
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
        rows = self._replayed(pieces, final)
        if steps is not None:
            live = Board(len(pieces))
            for number, step in enumerate(steps):
                live.place(step, _beam_rows(output, number, len(pieces), layout.prompt, step.call.past))
            flips, compared = flip_rate(live.rows(final), rows)
            self.flips += flips
            self.compared += compared
        return rows

    def _replayed(self, pieces: Sequence[Piece], final: Layout) -> Rows:
        texts = []
        for row, piece in enumerate(pieces):
            generated = final.document[row, final.prompt :] >= 0
            new = final.token[row, final.prompt :][generated]
            texts.append(Piece(piece.document, [*piece.tokens, *new.tolist()], piece.first, piece.skip))
        rows = self.prefill(texts)
        prompt = {piece.document: len(piece.tokens) - piece.skip + piece.first for piece in pieces}
        after = rows.position >= np.array([prompt[document] for document in rows.document.tolist()], int)
        return Rows(rows.document, rows.position, rows.token, after, rows.columns)

    def _recorder(self) -> Any:
        recorder = Recorder(self.model, self.sites, weights=self.weights)
        return recorder if self.lookahead is None else self.lookahead.attached_to(recorder)

    def _batch(self, pieces: Sequence[Piece], left: bool) -> tuple[torch.Tensor, torch.Tensor, Layout]:
        width = max(len(piece.tokens) for piece in pieces)
        tokens = np.full((len(pieces), width), self.pad, np.int64)
        mask = np.zeros((len(pieces), width), np.int64)
        for row, piece in enumerate(pieces):
            cells = slice(width - len(piece.tokens), None) if left else slice(len(piece.tokens))
            tokens[row, cells] = piece.tokens
            mask[row, cells] = 1
        layout = lay_out(
            [piece.document for piece in pieces],
            tokens,
            mask,
            first=[piece.first for piece in pieces],
            skip=[piece.skip for piece in pieces],
        )
        device = input_device(self.model)
        return torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device), layout

    def _forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> None:
        # No logits are wanted: those of the last column alone spare tokens × vocabulary of memory.
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


def _beam_rows(output: Any, number: int, rows: int, prompt: int, past: int) -> NDArray | None:
    """Which row of step `number` belongs to each returned text, if beams changed places."""
    indices = getattr(output, "beam_indices", None)
    if indices is None:
        return None
    # Column s of beam_indices is the row whose logits gave token s; in that step it forwarded token s − 1.
    table = indices.cpu().numpy()
    if table.shape[0] != rows:
        raise RoutestatError(f"{table.shape[0]} texts came back for {rows} prompts; ask for one each")
    return np.asarray(table[:, number]) if number < table.shape[1] else np.full(rows, -1)


def batches(pieces: Iterator[Piece], size: int) -> Iterator[list[Piece]]:
    """`size` pieces at a time, in order."""
    batch: list[Piece] = []
    for piece in pieces:
        batch.append(piece)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
