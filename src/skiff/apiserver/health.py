"""Is the server well? The checks behind ``/livez``, ``/readyz`` and ``/healthz``, in the form Kubernetes writes them.

https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from __future__ import annotations

from aiohttp import web

from skiff.errors import unknown_path

PATHS = ("/healthz", "/livez", "/readyz")


def answer(request: web.Request, trouble: str) -> web.Response:
    """All checks of a path, or the one that it names. ``trouble`` is why the database cannot be written, "" when it can."""
    _, place, *named = request.path.split("/", 2)
    checks = {"ping": "", "etcd": f"the database cannot be written: {trouble}" if trouble else ""}
    if place != "readyz":
        checks["etcd"] = ""  # what is in memory is served: to start anew would lose it
    wanted = named[0] if named else ""
    if wanted and wanted not in checks:
        raise unknown_path()
    left_out = set(request.query.getall("exclude", ()))
    asked = {name: said for name, said in checks.items() if wanted in ("", name)}
    wrong = any(said for name, said in asked.items() if name not in left_out)
    if not wrong and "verbose" not in request.query:
        return web.Response(text="ok")
    lines = [_line(name, said, excluded=name in left_out) for name, said in asked.items()]
    lines.append(f"{place} check {'failed' if wrong else 'passed'}\n")
    return web.Response(text="\n".join(lines), status=500 if wrong else 200)


def _line(name: str, said: str, *, excluded: bool) -> str:
    if excluded:
        return f"[+]{name} excluded: ok"
    return f"[-]{name} failed: {said}" if said else f"[+]{name} ok"
