"""Which structure is looked for in a trace, and how."""

from dataclasses import dataclass

from routestat.structure.block_search import MOST_BLOCKS
from routestat.structure.model_facts import ModelFacts
from routestat.traces.token_texts import TokenTexts


@dataclass(frozen=True)
class StructurePlan:
    """Which structure is looked for, and how.

    Attributes
    ----------
    n_blocks : int
        Most blocks of sources, and of targets, per transition.
    blocks_method : str
        One of `routestat.structure.block_search.METHODS`.
    blocks_matrix : str
        One of `routestat.structure.block_search.MATRICES`.
    n_paths : int
        Dominant and most frequent paths listed.
    triples : bool
        Whether to count three consecutive layers together.
    documents : tuple of str
        Names of documents whose routing is shown token by token.
    token_texts : TokenTexts, optional
        The texts of token ids, for classes of tokens.
    model_facts : ModelFacts, optional
        Of the model's configuration.
    shared_modules : bool
        Whether all routers choose among the same modules, so that ids of different layers can be compared.
    """

    n_blocks: int = MOST_BLOCKS
    blocks_method: str = "evidence"
    blocks_matrix: str = "lift"
    n_paths: int = 10
    triples: bool = False
    documents: tuple[str, ...] = ()
    token_texts: TokenTexts | None = None
    model_facts: ModelFacts | None = None
    shared_modules: bool = False
