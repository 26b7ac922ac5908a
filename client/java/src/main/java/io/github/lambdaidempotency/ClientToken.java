package io.github.lambdaidempotency;

import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.SecureRandom;

/** Random names for calls, so that one that is sent again is known. */
final class ClientToken {
    private static final int BYTES = 16;

    private ClientToken() {
    }

    // Read from the system at each call: a snapshot of this process has many copies, and no two may go on alike.
    // SecureRandom is sound as well, but its first use costs a cold start tens of milliseconds.
    static String random() {
        byte[] bytes = new byte[BYTES];
        try (InputStream random = new FileInputStream("/dev/urandom")) {
            if (random.readNBytes(bytes, 0, BYTES) < BYTES) {
                throw new IOException("/dev/urandom ended");
            }
        } catch (IOException noSuchDevice) {
            new SecureRandom().nextBytes(bytes);
        }
        StringBuilder text = new StringBuilder(2 * BYTES);
        for (byte b : bytes) {
            text.append(Character.forDigit(b >> 4 & 15, 16)).append(Character.forDigit(b & 15, 16));
        }
        return text.toString();
    }
}
