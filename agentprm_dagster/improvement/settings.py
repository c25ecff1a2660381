"""What the settings of every kind of policy improvement say."""

from abc import abstractmethod
from typing import Any, Literal

from agentprm_dagster.section import (
    Epochs,
    LearningRate,
    Positive,
    PositiveFloat,
    PositiveTemperature,
    Section,
    Tokens,
)

WARMUP = 0.1
"""Share of the steps in which the learning rate rises, of all kinds."""

Reward = Literal["prm", "inverse_prm"]
"""The reward models: the PRM of outcomes (AgentPRM), or the one of demonstrations (InversePRM)."""


class ImprovementSettings(Section):
    """How a policy is improved; each kind adds its own settings, among them `kind: Literal[...]`."""

    kind: str
    reward: Reward | None = None
    """The reward model that answers are ranked by, also where policies are evaluated; null where none is trained."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: LearningRate = 3e-4

    @property
    def reads(self) -> tuple[str, ...]:
        """The assets of the same iteration that are read besides the policy and the rollouts."""
        return ()

    @property
    def sections(self) -> tuple[str, ...]:
        """The settings of an experiment that are read besides these: sections, or single values by dotted names."""
        return ("dialogue", "gates.max_kl")

    def check(self, experiment: Any) -> None:
        """ValueError where they do not go together with an experiment's other settings."""


class AgainstReward(ImprovementSettings):
    """Policy improvement against a reward model (Eq. 3), on answers that the policy draws meanwhile."""

    reward: Reward = "prm"
    """What answers are ranked by."""
    rank_by: Literal["answer", "reply"] = "answer"
    """Candidates are ranked by Q(s, a), or by what the PRM says behind the environment's reply to each, played from a
    snapshot of the state: beyond the paper, and only where the environment has snapshots. The PRM's gate judges it as
    it is read here."""
    steps: Positive = 150
    episodes_per_step: Positive = 24
    """Episodes of whose states some are drawn for a step: one that sees few of them learns their peculiarities. Where
    states are read one by one (`dialogue.format: restated`, TRL) a step has as many states as these have at most."""
    states_per_episode: Positive = 8
    """Most states drawn from one of them."""
    temperature: PositiveTemperature = 1.0
    """At which answers are drawn; the KL per answer is that of the policy at 1 all the same."""
    max_new_tokens: Tokens = 16
    beta: PositiveFloat = 1.0
    """Weight of the KL to pi_(i-1) in Eq. 3."""

    @property
    def most_states_per_step(self) -> int:
        """States of a step whose episodes all have enough of them."""
        return self.episodes_per_step * self.states_per_episode

    @property
    def reads(self) -> tuple[str, ...]:
        """See the base."""
        return (self.reward,)

    def check(self, experiment: Any) -> None:
        """See the base."""
        if self.rank_by == "reply" and (experiment.dialogue.format != "append" or not experiment.prm.reply_weight):
            raise ValueError(
                "improvement.rank_by: reply needs values behind replies: dialogue.format: append and prm.reply_weight "
                "above 0"
            )
        if self.rank_by == "reply" and self.reward == "inverse_prm":
            raise ValueError("improvement.rank_by: reply needs values behind replies; improvement.reward: prm has them")
        if experiment.model.name == "embedded" and self.max_new_tokens >= experiment.model.context:
            raise ValueError(
                f"improvement.max_new_tokens: no less than model.context: {experiment.model.context}; lower the former"
            )


class FromRollouts(ImprovementSettings):
    """Policy improvement on the rollouts as they are: no PRM is read, and no answer is drawn to learn from."""

    reward: None = None
    epochs: Epochs = 1
    """How often what is learnt from is read."""

    @property
    def sections(self) -> tuple[str, ...]:
        """See the base; answers are drawn to measure the KL, as long as those of rollouts."""
        return (*super().sections, "rollouts.max_new_tokens")

    @property
    def compares(self) -> bool:
        """Whether pi_(i-1) reads what is learnt from, too."""
        return True

    @property
    def conversations_per_game(self) -> int | None:
        """Most episodes of a game that are read from their start; None: all, each with its branches as one tree."""
        return None

    @property
    @abstractmethod
    def conversations_per_step(self) -> int:
        """Most of them in a step."""
