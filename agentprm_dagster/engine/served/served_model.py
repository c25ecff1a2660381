"""Which language model is asked: its name, its server and its key, which is never shown."""

from dataclasses import dataclass, field
from os import environ
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from agentprm_dagster.masking import PART, masked

MODEL, URL, KEY = "AGENTPRM_LLM_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY"

REMEDY = (
    f"set {URL} (https://api.openai.com/v1, http://127.0.0.1:8000/v1), {KEY} (any word where a server asks for none) "
    f"and {MODEL} (its name there)"
)

SHOWN = 300
"""How many characters of a server's own words an error repeats."""


class LlmError(RuntimeError):
    """A language model that cannot be asked, or whose server did not answer as agreed."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model by its name at a server.

    Raises:
        LlmError: the URL is not that of a server or holds a user or a password, or the key cannot be sent.
    """

    name: str
    url: str = field(repr=False)
    key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not _names_a_server(self.url):
            raise LlmError(f"{URL} is not the URL of a server: {REMEDY}")
        if "@" in urlsplit(self.url).netloc:
            raise LlmError(f"{URL} holds a user or a password, which would be sent in place of {KEY}: take them out")
        if not (self.key.isascii() and self.key.isprintable() and " " not in self.key):
            raise LlmError(f"{KEY} holds a blank, a line break or a letter beyond ASCII, which no server takes")

    @classmethod
    def from_environment(cls) -> Self:
        """The one that the environment names; LlmError says which variables are missing."""
        name, url, key = (environ.get(variable, "") for variable in (MODEL, URL, KEY))
        missing = [variable for variable, value in ((MODEL, name), (URL, url), (KEY, key)) if not value]
        if missing:
            raise LlmError(f"no language model to ask, {' and '.join(missing)} not set: {REMEDY}")
        return cls(name, url, key)

    @property
    def host(self) -> str:
        """The server's name and port; what else the URL holds may be secret."""
        return urlsplit(self.url).netloc

    def without_key(self, answer: str) -> str:
        """A model's answer without the key; a short word or number in a key's place is none, and may be said."""
        is_word = len(self.key) < PART and (self.key.isalpha() or self.key.isdigit())
        return answer if is_word else masked(answer, [self.key])

    def shown(self, words: str) -> str:
        """What a server says, as an error repeats it: the first of it, on one line, without the key and what else of
        the URL than the host is long enough to be a secret.
        """
        url = urlsplit(self.url)
        parts = [*url.path.split("/"), *(value for _, value in parse_qsl(url.query)), url.fragment]
        clean = masked(words, [self.key, *(part for part in parts if len(part) >= PART)])
        return "".join(letter if letter.isprintable() else " " for letter in clean)[:SHOWN]


def _names_a_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        printable = url.isprintable() and " " not in url
        return printable and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or half an address
        return False
