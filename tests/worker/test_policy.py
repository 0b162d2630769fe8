from gpt2svc.worker.policy import RestartPolicy


def test_delays_double_up_to_the_limit() -> None:
    policy = RestartPolicy(backoff_s=0.2, max_backoff_s=30.0)
    assert [policy.backoff(n) for n in (1, 2, 3, 8, 9, 10_000)] == [0.2, 0.4, 0.8, 25.6, 30.0, 30.0]
