"""The one error this package raises on purpose: its text is one clear line saying what to do."""


class ClusterError(Exception):
    """The local control plane could not be built, booted or used."""
