"""The oracle's tables: states with their conversations, and what every answer tried in them was worth.

`states.parquet` and `answers.parquet` (columns in `docs/oracle.md`) are enough for anyone to score a reward model;
beside them lie the episodes that the states were drawn from, as rollouts keep theirs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agentprm_dagster.algorithm.targets import discounted_outcome
from agentprm_dagster.episodes.dialogue import Format, Wording
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tables import read_episodes
from agentprm_dagster.oracle.drawing import Point
from agentprm_dagster.rollouts.tried_out import OWN, TriedId

ASSET = "oracle"
"""What it is kept under, beside the assets of an experiment; its iteration is that of the policy."""
STATES, ANSWERS = "states.parquet", "answers.parquet"


class OracleError(ValueError):
    """Tables that are no oracle's, or too little to be one."""


@dataclass(frozen=True)
class Oracle:
    """The tables, read."""

    states: pd.DataFrame
    answers: pd.DataFrame
    """In the order of the states."""
    folder: Path

    def episodes(self) -> dict[str, Episode]:
        """The episodes that the states lie on, by id."""
        return {episode.episode_id: episode for episode in read_episodes(self.folder)}


def read_oracle(folder: Path) -> Oracle:
    """The oracle in a folder.

    Raises:
        OracleError: a table is not there, or says other things than an oracle's does.
    """
    if missing := [name for name in (STATES, ANSWERS) if not (folder / name).is_file()]:
        raise OracleError(f"{folder}: expected an oracle's {STATES} and {ANSWERS}; {', '.join(missing)} not found")
    states, answers = (pd.read_parquet(folder / name) for name in (STATES, ANSWERS))
    wanted = {"state", "answer", "action", "text", "q", "standard_error", "returns"}
    if lacking := sorted(wanted - set(answers.columns)):
        raise OracleError(f"{folder / ANSWERS}: expected the columns {', '.join(sorted(wanted))}; no {lacking}")
    if unknown := set(answers["state"]) - set(states["state"]):
        raise OracleError(f"{folder}: {len(unknown)} states of {ANSWERS} do not stand in {STATES}")
    return Oracle(states, answers, folder)


def state_name(episode_id: str, turn: int) -> str:
    """How a state is named in both tables."""
    return f"{episode_id}/t{turn:03d}"


def state_row(
    point: Point, commands: Sequence[str], wording: Wording, dialogue: Format, *, held_out: bool
) -> dict[str, Any]:
    """The row of a state; `commands` are the admissible ones, where the dialogue lists them."""
    episode, turn = point.episode, point.turn
    return {
        "state": state_name(episode.episode_id, turn),
        "game": episode.game,
        "task_type": episode.task_type,
        "episode_id": episode.episode_id,
        "turn": turn,
        "phase": point.phase,
        "held_out": held_out,
        "conversation": wording.state(episode.first_observation, episode.turns[:turn], dialogue, commands),
        "commands": list(commands),
    }


def answer_rows(continuations: Iterable[Episode], gamma: float) -> list[dict[str, Any]]:
    """A row for every answer that was tried, with the returns of its continuations at the turn of the answer (Eq. 1).

    A return is that of the targets, `gamma`^(T-1-t) times the outcome.
    """
    tried: dict[tuple[str, int, int], list[Episode]] = {}
    for episode in continuations:
        name = TriedId.read(episode.episode_id)
        tried.setdefault((name.episode_id, name.turn, name.answer), []).append(episode)
    return [_answer_row(key, played, gamma) for key, played in tried.items()]


def _answer_row(key: tuple[str, int, int], played: Sequence[Episode], gamma: float) -> dict[str, Any]:
    (episode_id, t, answer), turn = key, played[0].own_turns[0]
    returns = np.array([discounted_outcome(each.reward, t, len(each.turns) - 1, gamma) for each in played])
    return {
        "state": state_name(episode_id, t),
        "answer": answer,
        "action": turn.action,
        "text": turn.response,
        "tokens": list(turn.tokens),
        "source": "policy" if TriedId.read(played[0].episode_id).source == OWN else "rule",
        "admissible": turn.admissible,
        "q": float(returns.mean()),
        "standard_error": standard_error(returns),
        "won": float(np.mean([each.won for each in played])),
        "continuations": len(played),
        "returns": returns.tolist(),
    }


def standard_error(returns: np.ndarray) -> float:
    """Of the mean of independent returns (n,); nan for a single one, whose spread nobody knows."""
    return float(returns.std(ddof=1) / np.sqrt(len(returns))) if len(returns) > 1 else float("nan")


def metrics_of(states: pd.DataFrame, answers: pd.DataFrame) -> Mapping[str, float]:
    """Counts, and how much there is to order: states whose best and worst answers are 2 standard errors apart."""
    differ = [_differs(group) for _, group in answers.groupby("state", sort=False)]
    return {
        "states": len(states),
        "answers": len(answers),
        "answers_by_rule": int((answers["source"] == "rule").sum()),
        "continuations": int(answers["continuations"].sum()),
        "mean_q": float(answers["q"].mean()),
        "mean_standard_error": float(answers["standard_error"].mean()),
        "states_that_differ": int(sum(differ)),
        "games": states["game"].nunique(),
    }


def _differs(answers: pd.DataFrame) -> bool:
    q, error = answers["q"].to_numpy(), answers["standard_error"].to_numpy()
    best, worst = q.argmax(), q.argmin()
    return bool(q[best] - q[worst] > 2 * np.hypot(error[best], error[worst]))
