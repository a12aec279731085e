"""The answer in a generated text: tool calls or JSON, `\\boxed{}`, `#### x`, "the answer is x", or the final line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Literal

from reasonprune.answers.equivalence import FRAC, MAX_CHARS, REAL, canonical, canonical_json, is_number

AnswerKind = Literal["auto", "boxed", "number", "choice", "json", "text"]

_BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*(?P<open>\{)?|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"[^\s${}]+")
_TOOL_CALL = re.compile(r"<tool_call>\s*(?=\{)")
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL | re.IGNORECASE)
_HASHES = re.compile(r"^####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_PHRASE = re.compile(
    r"(?:\banswer\b|\b(?:correct|right|best) (?:option|choice)\b)(?:[ \t]+(?:to|for|of)\b[^.:\n]{1,80}?)?[*_ \t]{0,6}"
    r"(?::|=|\b(?:is|are|would be|must be|should be)\b(?: *:)?)[\s:*_]*"
    r"|^[#*_ \t]{0,12}(?:the[ \t]+)?(?:final[ \t]+)?answer[*_ \t]*\n[\s*_]*",
    re.IGNORECASE | re.MULTILINE,
)
_LEAD = re.compile(r"(?:(?:therefore|thus|then|hence|simply|indeed|clearly|option|choice|letter)\b[\s,:*]*)+", re.I)
_NO_ANSWER = re.compile(
    r"(?:not|(?:in)?correct|right|wrong|as follows|(?:the )?following|reasonable|verified|consistent|clear|below|above"
    r"|in the|within|given by)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|(?=[,;]? (?:because|since|so that|as shown)\b)")
_CHOICE = re.compile(
    r"(?:\\text\w* ?\{ ?)?(?:\*\*|__)?(?:[(\[] ?([A-Ja-j]) ?[)\]]"
    r"|([A-J])(?=[).:}]|\*\*|__|\s*$|,? (?:because|since)\b))"
)
_LAST_CHOICE = re.compile(r"(?<![\w'])(?:[(\[]([A-J])[)\]]|([B-HJ]))(?![\w'’])")
_AMOUNT = re.compile(
    rf"(-?[$€£¥]?(?:\d+ \d+/\d+|{REAL}(?:/\d+)?))\b"
    r" ?(?!(?:hundred|thousand|[mb]illion|trillion|dozen|pi|[einxyz])\b)[A-Za-z%][A-Za-z /%-]*"
)
_NUMBER = re.compile(
    rf"(?<![\w.])(?:(?<![)\]}}])[-+−](?=[ $€£¥\\]{{0,3}}[\d.\\]))?(?:\\?\$|[€£¥])?-?(?:(?:\d+ ?)?{FRAC}"
    rf"|\d+ \d+/\d+|(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{{1,4}}\b| ?/ ?\d+)?|\.\d+)"
)
_MAX_CANDIDATES = 64
_MATH = (("\\[", "\\]"), ("\\(", "\\)"), ("$$", "$$"), ("$", "$"))


def extract_answer(text: str, kind: AnswerKind = "auto") -> str | None:
    """The answer a model gave in `text`, or None where there is none. Never raises.

    `text` is all the model generated. Only what follows the last `</think>` counts as visible, and nothing of it if it
    opens with an unfinished `<think>`; a text without either tag is visible as a whole. Where the visible part has no
    answer, a box in the reasoning is taken (not for `json` and `text`): an unfinished trace that got as far as a box
    has said its answer.

    - `auto` tries, in this order: tool calls and whole-text JSON, the last `\\boxed{}`, the last `#### x`, the last
      "the answer is x", an option or formula that is the whole final line, the last number of the final line.
    - `number` and `choice` want a number (its unit left off) or a letter A to J, looking further back as well.
    - `json` also takes the last JSON object or array among other text. JSON is returned with sorted keys.
    - `text` is all of the visible text, normalised.

    Only the last 20,000 characters are looked at, except for JSON and `text`.
    """
    visible = text.rpartition("</think>")[2].strip()
    if visible.startswith("<think>"):
        visible = ""
    if kind == "text":
        return " ".join(visible.casefold().split()).rstrip(" .,;:!?") or None
    if kind in ("auto", "json"):
        found, answer = _structured(visible)
        if found or kind == "json":
            return answer if found else _last_json(visible[-MAX_CHARS:])
    for candidates in (_candidates(visible[-MAX_CHARS:], kind), _boxes(text[-MAX_CHARS:])):
        for candidate in islice(candidates, _MAX_CANDIDATES):
            if fitting := _fit(candidate, kind):
                return fitting
    return None


def _candidates(text: str, kind: AnswerKind) -> Iterator[str]:
    """Places where an answer may stand, the most telling first."""
    yield from _boxes(text)
    if kind == "boxed":
        return
    yield from _hashes(text)
    yield from _phrases(text)
    yield from _final_line(text)
    if kind == "number":
        yield from (match[0] for match in reversed(list(_NUMBER.finditer(text))))
    if kind == "choice":
        yield from (match[1] or match[2] for match in reversed(list(_LAST_CHOICE.finditer(text))))


def _fit(candidate: str, kind: AnswerKind) -> str | None:
    """`candidate` as an answer of this kind, or None if it holds none."""
    candidate = candidate.strip()
    if kind in ("number", "choice"):
        candidate = candidate[:1_000]
    if kind == "choice":
        form = canonical(candidate)
        return form if re.fullmatch("[A-J]", form) else _letter(candidate)
    if kind == "number":
        match = _NUMBER.search(candidate.rpartition("=")[2]) or _NUMBER.search(candidate)
        return re.sub(r"[\\]?[$€£¥]", "", match[0]) if match else None
    return candidate or None


def _letter(text: str) -> str | None:
    """The letter of an option that `text` starts with: `(B) Paris`, `B. Paris`, `B`."""
    match = _CHOICE.match(text)
    return (match[1] or match[2]).upper() if match else None


def _structured(text: str) -> tuple[bool, str | None]:
    """Whether `text` is tool calls or JSON, and its canonical form; several calls become an array, in their order.

    A broken tool call is no answer, whatever else the text says: (True, None).
    """
    starts = [match.end() for match in _TOOL_CALL.finditer(text)]
    if starts:
        calls = [_tool_call(text[start:end]) for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
        known = [call for call in calls if call]
        if len(known) < len(calls):
            return True, None
        return True, known[0] if len(known) == 1 else f"[{','.join(known)}]"
    text = text.strip()
    fence = _FENCE.fullmatch(text)
    whole = canonical_json(fence[1] if fence else text)
    return whole is not None, whole


def _tool_call(block: str) -> str | None:
    """Name and arguments, not the id, of a call in Hermes form; arguments may be JSON in a string, as OpenAI has it."""
    try:
        call, _ = json.JSONDecoder().raw_decode(block)
        arguments = call.get("arguments", {})
        if isinstance(arguments, str) and (inner := canonical_json(arguments)):
            arguments = json.loads(inner)
        return canonical_json(json.dumps({"name": call["name"], "arguments": arguments}))
    except (ValueError, KeyError, RecursionError):
        return None


def _last_json(text: str) -> str | None:
    """The last object or array among other text, as canonical JSON."""
    found, position = None, 0
    for _ in range(256):  # so that brackets that open nothing cannot cost quadratic time
        opening = re.compile(r"[{\[]").search(text, position)
        if not opening:
            break
        try:
            _, position = json.JSONDecoder().raw_decode(text, opening.start())
            found = canonical_json(text[opening.start() : position]) or found
        except (ValueError, RecursionError):
            position = opening.end()
    return found


def _boxes(text: str) -> Iterator[str]:
    """The contents of all boxes, the last opened first. One pass with a stack, since braces may nest without limit."""
    boxes: list[tuple[int, str]] = []
    stack: list[int | None] = []
    for token in _BOX_OR_BRACE.finditer(text):
        if token["open"]:
            stack.append(token.end())
        elif token[0] == "{":
            stack.append(None)
        elif token[0] == "}" and stack:
            start = stack.pop()
            if start is not None and (inside := text[start : token.start()].strip()):
                boxes.append((start, inside))
        elif token[0].startswith(("\\boxed", "\\fbox")) and (bare := _BARE_BOX.match(text, token.end())):
            boxes.append((token.end(), bare[0].rstrip(".,;:)\\")))
    return (inside for _, inside in sorted(boxes, reverse=True))


def _hashes(text: str) -> Iterator[str]:
    """The last `#### x`, the form of GSM8K; where x is not the final line it must be a number, else it is a heading."""
    for match in reversed(list(_HASHES.finditer(text))):
        if not text[match.end() :].strip() or is_number(canonical(match[1])):
            yield _clean(match[1])


def _phrases(text: str) -> Iterator[str]:
    """What stands after "the answer is" and its like, the last first."""
    for match in reversed(list(_PHRASE.finditer(text))):
        rest = text[match.end() : match.end() + 1_000]
        rest = rest[lead.end() :] if (lead := _LEAD.match(rest)) else rest
        if not _NO_ANSWER.match(rest) and (value := _clean(rest)):
            yield value


def _clean(rest: str) -> str:
    """The answer that `rest` starts with: a letter, a formula, an amount without its unit, or the sentence."""
    if letter := _letter(rest.partition("\n")[0]):
        return letter
    if (formula := _formula(rest)) is not None:
        return formula
    sentence = _SENTENCE_END.split(rest.partition("\n")[0], maxsplit=1)[0].strip(' *_`"')
    right = sentence.rpartition("=")[2]
    if right != sentence and ", " not in sentence and is_number(canonical(right)):
        return right.strip()
    amount = _AMOUNT.fullmatch(sentence)
    return amount[1] if amount else sentence


def _formula(rest: str) -> str | None:
    """The formula that `rest` starts with, without its delimiters; None if it starts with none, or a list of them."""
    for opening, closing in _MATH:
        end = rest.find(closing, len(opening))
        if not rest.startswith(opening) or end < 0:
            continue
        inside, after = rest[len(opening) : end].strip(), rest[end + len(closing) :].partition("\n")[0]
        currency = opening == "$" and re.match(rf"{REAL}[.,]? +[A-Za-z]|{REAL}\.?\n", inside)
        return None if currency or not inside or opening in _SENTENCE_END.split(after, maxsplit=1)[0] else inside
    return None


def _final_line(text: str) -> Iterator[str]:
    """From the last line with a letter or digit: the option or formula that is all of it, or its last number."""
    line = next((line for line in reversed(text.splitlines()) if re.search(r"[^\W_]", line)), "").strip(" *_#>`")
    if letter := _letter(line):
        yield letter
    formula = _formula(line)
    if formula is not None and not re.search(r"[^\W_]", line.partition(formula)[2]):
        yield formula
    if numbers := [match[0] for match in _NUMBER.finditer(line)]:
        yield numbers[-1]
