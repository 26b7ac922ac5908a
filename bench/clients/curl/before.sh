handler() {
  jq -c '{done: .JobId}' <<<"$1"
}
