"""What can go wrong in a demo, each with a text that says what was expected."""


class DemoError(Exception):
    """The demo cannot go on."""


class Broken(Exception):
    """A claim did what it must not do."""
