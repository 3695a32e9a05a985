"""Keys of user ids against SipHash-2-4 in plain Python, written from the paper, and the paper's own vectors."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, ncx2, norm

from dp.sketches.keys import derived_key, keys_of, siphash
from tests.examples import examples
from tests.laws import each

KEY = bytes(range(16))
OTHER_KEY = bytes(range(100, 116))
WORD = 2**64

# Of the reference implementation, key 00 01 … 0f, message 00 01 … of that many bytes; 15 is in the paper, appendix A.
VECTORS = {
    0: 0x726FDB47DD0E0E31, 1: 0x74F839C593DC67FD, 2: 0x0D6C8009D9A94F5A, 3: 0x85676696D7FB7E2D,
    7: 0xAB0200F58B01D137, 8: 0x93F5F5799A932462, 15: 0xA129CA6149BE45E5, 16: 0x3F2ACC7F57C29BDB,
    63: 0x958A324CEB064572,
}  # fmt: skip


def oracle(message: bytes, key: bytes = KEY) -> int:
    """SipHash-2-4, one byte string at a time (paper, section 2 and figure 2.1)."""
    low, high = (int.from_bytes(half, "little") for half in (key[:8], key[8:]))
    v0, v1 = low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D
    v2, v3 = low ^ 0x6C7967656E657261, high ^ 0x7465646279746573

    def rotated(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) % WORD

    def rounds(count: int) -> None:
        nonlocal v0, v1, v2, v3
        for _ in range(count):
            v0, v2 = (v0 + v1) % WORD, (v2 + v3) % WORD
            v1, v3 = rotated(v1, 13) ^ v0, rotated(v3, 16) ^ v2
            v0, v2 = (rotated(v0, 32) + v3) % WORD, (v2 + v1) % WORD
            v1, v3 = rotated(v1, 17) ^ v2, rotated(v3, 21) ^ v0
            v2 = rotated(v2, 32)

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
    for place in range(0, len(padded), 8):
        word = int.from_bytes(padded[place : place + 8], "little")
        v3 ^= word
        rounds(2)
        v0 ^= word
    v2 ^= 0xFF
    rounds(4)
    return v0 ^ v1 ^ v2 ^ v3


def expected(ids: list[str], key: bytes = KEY) -> list[int]:
    """What `keys_of` must give: the oracle's words as signed numbers."""
    hashes = [oracle(one.encode(), key) for one in ids]
    return [word - WORD if word >= WORD // 2 else word for word in hashes]


def random_ids(count: int, longest: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    text = rng.integers(33, 127, count * longest, dtype=np.uint8).tobytes().decode()
    lengths = rng.integers(0, longest + 1, count).tolist()
    return [text[number * longest : number * longest + length] for number, length in enumerate(lengths)]


IDS = [
    "", "a", "user-000123456789", "Zoë", "用户-0001", "\N{ROCKET}" * 5, "\0", "\0" * 8, "x" * 7, "x" * 8, "x" * 9,
    "y" * 255, "y" * 256, "y" * 300,
]  # fmt: skip


class TestVectors:
    @each(("length", "word"), VECTORS.items())
    def test_the_oracle(self, length, word):
        assert oracle(bytes(range(length))) == word

    @each("copies", [1, 100])
    @each(("length", "word"), VECTORS.items())
    def test_the_keys(self, length, word, copies):
        # Bytes below 128 are their own UTF-8.
        keys = keys_of([bytes(range(length)).decode()] * copies, KEY)
        assert keys.dtype == np.int64
        assert set(keys.view(np.uint64).tolist()) == {word}

    @each("length", [0, 8, 16])
    def test_whole_words(self, length):
        words = np.frombuffer(bytes(range(length)), dtype="<u8").reshape(1, -1)
        assert siphash(words, KEY).tolist() == [VECTORS[length]]


class TestKeysAreThoseOfTheOracle:
    @pytest.mark.slow
    @examples(60)
    @given(st.lists(st.text(max_size=30), max_size=30), st.binary(min_size=16, max_size=16))
    def test_any_texts_and_any_key(self, ids, key):
        assert keys_of(ids, key).tolist() == expected(ids, key)

    @each("length", range(70))
    def test_every_length_alone_and_among_others(self, length):
        # One, two and a dozen are below and above the number at which ids are hashed abreast.
        for count in (1, 2, 12):
            ids = [chr(97 + number) * length for number in range(count)]
            assert keys_of(ids, KEY).tolist() == expected(ids)

    @each("count", [7, 8, 9])
    def test_a_few_that_go_on_after_the_others(self, count):
        ids = [*("s" * number for number in range(20)), *(chr(97 + number) * 100 for number in range(count))]
        assert keys_of(ids, KEY).tolist() == expected(ids)

    def test_many_of_mixed_lengths(self):
        ids = random_ids(40_000, 60, seed=1)
        some = slice(0, None, 41)
        assert keys_of(ids, KEY)[some].tolist() == expected(ids[some])

    def test_bulk_is_one_by_one(self):
        ids = random_ids(500, 100, seed=2)
        assert keys_of(ids, KEY).tolist() == [keys_of([one], KEY).item() for one in ids]

    def test_equal_ids_have_equal_keys_and_others_have_others(self):
        ids = random_ids(2000, 40, seed=3)
        keys = keys_of(ids + ids, KEY)
        assert np.array_equal(keys[:2000], keys[2000:])
        assert len(set(keys.tolist())) == len(set(ids))

    @pytest.mark.parametrize("length", [50_000, pytest.param(2**19 + 5, marks=pytest.mark.slow)])
    def test_a_long_id_among_many(self, length):
        # The words in the longer one, counted in 16 bits, would be none.
        ids = [f"user-{number:06d}" for number in range(20_000)]
        keys = keys_of(pa.array([*ids[:9000], "z" * length, *ids[9000:]]), KEY)
        assert keys[9000] == expected(["z" * length])[0]
        assert np.array_equal(np.delete(keys, 9000), keys_of(ids, KEY))

    def test_a_long_id_costs_its_own_memory_only(self):
        column = pa.array([*["user"] * 16_000, "z" * 15_000])
        tracemalloc.start()
        keys_of(column, KEY)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Padding all that are hashed together to one length would take 240 MB.
        assert peak < 5e6


class TestColumns:
    @each("kind", [pa.string(), pa.large_string(), pa.string_view()])
    def test_every_string_type_whole_and_in_slices(self, kind):
        column = pa.array(IDS, kind)
        assert keys_of(column, KEY).tolist() == expected(IDS)
        for first in range(len(IDS)):
            assert keys_of(column[first:], KEY).tolist() == expected(IDS[first:])
            assert keys_of(column[first : first + 3], KEY).tolist() == expected(IDS[first : first + 3])

    def test_chunks(self):
        column = pa.chunked_array([pa.array(IDS[:3]), pa.array([], pa.string()), pa.array(IDS)[3:]])
        assert keys_of(column, KEY).tolist() == expected(IDS)
        assert keys_of(column[2:5], KEY).tolist() == expected(IDS[2:5])

    def test_a_dictionary(self):
        column = pa.array(IDS + IDS).dictionary_encode()
        assert keys_of(column, KEY).tolist() == 2 * expected(IDS)

    def test_lists_and_arrays_of_python(self):
        assert keys_of(tuple(IDS), KEY).tolist() == expected(IDS)
        assert keys_of(np.array(["a", "bc"], dtype=object), KEY).tolist() == expected(["a", "bc"])

    @each("ids", [[], pa.array([], pa.string()), pa.chunked_array([], pa.string())])
    def test_nobody(self, ids):
        keys = keys_of(ids, KEY)
        assert keys.shape == (0,)
        assert keys.dtype == np.int64

    def test_empty_ids_alone(self):
        assert keys_of(pa.array([""] * 20), KEY).tolist() == 20 * expected([""])

    @each("shift", range(8))
    def test_buffers_that_begin_anywhere(self, shift):
        text = "".join(IDS).encode()
        ends = np.cumsum([0, *(len(one.encode()) for one in IDS)])
        places, data = (
            pa.py_buffer(bytes(shift) + content).slice(shift) for content in (ends.astype("<i8").tobytes(), text)
        )
        column = pa.Array.from_buffers(pa.large_string(), len(IDS), [None, places, data])
        assert keys_of(column, KEY).tolist() == expected(IDS)

    @each("ids", [["a", None], pa.array(["a", None]), pa.array(["a", None]).dictionary_encode()])
    def test_missing_ids_are_refused(self, ids):
        with pytest.raises(ValueError, match="ids has 1 missing values in 2"):
            keys_of(ids, KEY)

    def test_what_is_missing_outside_a_slice_does_not_matter(self):
        assert keys_of(pa.array(["a", None, "b"])[2:], KEY).tolist() == expected(["b"])

    @each("ids", ["abc", [1, 2], pa.array([1, 2]), pa.array([b"a"]), pa.nulls(3)])
    def test_what_is_no_list_of_strings_is_refused(self, ids):
        with pytest.raises(TypeError):
            keys_of(ids, KEY)


class TestWords:
    @each("length", [0, 1, 2, 5, 40])
    def test_messages_of_whole_words(self, length):
        words = np.random.default_rng(length).integers(0, WORD, (60, length), dtype=np.uint64)
        assert siphash(words, KEY).tolist() == [oracle(row.astype("<u8").tobytes()) for row in words]

    def test_more_than_are_hashed_at_a_time(self):
        words = np.random.default_rng(1).integers(0, WORD, (40_000, 2), dtype=np.uint64)
        hashes = siphash(words, KEY)
        for place in (0, 16_383, 16_384, 32_768, 39_999):
            assert hashes[place] == oracle(words[place].astype("<u8").tobytes())
        assert np.array_equal(siphash(np.asfortranarray(words), KEY), hashes)

    def test_the_words_are_left_alone(self):
        words = np.arange(20, dtype=np.uint64).reshape(10, 2)
        words.flags.writeable = False
        siphash(words, KEY)

    def test_nothing(self):
        assert siphash(np.empty((0, 2), dtype=np.uint64), KEY).shape == (0,)


class TestKey:
    @each("length", [0, 15, 17, 32])
    def test_another_length_is_refused_without_showing_it(self, length):
        key = b"unspeakable" * 3
        for call in (
            lambda: keys_of(["a"], key[:length]),
            lambda: siphash(np.zeros((1, 1), dtype=np.uint64), key[:length]),
            lambda: derived_key(key[:length], "purpose"),
        ):
            with pytest.raises(ValueError, match=f"key has {length} bytes; it needs 16") as refused:
                call()
            assert "unspeak" not in str(refused.value)

    def test_every_purpose_and_every_key_has_a_key_of_its_own(self):
        derived = [derived_key(key, purpose) for key in (KEY, OTHER_KEY) for purpose in ("", "kmv", "fm", "fm ")]
        assert {len(key) for key in derived} == {16}
        assert len({KEY, OTHER_KEY, *derived}) == 10

    def test_derived_keys_never_change(self):
        # Stored sketches depend on them.
        assert derived_key(KEY, "kmv").hex() == "f2ba2503b5329159bdddfb9c832b1172"


USERS = 2**16


@pytest.fixture(scope="module")
def two_salts() -> tuple[np.ndarray, np.ndarray]:
    """The same users' keys under two salts that differ in a bit; ids as alike as ids can be."""
    ids = pa.array([f"user-{number:012d}" for number in range(USERS)])
    neighbour = bytes([KEY[0] ^ 1]) + KEY[1:]
    return keys_of(ids, KEY).view(np.uint64), keys_of(ids, neighbour).view(np.uint64)


def related(keys: np.ndarray, others: np.ndarray) -> float:
    """p-value of Pearson's test that four low bits here and four there are uniform and independent: 256 cells."""
    cells = np.bincount((keys & np.uint64(15)) * np.uint64(16) + (others & np.uint64(15)), minlength=256)
    return float(chi2.sf(np.sum((cells - USERS / 256) ** 2) / (USERS / 256), 255))


class TestTwoSaltsGiveUnrelatedKeys:
    """Refused at p < 1e-4; the keys are fixed, so the test does not flicker."""

    def test_their_low_bits_are_independent(self, two_salts):
        assert related(*two_salts) > 1e-4
        assert related(two_salts[0], two_salts[1] >> np.uint64(60)) > 1e-4

    def test_none_is_equal(self, two_salts):
        # Two equal ones among 65,536 pairs have a probability of 2^-48.
        assert not np.any(two_salts[0] == two_salts[1])
        assert len(np.unique(np.concatenate(two_salts))) == 2 * USERS

    def test_a_salt_that_is_only_mixed_in_at_the_end_is_rejected(self, two_salts):
        keys, _ = two_salts
        assert related(keys, keys ^ np.uint64(0xDEADBEEF)) < 1e-300

    def test_so_is_a_relation_of_one_user_in_fifty(self, two_salts):
        keys, others = two_salts
        assert related(keys, np.where(np.arange(USERS) % 50 == 0, keys, others)) < 1e-4

    def test_power(self):
        """Where a share s of the users has equal low bits, noncentrality is 15·s²·USERS: 1.5 % is seen with 0.99."""
        assert ncx2.sf(chi2.isf(1e-4, 255), 255, 15 * 0.015**2 * USERS) > 0.99


def largest_deviation(keys: np.ndarray) -> float:
    """In standard deviations: of any bit from being set half the time, of any two from agreeing half the time."""
    bits = (keys[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    signs = np.column_stack([2.0 * bits - 1, np.ones(len(keys))])
    agreement = signs.T @ signs / np.sqrt(len(keys))
    return float(np.abs(agreement[np.triu_indices(65, 1)]).max())


@pytest.mark.slow
class TestBitsAreBalanced:
    """2,080 deviations within ±5.6: chance alone exceeds that with a probability below 1e-4."""

    LIMIT = 5.6

    @pytest.mark.slow
    def test_bits_and_pairs_of_bits(self, two_salts):
        assert 2 * 2080 * norm.sf(self.LIMIT) < 1e-4
        for keys in two_salts:
            assert largest_deviation(keys) < self.LIMIT

    def test_power(self):
        """A bit that is set 51.6 % of the time, or two that agree so often, is seen with a probability of 0.99."""
        assert norm.sf(self.LIMIT - 2 * 0.016 * np.sqrt(USERS)) > 0.99

    def test_a_biased_bit_is_rejected(self, two_salts):
        keys = two_salts[0].copy()
        keys[::30] |= np.uint64(1 << 40)
        assert largest_deviation(keys) > self.LIMIT

    def test_two_bits_that_are_often_equal_are_rejected(self, two_salts):
        keys = two_salts[0].copy()
        some = keys[::30]
        keys[::30] = some & ~np.uint64(1) | some >> np.uint64(63)
        assert largest_deviation(keys) > self.LIMIT

    def test_numbers_in_place_of_hashes_are_rejected(self):
        assert largest_deviation(np.arange(USERS, dtype=np.uint64)) > self.LIMIT
