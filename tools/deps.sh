#!/bin/sh
# Installs the Debian packages of tools/packages.txt that are missing. Quiet when there is nothing to do.
set -eu
here=$(dirname "$0")
missing=
for package in $(sed 's/#.*//' "$here/packages.txt"); do
    # A kubectl from elsewhere is as good, and Debian's package cannot be installed beside it.
    [ "$package" = kubernetes-client ] && command -v kubectl >/dev/null && continue
    # So is a Docker engine from elsewhere.
    [ "$package" = docker.io ] && command -v dockerd >/dev/null && continue
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "make deps: these Debian packages are missing:$missing; run as root (or: sudo make deps)" >&2
    exit 1
fi
echo "make deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 && exit 0
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
