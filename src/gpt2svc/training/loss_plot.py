"""The picture of a run: training and validation loss by step."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt2svc.training.published_folder import write_file

FILE_NAME = "loss.png"


def plot_losses(records: Sequence[Mapping[str, Any]], output_dir: Path) -> None:
    """Writes loss.png from the records of a `MetricsLog`. Raises StorageFullError or StorageError."""
    # NOTE: the figure is drawn without pyplot, which keeps global state and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for key, name in (("loss", "training"), ("eval_loss", "validation")):
        points = [(record["step"], record[key]) for record in records if key in record]
        if points:
            steps, losses = zip(*points, strict=True)
            axes.plot(steps, losses, label=name, marker="o" if len(points) < 30 else None, markersize=3)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats)")
    axes.grid(alpha=0.3)
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_file(output_dir / FILE_NAME, content.getvalue())
