#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs Tapedeck's tests and measurements of a GPU, section by section. It needs bash and coreutils, and
# can be called from any folder. See usage().
set -uo pipefail
export LC_ALL=C

self=$(readlink -f "${BASH_SOURCE[0]}")
kit=${self%/*}
bin=$kit/bin

# The name of each section and its time limit in seconds, the most informative section first. The
# limits add up to less than `most`.
sections=(facts:15 contract:30 tokens:45 layout:50 alias:12 pages:22 chunks:35 memcheck:50 bench:60
  stream_bench:95)
most=420 # seconds, for everything
# The results of these sections mean nothing without a GPU; the other sections test the code.
measuring=" facts alias pages chunks bench stream_bench "

usage() {
  cat <<TEXT
run.sh [SECTION...]   runs these sections, or all of them, in $((most / 60)) minutes at most
run.sh --help         prints this text

  facts         what the driver reports about the device, and which kinds of memory it provides
  contract      tests of the contracts of devices and device tapes
  tokens        the decoder on the GPU, whole and streamed, must print the same tokens as on the CPU
  layout        tests of layouts that grow, are cleared and are trimmed under a captured graph
  alias         one page at two addresses: whether it is legal, and which writes are visible
  pages         microseconds to create pages, map them, set access, and unmap them
  chunks        reading K in chunks of T tokens, compared with reading it in one run
  memcheck      compute-sanitizer on a short decode
  bench         gpu_bench, 9 rounds
  stream_bench  gpu_stream_bench, 9 rounds; it gets all the remaining time, and writes 9 GB

Each section writes SECTION.json and SECTION.log to \$OUT (default: ./out). A verdict is pass, fail,
timeout, skipped or "not measured". The exit code is 1 if a section failed or timed out.

Without a GPU the programs run on a stand-in driver that uses host memory (stand_in/), which tests the
code and measures nothing. compute-sanitizer is expected in \$CUDA_HOME (default: /usr/local/cuda).
\$TAPEDECK_TEST_DATA may name a folder with real models; generated models are put into \$TMPDIR.
TEXT
}

die() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 2
}

# --- Inside a section, which is a process of its own with its output in the log -------------------

# stop VERDICT WHY...: ends the section with the verdict `fail` or `skipped`.
stop() {
  printf '%s\n' "${*:2}" | tee "$WORK/why" >&2
  [[ $1 == skipped ]] && exit 77
  exit 1
}

on_gpu() { [[ $ON_GPU == yes ]]; }

# program NAME: prints the path of a program of the kit.
program() {
  [[ -x $bin/$1 ]] || stop fail "the kit is incomplete: bin/$1 is missing"
  printf '%s' "$bin/$1"
}

# run PROGRAM ARGUMENT...: runs a program of the kit, which must succeed.
run() {
  local path code=0
  path=$(program "$1") || exit
  printf -- '-- %s\n' "$*"
  "$path" "${@:2}" || code=$?
  ((code == 0)) || stop fail "$1 exited with code $code"
}

# suite PROGRAM FILTER: runs tests, which must not fail. Adds their counts to passed and skipped.
passed=0
skipped=0
suite() {
  local path line code here=0
  path=$(program "$1") || exit
  "$path" --gtest_filter="$2" 2>&1 | tee "$WORK/suite"
  code=${PIPESTATUS[0]}
  while IFS= read -r line; do
    [[ $line =~ ^'[  PASSED  ] '([0-9]+)' test' ]] && here=${BASH_REMATCH[1]}
    [[ $line =~ ^'[  SKIPPED ] '([0-9]+)' test' ]] && ((skipped += BASH_REMATCH[1]))
  done <"$WORK/suite"
  ((passed += here))
  printf '{"passed": %d, "skipped": %d}\n' "$passed" "$skipped" >"$WORK/figures"
  ((code == 0)) || stop fail "$1 exited with code $code"
}
some_passed() { ((passed > 0)) || stop fail "no test ran"; }

# make_model NAME OPTION...: generates the model $WORK/NAME.
make_model() { run tapedeck make-model --force "${@:2}" "$WORK/$1"; }

# tokens_of FILE OPTION...: decodes, and writes the ids of the tokens to FILE.
tokens_of() {
  local path
  path=$(program tapedeck) || exit
  printf -- '-- tapedeck decode %s\n' "${*:2}"
  "$path" decode "${@:2}" --ids --stat >"$WORK/$1" 2>"$WORK/$1.err"
  local code=$?
  printf '%s\n' "$(<"$WORK/$1")" "$(<"$WORK/$1.err")"
  ((code == 0)) || stop fail "tapedeck decode ${*:2} exited with code $code"
}

section_facts() {
  local tool
  run gpu_probe facts "$json"
  run tapedeck gpus --json
  for tool in "nvidia-smi" "nvcc --version" "compute-sanitizer --version"; do
    printf -- '-- %s\n' "$tool"
    # shellcheck disable=SC2086
    timeout 3 $tool 2>&1 || printf 'not available\n'
  done
}

section_contract() {
  suite tapedeck_on_gpu_test 'Gpu/*'
  some_passed
  on_gpu || return 0 # the stand-in driver does not support the runtime API
  suite tapedeck_on_gpu_runtime_test '*'
}

# On the stand-in driver, tests that take minutes are left out.
section_layout() {
  if on_gpu; then
    suite tapedeck_on_gpu_test 'GraphOnGpu.*'
    suite tapedeck_on_gpu_test 'LayoutOnGpu.*'
  else
    suite tapedeck_on_gpu_test 'GraphOnGpu.*-*.ReplaysAfterItsHistoryGrewSixteenfold'
  fi
  some_passed
}

# same_tokens MODEL N MEMORY...: decodes N tokens on the CPU, on the GPU with all layers, and on the GPU
# within each MEMORY, where not all layers fit. The tokens must be the same.
compared=0
same_tokens() {
  local name=$1 model=$WORK/$1 count=$2 way
  tokens_of cpu "$model" -n "$count"
  for way in whole "${@:3}"; do
    if [[ $way == whole ]]; then
      tokens_of gpu "$model" -n "$count" --device gpu
    else
      tokens_of gpu "$model" -n "$count" --device gpu --gpu-memory "$way"
      [[ $(<"$WORK/gpu.err") =~ ', '[1-9][0-9]*' taking turns in '.*'; '[1-9][0-9]*' copied' ]] ||
        stop fail "$name with $way was not streamed"
    fi
    cmp "$WORK/cpu" "$WORK/gpu" || stop fail "$name on the GPU ($way) prints different tokens than on the CPU"
    ((compared += count))
  done
  printf '{"tokens_compared": %d}\n' "$compared" >"$WORK/figures"
}

section_tokens() {
  make_model small --dim 128 --layers 6 --heads 4 --kv-heads 2 --seq-len 256
  same_tokens small 12 6MiB 8MiB
  on_gpu || return 0
  same_tokens small 250 6MiB 8MiB
  make_model large --dim 512 --layers 8 --heads 8 --kv-heads 4 --seq-len 512
  same_tokens large 200 110MiB
  suite tapedeck_llama_on_gpu_test '*'
}

section_alias() {
  if on_gpu; then run gpu_probe alias --rounds=16 "$json"; else run gpu_probe alias --rounds=1; fi
}

section_pages() {
  if on_gpu; then run gpu_probe pages --rounds=9 "$json"; else run gpu_probe pages --rounds=1; fi
}

section_chunks() {
  if on_gpu; then
    run gpu_probe chunks --rounds=9 "$json"
  else
    run gpu_probe chunks --tokens=512 --rounds=1 --benchmark_min_time=0
  fi
}

# memcheck OUTCOME PROGRAM ARGUMENT...: runs a program under compute-sanitizer, which must report
# OUTCOME, or nothing if OUTCOME is `nothing`.
memcheck() {
  local path code
  path=$(program "$2") || exit
  printf -- '-- compute-sanitizer %s\n' "${*:2}"
  compute-sanitizer --error-exitcode 1 "$path" "${@:3}" 2>&1 | tee "$WORK/memcheck"
  code=${PIPESTATUS[0]}
  if [[ $1 == nothing ]]; then
    ((code == 0)) || stop fail "compute-sanitizer exited with code $code: ${*:2}"
  elif ((code == 0)) || [[ $(<"$WORK/memcheck") != *"$1"* ]]; then
    stop fail "compute-sanitizer does not report '$1': ${*:2}"
  fi
}

section_memcheck() {
  on_gpu || stop skipped "compute-sanitizer needs a GPU"
  command -v compute-sanitizer >/dev/null || stop skipped "compute-sanitizer was not found in PATH or $CUDA_HOME"
  make_model small --dim 128 --layers 6 --heads 4 --kv-heads 2 --seq-len 256
  memcheck nothing tapedeck decode "$WORK/small" --ids -n 8 --device gpu
  memcheck nothing tapedeck decode "$WORK/small" --ids -n 8 --device gpu --gpu-memory 6MiB
  memcheck 'Invalid __global__ write' tapedeck_on_gpu_test --gtest_also_run_disabled_tests \
    --gtest_filter=GraphOnGpu.DISABLED_WritesBehindItsMemory
}

section_bench() {
  if on_gpu; then
    run gpu_bench --rounds=9 "$json"
  else
    run gpu_bench --rounds=1 --benchmark_min_time=0
  fi
}

section_stream_bench() {
  on_gpu || { printf 'the model is too large for the stand-in driver\n' && return 0; }
  run gpu_stream_bench --rounds=9 "$json"
}

# --- Around all sections ---------------------------------------------------------------------------

find_gpu() {
  local said
  [[ -x $bin/tapedeck ]] || die "the kit is incomplete: $bin/tapedeck is missing"
  said=$(timeout -k 2 20 "$bin/tapedeck" gpus 2>&1) || said="tapedeck gpus failed: $said"
  if [[ $said =~ ^'CUDA driver '.*$'\n0: '([^$'\n']*)', '[0-9.]+' '[A-Za-z]+' free of ' ]]; then
    device=${BASH_REMATCH[1]}
    export ON_GPU=yes
    printf 'GPU: %s\n' "$device"
  else
    device=stand-in
    export ON_GPU=no LD_LIBRARY_PATH=$kit/stand_in${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    printf 'no GPU: %s\nUsing the stand-in driver: the code is tested, and nothing is measured.\n' "$said"
    [[ $("$bin/tapedeck" gpus) == *$'\n0: stand-in, '* ]] ||
      die "the kit is incomplete: $kit/stand_in/libcuda.so.1 cannot be loaded"
  fi
}

# scratch_folder: creates a folder with room for the largest model. It is in memory if possible, because
# files are read only once.
scratch_folder() {
  local folder free
  for folder in /dev/shm "${TMPDIR:-/tmp}" /var/tmp; do
    free=$(df -B1G --output=avail "$folder" 2>/dev/null | tail -1) || continue
    ((free < 12)) || { mktemp -d -p "$folder" && return; } 2>/dev/null
  done
  mktemp -d
}

json_text() {
  local text=${1//[^ -~]/ }
  text=${text//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# write_result SECTION VERDICT SECONDS WHY: writes SECTION.json, with the figures in $WORK/figures if any.
write_result() {
  local figures='{}'
  [[ $device == stand-in || ! -s $WORK/figures ]] || figures=$(<"$WORK/figures")
  {
    printf '{\n"section": %s,\n"verdict": %s,\n"seconds": %s,\n' "$(json_text "$1")" "$(json_text "$2")" "$3"
    printf '"device": %s,\n"why": %s,\n' "$(json_text "$device")" "$(json_text "$4")"
    printf '"figures": %s\n}\n' "$figures"
  } >"$OUT/$1.json"
}

# seconds_for SECTION LIMIT: prints how long a section may take now. The stand-in driver is slow.
seconds_for() {
  local limit=$2 left=$((most - SECONDS - 5))
  [[ $ON_GPU == yes ]] || limit=$((3 * limit))
  [[ $1 == stream_bench ]] || ((left < limit)) || left=$limit
  printf '%d' "$left"
}

# run_section NAME LIMIT: sets verdict.
run_section() {
  local name=$1 limit begin micros why='' code=0
  limit=$(seconds_for "$name" "$2")
  rm -rf "$WORK" && mkdir "$WORK"
  begin=${EPOCHREALTIME/[.,]/}
  if ((limit < 1)); then
    printf 'no time was left\n' >"$OUT/$name.log"
    code=77 why="no time was left"
  else
    # SIGKILL ends all processes of the section. One that ignored another signal would disturb the next.
    timeout -s KILL "$limit" "$BASH" "$self" --inside "$name" >"$OUT/$name.log" 2>&1 </dev/null &
    child=$!
    { wait "$child" || code=$?; } 2>/dev/null # hides the shell's message about a killed job
    child=
    [[ ! -s $WORK/why ]] || why=$(<"$WORK/why")
  fi
  micros=$((${EPOCHREALTIME/[.,]/} - begin))
  case $code in
    0) verdict=pass ;;
    77) verdict=skipped ;;
    137)
      verdict=timeout why="it took more than $limit s"
      ((micros >= limit * 1000000)) || verdict=fail why="it was killed"
      ;;
    *) verdict=fail why=${why:-"it exited with code $code: see the log"} ;;
  esac
  if [[ $ON_GPU == yes && $verdict == pass && $measuring == *" $name "* && ! -s $WORK/figures ]]; then
    verdict=fail why="it measured nothing: see the log"
  elif [[ $ON_GPU == no && $verdict == pass ]]; then
    why="it ran on the stand-in driver, because no GPU was found"
    [[ $measuring != *" $name "* ]] || verdict="not measured"
  fi
  local seconds
  seconds=$(printf '%d.%03d' $((micros / 1000000)) $((micros / 1000 % 1000)))
  write_result "$name" "$verdict" "$seconds" "$why"
  printf '%-13s %-13s %8s s  %s\n' "$name" "$verdict" "$seconds" "$why"
}

choose() {
  local section wanted
  chosen=()
  for wanted in "$@"; do
    for section in "${sections[@]}"; do
      [[ ${section%:*} != "$wanted" ]] || { chosen+=("$section") && continue 2; }
    done
    die "unknown section $wanted; see $self --help"
  done
  (($#)) || chosen=("${sections[@]}")
}

main() {
  local section verdict wrong=0
  choose "$@"
  export OUT=${OUT:-./out}
  if ! { mkdir -p "$OUT" && OUT=$(readlink -f "$OUT") && : >"$OUT/.writable" && rm "$OUT/.writable"; }; then
    die "cannot write to $OUT"
  fi
  scratch=$(scratch_folder) || die "cannot create a folder in ${TMPDIR:-/tmp}"
  export WORK=$scratch/work
  child=
  trap 'rm -rf "$scratch"' EXIT
  trap '[[ -z $child ]] || kill "$child"; exit 130' INT TERM
  find_gpu
  printf '\n%-13s %-13s %8s\n' section verdict time
  for section in "${chosen[@]}"; do
    run_section "${section%:*}" "${section#*:}"
    [[ $verdict != fail && $verdict != timeout ]] || wrong=1
  done
  printf '\nresults in %s\n' "$OUT"
  exit "$wrong"
}

export CUDA_HOME=${CUDA_HOME:-/usr/local/cuda}
case ${1-} in
  --inside)
    PATH=$PATH:$CUDA_HOME/bin:$CUDA_HOME/compute-sanitizer
    export TMPDIR=$WORK # files that a killed program leaves there are removed with it
    json=--json=$WORK/figures
    "section_$2"
    ;;
  -h | --help) usage ;;
  *) main "$@" ;;
esac
