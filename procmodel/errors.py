"""Every error that procmodel raises on purpose.

ProcmodelError
├── InputError           something the user gave is wrong: exit code 2
│   ├── PlantFileError   the plant file, or a value in it
│   ├── HistorianError   a source cannot be read, or what it holds cannot be understood
│   ├── DatasetError     a dataset is missing, damaged, or too short for what is asked of it
│   ├── LabelError       the labelled samples of a constraint head
│   └── ArtifactError    a stored model is missing, damaged, or was learned from another plant
├── LostError            one of several processes of a training has gone: exit code 1
└── RefusedError         it ran, and the answer is no: exit code 1
    ├── CollapsedError   training ended in a latent that carries nothing
    └── GateError        a check before advice was not passed

Messages say which thing, what it got, what it needs and where to mend it.
"""

__all__ = [
    "ArtifactError",
    "CollapsedError",
    "DatasetError",
    "GateError",
    "HistorianError",
    "InputError",
    "LabelError",
    "LostError",
    "PlantFileError",
    "ProcmodelError",
    "RefusedError",
]


class ProcmodelError(Exception):
    """Base of all errors that procmodel raises on purpose."""

    exit_code = 1


class InputError(ProcmodelError):
    """What the user gave is wrong; nothing was changed."""

    exit_code = 2


class PlantFileError(InputError):
    """The plant file, or a value in it, cannot be used."""


class HistorianError(InputError):
    """A historian cannot be read, or what it holds cannot be understood."""


class DatasetError(InputError):
    """A dataset is missing, damaged, or too short for what is asked of it."""


class LabelError(InputError):
    """The labelled samples of a constraint head cannot be used."""


class ArtifactError(InputError):
    """A stored model is missing, damaged, or was learned from another plant."""


class LostError(ProcmodelError):
    """One of several processes of a training has gone."""


class RefusedError(ProcmodelError):
    """It ran, and the answer is no."""


class CollapsedError(RefusedError):
    """Training ended in a latent that carries nothing."""


class GateError(RefusedError):
    """A check that stands before advice was not passed."""
