"""Rows of a recording assigned to requests: the recorder of SGLang keeps no request ids.

In an extend pass every stretch of ``extend_seq_lens`` is one request. A stretch that starts beyond position 0 is
either the next chunk of a prompt that was cut by the scheduler's budget, or a new request whose first tokens were
served from the prefix cache. They are distinguished as follows:

- The scheduler cuts the last request of a pass, and begins the next extend pass with what is left of it. A stretch at
  any other place, or after another extend pass, is a new request.
- A request that goes on at the position where the stretch begins did not get that stretch; neither did one that was
  decoding, but for a single row (a request that was taken back for want of memory comes again with its last token).
- A pass that was cut is as full as any in the recording, and the request is next seen where the stretch ends.

Where the first two indicate a chunk and the third does not, the two cannot be distinguished: they stay two requests,
with one label, as they may be one.

Every row of a decode pass goes to the running request that expects its position, in the order of the batch (the
scheduler keeps it).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

EXTEND, DECODE, MIXED, IDLE = 1, 2, 3, 4


@dataclass(frozen=True)
class Pass:
    """One forward pass: tokens and positions ``[row]``, rows of each stretch, experts ``[row, layer, slot]``."""

    rank: int
    number: int
    token: NDArray[np.integer]
    position: NDArray[np.integer]
    lengths: Sequence[int]
    mode: int
    experts: NDArray[np.integer]

    @property
    def starts(self) -> NDArray[np.int64]:
        """First row of each stretch."""
        return np.cumsum([0, *self.lengths])[:-1]


@dataclass
class Request:
    """Rows of one request: of each stretch its experts, tokens, first position and whether it was decoded.

    Requests with the same `label` (0: none) may be one. `place` is the pass and the stretch that it was last seen in,
    `begun` the number of its first forward pass.
    """

    rank: int
    expects: int
    begun: int
    place: tuple[int, int]
    label: int = 0
    decoded: bool = False
    rows: list[tuple[NDArray[np.integer], NDArray[np.integer], int, bool]] = field(default_factory=list)


@dataclass(frozen=True)
class Requests:
    """The requests in the order of their first rows.

    `n_guessed` stretches fitted several requests; `n_ambiguous` may be chunks of an earlier request or new ones.
    """

    requests: tuple[Request, ...]
    n_guessed: int
    n_ambiguous: int


def requests_of(passes: Sequence[Pass]) -> Requests:
    """Assign the rows of the passes to requests, rank by rank."""
    ranks = {one.rank: _Rank([p for p in passes if p.rank == one.rank]) for one in passes}
    found: list[Request] = []
    for one in passes:
        found += ranks[one.rank].take_next(len(found))
    sums = [sum(getattr(rank, name) for rank in ranks.values()) for name in ("guessed", "ambiguous")]
    return Requests(tuple(found), *sums)


class _Rank:
    """The passes of one rank, taken one after the other, and the requests that are running."""

    def __init__(self, passes: list[Pass]) -> None:
        self.passes, self.now = passes, -1
        self.batch: list[Request] = []
        self.guessed = self.ambiguous = 0
        self.fullest = max((len(one.token) for one in passes if one.mode != DECODE), default=0)
        # The extend pass before this one.
        self.cut = -1

    def take_next(self, n_before: int) -> list[Request]:
        """Process the next pass; return the requests that begin in it."""
        self.now += 1
        one, after, new = self.passes[self.now], -1, list[Request]()
        expecting: dict[int, list[int]] = defaultdict(list)
        for index, request in enumerate(self.batch):
            expecting[request.expects].append(index)
        served: set[int] = set()
        for stretch, (start, length) in enumerate(zip(one.starts.tolist(), one.lengths, strict=True)):
            rows, first = slice(start, start + length), int(one.position[start])
            fits = [i for i in expecting.get(first, ()) if first and i not in served]
            decoding = one.mode == DECODE or (one.mode == MIXED and length == 1 and bool(fits))
            label = 0
            if not decoding:
                fits, label = self._continued(fits, stretch, first, length, n_before + len(new) + 1)
            self.guessed += len(fits) > 1
            if not fits:
                new.append(Request(one.rank, first, one.number, (self.now, stretch), label))
                self.batch.append(new[-1])
            # Requests keep their order in the batch, so the next one that fits is the likeliest.
            after = next((i for i in fits if i > after), fits[0] if fits else len(self.batch) - 1)
            request = self.batch[after]
            request.rows.append((one.experts[rows], one.token[rows], first, decoding))
            request.expects, request.place = first + length, (self.now, stretch)
            request.decoded |= decoding
            served.add(after)
        if one.mode == DECODE:
            # A decode pass steps every running request: one that was stepped before and is left out has ended.
            self.batch[:] = [r for i, r in enumerate(self.batch) if not r.decoded or i in served]
        else:
            self.cut = self.now
        return new

    def _continued(
        self, fits: list[int], stretch: int, first: int, length: int, label: int
    ) -> tuple[list[int], int]:
        """Return the request that a stretch continues, if any, else the label that it may share with one."""
        for index in fits:
            request = self.batch[index]
            seen, goes_on = self._seen_next(request, first, first + length)
            if goes_on or (request.decoded and length > 1):
                continue
            if not request.decoded:
                if stretch or request.place[0] != self.cut or not self._was_last(request):
                    continue
                if seen and len(self.passes[self.cut].token) == self.fullest:
                    return [index], 0
            self.ambiguous += 1
            request.label = request.label or label
            return [], request.label
        return [], 0

    def _was_last(self, request: Request) -> bool:
        """Return whether the request was the last of its pass that was extended; decoded rows come after."""
        number, stretch = request.place
        one = self.passes[number]
        return all(length == 1 and one.mode == MIXED for length in one.lengths[stretch + 1 :])

    def _seen_next(self, request: Request, first: int, last: int) -> tuple[bool, bool]:
        """Return whether a row at `last` comes next, and one at `first`, that no other request expects.

        Where others expect `first` too, a row at `last` proves nothing: the request may have gone on in their place.
        """
        expected = np.array([one.expects for one in self.batch if one is not request], np.int64)
        here, end = self.passes[self.now], -1
        for one in self.passes[self.now :]:
            starts, lengths = one.position[one.starts], np.asarray(one.lengths)
            if one.mode == DECODE or (one.mode == MIXED and one is not here):
                stepped = starts[lengths == 1]
                seen, goes_on = (
                    np.count_nonzero(stepped == place) > np.count_nonzero(expected == place)
                    for place in (last, first)
                )
                return bool(seen and not (expected == first).any()), bool(goes_on)
            # Requests that were extended in the meantime may expect the positions too. What looks like the next chunk
            # of the previous pass is taken as such: if it is not, a row at `first` follows.
            own = first if one is here else last
            if starts[0] == own:
                last = own + int(lengths[0])
            ends = starts + lengths
            if starts[0] == end:
                expected = np.delete(expected, np.flatnonzero(expected == end)[-1:])
            expected = np.concatenate([expected, ends[1:] if starts[0] == own else ends])
            end = int(ends[-1])
        return False, False
