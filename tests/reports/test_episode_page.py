"""The page of episodes: complete, closed in itself, and deaf to what foreign text asks of it."""

from html.parser import HTMLParser

import pytest

from agentprm_dagster.episodes.records import Episode, Turn
from agentprm_dagster.episodes.values import TurnValue
from agentprm_dagster.reports.episode_page import MOST_LETTERS, MOST_TURNS, episode_page
from agentprm_dagster.reports.watched import Group, Watched

HOSTILE = (
    "<script>alert(1)</script> & \"quoted\" 'too' </details></style><img src=x onerror=alert(1)>\x1b[2J\x00\u202eabc"
)
VISIBLE = HOSTILE.replace("\x1b", "\\x1b").replace("\x00", "\\x00").replace("\u202e", "\\u202e")
VOID = {"meta", "img", "br"}


class Read(HTMLParser):
    """The elements of a page with their attributes, and all its text; every element must be closed where it should."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open += [tag] if tag not in VOID else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def classes(self, name: str) -> int:
        return sum(name in (attributes.get("class") or "").split() for _, attributes in self.elements)


def episode(turns: int, text: str = "Nothing.", **rest: object) -> Episode:
    turn = Turn(text, text, text, text, parsed=True, admissible=False)
    unparsed = Turn("", "", text, text, parsed=False, admissible=False)
    return Episode(text, text, text, text, (turn,) * (turns - 1) + (unparsed,), **{"reward": 0.0, **rest})  # type: ignore[arg-type]


def page(*watched: Watched, text: str = "A title") -> str:
    return episode_page(text, text, [Group(text, text, watched)], lambda first: first)


def test_foreign_text_is_text() -> None:
    values = [TurnValue(0.25, 0.5), TurnValue(0.75, None)]
    made = page(Watched(episode(2, HOSTILE), values, HOSTILE), text=HOSTILE)
    read = Read(made)
    assert {tag for tag, _ in read.elements} == {
        "html", "head", "meta", "title", "style", "body", "h1", "p", "section", "h2", "details", "summary", "span",
        "svg", "line", "text", "polyline", "circle", "div", "ol", "li",
    }  # fmt: skip
    names = {name for _, attributes in read.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "href", "action")]
    assert read.texts.count(VISIBLE) >= 10
    assert not [character for character in made if not character.isprintable() and character != "\n"]
    policy = next(each["content"] for _, each in read.elements if "http-equiv" in each)
    assert policy is not None and policy.startswith("default-src 'none'")


def test_what_stands_beside_a_turn() -> None:
    read = Read(page(Watched(episode(2, reward=1.0), [TurnValue(0.25, 0.5), TurnValue(0.75, None)], "pi_1, train")))
    assert {"won", "pi_1, train, 2 actions, mean Q 0.50", "Q 0.25", "V 0.50", "Q 0.75"} <= {*read.texts}
    assert "turn 1: V 0.50" in read.texts, "in the picture too"
    assert read.texts.count("not admissible") == 2
    assert read.texts.count("not in the agreed form") == 1
    assert [each["style"] for _, each in read.elements if "style" in each] == ["width: 25%", "width: 50%", "width: 75%"]


def test_without_values() -> None:
    read = Read(page(Watched(episode(3, start=2, reward=0.25))))
    assert {"lost", "3 actions, own from turn 3 on, reward 0.25"} <= {*read.texts}
    assert read.classes("inherited") == 2
    assert read.classes("values") == read.classes("curve") == 0
    assert not any(text.startswith("Q(s, a)") for text in read.texts)


def test_long_episodes_and_texts_are_cut() -> None:
    turns = 10 * MOST_TURNS
    read = Read(page(Watched(episode(turns, "a" * (3 * MOST_LETTERS)), [TurnValue(0.5, 0.5)] * turns)))
    assert read.classes("turn") == MOST_TURNS
    assert f"{turns - MOST_TURNS} turns left out" in read.texts
    assert f"{'a' * MOST_LETTERS} ... (4,000 more characters)" in read.texts
    assert {"1", str(MOST_TURNS // 2), str(turns)} <= {*read.texts}
    assert str(MOST_TURNS // 2 + 1) not in read.texts


@pytest.mark.parametrize("turns", [1, MOST_TURNS, MOST_TURNS + 1])
def test_no_turn_is_lost_on_the_way(turns: int) -> None:
    read = Read(page(Watched(episode(turns))))
    assert read.classes("turn") == min(turns, MOST_TURNS)
    assert read.classes("left_out") == (turns > MOST_TURNS)


def test_an_episode_without_a_turn_and_no_episode() -> None:
    lost = Episode("e", "g", "any", "Look.", (), reward=0.0)
    assert "0 actions, reward 0" in Read(page(Watched(lost))).texts
    assert Read(episode_page("Title", "About", [], str)).classes("episode") == 0
