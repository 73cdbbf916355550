"""Options of `simulate`, and the plan that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from routestat.cli.quantities import parse_bandwidth, parse_bytes, parse_seconds
from routestat.cli.runner import parse_names
from routestat.errors import RoutestatError
from routestat.serving.settings import POLICIES, SCOPES, STARTS, Hardware
from routestat.structure.model_facts import ModelFacts
from routestat.study.model_facts import read_model_facts
from routestat.study.simulation_plan import DEFAULT_POLICIES, SimulationPlan, require_known

ALL_NAMES, NO_NAMES = "all", "none"
#: As --policy shows its default.
POLICIES_SHOWN = ",".join(DEFAULT_POLICIES)

Capacity = Annotated[
    str,
    typer.Option(
        metavar="N,N…",
        help="Experts per layer that a cache holds, such as 2,4,8 (if not given: about five from one token's experts "
        "to all).",
    ),
]
Policy = Annotated[
    str,
    typer.Option(
        help=f"Policies, separated by commas, or all: {', '.join(policy.name for policy in POLICIES)}."
    ),
]
Scope = Annotated[
    str, typer.Option(help="layer: a cache for each layer; pool: one for all of them; or both.")
]
Start = Annotated[
    str,
    typer.Option(
        help="How a replay begins, separated by commas: cold (empty), warm (as other documents left it), document "
        "(empty before every document)."
    ),
]
Predictors = Annotated[
    str,
    typer.Option(
        "--predictor",
        metavar="NAME,NAME…",
        help="Whose predictions are prefetched: best (the one of highest recall on documents that it was not fitted "
        "on, and the recorded gate where there is one), names of predict --board such as ridge-all or gate, or none.",
    ),
]
Lookahead = Annotated[
    str, typer.Option(metavar="N,N…", help="Layers ahead for which experts are prefetched, such as 1,2.")
]
Prefetch = Annotated[
    str,
    typer.Option(
        metavar="M,M…",
        help="Experts that are prefetched for each token and layer, such as 2,4 (if not given: as many as a token "
        "chooses, and twice as many).",
    ),
]
Batch = Annotated[int, typer.Option(help="Documents that are served side by side.")]
PrefillChunk = Annotated[int, typer.Option(help="Prefill tokens of a document that one step takes.")]
HalfLife = Annotated[float, typer.Option(help="Tokens (steps) after which a use counts half, for lfu-decay.")]
ExpertBytes = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Size of one expert of one layer, such as 352321536 or 352MB."),
]
Bandwidth = Annotated[
    str | None,
    typer.Option(
        metavar="SPEED", help="Of the link that experts come over: 25 (GB/s), 900MB/s, or bytes per second."
    ),
]
Compute = Annotated[
    str, typer.Option(metavar="TIME", help="Time that a layer computes at every step, such as 0.2ms.")
]
StallBudget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Find the smallest memory with which a token waits no longer on average: 10ms."
    ),
]
Tokens = Annotated[
    str,
    typer.Option(
        metavar="N",
        help="Replay about so many tokens, of whole documents, or all (if not given: those of 32 million accesses).",
    ),
]


@dataclass(frozen=True)
class SimulationTexts:
    """Options as they were typed; attributes are named like the options."""

    layers: str
    capacity: str
    policy: str
    scope: str
    start: str
    predictor: str
    lookahead: str
    prefetch: str
    batch: int
    prefill_chunk: int
    half_life: float
    expert_bytes: str | None
    bandwidth: str | None
    compute: str
    model_config: Path | None
    stall_budget: str | None
    tokens: str
    threads: int | None
    cluster: str | None
    template: str
    drop_dummy_rows: bool
    seed: int


def simulation_plan(given: SimulationTexts, layers: Sequence[int] | None) -> SimulationPlan:
    """Return what the options request; a file is read first, so that a bad one fails at once.

    Parameters
    ----------
    given : SimulationTexts
    layers : sequence of int, optional

    Raises
    ------
    RoutestatError
        If an option is not understood, or does not go with another.
    """
    facts = None if given.model_config is None else read_model_facts(given.model_config)
    names = [policy.name for policy in POLICIES]
    scopes = SCOPES if given.scope == "both" else parse_names(given.scope)
    require_known("--scope", scopes, [*SCOPES, "both"])
    return SimulationPlan(
        layers=layers,
        capacities=_capacities(given.capacity),
        policies=_names(given.policy, "--policy", names),
        scopes=scopes,
        starts=_names(given.start, "--start", STARTS),
        predictors=() if given.predictor == NO_NAMES else parse_names(given.predictor),
        lookaheads=_whole_numbers(given.lookahead, "--lookahead", "1,2"),
        candidates=_whole_numbers(given.prefetch, "--prefetch", "2,4"),
        batch=given.batch,
        chunk=given.prefill_chunk,
        half_life=given.half_life,
        hardware=_hardware(given, facts),
        facts=facts,
        stall_budget=None
        if given.stall_budget is None
        else parse_seconds(given.stall_budget, "--stall-budget"),
        most_tokens=_tokens(given.tokens),
        threads=given.threads,
        seed=given.seed,
        options=_record(given),
    )


def _hardware(given: SimulationTexts, facts: ModelFacts | None) -> Hardware:
    size = None if given.expert_bytes is None else parse_bytes(given.expert_bytes, "--expert-bytes")
    if size is None and facts is not None:
        size = facts.expert_bytes
        if size is None:
            raise RoutestatError(
                f"--model-config: expected the type of the weights, but {facts.reason or 'it is not stated'}; give "
                "--expert-bytes too"
            )
    bandwidth = None if given.bandwidth is None else parse_bandwidth(given.bandwidth, "--bandwidth")
    return Hardware(size, bandwidth, parse_seconds(given.compute, "--compute", zero=True))


def _names(text: str, option: str, allowed: Sequence[str]) -> tuple[str, ...]:
    if text.strip() == ALL_NAMES:
        return tuple(allowed)
    names = parse_names(text)
    require_known(option, names, allowed)
    return names


def _capacities(text: str) -> tuple[float, ...]:
    found = []
    for part in parse_names(text):
        try:
            value = float(part)
        except ValueError:
            value = float("nan")
        if not 0 < value < float("inf"):
            raise RoutestatError(f"--capacity: expected experts per layer such as 2,4,8, got {text!r}")
        found.append(value)
    return tuple(sorted(set(found)))


def _whole_numbers(text: str, option: str, example: str) -> tuple[int, ...]:
    parts = parse_names(text)
    if any(not (part.isascii() and part.isdigit()) or int(part) < 1 for part in parts):
        raise RoutestatError(f"{option}: expected numbers of 1 or more such as {example}, got {text!r}")
    return tuple(sorted({int(part) for part in parts}))


def _tokens(text: str) -> int | None:
    if not text:
        return None
    if text == ALL_NAMES:
        return 2**62
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise RoutestatError(f"--tokens: expected a number of 1 or more, or all, got {text!r}")
    return int(text)


def _record(given: SimulationTexts) -> dict[str, object]:
    """Return the options for the record; the number of threads changes no figure."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(given).items()
        if name != "threads"
    }
