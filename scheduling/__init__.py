"""The building blocks of Marquee's DAGs. Imports Airflow and schemas, and nothing that the scheduler can do without."""
