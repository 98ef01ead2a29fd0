"""`python -m procmodel`, which launchers of several processes start (docs/training.md)."""

from procmodel.cli import main

main()
