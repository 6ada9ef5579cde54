#!/bin/sh
# Makes what `mobileq arm64` runs files with: an arm64 Debian with Python and LiteRT, and
# an emulator for it.
#
#   tools/arm64_root.sh [--phone] DIRECTORY
#
# With --phone, the system also holds a real adbd and the commands of a phone's shell:
# what the tests of the Android benchmark connect to (`make test-android`).
#
# Needs Debian or Ubuntu (apt-get, dpkg-deb, the keyring debian-archive-keyring), Python
# with pip (PYTHON says which) and the network; not root. Packages come from this
# system's own mirror of Debian, or from MIRROR. About 120 MB are downloaded,
# and 180 MB lie in DIRECTORY in the end. Nothing outside of it is touched: apt and pip
# keep lists, packages and settings there. After an interruption, run it again; what is
# done is not done twice.
#
#   DIRECTORY/root          arm64 system: libc, libstdc++, python3 (Debian bookworm)
#   DIRECTORY/packages      wheels of tools/arm64_wheels.txt
#   DIRECTORY/qemu-aarch64  qemu-user of bookworm-backports, static
#   DIRECTORY/phone         with --phone: versions of what it added to root
#   DIRECTORY/complete      written last: versions of all of it
set -eu
KEYRING=${KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
PYTHON=${PYTHON:-python3}
HERE=$(cd "$(dirname "$0")" && pwd)

# Where this system itself gets Debian's packages; nothing if it is another system.
mirror() {
    grep -q '^ID=debian' /etc/os-release || return 0
    {
        sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources
        sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' /etc/apt/sources.list
    } 2>/dev/null | head -n 1
}

fail() { echo "arm64_root.sh: $*" >&2; exit 2; }
PHONE=
if [ "${1:-}" = --phone ]; then
    PHONE=phone
    shift
fi
[ $# = 1 ] || fail "found $# arguments; wanted one, the directory to make"
for tool in apt-get apt-config dpkg dpkg-deb "$PYTHON"; do
    command -v "$tool" >/dev/null || fail "no $tool here; wanted a Debian or Ubuntu with it"
done
"$PYTHON" -m pip --version >/dev/null 2>&1 ||
    fail "$PYTHON has no pip; wanted one that has (set PYTHON)"
MIRROR=${MIRROR:-$(mirror)}
[ -n "$MIRROR" ] || fail "found no mirror of Debian; wanted one (MIRROR=URL names it)"
[ -r "$KEYRING" ] || fail "no $KEYRING; wanted Debian's keys (apt-get install debian-archive-keyring)"

mkdir -p "$1"
DIR=$(cd "$1" && pwd)
case $DIR in
*[!A-Za-z0-9/._+-]*) fail "$DIR: apt takes no such name; wanted letters, digits and / . _ + -" ;;
esac
if [ -e "$DIR/complete" ] && { [ -z "$PHONE" ] || [ -e "$DIR/phone" ]; }; then
    echo "$DIR: complete already"
    exit 0
fi
APT=$DIR/work/apt
HOST=$(dpkg --print-architecture)
mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial" "$APT/etc" "$DIR/work/tmp"
export TMPDIR="$DIR/work/tmp" PIP_CACHE_DIR="$DIR/work/pip" LC_ALL=C
: >"$APT/status"
{
    # The machine's own settings hold clean-up commands for its own caches; only how it
    # reaches the network is taken over.
    apt-config dump | grep -E '^Acquire::(https?|Retries)' || true
    cat <<SETTINGS
Dir::Etc "$APT/etc";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$APT/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$APT";
Dir::State::status "$APT/status";
Dir::State::lists "$APT/lists";
Dir::Cache "$APT/cache";
Dir::Log "$APT";
APT::Architecture "arm64";
APT::Architectures { "arm64"; "$HOST"; };
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
SETTINGS
} >"$APT/apt.conf"
export APT_CONFIG="$APT/apt.conf"
for suite in bookworm bookworm-updates bookworm-backports; do
    echo "deb [signed-by=$KEYRING] $MIRROR $suite main"
done >"$APT/sources.list"

echo "$DIR: lists of packages"
apt-get -qq update

if [ ! -e "$DIR/root" ]; then
    echo "$DIR: python3 and libstdc++6 for arm64"
    apt-get -qq --download-only --yes install python3 libstdc++6 >/dev/null
    rm -rf "$DIR/work/root"
    mkdir "$DIR/work/root"
    for package in "$APT"/cache/archives/*.deb; do
        dpkg-deb --extract "$package" "$DIR/work/root"
        dpkg-deb --show --showformat='${Package}:${Architecture} ${Version}\n' "$package"
    done >"$DIR/work/root.versions"
    mv "$DIR/work/root" "$DIR/root"
fi

if [ -n "$PHONE" ] && [ ! -e "$DIR/phone" ]; then
    echo "$DIR: adbd and a shell for arm64"
    rm -f "$APT"/cache/archives/*.deb
    apt-get -qq --download-only --yes --target-release bookworm-backports install \
        adbd coreutils dash grep mawk procps sed util-linux >/dev/null
    for package in "$APT"/cache/archives/*.deb; do
        dpkg-deb --extract "$package" "$DIR/root"
        dpkg-deb --show --showformat='${Package}:${Architecture} ${Version}\n' "$package"
    done >"$DIR/work/phone.versions"
    for place in data opt/packages system/bin proc sys dev tmp; do
        mkdir -p "$DIR/root/$place"
    done
    mv "$DIR/work/phone.versions" "$DIR/phone"
fi

if [ ! -e "$DIR/packages" ]; then
    echo "$DIR: LiteRT and numpy for arm64"
    mkdir -p "$DIR/work/wheels"
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps \
        --require-hashes --only-binary :all: --python-version 3.11 \
        --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
        --dest "$DIR/work/wheels" --requirement "$HERE/arm64_wheels.txt"
    rm -rf "$DIR/work/packages"
    for wheel in "$DIR/work/wheels"/*.whl; do
        "$PYTHON" -m zipfile --extract "$wheel" "$DIR/work/packages"
    done
    mv "$DIR/work/packages" "$DIR/packages"
fi

if [ ! -e "$DIR/qemu-aarch64" ]; then
    echo "$DIR: the emulator"
    mkdir -p "$DIR/work/qemu"
    (cd "$DIR/work/qemu" && apt-get -qq download "qemu-user:$HOST/bookworm-backports")
    for package in "$DIR/work/qemu"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" |
            tar --extract --to-stdout ./usr/bin/qemu-aarch64 >"$DIR/work/qemu-aarch64"
        dpkg-deb --show --showformat='${Package}:${Architecture} ${Version}\n' "$package"
    done >"$DIR/work/qemu.versions"
    chmod +x "$DIR/work/qemu-aarch64"
    mv "$DIR/work/qemu-aarch64" "$DIR/qemu-aarch64"
fi

if [ ! -e "$DIR/complete" ]; then
    {
        cat "$DIR/work/root.versions" "$DIR/work/qemu.versions"
        sed -n 's/^\([a-z].*\) --hash.*/\1/p' "$HERE/arm64_wheels.txt"
    } >"$DIR/work/complete"
    mv "$DIR/work/complete" "$DIR/complete"
fi
rm -rf "$DIR/work"
echo "$DIR: complete; now: export MOBILEQ_ARM64_ROOT=$DIR"
