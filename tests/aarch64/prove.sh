#!/bin/sh
# Replays a recording made here, with exact kernels, on an emulated ARM processor: every mask, logit
# and feature must come out the same to the bit. Opt-in: it needs root, Debian's packages
# qemu-user-static and mmdebstrap, the network, 1 GB of disk and some three minutes.
#
#   sudo tests/aarch64/prove.sh [FOLDER-OF-IMAGES] [CPU]     (CPU: as qemu names it, cortex-a72)
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
images=${1:-}
cpu=${2:-cortex-a72}
python=${PYTHON:-$here/.venv-dev/bin/python}
work=${WORK:-${TMPDIR:-/tmp}/rille-aarch64}
for tool in qemu-aarch64-static mmdebstrap; do
    command -v $tool >/dev/null || {
        echo "aarch64: SKIPPED, no $tool: apt-get install qemu-user-static mmdebstrap" >&2
        exit 77
    }
done
export PYTHONPATH=$here/runtime

if [ ! -x "$work/arm64/usr/bin/python3" ]; then
    mkdir -p "$work"
    mmdebstrap --quiet --skip=check/qemu --variant=extract --arch=arm64 \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --include=python3,libstdc++6,zlib1g,coreutils,base-files \
        trixie "$work/arm64" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
    "$python" -m pip install --quiet --target "$work/arm64/site" \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux2014_aarch64 --python-version 3.13 --implementation cp \
        --abi cp313 --abi abi3 --abi none --only-binary=:all: \
        numpy opencv-python-headless ai-edge-litert mcap
    cp "$(command -v qemu-aarch64-static)" "$work/arm64/qemu"
fi
rm -rf "$work/arm64/rille" "$work/run"
mkdir "$work/arm64/rille"
cp -r "$here/runtime/rille" "$work/arm64/rille/"

source="sim://moon?view=rover&terrain=boulder-field&seed=7&size=320x240&frames=3&realtime=0"
[ -z "$images" ] || source="images://$images?limit=3"
"$python" -m rille record --source "$source" --out "$work/run" --budget-ms 60000 \
    --set engine.backend=litert-exact --set engine.networks=sequential \
    --set output.video=false --set output.report=false
cp "$work/run/run.mcap" "$work/arm64/run.mcap"
chroot "$work/arm64" /qemu -cpu "$cpu" -E PYTHONPATH=/site:/rille -E HOME=/tmp \
    /usr/bin/python3 -m rille replay /run.mcap
echo "aarch64 ($cpu, emulated): the same to the bit"
