"""Every table of the warehouse: columns, types, keys, partitioning, meaning, and the rules its rows obey.

`marquee docs` writes docs/tables.md from here.
"""

from __future__ import annotations

from schemas.contract import Column, Rule, Table, array, struct
from schemas.preferences import COUNT_LIMIT

MAX_ARTWORKS = 40
"""Most options in one question: the paper's candidate sets go up to about 40."""

IMAGES = "images"
"""Folder beside the tables for images of artworks; `marquee browse` serves no other files."""

BUCKETS_PROPERTY = "marquee.buckets"
"""Table property of `artwork_selections` and of `held_out_contexts`: the number of buckets they were made with."""


FORMAT_PROPERTY = "marquee.format"
"""Table property of `night_steps`: the newest format of the warehouse that a night has written. Raise it with a change
after which an earlier version of Marquee would misread the warehouse or write it wrongly: that version then refuses.
"""

SALT_PROPERTY = "marquee.salt"
"""Table property of `erased_users`: what is hashed before an id. Without it nobody knows who was erased."""
ERASED_AT_PROPERTY = "marquee.erased_at"
"""Table property of `erased_users`: when users were last erased."""

LOG_SINCE_PROPERTY = "marquee.log_since"
"""Table property of `artwork_selection_log`: the earliest night before which the choices can still be rebuilt from it.
"""

# Delta's log keeps each file's least and greatest values. Of a table about users these are ids and texts of users,
# which would outlive their rows; and no reader looks for users by them.
_NO_STATISTICS = {"delta.dataSkippingNumIndexedCols": "0"}


def buckets_kept(table: Table, buckets: int) -> dict[str, str]:
    """The property in which `table` keeps the number of buckets; empty for all but two tables."""
    return {BUCKETS_PROPERTY: str(buckets)} if table in (ARTWORK_SELECTIONS, HELD_OUT_CONTEXTS) else {}


ranking_type = array(struct(artwork_id="string", probability="double", propensity="double"))

_ds = Column("ds", "date", "the night: the date of the run's logical date")
_bucket = Column("bucket", "integer", "crc32(user_id) % buckets")
_user = Column("user_id", "string", "the user")
_title = Column("title_id", "string", "the title")


def _not_blank(column: str) -> Rule:
    # Neither white space nor a control or format character.
    visible = f"{column} rlike '[^\\\\s\\\\p{{C}}\\\\p{{Z}}]'"
    return Rule(f"{column}_blank", visible, f"`{column}` has at least one visible character")


# Inputs: owned by others, never written by the nightly run.

VIEWING_HISTORY = Table(
    "viewing_history",
    "One viewing of a title by a user.",
    (
        _user,
        _title,
        Column("watched_at", "timestamp", "when the viewing began, UTC"),
        Column("completion", "double", "share of the title that was watched, 0 to 1"),
        Column("watch_date", "date", "the UTC date of watched_at"),
    ),
    key=("user_id", "title_id", "watched_at"),
    partitioned_by=("watch_date",),
    rules=(
        _not_blank("user_id"),
        Rule("completion_out_of_range", "completion between 0 and 1", "`completion` is a share, 0 to 1"),
        Rule(
            "watched_at_not_on_watch_date",
            "to_date(watched_at) = watch_date",
            "`watched_at` falls on `watch_date` (so a play in the future cannot hide in a past partition)",
        ),
    ),
)

TITLES = Table(
    "titles",
    "One title of the catalogue.",
    (
        _title,
        Column("name", "string", "the name that users see"),
        Column("release_year", "integer", "year of release", nullable=True),
        Column("genres", array("string"), "genres, the leading one first", nullable=True),
        Column("synopsis", "string", "what it is about", nullable=True),
    ),
    key=("title_id",),
    rules=(_not_blank("title_id"), _not_blank("name")),
)

ARTWORKS = Table(
    "artworks",
    "One artwork of a title.",
    (
        Column("artwork_id", "string", "the artwork; belongs to one title"),
        _title,
        Column("caption", "string", "what the artwork shows, in words"),
        Column("themes", array("string"), "themes that the artwork plays on", nullable=True),
        Column(
            "image_uri",
            "string",
            f"where the image is: a URI, or a path in the warehouse's folder `{IMAGES}`: `{IMAGES}/17-1.svg`",
            nullable=True,
        ),
        Column("is_default", "boolean", "shown if nothing better is known"),
        Column("active_from", "date", "first day on which it may be shown"),
        Column("active_to", "date", "last day on which it may be shown; null: no end", nullable=True),
    ),
    key=("artwork_id",),
    rules=(_not_blank("artwork_id"), _not_blank("caption")),
    references={"title_id": "titles"},
)

TITLE_CANDIDATES = Table(
    "title_candidates",
    "One wanted pair, from the title recommender. Where it has nothing for a night, Marquee makes its own by ALS.",
    (_ds, _user, _title, Column("rank", "integer", "1 for the title most likely to be shown")),
    key=("ds", "user_id", "title_id"),
    partitioned_by=("ds",),
    rules=(_not_blank("user_id"), Rule("rank_not_positive", "rank >= 1", "`rank` counts from 1")),
    references={"title_id": "titles"},
    optional=True,
)

IMPRESSIONS = Table(
    "impressions",
    "One artwork shown to a user.",
    (
        Column("ds", "date", "the UTC date of shown_at"),
        _user,
        _title,
        Column("artwork_id", "string", "the artwork that was shown"),
        Column("eligible_artwork_ids", array("string"), "the artworks that could have been shown"),
        Column("propensity", "double", "probability with which the logging policy chose artwork_id"),
        Column("shown_at", "timestamp", "when it was shown, UTC"),
        Column("played", "boolean", "whether the user played the title from it"),
        Column("play_seconds", "double", "how long the play lasted; 0 without a play"),
    ),
    key=("user_id", "title_id", "shown_at"),
    partitioned_by=("ds",),
    rules=(
        _not_blank("user_id"),
        Rule("propensity_out_of_range", "propensity > 0 and propensity <= 1", "`propensity` is in (0, 1]"),
        Rule(
            "shown_artwork_not_eligible",
            "array_contains(eligible_artwork_ids, artwork_id)",
            "the artwork that was shown is among those that could have been",
        ),
        Rule(
            "play_seconds_out_of_range",
            "play_seconds >= 0 and play_seconds < double('infinity')",
            "`play_seconds` is a finite number, not below 0",
        ),
        Rule("shown_at_not_on_ds", "to_date(shown_at) = ds", "`shown_at` falls on `ds`"),
    ),
    optional=True,
)

INPUTS = (VIEWING_HISTORY, TITLES, ARTWORKS, TITLE_CANDIDATES, IMPRESSIONS)

# Made tonight.

NIGHT_INPUTS = Table(
    "night_inputs",
    "Each table that a night reads as it was when the night began, so that a retry sees what the first try saw.",
    (
        _ds,
        Column("source_table", "string", "the table"),
        Column("version", "long", "its Delta version"),
        Column(
            "table_id", "string", "its Delta id, which changes when a table is dropped and made anew", nullable=True
        ),
    ),
    key=("ds", "source_table"),
    partitioned_by=("ds",),
)

NIGHT_MODELS = Table(
    "night_models",
    "The model of a night, noted when it began, so that a champion promoted meanwhile does not score half of it.",
    (
        _ds,
        Column("model_version", "string", "the model that scores"),
        Column("checkpoint", "string", "its checkpoint's folder or URI"),
        Column("why", "string", "why this one: the champion of which registry, or why no champion", nullable=True),
    ),
    key=("ds",),
    partitioned_by=("ds",),
)

REJECTED_ROWS = Table(
    "rejected_rows",
    "One row that a night could not use, and the rule it broke.",
    (
        _ds,
        Column("step", "string", "the step that rejected it: validate, contexts, score or `score_held_out VERSION`"),
        Column("bucket", "integer", "the bucket being scored; -1 for a step that does not work by buckets"),
        Column("source_table", "string", "where the row came from"),
        Column("row", "string", "the row as JSON"),
        Column("rule", "string", "the rule it broke"),
    ),
    key=(),
    partitioned_by=("ds", "step", "bucket"),
    properties=_NO_STATISTICS,
)

WANTED_PAIRS = Table(
    "wanted_pairs",
    "The titles that a user is likely to see after this night: from `title_candidates`, or by ALS.",
    (_ds, _bucket, _user, Column("title_ids", array("string"), "titles, most wanted first")),
    key=("ds", "user_id"),
    partitioned_by=("ds", "bucket"),
    properties=_NO_STATISTICS,
)

TASTE_GROUPS = Table(
    "taste_groups",
    "The group of viewers that a user is nearest to, computed once a week if the setting `signals` has `taste_group`. "
    "A stored week is computed again only by a rerun of its own Sunday, or after its rows are deleted.",
    (
        Column("ds", "date", "a Sunday: viewings up to its end count, and the groups hold until the next one"),
        _user,
        Column("taste_group", "string", "the group in words; null if nothing distinguishes it", nullable=True),
    ),
    key=("ds", "user_id"),
    partitioned_by=("ds",),
    properties=_NO_STATISTICS,
)

_choice = (
    Column("ordering", "integer", "the rotation of the options: 0 to the setting `orderings` less 1"),
    Column("artwork_ids", array("string"), "the artwork of option 1, of option 2, …"),
    Column("choice", "string", "the text"),
)

TITLE_CHOICES = Table(
    "title_choices",
    "The text that describes a title and its numbered artworks, in one of its rotations.",
    (
        _ds,
        _title,
        *_choice,
        Column("choice_hash", "long", "xxhash64 of the text and of artwork_ids"),
    ),
    key=("ds", "title_id", "ordering"),
    partitioned_by=("ds",),
)

_context = Column("context", "string", "the text: leading themes, then the history, latest first")

USER_CONTEXTS = Table(
    "user_contexts",
    "The text that describes a user, and the user's pairs still to score. Users with nothing to score have no row.",
    (
        _ds,
        _bucket,
        _user,
        _context,
        Column(
            "pairs",
            array(struct(title_id="string", ordering="integer", prompt_hash="long")),
            "the pairs to score: the title, the rotation to score (`ordering`), and the hash of (context, choice, "
            "model version)",
        ),
    ),
    key=("ds", "user_id"),
    partitioned_by=("ds", "bucket"),
    properties=_NO_STATISTICS,
)

_answer = (
    Column("artwork_ids", array("string"), "the artworks, in the sequence of the option numbers"),
    Column("probabilities", array("double"), "the probability of each; they sum to 1"),
)

ARTWORK_SCORES = Table(
    "artwork_scores",
    "The model's probability for every artwork of a pair.",
    (
        _ds,
        _bucket,
        _user,
        _title,
        *_answer,
        Column("model_version", "string", "the model that scored"),
        Column("prompt_hash", "long", "hash of (context, choice, model version)"),
    ),
    key=("ds", "user_id", "title_id"),
    partitioned_by=("ds", "bucket"),
    properties=_NO_STATISTICS,
)

_run = (
    Column("pairs", "long", "pairs scored"),
    Column("rejected", "long", "pairs that could not be scored"),
    Column("shortened", "long", "prompts that lost their oldest history to fit the model"),
    Column("asked_again", "long", "pairs whose best two artworks were close, scored again in further rotations"),
    Column("prompt_tokens", "long", "tokens of all prompts"),
    Column("cached_tokens", "long", "those of them that were in the prefix cache"),
    Column("label_mass", "double", "mean probability that fell on the option numbers", nullable=True),
    Column("seconds", "double", "from the first prompt to the last score"),
    Column("input_fingerprint", "string", "hash of the bucket's pairs; a rerun skips a bucket if it is equal"),
)

SCORING_RUNS = Table(
    "scoring_runs",
    "One scored bucket. The row is written after the bucket's scores: its existence means that they are whole.",
    (_ds, _bucket, *_run[:-1], Column("model_version", "string", "the model that scored"), _run[-1]),
    key=("ds", "bucket"),
    partitioned_by=("ds", "bucket"),
)

AUDIT_RESULTS = Table(
    "audit_results",
    "One check of a night before it is published. A night with a failed check is not published.",
    (
        _ds,
        Column("check", "string", "the check"),
        Column("value", "double", "the value found"),
        Column("limit", "double", "the most allowed of the value; with `expected`, of its distance from that"),
        Column("passed", "boolean", "whether the value is within the limit, or was accepted"),
        Column(
            "expected",
            "double",
            "for a check of what the night would change: the nearest value of the last published nights, or 0",
            nullable=True,
        ),
        Column("accepted", "string", "why an operator accepts the change (`marquee accept`)", nullable=True),
    ),
    key=("ds", "check"),
    partitioned_by=("ds",),
)

NIGHT_CHANGES = Table(
    "night_changes",
    "What publishing a night would do to a title's pairs, by source: written by the audit, before it is published.",
    (
        _ds,
        _title,
        Column("source", "string", "as in `artwork_selections` after the night, or `removed`"),
        Column("added", "long", "pairs that had no choice"),
        Column("changed", "long", "pairs whose choice changes: the artwork, a probability, or what decided it"),
        Column("removed", "long", "pairs that lose their choice"),
        Column("unchanged", "long", "pairs whose choice stays"),
        Column(
            "entropy",
            "double",
            "mean entropy of the distributions over a pair's artworks, 0 (one is certain) to 1 (uniform); null without "
            "a pair of two artworks",
            nullable=True,
        ),
    ),
    key=("ds", "title_id", "source"),
    partitioned_by=("ds",),
)

_step = (
    _ds,
    Column("step", "string", "the step; `STEP failed` while its last run has failed"),
    Column("seconds", "double", "wall time"),
    Column("counts", {"type": "map", "keyType": "string", "valueType": "long", "valueContainsNull": True}, "rows"),
    Column("failed", "string", "why the step failed; null if it succeeded", nullable=True),
)

NIGHT_STEPS = Table(
    "night_steps",
    "How long each step of a night took and what it counted, for the people who run it. Measured, so not equal "
    "between reruns.",
    _step,
    key=("ds", "step"),
    partitioned_by=("ds", "step"),
    properties={FORMAT_PROPERTY: "1"},
)

# What serving reads.

REMOVED = "removed"
"""`source` in `artwork_selection_log` of a pair that lost its last artwork, or that no night wants any longer."""
UNDONE = "undone"
"""`source` in `artwork_selection_log` of what a night decided and `marquee undo` took back."""

_selection = (
    _bucket,
    _user,
    _title,
    Column("artwork_id", "string", "the artwork to show"),
    Column("probability", "double", "the model's probability for it; 1 / K for K artworks if no model scored it"),
    Column("propensity", "double", "the probability with which the policy chose it; log it with every impression"),
    Column("ranking", ranking_type, "every artwork of the pair, the most probable first, with both probabilities"),
    Column("source", "string", "model, only_choice (one artwork) or uniform (the exploring slice)"),
    Column("model_version", "string", "the model that scored the pair; null if none did", nullable=True),
    Column("prompt_hash", "long", "hash of (context, choice, model version); null if none scored", nullable=True),
    Column("ds", "date", "the night that made this choice"),
    Column("updated_at", "timestamp", "the end of that night's day, UTC: since when history counts towards the choice"),
)

ARTWORK_SELECTIONS = Table(
    "artwork_selections",
    "The current choice for a pair: what serving looks up.",
    _selection,
    key=("user_id", "title_id"),
    partitioned_by=("bucket",),
    properties={
        "delta.enableChangeDataFeed": "true",
        "delta.enableDeletionVectors": "true",
        # As in _NO_STATISTICS; of ds they say whether the table has rows of a night or later.
        "delta.dataSkippingStatsColumns": "ds",
    },
)

ARTWORK_SELECTION_LOG = Table(
    "artwork_selection_log",
    "Every choice made or changed, by night. A pair that lost its last artwork, or that no night wants any longer, "
    "has a row with source `removed`; what `marquee undo` took back has the source `undone`.",
    tuple(
        Column(c.name, c.type, c.meaning, nullable=True) if c.name in ("artwork_id", "probability", "propensity") else c
        for c in _selection
    ),
    key=("ds", "user_id", "title_id"),
    partitioned_by=("ds",),
    properties=_NO_STATISTICS,
)

TITLE_DEFAULTS = Table(
    "title_defaults",
    "What to show a user who has no row for a title: the artwork with the best play rate, or the catalogue's default.",
    (_title, Column("artwork_id", "string", "the artwork to show")),
    key=("title_id",),
    properties={"delta.enableChangeDataFeed": "true"},
)

CATALOGUE_NAMES = Table(
    "catalogue_names",
    "Names of titles and captions of artworks, as the newest night read them, for people who look at choices.",
    (
        _title,
        Column("name", "string", "the title's name"),
        Column("release_year", "integer", "its year of release", nullable=True),
        Column("captions", array(struct(artwork_id="string", caption="string")), "its artworks, active or not, by id"),
    ),
    key=("title_id",),
)

# Made by post-training, for one run of it. Here ds is the run's day: impressions up to its end are read.

_context_key = Column("context_key", "string", "the context's key; impressions with the same text share it")
_choice_key = Column("choice_key", "string", "the choice's key: one for a title, its eligible artworks and their texts")

POST_TRAINING_EXAMPLES = Table(
    "post_training_examples",
    "The first impression of a draw, as the question that a night would have put to the model just before it.",
    (
        _ds,
        Column("split", "string", "`training` or `held_out`, by a hash of the user"),
        _user,
        _title,
        Column("shown_at", "timestamp", "when the artwork was shown, UTC"),
        _context_key,
        Column("context", "string", "the user's context as it stood just before shown_at"),
        _choice_key,
        Column("choice", "string", "the title with its eligible artworks, in the order of artwork_ids"),
        Column("artwork_ids", array("string"), "the eligible artworks; a hash of user and artworks decides the first"),
        Column("shown", "integer", "the option number, from 1, of the artwork that was shown"),
        Column("propensity", "double", "the logged probability with which it was shown"),
        Column("played", "boolean", "whether the user played"),
        Column("play_seconds", "double", "how long the play lasted"),
        Column("history_titles", "integer", "number of titles that the user had watched before shown_at"),
        Column("themes", array("string"), "the leading themes that the context names", nullable=True),
        Column(
            "watched_genres",
            array(array("string")),
            "the genres of each title that the context shows and the user did not leave early",
            nullable=True,
        ),
        Column("signals", array("string"), "the setting `signals` behind context and choice; the same in all rows"),
    ),
    key=("ds", "user_id", "title_id", "shown_at"),
    partitioned_by=("ds", "split"),
    properties=_NO_STATISTICS,
)

_example = (_ds, _user, _title, Column("shown_at", "timestamp", "of the example, UTC"))

PREFERENCE_PAIRS = Table(
    "preference_pairs",
    "For one training example that was played: an artwork to rank below the one that was played.",
    (
        *_example,
        Column("chosen", "integer", "the option number of the artwork that was played"),
        Column("rejected", "integer", "the option number of the other"),
        Column(
            "negative",
            "string",
            "why the other is below: `same_user` (shown to the same user and not played), `like_users` (shown to "
            "a user with the same leading theme and not played), `never_shown`",
        ),
        Column(
            "weight",
            "double",
            "share of this artwork in the example's impressions of this kind, each counted 1 / propensity, at most "
            f"{COUNT_LIMIT:g} (`never_shown`: the same for each artwork). Impressions of the played artwork itself "
            "make no row; their share is what the weights of a kind lack to 1",
        ),
    ),
    key=("ds", "user_id", "title_id", "shown_at", "rejected", "negative"),
    partitioned_by=("ds",),
    properties=_NO_STATISTICS,
)

TEACHER_REASONS = Table(
    "teacher_reasons",
    "Why a user would choose the artwork that was played, written by a model that was given the answer. One training "
    "example that was played.",
    (
        *_example,
        Column("model_version", "string", "the model that wrote the reason: the teacher"),
        Column("reason", "string", "the reason, one line without its line break"),
    ),
    key=("ds", "user_id", "title_id", "shown_at", "model_version"),
    partitioned_by=("ds", "model_version"),
    optional=True,
    properties=_NO_STATISTICS,
)

_held_out_bucket = Column("bucket", "integer", "crc32(context_key) % buckets")
_scored_as = Column("model_version", "string", "the model that scored; `+ordersN`: with every pair in N rotations")

HELD_OUT_CONTEXTS = Table(
    "held_out_contexts",
    "The context of held-out impressions, and the choices to score after it.",
    (
        _ds,
        _held_out_bucket,
        _context_key,
        _context,
        Column(
            "pairs",
            array(struct(choice_key="string", ordering="integer", prompt_hash="long")),
            "the choices to score: the rotation to score (`ordering`), and the hash of (context, choice)",
        ),
    ),
    key=("ds", "context_key"),
    partitioned_by=("ds", "bucket"),
    properties=_NO_STATISTICS,
)

HELD_OUT_CHOICES = Table(
    "held_out_choices",
    "The text that describes the title and the numbered eligible artworks of held-out impressions, in one rotation.",
    (_ds, _choice_key, *_choice),
    key=("ds", "choice_key", "ordering"),
    partitioned_by=("ds",),
)

HELD_OUT_SCORES = Table(
    "held_out_scores",
    "A model's probability for every artwork of a held-out question.",
    (
        _ds,
        _scored_as,
        _held_out_bucket,
        _context_key,
        _choice_key,
        *_answer,
        Column("prompt_hash", "long", "hash of (context, choice)"),
    ),
    key=("ds", "model_version", "context_key", "choice_key"),
    partitioned_by=("ds", "model_version", "bucket"),
    properties=_NO_STATISTICS,
)

HELD_OUT_RUNS = Table(
    "held_out_runs",
    "One bucket of held-out questions scored by one model, as in `scoring_runs`.",
    (_ds, _scored_as, _held_out_bucket, *_run),
    key=("ds", "model_version", "bucket"),
    partitioned_by=("ds", "model_version", "bucket"),
)

POST_TRAINING_STEPS = Table(
    "post_training_steps",
    "As `night_steps`, for the steps that make examples and score held-out questions.",
    _step,
    key=("ds", "step"),
    partitioned_by=("ds", "step"),
)

POLICY_ESTIMATES = Table(
    "policy_estimates",
    "One estimator's estimate of one policy on held-out impressions, overall or in one slice.",
    (
        _ds,
        Column("candidate", "string", "the model version that the run evaluates"),
        Column(
            "policy",
            "string",
            "the policy: `logging`, `random`, `most_popular`, `bandit`, or a model's version, "
            "with `+ordersN` if it scored every pair in N rotations and `in FOLDER` if on another warehouse's prompts",
        ),
        Column("slice_by", "string", "how the impressions were split; `all` for all of them"),
        Column("slice", "string", "the slice"),
        Column(
            "estimator",
            "string",
            "`replay`, `ips`, `clipped_ips`, `snips`, `dm`, `dr`, `switch_dr`; `truth` on a sample",
        ),
        Column("impressions", "long", "held-out impressions in the slice"),
        Column("users", "long", "users of these impressions"),
        Column("value", "double", "estimated plays per impression; null if refused", nullable=True),
        Column("low", "double", "lower end of the 95 % interval, clustered by user", nullable=True),
        Column("high", "double", "its upper end", nullable=True),
        Column("difference", "double", "value less the champion's on the same impressions", nullable=True),
        Column("difference_low", "double", "lower end of the paired 95 % interval", nullable=True),
        Column("difference_high", "double", "its upper end", nullable=True),
        Column("effective_size", "double", "(sum of weights)^2 / sum of squared weights", nullable=True),
        Column("refused", "string", "why the log cannot support an estimate; null if it can", nullable=True),
    ),
    key=("ds", "candidate", "policy", "slice_by", "slice", "estimator"),
    partitioned_by=("ds",),
)

MADE = (
    NIGHT_INPUTS,
    NIGHT_MODELS,
    REJECTED_ROWS,
    WANTED_PAIRS,
    TASTE_GROUPS,
    TITLE_CHOICES,
    USER_CONTEXTS,
    ARTWORK_SCORES,
    SCORING_RUNS,
    AUDIT_RESULTS,
    NIGHT_CHANGES,
    NIGHT_STEPS,
)
SERVED = (ARTWORK_SELECTIONS, ARTWORK_SELECTION_LOG, TITLE_DEFAULTS, CATALOGUE_NAMES)
EXAMPLES = (
    POST_TRAINING_EXAMPLES,
    PREFERENCE_PAIRS,
    HELD_OUT_CONTEXTS,
    HELD_OUT_CHOICES,
    POST_TRAINING_STEPS,
)
"""The tables that the step `examples` writes."""
POST_TRAINING = (*EXAMPLES, TEACHER_REASONS, HELD_OUT_SCORES, HELD_OUT_RUNS, POLICY_ESTIMATES)

ERASED_USERS = Table(
    "erased_users",
    "A user whom `marquee erase` has erased: nights leave out the user's rows, whoever delivers them again. The first "
    f"such command makes the table, with the property `{SALT_PROPERTY}`.",
    (Column("user_hash", "string", "SHA-256 of the salt and the user's id, as hexadecimal digits"),),
    key=("user_hash",),
    optional=True,
)

OWN = (*MADE, *SERVED, *POST_TRAINING)
"""The tables that Marquee's steps write."""
TABLES = {table.name: table for table in (*INPUTS, *OWN, ERASED_USERS)}
