"""`windows[]` and `windows_tested` of results.json."""

from typing import Any

import numpy as np

from routestat.report.records.plain import Record, reason
from routestat.study.windows import LEVEL, WindowFindings


def windows_records(found: WindowFindings) -> Record:
    """Return the windows that are more frequent than the chain explains, and how many were tested how."""
    counts, tests = found.counts, found.tests
    known = ~np.isnan(tests.log10_p)
    share = found.share
    summary: Record = {
        "n_tested": found.n_tested,
        "n_found": int(found.found.sum()),
        "n_listed": len(found.listed),
        "level": LEVEL,
        "orders": found.orders,
        "least_tokens": counts.least_tokens,
        "least_documents": counts.least_documents,
        "n_choosing_tokens": counts.n_tokens[0],
        "n_choosing_documents": counts.n_documents[0],
        "n_tokens": counts.n_tokens[1],
        "n_documents": counts.n_documents[1],
        "n_groups": int(np.count_nonzero(counts.group_tokens)),
        "share_of_tokens": share.value,
        "share_of_tokens_ci95": [share.low, share.high],
        "by_length": _by_length(found, known),
        "note": found.note,
        **reason(found.reason, share.reason),
    }
    shown = set(found.shown.tolist())
    windows = [_window(found, at) | {"shown": at in shown} for at in found.listed.tolist()]
    return {"windows": windows, "windows_tested": summary}


def _by_length(found: WindowFindings, known: Any) -> list[Record]:
    length = found.counts.length
    return [
        {
            "n_layers": int(one),
            "n_tested": int((known & (length == one)).sum()),
            "n_found": int((found.found & (length == one)).sum()),
            "n_listed": int((length[found.listed] == one).sum()),
        }
        for one in np.unique(length[known])
    ]


def _window(found: WindowFindings, at: int) -> Record:
    counts, tests = found.counts, found.tests
    start, length = int(counts.start[at]), int(counts.length[at])
    layers = range(start, start + length)
    return {
        "layers": [found.routers[place].layer for place in layers],
        "routers": [found.routers[place].name for place in layers],
        "states" if found.states == "subset" else "experts": counts.choices[at, :length],
        "order": max(found.orders[place - 1] for place in layers[1:]),
        "count": counts.tokens[at],
        "n_documents": counts.documents[at],
        "n_groups": counts.groups[at],
        "expected": counts.expected[at],
        "beyond_expected": counts.tokens[at] - counts.expected[at],
        "ratio": tests.ratio[at],
        "ratio_ci95": [tests.ratio_low[at], tests.ratio_high[at]],
        "design_effect": tests.design_effect[at],
        "z": tests.z[at],
        "log10_p": tests.log10_p[at],
        "log10_q": tests.log10_q[at],
    }
