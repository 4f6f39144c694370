// Java's own producer under the flags of milena perf. One class, so that it needs nothing but the clients' jars.

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Peer {
    private static final int POOL = 65536;
    private static final OperatingSystemMXBean SYSTEM =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private final Map<String, String> flags = new HashMap<>();
    private final Properties settings = new Properties();
    private final AtomicLong failed = new AtomicLong();
    private final long[] counts = new long[64 * 60];
    private long longest;
    private byte[][] values;
    private byte[][] keys = {null};
    private String topic;

    public static void main(String[] arguments) throws Exception {
        new Peer().run(arguments);
        System.exit(0);
    }

    private void run(String[] arguments) throws Exception {
        for (int at = 1; at + 1 < arguments.length; at += 2) {
            if (arguments[at].equals("-X")) {
                String[] pair = arguments[at + 1].split("=", 2);
                settings.put(pair[0], pair[1]);
            } else {
                flags.put(arguments[at].substring(2), arguments[at + 1]);
            }
        }
        topic = flags.get("topic");
        String acks = flags.getOrDefault("acks", "all");
        Map<String, String> defaults = Map.of(
            "bootstrap.servers", flags.get("brokers"), "acks", acks, "enable.idempotence", "" + acks.equals("all"),
            "linger.ms", flags.getOrDefault("linger", "5"), "batch.size", flags.getOrDefault("batch", "1000000"),
            "compression.type", flags.getOrDefault("codec", "none"), "buffer.memory", "" + (128 << 20));
        defaults.forEach(settings::putIfAbsent);
        payloads();
        var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        producer.partitionsFor(topic);
        long setup = SYSTEM.getProcessCpuTime();
        long begun = System.nanoTime();
        int records = switch (arguments[0]) {
            case "produce" -> produce(producer);
            case "latency" -> latency(producer);
            case "await" -> await(producer);
            default -> throw new IllegalArgumentException(arguments[0]);
        };
        producer.flush();
        producer.close();
        double wall = (System.nanoTime() - begun) / 1e9;
        if (failed.get() > 0) {
            System.err.println(failed + " records failed");
            System.exit(1);
        }
        report(records, wall, setup, !arguments[0].equals("produce"));
    }

    private int produce(KafkaProducer<byte[], byte[]> producer) {
        int count = number("count", 1_000_000);
        for (int number = 0; number < count; number++) {
            producer.send(record(number), (answer, error) -> {
                if (error != null) failed.incrementAndGet();
            });
        }
        return count;
    }

    private int latency(KafkaProducer<byte[], byte[]> producer) throws Exception {
        int rate = number("rate", 1000), count = rate * number("secs", 10);
        producer.send(record(0)).get();
        long begun = System.nanoTime();
        for (int sent = 0; sent < count; ) {
            int due = (int) Math.min((long) ((System.nanoTime() - begun) / 1e9 * rate) + 1, count);
            for (; sent < due; sent++) {
                long called = System.nanoTime();
                producer.send(record(sent), (answer, error) -> {
                    if (error != null) failed.incrementAndGet();
                    count(System.nanoTime() - called);
                });
            }
            LockSupport.parkNanos((long) (sent * 1e9 / rate) - (System.nanoTime() - begun));
        }
        return count;
    }

    private int await(KafkaProducer<byte[], byte[]> producer) throws Exception {
        int count = number("count", 100_000), tasks = number("tasks", 100);
        var taken = new AtomicInteger();
        var done = new CountDownLatch(tasks);
        for (int task = 0; task < tasks; task++) {
            Thread thread = new Thread(() -> {
                long begun = System.nanoTime();
                for (int number; (number = taken.getAndIncrement()) < count; ) {
                    try {
                        producer.send(record(number)).get();
                    } catch (Exception error) {
                        failed.incrementAndGet();
                    }
                    long now = System.nanoTime();
                    count(now - begun);
                    begun = now;
                }
                done.countDown();
            });
            thread.setDaemon(true);
            thread.start();
        }
        done.await();
        return count;
    }

    private ProducerRecord<byte[], byte[]> record(int number) {
        return new ProducerRecord<>(topic, keys[number % keys.length], values[number % values.length]);
    }

    private int number(String flag, int otherwise) {
        return flags.containsKey(flag) ? Integer.parseInt(flags.get(flag)) : otherwise;
    }

    // The same texts as milena's: src/bin/milena/perf/payload.rs.
    private void payloads() throws Exception {
        int size = number("size", 100), keySize = number("key-size", 0);
        if (flags.getOrDefault("payload", "random-text").equals("constant")) {
            values = new byte[1][size];
            Arrays.fill(values[0], (byte) 'x');
        } else {
            String[] words = Files.readString(Path.of(System.getenv("PEERS_WORDS"))).trim().split("\\s+");
            long state = 42;
            // At most 256 MiB of them, and never fewer than 64.
            values = new byte[Integer.highestOneBit(Math.max(64, Math.min(POOL, (256 << 20) / Math.max(size, 1))))][];
            for (int text = 0; text < values.length; text++) {
                var value = new StringBuilder();
                while (value.length() < size) {
                    state += 0x9e3779b97f4a7c15L;
                    long mixed = (state ^ (state >>> 30)) * 0xbf58476d1ce4e5b9L;
                    mixed = (mixed ^ (mixed >>> 27)) * 0x94d049bb133111ebL;
                    value.append(words[(int) Long.remainderUnsigned(mixed ^ (mixed >>> 31), words.length)]).append(' ');
                }
                values[text] = value.substring(0, size).getBytes(StandardCharsets.US_ASCII);
            }
        }
        if (keySize > 0) {
            keys = new byte[POOL][];
            for (int key = 0; key < POOL; key++) {
                String digits = String.format("%0" + keySize + "d", key);
                keys[key] = digits.substring(digits.length() - keySize).getBytes(StandardCharsets.US_ASCII);
            }
        }
    }

    // The classes of milena's histogram: 64 to a power of two.
    private synchronized void count(long nanos) {
        int shift = nanos < 128 ? 0 : 57 - Long.numberOfLeadingZeros(nanos);
        counts[nanos < 128 ? (int) nanos : shift * 64 + (int) (nanos >>> shift)]++;
        longest = Math.max(longest, nanos);
    }

    private double quantile(double share) {
        long wanted = Math.max((long) Math.ceil(Arrays.stream(counts).sum() * share), 1), seen = 0;
        for (int kind = 0; kind < counts.length; kind++) {
            if ((seen += counts[kind]) >= wanted) {
                long last = kind < 128 ? kind : ((kind % 64 + 65L) << (kind / 64 - 1)) - 1;
                return Math.min(last, longest) / 1e3;
            }
        }
        return 0;
    }

    private void report(int records, double wall, long setup, boolean times) throws Exception {
        double bytes = (double) records * (number("size", 100) + number("key-size", 0));
        String line = String.format(Locale.ROOT,
            "{\"records\":%d,\"wall_s\":%f,\"setup_cpu_s\":%f,\"cpu_s\":%f,\"records_s\":%f,\"mb_s\":%f,\"peak_rss_mb\":%f",
            records, wall, setup / 1e9, (SYSTEM.getProcessCpuTime() - setup) / 1e9, records / wall, bytes / 1e6 / wall, peak());
        if (times) {
            line += String.format(Locale.ROOT, ",\"p50_us\":%f,\"p99_us\":%f,\"p999_us\":%f,\"max_us\":%f",
                quantile(0.5), quantile(0.99), quantile(0.999), longest / 1e3);
        }
        System.out.println(line + "}");
    }

    private static double peak() throws Exception {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) return Long.parseLong(line.replaceAll("\\D", "")) * 1024 / 1e6;
        }
        return 0;
    }
}
