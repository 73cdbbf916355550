"""One answer each on blocks, paths, windows and specialisation: whether they are real, and how much they carry."""

from collections.abc import Sequence
from dataclasses import dataclass

from routestat.report.html.windows import order_words
from routestat.report.numbers import interval, many, number
from routestat.report.path_sentences import path_sentences
from routestat.report.records.specialisation import reading as specialisation_reading
from routestat.study.blocks import BlockFinding, clearest_blocks
from routestat.study.trace_study import Study
from routestat.study.windows import LEVEL, WindowFindings

#: Below this agreement (adjusted Rand) of blocks over draws of the documents, who belongs together is uncertain.
STABLE = 0.75


@dataclass(frozen=True)
class Answer:
    """A sentence or a few on one kind of structure.

    Attributes
    ----------
    title : str
    anchor : str
        Of its section on the page.
    sentence : str
    """

    title: str
    anchor: str
    sentence: str


def structure_answers(study: Study) -> list[Answer]:
    """Return the answers on the structure that was looked for, in the order of the page.

    Parameters
    ----------
    study : Study
    """
    found = []
    if study.blocks is not None:
        found.append(Answer("Blocks", "blocks", blocks_sentence(study.blocks, study.states)))
    if study.paths is not None and len(study.routers) > 1:
        found.append(Answer("Paths", "paths", path_sentences(study.paths, study.states)[0]))
    if study.windows is not None:
        found.append(Answer("Windows", "windows", windows_sentence(study.windows)))
    if study.specialisation is not None and study.specialisation.layers:
        found.append(Answer("Specialisation", "specialisation", specialisation_reading(study.specialisation)))
    return found


def blocks_sentence(found: Sequence[BlockFinding], states: str) -> str:
    """Say in how many transitions blocks are real, where they are clearest and what they save.

    Parameters
    ----------
    found : sequence of BlockFinding
        Of every transition.
    states : {"subset", "expert"}
    """
    if not found:
        return "Only one layer was analysed: there is no transition to find blocks in."
    tested = [item.found for item in found if not item.found.number.reason]
    if not tested:
        return f"No transition was tested for blocks: {found[0].found.number.reason}."
    real = [item for item in tested if item.are_real]
    several = len(tested) > 1
    if not real:
        where = f"in none of {len(tested)} transitions do blocks" if several else "blocks do not"
        return f"No blocks: {where} describe left-out documents better than one block of all choices does."
    where = f" in {len(real)} of {len(tested)} transitions" if several else ""
    said = (
        f"Blocks are real{where}: they describe left-out documents better than one block of all choices does."
    )
    place = clearest_blocks(found)
    if place is None:
        return said
    item = found[place]
    blocks, gain, explained = item.blocks, item.found.number.gain, item.found.explained
    unit = "token" if states == "subset" else "pair of slots"
    return (
        f"{said} They are clearest in layers {item.source.layer} → {item.target.layer}: {blocks.n_row_blocks} × "
        f"{blocks.n_column_blocks} blocks save {number(gain.value)} bits per {unit} ({interval(gain.low, gain.high)}), "
        f"{number(explained.value)} of what the two layers share.{_stability(item)}"
    )


def _stability(item: BlockFinding) -> str:
    """Say whether the same blocks come again; empty where that could not be measured."""
    agreement = item.found.stability.ari
    if agreement != agreement:
        return ""
    if agreement >= STABLE:
        return (
            f" Other draws of the documents give nearly the same blocks (adjusted Rand {number(agreement)})."
        )
    return (
        f" Other draws of the documents divide the choices differently (adjusted Rand {number(agreement)}, 1 is equal):"
        " the test shows that there are blocks, not where their borders are."
    )


def windows_sentence(found: WindowFindings) -> str:
    """Say how many of the tested windows are more frequent than the chain explains.

    Parameters
    ----------
    found : WindowFindings
    """
    n_tested, n_found = found.n_tested, int(found.found.sum())
    if not n_tested:
        return f"No window was tested: {found.reason or 'none is frequent enough'}."
    chain, rate = f"a chain of {order_words(found.orders)}", f"(false discovery rate {100 * LEVEL:g} %)"
    if not n_found:
        return f"None of {many(n_tested, 'window')} of 3 to 8 layers is more frequent than {chain} explains {rate}."
    share = found.share
    limits = (
        f" (95 % interval {interval(100 * share.low, 100 * share.high)})" if share.low == share.low else ""
    )
    return (
        f"{n_found:,} of {many(n_tested, 'window')} of 3 to 8 layers {'is' if n_found == 1 else 'are'} more frequent "
        f"than {chain} explains {rate}; {number(100 * share.value)} % of the tokens take at least one{limits}."
    )
