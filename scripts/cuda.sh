#!/usr/bin/env bash
# The GPU plug-in, on a machine with or without a GPU:
#   scripts/cuda.sh toolkit         prints the folder of a CUDA 13 toolkit: the machine's own, or
#                                   else wheels installed into build/cuda-toolkit (1.1 GB)
#   scripts/cuda.sh build [TARGET]  builds the tree build/cuda with the plug-in in it
#   scripts/cuda.sh compile         compiles the plug-in alone, for 9.0 and as PTX: what CI does
#   scripts/cuda.sh test [ARG …]    runs the GPU tests of build/cuda; the last line counts them
# CUDA_ARCHITECTURES="90a;80-virtual" chooses what device code is made; "all" is machine code for every
# generation from 8.0 on, and PTX for later ones; "80@90" is what an 8.0 runs, for a 9.0 to test.
set -euo pipefail
cd "$(dirname "$0")/.."

packages='cuda-toolkit[nvcc,cudart,cccl,crt,nvvm]==13.0.2'
wheels=$PWD/build/cuda-toolkit

is_toolkit() { # folder
  [[ -x $1/bin/nvcc ]] && "$1/bin/nvcc" --version | grep -q 'release 13\.'
}

toolkit() {
  local nvcc
  for nvcc in "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
    [[ -n $nvcc ]] || continue
    nvcc=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
    if is_toolkit "$nvcc"; then
      echo "$nvcc"
      return
    fi
  done
  if ! is_toolkit "$wheels/nvidia/cu13"; then
    echo "cuda: installing a CUDA 13 toolkit into build/cuda-toolkit" >&2
    mkdir -p build
    # pip comes from a venv: the system's python3 may have none.
    {
      python3 -m venv build/cuda-venv &&
        build/cuda-venv/bin/pip install --quiet --disable-pip-version-check --no-compile \
          --target "$wheels" --upgrade "$packages"
    } >build/cuda-toolkit.log 2>&1 || {
      tail -n 5 build/cuda-toolkit.log >&2
      echo "cuda: no CUDA 13 toolkit is here and its wheels cannot be had" >&2
      exit 3
    }
  fi
  is_toolkit "$wheels/nvidia/cu13"
  echo "$wheels/nvidia/cu13"
}

configure() { # tree, architectures
  cmake --preset cuda -B "$1" -DM2_CUDA_TOOLKIT="$(toolkit)" -DM2_CUDA_ARCHITECTURES="$2" \
    -DM2_CARGO="$PWD/scripts/cargo.sh" -DM2_CARGO_TARGET_DIR="$PWD/build/cargo" >"$1.log" 2>&1 || {
    cat "$1.log" >&2
    exit 1
  }
}

command=${1:?usage: scripts/cuda.sh toolkit|build|compile|test}
shift
export CCACHE_BASEDIR=$PWD
case $command in
  toolkit) toolkit ;;
  build)
    mkdir -p build/cuda
    configure build/cuda "${CUDA_ARCHITECTURES:-90a;80-virtual}"
    ninja -C build/cuda -j "$(nproc)" --quiet "$@"
    ;;
  compile)
    mkdir -p build/cuda-ci
    configure build/cuda-ci "90a;80-virtual"
    ninja -C build/cuda-ci -j "$(nproc)" --quiet m2_cuda
    ;;
  test)
    rm -rf build/cuda/results
    mkdir -p build/cuda/results
    # A program that dies leaves no counts: its own status is kept.
    status=0
    export GTEST_OUTPUT="json:$PWD/build/cuda/results/"
    build/cuda/bin/backend_cuda_test "$@" || status=$?
    [[ $# -gt 0 ]] || {
      build/cuda/bin/runtime_test --gtest_filter='GpuRuntime*' || status=$?
      build/cuda/bin/runtime_allocation_test --gtest_filter='*OnAGpu' || status=$?
    }
    python3 scripts/count_tests.py build/cuda/results || status=1
    exit $status
    ;;
  *)
    echo "cuda: no command $command" >&2
    exit 2
    ;;
esac
