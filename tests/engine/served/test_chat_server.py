"""Asking a real server: what it answers, what is tried again, what is told when nothing helps."""

import json
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from agentprm_dagster.config import Llm
from agentprm_dagster.engine.served.chat_server import ChatServer
from agentprm_dagster.engine.served.replies import Refused, Reply
from agentprm_dagster.engine.served.served_model import SHOWN, LlmError, ServedModel
from agentprm_dagster.episodes.usage import Usage
from chat_servers import KEY, LOOK, Fault, Proxy, Sent, completion, free_port, proxy_before

GREEDY = Llm(temperature=0, max_new_tokens=40, retries=0)
RETRIED = GREEDY.model_copy(update={"retries": 2})
HELLO = [{"role": "user", "content": "You are in the middle of a room."}]


servers: list[ChatServer] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Closes what a test has opened."""
    yield
    while servers:
        servers.pop().close()


def opened(model: ServedModel, settings: Llm, *wasted: Callable[[Usage], None]) -> ChatServer:
    servers.append(ChatServer(model, settings, *wasted))
    return servers[-1]


def server(settings: Llm = GREEDY) -> ChatServer:
    return opened(ServedModel.from_environment(), settings)


@contextmanager
def canned(*answers: Fault) -> Iterator[Callable[..., ChatServer]]:
    """What asks a server that gives these answers in turn, and then the last one."""
    left = deque(answers)
    with proxy_before(lambda question: left.popleft() if len(left) > 1 else left[0]) as proxy:
        yield lambda settings, *wasted, key=KEY: opened(ServedModel("it", proxy.url, key), settings, *wasted)
        assert proxy.credentials <= {f"Bearer {key}" for key in (KEY, KEY.replace("-", "/"), "none", "1")}


def test_it_answers_and_counts(proxy: Proxy) -> None:
    short = server(GREEDY.model_copy(update={"max_new_tokens": 3})).ask(HELLO, 0.0)
    assert short.tokens_drawn == 3
    assert short.tokens_read > 3
    again = server(GREEDY.model_copy(update={"request": {"seed": 7}})).ask(HELLO, None)
    assert again.tokens_read == short.tokens_read
    asked, seeded = proxy.questions
    assert (asked["temperature"], asked["max_tokens"]) == (0.0, 3)
    assert seeded["seed"] == 7
    assert "temperature" not in seeded


def test_a_busy_or_failing_server_is_asked_again(proxy: Proxy) -> None:
    proxy.faults.extend([503, 429, 500])
    assert server(GREEDY.model_copy(update={"retries": 3})).ask(HELLO, 0.0).text
    assert len(proxy.questions) == 4
    proxy.faults.extend([503] * 3)
    with pytest.raises(LlmError, match=r"127\.0\.0\.1:\d+ answered HTTP 503") as failed:
        server(GREEDY.model_copy(update={"retries": 2})).ask(HELLO, 0.0)
    assert len(proxy.questions) == 7
    assert KEY not in str(failed.value)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (401, r"refused the key .*\(HTTP 401\): see to OPENAI_API_KEY"),
        (404, r"answered HTTP 404, not a completion by .*no, Bearer \*\*\*"),
        (Sent(json.dumps({"error": {"code": 403}}).encode()), r"refused the key .*\(HTTP 403\)"),
    ],
)
def test_what_does_not_help_to_ask_again_is_told(proxy: Proxy, fault: Fault, words: str) -> None:
    proxy.faults.append(fault)
    with pytest.raises(LlmError, match=words) as failed:
        server(RETRIED).ask(HELLO, 0.0)
    assert len(proxy.questions) == 1
    assert KEY not in str(failed.value)
    assert failed.value.__cause__ is failed.value.__context__ is None, "the client's own error may repeat the key"


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("in_a_200", [False, True])
def test_a_prompt_that_is_refused_for_good_is_asked_once(proxy: Proxy, status: int, in_a_200: bool) -> None:
    body = json.dumps({"error": {"message": "maximum context length is 512 tokens", "code": status}}).encode()
    proxy.faults.append(Sent(body, 200 if in_a_200 else status))
    with pytest.raises(Refused, match=rf"answered HTTP {status}, not a completion by .*maximum context length is 512"):
        server(RETRIED).ask(HELLO, 0.0)
    assert len(proxy.questions) == 1


@pytest.mark.parametrize(
    "words", ["API key not valid.", "Your credit balance is too low", "billing_hard_limit_reached"]
)
def test_an_account_that_is_refused_is_no_refused_prompt(proxy: Proxy, words: str) -> None:
    proxy.faults.append(Sent(json.dumps({"error": {"message": words}}).encode(), 400))
    with pytest.raises(LlmError, match="answered HTTP 400") as failed:
        server(RETRIED).ask(HELLO, 0.0)
    assert not isinstance(failed.value, Refused)


ODD = {
    "no JSON": b"<html>Welcome</html>",
    "cut JSON": completion(LOOK)[:40],
    "text": b'"Welcome"',
    "no choices": b'{"choices": []}',
    "no message": completion(LOOK).replace(b'"message"', b'"delta"'),
    "no usage": completion(LOOK, usage=None),
    "no count": completion(LOOK, usage=(100, None)),
    "half a letter": completion("\ud83d"),
    "an error": b'{"error": {"message": "upstream overloaded", "code": 502}}',
    "an error of no known kind": b'{"error": "upstream overloaded"}',
    "nothing": Sent(b""),
    "no content": Sent(b"", 204),
    "connection cut": Sent(completion(LOOK), how="cut"),
}
"""Answers that are none, and that the next try may mend."""


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_answer_that_is_none_is_asked_for_again(odd: Fault) -> None:
    with canned(odd, odd, completion(LOOK)) as asked:
        assert asked(RETRIED).ask(HELLO, 0.0) == Reply(LOOK, 100, 10, "stop")
    with canned(odd, odd, odd) as asked, pytest.raises(LlmError, match=r"expected a completion|broke off its answer"):
        asked(GREEDY.model_copy(update={"retries": 1})).ask(HELLO, 0.0)


def test_an_answer_that_stays_wrong_names_the_field() -> None:
    words = (
        r"expected a completion and its `usage` from 127.*got usage\.completion_tokens: .* \(1 retries\): .* right\?"
    )
    odd = completion(LOOK, usage=(100, None))
    with canned(odd, odd) as asked, pytest.raises(LlmError, match=words):
        asked(GREEDY.model_copy(update={"retries": 1})).ask(HELLO, 0.0)


def test_what_an_answer_took_that_is_none_is_told() -> None:
    wasted: list[Usage] = []
    with canned(completion("\ud83d"), b"", completion(None, usage=(7, None)), completion(LOOK)) as asked:
        asked(GREEDY.model_copy(update={"retries": 3}), wasted.append).ask(HELLO, 0.0)
    assert wasted == [Usage(100, 10), Usage(), Usage()]


@pytest.mark.parametrize("slow", ["hang", Sent(completion(LOOK), how="dripping")])
def test_the_timeout_is_one_of_the_whole_request(slow: Fault) -> None:
    words = r"did not answer within 0\.3 s \(1 retries\): raise llm\.timeout"
    with canned(slow, slow, completion(LOOK)) as asked:
        short = asked(GREEDY.model_copy(update={"timeout": 0.3, "retries": 1}))
        with pytest.raises(LlmError, match=words):
            short.ask(HELLO, 0.0)
        assert short.ask(HELLO, 0.0).text == LOOK, "and the next question is asked as ever"


BASIC = b64encode(f"user:{KEY}".encode()).decode()


@pytest.mark.parametrize(
    "echo",
    [
        f"Bearer {KEY}",
        f"{'-' * (SHOWN - 12)}{KEY}",
        KEY[4:],
        quote(KEY.replace("-", "/"), safe=""),
        BASIC,
        "\n".join(KEY[i : i + 9] for i in range(0, len(KEY), 9)),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_no_part_of_the_key_is_repeated(echo: str, status: int) -> None:
    key = KEY.replace("-", "/") if "%2F" in echo else KEY
    with canned(*[Sent(f"Who is {echo}?".encode(), status)] * 2) as asked, pytest.raises(LlmError) as failed:
        asked(GREEDY, key=key).ask(HELLO, 0.0)
    shown = str(failed.value)
    spelt = (key, quote(key, safe=""), BASIC[8:])
    assert not any(form[i : i + 8] in shown for form in spelt for i in range(len(form) - 7))


def test_an_answer_that_repeats_the_key_is_kept_without_it() -> None:
    with canned(completion(f"REASON: {KEY}\nACTION: look {KEY[3:]}")) as asked:
        assert asked(GREEDY).ask(HELLO, 0.0).text == "REASON: ***\nACTION: look ***"
    with canned(completion("REASON: none of 1 is here.\nACTION: go to desk 1")) as asked:
        for key in ("none", "1"):
            assert "none of 1" in asked(GREEDY, key=key).ask(HELLO, 0.0).text, "a word in place of a key is no secret"


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(LlmError, match=r"could not be reached \(0 retries\): is the server there, and OPENAI_BASE_URL"):
        server().ask(HELLO, 0.0)
