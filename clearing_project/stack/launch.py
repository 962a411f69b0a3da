"""
Become another program that does not outlive its parent: ``launch.py PARENT SIGNAL USER -- ARGV``.

A script of its own and not a ``preexec_fn``, which is unsafe beside threads (gRPC, progress displays).
Drops root for *USER* ("-" keeps the user). On Linux the kernel sends *SIGNAL* once the parent is gone;
elsewhere the next start finds what was left.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, signal: int, user: str, argv: list[str]) -> None:
    """Drop root, tie this process to *parent* and run *argv* in its place."""
    if user != "-":
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent:  # it died before the call above
            sys.exit(1)
    os.execvp(argv[0], argv)  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[5:])
