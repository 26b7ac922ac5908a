package io.github.lambdaidempotency;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** The jar needs nothing beside it, not even Lambda's own interfaces where no handler is made of them. */
class AloneTest extends ClientTestBase {
    static final class Program {
        public static void main(String[] arguments) {
            try {
                Class.forName("com.amazonaws.services.lambda.runtime.Context");
                System.out.println("Lambda's interfaces are there: this shows nothing");
            } catch (ClassNotFoundException e) {
                System.out.println(Idempotency.run("k", String.class, claim -> "fence " + claim.fence()));
            }
        }
    }

    @Test
    void theJarRunsAlone() throws Exception {
        script(acquired(), completed());
        String classes = Path.of(Program.class.getProtectionDomain().getCodeSource().getLocation().toURI()).toString();
        ProcessBuilder builder = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xshare:auto",
                "-cp", System.getProperty("jar") + File.pathSeparator + classes, Program.class.getName()).redirectErrorStream(true);
        builder.environment().put("IDEMPOTENCY_PORT", String.valueOf(server.port()));
        builder.environment().put("http_proxy", "http://127.0.0.1:1");
        Process program = builder.start();
        assertEquals("fence 5", new String(program.getInputStream().readAllBytes(), StandardCharsets.UTF_8).trim());
        assertEquals(0, program.waitFor());
    }

    @Test
    void theJarIsSmall() throws Exception {
        long size = Files.size(Path.of(System.getProperty("jar")));
        assertTrue(size < 60_000, size + " bytes");
    }
}
