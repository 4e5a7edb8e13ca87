"""The seeds gate finds planted randomness, shows the fixed line, and leaves seeded code alone."""

import importlib.util
import inspect
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

GATE = Path(__file__).parents[2] / "template" / "ops" / "gates" / "seeds.py"
SPEC = importlib.util.spec_from_file_location("seeds_gate", GATE)
seeds_gate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(seeds_gate)


def gate(*files, isolated=False):
    flags = ["-I", "-S"] if isolated else []
    command = [sys.executable, *flags, str(GATE), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_notebook(path, *cells, language="python"):
    code = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    prose = {"cell_type": "markdown", "source": ["# a title"]}
    metadata = {"kernelspec": {"language": language}}
    path.write_text(json.dumps({"nbformat": 4, "metadata": metadata, "cells": [prose, *code]}))
    return path


@pytest.fixture
def reports(tmp_path, capsys):
    """Run the gate on a piece of code; return (line, what is said, fixed lines) per finding."""

    def run(code):
        file = tmp_path / "code.py"
        file.write_text(textwrap.dedent(code), encoding="utf-8")
        code = seeds_gate.main([str(file)])
        said = capsys.readouterr()
        assert said.err == ""
        found = []
        for line in said.out.splitlines():
            if line.startswith(f"{file}:"):
                number, said = line.removeprefix(f"{file}:").split(": ", 1)
                found.append((int(number), said, []))
            else:
                found[-1][2].append(line)
        assert code == (1 if found else 0)
        return found

    return run


SKLEARN = """
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import (
    GroupShuffleSplit, KFold, RepeatedKFold, ShuffleSplit, StratifiedGroupKFold)
from sklearn.model_selection import train_test_split, train_test_split as tts
from sklearn.svm import SVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier
import sklearn.ensemble as se
import sklearn
"""


@pytest.mark.parametrize(
    ("fault", "fixed"),
    [
        ("a, b = train_test_split(X, y)", "a, b = train_test_split(X, y, random_state=seed)"),
        ("a, b = tts(é, 'é')  # é", "a, b = tts(é, 'é', random_state=seed)  # é"),
        ("tts(*parts, test_size=0.2,)", "tts(*parts, test_size=0.2, random_state=seed)"),
        ("ShuffleSplit()", "ShuffleSplit(random_state=seed)"),
        ("RepeatedKFold()", "RepeatedKFold(random_state=seed)"),
        ("GroupShuffleSplit(3)", "GroupShuffleSplit(3, random_state=seed)"),
        ("KFold(shuffle=True)", "KFold(shuffle=True, random_state=seed)"),
        ("StratifiedGroupKFold(3, True, None)", "StratifiedGroupKFold(3, True, seed)"),
        ("sklearn.utils.resample(x)", "sklearn.utils.resample(x, random_state=seed)"),
        ("sklearn.utils.shuffle(x, y)", "sklearn.utils.shuffle(x, y, random_state=seed)"),
        ("se.ExtraTreesClassifier()", "se.ExtraTreesClassifier(random_state=seed)"),
        ("SVC(probability=True)", "SVC(probability=True, random_state=seed)"),
        ("Ridge(solver='sag')", "Ridge(solver='sag', random_state=seed)"),
        ("SGDClassifier()", "SGDClassifier(random_state=seed)"),
        ("LinearSVR()", "LinearSVR(random_state=seed)"),
        (
            "LogisticRegression(solver='liblinear')",
            "LogisticRegression(solver='liblinear', random_state=seed)",
        ),
        ("RandomForestClassifier(random_state=None)", "RandomForestClassifier(random_state=seed)"),
        ("LogisticRegression(random_state=None)", "LogisticRegression(random_state=seed)"),
        ("ShuffleSplit(test_size=(1 / 3))", "ShuffleSplit(test_size=(1 / 3), random_state=seed)"),
        ("BaggingClassifier().fit(X, y)", "BaggingClassifier(random_state=seed).fit(X, y)"),
        (
            "BaggingClassifier(DecisionTreeClassifier())",
            "BaggingClassifier(DecisionTreeClassifier(), random_state=seed)",
        ),
    ],
)
def test_scikit_learn_without_a_seed(reports, fault, fixed):
    [(line, said, lines)] = reports(f"{SKLEARN}{fault}\n")
    assert line == SKLEARN.count("\n") + 1
    assert "random_state" in said
    assert lines == [fixed]
    assert reports(f"{SKLEARN}{fixed}\n") == []


@pytest.mark.parametrize(
    "clean",
    [
        "KFold()",
        "KFold(5, shuffle=False, random_state=None)",
        "train_test_split(X, y, shuffle=False)",
        "train_test_split(X, y, **options)",
        "StratifiedGroupKFold(3, True, 7)",
        "StratifiedGroupKFold(*arguments)",
        "LogisticRegression()",
        "SVC()",
        "Ridge()",
        "SGDClassifier(shuffle=False)",
        "BaggingClassifier(DecisionTreeClassifier(), random_state=seed)",
        "RandomForestClassifier(random_state=rng)",
        "RandomForestClassifier",
    ],
)
def test_seeded_or_exact_is_clean(reports, clean):
    assert reports(f"{SKLEARN}{clean}\n") == []


def test_calls_over_several_lines(reports):
    code = """\
    from sklearn.ensemble import RandomForestClassifier
    def model():
        return RandomForestClassifier(
            n_estimators=3,
            max_depth=2  # shallow
        )
    RandomForestClassifier(n_estimators=3,
                           max_depth=2)
    RandomForestClassifier(
    )
    RandomForestClassifier(
        n_estimators=3,
        random_state=None,
    )
    """
    assert [(line, lines) for line, _, lines in reports(code)] == [
        (3, ["        max_depth=2, random_state=seed  # shallow"]),
        (7, ["                       max_depth=2, random_state=seed)"]),
        (9, ["random_state=seed)"]),
        (11, ["    random_state=seed,"]),
    ]


@pytest.mark.parametrize(
    ("fault", "fixed"),
    [
        (
            "    x = np.random.rand(3)",
            ["    rng = np.random.default_rng(seed)", "    x = rng.random(3)"],
        ),
        (
            "    np.random.randn(3, 4)",
            ["    rng = np.random.default_rng(seed)", "    rng.standard_normal((3, 4))"],
        ),
        ("    randint(9)", ["    rng = np.random.default_rng(seed)", "    rng.integers(9)"]),
        ("    np.random.choice(a)", ["    rng = np.random.default_rng(seed)", "    rng.choice(a)"]),
        ("    random.random()", ["    rng = random.Random(seed)", "    rng.random()"]),
        ("    random.shuffle(a)", ["    rng = random.Random(seed)", "    rng.shuffle(a)"]),
        ("    random.sample(a, 5)", ["    rng = random.Random(seed)", "    rng.sample(a, 5)"]),
        ("    torch.rand(3)", ["    torch.manual_seed(seed)", "    torch.rand(3)"]),
        (
            "    tf.random.normal([3])",
            ["    tf.random.set_seed(seed)", "    tf.random.normal([3])"],
        ),
        ("    np.random.default_rng()", ["    np.random.default_rng(seed)"]),
        ("    np.random.default_rng(None)", ["    np.random.default_rng(seed)"]),
        ("    np.random.RandomState()", ["    np.random.RandomState(seed)"]),
        ("    np.random.seed()", ["    np.random.seed(seed)"]),
        ("    random.Random()", ["    random.Random(seed)"]),
        ("    df.sample(5)", ["    df.sample(5, random_state=seed)"]),
        ("    df.sample()", ["    df.sample(random_state=seed)"]),
        (
            "    df[df.a > 1].sample(frac=0.5)",
            ["    df[df.a > 1].sample(frac=0.5, random_state=seed)"],
        ),
        (
            "    pd.read_csv(f).dropna().sample(n=5)",
            ["    pd.read_csv(f).dropna().sample(n=5, random_state=seed)"],
        ),
        ("    spark_df.sample(fraction=0.1)", ["    spark_df.sample(fraction=0.1, seed=seed)"]),
        (
            "    XGBClassifier(subsample=0.8)",
            ["    XGBClassifier(subsample=0.8, random_state=seed)"],
        ),
        (
            "    lgb.LGBMRegressor(colsample_bytree=0.8)",
            ["    lgb.LGBMRegressor(colsample_bytree=0.8, random_state=seed)"],
        ),
        ("    CatBoostClassifier()", ["    CatBoostClassifier(random_state=seed)"]),
        ("    XGBClassifier(random_state=None)", ["    XGBClassifier(random_state=seed)"]),
    ],
)
def test_other_libraries_without_a_seed(reports, fault, fixed):
    imports = """import random
import lightgbm as lgb
import numpy as np
import pandas as pd
import tensorflow as tf
import torch
from catboost import CatBoostClassifier
from numpy.random import randint
from xgboost import XGBClassifier
def feature(a, df, f):
"""
    [(line, _, lines)] = reports(imports + fault + "\n")
    assert line == imports.count("\n") + 1
    assert lines == fixed
    assert reports(imports + "\n".join(fixed) + "\n") == []


@pytest.mark.parametrize(
    "clean",
    [
        "from mine import shuffle, train_test_split\nshuffle(x)\ntrain_test_split(x)",
        "import numpy as np\nnp.random.seed(0)\nx = np.random.rand(3)",
        "import numpy as np\nnp.random.default_rng(7)\nnp.random.RandomState(seed)",
        "import random\nrandom.seed(0)\ndef f():\n    return random.random()",
        "import torch\ntorch.manual_seed(0)\ntorch.rand(3)",
        "import torch\ntorch.rand(3, generator=g)",
        "import random\nfrom mine import seed_everything\nseed_everything(0)\nrandom.random()",
        "import numpy as np\nfrom sklearn.utils import shuffle\nnp.random.seed(0)\nshuffle(x)",
        "import numpy as np\ndef main():\n    np.random.seed(0)\ndef f():\n    np.random.rand()",
        "import pandas as pd\ndf.sample(5, random_state=0)",
        "import pandas as pd\nkde = KernelDensity()\nkde.sample(5)",
        "env.action_space.sample()",
        "import torch\ndist.sample((3,))",
        "from sklearn.svm import LinearSVR\nclass A(Forest):\n    part = LinearSVR()",
        "from xgboost import XGBClassifier\nXGBClassifier()",  # no sampling: nothing to seed
        "from catboost import CatBoostClassifier\nCatBoostClassifier(random_seed=1)",
        "from lightgbm import LGBMClassifier\nLGBMClassifier(subsample=0.5, seed=1)",
    ],
)
def test_code_that_repeats_is_clean(reports, clean):
    assert reports(clean + "\n") == []


FOLLOWED = """import functools
import random
import secrets
import time
import uuid
from functools import partial

import numpy as np
import pandas as pd
import pyspark.sql.functions as F
import torch
import xgboost as xgb
from imblearn.over_sampling import SMOTE
from numpy.random import PCG64, Generator
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.ensemble import RandomForestClassifier as RF
from sklearn.model_selection import KFold, train_test_split
from sklearn.model_selection import train_test_split as tts
from sklearn.tree import DecisionTreeClassifier
from torch.utils.data import DataLoader
"""


@pytest.mark.parametrize(
    ("fault", "fixed"),
    [
        ("tts(X, **{'test_size': 0.2})", "tts(X, **{'test_size': 0.2}, random_state=seed)"),
        ("params = {'n_jobs': 2}\nRF(**params)", "RF(**params, random_state=seed)"),
        ("params = {'random_state': None}\nRF(**params)", "params = {'random_state': seed}"),
        ("SEED = None\nRF(random_state=SEED)", "SEED = seed"),
        ("SEED: int | None = None\ndef f():\n    RF(random_state=SEED)", "SEED: int | None = seed"),
        ("RF(random_state=42 if x else None)", "RF(random_state=seed)"),
        ("RF(random_state=int(time.time()))", "RF(random_state=seed)"),
        ("RF(random_state=uuid.uuid4().int % 9)", "RF(random_state=seed)"),
        ("RF(random_state=np.random)", "RF(random_state=seed)"),
        ("RF(random_state=hash('abc'))", "RF(random_state=seed)"),
        ("np.random.default_rng(time.time_ns())", "np.random.default_rng(seed)"),
        ("np.random.default_rng(secrets.randbits(128))", "np.random.default_rng(seed)"),
        ("Generator(PCG64())", "Generator(PCG64(seed))"),
        ("np.random.MT19937()", "np.random.MT19937(seed)"),
        ("random.SystemRandom()", "random.Random(seed)"),
        ("partial(tts, test_size=0.2)", "partial(tts, test_size=0.2, random_state=seed)"),
        ("split = train_test_split\nsplit(X)", "split(X, random_state=seed)"),
        (
            "r = np.random\nr.permutation(9)",
            "rng = np.random.default_rng(seed)\nrng.permutation(9)",
        ),
        (
            "torch.backends.x = 1\ntorch.randn(3)",
            "torch.manual_seed(seed)\ntorch.randn(3)",
        ),
        ("rows.sort(key=random.random)", "rng = random.Random(seed)\nrows.sort(key=rng.random)"),
        ("s.map(np.random.rand)", "rng = np.random.default_rng(seed)\ns.map(rng.random)"),
        ("xgb.XGBRFRegressor()", "xgb.XGBRFRegressor(random_state=seed)"),
        (
            "xgb.sklearn.XGBRanker(colsample_bynode=0.5)",
            "xgb.sklearn.XGBRanker(colsample_bynode=0.5, random_state=seed)",
        ),
        ("SMOTE(k_neighbors=3)", "SMOTE(k_neighbors=3, random_state=seed)"),
        (
            "DataLoader(d, shuffle=True)",
            "torch.manual_seed(seed)\nDataLoader(d, shuffle=True)",
        ),
        (
            "df.sample(fraction=1, shuffle=True)",
            "df.sample(fraction=1, shuffle=True, seed=seed)",
        ),
        ("df.sample(3, ignore_index=True)", "df.sample(3, ignore_index=True, random_state=seed)"),
        ("orders.sample(False, 0.1)", "orders.sample(False, 0.1, seed=seed)"),
        ("orders.randomSplit([0.8, 0.2])", "orders.randomSplit([0.8, 0.2], seed=seed)"),
        ("df.orderBy(F.rand())", "df.orderBy(F.rand(seed))"),
        (
            "q = 'select * from t order by random() limit 9'\nx.execute(q)",
            "q = 'select * from t ORDER BY md5(id) limit 9'",
        ),
        (
            "x.sql(f'SELECT * FROM {t} TABLESAMPLE BERNOULLI (10)')",
            "x.sql(f'SELECT * FROM {t} TABLESAMPLE BERNOULLI (10) REPEATABLE (1)')",
        ),
        (
            "x.sql('SELECT * FROM t USING SAMPLE 10%')",
            "x.sql('SELECT * FROM t USING SAMPLE 10% (bernoulli, 1)')",
        ),
        (
            "x.sql('SELECT * FROM t USING SAMPLE reservoir(50 ROWS)')",
            "x.sql('SELECT * FROM t USING SAMPLE reservoir(50 ROWS) REPEATABLE (1)')",
        ),
    ],
)
def test_what_only_looks_seeded(reports, fault, fixed):
    [(_, _, lines)] = reports(f"{FOLLOWED}{fault}\n")
    assert lines == fixed.split("\n")


@pytest.mark.parametrize(
    "clean",
    [
        "train_test_split(X, **options)",
        "def f(options):\n    train_test_split(X, **options)",
        "o = {'n_jobs': 2}\no['random_state'] = 1\nRandomForestClassifier(**o)",
        "o = {'n_jobs': 2}\no.update(random_state=1)\nRandomForestClassifier(**o)",
        "o = {'random_state': 1}\nRandomForestClassifier(**o)",
        "o = {'random_state': 1}\no |= {'n_jobs': 2}\nRandomForestClassifier(**o)",
        "def f(seed=None):\n    RandomForestClassifier(random_state=seed)",
        "seed = None\nfor seed in range(3):\n    RandomForestClassifier(random_state=seed)",
        "seed = None\nif x:\n    seed = 3\nRandomForestClassifier(random_state=seed)",
        "KFold(shuffle=s, random_state=3 if s else None)",
        "RandomForestClassifier(random_state=hash((3, 4)))",
        "RandomForestClassifier(random_state=None if s is None else s + 1)",
        "split = partial(train_test_split, test_size=0.2)\nsplit(X, random_state=3)",
        "def f(rng):\n    rng.shuffle(a)\nrng = np.random.default_rng(3)\nrng.choice(a)",
        "def f(random):\n    random.random()",
        "isinstance(x, np.random.RandomState)\nisinstance(x, DataLoader)",
        "DataLoader(d)\nDataLoader(d, shuffle=True, generator=g)",
        "x.execute('select * from t tablesample bernoulli (10) repeatable (3)')",
        "x.execute('select * from t using sample 10% (bernoulli, 42)')",
        "orders.sample(False, 0.1, 42)\norders.randomSplit([0.8, 0.2], 42)\nF.rand(42)",
        "RandomForestClassifier().set_params(n_jobs=1, random_state=1)",
        "base = DecisionTreeClassifier(max_depth=1)\nAdaBoostClassifier(base, random_state=1)",
        "deck.sample(n=3)\nself.dataset.sample(batch_size)\nX_dist.sample(10)\nd.sample((3,))",
        "@pytest.fixture(autouse=True)\ndef f():\n    np.random.seed(0)\n"
        "def test_a():\n    np.random.rand(3)",
        "# seeds: ok - a game\nrandom.random()",
        "rows = x.execute('select count(*) from t').fetchone()[0]\npart = rows[:5]",
        "df = pd.read_sql('select * from t', x).sort_values('id')\npart = df.iloc[:80]",
        "df = pd.read_sql('select * from t', x)\npreview = df.head(10)",
        "msg = _('Please select a file from the list')\npart = msg[:20]",
    ],
)
def test_what_only_looks_unseeded(reports, clean):
    assert reports(f"{FOLLOWED}{clean}\n") == []


def test_a_seed_covers_only_what_follows_it(reports):
    code = """\
    import numpy as np
    np.random.rand()
    def f():
        np.random.rand()
        np.random.seed(0)
        np.random.rand()
    def g():
        np.random.rand()
    """
    assert [line for line, _, _ in reports(code)] == [2, 4, 8]


@pytest.mark.parametrize(
    ("query", "fixed"),
    [
        ('"SELECT * FROM t"', '"SELECT * FROM t ORDER BY id"'),
        ('"select a from t limit 9;"', '"select a from t ORDER BY id limit 9;"'),
        ("\"SELECT * FROM t WHERE a = 'b'\"", "\"SELECT * FROM t WHERE a = 'b' ORDER BY id\""),
        ('f"SELECT * FROM {t}"', 'f"SELECT * FROM {t} ORDER BY id"'),
    ],
)
@pytest.mark.parametrize(
    "use", ["df.iloc[:800]", "df.head(800)", "df[:800]", "f(df.iloc[800:, 1])"]
)
def test_query_split_by_position(reports, query, fixed, use):
    code = "import pandas as pd\ndf = pd.read_sql({}, con)\npart = {}\n"
    [(line, said, lines)] = reports(code.format(query, use))
    assert (line, lines) == (2, [f"df = pd.read_sql({fixed}, con)"])
    assert "ORDER BY" in said
    assert "line 3" in said
    assert reports(code.format(fixed, use)) == []


def test_query_in_a_name_over_several_lines(reports):
    code = 'q = """\nSELECT *\nFROM t\n"""\nrows = con.execute(q).fetchall()\ntrain = rows[:5]\n'
    [(line, _, lines)] = reports(code)
    assert (line, lines) == (5, ['q = """', "SELECT *", "FROM t ORDER BY id", '"""'])


@pytest.mark.parametrize(
    "clean",
    [
        "df.head(5)",
        "x = df.iloc[:, 1:]",
        "x = other.head(5)",
        "df = df.sort_values('id')\nx = df.head(5)",
        "def f(df):\n    return df.head(5)",
    ],
)
def test_query_not_split_by_position(reports, clean):
    assert (
        reports(f"import pandas as pd\ndf = pd.read_sql('SELECT * FROM t', con)\n{clean}\n") == []
    )


def test_an_exception_needs_a_reason(reports):
    code = "import random\nrandom.random()  # seeds: ok{}\n"
    assert reports(code.format(" - back-off jitter")) == []
    [(_, said, lines)] = reports(code.format(""))
    assert "needs a reason" in said
    assert lines[1] == "rng.random()  # seeds: ok"
    assert reports("import random\nrandom.choice(\n    a,\n)  # seeds: ok - a game\n") == []


@pytest.fixture
def ruff(tmp_path):
    """Lint code with the generated project's rules, as the file of this name."""
    (tmp_path / "ruff.toml").write_text((GATE.parents[2] / "ruff.toml").read_text())

    def run(name, code):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
        command = ["ruff", "check", "--no-cache", "--output-format=concise", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout

    return run


def test_ruff_takes_the_mended_line_and_the_exception(ruff):
    code = '"""Try."""\n\nimport random\n\nimport numpy as np\n\nrng = random.Random(seed := 1)\n'
    code += "np.random.rand(3)  # seeds: ok - why\nrandom.random()  # seeds: ok - why\n"
    assert "All checks passed" in ruff("scripts/try.py", code)
    assert "NPY002" in ruff("src/shipping/service/try.py", code)


def test_ruff_stops_a_feature_that_reads_the_clock(ruff):
    code = "import time\nfrom datetime import UTC, datetime\n\nimport pandas as pd\n\n"
    code += "AT = datetime.now(UTC), pd.Timestamp.now(UTC), time.time()\n"
    for room in ("preprocessing", "estimators"):
        assert ruff(f"src/shipping/{room}/made.py", code).count("TID251") == 3
    assert "TID251" not in ruff("src/shipping/service/made.py", code)


def test_notebook(tmp_path):
    notebook = write_notebook(
        tmp_path / "explore.ipynb",
        "%matplotlib inline\n!pip list\nimport numpy as np\ndf.head?\nif True:\n    %time 1",
        "%%bash\nrm -r $x; echo done",
        "%%time\nfiles = !ls\n\nnp.random.rand(3)",
        "await thing\nnp.random.seed(0)\nnp.random.rand(3)",
    )
    done = gate(notebook)
    assert done.stdout.splitlines() == [
        f"{notebook}: cell 3, line 4: np.random.rand() draws from a global generator",
        "rng = np.random.default_rng(seed)",
        "rng.random(3)",
    ]
    assert done.returncode == 1


@pytest.mark.parametrize(
    "cell",
    [
        "%time a = np.random.rand(3)",
        "%timeit -n 3 -o np.random.rand(3)",
        "if True:\n    %time np.random.rand(3)",
        "%%prun -l 5\nnp.random.rand(3)",
        "%%wandb\nnp.random.rand(3)",
    ],
)
@pytest.mark.parametrize("language", ["Python", "ipython"])
def test_timed_code_in_a_notebook_is_code(tmp_path, cell, language):
    path = tmp_path / "timed.ipynb"
    write_notebook(path, "import numpy as np", cell, language=language)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    done = gate(path)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"cell 2, line {cell.count(chr(10)) + 1}: np.random.rand()" in done.stdout


def test_other_languages_in_a_notebook_are_passed_over(tmp_path):
    cells = ["%%sql\nselect 1", "%%html\n<b>", "%%js\nlet a = 1;", "%time ls -l", "%%!\nls -l"]
    done = gate(write_notebook(tmp_path / "other.ipynb", *cells))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_wrong_use(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("x = 1\nx = (\n")
    binary = tmp_path / "binary.py"
    binary.write_bytes(b"\xff\xfe\x00")
    not_json = tmp_path / "not_json.ipynb"
    not_json.write_text("{")
    old = tmp_path / "old.ipynb"
    old.write_text('{"worksheets": []}')
    listed = tmp_path / "listed.ipynb"
    listed.write_text("[]")
    cell = write_notebook(tmp_path / "cell.ipynb", "x = 1", "\nx = = 2")
    fault = tmp_path / "fault.py"
    fault.write_text("import random\nrandom.random()\n")
    files = [broken, binary, not_json, old, listed, cell, tmp_path / "missing.py", fault]
    done = gate(*files)
    assert done.returncode == 2
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [
        f"{broken}:2", str(binary), str(not_json), str(old), str(listed), str(cell),
        f"{tmp_path}/missing.py",
    ]  # fmt: skip
    assert "cell 2, line 2: cannot be read as Python" in done.stderr
    assert "No such file" in done.stderr
    assert done.stderr.count("is no notebook of format 4") == 3
    assert f"{fault}:2" in done.stdout
    assert gate().returncode == 2


def test_nothing_to_find(tmp_path):
    empty = tmp_path / "empty.py"
    empty.write_text("")
    done = gate(
        empty,
        write_notebook(tmp_path / "empty.ipynb"),
        write_notebook(tmp_path / "r.ipynb", "x <- 1", language="R"),
        GATE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_scikit_learn_it_says_so(tmp_path):
    done = gate(tmp_path / "any.py", isolated=True)
    assert done.returncode == 2
    assert "scikit-learn is not installed" in done.stderr


# What makes those draw that are exact with their default arguments.
DRAWING = {
    "KernelPCA": "eigen_solver='randomized'", "PCA": "svd_solver='randomized'",
    "DummyClassifier": "strategy='uniform'", "LinearSVC": "dual=True",
    "Lars": "jitter=0.1", "LassoLars": "jitter=0.1", "silhouette_score": "sample_size=9",
    "LogisticRegression": "solver='saga'", "LogisticRegressionCV": "solver='sag'",
    "Ridge": "solver='sag'", "RidgeClassifier": "solver='saga'", "ridge_regression": "solver='sag'",
    "LocallyLinearEmbedding": "eigen_solver='arpack'", "KBinsDiscretizer": "subsample=1000",
    "locally_linear_embedding": "eigen_solver='arpack'",
    "NeighborhoodComponentsAnalysis": "init='random'", "SVC": "probability=True",
    "NuSVC": "probability=True", "ClassifierChain": "order='random'",
    "RegressorChain": "order='random'", "GaussianProcessClassifier": "n_restarts_optimizer=3",
    "GaussianProcessRegressor": "n_restarts_optimizer=3",
    "PatchExtractor": "max_patches=3", "extract_patches_2d": "max_patches=3",
}  # fmt: skip
SHUFFLED = ["KFold", "GroupKFold", "StratifiedKFold", "StratifiedGroupKFold", "learning_curve"]
SHUFFLED += ["check_cv", "fetch_covtype", "fetch_kddcup99", "fetch_rcv1"]
SELECTED = ["Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV"]
SELECTED += ["MultiTaskElasticNet", "MultiTaskElasticNetCV"]
DRAWING |= dict.fromkeys(SHUFFLED, "shuffle=True") | dict.fromkeys(SELECTED, "selection='random'")


def seeded_names():
    """Names in scikit-learn's public modules whose signature, once imported, has random_state."""
    rooms = """cluster covariance datasets decomposition dummy ensemble feature_extraction.image
        feature_selection gaussian_process inspection kernel_approximation linear_model manifold
        metrics mixture model_selection multioutput neighbors neural_network preprocessing
        random_projection svm tree utils"""
    importlib.import_module("sklearn.experimental.enable_halving_search_cv")
    for room in rooms.split():
        module = importlib.import_module(f"sklearn.{room}")
        for name in sorted(getattr(module, "__all__", ["DummyClassifier"])):
            thing = getattr(module, name, None)
            if not callable(thing) or name.startswith("Base"):
                continue
            try:
                seed = inspect.signature(thing).parameters.get("random_state")
            except ValueError:  # compiled
                continue
            if seed is not None and seed.default is None:
                yield room, name


def test_recall_on_scikit_learn_s_own_names(tmp_path, capsys):
    names = list(seeded_names())
    planted, clean = [], []
    for index, (room, name) in enumerate(names):
        code = f"from sklearn.{room} import {name}\nthing = {name}({{}})\n"
        option = DRAWING.get(name, "")
        fault, seeded = code.format(option), code.format(f"{option}, random_state=0".lstrip(", "))
        for text, files, kind in ((fault, planted, "fault"), (seeded, clean, "clean")):
            path = tmp_path / f"{kind}_{index}.{'ipynb' if index % 2 else 'py'}"
            if index % 2:
                write_notebook(path, *text.splitlines())
            else:
                path.write_text(text)
            files.append(path)
    seeds_gate.main([*map(str, planted)])
    found = capsys.readouterr().out
    missed = [names[i] for i, path in enumerate(planted) if str(path) not in found]
    assert len(names) >= 100
    assert len(missed) <= 0.05 * len(names), missed
    assert found.count("random_state=seed") == len(names) - len(missed)
    assert seeds_gate.main([*map(str, clean)]) == 0
