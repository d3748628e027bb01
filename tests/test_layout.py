"""Rules of imports, so that the scheduler needs neither Spark nor vLLM and each stage can run anywhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {
    "schemas",
    "spark_jobs",
    "inference",
    "examples",
    "serving",
    "browsing",
    "evaluation",
    "training",
    "scheduling",
    "marquee",
    "dags",
    "benchmarks",
}
HEAVY = {"pyspark", "delta", "deltalake", "pyarrow", "polars", "duckdb", "torch", "transformers", "vllm", "numpy"}


def modules(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level packages that the nodes of `tree` import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def imported_anywhere(path: Path) -> set[str]:
    return set(imported(ast.parse(path.read_text())))


def imported_at_import(path: Path) -> set[str]:
    """Packages that importing the module imports, without those in functions or under `if TYPE_CHECKING`."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not typing_only and not isinstance(node, ast.FunctionDef | ast.ClassDef):
            found |= set(imported(node))
    return found


def foreign(packages: set[str]) -> set[str]:
    return packages - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", modules("dags", "scheduling"), ids=lambda path: path.name)
def test_dags_import_airflow_and_schemas_only(path: Path) -> None:
    # The client comes with Airflow's KubernetesExecutor, without which nothing imports it.
    assert foreign(imported_anywhere(path)) <= {"airflow", "kubernetes", "rich", "schemas", "scheduling"}


@pytest.mark.parametrize("path", modules("dags"), ids=lambda path: path.name)
def test_no_dag_file_hides_a_package(path: Path) -> None:
    """Airflow puts dags/ on sys.path: a dags/training.py would be imported instead of the package."""
    assert path.stem not in OURS | HEAVY


@pytest.mark.parametrize("path", modules("schemas"), ids=lambda path: path.name)
def test_schemas_import_nothing_heavy(path: Path) -> None:
    assert foreign(imported_at_import(path)) <= {"schemas", "pydantic", "pydantic_settings"}


@pytest.mark.parametrize("path", modules("serving"), ids=lambda path: path.name)
def test_serving_needs_neither_spark_nor_the_other_stages(path: Path) -> None:
    assert not imported_anywhere(path) & {"pyspark", "delta", *(OURS - {"serving", "schemas"})}


@pytest.mark.parametrize("path", modules("browsing"), ids=lambda path: path.name)
def test_the_page_needs_neither_spark_nor_airflow(path: Path) -> None:
    assert not imported_anywhere(path) & {"pyspark", "delta", "airflow", "spark_jobs", "scheduling"}


def test_only_the_engine_and_its_rivals_import_vllm_and_inside_a_function() -> None:
    """Benchmarks measure Marquee against other ways to use the same engine."""
    importers = {path for path in modules(*OURS) if "vllm" in imported_anywhere(path)}
    assert importers <= {ROOT / "inference" / "engine.py", *modules("benchmarks/peers")}
    assert not [path for path in modules(*OURS) if "vllm" in imported_at_import(path)]


def test_only_spark_jobs_evaluation_and_examples_need_spark() -> None:
    """The samples render their training texts like a night, with Spark. Measurements of Spark have it in their name."""
    measuring = {path for path in modules("benchmarks") if path.name.startswith("spark_")}
    importers = {path for path in modules(*OURS) if "pyspark" in imported_at_import(path)} - measuring
    assert {path.relative_to(ROOT).parts[0] for path in importers} <= {"spark_jobs", "evaluation", "examples"}


PRODUCT = ("schemas", "scheduling", "spark_jobs", "inference", "training", "evaluation", "serving", "browsing")
STEPS = {"validate", "candidates", "contexts", "audit", "publish", "examples", "maintain", "undo"}


@pytest.mark.parametrize(
    "path", modules("spark_jobs", "evaluation"), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_steps_are_imported_by_no_other_part(path: Path) -> None:
    """Shared code has its own module, named for its content."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom) and node.module]
    assert not {f"spark_jobs.{step}" for step in STEPS} & {str(node.module) for node in nodes}


@pytest.mark.parametrize("path", modules(*PRODUCT), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_product_imports_no_samples_measurements_or_commands(path: Path) -> None:
    """A sample's truth is passed to an evaluation; commands call the product, not the reverse."""
    assert not imported_anywhere(path) & {"examples", "benchmarks", "marquee", "tests"}


def test_dag_files_parse_without_spark_and_vllm() -> None:
    """In a separate Python where importing any of the heavy packages raises ImportError."""
    missing = ["pyspark", "delta", "deltalake", "vllm", "torch", "transformers"]
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({missing!r})); sys.path.insert(0, {str(ROOT)!r}); "
        f"[runpy.run_path(path) for path in {[str(path) for path in modules('dags')]!r}]"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", modules("inference", "training"), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scoring_and_training_import_neither_airflow_nor_spark(path: Path) -> None:
    assert not imported_at_import(path) & {"airflow", "pyspark", "delta", "scheduling", "spark_jobs"}


def test_scoring_needs_neither_airflow_nor_spark() -> None:
    """requirements/gpu.txt has neither. In a separate Python where importing one of them raises ImportError."""
    missing = ["airflow", "pyspark", "delta", "py4j"]
    parts = ["inference.score", "inference.held_out", "inference.engine", "training.command", "training.judge"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r})); sys.path.insert(0, {str(ROOT)!r}); "
        f"[__import__(name) for name in {parts!r}]; "
        "from marquee.cli import main; sys.exit(max(main([name, '--help']) for name in ('score', 'judge', 'train')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pins = (ROOT / "requirements" / "gpu.txt").read_text()
    assert not re.findall(r"^(?:apache-airflow|pyspark|delta-spark)\b.*", pins, re.M)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_names_a_package_registry() -> None:
    """Packages come from the machine's configured registry; uv.lock, which names it, is not tracked."""
    lock = ROOT / "uv.lock"
    hosts = set(re.findall(r'registry = "https?://(?:[^@"/]*@)?([^/"]+)', lock.read_text())) if lock.exists() else set()
    hosts |= {"py" + "pi.org", "python" + "hosted.org", "--index" + "-url", "--extra-index" + "-url"}
    texts = {path: path.read_bytes().decode(errors="ignore") for path in tracked_files()}
    naming = [(str(path.relative_to(ROOT)), host) for path, text in texts.items() for host in hosts if host in text]
    assert not naming
