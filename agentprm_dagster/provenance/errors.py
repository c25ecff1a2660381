"""What can be wrong with artifacts, said so that a person knows what to do."""


class ArtifactError(Exception):
    """An artifact that is not there, not whole, or not allowed."""


class LockedError(ArtifactError):
    """Somebody else is making this artifact."""


class LeaseLostError(ArtifactError):
    """Somebody else has begun to make this artifact, as this process was not heard of."""
