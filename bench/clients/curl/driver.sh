# Runs the handlers beside it and prints what that took, as JSON: driver.sh cold before|after bare|lambda, or
# driver.sh calls WARM ROUNDS.
set -eu
here=$(dirname "$0")
run=$$-$EPOCHREALTIME

event() { event='{"JobId": "'$run-$1'", "ObjKey": "a/b"}'; }

# timed leaves in took the nanoseconds that a command took. The clock of bash has microseconds.
timed() {
  local begin=${EPOCHREALTIME/./}
  result=$("$@")
  took=$(((${EPOCHREALTIME/./} - begin) * 1000))
}

cold() {
  local begin=${EPOCHREALTIME/./}
  . "$here/$1.sh"
  local load=$(((${EPOCHREALTIME/./} - begin) * 1000))
  event 0
  timed handler "$event"
  echo "{\"load_ns\": $load, \"call_ns\": $took}"
}

calls() {
  local plain= first= duplicate= number kind expected
  . "$here/before.sh"
  eval "plain_$(declare -f handler)" # both are called handler
  . "$here/after.sh"
  for ((number = 0; number < $1 + $2; number++)); do
    event "$number"
    expected='{"done":"'$run-$number'"}'
    for kind in plain first plain duplicate; do
      if [ "$kind" = plain ]; then timed plain_handler "$event"; else timed handler "$event"; fi
      [ "$result" = "$expected" ] || { echo "the results differ: $result, not $expected" >&2; exit 1; }
      ((number < $1)) || printf -v "$kind" '%s,%s' "${!kind}" "$took"
    done
  done
  echo "{\"plain\": [${plain#,}], \"first\": [${first#,}], \"duplicate\": [${duplicate#,}]}"
}

"$@"
