"""The records that stages hand to each other: observations, turns, episodes.

The setting is the paper's turn-level decision process (section 2.1): a state is everything observed and done so
far, an action is one whole answer (REASON and ACTION), and the outcome reward arrives at the end.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Observation:
    """What the environment answers to a reset or a command."""

    text: str
    """The feedback, byte for byte as the stock engine writes it."""
    admissible_commands: tuple[str, ...] | None
    """Every command the engine accepts in this state, sorted as strings; None where it does not say."""
    reward: float
    """How far the task is fulfilled, in [0, 1]."""
    done: bool
    """The game accepts no further step (a step cap is the caller's, not the engine's)."""
    truncated: bool = False
    """Where it is done: whether the environment broke it off, by a limit of its own, and it did not end by itself."""

    def __post_init__(self) -> None:
        """ValueError: the reward is not in [0, 1]."""
        if not 0 <= self.reward <= 1:
            raise ValueError(f"expected a reward in [0, 1] from the environment, got {self.reward!r}")

    @property
    def won(self) -> bool:
        """Whether the task is fulfilled."""
        return self.reward == 1

    @property
    def commands(self) -> tuple[str, ...]:
        """The admissible commands; none where the environment does not say."""
        return self.admissible_commands or ()

    def admits(self, command: str) -> bool:
        """Whether a command is admissible; any is where the environment does not say."""
        return self.admissible_commands is None or command in self.admissible_commands


@dataclass(frozen=True, slots=True)
class Response:
    """One whole answer of an agent."""

    text: str
    """As it was written, REASON and ACTION included."""
    tokens: tuple[int, ...] = ()
    """The ids that were drawn, without the end token; empty where no model here drew it.

    They are kept because a text may read as other tokens than it was drawn as. Their tokenizer is the one that all
    models of an experiment share.
    """
    cut: bool = False
    """Whether it was cut at the token limit, before its end token was drawn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One decision of the agent and what it led to."""

    reason: str
    """The agent's stated reason; empty when the answer held none."""
    action: str
    """The command sent to the environment; empty when the answer held none."""
    observation: str
    """The environment's answer to the command."""
    response: str
    """The agent's answer as it was written, REASON and ACTION included."""
    parsed: bool = True
    """Whether the answer had the agreed form."""
    admissible: bool = True
    """Whether the command was admissible in the state it was sent in."""
    candidates: tuple[str, ...] = ()
    """The admissible commands the agent was shown; kept only where the dialogue lists them."""
    tokens: tuple[int, ...] = ()
    """The answer's ids (`Response.tokens`)."""


@dataclass(frozen=True, slots=True)
class State:
    """Where an episode stands before an answer: all that was observed and done so far."""

    episode_id: str
    first_observation: str
    turns: tuple[Turn, ...]
    observation: Observation
    """What was seen last."""

    def after(self, turn: Turn, observation: Observation) -> "State":
        """The state that a turn leads to."""
        return replace(self, turns=(*self.turns, turn), observation=observation)


@dataclass(frozen=True, slots=True)
class Episode:
    """One game played, or one continuation of another episode from a state along it."""

    episode_id: str
    """Unique within its rollout set."""
    game: str
    """The game's id (`GameRef.id`)."""
    task_type: str
    """The kind of its task, as its environment names it."""
    first_observation: str
    """The room and the task, as the game shows them first."""
    turns: tuple[Turn, ...]
    """All decisions from the game's start, inherited ones included."""
    reward: float
    """How far the task was fulfilled in the end, in [0, 1]."""
    start: int = 0
    """How many leading turns are inherited: `parent`'s or, where there is none, an expert's."""
    parent: str | None = None
    """The episode of the same rollout set that this one branches off."""
    truncated: bool = False
    """Whether it was broken off, by a limit, by patience or because nobody answered, and not ended by the game.

    It is the environment's own signal that no state follows, and not the reward. ALFWorld's games end only when they
    are won, so that there it is the opposite of `won`: who reads it without an outcome, as InversePRM does, may use it
    to know which turns have a next one or end the game, and for nothing else.
    """

    @property
    def won(self) -> bool:
        """Whether the task was fulfilled."""
        return self.reward == 1

    @property
    def own_turns(self) -> tuple[Turn, ...]:
        """The decisions this episode took itself."""
        return self.turns[self.start :]
