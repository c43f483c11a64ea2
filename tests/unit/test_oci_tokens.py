"""Tokens: kept while they are good, fetched by one caller at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from shared.adapters.oci.auth import Token, TokenCache
from shared.domain.errors import Retry


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def kept(cache: TokenCache, key: object) -> str:
    """The header under a key, "" where another would be fetched."""
    try:
        return cache.renew(key, "", never)
    except AssertionError:
        return ""


def never() -> Token:
    raise AssertionError("there is no need for another token")


def test_a_token_is_good_until_shortly_before_its_end() -> None:
    time = Time()
    cache = TokenCache(time)
    assert kept(cache, "a") == ""
    assert cache.renew("a", "", lambda: Token("Bearer 1", 60)) == "Bearer 1"
    time.now = 49
    assert kept(cache, "a") == "Bearer 1"
    time.now = 51
    assert kept(cache, "a") == ""


def test_a_token_that_was_used_in_vain_is_replaced_and_any_other_is_not() -> None:
    cache = TokenCache(Time())
    cache.renew("a", "", lambda: Token("Bearer 1", 60))
    assert cache.renew("a", "", never) == "Bearer 1"
    assert cache.renew("a", "Bearer 1", lambda: Token("Bearer 2", 60)) == "Bearer 2"
    assert cache.renew("a", "Bearer 1", never) == "Bearer 2"
    assert cache.renew("b", "", lambda: Token("Bearer 3", 60)) == "Bearer 3"


def test_one_caller_fetches_and_the_others_get_the_same_outcome() -> None:
    cache, fetched, go, asked = TokenCache(Time()), list[int](), threading.Event(), threading.Semaphore(0)

    def fetch() -> Token:
        fetched.append(1)
        go.wait(5)
        raise Retry("the token service is away")

    def ask(_: int) -> str:
        asked.release()
        try:
            return cache.renew("a", "", fetch)
        except Retry as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        outcomes = [threads.submit(ask, number) for number in range(8)]
        for _ in range(8):
            assert asked.acquire(timeout=5)
        waiting = threading.Event()
        waiting.wait(0.05)
        go.set()
    assert {outcome.result() for outcome in outcomes} == {"the token service is away"}
    assert len(fetched) < 8
    assert cache.renew("a", "", lambda: Token("Bearer 1", 60)) == "Bearer 1"


def test_no_more_than_so_many_tokens_are_kept() -> None:
    cache = TokenCache(Time())
    for number in range(5000):
        cache.renew(number, "", lambda: Token("Bearer 1", 60))
    assert kept(cache, 0) == ""
    assert kept(cache, 4999) == "Bearer 1"


def test_a_token_is_never_shown() -> None:
    assert "4711" not in repr(Token("Bearer 4711", 60))


def test_a_failed_fetch_is_not_kept() -> None:
    cache = TokenCache(Time())

    def fail() -> Token:
        raise Retry("away")

    with pytest.raises(Retry):
        cache.renew("a", "", fail)
    assert kept(cache, "a") == ""


def test_a_token_that_another_caller_fetches_is_not_waited_for_after_the_deadline() -> None:
    cache, began, go = TokenCache(Time()), threading.Event(), threading.Event()

    def fetch() -> Token:
        began.set()
        go.wait(5)
        return Token("Bearer 1", 60)

    with ThreadPoolExecutor(1) as threads:
        fetching = threads.submit(cache.renew, "a", "", fetch)
        assert began.wait(5)
        with pytest.raises(Retry, match="does not come in time"):
            cache.renew("a", "", never, monotonic())
        go.set()
        assert fetching.result() == "Bearer 1"
