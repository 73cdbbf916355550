"""One forward pass of a model as it is recorded: its inputs, and the arrays of every router."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MISSING = -1


@dataclass(frozen=True)
class Call:
    """The inputs of the outer model in one step; tensors stay on their devices.

    Attributes
    ----------
    rows, columns : int
        Shape of the token ids.
    past : int
        Tokens that the cache held before the step.
    position_ids, attention_mask : Tensor or None
    """

    rows: int
    columns: int
    past: int
    position_ids: Tensor | None
    attention_mask: Tensor | None


@dataclass(frozen=True)
class Step:
    """One forward pass of the outer model.

    Attributes
    ----------
    call : Call
    experts : dict of int16 ``[token, slot]``
        By the router's column name; tokens are rows × columns of the call, flattened; −1 is missing.
    weights : dict of float16 ``[token, slot]``
    logits : dict of float32 ``[token, expert]``
    ahead : dict of int16 ``[token, slot]``
        Choices of later gates, by the column's name such as ``L05.ahead1``; see `capture.lookahead`.
    """

    call: Call
    experts: dict[str, NDArray[np.int16]]
    weights: dict[str, NDArray[np.float16]]
    logits: dict[str, NDArray[np.float32]]
    ahead: dict[str, NDArray[np.int16]]


@dataclass
class OpenStep:
    """Buffers of a step that is still running, on the devices of its tensors.

    Attributes
    ----------
    call : Call
    experts, weights, logits, ahead : dict of Tensor
        As in `Step`.
    repeated : list of str
        Modules that ran more than once.
    """

    call: Call
    experts: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    logits: dict[str, Tensor] = field(default_factory=dict)
    ahead: dict[str, Tensor] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)

    def close(self) -> Step:
        """Return the step with its arrays on the host."""
        arrays = (to_host(tensors) for tensors in (self.experts, self.weights, self.logits, self.ahead))
        return Step(self.call, *arrays)


def to_host(tensors: dict[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Copy tensors to the host, in one transfer per device, type and shape instead of one per router."""
    groups: dict[tuple[torch.device, torch.dtype, torch.Size], list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault((tensor.device, tensor.dtype, tensor.shape), []).append(name)
    arrays: dict[str, NDArray[Any]] = {}
    for names in groups.values():
        together = torch.stack([tensors[name] for name in names]).cpu().numpy()
        arrays.update(zip(names, together, strict=True))
    return arrays if len(groups) == 1 else {name: arrays[name] for name in tensors}
