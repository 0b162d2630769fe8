from gpt2svc.metrics import Metrics


def test_two_registries_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.accepted.inc()
    assert one.registry.get_sample_value("gpt2svc_generations_accepted_total") == 1
    assert other.registry.get_sample_value("gpt2svc_generations_accepted_total") == 0


def test_build_info_names_the_versions() -> None:
    metrics = Metrics({"gpt2svc": "1.2.3", "torch": None})
    labels = {"gpt2svc": "1.2.3", "torch": ""}
    assert metrics.registry.get_sample_value("gpt2svc_build_info", labels) == 1
