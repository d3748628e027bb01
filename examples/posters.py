"""Draws an artwork of the sample services: an SVG that shows what its caption says.

The last theme is the place, the first the figure, the tone gives the colours, and the style the framing. The artwork's
id mirrors the picture and moves it a little, so that two artworks of the same words differ.
"""

from __future__ import annotations

from html import escape
from zlib import crc32

from examples.catalogue import Artwork
from examples.motifs import BACKDROPS, HEADS, PALETTES, Palette

_BUST = "M-52 96C-54 50-26 38-10 33V18h20v15c16 5 42 17 40 63z"
_STANDING = (
    "M-34 40C-30 34-20 34-10 31V18h20v13c10 3 20 3 24 9l10 76-13 4-5-28 5 122H6L0 138l-6 76h-25l5-122-5 28-13-4z"
)
_LINE = 13


def poster(artwork: Artwork, name: str) -> str:
    """The artwork of a title called `name`, 200 × 300."""
    palette, chance = PALETTES[artwork.tone], crc32(artwork.artwork_id.encode())
    place = BACKDROPS[artwork.themes[-1]](palette)
    if chance & 1:
        place = f'<g transform="translate(200 0) scale(-1 1)">{place}</g>'
    scene = _FRAMINGS[artwork.style](place, artwork.themes[0], palette, chance)
    big = artwork.style == "lettering"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 300" width="400" height="600">'
        f'<defs><linearGradient id="sky" x2="0" y2="1"><stop stop-color="{palette.top}"/><stop offset=".8" '
        f'stop-color="{palette.bottom}"/></linearGradient><linearGradient id="foot" x2="0" y2="1"><stop '
        f'stop-color="{palette.ink}" stop-opacity="0"/><stop offset=".75" stop-color="{palette.ink}"/></linearGradient>'
        f'<clipPath id="edge"><path d="M0 0h200v300H0z"/></clipPath></defs><g clip-path="url(#edge)">'
        f'<path d="M0 0h200v300H0z" fill="url(#sky)"/>{scene}{_lettering(name, palette, big)}</g></svg>'
    )


def _figure(theme: str, palette: Palette, at: str, standing: bool = False, coat: str = "") -> str:
    """A person of the theme: head at the origin of the transformation `at`."""
    head = HEADS[theme].format_map(vars(palette))
    return (
        f'<g transform="{at}"><path d="{_STANDING if standing else _BUST}" fill="{coat or palette.ink}"/>'
        f'<path d="M-8 16h16v16q-8 6-16 0z" fill="{palette.skin}"/><ellipse rx="20" ry="24" fill="{palette.skin}"/>'
        f"{head}</g>"
    )


def _portrait(place: str, theme: str, palette: Palette, chance: int) -> str:
    tilt = chance % 7 - 3
    return (
        f'<g opacity=".55">{place}</g><circle cx="100" cy="128" r="96" fill="{palette.light}" opacity=".35"/>'
        + _figure(theme, palette, f"translate(100 136) rotate({tilt}) scale(2.15)")
    )


def _candid(place: str, theme: str, palette: Palette, chance: int) -> str:
    """A snapshot lying on the poster."""
    tilt, x = chance % 9 - 4, 84 + chance % 30
    return (
        f'<path d="M0 0h200v300H0z" fill="{palette.near}"/><g transform="rotate({tilt} 100 130)">'
        f'<path d="M14 18h172v214H14z" fill="{palette.ink}" opacity=".4"/><path d="M10 12h172v214H10z" fill="#fbf8f1"/>'
        '<clipPath id="photo"><path d="M20 22h152v168H20z"/></clipPath><g clip-path="url(#photo)">'
        f'<path d="M0 0h200v300H0z" fill="url(#sky)"/>{place}'
        f"{_figure(theme, palette, f'translate({x} 118) rotate({-tilt}) scale(1.05)')}</g></g>"
    )


def _freeze(place: str, theme: str, palette: Palette, chance: int) -> str:
    """A figure in motion, with what it leaves behind."""
    lines = "".join(
        f'<path d="M{-10 + chance % 7} {20 + 19 * n}l{60 + (n * 37 + chance) % 90}-{8 + n % 3}" '
        f'stroke-width="{1 + n % 3}"/>'
        for n in range(13)
    )
    ghosts = "".join(
        f'<g opacity="{opacity}">{_figure(theme, palette, at + " rotate(14) scale(1.2)", coat=palette.near)}</g>'
        for at, opacity in (("translate(62 150)", 0.22), ("translate(84 142)", 0.4))
    )
    return f'{place}<g stroke="{palette.light}" opacity=".75" stroke-linecap="round">{lines}</g>{ghosts}' + _figure(
        theme, palette, "translate(112 130) rotate(14) scale(1.25)"
    )


def _ensemble(place: str, theme: str, palette: Palette, chance: int) -> str:
    """The figure with four more around it."""
    themes = [name for name in HEADS if name != theme]
    places = [
        ("translate(42 112) scale(.72)", palette.near),
        ("translate(158 112) scale(.72)", palette.near),
        ("translate(24 168) scale(.86)", palette.ink),
        ("translate(176 168) scale(.86)", palette.ink),
    ]
    others = "".join(
        _figure(themes[(chance + 5 * n) % len(themes)], palette, at, coat=coat) for n, (at, coat) in enumerate(places)
    )
    return place + others + _figure(theme, palette, "translate(100 148) scale(1.25)", coat=palette.accent)


def _painted(place: str, theme: str, palette: Palette, chance: int) -> str:
    """Brush strokes: edges that waver, over broad bands of colour."""
    strokes = "".join(
        f'<path d="M{(n * 53 + chance) % 200 - 60} {12 + n * 21}q60-{8 + n % 4 * 5} 130 {n % 3 * 4}" '
        f'stroke="{(palette.light, palette.far, palette.accent)[n % 3]}" stroke-width="{9 + n % 3 * 4}"/>'
        for n in range(13)
    )
    return (
        '<filter id="brush" x="-10%" y="-10%" width="120%" height="120%"><feTurbulence type="turbulence" '
        f'baseFrequency=".035" numOctaves="2" seed="{chance % 99}"/><feDisplacementMap in="SourceGraphic" scale="11"/>'
        f'</filter><g filter="url(#brush)">{place}<g fill="none" stroke-linecap="round" opacity=".38">{strokes}</g>'
        + _figure(theme, palette, "translate(100 142) scale(1.5)", coat=palette.near)
        + "</g>"
    )


def _silhouette(place: str, theme: str, palette: Palette, chance: int) -> str:
    """Only the outline, against the light."""
    dark = Palette(*[palette.ink] * 8)
    return (
        f'<g opacity=".3">{place}</g><circle cx="{88 + chance % 24}" cy="138" r="84" fill="{palette.light}"/>'
        f'<path d="M0 258q90-18 200 0v42H0z" fill="{palette.ink}"/>'
        + _figure(theme, dark, "translate(100 112) scale(.84)", standing=True)
    )


def _wide(place: str, theme: str, palette: Palette, chance: int) -> str:
    """Somebody small in a wide land."""
    return f'<g transform="translate(-10 -24) scale(1.1)">{place}</g>' + _figure(
        theme, palette, f"translate({62 + chance % 76} 184) scale(.27)", standing=True
    )


def _title_card(place: str, theme: str, palette: Palette, chance: int) -> str:
    """A small figure under big letters."""
    return (
        f'<g opacity=".5">{place}</g><path d="M0 0h200v300H0z" fill="{palette.ink}" opacity=".62"/>'
        f'<path d="M18 30h164M18 214h164" stroke="{palette.accent}" stroke-width="5"/>'
        + _figure(theme, palette, f"translate({140 - chance % 2 * 80} 262) scale(.6)", coat=palette.accent)
    )


_FRAMINGS = {
    "portrait": _portrait,
    "candid": _candid,
    "freeze": _freeze,
    "ensemble": _ensemble,
    "painted": _painted,
    "silhouette": _silhouette,
    "wide": _wide,
    "lettering": _title_card,
}


def _lettering(name: str, palette: Palette, big: bool) -> str:
    """The title's name: at the foot, or large over the picture."""
    lines = _broken(name.upper(), 8 if big else _LINE)
    longest = max(map(len, lines))
    size = min(54 if big else 19, 176 / (0.78 * longest))
    first = 122 - size * (1.05 * len(lines) / 2 - 0.85) if big else 290 - size * 1.05 * (len(lines) - 1)
    text = "".join(
        f'<text x="100" y="{first + size * 1.05 * n:.1f}">{escape(line)}</text>' for n, line in enumerate(lines)
    )
    foot = "" if big else '<path d="M0 220h200v80H0z" fill="url(#foot)"/>'
    return (
        f'{foot}<g fill="{palette.light}" font-family="Impact, Oswald, Arial Narrow, sans-serif" font-weight="800" '
        f'font-size="{size:.1f}" text-anchor="middle" letter-spacing=".5">{text}</g>'
    )


def _broken(text: str, width: int) -> list[str]:
    """The words of a name in lines of about `width` characters, three at most."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width and len(lines) < 3:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
