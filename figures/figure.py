"""A picture with what it says in words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture.

    Attributes:
        name: a stable word, unique in a dossier, fit for an anchor.
        title: what it shows.
        reading: how to read it: what a campaign looks like, and what an innocent crowd.
        summary: what there is to see here, in numbers; also the picture's text alternative.
        svg: the picture. It refers to nothing outside of itself, holds no script and no style sheet, and takes the
            colour of text from where it is placed, so that it fits light and dark pages and print.
    """

    name: str
    title: str
    reading: str
    summary: str
    svg: str
