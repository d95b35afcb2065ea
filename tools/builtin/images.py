"""The built-in tool ``view_image``: an image of the workspace, cut and scaled so that a model sees what it needs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from qianda.models.errors import ToolError
from qianda.models.media import LONGEST_RATIO, SHORTEST_SIDE
from qianda.models.messages import MediaPart, TextPart
from qianda.tools.builtin.text_files import human_size
from qianda.tools.context import Context
from qianda.tools.effects import reads_path
from qianda.tools.function_tool import tool
from qianda.tools.results import ToolResult
from qianda.tools.workspace import explained, resolve, shown

_LARGEST = 50_000_000  # bytes
_MOST_PIXELS = 89_000_000  # that are decoded: 360 MB; Pillow's own bound
# What the model gets: about 1,300 image tokens of Qwen3-VL (32 × 32 pixels each), 1,700 of Qwen2.5-VL (28 × 28).
# More detail comes from a crop, not from more tokens; Qwen's own cookbooks show 1,280 tokens of the latter.
_SHOWN_PIXELS = 1_310_720
_FEWEST_PIXELS = 64 * 1024  # a smaller crop is enlarged: below that, vision towers blur it
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")  # no format that another program would be started for


@tool(read_only=True, consent=False, origin="built-in", effects=reads_path)
def view_image(path: str, context: Context, crop: list[int] | None = None) -> ToolResult:
    """Look at an image file.

    Args:
        path: File path
        context: says where the workspace is
        crop: zoom in: [left, top, right, bottom], each 0 to 1000 of the width or height
    """
    file = resolve(context.workspace, path)
    name = shown(context.workspace, file)
    with explained(context.workspace, file, "read"):
        size = file.stat().st_size
        if size > _LARGEST:
            raise ToolError(f'"{name}" has {human_size(size)}; images of more than {human_size(_LARGEST)} are refused')
        return _view(file, name, crop)


def _view(file: Path, name: str, crop: list[int] | None) -> ToolResult:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ToolError("Pillow is not installed; tell the user: pip install 'qianda[images]'") from None
    try:
        with Image.open(file, formats=_FORMATS) as opened:
            image = ImageOps.exif_transpose(_bounded(opened))
            width, height = image.size
            if crop is not None:
                image = image.crop(_box(crop, width, height))
            image = _scaled(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    except Image.UnidentifiedImageError:
        raise ToolError(f'"{name}" is no image, or none of {", ".join(_FORMATS)}') from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ToolError(f'"{name}" has too many pixels to be decoded') from None
    except (SyntaxError, ValueError, EOFError, OSError) as error:  # what Pillow raises for broken files
        if isinstance(error, OSError) and error.errno:
            raise
        raise ToolError(f'"{name}" is damaged: {error}') from None
    what = f"{name}: {width} × {height} pixels" + (f", crop {crop}" if crop else "")
    if image.size != (width, height):
        what += f", shown as {image.width} × {image.height}"
    return ToolResult((TextPart(what), MediaPart("image", _data_url(image))))


def _bounded(image: Any) -> Any:
    """An opened image that may be decoded.

    Raises:
        ToolError: it has too many pixels for that.
    """
    if image.width * image.height > _MOST_PIXELS:
        raise ToolError(f"the image has {image.width} × {image.height} pixels, too many pixels to be decoded")
    return image


def _box(crop: list[int], width: int, height: int) -> tuple[int, int, int, int]:
    """A crop in thousandths as pixels."""
    if len(crop) != 4:
        raise ToolError("crop is [left, top, right, bottom], four numbers from 0 to 1000")
    left, top, right, bottom = (min(max(number, 0), 1000) for number in crop)
    if left >= right or top >= bottom:
        raise ToolError("crop is [left, top, right, bottom], with left below right and top below bottom")
    return left * width // 1000, top * height // 1000, -(-right * width // 1000), -(-bottom * height // 1000)


def _scaled(image: Any) -> Any:
    """The image at a size that models read well."""
    width, height = image.size
    if max(width, height) > LONGEST_RATIO * min(width, height):
        raise ToolError(f"the image has {width} × {height} pixels; models take ratios up to {LONGEST_RATIO}:1, so crop")
    factor = (_SHOWN_PIXELS / (width * height)) ** 0.5
    if factor >= 1:
        factor = max(1.0, (_FEWEST_PIXELS / (width * height)) ** 0.5)
    if factor == 1:
        return image
    return image.resize([max(SHORTEST_SIDE, round(side * factor)) for side in (width, height)], resample=3)  # bicubic


def _data_url(image: Any) -> str:
    """PNG for drawings and screenshots, which it keeps sharp; JPEG where that would be much larger, as in photos."""
    content = io.BytesIO()
    image.save(content, "PNG")
    kind = "png"
    if content.tell() > 1_000_000 and image.mode == "RGB":
        content, kind = io.BytesIO(), "jpeg"
        image.save(content, "JPEG", quality=90)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
