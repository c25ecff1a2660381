"""What is told as having worked, by hand and on real rollouts."""

from dataclasses import replace

import pandas as pd

from agentprm_dagster.algorithm.targets import mc_value_targets
from agentprm_dagster.envs.alfworld.reasons import explain
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.improvement.rationalisation import MARGIN, rationalise


def tried(parent: Episode, turn: int, **acted: float) -> tuple[list[Episode], pd.DataFrame]:
    """A whole episode and a branch from one of its states for each action, which is worth so much."""
    branches, rows = [], [(parent.episode_id, turn, "s", "what the policy did", 0.4)]
    for i, (action, q) in enumerate(acted.items()):
        said = replace(parent.turns[turn], action=action, admissible=action != "open_sesame")
        name = f"{parent.episode_id}/{i}"
        turns = (*parent.turns[:turn], said)
        branches.append(replace(parent, episode_id=name, turns=turns, start=turn, parent=parent.episode_id))
        rows.append((name, turn, "s", action, q))
    return [parent, *branches], pd.DataFrame(rows, columns=["episode_id", "turn", "state", "action", "q"])


def test_the_best_action_is_told_with_a_reason_from_what_was_seen(demonstrations: list[Episode]) -> None:
    whole = demonstrations[0]
    episodes, targets = tried(whole, 2, look=0.9, inventory=0.1)
    told = rationalise(episodes, targets, explain)
    reason = explain(whole.first_observation, whole.turns[:2], "look")
    assert told == {(whole.episode_id, 2): write_answer(reason, "look")}


def test_what_hardly_differs_or_was_not_accepted_is_not_told(demonstrations: list[Episode]) -> None:
    assert not rationalise(*tried(demonstrations[0], 2, look=0.5, inventory=0.4), explain)
    assert not rationalise(*tried(demonstrations[0], 2, open_sesame=0.9, inventory=0.1), explain)


def test_real_rollouts_tell_the_action_of_highest_return(rollouts: list[Episode]) -> None:
    targets = mc_value_targets(rollouts, gamma=0.9, held_out_games=0.2, seed=0)
    told = rationalise(rollouts, targets, explain)
    assert told
    rows = targets.set_index(["episode_id", "turn"])
    whole = {episode.episode_id for episode in rollouts if episode.parent is None}
    for place, answer in told.items():
        assert place[0] in whole
        there = targets[targets["state"] == rows.loc[place, "state"]]
        assert there.loc[there["action"] == parse_answer(answer).action, "q"].max() == there["q"].max()
        assert there["q"].max() - there["q"].min() >= MARGIN
