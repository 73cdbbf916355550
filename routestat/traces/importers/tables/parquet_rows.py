"""Tables in Parquet, batch by batch."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import reason
from routestat.traces.importers.tables.arrow_rows import without_others
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.rows import Rows, WrongRowError

BATCH_ROWS = 1 << 19


def batches(plan: Plan) -> Iterator[tuple[int, int, Any]]:
    """Yield the wanted columns of the file: the number of the first row of each batch, rows in all, and the batch.

    Raises
    ------
    FormatError
        If the file cannot be decoded.
    """
    first = 0
    try:
        with pq.ParquetFile(plan.path) as file:
            total = file.metadata.num_rows
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=plan.columns.used):
                yield first, total, batch
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{plan.path}, from row {first + 1}: cannot be decoded ({reason(error)})") from None


def parse_batch(plan: Plan, first: int, batch: Any) -> Rows:
    """Read the rows of a batch.

    Raises
    ------
    FormatError
        Naming the row, counted from 1.
    """
    try:
        return without_others(plan, pa.Table.from_batches([batch]))
    except WrongRowError as error:
        raise FormatError(f"{plan.path}, row {first + error.row + 1}: {error.words}") from None
    except (pa.ArrowException, ValueError) as error:
        raise FormatError(f"{plan.path}, from row {first + 1}: cannot be read ({reason(error)})") from None
