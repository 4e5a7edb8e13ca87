"""Find randomness without a seed in .py files and notebooks, and show the mended line.

    python ops/gates/seeds.py FILE...

Exit code 0: no findings; 1: findings; 2: wrong use (a file that is missing or is not Python).

Found are splitters, resamplers, estimators and generated data without `random_state`; draws from
the global generators of NumPy, `random`, PyTorch and TensorFlow; generators made without a seed;
`df.sample`; and the rows of a query without ORDER BY that are then taken by position.

Not found, because it repeats:
- what follows the seeding of its global generator in the same file: `np.random.seed(0)` (scikit-
  learn and pandas draw from it too when they get no seed), `seed_everything(seed)` and the like.
  A seed at the top covers the file, a seed in a function covers the rest of that function, and
  one in an autouse fixture (conftest.py too) covers the tests.
- estimators whose settings leave nothing to chance: see DRAWS_ONLY_IF.
- a call with `**options`, a call under `pytest.raises`, and names that are not imported from one
  of these libraries.

A justified exception is a comment on the line: `# seeds: ok - why it is fine`.
"""

import argparse
import ast
import importlib.util
import io
import json
import re
import sys
import tokenize
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

# Which names of these libraries take a `random_state` is read from their own source files.
# Not by importing them: that alone takes more than two seconds, on every commit. Public names only:
# what is private gets its seed from its callers.
READ_FROM_SOURCE = re.compile(r"(?:sklearn|imblearn)(?:\.[a-zA-Z]\w*)+")

# These have a `random_state`, but draw only with one of these values (`*`: anything but None and
# 0). Where the argument is left out, the default of the installed version decides.
DRAWS_ONLY_IF = """
    LogisticRegression LogisticRegressionCV: solver=sag,saga,liblinear    # not lbfgs, the default
    Ridge RidgeClassifier ridge_regression: solver=sag,saga      # the other solvers are exact
    Lasso LassoCV MultiTaskLasso MultiTaskLassoCV: selection=random   # else in order
    ElasticNet ElasticNetCV MultiTaskElasticNet MultiTaskElasticNetCV: selection=random
    SGDClassifier SGDRegressor SGDOneClassSVM Perceptron: shuffle=True
    PassiveAggressiveClassifier PassiveAggressiveRegressor: shuffle=True
    fetch_covtype fetch_kddcup99 fetch_rcv1 fetch_datasets: shuffle=True
    make_moons make_circles: shuffle=True noise=*
    SVC NuSVC: probability=True                                  # folds of the calibration
    LinearSVC: dual=True loss=hinge                              # only the dual solver shuffles
    LinearSVR: dual=True loss=epsilon_insensitive
    Lars LassoLars: jitter=*
    GaussianProcessClassifier GaussianProcessRegressor: n_restarts_optimizer=*
    ClassifierChain RegressorChain: order=random
    HistGradientBoostingClassifier HistGradientBoostingRegressor: early_stopping=auto,True
    DummyClassifier: strategy=stratified,uniform
    PCA: svd_solver=randomized,arpack                            # auto is exact on most tables
    KernelPCA: eigen_solver=randomized,arpack
    LocallyLinearEmbedding locally_linear_embedding: eigen_solver=arpack
    NeighborhoodComponentsAnalysis: init=random
    KMeans k_means: init=k-means++,random                        # not with given centres
    mutual_info_classif mutual_info_regression: discrete_features=auto,False   # adds noise
    NMF MiniBatchNMF non_negative_factorization: init=None,random,nndsvd,nndsvda,nndsvdar
    extract_patches_2d PatchExtractor: max_patches=*
    IterativeImputer: imputation_order=random sample_posterior=True n_nearest_features=*
    silhouette_score: sample_size=*
    KBinsDiscretizer TunedThresholdClassifierCV PartialDependenceDisplay:   # only in rare uses
"""
SEED_WORDS = ("random_state", "seed", "rng")
ENSEMBLE = re.compile("Bagging|Boost|Forest|Ensemble")  # its subclasses' parts get seeds from it
SEEDS_ITS_PARTS = re.compile(
    r".*(Bagging|AdaBoost|RUSBoost|EasyEnsemble|RANSAC|IterativeImputer).*"
)

# XGBoost and LightGBM use all rows and columns unless told to sample; CatBoost always samples.
BOOSTER = re.compile(
    r"(?:lightgbm|xgboost|catboost)(?:\.\w+)*"
    r"\.((?:LGBM|XGB|XGBRF|CatBoost)(?:Classifier|Regressor|Ranker|Model)?)"
)
SAMPLING = re.compile("subsample|colsample_by|bagging_fraction|feature_fraction|extra_trees")

# Without an argument these take their seed from the operating system.
UNSEEDED_EMPTY = re.compile(
    r"random\.(Random|seed)|numpy\.random\.(default_rng|seed|RandomState|SeedSequence"
    r"|PCG64|PCG64DXSM|MT19937|Philox|SFC64)"
)
# What draws from a library's global generator, what seeds that, and the line that mends it.
DRAWS = {
    "numpy.random": r"(?!seed|default_rng|[gs]et_|test)[a-z]\w*",
    "random": r"(?!seed|[gs]etstate)[a-z]\w*",
    "torch": r"(rand|randn|randint)(_like)?|randperm|normal|bernoulli|multinomial|poisson",
    "torch.utils.data": "random_split",
    "tensorflow.random": "normal|uniform|shuffle|truncated_normal|gamma|poisson|categorical",
}
SEEDER = re.compile(
    r"(numpy)\.random\.(?:seed|set_state)|(random)\.(?:seed|setstate)"
    r"|(torch)\.(?:random\.)?manual_seed|(tensorflow)\.random\.set_seed"
)
SEEDS_ALL = re.compile(r"(?:set|fix|setup|init)_?\w*seeds?|seed_(?:everything|all)")
MENDED = {
    "numpy": ("np", "rng = {}.random.default_rng(seed)"),
    "random": ("random", "rng = {}.Random(seed)"),
    "torch": ("torch", "{}.manual_seed(seed)"),
    "tensorflow": ("tf", "{}.random.set_seed(seed)"),
}
MODERN = {"rand": "random", "randn": "standard_normal", "randint": "integers", "ranf": "random"}
MODERN |= {"random_sample": "random"}

FRAME = re.compile(r"(^|_)(df|frame|dataframe|data|dataset|table|rows|train|test|X|y)\d*($|_)")
NO_FRAME = re.compile(
    r"(^|_)(self|cls|model|dist|distribution|gmm|kde|space|buffer|memory|env|policy|prior|posterior"
    r"|sampler|synthesizer|generator|rng|process|chain|trace|flow|pipe|pipeline)\d*($|_)"
)
SAMPLE_ARGUMENTS = {"n", "frac", "fraction", "replace", "weights", "axis", "ignore_index"}
SAMPLE_ARGUMENTS |= {"with_replacement", "withReplacement", "random_state", "seed"}

SELECT = re.compile(r"\bselect\b.*\bfrom\b", re.IGNORECASE | re.DOTALL)
EXCEPTION = re.compile(r"#\s*seeds:\s*ok\b\W*(.*)")
PYTHON_MAGICS = ("time", "timeit", "capture", "prun", "memit")  # their cell is Python all the same
MAGIC = re.compile(
    r"^([ \t]*)(?:(?:[\w ,]+=[ \t]*)?[%!?](?:.*\\\n)*.*|\S.*\?[ \t]*)$", re.MULTILINE
)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.ClassDef | Function
Nodes = tuple[ast.AST, ...]
Seeding = tuple[str, Nodes, int]


class UnreadableError(Exception):
    """A file that is missing or is not Python; the message is for the user."""


class Site(NamedTuple):
    """A call, the imported name it calls ("" for others), and the nodes around it."""

    call: ast.Call
    name: str
    parents: Nodes
    keywords: dict[str, ast.expr]


class Module(NamedTuple):
    """One file: its lines, the words that say where each is, and what stands in them."""

    source: str
    lines: list[str]
    places: list[str]
    names: dict[str, str]
    nodes: list[tuple[ast.AST, Nodes]]
    assigned: dict[str, ast.expr]
    sites: list[Site]


class Finding(NamedTuple):
    """What is unseeded, the mended lines, and the global generator whose seed would do too."""

    call: ast.Call
    what: str
    mended: list[str]
    generator: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Check the files and return the exit code."""
    parser = argparse.ArgumentParser(description="Find randomness without a seed.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".py or .ipynb")
    files = parser.parse_args(arguments).files
    if importlib.util.find_spec("sklearn") is None:
        print("seeds: scikit-learn is not installed here; run `make setup` first", file=sys.stderr)
        return 2
    code = 0
    for path in files:
        try:
            reports = list(check(path))
        except UnreadableError as error:
            print(f"seeds: {error}", file=sys.stderr)
            code = 2
            continue
        print("".join(f"{report}\n" for report in reports), end="")
        code = max(code, 1 if reports else 0)
    return code


def check(path: Path) -> Iterator[str]:
    """Yield one report for each finding in the file, top to bottom."""
    module = read(path)
    findings = list(find(module, [*seedings_of(module), *seedings_of_fixtures(path)]))
    comments = comments_of(module.source) if findings else {}
    for call, what, mended, _ in findings:
        lines = range(call.lineno, (call.end_lineno or call.lineno) + 1)
        said = [EXCEPTION.search(comments.get(line, "")) for line in lines]
        excuses = [match[1] for match in said if match]
        if not any(excuses):
            why = " (`# seeds: ok` needs a reason: `# seeds: ok - why`)" if excuses else ""
            yield "\n".join([f"{path}{module.places[call.lineno - 1]}: {what}{why}", *mended])


def find(module: Module, seedings: list[Seeding]) -> Iterator[Finding]:
    """Yield what the rules find and no earlier seed of a global generator covers."""
    rules = (library_call, booster, empty_generator, global_draw, frame_sample, unordered_rows)
    for site in module.sites:
        if any(keyword.arg is None for keyword in site.call.keywords):
            continue  # `**options` may hold the seed
        if any(isinstance(node, ast.With) and is_raises(node) for node in site.parents):
            continue  # a test wants this call to fail
        for finding in filter(None, (rule(site, module) for rule in rules)):
            if not is_seeded(site, finding.generator, seedings):
                yield finding


# --- the rules: each looks at one call ---


def library_call(site: Site, module: Module) -> Finding | None:
    """Find a scikit-learn (or imbalanced-learn) call whose random_state is left at None."""
    if not READ_FROM_SOURCE.fullmatch(site.name):
        return None
    positional, defaults = parameters(site.name)
    if "random_state" not in defaults or is_seeded_from_outside(site, module):
        return None
    given = dict(zip(positional, site.call.args, strict=False)) | site.keywords
    starred = any(isinstance(argument, ast.Starred) for argument in site.call.args)
    if {"seed", "rng"} & set(given) or (starred and "random_state" in positional):
        return None  # the seed has the name of another version, or cannot be seen
    written = given.get("random_state")
    if not is_none(written or defaults["random_state"], module):
        return None
    name = site.name.rpartition(".")[2]
    splits = "shuffle" in defaults and site.name.startswith("sklearn.model_selection.")
    conditions = {"shuffle": ["True"]} if splits else draws_only_if(name)
    # A None written out in an estimator is a seed switched off: it draws the day a setting changes.
    if conditions is not None and (written is None or splits):
        settings = {key: literal(given.get(key) or defaults.get(key)) for key in conditions}
        if not any(is_drawing(settings[key], values) for key, values in conditions.items()):
            return None
    what = f"{name}() has no random_state" if written is None else f"{name}(): random_state is None"
    mended = with_argument(site, "random_state=seed", written, module)
    return Finding(site.call, what, mended, "numpy")


def booster(site: Site, module: Module) -> Finding | None:
    """Find a gradient booster that samples rows or columns, with the library's own fixed seed."""
    match = BOOSTER.fullmatch(site.name)
    given = site.keywords
    written = given.get("random_state", given.get("seed", given.get("random_seed")))
    if match is None or site.call.args or not is_none(written, module):
        return None
    sampling = {literal(value) for key, value in given.items() if SAMPLING.match(key)}
    always = written is not None or match[1].startswith(("CatBoost", "XGBRF"))
    if not always and not sampling - {"None", "1", "1.0", "False"}:
        return None
    mended = with_argument(site, "random_state=seed", written, module)
    return Finding(site.call, f"{match[1]}() samples and has no random_state", mended)


def empty_generator(site: Site, module: Module) -> Finding | None:
    """Find generators that ask the operating system for their seed."""
    values = [*site.call.args, *site.keywords.values()]
    if not UNSEEDED_EMPTY.fullmatch(site.name) or not all(is_none(v, module) for v in values):
        return None
    mended = with_argument(site, "seed", values[0] if values else None, module)
    return Finding(site.call, f"{ast.unparse(site.call)} starts from another seed each run", mended)


def global_draw(site: Site, module: Module) -> Finding | None:
    """Find draws from the global generator of a library."""
    call, (library, _, function) = site.call, site.name.rpartition(".")
    seed = site.keywords.get("generator", site.keywords.get("seed"))
    if not re.fullmatch(DRAWS.get(library, "-"), function) or not is_none(seed, module):
        return None
    root = library.partition(".")[0]
    alias, line = MENDED[root]
    alias = next((alias for alias, name in module.names.items() if name == root), alias)
    called = mended = ast.unparse(call.func)
    if line.startswith("rng"):
        mended = f"rng.{MODERN.get(function, function) if root == 'numpy' else function}"
    if mended.startswith("rng.") and function in {"rand", "randn"} and len(call.args) > 1:
        sizes = ", ".join(
            ast.unparse(argument) for argument in call.args
        )  # Generator takes a shape
        lines = with_text(call, f"{mended}(({sizes}))", module)
    else:
        lines = with_text(call.func, mended, module)
    first = indent_of(module.lines[call.lineno - 1]) + line.format(alias)
    return Finding(call, f"{called}() draws from a global generator", [first, *lines], root)


def frame_sample(site: Site, module: Module) -> Finding | None:
    """Find `.sample()` of what looks like a pandas (polars, Spark) frame."""
    call, given = site.call, set(site.keywords)
    if site.name or not isinstance(call.func, ast.Attribute) or call.func.attr != "sample":
        return None
    written = site.keywords.get("random_state", site.keywords.get("seed"))
    if given - SAMPLE_ARGUMENTS or len(call.args) > 1 or not is_none(written, module):
        return None
    has_size = bool(call.args or {"n", "frac", "fraction"} & given)
    if not looks_like_frame(call.func.value, module, has_size=has_size):
        return None
    word = "seed" if {"fraction", "seed"} & given else "random_state"
    mended = with_argument(site, f"{word}=seed", written, module)
    return Finding(call, f".sample() without {word} takes other rows each run", mended, "numpy")


def unordered_rows(site: Site, module: Module) -> Finding | None:
    """Find a query without ORDER BY whose rows are then taken by position in the same scope."""
    statement = statement_around(site.parents)
    query = site.call.args[0] if site.call.args else None
    if not isinstance(statement, ast.Assign):
        return None
    if isinstance(query, ast.Name):
        query = module.assigned.get(query.id)
    if not isinstance(query, ast.Constant | ast.JoinedStr):
        return None
    text = " ".join(literal(node) for node in ast.walk(query) if isinstance(node, ast.Constant))
    if not SELECT.search(text) or re.search(r"\border\s+by\b", text, re.IGNORECASE):
        return None
    frame, around = ast.unparse(statement.targets[0]), scope(site.parents)
    for node, parents in module.nodes:
        line = getattr(node, "lineno", 0)
        if line <= site.call.lineno or scope(parents) != around:
            continue
        if isinstance(node, ast.Attribute) and node.attr.startswith("sort"):
            return None
        shown = isinstance(statement_around(parents), ast.Expr)
        if takes_by_position(node, frame) and not shown:
            what = f"a query without ORDER BY, and line {line} takes its rows by position"
            return Finding(site.call, what, with_order(query, module))
    return None


# --- what the rules ask ---


def seedings_of(module: Module) -> Iterator[Seeding]:
    """Yield the library, the scope and the line of each seeding of a global generator."""
    for site in module.sites:
        match = SEEDER.fullmatch(site.name)
        seeds_all = SEEDS_ALL.fullmatch(last_name(site.call.func))
        values = [*site.call.args, *site.keywords.values()]
        if (match or seeds_all) and not all(is_none(value, module) for value in values):
            library = match[match.lastindex or 0] if match else "*"
            around = scope(site.parents)
            inner = around[-1] if around else None
            if any("autouse=True" in ast.unparse(d) for d in getattr(inner, "decorator_list", [])):
                yield library, (), 0  # a fixture that runs before each test
            elif getattr(inner, "name", "").lower().startswith(("main", "setup")):
                yield library, around[:-1], site.call.lineno  # holds for what runs after them
            else:
                yield library, around, site.call.lineno


def seedings_of_fixtures(path: Path) -> Iterator[Seeding]:
    """Yield what the fixtures in the conftest.py files above a test seed before each test."""
    if path.name.startswith("test_"):
        for file in (folder / "conftest.py" for folder in path.resolve().parents):
            if file.is_file():
                yield from (seeding for seeding in seedings_of(read(file)) if not seeding[2])


def is_raises(statement: ast.With) -> bool:
    """Say whether a block is `with pytest.raises(...)`."""
    heads = [item.context_expr for item in statement.items]
    return any(isinstance(h, ast.Call) and last_name(h.func) == "raises" for h in heads)


def is_seeded(site: Site, generator: str, seedings: list[Seeding]) -> bool:
    """Say whether the global generator has a seed by the time the call runs."""
    around = scope(site.parents)
    return any(
        library in {"*", generator}
        and around[: len(seeded)] == seeded
        and (len(around) > len(seeded) or line <= site.call.lineno)
        for library, seeded, line in seedings
        if generator
    )


def is_seeded_from_outside(site: Site, module: Module) -> bool:
    """Say whether an ensemble around the call, or a call with a seed beside it, hands it one."""
    for outer in site.parents:
        if isinstance(outer, ast.ClassDef):
            if ENSEMBLE.search(" ".join(map(last_name, outer.bases))):
                return True
        elif isinstance(outer, ast.Call):
            name = resolve(outer.func, module.names, site.parents)
            seeds = [k.value for k in outer.keywords if k.arg == "random_state"]
            if SEEDS_ITS_PARTS.fullmatch(name):
                return True
            if not READ_FROM_SOURCE.match(name) and any(map(is_a_seed, [*outer.args, *seeds])):
                return True
    return False


def is_a_seed(node: ast.expr) -> bool:
    """Say whether an argument is called a seed."""
    return isinstance(node, ast.Name | ast.Attribute) and last_name(node) in SEED_WORDS


def draws_only_if(name: str) -> dict[str, list[str]] | None:
    """Look a name up in the table."""
    for line in DRAWS_ONLY_IF.splitlines():
        names, _, settings = line.partition("#")[0].partition(":")
        if name in names.split():
            pairs = (setting.split("=") for setting in settings.split())
            return {key: values.split(",") for key, values in pairs}
    return None


def is_drawing(setting: str, values: list[str]) -> bool:
    """Say whether a setting is one of those in the table."""
    return setting in values or ("*" in values and setting not in {"None", "0"})


def looks_like_frame(node: ast.expr, module: Module, *, has_size: bool) -> bool:
    """Judge a receiver of `.sample()` by how it was made, else by its name and the imports."""
    name = re.split(r"[\[(]", ast.unparse(node))[0]
    maker = module.assigned.get(name)
    if isinstance(maker, ast.Call):
        made_by = last_name(maker.func)
        if made_by[:1].isupper():
            return made_by.endswith(("DataFrame", "Series"))
    uses_pandas = any(name.partition(".")[0] == "pandas" for name in module.names.values())
    parts = name.split(".")
    if module.names.get(parts[0]) == "pandas" or any(map(FRAME.search, parts)):
        return True
    return has_size and uses_pandas and not any(map(NO_FRAME.search, parts))


def takes_by_position(node: ast.AST, frame: str) -> bool:
    """Say whether a node is `frame[:n]`, `frame.iloc[:n]`, `frame.head(n)` or `frame.tail(n)`."""
    if isinstance(node, ast.Call) and node.args:
        return ast.unparse(node.func) in {f"{frame}.head", f"{frame}.tail"}
    if not isinstance(node, ast.Subscript) or ast.unparse(node.value) not in {
        frame,
        f"{frame}.iloc",
    }:
        return False
    part = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
    return isinstance(part, ast.Slice) and bool(part.lower or part.upper)


def is_none(node: ast.expr | None, module: Module) -> bool:
    """Say whether a seed is left out, None, or the global generator itself."""
    return node is None or literal(node) == "None" or resolve(node, module.names) == "numpy.random"


def literal(node: ast.expr | None) -> str:
    """Return a literal as text; "" for what is known only at run time."""
    return str(node.value) if isinstance(node, ast.Constant) else ""


def last_name(node: ast.expr) -> str:
    """Return `rand` of `np.random.rand`."""
    return str(getattr(node, "attr", getattr(node, "id", "")))


def scope(parents: Nodes) -> Nodes:
    """Return the functions and classes among the nodes around."""
    return tuple(node for node in parents if isinstance(node, Definition))


def statement_around(parents: Nodes) -> ast.AST | None:
    """Return the innermost statement."""
    return next((node for node in reversed(parents) if isinstance(node, ast.stmt)), None)


# --- the signatures, from the libraries' own source ---


@cache
def parameters(name: str) -> tuple[list[str], dict[str, ast.expr | None]]:
    """Return the positional parameters and the defaults of a function or of a class."""
    module, _, last = name.rpartition(".")
    target = definitions(module).get(last) if module else None
    if isinstance(target, str):
        return parameters(target)
    if isinstance(target, ast.ClassDef):
        init = [n for n in target.body if isinstance(n, Function) and n.name == "__init__"]
        inherited = (parameters(f"{module}.{ast.unparse(base)}") for base in target.bases)
        if not init:
            return next((found for found in inherited if found[1]), ([], {}))
        target = init[0]
    if target is None:
        return [], {}
    names = [a.arg for a in [*target.args.posonlyargs, *target.args.args]]
    pairs = zip(reversed(names), reversed(target.args.defaults), strict=False)
    only = zip([a.arg for a in target.args.kwonlyargs], target.args.kw_defaults, strict=True)
    return [name for name in names if name != "self"], {**dict(pairs), **dict(only)}


@cache
def definitions(module: str) -> dict[str, str | Definition]:
    """Map each name of an installed module to its definition, or to where it is imported from."""
    root, *rest = module.split(".")
    spec = importlib.util.find_spec(root)
    places = [*(spec.submodule_search_locations or [])] if spec else []
    path = Path(*places[:1], *rest)
    package = module if path.is_dir() else module.rpartition(".")[0]
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not places or not file.is_file():
        return {}
    tree = parse(file.read_text(encoding="utf-8"))
    own = {node.name: node for node in tree.body if isinstance(node, Definition)}
    return {**imported_names(tree, package), **own}


# --- reading a file ---


def read(path: Path) -> Module:
    """Read a file; the code cells of a notebook make one module."""
    notebook = path.suffix == ".ipynb"
    source, places = "", []
    for number, cell in enumerate(cells_of(path), start=1):
        where = f": cell {number}, line " if notebook else ":"
        try:
            text = python_of(cell) if notebook else cell
            parse(text)
        except SyntaxError as error:
            at = f"{path}{where}{error.lineno or 1}"
            raise UnreadableError(f"{at}: cannot be read as Python: {error.msg}") from None
        source += text + "\n"
        places += [f"{where}{line}" for line in range(1, text.count("\n") + 2)]
    tree = parse(source)
    names, nodes = imported_names(tree), list(walk(tree))
    assigned, sites = {}, []
    for node, parents in nodes:
        if isinstance(node, ast.Assign):
            assigned[ast.unparse(node.targets[0])] = node.value
        elif isinstance(node, ast.Call):
            keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            sites.append(Site(node, resolve(node.func, names, parents), parents, keywords))
    return Module(source, source.split("\n"), places, names, nodes, assigned, sites)


def cells_of(path: Path) -> list[str]:
    """Return the text of a file, or of the code cells of a Python notebook."""
    try:
        if path.suffix != ".ipynb":
            with tokenize.open(path) as file:
                return [file.read()]
        notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        language = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
        cells = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, SyntaxError, LookupError, TypeError, AttributeError):
        kind = "a notebook (format 4)" if path.suffix == ".ipynb" else "Python in UTF-8"
        raise UnreadableError(f"{path}: cannot be read: it is not {kind}") from None
    return ["".join(cell).replace("\r\n", "\n") for cell in cells if language == "python"]


def python_of(cell: str) -> str:
    """Put `pass` in the place of IPython's magics, shell commands and questions."""
    try:
        parse(cell)
    except SyntaxError:
        magic = re.match(r"\s*%%(\w*)", cell)
        if magic and magic[1] not in PYTHON_MAGICS:
            return "\n" * cell.count("\n")
        return MAGIC.sub(lambda m: f"{m[1]}pass" + "\n" * m[0].count("\n"), cell)
    return cell


def parse(source: str) -> ast.Module:
    """Parse source; notebooks may await at the top, and odd escapes are no concern here."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return cast("ast.Module", compile(source, "source", "exec", flags))
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(str(error)) from None


@cache
def tokens_of(source: str) -> list[tokenize.TokenInfo]:
    """Return the tokens that mean something."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token for token in tokens if token.type not in {tokenize.NL, tokenize.COMMENT}]


def comments_of(source: str) -> dict[int, str]:
    """Return the comment of each line that has one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def walk(tree: ast.Module) -> Iterator[tuple[ast.AST, Nodes]]:
    """Yield each node with the nodes around it, in the order of the source."""
    stack: list[tuple[ast.AST, Nodes]] = [(tree, ())]
    while stack:
        node, parents = stack.pop()
        yield node, parents
        inside = (*parents, node)
        stack += [(child, inside) for child in reversed([*ast.iter_child_nodes(node)])]


def imported_names(tree: ast.Module, package: str = "") -> dict[str, str]:
    """Map each imported name to what it stands for, unless the module defines it anew."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                names[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            names |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
    own = {node.name for node in tree.body if isinstance(node, Definition)}
    return {alias: name for alias, name in names.items() if alias not in own}


def resolve(node: ast.expr, names: dict[str, str], parents: Nodes = ()) -> str:
    """Return the full name of `np.random.rand` and the like; "" if it is not imported."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return ""
    inside = [parent.args for parent in parents if isinstance(parent, Function)]
    if any(a.arg == node.id for args in inside for a in [*args.args, *args.kwonlyargs]):
        return ""  # a parameter hides the import
    return ".".join([names[node.id], *attributes]).replace("tensorflow.compat.v1.", "tensorflow.")


# --- the mended lines ---


def with_argument(site: Site, text: str, old: ast.expr | None, module: Module) -> list[str]:
    """Return the changed lines of a call that gets an argument, in the place of `old` if given."""
    if old is not None:
        return with_text(old, text.rpartition("=")[2], module)
    call, last = site.call, site.call.end_lineno or 0
    end = (last, column(module.lines[last - 1], call.end_col_offset) - 1)
    tokens = tokens_of(module.source)
    before = tokens[bisect_left(tokens, end, key=lambda token: token.start) - 1]
    row, at = before.end
    line, is_first = module.lines[row - 1], not (call.args or call.keywords)
    comma = "" if is_first or before.string == "," else ","
    if row == last:
        return [f"{line[:at]}{comma}{'' if is_first else ' '}{text}{line[at:]}"]
    indent = indent_of(line) + ("    " if is_first else "")
    return [f"{line[:at]}{comma}{line[at:]}", f"{indent}{text},"]


def with_text(node: ast.expr, text: str, module: Module) -> list[str]:
    """Return the source line with a node replaced by a text."""
    first, last = module.lines[node.lineno - 1], module.lines[(node.end_lineno or 0) - 1]
    return [
        first[: column(first, node.col_offset)] + text + last[column(last, node.end_col_offset) :]
    ]


def with_order(query: ast.expr, module: Module) -> list[str]:
    """Return the line that ends a query, with ORDER BY before its LIMIT or closing quote."""
    for number in range(query.end_lineno or 0, query.lineno - 1, -1):
        line = module.lines[number - 1]
        end = column(line, query.end_col_offset) if number == query.end_lineno else len(line)
        text = re.match(r"(.*?)((?:\s+limit\b.*)?[\s;]*[\"']*)$", line[:end], re.IGNORECASE)
        if text and text[1].strip():
            return [f"{text[1]} ORDER BY id{text[2]}{line[end:]}"]
    return []


def column(line: str, offset: int | None) -> int:
    """Turn the parser's offset in bytes into one in characters."""
    return len(line.encode()[:offset].decode())


def indent_of(line: str) -> str:
    """Return the white space a line begins with."""
    return line[: len(line) - len(line.lstrip())]


if __name__ == "__main__":
    sys.exit(main())
