"""Images are shown to the model at a size it reads well; what would hurt us is refused."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from qianda import Agent
from qianda.models.messages import MediaPart, TextPart
from qianda.testing import Call, ScriptedServer, Turn, serving
from qianda.tools import Context, ToolResult, images


async def view(folder: Path, path: str, crop: list[int] | None = None) -> ToolResult:
    (tool,) = images()
    return await tool.call({"path": path} | ({"crop": crop} if crop else {}), Context(workspace=folder))


def opened(result: ToolResult) -> tuple[str, Image.Image]:
    assert not result.failed, result.content
    text, part = result.content
    assert isinstance(text, TextPart)
    assert isinstance(part, MediaPart)
    return text.text, Image.open(io.BytesIO(base64.b64decode(part.url.partition(",")[2])))


async def test_large_images_are_scaled_and_small_ones_stay(tmp_path: Path) -> None:
    Image.new("RGB", (4000, 3000), "red").save(tmp_path / "photo.jpg")
    text, image = opened(await view(tmp_path, "photo.jpg"))
    assert text == "photo.jpg: 4000 × 3000 pixels, shown as 1322 × 991"
    assert image.size == (1322, 991)
    Image.new("RGB", (640, 480)).save(tmp_path / "small.png")
    text, image = opened(await view(tmp_path, "small.png"))
    assert text == "small.png: 640 × 480 pixels"
    assert image.size == (640, 480)


async def test_a_crop_is_in_thousandths_and_is_enlarged(tmp_path: Path) -> None:
    image = Image.new("RGB", (1000, 500), "white")
    image.paste((0, 0, 255), (500, 250, 600, 300))
    image.save(tmp_path / "plan.png")
    text, shown = opened(await view(tmp_path, "plan.png", [500, 500, 600, 600]))
    assert text == "plan.png: 1000 × 500 pixels, crop [500, 500, 600, 600], shown as 362 × 181"
    assert shown.convert("RGB").getcolors() == [(362 * 181, (0, 0, 255))]


async def test_the_camera_s_rotation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 200))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    text, shown = opened(await view(tmp_path, "turned.jpg"))
    assert text.startswith("turned.jpg: 200 × 400 pixels")
    assert shown.height == 2 * shown.width


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
async def test_any_kind_of_pixels(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (300, 300)).save(tmp_path / "x.tif")
    assert opened(await view(tmp_path, "x.tif"))[1].size == (300, 300)


async def test_photos_go_as_jpeg(tmp_path: Path) -> None:
    Image.effect_noise((1100, 1100), 90).convert("RGB").save(tmp_path / "noise.png")
    result = await view(tmp_path, "noise.png")
    assert opened(result)[1].format == "JPEG"


def bomb(width: int, height: int) -> bytes:
    """A PNG that says that it is large and has no pixels."""
    head = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bomb(50_000, 50_000), "too many pixels"),
        (bomb(9_500, 9_500), "too many pixels"),
        (bomb(100, 100), "is damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no image, or none of PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image"),
        (b"", "is no image"),
    ],
)
async def test_what_cannot_be_shown_is_said_in_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    result = await view(tmp_path, "x.png")
    assert result.failed
    assert said in str(result.content)


async def test_wrong_places_and_crops(tmp_path: Path) -> None:
    Image.new("RGB", (300, 300)).save(tmp_path / "x.png")
    Image.new("RGB", (3000, 10)).save(tmp_path / "line.png")
    for crop in ([1, 2, 3], [500, 0, 500, 10]):
        assert "crop is [left, top, right, bottom]" in str((await view(tmp_path, "x.png", crop)).content)
    assert "so crop" in str((await view(tmp_path, "line.png")).content)
    assert "outside the workspace" in str((await view(tmp_path, "../x.png")).content)
    assert "does not exist" in str((await view(tmp_path, "y.png")).content)


async def test_a_vision_model_sees_it(tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), "green").save(tmp_path / "x.png")
    call = Turn(calls=[Call("view_image", {"path": "x.png"})])
    with serving(ScriptedServer(call, "Green.", model="qwen3-vl-8b")) as server:
        agent = Agent(server=server.url, tools=images(), workspace=tmp_path)
        assert (await agent.run("What colour?")).output == "Green."
        sent = str(server.requests[-1]["messages"])
    assert "data:image/png;base64," in sent
