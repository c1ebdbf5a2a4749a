"""Results, runs and plans as data for programs; the schema is in the reference of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.record import events as ev
from pyflow.record.outline import outline_of

if TYPE_CHECKING:
    from pyflow.define.plan import Plan
    from pyflow.record.codec import Record
    from pyflow.record.outline import Outline, Wait
    from pyflow.run.result import Result

__all__ = ["advice", "outline_data", "plan_data", "record_data", "result_data"]


def plan_data(plan: Plan) -> dict[str, Any]:
    """Return *plan* as data."""
    return {
        "workflow": plan.workflow_name,
        "fingerprint": plan.fingerprint,
        "on_failure": plan.on_failure,
        "locks": list(plan.locks),
        "params": {
            name: getattr(param.annotation, "__name__", str(param.annotation))
            for name, param in plan.params.items()
        },
        "stages": [list(stage) for stage in plan.stages],
        "critical_path": list(plan.critical_path),
        "tasks": [_task_data(plan, name) for name in plan.nodes],
    }


def _task_data(plan: Plan, name: str) -> dict[str, Any]:
    node = plan.nodes[name]
    return {
        "name": name,
        "depends_on": list(node.depends_on),
        "has_undo": node.undo is not None,
        "is_approval": node.task.approval is not None,
        "point_of_no_return": node.task.point_of_no_return,
        "locks": list(node.locks),
        "digest": node.digest,
    }


def result_data(result: Result) -> dict[str, Any]:
    """Return *result* as data."""
    trail = result.audit_trail
    outputs = {
        record.task: record.event.output
        for record in trail
        if isinstance(record.event, ev.TaskSucceeded)
    }
    error = result.error
    return {
        "id": result.run_id,
        "workflow": result.workflow,
        "status": result.status,
        "environment": result.environment.name if result.environment is not None else None,
        "error": None
        if error is None
        else {"task": error.task, "type": error.type, "message": error.message},
        "tasks": [
            {
                "name": task.name,
                "status": task.status,
                "attempts": task.attempts,
                "duration_s": task.duration_s,
                "reason": task.reason,
                "output": outputs.get(task.name),
            }
            for task in result.tasks.values()
        ],
        "residue": list(result.residue),
        "not_undone": list(result.not_undone),
        "recovery_errors": {name: str(e) for name, e in result.recovery_errors.items()},
        "finalizer_errors": {name: str(e) for name, e in result.finalizer_errors.items()},
        "wall_s": result.metrics.wall_s,
        "records": len(trail),
        "head": trail[-1].hash if len(trail) else None,
        "waits": waits_data(outline_of(result.run_id, trail)),
    }


def outline_data(outline: Outline) -> dict[str, Any]:
    """Return how a run stands, as data."""
    start = outline.start
    return {
        "id": outline.run_id,
        "workflow": start.workflow if start else None,
        "status": outline.status,
        "reason": outline.reason,
        "environment": (start.environment or {}).get("name") if start else None,
        "initiator": start.initiator if start else None,
        "params": start.params if start else None,
        "started": outline.started.isoformat() if outline.started else None,
        "ended": outline.ended.isoformat() if outline.ended else None,
        "error": outline.error or None,
        "residue": list(outline.residue),
        "tasks": [
            {"name": name, "status": t.status, "attempts": t.attempts, "detail": t.detail}
            for name, t in outline.tasks.items()
        ],
        "waits": waits_data(outline),
        "records": outline.records,
        "head": outline.head,
    }


def waits_data(outline: Outline) -> list[dict[str, str]]:
    """Return what a run waits for, as data."""
    return [{"task": w.task, "kind": w.kind, "text": w.text} for w in outline.waits]


def record_data(record: Record) -> dict[str, Any]:
    """Return *record* as data."""
    return {
        "seq": record.seq,
        "at": record.at.isoformat(),
        "kind": record.kind,
        "task": record.task,
        "data": record.data,
        "hash": record.hash,
    }


def advice(run_id: str, waits: tuple[Wait, ...], journal: str) -> list[str]:
    """Return the command lines that decide what a run waits for."""
    lines: list[str] = []
    for wait in waits:
        about = f"{run_id} {wait.task}"
        where = f" --journal {journal}"
        if wait.kind == "approval":
            lines.append(f"pyflow-deploy approve {about}{where}   (or reject)")
        elif wait.kind == "interrupted":
            lines.append(f"pyflow-deploy resolve {about} --applied{where}   (or --not-applied)")
        else:
            lines.append(f"pyflow-deploy resolve {about} --retry{where}   (or --skip)")
    return lines
