"""Tests of the room that speaks HTTP: against a server on the loopback where sockets matter."""
