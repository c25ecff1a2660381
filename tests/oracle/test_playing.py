"""The oracle played by a real model, and read by models: in this process."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
import torch

from agentprm_dagster.config import PlayingCompute, Rollouts
from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.kind import Settings
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Resume, SilentMonitor
from agentprm_dagster.episodes.tables import write_episodes
from agentprm_dagster.launch.pool import Players
from agentprm_dagster.launch.worker import Progress, Shard, play_shard
from agentprm_dagster.oracle.drawing import Point, draw_points
from agentprm_dagster.oracle.playing import TriedOut, try_states
from agentprm_dagster.oracle.reading import read_log_probs, read_logits
from agentprm_dagster.oracle.tables import Oracle, answer_rows, metrics_of, read_oracle, state_row
from agentprm_dagster.resources.inference import InferenceResource
from agentprm_dagster.rollouts.tried_out import OWN, WORDED, TriedId
from plays import play_of

HOW = Rollouts(slots=8, max_steps=12, max_new_tokens=24, branch_actions=4, branch_continuations=3, temperature=1.0)
GAMMA = 0.9


class Here(InferenceResource):
    """Plays in this process, and counts shards."""

    def _players(self, where: PlayingCompute, *, small: bool) -> Players:
        return _Here()


class _Here:
    played: ClassVar[list[Path]] = []

    def play(self, shards: Sequence[Shard]) -> Iterator[tuple[int, Progress | None]]:
        for number, shard in enumerate(shards):
            play_shard(shard, SilentMonitor())
            self.played.append(shard.out)
            yield number, None


def played(points: Sequence[Point], policy: Path, games: Sequence[PlayableGame], folder: Path) -> TriedOut:
    return try_states(
        play_of(policy, HOW, games),
        points,
        Here(),
        SilentMonitor(),
        Resume(folder),
        gamma=GAMMA,
        embedded=True,
        where=PlayingCompute(),
    )


@pytest.fixture(scope="module")
def points(rollouts: list[Episode]) -> list[Point]:
    return draw_points(rollouts, 5, seed=0)


@pytest.fixture(scope="module")
def oracle(
    points: list[Point],
    taught_folder: Path,
    household_games: list[PlayableGame],
    tmp_path_factory: pytest.TempPathFactory,
) -> Oracle:
    work, out = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("oracle")
    tried = played(points, taught_folder, household_games, work)
    assert tried.usage.tokens_drawn > 0
    before = len(_Here.played)
    again = played(points, taught_folder, household_games, work)
    assert len(_Here.played) == before, "what was played is kept"
    assert again.rows == tried.rows
    states = [state_row(each, (), WORDING, "append", held_out=True) for each in points]
    pd.DataFrame(states).to_parquet(out / "states.parquet")
    pd.DataFrame(tried.rows).to_parquet(out / "answers.parquet")
    write_episodes({each.episode.episode_id: each.episode for each in points}.values(), out)
    return read_oracle(out)


def test_every_state_has_its_answers_with_as_many_returns(oracle: Oracle, points: list[Point]) -> None:
    assert len(oracle.states) == len(points) == 5
    assert oracle.answers.groupby("state")["action"].nunique().tolist() == [4] * 5
    assert {len(each) for each in oracle.answers["returns"]} == {3}
    assert metrics_of(oracle.states, oracle.answers)["continuations"] == 5 * 4 * 3
    assert set(oracle.answers["source"]) <= {"policy", "rule"}


def test_logits_and_log_probs_are_the_models_own(oracle: Oracle, prm_folder: Path, taught_folder: Path) -> None:
    logits = read_logits(prm_folder, oracle, WORDING, "append", Settings())
    log_p = read_log_probs(taught_folder, oracle, WORDING, "append", Settings())
    assert len(logits) == len(log_p) == len(oracle.answers)
    chat = Chat(checkpoints.load_tokenizer(prm_folder), WORDING)
    prm, policy = checkpoints.load_prm(prm_folder).eval(), checkpoints.load_policy(taught_folder).eval()
    conversations = dict(zip(oracle.states["state"], oracle.states["conversation"], strict=True))
    for i in (0, 7, 19):
        row = oracle.answers.iloc[i]
        state = chat.prompt([dict(each) for each in conversations[row["state"]]])
        answer = chat.answer(row["text"], list(row["tokens"]))
        ids = torch.tensor([[*state, *answer]])
        with torch.no_grad():
            assert logits[i] == pytest.approx(prm(ids).logits.item(), abs=1e-4)
            said = policy(ids).logits[0, len(state) - 1 : -1].log_softmax(-1)
        own = said.gather(-1, torch.tensor(answer)[:, None]).sum().item()
        assert log_p[i] == pytest.approx(own, abs=1e-3)


def test_returns_are_those_of_the_targets(rollouts: list[Episode]) -> None:
    whole = next(each for each in rollouts if each.parent is None and len(each.turns) > 3)
    last = len(whole.turns) - 1
    names = [
        str(TriedId(whole.episode_id, 1, source, a, m)) for source, a, m in ((OWN, 0, 0), (OWN, 0, 1), (WORDED, 1, 0))
    ]
    won, lost, other = (replace(whole, episode_id=name, parent=whole.episode_id, start=1) for name in names)
    rows = answer_rows([won, replace(lost, reward=0.0), other], GAMMA)
    assert [row["returns"] for row in rows] == [[GAMMA ** (last - 1), 0.0], [GAMMA ** (last - 1)]]
    assert [(row["q"], row["won"], row["source"]) for row in rows] == [
        (GAMMA ** (last - 1) / 2, 0.5, "policy"),
        (GAMMA ** (last - 1), 1.0, "rule"),
    ]
    assert rows[0]["state"] == f"{whole.episode_id}/t001"
    assert rows[0]["action"] == whole.turns[1].action
