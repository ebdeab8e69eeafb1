"""Reading what people hand in: text, Markdown, Word (.docx) and PDF, as one string.

Text and Markdown need nothing else. Word and PDF need the extra `documents`, which brings
python-docx and pypdf; both are imported only when such a file is read.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from seamline.errors import InputError

__all__ = ["MAX_BYTES", "Document", "DocumentFormat", "parse_document", "read_document"]

DocumentFormat = Literal["text", "markdown", "docx", "pdf"]

MAX_BYTES = 10_000_000
"""Largest file that is read; a contract of 60,000 words is about 0.4 MB of text."""

MAX_UNPACKED_BYTES = 100_000_000
MAX_ZIP_ENTRIES = 5_000
MAX_PAGES = 3_000
MAX_DEPTH = 8
INSTALL = "pip install 'seamline[documents]'"

_SUFFIXES: dict[str, DocumentFormat] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".docx": "docx",
    ".pdf": "pdf",
}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHERS = (
    (b"\xd0\xcf\x11\xe0", "an old Word file (.doc)", "save it as .docx"),
    (b"{\\rtf", "a rich text file (.rtf)", "save it as .docx or plain text"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"\x89PNG", "an image", "run text recognition first and pass the text"),
    (b"\xff\xd8\xff", "an image", "run text recognition first and pass the text"),
    (b"II*\x00", "an image", "run text recognition first and pass the text"),
)
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
# Settings, text moved elsewhere, and the second copy of a text box for older editors.
_DOCX_SKIPPED = {"pPr", "moveFrom", "Fallback"}
_DOCX_SPACE = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_CONTROL = {chr(code) for code in range(32)} - set("\t\n\r\f\v\x1b")


@dataclass(frozen=True, kw_only=True)
class Document:
    """The text of a file.

    Attributes:
        text: with a line feed as its only line end; offsets of results are into it.
        format: What the file was.
        sha256: Digest of the file's bytes, in hexadecimal.
    """

    text: str
    format: DocumentFormat
    sha256: str


def read_document(
    path: Path | str, *, encoding: str | None = None, max_bytes: int = MAX_BYTES
) -> Document:
    """The text of the file at `path`, or of standard input for `-`.

    Args:
        path: The file; its suffix and first bytes say how to read it.
        encoding: How a text file is encoded, where it is neither UTF-8 nor UTF-16 with a mark.
        max_bytes: A larger file is refused before it is read.

    Raises:
        InputError: The file is missing, empty, too large, binary, damaged, protected, in
            another encoding, or needs the extra `documents`.
    """
    if str(path) == "-":
        data = sys.stdin.buffer.read(max_bytes + 1)
        return parse_document(data, name="standard input", encoding=encoding, max_bytes=max_bytes)
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise InputError(f"no file {path}; check the path, or pass `-` to read stdin") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; pass one file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}; check its permissions") from error
    return parse_document(data, name=str(path), encoding=encoding, max_bytes=max_bytes)


def parse_document(
    data: bytes, *, name: str, encoding: str | None = None, max_bytes: int = MAX_BYTES
) -> Document:
    """The text of a file's bytes; `name` is what errors call it, its suffix a hint.

    Raises:
        InputError: As `read_document`.
    """
    if len(data) > max_bytes:
        raise InputError(
            f"{name} is larger than {max_bytes:,} bytes, the most that is read; "
            "split it, or pass its text without images"
        )
    if not data.strip():
        raise InputError(f"{name} is empty; expected a document with text")
    kind = _format(data, name)
    if kind == "docx":
        text = _docx_text(data, name)
    elif kind == "pdf":
        text = _pdf_text(data, name)
    else:
        text = _plain_text(data, name, encoding)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise InputError(f"{name} holds no text; expected a document with text")
    return Document(text=text, format=kind, sha256=hashlib.sha256(data).hexdigest())


def _format(data: bytes, name: str) -> DocumentFormat:
    """What the bytes are; the suffix decides only between kinds of text."""
    if data.lstrip()[:5] == b"%PDF-":
        return "pdf"
    if data[:4] == b"PK\x03\x04":
        return "docx"
    for magic, what, fix in _OTHERS:
        if data.startswith(magic):
            raise InputError(f"{name} is {what}, not text, Markdown, .docx or PDF; {fix}")
    kind = _SUFFIXES.get(Path(name).suffix.lower(), "text")
    if kind in {"docx", "pdf"}:
        raise InputError(
            f"{name} does not hold a {Path(name).suffix} file, whatever its name says; "
            "save it again, or rename it to .txt if it is text"
        )
    return kind


def _plain_text(data: bytes, name: str, encoding: str | None) -> str:
    marked = next((codec for bom, codec in _BOMS if data.startswith(bom)), None)
    codec = encoding or marked or "utf-8"
    try:
        text = data.decode(codec)
    except LookupError as error:
        raise InputError(
            f"unknown encoding {codec!r}; use one that Python knows, e.g. utf-8, cp1252 or latin-1"
        ) from error
    except UnicodeError as error:
        if encoding is None and _looks_binary(data):
            raise InputError(_binary(name)) from error
        at = f" (byte {error.start:,})" if isinstance(error, UnicodeDecodeError) else ""
        fix = (
            "check the encoding"
            if encoding
            else "save it as UTF-8, or name its encoding, e.g. `--encoding cp1252`"
        )
        raise InputError(f"{name} is not {codec} text{at}; {fix}") from error
    text = text.removeprefix("\ufeff")
    if "\x00" in text or _share_of_control(text) > 0.02:
        raise InputError(_binary(name))
    return text


def _binary(name: str) -> str:
    return f"{name} is binary, not text; expected text, Markdown, .docx or PDF"


def _looks_binary(data: bytes) -> bool:
    head = data[:65_536]
    control = sum(byte < 32 and byte not in b"\t\n\r\f\v\x1b" for byte in head)
    return b"\x00" in head or control > 0.02 * len(head)


def _share_of_control(text: str) -> float:
    head = text[:65_536]
    return sum(ch in _CONTROL for ch in head) / max(1, len(head))


def _docx_text(data: bytes, name: str) -> str:
    _check_zip(data, name)
    try:
        import docx
        from docx.text.paragraph import Paragraph
    except ImportError as error:
        raise InputError(f"reading {name} needs python-docx; run {INSTALL}") from error
    try:
        document = docx.Document(io.BytesIO(data))

        def style(paragraph: Any) -> str:
            named = Paragraph(paragraph, document).style
            return (named.name if named is not None else None) or ""

        blocks = _docx_blocks(document.element.body, style)
        return "\n\n".join(text for text in blocks if text)
    except Exception as error:
        raise InputError(
            f"{name} cannot be read as a Word document ({type(error).__name__}); "
            "open it in an editor and save it again"
        ) from error


def _docx_blocks(parent: Any, style: Callable[[Any], str], depth: int = 0) -> Iterator[str]:
    """The paragraphs below an element; headings as Markdown, a table row as one line.

    Reads the elements, because python-docx's own walk leaves out content controls and
    tracked insertions, and contracts have both.
    """
    for child in parent.iterchildren():
        kind = _local(child)
        if kind == "p":
            text = _docx_line(child).strip()
            yield _as_heading(text, style(child)) if text else ""
        elif kind == "tbl" and depth < MAX_DEPTH:
            for row in child.iterchildren(_W + "tr"):
                cells = [
                    "\n\n".join(text for text in _docx_blocks(cell, style, depth + 1) if text)
                    for cell in row.iterchildren(_W + "tc")
                ]
                filled = [cell for cell in cells if cell]
                yield " | ".join(filled) if len(cells) > 1 else "\n\n".join(filled)
        elif kind in {"sdt", "sdtContent", "ins", "customXml"} and depth < MAX_DEPTH:
            yield from _docx_blocks(child, style, depth + 1)


def _docx_line(paragraph: Any) -> str:
    parts: list[str] = []
    skipped: Any = None
    for node in paragraph.iter():
        if skipped is not None and skipped in node.iterancestors():
            continue
        kind = _local(node)
        if kind in _DOCX_SKIPPED:
            skipped = node
        elif kind == "t":
            parts.append(node.text or "")
        elif kind in _DOCX_SPACE:
            parts.append(_DOCX_SPACE[kind])
    return "".join(parts)


def _as_heading(text: str, style: str) -> str:
    level = style.removeprefix("Heading ")
    if style == "Title":
        return f"# {text}"
    if level != style and level.isdigit():
        return f"{'#' * max(1, min(int(level), 6))} {text}"
    return text


def _local(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _check_zip(data: bytes, name: str) -> None:
    """Refuses what is no Word file, and what would unpack to far more than a document."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{name} is a damaged .docx or zip file; save it again") from error
    if not any(entry.filename == "word/document.xml" for entry in entries):
        raise InputError(f"{name} is a zip file but no Word document; pass the file inside it")
    # zipfile reads no more of an entry than its declared size, so the sum is a true limit.
    size = sum(entry.file_size for entry in entries)
    if size > MAX_UNPACKED_BYTES or len(entries) > MAX_ZIP_ENTRIES:
        raise InputError(
            f"{name} unpacks to {size:,} bytes in {len(entries):,} parts; at most "
            f"{MAX_UNPACKED_BYTES:,} bytes in {MAX_ZIP_ENTRIES:,} parts are read. "
            "Save it without images, or pass its text"
        )


def _pdf_text(data: bytes, name: str) -> str:
    try:
        import pypdf
    except ImportError as error:
        raise InputError(f"reading {name} needs pypdf; run {INSTALL}") from error
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        locked = reader.is_encrypted and not reader.decrypt("")
        count = 0 if locked else len(reader.pages)
        readable = not locked and count <= MAX_PAGES
        pages = [page.extract_text() for page in reader.pages] if readable else []
    except Exception as error:
        raise InputError(
            f"{name} cannot be read as a PDF ({type(error).__name__}); "
            "print it to a new PDF, or pass its text"
        ) from error
    if locked:
        raise InputError(f"{name} is protected by a password; save it without one")
    if count > MAX_PAGES:
        raise InputError(f"{name} has {count:,} pages; at most {MAX_PAGES:,} are read: split it")
    text = "\n\n".join(page.strip() for page in pages if page.strip())
    if not text:
        raise InputError(
            f"{name} holds no text on its {count} pages; it may be a scan: "
            "run text recognition first and pass the text"
        )
    return text
