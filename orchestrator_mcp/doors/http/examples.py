"""Example values of the API, as the documentation shows them; a test reads each with its model."""

from __future__ import annotations

from typing import Any, Final

_JOB_ID: Final = "019ab0c4-8e6f-7a31-9c1d-5f0e2b7a6c42"
_JOB_URL: Final = f"http://127.0.0.1:9800/api/job/{_JOB_ID}"
_SHA: Final = "5f2b0a7d6f0e4b5f9d3e7c1a2b4d6f8091a3c5e7092b4d6f81a3c5e7f9b1d3e5"
_LINKS: Final = {
    "self": _JOB_URL,
    "outputs": f"{_JOB_URL}/outputs",
    "events": f"{_JOB_URL}/events",
    "stream": f"{_JOB_URL.replace('http', 'ws', 1)}/stream",
}
_OUTPUT: Final[dict[str, Any]] = {
    "name": "my_workflow_001_9_01.png",
    "node": "9",
    "kind": "image",
    "media_type": "image/png",
    "size": 48213,
    "sha256": _SHA,
    "url": f"{_JOB_URL}/outputs/my_workflow_001_9_01.png",
    "path": "/srv/renders/Outbox/my_workflow_001__2b7a6c42/my_workflow_001_9_01.png",
}
_JOB: Final[dict[str, Any]] = {
    "job_id": _JOB_ID,
    "status": "completed",
    "stage": None,
    "workflow_id": "my_workflow_001",
    "progress": 1.0,
    "node": None,
    "priority": 0,
    "parameters": {"prompt": "cinematic shot", "steps": 20},
    "metadata": {"source": "storyboard"},
    "seeds": {"3.seed": 8142730951},
    "submitted_at": "2026-01-28T12:00:00.000Z",
    "started_at": "2026-01-28T12:00:00.041Z",
    "finished_at": "2026-01-28T12:00:02.310Z",
    "backend_id": "node1",
    "attempts": [
        {
            "number": 1,
            "backend_id": "node1",
            "prompt_id": "3b0a4c54-62c5-5d7e-8d0e-0c5b7a2f9e11",
            "started_at": "2026-01-28T12:00:00.041Z",
            "ended_at": "2026-01-28T12:00:02.310Z",
            "outcome": "succeeded",
            "reason": None,
        }
    ],
    "waiting_because": [],
    "queue_position": None,
    "eta_seconds": None,
    "inputs": [],
    "outputs": [_OUTPUT],
    "error": None,
    "warnings": [],
    "attention": False,
    "sandbox": False,
    "rerun_of": None,
    "depends_on": [],
    "batch_id": None,
    "batch_index": None,
    "links": _LINKS,
}
_BACKEND: Final[dict[str, Any]] = {
    "id": "node1",
    "name": "Beast (5090)",
    "host": "192.168.1.100",
    "port": 8188,
    "kind": "comfyui",
    "enabled": True,
    "online": True,
    "status": "idle",
    "reason": None,
    "capabilities": ["flux", "sdxl"],
    "slots": 2,
    "running": 0,
    "foreign": 0,
    "warm": "sd_xl_base_1.0.safetensors",
    "available": None,
    "opens_at": None,
    "wish": None,
    "blocked": [],
    "comfyui_version": "0.3.64",
    "devices": [{"name": "cuda:0 NVIDIA GeForce RTX 5090", "type": "cuda"}],
    "last_seen": "2026-01-28T12:00:00.000Z",
}

_BATCH_ID: Final = "batch-019ab0c4-8e70-7c12-8f35-2d9b6e0a4c11"
_BATCH_URL: Final = f"http://127.0.0.1:9800/api/batch/{_BATCH_ID}"
_BATCH_LINKS: Final = {
    "self": _BATCH_URL,
    "jobs": f"http://127.0.0.1:9800/api/jobs?batch_id={_BATCH_ID}",
    "events": f"{_BATCH_URL}/events",
    "stream": f"{_BATCH_URL.replace('http', 'ws', 1)}/stream",
    "contact_sheet": f"{_BATCH_URL}/contact-sheet",
}
_BATCH: Final[dict[str, Any]] = {
    "batch_id": _BATCH_ID,
    "status": "running",
    "count": 6,
    "counts": {"queued": 3, "running": 1, "completed": 2, "failed": 0, "cancelled": 0},
    "progress": 0.4,
    "workflow_id": "my_workflow_001",
    "varies": ["seed", "steps"],
    "mode": "product",
    "parameters": {"prompt": "cinematic shot"},
    "submitted_at": "2026-01-28T12:00:00.000Z",
    "started_at": "2026-01-28T12:00:00.041Z",
    "finished_at": None,
    "eta_seconds": None,
    "retries": 0,
    "path": None,
    "warnings": [],
    "attention": False,
    "links": _BATCH_LINKS,
}

EXAMPLES: Final[dict[str, Any]] = {
    "manifest": {
        "workflow_id": "my_workflow_001",
        "parameters": {"prompt": "cinematic shot", "steps": 20},
        "metadata": {"source": "storyboard"},
    },
    "changes": {"parameters": {"steps": 30}, "metadata": {"take": 2}},
    "dry_run": {
        "dry_run": True,
        "workflow_id": "my_workflow_001",
        "parameters": {"prompt": "cinematic shot", "steps": 20},
        "seeds": {"3.seed": 42},
        "graph": {"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl.safetensors"}}},
        "warnings": [],
        "backends": [
            {"backend_id": "gpu-1", "can_run": True, "reasons": []},
            {
                "backend_id": "gpu-2",
                "can_run": False,
                "reasons": ["it lacks the model sdxl.safetensors; it has sdxl-turbo.safetensors"],
            },
        ],
        "would_wait": False,
    },
    "accepted": {
        "job_id": _JOB_ID,
        "status": "accepted",
        "message": "Job accepted for execution",
        "submitted_at": "2026-01-28T12:00:00.000Z",
        "warnings": [],
        "links": _LINKS,
    },
    "batch_accepted": {
        "batch_id": _BATCH_ID,
        "status": "accepted",
        "message": "Batch accepted for execution",
        "count": 6,
        "job_ids": [_JOB_ID],
        "submitted_at": "2026-01-28T12:00:00.000Z",
        "warnings": [],
        "links": _BATCH_LINKS,
    },
    "batch": _BATCH,
    "batches": {"batches": [_BATCH], "next_cursor": None},
    "batch_event": {"type": "batch", "seq": 17, "batch_id": _BATCH_ID, "batch": _BATCH},
    "job": _JOB,
    "jobs": {"jobs": [_JOB], "next_cursor": None},
    "outputs": [_OUTPUT],
    "asset": {
        "asset": f"asset:{_SHA}",
        "sha256": _SHA,
        "kind": "image",
        "media_type": "image/png",
        "size": 48213,
        "extension": "png",
        "url": f"http://127.0.0.1:9800/api/assets/{_SHA}",
    },
    "event": {
        "type": "progress",
        "seq": 3,
        "job": None,
        "job_id": _JOB_ID,
        "progress": 0.45,
        "node": "3",
        "value": 9.0,
        "max": 20.0,
    },
    "backend": _BACKEND,
    "backends": [_BACKEND],
    "workflow": {
        "id": "my_workflow_001",
        "title": "My workflow 001",
        "description": None,
        "tags": [],
        "required_capabilities": [],
        "estimated_seconds": None,
        "node_classes": ["CheckpointLoaderSimple", "CLIPTextEncode", "KSampler", "SaveImage"],
        "parameters": [
            {
                "name": "steps",
                "type": "integer",
                "default": 20,
                "targets": ["3.steps"],
                "title": None,
                "description": None,
                "minimum": 1,
                "maximum": 150,
                "choices": [],
                "required": False,
            }
        ],
        "parameters_schema": {
            "type": "object",
            "properties": {"steps": {"type": "integer", "minimum": 1, "maximum": 150, "default": 20}},
        },
        "notes": [],
        "problem": None,
    },
    "health": {
        "status": "ok",
        "timestamp": "2026-01-28T12:00:00.000Z",
        "backends_online": 1,
        "version": "0.1.0",
        "backends_total": 1,
        "backends_available": 1,
        "accepting": True,
        "sandbox": False,
        "jobs_queued": 0,
        "jobs_running": 0,
        "uptime_seconds": 12.5,
        "problems": [],
        "notices": [],
    },
    "error": {"detail": "There is no job '42'.", "code": "not_found"},
    "wrong_fields": {
        "detail": [
            {
                "loc": ["body", "parameters", "stepz"],
                "msg": "the workflow has no such parameter",
                "type": "unknown_parameter",
                "allowed": ["steps"],
            }
        ],
        "code": "invalid_manifest",
    },
}
EXAMPLES["workflows"] = [{**EXAMPLES["workflow"], "parameters_schema": None}]
