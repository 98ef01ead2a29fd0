"""Exports as plants hand them over, each made from a truth that no reader of ours has touched.

Every case writes its files from moments in UTC, numbers and words, with code that only formats; what is expected of
a reader is that truth. `CASES` lists them all, for `tests/connectors/test_corpus.py` and `experiments/export_fuzz.py`.
"""

from corpus.binary import BINARY
from corpus.case import Case, Expected
from corpus.columns import COLUMNS
from corpus.long_text import LONG
from corpus.wide_text import WIDE

CASES: tuple[Case, ...] = (*LONG, *WIDE, *COLUMNS, *BINARY)

__all__ = ["CASES", "Case", "Expected"]
