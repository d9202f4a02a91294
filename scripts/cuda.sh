#!/usr/bin/env bash
# The GPU plug-in, on a machine with or without a GPU:
#   scripts/cuda.sh toolkit         prints the folder of a CUDA 13 toolkit: the machine's own, or
#                                   else wheels installed into build/cuda-toolkit (1.1 GB)
#   scripts/cuda.sh build [TARGET]  builds the tree build/cuda with the plug-in in it
#   scripts/cuda.sh compile         compiles the plug-in alone, for 9.0 and as PTX: what CI does
#   scripts/cuda.sh test [ARG …]    runs the GPU tests of build/cuda; the last line counts them
#   scripts/cuda.sh sanitize        a small set of them under each of compute-sanitizer's tools, which must be
#                                   installed
#   scripts/cuda.sh test-emulated [ARG …]  the emulator's own tests, and some of the GPU's on it, in tree
#                                   build/cuda-ci: what CI does. M2_EMULATOR_SEED=N has another order of
#                                   everything; M2_EMULATOR_MULTIPROCESSORS=N, 6 by default, other grids
#   scripts/cuda.sh build-sm70      builds m2 and the plug-in for 7.0 and 7.2, for which CUDA 13 does
#                                   not compile: clang 19 does, over CUDA 12.9 wheels (285 MB)
#   scripts/cuda.sh compile-sm70    compiles that plug-in alone: what CI does
#   scripts/cuda.sh test-sm70 [ARG …]  the same tests of that plug-in: a newer GPU runs its PTX
# CUDA_ARCHITECTURES="90a;80-virtual" chooses what device code is made; "all" is machine code for every
# generation from 7.5 on, and PTX for later ones; "75@90" is what a 7.5 runs, for a 9.0 to test.
set -euo pipefail
cd "$(dirname "$0")/.."

packages='cuda-toolkit[nvcc,cudart,cccl,crt,nvvm]==13.0.2'
wheels=$PWD/build/cuda-toolkit
packages_sm70=(nvidia-cuda-nvcc-cu12==12.9.86 nvidia-cuda-runtime-cu12==12.9.79
  nvidia-cuda-cccl-cu12==12.9.27 nvidia-curand-cu12==10.3.10.19)
sm70=$PWD/build/cuda-sm70

is_toolkit() { # folder
  [[ -x $1/bin/nvcc ]] && "$1/bin/nvcc" --version | grep -q 'release 13\.'
}

pip_install() { # folder, packages: pip comes from a venv, since the system's python3 may have none
  python3 -m venv build/cuda-venv &&
    build/cuda-venv/bin/pip install --quiet --disable-pip-version-check --no-compile \
      --target "$1" --upgrade "${@:2}"
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
    pip_install "$wheels" "$packages" >build/cuda-toolkit.log 2>&1 || {
      tail -n 5 build/cuda-toolkit.log >&2
      echo "cuda: no CUDA 13 toolkit is here and its wheels cannot be had" >&2
      exit 3
    }
  fi
  is_toolkit "$wheels/nvidia/cu13"
  echo "$wheels/nvidia/cu13"
}

# The wheels as clang looks for a toolkit. They hold no fatbinary: CUDA 13's serves, told in its words
# what clang 19 asks for in CUDA 12's.
toolkit_sm70() {
  local stamp=$sm70/.packages toolkit13 from=$sm70/wheels/nvidia part
  toolkit13=$(toolkit)
  [[ -f $stamp && $(<"$stamp") == "${packages_sm70[*]} $toolkit13" ]] && return
  echo "cuda: installing what compiles for 7.0 into build/cuda-sm70" >&2
  rm -rf "$sm70"
  mkdir -p "$sm70"/{bin,include,lib64}
  pip_install "$sm70/wheels" --no-deps "${packages_sm70[@]}" >build/cuda-sm70.log 2>&1 || {
    tail -n 5 build/cuda-sm70.log >&2
    echo "cuda: the wheels of CUDA 12.9 cannot be had" >&2
    exit 3
  }
  ln -s "$from"/cuda_nvcc/nvvm "$sm70/nvvm"
  ln -s "$from"/cuda_nvcc/bin/ptxas "$sm70/bin/ptxas"
  ln -s "$from"/cuda_runtime/lib/*.a "$sm70/lib64"
  for part in cuda_cccl cuda_nvcc curand cuda_runtime; do
    cp -rsf "$from/$part"/include/* "$sm70/include"
  done
  cat >"$sm70/bin/fatbinary" <<END
#!/usr/bin/env bash
arguments=()
for argument in "\$@"; do
  case \$argument in
    --image=profile=sm_*) argument=--image3=kind=elf,sm=\${argument#--image=profile=sm_} ;;
    --image=profile=compute_*) argument=--image3=kind=ptx,sm=\${argument#--image=profile=compute_} ;;
  esac
  arguments+=("\$argument")
done
exec "$toolkit13/bin/fatbinary" "\${arguments[@]}"
END
  chmod +x "$sm70/bin/fatbinary"
  echo "${packages_sm70[*]} $toolkit13" >"$stamp"
}

configure() { # tree, architectures, more
  local found
  found=$(toolkit) # ends the script where there is none
  cmake --preset cuda -B "$1" -DM2_CUDA_TOOLKIT="$found" -DM2_CUDA_ARCHITECTURES="$2" "${@:3}" \
    -DM2_CARGO="$PWD/scripts/cargo.sh" -DM2_CARGO_TARGET_DIR="$PWD/build/cargo" >"$1.log" 2>&1 || {
    cat "$1.log" >&2
    exit 1
  }
}

command=${1:?usage: scripts/cuda.sh toolkit|build|compile|test|test-emulated|build-sm70|compile-sm70|test-sm70}
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
  build-sm70)
    mkdir -p build/cuda
    toolkit_sm70
    configure build/cuda "${CUDA_ARCHITECTURES:-90a;80-virtual}" -DM2_CUDA_SM70_TOOLKIT="$sm70"
    (($#)) || set -- m2_cuda_sm70 m2
    ninja -C build/cuda -j "$(nproc)" --quiet "$@"
    ;;
  compile-sm70)
    mkdir -p build/cuda-ci
    toolkit_sm70
    configure build/cuda-ci "90a;80-virtual" -DM2_CUDA_SM70_TOOLKIT="$sm70"
    ninja -C build/cuda-ci -j "$(nproc)" --quiet m2_cuda_sm70
    ;;
  test-emulated)
    # Under the name by which the plug-in is opened. A fault ends a program, which counts as failed. Two
    # programs share the tests.
    mkdir -p build/cuda-ci
    configure build/cuda-ci "90a;80-virtual"
    ninja -C build/cuda-ci -j "$(nproc)" --quiet m2_cuda_emulated backend_cuda_test cuda_emulator_test
    rm -rf build/cuda-ci/results
    mkdir -p build/cuda-ci/results
    GTEST_OUTPUT="json:build/cuda-ci/results/" build/cuda-ci/bin/cuda_emulator_test
    export LD_LIBRARY_PATH=$PWD/build/cuda-ci/emulated${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export GTEST_FILTER='CudaForms.*:CudaPlanted.AStale*:CudaMixed.ARow*:CudaStep.*:CudaSampler*'
    GTEST_FILTER+=':-CudaSampler.EveryKind*:CudaSampler.ManyDraws*' # a hundred seconds each
    GTEST_FILTER=CudaForms.LongContexts M2_EMULATOR_MULTIPROCESSORS=40 \
      GTEST_OUTPUT="json:build/cuda-ci/results/many.json" build/cuda-ci/bin/backend_cuda_test
    export GTEST_TOTAL_SHARDS=2
    for shard in 1 0; do
      GTEST_SHARD_INDEX=$shard GTEST_OUTPUT="json:build/cuda-ci/results/shard_$shard.json" \
        build/cuda-ci/bin/backend_cuda_test "$@" >build/cuda-ci/results/shard_$shard.log 2>&1 &
      programs+=($!)
    done
    status=0
    for program in "${programs[@]}"; do wait "$program" || status=$?; done
    cat build/cuda-ci/results/*.log
    ! grep -q SKIPPED build/cuda-ci/results/*.log || status=1 # the plug-in was not opened
    exit $status
    ;;
  test-sm70)
    # Under the name by which a newer GPU's plug-in is opened.
    mkdir -p build/cuda/sm70
    ln -sfn ../bin/libm2_cuda_sm70.so build/cuda/sm70/libm2_cuda.so
    export LD_LIBRARY_PATH=$PWD/build/cuda/sm70${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    exec env GTEST_FILTER='-*StepTimes' scripts/cuda.sh test "$@"
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
  sanitize)
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer) || {
      echo "cuda: compute-sanitizer is not installed" >&2
      exit 3
    }
    tests='CudaForms.*:CudaStep.*:CudaMixed.*:CudaSampler*'
    slow='CudaSampler.EveryKind*:CudaSampler.ManyDraws*'
    # synccheck keeps account of so many barriers, warns of more, and then gives kernels wrong results.
    many='CudaForms.RealWidths:CudaForms.ARowOfOneKvHead:CudaForms.LongContexts:CudaForms.ChoiceAmongEqual*'
    # Under racecheck the logprobs' test takes half a minute, and that of broken logits longer.
    declare -A without=([memcheck]="$slow" [initcheck]="$slow" [synccheck]="$slow:$many"
      [racecheck]="$slow:CudaSampler.Logprobs*:CudaSamplerBroken.*")
    status=0
    for tool in memcheck initcheck synccheck racecheck; do
      echo "cuda: $tool"
      "$sanitizer" --tool "$tool" --error-exitcode 1 build/cuda/bin/backend_cuda_test --gtest_brief=1 \
        --gtest_filter="$tests:-${without[$tool]}" || status=1
    done
    exit $status
    ;;
  *)
    echo "cuda: no command $command" >&2
    exit 2
    ;;
esac
