package io.github.lambdaidempotency;

import java.time.Duration;
import java.time.Instant;
import java.util.Map;

/**
 * The verbs of the sidecar's API. May be used by many threads.
 *
 * <p>Each throws {@link ProblemException} and what is derived from it, and IllegalArgumentException for a value that is
 * not JSON, before anything is sent.
 */
public final class Client {
    private static final Duration TIMEOUT = Duration.ofSeconds(15);

    /** Of this process; tests have one of their own. */
    interface Environment {
        String get(String name);
    }

    private final Environment environment;
    private final Connections connections;
    private final Duration timeout;
    private final Codec codec;

    /** A client of the sidecar on IDEMPOTENCY_PORT (2774). */
    public Client() {
        this(new Environment() {
            @Override
            public String get(String name) {
                return System.getenv(name);
            }
        }, TIMEOUT);
    }

    Client(Environment environment, Duration timeout) {
        this(environment, new Connections(port(environment)), timeout, new JsonCodec());
    }

    private Client(Environment environment, Connections connections, Duration timeout, Codec codec) {
        this.environment = environment;
        this.connections = connections;
        this.timeout = timeout;
        this.codec = codec;
    }

    /** A client that makes JSON with this codec, on the same connections. */
    public Client withCodec(Codec codec) {
        return new Client(environment, connections, timeout, codec);
    }

    /** Asks for the claim on a key. */
    public Outcome acquire(Acquire acquire) {
        Map<String, String> answer = call("/acquire", acquire.json(codec), timeout.plus(acquire.waiting()));
        return Outcome.of(Outcome.string(answer, "status"), answer);
    }

    /** Ends a claim without a result: duplicates get null. */
    public void complete(String token) {
        call("/complete", new Body(codec).string("token", token).end(), timeout);
    }

    /** Ends a claim with a result, which duplicates get. */
    public void complete(String token, Object result) {
        complete(token, result, null);
    }

    /** Ends a claim with a result that is remembered for a time of its own. */
    public void complete(String token, Object result, Duration ttl) {
        call("/complete", new Body(codec).string("token", token).value("result", result)
                .number("ttl_seconds", ttl == null ? null : ttl.toSeconds()).end(), timeout);
    }

    /** Ends the claim of work that failed. retry frees the key for another run; without it the failure is final. */
    public void fail(String token, Throwable error, boolean retry) {
        fail(token, new Failure(error.getClass().getName(), error.getMessage() == null ? error.toString() : error.getMessage()), retry);
    }

    /** Ends the claim of work that failed. error may be null. */
    public void fail(String token, Failure error, boolean retry) {
        Body body = new Body(codec).string("token", token);
        if (error != null) {
            body.raw("error", new Body(codec).string("type", error.type()).string("message", error.message()).end());
        }
        call("/fail", body.raw("retry", retry ? "true" : "false").end(), timeout);
    }

    /** Gives a held claim a new lease from now on, never a shorter one. lease may be null: as long as a new claim's. */
    public Instant renew(String token, Duration lease) {
        Body body = new Body(codec).string("token", token).number("lease_ms", lease == null ? null : lease.toMillis());
        return Instant.ofEpochMilli(Outcome.number(call("/renew", body.end(), timeout), "lease_expires_at"));
    }

    Codec codec() {
        return codec;
    }

    boolean disabled() {
        return "true".equals(environment.get("IDEMPOTENCY_DISABLED"));
    }

    private Map<String, String> call(String path, String body, Duration timeout) {
        Connections.Answer answer = connections.post(path, body, secret(), timeout);
        Map<String, String> members;
        try {
            members = JsonReader.members(answer.body());
        } catch (JsonException notOfTheSidecar) {
            members = Map.of();
        }
        if (answer.status() == 200 && Outcome.string(members, "status") != null) {
            return members;
        }
        throw problem(path, answer, members);
    }

    private static ProblemException problem(String path, Connections.Answer answer, Map<String, String> members) {
        int status = answer.status();
        String code = Outcome.string(members, "code");
        String detail = Outcome.string(members, "detail");
        if (code == null) {
            return new ProblemException(status, null, path + " was answered with " + status
                    + " and nothing of the sidecar's; is something else on that port?", null);
        }
        if (status == 503) {
            return new UnavailableException(status, code, detail, answer.retryAfter());
        }
        switch (code) {
            case "payload_mismatch":
                return new PayloadMismatchException(status, code, detail);
            case "claim_lost":
                return new ClaimLostException(status, code, detail);
            default:
                return new ProblemException(status, code, detail, null);
        }
    }

    // Read at each call: under SnapStart it changes when the snapshot is restored.
    private String secret() {
        String[] names = {"IDEMPOTENCY_AUTH_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"};
        for (String name : names) {
            String value = environment.get(name);
            if (value != null && !value.isEmpty()) {
                return value;
            }
        }
        return null;
    }

    private static int port(Environment environment) {
        String port = environment.get("IDEMPOTENCY_PORT");
        if (port == null || port.isEmpty()) {
            return 2774;
        }
        try {
            int number = Integer.parseInt(port);
            if (number > 0 && number < 65536) {
                return number;
            }
        } catch (NumberFormatException e) {
            // Said below.
        }
        throw new IllegalArgumentException("IDEMPOTENCY_PORT is no port: " + port);
    }
}
