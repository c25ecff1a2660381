"""Replies to candidate answers are those of the game, and the PRM may be read behind them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from agentprm_dagster.engine import checkpoints
from agentprm_dagster.engine.chat import Chat
from agentprm_dagster.engine.embedded.attention import use_grouped_attention
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.tokens import EpisodeTokens
from agentprm_dagster.improvement.consequences import Consequences
from agentprm_dagster.improvement.judging import Judge
from agentprm_dagster.training.candidates import Candidate, CandidateTrees

MUMBLED = "I look for a mug."
"""No answer in the agreed form."""


@pytest.fixture(scope="module")
def chat(policy_folder: Path) -> Chat:
    return Chat(checkpoints.load_tokenizer(policy_folder), WORDING)


@pytest.fixture(scope="module")
def games(household_games: list[PlayableGame]) -> dict[str, PlayableGame]:
    return {game.id: game for game in household_games}


@pytest.fixture(scope="module")
def episodes(demonstrations: list[Episode]) -> list[Episode]:
    """Two won by their walkthroughs, and the handcoded expert's of the first one's game, which goes another way."""
    first, second = demonstrations[:2]
    (again,) = (episode for episode in demonstrations[12:] if episode.game == first.game)
    assert first.won
    assert second.won
    return [first, second, again]


@pytest.fixture(scope="module")
def prefixes(chat: Chat, episodes: list[Episode]) -> list[EpisodeTokens]:
    """All states of the first episode, and some of the others."""
    first, second, again = episodes
    return [
        chat.conversations(first)[0],
        chat.conversations(second, "append", [1, len(second.turns) - 1])[0],
        chat.conversations(again, "append", [0, 2])[0],
    ]


def answers(prefix: EpisodeTokens, turn: int, games: dict[str, PlayableGame]) -> list[str]:
    """What is tried in a state: what was done there, what leads elsewhere, what changes nothing."""
    here = games[prefix.episode.game].environment()
    seen = here.reset()
    for done in prefix.episode.turns[:turn]:
        seen = here.step(done.action)
    elsewhere = next(command for command in seen.admissible_commands if command.startswith("go to "))
    said = [prefix.episode.turns[turn].response, MUMBLED]
    return said + [write_answer("I look for a mug.", command) for command in (elsewhere, "look", "take mug 99")]


@pytest.fixture(scope="module")
def tried(chat: Chat, prefixes: list[EpisodeTokens], games: dict[str, PlayableGame]) -> list[tuple[Candidate, str]]:
    """Candidates of all states, not one state after the other, with their commands."""
    by_state = [
        [
            (Candidate((row, place), tuple(chat.answer(answer)), draws=1 + place), command(answer))
            for answer in answers(prefix, turn, games)
        ]
        for row, prefix in enumerate(prefixes)
        for place, turn in enumerate(prefix.turns)
    ]
    return [one for together in zip(*by_state, strict=True) for one in together]


def command(answer: str) -> str:
    """What follows ACTION; nothing where that is missing."""
    return answer.partition("ACTION: ")[2]


def stepped(
    prefixes: Sequence[EpisodeTokens], state: tuple[int, int], command: str, games: dict[str, PlayableGame]
) -> tuple[str, float | None]:
    """What a game that is played from its start to a state replies to a command there, and whether that wins it."""
    row, place = state
    episode = prefixes[row].episode
    environment = games[episode.game].environment()
    environment.reset()
    for turn in episode.turns[: prefixes[row].turns[place]]:
        environment.step(turn.action)
    reply = environment.step(command)
    return reply.text, 1.0 if reply.won else None


def test_replies_are_those_of_the_game_played_by_hand(
    chat: Chat, prefixes: list[EpisodeTokens], tried: list[tuple[Candidate, str]], games: dict[str, PlayableGame]
) -> None:
    replied = Consequences(chat, games).of(prefixes, [candidate for candidate, _ in tried])
    assert len(replied.candidates) == len(tried)
    texts = set()
    for (candidate, command), answered, won in zip(tried, replied.candidates, replied.outcomes, strict=True):
        text, wins = stepped(prefixes, candidate.state, command, games)
        expected = Candidate(candidate.state, (*candidate.ids, *chat.follow_up(text)), candidate.draws)
        assert (answered, won) == (expected, wins)
        texts.add(text)
    assert len(texts) > 5
    assert "Nothing happens." in texts


def test_what_was_done_gets_the_reply_it_got(
    chat: Chat, prefixes: list[EpisodeTokens], games: dict[str, PlayableGame]
) -> None:
    done = [
        Candidate((row, place), tuple(chat.answer(prefix.episode.turns[turn].response)), draws=1)
        for row, prefix in enumerate(prefixes)
        for place, turn in enumerate(prefix.turns)
    ]
    replied = Consequences(chat, games).of(prefixes, done)
    for candidate, won in zip(replied.candidates, replied.outcomes, strict=True):
        row, place = candidate.state
        prefix, turn = prefixes[row], prefixes[row].turns[place]
        state = prefix.ids[: prefix.states[place]]
        assert [*state, *candidate.ids] == chat.state(
            prefix.episode.first_observation, prefix.episode.turns[: turn + 1]
        )
        assert (won == 1.0) is (prefix.episode.won and turn == len(prefix.episode.turns) - 1)
    assert replied.outcomes.count(1.0) == 2, "the last answers of both walkthroughs"


def test_a_game_that_is_not_there_is_an_error(
    chat: Chat, prefixes: list[EpisodeTokens], tried: list[tuple[Candidate, str]], games: dict[str, PlayableGame]
) -> None:
    missing = prefixes[1].episode.game
    others = {name: game for name, game in games.items() if name != missing}
    with pytest.raises(KeyError, match=missing.replace("/", ".")):
        Consequences(chat, others).of(prefixes, [candidate for candidate, _ in tried])


@torch.no_grad()
def test_the_judge_reads_behind_the_reply_and_knows_wins_and_answers_out_of_form(
    chat: Chat,
    prefixes: list[EpisodeTokens],
    tried: list[tuple[Candidate, str]],
    games: dict[str, PlayableGame],
    policy_folder: Path,
) -> None:
    prm, stock = (checkpoints.prm_from_policy(policy_folder, seed=1).eval() for _ in range(2))
    use_grouped_attention(prm)
    candidates = [candidate for candidate, _ in tried]
    trees = CandidateTrees(prefixes, candidates)
    by_answer, answers_read = Judge(prm, chat).values(prefixes, candidates, trees)
    by_reply, replies_read = Judge(prm, chat, Consequences(chat, games)).values(prefixes, candidates, trees)
    follow_ups = 0
    for (candidate, command), known, foreseen in zip(tried, by_reply.tolist(), by_answer.tolist(), strict=True):
        row, place = candidate.state
        answered = [*prefixes[row].ids[: prefixes[row].states[place]], *candidate.ids]
        text, won = stepped(prefixes, candidate.state, command, games)
        follow_up = chat.follow_up(text)
        follow_ups += len(follow_up)
        value = stock(torch.tensor([[*answered, *follow_up]])).logits.sigmoid().item()
        assert known == (1.0 if won else pytest.approx(value if command else 0.0, abs=1e-5))
        value = stock(torch.tensor([answered])).logits.sigmoid().item()
        assert foreseen == pytest.approx(value if command else 0.0, abs=1e-5)
    assert answers_read == sum(prefix.states[-1] for prefix in prefixes) + sum(len(each.ids) for each in candidates)
    assert replies_read == answers_read + follow_ups
