"""Every sentence there is about `decide`."""

from __future__ import annotations

from . import cases, features

ALL = (*cases.ALL, *features.ALL)
