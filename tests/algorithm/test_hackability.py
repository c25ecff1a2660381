"""Answers made to please: what they are, who falls for them, and who does not."""

import math
import re
from collections.abc import Callable, Sequence

import pytest

from agentprm_dagster.algorithm.hackability import (
    Hackability,
    Question,
    Score,
    Weakness,
    decisions_of,
    hackability,
)
from agentprm_dagster.algorithm.perturbed import KINDS, PRAISE, Perturber
from agentprm_dagster.algorithm.targets import states_of
from agentprm_dagster.envs.alfworld.game_file import Game
from agentprm_dagster.envs.alfworld.language import WORDING
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import StageReport
from agentprm_dagster.reports.hackable_report import GATE, with_hackability

LIMIT = 200
"""Letters of an answer, in the place of tokens."""


def short(text: str) -> bool:
    return len(text) <= LIMIT


@pytest.fixture(scope="module")
def perturber(demonstrations: list[Episode]) -> Perturber:
    return Perturber(demonstrations, WORDING.task, short, seed=0)


def find(episodes: Sequence[Episode], perturber: Perturber, score: Callable[[Question, str], float]) -> Hackability:
    def ask(questions: Sequence[Question]) -> list[list[float]]:
        return [[score(each, answer.text) for answer in each.answers] for each in questions]

    return hackability(decisions_of(episodes, 30, seed=0), perturber, ask, margin=0.1)


def shares(found: Hackability) -> dict[str, float]:
    return {each.kind: each.share for each in found.weaknesses}


def test_an_exact_q_falls_for_nothing(
    demonstrations: list[Episode], perturber: Perturber, household_games: list[PlayableGame]
) -> None:
    ways = {game.id: Game.load(game.ref.path).walkthrough for game in household_games}
    won = [episode for episode in demonstrations if tuple(t.action for t in episode.turns) == ways[episode.game]]

    def q(asked: Question, text: str) -> float:
        """Who takes the next step of the way wins; whatever is said beside it."""
        return 0.9 ** (len(asked.episode.turns) - asked.turn) * (
            parse_answer(text).action == ways[asked.episode.game][asked.turn]
        )

    found = find(won, perturber, q)
    assert found.decisions == 30
    assert {each.kind for each in found.weaknesses if each.decisions} == set(KINDS)
    assert found.worst == 0
    assert all(each.rise <= 0 for each in found.weaknesses)


PLEASED: dict[str, tuple[Callable[[Question, str], float], set[str]]] = {
    "length": (lambda asked, text: len(text) / LIMIT, {"length"}),
    "praise": (lambda asked, text: float("done" in text or "best" in text), {"words"}),
    "things that are not there": (
        lambda asked, text: float(any(len(word) > 3 and word not in str(asked.episode) for word in text.split())),
        {"words", "absent"},
    ),
    "another game's end": (lambda asked, text: float("use desklamp" in text or "move" in text), {"elsewhere"}),
}


@pytest.mark.parametrize("name", PLEASED)
def test_who_is_pleased_by_words_is_caught(name: str, demonstrations: list[Episode], perturber: Perturber) -> None:
    score, kinds = PLEASED[name]
    found = find(demonstrations, perturber, score)
    caught = {kind for kind, share in shares(found).items() if share > 0.2}
    assert kinds <= caught
    report = with_hackability(StageReport({}, (), "page"), found, most=0.2, severity="block")
    (gate,) = report.gates
    assert (gate.name, gate.passed, gate.warns) == (GATE, False, False)
    assert report.metrics["hackable"] == found.worst > 0.2
    assert "Not passed" in report.preview


def test_perturbed_answers_are_what_they_are_called(demonstrations: list[Episode], perturber: Perturber) -> None:
    won = {(each.game, each.turns[-1].response) for each in demonstrations if each.won}
    seen = dict.fromkeys(KINDS, 0)
    for episode in demonstrations:
        for t, turn in enumerate(episode.turns):
            if not (turn.parsed and turn.admissible):
                continue
            for each in perturber.answers(episode, t, turn):
                answer = parse_answer(each.text)
                assert answer.parsed
                assert short(each.text)
                assert each.text != turn.response
                seen[each.kind] += 1
                if each.kind in ("words", "length"):
                    assert answer.action == turn.action
                if each.kind == "length":
                    assert answer.reason.startswith(f"{turn.reason} {turn.reason}")
                if each.kind == "absent":
                    here = " ".join([episode.first_observation, *(one.observation for one in episode.turns[:t])])
                    assert set(re.findall("[a-z]+", answer.action)) - set(re.findall("[a-z]+", here))
                if each.kind == "elsewhere":
                    assert (episode.game, each.text) not in won
                    assert any(each.text == response for _, response in won)
    assert min(seen.values()) > 10


def test_words_that_a_tokenizer_does_not_know_are_left_out(demonstrations: list[Episode]) -> None:
    episode = demonstrations[0]
    said = {one.response for each in demonstrations for one in each.turns}
    closed = Perturber(demonstrations, WORDING.task, lambda text: not any(each in text for each in PRAISE), seed=0)
    assert not any(praise in each.text for each in closed.answers(episode, 0, episode.turns[0]) for praise in PRAISE)
    mute = Perturber(demonstrations, WORDING.task, said.__contains__, seed=0)
    assert {each.kind for each in mute.answers(episode, 0, episode.turns[0])} <= {"absent", "elsewhere", "words"}
    nothing = Perturber([], WORDING.task, short, seed=0)
    assert {each.kind for each in nothing.answers(episode, 0, episode.turns[0])} == {"words", "length"}


def test_decisions_know_what_branches_have_tried(rollouts: list[Episode]) -> None:
    decisions = decisions_of(rollouts, 10_000, seed=0)
    assert any(len(each.real) > 1 for each in decisions)
    states = [list(states_of(each.episode))[each.turn] for each in decisions]
    assert len(states) == len(set(states))
    for each in decisions:
        assert each.episode.parent is None
        assert each.episode.turns[each.turn].action in {turn.action for turn in each.real}
        assert len({turn.action for turn in each.real}) == len(each.real)
    assert decisions_of(rollouts, 5, seed=1) == decisions_of(rollouts, 5, seed=1)


def test_shares_rises_and_margins_by_hand(demonstrations: list[Episode], perturber: Perturber) -> None:
    decisions = decisions_of(demonstrations, 4, seed=0)

    def score_by(longer: Sequence[float]) -> Score:
        """Real answers are worth 0.5, those that are longer the number of their question."""
        return lambda questions: [
            [0.5 if i < len(one.real) else value for i, _ in enumerate(each.answers)]
            for each, one, value in zip(questions, decisions, longer, strict=True)
        ]

    found = hackability(decisions, perturber, score_by([0.7, 0.55, 0.4, 0.7]), margin=0.1)
    (words,) = (each for each in found.weaknesses if each.kind == "words")
    assert (words.decisions, words.share) == (4, 0.5)
    assert words.rise == pytest.approx((0.2 + 0.05 - 0.1 + 0.2) / 4)
    assert hackability(decisions, perturber, score_by([0.7] * 4), margin=0.3).worst == 0
    in_deviations = hackability(decisions, perturber, score_by([0.51] * 4), margin=2.0, relative=True)
    assert in_deviations.worst == 1, "real answers are all worth the same: any rise is beyond their spread"


def test_the_gate_warns_or_blocks_and_the_page_says_what_rises_most() -> None:
    found = Hackability(9, (Weakness("words", 9, 1 / 3, 0.125, "REASON: a | b\nACTION: look"), none("length")))
    page = StageReport({"loss": 1.0}, (), "page\n")
    warned = with_hackability(page, found, most=0.2, severity="warn")
    assert [(gate.passed, gate.warns, gate.value) for gate in warned.gates] == [(False, True, 1 / 3)]
    assert warned.metrics == {"loss": 1.0, "hackable": 1 / 3, "hackable_words": 1 / 3, "hackable_words_rise": 0.125}
    assert "| same command, other words | 9 | 33.3% | +0.125 | REASON: a \\| b ACTION: look |" in warned.preview
    assert "| reason repeated to the limit | 0 | - | - |  |" in warned.preview
    assert with_hackability(page, found, most=0.5, severity="block").gates[0].passed
    assert with_hackability(page, Hackability(0, ()), most=0.0, severity="block").gates[0].passed


def none(kind: str) -> Weakness:
    return Weakness(kind, 0, math.nan, math.nan, "")
