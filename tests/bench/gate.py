"""What the gate's statistics cost on many rows, beside `scipy.stats.bootstrap` on the same work.

    make bench BENCH=gate [BENCH_ARGS='--rows 10000000 --resamples 50 --json FILE']

Writes two files of predictions to a temporary folder and removes them. Each way is a process of its
own, which reports its seconds and its peak memory, imports and reading of the files included. SciPy
resamples row numbers (which pairs the two models) one resample at a time: by default it would hold
all of them, 4 GB each 50 at ten million rows. Its statistic is plain numpy, which is the least that
it can take.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from understudy.cli.terminal import render

_CHUNK = 1_000_000


def write(folder: Path, rows: int) -> None:
    """Write the predictions of two models with ids as a project writes them: 16 hex digits."""
    for seed, name in enumerate(("challenger", "champion")):
        target, noise, writer = np.random.default_rng(9), np.random.default_rng(seed), None
        for start in range(0, rows, _CHUNK):
            count = min(_CHUNK, rows - start)
            truth = target.gamma(2.0, 3.0, count)
            part = pa.table(
                {
                    "row_id": [f"{_mixed(one):016x}" for one in range(start, start + count)],
                    "target": truth,
                    "prediction": truth + noise.normal(0, 1 + seed / 1000, count),
                    "region": pa.array(target.integers(0, 8, count).astype(str)),
                    "age": target.uniform(0, 80, count),
                }
            )
            writer = writer or pq.ParquetWriter(folder / f"{name}.parquet", part.schema)
            writer.write_table(part)
        assert writer is not None
        writer.close()


def _mixed(number: int) -> int:
    """Return 64 bits that are different for different numbers (multiplication by an odd one)."""
    return number * 0x9E3779B97F4A7C15 % 2**64


def ours(gate: dict[str, Any], resamples: int | None) -> Callable[[Path], str]:
    """Return a way that compares by the gate's own code."""

    def run(folder: Path) -> str:
        from understudy.evaluation import compare, load, smooth
        from understudy.gate import Gate

        if resamples is not None:
            smooth.RESAMPLES = resamples  # type: ignore[misc]
        challenger = load(folder / "challenger.parquet")
        champion = load(folder / "champion.parquet", others=())
        found = compare(Gate.from_dict(gate), challenger, champion, search="slices" in gate)
        return f"{len(found.comparisons)} comparisons; {found.comparisons[0].method}"

    return run


def scipys(resamples: int) -> Callable[[Path], str]:
    """Return a way that calls SciPy's bootstrap for the gain in r2."""

    def run(folder: Path) -> str:
        from scipy import stats

        columns = ["row_id", "target", "prediction"]
        challenger, champion = (
            pd.read_parquet(folder / f"{name}.parquet", columns=columns)
            for name in ("challenger", "champion")
        )
        both = challenger.merge(champion, on="row_id", validate="one_to_one")
        truth = both["target_x"].to_numpy()
        squares = [(truth - both[f"prediction_{one}"].to_numpy()) ** 2 for one in "xy"]
        del both, challenger, champion

        def gain(rows: np.ndarray) -> float:
            picked = truth[rows]
            return float(
                (squares[1][rows].sum() - squares[0][rows].sum())
                / ((picked - picked.mean()) ** 2).sum()
            )

        found = stats.bootstrap(
            (np.arange(len(truth)),), gain, n_resamples=resamples, batch=1, vectorized=False,
            confidence_level=0.9, method="percentile", rng=0,
        )  # fmt: skip
        return f"percentile, error {found.standard_error:.3g}"

    return run


def ways(resamples: int) -> dict[str, Callable[[Path], str]]:
    """Return what is measured, by name."""
    r2, mae = {"name": "r2", "min_gain": 0.0}, {"name": "mae", "min_gain": 0.0}
    guards = [{"name": "r2", "max_loss": 0.01}, {"name": "mse", "max_loss": 0.01}]
    return {
        "mae, closed form": ours({"primary": mae}, None),
        f"r2, bootstrap, B={resamples}": ours({"primary": r2}, resamples),
        f"r2, scipy.stats.bootstrap, B={resamples}": scipys(resamples),
        "r2, bootstrap, B=4000": ours({"primary": r2}, None),
        "median_absolute_error, jackknife": ours(
            {"primary": {"name": "median_absolute_error", "min_gain": 0.0}}, None
        ),
        "mae, two guardrails, 8 + 4 slices, search": ours(
            {
                "primary": mae,
                "guardrails": guards,
                "slices": [{"column": "region"}, {"column": "age", "quantiles": 4}],
            },
            None,
        ),
    }


def measure(name: str, folder: Path, resamples: int) -> dict[str, Any]:
    """Return the seconds and the peak memory of one way in a process of its own."""
    command = [sys.executable, "-m", "bench", "gate", "--one", name, "--folder", str(folder)]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--resamples", str(resamples)], check=True, capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    return {"way": name, "wall": time.perf_counter() - start, **told}


def one(name: str, folder: Path, resamples: int) -> None:
    """Run one way in this process and print what it cost."""
    found = ways(resamples)[name](folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {
        "cpu": used.ru_utime + used.ru_stime,
        "peak_gb": used.ru_maxrss / 1024**2,
        "found": found,
    }
    print(json.dumps(told))  # noqa: T201 -- it is how the parent hears of it


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every way and print a table; return 0."""
    parser = argparse.ArgumentParser(prog="bench gate", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--resamples", type=int, default=50)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        one(asked.one, asked.folder, asked.resamples)
        return 0
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as place:
        write(Path(place), asked.rows)
        results = [measure(name, Path(place), asked.resamples) for name in ways(asked.resamples)]
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=2), encoding="utf-8")
    rows = [
        [r["way"], f"{r['wall']:.1f}", f"{r['cpu']:.1f}", f"{r['peak_gb']:.2f}", r["found"]]
        for r in results
    ]
    header = [f"{asked.rows:,} rows", "wall s", "CPU s", "peak GB", "found"]
    print(render(header, rows))  # noqa: T201 -- a terminal program
    return 0
