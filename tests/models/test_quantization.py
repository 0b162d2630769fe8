from gpt2svc.models.quantization import quantized_revision


def test_a_quantised_model_has_a_revision_of_its_own() -> None:
    assert quantized_revision("abc", "none") == "abc"
    assert len({quantized_revision("abc", quantize) for quantize in ("none", "int8", "int4")}) == 3


def test_a_revision_that_is_not_known_stays_unknown() -> None:
    assert quantized_revision("", "int8") == ""
