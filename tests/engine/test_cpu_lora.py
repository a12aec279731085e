"""The kernels against products written out row by row."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch; run `make setup`")

from reasonprune.engine.cpu_lora import expand, expand_slice, shrink

INDICES = torch.tensor([1, -1, 0, 1, -1])


def test_rows_without_a_lora_get_none() -> None:
    inputs, weights = torch.randn(5, 6), torch.randn(2, 1, 3, 6)
    output = torch.full((5, 4), 7.0)
    shrink(inputs, weights, output, INDICES, 2.0)
    for row, slot in enumerate(INDICES.tolist()):
        wanted = 2.0 * weights[slot, 0] @ inputs[row] if slot >= 0 else torch.zeros(3)
        assert torch.allclose(output[row, :3], wanted, atol=1e-5)
    assert not output[:, 3].any()


@pytest.mark.parametrize("add", [True, False])
def test_products_are_added_or_put_into_their_slice(add: bool) -> None:
    inputs, weights = torch.randn(5, 3), torch.randn(2, 4, 3)
    output = torch.ones(5, 9)
    expand_slice(inputs, weights, output, INDICES, 2, 4, add)
    for row, slot in enumerate(INDICES.tolist()):
        product = weights[slot] @ inputs[row] if slot >= 0 else torch.zeros(4)
        assert torch.allclose(output[row, 2:6], product + add, atol=1e-5)
    assert output[:, :2].eq(1).all()
    assert output[:, 6:].eq(1).all()


@pytest.mark.parametrize("width", [3, 4, 5])
def test_of_two_widths_the_smaller_counts(width: int) -> None:
    inputs, weights = torch.randn(1, 2), torch.randn(1, 1, 4, 2)
    output = torch.zeros(1, width)
    expand(inputs, weights, output, torch.tensor([0]))
    shared = min(width, 4)
    assert torch.allclose(output[0, :shared], (weights[0, 0] @ inputs[0])[:shared])


def test_the_type_is_that_of_the_output() -> None:
    output = torch.zeros(1, 2)
    shrink(torch.ones(1, 3, dtype=torch.bfloat16), torch.ones(1, 2, 3, dtype=torch.bfloat16), output, torch.tensor([0]))
    assert output.tolist() == [[3.0, 3.0]]
