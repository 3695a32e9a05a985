"""The table of docs/logs.md: every refusal in it is made here, and every refusal made here is in it."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import dp.log.lines
from dp.log.presets import PRESETS
from tests.dp.log.reading import DAY, parquet, read, write
from tests.places import ROOT

TEXT = f"user,day,op,at\na,{DAY},+,\n"
PAGE = (ROOT / "docs/logs.md").read_text(encoding="utf-8")


PLATFORM = {"segments": ["platform"]}


def row(*fields: str) -> str:
    return TEXT + ",".join(fields) + "\n"


FILES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "unpacked": ("log.csv", gzip.compress(TEXT.encode())[:-3], {}),
    "zstd": ("log.csv", pa.compress(TEXT.encode(), codec="zstd", asbytes=True)[:-3], {}),
    "no name": ("log", TEXT, {}), "no format": ("log", TEXT, {"input_format": "xml"}),
    "path and file": ("day=x/log.csv", TEXT, {"hive": True}),
    "path and key": ("op=x/log.jsonl", json.dumps({"user": "a", "day": DAY, "op": "+"}), {"hive": True}),
    "no user": ("log.csv", "id,day\n", {}), "no day": ("log.csv", "user,when\n", {}),
    "both": ("log.csv", "user,day,timestamp\n", {}), "no such": ("log.csv", TEXT, {"columns": {"user": "id"}}),
    "not ours": ("log.csv", TEXT, {"columns": {"usr": "id"}}), "empty": ("log.csv", "\n", {}),
    "header": ("log.csv", "\xff\0", {}), "delimiter": ("log.csv", TEXT.replace(",", ";"), {}),
    "no delimiter": ("log.csv", TEXT, {"delimiter": "ab"}), "quote": ("log.csv", row('"a', DAY, "+", ""), {}),
    "width": ("log.csv", row("a", DAY), {}), "long": ("log.csv", TEXT + "x" * 2000, {}),
    "no json": ("log.jsonl", "{", {}), "no object": ("log.jsonl", "[[1]]", {}),
    "both in one": ("log.jsonl", json.dumps({"user": "a", "day": DAY, "timestamp": DAY}), {}),
    "no parquet": ("log.parquet", "PAR1", {}), "packed parquet": ("log.parquet", gzip.compress(b"PAR1"), {}),
    "empty user": ("log.csv", row("", DAY, "+", ""), {}), "nul": ("log.csv", row("\0", DAY, "+", ""), {}),
    "user not utf-8": ("log.csv", row("\udcff", DAY, "+", ""), {}), "not utf-8": ("log.jsonl", '{"a": "\udcff"}', {}),
    "user": ("log.jsonl", '{"user": 1.5}', {}), "op": ("log.csv", row("a", DAY, "x", ""), {}),
    "day": ("log.csv", row("a", "never", "+", ""), {}), "at": ("log.csv", row("a", DAY, "+", "never"), {}),
    "number": ("log.jsonl", json.dumps({"user": "a", "day": 7}), {}),
    "epoch": ("log.csv", row("a", "never", "+", ""), {"date_format": "epoch-s"}),
    "format": ("log.csv", TEXT, {"date_format": "x"}), "half a format": ("log.csv", TEXT, {"date_format": "%d"}),
    "zone in format": ("log.csv", TEXT, {"date_format": "%Z"}), "zone": ("log.csv", TEXT, {"timezone": "Berlin"}),
    "neither": ("log.csv", row("a", "", "+", ""), {}), "erase": ("log.csv", row("a", "", "erase", ""), {}),
    "erase and day": ("log.csv", row("a", DAY, "erase", "2024-05-02"), {}),
    "before": ("log.csv", row("a", DAY, "+", "2024-04-30"), {}), "like": ("log.csv", TEXT, {"like": "excel"}),
    "quarantine": ("log.csv", TEXT, {"quarantine": "log.csv"}),
    "no segment": ("log.csv", TEXT, {"segments": ["platform"]}),
    "segment called like a column": ("log.csv", TEXT, {"segments": ["Day"]}),
    "two of one name": ("log.csv", TEXT, {"segments": ["x", "X"]}),
    "nul in a segment": ("log.csv", f"user,day,platform\na,{DAY},\0\n", PLATFORM),
    "segment not utf-8": ("log.csv", f"user,day,platform\na,{DAY},\udcff\n", PLATFORM),
    "segment": ("log.jsonl", json.dumps({"user": "a", "day": DAY, "platform": ["ios"]}), PLATFORM),
    "quarantine in a folder": ("log.csv", TEXT, {"quarantine": "nothing"}),
}  # fmt: skip
COLUMNS: dict[str, dict[str, pa.Array]] = {
    "user": {"user": pa.array([1.0]), "day": pa.array([DAY])},
    "op": {"user": pa.array(["a"]), "day": pa.array([DAY]), "op": pa.array([1])},
    "day": {"user": pa.array(["a"]), "day": pa.array([7])},
    "segment": {"user": pa.array(["a"]), "day": pa.array([DAY]), "platform": pa.array([["ios"]])},
}


def promised() -> list[str]:
    """The words of every refusal in the table; each may be any text where `…` stands."""
    table = PAGE.split("else: refused with the words |\n|---|---|---|\n")[1].split("\n\n")[0]
    words = [word for line in table.split("\n") for word in re.findall(r"`([^`]+)`", line.split(" | ")[-1])]
    return [".*".join(map(re.escape, word.replace(r"\|", "|").split("…"))) for word in words]


def message(path: Any, **options: Any) -> str:
    with pytest.raises(ValueError) as refused:
        read(path, **options)
    return str(refused.value)


@pytest.fixture
def messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dp.log.lines, "BLOCK", 64)
    monkeypatch.setattr(dp.log.lines, "LONGEST", 1000)
    (tmp_path / "nothing").mkdir()
    path, other = write(tmp_path, TEXT, "one.csv"), write(tmp_path, "", "two.jsonl")
    found = [message(path) for path in ("none.csv", "nothing", "none*", [path, path], [path, other])]
    found.append(message("-", input_format="parquet"))
    found += [message(write(tmp_path, content, name), **options) for name, content, options in FILES.values()]
    return found + [
        message(parquet(tmp_path, columns), segments=["platform"] if "platform" in columns else ())
        for columns in COLUMNS.values()
    ]


@pytest.mark.slow
def test_every_refusal_is_in_the_table_and_the_table_has_no_other(messages: list[str]) -> None:
    words = promised()
    assert len(words) > 40
    unknown = [text for text in messages if not any(re.fullmatch(word, text, re.DOTALL) for word in words)]
    assert not unknown
    assert not [word for word in words if not any(re.fullmatch(word, text, re.DOTALL) for text in messages)]
    rows = [text for text in messages if "rows are bad" in text]
    told = [word for word in words if "rows are bad" not in word]
    assert not [text for text in rows if not any(re.fullmatch(word, text, re.DOTALL) for word in told)]


def test_exports_of_tools_are_in_their_table() -> None:
    rows = re.findall(r"^\| `([a-z0-9]+)` \| ([^|]+) \| `([^`]+)` \| `([^`]+)`", PAGE, re.MULTILINE)
    assert {name: (shape.replace(", with a header", ""), user, time) for name, shape, user, time in rows} == {
        name: (preset.shape, preset.columns["user"], preset.columns["timestamp"]) for name, preset in PRESETS.items()
    }
