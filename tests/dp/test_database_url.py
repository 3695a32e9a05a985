"""URLs of databases: which are taken, and that no secret of theirs is shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.database_url import DatabaseUrl, place_of
from dp.ledger import LedgerError, has_ledger, open_ledger
from tests.laws import each
from workbench.service import SettingsError, StoreError, load_settings, settings_text
from workbench.service.opening import open_store

SECRET = "s3cr3tly"


@each(
    ("url", "shown"),
    [
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql://h:5432/d", "postgresql+psycopg://h:5432/d"),
        (f"postgresql+psycopg://u:{SECRET}@h:5432/d", "postgresql+psycopg://u@h:5432/d"),
        (f"postgresql://u:{SECRET}%40:x@h/d?sslmode=require", "postgresql+psycopg://u@h/d?sslmode=require"),
        (f"postgresql:///d?host=/run&password={SECRET}", "postgresql+psycopg:///d?host=/run"),
        (f"postgresql:///d?sslpassword={SECRET}&user=u", "postgresql+psycopg:///d?user=u"),
        (f"postgresql://u@h/d?passfile=/{SECRET}", "postgresql+psycopg://u@h/d"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    place = place_of(url)
    assert isinstance(place, DatabaseUrl)
    assert str(place) == shown
    assert str(DatabaseUrl.of(shown)) == shown
    assert SECRET not in repr(place)
    settings = load_settings(None, {}, [("store", url), ("ledger", url)])
    assert SECRET not in settings_text(settings)
    assert settings.key_path == Path("dpdau.store.key")
    assert place.conninfo.startswith("postgresql://")
    assert place.conninfo.endswith(url.partition("://")[2])


@each(
    "url",
    [
        f"mysql://u:{SECRET}@h/d", f"postgresql+asyncpg://u:{SECRET}@h/d", f"postgresql://u:{SECRET}@x@h/d",
        f"postgresql://u:{SECRET}/x@h/d", f"postgresql://u:{SECRET}?x@h/d", f"postgresql://u:{SECRET}#x@h/d",
        f"postgresql://u:{SECRET}/d", f"sqlite:///{SECRET}", f"://{SECRET}",
    ],
)  # fmt: skip
def test_a_url_that_is_not_understood_is_refused_and_not_repeated(url: str) -> None:
    for use in (lambda: place_of(url), lambda: load_settings(None, {}, [("ledger", url)]), lambda: has_ledger(url)):
        with pytest.raises(
            (ValueError, SettingsError, LedgerError), match=r"postgresql\+psycopg://user@host"
        ) as refused:
            use()
        assert SECRET not in str(refused.value)


@given(password=st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=4))
def test_no_password_is_shown_whatever_its_characters(password: str) -> None:
    url = f"postgresql://user:{password}@host/base"
    try:
        shown = str(DatabaseUrl.of(url))
    except ValueError as error:
        shown = str(error)
    assert password not in shown.replace("postgresql+psycopg://user@host/database", "") or password in "user@host/base"


def test_a_text_without_a_scheme_is_a_file() -> None:
    assert place_of("dpdau.store") == Path("dpdau.store")
    assert place_of("a:b@c") == Path("a:b@c")


def test_without_the_driver_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    url = f"postgresql+psycopg://u:{SECRET}@h/d"
    with pytest.raises(LedgerError) as of_ledger, open_ledger(url):
        pass
    with pytest.raises(StoreError) as of_store:
        open_store(DatabaseUrl.of(url), tmp_path / "key")
    for said in (str(of_ledger.value), str(of_store.value)):
        assert "pip install 'dpdau[postgres]'" in said
        assert "\n" not in said
        assert SECRET not in said
