"""The texts of a night: one context per user, one choice per title and rotation.

schemas/prompt.py has their grammar. Free text from catalogues is untrusted: `one_line` keeps it from ending a line,
starting an option or becoming a special token.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.prompt import choice_text, context_text
from schemas.settings import Settings

LEFT_EARLY = 0.5
"""A viewing that ended before this share of the title is shown as left early."""

_GENRES_SHOWN = 5
_GENRE_CHARACTERS = 30
# Beyond ten half-lives a viewing weighs under a thousandth of the latest one.
_HALF_LIVES_READ = 10


def one_line(text: Column, characters: int) -> Column:
    """`text` as one line of at most `characters`: no control or separator characters, no `<|special token|>`, no `;`,
    after which a prompt adds Marquee's own words (`; left early`, `; played often`).
    """
    spaced = F.regexp_replace(text, r"[\p{Cc}\p{Zl}\p{Zp}\s]+", " ")
    # Bidirectional overrides reorder what a person reads in logs, and mean nothing to a model.
    visible = F.regexp_replace(spaced, "[\u202a-\u202e\u2066-\u2069\ufeff]", "")
    plain = F.translate(F.regexp_replace(visible, r"<\s*\|", "(|"), ";", ",")
    return F.trim(F.substring(F.trim(plain), 1, characters))


def title_lines(titles: DataFrame, settings: Settings) -> DataFrame:
    """title_id, line (`Toy Story (1995): animation, comedy`), about (synopsis or null), name and genres (clean)."""
    genres = F.transform(
        F.slice(F.coalesce("genres", F.array()), 1, _GENRES_SHOWN),
        lambda genre: F.lower(one_line(genre, _GENRE_CHARACTERS)),
    )
    shown = F.filter(genres, lambda genre: genre != "")
    name = one_line(F.col("name"), settings.name_characters)
    year = F.when(F.col("release_year").isNotNull(), F.format_string(" (%d)", "release_year")).otherwise("")
    listed = F.when(F.size("genres") > 0, F.concat(F.lit(": "), F.array_join("genres", ", "))).otherwise("")
    about = F.nullif(one_line(F.col("synopsis"), settings.synopsis_characters), F.lit(""))
    return titles.select(
        "title_id", name.alias("name"), year.alias("year"), shown.alias("genres"), about.alias("about")
    ).select("title_id", "name", F.concat("name", "year", listed).alias("line"), "about", "genres")


def latest_viewings(history: DataFrame, lines: DataFrame, settings: Settings) -> DataFrame:
    """user_id, viewings: the user's known titles, latest first, as structs (rank from 0, completion, line, genres).

    A title watched several times counts once, by its latest viewing. Titles no longer in the catalogue are left out.
    """
    latest_first = Window.partitionBy("user_id").orderBy(F.desc("watched_at"), "title_id")
    most = max(settings.history_titles, _HALF_LIVES_READ * settings.theme_half_life)
    return (
        history.groupBy("user_id", "title_id")
        .agg(F.max(F.struct("watched_at", "completion")).alias("latest"))
        .select("user_id", "title_id", "latest.*")
        .join(lines, "title_id", how="inner")
        .withColumn("rank", F.row_number().over(latest_first) - 1)
        .where(F.col("rank") < most)
        .groupBy("user_id")
        .agg(F.array_sort(F.collect_list(F.struct("rank", "completion", "line", "genres"))).alias("viewings"))
    )


def leading_themes(viewings: Column, settings: Settings) -> Column:
    """The heaviest genres of `viewings`, heaviest first; weight: the sum of completion × 0.5 ^ (rank / half-life)."""

    def weight(genre: Column) -> Column:
        with_genre = F.filter(viewings, lambda viewing: F.array_contains(viewing["genres"], genre))
        total = F.aggregate(
            with_genre,
            F.lit(0.0),
            lambda sum_, viewing: (
                sum_ + viewing["completion"] * F.pow(F.lit(0.5), viewing["rank"] / F.lit(settings.theme_half_life))
            ),
        )
        # Rounded, so that genres that differ only in the last bits are ordered by name.
        return F.struct((-F.round(total, 6)).alias("weight"), genre.alias("genre"))

    genres = F.array_distinct(F.flatten(F.transform(viewings, lambda viewing: viewing["genres"])))
    ordered = F.array_sort(F.transform(genres, weight))
    return F.slice(F.transform(ordered, lambda item: item["genre"]), 1, settings.leading_themes)


def user_context_texts(users: DataFrame, history: DataFrame, titles: DataFrame, settings: Settings) -> DataFrame:
    """user_id, themes (leading ones), watched (number of known titles), watched_genres (of each title shown and not
    left early), context: one row for each of `users`, with or without history. If `users` have a column taste_group
    (spark_jobs/taste.py), a context has a line for it unless it is null.

    The oldest viewing is the last line, so that a prompt that is too long can lose it and still share its beginning.
    """
    group: Column = F.lit(None).cast("string")
    if "taste_group" in users.columns:
        group = F.col("taste_group")
    none: Column = F.array().cast("array<struct<rank:int,completion:double,line:string,genres:array<string>>>")
    shown = F.transform(
        F.slice("viewings", 1, settings.history_titles),
        lambda viewing: F.struct(
            viewing["line"].alias("line"),
            (viewing["completion"] < LEFT_EARLY).alias("left_early"),
            viewing["genres"].alias("genres"),
        ),
    )
    watched_genres = F.transform(
        F.filter("shown", lambda viewing: ~viewing["left_early"]), lambda viewing: viewing["genres"]
    )
    viewed = latest_viewings(history, title_lines(titles, settings), settings)
    return (
        users.select("user_id", group.alias("group"))
        .join(viewed, "user_id", how="left")
        .withColumn("viewings", F.coalesce("viewings", none))
        .select(
            "user_id",
            "group",
            leading_themes(F.col("viewings"), settings).alias("themes"),
            F.size("viewings").alias("watched"),
            shown.alias("shown"),
        )
        .select(
            "user_id",
            "themes",
            "watched",
            watched_genres.alias("watched_genres"),
            context_text(F.col("themes"), F.col("group"), F.col("shown")).alias("context"),
        )
    )


def title_choice_texts(titles: DataFrame, active_artworks: DataFrame, settings: Settings) -> DataFrame:
    """title_id, ordering, artwork_ids, choice: each title with at least one active artwork, in each of its rotations.

    Rotation k shifts the options by ⌊k K / n⌋ places, n = min(setting `orderings`, K), so that an artwork's positions
    are spread evenly over the list. If artworks have a column band (spark_jobs/signals.py), options include it.
    """
    caption = one_line(F.col("caption"), settings.caption_characters)
    band: Column = F.nullif("band", F.lit("")) if "band" in active_artworks.columns else F.lit(None).cast("string")
    options = active_artworks.groupBy("title_id").agg(
        # Sorted by hash, so that the catalogue's order (default first, say) does not decide positions.
        F.array_sort(
            F.collect_list(
                F.struct(
                    F.xxhash64("artwork_id").alias("place"), "artwork_id", caption.alias("caption"), band.alias("band")
                )
            )
        ).alias("options")
    )
    size = F.size("options")
    orderings = F.least(F.lit(settings.orderings), size)
    shift = F.floor(F.col("ordering") * size / F.col("orderings")).cast("int")
    rotated = F.concat(F.slice("options", F.col("shift") + 1, size), F.slice("options", F.lit(1), F.col("shift")))
    return (
        title_lines(titles, settings)
        .join(options, "title_id", how="inner")
        .withColumn("orderings", orderings)
        .withColumn("ordering", F.explode(F.sequence(F.lit(0), F.col("orderings") - 1)))
        .withColumn("shift", shift)
        .withColumn("rotated", rotated)
        .select(
            "title_id",
            "ordering",
            F.transform("rotated", lambda option: option["artwork_id"]).alias("artwork_ids"),
            choice_text(F.col("line"), F.col("about"), F.col("rotated")).alias("choice"),
        )
    )
