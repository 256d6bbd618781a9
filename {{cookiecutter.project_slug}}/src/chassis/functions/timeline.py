"""A picture of an execution: SVG, alone or in a page; it needs nothing beside itself.

Time goes to the right, and a row is an operation, those inside it below it. Code that runs is a
bar, a wait is a line. Where nothing ran for long the time is folded, and the fold says how long.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from html import escape
from itertools import accumulate, pairwise
from typing import NamedTuple

from chassis.functions.history import (
    History,
    Operation,
    Span,
    counted,
    duration,
    printable,
)

WIDTH, LEFT, RIGHT, TOP, ROW = 1000, 270, 110, 46, 24
"""Of the picture, the names, the durations, the axis and a row, in pixels."""

BAR, FOLD, COLUMNS = 2, 44, 120
"""The least width of a bar, the width of a fold in pixels, and the columns of a curve."""

MOST_TEXT = 2000
"""Characters of an error or a result in the page."""

LONG = 5
"""A stretch in which nothing ran is folded if this many of it are more than all that ran."""

STYLE = """\
svg{font:12px system-ui,sans-serif}.bg{fill:#fff}.band{fill:#64748b12}text{fill:#0f172a}
.m{fill:#64748b}.grid{stroke:#e2e8f0}.in{fill:#b6c2d2}.run{fill:#2563eb}.bad{fill:#dc2626}
.inv{fill:#94a3b8}.open{opacity:.6}.on{fill:none;stroke:#64748b;stroke-width:1.5}
.wait{stroke:#b45309;stroke-width:2;stroke-dasharray:2 3}
.fold{fill:#f1f5f9}.zig{fill:none;stroke:#94a3b8}.try{fill:#fff;stroke:#dc2626;stroke-width:1.5}
@media(prefers-color-scheme:dark){.bg{fill:#0f172a}text{fill:#e2e8f0}
.m{fill:#94a3b8}.grid{stroke:#273449}.in{fill:#475569}.run{fill:#60a5fa}.bad{fill:#f87171}
.inv{fill:#64748b}.wait{stroke:#fbbf24}.fold{fill:#1e293b}.try{fill:#0f172a;stroke:#f87171}}"""

LEGEND = (
    '<g font-size="10"><rect class="run" x="8" y="25" width="16" height="8" rx="2"/>'
    '<text class="m" x="28" y="33">runs</text><path class="wait" d="M60 29h18"/>'
    '<text class="m" x="82" y="33">waits</text>'
    '<rect class="bad" x="116" y="25" width="16" height="8" rx="2"/>'
    '<text class="m" x="136" y="33">failed</text>'
    '<circle class="try" cx="178" cy="29" r="3.5"/><text class="m" x="186" y="33">again</text></g>'
)

PAGE_STYLE = """\
:root{color-scheme:light dark}body{font:14px/1.5 system-ui,sans-serif;max-width:70rem;
margin:2rem auto;padding:0 1rem}h1{font-size:1.25rem;overflow-wrap:anywhere}
.wide{overflow-x:auto}.wide svg{min-width:44rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.15rem .75rem .15rem 0;border-bottom:1px solid #8883;
vertical-align:top;white-space:nowrap}td:first-child,td:last-child{white-space:normal;
overflow-wrap:anywhere;min-width:11rem}
.failed{color:#dc2626}@media(prefers-color-scheme:dark){.failed{color:#f87171}}"""


class _Piece(NamedTuple):
    """A stretch of time, and where it is; ``folded`` if not to scale."""

    start: float
    end: float
    left: float
    right: float
    folded: bool


class _Scale:
    """Where a time is, in pixels."""

    def __init__(self, history: History) -> None:
        self.history, self.start = history, history.root.start
        total = max(self.seconds(history.end), 0.001)
        gaps = [(self.seconds(a), self.seconds(b)) for a, b in history.idle()]
        ran = total - sum(b - a for a, b in gaps)
        folds = [(a, b) for a, b in gaps if (b - a) * LONG > ran]
        cuts = [0.0, *(cut for fold in folds for cut in fold), total]
        width = WIDTH - LEFT - RIGHT
        fold = min(FOLD, width / 2 / max(len(folds), 1))
        left_over = total - sum(b - a for a, b in folds)
        self.per_second = (width - fold * len(folds)) / left_over if left_over > 0 else 0.0
        self.pieces, at = list[_Piece](), float(LEFT)
        for number, (a, b) in enumerate(pairwise(cuts)):
            folded = number % 2 == 1
            right = at + (fold if folded else (b - a) * self.per_second)
            if b > a:
                self.pieces.append(_Piece(a, b, at, right, folded))
            at = right

    def seconds(self, time: datetime) -> float:
        return (time - self.start).total_seconds()

    def __call__(self, time: datetime | None) -> float:
        at = self.seconds(time or self.history.end)
        for piece in self.pieces:
            if at <= piece.end:
                share = max(at - piece.start, 0) / (piece.end - piece.start)
                return piece.left + share * (piece.right - piece.left)
        return float(WIDTH - RIGHT)


def timeline(history: History, *, name: str = "") -> str:
    """Draw an execution; ``name`` is what it is called, if the history does not say it."""
    scale, said = _Scale(history), rows(history)
    shapes = ["".join(_lane(scale)), *_rows(history.root, scale)]
    height = TOP + ROW * len(said) + 10
    drawn = "".join(
        f'<g transform="translate(0 {top})"><title>{_text(text)}</title>{shape}</g>\n'
        for (top, text), shape in zip(said, shapes, strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" style="max-width:100%;height:auto" '
        'role="img" aria-labelledby="tl-title tl-desc">'
        f'<title id="tl-title">Timeline of {_text(name or history.root.name)}</title>'
        f'<desc id="tl-desc">{_text(" ".join(history.summary()))}</desc>'
        f'<style>{STYLE}</style><rect class="bg" width="{WIDTH}" height="{height}"/>\n'
        f"{''.join(_bands(len(said)))}{''.join(_axis(scale, height))}{LEGEND}\n{drawn}</svg>\n"
    )


def rows(history: History) -> list[tuple[int, str]]:
    """The rows of the picture in words, each with its place: pixels from the top."""
    said = [f"invocations: {len(history.invocations)}", *_said(history.root, history)]
    return [(TOP + ROW * number, text) for number, text in enumerate(said)]


def _said(parent: Operation, history: History) -> Iterator[str]:
    shown, hidden = parent.shown()
    for o in shown:
        about = f"{o.name} ({o.kind}): {o.status}, {_tries(o)}{history.took(o)}"
        yield "\n".join([about, *(_cut(text, 500) for text in (o.error, o.payload) if text)])
        yield from _said(o, history)
    if hidden:
        yield f"{len(hidden):,} more: {counted(hidden)}"


def _tries(operation: Operation) -> str:
    return f"{operation.attempts} attempts · " if operation.attempts > 1 else ""


def page(history: History, *, name: str = "") -> str:
    """A page with the picture, the errors and the operations; the arguments are the picture's."""
    root, title = history.root, _text(name or history.root.name)
    errors = "".join(
        f"<li><b>{_text(o.name)}</b>: {_text(_cut(o.error, MOST_TEXT))}</li>"
        for o in root.everything()
        if o.error and o.has_failed
    )
    heads = ["operation", "kind", "status", "attempts", "time", "error or result"]
    table = "".join(_table_rows(root.children, history))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{PAGE_STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        f"<p>{_text(' '.join(history.summary()))} "
        f"Started {_text(root.start.isoformat(' ', 'seconds'))}.</p>\n"
        f'<div class="wide">{timeline(history, name=name)}</div>\n'
        + (f'<h2>Errors</h2><ul class="failed">{errors}</ul>\n' if errors else "")
        + '<h2>Operations</h2>\n<div class="wide"><table><thead><tr>'
        + "".join(f"<th>{head}</th>" for head in heads)
        + f"</tr></thead><tbody>\n{table}</tbody></table></div>\n</body></html>\n"
    )


def _table_rows(operations: list[Operation], history: History, depth: int = 0) -> Iterator[str]:
    for o in operations:
        said = _cut(o.error or o.payload, MOST_TEXT)
        cells = (o.kind, o.status, str(o.attempts or ""), history.took(o), said)
        yield (
            f'<tr{" class=failed" * o.has_failed}><td style="padding-left:{depth}rem">'
            f"{_text(o.name)}</td>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>\n"
        )
        yield from _table_rows(o.children, history, depth + 1)


def _rows(parent: Operation, scale: _Scale, depth: int = 0) -> Iterator[str]:
    """A row for each operation inside another, and one for all that a screen does not hold."""
    shown, hidden = parent.shown()
    for operation in shown:
        yield "".join(_row(operation, scale, depth))
        yield from _rows(operation, scale, depth + 1)
    if hidden:
        yield "".join(_hidden(hidden, scale, depth))


def _row(operation: Operation, scale: _Scale, depth: int) -> Iterator[str]:
    yield _label(operation.name, operation.kind if operation.children else "", depth)
    if operation.children or not operation.spans:
        kind = "in bad" if operation.has_failed else "in"
        yield _bar(operation.start, operation.end, scale, kind, 10, 4)
    yield from _spans(operation.spans, scale, "run")
    kind, how = ("bad", "failed · ") if operation.has_failed else ("m", _tries(operation))
    yield _right(how + scale.history.took(operation), kind)


def _lane(scale: _Scale) -> Iterator[str]:
    """The invocations; and the pauses, which are the spans of the execution itself."""
    history = scale.history
    yield _label("invocations", "", 0)
    yield from _spans([*history.invocations, *history.root.spans], scale, "inv")
    yield _right(f"{len(history.invocations)}", "m")


def _spans(spans: list[Span], scale: _Scale, kind: str) -> Iterator[str]:
    tries = 0
    for span in spans:
        if span.runs:
            yield _bar(span.start, span.end, scale, "bad" if span.failed else kind, 6, 12)
            tries += kind == "run"
            if tries > 1:
                yield f'<circle class="try" cx="{scale(span.start):.1f}" cy="12" r="3.5"/>'
        else:
            left, right = scale(span.start), max(scale(span.end), scale(span.start) + BAR)
            yield f'<path class="wait" d="M{left:.1f} 12H{right:.1f}"/>'
        if not span.end:
            yield f'<path class="on" d="M{scale(None):.1f} 6l6 6l-6 6"/>'


def _bar(
    start: datetime, end: datetime | None, scale: _Scale, kind: str, top: int, height: int
) -> str:
    left = scale(start)
    width, state = max(scale(end) - left, BAR), "" if end else " open"
    return (
        f'<rect class="{kind}{state}" x="{left:.1f}" y="{top}" width="{width:.1f}" '
        f'height="{height}" rx="2"/>'
    )


def _hidden(operations: list[Operation], scale: _Scale, depth: int) -> Iterator[str]:
    """How many of these run at a time, as a curve."""
    yield _label(f"{len(operations):,} more", counted(operations), depth)
    step = (WIDTH - LEFT - RIGHT) / COLUMNS
    changes = [0] * (COLUMNS + 1)
    for span in (span for o in operations for span in o.spans if span.runs):
        first = min(int((scale(span.start) - LEFT) / step), COLUMNS - 1)
        changes[first] += 1
        changes[min(int((scale(span.end) - LEFT) / step), COLUMNS - 1) + 1] -= 1
    running = list(accumulate(changes))
    most = max(*running, 1)
    curve = "".join(f"V{20 - 16 * number / most:.1f}h{step:.1f}" for number in running[:-1])
    yield f'<path class="run" d="M{LEFT} 20{curve}V20z"/>'


def _label(name: str, beside: str, depth: int) -> str:
    left = 8 + 14 * min(depth, 8)
    room = (LEFT - left) // 7
    name = _cut(name, room)
    beside = beside[: max(room - len(name) - 1, 0)]
    small = f' <tspan class="m" font-size="10">{_text(beside)}</tspan>' if beside else ""
    return f'<text x="{left}" y="16">{_text(name)}{small}</text>'


def _right(text: str, kind: str) -> str:
    return f'<text x="{WIDTH - 8}" y="16" text-anchor="end" class="{kind}">{_text(text)}</text>'


def _bands(rows: int) -> Iterator[str]:
    for top in range(TOP + ROW, TOP + ROW * rows, 2 * ROW):
        yield f'<rect class="band" y="{top}" width="{WIDTH}" height="{ROW}"/>'


def _axis(scale: _Scale, height: int) -> Iterator[str]:
    """The ticks of each stretch that is to scale, and the folds, with their lengths."""
    steps = (factor * 10.0**power for power in range(-3, 12) for factor in (1, 2, 5))
    step = next((step for step in steps if step * scale.per_second >= 70), 1.0)
    for piece in scale.pieces:
        if piece.folded:
            middle = (piece.left + piece.right) / 2
            teeth = "l4 4l-8 8l4 4" * ((height - TOP + 4) // 16)
            wide, long = piece.right - piece.left, _text(duration(piece.end - piece.start))
            yield (
                f'<g><title>{long}, in which nothing ran</title><rect class="fold" '
                f'x="{piece.left:.1f}" y="{TOP - 8}" width="{wide:.1f}" height="{height - TOP}"/>'
                f'<path class="zig" d="M{middle:.1f} {TOP - 8}{teeth}"/></g>'
            )
            if wide > FOLD / 2:  # else they would stand on each other
                yield f'<text class="m" x="{middle:.1f}" y="14" text-anchor="middle">{long}</text>'
            continue
        for number in range(int((piece.end - piece.start) / step) + 1):
            at = piece.left + number * step * scale.per_second
            label = ("+" if piece.start else "") + duration(number * step) if number else ""
            yield (
                f'<path class="grid" d="M{at:.1f} {TOP - 8}V{height}"/>'
                f'<text class="m" x="{at:.1f}" y="32" text-anchor="middle">'
                f"{label or ('0' if not piece.start else '')}</text>"
            )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(text: str) -> str:
    """Text as XML takes it, whatever is in it."""
    return escape(printable(text))
