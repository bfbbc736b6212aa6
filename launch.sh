#!/usr/bin/env bash
# Sets up .venv if needed, then runs a program of experiments/.
#
#   ./launch.sh [VERB] [FLAGS]      ./launch.sh help
#
# CNNJAX_PYTHON  the Python for the set-up (default: the first suitable one found)
# CNNJAX_EXTRA   extras of pyproject.toml to install, such as cuda13, cuda12 or tpu
# For `sh launch.sh`: other shells read no further than this line.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
# With these, no Python starts, and `cd` goes elsewhere.
unset PYTHONHOME CDPATH

self=${BASH_SOURCE[0]:-}
[ -n "$self" ] || {
  echo "launch.sh: it was given as input, not as a file: run ./launch.sh" >&2
  exit 2
}
while [ -L "$self" ]; do # not every readlink knows -f
  link=$(readlink -- "$self")
  case $link in /*) self=$link ;; *) self=$(dirname -- "$self")/$link ;; esac
done
# -P: resolve '..' in links as the system does.
root=$(cd -P -- "$(dirname -- "$self")" && pwd)
venv=$root/.venv
stamp=$venv/cnnjax-ready
running=$venv/cnnjax-setup-pid
ours=$venv/cnnjax-unfinished # while .venv is what the first set-up made, and no more
is_suitable='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
# What uv must know of the settings of pip: of `pip config list`, as NAME=VALUE.
as_uv_settings='
import ast, os, sys
names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX",
         "find-links": "UV_FIND_LINKS", "trusted-host": "UV_INSECURE_HOST",
         "no-index": "UV_NO_INDEX", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY"}
lines = [line.split("=", 1) for line in sys.stdin if "=" in line]
found = {}
for section in "global", "install", ":env:":  # the last one counts
    for key, value in lines:
        if key.startswith(section + ".") and key[len(section) + 1 :] in names:
            found[names[key[len(section) + 1 :]]] = ast.literal_eval(value).split()
if "UV_INDEX" in found:  # as pip: the best version of all
    found["UV_INDEX_STRATEGY"] = ["unsafe-best-match"]
for name, values in found.items():
    if name not in os.environ:
        print(name, ("," if name == "UV_FIND_LINKS" else " ").join(values), sep="=")
'
# Whether everything is there: a set-up that broke off leaves half of a package, which
# pip takes for a whole one. Packages that the user added are not looked at.
is_whole='
import importlib, importlib.metadata, re, sys
def check(constraints):
    plain = lambda name: re.sub("[-_.]+", "-", name or "").lower()
    with open(constraints, encoding="utf-8") as file:
        pinned = {plain(re.match("[^=;#]*", line)[0].strip()) for line in file}
    for package in importlib.metadata.distributions():
        name = plain(package.metadata["Name"])
        # Accelerator wheels are not pinned: they follow jax.
        if name not in pinned and not name.startswith(("jax-", "nvidia-", "libtpu")):
            continue
        for file in package.files or ():
            if file.size and file.locate().stat().st_size < file.size:
                raise OSError(f"{file.locate()} is cut off")
    for name in """absl array_record flax jax jinja2 matplotlib ml_collections numpy
            optax orbax.checkpoint PIL psutil rich sklearn safetensors scipy
            tensorboardX tensorflow_datasets""".split():
        importlib.import_module(name)
try:
    check(sys.argv[1])
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
'

fail() { # CODE SENTENCE
  printf 'launch.sh: %s\n' "$2" >&2
  exit "$1"
}

verbs() { # the names of all programs
  local file
  for file in "$root"/experiments/[a-z]*.py; do
    [ -e "$file" ] && basename "$file" .py
  done
}

# Without set-up -----------------------------------------------------------------------

help() { # one line and one example per program, from its docstring
  local verb file
  cat <<'END'
./launch.sh            compare plain and residual nets by depth: a first verdict
./launch.sh test       run the tests; arguments are passed to pytest
./launch.sh docs       build the documentation, with its notebooks run; arguments go to sphinx-build

END
  for verb in $(verbs); do
    file=$root/experiments/$verb.py
    printf '%s: %s\n' "$verb" "$(sed -n '1s/^"""//p' "$file")"
    sed -n '/\.\/launch\.sh/{s/^ *\(Example: *\)\{0,1\}/    /;p;q;}' "$file"
  done
  printf '\nFlags of a program: ./launch.sh VERB --help\n'
}

check_verb() {
  local verb
  for verb in help test docs $(verbs); do
    [ "$1" != "$verb" ] || return 0
  done
  fail 2 "unknown verb '${1:0:80}'; allowed are help, test, docs$(verbs | sed 's/^/, /' |
    tr -d '\n') (./launch.sh help shows an example of each)"
}

check_extras() {
  local extra known
  known=$(sed -n '/^\[project\.optional-dependencies\]/,/^\[tool/s/^\([a-z0-9]*\) = .*/\1/p' \
    "$root/pyproject.toml" | tr '\n' ' ')
  set -f # a '*' is no pattern
  for extra in $1; do
    case " $known" in
      *" $extra "*) ;;
      *) fail 2 "CNNJAX_EXTRA has the unknown extra '$extra'; allowed are $known" ;;
    esac
  done
  set +f
}

# Set-up -----------------------------------------------------------------------------

find_python() { # prints a Python that works: a pyenv shim may exist and fail
  local candidate needs=$is_suitable
  # Some distributions package ensurepip and venv separately; uv does not need them.
  command -v uv >/dev/null || needs="import ensurepip, venv; $needs"
  if [ -n "${CNNJAX_PYTHON:-}" ]; then
    "$CNNJAX_PYTHON" -I -c "$needs" 2>/dev/null ||
      fail 2 "CNNJAX_PYTHON=$CNNJAX_PYTHON is not a Python 3.11, 3.12 or 3.13 with venv"
    printf '%s' "$CNNJAX_PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -I -c "$needs" 2>/dev/null; then
      printf '%s' "$candidate"
      return
    fi
  done
  fail 1 "no Python 3.11, 3.12 or 3.13 (with its venv module) found among python3,\
 python3.13, python3.12, python3.11; install one, or name one in CNNJAX_PYTHON"
}

fingerprint() { cat "$root/pyproject.toml" "$root/constraints.txt" | cksum; }

is_ready() { # EXTRAS: whether the set-up is complete, up to date and has these
  local made_from made_extras extra
  [ -x "$venv/bin/python" ] && [ -f "$stamp" ] || return 1
  { read -r made_from && read -r made_extras; } <"$stamp" || return 1
  [ "$made_from" = "$(fingerprint)" ] || return 1
  for extra in $1; do
    case " $made_extras " in *" $extra "*) ;; *) return 1 ;; esac
  done
}

is_setting_up() { # "PID HOST": whether it is alive and still a set-up (numbers are reused)
  set -- "${1%% *}" "${1#* }"
  case $1 in '' | 0* | *[!0-9]*) return 1 ;; esac # to kill, these are groups
  if [ "$2" != "$1" ] && [ "$2" != "$HOSTNAME" ]; then # not to be seen from here
    [ -z "$(find "$running" -mmin +10 2>/dev/null)" ]
    return
  fi
  [ "$1" != $$ ] && kill -0 "$1" 2>/dev/null || return 1
  [ -r "/proc/$1/cmdline" ] || return 0
  case $(tr '\0' ' ' <"/proc/$1/cmdline") in *launch.sh*) ;; *) return 1 ;; esac
}

holds_more() { # whether .venv holds more than the marks of a set-up
  local entry
  for entry in "$venv"/* "$venv"/.[!.]*; do
    [ "$entry" = "$running" ] || [ "$entry" = "$ours" ] || [ ! -e "$entry" ] || return 0
  done
  return 1
}

claim_set_up() { # one set-up at a time; removes the rest of an interrupted first one
  local other said= failures=0
  if ! { mkdir -p "$venv" 2>/dev/null && [ -w "$venv" ]; }; then
    [ ! -f "$stamp" ] || [ -x "$venv/bin/python" ] ||
      fail 1 "$venv/bin/python is not executable for this user: permit it and the\
 folders that it leads to"
    fail 1 "cannot write in $venv: permit it, or free space and inodes"
  fi
  until (set -o noclobber && echo "$$ $HOSTNAME" >"$running") 2>/dev/null; do
    other=$(cat "$running" 2>/dev/null) || other=
    if [ -n "$other" ] && is_setting_up "$other"; then
      [ -n "$said" ] || echo "launch.sh: waiting for the set-up of process ${other/ / on }" >&2
      said=yes
    elif [ -n "$other" ] && [ "$other" = "$(cat "$running" 2>/dev/null)" ]; then
      echo "launch.sh: the last set-up was interrupted; starting again" >&2
      [ ! -e "$ours" ] || rm -rf "$venv"
      mkdir -p "$venv"
      rm -f "$running"
      continue
    else # another is just writing its number, or nothing can be written
      failures=$((failures + 1))
      [ $failures -le 10 ] || {
        rm -f "$running" 2>/dev/null || true
        fail 1 "cannot write $running: permit it, or free space and inodes"
      }
    fi
    sleep 0.2
  done
  holds_more || { : >"$ours"; } 2>/dev/null || true
}

release_set_up() {
  holds_more || rm -f "$ours"
  rm -f "$running"
  rmdir "$venv" 2>/dev/null || true
}

give_up() { # CODE WHAT: after a step of the set-up failed
  release_set_up
  [ "$1" -le 128 ] || fail 1 "set-up failed: $2 was ended by signal $(($1 - 128)); if\
 nobody did that, memory may have been short: try again"
  fail 1 "set-up failed: $2 ended with code $1 (see above): check the network, free\
 space, and try again"
}

set_up() { # EXTRAS
  local extras python target code
  claim_set_up
  if is_ready "$1"; then # done by the set-up that we waited for
    release_set_up
    return
  fi
  extras=$({ sed -n 2p "$stamp" 2>/dev/null || true; echo "$1"; } | tr ' ' '\n' |
    sed '/^$/d' | sort -u | tr '\n' ' ')
  extras=${extras% }
  rm -f "$stamp"
  if ! "$venv/bin/python" -I -c "$is_suitable" 2>/dev/null; then
    python=$(find_python) || {
      code=$?
      release_set_up
      exit "$code"
    }
    echo "launch.sh: setting up $venv with $("$python" -I -V) (only once)" >&2
    (without_settings && make_venv "$python") || give_up $? "making $venv"
  fi
  target=.${extras:+[${extras// /,}]}
  echo "launch.sh: installing $target under constraints.txt (seconds to minutes)" >&2
  (cd "$root" && without_settings && install "$target") || give_up $? installing
  check_set_up "$extras"
  rm -f "$ours"
  { printf '%s\n%s\n' "$(fingerprint)" "$extras" >"$stamp"; } 2>/dev/null ||
    give_up 1 "writing $stamp"
  release_set_up
}

check_set_up() { # EXTRAS: removes an incomplete first one, which the next would take for whole
  local reason code=0
  # shellcheck disable=SC2086  # the extras are words
  reason=$("$venv/bin/python" -I -c "$is_whole" "$root/constraints.txt" 2>&1) ||
    code=$?
  [ $code -ne 0 ] || return 0
  [ $code -le 128 ] || give_up $code "looking at what was installed"
  reason=${reason##*$'\n'}
  case $reason in
    *"failed to map segment"*) reason="$reason; its file system forbids programs" ;;
  esac
  if [ ! -e "$ours" ]; then
    release_set_up
    fail 1 "set-up failed: $venv is incomplete (${reason:-no reason given}): install the\
 package of that file again, or remove $venv, and try again"
  fi
  rm -rf "$venv"
  fail 1 "set-up failed: $venv was incomplete and is removed (${reason:-no reason\
 given}): free space, look at the settings of pip (pip config list), and try again"
}

without_settings() { # keeps those that say where packages come from, and how
  local name
  unset PYTHONPATH PYTHONUSERBASE
  for name in ${!PIP_@} ${!UV_@}; do
    case $name in
      *INDEX* | *LINK* | *HOST* | *CERT* | *TLS* | *PROXY* | *HTTP* | *KEYRING*) ;;
      *CACHE* | *TIMEOUT* | *RETRIES* | *CONCURRENT* | *OFFLINE* | *MIRROR*) ;;
      *CONFIG* | *PREFERENCE* | *DOWNLOADS* | *USERNAME | *PASSWORD) ;;
      *) unset "$name" ;;
    esac
  done
}

make_venv() { # PYTHON
  if command -v uv >/dev/null; then
    uv venv --quiet --allow-existing --python "$1" "$venv"
  else
    "$1" -I -m venv "$venv"
  fi
}

install() { # TARGET
  local uv code=0
  if uv=$(command -v uv); then
    uv_install "$uv" "$1"
    return
  fi
  # A .venv made by uv has no pip.
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    "$venv/bin/python" -m ensurepip
  if add_uv; then # several times as fast
    (with_settings_of_pip && uv_install "$venv/bin/uv" "$1") || code=$?
    # One that was ended by a signal was short of memory, as pip would be.
    { [ $code -ne 0 ] && [ $code -le 128 ]; } || return $code
    echo "launch.sh: uv could not do it (see above): trying pip" >&2
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -c constraints.txt -e "$1"
}

uv_install() { # UV TARGET
  "$1" pip install --quiet --python "$venv/bin/python" -c constraints.txt -e "$2"
}

add_uv() { # into .venv; fails where the index has none, or programs cannot run there
  "$venv/bin/uv" --version >/dev/null 2>&1 && return
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 1 \
    -c constraints.txt uv >/dev/null 2>&1 &&
    "$venv/bin/uv" --version >/dev/null 2>&1
}

with_settings_of_pip() { # uv reads none of them
  local setting
  while IFS= read -r setting; do
    export "${setting?}"
  done < <("$venv/bin/python" -m pip config list 2>/dev/null |
    "$venv/bin/python" -I -c "$as_uv_settings")
}

# Work -------------------------------------------------------------------------------

absolute_entries() { # PATHS: those between ':' that start with '/', with ':' between them
  local entry kept=
  while IFS= read -r -d : entry; do
    case $entry in /*) kept=$kept:$entry ;; esac
  done <<<"$1:"
  printf '%s' "${kept#:}"
}

[ $# -gt 0 ] || set -- ablate --ablation=degradation --scale=quick
verb=$1
shift
case $verb in -h | --help) verb=help ;; esac
check_verb "$verb"
if [ "$verb" = help ]; then
  help
  exit
fi
extras=${CNNJAX_EXTRA:-}
extras=${extras//,/ }
check_extras "$extras"
case $root in *:*) fail 2 "$root has a ':' in its name, which neither a virtual environment\
 nor PYTHONPATH can hold: rename or move that folder" ;; esac
case $verb in test | docs) extras="$extras $verb" ;; esac
is_ready "$extras" || set_up "$extras"

# Programs run in the current folder, so that relative paths are relative to it; -P keeps
# a folder `experiments` there from hiding ours. What PYTHONPATH has comes last, so that
# it hides no package of ours; entries that are no absolute path would be the current
# folder, or in it.
given=$(absolute_entries "${PYTHONPATH:-}")
PYTHONPATH=$root
if [ -n "$given" ]; then
  for packages in "$venv"/lib/python3.*/site-packages; do
    [ ! -d "$packages" ] || PYTHONPATH=$PYTHONPATH:$packages
  done
  PYTHONPATH=$PYTHONPATH:$given
fi
export PYTHONPATH
[ -z "$given" ] ||
  "$venv/bin/python" -P -c 'import json, logging, random, typing' 2>/dev/null ||
  fail 2 "no Python starts with PYTHONPATH=$given, which hides modules of Python: unset it"
if [ "$verb" = test ]; then
  cd "$root"
  # One more than there are cores: some tests wait for other processes.
  cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
  export PYTEST_XDIST_AUTO_NUM_WORKERS=${PYTEST_XDIST_AUTO_NUM_WORKERS:-$((cores + 1))}
  exec "$venv/bin/python" -P -m pytest "$@"
fi
if [ "$verb" = docs ]; then
  cd "$root"
  echo "launch.sh: building build/docs/index.html; the notebooks take minutes" >&2
  exec "$venv/bin/python" -P -m sphinx -q -W --keep-going -d build/doctrees \
    docs build/docs "$@"
fi
exec "$venv/bin/python" -P -m "experiments.$verb" "$@"
