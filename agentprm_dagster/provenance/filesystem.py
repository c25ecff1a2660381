"""What some filesystems refuse (network shares, FUSE), and how this package goes on without it."""

import errno
import fcntl
import logging
from functools import cache
from typing import IO, Any

_UNSUPPORTED = frozenset(
    {
        errno.EACCES,
        errno.EBADF,
        errno.EINVAL,
        errno.ENOLCK,
        errno.ENOSYS,
        errno.ENOTSUP,
        errno.ENOTTY,
        errno.EOPNOTSUPP,
        errno.EPERM,
    }
)
"""What flock and fsync answer where the filesystem has no such thing. A full or a broken disk answers otherwise."""

_log = logging.getLogger(__name__)


class NoLocksError(Exception):
    """The filesystem keeps no locks."""


def is_unsupported(error: OSError) -> bool:
    """Whether a call to flock or fsync failed because the filesystem does not know it."""
    return error.errno in _UNSUPPORTED


@cache
def warn_once(message: str) -> None:
    """A warning that each process gives once."""
    _log.warning(message)


def flock(file: IO[Any], *, shared: bool = False, wait: bool = False) -> bool:
    """Locks an open file; False if another has it locked, which cannot be with `wait`.

    The kernel keeps the lock until the file is closed or everybody who has it open is dead, in whatever container they
    run and whatever their machine is called.

    Raises:
        NoLocksError: the filesystem keeps no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if is_unsupported(error):
            raise NoLocksError(error.strerror) from error
        raise
    return True
