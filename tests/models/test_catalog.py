"""The catalogue, and what a MODEL on the command line refers to."""

import subprocess
import sys
from pathlib import Path

import pytest

from reasonprune.errors import ModelError
from reasonprune.models import ResolvedModel, cache_folder, catalog, fetch_by_name, resolve, resolve_encoder
from reasonprune.models.cache import defect, model_folder, seal, work_folder
from reasonprune.models.catalog import DEMO, MINILM, MODELS, SMOLLM2, PackagedModel, ShippedModel

REAL_CACHE = {model.name: model_folder(model.name) for model in (DEMO, SMOLLM2, MINILM)}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REASONPRUNE_CACHE", str(tmp_path))
    return tmp_path


def put_in_cache(model: PackagedModel) -> Path:
    folder = model_folder(model.name)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    seal(folder, model.sha256)
    return folder


def test_sizes_of_the_parts_add_up() -> None:
    for model in (DEMO, SMOLLM2, MINILM):
        assert sum(part.size for part in model.parts) == model.size


def test_catalog_tells_what_is_cached(cache: Path) -> None:
    put_in_cache(SMOLLM2)
    work_folder("demo").mkdir()
    (work_folder("demo") / "part-1").write_bytes(bytes(500))

    entries = {entry.name: entry for entry in catalog()}

    assert list(entries) == ["demo", "smollm2", "tiny", "minilm"]
    assert entries["smollm2"].cached
    assert entries["smollm2"].size_on_disk > 1000
    assert not entries["demo"].cached
    assert entries["demo"].size_on_disk == 500
    assert entries["demo"].download_size == 491_400_064
    assert all(entry.licence == "Apache-2.0" and entry.description for entry in entries.values())


def test_cached_model_resolves_to_its_folder(cache: Path) -> None:
    folder = put_in_cache(DEMO)

    assert resolve("demo") == ResolvedModel("demo", str(folder), "catalog")


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REASONPRUNE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("REASONPRUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "reasonprune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / ".cache" / "reasonprune"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "reasonprune"


def test_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", ShippedModel("tiny", "", "", tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"lacks its model.safetensors .* Install reasonprune again"):
        resolve("tiny")

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert resolve("tiny") == ResolvedModel("tiny", str(tmp_path), "catalog")


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin", "model.gguf"])
def test_local_folder(tmp_path: Path, weights: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no weights"):
        resolve(str(tmp_path))

    (tmp_path / weights).write_bytes((2).to_bytes(8, "little") + b"{}")  # an empty safetensors file
    assert resolve(str(tmp_path)) == ResolvedModel(str(tmp_path), str(tmp_path), "path")


def test_local_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config.json. Name a folder"):
        resolve(str(tmp_path))

    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"Name the file itself: .*model.gguf"):
        resolve(str(tmp_path))


def test_local_file(tmp_path: Path) -> None:
    gguf, other = tmp_path / "model.gguf", tmp_path / "notes.txt"
    gguf.write_bytes(b"GGUF")
    other.write_bytes(b"text")

    assert resolve(str(gguf)).path == str(gguf)
    with pytest.raises(ModelError, match="not a model file"):
        resolve(str(other))


def test_existing_path_goes_before_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("org/name") == ResolvedModel("org/name", "org/name", "hub")

    Path("org/name").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"holds no config.json"):
        resolve("org/name")


@pytest.mark.parametrize("model", ["./demo", "a/b/c", "~/nowhere", "model.gguf", "/nowhere/model"])
def test_path_that_does_not_exist(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no file or folder"):
        resolve(model)


@pytest.mark.parametrize("model", ["", "gpt-4", "Demo"])
def test_bare_word_is_answered_with_the_short_names(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"short name \(demo, smollm2, tiny\)"):
        resolve(model)
    with pytest.raises(ModelError, match=r"not a sentence encoder.* short name \(minilm\)"):
        resolve_encoder(model)
    with pytest.raises(ModelError, match="demo, smollm2, tiny, minilm"):
        fetch_by_name(model)


def test_sentence_encoder_is_not_served(cache: Path) -> None:
    put_in_cache(MINILM)

    with pytest.raises(ModelError, match=r"minilm is a sentence encoder and cannot be served.*'smollm2'"):
        resolve("minilm")


def test_cached_encoder_resolves_to_its_folder(cache: Path) -> None:
    folder = put_in_cache(MINILM)

    assert resolve_encoder("minilm") == fetch_by_name("minilm") == folder


def test_generating_model_is_no_encoder(cache: Path) -> None:
    folder = put_in_cache(SMOLLM2)

    assert fetch_by_name("smollm2") == folder
    for name in ("smollm2", "tiny"):
        with pytest.raises(ModelError, match=rf"{name} generates text and does not embed sentences.* minilm"):
            resolve_encoder(name)


@pytest.mark.parametrize("config", ["modules.json", "config.json"])
def test_local_encoder(tmp_path: Path, config: str) -> None:
    with pytest.raises(ModelError, match=r"neither a modules.json nor a config.json"):
        resolve_encoder(str(tmp_path))

    (tmp_path / config).write_text("{}")
    assert resolve_encoder(str(tmp_path)) == tmp_path
    with pytest.raises(ModelError, match="is a file"):
        resolve_encoder(str(tmp_path / config))


def test_encoder_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_encoder("org/name") == "org/name"

    with pytest.raises(ModelError, match="no file or folder"):
        resolve_encoder("./org/name")
    Path("org/name").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"neither a modules.json"):
        resolve_encoder("org/name")


def test_import_is_light() -> None:
    heavy = "{'torch', 'transformers', 'rich', 'gguf'}"
    code = f"import sys, reasonprune.models; print({heavy} & set(sys.modules))"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.strip() == "set()"


@pytest.mark.parametrize("model", [DEMO, SMOLLM2], ids=lambda model: model.name)
def test_tokenizer_of_a_cached_model(model: PackagedModel) -> None:
    folder = REAL_CACHE[model.name]
    if defect(folder, model.sha256) is not None:
        pytest.skip(f"{model.name} is not in the cache")
    transformers = pytest.importorskip("transformers")

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.GenerationConfig.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "1 + 1?"}], tokenize=False, add_generation_prompt=True
    )

    assert prompt.endswith("<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.eos_token == "<|im_end|>"
    assert config.eos_token_id == tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert "".join(tokenizer.tokenize("a 345")) == "aĠ345"
    assert tokenizer.tokenize("345") == ["3", "4", "5"]


def test_tokenizer_of_the_cached_encoder() -> None:
    folder = REAL_CACHE["minilm"]
    if defect(folder, MINILM.sha256) is not None:
        pytest.skip("minilm is not in the cache")
    transformers = pytest.importorskip("transformers")

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    assert transformers.AutoConfig.from_pretrained(folder).hidden_size == 384
    assert tokenizer.convert_ids_to_tokens(tokenizer("Two apples")["input_ids"]) == ["[CLS]", "two", "apples", "[SEP]"]
    assert (folder / "1_Pooling" / "config.json").is_file()


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_weights_file_is_named(tmp_path: Path, keep: int) -> None:
    shipped = Path(resolve("tiny").path)
    (tmp_path / "config.json").write_bytes((shipped / "config.json").read_bytes())
    weights = (shipped / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert resolve(str(tmp_path)).source == "path"
    (tmp_path / "model.safetensors").write_bytes(weights[:keep])
    with pytest.raises(ModelError, match=r"model\.safetensors .*(bytes|broken)"):
        resolve(str(tmp_path))
