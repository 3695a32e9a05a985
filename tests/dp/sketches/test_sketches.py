"""The laws that every sketch obeys, whatever it is: tests/oracles/sketch_instances.py has the list."""

from __future__ import annotations

from itertools import pairwise, permutations

import datasketches
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.sketches import SKETCHES, UnsupportedError, family_of
from dp.sketches.bitmap import Bitmap
from dp.sketches.cpc import Cpc
from dp.sketches.hll import Hll
from dp.sketches.kmv import Kmv
from dp.sketches.theta import Theta
from tests.examples import examples
from tests.laws import each
from tests.oracles.sketch_instances import INSTANCES, Instance

# Nobody, one user, fewer than any of the sketches can hold, and more.
SIZES = (0, 1, 5, 60, 700)
NOBODY = np.empty(0, dtype=np.int64)
EDGES = np.array([-(2**63), -(2**63) + 1, -(2**32), -2, -1, 0, 1, 2, 2**32, 2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1])
NUMBER_EDGES = np.array([0, 1, 2, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1])

every_instance = pytest.mark.parametrize("instance", INSTANCES, ids=str)
every_size = each("size", SIZES)


def figures(sketch) -> tuple:
    """All that a sketch says of the number of users."""
    return sketch.estimate(), *(sketch.bounds(deviations) for deviations in (1, 2, 3))


def state(instance: Instance, sketch) -> tuple:
    """What tells apart sketches of different users, whatever the order in which they came.

    Where the bytes do not, a sketch is known by its figures and by those that it gives together with sets of others.
    """
    settled = instance.design.empty().merge(sketch)
    if instance.canonical:
        return (settled.to_bytes(), *figures(settled))
    together = [settled.merge(instance.sketch(instance.keys(count, seed))) for seed, count in ((97, 9), (98, 300))]
    return tuple(figures(each) for each in (settled, *together))


def edges(instance: Instance) -> np.ndarray:
    return NUMBER_EDGES if instance.family.keys == "number" else EDGES


def test_the_list_of_instances_is_the_list_of_sketches():
    assert {instance.name for instance in INSTANCES} == set(SKETCHES)


@each("name", SKETCHES)
def test_a_family_says_why_when_a_release_cannot_use_it(name):
    family = family_of(name)
    assert (family.contract.kind == "none") <= bool(family.refusal)
    assert (family.contract.kind == "none") or family.contract.proof
    assert (family.contract.kind == "sensitivity") <= (not family.refusal)


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="sketch is 'hyper'; choose one of exact, "):
        family_of("hyper")


@every_instance
@every_size
class TestSets:
    @pytest.mark.slow
    def test_bulk_equals_one_by_one_and_in_chunks(self, instance, size):
        keys = instance.keys(size, 1)
        one_by_one = chunks = instance.design.empty()
        for key in keys:
            one_by_one = one_by_one.add(np.array([key]))
        for start in range(0, size, 7):
            chunks = chunks.add(keys[start : start + 7])
        bulk = instance.sketch(keys)
        assert one_by_one.to_bytes() == bulk.to_bytes()
        assert figures(one_by_one) == figures(bulk)
        assert state(instance, chunks) == state(instance, bulk)

    def test_the_order_does_not_matter(self, instance, size):
        keys = instance.keys(size, 2)
        there, back = instance.sketch(keys), instance.sketch(keys[::-1])
        assert state(instance, there) == state(instance, back)
        if not instance.ordered:
            assert there.to_bytes() == back.to_bytes()

    def test_nobody_changes_nothing(self, instance, size):
        sketch = instance.sketch(instance.keys(size, 3))
        assert figures(sketch.add(NOBODY)) == figures(sketch)
        assert state(instance, sketch.add(NOBODY)) == state(instance, sketch)

    def test_users_who_come_again_change_nothing(self, instance, size):
        keys = instance.keys(size, 4)
        sketch = instance.sketch(keys)
        if instance.family.removes == "toggles":
            assert state(instance, sketch.add(keys)) == state(instance, instance.design.empty())
        else:
            assert figures(sketch.add(keys)) == figures(sketch)
            twice = instance.sketch(np.repeat(keys, 2))
            assert state(instance, sketch.add(keys)) == state(instance, twice) == state(instance, sketch)

    def test_other_users_change_something(self, instance, size):
        sketch = instance.sketch(instance.keys(size, 5))
        assert state(instance, sketch.add(instance.keys(900, 6))) != state(instance, sketch)

    def test_a_sketch_is_a_value(self, instance, size):
        keys, others = instance.keys(size, 7), instance.keys(200, 8)
        sketch, other = instance.sketch(keys), instance.sketch(others)
        before = sketch.to_bytes(), figures(sketch), other.to_bytes(), figures(other)
        kept_keys, kept_others = keys.copy(), others.copy()
        sketch.add(others)
        sketch.merge(other)
        other.merge(sketch)
        if instance.family.removes != "no":
            sketch.remove(keys[: size // 2])
        assert (sketch.to_bytes(), figures(sketch), other.to_bytes(), figures(other)) == before
        np.testing.assert_array_equal(keys, kept_keys)
        np.testing.assert_array_equal(others, kept_others)

    def test_later_changes_of_the_array_do_not_reach_the_sketch(self, instance, size):
        keys = instance.keys(size, 9)
        sketch = instance.sketch(keys)
        before = sketch.to_bytes()
        keys[:] = 17
        assert sketch.to_bytes() == before


@every_instance
class TestMerging:
    @each("first", SIZES)
    @each("second", SIZES)
    def test_the_merger_is_the_union(self, instance, first, second):
        ours, theirs, both = instance.keys(first, 11), instance.keys(second, 12), instance.keys(40, 13)
        merged = instance.sketch(np.append(ours, both)).merge(instance.sketch(np.append(theirs, both)))
        toggles = instance.family.merges == "symmetric difference"
        expected = np.concatenate((ours, theirs) if toggles else (ours, theirs, both))
        assert state(instance, merged) == state(instance, instance.sketch(expected))
        assert figures(merged) == figures(instance.design.empty().merge(instance.sketch(expected)))

    @each("sizes", [(0, 5, 60), (3, 60, 700), (300, 20, 600)])
    def test_neither_order_nor_brackets_matter(self, instance, sizes):
        sketches = [instance.sketch(instance.keys(size, 14 + place)) for place, size in enumerate(sizes)]
        results = [state(instance, a.merge(b).merge(c)) for a, b, c in permutations(sketches)]
        results += [state(instance, a.merge(b.merge(c))) for a, b, c in permutations(sketches)]
        assert all(result == results[0] for result in results)

    @every_size
    def test_a_sketch_merged_with_itself(self, instance, size):
        sketch = instance.sketch(instance.keys(size, 17))
        toggles = instance.family.merges == "symmetric difference"
        expected = instance.design.empty() if toggles else sketch
        assert state(instance, sketch.merge(sketch)) == state(instance, expected)

    @every_size
    def test_nobody_is_neutral(self, instance, size):
        sketch = instance.sketch(instance.keys(size, 18))
        neutral = sketch.merge(instance.design.empty())
        assert state(instance, neutral) == state(instance, sketch)
        if not instance.ordered:
            assert neutral.to_bytes() == sketch.to_bytes()

    def test_a_merged_sketch_goes_on(self, instance):
        first, second, third = (instance.keys(200, 19 + place) for place in range(3))
        gone_on = instance.sketch(first).merge(instance.sketch(second)).add(third)
        assert state(instance, gone_on) == state(instance, instance.sketch(np.concatenate((first, second, third))))

    def test_other_parameters_are_refused(self, instance):
        if instance.other is None:
            pytest.skip("there are no parameters")
        keys = instance.keys(300, 22)
        for other in (instance.other.empty(), instance.other.empty().add(keys)):
            with pytest.raises(ValueError, match="cannot be merged"):
                instance.sketch(keys).merge(other)

    def test_thirty_days_make_a_month(self, instance):
        days = [instance.keys(60, 30 + day // 2) for day in range(30)]
        month = instance.design.empty()
        for day in days[::2] if instance.family.merges == "symmetric difference" else days:
            month = month.merge(instance.sketch(day))
        assert state(instance, month) == state(instance, instance.sketch(np.concatenate(days[::2])))


@every_instance
class TestRemoving:
    @every_size
    def test_removing_undoes_adding(self, instance, size):
        if instance.family.removes == "no":
            pytest.skip("it cannot")
        if instance.pickable is not None and size + 40 >= instance.pickable:
            pytest.skip("it loses something: see the test of its own")
        stay, leave = instance.keys(40, 51), instance.keys(size, 52)
        sketch = instance.sketch(np.append(stay, leave)).remove(leave)
        assert state(instance, sketch) == state(instance, instance.sketch(stay))
        assert state(instance, sketch.add(leave)) == state(instance, instance.sketch(np.append(stay, leave)))

    @every_size
    def test_strangers_cannot_leave(self, instance, size):
        if instance.family.removes in ("no", "toggles"):
            pytest.skip("it cannot, or they would come")
        sketch = instance.sketch(instance.keys(size, 53))
        assert sketch.remove(instance.keys(100, 54)).to_bytes() == sketch.to_bytes()

    def test_removing_everybody_leaves_nobody(self, instance):
        if instance.family.removes == "no":
            pytest.skip("it cannot")
        keys = instance.keys(100, 55)
        assert state(instance, instance.sketch(keys).remove(keys)) == state(instance, instance.design.empty())

    @each("count", [0, 3])
    def test_a_sketch_that_forgets_says_who_can(self, instance, count):
        if instance.family.removes != "no":
            pytest.skip("it can")
        keys = instance.keys(5, 56)
        with pytest.raises(UnsupportedError, match="fixed-rate"):
            instance.sketch(keys).remove(keys[:count])


@every_instance
class TestBytes:
    @every_size
    def test_a_stored_sketch_is_the_same_and_goes_on(self, instance, size):
        sketch = instance.sketch(instance.keys(size, 61))
        restored = instance.design.from_bytes(sketch.to_bytes())
        assert figures(restored) == figures(sketch)
        assert state(instance, restored) == state(instance, sketch)
        assert len(restored.to_bytes()) == len(sketch.to_bytes())
        more = instance.keys(900, 62)
        assert figures(restored.add(more)) == figures(sketch.add(more))
        assert state(instance, restored.add(more)) == state(instance, sketch.add(more))
        assert state(instance, restored.merge(sketch)) == state(instance, sketch.merge(sketch))

    @every_size
    def test_a_merged_sketch_is_stored_too(self, instance, size):
        merged = instance.sketch(instance.keys(size, 63)).merge(instance.sketch(instance.keys(300, 64)))
        restored = instance.design.from_bytes(merged.to_bytes())
        more = instance.keys(900, 65)
        assert figures(restored) == figures(merged)
        assert figures(restored.add(more)) == figures(merged.add(more))

    @each("size", [0, 1, 40, 700])
    def test_what_is_cut_off_or_put_on_is_refused(self, instance, size):
        data = instance.sketch(instance.keys(size, 66)).to_bytes()
        for damaged in (data + b"\x00", b"\x01" + data, data[:-1] if data else b"\x07"):
            with pytest.raises(ValueError):
                instance.design.from_bytes(damaged)

    @examples(50)
    @given(data=st.binary(min_size=1, max_size=40).filter(lambda data: len(data) % 8))
    def test_garbage_is_refused(self, instance, data):
        # A multiple of eight bytes may well be a list of keys.
        with pytest.raises(ValueError):
            instance.design.from_bytes(data)

    def test_another_design_refuses_them(self, instance):
        if instance.other is None or not instance.self_contained:
            pytest.skip("there is none, or the bytes do not tell")
        for size in (1, 700):
            with pytest.raises(ValueError):
                instance.other.from_bytes(instance.sketch(instance.keys(size, 67)).to_bytes())


@every_instance
class TestFigures:
    def test_nobody_is_counted_as_nobody(self, instance):
        empty = instance.design.empty()
        if not instance.zero:
            pytest.skip("its estimate of nobody is noise")
        assert figures(empty)[0] == 0.0
        assert empty.bounds(2)[0] == 0.0
        assert instance.design.standard_error(0.0) == 0.0

    @every_size
    def test_bounds_are_nested_around_the_estimate(self, instance, size):
        sketch = instance.sketch(instance.keys(size, 71))
        estimate, one, two, three = figures(sketch)
        ends = (three[0], two[0], one[0], estimate, one[1], two[1], three[1])
        assert list(ends) == sorted(ends)
        assert 0 <= three[0] <= three[1] < np.inf

    @each("deviations", [-1, 0, 4])
    def test_other_deviations_are_refused(self, instance, deviations):
        with pytest.raises(ValueError, match=f"deviations is {deviations}; it must be 1, 2 or 3"):
            instance.sketch(instance.keys(700, 72)).bounds(deviations)

    @every_size
    def test_the_estimate_is_within_five_standard_errors(self, instance, size):
        estimate = instance.sketch(instance.keys(size, 73)).estimate()
        assert abs(estimate - size) <= 5 * instance.design.standard_error(size) + 1e-3

    def test_the_standard_error_grows(self, instance):
        errors = [instance.design.standard_error(count) for count in (0, 1, 10, 1e3, 1e4, 1e5, 1e6, 1e7)]
        assert errors == sorted(errors)
        assert all(np.isfinite(errors))


@pytest.mark.slow
@every_instance
@examples(25)
@given(data=st.data())
def test_any_users_of_the_whole_range(instance, data):
    """Every sketch of any users, edges of the range among them, is that of the set of them, in any split."""
    edge = edges(instance)
    key = st.sampled_from(edge.tolist()) | st.integers(int(edge[0]), int(edge[-1]))
    ours, theirs = (data.draw(st.lists(key, max_size=30, unique=True)) for _ in range(2))
    first, second = (np.array(keys, dtype=np.int64) for keys in (ours, theirs))
    toggles = instance.family.merges == "symmetric difference"
    union = sorted(set(ours) ^ set(theirs) if toggles else set(ours) | set(theirs))
    expected = state(instance, instance.sketch(np.array(union, dtype=np.int64)))
    assert state(instance, instance.sketch(first).add(second)) == expected
    assert state(instance, instance.sketch(first).merge(instance.sketch(second))) == expected


@every_instance
def test_keys_at_the_edges_are_different_users(instance):
    keys = edges(instance)
    sketch = instance.sketch(keys)
    if instance.design.standard_error(len(keys)) < 0.1:
        assert sketch.estimate() == pytest.approx(len(keys), abs=1e-3)
    # Edges need not be random enough for an estimate, yet no two of them may be one user to every library.
    for first, second in pairwise(keys):
        one, other = instance.sketch(np.array([first])), instance.sketch(np.array([second]))
        if instance.name in ("exact", "bitmap", "kmv", "theta", "hll", "cpc"):
            assert one.to_bytes() != other.to_bytes()


@each(
    ("make", "outside", "design"),
    [
        (datasketches.update_theta_sketch, [2**63 + 1, 2**63 + 2, 2**63 + 3], Theta()),
        (datasketches.hll_sketch, [2**63 + 1, 2**63 + 2, 2**63 + 3], Hll()),
        (datasketches.cpc_sketch, [1 - 2**63, 2 - 2**63, 3 - 2**63], Cpc()),
    ],
)
def test_the_library_makes_one_of_three_users_and_we_do_not(make, outside, design):
    """It rounds to floats what it cannot hash as a whole number: HLL and Theta from 2^63 on, CPC below zero."""
    raw = make(12)
    for key in outside:
        raw.update(key)
    assert raw.get_estimate() == pytest.approx(1, abs=1e-3)
    keys = np.array([key % 2**64 for key in outside], dtype=np.uint64).view(np.int64)
    assert design.empty().add(keys).estimate() == pytest.approx(3, abs=1e-2)


@each(
    ("make", "wrong", "message"),
    [
        (Kmv, 15, "k is 15; it must lie between 16 and"),
        (Kmv, 2**27, "k is 134217728"),
        (Theta, 6, "lg_k is 6; it must lie between 7 and 21"),
        (Hll, 22, "lg_k is 22"),
        (Cpc, 6, "lg_k is 6"),
    ],
)
def test_wrong_parameters_are_refused_by_name(make, wrong, message):
    with pytest.raises(ValueError, match=message):
        make(wrong)


class TestBitmap:
    @each("wrong", [-1, 2**32, -(2**63), 2**63 - 1])
    def test_what_is_no_number_of_a_user_is_refused_by_name(self, wrong):
        sketch = Bitmap().empty()
        for operation in (sketch.add, sketch.remove):
            with pytest.raises(
                ValueError, match=f"keys has {wrong}; a bitmap takes users' numbers from 0 to 4294967295"
            ):
                operation(np.array([3, wrong]))

    @pytest.mark.slow
    def test_neighbours_take_little_room(self):
        assert len(Bitmap().empty().add(np.arange(1_000_000)).to_bytes()) < 1000
        spread = np.random.default_rng(81).permutation(2**22)[: 2**21]
        assert len(Bitmap().empty().add(spread).to_bytes()) < 2**22 / 8 * 1.01

    def test_bytes_are_those_of_the_set_whatever_happened_to_it(self):
        everybody, some = np.arange(200_000), np.arange(0, 200_000, 3)
        others = np.setdiff1d(everybody, some)
        removed = Bitmap().empty().add(everybody).remove(some)
        assert removed.to_bytes() == Bitmap().empty().add(others).to_bytes()
        interleaved = Bitmap().empty().add(others).add(some)
        assert interleaved.to_bytes() == Bitmap().empty().add(everybody).to_bytes()


class TestTheta:
    def test_with_few_users_left_little_is_known(self):
        """Of 20,000 users all but 100 leave: one hash in the sketch of 128 may be left of them, or none."""
        keys = np.random.default_rng(82).integers(-(2**63), 2**63, 20_000)
        left = Theta(7).empty().add(keys).remove(keys[100:])
        assert Theta(7).standard_error_of_difference(20_000, 100) > 100
        assert left.estimate() % (20_000 / 128) != 100
        low, high = left.bounds(2)
        assert low < 100 < high
        assert high - low > 200

    def test_the_threshold_does_not_rise_again(self):
        """A sketch that lost users counts those who come later as coarsely as before, though there is room for them."""
        first, later = (np.random.default_rng(seed).integers(-(2**63), 2**63, 20_000) for seed in (83, 84))
        left = Theta(7).empty().add(first).remove(first)
        assert left.estimate() == 0
        assert left.bounds(2)[1] > 0
        few = left.add(later[:100])
        assert few.kept.theta == left.kept.theta < 1
        assert Theta(7).empty().add(later[:100]).estimate() == 100 != few.estimate()

    def test_subtracting_a_sketch_is_removing_its_users(self):
        keys = np.random.default_rng(85).integers(-(2**63), 2**63, 5000)
        sketch, leaving = Theta(7).empty().add(keys), Theta(7).empty().add(keys[:2000])
        assert sketch.without(leaving).to_bytes() == sketch.remove(keys[:2000]).to_bytes()
        with pytest.raises(ValueError, match="subtracted"):
            sketch.without(Theta(8).empty())

    def test_the_state_is_the_smallest_hashes_and_the_next(self):
        """Against the library's own largest sketch, which loses nobody."""
        keys = np.random.default_rng(86).integers(-(2**63), 2**63, 5000)
        sketch, all_of_them = Theta(7).empty().add(keys), Theta(13).empty().add(keys)
        hashes = np.frombuffer(all_of_them.to_bytes()[16:], dtype="<u8")
        assert len(hashes) == 5000
        assert sketch.kept.num_retained == 128
        assert sketch.kept.theta64 == np.sort(hashes)[128]


class TestLibraries:
    @each("lg_k", range(7, 15))
    def test_an_hll_sketch_is_a_list_as_long_as_its_design_says(self, lg_k):
        design = Hll(lg_k)
        keys = np.random.default_rng(87).integers(-(2**63), 2**63, design.coupons + 1)
        as_list, as_registers = design.empty().add(keys[:-1]), design.empty().add(keys)
        assert len(as_registers.to_bytes()) == 2**lg_k + 40
        assert len(as_list.to_bytes()) == (8 if lg_k == 7 else 12) + 4 * design.coupons

    def test_a_merged_sketch_estimates_by_what_it_holds(self):
        """Along the way the order counts; merged it does not, and both estimates differ."""
        keys = np.random.default_rng(88).integers(-(2**63), 2**63, 3000)
        for design in (Hll(8), Cpc(8)):
            there, back = design.empty().add(keys), design.empty().add(keys[::-1])
            assert there.estimate() != back.estimate()
            merged = design.empty().merge(there), design.empty().merge(back)
            assert merged[0].estimate() == merged[1].estimate() != there.estimate()

    def test_an_hll_sketch_of_another_kind_is_refused(self):
        four_bits = datasketches.hll_sketch(7, datasketches.tgt_hll_type.HLL_4)
        for key in range(100):
            four_bits.update(key)
        with pytest.raises(ValueError, match="must have 7 and HLL_8"):
            Hll(7).from_bytes(four_bits.serialize_compact())

    def test_a_damaged_cpc_sketch_does_not_reach_the_library(self):
        """It would read beyond the end and take the process down: any change of a byte is refused before."""
        data = Cpc(7).empty().add(np.arange(500)).to_bytes()
        for place in range(len(data)):
            damaged = bytearray(data)
            damaged[place] ^= 0x55
            with pytest.raises(ValueError, match="damaged"):
                Cpc(7).from_bytes(bytes(damaged))


class TestKmv:
    def test_it_holds_the_smallest_keys_as_unsigned_numbers(self):
        keys = np.random.default_rng(89).integers(-(2**63), 2**63, 200_000)
        slow = sorted({int(key) % 2**64 for key in keys})[:64]
        sketch = Kmv(64).empty().add(keys)
        assert sketch.smallest.tolist() == slow
        assert sketch.estimate() == pytest.approx(63 / ((slow[-1] + 1) / 2**64))
        assert Kmv(64).empty().add(keys[:63]).estimate() == 63

    def test_bounds_are_where_the_estimate_is_so_many_errors_off(self):
        keys = np.random.default_rng(90).integers(-(2**63), 2**63, 1000)
        sketch = Kmv(64).empty().add(keys)
        for deviations in (1, 2, 3):
            for end in sketch.bounds(deviations):
                off = abs(end - sketch.estimate()) / Kmv(64).standard_error(end)
                assert off == pytest.approx(deviations, rel=1e-9)

    def test_bytes_tell_few_keys_of_a_large_sketch_from_all_of_a_small_one(self):
        small = Kmv(32).empty().add(np.random.default_rng(91).integers(-(2**63), 2**63, 500))
        with pytest.raises(ValueError, match="it says that its k is 32"):
            Kmv(64).from_bytes(small.to_bytes())
