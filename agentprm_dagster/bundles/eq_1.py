"""The Monte-Carlo targets of a bundle computed again from its rollouts: the paper's Eq. 1."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agentprm_dagster.bundles.bounded import require_table
from agentprm_dagster.bundles.errors import BundleError
from agentprm_dagster.bundles.findings import Check
from agentprm_dagster.bundles.opened import Opened
from agentprm_dagster.bundles.played_tables import read_played
from agentprm_dagster.bundles.record import ROLLOUTS, TARGETS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TABLE = "targets.parquet"

TOLERANCE = 1e-12
"""Powers and means of other processors and libraries may differ in the last bits."""


def check_targets(opened: Opened) -> Check:
    """Compares every value; columns that another kind of target adds need more than the rollouts, and are named."""
    if TARGETS not in opened.record.contents:
        return Check("targets", "none: the reward model has learnt none")
    from agentprm_dagster.algorithm.targets import mc_value_targets

    settings = opened.experiment.targets
    try:
        written = _written(opened.folder / TARGETS / TABLE)
        episodes = read_played(opened.folder / ROLLOUTS)
    except BundleError as error:
        return Check("targets", "none", (str(error),))
    computed = mc_value_targets(
        episodes, gamma=settings.gamma, held_out_games=settings.held_out_games, seed=opened.experiment.seed
    )
    others = sorted(set(written.columns) - set(computed.columns))
    left = [f"{', '.join(others)} of targets.kind {settings.kind}: follows from more than Eq. 1 and is not checked"]
    found = tuple(_differences(written, computed))
    return Check("targets", f"{len(computed)} decisions by Eq. 1", found, tuple(left if others else ()))


def _written(path: Path) -> "pd.DataFrame":
    import pyarrow.parquet as pq

    require_table(path, _columns())
    try:
        return pq.read_table(path).to_pandas(ignore_metadata=True)
    except ValueError as error:
        raise BundleError(f"{TARGETS}/{TABLE}: {error}") from error


def _differences(written: "pd.DataFrame", computed: "pd.DataFrame") -> Iterator[str]:
    if len(written) != len(computed):
        yield f"expected a row for each of {len(computed)} decisions, got {len(written)}"
        return
    for name in computed.columns:
        is_number = computed[name].dtype.kind == "f"
        same = (written[name] - computed[name]).abs() <= TOLERANCE if is_number else written[name] == computed[name]
        for i in computed.index[~same.to_numpy(bool)]:
            row = computed.iloc[i]
            yield (
                f"{row['episode_id']}, turn {row['turn']}: {name} is written down as {written[name].iloc[i]}, and the "
                f"rollouts give {row[name]}"
            )


def _columns() -> "pa.Schema":
    """See `algorithm.targets.mc_value_targets`."""
    import pyarrow as pa

    texts = {name: pa.string() for name in ("episode_id", "game", "state", "action")}
    numbers = {"turn": pa.int64(), "outcome": pa.float64(), "q": pa.float64(), "visits": pa.int64()}
    return pa.schema({**texts, **numbers, "held_out": pa.bool_()})
