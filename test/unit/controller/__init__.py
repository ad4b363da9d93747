"""Unit tests of `evc.controller`: fixed times, no socket, no sleep."""
