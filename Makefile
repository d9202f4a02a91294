# Two commands for a newcomer: `make serve` and `make test`. Both install what is missing first.
# Everything here is a line or two over scripts/, so that each step can be run on its own.

PORT ?= 8000
MODEL ?= models/pocket
BUILD := build/release

.PHONY: help serve test build setup format lint bench fuzz cuda cuda-sm70 test-cuda clean

help:
	@echo 'make serve    build, then serve $(MODEL) on 127.0.0.1:$(PORT)   (PORT=, MODEL=)'
	@echo 'make test     unit, golden, oracle and end-to-end tests'
	@echo 'make build    the release build alone: $(BUILD)/bin/m2'
	@echo 'make format   rewrite C++ and Rust sources in the house style'
	@echo 'make lint     style, include rules, type names, clippy, clang-tidy'
	@echo 'make bench    benchmarks of this machine'
	@echo 'make fuzz     fuzz every target for FUZZ_SECONDS each (300)'
	@echo 'make cuda     build/cuda: m2 with the GPU plug-in (no GPU is needed to build; ARCHITECTURES=all)'
	@echo 'make cuda-sm70  the plug-in for GPUs of compute capability 7.0 and 7.2, beside it'
	@echo 'make test-cuda  the GPU tests, on a machine with an NVIDIA GPU   (OP=name: one of them)'
	@echo 'make clean    remove build trees and the test environment'

serve:
	@PORT='$(PORT)' MODEL='$(MODEL)' scripts/serve.sh

test:
	@scripts/test.sh

build: setup
	@scripts/build.sh release

setup:
	@scripts/setup.sh

format:
	@scripts/setup.sh --ci
	@scripts/format.sh

lint:
	@scripts/setup.sh --ci
	@scripts/lint.sh

bench: build
	@scripts/bench.sh

fuzz:
	@scripts/setup.sh --ci
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-300} scripts/fuzz.sh

cuda: setup
	@$(if $(ARCHITECTURES),CUDA_ARCHITECTURES='$(ARCHITECTURES)') scripts/cuda.sh build

cuda-sm70:
	@scripts/setup.sh --sm70
	@$(if $(ARCHITECTURES),CUDA_ARCHITECTURES='$(ARCHITECTURES)') scripts/cuda.sh build-sm70

test-cuda: cuda
	@scripts/cuda.sh test $(if $(OP),--gtest_filter='*$(OP)*')

clean:
	rm -rf build .venv
