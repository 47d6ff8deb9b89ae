#!/usr/bin/env bash
# Install mri-transfer into a fresh Debian: what Dockerfile, mri-transfer.def and check_chroot.sh share.
#
#   container/install.sh CHECKOUT
#
# TORCH_INDEX  address of an index with PyTorch's processor-only builds. Empty: the locked builds,
#              which run on processors and on NVIDIA GPUs, and take 5 GB more.
#
# pip reads its own variables (PIP_INDEX_URL and others) as always.
set -euo pipefail

checkout=$(cd "${1:?usage: $0 CHECKOUT}" && pwd)
lock="$checkout/container/requirements.lock"
venv=/usr/local/lib/mri-transfer
cuda='^(torch|torchvision|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)=='

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends python3 python3-venv
rm -rf /var/lib/apt/lists/*

python3 -m venv "$venv"
pip() {
  "$venv/bin/python" -m pip --disable-pip-version-check install --no-cache-dir --no-deps "$@"
}
if [ -z "${TORCH_INDEX:-}" ]; then
  pip --require-hashes -r "$lock"
else
  # The index has other files of the same versions, so that the lock's hashes do not apply to them.
  others=$(mktemp)
  awk -v cuda="$cuda" '/^[a-z]/ { left_out = $0 ~ cuda } !left_out' "$lock" >"$others"
  pip --require-hashes -r "$others"
  rm "$others"
  read -r -a torch <<<"$(grep -oE '^(torch|torchvision)==[^ ]+' "$lock" | tr '\n' ' ')"
  pip --index-url "$TORCH_INDEX" "${torch[@]}"
fi
pip --no-build-isolation "$checkout"

for command in mri-transfer mri-transfer-bids; do
  ln -s "$venv/bin/$command" "/usr/local/bin/$command"
done
useradd --uid 1000 --user-group --no-create-home --home-dir /nonexistent mri
