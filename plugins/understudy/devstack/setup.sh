#!/bin/sh
# Finds a Python that fits and checks that git works here, then hands over to bootstrap.py with the
# same arguments, or runs that Python with what follows --run. Writes nothing itself. Plain sh,
# because it runs before anything is installed.
set -u
root=$(cd "$(dirname "$0")/../../.." && pwd)

refuse() {
    printf 'understudy: %s\n  Allowed: %s\n  Next: %s\n' "$1" "$2" "$3" >&2
    exit 2
}

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

version_of() {
    command -v "$1" >/dev/null 2>&1 || { echo "no program of that name"; return; }
    "$1" -c 'import platform; print("Python " + platform.python_version())' 2>/dev/null ||
        echo "a program that does not start"
}

allowed_python="Python 3.11, 3.12 or 3.13"
if [ -n "${PYTHON:-}" ]; then
    fits "$PYTHON" || refuse "PYTHON=$PYTHON is $(version_of "$PYTHON")." "$allowed_python." \
        "set PYTHON to such an interpreter, or unset it to have one looked for on PATH."
else
    for candidate in python3 python3.13 python3.12 python3.11; do
        if fits "$candidate"; then PYTHON=$candidate; break; fi
    done
    [ -n "${PYTHON:-}" ] || refuse "python3 is $(version_of python3), and PATH has no other that fits." \
        "$allowed_python." "install one of them, or say where it is: make PYTHON=/path/to/python3.12 ..."
fi

command -v git >/dev/null 2>&1 || refuse "git is not on PATH." "any git since 2.31." \
    "install it with the system's package manager (Debian: apt-get install git)."
if ! answer=$(git -C "$root" rev-parse --verify --quiet HEAD 2>&1 >/dev/null); then
    refuse "$root is no git checkout with a commit in it. ${answer}" \
        "a clone made with git, because the pipelines run exact commits of it." \
        "clone the repository with git and run make in the clone."
fi

if [ "${1:-}" = --run ]; then
    shift
    exec "$PYTHON" "$@"
fi
exec "$PYTHON" "$root/plugins/understudy/devstack/bootstrap.py" "$@"
