"""The routing profile of llama.cpp forks with an expert cache: a CSV without header, ``pos,layer,id0,id1,…``.

The form is that of the fork's ``moe-trace``: one row for each token and layer. Tokens of the prompt have negative
positions that end at −1, generated ones count from 0. A profile of several prompts is their rows one after another.
Readers count the generated tokens: prompts need other experts than the text that is written. A trace without generated
tokens, such as one of texts that were only read, would be an empty profile to them; its tokens are numbered as if they
had been generated, and a note says so.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.serving.exports.exported import Exported
from routestat.serving.exports.layer_rows import require_one_router
from routestat.serving.steps import Steps
from routestat.traces.validation import PHASES

ENGINE = "llama.cpp forks"
#: Tokens that are written at once.
TOKENS = 1 << 12
_DECODE = PHASES.index("decode")


def cache_profile(exported: Exported) -> Mapping[str, bytes]:
    """Return the CSV.

    Raises
    ------
    RoutestatError
        If there are no tokens, they were served in a batch, or several routers are in a layer.
    """
    require_one_router(exported, ENGINE)
    return {"cache-profile.csv": b"".join(profile_rows(_required_steps(exported)))}


def profile_rows(steps: Steps) -> Iterator[bytes]:
    """Yield the lines of some thousand tokens at a time, documents one after another.

    A missing choice has no line. Experts are in ascending order, not in that of their weights.

    Parameters
    ----------
    steps : Steps
        Of one document at a time.

    Raises
    ------
    RoutestatError
        If several documents were served side by side.
    """
    if steps.batch != 1:
        raise RoutestatError(
            f"{ENGINE}: expected documents one after another, got a batch of {steps.batch}; make the steps with batch 1"
        )
    position = positions(steps)
    layer = np.array([f",{router.layer}".encode() for router in steps.routers])
    most = max(router.n_experts for router in steps.routers)
    expert = np.array([*(f",{number}".encode() for number in range(most)), b""])
    for begin in range(0, len(position), TOKENS):
        choices = steps.choices[begin : begin + TOKENS]
        number = np.array([b"%d" % value for value in position[begin : begin + TOKENS].tolist()])
        chosen = choices[..., 0] >= 0
        token, place = np.nonzero(chosen)
        parts = [_characters(number[token]), _characters(layer[place])]
        # −1 takes the last entry, which is empty.
        parts += [_characters(expert[choices[token, place, slot]]) for slot in range(choices.shape[2])]
        lines = np.concatenate([*parts, np.full((len(token), 1), ord("\n"), np.uint8)], axis=1)
        yield lines[lines != 0].tobytes()


def positions(steps: Steps) -> NDArray[np.int64]:
    """Return the position of each token in its document: up to −1 in the prompt, from 0 in generated text ``[token]``.

    Where generated text is followed by a prompt, as in a conversation, the counting of each goes on. If no token of any
    document was generated, all count from 0.
    """
    sizes = np.diff(steps.start)
    decoded = (
        np.repeat(steps.phase == _DECODE, sizes) if _has_generated(steps) else np.ones(sizes.sum(), bool)
    )
    begins = np.zeros(len(decoded), bool)
    begins[steps.start[:-1][steps.first]] = True
    document = np.cumsum(begins) - 1
    generated = np.cumsum(decoded)
    before = generated - decoded
    prompt = np.cumsum(~decoded)
    generated_before = before[begins][document]
    prompts_in_all = np.bincount(document, weights=~decoded).astype(np.int64)
    prompt_before = (prompt - ~decoded)[begins][document]
    in_prompt = prompt - prompt_before - 1 - prompts_in_all[document]
    return np.where(decoded, before - generated_before, in_prompt)


def notes(exported: Exported) -> tuple[str, ...]:
    """Return a caution where the trace has no generated tokens."""
    if exported.steps is None or _has_generated(exported.steps):
        return ()
    return (
        "the trace has no generated tokens: its tokens are numbered as if they had been generated, because readers "
        "count no others",
    )


def _has_generated(steps: Steps) -> bool:
    return bool((steps.phase == _DECODE).any())


def _required_steps(exported: Exported) -> Steps:
    if exported.steps is None:
        raise RoutestatError(
            f"{ENGINE}: expected the tokens of a trace, got none; a profile has a row for each"
        )
    return exported.steps


def _characters(text: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    """Return the bytes of each string, 0 after its end ``[string, character]``."""
    return np.ascontiguousarray(text).view(np.uint8).reshape(len(text), -1)
