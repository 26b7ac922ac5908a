call() {
  curl -fsS -H "X-Idempotency-Auth: ${AWS_SESSION_TOKEN:-}" --json "$2" "http://127.0.0.1:${IDEMPOTENCY_PORT:-2774}/$1"
}

work() {
  jq -c '{done: .JobId}' <<<"$1"
}

handler() {
  local claim token result
  claim=$(call acquire '{"event": '"$1"', "key_jmespath": "[JobId, ObjKey]"}') || return
  case $(jq -r .status <<<"$claim") in
  acquired) token=$(jq .token <<<"$claim") ;;
  completed)
    jq -c .result <<<"$claim"
    return
    ;;
  *)
    echo "$claim" >&2
    return 1
    ;;
  esac
  if ! result=$(work "$1"); then
    call fail '{"token": '"$token"'}' >&2
    return 1
  fi
  # If this fails the work is done all the same: curl says why, and the result is answered.
  call complete '{"token": '"$token"', "result": '"$result"'}' >/dev/null
  echo "$result"
}
