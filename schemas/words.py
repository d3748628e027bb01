"""Words of a prompt that the jobs that write it and the stage that tokenizes it must agree on."""

PROMPT_FORMAT = "marquee-1"
"""Names the way that spark_jobs/prompts.py renders prompts; a checkpoint records the one that it was trained on."""

ANSWER = "Answer: "
"""The end of every choice: the model's next token is the number of the option it picks."""

VIEWING = "- "
"""How the line of each viewing begins. They end a context, latest first; a prompt that is too long loses the last."""
