"""Rows of a trace for predictors, in tests."""

from dataclasses import replace

import numpy as np

from routestat.counting.board_rows import FOLDS, BoardRows, board_rows
from routestat.counting.document_sample import take_sample


def rows_of(trace, folds: int = FOLDS, groups: int = 256, companions=()) -> BoardRows:
    """All rows of a trace, with documents dealt to at most so many folds."""
    return board_rows(take_sample(trace, groups=groups, companions=companions), trace.routers(), folds)


def rows_with_folds(trace, fold_of_group) -> BoardRows:
    """All rows of a trace in groups by document number, with given folds."""
    return replace(rows_of(trace, groups=len(fold_of_group)), folds=np.asarray(fold_of_group))
