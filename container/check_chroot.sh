#!/usr/bin/env bash
# Run the steps of the image without an engine for containers: install.sh in a fresh Debian root,
# then the demo and the BIDS App in it, as another user, with the root read-only and no network.
#
#   container/check_chroot.sh [FOLDER]    the folder for the root, 12 GB; by default a temporary one
#
# Exit codes: 0 passed; 1 failed; 77 not possible on this machine, with the reason.
#
# All mounts live in a mount namespace of their own and end with it. What pip and apt are
# configured with outside also holds inside, as long as packages are installed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$here")
suite=$(sed -n 's/^FROM debian:\([a-z]*\)-slim$/\1/p' "$checkout/Dockerfile")
needed_gb=12

cannot() {
  echo "container/check_chroot.sh: not possible here: $*" >&2
  exit 77
}

mirror_of_host() {
  apt-get indextargets --format '$(RELEASE)|$(REPO_URI)' 'Created-By: Packages' |
    sed -n "s/^$suite|//p" | head -1
}

demand_means() {
  [ "$(id -u)" -eq 0 ] || cannot "only root can change the root folder"
  for program in debootstrap unshare setpriv apt-get python3; do
    command -v "$program" >/dev/null || cannot "$program is missing"
  done
  unshare --mount --net --pid --fork true 2>/dev/null || cannot "namespaces are not permitted"
  local free
  free=$(df --output=avail --block-size=1G "$1" | tail -1)
  [ "$free" -ge "$needed_gb" ] || cannot "$1 has $free GB free, and $needed_gb are needed"
  [ -n "${DEBIAN_MIRROR:=$(mirror_of_host)}" ] ||
    cannot "apt has no source of Debian $suite: set DEBIAN_MIRROR"
}

# The values that pip finds outside, as variables; what they name on this disk is mounted.
pip_settings() {
  python3 -m pip config list 2>/dev/null | sed -nE "s/^[^.]+\.\.?([a-z-]+)='(.*)'$/\1\t\2/p" |
    while IFS=$'\t' read -r name value; do
      name=${name//-/_}
      printf 'PIP_%s=%s\0' "${name^^}" "$value"
    done
}

mount_local() {
  local word
  for word in $1; do
    word=${word#file://}
    [[ $word == /* && -e $word ]] || continue
    if [ -d "$word" ]; then mkdir -p "$root$word"; else mkdir -p "$(dirname "$root$word")" && touch "$root$word"; fi
    mount --bind "$word" "$root$word"
  done
}

inside() {
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"
}

install_steps() {
  local -a settings
  mapfile -d '' settings < <(pip_settings)
  for one in "${settings[@]}"; do mount_local "${one#*=}"; done
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
  mkdir -p "$root/src"
  mount --bind "$checkout" "$root/src"
  mount -o remount,bind,ro "$root/src"
  inside "${settings[@]}" chroot "$root" /src/container/install.sh /src
}

# Runs in namespaces of its own.
in_namespaces() {
  root=$1 mounts_of_build=()
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  (install_steps)
}

if [ "${1:-}" = --in-namespaces ]; then
  in_namespaces "$2"
  exit
fi
