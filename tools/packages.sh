# Installing Debian packages, shared by setup and test. Sourced, not run. POSIX sh.

# shellcheck disable=SC2034 # who sources this reads them
{
packages_build='meson ninja-build pkg-config gcc libc6-dev git libevent-dev libnanomsg-dev libcjson-dev libseccomp-dev
    libyaml-dev libsqlite3-dev libcurl4-openssl-dev libzstd-dev libsmartcols-dev libssl-dev libarchive-dev libexpat1-dev libpcre2-dev
    musl-tools gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
packages_test='python3 python3-pytest cmake mmdebstrap debian-archive-keyring qemu-user-static procps jq curl make openssh-client openssh-server docker-registry apache2-utils openssl
    podman conmon runc uidmap slirp4netns'
# libFuzzer and llvm-cov: only for `tools/test --long` and tests/fuzz/run.
packages_fuzz='clang llvm libclang-rt-14-dev'
packages_check='python3 clang-tidy cppcheck shellcheck pyflakes3'
packages_engine=docker.io
}

# packages_missing NAME...: prints those that are not installed.
packages_missing() {
    for package in "$@"; do
        status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || status=
        [ "$status" = installed ] || printf '%s ' "$package"
    done
}

# packages_install PURPOSE NAME...: installs what is missing and says so first. Without root it prints the command that
# the administrator must run and ends with 2. Does not need apt when nothing is missing.
packages_install() {
    purpose=$1
    shift
    if ! command -v dpkg-query >/dev/null 2>&1; then
        echo "$0: this is no Debian system (no dpkg-query); install what corresponds to: $*" >&2
        return 0
    fi
    missing=$(packages_missing "$@")
    missing=${missing% }
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "$0: $purpose needs Debian packages that are not installed. As root, run:" >&2
        echo "    apt-get update && apt-get install --yes --no-install-recommends $missing" >&2
        exit 2
    fi
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "$0: $purpose needs these packages, and there is no apt-get to install them: $missing" >&2
        exit 2
    fi
    echo "Installing Debian packages for $purpose: $missing"
    packages_apt update
    # shellcheck disable=SC2086 # lists of words
    packages_apt install --yes --no-install-recommends $missing
}

# Runs apt-get without questions; its output is shown only when it fails.
packages_apt() {
    packages_log=$(mktemp)
    if ! DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@" \
        </dev/null >"$packages_log" 2>&1; then
        cat "$packages_log" >&2
        rm -f "$packages_log"
        echo "$0: apt-get $1 failed (its output stands above)" >&2
        exit 3
    fi
    rm -f "$packages_log"
}
