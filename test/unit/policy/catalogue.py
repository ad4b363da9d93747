"""Every sentence there is about `decide`."""

from __future__ import annotations

from . import cases, features, telling

ALL = (*cases.ALL, *features.ALL, *telling.TELLING)
