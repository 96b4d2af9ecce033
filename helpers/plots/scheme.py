"""How data flows through an adapted layer, drawn: plain LoRA, DoRA, merged, QLoRA.

Frozen parts are blue, trained ones orange and marked as such in words, so that the picture does not
rest on colour. The formulas are those of Hu et al. 2021 (equation 3), Liu et al. 2024 (DoRA,
equation 5) and Dettmers et al. 2023 (QLoRA, equation 5).
"""

from __future__ import annotations

from helpers._arguments import one_of, require
from helpers._language import N_, tr
from helpers.plots.style import ink_on
from helpers.plots.svg import drawing, path, show_svg, text

FROZEN, TRAINED, PLAIN = "#0072B2", "#D55E00", "#6e6e6e"
VARIANTS = {
    "lora": N_("LoRA: a small trained branch beside a frozen layer"),
    "dora": N_("DoRA: the sum gets a length of its own for each output"),
    "merged": N_("Merged: the update is added to the weights, once"),
    "qlora": N_("QLoRA: the frozen layer is stored in 4 bits"),
}
ALTS = {
    "lora": N_(
        "The input x, {d_in}, goes two ways. Above, through W₀, frozen. Below, through A "
        "(trained), which leaves {r}, then B (trained), which makes {d_out} of them, times α/r. "
        "Both are added: h = W₀x + (α/r)·BAx."
    ),
    "dora": N_(
        "The input x, {d_in}, goes through the frozen W₀ and, beside it, through A and B "
        "(trained) times α/r, as in LoRA. The sum is then divided, output by output, by the length "
        "of that row of W₀ + (α/r)·BA, and multiplied by m (trained, one number an output)."
    ),
    "merged": N_(
        "Before: x through W₀ and, beside it, through A and B times α/r, then added. After: "
        "x through one layer, W = W₀ + (α/r)·BA, of the same shape as W₀. The outputs are equal."
    ),
    "qlora": N_(
        "The input x, {d_in}, goes two ways. Above, through W₀, which is stored in 4 bits, "
        "frozen, and turned back into 16 bits at each use. Below, through A and B (trained, 16 or "
        "32 bits) times α/r, as in LoRA. Both are added: h = dequantized(W₀)x + (α/r)·BAx."
    ),
}


def scheme(
    variant: str = "lora",
    *,
    d_in: int | None = None,
    d_out: int | None = None,
    r: int | None = None,
) -> None:
    """Show how data flows through a layer that is adapted, with a text alternative.

    Args:
        variant: "lora", "dora", "merged" or "qlora".
        d_in: Numbers that come in, if the picture is to name them.
        d_out: Numbers that go out.
        r: The rank.

    Raises:
        ValueError: Another `variant`.
    """
    picture, alt = scheme_svg(variant, d_in=d_in, d_out=d_out, r=r, ground="white")
    show_svg(picture, alt)


def scheme_svg(
    variant: str,
    *,
    d_in: int | None = None,
    d_out: int | None = None,
    r: int | None = None,
    ground: str | None = None,
) -> tuple[str, str]:
    """The picture of `scheme` as the text of one SVG element, and its text alternative."""
    require(variant in VARIANTS, "variant", variant, one_of(", ".join(VARIANTS)))
    sizes = {
        "d_in": tr("{n} numbers").format(n=d_in or "d_in"),
        "d_out": tr("{n} numbers").format(n=d_out or "d_out"),
        "r": tr("{n} numbers").format(n=r or "r"),
        "A": f"{r or 'r'} × {d_in or 'd_in'}",
        "B": f"{d_out or 'd_out'} × {r or 'r'}",
    }
    title, alt = tr(VARIANTS[variant]), tr(ALTS[variant]).format(**sizes)
    drawn = [text(10, 18, title, 'font-size="14" font-weight="bold"')]
    if variant == "merged":
        drawn += _merged()
        return drawing(drawn, 720, 270, f"{title}. {alt}", ground), alt
    end = 720 if variant != "dora" else 930
    drawn += _branches(sizes, four_bit=variant == "qlora")
    drawn += _lengths(sizes) if variant == "dora" else _output(560, "h", sizes["d_out"])
    drawn += _key(end)
    return drawing(drawn, end, 300, f"{title}. {alt}", ground), alt


def _branches(sizes: dict[str, str], *, four_bit: bool) -> list[str]:
    """From x to the plus: W₀ above; A, B and the scaling below."""
    drawn = [*_value(46, 150, "x"), _small(46, 182, sizes["d_in"])]
    drawn += _arrow((62, 150), (100, 150), (100, 88), (150, 88)) + _arrow(
        (100, 150), (100, 224), (150, 224)
    )
    if four_bit:
        drawn += _stored()
    else:
        drawn += _box(150, 48, 190, 80, "W₀", tr("frozen"), FROZEN)
    drawn += _arrow((340, 88), (520, 88), (520, 136))
    drawn += _funnel(150, 224, (72, 26), 80, "A", sizes["A"])
    drawn += _arrow((230, 224), (276, 224))
    drawn.append(_small(253, 196, sizes["r"]))
    drawn += _funnel(276, 224, (26, 72), 80, "B", sizes["B"])
    drawn += _arrow((356, 224), (402, 224))
    drawn += _circle(424, 224, 22, "× α/r", PLAIN)
    drawn += _arrow((446, 224), (520, 224), (520, 166))
    return drawn + _circle(520, 150, 14, "+", PLAIN, size=20)


def _stored() -> list[str]:
    """W₀ of QLoRA: as stored, and as used."""
    drawn = _box(150, 48, 90, 80, "W₀", tr("4 bits, frozen"), FROZEN)
    drawn += _arrow((240, 88), (266, 88))
    drawn += _box(266, 48, 74, 80, "W₀", tr("16 bits"), PLAIN)
    return [*drawn, _small(245, 144, tr("dequantized anew at each use, then dropped"))]


def _lengths(sizes: dict[str, str]) -> list[str]:
    """DoRA's second half: divided by each row's length, times a trained one."""
    drawn = _arrow((534, 150), (572, 150)) + _box(
        572, 114, 112, 72, tr("÷ length"), tr("of each row of"), PLAIN
    )
    drawn.append(_small(628, 202, "W₀ + (α/r)·BA"))
    drawn += _arrow((684, 150), (722, 150)) + _box(722, 114, 70, 72, "× m", "", TRAINED)
    drawn += [_small(757, 202, tr("trained")), _small(757, 217, tr("one an output"))]
    return drawn + _output(818, "h", sizes["d_out"], begin=792)


def _merged() -> list[str]:
    """Before and after, side by side."""
    drawn = [text(10, 48, tr("while it trains"), 'opacity="0.75"')]
    drawn += (
        _value(40, 142, "x")
        + _arrow((56, 142), (76, 142), (76, 92), (104, 92))
        + _arrow((76, 142), (76, 200), (104, 200))
    )
    drawn += _box(104, 64, 110, 56, "W₀", tr("frozen"), FROZEN)
    drawn += _funnel(104, 200, (56, 22), 44, "A", "") + _arrow((148, 200), (170, 200))
    drawn += _funnel(170, 200, (22, 56), 44, "B", "") + _arrow((214, 200), (234, 200))
    drawn += _circle(252, 200, 18, "× α/r", PLAIN, size=10)
    drawn += _arrow((214, 92), (300, 92), (300, 130)) + _arrow((270, 200), (300, 200), (300, 156))
    drawn += _circle(300, 142, 12, "+", PLAIN, size=17) + _arrow((312, 142), (340, 142))
    drawn += _value(356, 142, "h")
    drawn.append(path("M392 60V240", 'stroke="currentColor" opacity="0.4" stroke-dasharray="4 4"'))
    drawn.append(text(412, 48, tr("merged"), 'opacity="0.75"'))
    drawn += _value(436, 142, "x") + _arrow((452, 142), (486, 142))
    drawn += _box(486, 106, 150, 72, "W₀ + (α/r)·BA", tr("an ordinary layer"), PLAIN, size=15)
    drawn += _arrow((636, 142), (668, 142)) + _value(684, 142, "h")
    return [*drawn, _small(561, 200, tr("same shape as W₀, same outputs"))]


def _output(x: float, name: str, size: str, *, begin: float = 534) -> list[str]:
    drawn = _arrow((begin, 150), (x + 26, 150)) + _value(x + 42, 150, name)
    return [*drawn, _small(x + 42, 182, size)]


def _key(width: float) -> list[str]:
    drawn, x = [], width - 190
    for name, color in ((tr("frozen"), FROZEN), (tr("trained"), TRAINED)):
        drawn.append(f'<rect x="{x}" y="274" width="12" height="12" rx="2" fill="{color}"/>')
        drawn.append(text(x + 18, 285, name))
        x += 90
    return drawn


def _box(
    x: float,
    y: float,
    width: float,
    height: float,
    name: str,
    note: str,
    color: str,
    size: int = 20,
) -> list[str]:
    middle, centre = x + width / 2, y + height / 2
    style = f'text-anchor="middle" style="fill:{ink_on(color)}"'
    return [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{color}"/>',
        text(middle, centre + 2, name, f'{style} font-size="{size}" font-weight="bold"'),
        text(middle, centre + 22, note, f'{style} font-size="12"'),
    ]


def _funnel(
    x: float, y: float, heights: tuple[float, float], width: float, name: str, note: str
) -> list[str]:
    """A matrix that leaves fewer numbers, or makes more of them: wide where there are many."""
    left, right = (height / 2 for height in heights)
    shape = f"M{x} {y - left}L{x + width} {y - right}V{y + right}L{x} {y + left}Z"
    look = f'style="fill:{ink_on(TRAINED)}" font-weight="bold" font-size="20"'
    style = f'text-anchor="middle" {look}'
    drawn = [f'<path d="{shape}" fill="{TRAINED}"/>', text(x + width / 2, y + 7, name, style)]
    notes = (tr("trained"), note) if note else ()
    return drawn + [_small(x + width / 2, y + 50 + 15 * i, words) for i, words in enumerate(notes)]


def _circle(x: float, y: float, radius: float, name: str, color: str, size: int = 12) -> list[str]:
    look = f'style="fill:{ink_on(color)}" font-weight="bold" font-size="{size}"'
    style = f'text-anchor="middle" {look}'
    return [
        f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{color}"/>',
        text(x, y + 0.35 * size, name, style),
    ]


def _value(x: float, y: float, name: str) -> list[str]:
    style = 'text-anchor="middle" font-size="20" font-style="italic" font-weight="bold"'
    ring = 'fill="none" stroke="currentColor" stroke-width="1.5"'
    return [f'<circle cx="{x}" cy="{y}" r="16" {ring}/>', text(x, y + 6, name, style)]


def _small(x: float, y: float, words: str) -> str:
    return text(x, y, words, 'text-anchor="middle" font-size="12"')


def _arrow(*points: tuple[float, float]) -> list[str]:
    """A line through points that stand level or upright to each other, with a head at its end."""
    (x0, y0), (x, y) = points[-2:]
    if y == y0:
        head = f"M{x} {y}L{x - 8} {y - 5}V{y + 5}Z"
    else:
        back = -8 if y > y0 else 8
        head = f"M{x} {y}L{x - 5} {y + back}H{x + 5}Z"
    line = "M" + "L".join(f"{x} {y}" for x, y in points)
    return [
        path(line, 'stroke="currentColor" stroke-width="1.8"'),
        f'<path d="{head}" fill="currentColor"/>',
    ]
