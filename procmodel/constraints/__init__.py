"""Constraint heads: margins that no sensor measures, learned from few labels, with a calibrated allowance."""

from procmodel.constraints.fit import HeadSamples, fit_head
from procmodel.constraints.head import ConstraintHead
from procmodel.constraints.labels import Labels, label_blocks, match_rows, read_labels, within

__all__ = ["ConstraintHead", "HeadSamples", "Labels", "fit_head", "label_blocks", "match_rows", "read_labels", "within"]
