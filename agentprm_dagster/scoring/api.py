"""Scores an agent: from its name or class to its card."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentprm_dagster.episodes.stage import Monitor, SilentMonitor

if TYPE_CHECKING:
    from agentprm_dagster.scoring.card import Card


def score(
    agent: "str | type | Sequence[str]",
    *,
    panel: str = "alfworld",
    split: str | Sequence[str] = "valid_seen",
    caps: Sequence[int] = (20, 30, 50),
    seeds: int = 1,
    limit: int | None = None,
    prompt: Literal["ours", "paper", "verl-agent"] | None = None,
    temperature: float | None = None,
    best_of: int = 1,
    model: str | None = None,
    processes: int = 0,
    name: str | None = None,
    out: Path | None = None,
    monitor: Monitor | None = None,
) -> "Card":
    """Plays a panel and answers the card.

    Args:
        agent: as `agentprm score` takes it, several of one agent under several seeds, or a class (`scoring.own`).
        panel: the experiment whose games are played.
        split: of its splits, one or several.
        caps: actions within which a game is to be won; each is played once, to the largest.
        seeds: how many sampling seeds.
        limit: so many games of each split, evenly spread over those sorted by id; None: all.
        prompt: how it is asked; None: in its own way.
        temperature: of sampling; None: its own.
        best_of: N of Best-of-N by the PRM of the policy's iteration.
        model: its name at a server.
        processes: 0: as many as there are cores. A class is always played in this process.
        out: the file for the card, if it is to be written; a .md and a .html lie beside it.

    Raises:
        ScoreError: says what was expected.
    """
    from agentprm_dagster.scoring.policies import Wishes
    from agentprm_dagster.scoring.scored import Wanted, scored

    named = (agent,) if isinstance(agent, str | type) else tuple(agent)
    splits = (split,) if isinstance(split, str) else tuple(split)
    wanted = Wanted(
        panel=panel,
        splits=splits,
        caps=tuple(caps),
        seeds=seeds,
        limit=limit,
        wishes=Wishes(prompt=prompt, temperature=temperature, best_of=best_of),
        model=model,
        processes=processes,
    )
    return scored(named, wanted, monitor or SilentMonitor(), name=name, out=out)
