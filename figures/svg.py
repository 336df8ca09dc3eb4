"""A small builder of SVG. Everything that comes from outside is escaped here and nowhere else.

Written by hand because what is drawn is bars, ticks and cells: matplotlib takes a second to import, and its SVG of a
raster of 6,000 ticks is megabytes.
"""

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

BLUE = "#0072b2"
ORANGE = "#d55e00"
"""Okabe and Ito's colours for the colour-blind (2008); both are told apart from black, white and each other."""

INK = "currentColor"
WIDTH = 720.0
FONT = 11.0
CHARACTER = 0.56
"""Width of a character over the size of the font, about, for a sans serif."""

# What XML 1.0 cannot hold, not even escaped.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def number(value: float) -> str:
    """A coordinate, to a tenth."""
    return f"{value:.1f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def clean(text: str) -> str:
    """The text without what XML cannot hold."""
    return _UNWRITABLE.sub("\ufffd", text)


def shortened(text: str, characters: int) -> str:
    """The text with its middle left out where it is long: ids tell themselves apart at both ends."""
    if len(text) <= characters:
        return text
    head = (characters - 1) // 2
    return f"{text[:head]}…{text[len(text) - (characters - 1 - head) :]}"


class Svg:
    """A picture being drawn; coordinates are in pixels from the upper left."""

    def __init__(self, width: float = WIDTH) -> None:
        self.width = width
        self._parts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        size: float = FONT,
        fill: str = INK,
        bold: bool = False,
        faint: bool = False,
        turn: float = 0.0,
    ) -> None:
        """One line of text; `turn` degrees clockwise about its anchor."""
        more = ' font-weight="600"' if bold else ""
        more += ' opacity="0.7"' if faint else ""
        more += f' transform="rotate({number(turn)} {number(x)} {number(y)})"' if turn else ""
        self._parts.append(
            f'<text x="{number(x)}" y="{number(y)}" text-anchor="{anchor}" font-size="{number(size)}"'
            f' fill="{fill}"{more}>{escape(clean(text))}</text>'
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, *, stroke: str = INK, width: float = 1.0,
        opacity: float = 1.0, dashed: bool = False,
    ) -> None:  # fmt: skip
        """A straight line."""
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" stroke="{stroke}"'
            f' stroke-width="{number(width)}" stroke-opacity="{opacity:g}"{dash}/>'
        )

    def rect(self, x: float, y: float, width: float, height: float, *, fill: str = INK, opacity: float = 1.0) -> None:
        """A filled rectangle."""
        self._parts.append(
            f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
            f' fill="{fill}" fill-opacity="{opacity:g}"/>'
        )

    def rects(
        self, boxes: Iterable[tuple[float, float, float, float]], *, fill: str = INK, opacity: float = 1.0
    ) -> None:
        """Many rectangles (x, y, width, height) of one colour as one path, a fifth of the bytes."""
        path = "".join(
            f"M{number(x)} {number(y)}h{number(width)}v{number(height)}h{number(-width)}z"
            for x, y, width, height in boxes
        )
        if path:
            self._parts.append(f'<path d="{path}" fill="{fill}" fill-opacity="{opacity:g}"/>')

    def path(self, points: Iterable[tuple[float, float]], *, stroke: str, width: float = 1.5) -> None:
        """A line through points."""
        steps = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self._parts.append(
            f'<polyline points="{steps}" fill="none" stroke="{stroke}" stroke-width="{number(width)}"'
            ' stroke-linejoin="round"/>'
        )

    def dot(self, x: float, y: float, radius: float, *, fill: str, hollow: bool = False, hint: str = "") -> None:
        """A point; the hint shows when it is pointed at."""
        look = f'fill="none" stroke="{fill}" stroke-width="1.5"' if hollow else f'fill="{fill}" fill-opacity="0.8"'
        inside = f"<title>{escape(clean(hint))}</title>" if hint else ""
        end = f">{inside}</circle>" if inside else "/>"
        self._parts.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" {look}{end}')

    def group(self, hint: str) -> None:
        """Begin a group that shows a hint when it is pointed at; `end_group` ends it."""
        self._parts.append(f"<g><title>{escape(clean(hint))}</title>")

    def end_group(self) -> None:
        """End the group."""
        self._parts.append("</g>")

    def render(self, uid: str, title: str, summary: str, height: float) -> str:
        """The picture; `uid` makes its ids unique in a page that holds several."""
        name = re.sub(r"[^A-Za-z0-9_-]", "-", uid)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="{name}-title {name}-summary"'
            f' width="{number(self.width)}" height="{number(height)}"'
            f' viewBox="0 0 {number(self.width)} {number(height)}"'
            ' font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif">'
            f"<title id={quoteattr(f'{name}-title')}>{escape(clean(title))}</title>"
            f"<desc id={quoteattr(f'{name}-summary')}>{escape(clean(summary))}</desc>"
            f"{''.join(self._parts)}</svg>"
        )
