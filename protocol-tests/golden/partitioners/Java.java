// What Kafka's own client answers for the keys of keys.txt: a line per key, a column for 1, 6, 12 and 100 partitions.
// Usage: see README.md. `*` where the client would choose without the key.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.StringJoiner;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

public class Java {
    static final int[] COUNTS = {1, 6, 12, 100};

    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            StringJoiner row = new StringJoiner(" ");
            for (int count : COUNTS) {
                if (line.equals("null")) {
                    row.add("*");
                    continue;
                }
                byte[] key = line.equals("empty") ? new byte[0] : HexFormat.of().parseHex(line);
                row.add(Integer.toString(BuiltInPartitioner.partitionForKey(key, count)));
            }
            System.out.println(row);
        }
    }
}
