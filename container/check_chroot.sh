#!/usr/bin/env bash
# Try the image's steps without an engine for containers: install.sh in a fresh Debian root, then
# the demo and the BIDS App in it, as another user, with a read-only root and without a network.
#
#   container/check_chroot.sh [FOLDER]    FOLDER is for the root, 12 GB; by default a temporary one
#
# Exit codes: 0 passed; 1 failed; 77 not possible on this machine, with the reason.
#
# All mounts lie in a mount namespace of their own and end with it, before anything is removed.
# What pip and apt are configured with outside holds inside, as long as packages are installed.
# shellcheck disable=SC2016  # apt-get expands the format itself
set -euo pipefail

script=$(realpath "${BASH_SOURCE[0]}")
checkout=$(dirname "$(dirname "$script")")
suite=$(sed -n 's/^FROM debian:\([a-z]*\)-slim$/\1/p' "$checkout/Dockerfile")
needed_gb=12
user=1000

cannot() {
  echo "container/check_chroot.sh: not possible here: $*" >&2
  exit 77
}

demand_means() {
  [ "$(id -u)" -eq 0 ] || cannot "only root can change the root folder"
  local program free
  for program in debootstrap unshare setpriv apt-get python3; do
    command -v "$program" >/dev/null || cannot "$program is missing"
  done
  unshare --mount --net --pid --fork true 2>/dev/null || cannot "namespaces are not permitted"
  free=$(df --output=avail --block-size=1G "$1" | tail -1)
  [ "$free" -ge "$needed_gb" ] || cannot "$1 has $free GB free; $needed_gb are needed"
  if [ -z "${DEBIAN_MIRROR:-}" ]; then
    DEBIAN_MIRROR=$(apt-get indextargets --format '$(RELEASE)|$(REPO_URI)' 'Created-By: Packages' |
      sed -n "s/^$suite|//p" | head -1)
    [ -n "$DEBIAN_MIRROR" ] || cannot "apt has no source of Debian $suite: set DEBIAN_MIRROR"
  fi
}

# pip's settings outside, each as a variable, ended by a zero byte.
pip_settings() {
  python3 -m pip config list 2>/dev/null | sed -nE "s/^(global|install|user|:env:)\.([a-z.-]+)='(.*)'$/\2\t\3/p" |
    while IFS=$'\t' read -r name value; do
      name=${name#.}
      name=${name//-/_}
      printf 'PIP_%s=%s\0' "${name^^}" "${value//\\n/ }"
    done
}

# Mount the files and folders of this disk that a setting names where they are outside.
mount_named() {
  local word
  for word in $1; do
    # The pages of an index link to files that may lie beside it.
    [[ $word != file://* ]] || word=$(dirname "${word#file://}")
    [[ $word == /* && -e $word ]] || continue
    mkdir -p "$root$(dirname "$word")"
    if [ -d "$word" ]; then mkdir -p "$root$word"; else touch "$root$word"; fi
    mount --bind "$word" "$root$word"
  done
}

inside() {
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"
}

# In a mount namespace: everything is visible that packages are installed with.
install_inside() {
  root=$1
  local -a settings
  local one
  mapfile -d '' settings < <(pip_settings)
  for one in "${settings[@]}"; do mount_named "${one#*=}"; done
  for one in http_proxy https_proxy no_proxy TORCH_INDEX; do
    [ -z "${!one:-}" ] || settings+=("$one=${!one}")
  done
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
  mkdir "$root/src"
  mount --bind "$checkout" "$root/src"
  mount -o remount,bind,ro "$root/src"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  inside "${settings[@]}" chroot "$root" /src/container/install.sh /src
}

# In namespaces of mounts, processes and the network: what `docker run --read-only --network none
# --tmpfs /tmp --volume ...:/out` gives.
use_inside() {
  root=$1
  mkdir "$root/out"
  chown "$user:$user" "$root/out"
  mount --bind "$root" "$root"
  mount --bind "$root/out" "$root/out"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -o remount,bind,ro "$root"
  as_user() {
    inside HOME=/tmp ${OMP_NUM_THREADS:+OMP_NUM_THREADS="$OMP_NUM_THREADS"} \
      setpriv --no-new-privs chroot --userspec="$user:$user" "$root" "$@"
  }
  if inside chroot "$root" touch /written 2>/dev/null; then
    echo "the root is not read-only" >&2
    return 1
  fi
  as_user mri-transfer demo --out /out/demo --cache /out/cache --no-open
  as_user mri-transfer-bids /out/demo/cohort /out/bids participant --participant-label 001 \
    --work-dir /out/cache --config demo.toml
  as_user mri-transfer-bids --version
}

logged() {
  "$@" >"$folder/log" 2>&1 || {
    tail -20 "$folder/log" >&2
    return 1
  }
}

case "${1:-}" in
  --install) install_inside "$2" ;;
  --use) use_inside "$2" ;;
  *)
    demand_means "${1:-${TMPDIR:-/tmp}}"
    folder=$(mktemp -d -p "${1:-${TMPDIR:-/tmp}}" mri-transfer-root.XXXXXX)
    trap 'rm -rf --one-file-system "$folder"' EXIT
    echo "Debian $suite in $folder"
    logged debootstrap --variant=minbase --include=ca-certificates "$suite" "$folder/root" \
      "$DEBIAN_MIRROR" || cannot "debootstrap could not make a root from its mirror"
    echo "container/install.sh in it: some minutes"
    logged unshare --mount --pid --fork --kill-child "$script" --install "$folder/root"
    unshare --mount --pid --fork --kill-child --net "$script" --use "$folder/root"
    test -s "$folder/root/out/demo/run/report/index.html"
    test -s "$folder/root/out/bids/dataset_description.json"
    echo "container/check_chroot.sh: passed ($(du -sh --exclude=out "$folder/root" | cut -f1))"
    ;;
esac
