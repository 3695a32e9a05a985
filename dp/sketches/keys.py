"""Keys: what a sketch sees of a user, a keyed hash of the user's id.

SipHash-2-4 (Aumasson, Bernstein 2012, "SipHash: a fast short-input PRF", section 2) in NumPy, thousands of ids at
once: a library called once per id (PyPI's `siphash24`) hashes one million a second, this several. Without the 16-byte
key nobody can tell which ids will collide or be sampled; with it anybody can (`dp.sketches.salts` keeps it).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dp.sketches.protocol import Keys

KEY_BYTES = 16
ANY_SALT = bytes(range(KEY_BYTES))
"""Where the salt does not matter and nothing is secret."""

Words = NDArray[np.uint64]
_Offsets = NDArray[np.int32] | NDArray[np.int64]
_State = tuple[int, int, int, int]

_CONSTANTS = struct.unpack(">4Q", b"somepseudorandomlygeneratedbytes")
_ENDING = 0xFF
_LOWEST_64 = 2**64 - 1
_MOST_IDS = 2**14
"""Ids hashed at once: enough to make calls of NumPy cheap, few enough to fit into a core's second-level cache."""
_MOST_BYTES = 2**19 - 1
"""Bytes of ids copied at a time, unless a single id is longer; so the words of one of several fit into 16 bits."""
_FEW = 8
"""Fewer ids than this are hashed faster one by one in plain Python."""


def keys_of(ids: pa.Array | pa.ChunkedArray | Sequence[str], key: bytes) -> Keys:
    """SipHash-2-4 of the UTF-8 bytes of every id, as signed integers, shape (n,).

    Args:
        ids: user ids, none missing, duplicates allowed; an Arrow column may have any string type or be a dictionary of
            strings.
        key: 16 secret bytes.

    Raises:
        ValueError: the key has another length, or an id is missing.
        TypeError: the ids are not strings.
    """
    start = _initial_state(key)
    column = _column(ids)
    hashes = np.empty(len(column), dtype=np.uint64)
    done = 0
    for array in column.chunks:
        for offsets, data in _pieces(array):
            hashes[done : done + len(offsets) - 1] = _hash_texts(offsets, data, start)
            done += len(offsets) - 1
    return hashes.view(np.int64)


def siphash(words: Words, key: bytes) -> Words:
    """SipHash-2-4 of messages of whole words, for sketches that need more random bits of a user than one key has.

    Args:
        words: one message per row, its bytes those of the words in little-endian order, shape (n, k); for instance a
            key and a counter.
        key: 16 secret bytes.

    Returns:
        Shape (n,).

    Raises:
        ValueError: the key has another length.
    """
    start = _initial_state(key)
    count, length = words.shape
    hashes = np.empty(count, dtype=np.uint64)
    for first in range(0, count, _MOST_IDS):
        rows = words[first : first + _MOST_IDS]
        state, spare = _states(start, len(rows))
        for position in range(length):
            _absorb(state, rows[:, position], spare)
        _absorb(state, np.uint64((8 * length & _ENDING) << 56), spare)
        hashes[first : first + _MOST_IDS] = _finish(state, spare)
    return hashes


def derived_key(key: bytes, purpose: str) -> bytes:
    """Another 16-byte key, one per purpose; without `key`, none of them reveals anything about another (keyed BLAKE2b).

    Raises:
        ValueError: the key does not have 16 bytes.
    """
    return blake2b(purpose.encode(), key=validate_key(key), digest_size=KEY_BYTES, person=b"dpdau purpose").digest()


def validate_key(key: bytes) -> bytes:
    """The key if it has 16 bytes; otherwise raises ValueError, which does not show it."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"key has {len(key)} bytes; it needs {KEY_BYTES} secret random ones")
    return key


def _column(ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> pa.ChunkedArray:
    """The ids as arrays of offsets and bytes."""
    if isinstance(ids, str):
        raise TypeError("ids is one string; give a list of strings")
    array = (
        ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids) if len(ids) else pa.array([], pa.string())
    )
    column = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind not in (pa.string(), pa.large_string(), pa.string_view()):
        raise TypeError(f"ids have the type {column.type}; they must be strings")
    if column.type not in (pa.string(), pa.large_string()):
        column = column.cast(pa.large_string())
    if column.null_count:
        raise ValueError(f"ids has {column.null_count:,} missing values in {len(column):,}; every user needs an id")
    return column


def _pieces(array: pa.Array) -> Iterator[tuple[_Offsets, NDArray[np.uint8]]]:
    """The offsets of m ids at a time, shape (m + 1,), and the bytes that they point into."""
    if not len(array):
        return
    _, places, text = array.buffers()
    kind = np.dtype("<i4" if array.type == pa.string() else "<i8")
    offsets = np.frombuffer(places, dtype=kind, count=len(array) + 1, offset=array.offset * kind.itemsize)
    data = np.frombuffer(text or b"", dtype=np.uint8)
    first = 0
    while first < len(array):
        ahead = offsets[first : first + _MOST_IDS + 1]
        fitting = int(np.searchsorted(ahead, int(ahead[0]) + _MOST_BYTES, side="right")) - 1
        piece = ahead[: max(fitting, 1) + 1]
        yield piece, data
        first += len(piece) - 1


def _hash_texts(offsets: _Offsets, data: NDArray[np.uint8], start: _State) -> Words:
    """The hashes of the ids between the offsets, processed longest first, so that unfinished ones always come first."""
    begin, end = int(offsets[0]), int(offsets[-1])
    # Words are read at multiples of 8 and assembled from two neighbours; hence the zeros at the end.
    text = np.zeros((end - begin) // 8 + 2, dtype="<u8")
    text.view(np.uint8)[: end - begin] = data[begin:end]

    lengths = np.diff(offsets).astype(np.int64)
    # By number of words in 16 bits, because NumPy sorts those by radix, five times as fast; ~ reverses the order.
    order = np.argsort(~(lengths >> 3).astype(np.uint16), kind="stable")
    lengths, places = lengths[order], offsets[order].astype(np.int64) - begin
    whole_words, addresses = lengths >> 3, places >> 3
    skipped = (places & 7).astype(np.uint64) << 3
    # A message ends with a word of its last zero to seven bytes, with its length modulo 256 as the top byte.
    kept = (np.uint64(1) << ((lengths & 7).astype(np.uint64) << 3)) - np.uint64(1)
    ending = lengths.astype(np.uint64) << 56

    state, spare = _states(start, len(lengths))
    position, going_on, here = 0, len(lengths), text.take(addresses)
    while going_on >= _FEW:
        there = text.take(addresses[:going_on] + (position + 1))
        # In two steps, because a shift by 64 is undefined.
        word = (here[:going_on] >> skipped[:going_on]) | (there << (56 - skipped[:going_on]) << 8)
        position += 1
        longer = int(np.searchsorted(-whole_words, -position, side="right"))
        word[longer:] = word[longer:] & kept[longer:going_on] | ending[longer:going_on]
        _absorb(state[:, :going_on], word, spare[:going_on])
        going_on, here = longer, there
    for number in range(going_on):
        place, length = int(places[number]), int(lengths[number])
        message = text.view(np.uint8)[place + 8 * position : place + length].tobytes()
        state[:, number] = _absorb_alone(state[:, number].tolist(), message, length)

    hashes = np.empty(len(lengths), dtype=np.uint64)
    hashes[order] = _finish(state, spare)
    return hashes


def _initial_state(key: bytes) -> _State:
    low, high = struct.unpack("<2Q", validate_key(key))
    one, two, three, four = _CONSTANTS
    return low ^ one, high ^ two, low ^ three, high ^ four


def _states(start: _State, count: int) -> tuple[Words, Words]:
    """The initial states of `count` messages, one per column, shape (4, count), and space for intermediate results."""
    state = np.empty((4, count), dtype=np.uint64)
    state[:] = np.array(start, dtype=np.uint64)[:, None]
    return state, np.empty(count, dtype=np.uint64)


def _absorb(state: Words, word: Words | np.uint64, spare: Words) -> None:
    state[3] ^= word
    _rounds(state, spare, 2)
    state[0] ^= word


def _finish(state: Words, spare: Words) -> Words:
    state[2] ^= np.uint64(_ENDING)
    _rounds(state, spare, 4)
    hashes: Words = np.bitwise_xor.reduce(state, axis=0)
    return hashes


def _rounds(state: Words, spare: Words, count: int) -> None:
    """The paper's figure 2.1, in place."""
    one, two, three, four = state
    for _ in range(count):
        one += two
        three += four
        _rotate(two, 13, spare)
        _rotate(four, 16, spare)
        two ^= one
        four ^= three
        _rotate(one, 32, spare)
        three += two
        one += four
        _rotate(two, 17, spare)
        _rotate(four, 21, spare)
        two ^= three
        four ^= one
        _rotate(three, 32, spare)


def _rotate(words: Words, bits: int, spare: Words) -> None:
    """Rotate to the left, in place."""
    np.right_shift(words, 64 - bits, out=spare)
    np.left_shift(words, bits, out=words)
    np.bitwise_or(words, spare, out=words)


def _absorb_alone(state: list[int], message: bytes, length: int) -> _State:
    """The rest of a message of `length` bytes in all, in Python's integers."""
    one, two, three, four = state
    padded = message + bytes(7 - len(message) % 8) + bytes([length & _ENDING])
    for (word,) in struct.iter_unpack("<Q", padded):
        four ^= word
        for _ in range(2):
            one = one + two & _LOWEST_64
            three = three + four & _LOWEST_64
            two = (two << 13 & _LOWEST_64 | two >> 51) ^ one
            four = (four << 16 & _LOWEST_64 | four >> 48) ^ three
            one = one << 32 & _LOWEST_64 | one >> 32
            three = three + two & _LOWEST_64
            one = one + four & _LOWEST_64
            two = (two << 17 & _LOWEST_64 | two >> 47) ^ three
            four = (four << 21 & _LOWEST_64 | four >> 43) ^ one
            three = three << 32 & _LOWEST_64 | three >> 32
        one ^= word
    return one, two, three, four
