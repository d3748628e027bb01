# Images of a clone, for tasks in containers: `cluster` has Airflow and Spark, `scoring` the engine, too. Both are
# installed as `make` installs a laptop, by scripts/setup.sh. docs/deploying.md says what of this was tried.
#
#     docker build --target cluster --tag marquee .
#     docker build --target scoring --tag marquee-scoring .

FROM python:3.11-slim-bookworm AS cluster
# A JDK, because Spark's log store for S3 is compiled at its first use.
RUN apt-get update && apt-get install --yes --no-install-recommends openjdk-17-jdk-headless procps \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/marquee
COPY . .
RUN scripts/setup.sh cluster
RUN .venv/bin/marquee jars jars --warehouse s3://any/warehouse
RUN useradd --create-home marquee && install --directory --owner marquee /var/cache/marquee
ENV PATH=/opt/marquee/.venv/bin:$PATH \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/marquee/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    MARQUEE_CACHE=/var/cache/marquee \
    MARQUEE_SPARK_JARS=/opt/marquee/jars
# The tables are elsewhere: this user may not write the clone, so every command refuses to run without MARQUEE_WAREHOUSE.
USER marquee

FROM cluster AS scoring
USER root
# The engine compiles kernels at its first start.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN scripts/setup.sh gpu .venv-gpu
ENV MARQUEE_SCORING_PYTHON=/opt/marquee/.venv-gpu/bin/python
USER marquee
