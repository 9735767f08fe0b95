"""From nothing to shards in three stages, each of which does what is missing.

    download     images and EEG of THINGS-EEG2, or a synthetic data set
    preprocess   raw recordings to epochs in the layout
    shards       images and EEG, ready to train from

A stage says what it has to do as tasks: `prepare` does them, `plan` only returns them.
Whatever a stage can check it checks before its first task. What a task writes appears
complete or not at all, so the same call goes on wherever it was stopped.
"""

from img2eeg_jax.data.prepare.request import SOURCES, STAGES, Request
from img2eeg_jax.data.prepare.rows import describe_rows
from img2eeg_jax.data.prepare.stages import TASKS
from img2eeg_jax.data.prepare.tasks import Log, Task, describe_plan

__all__ = [
    "SOURCES",
    "STAGES",
    "Request",
    "Task",
    "describe_plan",
    "describe_rows",
    "plan",
    "prepare",
]


def prepare(request: Request, log: Log = print) -> None:
    """Goes through the stages.

    Args:
      request: what to prepare.
      log: called with lines on what is done.

    Raises:
      InputError: something the user gave is wrong, a library that a stage needs is
        not installed, or the disk is full.
    """
    if request.has("shards"):
        # A library that is missing is told before the hours of other stages.
        from img2eeg_jax.data.shards import builder  # noqa: F401
    for stage in filter(request.has, STAGES):
        tasks = TASKS[stage](request, (), log)
        for run in dict.fromkeys(task.run for task in tasks):
            run(log)


def plan(request: Request) -> dict[str, list[Task]]:
    """Returns what each stage would do; writes nothing and asks no server.

    Later stages are planned for what earlier ones will leave.

    Raises:
      InputError: as far as it can be told beforehand, what `prepare` would raise.
    """
    planned: dict[str, list[Task]] = {}
    for stage in filter(request.has, STAGES):
        to_come = [task for tasks in planned.values() for task in tasks]
        planned[stage] = TASKS[stage](request, to_come, _ignore)
    return planned


def _ignore(line: str) -> None:
    pass
