"""What a client would rather have, by its `Accept` header."""


def prefers_event_stream(accept: str) -> bool:
    return prefers("text/event-stream", accept)


def prefers(media_type: str, accept: str) -> bool:
    """Whether `media_type` is named, and liked at least as much as JSON where that is named too."""
    weights = dict(_weights(accept))
    weight = weights.get(media_type, 0.0)
    return weight > 0 and weight >= weights.get("application/json", 0.0)


def _weights(accept: str) -> list[tuple[str, float]]:
    weights = []
    for part in accept.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        try:
            weights.append((media_type, float(quality)))
        except ValueError:
            continue  # a range that can't be read is one that was not given
    return weights
