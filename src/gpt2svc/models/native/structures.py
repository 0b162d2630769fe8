"""The C structures of csrc/*.h, field by field."""

from ctypes import POINTER, Structure, c_float, c_int32, c_int64, c_void_p
from enum import IntEnum
from typing import Final

INTERFACE: Final = 5  # of csrc/forward.h: a library of another one reads these structures wrongly


class Kind(IntEnum):
    """How weights are held; csrc/matmul.h."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2
    INT4 = 3


class Activation(IntEnum):
    """By its name in config.json; csrc/matmul.h."""

    NONE = 0
    GELU_NEW = 1
    RELU = 2
    SILU = 3
    TANH = 4


class LinearStruct(Structure):
    _fields_ = [
        ("panels", c_void_p),
        ("bias", c_void_p),
        ("scales", c_void_p),
        ("offsets", c_void_p),
        ("num_in", c_int32),
        ("num_out", c_int32),
        ("kind", c_int32),
    ]


class NormStruct(Structure):
    _fields_ = [("weight", c_void_p), ("bias", c_void_p)]


class LayerStruct(Structure):
    _fields_ = [
        ("qkv", LinearStruct),
        ("attention_out", LinearStruct),
        ("expand", LinearStruct),
        ("contract", LinearStruct),
        ("norm_1", NormStruct),
        ("norm_2", NormStruct),
    ]


class ModelStruct(Structure):
    _fields_ = [
        ("embedding", LinearStruct),
        ("lm_head", LinearStruct),
        ("positions", c_void_p),
        ("layers", POINTER(LayerStruct)),
        ("norm", NormStruct),
        ("epsilon", c_float),
        ("num_layers", c_int32),
        ("num_heads", c_int32),
        ("head_dim", c_int32),
        ("num_inner", c_int32),
        ("num_positions", c_int32),
        ("kind", c_int32),
        ("activation", c_int32),
        ("is_post_norm", c_int32),
    ]


class CacheStruct(Structure):
    _fields_ = [
        ("keys", c_void_p),
        ("values", c_void_p),
        ("num_slots", c_int64),
        ("kind", c_int32),
        ("num_blocks", c_int32),
        ("num_layers", c_int32),
        ("num_heads", c_int32),
        ("head_dim", c_int32),
    ]


class BatchStruct(Structure):
    _fields_ = [
        ("num_rows", c_int32),
        ("num_queries", c_int32),
        ("num_logits", c_int32),
        ("num_hidden", c_int32),
        ("token_ids", c_void_p),
        ("slots", c_void_p),
        ("places", c_void_p),
        ("queries", c_void_p),
        ("logit_rows", c_void_p),
        ("hidden_rows", c_void_p),
        ("logits", c_void_p),
        ("hidden", c_void_p),
    ]


class FaultStruct(Structure):
    _fields_ = [("kind", c_int32), ("index", c_int32), ("value", c_int64), ("limit", c_int64)]
