"""One Spark step of a night or of post-training: `spark-submit spark_jobs/__main__.py publish --ds 2026-01-14`."""

from __future__ import annotations

import argparse
import sys

from schemas.arguments import night_date
from schemas.exit_codes import exit_status
from spark_jobs.audit import audit
from spark_jobs.candidates import candidates
from spark_jobs.contexts import contexts
from spark_jobs.examples import examples
from spark_jobs.maintain import maintain
from spark_jobs.publish import publish
from spark_jobs.validate import validate
from spark_jobs.warehouse import Night, open_warehouse

DATED_STEPS = {step.__name__: step for step in (validate, candidates, contexts, audit, publish, examples)}


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="spark_jobs", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    for name, step in DATED_STEPS.items():
        dated = steps.add_parser(name, help=str(step.__doc__).splitlines()[0])
        dated.add_argument("--ds", required=True, type=night_date, help="the night or day, YYYY-MM-DD")
    steps.add_parser("maintain", help=str(maintain.__doc__).splitlines()[0])
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    parsed = parse_arguments(arguments)
    name = f"marquee {parsed.step}"

    def work() -> None:
        with open_warehouse(name) as warehouse:
            if parsed.step == "maintain":
                maintain(warehouse)
            else:
                DATED_STEPS[parsed.step](Night(warehouse, parsed.ds))

    return exit_status(name, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
