"""Retry delays."""

from __future__ import annotations

from random import Random

import pytest

from evc.runtime.backoff import Exponential, exponential, jittered

from .fakes import NotRandom, key


@pytest.mark.parametrize(
    ("failures", "delay"),
    [(0, 0.005), (1, 0.01), (7, 0.64), (17, 655.36), (18, 1000.0), (10**9, 1000.0)],
)
def test_delays_double_up_to_the_cap(failures: int, delay: float) -> None:
    assert exponential(failures, base=0.005, cap=1000.0) == pytest.approx(delay)


def test_each_key_has_its_own_count_and_forget_resets_it() -> None:
    policy = Exponential()
    first = [policy.when(key("a"), 0.0) for _ in range(3)]
    assert first == pytest.approx([0.005, 0.01, 0.02])
    assert policy.when(key("b"), 0.0) == 0.005
    policy.forget(key("a"))
    assert policy.when(key("a"), 0.0) == 0.005
    policy.forget(key("never failed"))


def test_jitter_only_lengthens() -> None:
    assert jittered(2.0, 1.0, NotRandom(0.0)) == 2.0  # type: ignore[arg-type]
    assert jittered(2.0, 1.0, NotRandom(0.5)) == 3.0  # type: ignore[arg-type]
    random = Random(1)
    assert all(2.0 <= jittered(2.0, 1.2, random) <= 4.4 for _ in range(100))
