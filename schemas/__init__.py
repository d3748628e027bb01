"""The contract: every table, every setting and every word that the parts of Marquee share.

Readable without Spark, vLLM or Airflow, and imported by all three; imports nothing heavy.
"""
