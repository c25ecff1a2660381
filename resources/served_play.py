"""A served model plays games: every question asked once, within a budget, and its answer kept in a journal."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import count
from pathlib import Path

from agentprm_dagster.agents.react import Ask, ReAct, without_thinking
from agentprm_dagster.agents.side_by_side import play_side_by_side
from agentprm_dagster.engine.served.budget import Budget
from agentprm_dagster.engine.served.chat_server import ChatServer
from agentprm_dagster.engine.served.replies import Refusal, Refused, Reply, read_record, tokens_kept
from agentprm_dagster.engine.served.served_model import LlmError, ServedModel
from agentprm_dagster.engine.served.settings import Llm
from agentprm_dagster.episodes.dialogue import Message, Prompt
from agentprm_dagster.episodes.parsing import parse_answer
from agentprm_dagster.episodes.records import Episode
from agentprm_dagster.episodes.stage import Monitor
from agentprm_dagster.episodes.usage import Asked
from agentprm_dagster.provenance.canonical import digest_of
from agentprm_dagster.provenance.journal import Journal, open_journal
from agentprm_dagster.rollouts.rollout import Parse, Start


def play_served(
    model: ServedModel,
    settings: Llm,
    journal_path: Path,
    starts: Sequence[Start],
    *,
    prompt: Prompt,
    max_steps: int,
    monitor: Monitor,
    parse: Parse = parse_answer,
    without: Callable[[str], str] = without_thinking,
) -> tuple[list[Episode], Asked]:
    """Plays every start, several at a time, and goes on from what the journal holds.

    `prompt` writes the questions; `without` takes off an answer what is no part of it, and `parse` reads the rest.

    An episode whose prompt the server refuses for good ends there, and the refusal is kept as answers are. Where
    most episodes are refused their first prompt it is not for what the prompts say: that is an error, and those
    are asked again.

    Raises:
        LlmError: the server failed or refused most games, or the budget is spent; the answers so far are kept.
        LockedError: another process is playing the same.
    """
    budget = Budget(settings)
    with (
        open_journal(journal_path, journal_path.stem, read_record) as journal,
        closing(ChatServer(model, settings, budget.waste)) as server,
    ):
        desk = _Desk(journal, budget, server)
        try:
            played = play_side_by_side(
                lambda start: ReAct(desk.asked_by(start.episode_id), prompt, settings.temperature, without=without),
                starts,
                at_once=settings.concurrency,
                max_steps=max_steps,
                stop=desk.budget.close,
                monitor=monitor,
                parse=parse,
            )
            _check_refusals(*played)
        except LlmError as error:
            kept = f"{len(journal.records)} answers are kept in {journal_path}; the same command goes on from them"
            raise type(error)(f"{error}. {kept}") from None
        desk.keep_refusals()
    return played


def _check_refusals(episodes: Sequence[Episode], asked: Asked) -> None:
    refused = sum(not episode.turns for episode in episodes)
    if 2 * refused > len(episodes):
        raise LlmError(
            f"the first prompt of {refused} of {len(episodes)} episodes was refused, which speaks against the settings "
            f"of `llm` or of the server and not against the prompts: {asked.refusals[0]}"
        )


class _Desk:
    """Answers a question from the journal if it was asked before, else from the server."""

    def __init__(self, journal: Journal[tuple[str, Reply | Refusal]], budget: Budget, server: ChatServer) -> None:
        self.budget = budget
        self._journal, self._server = journal, server
        self._refusals: dict[str, Refusal] = {}
        self._known = dict(journal.records)
        for answer in self._known.values():
            if isinstance(answer, Reply):
                budget.pay(answer)
        for line in journal.set_aside:
            budget.pay(tokens_kept(line))

    def asked_by(self, episode_id: str) -> Ask:
        """How an episode asks; the same words asked again in it, or in another, are another question."""
        numbers = count()

        def ask(messages: Sequence[Message], temperature: float | None) -> Reply:
            question = digest_of([episode_id, next(numbers), list(messages), temperature])
            answer = self._known.get(question) or self._ask(question, messages, temperature)
            if isinstance(answer, Refusal):
                raise Refused(answer.refused)
            return answer

        return ask

    def keep_refusals(self) -> None:
        """Writes down what was refused, so that it is not asked again."""
        for question, refusal in self._refusals.items():
            self._journal.append({"question": question, **asdict(refusal)})

    def _ask(self, question: str, messages: Sequence[Message], temperature: float | None) -> Reply | Refusal:
        with self.budget.room(messages):
            try:
                reply = self._server.ask(messages, temperature)
            except Refused as refused:
                self._refusals[question] = Refusal(str(refused))
                return self._refusals[question]
            self._journal.append({"question": question, **asdict(reply)})
            self.budget.pay(reply)
        return reply
