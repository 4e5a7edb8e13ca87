"""The commands that make models and choose between them."""

from ..utils.errors import UsageError
from .command import Options, Project, Result, argument, command, has, needs

TYPE_CHECKING = False  # as in command.py
if TYPE_CHECKING:
    from ..training.train import TrainingResult

VERSION = argument("version", nargs="?", type=int, metavar="VERSION", help="the newest by default")
DIRTY = argument("--allow-dirty", action="store_true", help="accept uncommitted code")


@command(
    "train",
    argument("--no-promote", action="store_true", help="stop after registering"),
    DIRTY,
    argument("--on", choices=["sagemaker", "kubernetes"], help="train there, in the image"),
    argument("--deploy", action="store_true", help="let SageMaker answer from the image then"),
)
def train(options: Options, project: Project) -> Result:
    """Split, fit, evaluate, record, register, and promote if the gate lets it pass."""
    if options.deploy:
        needs("service.app", "a service", "delivery=both")
    if options.deploy and options.on != "sagemaker":
        raise UsageError("--deploy goes with --on sagemaker.")
    done = _train_elsewhere(options, project) if options.on else _train_here(options, project)
    metrics = done.record.metrics
    lines = [f"Version {done.version} (run {done.run_id})"]
    lines += [
        f"  {name:10} validation {metrics['validation'][name]:.4f}  test "
        f"{metrics['test'][name]:.4f}  dummy {metrics['baseline'][name]:.4f}"
        for name in metrics["validation"]
        if name in metrics["baseline"] and name in metrics["test"]
    ]
    verdict = "promoted: it is the champion now" if done.promoted else "not promoted"
    lines += [f"Version {done.version} {verdict}", *(f"  {reason}" for reason in done.reasons)]
    result = {
        "run_id": done.run_id,
        "version": done.version,
        "promoted": done.promoted,
        "reasons": done.reasons,
        "metrics": metrics,
        "data": {name: table.model_dump() for name, table in done.record.data.items()},
        "split": done.record.split,
    }
    return "\n".join(lines), result, 0 if done.promoted or options.no_promote else 1


def _train_here(options: Options, project: Project) -> "TrainingResult":
    from ..training.train import train

    def run_here() -> "TrainingResult":
        return train(
            project.client,
            project.settings,
            project.schema,
            promote=not options.no_promote,
            allow_dirty=options.allow_dirty,
        )

    if not has("training.job"):
        return run_here()
    from ..training.job import is_here, run

    return run(run_here, options) if is_here() else run_here()


def _train_elsewhere(options: Options, project: Project) -> "TrainingResult":
    needs(f"training.{options.on}", f"training on {options.on}", f"remote_training={options.on}")
    from ..training.remote import train_on

    promote, dirty = not options.no_promote, options.allow_dirty
    return train_on(
        options.on, project.settings, promote=promote, allow_dirty=dirty, deploy=options.deploy
    )


@command(
    "promote",
    VERSION,
    DIRTY,
    argument("--challenger", action="store_true", help="let it answer a share beside"),
)
def promote(options: Options, project: Project) -> Result:
    """Make a version the champion if every gate lets it pass."""
    from ..training.promotion import promote

    decision = promote(
        project.client,
        options.version,
        project.settings,
        project.schema,
        allow_dirty=options.allow_dirty,
        challenger=options.challenger,
    )
    role = "challenger" if options.challenger else "champion"
    if decision.promoted:
        return f"Version {decision.version} is the {role}.", vars(decision), 0
    lines = [f"Version {decision.version} was not promoted.", *decision.reasons]
    return "\n  ".join(lines), vars(decision), 1


@command("rollback")
def rollback(_: Options, project: Project) -> Result:
    """Make the previous champion the champion again."""
    from ..training.promotion import rollback

    decision = rollback(project.client, project.settings)
    return f"Version {decision.champion} is the champion again.", vars(decision), 0


@command("reproduce", argument("run", metavar="RUN"))
def reproduce(options: Options, project: Project) -> Result:
    """Train a past run again and compare."""
    from ..training.reproduce import reproduce

    found = reproduce(project.client, options.run, project.settings, project.schema)
    lines = [f"Run {options.run}: {found.verdict}"]
    lines += [f"  {one.what}: {one.then} then, {one.now} now" for one in found.differences]
    return "\n".join(lines), vars(found), int(found.verdict != "identical")
