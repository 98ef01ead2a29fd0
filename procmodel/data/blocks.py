"""Arrow batches as the plain arrays that compiled loops read, without a copy where Arrow allows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from procmodel.data.kernels import Block
from procmodel.data.samples import Quality

_ALL_VALID = np.zeros(0, dtype=np.uint8)
_ALL_VALID.flags.writeable = False


class Blocks:
    """Turns batches of samples into blocks.

    Args:
        column: Column number of each tag's name; other tags are not ours.
    """

    def __init__(self, column: Mapping[str, int]) -> None:
        self._column = column
        self._names: pa.Array | None = None
        self._column_D = np.zeros(0, dtype=np.int64)

    def of(self, batch: pa.RecordBatch) -> Block:
        """One batch in the schema of samples."""
        tag, value, quality = batch.column("tag"), batch.column("value"), batch.column("quality")
        if not pa.types.is_dictionary(tag.type):
            tag = tag.dictionary_encode()
        if tag.indices.type != pa.int32():
            tag = pa.DictionaryArray.from_arrays(tag.indices.cast(pa.int32()), tag.dictionary)
        if self._names is None or not tag.dictionary.equals(self._names):
            self._names = tag.dictionary
            self._column_D = _sealed([self._column.get(name, -1) for name in self._names.to_pylist()], np.int64)
        if quality.null_count:
            quality = quality.fill_null(int(Quality.BAD))
        return Block(
            column_D=self._column_D,
            codes_N=_numbers(tag.indices, np.int32),
            times_N=_numbers(batch.column("time"), np.int64),
            values_N=_numbers(value, np.float64),
            valid=_ALL_VALID if not value.null_count else np.frombuffer(value.buffers()[0], dtype=np.uint8),
            first_bit=value.offset if value.null_count else 0,
            quality_N=_numbers(quality, np.int8),
        )


def block_of(codes_N: np.ndarray, times_N: np.ndarray, values_N: np.ndarray, good_N: np.ndarray, columns: int) -> Block:
    """A block of arrays: column of each sample (below 0: not one of ours), time [us], value, whether it is good."""
    return Block(
        column_D=_sealed([*range(columns), -1], np.int64),
        codes_N=_sealed(np.where(codes_N < 0, columns, codes_N), np.int32),
        times_N=_sealed(times_N, np.int64),
        values_N=_sealed(values_N, np.float64),
        valid=_ALL_VALID,
        first_bit=0,
        quality_N=_sealed(np.where(good_N, int(Quality.GOOD), int(Quality.BAD)), np.int8),
    )


def part_of(block: Block, at_N: np.ndarray) -> Block:
    """The samples of a block where `at_N` is true, in their order."""
    quality_N = block.quality_N
    if len(block.valid):
        bits = np.unpackbits(block.valid, count=block.first_bit + len(quality_N), bitorder="little")
        quality_N = np.where(bits[block.first_bit :], quality_N, np.int8(Quality.BAD))
    return block._replace(
        codes_N=_sealed(block.codes_N[at_N], np.int32),
        times_N=_sealed(block.times_N[at_N], np.int64),
        values_N=_sealed(block.values_N[at_N], np.float64),
        valid=_ALL_VALID,
        first_bit=0,
        quality_N=_sealed(quality_N[at_N], np.int8),
    )


def _numbers(array: pa.Array, dtype: Any) -> np.ndarray:
    """The numbers of an array as they lie in memory; what is null there means nothing."""
    size = np.dtype(dtype).itemsize
    return np.frombuffer(array.buffers()[1], dtype=dtype, count=len(array), offset=array.offset * size)


def _sealed(values: Any, dtype: Any) -> np.ndarray:
    """A copy that cannot be written, as Arrow's memory cannot: loops are compiled once for each kind of array."""
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array
