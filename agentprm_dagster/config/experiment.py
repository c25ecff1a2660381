"""All settings of an experiment together; what does not go together is refused."""

from keyword import kwlist
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from agentprm_dagster.config.data import (
    Demonstrations,
    Dialogue,
    Evaluation,
    Gates,
    Pretraining,
    Rollouts,
)
from agentprm_dagster.config.kinds import AnyEnvironment, AnyImprovement, AnyTargets, with_usual_kinds
from agentprm_dagster.config.models import InversePrm, Prm, Sft, WorldModel
from agentprm_dagster.config.when import Origin, Promotion, Schedule
from agentprm_dagster.engine.served.settings import Llm
from agentprm_dagster.engine.settings import Model
from agentprm_dagster.envs.base import (
    DrawsMistakenPlaces,
    DrawsMistakes,
    DrawsRandomEpisodes,
    OrdersSearch,
)
from agentprm_dagster.envs.kinds import kind_of, settings_class
from agentprm_dagster.episodes.dialogue import Wording
from agentprm_dagster.improvement.kinds import improvement_kind
from agentprm_dagster.section import Distinct, Section
from agentprm_dagster.targets.kinds import target_kind

RESERVED = frozenset(kwlist) | {
    "arg_dict", "bool", "conf", "config", "context", "dict", "float", "input", "input_arg_dict", "int", "meta",
    "output", "output_arg_dict", "str", "type",
}  # fmt: skip
"""Names that Dagster gives to no job; one of them would keep it from loading any experiment."""


OWNER = r"^(team:[A-Za-z0-9_-]{1,63}|[A-Za-z0-9_.+-]{1,63}@[A-Za-z0-9.-]{1,189}\.[A-Za-z]{2,63})$"

MOST_LETTERS = 100
"""How long a name may be: no longer than that of an artifact's folder."""


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"no job in Dagster may be called {name}: give the file another name")
    return name


class Experiment(Section):
    """Everything that decides what an experiment makes; where and how it is computed is a `Compute`."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: Annotated[str, Field(pattern=rf"^[a-z][a-z0-9_]{{0,{MOST_LETTERS - 1}}}$"), AfterValidator(_free)]
    description: Annotated[str, Field(max_length=1000)] = ""
    owners: Distinct[Annotated[str, Field(pattern=OWNER)]] = ()
    """Who answers for it, as Dagster shows it: e-mail addresses, or teams as `team:rewards`."""
    origin: Annotated[Origin | None, Field(alias="from")] = None
    """Where it branches from: its pi_0 is then another experiment's policy, and none is trained."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    iterations: Annotated[int, Field(gt=0, le=1000)] = 2
    environment: AnyEnvironment = Field(default_factory=settings_class("alfworld"))
    demonstrations: Demonstrations = Demonstrations()
    dialogue: Dialogue = Dialogue()
    model: Model = Model()
    pretraining: Pretraining = Pretraining()
    sft: Sft = Sft()
    rollouts: Rollouts = Rollouts()
    targets: AnyTargets = Field(default_factory=target_kind("mc").Settings)
    prm: Prm = Prm()
    inverse_prm: InversePrm = InversePrm()
    world_model: WorldModel = WorldModel()
    improvement: AnyImprovement = Field(default_factory=improvement_kind("dpo").Settings)
    evaluation: Evaluation = Evaluation()
    llm: Llm = Llm()
    gates: Gates = Gates()
    promotion: Promotion = Promotion()
    schedule: Schedule | None = None
    """Null: a sensor launches an iteration as soon as it can be, once it is switched on."""

    @model_validator(mode="before")
    @classmethod
    def kinds_are_the_usual(cls, values: Any) -> Any:
        """Unless a section says otherwise."""
        return with_usual_kinds(values)

    @model_validator(mode="after")
    def base_model_knows_something(self) -> Self:
        if self.prm.init == "base" and self.model.name == "embedded":
            raise ValueError("prm.init: base needs a pretrained model.name; the embedded model is random before SFT")
        return self

    @model_validator(mode="after")
    def adapters_are_trained_by_adamw(self) -> Self:
        if not self.model.lora:
            return self
        trained: dict[str, Any] = {name: getattr(self, name) for name in ("sft", "prm", "inverse_prm", "improvement")}
        if muon := [name for name, section in trained.items() if section.optimizer == "muon"]:
            raise ValueError(
                f"model.lora: Muon is for whole matrices, and {', '.join(f'{name}.optimizer' for name in muon)} is "
                "muon: set it to adamw"
            )
        if self.improvement.kind == "trl":
            raise ValueError("model.lora: improvement.kind: trl trains all weights: set it to dpo, or lora to null")
        return self

    @model_validator(mode="after")
    def only_scratch_is_pretrained(self) -> Self:
        if self.pretraining.episodes and self.model.name != "embedded":
            raise ValueError(f"pretraining is for model.name: embedded; {self.model.name} is pretrained already")
        return self

    @model_validator(mode="after")
    def pairs_are_read_together(self) -> Self:
        if self.prm.loss == "relative" and self.dialogue.format != "append":
            raise ValueError("prm.loss: relative compares answers that are read together: dialogue.format: append")
        return self

    @model_validator(mode="after")
    def kinds_go_with_the_rest(self) -> Self:
        self.targets.check(self)
        self.improvement.check(self)
        return self

    @model_validator(mode="after")
    def explored_games_are_demonstrated(self) -> Self:
        if self.rollouts.expert_starts and self.environment.demonstrated < 1:
            raise ValueError(
                "rollouts.expert_starts begins where an expert was in the same game; with environment.demonstrated "
                "below 1 rollouts play other games than were demonstrated: set it to 1"
            )
        return self

    @model_validator(mode="after")
    def placement_is_told(self) -> Self:
        placement = self.rollouts.branch_placement
        absolute = self.improvement.reward == "prm" and self.prm.loss == "absolute"
        if placement in ("disagreement", "uncertainty") and not absolute:
            raise ValueError(
                f"rollouts.branch_placement: {placement} compares different states, whose values must be chances of "
                "success: improvement.reward: prm, prm.loss: absolute; spread asks the policy alone"
            )
        return self

    @model_validator(mode="after")
    def predicted_ends_are_valued(self) -> Self:
        if not self.evaluation.lookahead.worlds:
            return self
        if self.dialogue.format != "append" or not self.prm.reply_weight:
            raise ValueError(
                "evaluation.lookahead needs values behind replies: dialogue.format: append and prm.reply_weight above 0"
            )
        if self.improvement.reward != "prm" or self.prm.loss != "absolute":
            raise ValueError(
                "evaluation.lookahead compares different states: improvement.reward: prm and prm.loss: absolute"
            )
        return self

    @model_validator(mode="after")
    def splits_exist(self) -> Self:
        splits = kind_of(self.environment.kind).splits
        if unknown := [split for split in self.evaluation.splits if split not in splits]:
            raise ValueError(
                f"evaluation.splits: {self.environment.kind} has no {', '.join(unknown)}; there are: "
                f"{', '.join(splits)}"
            )
        return self

    @model_validator(mode="after")
    def promotion_is_told_by_what_is_played(self) -> Self:
        split, splits = self.promotion.split, self.evaluation.splits
        if split is not None and split not in splits:
            raise ValueError(f"promotion.split: {split} is not played; evaluation.splits: {', '.join(splits)}")
        if "best_of_n_loses" in self.promotion.hacking and "reward" not in self.evaluation.ranked_by:
            raise ValueError("promotion.hacking: best_of_n_loses needs evaluation.ranked_by: reward")
        if self.promotion.hacking and self.improvement.reward is None:
            raise ValueError(
                f"promotion.hacking: improvement.kind: {self.improvement.kind} trains no PRM to be exploited: leave it "
                "out"
            )
        return self

    @model_validator(mode="after")
    def it_begins_from_another(self) -> Self:
        if self.origin and self.origin.experiment == self.name:
            raise ValueError(f"from: {self.name} cannot begin from itself: name another experiment")
        return self

    @model_validator(mode="after")
    def splits_have_games(self) -> Self:
        counts = self.environment.counts
        if empty := [split for split in ("train", *self.evaluation.splits) if counts[split] == 0]:
            where = ", ".join("held_out_rooms" if split == "train_held_out" else split for split in empty)
            raise ValueError(f"training and evaluation.splits need tasks: set environment.{where} above 0")
        return self

    @model_validator(mode="after")
    def splits_have_enough_games(self) -> Self:
        asked, counts = self.evaluation.games or 0, self.environment.counts
        few = [f"environment.{split}: {n}" for split in self.evaluation.splits if (n := counts[split]) and n < asked]
        if few:
            raise ValueError(f"evaluation.games: {asked} asks for more of each split than there are: {', '.join(few)}")
        return self

    @model_validator(mode="after")
    def somebody_can_show_it(self) -> Self:
        expert, experts = self.demonstrations.expert, (*kind_of(self.environment.kind).experts, "llm")
        if expert is not None and expert not in experts:
            raise ValueError(
                f"demonstrations.expert: {expert} does not know {self.environment.kind}; there are: "
                f"{', '.join(experts)}"
            )
        return self

    @model_validator(mode="after")
    def environment_can_do_it(self) -> Self:
        kind = kind_of(self.environment.kind)
        if self.demonstrations.action_noise and not isinstance(kind, DrawsMistakes):
            raise ValueError(f"demonstrations.action_noise: {kind.name} knows no mistakes to make: set it to 0")
        if self.demonstrations.place_noise and not isinstance(kind, DrawsMistakenPlaces):
            raise ValueError(f"demonstrations.place_noise: {kind.name} knows no places to be mistaken: set it to 0")
        if self.demonstrations.likeliest_first and not isinstance(kind, OrdersSearch):
            raise ValueError(f"demonstrations.likeliest_first: {kind.name} knows no order: set it to 0")
        if self.pretraining.hindsight and not isinstance(kind, DrawsRandomEpisodes):
            raise ValueError(f"pretraining.hindsight: {kind.name} tells no episode under another task: set it to false")
        return self

    @model_validator(mode="after")
    def games_are_there_to_explore(self) -> Self:
        asked, most = self.rollouts.games, self._explorable
        if asked and most is not None and asked > most and "games" in self.rollouts.model_fields_set:
            raise ValueError(
                f"rollouts.games: {asked} asks for more than the {most} games that environment.train: "
                f"{self.environment.train} and environment.demonstrated: {self.environment.demonstrated:g} leave to "
                "explore: lower it, or null for all"
            )
        return self

    @model_validator(mode="after")
    def games_suffice_to_learn(self) -> Self:
        games, share = self.explored, self.targets.held_out_games
        if games is not None and (games < 2 or games * (1 - share) < 1):
            raise ValueError(
                f"rollouts explore {games} games, of which targets.held_out_games: {share:g} keeps at least one to "
                "measure with: raise environment.train or rollouts.games, or lower the share, so that one is learnt "
                "from"
            )
        return self

    @model_validator(mode="after")
    def gates_can_be_passed(self) -> Self:
        games, rollouts, gates = self.explored, self.rollouts, self.gates
        if games is None:
            return self
        branches = rollouts.branch_states * rollouts.branch_actions * rollouts.branch_continuations
        played = games * rollouts.per_game * (1 + branches)
        if gates.min_wins + gates.min_losses > played:
            raise ValueError(
                f"gates.min_wins: {gates.min_wins} and gates.min_losses: {gates.min_losses} ask for more episodes than "
                f"the {played} that rollouts play at most: lower them, or raise rollouts.games or rollouts.per_game"
            )
        return self

    @model_validator(mode="after")
    def actions_are_compared(self) -> Self:
        rollouts = self.rollouts
        alone = not (rollouts.branch_states and rollouts.branch_actions) and rollouts.per_game == 1
        if alone and self.prm.loss == "relative" and self.improvement.reward == "prm":
            raise ValueError(
                "prm.loss: relative learns from several actions tried in one state, and rollouts try one: set "
                "rollouts.branch_states and rollouts.branch_actions, or rollouts.per_game above 1"
            )
        return self

    @model_validator(mode="after")
    def answers_fit(self) -> Self:
        sizes = {
            "rollouts.max_new_tokens": self.rollouts.max_new_tokens,
            "world_model.max_reply_tokens": self.world_model.max_reply_tokens,
        }
        if self.model.name == "embedded" and (long := [n for n, size in sizes.items() if size >= self.model.context]):
            raise ValueError(f"{', '.join(long)}: no less than model.context: {self.model.context}; lower the former")
        return self

    @property
    def _explorable(self) -> int | None:
        """How many games rollouts could play; None where only the games on the disk tell."""
        train = self.environment.counts["train"] or None  # none at all is refused above
        share = self.environment.demonstrated
        if train is None or share == 1:
            return train
        return train - min(max(round(share * train), 1), train - 1) if train > 1 else 0

    @property
    def explored(self) -> int | None:
        """How many games rollouts play, as far as the settings tell."""
        return min((count for count in (self.rollouts.games, self._explorable) if count is not None), default=None)

    @property
    def wording(self) -> Wording:
        """How the environment is told to a language model."""
        return kind_of(self.environment.kind).wording
