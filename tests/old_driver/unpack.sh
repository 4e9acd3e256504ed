#!/bin/sh
# Unpacks Debian 12's own Mesa, 22.3, into .cache/mesa-22.3 of the checkout, once: beside the system's Mesa, which
# stays as it is, and without root. Prints the path of its software adapter's JSON file, for VK_DRIVER_FILES. Where
# it cannot be had, standard error ends with the reason.
set -eu

folder=$(cd "$(dirname "$0")/../.." && pwd)/.cache/mesa-22.3
package=mesa-vulkan-drivers

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# download OPTIONS...: the package, from Debian 12's main archive, into this folder.
download() {
  apt-get -qq "$@" download "$package/bookworm" && [ -f "$(echo "$package"_22.3*.deb)" ]
}

unpack() {
  grep -qs '^ID=debian' /etc/os-release && grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release ||
    fail "Mesa 22.3 is Debian 12's, and this is another system"
  mkdir -p "$folder.part/lists/partial" "$folder.part/cache/archives/partial"
  cd "$folder.part"
  # Images often come without package lists; they are fetched into a folder of our own then.
  set -- -o "Dir::State::lists=$PWD/lists" -o "Dir::Cache=$PWD/cache"
  download || { apt-get -qq "$@" update && download "$@"; } || fail "apt-get cannot download Debian 12's $package"
  dpkg -x "$package"_22.3*.deb root
  driver=$(cd root && echo usr/lib/*/libvulkan_lvp.so)
  missing=$(ldd "root/$driver" | sed -n 's/^[[:space:]]*\(.*\) => not found/\1/p')
  [ -z "$missing" ] || fail "Mesa 22.3 needs what is not installed: $(echo "$missing" | tr '\n' ' ')"
  # The loader takes a relative path as beside the file, so that the checkout may move.
  printf '{"file_format_version": "1.0.0", "ICD": {"api_version": "1.3.230", "library_path": "./%s"}}\n' "$driver" \
    >root/lvp_icd.json
  mv root "$folder"
}

if [ ! -f "$folder/lvp_icd.json" ]; then
  trap 'rm -rf "$folder.part"' EXIT
  unpack
fi
printf '%s\n' "$folder/lvp_icd.json"
