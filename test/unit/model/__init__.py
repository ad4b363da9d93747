"""Unit tests of `evc.model`: fixed times, no socket, no sleep."""
