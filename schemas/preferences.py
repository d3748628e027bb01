"""What the job that writes `preference_pairs` and the training that reads them must agree on."""

from typing import Literal

NegativeKind = Literal["same_user", "like_users", "never_shown"]
"""Why an artwork is below the one that was played."""

COUNT_LIMIT = 10.0
"""An impression counts 1 / propensity, at most this. A play is counted as what is below it is: where one side were cut
lower, what is learned would not be the odds of a play."""
