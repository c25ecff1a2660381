"""An experiment as it is to be computed, and what a stage of it takes."""

from dataclasses import dataclass

from agentprm_dagster.config import Experiment
from agentprm_dagster.config.compute import TrainingCompute
from agentprm_dagster.config.kinds import AnyEngine
from agentprm_dagster.engine.settings import Model
from agentprm_dagster.planning.assumptions import Assumptions
from agentprm_dagster.planning.memory import Dtype, Memory, Step
from agentprm_dagster.planning.shapes import Shape
from agentprm_dagster.planning.tokens import Dialogues


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """An experiment, its model's size, and where it is computed."""

    experiment: Experiment
    shape: Shape
    assumed: Assumptions
    engine: AnyEngine
    training: TrainingCompute
    gpus: int = 1

    @property
    def model(self) -> Model:
        """The experiment's."""
        return self.experiment.model

    @property
    def dtype(self) -> Dtype:
        """Of products, and of what is stored."""
        return self.model.dtype

    @property
    def lora_rank(self) -> int | None:
        """The rank of its adapters, if it has some."""
        return self.model.lora.rank if self.model.lora else None

    @property
    def on_gpu(self) -> bool:
        """Whether trainings compute on a GPU: not the small embedded model by itself."""
        named = self.training.device
        return named not in ("cpu", "mps") and not (named == "auto" and self.shape.policy < 5_000_000)

    def talk(self, most: int | None = None) -> Dialogues:
        """Its dialogues, with answers of at most so many tokens."""
        return Dialogues.of(self.experiment.dialogue.format, self.assumed, most)

    @property
    def explored(self) -> float:
        """Games of an iteration's rollouts."""
        return self.experiment.explored or self.assumed.games

    @property
    def turns(self) -> float:
        """Decisions of an episode of its rollouts."""
        return min(self.assumed.turns, self.experiment.rollouts.max_steps)

    @property
    def demonstrations(self) -> int:
        """Episodes that are learnt from, where all are won; of copies, as many as there may be."""
        shown = self.experiment.demonstrations
        return shown.episodes * max(shown.likeliest_first, 1)

    @property
    def expert_turns(self) -> float:
        """Decisions of a demonstration."""
        return min(self.assumed.expert_turns, self.experiment.demonstrations.max_steps)

    def rate(self, share: float) -> float:
        """Operations a second of all devices that train together, at a share of their peak."""
        if not self.on_gpu:
            return self.assumed.cpu
        peaks = {"bfloat16": self.assumed.peak_bfloat16, "float32": self.assumed.peak_float32}
        return self.gpus * share * peaks[self.dtype]

    def reading(self, tokens: float) -> float:
        """Seconds to read tokens there."""
        return 2 * self.shape.policy * tokens / self.rate(self.assumed.prefill)

    def drawing(self, tokens: float) -> float:
        """Seconds to draw tokens there."""
        return 2 * self.shape.policy * tokens / self.rate(self.assumed.decode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a stage takes."""

    name: str
    seconds: float
    parameters: int = 0
    """Of the model that is trained or plays; 0 where there is none."""
    trained: float = 0
    """Tokens that are trained on."""
    read: float = 0
    """Tokens that are read besides: prompts that are played or scored."""
    drawn: float = 0
    """Tokens that are drawn."""
    memory: Memory | None = None
    """The most on one GPU; None where no GPU is used."""
    on: str = "CPU"
    step: Step | None = None
    """The training step that the memory is of, where it is one."""
