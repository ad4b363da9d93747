"""Unit tests of `evc.runtime`: virtual time, no socket, no sleep."""
