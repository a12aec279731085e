from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch; run `make setup`")

from reasonprune.selfeval.log_softmax import IN_CACHE, gather, log_softmax


@pytest.mark.parametrize(("vocabulary", "parts"), [(30, 1), (IN_CACHE // 2, 3), (2 * IN_CACHE, 5)])
def test_it_goes_part_by_part_and_gives_the_same(vocabulary: int, parts: int) -> None:
    torch.manual_seed(0)
    logits, tokens = torch.randn(5, vocabulary, dtype=torch.bfloat16), torch.randint(vocabulary, (5, 1))
    likely = log_softmax(logits)
    assert len(likely) == parts
    found = torch.cat(gather(likely, tokens.int()))
    torch.testing.assert_close(found, logits.float().log_softmax(1).gather(1, tokens))


def test_what_is_ruled_out_has_no_probability() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, 0.0]])
    (found,) = gather(log_softmax(logits), torch.tensor([[1]]))
    assert found.item() == pytest.approx(-0.6931, abs=1e-4)
    (never,) = gather(log_softmax(logits), torch.tensor([[0]]))
    assert never.item() == -torch.inf
