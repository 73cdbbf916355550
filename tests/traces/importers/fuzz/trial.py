"""One mutation of one example: converted, and judged."""

import os
import shutil
from collections.abc import Iterator
from contextlib import chdir
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zlib import crc32

import numpy as np

from routestat.traces.importers.registry import FORMATS
from tests.traces.importers.fuzz.change import GONE, NAMED, ORDER, PART, RECORD, SAME, Change
from tests.traces.importers.fuzz.examples import Example
from tests.traces.importers.fuzz.hostile import CANARY
from tests.traces.importers.fuzz.judge import (
    Content,
    Outcome,
    content_of,
    converted,
    lost,
    require_decent,
    subset_bytes,
)
from tests.traces.importers.fuzz.mutations import damaged

TRACE, NOTE, LINE = "trace", "note", "one line"


class Whole(NamedTuple):
    """An example that nothing was done to: its folder, source, outcome and content."""

    folder: TemporaryDirectory
    source: str
    outcome: Outcome
    content: Content


class Verdict(NamedTuple):
    """How a mutation ended, what was done, and whether the content is another without a word."""

    kind: str
    change: Change
    outcome: Outcome
    silent: bool


@cache
def whole(example: Example) -> Whole:
    """The example as its generator wrote it, converted; it must hold what the generator says it wrote."""
    folder = TemporaryDirectory()
    with chdir(folder.name):
        Path("in").mkdir()
        written = example.write(np.random.default_rng(crc32(example.name.encode())), Path("in"))
        outcome = converted(str(written.source), f"out/{example.out}", example.options)
        require_decent(outcome, (written.source.name,), _left(), example.out)
        assert outcome.code == 0, outcome.err
        content = content_of(Path("out") / example.out)
        shutil.rmtree("out")
        held = [one.experts for one in content.documents]
        assert held == [subset_bytes(one) for one in written.documents], f"{example.name} is read wrongly"
    return Whole(folder, str(written.source), outcome, content)


def _left() -> list[str]:
    return sorted(os.listdir("out")) if Path("out").exists() else []  # noqa: PTH208


def trial(example: Example, family: str, number: int) -> Verdict:
    """Mutation `number` of a family, converted; what must hold is asserted."""
    before = whole(example)
    rng = np.random.default_rng([crc32(f"{example.name} {family}".encode()), number])
    with TemporaryDirectory() as folder, chdir(folder):
        shutil.copytree(Path(before.folder.name) / "in", "in")
        source = Path(before.source)
        change = damaged(rng, family, source)
        if not source.exists() and change.moved_to is not None:
            source = change.moved_to
        there = sorted(str(file) for file in Path("in").rglob("*"))
        outcome = converted(str(source), f"out/{example.out}", example.options)
        try:
            require_decent(outcome, _names(before.source, source), _left(), example.out)
            assert not Path(CANARY).exists(), "something in the file was executed"
            assert sorted(str(file) for file in Path("in").rglob("*")) == there, "the source's folder changed"
            after = content_of(Path("out") / example.out) if outcome.code == 0 else None
            silent = _require_right(example, change, before, outcome, after)
        except AssertionError as error:
            raise AssertionError(
                f"{example.name}, {family} {number}: {change.effect}: {change.words}\n{error}\n{outcome.err}"
            ) from None
    noted = bool(_new_notes(before.outcome, outcome))
    return Verdict(LINE if after is None else NOTE if noted else TRACE, change, outcome, silent)


def misnamed(example: Example, format_: str) -> str:
    """The example read as another format; what is wrong with the run in words, or nothing."""
    before = whole(example)
    options: list[object] = ["--format", format_]
    heeded = False
    for word in example.options:
        if str(word).startswith("--"):
            heeded = str(word).removeprefix("--").replace("-", "_") in FORMATS[format_].uses
        if heeded:
            options.append(word)
    with TemporaryDirectory() as folder, chdir(folder):
        shutil.copytree(Path(before.folder.name) / "in", "in")
        outcome = converted(before.source, "out/t", tuple(options))
        try:
            require_decent(outcome, _names(before.source), _left(), "t")
            if outcome.code == 0:
                assert lost(before.content, content_of(Path("out/t"))) == 0, "other documents without a word"
        except AssertionError as error:
            return f"{example.name} as {format_}: {error}\n{outcome.err}"
    return ""


def _names(*sources: object) -> tuple[str, ...]:
    """Any of these in a line names the file."""
    return tuple(Path(str(source)).stem for source in sources)


def _new_notes(before: Outcome, after: Outcome) -> list[str]:
    return [note for note in after.notes if note not in before.notes]


def _require_right(
    example: Example, change: Change, before: Whole, outcome: Outcome, after: Content | None
) -> bool:
    """Assert what the mutation's effect demands; return whether content changed and nothing was said of it."""
    if change.effect in (SAME, ORDER):
        assert after is not None, "refused, though the content is the same"
    if after is None:
        return False
    if change.effect == SAME:
        assert after == before.content, "the content is the same, the trace is not"
    if change.effect == ORDER:
        assert lost(before.content, after) == lost(after, before.content) == 0, "other documents"
    explained = _new_notes(before.outcome, outcome)
    if change.effect in (RECORD, PART) and example.records:
        gone = lost(before.content, after)
        assert gone <= example.records or explained, f"one record was changed, {gone} documents are gone"
    if change.effect == GONE:
        assert set(after.layers) <= set(before.content.layers), f"layers are {after.layers}"
    elif not explained and (change.effect != PART or example.records):
        assert after.layers == before.content.layers, f"layers are {after.layers} without a word"
        assert after.top_k == before.content.top_k, f"k is {after.top_k} without a word"
        if change.effect == NAMED:
            assert lost(before.content, after) == 0, "a misspelt name was passed over without a word"
    return not explained and after != before.content


def each(families: tuple[str, ...], n: int) -> Iterator[tuple[str, int]]:
    """`n` mutations, shared out to the families."""
    for number in range(n):
        yield families[number % len(families)], number // len(families)
