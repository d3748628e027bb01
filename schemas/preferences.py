"""Constants shared by the job that writes `preference_pairs` and the training that reads them."""

from typing import Literal

NegativeKind = Literal["same_user", "like_users", "never_shown"]
"""Why an artwork ranks below the one that was played."""

COUNT_LIMIT = 10.0
"""An impression counts 1 / propensity, clipped at this. Plays and the impressions ranked below them are clipped at the
same value: with a lower limit on one side, training would not learn the odds of a play."""
