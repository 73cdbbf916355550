"""Whatever is done to a file, `convert` ends in a right trace, a note, or one line.

`examples` writes a small valid file of every form of every format (and says how to add one), `mutations` and `hostile`
damage it, `judge` says what a run must be, and `trial` puts them together. The short form is part of the tests;
``make fuzz`` runs a thousand mutations of every format and prints how they ended.
"""

from collections import Counter

import pytest

from routestat.traces.importers.registry import FORMATS
from tests.traces.importers.fuzz.examples import EXAMPLES
from tests.traces.importers.fuzz.mutations import FAMILIES
from tests.traces.importers.fuzz.trial import LINE, NOTE, TRACE, each, misnamed, trial

SHORT, LONG = 30, 1000


def failures(example, n, ended=None):
    """Run `n` mutations of an example, count how each family ended, and return what failed, in words."""
    failed = []
    for family, number in each(tuple(FAMILIES), n):
        try:
            kind = trial(example, family, number).kind
        except AssertionError as error:
            failed.append(str(error))
            kind = "failed"
        if ended is not None:
            ended[family, kind] += 1
    return failed


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_damaged_files_end_in_a_trace_a_note_or_one_line(example):
    failed = failures(example, SHORT)
    assert not failed, f"{len(failed)} of {SHORT}\n" + "\n".join(failed)


@pytest.mark.parametrize("name", FORMATS)
def test_every_reader_stands_the_files_of_the_others(name):
    """A format named wrongly with --format: one line, or the same trace where formats overlap."""
    wrong = [said for example in EXAMPLES if example.out == "t" and (said := misnamed(example, name))]
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def heading():
    """The head of the table, once."""
    print(f"\nHow {LONG} mutations of every format ended: {TRACE} / {NOTE} / {LINE}\n")
    print(f"{'format':<16}{'all':>17}" + "".join(f"{family:>15}" for family in FAMILIES) + f"{'failed':>8}")


@pytest.mark.long
@pytest.mark.parametrize("name", dict.fromkeys(example.format for example in EXAMPLES))
def test_a_thousand_mutations_of_every_format(heading, name):
    examples = [example for example in EXAMPLES if example.format == name]
    ended: Counter[tuple[str, str]] = Counter()
    failed = []
    for example in examples:
        failed += failures(example, -(-LONG // len(examples)), ended)
    cells = [
        " / ".join(str(sum(ended[one, kind] for one in some)) for kind in (TRACE, NOTE, LINE))
        for some in (tuple(FAMILIES), *((family,) for family in FAMILIES))
    ]
    print(
        f"{name:<16}{cells[0]:>17}" + "".join(f"{cell:>15}" for cell in cells[1:]) + f"{len(failed):>8}",
        flush=True,
    )
    assert not failed, f"{len(failed)} failed\n" + "\n".join(failed[:40])
