"""The vocabulary of both sample services: themes, tones and styles, and the captions that express them.

A caption normally does not name its theme; its subject and its setting express it ("a lone rider" "on a dusty main
street": western). Tones have no effect. Styles affect all users alike, by their `effect`, and captions express them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Theme:
    """The phrases that express a theme: who or what is seen, and where."""

    subjects: tuple[str, ...]
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Style:
    """An artwork's style: the phrases that express it, and its effect on a play's log-odds (before scaling)."""

    phrases: tuple[str, ...]
    effect: float


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split(";"))


THEMES = {
    "action": Theme(
        _phrases(
            "a stuntman leaping between rooftops; two fighters trading punches; "
            "a motorbike racing from an explosion; a commando kicking in a door; "
            "a bruised hero gripping a machine gun; a speeding truck bursting into flames; "
            "a bodyguard diving through glass; a helicopter chasing a sports car; a martial artist in mid-kick; "
            "a bare-knuckle champion wiping blood away; an armoured squad storming a stairwell; "
            "a driver drifting past burning wrecks; a swordsman cutting through six attackers; "
            "a getaway bike in mid-air"
        ),
        _phrases(
            "on a collapsing bridge; under a hail of bullets; atop a runaway train; amid shattered windows; "
            "in a smoking parking garage; on a highway full of wrecks; beside a fireball; "
            "during a rooftop shoot-out"
        ),
    ),
    "adventure": Theme(
        _phrases(
            "an explorer holding up a torn map; a treasure hunter swinging on a vine; "
            "climbers roped to an icy ridge; a raft plunging over rapids; an archaeologist lifting a golden idol; "
            "a sailor sighting an unknown island; two trekkers crossing a rope bridge; "
            "a caravan of camels and guides; a balloonist above the clouds; a diver finding a sunken galleon; "
            "a young cabin boy at the helm; a pilot landing on a jungle strip; a castaway building a raft; "
            "a mapmaker pointing to the horizon"
        ),
        _phrases(
            "in an overgrown temple; at the edge of a waterfall; on a mountain pass; deep in the rainforest; "
            "on the high seas; beyond the last outpost; inside a lost tomb; along an uncharted river"
        ),
    ),
    "animation": Theme(
        _phrases(
            "a hand-drawn fox with huge eyes; a clay figure waving; a cel-shaded robot and a bird; "
            "a computer-drawn toy on a shelf; a cartoon mouse in gloves; a stop-motion witch puppet; "
            "an inked cat stretching like rubber; a paper cut-out family; a pixel-bright dragonling; "
            "a sketched girl flying on a brush stroke; a plasticine dog in a bow tie; "
            "a wide-eyed anime schoolboy; singing teapots with painted faces; a doodled hero stepping off the page"
        ),
        _phrases(
            "in a watercolour forest; before a pastel painted sky; in a world of paper and glue; "
            "on a storyboard grid; among bouncing ink blots; in a candy-coloured cel backdrop; "
            "in a hand-painted town; on a miniature clay set"
        ),
    ),
    "children's": Theme(
        _phrases(
            "a puppy wearing a backpack; a boy whispering to a pony; siblings in matching raincoats; "
            "a little girl hugging a giant bear; a babysitter juggling apples; a talking piglet in boots; "
            "classmates around a treehouse; a toddler chasing ducklings; twins hiding in a toy chest; "
            "a kindly nanny with an umbrella; a lost kitten in a mitten; a school mascot dancing; "
            "kids racing soapbox carts; a freckled boy with a pet frog"
        ),
        _phrases(
            "in a sunny playground; at a birthday party; under a patchwork blanket; on the last day of school; "
            "in a bedroom full of toys; at a summer camp; by the sandbox; on a merry-go-round"
        ),
    ),
    "comedy": Theme(
        _phrases(
            "a groom covered in cake; a man stuck in a dog door; two flatmates in the same dress; "
            "a waiter slipping on spaghetti; a boss with a parrot on his head; a grinning con artist in pyjamas; "
            "an uncle asleep in the buffet; a clumsy spy caught in a fan; roommates fighting over a remote; "
            "a bridesmaid with a melted hairdo; a goofy cop on a tiny bike; "
            "a stand-up comic with a rubber chicken; a father wearing lipstick by mistake; "
            "a cheeky granny with a water pistol"
        ),
        _phrases(
            "at a wedding gone wrong; in a cramped office kitchen; on a disastrous family holiday; "
            "in an upside-down living room; at an awkward dinner; during a botched rehearsal; "
            "in a chaotic pet shop; at a very silly costume ball"
        ),
    ),
    "crime": Theme(
        _phrases(
            "a mob boss counting banknotes; a safecracker with a stethoscope; a hitman screwing on a silencer; "
            "three robbers in rubber masks; a corrupt cop taking an envelope; a drug courier at a payphone; "
            "a gang dividing diamonds; a forger bent over plates; a godfather kissing a ring; "
            "a handcuffed suspect smirking; an informer wearing a wire; a getaway driver checking his watch; "
            "a loan shark with brass knuckles; an inmate digging a tunnel"
        ),
        _phrases(
            "in a bank vault; behind a police line; in the back room of a casino; in a prison yard; "
            "at a dockside handover; on a line-up wall; around a chalk outline; in a pawnshop at closing time"
        ),
    ),
    "documentary": Theme(
        _phrases(
            "a real beekeeper facing the camera; an interviewed veteran in his kitchen; "
            "an archive photo of strikers; a reporter with a microphone; a marine biologist tagging whales; "
            "a lecturer beside old footage; a candid factory worker on a break; a witness speaking to the lens; "
            "a narrator over satellite images; a surgeon explaining an x-ray; a filmmaker sorting old reels; "
            "a farmer showing cracked soil; a community choir in rehearsal, filmed as is; "
            "a historian holding a letter"
        ),
        _phrases(
            "in newsreel footage; in a recording studio; with maps and charts; on location with a camera crew; "
            "in an archive of tapes; at a public hearing; with captions and dates; in unstaged daylight"
        ),
    ),
    "drama": Theme(
        _phrases(
            "a mother reading a letter in tears; an estranged son at the door; a teacher facing an empty class; "
            "a widow packing old clothes; a judge removing his glasses; a tired nurse at dawn; "
            "two brothers not speaking; a father holding a hospital bracelet; an ageing actress at her mirror; "
            "a farmer about to lose his land; a daughter at a graveside; a priest doubting in silence; "
            "an addict staring at the phone; a refugee with one suitcase"
        ),
        _phrases(
            "at a quiet kitchen table; in a hospital corridor; at a funeral in the rain; in a courtroom; "
            "in a half-empty house; beside a sickbed; on a station platform at parting; in a small town in decline"
        ),
    ),
    "fantasy": Theme(
        _phrases(
            "a wizard raising a crystal staff; an elf archer with silver hair; a dragon curled around a tower; "
            "a knight lifting an enchanted sword; a fairy queen on a throne of roots; "
            "a dwarf smith forging runes; a sorceress weaving light; a unicorn at a moonlit pool; "
            "a boy king with a glowing crown; a shape-shifter turning into a raven; a giant asleep under moss; "
            "a goblin selling potions; a prophecy carved on a shield; a griffin rider in the sky"
        ),
        _phrases(
            "in an enchanted forest; before a castle in the clouds; at the gates of a magic kingdom; "
            "in a ring of standing stones; under two moons; in a wizard's library; on a bridge guarded by trolls; "
            "in a spellbound valley"
        ),
    ),
    "film-noir": Theme(
        _phrases(
            "a private eye lighting a cigarette; a femme fatale behind a veil; a trench coat under a street lamp; "
            "a gumshoe reading a matchbook; a torch singer with a secret; a shadow with a fedora; "
            "a blonde holding a tiny pistol; a drifter double-crossed; a crooked lawyer by venetian blinds; "
            "an insurance man with blood on his cuff; a boxer paid to lose; a weary detective with a bottle; "
            "a nightclub owner and his bodyguard; a doomed gambler on the stairs"
        ),
        _phrases(
            "in slatted black-and-white light; in a rain-soaked alley; through venetian blinds; "
            "in a smoky jazz bar; under a flickering neon hotel sign; on a foggy pier in monochrome; "
            "in a cheap office at midnight; among long 1940s shadows"
        ),
    ),
    "horror": Theme(
        _phrases(
            "a pale girl crawling from a well; a masked killer with a cleaver; a vampire baring his fangs; "
            "a doll with cracked eyes; zombies clawing at a fence; a possessed nun; a werewolf under the moon; "
            "a bloody handprint on glass; a demon behind a bride; a scarecrow that has moved; "
            "a scream in a broken mirror; a thing with too many teeth; a ghost at the foot of the bed; "
            "a chainsaw in the fog"
        ),
        _phrases(
            "in an abandoned asylum; in a cellar full of hooks; in a haunted farmhouse; in a graveyard at night; "
            "behind the bedroom door; in a cabin in dead woods; in a crypt; under the floorboards"
        ),
    ),
    "musical": Theme(
        _phrases(
            "a chorus line in top hats; a singer belting a high note; a tap dancer on a piano; "
            "sailors dancing in step; a bandleader with a gold baton; a showgirl in feathers; "
            "a duet under a parasol; a boy humming with a guitar; a soprano on a swing; "
            "a marching band in full swing; ballerinas spinning in red; a crooner at the microphone; "
            "street kids in a dance-off; an orchestra rising from the pit"
        ),
        _phrases(
            "on a Broadway stage; in a spotlight with curtains; in a ballroom full of dancers; "
            "at the opening number; on a staircase of lights; at an open-air concert; among dancing lamp-posts; "
            "in a rehearsal hall"
        ),
    ),
    "mystery": Theme(
        _phrases(
            "a sleuth with a magnifying glass; a sealed letter with a wax stamp; "
            "a missing portrait's empty frame; a butler holding a candle; a stranger with no name; "
            "a coded page and a key; an inspector questioning six guests; a footprint that leads nowhere; "
            "a locked drawer half open; a spinster detective knitting; a torn photograph of twins; "
            "a vanished heiress's glove; a clockmaker hiding a note; an unsigned will on the desk"
        ),
        _phrases(
            "in a locked library; in a manor with a hidden passage; on a snowbound train; behind a false wall; "
            "at a reading of the will; in a foggy village of secrets; in a room with one clue; at a séance"
        ),
    ),
    "romance": Theme(
        _phrases(
            "two lovers about to kiss; a couple sharing an umbrella; a bride running barefoot; "
            "a man with a bunch of roses; hands touching over a love letter; newlyweds slow-dancing; "
            "a shy florist blushing; sweethearts on a Ferris wheel; a proposal on one knee; "
            "an embrace after long years; a woman smiling at a stranger; a first kiss in the snow; "
            "a pair asleep on one pillow; a painter gazing at his muse"
        ),
        _phrases(
            "by the Seine at dusk; in a field of lavender; under cherry blossoms; at a candlelit table for two; "
            "on a moonlit balcony; at an airport reunion; in a little bookshop café; beneath the mistletoe"
        ),
    ),
    "sci-fi": Theme(
        _phrases(
            "an astronaut facing two suns; a starship leaving orbit; an android with an open skull; "
            "an alien behind glass; a clone waking in a tank; a hacker jacked into a machine; "
            "a rover on red dust; a time traveller checking a dial; a cyborg soldier; "
            "a scientist beside a wormhole; a fleet of saucers; a robot holding a flower; "
            "a colonist in a pressure suit; a hologram of a dead pilot"
        ),
        _phrases(
            "on an orbital station; in a neon megacity of 2190; on a dead planet; in a cryogenic lab; "
            "aboard a drifting spacecraft; under a glass dome on Mars; in hyperspace; "
            "in a room of blinking servers"
        ),
    ),
    "thriller": Theme(
        _phrases(
            "a woman followed by headlights; a ticking bomb under a seat; a hostage with taped lips; "
            "an agent burning his passport; a caller breathing on the line; a sniper in a window; "
            "a man framed and running; a stalker's wall of photos; an assassin in a crowd; "
            "a kidnapper's ransom note; a double agent swapping briefcases; a babysitter hearing steps upstairs; "
            "a senator under threat; a witness hiding in a wardrobe"
        ),
        _phrases(
            "on an empty subway platform; in a lift that has stopped; with seconds left on the timer; "
            "in a glass house at night; at a border checkpoint; in a motel with a broken lock; "
            "on a rooftop above the motorcade; in a maze of surveillance screens"
        ),
    ),
    "war": Theme(
        _phrases(
            "soldiers wading ashore; a tank crew in the mud; a medic under fire; a bomber crew before take-off; "
            "a sergeant shouting orders; a drummer boy beside a cannon; a resistance fighter with a radio; "
            "a platoon resting in a ditch; a general over a map of the front; a sailor on a torpedoed ship; "
            "prisoners behind barbed wire; a letter home in a helmet; cavalry charging artillery; "
            "a paratrooper over Normandy"
        ),
        _phrases(
            "in a flooded trench; on a beach under shelling; in a bombed-out city; behind enemy lines; "
            "in a field hospital; in a bunker; on a battlefield at dawn; in a U-boat"
        ),
    ),
    "western": Theme(
        _phrases(
            "a lone rider in a poncho; a sheriff with a tin star; two gunslingers at high noon; "
            "a stagecoach in a dust cloud; an outlaw on a wanted poster; a cattle drive at sundown; "
            "a saloon girl dealing cards; a bounty hunter with a Winchester; a rancher mending a fence; "
            "a Comanche scout on a ridge; a hangman's rope and a crow; a prospector with a mule; "
            "a cowboy tipping his hat; a posse crossing a creek"
        ),
        _phrases(
            "on a dusty main street; in a red desert canyon; outside the saloon; on the open prairie; "
            "at a frontier fort; under a burning mesa; by a campfire with horses; at a railroad camp"
        ),
    ),
}
"""The eighteen genres of MovieLens, lower-case."""

THEME_NAMES = tuple(THEMES)
THEME_INDEX = {name: index for index, name in enumerate(THEME_NAMES)}

CATALOGUE_WEIGHTS = np.array([15, 8, 3, 7, 30, 7, 3, 42, 2, 2, 6, 4, 4, 15, 6, 15, 5, 2], dtype=np.float64)
"""Share of films with each theme, in per cent, in the order of THEME_NAMES; drama and comedy lead."""

TONES = {
    "warm": _phrases("warm and tender; glowing with kindness; in soft golden light"),
    "dark": _phrases("dark and brooding; bleak and heavy; sunk in gloom"),
    "playful": _phrases("bright and playful; full of mischief; light-hearted"),
    "tense": _phrases("tense and breathless; strained to breaking; on edge"),
    "dreamy": _phrases("dreamy and hazy; like a half-remembered dream; soft and floating"),
    "sad": _phrases("wistful and sad; with quiet sorrow; aching and slow"),
    "proud": _phrases("proud and rousing; bold and triumphant; full of glory"),
    "calm": _phrases("calm and still; hushed and patient; serene"),
}

STYLES = {
    "portrait": Style(_phrases("close-up of; tight portrait of; face-filling shot of"), 1.4),
    "candid": Style(_phrases("candid still of; handheld snapshot of; unposed photo of"), 0.6),
    "freeze": Style(_phrases("freeze-frame of; split-second shot of; high-speed capture of"), 0.9),
    "ensemble": Style(_phrases("group poster with; cast line-up around; ensemble shot with"), 0.2),
    "painted": Style(_phrases("painted poster of; brushwork rendering of; oil-style print of"), -0.3),
    "silhouette": Style(_phrases("silhouette of; backlit outline of; dark cut-out of"), -0.6),
    "wide": Style(_phrases("wide shot of; distant panorama with; far-off view of"), -0.9),
    "lettering": Style(_phrases("big lettering over; title card with; typographic poster with"), -1.3),
}
STYLE_NAMES = tuple(STYLES)


def caption(themes: tuple[str, ...], tone: str, style: str, rng: np.random.Generator) -> str:
    """One line of English for an artwork of one or two themes: the first gives the subject, the last the setting."""
    subject = _pick(THEMES[themes[0]].subjects, rng)
    setting = _pick(THEMES[themes[-1]].settings, rng)
    made = _pick(STYLES[style].phrases, rng)
    mood = _pick(TONES[tone], rng)
    order = int(rng.integers(3))
    if order == 0:
        return _sentence(f"{made} {subject} {setting}, {mood}")
    if order == 1:
        return _sentence(f"{mood}: {made} {subject} {setting}")
    return _sentence(f"{setting}, {made} {subject}, {mood}")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
