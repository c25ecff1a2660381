"""Settings of the models and of how they are trained."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agentprm_dagster.section import (
    AtOnce,
    Epochs,
    HeadTraining,
    LearningRate,
    Positive,
    Probability,
    Section,
    Tokens,
    Weight,
)

MOST_WEIGHTS = 10**9
"""What the embedded model may have: its weights, gradients and moments then take 16 GB."""


class Model(Section):
    """The language model that becomes the policy and, with a scalar head, the PRM."""

    name: Annotated[str, Field(min_length=1, max_length=1000)] = "embedded"
    """`embedded` builds a small Llama from the sizes below; `smollm2` is SmolLM2-135M; else a hub name or a path of one
    of the architectures in docs/models.md."""
    revision: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Commit, tag or branch of a hub model; null is what its main branch is when it is fetched."""
    hidden_size: Annotated[int, Field(gt=0, le=16_384)] = 128
    layers: Annotated[int, Field(gt=0, le=256)] = 2
    heads: Annotated[int, Field(gt=0, le=256)] = 8
    """Many narrow ones: with few, SFT from scratch more often fails to learn whether what is looked for is here."""
    kv_heads: Annotated[int, Field(gt=0, le=256)] = 1
    intermediate_size: Annotated[int, Field(gt=0, le=65_536)] = 320
    context: Annotated[int, Field(ge=256, le=2**20)] = 2048
    """Longest conversation in tokens (embedded model)."""

    @model_validator(mode="after")
    def heads_divide(self) -> Self:
        if self.hidden_size % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of heads {self.heads}, and heads of kv_heads "
                f"{self.kv_heads}: attention splits the width evenly"
            )
        if self.hidden_size // self.heads % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} over heads {self.heads} is {self.hidden_size // self.heads}: rotary "
                "positions turn pairs of numbers, so that it must be even"
            )
        return self

    @model_validator(mode="after")
    def fits(self) -> Self:
        if self.name != "embedded":
            return self
        attention = 2 * self.hidden_size**2 * (1 + self.kv_heads / self.heads)
        weights = self.layers * (attention + 3 * self.hidden_size * self.intermediate_size)
        if weights > MOST_WEIGHTS:
            raise ValueError(
                f"these sizes make a model of {weights:.1e} weights; at most {MOST_WEIGHTS:.0e} are built from "
                "scratch: lower layers, hidden_size or intermediate_size"
            )
        return self

    @model_validator(mode="after")
    def revisions_are_of_the_hub(self) -> Self:
        if self.revision and (self.name in ("embedded", "smollm2") or self.name.startswith(("/", ".", "~"))):
            raise ValueError(f"revision {self.revision!r} is a hub model's, and name is {self.name}: leave it out")
        return self


class Sft(Section):
    """Supervised fine-tuning on the demonstrations (the paper's pi_0)."""

    epochs: Epochs = 3
    optimizer: Literal["adamw", "muon"] = "muon"
    """Muon suits a small model trained from scratch, AdamW a pretrained one."""
    learning_rate: LearningRate = 4e-3
    warmup_ratio: Probability = 0.05
    batch_episodes: Positive = 8
    weight_decay: Weight = 0.01


class Prm(HeadTraining):
    """The process reward model (Eq. 2)."""

    init: Literal["policy", "base", "previous"] = "policy"
    """Where the trunk starts: the behaviour policy, the untuned base model, or the PRM of the iteration before."""
    loss: Literal["absolute", "relative"] = "absolute"
    """`absolute`: Eq. 2. `relative`: Bradley-Terry on pairs of actions tried in one state (section 4 of the paper);
    values are then known up to what their state adds, and states where one action was tried are not learnt from."""
    margin: Probability = 0.0
    """Least distance of the targets of such a pair; 0 takes all that differ."""
    pairwise_weight: Weight = 1.0
    """Weight of the pairwise term on states with several tried actions; 0 is the paper's soft BCE alone."""
    branch_turns: Positive = 1
    """How many of a branch's own turns are read: the first is what it was played for."""
    reply_weight: Weight = 1.0
    """Weight of the value read again behind the environment's reply (`append` dialogues); 0 reads answers alone."""
    bootstrap: Probability = 0.7
    """Share of that second reading in the first one's target at the end of training; 0 is Eq. 1's target alone."""


class InversePrm(HeadTraining):
    """The process reward model learnt from demonstrations, no outcome read (section 3 of the paper, Eqs. 6 to 10)."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Discount between Q(s, a) and Q(s', a') in the reward (Eq. 8)."""
    draws: AtOnce = 2
    """Answers a' drawn from the current policy in every state s' of the expert and of past learners, over which
    Q(s', a') is averaged; in its own episodes a' is what it answered."""
    branches: bool = False
    """Whether the first turns of the current rollouts' branches are learners' too: actions drawn at
    `rollouts.branch_temperature`, so that the expert is told also from what the policy seldom does."""


class WorldModel(HeadTraining):
    """The model of what the environment replies (section 4.3 of the paper), trained where `evaluation.foresight` uses
    it."""

    learning_rate: LearningRate = 2e-3
    batch_tokens: Positive = 4096
    max_reply_tokens: Tokens = 96
    """Longest reply that is imagined."""
