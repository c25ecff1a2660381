"""What a process reward model says of episodes, turn by turn, as a table beside theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

VALUES = "values.parquet"

_SCHEMA = pa.schema({"episode_id": pa.string(), "turn": pa.int64(), "q": pa.float64(), "after": pa.float64()})


@dataclass(frozen=True, slots=True)
class TurnValue:
    """What one turn is worth, as a probability of winning from there."""

    q: float
    """Q(s, a), read at the end of the answer; in [0, 1]."""
    after: float | None
    """V(s'), read at the end of the observation that followed; None where the model does not read there."""


Values = Mapping[str, Sequence[TurnValue]]
"""By an episode's id, the values of its turns in their order."""


def write_values(values: Values, folder: Path) -> None:
    """Writes the table; the values of an episode stand in the order of its turns."""
    rows = [(name, i, each.q, each.after) for name, turns in values.items() for i, each in enumerate(turns)]
    columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    pq.write_table(pa.table(arrays, schema=_SCHEMA), folder / VALUES)


def read_values(folder: Path) -> dict[str, list[TurnValue]]:
    """The values by episode, one a turn; empty where the folder has no such table."""
    if not (folder / VALUES).exists():
        return {}
    rows = pq.read_table(folder / VALUES, schema=_SCHEMA).to_pylist()
    return {
        name: [TurnValue(row["q"], row["after"]) for row in turns]
        for name, turns in groupby(rows, key=itemgetter("episode_id"))
    }
