package io.github.lambdaidempotency;

import java.time.Duration;
import java.time.Instant;
import java.util.Map;

/**
 * The answer to an acquire.
 *
 * @param status acquired, completed, failed or in_progress
 * @param token of an acquired claim: what it is ended with
 * @param fence of an acquired claim
 * @param attempt of an acquired claim: the number of the run, from 1
 * @param leaseExpiresAt until when a claim holds that is acquired or in progress, else null
 * @param result of a completed run: its JSON text as it was stored; null where it was left out
 * @param resultOmitted whether the result was too large to be stored
 * @param error the final failure, or an acquired claim's failure before; else null
 * @param requestId the invocation that made the claim or ended it, if known
 * @param retryAfter of a claim in progress: when to ask again
 * @param unprotected whether the store is away and the settings let the work run all the same
 */
public record Outcome(String status, String token, long fence, int attempt, Instant leaseExpiresAt, String result,
        boolean resultOmitted, Failure error, String requestId, Duration retryAfter, boolean unprotected) {

    static Outcome of(String status, Map<String, String> members) {
        String error = members.getOrDefault("error", members.get("previous_error"));
        String expires = members.get("lease_expires_at");
        String retry = members.get("retry_after_ms");
        return new Outcome(status, string(members, "token"), number(members, "fence"), (int) number(members, "attempt"),
                expires == null ? null : Instant.ofEpochMilli(number(members, "lease_expires_at")), members.get("result"),
                "true".equals(members.get("result_omitted")), error == null ? null : failure(error),
                string(members, "request_id"), retry == null ? Duration.ZERO : Duration.ofMillis(number(members, "retry_after_ms")),
                "true".equals(members.get("unprotected")));
    }

    static String string(Map<String, String> members, String name) {
        String text = members.get(name);
        return text != null && JsonReader.read(text) instanceof String value ? value : null;
    }

    static long number(Map<String, String> members, String name) {
        String text = members.get(name);
        return text != null && JsonReader.read(text) instanceof Long value ? value : 0;
    }

    private static Failure failure(String text) {
        Map<String, String> members = JsonReader.members(text);
        return new Failure(string(members, "type"), string(members, "message"));
    }
}
