import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from reasonprune.answers import AnswerClasses, MathChecker, equivalent

ENDLESS = r"9^{9^{9^9}}"
READY = "import sys, time; print('{\"ready\": true}', flush=True);"


def scripted(code: str, **limits: float) -> MathChecker:
    return MathChecker(command=[sys.executable, "-c", code], **limits)  # type: ignore[arg-type]


def gone(pid: int | None) -> bool:
    """Whether a process has ended; it may take a moment to."""
    assert pid
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def shared() -> Iterator[MathChecker]:
    pytest.importorskip("math_verify")
    with MathChecker(timeout=20) as checker:
        yield checker


@pytest.fixture
def checker() -> Iterator[MathChecker]:
    pytest.importorskip("math_verify")
    with MathChecker(timeout=2) as checker:
        yield checker


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ("x+1", "1+x", True),
        ("x+1", "x+2", False),
        ("(a+5)(b+2)", "ab+2a+5b+10", True),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", True),
        (r"\sin^2 x+\cos^2 x", "1", True),
        ("2^{10}", "1024", True),
        ("3, 5, 7", "7, 5, 3", True),
        ("(1, 2)", "(2, 1)", False),
        (r"1\pm\sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}", True),
        (r"(-\infty, 2)\cup(3, \infty)", r"(3, \infty)\cup(-\infty, 2)", True),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", True),
        (r"5\text{ cm}", "5", True),
        (r"\frac{", "5", None),
        ("9**9**9**9", "5", None),
        ("", "", None),
        ("\n$\0\udfff🎉", "x", None),
        ("x" * 3_000, "x", None),
    ],
)
def test_math_verify_decides_in_either_order(shared: MathChecker, a: str, b: str, equal: bool | None) -> None:
    assert shared.equal(a, b) is equal
    assert shared.equal(b, a) is equal
    assert shared.available
    assert (shared.timeouts, shared.restarts) == (0, 0)


def test_python_source_is_not_evaluated(shared: MathChecker, tmp_path: object) -> None:
    target = f"{tmp_path}/made"
    shared.equal(f"__import__('os').mkdir('{target}')", "5")
    assert not os.path.exists(target)


def test_answers_of_one_question(shared: MathChecker) -> None:
    classes = AnswerClasses(shared)
    names = [
        classes.add(answer) for answer in (r"$\frac{\sqrt{3}}{3}$", r"\frac1{\sqrt3}", "7", r"\sqrt{49}", "B", "7.0")
    ]
    assert names == [r"\frac{\sqrt{3}}{3}"] * 2 + ["7", "7", "B", "7"]
    assert equivalent("2k+2", "2(k+1)", shared)


def test_threads_share_the_process(shared: MathChecker) -> None:
    pairs = [(f"x+{n}", f"{n}+x" if n % 2 else f"{n}-x") for n in range(1, 21)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda pair: shared.equal(*pair), pairs)) == [True, False] * 10
    assert shared.restarts == 0


def test_endless_work_ends_in_time(checker: MathChecker) -> None:
    assert checker.equal("x+1", "1+x") is not False  # starts the process, which has a limit of its own
    started = time.monotonic()
    assert checker.equal(ENDLESS, "1") is None
    assert time.monotonic() - started < 10
    assert checker.timeouts >= 1
    assert checker.available


def test_a_killed_worker_is_replaced(checker: MathChecker) -> None:
    checker.equal("x", "y")
    first = checker.pid
    assert first
    os.kill(first, signal.SIGKILL)
    verdicts = [checker.equal("x+1", "1+x") for _ in range(3)]  # the one that meets the crash may be lost
    assert True in verdicts
    assert checker.pid not in (None, first)
    assert checker.restarts == 1


def test_a_worker_that_hangs_is_killed_and_replaced() -> None:
    hang = READY + "sys.stdin.readline(); time.sleep(60)"
    with scripted(hang, timeout=0.2) as checker:
        assert checker.equal("x", "y") is None
        assert checker.pid is None
        assert (checker.timeouts, checker.restarts) == (1, 0)
        assert checker.equal("x", "y") is None
        assert (checker.timeouts, checker.restarts) == (2, 1)
        assert checker.available


@pytest.mark.parametrize(
    "code",
    [
        "sys.stdin.readline()",
        "sys.stdin.readline(); print('nonsense', flush=True)",
        "sys.stdin.readline(); print('[]')",
    ],
    ids=["crash", "nonsense", "no object"],
)
def test_a_broken_worker_gives_no_verdict_and_is_replaced(code: str) -> None:
    with scripted(READY + code, timeout=10) as checker:
        assert checker.equal("x", "y") is None
        assert checker.equal("x", "y") is None
        assert checker.restarts == 1


def test_a_worker_that_never_starts_is_given_up() -> None:
    with scripted("raise SystemExit(3)") as checker:
        assert [checker.equal("x", "y") for _ in range(5)] == [None] * 5
        assert not checker.available
        assert "failed to start" in (checker.reason or "")
        assert checker.restarts == 2


def test_a_slow_start_is_cut_off() -> None:
    with scripted("import time; time.sleep(60)", start_timeout=0.2) as checker:
        assert checker.equal("x", "y") is None
        assert checker.pid is None


def test_a_missing_interpreter_is_a_reason() -> None:
    checker = MathChecker(command=["/nonexistent/python"])
    assert checker.equal("x", "y") is None
    assert "cannot be started" in (checker.reason or "")


def test_math_verify_missing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    checker = MathChecker()
    assert not checker.available
    assert "reasonprune[math]" in (checker.reason or "")
    assert checker.equal("x", "y") is None
    assert checker.pid is None


def test_math_verify_missing_in_the_worker() -> None:
    code = "import sys; sys.modules['math_verify'] = None; sys.argv = ['', '1', str(2**31)]\n"
    with scripted(code + "from reasonprune.answers.worker import main; main()") as checker:
        assert checker.equal("x", "y") is None
        assert not checker.available
        assert "cannot be imported" in (checker.reason or "")


@pytest.mark.skipif(sys.platform != "linux", reason="address space can be limited on Linux only")
def test_memory_is_limited() -> None:
    code = "import sys; sys.argv = ['', '5', str(2**31)]\nimport reasonprune.answers.worker as worker\n"
    code += "worker._compare = lambda a, b: bool(bytearray(int(a)))\nworker.main()"
    pytest.importorskip("math_verify")
    with scripted(code, timeout=10) as checker:
        assert checker.equal(str(2**20), "") is True
        assert checker.equal(str(2**32), "") is None
        assert checker.equal(str(2**20), "") is True
        assert checker.restarts == 0


def test_closing_ends_the_process_for_good() -> None:
    with scripted(READY + "sys.stdin.read()", timeout=0.1) as checker:
        checker._ready()
        pid = checker.pid
        assert pid
    assert gone(pid)
    assert checker.equal("x", "y") is None
    assert checker.reason == "closed"
    checker.close()


def test_a_forgotten_checker_leaves_no_process() -> None:
    checker = scripted(READY + "sys.stdin.read()")
    checker._ready()
    pid = checker.pid
    del checker
    gc.collect()
    assert gone(pid)


@pytest.mark.parametrize("end", ["", "import os; os._exit(1)"], ids=["exit", "killed"])
def test_no_process_outlives_the_interpreter(end: str) -> None:
    pytest.importorskip("math_verify")
    code = (
        "from reasonprune.answers import MathChecker\nc = MathChecker()\nc.equal('x', 'y')\nprint(c.pid, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code + end], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert gone(int(done.stdout))


def test_a_pair_waits_for_its_turn() -> None:
    echo = READY + "[(time.sleep(0.1), print('{\"equal\": true}', flush=True)) for _ in iter(sys.stdin.readline, '')]"
    with scripted(echo, timeout=10) as checker:
        verdicts: list[bool | None] = []
        threads = [threading.Thread(target=lambda: verdicts.append(checker.equal("x", "y"))) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert verdicts == [True] * 5
    assert checker.restarts == 0
