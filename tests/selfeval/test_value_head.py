from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch; run `make setup`")

from reasonprune.errors import ModelError
from reasonprune.models import resolve
from reasonprune.selfeval.head import BIN_EDGES, WEIGHTS, HeadSpec, ValueHead, bin_of
from reasonprune.selfeval.trail import TRAIL
from reasonprune.selfeval.trained import DESCRIPTION, SHIPPED, describe, find, fingerprint, save_description


@pytest.fixture
def head() -> ValueHead:
    torch.manual_seed(0)
    made = ValueHead(HeadSpec(8))
    made.fit_scaling(torch.randn(50, 8))
    return made


@pytest.fixture
def tiny() -> str:
    return resolve("tiny").path


def test_it_gives_probabilities_and_a_length(head: ValueHead) -> None:
    scores = head.scores(torch.randn(20, 8) * 100, torch.arange(20) % 2 == 0)
    assert all(score.sound for score in scores)
    assert all(score.unbeaten is not None and score.remaining is not None for score in scores)
    assert [score.remaining == 0 for score in scores] == [True, False] * 10
    assert head.scores(torch.zeros(0, 8), torch.zeros(0, dtype=torch.bool)) == []


def test_traces_on_the_way_and_those_that_have_ended_have_a_map_each(head: ValueHead) -> None:
    states, ended = torch.randn(5, 8), torch.tensor([False, True, False, True, True])
    found, scaled = head(states, ended), head.scaled(states)
    assert torch.equal(found[ended], head.ended(scaled)[ended])
    assert torch.equal(found[~ended], head.running(scaled)[~ended])


def test_lengths_fall_into_bins() -> None:
    lengths = torch.tensor([0.0, 15.0, 16.0, 31.0, 32.0, 1e9])
    assert bin_of(lengths).tolist() == [0, 0, 1, 1, 2, len(BIN_EDGES)]


def test_a_bin_is_worth_the_mean_of_its_lengths(head: ValueHead) -> None:
    head.fit_lengths(torch.tensor([2.0, 4.0, 20.0]))
    assert head.lengths[:3].tolist() == [3.0, 20.0, 32.0]


def test_it_is_the_same_after_saving(head: ValueHead, tiny: str, tmp_path: Path) -> None:
    states, ended = torch.randn(5, 8), torch.arange(5) < 2
    head.save(tmp_path, "tiny", fingerprint(tiny), {"seen": []})
    assert torch.equal(ValueHead.load(tmp_path).values(states, ended), head.values(states, ended))
    assert find(tiny, "head", tmp_path) == tmp_path


def test_one_of_another_model_is_refused(head: ValueHead, tiny: str, tmp_path: Path) -> None:
    head.save(tmp_path, "other", "f" * 32, {})
    with pytest.raises(ModelError, match=r"was trained for the model other \(fingerprint ffff.*and this is"):
        find(tiny, "head", tmp_path)


def test_one_of_another_kind_is_refused(head: ValueHead, tiny: str, tmp_path: Path) -> None:
    head.save(tmp_path, "tiny", fingerprint(tiny), {})
    with pytest.raises(ModelError, match="of the kind head; adapter is asked for"):
        find(tiny, "adapter", tmp_path)


def test_where_there_is_none_the_way_to_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONPRUNE_CACHE", str(tmp_path))
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"some weights")
    with pytest.raises(ModelError, match="reasonprune train self-eval --pool FILE --kind head"):
        find(str(model), "head")


def test_the_one_trained_by_the_user_is_found(
    head: ValueHead, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REASONPRUNE_CACHE", str(tmp_path))
    mark = fingerprint(tiny)
    own = tmp_path / "self-eval" / mark / "head"
    head.save(own, "tiny", mark, {})
    assert find(tiny, "head") == own


@pytest.mark.parametrize("broken", ["no folder", "no json", "format", "weights"])
def test_a_broken_folder_is_named(head: ValueHead, tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "head"
    if broken != "no folder":
        head.save(folder, "tiny", "f" * 32, {})
    if broken == "no json":
        (folder / DESCRIPTION).write_text("{")
    if broken == "format":
        (folder / DESCRIPTION).write_text('{"format": 99}')
    if broken == "weights":
        (folder / WEIGHTS).write_bytes(b"")
    with pytest.raises(ModelError, match=r"holds no usable self-evaluation.*reasonprune train self-eval"):
        ValueHead.load(folder)


def test_an_adapter_for_whole_prompts_is_refused(tmp_path: Path) -> None:
    save_description(tmp_path, "adapter", "tiny", "f" * 32, {"rank": 8}, {})
    with pytest.raises(ModelError, match="it is to act on the evaluation turn alone"):
        describe(tmp_path)


def test_one_of_another_version_is_told_by_its_weights(head: ValueHead, tmp_path: Path) -> None:
    head.gate = torch.nn.Linear(8, 1)
    head.save(tmp_path, "tiny", "f" * 32, {})
    with pytest.raises(ModelError, match=r'Unexpected key\(s\) in state_dict: "gate.bias", "gate.weight"'):
        ValueHead.load(tmp_path)


def test_fingerprints_differ_with_the_weights(tmp_path: Path, tiny: str) -> None:
    marks = set()
    for size, end in ((100, b"a"), (100, b"b"), (3 << 20, b"a"), (3 << 20, b"b")):
        file = tmp_path / "model.safetensors"
        file.write_bytes(b"0" * size + end)
        marks.add(fingerprint(str(tmp_path)))
    assert len(marks | {fingerprint(tiny)}) == 5
    with pytest.raises(ModelError, match="holds no weights"):
        fingerprint(str(Path(__file__).parent))


def test_a_model_that_is_not_here_has_no_fingerprint() -> None:
    with pytest.raises(ModelError, match="not on this machine"):
        fingerprint("nobody/nothing-of-this-name")


def test_the_shipped_ones_belong_to_tiny_reasoner(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONPRUNE_CACHE", str(tmp_path))
    folder = find(tiny, "head")
    assert describe(folder)["training"]["test"]["1"]["auroc_within"] is not None
    assert ValueHead.load(folder).spec.width == 128 + TRAIL


@pytest.mark.parametrize(("model", "width"), [("tiny", 128), ("demo", 896)])
def test_what_ships_is_small_and_says_how_it_was_trained(model: str, width: int) -> None:
    folder = SHIPPED / model / "head"
    assert ValueHead.load(folder).spec.width == width + TRAIL
    described = describe(folder)
    assert (described["model"], described["kind"]) == (model, "head")
    assert len(described["training"]["seen"]) == sum(
        described["training"]["questions"][p] for p in ("train", "validation")
    )
    assert (folder / "head.safetensors").stat().st_size < 1 << 20
