#!/usr/bin/env bash
# Finds or prepares a CUDA toolkit to build with; no GPU is needed.
#
#   scripts/cuda_toolkit.sh [--wheels] [DIR]   writes DIR/env; DIR is target/cuda-toolkit unless given
#   . DIR/env                                  then `cargo … --features cuda,cudnn` builds, into target/cuda
#
# The toolkit is, in this order: the one that CUDA_HOME or CUDA_PATH name, DIR if an earlier call filled it, that of
# the nvcc on PATH, /usr/local/cuda; each only with cuDNN. Without any, and always with --wheels, DIR is filled from
# NVIDIA's Python wheels, 1.7 GB. A filled folder is left as it is, an interrupted one is completed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# One release of CUDA and the versions that PyTorch 2.11 resolves to. A newer nvcc may emit PTX that a driver for
# CUDA 13.0 rejects.
wheels=(
    nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
    nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88 nvidia-curand==10.4.0.35 nvidia-cublas==13.1.0.3
    nvidia-cudnn-cu13==9.19.0.56
)

say() { echo "cuda_toolkit: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

only_wheels=
dir=$root/target/cuda-toolkit
for argument; do
    case $argument in
    --wheels) only_wheels=yes ;;
    -*) fail "unknown option $argument; usage: scripts/cuda_toolkit.sh [--wheels] [DIR]" ;;
    *) dir=$argument ;;
    esac
done
mkdir -p "$dir" || fail "$dir cannot be made; name another folder"
dir=$(cd "$dir" && pwd -P)
# The folder's contents depend on the wheels and on the functions that this cudarc links to.
stamp="${wheels[*]} cudarc $(sed -n '/^name = "cudarc"$/{n;p;}' "$root/Cargo.lock")"

filled() { [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ]; }

# A toolkit that somebody installed, with cuDNN in it or among the system's libraries.
installed() {
    case $1 in "$dir"/*) return 1 ;; esac
    [ -x "$1/bin/nvcc" ] || return 1
    [ -n "$(find -L "$1/include" /usr/include -maxdepth 2 -name cudnn.h 2>/dev/null)" ] &&
        [ -n "$(find -L "$1/lib64" "$1/lib" /usr/lib64 /usr/lib -maxdepth 2 -name libcudnn.so 2>/dev/null)" ] && return
    say "passing over $1: it has no cuDNN (cudnn.h, libcudnn.so)"
    return 1
}

find_toolkit() {
    local nvcc candidate
    nvcc=$(realpath "$(command -v nvcc)" 2>/dev/null || true)
    for candidate in "${CUDA_HOME:-}" "${CUDA_PATH:-}" "$dir" "${nvcc%/bin/nvcc}" /usr/local/cuda; do
        if [ "$candidate" = "$dir" ]; then filled; else [ -z "$only_wheels" ] && installed "$candidate"; fi || continue
        home=$candidate
        return
    done
    return 1
}

fill() {
    local python=$dir/venv/bin/python nvidia library
    say "filling $dir from Python wheels"
    python3 -m venv "$dir/venv" >&2 ||
        fail "needs python3 with venv (Debian: apt install python3-venv), or CUDA 13 and cuDNN 9 with CUDA_HOME set"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps "${wheels[@]}" >&2 ||
        fail "pip could not install the wheels (see above): check network and disk (4 GB free), then run this again"
    nvidia=$("$python" -c 'import nvidia; print(*nvidia.__path__)')

    rm -rf "$dir"/{bin,nvvm,include,lib,lib64}
    mkdir -p "$dir"/{include,lib/stubs}
    ln -sr "$nvidia"/cu13/{bin,nvvm} "$dir"
    ln -sr "$nvidia"/{cu13,cudnn}/include/* "$dir/include"
    for library in "$nvidia"/{cu13,cudnn}/lib/lib*; do
        ln -sr "$library" "$dir/lib"
        case $library in *.so.*) ln -sf "${library##*/}" "$dir/lib/$(basename "${library%%.so.*}").so" ;; esac
    done
    ln -s lib "$dir/lib64"
    stub
    "$dir/bin/nvcc" --version >/dev/null || fail "$dir/bin/nvcc does not run; remove $dir and run this again"
    echo "$stamp" >"$dir/stamp"
}

# The driver's library is on machines with a GPU only. To link, one with the same functions will do; each returns
# CUDA_ERROR_UNKNOWN. It lies apart from the others, so that no program finds it at run time.
stub() {
    local cudarc
    cudarc=$(cd "$root" && cargo metadata --format-version 1 --features cuda,cudnn | python3 -c '
import json, sys
print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"))') ||
        fail "cargo metadata does not find the crate cudarc (see above)"
    sed -n 's/^pub unsafe fn \(cu[A-Za-z0-9_]*\)(.*/int \1(void) { return 999; }/p' \
        "${cudarc%/*}/src/driver/sys/mod.rs" | sort -u >"$dir/lib/stubs/libcuda.c"
    grep -q cuInit "$dir/lib/stubs/libcuda.c" || fail "no driver functions in $cudarc's sources: has cudarc changed?"
    cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$dir/lib/stubs/libcuda.so.1" "$dir/lib/stubs/libcuda.c" ||
        fail "cc could not compile the driver stub (see above); a C compiler is needed (Debian: apt install gcc libc6-dev)"
    ln -s libcuda.so.1 "$dir/lib/stubs/libcuda.so"
}

if ! find_toolkit; then
    fill
    home=$dir
fi
home=$(cd "$home" && pwd -P)

printf 'toolkit=%q\nroot=%q\n' "$home" "$root" >"$dir/env.new"
cat >>"$dir/env.new" <<'END'
# Written by scripts/cuda_toolkit.sh, to be sourced.
export CUDA_HOME=$toolkit CUDA_PATH=$toolkit
export PATH=$toolkit/bin:$PATH
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90}
# candle's build script remembers which kernels it compiled, so each way of compiling them has its own folder.
if [ -n "${CANDLE_QUANTIZED:-}" ]; then
    export NVCC=$toolkit/bin/nvcc CARGO_TARGET_DIR=$root/target/cuda-quantized
else
    export NVCC=$root/scripts/nvcc_unquantized.sh CARGO_TARGET_DIR=$root/target/cuda
fi
unset toolkit root
END
mv "$dir/env.new" "$dir/env"
say "using $home, settings in $dir/env"
