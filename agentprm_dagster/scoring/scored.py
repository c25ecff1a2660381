"""The whole of a score: a panel, who plays it, the games, the card and its files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.engine.kinds import engine_kind
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.launch.cores import cores
from agentprm_dagster.provenance.code import checkout
from agentprm_dagster.provenance.environment import environment
from agentprm_dagster.scoring.agents import Agents, find_agents
from agentprm_dagster.scoring.card import Card, EvaluationProtocol, Made, Training
from agentprm_dagster.scoring.errors import ScoreError
from agentprm_dagster.scoring.files import write_card
from agentprm_dagster.scoring.own import class_player
from agentprm_dagster.scoring.panel import EngineName, Panel, make_panel
from agentprm_dagster.scoring.playing import Workforce, journal_of, play_panel
from agentprm_dagster.scoring.policies import Wishes
from agentprm_dagster.scoring.results import results

PACKAGE = "agentprm_dagster"


@dataclass(frozen=True)
class Wanted:
    """On what an agent is scored, and how."""

    panel: str
    splits: tuple[str, ...] = ("valid_seen",)
    caps: tuple[int, ...] = (20, 30, 50)
    seeds: int = 1
    limit: int | None = None
    wishes: Wishes = field(default_factory=Wishes)
    model: str | None = None
    engine: EngineName = "household"
    computed_by: AnyEngine = field(default_factory=engine_kind("embedded").Settings)
    processes: int = 0
    training: tuple[float, str] | None = None
    """Hours that training took and on what, as the user says."""


def scored(
    named: Sequence[str | type], wanted: Wanted, monitor: Monitor, *, name: str | None = None, out: Path | None = None
) -> Card:
    """Plays, and writes the card where `out` says.

    Raises:
        ScoreError: says what was expected of agents, panel or their answers.
    """
    panel = make_panel(wanted.panel, wanted.splits, wanted.caps, wanted.limit)
    agents = _agents(named, panel, wanted)
    protocol = _with_seeds(agents, wanted.seeds)
    journal = journal_of(panel, agents.players, protocol, wanted.engine)
    if any(player.record.kind == "python" and not player.record.digests for player in agents.players):
        journal.unlink(missing_ok=True)  # a class whose source nobody knows may be another than the one that played
    runs = play_panel(panel, agents.players, protocol, _workforce(agents, named, wanted), monitor, wanted.engine)
    card = Card(
        name=name or agents.players[0].record.name,
        agents=tuple(player.record for player in agents.players),
        panel=panel,
        panel_digest=panel.digest,
        protocol=protocol,
        protocol_digest=protocol.digest,
        runs=runs,
        results=results(panel, runs),
        made=Made(engine=wanted.engine, environment=environment(), package=version(PACKAGE), commit=checkout()),
        training=_training(agents, wanted.training),
    )
    if out:
        write_card(card, out)
    journal.unlink(missing_ok=True)
    return card


def _agents(named: Sequence[str | type], panel: Panel, wanted: Wanted) -> Agents:
    if classes := [each for each in named if isinstance(each, type)]:
        if len(named) > 1:
            raise ScoreError("expected one class, or agents by their names")
        return Agents((class_player(classes[0]),), EvaluationProtocol())
    names = [str(each) for each in named]
    return find_agents(names, panel, wanted.wishes, wanted.computed_by, wanted.model)


def _with_seeds(agents: Agents, seeds: int) -> EvaluationProtocol:
    """How it is asked, with its seeds; ScoreError where several would all lead to the same games."""
    if seeds > 1 and not all(player.draws for player in agents.players):
        raise ScoreError(
            f"--seeds {seeds}: {agents.players[0].record.name} draws nothing, so that every seed plays the same games: "
            "set --temperature above 0, take seed in the class's __init__, or name policies of several seeds"
        )
    return agents.protocol.model_copy(update={"seeds": tuple(range(seeds))})


def _workforce(agents: Agents, named: Sequence[str | type], wanted: Wanted) -> Workforce:
    if agents.here or isinstance(named[0], type):
        return Workforce(0)
    available = cores()
    processes = wanted.processes or (available if agents.small else 1)
    return Workforce(processes, threads=1 if agents.small else max(available // processes, 1))


def _training(agents: Agents, stated: tuple[float, str] | None) -> Training | None:
    return Training(hours=stated[0], processor=stated[1], stated=True) if stated else agents.training
