"""The parts of a poster as SVG: palettes for tones, a backdrop for each theme's settings, headgear for its subjects.

A backdrop fills 200 × 300 in the palette's colours; a head is an ellipse of 40 × 48 around (0, 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Colours of a tone: the sky from top to bottom, what is far and near, figures, light, and one accent."""

    top: str
    bottom: str
    far: str
    near: str
    ink: str
    light: str
    accent: str
    skin: str


PALETTES = {
    "warm": Palette("#f6a04d", "#fde3b0", "#d9793c", "#9c4a26", "#4a2013", "#fff4d2", "#c8342b", "#f3c49a"),
    "dark": Palette("#0b0f1a", "#27303f", "#1b2331", "#10151f", "#04060a", "#aeb9c9", "#7d2330", "#8d8f98"),
    "playful": Palette("#35c4e8", "#fff07a", "#ff8fb8", "#7b4fd6", "#3a1d6e", "#ffffff", "#ff5a36", "#ffd7b0"),
    "tense": Palette("#2a0508", "#b3131b", "#6d0c12", "#33060a", "#120203", "#ffd9c7", "#ffcf33", "#d9a184"),
    "dreamy": Palette("#a58be0", "#fbd3e6", "#c9a8e8", "#7f6bb8", "#43366f", "#fff6fb", "#f28fb5", "#fbdccb"),
    "sad": Palette("#4f6478", "#a9b8c2", "#70879a", "#3f5163", "#212c38", "#e6edf2", "#8aa9c2", "#cdbfb6"),
    "proud": Palette("#10255c", "#e9b949", "#27448c", "#14285a", "#0a1330", "#fff0bd", "#e4572e", "#e9b98f"),
    "calm": Palette("#8cc7c0", "#eef4e2", "#6aa8a2", "#37706f", "#1d4344", "#fbfdf5", "#e0a458", "#eccaa6"),
}


def _skyline(p: Palette, lit: str) -> str:
    blocks = [(0, 150, 30), (26, 118, 26), (52, 162, 22), (70, 96, 30), (98, 140, 24), (124, 108, 28), (150, 154, 24)]
    towers = "".join(f'<path d="M{x} 300V{y}h{w}V300z"/>' for x, y, w in [*blocks, (172, 126, 28)])
    windows = "".join(
        f'<path d="M{x + 5 + 9 * (n % 2)} {y + 10 + 14 * (n // 2)}h4v6h-4z"/>'
        for place, (x, y, _) in enumerate(blocks)
        for n in range(8)
        if (n * 5 + place * 3) % 4 != 0
    )
    return f'<g fill="{p.far}">{towers}</g><g fill="{lit}" opacity=".8">{windows}</g>'


def _action(p: Palette) -> str:
    burst = " ".join(
        f"{100 + radius * x:.0f},{165 + radius * y:.0f}" for radius, (x, y) in zip([105, 48] * 9, _CIRCLE, strict=True)
    )
    return (
        f'{_skyline(p, p.near)}<polygon points="{burst}" fill="{p.accent}"/>'
        f'<circle cx="100" cy="165" r="42" fill="{p.light}"/><path d="M0 262l60-14 50 10 90-18v60H0z" fill="{p.near}"/>'
    )


_CIRCLE = [
    (1.0, 0.0), (0.94, 0.34), (0.77, 0.64), (0.5, 0.87), (0.17, 0.98), (-0.17, 0.98), (-0.5, 0.87), (-0.77, 0.64),
    (-0.94, 0.34), (-1.0, 0.0), (-0.94, -0.34), (-0.77, -0.64), (-0.5, -0.87), (-0.17, -0.98), (0.17, -0.98),
    (0.5, -0.87), (0.77, -0.64), (0.94, -0.34),
]  # fmt: skip


def _adventure(p: Palette) -> str:
    return (
        f'<path d="M-10 300L48 108l34 70 40-96 88 218z" fill="{p.far}"/>'
        f'<path d="M48 108l14 28-10 10-8-8-9 12zM122 82l18 44-12 12-10-12-12 10z" fill="{p.light}"/>'
        f'<path d="M88 160q8 60 4 140h26q-14-70-12-140z" fill="{p.light}" opacity=".75"/>'
        f'<path d="M0 236q40-34 78 6t122-10v68H0z" fill="{p.near}"/>'
        f'<path d="M0 300q4-90-14-120 30 20 22 120M200 300q-2-100 16-140-34 30-30 140" fill="{p.ink}"/>'
    )


def _animation(p: Palette) -> str:
    clouds = "".join(
        f'<path d="M{x} {y}a14 14 0 0 1 26-7 18 18 0 0 1 34 3 12 12 0 0 1 2 24H{x - 2}a10 10 0 0 1 2-20z"/>'
        for x, y in [(14, 62), (118, 96)]
    )
    flowers = "".join(f'<circle cx="{x}" cy="{y}" r="5"/>' for x, y in [(22, 262), (60, 280), (150, 256), (180, 284)])
    return (
        f'<g fill="{p.light}" opacity=".9">{clouds}</g><ellipse cx="40" cy="270" rx="120" ry="80" fill="{p.far}"/>'
        f'<ellipse cx="170" cy="290" rx="120" ry="74" fill="{p.near}"/><g fill="{p.accent}">{flowers}</g>'
    )


def _childrens(p: Palette) -> str:
    arcs = "".join(
        f'<path d="M{-20 + 12 * n} 230a{120 - 12 * n} {120 - 12 * n} 0 0 1 {240 - 24 * n} 0" stroke="{colour}"/>'
        for n, colour in enumerate((p.accent, p.light, p.far, p.near))
    )
    balloons = "".join(
        f'<path d="M{x} {y}q4 40-4 70" stroke="{p.ink}" stroke-width="1" fill="none"/>'
        f'<ellipse cx="{x}" cy="{y - 18}" rx="14" ry="18" fill="{colour}"/>'
        for x, y, colour in [(30, 90, p.accent), (52, 70, p.light), (172, 84, p.near)]
    )
    return (
        f'<g fill="none" stroke-width="12">{arcs}</g>{balloons}'
        f'<path d="M0 236q50-30 100-6t100-6v76H0z" fill="{p.near}"/>'
    )


def _comedy(p: Palette) -> str:
    rays = "".join(
        f'<path d="M100 170L{100 + 320 * x0:.0f} {170 + 320 * y0:.0f} {100 + 320 * x1:.0f} {170 + 320 * y1:.0f}z"/>'
        for (x0, y0), (x1, y1) in zip(_CIRCLE[::2], _CIRCLE[1::2], strict=True)
    )
    flags = "".join(
        f'<path d="M{20 * n} {26 + 8 * (n % 5)}l20 2-11 22z" fill="{(p.accent, p.light, p.near)[n % 3]}"/>'
        for n in range(10)
    )
    return f'<g fill="{p.far}" opacity=".7">{rays}</g>{flags}<path d="M0 262h200v38H0z" fill="{p.near}"/>'


def _crime(p: Palette) -> str:
    return (
        f'{_skyline(p, p.light)}<path d="M0 250h200v50H0z" fill="{p.near}"/>'
        f'<path d="M0 258h200" stroke="{p.accent}" stroke-width="7" stroke-dasharray="18 10"/>'
        f'<path d="M0 272h200" stroke="{p.light}" stroke-width="2" opacity=".4"/>'
    )


def _documentary(p: Palette) -> str:
    holes = "".join(f'<path d="M6 {8 + 22 * n}h12v12H6zM182 {8 + 22 * n}h12v12h-12z"/>' for n in range(14))
    lines = "".join(f'<ellipse cx="100" cy="150" rx="{rx}" ry="70"/>' for rx in (24, 50, 70))
    return (
        f'<path d="M0 0h24v300H0zM176 0h24v300h-24z" fill="{p.ink}"/><g fill="{p.light}">{holes}</g>'
        f'<circle cx="100" cy="150" r="70" fill="{p.far}"/><g fill="none" stroke="{p.light}" opacity=".6">{lines}'
        f'<path d="M30 150h140M40 115h120M40 185h120"/></g>'
    )


def _drama(p: Palette) -> str:
    return (
        f'<path d="M0 0h200v300H0z" fill="{p.far}"/><path d="M36 36h128v150H36z" fill="{p.light}" opacity=".9"/>'
        f'<path d="M36 36h128v150H36z" fill="{p.bottom}" opacity=".6"/>'
        f'<path d="M100 36v150M36 104h128" stroke="{p.near}" stroke-width="7"/>'
        f'<path d="M30 30h140v162H30zm8 8v146h124V38z" fill="{p.near}" fill-rule="evenodd"/>'
        f'<path d="M10 20q36 60 22 180L0 216V20zM190 20q-36 60-22 180l32 16V20z" fill="{p.accent}" opacity=".75"/>'
        f'<path d="M36 204h128l36 96H0z" fill="{p.light}" opacity=".28"/>'
    )


def _fantasy(p: Palette) -> str:
    return (
        f'<circle cx="150" cy="56" r="26" fill="{p.light}"/>'
        f'<circle cx="52" cy="40" r="13" fill="{p.light}" opacity=".7"/>'
        f'<path d="M-10 300q50-120 110-110t110 110z" fill="{p.far}"/>'
        f'<path d="M58 206v-78h8v-30l10-26 10 26v30h10v-64l14-34 14 34v56h12v-34l9-24 9 24v42h6v78z" fill="{p.near}"/>'
        f'<path d="M98 206v-24a10 10 0 0 1 20 0v24z" fill="{p.light}"/>'
        f'<g fill="{p.accent}"><path d="M76 72l14-6-14-6zM110 30l16-7-16-7zM145 70l14-6-14-6z"/></g>'
        f'<path d="M0 240q60-30 200 4v56H0z" fill="{p.ink}" opacity=".8"/>'
    )


def _noir(p: Palette) -> str:
    slats = "".join(f'<path d="M0 {y}l200-16v9L0 {y + 9}z"/>' for y in range(24, 300, 22))
    return (
        f'<path d="M0 0h200v300H0z" fill="{p.ink}" opacity=".55"/><g fill="{p.light}" opacity=".5">{slats}</g>'
        f'<path d="M160 300V92q0-14-16-14" stroke="{p.ink}" stroke-width="5" fill="none"/>'
        f'<path d="M144 84l-52 216h112z" fill="{p.light}" opacity=".25"/>'
        f'<circle cx="144" cy="82" r="8" fill="{p.light}"/>'
    )


def _horror(p: Palette) -> str:
    stones = "".join(
        f'<path d="M{x} 300v-{h}a13 13 0 0 1 26 0v{h}z"/>' for x, h in [(12, 46), (56, 34), (118, 40), (160, 56)]
    )
    return (
        f'<circle cx="132" cy="74" r="40" fill="{p.light}"/>'
        f'<circle cx="120" cy="64" r="7" fill="{p.bottom}" opacity=".5"/>'
        f'<g stroke="{p.ink}" fill="none" stroke-linecap="round"><path stroke-width="11" d="M22 300q8-90 4-150"/>'
        f'<path stroke-width="5" d="M26 200q26-30 40-66M26 170Q8 140 0 104M52 158q-6-26 4-40M60 146q18-8 30-26"/>'
        f'<path stroke-width="8" d="M186 300q-6-60 0-130"/>'
        f'<path stroke-width="4" d="M186 214q-26-16-32-44M186 190l14-34"/>'
        f'</g><path d="M0 268q100-30 200 0v32H0z" fill="{p.near}"/><g fill="{p.far}">{stones}</g>'
    )


def _musical(p: Palette) -> str:
    folds = "".join(f'<path d="M{x} 0q-8 150 2 300" stroke="{p.ink}" opacity=".35"/>' for x in (12, 28, 172, 188))
    return (
        f'<path d="M0 0h200v300H0z" fill="{p.near}"/><path d="M100-10L20 262h160z" fill="{p.light}" opacity=".55"/>'
        f'<path d="M100-10L56 262h88z" fill="{p.light}" opacity=".6"/><ellipse cx="100" cy="262" rx="84" ry="17" '
        f'fill="{p.light}"/><path d="M0 0h48Q44 190 0 280zM200 0h-48q4 190 48 280z" fill="{p.accent}"/>{folds}'
        f'<path d="M0 0h200v16q-25 22-50 0-25 22-50 0-25 22-50 0-25 22-50 0z" fill="{p.accent}"/>'
        f'<path d="M0 276h200v24H0z" fill="{p.ink}"/>'
    )


def _mystery(p: Palette) -> str:
    windows = "".join(f'<path d="M{x} {y}h12v18h-12z"/>' for y in (136, 172) for x in (42, 66, 122, 146))
    return (
        f'<circle cx="44" cy="52" r="22" fill="{p.light}" opacity=".8"/>'
        f'<path d="M26 240V118l34-34 26 30V92l14-18 14 18v22l26-30 34 34v122z" fill="{p.near}"/>'
        f'<g fill="{p.ink}">{windows}<path d="M92 240v-34a8 8 0 0 1 16 0v34z"/></g>'
        f'<path d="M122 136h12v18h-12z" fill="{p.accent}"/>'
        f'<path d="M0 226q40-16 80 0t80-4 60 8v70H0z" fill="{p.light}" opacity=".45"/>'
        f'<path d="M0 256q60-14 110 0t100-4v48H0z" fill="{p.far}"/>'
    )


_HEART = "c-7-12-24-8-22 6 1 9 12 16 22 26 10-10 21-17 22-26 2-14-15-18-22-6z"


def _romance(p: Palette) -> str:
    hearts = "".join(
        f'<path transform="translate({x} {y}) scale({size})" d="M0 0{_HEART}"/>'
        for x, y, size in [(34, 44, 0.6), (160, 66, 0.8), (66, 96, 0.4), (178, 138, 0.5), (24, 136, 0.5)]
    )
    return (
        f'<circle cx="100" cy="150" r="62" fill="{p.light}" opacity=".85"/><g fill="{p.accent}">{hearts}</g>'
        f'<path d="M0 206h200v94H0z" fill="{p.far}"/>'
        f'<path d="M58 214h84M66 226h68M76 240h48" stroke="{p.light}" stroke-width="4" stroke-linecap="round"/>'
        f'<path d="M0 206q26-26 60-10v10zM200 206q-30-34-66-8v8z" fill="{p.near}"/>'
    )


def _space(p: Palette) -> str:
    stars = "".join(
        f'<circle cx="{n * 67 % 199}" cy="{n * 41 % 170}" r="{1 + n % 3 * 0.6:.1f}"/>' for n in range(1, 34)
    )
    return (
        f'<path d="M0 0h200v300H0z" fill="{p.ink}" opacity=".45"/><g fill="{p.light}">{stars}</g>'
        f'<circle cx="140" cy="84" r="44" fill="{p.accent}"/><path d="M140 40a44 44 0 0 1 0 88 60 60 0 0 0 0-88z" '
        f'fill="{p.ink}" opacity=".35"/><ellipse cx="140" cy="84" rx="74" ry="15" fill="none" stroke="{p.light}" '
        f'stroke-width="5" transform="rotate(-16 140 84)"/><path d="M0 238q100-50 200 0v62H0z" fill="{p.far}"/>'
        f'<path d="M20 236v-40l10-10 10 10v36zM46 230v-66l6-16 6 16v64zM66 226v-30h16v28z" fill="{p.near}"/>'
    )


def _thriller(p: Palette) -> str:
    rings = "".join(
        f'<path d="M{100 - n} {140 - 1.4 * n:.0f}h{2 * n}v{2.8 * n:.0f}h-{2 * n}z" fill="{colour}"/>'
        for n, colour in zip(range(120, 19, -20), (p.near, p.far) * 3, strict=True)
    )
    return (
        f'{rings}<path d="M82 114h36v52H82z" fill="{p.light}"/>'
        f'<path d="M82 166L20 300M118 166l62 134" stroke="{p.light}" stroke-width="2" opacity=".6"/>'
        f'<path d="M82 166h36l62 134H20z" fill="{p.light}" opacity=".22"/>'
    )


def _war(p: Palette) -> str:
    smoke = "".join(
        f'<circle cx="{x}" cy="{y}" r="{r}"/>'
        for x, y, r in [(46, 150, 26), (34, 112, 20), (52, 82, 24), (34, 50, 18), (158, 160, 22), (168, 126, 26)]
    )
    barbs = "".join(f'<path d="M{x} 214l8 10m0-10l-8 10M{x + 12} 238l8 10m0-10l-8 10"/>' for x in range(4, 200, 26))
    return (
        f'<g fill="{p.near}" opacity=".55">{smoke}</g><path d="M0 220q50-36 96-12t104-18v110H0z" fill="{p.far}"/>'
        f'<path d="M0 258q70-28 120-6t80-10v58H0z" fill="{p.near}"/>'
        f'<g stroke="{p.ink}" stroke-width="2" fill="none"><path d="M0 219h200M0 243h200"/>{barbs}'
        f'<path stroke-width="6" d="M30 300v-92M168 300v-92"/></g>'
    )


def _western(p: Palette) -> str:
    return (
        f'<circle cx="100" cy="150" r="56" fill="{p.light}"/>'
        f'<path d="M-6 300V168h14l6-24h48l8 26h12v130zM128 300V150h8l8-40h44l8 36h14v154z" fill="{p.far}"/>'
        f'<path d="M0 244q90-20 200 0v56H0z" fill="{p.near}"/>'
        f'<path d="M34 262v-62m0 40q-16 0-16-26m16 14q14 0 14-22" stroke="{p.ink}" stroke-width="9" fill="none" '
        f'stroke-linecap="round"/>'
    )


BACKDROPS: dict[str, Callable[[Palette], str]] = {
    "action": _action,
    "adventure": _adventure,
    "animation": _animation,
    "children's": _childrens,
    "comedy": _comedy,
    "crime": _crime,
    "documentary": _documentary,
    "drama": _drama,
    "fantasy": _fantasy,
    "film-noir": _noir,
    "horror": _horror,
    "musical": _musical,
    "mystery": _mystery,
    "romance": _romance,
    "sci-fi": _space,
    "thriller": _thriller,
    "war": _war,
    "western": _western,
}
"""Where: what a theme's settings look like."""

_FACE = '<path d="M-9-2h5m8 0h5" stroke="{ink}" stroke-width="3.4" stroke-linecap="round"/>'
_SMILE = '<path d="M-8 9q8 8 16 0" stroke="{ink}" stroke-width="2.4" fill="none" stroke-linecap="round"/>'
_STERN = '<path d="M-6 11h12" stroke="{ink}" stroke-width="2.4" stroke-linecap="round"/>'
_HAIR = '<path d="M-23 6C-28-32 28-32 23 6 18-10 6-14-6-12c-8 2-14 8-17 18z" fill="{near}"/>'

HEADS = {
    "action": (
        _FACE + _STERN + '<path d="M-22-6q22-12 44 0l1-9q-23-16-46 0z" fill="{accent}"/>'
        '<path d="M21-10l18 4-6 5 8 6-20-8z" fill="{accent}"/>'
        '<path d="M-16 4l7 6" stroke="{accent}" stroke-width="2.4"/>'
    ),
    "adventure": (
        _FACE + _SMILE + '<path d="M-38-9q38-18 76 0-38 12-76 0z" fill="{near}"/>'
        '<path d="M-20-12q2-28 12-25 8 5 16 0 10-3 12 25-20 8-40 0z" fill="{near}"/>'
        '<path d="M-20-14q20 7 40 0v-6q-20 7-40 0z" fill="{accent}"/>'
    ),
    "animation": (
        '<path d="M-22-8l-6-30 22 14M22-8l6-30-22 14" fill="{accent}"/><g fill="{light}">'
        '<ellipse cx="-8" cy="-2" rx="8" ry="10"/><ellipse cx="8" cy="-2" rx="8" ry="10"/></g><g fill="{ink}">'
        '<circle cx="-6" r="4.6"/><circle cx="7" r="4.6"/><path d="M-3 10h6l-3 4z"/></g>'
    ),
    "children's": (
        _FACE + _SMILE + '<path d="M-23-6a23 23 0 0 1 46 0z" fill="{accent}"/><path d="M18-8h24v6H18z" fill="{near}"/>'
        '<path d="M0-29v-9m-15 0q15-7 30 0-15 7-30 0z" fill="{light}" stroke="{ink}"/>'
        '<circle cx="-11" cy="7" r="4" fill="{accent}" opacity=".5"/>'
        '<circle cx="11" cy="7" r="4" fill="{accent}" opacity=".5"/>'
    ),
    "comedy": (
        _FACE + '<path d="M-11 7q11 18 22 0z" fill="{ink}"/><circle cy="4" r="6" fill="{accent}"/>'
        '<path d="M-15-18L2-56l13 36q-15-6-30 2z" fill="{near}"/><circle cx="2" cy="-56" r="6" fill="{light}"/>'
        '<path d="M-9-31l16-8M-13-22l24-8" stroke="{light}" stroke-width="3"/>'
    ),
    "crime": (
        '<path d="M-23 4C-24-32 24-32 23 4 22 32-22 32-23 4z" fill="{ink}"/>'
        '<path d="M-16-9q16-6 32 0v10q-16-4-32 0z" fill="{skin}"/>'
        '<path d="M-10-4h6m8 0h6" stroke="{ink}" stroke-width="4"/>'
        '<path d="M-7 12q7 4 14 0" stroke="{skin}" stroke-width="3" fill="none"/>'
    ),
    "documentary": (
        _SMILE + '<path d="M-24 0a24 24 0 0 1 48 0" fill="none" stroke="{ink}" stroke-width="5"/>'
        '<path d="M-30-4h10v18h-10zM20-4h10v18H20z" fill="{ink}"/><path d="M-18-13h36v20h-36z" fill="{near}"/>'
        '<circle cy="-3" r="8.5" fill="{light}"/><circle cy="-3" r="4.5" fill="{ink}"/>'
        '<circle cx="13" cy="-9" r="2" fill="{accent}"/>'
    ),
    "drama": (
        '<path d="M-25 34C-36-38 36-38 25 34l-8-4c8-26 4-40-6-46-10 2-20 2-26 14-2 10 0 22 3 32z" '
        'fill="{near}"/><path d="M-11-2q3 3 6 0m9 0q3 3 6 0" stroke="{ink}" stroke-width="2.6" fill="none"/>'
        '<path d="M-5 12q5-4 10 0" stroke="{ink}" stroke-width="2.4" fill="none"/>'
        '<path d="M8 4q-3 6 0 8 3-2 0-8z" fill="{light}"/>'
    ),
    "fantasy": (
        _FACE + '<path d="M-14 8q14 46 28 0-14 8-28 0z" fill="{light}"/>'
        '<path d="M-30-10L4-74l26 62q-30-10-60 2z" fill="{near}"/>'
        '<path d="M-34-8q34-16 68 0-34 9-68 0z" fill="{accent}"/>'
        '<path d="M2-48l3 6 6 1-5 4 2 7-6-4-6 4 2-7-5-4 6-1z" fill="{light}"/>'
    ),
    "film-noir": (
        '<path d="M-22-6h44q2 30-22 34-4-1-8-4z" fill="{ink}" opacity=".35"/>'
        + _STERN
        + '<path d="M-40-10q40-16 80 0-10 7-40 7t-40-7z" fill="{ink}"/>'
        '<path d="M-22-12q0-26 12-27 10 5 20 0 12 1 12 27z" fill="{ink}"/>'
        '<path d="M-22-14h44v-6h-44z" fill="{accent}"/><path d="M6 12l16 5" stroke="{light}" stroke-width="3"/>'
        '<path d="M24 16q10-12 2-22t4-20" stroke="{light}" stroke-width="2" fill="none" opacity=".7"/>'
    ),
    "horror": (
        '<path d="M-20-12q20-22 40 0 4 34-20 44-24-10-20-44z" fill="{light}"/><g fill="{ink}">'
        '<ellipse cx="-8" cy="-2" rx="6" ry="7"/><ellipse cx="8" cy="-2" rx="6" ry="7"/></g><g fill="{accent}">'
        '<circle cx="-8" r="2.4"/><circle cx="8" r="2.4"/>'
        '<path d="M0-22v14M-13 15l6-3m20 3l-6-3" stroke="{accent}" stroke-width="3"/></g>'
        '<path d="M-8 17h16m-13-4v8m5-8v8m5-8v8" stroke="{ink}" stroke-width="2"/>'
    ),
    "musical": (
        _FACE + '<ellipse cy="11" rx="6" ry="7" fill="{ink}"/><path d="M-32-14h64v6h-64z" fill="{ink}"/>'
        '<path d="M-19-14v-36h38v36z" fill="{ink}"/><path d="M-19-16h38v-8h-38z" fill="{accent}"/>'
        '<path d="M40-8v-28l16-5v28" stroke="{light}" stroke-width="3" fill="none"/>'
        '<circle cx="36" cy="-7" r="5" fill="{light}"/><circle cx="52" cy="-12" r="5" fill="{light}"/>'
    ),
    "mystery": (
        _STERN + '<path d="M-8-3h4" stroke="{ink}" stroke-width="3.4" stroke-linecap="round"/>'
        '<path d="M-23-8a23 21 0 0 1 46 0z" fill="{near}"/>'
        '<path d="M-23-8h-14q2-8 14-9zM23-8h14q-2-8-14-9z" fill="{near}"/>'
        '<path d="M-12-27v18M0-30v21M12-27v18M-21-17h42" stroke="{far}" stroke-width="2"/>'
        '<circle cx="9" cy="-1" r="11" fill="{light}" opacity=".8"/>'
        '<circle cx="9" cy="-1" r="11" fill="none" stroke="{accent}" stroke-width="4"/>'
        '<path d="M17 8l16 22" stroke="{accent}" stroke-width="6"/><circle cx="9" cy="-1" r="4" fill="{ink}"/>'
    ),
    "romance": (
        _HAIR + '<path d="M-22 0q-8 30 0 42l8-6q-8-14-6-30z" fill="{near}"/>'
        '<path d="M-11-2q3 4 6 0m9 0q3 4 6 0" stroke="{ink}" stroke-width="2.6" fill="none"/>'
        + _SMILE
        + '<circle cx="-11" cy="6" r="4" fill="{accent}" opacity=".5"/>'
        '<circle cx="11" cy="6" r="4" fill="{accent}" opacity=".5"/>'
        '<path transform="translate(18 -22) scale(.5)" d="M0 0c-7-12-24-8-22 6 1 9 12 16 22 26 10-10 21-17 '
        '22-26 2-14-15-18-22-6z" fill="{accent}"/>'
    ),
    "sci-fi": (
        '<circle r="33" fill="{light}"/><path d="M-24-8q24-20 48 0v16q-24 20-48 0z" fill="{ink}"/>'
        '<path d="M-18-6q10-10 24-9" stroke="{accent}" stroke-width="5" fill="none" stroke-linecap="round"/>'
        '<path d="M33-10v-26" stroke="{light}" stroke-width="3"/>'
        '<circle cx="33" cy="-38" r="4" fill="{accent}"/>'
    ),
    "thriller": (
        _FACE + _STERN + '<path d="M-25 22C-40-40 40-40 25 22L18 10C20-22-20-22-18 10z" fill="{ink}"/>'
        '<g fill="none" stroke="{accent}" stroke-width="2.6"><circle r="15"/>'
        '<path d="M0-24v12m0 24v12M-24 0h12m24 0h12"/></g>'
    ),
    "war": (
        _FACE + _STERN + '<path d="M-31-4q31-10 62 0 0-34-31-35T-31-4z" fill="{near}"/>'
        '<path d="M-31-4q31-10 62 0v5q-31-10-62 0z" fill="{ink}"/>'
        '<path d="M-21 2q2 18 14 25M21 2q-2 18-14 25" stroke="{ink}" stroke-width="2.4" fill="none"/>'
        '<path d="M0-34l3 7 7 1-5 5 1 7-6-4-6 4 1-7-5-5 7-1z" fill="{accent}"/>'
    ),
    "western": (
        _FACE + '<path d="M-21 5q21 9 42 0l-4 17L0 38l-17-16z" fill="{accent}"/>'
        '<path d="M-50-22q8 18 50 18t50-18q-4 12-22 10-8-32-14-31-8 4-14 4t-14-4q-6-1-14 31-18 2-22-10z" '
        'fill="{near}"/><path d="M-28-13q28 8 56 0l-1-6q-27 8-54 0z" fill="{ink}"/>'
    ),
}
"""Who: what a theme's subjects wear, over a plain face."""
