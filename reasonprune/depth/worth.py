"""What a program that skips layers is worth as the draft of speculation: tokens accepted for the time they take."""

from __future__ import annotations

LONGEST_DRAFT = 12  # tokens


def speed_up(agreement: float, cost: float, longest: int = LONGEST_DRAFT) -> float:
    """Times as fast as without drafts, at the length of draft that suits best; 1 where none pays.

    `agreement`: chance that a drafted token is the full model's, `cost`: of drafting a token, in passes of the full
    model. A round of g drafts takes g cost + 1 and yields (1 - a^(g+1)) / (1 - a) tokens; verifying several tokens is
    taken to cost what verifying one does.
    """
    best, expected, reach = 1.0, 1.0, 1.0
    for drafts in range(1, longest + 1):
        reach *= agreement
        expected += reach
        best = max(best, expected / (drafts * cost + 1))
    return best


def time_saved(agreement: float, cost: float) -> float:
    """The same as a share of the time, 0 to 1: a reward for the search."""
    return 1 - 1 / speed_up(agreement, cost)
