"""A lineage as SVG and as a page: every artifact once, arrows that point on, nothing that a browser would run."""

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.headline import headline
from agentprm_dagster.provenance.html import html
from agentprm_dagster.provenance.layout import layout
from agentprm_dagster.provenance.lineage import lineage
from agentprm_dagster.provenance.picture import svg
from agentprm_dagster.provenance.store import ArtifactStore
from artifacts import commit, make_recipe

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def loop(store: ArtifactStore) -> dict[str, Artifact]:
    """demos -> pi_0 -> rollouts[1] -> prm[1] -> eval[1], rollouts[2] -> prm[2] -> results of what was evaluated."""
    made = {"demos": commit(store, make_recipe("demonstrations", 0))}
    made["pi0"] = commit(store, make_recipe("initial_policy", 0, (made["demos"].as_input("demonstrations"),)))
    for i in (1, 2):
        policy = (made["pi0"].as_input("behaviour_policy"),)
        made[f"rollouts{i}"] = commit(store, make_recipe("rollouts", i, policy, seed=i))
        read = (*policy, made[f"rollouts{i}"].as_input("rollouts"))
        made[f"prm{i}"] = commit(store, make_recipe("prm", i, read))
    both = (made["prm1"].as_input("prm_1"), made["prm2"].as_input("prm_2"))
    made["results"] = commit(store, make_recipe("results", 0, both))
    return made


def test_an_iteration_is_a_row_and_what_has_none_stands_with_the_last_that_it_read(
    store: ArtifactStore, loop: dict[str, Artifact]
) -> None:
    places = layout(lineage(store, "smoke", "results", 0))
    assert {name: places[made.version] for name, made in loop.items()} == {
        "demos": (0, 0),
        "pi0": (1, 0),
        "rollouts1": (0, 1),
        "prm1": (1, 1),
        "rollouts2": (0, 2),
        "prm2": (1, 2),
        "results": (2, 2),
    }


def test_what_is_alike_stands_below_each_other(store: ArtifactStore) -> None:
    reports = [commit(store, make_recipe("eval_report", 1, experiment=name, seed=i)) for i, name in enumerate("ab")]
    read = tuple(each.as_input(f"eval_report_{i}") for i, each in enumerate(reports))
    results = commit(store, make_recipe("results", 0, read))
    places = layout(lineage(store, "smoke", "results", 0))
    assert [places[each.version] for each in (*reports, results)] == [(0, 0), (0, 1), (1, 0)]


def test_the_picture_names_every_artifact_and_has_every_arrow(store: ArtifactStore, loop: dict[str, Artifact]) -> None:
    answer = lineage(store, "smoke", "results", 0)
    picture = ElementTree.fromstring(svg(answer))
    texts = {text.text for text in picture.iter(f"{SVG}text")}
    assert {f"{made.digest[:8]} bitwise" for made in loop.values()} <= texts
    assert {"demonstrations", "prm[1]", "prm[2]", "results"} <= texts
    arrows = [path for path in picture.iter(f"{SVG}path") if "marker-end" in path.attrib]
    assert len(arrows) == len(answer.edges()) == 10 - 1
    assert svg(answer) == svg(answer)


def test_what_is_gone_is_drawn_as_gone(store: ArtifactStore, loop: dict[str, Artifact]) -> None:
    for path in loop["demos"].path.iterdir():
        path.unlink()
    assert "not in the store" in svg(lineage(store, "smoke", "prm", 1))
    assert "is not in the store, or cannot be read" in html(lineage(store, "smoke", "prm", 1))


class Page(HTMLParser):
    """What a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id" and tag == "section"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_the_page_has_a_section_for_every_artifact_and_all_its_links_lead_into_it(
    store: ArtifactStore, loop: dict[str, Artifact]
) -> None:
    page = Page(html(lineage(store, "smoke", "results", 0)))
    assert len(page.ids) == len(set(page.ids)) == len(loop)
    assert {link.removeprefix("#") for link in page.links} == set(page.ids), "and none lead elsewhere"
    assert not {"script", "link", "img", "iframe"} & set(page.tags)


def test_what_a_setting_says_is_text(store: ArtifactStore) -> None:
    evil = "<script>alert(1)</script>'\"&"
    commit(store, make_recipe("prm", 1, config={"model": {evil: evil}}))
    text = html(lineage(store, "smoke", "prm", 1))
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_headlines_are_the_most_telling_numbers_that_there_are() -> None:
    metrics = {"train_loss": 0.1, "held_out_loss": 0.4, "success_rate": None, "episodes": 3.0, "tokens": 5.0}
    assert headline(metrics) == {"episodes": 3.0, "held_out_loss": 0.4, "train_loss": 0.1}
    assert headline({"valid_seen pi_1 best of 1": 0.5, "valid_seen pi_1 best of 4 by prm": 0.6}) == {
        "valid_seen pi_1 best of 1": 0.5
    }
