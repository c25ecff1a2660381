"""The demonstrators' REASONs: every template by hand, and that none knows more than the episode has shown."""

import re

import pytest

from agentprm_dagster.envs.alfworld.household import Household
from agentprm_dagster.envs.alfworld.kind import KIND
from agentprm_dagster.envs.alfworld.playable import PlayableGame
from agentprm_dagster.envs.alfworld.random_play import play_at_random
from agentprm_dagster.envs.alfworld.reasons import Progress, explain, notice
from agentprm_dagster.envs.alfworld.tasks import parse_task
from agentprm_dagster.envs.base import Demonstrable, Expert
from agentprm_dagster.episodes.dialogue import write_answer
from agentprm_dagster.episodes.records import Episode, Observation, Turn
from agentprm_dagster.rollouts.demonstrations import demonstrate

TAKE = "You pick up the apple 1 from the desk 1."
OTHER = "You pick up the pen 2 from the desk 1."
MOVED = "You move the apple 1 to the shelf 1."
TAKEN_BACK = "You pick up the apple 1 from the shelf 1."
APPLES = "You arrive at desk 1. On the desk 1, you see a apple 2, a apple 1, and a pen 1."
SECOND = "You pick up the apple 2 from the desk 1."
LAMP = "You arrive at bed 1. On the bed 1, you see a desklamp 1, and a desklamp 2."
AT_DESK = "A apple is at desk 1."
ELSEWHERE = "You move the apple 1 to the desk 1."
HEATED = "You heat the apple 1 using the microwave 1."
COOLED = "You cool the apple 1 using the fridge 1."

ENTITY = re.compile(r"[a-z]+ \d+")


def first(task: str) -> str:
    return f"You are in a room with a desk 1 and a shelf 1.\n\nYour task is to: {task}."


def turns(*observations: str) -> list[Turn]:
    return [Turn(reason="", action="", observation=observation, response="") for observation in observations]


@pytest.mark.parametrize(
    ("task", "observations", "action", "reason"),
    [
        ("put a apple in shelf", [], "go to desk 1", "I look for a apple."),
        ("put a apple in shelf", [], "open desk 1", "I look for a apple. The desk 1 is closed."),
        ("put a apple in shelf", [], "close desk 1", "I look for a apple. I am done with desk 1."),
        ("put a apple in shelf", [], "take apple 1 from desk 1", "Here is apple 1."),
        ("put a apple in shelf", [TAKE], "go to shelf 1", "I bring apple 1 to a shelf."),
        ("put a apple in shelf", [OTHER], "move pen 2 to desk 1", "I do not need pen 2."),
        ("put a apple in shelf", [TAKE, MOVED], "look", "I look for a apple."),
        ("put a hot apple in shelf", [TAKE], "go to microwave 1", "I must heat apple 1."),
        ("put a hot apple in shelf", [TAKE, COOLED], "go to microwave 1", "I must heat apple 1."),
        ("put a hot apple in shelf", [TAKE, HEATED], "go to shelf 1", "I bring apple 1 to a shelf."),
        ("cool some apple and put it in shelf", [TAKE], "go to fridge 1", "I must cool apple 1."),
        ("put a clean apple in shelf", [TAKE], "clean apple 1 with sinkbasin 1", "I must clean apple 1."),
        ("look at apple under the desklamp", [TAKE], "use desklamp 1", "I need a desklamp to look at apple 1."),
        ("put two apple in shelf", [], "go to desk 1", "I look for a apple."),
        ("put two apple in shelf", [TAKE, MOVED], "go to desk 1", "I look for a second apple."),
        ("put two apple in shelf", [TAKE, MOVED, TAKEN_BACK], "look", "I bring apple 1 to a shelf."),
        ("put two apple in shelf", [TAKE, ELSEWHERE], "look", f"I look for a apple. {AT_DESK}"),
        ("put two apple in shelf", [TAKE, MOVED, TAKEN_BACK, ELSEWHERE], "look", f"I look for a apple. {AT_DESK}"),
        ("put two apple in shelf", [APPLES], "take apple 1 from desk 1", f"Here is apple 1. {AT_DESK}"),
        ("put two apple in shelf", [APPLES, TAKE], "go to shelf 1", f"I bring apple 1 to a shelf. {AT_DESK}"),
        ("put two apple in shelf", [APPLES, TAKE, MOVED], "look", f"I look for a second apple. {AT_DESK}"),
        ("put two apple in shelf", [APPLES, TAKE, MOVED], "take apple 2 from desk 1", "Here is apple 2."),
        ("put two apple in shelf", [APPLES, TAKE, MOVED, SECOND], "look", "I bring apple 2 to a shelf."),
        ("put a apple in shelf", [APPLES, TAKE], "go to shelf 1", "I bring apple 1 to a shelf."),
        ("look at apple under the desklamp", [LAMP], "look", "I look for a apple. A desklamp is at bed 1."),
        (
            "look at apple under the desklamp",
            [LAMP, TAKE, "Nothing happens."],
            "go to bed 1",
            "Nothing happened. I need a desklamp to look at apple 1. A desklamp is at bed 1.",
        ),
    ],
)
def test_every_sentence_by_hand(task: str, observations: list[str], action: str, reason: str) -> None:
    assert explain(first(task), turns(*observations), action) == reason


@pytest.mark.parametrize(
    ("opening", "command", "meaning"),
    [
        (first("put a apple in shelf"), "go to shelf 1", "The shelf 1 may be at hand."),
        (first("put a apple in shelf"), "go to shelf 2", "The shelf 2 may be at hand."),
        (first("put a apple in shelf"), "open shelf 1", "Nothing happened."),
        (first("put a apple in shelf"), "take apple 1 from desk 1", "Nothing happened."),
        ("Your task is to: put a apple in shelf.", "go to shelf 1", "The shelf 1 may be at hand."),
    ],
)
def test_what_it_means_that_nothing_happened(opening: str, command: str, meaning: str) -> None:
    history = [Turn(reason="", action=command, observation="Nothing happens.", response="")]
    assert explain(opening, history, "go to desk 1") == f"{meaning} I look for a apple."
    assert explain(opening, history, "take apple 1 from desk 1") == f"{meaning} Here is apple 1."
    assert notice(opening, history) == f"{meaning} I look for a apple."
    place = command.removeprefix("go to ")
    assert explain(opening, history, f"examine {place}") == meaning + " I look for a apple." * (place == command)
    later = [*history, *turns("You arrive at desk 1. On the desk 1, you see nothing.")]
    assert explain(opening, later, "go to shelf 1") == "I look for a apple.", "it is told once"


def test_reasons_are_one_line_and_are_what_the_answer_says(demonstrations: list[Episode]) -> None:
    for turn in (turn for episode in demonstrations for turn in episode.turns):
        assert turn.reason
        assert "\n" not in turn.reason
        assert turn.response == write_answer(turn.reason, turn.action)


def test_reasons_name_only_what_has_been_shown(demonstrations: list[Episode]) -> None:
    for episode in demonstrations:
        shown = set(ENTITY.findall(episode.first_observation))
        for turn in episode.turns:
            assert set(ENTITY.findall(turn.reason)) <= shown
            shown |= set(ENTITY.findall(turn.observation))


def test_progress_is_what_the_engine_knows(demonstrations: list[Episode], household_games: list[PlayableGame]) -> None:
    games = {game.id: game for game in household_games}
    for episode in demonstrations:
        environment = games[episode.game].environment()
        task = parse_task(episode.first_observation)
        for t, turn in enumerate(episode.turns, start=1):
            environment.step(turn.action)
            held = [names[1] for name, names in environment.facts() if name == "holds"]
            assert Progress(task, episode.turns[:t]).held == (held[0] if held else None)


def test_what_lies_where_is_what_the_engine_knows(household_games: list[PlayableGame]) -> None:
    compared = 0
    for game in household_games:
        walk = play_at_random(game, episode_id="w", max_steps=40, mistakes=0.2, seed=1)
        task, environment = parse_task(walk.first_observation), game.environment()
        environment.reset()
        for t, turn in enumerate(walk.turns, start=1):
            environment.step(turn.action)
            progress = Progress(task, walk.turns[:t])
            facts = environment.facts()
            lying = {
                names[0]: names[1] for name, names in facts if name == "inreceptacle" and names[1] in progress.seen
            }
            opened = {names[0] for name, names in facts if name == "opened"}
            assert progress.lies == lying
            assert progress.closed.isdisjoint(opened)
            assert {progress.lies[each] for each in progress.here}.isdisjoint(progress.closed)
            if progress.place not in progress.closed:
                assert progress.here >= {each for each, where in lying.items() if where == progress.place}
            compared += len(progress.here)
    assert compared > 50


@pytest.mark.parametrize(
    ("observations", "reason"),
    [
        ([], "I look for a apple."),
        (["You arrive at desk 1. On the desk 1, you see a apple 2, a apple 1, and a pen 1."], "Here is apple 1."),
        (["You open the safe 1. The safe 1 is open. In it, you see a apple 1."], "Here is apple 1."),
        (["You arrive at desk 1. On the desk 1, you see a pen 1."], "I look for a apple."),
        (
            ["On the desk 1, you see a apple 1.", "You arrive at shelf 1. On the shelf 1, you see nothing."],
            "I look for a apple.",
        ),
        (["In it, you see a apple 1.", "You close the safe 1."], "I look for a apple."),
        (["On the desk 1, you see a apple 1.", "Nothing happens."], "Nothing happened. Here is apple 1."),
        (["On the desk 1, you see a apple 1.", TAKE], "I bring apple 1 to a shelf."),
        (["On the shelf 1, you see nothing.", TAKE, MOVED], "I look for a apple."),
        ([TAKE, ELSEWHERE], "Here is apple 1."),
    ],
)
def test_what_is_noticed_by_hand(observations: list[str], reason: str) -> None:
    assert notice(first("put a apple in shelf"), turns(*observations)) == reason


class Strayed:
    """Follows an expert for some turns and then only looks around: the same past, another future."""

    def __init__(self, expert: Expert, turns: int) -> None:
        self.expert, self.left = expert, turns

    def act(self, observation: Observation) -> str:
        self.left -= 1
        return self.expert.act(observation) if self.left >= 0 else "look"


class StrayingGame:
    """A game whose experts stray."""

    def __init__(self, game: PlayableGame, turns: int) -> None:
        self.game, self.turns = game, turns

    @property
    def id(self) -> str:
        return self.game.id

    @property
    def kind(self) -> str:
        return self.game.kind

    def environment(self) -> Household:
        return self.game.environment()

    def expert(self, name: str, seed: int) -> Expert:
        return Strayed(self.game.expert(name, seed), self.turns)


@pytest.mark.parametrize("kept", [1, 2])
def test_another_future_changes_no_reason(household_games: list[PlayableGame], kept: int) -> None:
    def reasons(game: Demonstrable) -> list[str]:
        played = demonstrate(game, KIND, episode_id="e", expert="walkthrough", max_steps=20, seed=0)
        return [turn.reason for turn in played.turns]

    for game in household_games:
        whole, strayed = reasons(game), reasons(StrayingGame(game, kept))
        assert len(strayed) == 20
        assert strayed[:kept] == whole[:kept]
