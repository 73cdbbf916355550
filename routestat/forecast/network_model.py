"""The small network: one model for all targets, in torch.

The features of a token are embedded and summed: first those of its head (token ids, all layers of the previous
token), then those of each of its layers in turn. The sum before a layer is normalised, passes one hidden layer, and
adds to the log weights that ridges predict. So a target uses no choice of its own layer or of a later one, and the
network is the ridge as long as its output weights are zero, as they are at first.

The loss is the exact one of the conditional Bernoulli distribution. Its gradient with respect to log weights is the
probability of inclusion minus the indicator of the choice; so none of its recursions has to be differentiated.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from routestat.inference.conditional_bernoulli.distribution import inclusion_probabilities

#: Rows of a step of training: as many as give so many steps an epoch, within limits.
STEPS, LEAST_BATCH, MOST_BATCH = 100, 32, 512
#: Greatest step size, of which each parameter moves about as much; it rises over the first steps, then falls.
RATE, WARM_UP = 3e-3, 50
DECAY, BETAS, LONGEST = 0.01, (0.9, 0.98), 1.0
#: Share of hidden units, and of layers of the history, that are left out of a step.
DROP_UNITS, DROP_LAYERS = 0.2, 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a network.

    Attributes
    ----------
    features : int
        Of the head and of all layers together.
    experts : tuple of int
        Of each target, in order of depth: all layers but the first.
    top_k : tuple of int
        Of each target.
    width : int
    """

    features: int
    experts: tuple[int, ...]
    top_k: tuple[int, ...]
    width: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Some tokens.

    Attributes
    ----------
    head : int array ``[row, slot]``
        Features of the head; `Shape.features` stands for none.
    layers : int array ``[row, layer, slot]``
        Features of the layers, without those of the last one.
    start : float array ``[row, target, expert]``
        Log weights of the ridges.
    chosen : int array ``[row, target, k]``
        −1 where the choice is not known.
    """

    head: NDArray[np.int32]
    layers: NDArray[np.int32]
    start: NDArray[np.floating]
    chosen: NDArray[np.int16]

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.head)

    def take(self, rows: NDArray[np.integer]) -> "Batch":
        """Return some of the tokens."""
        return Batch(self.head[rows], self.layers[rows], self.start[rows], self.chosen[rows])


class Network(nn.Module):
    """The network; see the file's first lines.

    Parameters
    ----------
    shape : Shape
    rng : numpy Generator
        For the initial parameters and for what is left out in training.
    """

    def __init__(self, shape: Shape, rng: np.random.Generator) -> None:
        super().__init__()
        self.shape, width, targets = shape, shape.width, len(shape.experts)
        self._rng = rng
        most = max(shape.experts)
        self.embedding = self._normal((shape.features + 1, width), 0.1)
        self.gain = nn.Parameter(torch.ones(targets, 1, width))
        self.shift = nn.Parameter(torch.zeros(targets, 1, width))
        self.hidden = self._normal((targets, width, width), width**-0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(targets, 1, width))
        self.out = nn.Parameter(torch.zeros(targets, 2 * width, most))
        self.out_bias = nn.Parameter(torch.zeros(targets, 1, most))
        self.scale = nn.Parameter(torch.ones(targets, 1, 1))

    @property
    def n_parameters(self) -> int:
        """Numbers that are trained."""
        return sum(value.numel() for value in self.parameters())

    def forward(self, head: Tensor, layers: Tensor, start: Tensor) -> Tensor:
        """Return log weights ``[target, row, expert]``.

        Parameters
        ----------
        head : int Tensor ``[row, slot]``
        layers : int Tensor ``[layer, row, slot]``
        start : float Tensor ``[target, row, expert]``
        """
        none, (targets, rows, slots) = self.shape.features, layers.shape
        if self.training:
            layers = layers.masked_fill(~self._kept((targets, rows, 1), DROP_LAYERS), none)
        every = self._embedded(layers.reshape(-1, slots)).view(targets, rows, -1)
        if self.training:
            every = every / (1.0 - DROP_LAYERS)
        before = torch.cumsum(every, 0) + self._embedded(head)
        normal = functional.layer_norm(before, (self.shape.width,)) * self.gain + self.shift
        normal = self._dropped(normal)
        hidden = functional.gelu(torch.baddbmm(self.hidden_bias, normal, self.hidden))
        both = torch.cat([normal, self._dropped(hidden)], 2)
        return torch.baddbmm(self.out_bias, both, self.out) + start * self.scale

    def _embedded(self, features: Tensor) -> Tensor:
        return functional.embedding_bag(features, self.embedding, mode="sum", padding_idx=self.shape.features)

    def _dropped(self, values: Tensor) -> Tensor:
        if not self.training:
            return values
        return values * self._kept(values.shape, DROP_UNITS) / (1.0 - DROP_UNITS)

    def _kept(self, shape: Sequence[int], share: float) -> Tensor:
        """Draw what is not left out, from bytes: several times as fast as torch's own draws."""
        drawn = np.frombuffer(self._rng.bytes(math.prod(shape)), np.uint8)
        return torch.from_numpy(drawn >= round(256 * share)).view(*shape)

    def _normal(self, shape: Sequence[int], deviation: float) -> nn.Parameter:
        return nn.Parameter(torch.from_numpy(self._rng.normal(0.0, deviation, shape).astype(np.float32)))


def log_weights(network: Network, batch: Batch) -> NDArray[np.float32]:
    """Return the log weights ``[target, row, expert]`` of some tokens."""
    network.eval()
    with torch.inference_mode():
        return network(*_tensors(batch)).numpy()


def train(
    network: Network,
    tokens: Batch,
    judge: Callable[[], float],
    epochs: int,
    patience: int,
    rng: np.random.Generator,
    tick: Callable[[int], None],
) -> int:
    """Train, and keep the parameters of the epoch that the judge finds best.

    Parameters
    ----------
    network : Network
    tokens : Batch
    judge : callable()
        Loss on other documents; also called before the first epoch.
    epochs : int
        At most.
    patience : int
        Training ends after so many epochs without improvement.
    rng : numpy Generator
        For the order of the tokens.
    tick : callable(epochs done)

    Returns
    -------
    int
        The epoch that was kept; 0 is the ridge.
    """
    size = min(max(len(tokens) // STEPS, LEAST_BATCH), MOST_BATCH)
    steps = -(-len(tokens) // size)
    adam = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY, betas=BETAS)
    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _rate(step, epochs * steps))
    kept, best, least = 0, _copied(network), judge()
    for epoch in range(1, epochs + 1):
        network.train()
        order = rng.permutation(len(tokens))
        for begin in range(0, len(order), size):
            batch = tokens.take(np.sort(order[begin : begin + size]))
            adam.zero_grad(set_to_none=True)
            found = network(*_tensors(batch))
            found.backward(torch.from_numpy(slope(found.detach().numpy(), batch.chosen, network.shape)))
            nn.utils.clip_grad_norm_(network.parameters(), LONGEST)
            adam.step()
            rate.step()
        if (loss := judge()) < least:
            kept, best, least = epoch, _copied(network), loss
        tick(epoch)
        if epoch - kept >= patience:
            break
    network.load_state_dict(best)
    return kept


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Limit the threads of torch; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def slope(found: NDArray[np.float32], chosen: NDArray[np.integer], shape: Shape) -> NDArray[np.float32]:
    """Return the gradient of the mean loss of a token, in nats, with respect to its log weights.

    Parameters
    ----------
    found : float array ``[target, row, expert]``
    chosen : int array ``[row, target, k]``
        Where it is −1 the gradient is zero.
    shape : Shape
    """
    out = np.zeros(found.shape, np.float32)
    for target, (experts, top_k) in enumerate(zip(shape.experts, shape.top_k, strict=True)):
        rows = np.flatnonzero(chosen[:, target, 0] >= 0)
        values = inclusion_probabilities(found[target, rows, :experts], top_k)
        values[np.arange(len(rows))[:, None], chosen[rows, target, :top_k]] -= 1.0
        out[target, rows, :experts] = values / max(len(found[target]), 1)
    return out


def _tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    layers, start = batch.layers.transpose(1, 0, 2), batch.start.transpose(1, 0, 2).astype(np.float32)
    return (
        torch.from_numpy(batch.head),
        torch.from_numpy(np.ascontiguousarray(layers)),
        torch.from_numpy(np.ascontiguousarray(start)),
    )


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARM_UP) * (
        0.5 + 0.5 * float(np.cos(np.pi * min(1.0, step / max(steps, 1))))
    )


def _copied(network: Network) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
