"""Which calls of Linux does Python not offer? Mounts by descriptor, namespaces, capabilities, seccomp.

Only the standard library, and little of it: ``launch`` imports this for every container. The numbers are the same on all
machines that skiff runs on, but for those in ``_NUMBERS``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

NEW_NS, NEW_CGROUP, NEW_UTS, NEW_IPC, NEW_USER = 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000
NEW_PID, NEW_NET = 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, BIND = 1, 2, 4, 8, 4096
_DETACH = 2
_EMPTY_PATH, _RECURSIVE, _CLONE, _CLOSE_ON_EXEC = 0x1000, 0x8000, 1, 0o2000000
_MOVE_FROM_DESCRIPTOR, _MOVE_TO_DESCRIPTOR = 0x4, 0x40
#: How ``open_at`` may resolve a path: within the folder whatever links say; with the folder as its root.
NO_SYMLINKS, BENEATH, IN_ROOT = 0x04, 0x08, 0x10
_OPEN_TREE, _MOVE_MOUNT, _PIDFD_OPEN, _OPENAT2, _MOUNT_SETATTR = 428, 429, 434, 437, 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_DEATH_SIGNAL, _DUMPABLE, _SECCOMP, _BOUNDING_DROP, _NO_NEW_PRIVILEGES = 1, 4, 22, 24, 38
_CAPABILITY_VERSION = 0x20080522
_CAPABILITIES = 64  # the call takes no more

#: CLONE_PARENT and SIGCHLD: the parent hears of the end as of any child's.
_BESIDE = 0x00008000 | 17
_CLONE_CALL = {"x86_64": 56, "aarch64": 220}
_PROC, _RECURSIVE_MOUNT, _PRIVATE = 0x9FA0, 0x4000, 0x40000

_libc = ctypes.CDLL(None, use_errno=True)
_lone = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock: a new process goes on with it


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _call(number: int, what: str, *words: int | bytes | None) -> int:
    given = [ctypes.c_long(it) if isinstance(it, int) else ctypes.c_char_p(it) for it in words]
    return _checked(_libc.syscall(ctypes.c_long(number), *given), what)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    words = [os.fsencode(it) for it in (source, target, kind)]
    _checked(
        _libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options) or None), f"mount {kind} {target}"
    )


def detach(target: str) -> None:
    """Unmount as soon as nobody uses it."""
    _checked(_libc.umount2(os.fsencode(target), _DETACH), f"umount {target}")


def pivot(new: str, old: str) -> None:
    """pivot_root(2)."""
    _call(_PIVOT_ROOT[os.uname().machine], "pivot_root", os.fsencode(new), os.fsencode(old))


def open_at(folder: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2): ``resolve`` says where links may lead. The descriptor is closed on exec."""
    how = struct.pack("QQQ", flags | _CLOSE_ON_EXEC, 0, resolve)
    return _call(_OPENAT2, path, folder, os.fsencode(path), how, len(how))


def clone_tree(place: int, *, recursive: bool = True) -> int:
    """A copy, mounted nowhere yet, of all that lies at a descriptor; or without what is mounted on top of it."""
    how = _EMPTY_PATH | _CLONE | _CLOSE_ON_EXEC | (_RECURSIVE if recursive else 0)
    return _call(_OPEN_TREE, "open_tree", place, b"", how)


def is_proc(place: int) -> bool:
    """Whether a descriptor lies in a file system of processes, rather than in one made to look like it."""
    told = ctypes.create_string_buffer(256)  # struct statfs begins with the kind, as a long
    _checked(_libc.fstatfs(place, told), "fstatfs")
    kind: int = struct.unpack_from("@l", told.raw)[0]
    return kind == _PROC


def keep_mounts_private() -> None:
    """What is mounted from here on is seen by nobody outside, nor the other way round."""
    none = ctypes.c_char_p(None)
    _checked(
        _libc.mount(none, b"/", none, ctypes.c_ulong(_RECURSIVE_MOUNT | _PRIVATE), none), "mount private"
    )


def fork_beside() -> int:
    """As fork(2), but the new process is another child of our parent. For a process of one thread."""
    return _checked(
        _lone.syscall(*map(ctypes.c_long, (_CLONE_CALL[os.uname().machine], _BESIDE, 0, 0, 0, 0))), "clone"
    )


def restrict(tree: int, flags: int, *, recursive: bool = True) -> None:
    """Set flags of a mount given by descriptor."""
    wanted = struct.pack("QQQQ", flags, 0, 0, 0)
    how = _EMPTY_PATH | (_RECURSIVE if recursive else 0)
    _call(_MOUNT_SETATTR, "mount_setattr", tree, b"", how, wanted, len(wanted))


def attach(tree: int, target: int) -> None:
    """Mount a tree at a place, both by descriptor: no name can be changed in between."""
    how = _MOVE_FROM_DESCRIPTOR | _MOVE_TO_DESCRIPTOR
    _call(_MOVE_MOUNT, "move_mount", tree, b"", target, b"", how)


def unshare(spaces: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(ctypes.c_int(spaces)), "unshare")


def open_process(pid: int) -> int:
    """pidfd_open(2)."""
    return _call(_PIDFD_OPEN, f"process {pid}", pid, 0)


def enter(process: int, spaces: int) -> None:
    """setns(2) by a descriptor of a process."""
    _checked(_libc.setns(process, ctypes.c_int(spaces)), "setns")


def set_hostname(name: str) -> None:
    """sethostname(2)."""
    raw = os.fsencode(name)
    _checked(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")


def _prctl(option: int, argument: int, *, what: str) -> None:
    words = (ctypes.c_ulong(it) for it in (argument, 0, 0, 0))
    _checked(_libc.prctl(option, *words), what)


def hide_from_others() -> None:
    """Nobody else may look into this process, or open its program's file through /proc, until it runs the next one."""
    _prctl(_DUMPABLE, 0, what="PR_SET_DUMPABLE")


def end_with_parent() -> None:
    """Of a process that changes its user: forgotten then."""
    _prctl(_DEATH_SIGNAL, 9, what="PR_SET_PDEATHSIG")


def no_new_privileges() -> None:
    """Programs with a user or capabilities of their own get none."""
    _prctl(_NO_NEW_PRIVILEGES, 1, what="PR_SET_NO_NEW_PRIVS")


def bound(capabilities: int) -> None:
    """Drop all others (a mask) for this process and its children, for good.

    The kernel itself says which is the last one: what lies in /proc may be a volume of the container's by now.
    """
    for number in range(_CAPABILITIES):
        if not capabilities >> number & 1:
            try:
                _prctl(_BOUNDING_DROP, number, what=f"PR_CAPBSET_DROP {number}")
            except OSError as wrong:
                if wrong.errno == errno.EINVAL:
                    return  # there is none of this number, nor of any above
                raise


def keep_capabilities(mask: int) -> None:
    """capset(2): these are permitted and effective, none inherited."""
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _checked(_libc.capset(header, struct.pack("6I", low, low, 0, high, high, 0)), "capset")


def filter_calls(program: bytes) -> None:
    """Install a seccomp filter. Needs CAP_SYS_ADMIN, or no new privileges."""
    kept = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(kept))
    address = ctypes.create_string_buffer(head, len(head))
    words = (ctypes.c_ulong(it) for it in (2, ctypes.addressof(address), 0, 0))
    _checked(_libc.prctl(_SECCOMP, *words), "seccomp filter")
