"""Unit tests of `evc.policy`: fixed times, no socket, no sleep."""
