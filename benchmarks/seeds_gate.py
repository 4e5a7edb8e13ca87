"""Count the false alarms of the seeds gate on code it was not written for, and its seconds.

    python benchmarks/seeds_gate.py [--uv PATH] [--sample N --seed S]

Installs a few large public packages into a temporary folder, runs the gate on each file of theirs
(.py and .ipynb) and prints files, findings and seconds per package; then the precision among the
findings that were checked by hand, from `seeds_gate_checked.csv`. `--sample N` prints N findings
of each package outside its tests, and N in them, drawn with a seed, with the code around them: what
the next hand-check has to read.

The hand-check: samples with seeds 20, 99 and 7. False alarms of the first two led to changes, and
rows the gate no longer reports are dropped, so their share is flattered: before the last change 39
of the 45 findings outside tests with seed 99 were real. Seed 7 came after it, outside tests only:
52 of 52, about half of them not read before. A finding is real if, read in its file, the randomness
happens and nothing seeds it; draws meant to differ, such as the jitter of a retry, are real too and
marked "(meant to)".

`wheel`: the code as installed. `sdist`: the source archive, which for these holds the examples and
notebooks too.
"""

import argparse
import csv
import json
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
GATE = HERE.parent / "template" / "ops" / "gates" / "seeds.py"
CHECKED = HERE / "seeds_gate_checked.csv"
PACKAGES = {
    "dowhy==0.14": "sdist",
    "hdbscan==0.8.44": "sdist",
    "imbalanced-learn==0.14.2": "sdist",
    "mapie==1.6.0": "sdist",
    "shap==0.54.1": "sdist",
    "mlflow==3.18.0": "wheel",
    "scikit-learn==1.9.1": "wheel",
    "sktime==1.2.0": "wheel",
    "statsmodels==0.15.0": "wheel",
}
# What the archives' own build steps import; pip runs them to learn the version.
BUILDERS = ["pip", "setuptools", "setuptools-scm", "wheel", "cython", "numpy", "hatchling"]
BUILDERS += ["hatch-vcs", "poetry-core", "scikit-build-core", "scikit-learn==1.9.1"]
BUILDERS += ["imbalanced-learn==0.14.2"]
FINDING = re.compile(
    r"(?P<file>.+?\.(?:py|ipynb))(?::|: cell (?P<cell>\d+), line )(?P<line>\d+): (.+)"
)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--uv", default="uv", help="the uv to install with")
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="findings of each package to print"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seeds-gate-") as folder:
        root = Path(folder)
        python = prepare(root, options.uv)
        sample: list[str] = []
        print("| package | files | notebooks | findings | seconds |\n|" + " --- |" * 5)
        for package, kind in PACKAGES.items():
            found, files, seconds = measure(
                python, fetched(root, python, options.uv, package, kind)
            )
            notebooks = sum(file.suffix == ".ipynb" for file in files)
            print(f"| {package} | {len(files)} | {notebooks} | {len(found)} | {seconds:.1f} |")
            for lines in ([f for f in found if not in_tests(f)], [f for f in found if in_tests(f)]):
                some = random.Random(options.seed).sample(lines, min(options.sample, len(lines)))
                sample += [
                    f"{package} {line.replace(folder, '')}\n{around(line)}\n" for line in some
                ]
        print(f"| one file, cold start | 1 | 0 | 1 | {cold_start(python, root):.2f} |\n")
    print_precision()
    print("\n".join(["", *sample]))


def prepare(root: Path, uv: str) -> Path:
    """Make the environment the gate runs in: it reads scikit-learn's source there."""
    run(uv, "venv", "--quiet", "--python", sys.executable, root / "venv")
    python = root / "venv" / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, *BUILDERS)
    return python


def fetched(root: Path, python: Path, uv: str, package: str, kind: str) -> Path:
    """Bring a package into a folder of its own."""
    target = root / package.partition("==")[0]
    target.mkdir()
    if kind == "wheel":
        install = ["pip", "install", "--quiet", "--no-deps", "--python", python]
        run(uv, *install, "--target", target, package)
        return target
    sources = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
    sources.append("--ignore-requires-python")  # they are read, not run
    run(python, "-m", "pip", "download", "--quiet", *sources, "--dest", target, package)
    with tarfile.open(next(target.glob("*.tar.gz"))) as archive:
        archive.extractall(target, filter="data")
    return target


def measure(python: Path, folder: Path) -> tuple[list[str], list[Path], float]:
    """Run the gate on all files of a package; drop copies, which built documentation is full of."""
    unique = {f.read_bytes(): f for f in sorted(folder.rglob("*")) if f.suffix in {".py", ".ipynb"}}
    files = sorted(unique.values())
    began = time.perf_counter()
    done = subprocess.run([python, GATE, *files], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if "Traceback" in done.stderr:
        raise SystemExit(f"the gate failed on {folder.name}:\n{done.stderr}")
    lines = [line for line in done.stdout.splitlines() if line.startswith(str(folder))]
    return [line for line in lines if FINDING.fullmatch(line)], files, seconds


def cold_start(python: Path, root: Path) -> float:
    """Return the seconds for one file, as on a commit."""
    file = root / "one.py"
    file.write_text("from sklearn.model_selection import train_test_split\ntrain_test_split(X)\n")
    began = time.perf_counter()
    subprocess.run([python, GATE, file], capture_output=True, check=False)
    return time.perf_counter() - began


def in_tests(path: str) -> bool:
    """Say whether a file is a test; there estimators are often made only to see them fail."""
    return bool(re.search(r"/tests?/|/test_|conftest", path))


def around(finding: str) -> str:
    """Return the lines around a finding."""
    match = FINDING.fullmatch(finding)
    if match is None:
        return ""
    text = Path(match["file"]).read_text(encoding="utf-8")
    if match["cell"]:
        cells = [c["source"] for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
        text = "".join(cells[int(match["cell"]) - 1])
    return "\n".join(numbered(text, int(match["line"])))


def numbered(text: str, line: int) -> Iterator[str]:
    """Yield a few lines before and after one, which is marked."""
    for number, content in enumerate(text.splitlines(), start=1):
        if abs(number - line) <= 5:
            yield f"{'>' if number == line else ' '} {number:5} {content[:110]}"


def print_precision() -> None:
    """Print the share of findings that are real, by package, from the hand-check."""
    with CHECKED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    print("| checked by hand | findings | real | precision |\n| --- | --- | --- | --- |")
    for part in [*sorted({row["package"] for row in rows}), "tests only", "without tests", "all"]:
        verdicts = [row["verdict"] == "true" for row in rows if part in kinds(row)]
        share = sum(verdicts) / len(verdicts)
        print(f"| {part} | {len(verdicts)} | {sum(verdicts)} | {share:.3f} |")


def kinds(row: dict[str, str]) -> set[str]:
    """Return the lines of the table a checked finding counts in."""
    return {"all", row["package"], "tests only" if in_tests(row["file"]) else "without tests"}


def run(*command: object) -> None:
    """Run a command, or stop and show what it said."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr}")


if __name__ == "__main__":
    main()
