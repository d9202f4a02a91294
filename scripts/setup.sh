#!/usr/bin/env bash
# Installs what the build needs and the machine lacks. `--ci` adds what lint, fuzzing and CI need,
# `--sm70` what the GPU plug-in for compute capability 7.0 does.
# As root, or with sudo, through apt; otherwise it prints the one line to run and exits 1.
# SKIP_SETUP=1 skips it, for systems that are not in scripts/packages.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

want=build
[[ ${1:-} == --ci ]] && want=check
[[ ${1:-} == --sm70 ]] && want=sm70
if [[ -n ${SKIP_SETUP:-} ]]; then
  echo "setup: skipped (SKIP_SETUP is set)"
  exit 0
fi

# A stamp holds the table's and these scripts' sum, so that a finished set-up costs nothing.
stamp=build/.setup-$want
sum=$(cat scripts/packages.txt scripts/setup.sh scripts/cargo.sh | cksum)
[[ -f $stamp && $(<"$stamp") == "$sum" ]] && exit 0

column=0 # of packages.txt; 0 means that this system is not in the table
system=unknown
if [[ -r /etc/os-release ]]; then
  system=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-}")
fi
case $system in
  "debian 12") column=3 ;;
  "debian 13") column=4 ;;
  "ubuntu 24.04") column=5 ;;
esac

installed() { # how, package
  case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null ;;
    run:*) bash -c "${1#run:}" >/dev/null 2>&1 ;;
    pkg) [[ $(dpkg-query -W -f='${db:Status-Status}' "$2" 2>/dev/null) == installed ]] ;;
  esac
}

missing=()
while IFS='|' read -r set how deb12 deb13 ubuntu; do
  read -r set <<<"$set"
  read -r how <<<"$how"
  [[ -z $set || $set == \#* ]] && continue
  [[ $set != build && $set != "$want" ]] && continue
  names=("" "" "" "$deb12" "$deb13" "$ubuntu")
  read -ra packages <<<"${names[$((column == 0 ? 3 : column))]}"
  [[ ${packages[0]} == - ]] && continue
  if ((column == 0)); then
    missing+=("${packages[@]}")
  elif ! installed "$how" "${packages[0]}"; then
    missing+=("${packages[@]}")
  fi
done <scripts/packages.txt

if ((column == 0)); then
  echo "setup: this system ($system) is not Debian 12, Debian 13 or Ubuntu 24.04." >&2
  echo "Install what these Debian 12 packages hold, then run again with SKIP_SETUP=1:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  exit 1
fi

if ((${#missing[@]})); then
  as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "setup: these packages are missing; as root, run:" >&2
      echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  mkdir -p build
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    </dev/null >build/setup.log 2>&1 || {
      tail -n 20 build/setup.log >&2
      echo "setup: apt-get failed; its whole output is in build/setup.log" >&2
      exit 1
    }
fi
scripts/cargo.sh --version >/dev/null
mkdir -p build
echo "$sum" >"$stamp"
echo "setup: everything is there"
