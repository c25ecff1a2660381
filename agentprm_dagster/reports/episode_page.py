"""Episodes to look at, as one HTML page that needs nothing but itself: no script, no other file, no network.

What an environment or a model has written is foreign: it reaches the page only as the text of elements, which
`xml.etree` escapes, and made visible (`episodes.visible`).
"""

from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from agentprm_dagster.episodes.records import Turn
from agentprm_dagster.episodes.values import TurnValue
from agentprm_dagster.episodes.visible import visible
from agentprm_dagster.reports.episode_style import STYLE
from agentprm_dagster.reports.value_curve import value_curve
from agentprm_dagster.reports.watched import Group, Watched

PAGE = "episodes.html"
"""The file of an artifact that holds the page."""

MOST_TURNS = 60
"""Of a longer episode the turns in the middle are left out."""
MOST_LETTERS = 2000
"""Of each text that is shown."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load for the page: nothing."""
_LEGEND = (
    "Q(s, a) is the chance of winning that the process reward model gives after an action; V(s') is the one that it "
    "gives when it has read the observation that followed. Click on an episode to see its turns."
)


def episode_page(title: str, about: str, groups: Sequence[Group], task: Callable[[str], str]) -> str:
    """The page, from its doctype on.

    Args:
        about: a sentence under the title.
        task: from an episode's first observation to its task.
    """
    page = Element("html", {"lang": "en"})
    head = SubElement(page, "head")
    SubElement(head, "meta", {"charset": "utf-8"})
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    _add(head, "title", title)
    SubElement(head, "style").text = STYLE
    body = SubElement(page, "body")
    _add(body, "h1", title)
    _add(body, "p", about)
    if any(each.values for group in groups for each in group.episodes):
        _add(body, "p", _LEGEND, "legend")
    for i, group in enumerate(groups):
        section = _add(body, "section")
        _add(section, "h2", group.title)
        _add(section, "p", group.about)
        for watched in group.episodes:
            _add_episode(section, watched, task)
        if i == 0:
            section[2].set("open", "")
    return f"<!doctype html>\n{tostring(page, encoding='unicode', method='html')}\n"


def _add(parent: Element, tag: str, text: str = "", name: str = "") -> Element:
    """A new element with a text, and a class where it has a name."""
    element = SubElement(parent, tag, {"class": name} if name else {})
    element.text = visible(text, MOST_LETTERS)
    return element


def _add_episode(section: Element, watched: Watched, task: Callable[[str], str]) -> None:
    episode = watched.episode
    outcome = "won" if episode.won else "lost"
    details = _add(section, "details", name=f"episode {outcome}")
    summary = _add(details, "summary")
    _add(summary, "span", outcome, "outcome")
    _add(summary, "span", task(episode.first_observation), "task")
    _add(summary, "span", ", ".join(_facts(watched)), "facts")
    _add(details, "p", f"{episode.episode_id} ({episode.task_type})", "id")
    if watched.values:
        details.append(value_curve(watched.values))
    _add(details, "div", episode.first_observation, "text first")
    turns = _add(details, "ol", name="turns")
    values: Sequence[TurnValue | None] = watched.values or [None] * len(episode.turns)
    numbered = list(enumerate(zip(episode.turns, values, strict=True), 1))
    left_out = len(numbered) - MOST_TURNS
    for number, (turn, value) in numbered:
        if left_out > 0 and number == MOST_TURNS // 2 + 1:
            _add(turns, "li", f"{left_out:,} turns left out", "left_out")
        if left_out <= 0 or not MOST_TURNS // 2 < number <= MOST_TURNS // 2 + left_out:
            _add_turn(turns, number, turn, value, inherited=number <= episode.start)


def _facts(watched: Watched) -> list[str]:
    turns, start = len(watched.episode.turns), watched.episode.start
    facts = [watched.played] if watched.played else []
    facts.append(f"{turns} action{'s' * (turns != 1)}" + (f", own from turn {start + 1} on" if start else ""))
    if watched.values:
        facts.append(f"mean Q {watched.expected:.2f}")
    elif not watched.episode.won:
        facts.append(f"reward {watched.episode.reward:.2g}")
    return facts


def _add_turn(turns: Element, number: int, turn: Turn, value: TurnValue | None, *, inherited: bool) -> None:
    item = _add(turns, "li", name="turn inherited" if inherited else "turn")
    _add(item, "span", str(number), "number")
    told = _add(item, "div", name="told")
    if turn.parsed:
        _add(told, "p", turn.reason, "reason")
        _add(told, "p", turn.action, "action text")
    else:
        _add(told, "p", turn.response, "action text")
    for is_so, flag in (
        (inherited, "inherited"), (not turn.parsed, "not in the agreed form"), (not turn.admissible, "not admissible")
    ):  # fmt: skip
        if is_so:
            _add(told[-1], "span", flag, "flag")
    _add(told, "p", turn.observation, "text")
    if value:
        said = _add(item, "div", name="values")
        for name, label, number_ in (("q", "Q", value.q), ("after", "V", value.after)):
            if number_ is not None:
                _add_bar(said, name, f"{label} {number_:.2f}", number_)


def _add_bar(parent: Element, name: str, label: str, value: float) -> None:
    _add(parent, "span", label, "number")
    bar = _add(parent, "span", name="bar")
    SubElement(bar, "span", {"class": name, "style": f"width: {value:.0%}"})
