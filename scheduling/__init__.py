"""What Marquee's DAGs are made of. It imports Airflow and schemas, and nothing that the scheduler can do without."""
