"""Tables from elsewhere, looked at before they are read: their columns, and how much they unpack into.

A few bytes of parquet can claim billions of rows, or repeat one long text in every row.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agentprm_dagster.bundles.errors import BundleError

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 50_000_000
MOST_VALUES = 10**9
"""Of one column; a row may hold a list of them."""
MOST_UNPACKED = 2**35
"""Bytes of a whole table."""
MOST_TEXT = 2**20
"""Bytes of one text: an observation, an answer."""


def require_table(path: Path, schema: "pa.Schema", optional: frozenset[str] = frozenset()) -> None:
    """Refuses a parquet file that has not these columns, has gaps in those that are not optional, or is too large.

    Raises:
        BundleError: says what is wrong.
    """
    from pyarrow import ArrowException  # half a second to import

    try:
        for problem in _problems(path, schema, optional):
            raise BundleError(f"{_name(path)}: {problem}")
    except (ArrowException, OSError) as error:
        raise BundleError(f"{_name(path)}: expected a whole parquet file, but {error}") from error


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _problems(path: Path, schema: "pa.Schema", optional: frozenset[str]) -> Iterator[str]:
    import pyarrow.parquet as pq

    if path.is_symlink() or not path.is_file():
        yield "is missing"
    table = pq.ParquetFile(path)
    there = {field.name: _plain(field.type) for field in table.schema_arrow}
    for field in schema:
        if there.get(field.name) != field.type:
            yield f"expected the column {field.name} of {field.type}, got {there.get(field.name, 'none')}"
    metadata = table.metadata
    if metadata.num_rows > MOST_ROWS:
        yield f"expected at most {MOST_ROWS} rows, got {metadata.num_rows}"
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    if (size := sum(group.total_byte_size for group in groups)) > MOST_UNPACKED:
        yield f"expected at most {MOST_UNPACKED} bytes unpacked, got {size}"
    values = [sum(group.column(i).num_values for group in groups) for i in range(metadata.num_columns)]
    if max(values, default=0) > MOST_VALUES:
        yield f"expected at most {MOST_VALUES} values in a column, got {max(values)}"
    yield from _in_rows(path, schema, optional)


def _plain(kind: "pa.DataType") -> "pa.DataType":
    """A type without how pandas likes it stored."""
    import pyarrow as pa

    return pa.string() if kind == pa.large_string() else kind


def _in_rows(path: Path, schema: "pa.Schema", optional: frozenset[str]) -> Iterator[str]:
    """What is wrong with the cells; texts are not written out, so that one that is repeated takes its room once."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    texts = [field.name for field in schema if field.type == pa.string()]
    unpacked = 0
    for batch in pq.ParquetFile(path, read_dictionary=texts).iter_batches(columns=schema.names):
        for name in schema.names:
            column = batch.column(name)
            if column.null_count and name not in optional:
                yield f"expected a value in every row of {name}, got none in {column.null_count}"
            if name in texts and len(column.dictionary):
                lengths = pc.binary_length(column.dictionary)
                if (longest := pc.max(lengths).as_py()) > MOST_TEXT:
                    yield f"expected texts of at most {MOST_TEXT} bytes in {name}, got one of {longest}"
                unpacked += pc.sum(pc.take(lengths, column.indices)).as_py() or 0
        if unpacked > MOST_UNPACKED:
            yield f"expected at most {MOST_UNPACKED} bytes unpacked, got more"
