"""Links in a model folder: they may not lead out of it."""

from pathlib import Path

from gpt2svc.errors import ModelFormatError


def check_inside(folder: Path, file: Path) -> None:
    """Raises ModelFormatError where `file` is a link that leaves `folder`, or one without an end.

    `folder` itself may be a link: whoever named it chose that. The exception is the hub library's own cache, which
    keeps each file once in `models--owner--name/blobs` and links to it from `snapshots/<commit>`.
    """
    try:
        target, root = file.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise ModelFormatError(f"{file} is a broken link.", field=file.name) from error
    allowed = [root]
    if root.parent.name == "snapshots":
        allowed.append(root.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise ModelFormatError(f"{file} is a link that leaves its folder.", field=file.name)
