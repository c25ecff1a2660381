"""Which episodes are shown."""

from dataclasses import replace

import pytest

from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.values import TurnValue
from agentprm_dagster.reports.watched import OF_EACH, Watched, groups


def watched(name: str, *q: float, won: bool = False, **rest: object) -> Watched:
    """An episode of a game called so, with these values at its turns."""
    turns = tuple(Turn("", f"go to desk {i}", "Nothing.", "") for i in range(len(q)))
    episode = Episode(f"{name}#0", name, "any", "Look.", turns, reward=float(won))
    return Watched(replace(episode, **rest), [TurnValue(each, None) for each in q])  # type: ignore[arg-type]


def shown(some: list[Watched], before: list[Watched] | None = None) -> dict[str, list[str]]:
    return {group.title: [each.episode.game for each in group.episodes] for group in groups(some, before or [], "pi_0")}


def test_what_was_expected_is_the_mean_of_q_over_own_turns() -> None:
    assert watched("a", 0.2, 0.4).expected == pytest.approx(0.3)
    assert watched("a", 0.9, 0.9, 0.2, 0.4, start=2).expected == pytest.approx(0.3)
    assert watched("a", 0.2, 0.4).surprise == pytest.approx(0.3)
    assert watched("a", 0.2, 0.4, won=True).surprise == pytest.approx(0.7)
    assert (watched("a").expected, watched("a", 0.5, start=1).expected) == (0, 0), "no turn of its own"


def test_the_surprising_come_first_and_no_episode_twice() -> None:
    lost = [watched(f"lost {i:02}", i / 20) for i in range(14)]
    won = [watched(f"won {i}", i / 10, won=True) for i in range(3)]
    found = shown([*lost, *won], [watched("won 1", 0.5), watched("won 0", 0.6, won=True), watched("lost 01", 0.1)])
    assert found == {
        "Lost, though expected to win": [f"lost {i:02}" for i in range(13, 7, -1)],
        "Won, though expected to lose": ["won 0", "won 1", "won 2"],
        "Lost by pi_0, won now": ["won 1"],
        "Worst": [f"lost {i:02}" for i in range(6)],
    }


def test_a_game_that_was_lost_before_is_shown_twice() -> None:
    before = [watched("b", 0.5), watched("a", 0.1)]
    now = [watched(name, 0.9, won=True) for name in ("a", "b", *"cdefghi")]
    found = groups(now, before, "pi_0")
    (gained,) = (group for group in found if group.title.startswith("Lost by pi_0"))
    games = [(each.episode.game, each.episode.won) for each in gained.episodes]
    assert games == [("a", False), ("b", False)], "those of now stand in the group before"
    alone = groups([*now[:2], *(watched(name, 0.1, won=True) for name in "jklmno")], before, "pi_0")[1]
    assert [(each.episode.game, each.episode.won) for each in alone.episodes] == [
        ("a", False), ("a", True), ("b", False), ("b", True)
    ]  # fmt: skip


def test_without_values_outcomes_and_branches_decide() -> None:
    def branch(name: str, action: str, *, won: bool) -> Watched:
        turns = (Turn("", "look", "", ""), Turn("", action, "", ""))
        return Watched(Episode(name, "g", "any", "Look.", turns, float(won), start=1, parent="p"))

    def plain(name: str, turns: int, *, won: bool, refused: int = 0) -> Watched:
        taken = tuple(Turn("", "look", "", "", admissible=i >= refused) for i in range(turns))
        return Watched(Episode(name, name, "any", "Look.", taken, float(won)))

    some = [
        branch("same", "look", won=True),
        branch("same again", "look", won=False),
        branch("other", "go", won=False),
        *(plain(f"won in {n}", n, won=True) for n in range(1, 2 * OF_EACH)),
        plain("lost", 3, won=False),
        plain("refused", 3, won=False, refused=2),
    ]
    found = {group.title: [each.episode.episode_id for each in group.episodes] for group in groups(some)}
    assert found == {
        "One action apart": ["same", "other"],
        "Best": [f"won in {n}" for n in range(1, OF_EACH + 1)],
        "Won late": [f"won in {n}" for n in range(2 * OF_EACH - 1, OF_EACH, -1)],
        "Worst": ["refused", "same again", "lost"],
    }
    assert groups([]) == []
