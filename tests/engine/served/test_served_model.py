"""Which model is asked: what the environment must say, and what is never repeated of it."""

import pytest

from agentprm_dagster.engine.served.served_model import LlmError, ServedModel
from chat_servers import KEY

NO_SERVERS = (
    "gateway.example",
    "user:secret@gateway.example/v1",
    "ftp://gateway.example",
    "http://",
    "https:///v1",
    "http://:8000/v1",
    "http://gateway.example:secret/v1",
    "http://gateway.example:0/v1",
    "http://[secret/v1",
    " http://gateway.example/v1",
    "http://gateway\n/v1",
)


def test_the_environment_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPRM_LLM_MODEL", "gpt-4o")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with pytest.raises(LlmError, match="no language model to ask, OPENAI_BASE_URL and OPENAI_API_KEY not set: set"):
        ServedModel.from_environment()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example:8443/v1?token=secret")
    model = ServedModel.from_environment()
    assert (model.name, model.host) == ("gpt-4o", "gateway.example:8443")
    assert KEY not in repr(model)
    assert "secret" not in repr(model)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        *((url, "OPENAI_BASE_URL is not the URL of a server: set") for url in NO_SERVERS),
        ("https://user:secret@gateway.example/v1", "OPENAI_BASE_URL holds a user or a password, .*: take them out"),
        ("https://secret@gateway.example/v1", "OPENAI_BASE_URL holds a user or a password"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused_and_not_repeated(url: str, words: str) -> None:
    with pytest.raises(LlmError, match=words) as failed:
        ServedModel("gpt-4o", url, KEY)
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("key", [KEY + "\n", f"{KEY} {KEY}", "clé-secrète"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(LlmError, match="OPENAI_API_KEY holds a blank, a line break or a letter beyond ASCII") as failed:
        ServedModel("gpt-4o", "https://gateway.example/v1", key)
    assert key.strip() not in str(failed.value)
