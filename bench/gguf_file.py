"""A GPT-2 checkpoint as llama.cpp reads it."""

from pathlib import Path
from typing import Final

import numpy as np
from safetensors import safe_open

_PREFIX: Final = "transformer."
_LINEARS: Final = {
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
_NORMS: Final = {"ln_1": "attn_norm", "ln_2": "ffn_norm"}


def write_gguf(checkpoint: Path, file: Path, kind: str) -> None:
    """`kind` is "f32", "bf16" or "q8_0": of the matrices; vectors and positions stay in float32."""
    import gguf

    kinds = gguf.GGMLQuantizationType
    quantized = {"f32": kinds.F32, "bf16": kinds.BF16, "q8_0": kinds.Q8_0}[kind]
    writer = gguf.GGUFWriter(file, "gpt2")
    with safe_open(checkpoint / "model.safetensors", "np") as tensors:

        def put(name: str, source: str, *, is_matrix: bool = False, is_transposed: bool = False) -> None:
            values = tensors.get_tensor(_PREFIX + source).astype(np.float32)
            values = np.ascontiguousarray(values.T if is_transposed else values)
            if is_matrix and kind != "f32":
                writer.add_tensor(name, gguf.quants.quantize(values, quantized), raw_dtype=quantized)
            else:
                writer.add_tensor(name, values)

        vocab_size, width = tensors.get_slice(_PREFIX + "wte.weight").get_shape()
        positions, _ = tensors.get_slice(_PREFIX + "wpe.weight").get_shape()
        num_layers = sum(name.endswith("ln_1.weight") for name in tensors.keys())  # noqa: SIM118
        writer.add_block_count(num_layers)
        writer.add_context_length(positions)
        writer.add_embedding_length(width)
        writer.add_feed_forward_length(4 * width)
        writer.add_head_count(width // 64)
        writer.add_layer_norm_eps(1e-5)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list([f"t{i}" for i in range(vocab_size)])
        writer.add_token_types([1] * vocab_size)
        writer.add_token_merges(["t 0"])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(0)
        put("token_embd.weight", "wte.weight", is_matrix=True)
        put("position_embd.weight", "wpe.weight")
        put("output_norm.weight", "ln_f.weight")
        put("output_norm.bias", "ln_f.bias")
        for i in range(num_layers):
            for source, name in _LINEARS.items():
                put(f"blk.{i}.{name}.weight", f"h.{i}.{source}.weight", is_matrix=True, is_transposed=True)
                put(f"blk.{i}.{name}.bias", f"h.{i}.{source}.bias")
            for source, name in _NORMS.items():
                put(f"blk.{i}.{name}.weight", f"h.{i}.{source}.weight")
                put(f"blk.{i}.{name}.bias", f"h.{i}.{source}.bias")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
