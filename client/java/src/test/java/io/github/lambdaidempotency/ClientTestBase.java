package io.github.lambdaidempotency;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/** A client with an environment of its own, and the warnings it gives. */
abstract class ClientTestBase {
    private static final Logger LOGGER = Logger.getLogger("io.github.lambdaidempotency");

    final Map<String, String> environment = new HashMap<>();
    final List<String> warnings = Collections.synchronizedList(new ArrayList<>());
    ScriptedServer server;

    private final Handler keeper = new Handler() {
        @Override
        public void publish(LogRecord entry) {
            warnings.add(entry.getMessage() + (entry.getThrown() == null ? "" : ": " + entry.getThrown().getMessage()));
        }

        @Override
        public void flush() {
        }

        @Override
        public void close() {
        }
    };

    @BeforeEach
    void keepWarnings() {
        LOGGER.addHandler(keeper);
        LOGGER.setUseParentHandlers(false);
    }

    @AfterEach
    void stop() throws IOException {
        LOGGER.removeHandler(keeper);
        if (server != null) {
            server.close();
        }
    }

    Client client() {
        return new Client(environment::get, Duration.ofSeconds(15));
    }

    /** A client of a server that answers so, in turn. */
    Client script(Object... answers) throws IOException {
        server = new ScriptedServer(List.of(answers));
        environment.put("IDEMPOTENCY_PORT", String.valueOf(server.port()));
        return client();
    }

    static Map<?, ?> ok(String body) {
        return Map.of("body", JsonReader.read(body));
    }

    static Map<?, ?> acquired() {
        return ok("{\"status\":\"acquired\",\"token\":\"t1\",\"fence\":5,\"attempt\":1,\"lease_expires_at\":1}");
    }

    static Map<?, ?> completed() {
        return ok("{\"status\":\"completed\"}");
    }

    static Map<?, ?> released() {
        return ok("{\"status\":\"released\"}");
    }

    static Map<?, ?> problem(int status, String code) {
        return Map.of("status", status, "body", Map.of("type", "about:blank", "title", "", "status", status, "code", code, "detail", "why"));
    }

    static Context context(String requestId, int remainingMillis) {
        return (Context) Proxy.newProxyInstance(ClientTestBase.class.getClassLoader(), new Class<?>[] {Context.class},
                (proxy, method, arguments) -> switch (method.getName()) {
                    case "getAwsRequestId" -> requestId;
                    case "getRemainingTimeInMillis" -> remainingMillis;
                    default -> throw new UnsupportedOperationException(method.getName());
                });
    }
}
