"""Find randomness without a seed in .py files and notebooks, and show the fixed line.

    python ops/gates/seeds.py FILE...

Exit code 0: no findings; 1: findings; 2: wrong use (a file that is missing or is not Python).

Found are splitters, resamplers, estimators and generated data without `random_state`; draws from
the global generators of NumPy, `random`, PyTorch and TensorFlow; generators made without a seed;
`df.sample`; queries that draw rows; and the rows of a query without ORDER BY that are then taken by
position. A seed of None is none, and so is the clock. Names are followed to what is assigned to
them above: `SEED = None`, `options = {"test_size": 0.2}`, `split = train_test_split`.

Not found is what a global seed above it makes repeat (`np.random.seed(0)`, `seed_everything(1)`):
at the top it covers the file, in a function the rest of that function.

A justified exception is a comment on the line or above: `# seeds: ok - why it is fine`.
"""

import ast
import importlib.util
import json
import re
import sys
import tokenize
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

# Which names of these libraries take a `random_state` is read from their source files: to import
# them takes two seconds. Public names only: what is private gets its seed from its callers.
READ_FROM_SOURCE = re.compile(r"(sklearn|imblearn)(\.[a-zA-Z]\w*)+")
# These may not be installed. Boosters sample only if told to, but for CatBoost and XGBRF.
BOOSTER = re.compile(r"(lightgbm|xgboost|catboost)\.(\w+\.)?(LGBM|XGB(RF)?|CatBoost)[CR][a-z]+")
SHARES = ("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode")
SHARES += ("bagging_fraction", "feature_fraction")
SAMPLER = re.compile(r"imblearn\..*(SMOTE\w*|ADASYN|Random\w+|Balanced\w+|RUSBoost\w+)|umap\.UMAP")

# What has a `random_state` and one of these parameters draws only with one of these values. Where
# it is left out, the default of the installed version decides.
DRAWS_ONLY_IF = {
    "shuffle": "True",  # splitters, SGD
    "solver": "sag|saga|liblinear",  # logistic and ridge regression
    "selection": "random",  # lasso, elastic net
    "probability": "True",  # SVC
    "dual": "True",  # LinearSVC
    "order": "random",  # chains
    "strategy": "stratified|uniform",  # dummies
    "svd_solver": "randomized|arpack",  # PCA
    "eigen_solver": "randomized|arpack",  # KernelPCA
    "sample_posterior": "True",  # IterativeImputer
    "n_restarts_optimizer": r"[1-9]\d*",  # Gaussian processes
    "sample_size": r"\d+",  # silhouette_score
    "jitter": r"[\d.]+",  # Lars
    **dict.fromkeys(SHARES, r"0?\.\d+"),
}
DRAWS_ANYWAY = re.compile(r"Cat|XGBRF|LinearSVR|make_|MLP|Gradient|.*NMF|non_|.pectral|.uantile")
# These, and what is derived from them, hand seeds to the estimators they are given.
ENSEMBLE = re.compile(r"(Bagging|Boost|Forest|EasyEnsemble|RANSAC)\w*( |$)|set_params.*random_st")
# Without an argument these take their seed from the operating system.
UNSEEDED = re.compile(
    r"(numpy\.)?random\.((System)?Random|seed|default_rng|RandomState|SeedSequence|PCG64\w*|MT19937"
    r"|Philox|SFC64)|pyspark\.sql\.functions\.randn?"
)
# What is another number in each run, or the global generator itself, is no seed.
NO_SEED = re.compile(
    r"\b(hash\(f?['\"]|(time(_ns)?|now|today|uuid[14]|urandom|randbits|getpid)\()|^(np|numpy)\.random$"
)
# What draws from a library's global generator, what seeds that, and the line that fixes it.
DRAWS = {
    "numpy": r"random\.(?!seed|default_rng|[gs]et_|test)[a-z]\w*",
    "random": r"(?!seed|[gs]etstate)[a-z]\w*",
    "torch": r"(rand|randn|randint)(_like)?|randperm|normal|bernoulli|multinomial|poisson|.*_split"
    r"|utils\.data\.(DataLoader|\w*RandomSampler)",
    "tensorflow": r"random\.(normal|uniform|shuffle|truncated_normal|gamma|poisson|categorical)",
}
SEEDS = re.compile(r"(numpy\.)?random\.seed|torch\..*manual_seed|tensorflow\..*set_seed")
FIXED = {
    "numpy": "rng = np.random.default_rng(seed)",
    "random": "rng = random.Random(seed)",
    "torch": "torch.manual_seed(seed)",
    "tensorflow": "tf.random.set_seed(seed)",
}
MODERN = {"random.rand": "random", "random.randn": "standard_normal", "random.randint": "integers"}
SEEDS_ALL = re.compile(r"(set|fix|setup|init)_?\w*seeds?|seed_(everything|all)")
SEED_WORDS = ("random_state", "seed", "random_seed", "generator", "rng")

FRAME = re.compile(r"(^|_)(df|frame|dataframe|data|dataset|table|rows|train|test|X|y|pd)\d*($|_)")
NO_FRAME = re.compile(
    r"(^|_)(self|cls|model|dist|kde|space|buffer|env|policy|sampler|rng|pipe|deck|client|audio)"
)
POLARS = {"fraction", "shuffle", "with_replacement", "withReplacement", "seed"}  # and Spark
PANDAS = {"n", "frac", "replace", "weights", "axis", "ignore_index", *SEED_WORDS}
SELECT = re.compile(r"(?is)[\s(rf'\"]*((with\b|--|/\*).*)?\bselect\b.*\bfrom\b(?!.*\border\s+by\b)")
SQL_DRAW = re.compile(
    r"(?is)\border\s+by\s+(random|rand|newid)\(\s*\)|\b(tablesample|using\s+sample)\b"
    r"(?!.*(repeatable|bucket|,\s*\d+\s*\)))(\s*[\w.%]+)?(\s*\([^)]*\))?"
)
END_OF_QUERY = re.compile(r"(\s+limit\s+\w+)?[\s;]*(\"{3}|'{3}|\"|')$", re.IGNORECASE)
BY_POSITION = r"=.*\b{}((\.iloc)?\[(?!:[],])[^]'\"]*:|\.(head|tail)\((?!(n=)?\d\d?\))\S)"
EXCEPTION = re.compile(r"#\s*seeds:\s*ok\b\W*(.*)")
MAGIC = re.compile(r"(?m)^([ \t]*)(([\w ,]+= *)?[%!?](.*\\\n)*.*|\S.*\?[ \t]*)$")
TIMED = re.compile(r"%(time|timeit|prun|memit)\s+(-\w+(\s+\d+)?\s+)*")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Nodes = tuple[ast.AST, ...]
Scope = tuple[Definition, ...]
Finding = tuple[str, str, str]  # what, the fixed lines, the library whose seed would do too


class UnreadableError(Exception):
    """A file that is missing or is not Python; the message is for the user."""


class Site(NamedTuple):
    """A call, the imported name it calls ("" for others), and the nodes around it.

    `func` is what draws: what is called, or handed on. Arguments are what their names stand for.
    """

    call: ast.Call
    func: ast.expr
    name: str
    arguments: list[ast.expr]
    keywords: dict[str, ast.expr]
    seed: ast.expr | None
    parents: Nodes

    def values(self) -> list[ast.expr]:
        """Return what the call is given."""
        return [*self.arguments, *self.keywords.values()]


class Module(NamedTuple):
    """One file: its lines, the words that say where each is, and what stands in them."""

    lines: list[str]
    places: list[str]
    names: dict[str, str]
    bound: dict[str, list[tuple[tuple[int, int], Scope, ast.AST]]]
    sites: list[Site]


def main(names: list[str]) -> int:
    """Check the files and return the exit code."""
    if not names or importlib.util.find_spec("sklearn") is None:
        why = "scikit-learn is not installed here; run `make setup` first" if names else "no files"
        print(f"seeds: {why}", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")  # what Python says of odd escapes is no concern here
    code = 0
    for path in map(Path, names):
        try:
            for report in check(path):
                code = max(code, 1)
                print(report)
        except UnreadableError as error:
            code = 2
            print(f"seeds: {path}{error}", file=sys.stderr)
    return code


def check(path: Path) -> Iterator[str]:
    """Yield one report for each finding in the file, top to bottom."""
    module = read(path)
    rules = (library_call, empty_generator, global_draw, frame_sample, query_rows)
    for site in module.sites:
        for what, fixed, library in filter(None, (rule(site, module) for rule in rules)):
            first, last = site.call.lineno, site.call.end_lineno
            above = [line for line in module.lines[: first - 1][-1:] if line.lstrip()[:1] == "#"]
            excuses = EXCEPTION.findall("\n".join(above + module.lines[first - 1 : last]))
            if any(excuses) or (library and is_seeded(library, site, module)):
                continue
            why = " (`# seeds: ok` needs a reason: `# seeds: ok - why`)" if excuses else ""
            yield f"{path}{module.places[first - 1]}: {what}{why}\n{fixed}"


def library_call(site: Site, module: Module) -> Finding | None:
    """Find a call into scikit-learn or its like whose random_state is left at None."""
    positional, defaults = parameters(site.name)
    if "random_state" not in defaults:
        return None
    starred = any(isinstance(argument, ast.Starred) for argument in site.call.args)
    given = dict(zip(positional, site.arguments, strict=False)) | site.keywords
    written = given.get("random_state", site.seed)
    if starred and "random_state" in positional:
        return None  # among the `*arguments`
    if literal(written or defaults["random_state"]) != "None" or is_handed_one(site, module):
        return None
    name, settings = site.name.rpartition(".")[2], {**defaults, **given}
    conditions = set() if DRAWS_ANYWAY.match(name) else DRAWS_ONLY_IF.keys() & defaults.keys()
    draws = (re.fullmatch(DRAWS_ONLY_IF[key], literal(settings[key])) for key in conditions)
    # A None written out is a seed switched off. But what does not shuffle refuses a seed.
    if conditions and not any(draws) and (written is None or "shuffle" in defaults):
        return None
    fixed = with_argument(site.call, "random_state=seed", written, module)
    return f"{name}() has no random_state", fixed, "numpy"


def is_handed_one(site: Site, module: Module) -> bool:
    """Say whether an ensemble, `set_params` or the call of a `partial` hands over the seed."""
    if site.func is not site.call.func and isinstance(site.parents[-1], ast.Assign):
        partial = re.escape(ast.unparse(site.parents[-1].targets[0]))
        return bool(re.search(rf"\b{partial}\([^)]*random_state", "\n".join(module.lines)))
    calls = (node for node in site.parents if isinstance(node, ast.Call))
    outer = [" ".join([ast.unparse(c.func), *(k.arg or "" for k in c.keywords)]) for c in calls]
    outer += [ast.unparse(b) for node in scope(site.parents) for b in getattr(node, "bases", [])]
    outer += [other.name for other in module.sites if site.call in other.values()]
    return any(map(ENSEMBLE.search, outer))


def empty_generator(site: Site, module: Module) -> Finding | None:
    """Find generators that ask the operating system for their seed."""
    values = site.values()
    if not UNSEEDED.fullmatch(site.name) or any(literal(value) != "None" for value in values):
        return None
    fixed = with_argument(site.call, "seed", values[0] if values else None, module)
    what = f"{ast.unparse(site.call)} starts from another seed each run"
    return what, fixed.replace("SystemRandom", "Random"), ""


def global_draw(site: Site, module: Module) -> Finding | None:
    """Find draws from the global generator of a library."""
    library, _, rest = site.name.partition(".")
    if not re.fullmatch(DRAWS.get(library, "-"), rest) or literal(site.seed) != "None":
        return None
    shuffles = [*site.arguments[2:3], site.keywords.get("shuffle")]  # of a DataLoader
    if rest.endswith("DataLoader") and "True" not in map(literal, shuffles):
        return None
    call, line = site.call, module.lines[site.func.lineno - 1]
    indent = line[: len(line) - len(line.lstrip())]
    if rest in {"random.rand", "random.randn"} and site.func is call.func and len(call.args) > 1:
        shape = ", ".join(map(ast.unparse, call.args))  # a Generator takes it as one argument
        line = with_text(call, f"rng.{MODERN[rest]}(({shape}))", module)
    elif library in {"numpy", "random"}:
        line = with_text(site.func, f"rng.{MODERN.get(rest, rest.split('.')[-1])}", module)
    what = f"{ast.unparse(site.func)}() draws from a global generator"
    return what, f"{indent}{FIXED[library]}\n{line}", library


def frame_sample(site: Site, module: Module) -> Finding | None:
    """Find `.sample()` of what looks like a pandas (polars, Spark) frame, and Spark's splits."""
    call, given, method = site.call, site.keywords.keys(), getattr(site.call.func, "attr", "")
    if site.name or method not in {"sample", "randomSplit"} or literal(site.seed) != "None":
        return None
    is_flag = literal([*call.args, None][0]) in {"True", "False"}
    is_spark = is_flag or method == "randomSplit"
    is_other = re.search(r"batch|sample\(\(", ast.unparse(call))  # of a loader, a distribution
    if given - PANDAS - POLARS or len(call.args) > 1 + is_flag or is_other:
        return None
    parts = re.split(r"[\[(]", ast.unparse(call.func.value))[0].split(".")
    is_sized = bool(call.args or {"n", "frac", "fraction"} & given)
    may_be = is_sized and "pandas" in module.names.values() and not any(map(NO_FRAME.search, parts))
    is_frame = any(FRAME.search(part) and not NO_FRAME.search(part) for part in parts)
    if not may_be and not is_frame and not is_spark:
        return None
    word = "seed" if is_spark or POLARS & given else "random_state"
    fixed = with_argument(call, f"{word}=seed", site.seed, module)
    return f".{method}() without {word} takes other rows each run", fixed, "numpy"


def query_rows(site: Site, module: Module) -> Finding | None:
    """Find a query that draws rows; or one without ORDER BY, its rows taken by position below."""
    query, lines = next(iter(site.values()), None), module.lines
    if not isinstance(query, ast.Constant | ast.JoinedStr):
        return None
    if "select" not in "\n".join(lines[query.lineno - 1 : query.end_lineno]).lower():
        return None
    text = ast.get_source_segment("\n".join(lines), query) or ""
    if draw := SQL_DRAW.search(text):
        seed = " REPEATABLE (1)" if draw[0].endswith(")") else " (bernoulli, 1)"  # of DuckDB
        fixed = SQL_DRAW.sub("ORDER BY md5(id)" if draw[1] else rf"\g<0>{seed}", text)
        return "a query that draws other rows each run", with_text(query, fixed, module), ""
    statement = next(node for node in reversed(site.parents) if isinstance(node, ast.stmt))
    if not isinstance(statement, ast.Assign) or not SELECT.match(text):
        return None
    if re.search(r"\.(sort|fetchone|scalar)", ast.unparse(statement)):
        return None
    uses = re.compile(BY_POSITION.format(re.escape(ast.unparse(statement.targets[0]))))
    for number, line in enumerate(lines[site.call.lineno :], start=site.call.lineno + 1):
        if ".sort" in line or re.match(r"\s*(def|class)\b", line):
            return None
        if uses.search(line):
            what = f"a query without ORDER BY, and line {number} takes its rows by position"
            ordered = END_OF_QUERY.sub(r" ORDER BY id\g<0>", text, count=1)
            return what, with_text(query, ordered, module), ""
    return None


def is_seeded(library: str, site: Site, module: Module) -> bool:
    """Say whether the library's global generator has a seed by the time the call runs."""
    inside = scope(site.parents)
    for seeding in module.sites:
        seeds = SEEDS.fullmatch(seeding.name) and seeding.name.startswith(library)
        word = getattr(seeding.call.func, "attr", getattr(seeding.call.func, "id", ""))
        values = map(literal, seeding.values())
        if not (seeds or SEEDS_ALL.fullmatch(word)) or all(value == "None" for value in values):
            continue
        covered = scope(seeding.parents)
        head = [covered[-1].name, *map(ast.unparse, covered[-1].decorator_list)] if covered else []
        if re.match("(?i)main|setup|.*autouse", " ".join(head)):
            covered = covered[:-1]  # holds for what runs after them
        is_later = len(inside) > len(covered) or seeding.call.lineno <= site.call.lineno
        if inside[: len(covered)] == covered and is_later:
            return True
    return False


def literal(node: ast.expr | None) -> str:
    """Return a literal as text, "None" for what is left out or no seed, "" for what is unknown."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    is_choice = isinstance(node, ast.IfExp) and "None" not in ast.unparse(node.test)
    either = {literal(node.body), literal(node.orelse)} if is_choice else set()
    return "None" if node is None or "None" in either or NO_SEED.search(ast.unparse(node)) else ""


def scope(parents: Nodes) -> Scope:
    """Return the functions and classes among the nodes around."""
    return tuple(node for node in parents if isinstance(node, Definition))


@cache
def parameters(name: str) -> tuple[list[str], dict[str, ast.expr | None]]:
    """Return the positional parameters and the defaults of a function or of a class."""
    if BOOSTER.fullmatch(name):
        return [], dict.fromkeys(["random_state", *SHARES])
    target = definition(name) if READ_FROM_SOURCE.fullmatch(name) else None
    while isinstance(target, ast.ClassDef):  # then its own or its base's __init__
        own: dict[str, Definition] = {n.name: n for n in target.body if isinstance(n, Definition)}
        bases = (definition(f"{name.rpartition('.')[0]}.{ast.unparse(b)}") for b in target.bases)
        target = own["__init__"] if "__init__" in own else next((b for b in bases if b), None)
    if target is None:
        return [], dict.fromkeys(["random_state"]) if SAMPLER.fullmatch(name) else {}
    names = [a.arg for a in [*target.args.posonlyargs, *target.args.args] if a.arg != "self"]
    pairs = zip(reversed(names), reversed(target.args.defaults), strict=False)
    only = zip([a.arg for a in target.args.kwonlyargs], target.args.kw_defaults, strict=True)
    return names, {**dict(pairs), **dict(only)}


def definition(name: str) -> Definition | None:
    """Find the definition of an installed library's name below the module it is public in."""
    root, *rest, last = name.split(".")
    spec = importlib.util.find_spec(root)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent.joinpath(*rest)
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if "tests" not in file.parts and re.search(rf"(?m)^(class|def) {last}\b", text):
            nodes = (node for node in parse(text).body if isinstance(node, Definition))
            return next(node for node in nodes if node.name == last)
    return None


def read(path: Path) -> Module:
    """Read a file; the code cells of a notebook make one module."""
    notebook = path.suffix == ".ipynb"
    source, places = "", []
    for number, cell in enumerate(cells_of(path), start=1):
        text = without_magics(cell) if notebook else cell
        where = f": cell {number}, line " if notebook else ":"
        source += text + "\n"
        places += [f"{where}{line}" for line in range(1, text.count("\n") + 2)]
    try:
        tree = parse(source)
    except SyntaxError as error:
        place = places[min(error.lineno or 1, len(places)) - 1]
        raise UnreadableError(f"{place}: cannot be read as Python: {error.msg}") from None
    module = Module(source.split("\n"), places, imported_names(tree), {}, [])
    around: dict[ast.AST, Nodes] = {tree: ()}
    for node in ast.walk(tree):
        parents = around[node]
        around |= dict.fromkeys(ast.iter_child_nodes(node), (*parents, node))
        is_given = isinstance(getattr(node, "ctx", node), ast.Store | ast.arg)
        changes = getattr(node, "attr", "") in {"update", "setdefault"}
        if changes or (is_given and not isinstance(node, ast.Attribute)):
            target = getattr(node, "value", node)  # of `x[...] = ` and `x.update`
            name = getattr(target, "id", getattr(target, "arg", ""))
            # What the file doesn't say, or says in parts, is noted as an `arg`.
            is_plain = isinstance(node, ast.Name) and not isinstance(parents[-1], ast.AugAssign)
            said = getattr(parents[-1], "value", None) if is_plain else None
            value = said or ast.copy_location(ast.arg(name), node)
            end = (value.end_lineno, value.end_col_offset)
            module.bound.setdefault(name, []).append((end, scope(parents), value))
    for call in (node for node in around if isinstance(node, ast.Call)):
        module.sites.extend(sites_of(call, around[call], module))
    module.sites.sort(key=lambda site: (site.call.lineno, site.call.col_offset))
    return module


def follow(node: ast.AST, inside: Scope, module: Module) -> ast.AST:
    """Return what a name was given last above; anything else as it is."""
    while isinstance(node, ast.Name):
        start = (node.lineno, node.col_offset)
        above = (one for one in module.bound.get(node.id, ()) if one[0] <= start)
        values = [value for _, covered, value in above if inside[: len(covered)] == covered]
        if not values:
            break
        node = max(values, key=lambda value: (isinstance(value, ast.arg), value.lineno))
    return node


def sites_of(node: ast.Call, parents: Nodes, module: Module) -> Iterator[Site]:
    """Yield the call, if its arguments can be read, and the draws it hands on uncalled."""
    func, arguments, keywords, inside = node.func, node.args, {}, scope(parents)
    for keyword in node.keywords:
        found = follow(keyword.value, inside, module)
        if keyword.arg:
            keywords[keyword.arg] = found
        elif not isinstance(found, ast.Dict) or None in found.keys:
            return  # `**options` may hold the seed
        else:
            values = (follow(value, inside, module) for value in found.values)
            keywords |= zip(map(literal, found.keys), values, strict=True)
    name = resolve(func, inside, module)
    if name == "functools.partial" and arguments:
        func, *arguments = arguments
        name = resolve(func, inside, module)
    arguments = [follow(value, inside, module) for value in arguments]
    seed = next((keywords[word] for word in SEED_WORDS if word in keywords), None)
    yield Site(node, func, name, arguments, keywords, seed, parents)
    for value in [*arguments, *keywords.values()]:
        library, _, rest = resolve(value, inside, module).partition(".")
        if rest.islower() and re.fullmatch(DRAWS.get(library, "-"), rest):
            yield Site(node, value, f"{library}.{rest}", [], {}, None, parents)


def cells_of(path: Path) -> list[str]:
    """Return the text of a file, or of the code cells of a Python notebook."""
    try:
        if path.suffix != ".ipynb":
            with tokenize.open(path) as file:
                return [file.read()]
        notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
        language = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
        is_python = language.lower() in {"python", "ipython"}
        cells = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except (OSError, UnicodeError, SyntaxError) as error:
        raise UnreadableError(f": cannot be read: {error}") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        why = "is no notebook of format 4; open it in Jupyter and save it anew"
        raise UnreadableError(f": {why}") from None
    return ["".join(cell).replace("\r\n", "\n") for cell in cells if is_python]


def without_magics(cell: str) -> str:
    """Put `pass` in the place of IPython's magics, shell commands and questions."""
    code = cell if parses(cell) else MAGIC.sub(without_magic, cell)
    is_other = re.match(r"\s*%%(?!time|capture)", cell) and not parses(code)
    return "\n" * cell.count("\n") if is_other else code


def without_magic(found: re.Match[str]) -> str:
    """Return what `%time` and the like run, `pass` for other magics; as many lines as before."""
    code = TIMED.sub("", found[2])
    kept = code if code != found[2] and parses(code) else "pass" + "\n" * found[2].count("\n")
    return found[1] + kept


def parses(source: str) -> bool:
    """Say whether the source can be read as Python."""
    try:
        parse(source)
    except SyntaxError:
        return False
    return True


def parse(source: str) -> ast.Module:
    """Parse source; notebooks may await at the top."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        return cast("ast.Module", compile(source, "source", "exec", flags))
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error)) from None


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Map each imported name to what it stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                names[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def resolve(node: ast.AST, inside: Scope, module: Module) -> str:
    """Return the full name of `np.random.rand` and the like; "" if it is not imported."""
    if isinstance(node, ast.Attribute):
        owner = resolve(node.value, inside, module)
        return owner and f"{owner}.{node.attr}"
    value = follow(node, inside, module)
    if isinstance(value, ast.Attribute):  # another name for it
        return resolve(value, inside, module)
    node = value if isinstance(value, ast.Name | ast.arg) else node
    return module.names.get(node.id, "") if isinstance(node, ast.Name) else ""


def with_argument(call: ast.Call, text: str, old: ast.expr | None, module: Module) -> str:
    """Return the line of a call that gets an argument, in the place of `old` if given."""
    if old is not None:
        return with_text(old, text.rpartition("=")[2], module)
    values = [*call.args, *(pair.value for pair in call.keywords)]
    ends = ((value.end_lineno or 0, value.end_col_offset or 0) for value in values)
    row, at = max(ends, default=(call.end_lineno or 0, 0))
    at = (call.end_col_offset or 0) - 1 if row == call.end_lineno else at
    end = ast.Name("", lineno=row, col_offset=at, end_lineno=row, end_col_offset=at)
    return with_text(end, f", {text}" if values else text, module).replace(",, ", ", ")


def with_text(node: ast.expr, text: str, module: Module) -> str:
    """Return the source line with a node replaced by a text; the parser counts in bytes."""
    first, last = module.lines[node.lineno - 1], module.lines[(node.end_lineno or 0) - 1]
    before, after = first.encode()[: node.col_offset], last.encode()[node.end_col_offset :]
    return f"{before.decode()}{text}{after.decode()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
