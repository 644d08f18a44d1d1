"""Reading specs: every fault is named with its line, and stops no other model."""

import os
from pathlib import Path

import pytest

from configs.settings import Settings
from configs.spec_files import GALLERY, Catalogue, InvalidSpec, load_catalogue, read_spec
from configs.vad_file import VAD_FILE

GOOD = "name: mine\nfamily: echo\n"


def written(folder: Path, text: str | bytes, name: str = "spec.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def faults(path: Path) -> list[tuple[int | None, str]]:
    with pytest.raises(InvalidSpec) as caught:
        read_spec(path)
    assert all(broken.path == path for broken in caught.value.broken)
    return [(broken.line, broken.message) for broken in caught.value.broken]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "must be a mapping"),
        ("- a\n- b\n", 1, "must be a mapping"),
        ("just words", 1, "must be a mapping"),
        ("name: a\nfamily: [bert\n", 3, "not valid YAML"),
        ("name: a\n\tfamily: echo\n", 2, "not valid YAML"),
        ("name: a\n---\nname: b\n", 2, "not valid YAML"),
        ("name: a\nfamily: echo\nname: b\n", 3, "the key 'name' stands twice"),
        ("name: a\nfamily: *nowhere\n", 2, "not valid YAML"),
        ("name: !!python/object:os.system a\nfamily: echo\n", 1, "not valid YAML"),
        ("family: echo\n", 1, "name: is missing"),
        ("name: a\n", 1, "family: is missing"),
        ("name: 17\nfamily: echo\n", 1, "name: Input should be a valid string"),
        ("name: a b\nfamily: echo\n", 1, "name: must be letters"),
        ("name: ../up\nfamily: echo\n", 1, "name: must be letters"),
        ("name: a\nfamly: echo\n", 2, "famly: is not a field of a spec; did you mean 'family'?"),
        ("name: a\nfamily: echo\ncores: 0\n", 3, "cores: "),
        ("name: a\nfamily: echo\nlimits:\n  max_token: 1\n", 4, "did you mean 'max_tokens'?"),
        (GOOD + "files:\n  - path: a\n    source: ftp://x\n", 5, "files[0].source: must start with file:"),
        (GOOD + "files:\n  - path: ../a\n    source: file:a\n", 4, "files[0].path: must be a relative path"),
        (
            GOOD + "files:\n  - path: a\n    source: file:a\n  - source: file:b\n",
            6,
            "files[1].path: is missing",
        ),
        (GOOD + "files:\n- {path: a, source: 'file:a', sha256: beef}\n", 4, "64 hexadecimal digits"),
        (GOOD + "files:\n- {path: a, source: 'file:a'}\n- {path: a, source: 'file:b'}\n", 5, "stands twice"),
        (b"name: a\nfamily: \xff\xfe\n", 2, "not UTF-8 (byte 16)"),
        (b"name: a\nfamily: e\x00cho\n", None, "not valid YAML"),
        ("name: a\nfamily: 2026-13-45\n", None, "not valid YAML"),
        ("a: " + "[" * 3000, None, "nested too deeply"),
    ],
)
def test_a_fault_is_named_with_its_line(
    tmp_path: Path, text: str | bytes, line: int | None, message: str
) -> None:
    found = faults(written(tmp_path, text))
    assert message in found[0][1]
    assert found[0][0] == line


BERT = "name: mine\nfamily: bert\n"
WEIGHTS = BERT + "files:\n- {path: m.safetensors, source: 'file:m'}\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("name: a\nfamily: nothing\n", 2, "family: unknown family 'nothing'; known are bert, echo"),
        (GOOD + "runtime: gpu\n", 3, "runtime: family 'echo' has no runtime 'gpu'; it has auto, echo"),
        (GOOD + "files:\n- path: a\n  source: hf:foo\n", 5, "files[0].source: must read hf:<owner>"),
        (GOOD + "files:\n- path: a\n  source: hf:a/b/c\n", 5, "files[0].source: must read hf:<owner>"),
        (GOOD + "files:\n- path: a\n  source: pypi:foo\n", 5, "files[0].source: must read pypi:<dist>"),
        (GOOD + "files:\n- path: a\n  source: pypi:a==1\n", 5, "files[0].source: must read pypi:<dist>"),
        (GOOD + "files:\n- path: a\n  source: https:foo\n", 5, "must read https://<host>/<path>"),
        (GOOD + "files:\n- path: a\n  source: http://h/a\n", 5, "plain http needs a sha256"),
        (GOOD + "files:\n- path: a\n  source: import:ggfu\n", 5, "there is no importer 'ggfu'"),
        (GOOD + "files:\n- path: a\n  source: import:gguf?type=q3\n", 5, "f16, q8_0, f32, not 'q3'"),
        (GOOD + "files:\n- path: a\n  source: import:gguf?typ=f16\n", 5, "has no option 'typ'"),
        (GOOD + "files:\n- path: a\n  source: file:a\n  runtimes: [x]\n", 6, "no runtime 'x'"),
        (BERT + "files:\n- {path: m.bin, source: 'file:m'}\n", 3, "none of them is a weights file"),
        (WEIGHTS + "runtime: llamacpp\n", 3, "weights file for 'llamacpp' (.gguf)"),
        (WEIGHTS + "options:\n  gguf: other.gguf\n", 6, "'other.gguf' is not one of the files"),
        (BERT + "options:\n  poolin: cls\n", 4, "options.poolin: nothing reads it; did you mean 'pooling'?"),
        (BERT + "options:\n  normalize: true\n  pooling: best\n", 5, "options.pooling: "),
        (BERT + "options:\n  prefixes: {query: 1}\n", 4, "options.prefixes.query: "),
        (BERT + "options:\n  prefixes: {q: ''}\n  default_prefix: p\n", 5, "no prefix 'p'"),
        (BERT + "options: {prefixes: {q: ''}}\ndefaults:\n  input_type: p\n", 5, "no prefix 'p'"),
        (GOOD + "options:\n  dimensions: 0\n", 4, "options.dimensions: "),
        (GOOD + "defaults:\n  overlong: cut\n", 4, "defaults.overlong: "),
        (GOOD + "defaults:\n  overlogn: truncate\n", 4, "did you mean 'overlong'?"),
    ],
)
def test_what_no_engine_could_use_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    found = faults(written(tmp_path, text))
    assert message in found[0][1]
    assert found[0][0] == line
    assert Catalogue([tmp_path]).specs == {}
    assert Catalogue([tmp_path]).broken[0].model == text.split()[1]


@pytest.mark.parametrize(
    "source",
    [
        "hf:owner/name/sub/file.bin@main",
        "pypi:a-dist==1.0.0+cpu#pkg/model/file.bin",
        "https://host:8443/file",
        "file:~/file",
        "import:gguf",
        "import:gguf?type=q8_0",
    ],
)
def test_sources_that_are_right_pass(tmp_path: Path, source: str) -> None:
    text = GOOD + f"files:\n- path: a\n  source: {source}\n"
    assert len(read_spec(written(tmp_path, text)).files) == 1


def test_the_bound_of_the_service_holds_where_a_spec_has_no_lower_one(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "open.yaml")
    written(tmp_path, "name: low\nfamily: echo\nlimits: {max_inputs: 3}\n", "low.yaml")
    written(tmp_path, "name: high\nfamily: echo\nlimits: {max_inputs: 3000}\n", "high.yaml")
    specs = Catalogue([tmp_path], max_inputs=10).specs
    assert {name: spec.limits.max_inputs for name, spec in specs.items()} == {
        "mine": 10,
        "low": 3,
        "high": 10,
    }
    assert load_catalogue(Settings(home=tmp_path)).specs["echo"].limits.max_inputs == 50_000


def test_all_faults_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    found = faults(written(tmp_path, "name: a\nfamily: echo\ncores: none\nmemory_mb: -1\n"))
    assert [line for line, _ in found] == [3, 4]


def test_a_file_that_is_no_spec_by_its_size_is_refused(tmp_path: Path) -> None:
    assert "larger than" in faults(written(tmp_path, b"# " * 700_000))[0][1]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.yaml").mkdir()
    catalogue = Catalogue([tmp_path])
    assert {broken.path.name for broken in catalogue.broken} == {"gone.yaml", "folder.yaml"}
    assert all("cannot be read" in broken.message for broken in catalogue.broken)


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    assert read_spec(written(tmp_path, b"\xef\xbb\xbfname: a\r\nfamily: echo\r\n")).name == "a"


def test_a_relative_file_source_is_seen_from_the_spec(tmp_path: Path) -> None:
    text = GOOD + "files:\n- {path: a, source: 'file:sub/a'}\n- {path: b, source: 'file:/abs/b'}\n"
    spec = read_spec(written(tmp_path, text))
    assert [file.source for file in spec.files] == [f"file:{tmp_path}/sub/a", "file:/abs/b"]


def test_a_whisper_model_gets_the_voice_activity_detector_that_its_spec_does_not_name(tmp_path: Path) -> None:
    text = "name: mine\nfamily: whisper\nfiles:\n  - {path: model.bin, source: 'file:model.bin'}\n"
    assert read_spec(written(tmp_path, text)).files[1:] == (VAD_FILE,)
    own = text + "  - {path: silero_vad.onnx, source: 'file:own'}\n"
    assert [file.source for file in read_spec(written(tmp_path, own)).files[1:]] == [f"file:{tmp_path}/own"]
    assert read_spec(written(tmp_path, "name: mine\nfamily: whisper\n")).files == ()


def test_the_gallery_is_whole(tmp_path: Path) -> None:
    catalogue = load_catalogue(Settings(home=tmp_path))
    assert catalogue.broken == []
    assert {"all-minilm-l6-v2", "echo"} <= set(catalogue.specs)
    minilm = catalogue.find("sentence-transformers/all-MiniLM-L6-v2")
    assert minilm is not None
    assert minilm.limits.max_tokens == 512
    for spec in catalogue.specs.values():
        assert spec.description
        assert spec.license
        for file in spec.files:
            assert file.sha256 or file.source.startswith("import:"), f"{spec.name}: {file.path}"


def test_one_broken_spec_stops_no_other(tmp_path: Path) -> None:
    written(tmp_path / "specs", GOOD, "good.yaml")
    written(tmp_path / "specs", "name: [", "bad.yaml")
    catalogue = load_catalogue(Settings(home=tmp_path))
    assert {"mine", "echo", "all-minilm-l6-v2"} <= set(catalogue.specs)
    assert [(broken.path.name, broken.line) for broken in catalogue.broken] == [("bad.yaml", 1)]
    assert str(catalogue.broken[0]).startswith(f"{tmp_path}/specs/bad.yaml:1: ")


def test_a_users_spec_takes_the_place_of_a_ready_one(tmp_path: Path) -> None:
    written(tmp_path / "specs", "name: echo\nfamily: echo\noptions: {dimensions: 3}\n")
    catalogue = load_catalogue(Settings(home=tmp_path))
    assert catalogue.specs["echo"].options == {"dimensions": 3}
    assert catalogue.broken == []


def test_two_specs_of_one_folder_may_not_share_a_name(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "a.yaml")
    written(tmp_path, "name: other\nfamily: echo\naliases: [mine]\n", "b.yml")
    catalogue = Catalogue([tmp_path])
    assert list(catalogue.specs) == ["mine"]
    assert "the name 'mine' is already taken by a.yaml" in catalogue.broken[0].message


def test_an_alias_finds_its_model_and_an_unknown_name_nothing(tmp_path: Path) -> None:
    written(tmp_path, GOOD + "aliases: [also-mine]\n")
    catalogue = Catalogue([tmp_path, tmp_path / "missing"])
    found = catalogue.find("also-mine")
    assert found is not None
    assert found.name == "mine"
    assert catalogue.find("nothing") is None
    assert catalogue.find("") is None


def test_a_refresh_reads_only_what_changed_on_disk(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    catalogue = Catalogue([tmp_path, GALLERY])
    assert catalogue.refresh() is False
    path.write_text("name: renamed\nfamily: echo\n")
    os.utime(path, ns=(1, 1))
    assert catalogue.refresh() is True
    assert catalogue.find("renamed") is not None
    assert catalogue.find("mine") is None
    path.unlink()
    assert catalogue.refresh() is True
    assert catalogue.find("renamed") is None
