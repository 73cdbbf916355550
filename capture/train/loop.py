"""The steps of a training, the same in every process: rows → gradients → their mean → new weights."""

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor, multiprocessing

from capture.train import checkpoint
from capture.train.batching import RowSampler
from capture.train.processes import join_process_group, leave_process_group, stop_flag
from capture.train.recipe import (
    BALANCE_WEIGHT,
    CLIP,
    Recipe,
    learning_rate,
    losses,
    make_model,
    make_optimizer,
)
from routestat.errors import RoutestatError


@dataclass(frozen=True)
class TrainingTask:
    """Everything that a process of the training needs.

    Parameters
    ----------
    recipe : Recipe
    vocab : int
    stream : int ``[token]``
    held_out : int ``[row, 1 + context]``
        Held-out rows, evaluated every `evaluate_every` steps.
    out : Path
    steps : int
        Steps to take; 0 where `seconds` is the limit.
    seconds : float
        Time to take; 0 where `steps` is the limit.
    processes, threads : int
    save_every : float
        Seconds between checkpoints.
    evaluate_every : int
    """

    recipe: Recipe
    vocab: int
    stream: NDArray[np.unsignedinteger]
    held_out: NDArray[np.int64]
    out: Path
    steps: int
    seconds: float
    processes: int
    threads: int
    save_every: float = 60.0
    evaluate_every: int = 100


class StepResult(NamedTuple):
    """The result of one step.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        Training time over all runs.
    tokens : int
        Tokens seen.
    loss : float
        Cross-entropy in nats per token.
    balance : float
        Mean balance loss per layer; 1 if the load is even.
    rate : float
        Learning rate.
    held_out : float or None
        Cross-entropy on held-out text, where it was computed.
    fraction : float
        Share of the steps or of the time that is over.
    """

    step: int
    seconds: float
    tokens: int
    loss: float
    balance: float
    rate: float
    held_out: float | None
    fraction: float


def train(task: TrainingTask, on_step: Callable[[StepResult], None]) -> Any:
    """Train in this process and `processes` − 1 others; return the model.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, after the current step; a checkpoint is kept.
    RoutestatError
        If a process was lost, or a checkpoint is damaged.
    """
    with TemporaryDirectory() as folder, stop_flag() as stopped:
        rendezvous = Path(folder) / "rendezvous"
        spawn = multiprocessing.get_context("spawn")
        others = [
            spawn.Process(target=_run_worker, args=(rank, task, rendezvous), daemon=True)
            for rank in range(1, task.processes)
        ]
        for process in others:
            process.start()
        try:
            return _Trainer(task, 0, rendezvous).run(on_step, stopped)
        except RuntimeError as error:
            if task.processes == 1:
                raise
            raise RoutestatError(
                f"a process of the training was lost ({' '.join(str(error).split())[:200]}); "
                "continue with --resume, or start again with fewer --processes"
            ) from None
        finally:
            leave_process_group()
            for process in others:
                process.join(5)
                process.kill()


def _run_worker(rank: int, task: TrainingTask, rendezvous: Path) -> None:
    # Ctrl-C and SIGTERM reach every process; the first one decides for all.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        _Trainer(task, rank, rendezvous).run(lambda result: None, lambda: False)
        leave_process_group()
    except RuntimeError:
        # The first process has ended and reports its own error.
        sys.exit(1)


class _Trainer:
    """One process: its model, equal to those of all processes bit for bit, and its share of the rows."""

    def __init__(self, task: TrainingTask, rank: int, rendezvous: Path) -> None:
        torch.set_num_threads(task.threads)
        if task.processes > 1:
            join_process_group(rank, task.processes, rendezvous)
        self.task, self.rank = task, rank
        self.model = make_model(task.recipe, task.vocab)
        self.optimizer = make_optimizer(self.model)
        self.progress = checkpoint.restore(task.out, self.model, self.optimizer)
        self.rows = RowSampler(task.stream, task.recipe.context, task.recipe.rows, task.recipe.seed)
        weights = list(self.model.parameters())
        # All gradients in one array, followed by four numbers that are summed with them: loss, balance, fraction
        # of the time, and whether to stop. The last two come from the first process alone.
        self.shared = torch.zeros(sum(weight.numel() for weight in weights) + 4)
        self.gradient, self.sums = self.shared[:-4], self.shared[-4:]
        start = 0
        for weight in weights:
            weight.grad = self.gradient[start : start + weight.numel()].view_as(weight)
            start += weight.numel()

    def run(self, on_step: Callable[[StepResult], None], stopped: Callable[[], bool]) -> Any:
        """Take steps until their number or the time is reached; return the model."""
        step, before, fraction = self.progress.step, self.progress.seconds, self.progress.fraction
        begin = saved = time.monotonic()
        while fraction < 1:
            rate = learning_rate(step, fraction)
            seconds = before + time.monotonic() - begin
            loss, balance, elapsed, stop = self._step(step, rate, seconds, stopped())
            step += 1
            fraction = step / self.task.steps if self.task.steps else elapsed
            if self.rank == 0:
                seconds = before + time.monotonic() - begin
                last = fraction >= 1
                due = step % self.task.evaluate_every == 0 or last
                tokens = step * self.task.recipe.batch_tokens
                held_out = self._held_out_loss() if due else None
                mean_balance = balance / self.task.recipe.layers
                on_step(StepResult(step, seconds, tokens, loss, mean_balance, rate, held_out, fraction))
                if stop or last or time.monotonic() - saved >= self.task.save_every:
                    progress = checkpoint.TrainingProgress(step, seconds, fraction)
                    checkpoint.save(self.task.out, self.model, self.optimizer, progress)
                    saved = time.monotonic()
            if stop and fraction < 1:
                raise KeyboardInterrupt if self.rank == 0 else SystemExit(0)
        return self.model

    def _step(self, step: int, rate: float, seconds: float, stop: bool) -> list[float]:
        rows = self.rows.of_step(step)[self.rank :: self.task.processes]
        self.shared.zero_()
        cross_entropy, balance = losses(self.model, torch.from_numpy(rows))
        (cross_entropy + BALANCE_WEIGHT * balance).backward()
        elapsed = seconds / self.task.seconds if self.task.seconds else 0.0
        self.sums.copy_(torch.tensor([cross_entropy.item(), balance.item(), elapsed, float(stop)]))
        if self.task.processes > 1:
            if self.rank:
                self.sums[2:] = 0
            torch.distributed.all_reduce(self.shared)
            self.gradient /= self.task.processes
            self.sums[:2] /= self.task.processes
        norm = self.gradient.norm()
        self.gradient *= torch.clamp(CLIP / (norm + 1e-6), max=1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        sums: list[float] = self.sums.tolist()
        return sums

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        rows = torch.from_numpy(self.task.held_out)
        parts: list[Tensor] = [losses(self.model, part)[0] * len(part) for part in rows.split(8)]
        return float(torch.stack(parts).sum()) / len(rows)
