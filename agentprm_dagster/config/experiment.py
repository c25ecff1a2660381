"""All settings of an experiment together; what does not go together is refused."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from agentprm_dagster.config.data import (
    Demonstrations,
    Dialogue,
    Evaluation,
    Games,
    Gates,
    Pretraining,
    Rollouts,
    Targets,
)
from agentprm_dagster.config.llm import Llm
from agentprm_dagster.config.models import Improvement, InversePrm, Model, Prm, Sft, Shaping, WorldModel
from agentprm_dagster.config.section import NotNegative, Positive, Section


class Experiment(Section):
    """Everything that decides what an experiment makes."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    description: str = ""
    seed: NotNegative = 0
    iterations: Positive = 2
    games: Games = Games()
    demonstrations: Demonstrations = Demonstrations()
    dialogue: Dialogue = Dialogue()
    model: Model = Model()
    pretraining: Pretraining = Pretraining()
    sft: Sft = Sft()
    rollouts: Rollouts = Rollouts()
    targets: Targets = Targets()
    shaping: Shaping = Shaping()
    prm: Prm = Prm()
    inverse_prm: InversePrm = InversePrm()
    world_model: WorldModel = WorldModel()
    improvement: Improvement = Improvement()
    evaluation: Evaluation = Evaluation()
    llm: Llm = Llm()
    gates: Gates = Gates()

    @model_validator(mode="after")
    def base_model_knows_something(self) -> Self:
        if self.prm.init == "base" and self.model.name == "embedded":
            raise ValueError("prm.init: base needs a pretrained model.name; the embedded model is random before SFT")
        return self

    @model_validator(mode="after")
    def only_scratch_is_pretrained(self) -> Self:
        if self.pretraining.episodes and self.model.name != "embedded":
            raise ValueError(f"pretraining is for model.name: embedded; {self.model.name} is pretrained already")
        return self

    @model_validator(mode="after")
    def replies_are_read(self) -> Self:
        if self.improvement.rank_by == "reply" and (self.dialogue.format != "append" or not self.prm.reply_weight):
            raise ValueError(
                "improvement.rank_by: reply needs values behind replies: dialogue.format: append and prm.reply_weight "
                "above 0"
            )
        return self

    @model_validator(mode="after")
    def pairs_are_read_together(self) -> Self:
        if self.prm.loss == "relative" and self.dialogue.format != "append":
            raise ValueError("prm.loss: relative compares answers that are read together: dialogue.format: append")
        return self

    @model_validator(mode="after")
    def states_have_values(self) -> Self:
        if self.targets.shaped and self.dialogue.format != "append":
            raise ValueError("targets.shaped reads values where states end: dialogue.format: append")
        if self.targets.shaped and self.targets.weighting != "return_to_go":
            raise ValueError("targets.shaped blends returns and advantages of one discount: weighting: return_to_go")
        return self

    @model_validator(mode="after")
    def inverse_prm_can_learn(self) -> Self:
        if self.improvement.reward == "inverse_prm" and self.improvement.rank_by == "reply":
            raise ValueError("improvement.rank_by: reply needs values behind replies; improvement.reward: prm has them")
        return self

    @model_validator(mode="after")
    def explored_games_are_demonstrated(self) -> Self:
        if self.rollouts.expert_starts and self.games.demonstrated < 1:
            raise ValueError(
                "rollouts.expert_starts begins where an expert was in the same game; with games.demonstrated below 1 "
                "rollouts play other games than were demonstrated: set it to 1"
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
    def panel_can_measure(self) -> Self:
        panel = self.improvement.panel
        of_returns = self.improvement.reward == "prm" and self.prm.loss == "absolute" and not self.targets.shaped
        if panel.every and self.improvement.games == "held_out":
            raise ValueError("improvement.panel plays the games held out, no step may train on them: games: all")
        if (panel.tripwire == "calibration" or panel.committee) and not of_returns:
            raise ValueError(
                "improvement.panel: calibration and committee are for PRMs of returns: improvement.reward: prm, "
                "prm.loss: absolute, targets.shaped: false"
            )
        return self

    @model_validator(mode="after")
    def imagined_ends_are_valued(self) -> Self:
        if not self.evaluation.foresight.worlds:
            return self
        if self.dialogue.format != "append" or not self.prm.reply_weight:
            raise ValueError(
                "evaluation.foresight needs values behind replies: dialogue.format: append and prm.reply_weight above 0"
            )
        if self.improvement.reward != "prm" or self.prm.loss != "absolute":
            raise ValueError(
                "evaluation.foresight compares different states: improvement.reward: prm and prm.loss: absolute"
            )
        return self

    @model_validator(mode="after")
    def splits_exist(self) -> Self:
        if "train_held_out" in self.evaluation.splits and not self.games.held_out_rooms:
            raise ValueError("evaluation.splits names train_held_out: set games.held_out_rooms above 0 to make it")
        return self

    @model_validator(mode="after")
    def splits_have_games(self) -> Self:
        counts = {"train": self.games.train, **self._evaluated()}
        nothing = (0, None) if self.games.source == "generated" else (0,)
        if empty := [f"games.{split}" for split, count in counts.items() if count in nothing]:
            raise ValueError(f"training and evaluation.splits need {', '.join(empty)}: set how many games, above 0")
        return self

    @model_validator(mode="after")
    def splits_have_enough_games(self) -> Self:
        asked = self.evaluation.games or 0
        few = [f"games.{split}: {n}" for split, n in self._evaluated().items() if n is not None and n < asked]
        if few:
            raise ValueError(f"evaluation.games: {asked} asks for more of each split than there are: {', '.join(few)}")
        return self

    def _evaluated(self) -> dict[str, int | None]:
        """How many games there are of the splits with a number of their own that evaluation names; None: all."""
        counts = {"valid_seen": self.games.valid_seen, "valid_unseen": self.games.valid_unseen}
        return {split: count for split, count in counts.items() if split in self.evaluation.splits}
