"""BM25 over the sentences at hand: a rival in the benchmark, and what is left where no model can be had."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Lower-case words; a plural or verb ending in s is taken for its stem."""
    found = WORD.findall(text.lower())
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in found]


def bm25(question: str, sentences: Sequence[str], k1: float = 1.2, b: float = 0.75) -> list[float]:
    """The score of each sentence, with document frequencies over these sentences (Robertson and Zaragoza, 2009)."""
    counts = [Counter(words(sentence)) for sentence in sentences]
    lengths = [sum(count.values()) for count in counts]
    mean = sum(lengths) / max(1, len(lengths)) or 1.0
    total = len(sentences)
    scores = [0.0] * total
    for word in set(words(question)):
        having = sum(word in count for count in counts)
        weight = math.log(1 + (total - having + 0.5) / (having + 0.5))
        for i, count in enumerate(counts):
            if frequency := count[word]:
                scores[i] += weight * frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * lengths[i] / mean))
    return scores
