"""What a client would rather have, by its `Accept` header."""


def prefers_event_stream(accept: str) -> bool:
    """Whether `text/event-stream` is named, and liked at least as much as JSON where that is named too."""
    weights = dict(_weights(accept))
    stream = weights.get("text/event-stream", 0.0)
    return stream > 0 and stream >= weights.get("application/json", 0.0)


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
