# What scripts/setup and scripts/get-models share: pinned downloads from the Python package index into .deps.
# To be sourced from the project's folder; the caller sets $work, a temporary folder, and $again, how to run it anew.
lock=scripts/lock
deps=$PWD/.deps
python=/usr/bin/python3

say() { echo "${0##*/}: $*" >&2; }
die() { say "$*"; exit 1; }

venv() {
    local dir=$deps/$1
    shift
    [ -x "$dir/bin/python" ] && "$dir/bin/python" -m pip --version >/dev/null 2>&1 && return 0
    rm -rf "$dir"
    "$python" -m venv "$@" "$dir" >&2 || die "cannot make $dir; is python3-venv installed?"
}

# pip VENV VERB REQUIREMENTS ...: everything in the file is pinned by name, version and sha256.
pip() {
    local dir=$1 verb=$2 file=$3
    shift 3
    "$deps/$dir/bin/python" -m pip "$verb" -q --no-input --disable-pip-version-check --retries 2 --timeout 60 \
        --require-hashes --no-deps -r "$file" "$@" >"$work/pip.log" 2>&1 </dev/null || {
        grep -E '^ERROR' "$work/pip.log" | head -n 3 >&2 || true
        ! grep -q CERTIFICATE_VERIFY_FAILED "$work/pip.log" ||
            say "the index's certificate is not trusted here (behind a proxy, set PIP_CERT to its certificates)"
        die "cannot get the files of $file (offline?); run $again once with a network," \
            "or point PIP_FIND_LINKS at a folder that holds them"
    }
}

unzip() { "$python" -m zipfile -e "$1" "$2"; }

# Moves a finished folder into its place, so that a broken download never looks like a finished one.
place() { rm -rf "${deps:?}/$2" && mv "$1" "$deps/$2"; }

# The same for the files of a folder that others share.
place_files() {
    local file
    (cd "$1" && find . -type f) | while read -r file; do
        mkdir -p "$deps/$2/$(dirname "$file")"
        mv -f "$1/$file" "$deps/$2/$file"
    done
}

# One download at a time, of whichever script.
hold_deps() {
    mkdir -p "$deps"
    exec 9>"$deps/.lock"
    flock 9
}
