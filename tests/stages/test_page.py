"""What Dagster is given of an artifact: what is read first on sight, the rest a click away, links that lead on."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import dagster as dg
import pytest

from agentprm_dagster.episodes.stage import Gate
from agentprm_dagster.provenance.artifact import Artifact
from agentprm_dagster.provenance.lineage import lineage, with_ancestors
from agentprm_dagster.provenance.store import ArtifactStore
from agentprm_dagster.reports.chart.small import LARGEST, SMALL, Point, draw_small
from agentprm_dagster.stages.made_from import lineage_page, made_from
from agentprm_dagster.stages.materialization import materialization
from agentprm_dagster.stages.page import PAGE, SHOWN, on_sight, tables, whole_page
from artifacts import commit, make_recipe

TABLE = "| policy | success |\n|---|---|\n| pi_0 | 1.0% |\n| **pi_1** | 2.0% |"
METRICS = "| | |\n|---|---|\n| loss | 0.4 |"


def page(folder: Path, text: str) -> Path:
    (folder / PAGE).write_text(text)
    return folder


def records(value: Any) -> list[dict[str, Any]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def test_sentence_and_tables_are_entries_of_their_own(tmp_path: Path) -> None:
    folder = page(tmp_path, f"- pi_1 **wins**.\n- Often.\n\n{TABLE}\n\n{METRICS}\n\nmore\n\n{TABLE}\n")
    assert {name: value.value for name, value in on_sight(folder).items()} == {"summary": "- pi_1 **wins**.\n- Often."}
    found = tables(folder)
    assert list(found) == ["table", "table_2"], "metrics are shown one by one anyway"
    assert records(found["table"]) == records(found["table_2"])
    assert records(found["table"]) == [
        {"policy": "pi_0", "success": "1.0%"},
        {"policy": "pi_1", "success": "2.0%"},
    ]


@pytest.mark.parametrize("text", [METRICS, f"{TABLE}\n", "# Head\n", "![x](a.png)\n", "x" * SHOWN, ""])
def test_what_is_no_sentence_is_no_summary(tmp_path: Path, text: str) -> None:
    assert "summary" not in on_sight(page(tmp_path, text))


def test_a_small_picture_stands_in_the_list_itself(tmp_path: Path) -> None:
    draw_small({"valid_seen": [Point(i, i / 9, 0, 1) for i in range(9)]}, "iteration", tmp_path / SMALL)
    picture = on_sight(page(tmp_path, "words"))["picture"].value
    assert isinstance(picture, str)
    assert LARGEST < SHOWN and len(picture) < SHOWN, "Dagster hides longer Markdown"
    assert unquote(picture).endswith(f"{(tmp_path / SMALL).read_text()}>)")


def test_pictures_are_put_into_the_page_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "member_0").mkdir()
    for name in ("a.png", "member_0/a.png"):
        (tmp_path / name).write_bytes(b"\x89PNG")
    text = whole_page(page(tmp_path, "![one](a.png) ![two](member_0/a.png) [three](b.txt)"))
    assert text.count("](data:image/png;base64,iVBORw==)") == 2
    assert "[three](b.txt)" in text


@pytest.fixture
def prm(store: ArtifactStore) -> Artifact:
    policy = commit(store, make_recipe("initial_policy", 0))
    rollouts = commit(store, make_recipe("rollouts", 2, (policy.as_input("behaviour_policy"),)))
    read = (policy.as_input("behaviour_policy"), rollouts.as_input("rollouts"))
    return commit(store, make_recipe("prm", 2, read), {PAGE: b"It orders.\n", "model.safetensors": b""})


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


def test_what_was_read_is_a_link_to_its_page(prm: Artifact) -> None:
    policy, rollouts = prm.manifest.inputs
    assert made_from(prm).splitlines()[2:] == [
        f"| behaviour_policy | [initial_policy](/assets/smoke/initial_policy) | `{policy.digest[:8]}` |",
        f"| rollouts | [rollouts[2]](/assets/smoke/rollouts?view=partitions&partition=2) | `{rollouts.digest[:8]}` |",
    ]


def test_the_picture_and_links_of_all_that_made_it(store: ArtifactStore, prm: Artifact) -> None:
    text = lineage_page(lineage(store, "smoke", "prm", 2))
    address = text[text.index("(<data:image/svg+xml,") + 2 : text.index(">)")]
    assert not {"<", ">", "#", "\n"} & set(address)
    ElementTree.fromstring(unquote(address).removeprefix("data:image/svg+xml,"))
    lines = [line for line in text.splitlines() if line.startswith("| [")]
    assert [line.partition("]")[0] for line in lines] == ["| [prm[2", "| [initial_policy", "| [rollouts[2"]
    assert all(line.endswith("| not known |") for line in lines), "no commit is recorded"


def test_a_commit_that_made_all_is_said_once(store: ArtifactStore) -> None:
    recipe = make_recipe("demonstrations", 0)
    commit(store, replace(recipe, code=replace(recipe.code, git_commit="0123456789", dirty=False)))
    text = lineage_page(lineage(store, "smoke", "demonstrations", 0))
    assert text.startswith("All by commit `01234567`.\n\n![")
    assert text.count("01234567") == 1


def test_what_is_read_first_stands_first(store: ArtifactStore, prm: Artifact) -> None:
    shown = materialization(prm, "http://127.0.0.1:1/#/x", with_ancestors(store, prm.version), made_before=False)
    metadata = dict(shown.metadata or {})
    assert list(metadata)[:6] == ["summary", "page", "lineage", "made_from", "cost", "path"]
    seconds = {row["stage"]: row["seconds"] for row in records(metadata["cost"])}
    assert list(seconds) == ["initial_policy", "rollouts", "prm", "all"]
    assert metadata["files"] == 2.0


def test_a_gate_that_warns_stops_nothing_and_is_told(prm: Artifact) -> None:
    gates = (Gate("orders_actions", True, "it does"), Gate("not_hackable", False, "praise pleases it", 0.5, warns=True))
    warned = replace(prm, manifest=replace(prm.manifest, gates=gates))
    assert not warned.manifest.failed
    (ordered, hacked) = materialization(warned, None, [warned], made_before=False).check_results or ()
    assert (ordered.passed, ordered.severity) == (True, dg.AssetCheckSeverity.ERROR)
    assert (hacked.passed, hacked.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert hacked.description == "praise pleases it"
    blocked = replace(warned.manifest, gates=(replace(gates[1], warns=False),))
    assert blocked.failed == "praise pleases it"
