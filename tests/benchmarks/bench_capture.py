"""``make bench-capture``: what recording costs, the same forward pass with and without hooks in turn.

Both ways run within a second of each other, first one and then the other first, so that a busy machine is busy for
both; the figure is the median of the paired ratios, with their quartiles.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from capture.hooks import Recorder
from capture.lookahead import Lookahead
from capture.routers import discover

MODEL = Path(__file__).parents[2] / "data" / "tiny-mixtral"
ROWS, CONTEXT = 8, 256
PROMPT, NEW_TOKENS = 32, 16

Watch = Callable[[], AbstractContextManager[Any]]


def prefill(model: Any) -> None:
    """One forward pass of 8 × 256 tokens."""
    tokens = torch.from_numpy(np.random.default_rng(0).integers(3, 1024, (ROWS, CONTEXT)))
    model(input_ids=tokens, use_cache=False, logits_to_keep=1)


def generation(model: Any) -> None:
    """16 tokens after 8 prompts of 32, with a cache."""
    tokens = torch.from_numpy(np.random.default_rng(1).integers(3, 1024, (ROWS, PROMPT)))
    model.generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=2,
    )


def watches(model: Any) -> dict[str, Watch]:
    """What can be attached, by name; the first is nothing at all: the noise of the measurement."""
    sites = discover(model)

    def recorder(**how: bool) -> Recorder:
        return Recorder(model, sites, on_step=lambda step: None, **how)

    ahead = Lookahead(model, sites, [1], "residual")
    four = Lookahead(model, sites, [1, 2, 3, 4], "residual")
    return {
        "nothing (noise)": nullcontext,
        "Recorder": recorder,
        "with weights": partial(recorder, weights=True),
        "with lookahead 1": lambda: ahead.attached_to(recorder()),
        "with lookahead 1,2,3,4": lambda: four.attached_to(recorder()),
    }


def seconds(work: Callable[[Any], None], model: Any, watch: Watch) -> float:
    """How long one call takes on this process's own processor time: neighbours' work does not count."""
    with watch():
        start = time.process_time()
        work(model)
        return time.process_time() - start


def ratios(work: Callable[[Any], None], model: Any, watch: Watch, rounds: int) -> np.ndarray:
    """Watched over unwatched, pair by pair."""
    found = []
    for number in range(rounds):
        order = (nullcontext, watch) if number % 2 else (watch, nullcontext)
        first, second = (seconds(work, model, way) for way in order)
        found.append(first / second if order[0] is watch else second / first)
    return np.array(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread; "
        f"torch {version('torch')}, transformers {version('transformers')}; {rounds} pairs each"
    )
    with torch.inference_mode():
        for name, work in (
            (f"prefill, {ROWS} × {CONTEXT} tokens", prefill),
            (f"generation, {ROWS} × ({PROMPT} + {NEW_TOKENS}) tokens", generation),
        ):
            work(model)
            alone = np.median([seconds(work, model, nullcontext) for _ in range(5)])
            print(f"\n{name}: {1000 * alone:,.0f} ms without hooks")
            for what, watch in watches(model).items():
                low, middle, high = np.quantile(ratios(work, model, watch, rounds), [0.25, 0.5, 0.75])
                print(f"  {what:<24} {middle:.3f} ×   (quartiles {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
