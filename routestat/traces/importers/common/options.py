"""Options of the readers: facts of a file that the file itself does not state."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImportOptions:
    """Facts of a file that the caller states because the file does not; None: not stated.

    Attributes
    ----------
    layers : tuple of int
        The model's layer numbers.
    stride : int
        Row length of an argsort, in experts.
    cluster : str
        Field or column that gives the cluster of each document.
    columns : str
        Columns of a table by role, such as ``document=req,position=step,layer=layer,experts=topk``.
    axes : str
        Order of the axes of an array: ``tokens,layers,k`` or ``layers,tokens,k``.
    sequence_parallel : int
        Number of ranks that each hold a part of every sequence.
    shape, dtype : str
        Of packed bytes, such as ``1000,24,2`` and ``uint8``.
    logits : bool
        Arrays hold router logits ``[tokens, layers, n_experts]``; the `top_k` largest are chosen.
    skip_failed : bool
        Records without routing are left out and counted.
    """

    layers: tuple[int, ...] | None = None
    n_experts: int | None = None
    top_k: int | None = None
    end_of_document: int | None = None
    sequence_length: int | None = None
    iteration: int | None = None
    stride: int | None = None
    drop_dummy_rows: bool = False
    cluster: str | None = None
    columns: str | None = None
    axes: str | None = None
    sequence_parallel: int | None = None
    shape: str | None = None
    dtype: str | None = None
    logits: bool = False
    skip_failed: bool = False
