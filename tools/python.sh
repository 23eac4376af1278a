#!/bin/sh
# Prints a Python that has the packages of tools/requirements.txt: an environment below .build, made when it is not there or
# when the list has changed. A package that cannot be installed is an error, never a test left out.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
place=$here/../.build/python
if ! cmp -s "$here/requirements.txt" "$place/requirements.txt"; then
    rm -rf "$place"
    /usr/bin/python3 -m venv "$place" >&2
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    # xds-protos brings old files of the same names.
    wanted=$(grep '^opentelemetry-proto==' "$here/requirements.txt")
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wanted" >&2
    cp "$here/requirements.txt" "$place/requirements.txt"
fi
echo "$place/bin/python"
