#!/usr/bin/env bash
# Type-checks the workspace for macOS on a Debian machine, by hand: `xtask/check-macos.sh [PACKAGE…]`. Not a part of
# `cargo ci`, for it downloads some 250 MB. Checks only: linking would need Apple's SDK.
#
# The standard library for a target that rustup has not installed is compiled from its source (-Zbuild-std), which
# Debian carries beside a compiler of the same version (rustc-web, for browsers). C code is compiled by zig. Nothing is
# installed: everything is unpacked under target/macos, and stays there for the next time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=aarch64-apple-darwin
work=$(realpath -m "${CARGO_TARGET_DIR:-target}")/macos
mkdir -p "$work/debs" "$work/root" "$work/zig" "$work/sdk"

if [[ ! -x $work/root/usr/bin/cargo ]]; then
    mapfile -t packages < <(
        apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
            --no-enhances rustc-web cargo-web rust-web-src libstd-rust-web-dev |
            grep -E '^(rustc-web|cargo-web|rust-web-src|libstd-rust-web.*|libllvm.*|libgit2.*|libhttp-parser.*|libmbed.*)$' | sort -u
    )
    echo "downloading: ${packages[*]}" >&2
    (cd "$work/debs" && apt-get download -q "${packages[@]}")
    for package in "$work"/debs/*.deb; do
        dpkg-deb --extract "$package" "$work/root"
    done
fi
if [[ ! -x $work/zig/ziglang/zig ]]; then
    python3 -m pip download -q --no-deps --dest "$work/zig" ziglang
    (cd "$work/zig" && python3 -m zipfile -e ziglang-*.whl . && chmod +x ziglang/zig)
fi

# zig knows its target by one word; what cc-rs says to Apple's clang is left away.
cat >"$work/cc" <<CC
#!/usr/bin/env bash
kept=()
while ((\$#)); do
    case \$1 in
        --target=* | -mmacosx-version-min=*) ;;
        -arch | -isysroot | -target) shift ;;
        *) kept+=("\$1") ;;
    esac
    shift
done
exec "$work/zig/ziglang/zig" cc -target aarch64-macos "\${kept[@]}"
CC
cat >"$work/ar" <<AR
#!/bin/sh
exec "$work/zig/ziglang/zig" ar "\$@"
AR
chmod +x "$work/cc" "$work/ar"

selected=(--workspace)
(($#)) && selected=() && for package; do selected+=(--package "$package"); done
export RUSTC_BOOTSTRAP=1 RUSTC=$work/root/usr/bin/rustc CARGO_TARGET_DIR=$work/target SDKROOT=$work/sdk
export LD_LIBRARY_PATH=$work/root/usr/lib/$(uname -m)-linux-gnu
export CC_aarch64_apple_darwin=$work/cc AR_aarch64_apple_darwin=$work/ar ZIG_GLOBAL_CACHE_DIR=$work/zig-cache
"$RUSTC" --version >&2
exec "$work/root/usr/bin/cargo" check -Zbuild-std --target "$target" --all-targets "${selected[@]}"
