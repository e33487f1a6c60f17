# Sourced by bin/up, bin/down and bin/test: everything that has to happen before there is a Python to run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PAAS_HOME=${PAAS_HOME:-$ROOT/var}
[[ $PAAS_HOME == /* ]] || PAAS_HOME=$PWD/$PAAS_HOME
export PAAS_HOME
VERBOSE=${VERBOSE:-}
STEP_LOG=

now() { printf '%s' "${EPOCHREALTIME/[.,]/}"; } # microseconds

# step NAME: remember when it began; a terminal shows it at once.
step() {
  STEP_NAME=$1 STEP_BEGAN=$(now)
  if [[ -t 1 ]]; then printf '  %-13s …' "$1"; fi
}

# done_step TEXT: close the line with what came out of it and how long it took.
done_step() {
  local tenths=$((($(now) - STEP_BEGAN) / 100000))
  if [[ -t 1 ]]; then printf '\r'; fi
  printf '  %-13s %-52s %4d.%d s\n' "$STEP_NAME" "$1" $((tenths / 10)) $((tenths % 10))
}

# die MESSAGE [NEXT STEP]
die() {
  if [[ -t 1 && -n ${STEP_NAME:-} ]]; then printf '\n'; fi
  local line
  for line in "$@"; do printf ' !     %s\n' "$line" >&2; done
  exit 1
}

# quietly WHAT COMMAND...: run it, show its output with --verbose, or its end when it fails.
quietly() {
  local what=$1 status=0
  shift
  if [[ -n $VERBOSE ]]; then
    "$@" 2>&1 | sed 's/^/        /' || status=$?
  else
    STEP_LOG=${STEP_LOG:-$(mktemp)}
    "$@" >"$STEP_LOG" 2>&1 || status=$?
    if ((status)); then
      printf '\n' >&2
      tail -n 15 "$STEP_LOG" | sed 's/^/        /' >&2
    fi
    rm -f "$STEP_LOG"
    STEP_LOG=
  fi
  ((status == 0)) || die "$what failed (exit $status)." "${HINT:-Its last lines are above; --verbose shows all of them.}"
}

# saved NAME: a variable's value now, or the one that bin/up remembered.
saved() {
  if [[ -n ${!1:-} ]]; then
    printf '%s' "${!1}"
  elif [[ -r $PAAS_HOME/paas.env ]]; then
    sed -n "s/^$1='\(.*\)'\$/\1/p" "$PAAS_HOME/paas.env" | tail -n 1
  fi
}

require_root() {
  [[ $(id -u) == 0 ]] || die "This needs root: it installs packages, starts containers and listens on port 80." \
    "Run it again with: sudo $0"
}

require_system() {
  local id='' like='' name='an unknown system'
  if [[ -r /etc/os-release ]]; then
    id=$(. /etc/os-release && printf '%s' "${ID:-}")
    like=$(. /etc/os-release && printf '%s' "${ID_LIKE:-}")
    name=$(. /etc/os-release && printf '%s' "${PRETTY_NAME:-}")
  fi
  [[ " $id $like " == *" debian "* ]] && command -v apt-get >/dev/null || die "This is ${name}, which is not supported." \
    "Use Debian 12 or 13, or a system made from them."
}

# require_space FOLDER: 4 GiB for images, builds and packages.
require_space() {
  local folder=$1 free
  until [[ -d $folder ]]; do folder=$(dirname "$folder"); done
  free=$(df --output=avail -k "$folder" | tail -n 1)
  ((free >= 4 * 1024 * 1024)) || die "$folder has $((free / 1024)) MiB free; 4096 MiB are needed." \
    "Free some space, or choose another folder with PAAS_HOME."
}

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }
has_systemd() { [[ -d /run/systemd/system ]]; }

# install_packages PACKAGE...: those that are missing, with one call, and without starting any service.
# A name that ends with "?" is left out where the system does not have it; "a|b" is the first of them that it has.
install_packages() {
  local wanted=() missing=() package name found is_needed=
  for package in "$@"; do
    found=
    for name in ${package//[|?]/ }; do
      if is_installed "$name"; then found=1; fi
    done
    if [[ -z $found ]]; then
      wanted+=("$package")
      [[ $package == *\? ]] || is_needed=1
    fi
  done
  step packages
  if ((${#wanted[@]} == 0)); then
    done_step "all there"
    return
  fi
  export DEBIAN_FRONTEND=noninteractive
  if [[ -n $is_needed ]]; then
    HINT="Check the network and /etc/apt, then run it again." quietly "apt-get update" \
      apt-get -q -o DPkg::Lock::Timeout=300 update
  fi
  for package in "${wanted[@]}"; do
    found=
    for name in ${package//[|?]/ }; do
      if [[ -z $found ]] && apt-cache show --no-all-versions "$name" >/dev/null 2>&1; then found=$name; fi
    done
    if [[ -n $found ]]; then
      missing+=("$found")
    elif [[ $package != *\? ]]; then
      die "The package ${package//|/ or } is not to be had." "Enable Debian's main section in /etc/apt/sources.list."
    fi
  done
  if ((${#missing[@]})); then
    # Packages start their services when they are installed. Ours run with a configuration of our own.
    local policy=/usr/sbin/policy-rc.d ours=
    if [[ ! -e $policy ]]; then
      ours=1
      printf '#!/bin/sh\nexit 101\n' >"$policy"
      chmod 755 "$policy"
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    HINT="Repair the packages first: apt-get -f install" quietly "apt-get install ${missing[*]}" \
      apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}"
    if [[ -n $ours ]]; then
      rm -f "$policy"
      trap - EXIT
    fi
    if has_systemd; then
      for name in nginx redis-server docker-registry; do
        [[ " ${missing[*]} " == *" $name "* ]] || continue
        systemctl --quiet disable --now "$name" 2>/dev/null || true
        systemctl --quiet mask "$name" 2>/dev/null || true
      done
      # The engine stays a service of the machine: apps come back with it after a boot, and outlive its own restarts.
      if [[ " ${missing[*]} " == *" docker.io "* && ! -e /etc/docker/daemon.json ]]; then
        mkdir -p /etc/docker
        printf '{"live-restore": true}\n' >/etc/docker/daemon.json
      fi
    fi
  fi
  if ((${#missing[@]})); then done_step "${#missing[@]} installed"; else done_step "all there"; fi
}

# platform_packages: what this platform needs here, one name a line.
platform_packages() {
  printf '%s\n' git curl ca-certificates python3 python3-venv iproute2 procps mmdebstrap \
    nginx libnginx-mod-http-lua libnginx-mod-stream libnginx-mod-stream-js \
    lua-cjson 'libnginx-mod-http-brotli-filter?'
  [[ -n $(saved REDIS_URL) ]] || printf '%s\n' redis-server
  [[ -n $(saved PAAS_REGISTRY_URL) ]] || printf '%s\n' docker-registry
  # Any engine that is there already is used as it is.
  if [[ -z $(saved DOCKER_HOST) && ! -S /var/run/docker.sock ]] && ! command -v dockerd >/dev/null; then
    printf '%s\n' docker.io iptables
    if [[ $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) == Y ]]; then printf '%s\n' apparmor; fi
  fi
}

# install_python FILE: the locked requirements, into .venv, when they changed.
install_python() {
  local file=$1 stamp wanted python=$ROOT/.venv/bin/python
  step "${2:-python}"
  if ! "$python" -c 'import pip' 2>/dev/null; then
    rm -rf "$ROOT/.venv"
    quietly "Making .venv" python3 -m venv "$ROOT/.venv"
  fi
  stamp=$ROOT/.venv/.installed-$file
  wanted="$("$python" -c 'import sys; print(sys.version)' | tr '\n' ' ') $(sha256sum <"$ROOT/$file")"
  if [[ -r $stamp && $(<"$stamp") == "$wanted" ]]; then
    done_step "$("$python" -V), $file unchanged"
    return
  fi
  HINT="Check the network and pip's settings (pip config list), then run it again." quietly "Installing $file" \
    "$python" -m pip install --disable-pip-version-check --no-input --require-hashes --requirement "$ROOT/$file"
  printf '%s\n' "$wanted" >"$stamp"
  done_step "$("$python" -V), $file installed"
}

# run_python MODULE [ARGUMENT]...: a module of ours, from any folder.
run_python() {
  PYTHONPATH=$ROOT exec "$ROOT/.venv/bin/python" -m "$@"
}
