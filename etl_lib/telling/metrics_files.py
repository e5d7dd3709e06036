"""metrics.json: beside the run, and as the latest."""

from __future__ import annotations

from dataclasses import dataclass

from etl_lib.process.output import write_text
from etl_lib.run.metrics import Metrics, as_json


@dataclass(frozen=True)
class MetricsFiles:
    """Writes the metrics into a folder on any file system that pyarrow knows."""

    output: str

    def tell(self, metrics: Metrics) -> None:
        """Write both files; a run that was refused has no metrics of its own."""
        if not metrics.is_refused:
            text = as_json(metrics, indent=2) + "\n"
            for path in reversed(metrics_paths(self.output, metrics.run_id)):
                write_text(path, text)


def metrics_paths(output: str, run_id: str) -> tuple[str, str]:
    """The latest metrics, and those of this run."""
    folder = output.rstrip("/")
    return f"{folder}/metrics.json", f"{folder}/runs/{run_id}/metrics.json"
