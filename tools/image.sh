#!/bin/sh
# Builds the images of the Dockerfile, with Docker where its engine answers, and else with
# buildah, which needs no engine (as root, without nested containers).
#
#   tools/image.sh [TARGET ...]       by default: runtime lean
#   tools/image.sh --check            whether it can be done here
#
# Images are called mobileq:TARGET. Where no image of Python can be pulled, a base is made
# from Debian's packages (debootstrap). What pip is told on this machine (its index, its
# certificates) holds within the build, too, and is in no layer.
set -eu
cd "$(dirname "$0")/.."

PYTHON_IMAGE=python:3.11-slim-bookworm
LOCAL_BASE=localhost/mobileq-base:bookworm
SCRATCH=
trap 'rm -rf "$SCRATCH"' EXIT
trap 'exit 130' INT TERM

fail() {
    echo "image: $*" >&2
    exit 2
}

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' mobileq/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

with_docker() {
    for target in "$@"; do
        DOCKER_BUILDKIT=1 docker build --target "$target" --tag "mobileq:$target" \
            --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
            ${PIP_INDEX_URL:+--build-arg "PIP_INDEX_URL=$PIP_INDEX_URL"} \
            ${PIP_EXTRA_INDEX_URL:+--build-arg "PIP_EXTRA_INDEX_URL=$PIP_EXTRA_INDEX_URL"} \
            .
    done
}

# Debian's own Python 3.11, with the mirror that this system uses.
make_base() {
    buildah inspect --type image "$LOCAL_BASE" >/dev/null 2>&1 && return
    command -v debootstrap >/dev/null ||
        fail "no image of Python can be pulled, and debootstrap is not installed;" \
            "wanted: apt-get install debootstrap"
    mirror=${MIRROR:-$(sed -n 's/^URIs: *//p; s/^deb *\(\[.*\] *\)\{0,1\}\(http[^ ]*\).*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)}
    [ -n "$mirror" ] || fail "no Debian mirror is known; wanted MIRROR=http://..."
    echo "making $LOCAL_BASE from Debian's packages"
    debootstrap --variant=minbase \
        --include=ca-certificates,python3,python3-venv,libgomp1 \
        bookworm "$SCRATCH/root" "$mirror" >"$SCRATCH/log" 2>&1 ||
        fail "debootstrap failed: $(tail -n 1 "$SCRATCH/log")"
    container=$(buildah from scratch)
    buildah copy --quiet "$container" "$SCRATCH/root" / >/dev/null
    buildah commit --quiet --rm "$container" "$LOCAL_BASE" >/dev/null
}

# Files that pip is told of here are mounted at the same places; the settings as a whole
# become the build's.
pip_mounts() {
    python3 -m pip config list >"$SCRATCH/settings" 2>/dev/null || return 0
    {
        echo "[global]"
        sed -n "s/^\(global\|:env:\)\.\([a-z-]*\)='\(.*\)'\$/\2 = \3/p" \
            "$SCRATCH/settings" | sort -u -t = -k 1,1
    } >"$SCRATCH/pip.conf"
    echo "--volume=$SCRATCH/pip.conf:/etc/pip.conf:ro"
    grep -o "\(file://\|'\| \)/[^' ]*" "$SCRATCH/settings" |
        sed "s,^file://,,; s,^[' ],,; s,/simple/*$,," | sort -u | while read -r path; do
        [ -e "$path" ] && echo "--volume=$path:$path:ro"
    done
}

with_buildah() {
    [ "$(id -u)" = 0 ] || fail "buildah is used without an engine, which needs root"
    export STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}"
    SCRATCH=$(mktemp -d)
    base=$PYTHON_IMAGE
    if ! timeout 60 buildah pull --quiet "$base" >/dev/null 2>&1; then
        make_base
        base=$LOCAL_BASE
    fi
    # Word splitting is wanted; paths of pip's settings have no blanks.
    mounts=$(pip_mounts)
    for target in "$@"; do
        # shellcheck disable=SC2086
        buildah bud --isolation chroot --pull-never --layers --format docker \
            --target "$target" --tag "mobileq:$target" $mounts \
            --build-arg "BASE=$base" --build-arg "VERSION=$version" \
            --build-arg "REVISION=$revision" .
    done
}

# Whether images can be built here: an engine that answers, or a buildah that may work.
check() {
    command -v docker >/dev/null && docker info >/dev/null 2>&1 && return
    [ "$(id -u)" = 0 ] || fail "neither Docker's engine nor root for buildah"
    command -v buildah >/dev/null && command -v debootstrap >/dev/null ||
        fail "buildah or debootstrap is not installed"
    container=$(STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}" buildah from scratch) &&
        STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}" buildah rm "$container" >/dev/null
}

if [ "${1:-}" = --check ]; then
    check
    exit
fi
[ $# -gt 0 ] || set -- runtime lean
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    with_docker "$@"
elif command -v buildah >/dev/null; then
    with_buildah "$@"
else
    fail "neither Docker's engine nor buildah is here; wanted: apt-get install buildah"
fi
