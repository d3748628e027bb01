"""The contract: every table, every setting and every word that the parts of Marquee share.

Every part imports it, so it needs neither Spark nor vLLM nor Airflow and imports nothing heavy.
"""
