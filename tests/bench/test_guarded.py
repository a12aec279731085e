from __future__ import annotations

import pytest

from reasonprune.bench.guarded import run_guarded


def test_a_program_that_ends_passes() -> None:
    assert run_guarded("assert 1 + 1 == 2").passed


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("assert 1 + 1 == 3, 'no'", "AssertionError: no"),
        ("def f(:", "SyntaxError"),
        ("bytearray(2 << 30)", "MemoryError"),
        ("open('big', 'wb').write(b'0' * (2 << 20))", "ile too large"),
        ("import os; os._exit(3)", "ended with 3"),
        ("import os; assert 'SECRET' in os.environ", "AssertionError"),
    ],
)
def test_a_program_that_fails_says_why(program: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    ran = run_guarded(program)
    assert not ran.passed
    assert reason in (ran.reason or "")


def test_a_program_that_does_not_end_is_ended() -> None:
    ran = run_guarded("while True: pass", seconds=0.5)
    assert ran.reason == "did not end within 0.5 s"
