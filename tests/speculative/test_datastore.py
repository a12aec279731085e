"""The datastore: lookups against a plain search, growth, bounds, other processes, and every way it may be damaged."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reasonprune.errors import DatastoreError
from reasonprune.speculative import datastore as module
from reasonprune.speculative import manifest as manifests
from reasonprune.speculative.datastore import Datastore
from reasonprune.speculative.manifest import FILE
from reasonprune.speculative.segment import DEPTH, documents_of, joined

VOCABULARY = 200_000
DOCUMENTS = st.lists(st.lists(st.sampled_from([0, 1, 70_000]), min_size=1, max_size=30), min_size=1, max_size=6)


def made(folder: Path, documents: list[list[int]], **options: int) -> Datastore:
    store = Datastore.create(folder, "test", "print", VOCABULARY, **options)
    store.add(documents)
    return store


def plain(documents: list[list[int]], context: list[int]) -> dict[int, list[tuple[int, int]]]:
    """(document, end) of every occurrence with something after it, by length of match."""
    found: dict[int, list[tuple[int, int]]] = {}
    for matched in range(1, min(DEPTH, len(context)) + 1):
        hits = [
            (number, end)
            for number, tokens in enumerate(documents)
            for end in range(matched, len(tokens))
            if tokens[end - matched : end] == context[-matched:]
        ]
        if hits:
            found[matched] = hits
    return found


@given(DOCUMENTS, st.lists(st.sampled_from([0, 1, 70_000, 5]), max_size=DEPTH + 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_lookups_are_those_of_a_plain_search(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], context: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = made(folder, documents)
    expected = plain(documents, context)
    (segment,) = store._open.values()
    levels = dict(segment.occurrences(context))
    assert {matched: len(found) for matched, found in levels.items()} == {m: len(hits) for m, hits in expected.items()}
    for matched, found in levels.items():
        followed = sorted(tuple(segment.continuation(i, 4)) for i in found)
        assert followed == sorted(tuple(documents[n][end : end + 4]) for n, end in expected[matched])
    assert all(set(deeper) <= set(found) for found, deeper in pairwise(levels.values()))


@given(DOCUMENTS)
def test_documents_survive_joining(documents: list[list[int]]) -> None:
    arrays = [np.array(tokens, np.uint32) for tokens in documents]
    assert [tokens.tolist() for tokens in documents_of(joined(arrays))] == documents


def test_the_best_matches_come_first_and_shares_are_kept(tmp_path: Path) -> None:
    store = made(tmp_path / "s", [[1, 2, 3, 4], [9, 2, 3, 5], *([[2, 3, 6]] * 30)])
    found = store.continuations([1, 2, 3], 4, 8)
    assert (found[0].tokens, found[0].matched) == ([4], 3)
    weights = {token: sum(c.weight for c in found if c.tokens[0] == token) for token in (4, 5, 6)}
    assert weights[6] > weights[5], "30 of 32 occurrences of the shorter match go on with 6"
    assert store.continuations([8], 4, 8) == []


def test_growth_merges_and_evicts_the_oldest(tmp_path: Path) -> None:
    store = made(tmp_path / "s", [], max_tokens=8192)
    for number in range(60):
        store.add([[number] * 300])
    assert store.tokens <= 8192
    assert len(store.manifest.segments) <= 2 * module.SHARE_OF_BOUND
    assert store.continuations([59, 59], 2, 1)
    assert not store.continuations([0, 0], 2, 1)
    on_disk = {path.name for path in store.folder.glob("*.segment*")}
    assert on_disk == {segment.file for segment in store.manifest.segments}


def test_readers_keep_their_view_and_refresh_to_the_new_one(tmp_path: Path) -> None:
    store = made(tmp_path / "s", [[1, 2, 3]])
    reader = Datastore(tmp_path / "s", "print")
    assert not reader.refresh()
    store.add([[1, 2, 4], [1, 2, 4]])
    assert [c.tokens for c in reader.continuations([1, 2], 1, 4)] == [[3]], "its files are mapped, though merged away"
    assert reader.refresh()
    assert sorted(c.tokens[0] for c in reader.continuations([1, 2], 1, 4)) == [3, 4, 4]


def test_another_process_reads_what_was_written(tmp_path: Path) -> None:
    made(tmp_path / "s", [[70_000, 2, 3]])
    code = (
        "import sys; from pathlib import Path; from reasonprune.speculative.datastore import Datastore;"
        "print(Datastore(Path(sys.argv[1])).continuations([70000, 2], 1, 1)[0].tokens)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[3]", done.stderr


def test_another_tokenizers_datastore_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "s", [[1, 2]])
    with pytest.raises(DatastoreError, match="tokenizer of 'test'"):
        Datastore(tmp_path / "s", "another print")


@pytest.mark.parametrize("where", [0, -1])
def test_a_flipped_bit_is_found(tmp_path: Path, where: int) -> None:
    store = made(tmp_path / "s", [list(range(100))])
    path = store.folder / store.manifest.segments[0].file
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatastoreError, match="corrupt"):
        Datastore(tmp_path / "s")


def test_a_truncated_segment_is_found(tmp_path: Path) -> None:
    store = made(tmp_path / "s", [list(range(100))])
    os.truncate(store.folder / store.manifest.segments[0].file, 40)
    with pytest.raises(DatastoreError, match="holds 40 bytes and should hold"):
        Datastore(tmp_path / "s", verify=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "corrupt"), (b'{"sha256": "0", "content": "{}"}', "checksum"), (b"\xff\xfe", "corrupt"), (b"[]", "corrupt")],
)
def test_a_damaged_manifest_is_found(tmp_path: Path, content: bytes, message: str) -> None:
    made(tmp_path / "s", [[1, 2]])
    (tmp_path / "s" / FILE).write_bytes(content)
    with pytest.raises(DatastoreError, match=message):
        Datastore(tmp_path / "s")


def test_a_folder_without_a_datastore_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DatastoreError, match="reasonprune datastore build"):
        Datastore(tmp_path)


def test_ids_outside_the_vocabulary_change_nothing(tmp_path: Path) -> None:
    store = made(tmp_path / "s", [[1, 2]])
    before = store.manifest
    for wrong in (VOCABULARY, -1):
        with pytest.raises(DatastoreError, match=f"token id {wrong}"):
            store.add([[1, 2, 3], [wrong]])
    assert Datastore(tmp_path / "s").manifest == before
    assert len(list(store.folder.glob("*.segment*"))) == 1


def test_a_second_writer_waits_then_gives_up(tmp_path: Path) -> None:
    store = made(tmp_path / "s", [[1, 2]])
    lock = os.open(store.folder / module.LOCK, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DatastoreError, match="Another process is writing"):
            store.add([[3, 4]], wait_s=0.05)
    finally:
        os.close(lock)
    assert store.add([[3, 4]], wait_s=0.05) == 2


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    made(tmp_path / "s", [])
    code = (
        "import sys; from pathlib import Path; from reasonprune.speculative.datastore import Datastore;"
        "s = Datastore(Path(sys.argv[1])); n = int(sys.argv[2]); [s.add([[n, n, i]]) for i in range(20)]"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s")]
    writers = [subprocess.Popen([*command, str(number)]) for number in (1, 2)]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    store = Datastore(tmp_path / "s")
    assert store.tokens == 120
    for number in (1, 2):
        assert sorted(c.tokens[0] for c in store.continuations([number, number], 1, 64)) == list(range(20))


@pytest.mark.parametrize("reader", ["opens", "refreshes"])
def test_a_writer_between_manifest_and_segments_disturbs_no_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """The writer merges, so that the segment of the manifest just read is gone when the reader wants to map it."""
    writer = made(tmp_path / "s", [[1, 1, 1]])
    store = Datastore(tmp_path / "s")
    writer.add([[1, 1, 2]])
    load = manifests.load
    pending = [[1, 1, 3, 4]]

    def overtaken(folder: Path) -> manifests.Manifest:
        found = load(folder)
        if pending:
            writer.add([pending.pop()])
            assert not any((folder / segment.file).exists() for segment in found.segments)
        return found

    monkeypatch.setattr(manifests, "load", overtaken)
    if reader == "opens":
        store = Datastore(tmp_path / "s")
    else:
        assert store.refresh()
    assert sorted(c.tokens[0] for c in store.continuations([1, 1], 1, 64)) == [1, 2, 3]
    assert not store.refresh()


@pytest.mark.parametrize("late", ["refresh", "add"])
def test_what_is_written_while_a_store_is_opened_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """The new document is too small to merge, so the opened store lacks it and nothing is amiss with its segments."""
    writer = made(tmp_path / "s", [[1, 2, 3] * 100])
    load = manifests.load

    def overtaken(folder: Path) -> manifests.Manifest:
        found = load(folder)
        monkeypatch.setattr(manifests, "load", load)
        writer.add([[7, 8, 9]])
        return found

    monkeypatch.setattr(manifests, "load", overtaken)
    store = Datastore(tmp_path / "s")
    if late == "refresh":
        assert store.refresh()
    else:
        store.add([[4, 5, 6]])
    assert [c.tokens for c in store.continuations([7, 8], 1, 64)] == [[9]]
    assert [c.tokens for c in Datastore(tmp_path / "s").continuations([7, 8], 1, 64)] == [[9]]


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses the same write."""
    store = made(tmp_path / "s", [[1, 2, 3]])
    code = (
        "import resource, sys; from pathlib import Path; from reasonprune.errors import DatastoreError;"
        "from reasonprune.speculative.datastore import Datastore; s = Datastore(Path(sys.argv[1]));"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try: s.add([list(range(50_000))])\n"
        "except DatastoreError as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], capture_output=True, text=True, timeout=60)
    assert "It is as it was before" in done.stdout, done.stderr
    assert "--max-tokens" in done.stdout
    again = Datastore(tmp_path / "s")
    assert again.manifest == store.manifest
    assert len(list(store.folder.glob("*.segment*"))) == 1
    assert again.add([[4, 5]]) == 2


def test_a_build_is_not_done_twice(tmp_path: Path) -> None:
    made(tmp_path / "s", [[1, 2]])
    with pytest.raises(DatastoreError, match="datastore add"):
        made(tmp_path / "s", [[1, 2]])
