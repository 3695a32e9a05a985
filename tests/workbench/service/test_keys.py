"""The file of keys: what is made can be read, what is not a key is refused by name, and nobody sees half a file."""

from __future__ import annotations

import hashlib
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.laws import each
from workbench.service.keyring import ALL_SCOPES, API_KEY, Keyring
from workbench.service.keys import (
    SCOPES,
    KeyFileError,
    ScopeName,
    ServiceKey,
    create_key,
    keys_text,
    read_keys,
    revoke_key,
    session_token,
    token_hash,
)

TODAY = date(2026, 6, 1)
HASH = "0" * 64
GOOD = f'sha256 = "{HASH}"\nscopes = ["read"]\nmade = 2026-06-01\n'


def make(path: Path, name: str, *scopes: ScopeName, expires: date | None = None) -> str:
    return create_key(path, name, scopes, made=TODAY, expires=expires, random=secrets.token_bytes)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch()
    path.write_text(text)
    path.chmod(mode)
    return path


def found(ring: Keyring, key: str) -> frozenset[str] | None:
    caller = ring.find(session_token(key.encode()))
    return caller and caller.scopes


def test_a_key_is_recognised_has_256_random_bits_and_is_kept_nowhere(tmp_path: Path) -> None:
    asked = []

    def random(size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    path = tmp_path / "keys"
    key = create_key(path, "grafana", ["read", "metrics"], made=TODAY, expires=None, random=random)
    assert asked == [32]
    assert key == "dpdau_" + bytes(range(32)).hex()
    kept = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(secret in kept for secret in (key, key[6:], session_token(key.encode())))
    assert read_keys(path) == {
        "grafana": ServiceKey(
            sha256=hashlib.sha256(session_token(key.encode()).encode()).hexdigest(),
            scopes=frozenset({"read", "metrics"}),
            made=TODAY,
        )
    }


names = st.sampled_from(["a", "B7", "0", "key-1", "key_2", "x" * 64, "true", "2026-06-01"])
days = st.dates(date(2000, 1, 1), date(2100, 1, 1))
service_keys = st.builds(
    ServiceKey,
    sha256=st.integers(0, 2**256 - 1).map("{:064x}".format),
    scopes=st.frozensets(st.sampled_from(SCOPES), min_size=1),
    made=days,
    expires=st.none() | days,
)


@given(st.dictionaries(names, service_keys, max_size=5))
@examples(20)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, kept: dict[str, ServiceKey]) -> None:
    path = written(tmp_path_factory.getbasetemp() / "any.keys", keys_text(kept))
    if len({key.sha256 for key in kept.values()}) < len(kept):
        with pytest.raises(KeyFileError, match="are one key"):
            read_keys(path)
    else:
        assert read_keys(path) == kept
        assert list(read_keys(path)) == list(kept)


@each(
    ("text", "named"),
    [
        ("grafana = 1\n", "'grafana'.*object"),
        (f"[grafana]\n{GOOD}colour = 'red'\n", "'grafana'.*colour"),
        (f"[grafana]\n{GOOD}[grafana]\n{GOOD}", r"names something twice.*grafana"),
        (f"[grafana]\n{GOOD}made = 2026-06-01\n", "names something twice"),
        (f"[a]\n{GOOD}[b]\n{GOOD}", "'a' and 'b' are one key"),
        (f"['a b']\n{GOOD}", "'a b'.*letters, digits"),
        (f"['']\n{GOOD}", "''.*letters, digits"),
        (f"[{'a' * 65}]\n{GOOD}", "1 to 64"),
        (f"[a.b]\n{GOOD}", "'a'"),
        (f"[a]\n{GOOD}".replace("read", "all"), "'a'.*all"),
        (f"[a]\n{GOOD}".replace('"read"', ""), "'a'.*scopes"),
        (f"[a]\n{GOOD}".replace(HASH, "0" * 63), "'a'.*sha256"),
        (f"[a]\n{GOOD}".replace(HASH, "A" * 64), "'a'.*sha256"),
        (f"[a]\n{GOOD}".replace("2026-06-01", "2026-06-01T00:00:00Z"), "'a'.*made"),
        (f"[a]\n{GOOD}expires = 'never'\n", "'a'.*expires"),
        ("[a]\nscopes = ['read']\nmade = 2026-06-01\n", "'a'.*sha256"),
        (f"[a]\nsha256 = '{HASH}'\nscopes = ['read']\n", "'a'.*made"),
        (f"[a]\nsha256 = '{HASH}'\nmade = 2026-06-01\n", "'a'.*scopes"),
        ("\0", "not TOML"),
        ("[a", "not TOML"),
    ],
)
def test_a_fault_is_named_with_the_file(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path / "k", text)
    for refused in (lambda: read_keys(path), lambda: make(path, "other", "read"), lambda: revoke_key(path, "a"),
                    lambda: Keyring(path, None, lambda: TODAY)):  # fmt: skip
        with pytest.raises(KeyFileError, match=f"(?s){path}.*{named}|{named}.*{path}"):
            refused()
    assert path.read_text() == text


@each("mode", [0o640, 0o604, 0o660, 0o666, 0o610, 0o601])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "k", f"[a]\n{GOOD}", mode)
    with pytest.raises(KeyFileError, match=f"{mode:04o}.*chmod 600 {path}"):
        read_keys(path)


def test_what_cannot_be_made_or_revoked_says_why_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "k"
    with pytest.raises(FileNotFoundError, match="nothing to revoke"):
        revoke_key(path, "a")
    make(path, "a", "read")
    before = path.read_bytes()
    for call, named in [
        (lambda: make(path, "a", "operate"), "'a', which .* holds already"),
        (lambda: make(path, "a b", "read"), "'a b'"),
        (lambda: make(path, "b"), "scopes are empty"),
        (lambda: make(path, "b", "read", expires=TODAY), "expires is 2026-06-01"),
        (lambda: make(path, "b", "read", expires=TODAY - timedelta(days=1)), "expires is 2026-05-31"),
    ]:
        with pytest.raises(ValueError, match=named):
            call()
    with pytest.raises(ValueError, match=r"'b', but .* holds a"):
        revoke_key(path, "b")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert revoke_key(path, "a") == 0
    assert read_keys(path) == {}


def test_keys_made_at_once_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "k"
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda index: make(path, f"key-{index}", "read"), range(8)))
    ring = Keyring(path, None, lambda: TODAY)
    assert all(found(ring, key) == {"read"} for key in made)


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "k", tmp_path / "k"
    link.symlink_to(target)
    key = make(link, "a", "read")
    assert link.is_symlink()
    assert found(Keyring(target, None, lambda: TODAY), key) == {"read"}


# The keyring


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=12))
@examples(6)
def test_a_keyring_knows_what_the_file_holds_at_every_moment(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int]]
) -> None:
    path = tmp_path_factory.mktemp("ring") / "k"
    ring = Keyring(path, None, lambda: TODAY)
    current: dict[str, str] = {}
    ever: list[str] = []
    for is_made, index in steps:
        name = f"key-{index}"
        if is_made and name not in current:
            current[name] = make(path, name, SCOPES[index])
            ever.append(current[name])
        elif not is_made and name in current:
            revoke_key(path, name)
            del current[name]
        for key in ever:
            wanted = [frozenset({SCOPES[int(name[-1])]}) for name, one in current.items() if one == key]
            assert found(ring, key) == (wanted[0] if wanted else None)
        assert ring.guarded == bool(ever)


def test_a_key_opens_nothing_from_the_day_on_which_it_expires(tmp_path: Path) -> None:
    path = tmp_path / "k"
    key = session_token(make(path, "a", "read", expires=date(2026, 6, 3)).encode())
    for today, expired in ((date(2026, 6, 2), False), (date(2026, 6, 3), True), (date(2027, 1, 1), True)):
        caller = Keyring(path, None, lambda today=today: today).find(key)
        assert caller is not None
        assert caller.expired is expired


def test_the_key_of_all_scopes_works_beside_a_file_and_without_one(tmp_path: Path) -> None:
    path = tmp_path / "k"
    ring = Keyring(path, "chosen by a person", lambda: TODAY)
    caller = ring.find(session_token(b"chosen by a person"))
    assert caller is not None
    assert (caller.name, caller.scopes, caller.guessable) == (API_KEY, ALL_SCOPES, True)
    assert ring.find(session_token(b"chosen by a person"), made_only=True) is None
    key = session_token(make(path, "a", "read").encode())
    assert [one and one.guessable for one in (ring.find(key), ring.find(key, made_only=True))] == [False, False]


def test_a_service_that_was_guarded_stays_so_when_the_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "k"
    ring = Keyring(path, None, lambda: TODAY)
    assert not ring.guarded
    key = make(path, "a", "read")
    assert ring.guarded
    path.unlink()
    assert ring.guarded
    assert found(ring, key) is None


def test_a_file_that_breaks_opens_nothing_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "k"
    key = make(path, "a", "read")
    ring = Keyring(path, "all", lambda: TODAY)
    good = path.read_text()
    for text, mode in (("[", 0o600), (good, 0o644)):
        written(path, text, mode)
        with pytest.raises(KeyFileError, match=str(path)):
            found(ring, key)
        assert found(ring, "all") == ALL_SCOPES
        written(path, good)
        assert found(ring, key) == {"read"}


def test_every_hash_is_compared_whole_whatever_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "k"
    made = [make(path, f"key-{index}", "read") for index in range(4)]
    ring = Keyring(path, "all", lambda: TODAY)
    compared = count()
    import hmac

    original = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: (next(compared), original(a, b))[1])
    for key in (*made, "wrong", ""):
        before = next(compared)
        found(ring, key)
        # The five keys, and the count of the line above.
        assert next(compared) - before == 6
    assert token_hash("a") == hashlib.sha256(b"a").hexdigest()
