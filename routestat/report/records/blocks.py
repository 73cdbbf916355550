"""`biclusters[]`."""

from routestat.report.records.plain import Record, reason
from routestat.study.blocks import BlockFinding


def bicluster_record(item: BlockFinding) -> Record:
    """Return an item of `biclusters[]`."""
    blocks = item.blocks
    return {
        "source": item.source.layer,
        "target": item.target.layer,
        "method": blocks.method,
        "n_row_blocks": blocks.n_row_blocks,
        "n_column_blocks": blocks.n_column_blocks,
        "row_labels": blocks.row_labels,
        "column_labels": blocks.column_labels,
        "share_of_mi": blocks.share_of_mi,
        "share_of_mi_noise": item.null.mean_share,
        "stability_ari": item.stability.ari,
        **reason(blocks.reason, item.stability.reason, item.null.reason),
    }
