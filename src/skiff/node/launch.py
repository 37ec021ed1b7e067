"""How does a process become a container's program? It makes or enters the container, gives up what is not its own, and runs it.

A program of its own, run by the daemon's interpreter for every start and every command that is executed: from the moment
it is inside until it has become the container's program nothing is read from there, neither a library nor a module nor
a variable, because all of that may be made by somebody who wants to leave. ``root`` and ``container`` say what to do in
an order, a dict of plain values.
"""

from __future__ import annotations

import errno
import marshal
import os
import sys

from skiff.node import beneath, syscalls
from skiff.node.syscalls import BIND, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY

TYPE_CHECKING = False  # the module typing takes half as long to import as all others together
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

#: The variables of a container are called so, and only the program is given them: the loader of this machine's programs
#: obeys some of their names.
VARIABLE = "_"
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_DEVICE_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}  # fmt: skip
_ENTERED = syscalls.NEW_NS | syscalls.NEW_UTS | syscalls.NEW_IPC | syscalls.NEW_NET | syscalls.NEW_CGROUP
_NOT_FOUND, _NOT_RUN, _FAILED = 127, 126, 125


def start(file: str) -> NoReturn:
    """Become the program of a new container; this is the first process of its namespaces."""
    import signal

    order = ordered(file)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))  # until the program decides itself
    for it in (signal.SIGINT, signal.SIGQUIT):  # which a shell has ignored for what it runs in the background
        signal.signal(it, signal.SIG_DFL)
    syscalls.end_with_parent()
    furnish(order, lambda: os.write(order["begun"], b"\n"))


def ordered(file: str) -> dict[str, Any]:
    """What the daemon wants; from here on nobody looks into this process."""
    with open(file, "rb") as written:
        order: dict[str, Any] = marshal.load(written)  # noqa: S302  # the daemon wrote it
    os.unlink(file)  # there are secrets among the variables
    os.umask(0o022)
    os.set_inheritable(order["begun"], False)
    syscalls.hide_from_others()
    return order


def furnish(order: dict[str, Any], ready: Callable[[], object]) -> NoReturn:
    """Make the container in namespaces that are new, and become its program; ``ready`` is called when nothing else is left."""
    groups = _groups(order)
    syscalls.set_hostname(order["hostname"])
    _make_root(order)
    if user := order["identity"]["user"]:
        for it in (
            1,
            2,
        ):  # as container runtimes do: a program may open /dev/stdout, and these pipes are root's
            os.fchown(it, user, -1)
    _join(groups)
    if groups:
        syscalls.unshare(syscalls.NEW_CGROUP)
    _become(order, order["env"], ready)


def enter(packed: str) -> NoReturn:
    """Run a program in the container of the process ``pid``; this one waits for it."""
    order: dict[str, Any] = marshal.loads(bytes.fromhex(packed))  # noqa: S302  # the daemon wrote it
    env = {name[len(VARIABLE) :]: value for name, value in os.environ.items() if name.startswith(VARIABLE)}
    env.setdefault("TERM", os.environ.get("TERM", "xterm")) if "TERM" in os.environ else None
    syscalls.hide_from_others()
    _own_null()
    process = syscalls.open_process(order["pid"])
    groups = _groups(order)
    syscalls.enter(process, syscalls.NEW_PID)  # of our children: we are never seen there
    syscalls.enter(process, _ENTERED)
    os.close(process)
    _trust_nothing()
    _join(groups)
    _become(order, env, _leave_to_child)


def _leave_to_child() -> None:
    """Only the child goes on, as one of the container's: other programs there may look into all that they see."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(told(status))
    syscalls.end_with_parent()


def told(status: int) -> int:
    """The exit code by which a shell would know it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _groups(order: dict[str, Any]) -> list[int]:
    return [os.open(f"{it}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for it in order["groups"]]


def _join(groups: list[int]) -> None:
    """As late as possible: the memory that this needs is not the container's."""
    for it in groups:
        os.write(it, b"0")
        os.close(it)


def _trust_nothing() -> None:
    """From here on a module would be the container's."""
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()


# --- a root ------------------------------------------------------------------------------------


def _make_root(order: dict[str, Any]) -> None:
    """All sources are opened while names still mean the host's; then this root is the only one there is."""
    volumes = [_volume(*it) for it in order["mounts"]]
    _make_inner_places(order["mounts"], [place for place, _ in volumes])
    syscalls.mount("tmpfs", order["scratch"], "tmpfs", 0, "mode=755")
    os.chdir(order["scratch"])
    for it in ("skeleton", "root"):
        os.mkdir(it)
    layers = []
    for number, source in enumerate(order["skeletons"]):
        os.mkdir(f"skeleton/{number}")
        syscalls.mount(source, f"skeleton/{number}", "", BIND)
        layers.append(f"skeleton/{number}")
    _overlay(":".join(layers), "root", "0")
    shared = ["root"]
    for number, path in enumerate(order["trees"], 1):
        _overlay(path, f"root{path}", str(number))
        shared.append(f"root{path}")
    _kernel_files(order)
    shown = [(path, _tree(path)) for path in order["shown"]]
    root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for path, tree in shown:
        _attach(root, tree, path, file=not os.path.isdir(path))
    for it in order["covered"]:
        if os.path.isdir(f"root{it}"):
            syscalls.mount("tmpfs", f"root{it}", "tmpfs", NO_SUID | NO_DEV | READ_ONLY, "mode=755")
    hidden = [(it, _tree(f"root{it}")) for it in order["shown"] if _below_a_volume(it, order["mounts"])]
    parts = [os.open(it, os.O_PATH | os.O_CLOEXEC) for it in shared]
    os.fchdir(root)
    os.close(root)
    syscalls.pivot(".", ".")
    syscalls.detach(".")
    os.chdir("/")
    _trust_nothing()
    _fill(order, volumes)
    _show_again(hidden)
    for part in parts:
        if order["read_only"]:
            syscalls.restrict(part, READ_ONLY, recursive=False)
        os.close(part)


def _below_a_volume(path: str, mounts: list[tuple[str, str, str, bool]]) -> bool:
    return any(path.startswith(target.rstrip("/") + "/") for _, _, target, _ in mounts)


def _show_again(hidden: list[tuple[str, int]]) -> None:
    """What the image is made of, where a volume lies over it: a real image would not lie in the folder of a checkout."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for path, tree in hidden:
        try:
            _attach(root, tree, path, file=_is_file(tree))
        except OSError as refused:  # the volume can only be read: nothing can be shown in there
            if refused.errno != errno.EROFS:
                raise
    os.close(root)


def _overlay(lower: str, target: str, name: str) -> None:
    os.mkdir(f"upper{name}")
    os.mkdir(f"work{name}")
    syscalls.mount(
        "overlay", target, "overlay", 0, f"lowerdir={lower},upperdir=upper{name},workdir=work{name}"
    )


def _kernel_files(order: dict[str, Any]) -> None:
    if (shared := order.get("proc")) is not None:
        _put(shared, "root/proc")
    else:
        syscalls.mount("proc", "root/proc", "proc", NO_SUID | NO_DEV | NO_EXEC)
    syscalls.mount("sysfs", "root/sys", "sysfs", READ_ONLY | NO_SUID | NO_DEV | NO_EXEC)
    syscalls.mount("tmpfs", "root/dev", "tmpfs", NO_SUID, "mode=755")
    for folder, kind, flags, options in (
        ("pts", "devpts", NO_SUID | NO_EXEC, "newinstance,ptmxmode=0666,mode=0620"),
        ("shm", "tmpfs", NO_SUID | NO_DEV, "mode=1777"),
    ):
        os.mkdir(f"root/dev/{folder}")
        syscalls.mount(kind, f"root/dev/{folder}", kind, flags, options)
    for name, (major, minor) in _DEVICES.items():
        os.mknod(f"root/dev/{name}", 0o020666, os.makedev(major, minor))
        os.chmod(f"root/dev/{name}", 0o666)  # noqa: S103  # as everywhere
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"root/dev/{name}")
    _own_null("root/dev/null")
    for it in order["kept"]:
        if os.path.exists(f"root{it}"):
            tree = _tree(f"root{it}")
            syscalls.restrict(tree, READ_ONLY)
            _put(tree, f"root{it}")
    for it in order["masked"]:
        if os.path.isdir(f"root{it}"):
            syscalls.mount("tmpfs", f"root{it}", "tmpfs", READ_ONLY | NO_SUID | NO_DEV | NO_EXEC, "mode=755")
        elif os.path.exists(f"root{it}"):
            _put(_tree("root/dev/null"), f"root{it}")


def _own_null(path: str = "") -> None:
    """An input from the host's /dev/null becomes one from the container's; without a path, from a pipe nobody writes to.

    Who is root may change the rights of what it holds open, and those of the host's are everybody's.
    """
    held = os.fstat(0)
    if held.st_mode & 0o170000 != 0o020000 or held.st_rdev != os.makedev(*_DEVICES["null"]):
        return
    if path:
        own = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    else:
        own, writing = os.pipe()
        os.close(writing)
    os.dup2(own, 0)
    os.close(own)


def _tree(path: str) -> int:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return syscalls.clone_tree(place)
    finally:
        os.close(place)


def _put(tree: int, path: str) -> None:
    target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    syscalls.attach(tree, target)
    os.close(target)
    os.close(tree)


def _attach(root: int, tree: int, path: str, *, file: bool) -> None:
    """Mount a part of the host, which the container cannot change."""
    syscalls.restrict(tree, READ_ONLY)
    target = beneath.make_in_root(root, path, file=file)
    syscalls.attach(tree, target)
    os.close(target)
    os.close(tree)


# --- volumes -----------------------------------------------------------------------------------


def _volume(source: str, sub: str, _target: str, read_only: bool) -> tuple[int, int]:
    """(what lies there, the same as a tree to be mounted). A container may be changing it this very moment."""
    place = os.open(source, os.O_PATH | os.O_CLOEXEC)
    if sub:
        outer, place = place, beneath.open_beneath(place, sub)
        os.close(outer)
    tree = syscalls.clone_tree(place)
    if read_only:
        syscalls.restrict(tree, READ_ONLY)
    return place, tree


def _make_inner_places(mounts: list[tuple[str, str, str, bool]], places: list[int]) -> None:
    """A place to mount on inside another volume is made in that volume, as container runtimes do."""
    for number, (_, _, target, _) in enumerate(mounts):
        outer = [it for it, other in enumerate(mounts) if target.startswith(other[2].rstrip("/") + "/")]
        if outer:
            nearest = max(outer, key=lambda it: len(mounts[it][2]))
            rest = target[len(mounts[nearest][2]) :]
            os.close(beneath.make_beneath(places[nearest], rest, file=_is_file(places[number])))


def _is_file(place: int) -> bool:
    return os.fstat(place).st_mode & 0o170000 != 0o040000


def _fill(order: dict[str, Any], volumes: list[tuple[int, int]]) -> None:
    """What the image and the pod bring; the image's first, since a volume may hold links."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for path, text in order["files"]:
        os.close(beneath.make_in_root(root, path.rpartition("/")[0]))
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)  # noqa: S103  # a program
    for (_, _, target, _), (place, tree) in zip(order["mounts"], volumes, strict=True):
        there = beneath.make_in_root(root, target, file=_is_file(place))
        syscalls.attach(tree, there)
        for it in (there, tree, place):
            os.close(it)
    os.close(beneath.make_in_root(root, order["directory"]))
    os.close(root)


# --- the program -------------------------------------------------------------------------------


def _become(order: dict[str, Any], env: dict[str, str], ready: Callable[[], object]) -> NoReturn:
    """Give up everything else, and run the program."""
    who = order["identity"]
    capabilities = who["capabilities"]
    if capabilities is not None:
        syscalls.bound(capabilities)
    if who["no_new_privileges"]:
        syscalls.no_new_privileges()
    if who["filter"]:
        syscalls.filter_calls(who["filter"])
    os.setgroups(who["groups"])
    os.setresgid(who["group"], who["group"], who["group"])
    os.setresuid(who["user"], who["user"], who["user"])
    if who["user"] == 0 and capabilities is not None:
        syscalls.keep_capabilities(capabilities)
    syscalls.hide_from_others()  # a change of user may have changed it
    if order["dies"]:
        syscalls.end_with_parent()
    directory, argv = order["directory"], order["argv"]
    try:
        os.chdir(directory)
    except OSError as wrong:
        _say(f"{directory}: {wrong.strerror}")
        os._exit(_FAILED)
    ready()
    _run(argv, env)


def _run(argv: list[str], env: dict[str, str]) -> NoReturn:
    """As execvp(3) does: the first that can be run; a text without a first line is the shell's."""
    paths = [argv[0]]
    if "/" not in argv[0]:
        paths = [f"{it or '.'}/{argv[0]}" for it in env.get("PATH", os.defpath).split(":")]
    worst = errno.ENOENT
    for path in paths:
        try:
            os.execve(path, argv, env)
        except OSError as wrong:
            if wrong.errno == errno.ENOEXEC:
                os.execve("/bin/sh", ["/bin/sh", path, *argv[1:]], env)
            if wrong.errno not in (errno.ENOENT, errno.ENOTDIR):
                worst = wrong.errno or worst
                break
    _say(f"{argv[0]}: {os.strerror(worst)}")
    os._exit(_NOT_FOUND if worst == errno.ENOENT else _NOT_RUN)


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode("utf-8", "surrogateescape"))


def main() -> NoReturn:
    """``start FILE``, ``share FILE`` or ``enter ORDER``; trouble is told in one line."""
    try:
        if sys.argv[1] == "share":
            from skiff.node.sharing import share  # rare

            share(sys.argv[2])
        {"start": start, "enter": enter}[sys.argv[1]](sys.argv[2])
    except BaseException as wrong:  # noqa: BLE001  # of whatever kind: it ends here
        if isinstance(wrong, OSError):
            _say(f"skiff: {wrong.filename or ''}: {wrong.strerror}")
        else:
            _say(f"skiff: {type(wrong).__name__}: {wrong}")
        os._exit(_FAILED)
    raise AssertionError  # both become another program
