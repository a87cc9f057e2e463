"""Rows cut out of files that arrive in pieces of any length."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.batch import MAX_ROW_BYTES
from workers.batch_files.csv_cells import text_of
from workers.batch_files.csv_table import CsvReader
from workers.batch_files.json_list import JsonListReader
from workers.batch_files.ndjson import NdjsonReader
from workers.batch_files.rows import FileError, RawRow, RowReader

names = st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
objects = st.lists(st.dictionaries(names, values, max_size=4), max_size=6)
sizes = st.lists(st.integers(1, 17), min_size=1, max_size=8)


def read(
    make: Callable[[], RowReader], data: bytes, pieces: list[int] | None = None
) -> list[RawRow]:
    reader, found, start, number = make(), list[RawRow](), 0, 0
    while start < len(data):
        size = pieces[number % len(pieces)] if pieces else len(data)
        found += reader.feed(data[start : start + size])
        start, number = start + size, number + 1
    return [*found, *reader.end()]


def fields(rows: list[RawRow]) -> list[Any]:
    return [row.fields if row.error is None else row.error.message for row in rows]


@given(objects, sizes, st.sampled_from([None, 2]))
def test_a_json_list_is_cut_where_its_elements_end(
    rows: list[Any], pieces: list[int], indent: int | None
) -> None:
    found = read(JsonListReader, json.dumps(rows, indent=indent).encode(), pieces)
    assert [row.line for row in found] == list(range(1, len(rows) + 1))
    for raw, row in zip(found, rows, strict=True):
        assert raw.fields == (row if _is_text(row) else {})


def _is_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.binary(max_size=60), sizes)
def test_whatever_bytes_come_a_reader_yields_rows_or_refuses_the_file(
    data: bytes, pieces: list[int]
) -> None:
    for make in (JsonListReader, NdjsonReader, CsvReader):
        whole: Any
        try:
            whole = fields(read(make, data))
        except FileError as error:
            whole = str(error)
        try:
            cut: Any = fields(read(make, data, pieces))
        except FileError as error:
            cut = str(error)
        assert cut == whole


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), max_size=6), sizes)
def test_what_a_csv_writer_writes_is_read_again(rows: list[list[str]], pieces: list[int]) -> None:
    rows = [[cell.replace("\r", "").replace("\0", "") for cell in row] for row in rows]
    rows = [row for row in rows if _is_text(row)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["name", "voice.voice_id"])
    writer.writerows(rows)
    found = read(CsvReader, out.getvalue().encode(), pieces)
    expected = [
        ({"name": text_of(name)} if name else {})
        | ({"voice": {"voice_id": text_of(voice)}} if voice else {})
        for name, voice in rows
        if name or voice
    ]
    assert fields(found) == expected


def test_a_csv_cell_is_text_whatever_it_begins_with_and_numbers_make_lists() -> None:
    text = b"\xef\xbb\xbfname,llm.0.model,llm.0.base_url,delete\r\n=1+1,@m,-u,\r\n+a,,,FALSE\r\n"
    assert fields(read(CsvReader, text)) == [
        {"name": "=1+1", "llm": [{"model": "@m", "base_url": "-u"}]},
        {"name": "+a", "delete": False},
    ]


def test_of_a_row_that_deletes_only_the_name_counts() -> None:
    head = b"external_id,id,name,voice.voice_id,delete\n"
    text = head + b"x,,Hall,ivy,TRUE\n,agent_1,,,true\ny,,Z,,false\n"
    assert fields(read(CsvReader, text)) == [
        {"external_id": "x", "delete": True},
        {"id": "agent_1", "delete": True},
        {"external_id": "y", "name": "Z", "delete": False},
    ]


def test_a_record_of_empty_cells_is_no_row_and_its_line_counts() -> None:
    found = read(CsvReader, b'name,greeting\r\n,\r\na,b\r\n"",""\r\n,,,\r\nc,d\r\n,')
    assert [(row.line, row.fields["name"]) for row in found] == [(3, "a"), (6, "c")]


@pytest.mark.parametrize(
    "head", [b"name;voice.voice_id", b"name\tvoice.voice_id", b'"name";"voice.voice_id"', b"sep=;"]
)
def test_a_table_that_is_not_parted_by_commas_is_refused_for_that(head: bytes) -> None:
    with pytest.raises(FileError, match="by commas, not by semicolons or tabs"):
        read(CsvReader, head + b"\nHall;ivy\n")


def test_a_stray_quote_costs_its_own_line_alone() -> None:
    text = b'name,greeting\na,5" pipe\nb,"two\nlines"\nc,"x"y\nd,z\ne,"open\nf,g\n'
    found = read(CsvReader, text)
    assert [(row.line, row.error is None) for row in found] == [
        (2, False),
        (3, True),
        (5, False),
        (6, True),
        (7, False),
        (8, True),
    ]
    assert found[1].fields == {"name": "b", "greeting": "two\nlines"}


def held(reader: RowReader) -> int:
    """How many bytes of a row that is not complete a reader keeps."""
    assert isinstance(reader, JsonListReader | NdjsonReader | CsvReader)
    keeper = reader if isinstance(reader, JsonListReader) else reader._lines
    return len(keeper._held)


@pytest.mark.parametrize(
    ("make", "text", "line"),
    [
        (NdjsonReader, b'{"a": 1}\n{"b": "%s"}\n{"c": 3}', 2),
        (JsonListReader, b'[{"a": 1}, {"b": "%s"}, {"c": 3}]', 2),
        (CsvReader, b"a\n1\n%s\n3\n", 3),
    ],
)
def test_a_row_of_a_megabyte_is_an_error_and_is_not_kept(
    make: Callable[[], RowReader], text: bytes, line: int
) -> None:
    data = text % (b"x" * 1_048_576)
    reader, found = make(), list[RawRow]()
    for start in range(0, len(data), 65_536):
        found += reader.feed(data[start : start + 65_536])
        assert held(reader) <= MAX_ROW_BYTES + 65_536
    found += reader.end()
    assert [row.error is None for row in found] == [True, False, True]
    assert found[1].line == line
    assert found[1].error is not None
    assert "longer than" in found[1].error.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": 1', "the row is not valid JSON"),
        (b'{"a": "\xff"}', "the row is not UTF-8"),
        (b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "the row is nested more than 64 deep"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "the row has a name twice in one object"),
        (b"[1]", "the row is no JSON object"),
        (b'{"a": NaN}', "the row has NaN or Infinity, which JSON does not know"),
    ],
)
def test_a_line_that_is_no_row_is_an_error_of_its_line(text: bytes, message: str) -> None:
    found = read(NdjsonReader, b"\n" + text + b'\r\n{"b": 2}\n')
    assert fields(found) == [message, {"b": 2}]
    assert [row.line for row in found] == [2, 3]


@pytest.mark.parametrize("text", [b"", b"  ", b"{}", b"[1", b"[1] 2", b"[,]", b"[{},]", b"]"])
def test_what_is_no_json_list_is_refused_as_a_whole(text: bytes) -> None:
    with pytest.raises(FileError):
        read(JsonListReader, text)


@pytest.mark.parametrize("text", [b"", b'"', b"a,a\n", b"a b\n", b"=x\n", b'a,"b\n1,2\n'])
def test_csv_without_a_head_is_refused_as_a_whole(text: bytes) -> None:
    with pytest.raises(FileError):
        read(CsvReader, text)
