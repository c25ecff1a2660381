"""What can be wrong with a bundle, said so that a person knows what to do."""


class BundleError(ValueError):
    """A folder that is no bundle, or one that cannot be written."""
