"""Tracking: runs, the registry of models and its champion; the only import of MLflow.

SQLite beside the outputs by default, a server where `MLFLOW_TRACKING_URI` names one. Metrics and files only: models are
stored by the artifact as safetensors and logged as files, never through MLflow's own model formats, which can run code.
"""

from procmodel.tracking.provenance import code_version, environment, seal_of
from procmodel.tracking.registry import Champion, Registry, RunFacts
from procmodel.tracking.run import Run, Tracker, store_of

__all__ = ["Champion", "Registry", "Run", "RunFacts", "Tracker", "code_version", "environment", "seal_of", "store_of"]
