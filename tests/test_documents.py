"""Reading documents: what is accepted, and the one clear line for everything else."""

from __future__ import annotations

import builtins
import codecs
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamline import documents
from seamline.documents import parse_document, read_document
from seamline.errors import InputError

TEXT = "1. Term. This Agreement runs for two years.\n\n2. Fees. Café Ltd pays £5.\n"


def zipped(parts: dict[str, bytes]) -> bytes:
    """A zip archive of the given parts."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def pdf(lines: list[str]) -> bytes:
    """A one-page PDF that shows the lines in Helvetica."""
    shown = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
    stream = f"BT /F1 12 Tf 72 720 Td {shown} ET".encode("ascii")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 7\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % p for p in places)
    return out + b"trailer\n<< /Size 7 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
    ],
)
def test_text_in_every_marked_encoding_and_line_end(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "contract.txt"
    path.write_bytes(data)
    document = read_document(path)
    assert document.text == TEXT
    assert document.format == "text"
    assert len(document.sha256) == 64


@pytest.mark.parametrize("suffix", ["md", "MARKDOWN"])
def test_markdown_is_told_by_its_suffix(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"contract.{suffix}"
    path.write_text(TEXT, encoding="utf-8")
    assert read_document(path).format == "markdown"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert read_document("-").text == TEXT


def test_an_unmarked_encoding_is_refused_unless_named() -> None:
    data = TEXT.encode("cp1252")
    with pytest.raises(InputError, match=r"n\.txt is not utf-8 text \(byte 57\).*cp1252"):
        parse_document(data, name="n.txt")
    assert parse_document(data, name="n.txt", encoding="cp1252").text == TEXT
    with pytest.raises(InputError, match="unknown encoding 'klingon'"):
        parse_document(data, name="n.txt", encoding="klingon")
    with pytest.raises(InputError, match="check the encoding"):
        parse_document(data, name="n.txt", encoding="ascii")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b" \n\t ", "is empty"),
        ("a.txt", codecs.BOM_UTF8, "holds no text"),
        ("a.txt", bytes(range(256)) * 40, "is binary"),
        ("a.txt", b"abc\x00def", "is binary"),
        ("a.txt", "no mark".encode("utf-16-le"), "is binary"),
        ("a.doc", b"\xd0\xcf\x11\xe0" + b"\x00" * 99, r"old Word file .* save it as \.docx"),
        ("a.rtf", b"{\\rtf1 hello}", "rich text"),
        ("a.png", b"\x89PNG\r\n", "text recognition"),
        ("a.docx", b"just text", r"does not hold a \.docx file"),
        ("a.pdf", b"just text", r"does not hold a \.pdf file"),
        ("a.zip", zipped({"readme.txt": b"x"}), "no Word document"),
        ("a.docx", b"PK\x03\x04 cut off", r"damaged \.docx"),
        ("a.docx", zipped({"word/document.xml": b"<w:nothing"}), "cannot be read as a Word"),
        ("a.pdf", b"%PDF-1.7 cut off", "cannot be read as a PDF|holds no text"),
        ("a.pdf", pdf([]), "may be a scan"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(name: str, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as told:
        parse_document(data, name=name)
    assert str(told.value).startswith(name)
    assert "\n" not in str(told.value)


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.write_bytes(b"word " * 2_100_000)
    with pytest.raises(InputError, match="larger than 10,000,000 bytes"):
        read_document(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_document(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a folder"):
        read_document(tmp_path)
    with pytest.raises(InputError, match="cannot read"):
        read_document("nul\x00name")


def test_docx_headings_tables_controls_and_insertions(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    document = docx.Document()
    document.add_heading("Services Agreement", level=0)
    document.add_heading("Term", level=2)
    document.add_paragraph("This Agreement runs for two years.")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells),
        ("Fee", "£5", "Due", "monthly"),
        strict=True,
    ):
        cell.text = text
    run = "<w:r><w:t xml:space='preserve'>{}</w:t></w:r>"
    ns = nsdecls("w")
    control = f"<w:p>{run.format('In a control.')}</w:p>"
    inserted = f"<w:ins>{run.format('and inserted.')}</w:ins>"
    deleted = "<w:del><w:r><w:delText>and deleted.</w:delText></w:r></w:del>"
    for xml in (
        f"<w:sdt {ns}><w:sdtContent>{control}</w:sdtContent></w:sdt>",
        f"<w:p {ns}>{run.format('Kept ')}{inserted}{deleted}</w:p>",
    ):
        document.element.body.insert(-1, parse_xml(xml))
    path = tmp_path / "contract.docx"
    document.save(str(path))
    found = read_document(path)
    assert found.format == "docx"
    assert found.text.split("\n\n") == [
        "# Services Agreement",
        "## Term",
        "This Agreement runs for two years.",
        "Fee | £5",
        "Due | monthly",
        "In a control.",
        "Kept and inserted.",
    ]


def test_pdf() -> None:
    pytest.importorskip("pypdf")
    found = parse_document(pdf(["1. Term.", "This runs for two years."]), name="contract.pdf")
    assert found.format == "pdf"
    assert found.text.split("\n") == ["1. Term.", "This runs for two years."]


def test_a_protected_pdf_is_refused() -> None:
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["Secret."])))
    writer.encrypt("word", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    with pytest.raises(InputError, match="protected by a password"):
        parse_document(buffer.getvalue(), name="locked.pdf")


def test_a_zip_bomb_is_refused_unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_UNPACKED_BYTES", 1_000_000)
    data = zipped({"word/document.xml": b"\0" * 1_010_000})
    assert len(data) < 5_000
    with pytest.raises(InputError, match="unpacks to 1,010,000 bytes"):
        parse_document(data, name="bomb.docx")


@pytest.mark.parametrize(
    ("module", "name", "data"),
    [
        ("docx", "a.docx", zipped({"word/document.xml": b"<x/>"})),
        ("pypdf", "a.pdf", pdf(["Text."])),
    ],
)
def test_a_missing_extra_is_named(
    module: str, name: str, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(wanted: str, *args: Any, **kwargs: Any) -> Any:
        if wanted.split(".")[0] == module:
            raise ImportError(wanted)
        return real(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'seamline\[documents\]'"):
        parse_document(data, name=name)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["", "%PDF-1.4\n", "PK\x03\x04", "\xff\xfe"]))
def test_any_bytes_give_text_or_an_input_error(data: bytes, head: str) -> None:
    try:
        text = parse_document(head.encode("latin-1") + data, name="any").text
    except InputError:
        return
    assert text.strip()
    assert "\r" not in text
