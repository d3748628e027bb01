"""Words of a prompt that the jobs that write it and the stage that tokenizes it must agree on."""

PROMPT_FORMAT = "marquee-1"
"""Names the way that spark_jobs/prompts.py renders prompts; a checkpoint records the one that it was trained on."""

ANSWER = "Answer: "
"""The end of every choice: the model's next token is the number of the option it picks."""

VIEWING = "- "
"""How the line of each viewing begins. They end a context, latest first; a prompt that is too long loses the last."""

LEADING_THEMES = "Leading themes: "
"""How the line of a context begins that names the user's leading themes, with `, ` between them."""

MARK = "; "
"""What a prompt tells of a line of the catalogue stands behind it. No text of a catalogue has a `;` there."""

LEFT_EARLY_MARK = MARK + "left early"
"""The end of the line of a viewing that was not watched to its end."""
