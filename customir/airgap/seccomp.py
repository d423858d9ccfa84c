"""A seccomp filter by which Linux refuses network access to this process and its children.

The filter is written here and installed through ctypes: the bindings on PyPI need libseccomp, a
system library that slim images lack, and the filter has sixteen instructions. See seccomp(2) and the
kernel's Documentation/userspace-api/seccomp_filter.rst.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from dataclasses import dataclass

# linux/prctl.h and linux/seccomp.h
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1
RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
# linux/bpf_common.h: load a word from struct seccomp_data, jump, return.
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER_OFFSET, ARCHITECTURE_OFFSET, FIRST_ARGUMENT_OFFSET = 0, 4, 16
# System calls of the x32 ABI, which an x86-64 process may call, are numbered from here.
X32_NUMBERS = 0x40000000


@dataclass(frozen=True)
class SystemCalls:
    """An architecture as the kernel names it, and its numbers of the calls in question."""

    architecture: int
    seccomp: int
    socket: int
    socketpair: int
    connect: int
    io_uring_setup: int = 425


SYSTEM_CALLS = {
    "x86_64": SystemCalls(0xC000003E, seccomp=317, socket=41, socketpair=53, connect=42),
    "aarch64": SystemCalls(0xC00000B7, seccomp=277, socket=198, socketpair=199, connect=203),
}


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def install() -> None:
    """Make the kernel refuse network access in all threads and in every later child process.

    It refuses sockets of every family but AF_UNIX, connecting any socket, io_uring (which opens
    sockets without these calls), and programs of another architecture. It cannot be undone.
    Children cannot gain privileges either (no_new_privs), so sudo fails in them.

    Raises:
        OSError: this system does not support it; the message says why.
    """
    calls = SYSTEM_CALLS.get(platform.machine())
    if sys.platform != "linux" or calls is None or sys.maxsize < 2**32:
        raise OSError(f"there is no filter for {platform.system()} on {platform.machine()}")
    instructions = _instructions(calls)
    code = ctypes.create_string_buffer(b"".join(instructions))
    program = _Program(len(instructions), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero):
        raise OSError(ctypes.get_errno(), f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    failed = libc.syscall(
        ctypes.c_long(calls.seccomp),
        ctypes.c_ulong(SECCOMP_SET_MODE_FILTER),
        ctypes.c_ulong(SECCOMP_FILTER_FLAG_TSYNC),
        ctypes.byref(program),
    )
    if failed < 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    if failed:
        raise OSError(f"seccomp: thread {failed} has a filter of its own")


def _instructions(calls: SystemCalls) -> list[bytes]:
    """The filter; a jump's two numbers are how many instructions to skip if true and if false."""
    return [
        _instruction(LOAD, ARCHITECTURE_OFFSET),
        _instruction(JUMP_IF_EQUAL, calls.architecture, 1, 0),
        _instruction(RETURN, RET_ERRNO | errno.ENOSYS),
        _instruction(LOAD, NUMBER_OFFSET),
        _instruction(JUMP_IF_AT_LEAST, X32_NUMBERS, 0, 1),
        _instruction(RETURN, RET_ERRNO | errno.ENOSYS),
        # As where the administrator has turned io_uring off, which its users are prepared for.
        _instruction(JUMP_IF_EQUAL, calls.io_uring_setup, 0, 1),
        _instruction(RETURN, RET_ERRNO | errno.EPERM),
        # Local daemons (nscd, systemd-resolved) would look names up for us. They seem absent.
        _instruction(JUMP_IF_EQUAL, calls.connect, 0, 1),
        _instruction(RETURN, RET_ERRNO | errno.ENOENT),
        _instruction(JUMP_IF_EQUAL, calls.socket, 1, 0),
        _instruction(JUMP_IF_EQUAL, calls.socketpair, 0, 3),
        _instruction(LOAD, FIRST_ARGUMENT_OFFSET),
        _instruction(JUMP_IF_EQUAL, socket.AF_UNIX, 1, 0),
        _instruction(RETURN, RET_ERRNO | errno.EACCES),
        _instruction(RETURN, RET_ALLOW),
    ]


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """struct sock_filter"""
    return struct.pack("=HBBI", code, if_true, if_false, operand)
