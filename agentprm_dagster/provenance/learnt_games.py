"""Which games a policy has learnt from: nobody is judged in these."""

from collections.abc import Collection

import pyarrow.parquet as pq

from agentprm_dagster.episodes.tables import EPISODES
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.lineage import with_ancestors
from agentprm_dagster.provenance.store import ArtifactStore

PLAYED_TO_LEARN = ("demonstrations", "rollouts")
"""The assets whose episodes are learnt from."""


def learnt_games(store: ArtifactStore, policy: Artifact) -> frozenset[str]:
    """Ids of the games in demonstrations and rollouts that a policy was made from, as far as these are here."""
    games: set[str] = set()
    for each in with_ancestors(store, policy.version):
        if each.version.asset in PLAYED_TO_LEARN:
            games.update(pq.read_table(each.path / EPISODES, columns=["game"])["game"].unique().to_pylist())
    return frozenset(games)


def learnt_in_words(judged: Collection[str], learnt: Collection[str]) -> str | None:
    """How many of the games to be judged in were learnt from, and the first of them; None where none was."""
    if not (both := sorted({*judged} & {*learnt})):
        return None
    return f"{len(both)} of the {len(judged)} games to be judged in, among them {both[0]}"
