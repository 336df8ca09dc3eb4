"""Which families each account asks in."""

import numpy as np
from numpy.typing import NDArray

from coterie.domain import Dossier, FamilyId
from coterie.figures.axes import LEFT, row_height, row_names
from coterie.figures.figure import Figure
from coterie.figures.svg import BLUE, WIDTH, Svg, shortened

_TOP = 78.0
_LEVELS = 8
_CELL_MAX = 34.0
_RIGHT = 40.0
"""Room for the slanted name of the last column."""


def families_figure(dossier: Dossier) -> Figure | None:
    """Accounts by families, each cell the share of the account's exchanges; None where no families are kept."""
    families = dossier.families
    if not families.family_ids:
        return None
    own = {family.family_id for family in dossier.finding.families}
    names = [*families.family_ids, "other families", "no family"]
    share = families.asked / np.maximum(families.asked.sum(axis=1, keepdims=True), 1)
    kept = [column for column in range(len(names)) if families.asked[:, column].any()]
    height = row_height(len(share))
    cell = min(_CELL_MAX, (WIDTH - LEFT - _RIGHT) / len(kept))
    bottom = _TOP + len(share) * height
    svg = Svg()
    for place, column in enumerate(kept):
        x = LEFT + (place + 0.5) * cell + 4
        claimed = names[column] in own
        svg.text(
            x, _TOP - 6, shortened(names[column], 14), size=min(10.0, cell), turn=-55, bold=claimed, faint=not claimed
        )
    row_names(svg, dossier.account_ids, _TOP, height)
    _cells(svg, share[:, kept], cell, height)
    _legend(svg, bottom + 18)
    title = "What each account asks about"
    summary = _summary(dossier, share, own, names)
    return Figure(
        name="families",
        title=title,
        reading=(
            "One row an account, one column a family of alike prompts; the darker, the larger the part of the "
            "account's traffic. Columns in bold are those that the finding claims. Dealt slices make rows that look "
            "alike, each a bit of everything. Where each row has a dark column of its own, accounts have subjects "
            "of their own, as innocents do; a row that is dark under 'no family' or 'other families' mostly asks "
            "something else."
        ),
        summary=summary,
        svg=svg.render(f"{dossier.finding.finding_id}-families", title, summary, bottom + 40),
    )


def level(share: NDArray[np.float64]) -> NDArray[np.int64]:
    """0 for nothing, else 1 to `_LEVELS` by the square root of the share: small parts must be seen too."""
    return np.where(share > 0, np.clip(np.ceil(np.sqrt(share) * _LEVELS), 1, _LEVELS), 0).astype(np.int64)


def _cells(svg: Svg, share: NDArray[np.float64], cell: float, height: float) -> None:
    levels = level(share)
    svg.rect(LEFT, _TOP, share.shape[1] * cell, len(share) * height, opacity=0.04)
    for number in range(1, _LEVELS + 1):
        rows, columns = np.nonzero(levels == number)
        svg.rects(
            (
                (LEFT + column * cell + 0.5, _TOP + row * height + 0.5, cell - 1, height - 1)
                for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            ),
            fill=BLUE,
            opacity=number / _LEVELS,
        )


def _legend(svg: Svg, y: float) -> None:
    svg.text(LEFT, y, "part of the account's traffic:", faint=True)
    for place, share in enumerate((0.02, 0.1, 0.3, 0.6, 1.0)):
        x = LEFT + 165 + place * 64
        svg.rect(x, y - 10, 12, 12, fill=BLUE, opacity=float(level(np.array([share]))[0]) / _LEVELS)
        svg.text(x + 16, y, f"{share:.0%}")


def _summary(dossier: Dossier, share: NDArray[np.float64], own: set[FamilyId], names: list[str]) -> str:
    claimed = share[:, [name in own for name in names]].sum(axis=1)
    largest = share[:, :-1].argmax(axis=1)
    families = dossier.families
    text = (
        f"{len(families.family_ids)} families. Of an account's traffic, {claimed.min():.0%} to {claimed.max():.0%} "
        f"lies in families that the finding names; the accounts' largest families are {len(set(largest.tolist()))} "
        "different ones."
    )
    if families.run_id != dossier.finding.run_id:
        text += " The families are those of a newer run: those of the finding's run are no longer kept."
    return text
