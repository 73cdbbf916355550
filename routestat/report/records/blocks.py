"""`biclusters[]`."""

from routestat.report.numbers import number
from routestat.report.records.plain import Record, reason
from routestat.study.blocks import BlockFinding


def bicluster_record(item: BlockFinding) -> Record:
    """Return an item of `biclusters[]`."""
    blocks, found, chosen = item.blocks, item.found, item.found.number
    return {
        "source": item.source.layer,
        "target": item.target.layer,
        "source_router": item.source.name,
        "target_router": item.target.name,
        "method": blocks.method,
        "matrix": blocks.matrix,
        "real": None if chosen.reason else found.are_real,
        "verdict": verdict(item),
        "n_row_blocks": blocks.n_row_blocks,
        "n_column_blocks": blocks.n_column_blocks,
        "most_blocks": blocks.n_blocks,
        "at_most_blocks": chosen.at_most,
        "row_labels": blocks.row_labels,
        "column_labels": blocks.column_labels,
        "heldout_gain_bits": chosen.gain.value,
        "heldout_gain_bits_ci95": [chosen.gain.low, chosen.gain.high],
        "heldout_gain_bits_by_size": chosen.gains_bits,
        "mi_bits": found.information.value,
        "share_explained": found.explained.value,
        "share_explained_ci95": [found.explained.low, found.explained.high],
        "share_of_mi": blocks.share_of_mi,
        "share_of_mi_noise": found.null.mean_share,
        "stability_ari": found.stability.ari,
        "design_effect": found.design_effect,
        "log10_evidence": found.log10_evidence,
        "n_groups": chosen.n_groups,
        **reason(
            blocks.reason, chosen.reason, found.stability.reason, found.null.reason, found.information.reason
        ),
    }


def verdict(item: BlockFinding) -> str:
    """Return one sentence on whether the blocks of a transition are real."""
    found, chosen, blocks = item.found, item.found.number, item.blocks
    if chosen.reason:
        return f"Not tested: {chosen.reason}."
    gain = chosen.gain
    limits = f"{number(gain.value)} bits (95 % interval {number(gain.low)} to {number(gain.high)})"
    if not found.are_real:
        return (
            f"No blocks: one block describes left-out documents as well; the best division saves {limits}."
            if len(chosen.gains_bits) > 1
            else "No blocks: at most one block of each side was looked for."
        )
    size = f"{blocks.n_row_blocks} × {blocks.n_column_blocks}"
    most = (
        f" No more than {blocks.n_blocks} of each side were looked for, and no fewer describe them as well."
        if chosen.at_most
        else ""
    )
    return f"Blocks are real: {size} of them save {limits} on left-out documents.{most}"
