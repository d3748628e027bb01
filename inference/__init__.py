"""The vLLM stage: tokens, the engine, and the scoring of one shard of a night."""
