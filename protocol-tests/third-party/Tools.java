import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.stream.*;

import org.apache.kafka.common.utils.Exit;

/**
 * Kafka's command-line tools against a cluster: their `main` with a user's arguments, all in one JVM but for the
 * verifiable pair, which finishes in a hook of the JVM's own end.
 *
 * Usage: java -cp JARS Tools.java BOOTSTRAP [WORD...]: runs the stories whose names have one of the words, or all.
 * A story takes a name that all its topics, groups and transactional ids begin with.
 */
public class Tools {
    interface Story { void tell(String name) throws Exception; }

    /** What a tool's call of `System.exit` becomes. */
    static class Ended extends Error {
        Ended() { super(null, null, false, false); }
    }

    static String bootstrap;
    static final PrintStream STDOUT = System.out;
    static final PrintStream STDERR = System.err;
    static final Map<String, Story> STORIES = new LinkedHashMap<>();

    static {
        STORIES.put("TopicCommand creates, describes, alters and deletes", Tools::topics);
        STORIES.put("ConfigCommand alters and describes a topic", Tools::configs);
        STORIES.put("ConsoleProducer writes with every codec and ConsoleConsumer reads", Tools::console);
        STORIES.put("GetOffsetShell finds both ends", Tools::offsets);
        STORIES.put("DeleteRecordsCommand moves the start", Tools::deleteRecords);
        STORIES.put("the cluster is described", Tools::cluster);
        STORIES.put("the verifiable pair, classic protocol", name -> verifiable(name, "classic"));
        STORIES.put("the verifiable pair, consumer protocol", name -> verifiable(name, "consumer"));
        STORIES.put("ConsumerGroupCommand describes, resets and deletes", Tools::groups);
        STORIES.put("ProducerPerformance in transactions", Tools::performance);
        STORIES.put("TransactionalMessageCopier copies exactly once", Tools::copier);
        STORIES.put("TransactionsCommand lists and describes", Tools::transactions);
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        var words = List.of(arguments).subList(1, arguments.length);
        int passed = 0, failed = 0, number = 0;
        for (var entry : STORIES.entrySet()) {
            if (!words.isEmpty() && words.stream().noneMatch(entry.getKey()::contains)) continue;
            var began = System.nanoTime();
            try {
                entry.getValue().tell("tools-" + ProcessHandle.current().pid() + "-" + number++);
                passed++;
                STDOUT.printf("ok tools: %s (%.1f s)%n", entry.getKey(), (System.nanoTime() - began) / 1e9);
            } catch (Throwable error) {
                failed++;
                STDOUT.println("FAILED tools: " + entry.getKey());
                error.printStackTrace(STDOUT);
            }
        }
        STDOUT.printf("tools: %d passed, %d failed%n", passed, failed);
        Runtime.getRuntime().halt(failed > 0 || passed == 0 ? 1 : 0);
    }

    static void topics(String name) {
        tool("TopicCommand", "--create", "--topic", name, "--partitions", "3", "--config", "retention.ms=123456");
        var described = tool("TopicCommand", "--describe", "--topic", name);
        contains(described, "PartitionCount: 3");
        contains(described, "retention.ms=123456");
        tool("TopicCommand", "--alter", "--topic", name, "--partitions", "5");
        contains(tool("TopicCommand", "--describe", "--topic", name), "PartitionCount: 5");
        contains(tool("TopicCommand", "--list"), name);
        tool("TopicCommand", "--delete", "--topic", name);
        check(!tool("TopicCommand", "--list").contains(name), "the topic is gone");
    }

    static void configs(String name) {
        makeTopic(name, 1);
        String[] topic = {"--entity-type", "topics", "--entity-name", name};
        tool("kafka.admin.ConfigCommand", with(topic, "--alter", "--add-config", "max.message.bytes=2000"));
        contains(tool("kafka.admin.ConfigCommand", with(topic, "--describe")), "max.message.bytes=2000");
        tool("kafka.admin.ConfigCommand", with(topic, "--alter", "--delete-config", "max.message.bytes"));
        check(!tool("kafka.admin.ConfigCommand", with(topic, "--describe")).contains("2000"), "the default is back");
    }

    static void console(String name) {
        makeTopic(name, 1);
        var lines = new ArrayList<String>();
        for (var codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            var input = IntStream.range(0, 50).mapToObj(number -> codec + ":" + "x".repeat(number)).toList();
            typed(String.join("\n", input) + "\n", "ConsoleProducer", "--topic", name, "--compression-codec", codec,
                "--reader-property", "parse.key=true", "--reader-property", "key.separator=:");
            lines.addAll(input);
        }
        // Sorted, as nothing orders what five producers wrote but their acknowledgements.
        var read = tool("consumer.ConsoleConsumer", "--topic", name, "--partition", "0", "--offset", "earliest",
            "--max-messages", "250", "--timeout-ms", "20000", "--formatter-property", "print.key=true",
            "--formatter-property", "key.separator=:");
        equal(read.lines().sorted().toList(), lines.stream().sorted().toList());
    }

    static void offsets(String name) {
        makeTopic(name, 2);
        produce(name, 30);
        equal(sumOfOffsets(name, "earliest"), 0L);
        equal(sumOfOffsets(name, "latest"), 30L);
        contains(tool("GetOffsetShell", "--topic", name, "--time", "max-timestamp"), name + ":");
    }

    static long sumOfOffsets(String topic, String time) {
        return tool("GetOffsetShell", "--topic", topic, "--time", time).lines()
            .mapToLong(line -> Long.parseLong(line.substring(line.lastIndexOf(':') + 1))).sum();
    }

    static void deleteRecords(String name) throws IOException {
        makeTopic(name, 1);
        produce(name, 10);
        var file = Files.createTempFile("delete", ".json");
        Files.writeString(file, "{\"version\": 1, \"partitions\": [{\"topic\": \"" + name + "\", \"partition\": 0, \"offset\": 4}]}");
        contains(tool("DeleteRecordsCommand", "--offset-json-file", file.toString()), "low_watermark: 4");
        Files.delete(file);
        equal(sumOfOffsets(name, "earliest"), 4L);
    }

    static void cluster(String name) {
        contains(tool("ClusterTool", "cluster-id"), "Cluster ID: ");
        contains(tool("BrokerApiVersionsCommand"), "Produce(0): ");
        contains(tool("FeatureCommand", "describe"), "Feature: ");
    }

    static void verifiable(String name, String protocol) throws Exception {
        makeTopic(name, 3);
        var produced = program("VerifiableProducer", "--topic", name, "--max-messages", "500", "--acks", "-1");
        contains(produced, "\"sent\":500,\"acked\":500");
        var consumed = program("VerifiableConsumer", "--topic", name, "--group-id", name, "--group-protocol", protocol,
            "--max-messages", "500", "--reset-policy", "earliest", "--verbose");
        contains(consumed, "\"name\":\"partitions_assigned\"");
        contains(consumed, "\"name\":\"offsets_committed\"");
        contains(consumed, "\"name\":\"shutdown_complete\"");
        equal(consumed.lines().filter(line -> line.contains("\"name\":\"record_data\"")).distinct().count(), 500L);
    }

    static void groups(String name) {
        makeTopic(name, 2);
        produce(name, 40);
        tool("consumer.ConsoleConsumer", "--topic", name, "--group", name, "--from-beginning", "--max-messages", "40",
            "--timeout-ms", "30000");
        contains(tool("consumer.group.ConsumerGroupCommand", "--list"), name);
        equal(lag(name), 0L);
        contains(tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", name, "--state"), "Empty");
        tool("consumer.group.ConsumerGroupCommand", "--reset-offsets", "--group", name, "--topic", name, "--to-earliest", "--execute");
        equal(lag(name), 40L);
        contains(tool("GroupsCommand", "--list"), name);
        tool("consumer.group.ConsumerGroupCommand", "--delete", "--group", name);
        check(!tool("consumer.group.ConsumerGroupCommand", "--list").contains(name), "the group is gone");
    }

    /** GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG ... */
    static long lag(String group) {
        return tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", group).lines()
            .map(line -> line.trim().split(" +")).filter(row -> row.length > 5 && row[0].equals(group))
            .mapToLong(row -> Long.parseLong(row[5])).sum();
    }

    static void performance(String name) {
        makeTopic(name, 2);
        var report = tool("ProducerPerformance", "--topic", name, "--num-records", "2000", "--record-size", "100",
            "--throughput", "-1", "--transactional-id", name, "--transaction-duration-ms", "50",
            "--command-property", "bootstrap.servers=" + bootstrap);
        contains(report, "2000 records sent");
        equal(readCommitted(name, 2000).lines().count(), 2000L);
    }

    static void copier(String name) {
        makeTopic(name, 1);
        makeTopic(name + "-copy", 1);
        produce(name, 300);
        var progress = tool("TransactionalMessageCopier", "--input-topic", name, "--input-partition", "0",
            "--output-topic", name + "-copy", "--max-messages", "300", "--consumer-group", name, "--transaction-size",
            "50", "--transactional-id", name, "--enable-random-aborts");
        contains(progress, "\"stage\":\"ShutdownComplete\"");
        equal(readCommitted(name + "-copy", 300).lines().toList(), IntStream.range(0, 300).mapToObj(it -> "" + it).toList());
    }

    static void transactions(String name) {
        makeTopic(name, 1);
        tool("ProducerPerformance", "--topic", name, "--num-records", "10", "--record-size", "10", "--throughput", "-1",
            "--transactional-id", name, "--command-property", "bootstrap.servers=" + bootstrap);
        contains(tool("TransactionsCommand", "list"), name);
        contains(tool("TransactionsCommand", "describe", "--transactional-id", name), "CompleteCommit");
        contains(tool("TransactionsCommand", "describe-producers", "--topic", name, "--partition", "0"), "None");
        tool("TransactionsCommand", "find-hanging", "--topic", name);
    }

    static String readCommitted(String topic, int count) {
        return tool("consumer.ConsoleConsumer", "--topic", topic, "--from-beginning", "--isolation-level", "read_committed",
            "--max-messages", "" + count, "--timeout-ms", "30000");
    }

    static void makeTopic(String name, int partitions) {
        tool("TopicCommand", "--create", "--topic", name, "--partitions", "" + partitions, "--replication-factor", "1");
    }

    static void produce(String topic, int count) {
        var lines = IntStream.range(0, count).mapToObj(number -> number + "\n").collect(Collectors.joining());
        typed(lines, "ConsoleProducer", "--topic", topic);
    }

    static String tool(String name, String... arguments) {
        return typed("", name, arguments);
    }

    /** Runs a tool with this on its stdin, and gives what it wrote to stdout; any exit code but 0 is a failure. */
    static String typed(String stdin, String name, String... arguments) {
        var main = name.startsWith("kafka.") ? name : "org.apache.kafka.tools." + name;
        var server = NO_SERVER.contains(name) ? new String[0] : new String[]{SERVER.getOrDefault(name, "--bootstrap-server"), bootstrap};
        // Some have a command of their own, and the server is one of its options.
        var line = COMMANDS_LAST.contains(name) ? with(server, arguments) : with(arguments, server);
        var written = new ByteArrayOutputStream();
        var complaints = new ByteArrayOutputStream();
        var hooks = new ArrayList<Runnable>();
        var code = new ArrayList<Integer>();
        Exit.setExitProcedure((status, message) -> { code.add(status); throw new Ended(); });
        Exit.setHaltProcedure((status, message) -> { code.add(status); throw new Ended(); });
        Exit.setShutdownHookAdder((title, hook) -> hooks.add(hook));
        System.setIn(new ByteArrayInputStream(stdin.getBytes(StandardCharsets.UTF_8)));
        System.setOut(new PrintStream(written, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(complaints, true, StandardCharsets.UTF_8));
        try {
            Class.forName(main).getMethod("main", String[].class).invoke(null, (Object) line);
        } catch (InvocationTargetException error) {
            if (!(error.getCause() instanceof Ended)) throw new IllegalStateException(String.join(" ", line), error.getCause());
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(main, error);
        } finally {
            hooks.forEach(Runnable::run);
            System.setOut(STDOUT);
            System.setErr(STDERR);
        }
        var output = written.toString(StandardCharsets.UTF_8);
        // A tool that caught the first end with its other errors has ended twice.
        check(code.isEmpty() || code.get(0) == 0, name + " " + String.join(" ", line) + " ended with " + code + ":\n" + output + complaints);
        return output;
    }

    /** The same in a JVM of its own. */
    static String program(String name, String... arguments) throws Exception {
        String[] java = {Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC", "-cp", System.getProperty("java.class.path"), "org.apache.kafka.tools." + name,
            "--bootstrap-server", bootstrap};
        var complaints = File.createTempFile(name, ".stderr");
        var process = new ProcessBuilder(with(java, arguments)).redirectError(complaints).start();
        var output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        var code = process.waitFor();
        check(code == 0, name + " ended with " + code + ":\n" + output + Files.readString(complaints.toPath()));
        check(complaints.delete(), "cannot delete " + complaints);
        return output;
    }

    static final Set<String> NO_SERVER = Set.of("ProducerPerformance");
    static final Set<String> COMMANDS_LAST = Set.of("TransactionsCommand", "FeatureCommand");
    static final Map<String, String> SERVER = Map.of("TransactionalMessageCopier", "--broker-list");

    static String[] with(String[] first, String... second) {
        return Stream.concat(Stream.of(first), Stream.of(second)).toArray(String[]::new);
    }

    static void contains(String text, String part) {
        check(text.contains(part), "no " + part + " in:\n" + text);
    }

    static void equal(Object found, Object expected) {
        check(Objects.equals(found, expected), found + " is not " + expected);
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }
}
