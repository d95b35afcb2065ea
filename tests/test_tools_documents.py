"""Documents become text by page, and those that would hurt us are refused."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent
from qianda.models.errors import ToolError
from qianda.testing import Call, ScriptedServer, Turn, serving
from qianda.tools import TOOLSETS, Context
from qianda.tools.builtin.documents import read_document
from qianda.tools.builtin.paging import cut, show, take, wanted


async def read(folder: Path, path: str, **arguments: Any) -> str:
    result = await read_document.call({"path": path, **arguments}, Context(workspace=folder))
    return ("FAILED " if result.failed else "") + str(result.content)


def write_pdf(path: Path, *pages: str) -> None:
    """A PDF of one line a page, by hand: ISO 32000, 7.5."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids: list[int] = []
    for text in pages:
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
        objects.append(b"<< /Length %d >> stream\n%s\nendstream" % (len(stream), stream))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
        kids.append(len(objects))
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    objects[1] = f"<< /Type /Pages /Kids [{listed}] /Count {len(kids)} >>".encode()
    content, offsets = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    path.write_bytes(content + end % (len(objects) + 1, table, len(objects) + 1, len(content)))


def write_zip(path: Path, entries: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(name, text)


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def write_docx(path: Path, text: str) -> None:
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    write_zip(
        path,
        {
            "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kind}"/></Types>',
            "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{OFFICE}" Target="word/document.xml"/></Relationships>',
            "word/document.xml": f'<w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p>'
            "</w:body></w:document>",
        },
    )


async def test_a_pdf_is_read_by_page(tmp_path: Path) -> None:
    write_pdf(tmp_path / "report.pdf", "Revenue was 42 million.", "", "Costs were 17 million.")
    assert await read(tmp_path, "report.pdf") == (
        "report.pdf: pages 1-3 of 3\n\n[page 1]\nRevenue was 42 million.\n\n"
        "[page 2]\n(no text: an empty page, or a scan)\n\n[page 3]\nCosts were 17 million."
    )
    assert (
        await read(tmp_path, "report.pdf", pages="3") == "report.pdf: page 3 of 3\n\n[page 3]\nCosts were 17 million."
    )
    assert "there is no page 4: it has 3" in await read(tmp_path, "report.pdf", pages="4")


async def test_a_workbook_is_read_as_tables(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["city", "人口"], ["Hangzhou", 12_520_000], ["Oslo", 717_710]):
        book.worksheets[0].append(row)
    book.create_sheet("Zweites").append(["x"])
    book.save(tmp_path / "cities.xlsx")
    text = await read(tmp_path, "cities.xlsx")
    assert "| Hangzhou | 12520000 |" in text
    assert "| city | 人口 |" in text
    assert "## Zweites" in text


async def test_an_agent_answers_from_a_pdf_and_a_workbook(tmp_path: Path) -> None:
    import openpyxl

    write_pdf(tmp_path / "report.pdf", "Revenue was 42 million.")
    book = openpyxl.Workbook()
    book.worksheets[0].append(["costs", 17])
    book.save(tmp_path / "costs.xlsx")
    both = Turn(calls=[Call("read_document", {"path": path}) for path in ("report.pdf", "costs.xlsx")])
    with serving(ScriptedServer(both, "25 million are left.")) as server:
        agent = Agent(server=server.url, tools=TOOLSETS["documents"](), workspace=tmp_path)
        assert (await agent.run("What is left?")).output == "25 million are left."
        sent = str(server.requests[-1]["messages"])
    assert "Revenue was 42 million." in sent
    assert "| costs | 17 |" in sent


async def test_slides_are_pages(tmp_path: Path) -> None:
    import pptx

    deck = pptx.Presentation()
    for title in ("Plan", "Budget"):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        assert slide.shapes.title is not None
        slide.shapes.title.text = title
    deck.save(str(tmp_path / "deck.pptx"))
    assert await read(tmp_path, "deck.pptx", pages="2") == "deck.pptx: slide 2 of 2\n\n[slide 2]\n# Budget"


async def test_other_formats(tmp_path: Path) -> None:
    write_docx(tmp_path / "letter.docx", "Sehr geehrte Frau Ömer")
    assert await read(tmp_path, "letter.docx") == "letter.docx\n\nSehr geehrte Frau Ömer"
    (tmp_path / "table.csv").write_text("name,wert\nÄpfel,3\n")
    assert "| Äpfel | 3 |" in await read(tmp_path, "table.csv")
    (tmp_path / "page.html").write_text("<h1>Titel</h1><script>no()</script><p>新闻 <a href='/x'>link</a></p>")
    assert await read(tmp_path, "page.html") == "page.html\n\n# Titel\n\n新闻 [link](/x)"
    write_zip(
        tmp_path / "book.epub",
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="c.opf"/></rootfiles></container>',
            "c.opf": "<package xmlns:dc='x'><metadata><dc:title>Die Reise</dc:title></metadata><manifest>"
            "<item id='a' href='a.xhtml'/></manifest><spine><itemref idref='a'/></spine></package>",
            "a.xhtml": "<html><body><h2>Eins</h2><p>Es war einmal.</p></body></html>",
        },
    )
    assert "## Eins\n\nEs war einmal." in await read(tmp_path, "book.epub")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.docx", b"PK nothing", "it is damaged, or no DOCX file at all"),
        ("x.pdf", b"%PDF-1.7 nothing", "it is damaged"),
        ("x.xlsx", b"", "no XLSX file at all"),
        ("x.txt", b"text", "use read_file for text"),
        ("x", b"", "is none of pdf"),
    ],
)
async def test_what_is_no_document_is_said_to_be_so(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    text = await read(tmp_path, name)
    assert text.startswith("FAILED ")
    assert said in text
    assert "Traceback" not in text


async def test_paths_lead_nowhere_else(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    write_pdf(tmp_path / "secret.pdf", "secret")
    (work / "link.pdf").symlink_to(tmp_path / "secret.pdf")
    for path in ("../secret.pdf", "link.pdf"):
        assert "outside the workspace" in await read(work, path)
    assert "does not exist" in await read(work, "nope.pdf")
    assert read_document.effects({"path": "a.pdf"}).reads == ("a.pdf",)


async def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        zeros = bytes(1_000_000)
        with archive.open("word/document.xml", "w", force_zip64=True) as entry:
            for _ in range(301):
                entry.write(zeros)
    assert (tmp_path / "bomb.docx").stat().st_size < 400_000
    assert await read(tmp_path, "bomb.docx") == (
        'FAILED "bomb.docx" cannot be read: it would unpack to 301 MB in 1 files, which is refused'
    )


def test_a_document_that_takes_all_memory_is_stopped(tmp_path: Path) -> None:
    # The bound is set in the reader's own process, here in one of this test.
    write_pdf(tmp_path / "x.pdf", "text")
    code = (
        "import sys; from qianda.tools.builtin import document_worker as worker\n"
        "def read(*_): return [bytearray(1 << 28) for _ in range(64)]\n"
        f"worker.read = read; sys.argv = ['', 'pdf', {str(tmp_path / 'x.pdf')!r}, '1', '1', '']; worker.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b'{"problem": "it needs more memory than is allowed"}'


async def test_a_document_that_takes_for_ever_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pdf(tmp_path / "x.pdf", "text")
    monkeypatch.setattr(sys.modules["qianda.tools.builtin.documents"], "_SECONDS", 0.01)
    assert "it takes more than 0.01 s" in await read(tmp_path, "x.pdf")


async def test_what_is_not_installed_is_said_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pdf(tmp_path / "x.pdf", "text")
    (tmp_path / "pypdfium2.py").write_text("raise ModuleNotFoundError('x', name='pypdfium2')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert await read(tmp_path, "x.pdf") == (
        "FAILED pypdfium2 is not installed, which reads this; tell the user: pip install 'qianda[documents]'"
    )


@pytest.mark.parametrize(
    ("pages", "first", "last"), [("", 1, 1_000_000), ("3", 3, 3), (" 3 - 5 ", 3, 5), ("7-", 7, 1_000_000), ("0", 1, 1)]
)
def test_which_pages_are_wanted(pages: str, first: int, last: int) -> None:
    assert wanted(pages) == (first, last)


def test_wrong_pages_are_refused() -> None:
    with pytest.raises(ToolError, match="such as"):
        wanted("three")


def test_long_texts_are_cut_between_paragraphs_and_nothing_is_lost() -> None:
    text = "\n\n".join(f"{number} " + "word " * 300 for number in range(20))
    parts = cut(text)
    assert len(parts) > 3
    assert all(len(part) <= 7_500 for part in parts)
    assert [word for part in parts for word in part.split()] == text.split()
    assert cut("x" * 20_000) == ["x" * 6_000, "x" * 6_000, "x" * 6_000, "xx" * 1_000]
    shown = show("book", take(lambda number: parts[number - 1], len(parts), 1, 100, "part"))
    assert len(shown) < 20_000
    assert shown.endswith(f'(more: pages="4-{min(6, len(parts))}")')
