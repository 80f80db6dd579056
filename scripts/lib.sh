# Sourced by the other scripts: where things are built, and what must be installed.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Outside the checkout: the next clone builds in seconds. RocksDB alone costs about 20 CPU minutes.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/countersign"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
export COUNTERSIGN_BIN="$CARGO_TARGET_DIR/release/countersign"

# Everything that is built here. What ships is a part of it, with the same features (`tests/test_builds.py`), so RocksDB
# is compiled once.
selection=(--release --locked --workspace --all-targets)

# The compiler of rust-toolchain.toml; another one where rustup does not have it and can't fetch it.
if command -v rustup >/dev/null && ! timeout 600 cargo --version >/dev/null 2>&1; then
    RUSTUP_TOOLCHAIN=$(rustup default 2>/dev/null | cut -d' ' -f1)
    export RUSTUP_TOOLCHAIN
    echo "The compiler of rust-toolchain.toml can't be had here; taking $RUSTUP_TOOLCHAIN." >&2
fi

say() { printf '\n== %s\n' "$*"; }

# need COMMAND-OR-FILE PACKAGE...: installs Debian packages whose command or file is missing.
missing=()
need() {
    local probe=$1
    shift
    if ! command -v "$probe" >/dev/null 2>&1 && ! compgen -G "$probe" >/dev/null; then
        missing+=("$@")
    fi
}

install_missing() {
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing ${missing[*]}"
        apt-get -o Acquire::Retries=5 update -qq
        DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "Install what is missing, then run this again:" >&2
        echo "  sudo apt-get install -y ${missing[*]}" >&2
        exit 69
    fi
}

need_build_tools() {
    if ! command -v cargo >/dev/null; then
        echo "Install Rust 1.89 or newer (rustup), then run this again." >&2
        exit 69
    fi
    need g++ g++
    need '/usr/lib/llvm-*/lib/libclang.so*' libclang-dev
    need clang clang
    need /etc/ssl/certs/ca-certificates.crt ca-certificates
    install_missing
}

# cargo_tool NAME VERSION: installs a cargo command, and prints the folder that has it.
cargo_tool() {
    local root="$cache/tools/$1-$2"
    if [ ! -x "$root/bin/$1" ]; then
        cargo install --quiet --locked "$1@$2" --root "$root" --target-dir "$cache/tools/target" >&2
    fi
    echo "$root/bin"
}

# Writes the list of the parts of a release (CycloneDX).
parts_tool() { cargo_tool cargo-cyclonedx 0.5.9; }

build() {
    say "building (the first time takes about 20 CPU minutes: RocksDB; target directory $CARGO_TARGET_DIR)"
    cargo build "${selection[@]}"
}
