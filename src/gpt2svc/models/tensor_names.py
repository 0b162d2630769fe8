"""Which tensors a GPT-2 or GPT-1 model is made of, and their shapes."""

import re
from collections.abc import Iterable
from typing import Final

from gpt2svc.errors import ModelFormatError
from gpt2svc.models.config import GPT2Config
from gpt2svc.models.safetensors_header import TensorEntry
from gpt2svc.models.task_head import CHOICE_BIAS, CHOICE_WEIGHT, SCORE_WEIGHT, ChoiceHead, ClassificationHead

_PREFIX: Final = "transformer."
_GPT1_NAMES: Final = {"tokens_embed.weight": "wte.weight", "positions_embed.weight": "wpe.weight"}
_EMBEDDING: Final = "wte.weight"
_LM_HEAD: Final = "lm_head.weight"
_DTYPES: Final = ("F32", "BF16", "F16")
# The causal mask that old releases of transformers saved along.
_BUFFER: Final = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
_LAYER: Final = re.compile(r"h\.(\d+)\.")


def expected_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """Canonical name to shape: GPT-2's names, and those of a task's head.

    Projections are stored (in, out), as transformers' Conv1D has them, the head's the other way round.
    """
    embd, inner = config.n_embd, config.n_inner
    layer: dict[str, tuple[int, ...]] = {
        "ln_1.weight": (embd,),
        "ln_1.bias": (embd,),
        "attn.c_attn.weight": (embd, 3 * embd),
        "attn.c_attn.bias": (3 * embd,),
        "attn.c_proj.weight": (embd, embd),
        "attn.c_proj.bias": (embd,),
        "ln_2.weight": (embd,),
        "ln_2.bias": (embd,),
        "mlp.c_fc.weight": (embd, inner),
        "mlp.c_fc.bias": (inner,),
        "mlp.c_proj.weight": (inner, embd),
        "mlp.c_proj.bias": (embd,),
    }
    shapes: dict[str, tuple[int, ...]] = {
        _EMBEDDING: (config.vocab_size, embd),
        "wpe.weight": (config.n_positions, embd),
    }
    for i in range(config.n_layer):
        shapes.update({f"h.{i}.{name}": shape for name, shape in layer.items()})
    if config.architecture == "gpt2":
        shapes["ln_f.weight"] = (embd,)
        shapes["ln_f.bias"] = (embd,)
    if config.is_language_model and not config.tie_word_embeddings:
        shapes[_LM_HEAD] = (config.vocab_size, embd)
    match config.head:
        case ClassificationHead(labels):
            shapes[SCORE_WEIGHT] = (len(labels), embd)
        case ChoiceHead():
            shapes[CHOICE_WEIGHT] = (1, embd)
            shapes[CHOICE_BIAS] = (1,)
    return shapes


def gpt2_tensors(entries: Iterable[TensorEntry], config: GPT2Config) -> dict[str, TensorEntry]:
    """The model's tensors among `entries`, under canonical names.

    Heads that config.json doesn't name are left out. Raises ModelFormatError where a tensor is missing, of another
    shape or dtype, there twice, or part of a layer in a way that GPT-2 doesn't know (it would be silently without
    effect).
    """
    shapes = expected_shapes(config)
    if config.is_language_model and config.tie_word_embeddings:
        shapes = {**shapes, _LM_HEAD: (config.vocab_size, config.n_embd)}
    found: dict[str, TensorEntry] = {}
    for entry in entries:
        name = entry.name.removeprefix(_PREFIX)
        if config.architecture == "openai-gpt":
            name = _GPT1_NAMES.get(name, name)
        shape = shapes.get(name)
        if shape is None:
            _check_ignorable(name, config)
            continue
        if name in found:
            raise ModelFormatError(f"The weights have {name} twice, in {found[name].file.name} and {entry.file.name}.")
        if entry.shape != shape:
            raise ModelFormatError(
                f"{entry.file.name}: {entry.name} has the shape {list(entry.shape)}, but config.json asks for "
                f"{list(shape)}.",
                field=entry.name,
            )
        if entry.dtype not in _DTYPES:
            raise ModelFormatError(
                f"{entry.file.name}: {entry.name} has the dtype {entry.dtype}; supported are {', '.join(_DTYPES)}.",
                field=entry.name,
            )
        found[name] = entry
    # NOTE: of two tied tensors a file may have either: transformers keeps only this one of OpenAIGPTDoubleHeadsModel.
    if config.tie_word_embeddings and _EMBEDDING not in found and _LM_HEAD in found:
        found[_EMBEDDING] = found.pop(_LM_HEAD)
    missing = [name for name in expected_shapes(config) if name not in found]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ModelFormatError(f"The weights lack {', '.join(missing[:3])}{more}.", field=missing[0])
    return found


def _check_ignorable(name: str, config: GPT2Config) -> None:
    layer = _LAYER.match(name)
    if layer is None or _BUFFER.fullmatch(name):
        return
    if int(layer.group(1)) >= config.n_layer:
        problem = f"belongs to layer {layer.group(1)}, but config.json's n_layer is {config.n_layer}"
    else:
        problem = "is not part of a GPT-2 layer (merge adapters into the weights before saving)"
    raise ModelFormatError(f"The weights have {name[:100]!r}, which {problem}.", field="n_layer")
