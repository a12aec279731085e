import pytest

from reasonprune.api.admission import Admission
from reasonprune.errors import OverloadedError


def test_the_limit_is_that_of_all_requests_together():
    admission = Admission(10)
    with admission.enter(6), admission.enter(4):
        assert admission.live == 10
        with (
            pytest.raises(OverloadedError, match=r"10 traces are running.* up to 1 more.* limit is 10"),
            admission.enter(1),
        ):
            pytest.fail("entered beyond the limit")
        assert admission.live == 10
    assert admission.live == 0


def test_places_are_given_back_when_a_request_fails():
    admission = Admission(4)
    with pytest.raises(ZeroDivisionError), admission.enter(4):
        _ = 1 / 0
    with admission.enter(4):
        assert admission.live == 4


def test_the_error_says_what_to_do():
    with pytest.raises(OverloadedError) as caught, Admission(1).enter(2):
        pytest.fail("entered beyond the limit")
    assert (caught.value.status, caught.value.param) == (429, "reasonprune.parallel.n")
    assert "Try again in 1 s" in caught.value.message
