"""A home with the games of `smoke`, and cards of demonstrators on them."""

from pathlib import Path

import pytest

from agentprm_dagster.scoring import score
from agentprm_dagster.scoring.card import Card
from agentprm_dagster.scoring.panel import Panel, make_panel

CAPS = (6, 20)


@pytest.fixture(scope="session")
def games_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds generated games, made when they are first asked for."""
    return tmp_path_factory.mktemp("scored")


@pytest.fixture(autouse=True)
def own_home(games_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests here share it."""
    monkeypatch.setenv("AGENTPRM_HOME", str(games_home))
    monkeypatch.delenv("AGENTPRM_STORE", raising=False)


@pytest.fixture
def panel() -> Panel:
    """The six games of `smoke`'s valid_seen, one of each kind of task."""
    return make_panel("smoke", ["valid_seen"], CAPS)


@pytest.fixture(scope="session")
def walkthrough(games_home: Path) -> Card:
    """The card of the walkthrough, which wins all."""
    return _card(games_home, "expert:walkthrough", 1)


@pytest.fixture(scope="session")
def handcoded(games_home: Path) -> Card:
    """The card of the expert that searches, under two seeds."""
    return _card(games_home, "expert:handcoded", 2)


def _card(home: Path, agent: str, seeds: int) -> Card:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTPRM_HOME", str(home))
        return score(agent, panel="smoke", split="valid_seen", caps=CAPS, seeds=seeds, processes=1)
