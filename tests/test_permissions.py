"""Tables that only their owner may read (umask 077), read by another user: one sentence names the closed file."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.sample import make_simulated
from schemas.exit_codes import REFUSED
from schemas.store import has_table
from schemas.tables import ARTWORK_SELECTIONS, BUCKETS_PROPERTY, CATALOGUE_NAMES, TITLE_DEFAULTS
from tests.conftest import ROOT
from tests.test_serving import selection, write

OTHER = 65534
_RUN = f"""
import os, sys
import deltalake, pyarrow
import serving.console, serving.fingerprint, serving.lookup  # as root, who may read the interpreter's own folder
from marquee.cli import main
os.setuid({OTHER})
place = ["--warehouse", sys.argv[1]]
sys.exit(max(main(["lookup", "--user", "42", *place]), main(["fingerprint", *place])))
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def warehouse() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest keeps its own to this user
        Path(folder).chmod(0o755)
        yield made_warehouse(Path(folder))


def made_warehouse(folder: Path) -> Path:
    made = folder / "warehouse"
    write(made, ARTWORK_SELECTIONS, [selection("42", "7", "a1")], **{BUCKETS_PROPERTY: "4"})
    write(made, TITLE_DEFAULTS, [{"title_id": "7", "artwork_id": "a2"}])
    write(made, CATALOGUE_NAMES, [{"title_id": "7", "name": "Heat", "release_year": 1995, "captions": []}])
    return made


@pytest.mark.parametrize(
    ("closed", "mode"),
    [
        (".", 0o700),
        ("artwork_selections", 0o700),
        ("artwork_selections/_delta_log", 0o700),
        ("artwork_selections/_delta_log/*.json", 0o600),
        ("artwork_selections/bucket=*/*.parquet", 0o600),
        ("catalogue_names", 0o700),
    ],
)
def test_an_error_names_what_another_user_may_not_read(warehouse: Path, closed: str, mode: int) -> None:
    places = [warehouse] if closed == "." else sorted(warehouse.glob(closed))
    for place in places:
        place.chmod(mode)
    shown = stat.filemode(places[0].stat().st_mode)
    arguments = [sys.executable, "-c", _RUN, str(warehouse)]
    ended = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    sentence = (
        rf": \w\w+: ({'|'.join(re.escape(str(place)) for place in places)}) \({shown}, of user 0\) may not be read by "
        rf"the user {OTHER} of this process; have its owner grant that \(.*\)\n"
    )
    assert re.fullmatch(f"marquee lookup{sentence}marquee fingerprint{sentence}", ended.stderr), ended.stderr
    assert (ended.returncode, ended.stdout) == (REFUSED, "")


@pytest.mark.parametrize("closed", [".", TITLE_DEFAULTS.name])
def test_a_table_that_may_not_be_read_does_not_count_as_missing(warehouse: Path, closed: str) -> None:
    """An optional input would be skipped silently."""
    assert has_table(str(warehouse), TITLE_DEFAULTS)
    assert not has_table(str(warehouse / "nowhere"), TITLE_DEFAULTS)
    (warehouse / closed).chmod(0o700)
    code = (
        "import os, deltalake; from schemas.store import has_table; from schemas.tables import TITLE_DEFAULTS; "
        f"os.setuid({OTHER}); has_table({str(warehouse)!r}, TITLE_DEFAULTS)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "ContractError: title_defaults: " in ended.stderr, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["titles", "impressions/ds=2026-01-13"])
def test_a_spark_step_names_the_file_that_it_may_not_read(tmp_path: Path, closed: str) -> None:
    """`titles` is read before the step notes its inputs, impressions only afterwards, when a file that Java cannot find
    counts as vacuumed.
    """
    warehouse = tmp_path / "warehouse"
    make_simulated(str(warehouse), users=3, titles=4, days=3)
    file = next((warehouse / closed).glob("*.parquet"))
    file.chmod(0o000)
    # Root without the capability to ignore file modes, as another user could not enter the interpreter's folder.
    bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    ended = subprocess.run(
        [*bound, sys.executable, "-m", "marquee", "step", "validate", "--ds", "2026-01-14"],
        cwd=ROOT,
        env={**os.environ, "MARQUEE_WAREHOUSE": str(warehouse), "MARQUEE_MODEL": str(ROOT / "examples" / "tiny_llama")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == REFUSED, ended.stderr
    sentence = f"marquee step validate: warehouse: {file} (----------, of user 0) may not be read by"
    # Spark may log of another task after it.
    assert any(line.startswith(sentence) for line in ended.stderr.splitlines()), ended.stderr
