"""Object stores that the processes of a test share: folders behind URIs, and the hosts that the processes pretend."""

import os
import socket
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pytest import MonkeyPatch
from upath import UPath
from upath.registry import register_implementation

from agentprm_dagster.provenance import lease, owner


class SharedFolder(LocalFileSystem):
    """Writes in one step, and creates for one alone, as S3 does."""

    protocol = "shared"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        target = Path(self._strip_protocol(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f"{uuid4().hex}.new")
        new.write_bytes(value)
        if mode == "create":
            try:
                os.link(new, target)
            finally:
                new.unlink()
        else:
            new.replace(target)


class LooksFirst(LocalFileSystem):
    """Creates as fsspec does by default: it looks, and then writes."""

    protocol = "looksfirst"


class Overwrites(SharedFolder):
    """Says nothing of what it is asked for and does not do, as HTTP."""

    protocol = "overwrites"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        super().pipe_file(path, value)


class Refuses(SharedFolder):
    """Knows that it cannot create for one alone."""

    protocol = "refuses"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        if mode == "create":
            raise NotImplementedError(mode)
        super().pipe_file(path, value)


class Repeats(SharedFolder):
    """Loses the first answer and sends a creation again, as clients do."""

    protocol = "repeats"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        super().pipe_file(path, value, mode)
        if mode == "create":
            super().pipe_file(path, value, mode)


class _Path(UPath):
    """What universal_pathlib would take with a warning."""


for kind in (SharedFolder, LooksFirst, Overwrites, Refuses, Repeats):
    fsspec.register_implementation(kind.protocol, kind, clobber=True)
    register_implementation(kind.protocol, _Path, clobber=True)


def pretend_host(name: str, ttl_seconds: float = 60, patch: MonkeyPatch | None = None) -> None:
    """Makes this process one of another machine, whose leases are renewed often."""
    patch = patch or MonkeyPatch()
    patch.setattr(owner, "_boot", lambda: name)
    patch.setattr(socket, "gethostname", lambda: name)
    patch.setattr(lease, "RENEW_SECONDS", 0.05)
    patch.setattr(lease, "TTL_SECONDS", ttl_seconds)
