#!/bin/sh
# One emulated phone: a real adbd in an arm64 system, with storage of its own.
#
#   nsenter ... unshare --mount phone.sh DIRECTORY PORT MEBIBYTES
#
# DIRECTORY is what `tools/arm64_root.sh --phone` made.
set -eu
ROOT=$1/root
mount -t tmpfs -o "size=$3m,mode=771" tmpfs "$ROOT/data"
mkdir -p "$ROOT/data/local/tmp"
mount --bind "$1/packages" "$ROOT/opt/packages"
# What of Android the tests need besides; see there.
for tool in getprop dumpsys; do
    touch "$ROOT/usr/bin/$tool"
    mount --bind "$(dirname "$0")/$tool" "$ROOT/usr/bin/$tool"
done
for place in proc sys dev; do mount --rbind "/$place" "$ROOT/$place"; done
export QEMU_CPU=cortex-a76 ADBD_PORT="$2"
exec chroot "$ROOT" /usr/lib/android-sdk/platform-tools/adbd
