"""procmodel: world models and constrained advice for industrial process control."""

__version__ = "0.1.0"
