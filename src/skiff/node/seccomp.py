"""Which calls may a container make of the kernel? A filter like that of container runtimes, as a program of classic BPF.

Refused is what changes the whole machine, or leads out of a container: mounts, namespaces, modules, keys, clocks. A
capability that the container was given opens the calls that it is about. Numbers after the last one known here, other
machines' calling conventions and the rings of io_uring do not exist for a container.

https://docs.docker.com/engine/security/seccomp/ describes the same choice.
"""

from __future__ import annotations

import errno
import functools
import os
import struct

#: Call -> (number on x86-64, on arm64; None where there is none). From 424 on both count alike.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "chroot": (161, 51), "clock_settime": (227, 112),
    "clone": (56, 220), "create_module": (174, None), "delete_module": (176, 106), "fanotify_init": (300, 262),
    "finit_module": (313, 273), "get_kernel_syms": (177, None), "init_module": (175, 105), "ioperm": (173, None),
    "iopl": (172, None), "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "lookup_dcookie": (212, 18), "mbind": (237, 235), "migrate_pages": (256, 238), "mount": (165, 40),
    "move_pages": (279, 239), "nfsservctl": (180, 42), "open_by_handle_at": (304, 265), "perf_event_open": (298, 241),
    "personality": (135, 92), "pivot_root": (155, 41), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "query_module": (178, None), "quotactl": (179, 60), "reboot": (169, 142), "request_key": (249, 218),
    "set_mempolicy": (238, 237), "setdomainname": (171, 162), "sethostname": (170, 161), "setns": (308, 268),
    "settimeofday": (164, 170), "socket": (41, 198), "swapoff": (168, 225), "swapon": (167, 224), "_sysctl": (156, None),
    "sysfs": (139, None), "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, None),
    "userfaultfd": (323, 282), "ustat": (136, None), "vhangup": (153, 58),
    **{name: (number, number) for name, number in {
        "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
        "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "pidfd_getfd": 438,
        "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "set_mempolicy_home_node": 450,
        "statmount": 457, "listmount": 458, "open_tree_attr": 467,
    }.items()},
}  # fmt: skip
_LAST_KNOWN = 469
#: Machine -> (column above, the kernel's name for its calls).
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

#: Refused to everybody but the privileged.
_NEVER = (
    "add_key create_module get_kernel_syms kexec_file_load kexec_load keyctl migrate_pages move_pages nfsservctl pivot_root"
    " query_module request_key swapoff swapon _sysctl sysfs uselib userfaultfd ustat"
)
#: Refused but to who has the capability.
_GATED = {
    "sys_admin": "bpf fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie mount mount_setattr move_mount"
                 " open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname sethostname setns statmount"
                 " syslog umount2 unshare",
    "bpf": "bpf", "perfmon": "perf_event_open", "syslog": "syslog", "dac_read_search": "open_by_handle_at",
    "sys_boot": "reboot", "sys_chroot": "chroot", "sys_module": "delete_module finit_module init_module",
    "sys_nice": "mbind set_mempolicy set_mempolicy_home_node", "sys_pacct": "acct",
    "sys_ptrace": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev", "sys_rawio": "ioperm iopl",
    "sys_time": "clock_settime settimeofday", "sys_tty_config": "vhangup",
}  # fmt: skip
#: New processes in new namespaces: mount, cgroup, uts, ipc, user, pid, network.
_NEW_SPACES = 0x7E020000
_VIRTUAL_SOCKETS = 40  # AF_VSOCK: the way to the machine outside, when this one is virtual
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_FOREIGN = 0x40000000  # calls of x32

_LOAD, _IF_EQUAL, _IF_ABOVE, _IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # IF_ABOVE: or equal
_NUMBER, _MACHINE, _FIRST_WORD = 0, 4, 16  # where they lie in struct seccomp_data
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_Step = tuple[int, int, int, int]  # code, steps to jump if so, if not, operand


def _answer(number: int) -> _Step:
    return (_RETURN, 0, 0, _REFUSE | number)


_ALLOWED: _Step = (_RETURN, 0, 0, _ALLOW)


@functools.cache
def program(capabilities: frozenset[str], machine: str = os.uname().machine) -> bytes:
    """The filter for a container with these capabilities (``sys_admin``, ...); empty for a machine not known here."""
    if machine not in _MACHINES:
        return b""
    column, name = _MACHINES[machine]
    steps: list[_Step] = [
        (_LOAD, 0, 0, _MACHINE), (_IF_EQUAL, 1, 0, name), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER),
        (_IF_ABOVE, 0, 1, _LAST_KNOWN + 1), _answer(errno.ENOSYS),
    ]  # fmt: skip
    assert _FOREIGN > _LAST_KNOWN

    def add(call: str, *judged: _Step) -> None:
        number = _NUMBERS[call][column]
        if number is not None:
            steps.extend([(_IF_EQUAL, 0, len(judged), number), *judged])

    for call in sorted(_refused(capabilities)):
        add(call, _answer(errno.EPERM))
    for call in ("io_uring_setup", "io_uring_enter", "io_uring_register"):
        add(call, _answer(errno.ENOSYS))
    if "sys_admin" not in capabilities:
        add("clone3", _answer(errno.ENOSYS))  # its flags lie in memory: libraries fall back to clone
        add("clone", (_LOAD, 0, 0, _FIRST_WORD), (_IF_SET, 0, 1, _NEW_SPACES), _answer(errno.EPERM), _ALLOWED)
    add(
        "socket",
        (_LOAD, 0, 0, _FIRST_WORD),
        (_IF_EQUAL, 0, 1, _VIRTUAL_SOCKETS),
        _answer(errno.EPERM),
        _ALLOWED,
    )
    last = len(_PERSONALITIES)
    known = [(_IF_EQUAL, last - place, 0, it) for place, it in enumerate(_PERSONALITIES)]
    add("personality", (_LOAD, 0, 0, _FIRST_WORD), *known, _answer(errno.EPERM), _ALLOWED)
    return b"".join(struct.pack("=HBBI", *it) for it in [*steps, _ALLOWED])


def _refused(capabilities: frozenset[str]) -> set[str]:
    opened = {call for it in capabilities for call in _GATED.get(it, "").split()}
    return {*_NEVER.split(), *(call for calls in _GATED.values() for call in calls.split())} - opened
