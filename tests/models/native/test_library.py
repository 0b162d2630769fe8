"""Which kernels are taken, and when there are none."""

import subprocess
from pathlib import Path

import pytest
import torch

from gpt2svc.models.folder import ModelFolder
from gpt2svc.models.gpt2 import GPT2
from gpt2svc.models.loading import load_model
from gpt2svc.models.native.build import build, compiler, levels_here
from gpt2svc.models.native.gpt2 import NativeGPT2
from gpt2svc.models.native.levels import LEVELS, levels_of, processor_flags
from gpt2svc.models.native.library import FOLDER, NativeLibrary
from gpt2svc.models.quantization import QUANTIZATIONS, Quantization
from tests.fakes.checkpoints import random_gpt2, write_checkpoint

CPU = torch.device("cpu")


def test_an_installation_with_a_compiler_has_kernels_for_its_processor() -> None:
    if compiler() is None or not levels_here():
        pytest.skip("no C compiler here, or a processor that the kernels don't know")
    library = NativeLibrary.find()
    assert library is not None
    assert library.file.parent == FOLDER
    assert library.file.name == levels_here()[0].library_name
    assert library.has_int8 == (library.file.name != LEVELS[2].library_name)  # AVX-512 without VNNI


def test_the_kernels_serve_all_kinds_of_weights_with_avx2_alone(
    libraries: dict[str, NativeLibrary], tmp_path: Path
) -> None:
    plain = libraries["avx2"]
    folder = ModelFolder.open(write_checkpoint(tmp_path, random_gpt2(1)))
    for quantize in QUANTIZATIONS:
        assert isinstance(load_model(folder, CPU, torch.float32, quantize=quantize, library=plain), NativeGPT2)


def test_an_empty_folder_or_a_broken_file_means_torch(tmp_path: Path) -> None:
    assert NativeLibrary.find(tmp_path) is None
    for level in LEVELS:
        (tmp_path / level.library_name).write_bytes(b"not a library")
    assert NativeLibrary.find(tmp_path) is None


@pytest.mark.parametrize("source", ["int gpt2_interface(void) { return -1; }", "int gpt2_features(void) { return 0; }"])
def test_kernels_of_another_release_are_left_aside_with_a_word(
    source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = compiler()
    if name is None or not levels_here():
        pytest.skip("no C compiler here, or a processor that the kernels don't know")
    file = tmp_path / "library.c"
    file.write_text(source)
    made = tmp_path / levels_here()[0].library_name
    subprocess.run([*name.split(), "-shared", "-fPIC", str(file), "-o", str(made)], check=True)
    assert NativeLibrary.find(tmp_path) is None
    assert "was compiled from other sources" in caplog.text


def test_without_a_compiler_nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert build(tmp_path / "kernels") == []
    assert not (tmp_path / "kernels").exists()


def test_a_compiler_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if compiler() is None:
        pytest.skip("kernels are built on Linux, for x86-64")
    monkeypatch.setenv("CC", "false")
    assert build(tmp_path, LEVELS[-1:]) == []
    assert list(tmp_path.iterdir()) == []
    assert "no kernels for avx2" in capsys.readouterr().err


def test_a_processor_gets_the_best_level_that_it_can_run(tmp_path: Path) -> None:
    assert [level.name for level in levels_of(LEVELS[0].flags | LEVELS[-1].flags)] == [level.name for level in LEVELS]
    assert [level.name for level in levels_of(LEVELS[-1].flags)] == ["avx2"]
    assert levels_of(frozenset({"sse2"})) == []
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fma avx2\n\nprocessor\t: 1\n")
    assert processor_flags(cpuinfo) == {"fma", "avx2"}
    assert processor_flags(tmp_path / "absent") == frozenset()


@pytest.mark.parametrize(
    ("config", "dtype", "quantize", "is_native"),
    [
        ({}, torch.float32, "none", True),
        ({}, torch.bfloat16, "none", True),
        ({}, torch.float32, "int4", True),
        ({"n_inner": 72}, torch.float32, "int4", False),
        ({"n_embd": 60}, torch.float32, "none", False),  # heads of 15
        ({"activation_function": "gelu"}, torch.float32, "none", False),
        ({"reorder_and_upcast_attn": True}, torch.bfloat16, "none", False),
        ({"reorder_and_upcast_attn": True}, torch.float32, "none", True),
    ],
)
def test_what_the_kernels_have_not_goes_through_torch(
    config: dict[str, object], dtype: torch.dtype, quantize: Quantization, is_native: bool, library: NativeLibrary,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder = ModelFolder.open(write_checkpoint(tmp_path, random_gpt2(1, **config)))
    model = load_model(folder, CPU, dtype, quantize=quantize, library=library)
    assert isinstance(model, NativeGPT2 if is_native else GPT2)
    assert isinstance(load_model(folder, CPU, dtype, quantize=quantize, library=None), GPT2)
